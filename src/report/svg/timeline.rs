//! Requests, failures, what waits, and latency by time.

use super::{
    AREA_SIGN, CHARACTER, LINE, LINE_SIGN, Markup, Plane, Point, STRIP, Scale, WIDTH, dots, f,
    frame, legend, line, width_of,
};
use crate::insight::view::Span;
use crate::report::figure;
use crate::report::scene::{Mark, Marked, Phase, Scene};
use crate::report::steps::Steps;
use crate::report::traffic::{Second, Traffic};
use maud::html;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Rows for names of phases that lie close to each other.
const NAME_ROWS: usize = 3;

/// The place that a mark takes.
const MARK: f64 = 9.0;

/// A name at a moment: where it is written, and in which row.
struct Named<'n> {
    phase: &'n Phase,
    /// Its moment.
    at: f64,
    /// Where it begins, and its row; `None`: there is no room.
    place: Option<(f64, usize)>,
}

/// Names at their moments, so that none covers another. Returns how many rows they take as well.
fn names<'n>(of: impl Iterator<Item = (&'n Phase, f64)>) -> (Vec<Named<'n>>, usize) {
    let mut ends = [f64::NEG_INFINITY; NAME_ROWS];
    let placed: Vec<Named<'n>> = of
        .map(|(phase, at)| {
            let width = width_of(&phase.name);
            let x = (at + 3.0).min(WIDTH - width).max(0.0);
            let row = ends.iter().position(|end| *end <= x);
            if let Some(row) = row {
                ends[row] = x + width + CHARACTER;
            }
            let place = row.map(|row| (x, row));
            Named { phase, at, place }
        })
        .collect();
    let rows = placed.iter().filter_map(|n| n.place);
    let rows = rows.map(|(_, row)| row + 1).max().unwrap_or(0);
    (placed, rows)
}

/// The planes of a timeline, one below the other on one axis.
struct Planes {
    marks: f64,
    rate: Plane,
    waiting: Plane,
    latency: Plane,
}

impl Planes {
    fn below(rows: usize, seconds: f64) -> Self {
        let plane = |top, height| Plane {
            seconds,
            top,
            height,
        };
        // Of marks that lie close to each other every other stands above.
        let marks = LINE * rows as f64 + 6.0 + MARK;
        let rate = plane(marks + 6.0 + STRIP + 2.0, 64.0);
        let waiting = plane(rate.y(0.0) + LINE + 6.0, 20.0);
        let latency = plane(waiting.y(0.0) + STRIP + 10.0, 84.0);
        Self {
            marks,
            rate,
            waiting,
            latency,
        }
    }
}

/// The picture with what its colours mean.
pub(in super::super) fn timeline(traffic: &Traffic, steps: &Steps, scene: &Scene) -> Markup {
    let all = &steps.all;
    let begins = scene.phases.iter();
    let axis = Planes::below(0, scene.seconds).rate;
    let (begins, rows) = names(begins.map(|phase| (phase, axis.at(phase.span.from))));
    let planes = Planes::below(rows, scene.seconds);
    let felt = scene.felt(&traffic.proxy);
    let Planes {
        rate,
        waiting,
        latency,
        ..
    } = planes;
    let limits: Vec<_> = scene.limits(&traffic.proxy).collect();
    let bounds = limits.iter().map(|(limit, _)| limit.at_most_us);
    let figures = all
        .iter()
        .flat_map(|s| [s.p50_us, s.max_us, s.waited_us].into_iter().flatten());
    let scale = Scale::of(figures.chain(bounds));
    let content = html! {
        (rate.shade(&felt)) (rate.strip(&felt)) (waiting.shade(&felt)) (latency.shade(&felt))
        @for Named { phase, at, place } in &begins {
            line.phase x1=(f(*at)) y1=(f(LINE * place.map_or(rows, |(_, row)| row) as f64 + 2.0)) x2=(f(*at)) y2=(f(latency.y(0.0))) {}
            @if let Some((x, row)) = place {
                text class=(format!("label {}", phase.class)) x=(f(*x)) y=(f(LINE * (*row as f64 + 1.0) - 4.0)) { (phase.name) }
            }
        }
        (marks(planes.marks, &rate, scene.marks(&traffic.proxy)))
        (rates(&rate, steps))
        (waits(&waiting, steps))
        (latency.axis(&figure::duration(scale.fastest), &figure::duration(scale.slowest)))
        @for (limit, spans) in &limits { path.limit d=(level(&latency, latency.y(scale.share(limit.at_most_us)), spans)) {} }
        (latencies(&latency, &scale, steps))
        (latency.ends())
    };
    let height = latency.y(0.0) + LINE + 2.0;
    let title = format!("{} by time", traffic.proxy);
    html! {
        (keys(traffic, steps, scene, limits.len()))
        (frame(&title, height, &content))
    }
}

/// A level over some times.
fn level(plane: &Plane, y: f64, spans: &[Span]) -> String {
    let line = |span: &Span| {
        format!(
            "M{:.1} {y:.1}H{:.1}",
            plane.at(span.from),
            plane.at(span.to)
        )
    };
    spans.iter().map(line).collect()
}

fn keys(traffic: &Traffic, steps: &Steps, scene: &Scene, limits: usize) -> Markup {
    let any = |of: fn(&Second) -> bool| steps.all.iter().any(of);
    let mut keys = vec![("is-rate", AREA_SIGN, "requests a second")];
    if any(|s| s.failed > 0) {
        keys.push(("is-bad", AREA_SIGN, "of these, failed"));
    }
    if any(|s| s.outstanding > 0) {
        keys.push(("is-out", AREA_SIGN, "begun, and still waiting at its end"));
        let told = if any(|s| s.waited_us.is_some()) {
            "so long one had waited, without an answer yet"
        } else {
            "some had no answer yet; how long is not known"
        };
        keys.push(("is-out", "\u{2191}", told));
    }
    keys.push(("is-p50", LINE_SIGN, "p50"));
    if !steps.p95.is_empty() {
        keys.push(("is-p95", LINE_SIGN, "p95"));
    }
    keys.push(("is-max", "\u{2022}", "largest (latency on a log scale)"));
    if limits > 0 {
        keys.push(("is-limit", "- -", "limit on latency"));
    }
    if !scene.felt(&traffic.proxy).is_empty() {
        keys.push(("is-fault", AREA_SIGN, "a fault was felt"));
    }
    let marked: BTreeSet<_> = scene.marks(&traffic.proxy).map(|m| m.what).collect();
    let mut marked: Vec<_> = marked.into_iter().map(Marked::key).collect();
    marked.dedup();
    keys.extend(marked);
    legend(&keys)
}

/// What happened, in a row above: those of one kind that touch as one.
fn marks<'m>(y: f64, plane: &Plane, marks: impl Iterator<Item = &'m Mark>) -> Markup {
    let mut drawn: Vec<(f64, f64, Marked)> = Vec::new();
    for mark in marks {
        let x = plane.at(mark.at);
        let near = |far: f64| {
            drawn
                .iter()
                .rev()
                .take(8)
                .filter(move |one| x - one.0 < far)
        };
        if near(3.0).any(|(.., what)| what.key() == mark.what.key()) {
            continue;
        }
        let above = near(MARK).any(|one| one.1 >= y);
        drawn.push((x, if above { y - MARK } else { y }, mark.what));
    }
    html! {
        @for (x, y, what) in drawn { path class=(format!("mark {}", what.key().0)) d=(shape(what, x, y)) {} }
    }
}

fn shape(what: Marked, x: f64, y: f64) -> String {
    let (left, top) = (x - 4.0, y - 4.0);
    match what {
        Marked::FaultOn => format!("M{left:.1} {top:.1}h8l-4 8z"),
        Marked::FaultOff => format!("M{left:.1} {:.1}h8l-4 -8z", y + 4.0),
        Marked::Opened | Marked::Closed => {
            format!("M{left:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0")
        }
        Marked::Stopped => format!("M{left:.1} {top:.1}h8v8h-8z"),
        Marked::Other(_) => format!("M{x:.1} {top:.1}v8"),
    }
}

/// Bars of a step's real length, as high as its rate.
fn rates(plane: &Plane, steps: &Steps) -> Markup {
    let all = steps.all.iter().enumerate();
    let most = all.filter_map(|(n, s)| steps.rate(n, s.ended));
    let most = most.fold(0.0, f64::max);
    let top = if most < 10.0 {
        format!("{most:.1}")
    } else {
        format!("{most:.0}")
    };
    let bars = |of: fn(&Second) -> u64| {
        let share = |(n, s): (usize, &Second)| Some((n, steps.rate(n, of(s))? / most.max(0.001)));
        bars(plane, steps, steps.all.iter().enumerate().filter_map(share))
    };
    html! {
        path.rate d=(bars(|s| s.ended)) {}
        path.bad d=(bars(|s| s.failed)) {}
        (plane.axis("0", &format!("{top}/s")))
    }
}

fn bars(plane: &Plane, steps: &Steps, shares: impl Iterator<Item = (usize, f64)>) -> String {
    let mut out = String::new();
    let ground = plane.y(0.0);
    for (n, share) in shares.filter(|(_, share)| *share > 0.0) {
        let (from, to) = steps.span(n);
        let (left, right) = (plane.x(from), plane.x(to));
        let right = (right - 0.5).max(left + 0.5);
        // What is rare is to be seen as well.
        let top = plane.y(share).min(ground - 1.0);
        let _ = write!(
            out,
            "M{left:.1} {ground:.1}V{top:.1}H{right:.1}V{ground:.1}z"
        );
    }
    out
}

/// How many had no answer at the end of each step.
fn waits(plane: &Plane, steps: &Steps) -> Markup {
    let out = |step: &Second| step.outstanding;
    let most = steps.all.iter().map(out).max().unwrap_or(0);
    let all = steps.all.iter().enumerate();
    let shares = all.map(|(n, s)| (n, s.outstanding as f64 / most.max(1) as f64));
    html! {
        path.out d=(bars(plane, steps, shares)) {}
        (plane.axis("", &if most > 0 { format!("{most} wait") } else { "0 wait".into() }))
    }
}

/// p50, p95 and the largest, and how long what has no answer has waited: that is more than what is drawn of it.
fn latencies(plane: &Plane, scale: &Scale, steps: &Steps) -> Markup {
    let middle = |n| {
        let (from, to) = steps.span(n);
        plane.x(f64::midpoint(from, to))
    };
    let points = |of: fn(&Second) -> Option<u64>| -> Vec<Point> {
        let point = |(n, second)| Some((middle(n), plane.y(scale.share(of(second)?))));
        steps.all.iter().enumerate().map(point).collect()
    };
    let waiting = steps
        .all
        .iter()
        .enumerate()
        .filter(|(_, s)| s.outstanding > 0);
    let arrow = |(n, step): (usize, &Second)| {
        let (_, end) = steps.span(n);
        // Of older documents nobody knows how long: the most that there is room for.
        let share = step.waited_us.map_or(1.0, |us| scale.share(us));
        arrow(plane.x(end), plane.y(share))
    };
    html! {
        (line("p50", &points(|s| s.p50_us)))
        (line("p95", &p95(plane, scale, steps)))
        path.dots d=(dots(&points(|s| s.max_us))) {}
        path.arrows d=(waiting.map(arrow).collect::<String>()) {}
    }
}

/// An arrow upwards from a value that is only a lower bound.
fn arrow(x: f64, y: f64) -> String {
    format!("M{x:.1} {y:.1}v-7m-2.5 2.5l2.5 -2.5l2.5 2.5")
}

/// A point for a step, a flat part for several together; a gap where there are too few answers.
fn p95(plane: &Plane, scale: &Scale, steps: &Steps) -> Vec<Point> {
    let mut points = Vec::new();
    let mut next = 0;
    for wide in &steps.p95 {
        if wide.first > next {
            points.push(None);
        }
        next = wide.last + 1;
        let y = plane.y(scale.share(wide.p95_us));
        let (from, to) = (steps.span(wide.first), steps.span(wide.last));
        if wide.first == wide.last {
            points.push(Some((plane.x(f64::midpoint(from.0, from.1)), y)));
        } else {
            points.extend([Some((plane.x(from.0), y)), Some((plane.x(to.1), y))]);
        }
    }
    points
}
