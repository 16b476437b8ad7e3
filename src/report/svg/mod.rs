//! Pictures as inline SVG. Behind each stands a table with the same figures; gaps are gaps, and maxima are drawn.
//!
//! What is written inside is little, and large enough for a phone: what colours and marks mean is text beside the picture.

mod breaker;
mod heat;
mod process;
mod spectrum;
#[cfg(test)]
mod tests;
mod timeline;

pub(super) use breaker::breaker;
pub(super) use heat::heat;
pub(super) use process::process;
pub(super) use spectrum::{InPhase, by_phase, spectrum};
pub(super) use timeline::timeline;

use crate::insight::SECOND;
use crate::insight::view::Span;
use maud::{Markup, html};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 10.0;

/// What a line of text takes, and a character at most, in the font of labels on a phone.
const LINE: f64 = 17.0;
const CHARACTER: f64 = 8.5;

/// The height of a strip.
const STRIP: f64 = 5.0;

/// Where seconds and values lie.
#[derive(Debug, Clone, Copy)]
struct Plane {
    seconds: f64,
    top: f64,
    height: f64,
}

impl Plane {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds.max(0.001)).clamp(0.0, 1.0)
    }

    fn at(&self, ns: u64) -> f64 {
        self.x(ns as f64 / SECOND as f64)
    }

    /// `share` of the height, from below.
    fn y(&self, share: f64) -> f64 {
        self.top + self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    /// The times in which a fault touched something: behind what is drawn.
    fn shade(&self, felt: &[Span]) -> Markup {
        self.felt("fault", self.top, self.height, felt)
    }

    /// The same as a strip above, where what is drawn would hide it or be taken for it.
    fn strip(&self, felt: &[Span]) -> Markup {
        self.felt("strip", self.top - STRIP, STRIP - 1.0, felt)
    }

    fn felt(&self, class: &str, top: f64, height: f64, felt: &[Span]) -> Markup {
        html! {
            @for felt in felt {
                @let (from, to) = (self.at(felt.from), self.at(felt.to));
                rect class=(class) x=(f(from)) y=(f(top)) width=(f((to - from).max(1.0))) height=(f(height)) {}
            }
        }
    }

    /// Its ground, its least and its most.
    fn axis(&self, least: &str, most: &str) -> Markup {
        html! {
            line.axis x1=(f(LEFT)) y1=(f(self.y(0.0))) x2=(f(WIDTH - RIGHT)) y2=(f(self.y(0.0))) {}
            text.label x=(f(LEFT - 5.0)) y=(f(self.y(0.0))) text-anchor="end" { (least) }
            text.label x=(f(LEFT - 5.0)) y=(f(self.top + 9.0)) text-anchor="end" { (most) }
        }
    }

    /// Where time begins and ends, below it.
    fn ends(&self) -> Markup {
        let y = f(self.y(0.0) + LINE - 2.0);
        let digits = usize::from(self.seconds < 100.0);
        html! {
            text.label x=(f(LEFT)) y=(y) { "0 s" }
            text.label x=(f(WIDTH - RIGHT)) y=(y) text-anchor="end" { (format!("{:.digits$} s", self.seconds)) }
        }
    }
}

/// Latencies lie far apart: a logarithm shows all of them.
#[derive(Debug, Clone, Copy)]
struct Scale {
    fastest: u64,
    slowest: u64,
}

impl Scale {
    /// So that all of these are on it.
    fn of(all: impl Iterator<Item = u64> + Clone) -> Self {
        Self {
            fastest: all.clone().min().unwrap_or(1).max(2) / 2,
            slowest: all.max().unwrap_or(0).max(2),
        }
    }

    fn share(&self, us: u64) -> f64 {
        let (low, high) = ((self.fastest as f64).ln(), (self.slowest as f64).ln());
        ((us.max(1) as f64).ln() - low) / (high - low).max(0.1)
    }
}

fn f(value: f64) -> String {
    format!("{value:.1}")
}

/// A point of a line, or a gap.
type Point = Option<(f64, f64)>;

/// A line that breaks where there is no value. What stands alone is a dot: a line of no length would not be seen.
fn path(points: &[Point]) -> String {
    let mut out = String::new();
    for run in points.split(Option::is_none) {
        for (n, (x, y)) in run.iter().flatten().enumerate() {
            out.push_str(&format!("{}{x:.1} {y:.1}", if n == 0 { "M" } else { "L" }));
        }
    }
    out
}

/// Those points of a line that have no neighbour.
fn alone(points: &[Point]) -> Vec<Point> {
    let runs = points.split(Option::is_none);
    let single = runs.filter_map(|run| match run {
        [one] => Some(*one),
        _ => None,
    });
    single.collect()
}

/// A dot at each point.
fn dots(points: &[Point]) -> String {
    let dot = |(x, y): &(f64, f64)| format!("M{x:.1} {y:.1}h0");
    points.iter().flatten().map(dot).collect()
}

/// A line with its dots.
fn line(class: &str, points: &[Point]) -> Markup {
    let single = alone(points);
    html! {
        path class=(class) d=(path(points)) {}
        @if !single.is_empty() { path class=(format!("{class} single")) d=(dots(&single)) {} }
    }
}

/// As wide as there is room.
fn frame(title: &str, height: f64, content: &Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(title) {
            title { (title) }
            (content)
        }
    }
}

/// What colours and marks mean: a class, a sign and words each.
pub(super) fn legend<C: AsRef<str>, W: AsRef<str>>(entries: &[(C, &str, W)]) -> Markup {
    html! {
        p.legend {
            @for (class, sign, words) in entries {
                span { span class=(class.as_ref()) aria-hidden="true" { (sign) } " " (words.as_ref()) }
                " "
            }
        }
    }
}

/// The sign of a line, and of an area, in a legend.
const LINE_SIGN: &str = "\u{2014}";
const AREA_SIGN: &str = "\u{25a0}";

/// The width of a label, rather too large than too small.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// Spans in their order, those as one that touch in the picture: there are no more of them than it is wide.
fn joined(spans: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    for (from, to) in spans {
        match all.last_mut() {
            Some((_, end)) if from <= *end => *end = end.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}
