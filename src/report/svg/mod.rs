//! Pictures as inline SVG. Behind each stands a table with the same figures; gaps are gaps, and maxima are drawn.

use super::figure;
use super::steps::Steps;
use super::traffic::{Operation, Process, Second, Traffic};
use crate::insight::SECOND;
use crate::insight::breaker::Breaker;
use crate::insight::view::Span;
use hdrhistogram::Histogram;
use maud::{Markup, html};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;

/// What a line of text takes, and a character at most, in the font of labels.
const LINE: f64 = 12.0;
const CHARACTER: f64 = 5.3;

/// The height of a strip.
const STRIP: f64 = 6.0;

/// Rows for names of phases that lie close to each other.
const NAME_ROWS: usize = 3;

/// Where seconds and values lie.
struct Plane {
    seconds: f64,
    top: f64,
    height: f64,
}

impl Plane {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.seconds.max(1.0)
    }

    /// `share` of the height, from below.
    fn y(&self, share: f64) -> f64 {
        self.top + self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    /// The time in which a fault touched something: behind what is drawn.
    fn shade(&self, felt: Option<Span>) -> Markup {
        self.felt("fault", self.top, self.height, felt)
    }

    /// The same as a strip above, where what is drawn would hide it or be taken for it.
    fn strip(&self, felt: Option<Span>) -> Markup {
        self.felt("strip", self.top - STRIP, STRIP - 1.0, felt)
    }

    fn felt(&self, class: &str, top: f64, height: f64, felt: Option<Span>) -> Markup {
        html! {
            @if let Some(felt) = felt {
                @let from = self.x(felt.from as f64 / SECOND as f64);
                @let to = self.x(felt.to as f64 / SECOND as f64);
                rect class=(class) x=(f(from)) y=(f(top)) width=(f((to - from).max(1.0))) height=(f(height)) {}
            }
        }
    }

    fn axis(&self, name: &str, least: &str, most: &str) -> Markup {
        html! {
            line.axis x1=(f(LEFT)) y1=(f(self.y(0.0))) x2=(f(WIDTH - RIGHT)) y2=(f(self.y(0.0))) {}
            text.label x=(f(LEFT - 6.0)) y=(f(self.y(0.0))) text-anchor="end" { (least) }
            text.label x=(f(LEFT - 6.0)) y=(f(self.top + 10.0)) text-anchor="end" { (most) }
            text.label x=(f(LEFT)) y=(f(self.top - STRIP - 3.0)) { (name) }
        }
    }
}

fn f(value: f64) -> String {
    format!("{value:.1}")
}

/// A line that breaks where there is no value.
fn path(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut out = String::new();
    let mut pen = "M";
    for point in points {
        match point {
            Some((x, y)) => {
                out.push_str(&format!("{pen}{x:.1} {y:.1}"));
                pen = "L";
            }
            None => pen = "M",
        }
    }
    out
}

/// On a small screen it is not made unreadable, but moved.
fn frame(title: &str, height: f64, content: &Markup) -> Markup {
    html! {
        div.scroll.picture tabindex="0" role="region" aria-label=(title) { svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            (content)
        } }
    }
}

/// The width of a label, rather too large than too small.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// What colours mean, in as many lines as it takes. Returns the lines with it.
fn legend(entries: &[(String, String)], top: f64) -> (Markup, f64) {
    let (mut x, mut lines) = (LEFT, 0.0);
    let mut placed = Vec::with_capacity(entries.len());
    for (class, text) in entries {
        if x > LEFT && x + width_of(text) > WIDTH - RIGHT {
            (x, lines) = (LEFT, lines + 1.0);
        }
        placed.push((x, top + LINE * (lines + 1.0) - 3.0, class, text));
        x += width_of(text) + 2.0 * CHARACTER;
    }
    let drawn = html! {
        @for (x, y, class, text) in placed {
            text class=(format!("label {class}")) x=(f(x)) y=(f(y)) { (text) }
        }
    };
    (drawn, lines + 1.0)
}

/// A name at a moment: where it is written, and in which row.
struct Named<'n> {
    name: &'n str,
    /// Its moment.
    at: f64,
    /// Where it begins, and its row; `None`: there is no room.
    place: Option<(f64, usize)>,
}

/// Names at their moments, so that none covers another. Returns how many rows they take as well.
fn names<'n>(of: impl Iterator<Item = (&'n str, f64)>) -> (Vec<Named<'n>>, usize) {
    let mut ends = [f64::NEG_INFINITY; NAME_ROWS];
    let placed: Vec<Named<'n>> = of
        .map(|(name, at)| {
            let width = width_of(name);
            let x = (at + 3.0).min(WIDTH - width).max(0.0);
            let row = ends.iter().position(|end| *end <= x);
            if let Some(row) = row {
                ends[row] = x + width + CHARACTER;
            }
            let place = row.map(|row| (x, row));
            Named { name, at, place }
        })
        .collect();
    let rows = placed
        .iter()
        .filter_map(|n| n.place)
        .map(|(_, row)| row + 1);
    let rows = rows.max().unwrap_or(0);
    (placed, rows)
}

/// Where time begins and ends, below a plane.
fn ends(plane: &Plane, seconds: f64) -> Markup {
    let y = f(plane.y(0.0) + LINE);
    html! {
        text.label x=(f(LEFT)) y=(y) { "0 s" }
        text.label x=(f(WIDTH - RIGHT)) y=(y) text-anchor="end" { (format!("{seconds:.0} s")) }
    }
}

/// Bars of a step's width.
fn bars(plane: &Plane, steps: &Steps, most: u64, of: fn(&Second) -> u64) -> String {
    let mut out = String::new();
    let ground = plane.y(0.0);
    for (n, second) in steps.all.iter().enumerate().filter(|(_, s)| of(s) > 0) {
        let (from, to) = steps.span(n);
        let (left, right) = (plane.x(from), plane.x(to));
        let right = (right - 0.5).max(left + 0.5);
        // What is rare is to be seen as well.
        let top = plane.y(of(second) as f64 / most as f64).min(ground - 1.0);
        let _ = write!(
            out,
            "M{left:.1} {ground:.1}V{top:.1}H{right:.1}V{ground:.1}z"
        );
    }
    out
}

/// Requests, failures and latency of a proxy by step, with the phases and the fault's effect.
pub(super) fn timeline(
    traffic: &Traffic,
    steps: &Steps,
    phases: &[(String, Span)],
    felt: Option<Span>,
) -> Markup {
    let all = &steps.all;
    let most = all.iter().map(|s| s.ended).max().unwrap_or(0).max(1);
    let slowest = all.iter().filter_map(|s| s.max_us).max();
    let slowest = slowest.unwrap_or(0).max(2);
    let fastest = all.iter().filter_map(|s| s.p50_us).min();
    let fastest = fastest.unwrap_or(1).max(2) / 2;
    let mut rate = Plane {
        seconds: steps.seconds as f64,
        top: 0.0,
        height: 90.0,
    };
    let begins = phases.iter().map(|(name, span)| {
        let x = rate.x(span.from as f64 / SECOND as f64);
        (name.as_str(), x)
    });
    let (begins, rows) = names(begins);
    rate.top = LINE * rows as f64 + 28.0;
    let latency = Plane {
        top: rate.top + rate.height + 36.0,
        ..rate
    };
    // Latencies lie far apart: a logarithm shows all of them.
    let log = |us: u64| {
        let (low, high) = ((fastest as f64).ln(), (slowest as f64).ln());
        ((us.max(1) as f64).ln() - low) / (high - low).max(0.1)
    };
    let points = |of: fn(&Second) -> Option<u64>| -> Vec<Option<(f64, f64)>> {
        let point = |(n, second)| {
            let (from, to) = steps.span(n);
            let y = latency.y(log(of(second)?));
            Some((latency.x(f64::midpoint(from, to)), y))
        };
        all.iter().enumerate().map(point).collect()
    };
    let content = html! {
        (rate.shade(felt)) (rate.strip(felt)) (latency.shade(felt)) (latency.strip(felt))
        @for Named { name, at, place } in &begins {
            line.phase x1=(f(*at)) y1=(f(LINE * place.map_or(rows, |(_, row)| row) as f64 + 2.0)) x2=(f(*at)) y2=(f(latency.y(0.0))) {}
            @if let Some((x, row)) = place { text.label x=(f(*x)) y=(f(LINE * (*row as f64 + 1.0) - 2.0)) { (name) } }
        }
        (rate.axis(&format!("requests in {}; red: failed; shaded: the fault was felt", steps.words()), "0", &most.to_string()))
        path.rate d=(bars(&rate, steps, most, |s| s.ended)) {}
        path.bad d=(bars(&rate, steps, most, |s| s.failed)) {}
        (latency.axis("", &figure::duration(fastest), &figure::duration(slowest)))
        (lines_of_latency(latency.top - LINE - STRIP))
        path.p50 d=(path(points(|s| s.p50_us).into_iter())) {}
        path.p95 d=(path(points(|s| s.p95_us).into_iter())) {}
        path.dots d=(dots(points(|s| s.max_us))) {}
        (ends(&latency, latency.seconds))
    };
    let height = latency.y(0.0) + LINE + 4.0;
    frame(&format!("{} by time", traffic.proxy), height, &content)
}

/// A dot at each point.
fn dots(points: Vec<Option<(f64, f64)>>) -> String {
    let dot = |(x, y)| format!("M{x:.1} {y:.1}h0");
    points.into_iter().flatten().map(dot).collect()
}

/// Which line is which.
fn lines_of_latency(top: f64) -> Markup {
    let entries = [
        ("", "latency (log scale):"),
        ("is-p50", "p50"),
        ("is-p95", "p95"),
        ("is-max", "\u{2022} largest"),
    ];
    let entries = entries.map(|(class, text)| (class.to_owned(), text.to_owned()));
    legend(&entries, top).0
}

/// Shades of a heat map.
const SHADES: usize = 16;

/// How many answers took how long in each step.
pub(super) fn heat(traffic: &Traffic, steps: &Steps, felt: Option<Span>) -> Markup {
    let buckets = || steps.all.iter().flat_map(|s| s.buckets.keys());
    let (Some(low), Some(high)) = (buckets().min().copied(), buckets().max().copied()) else {
        return html! { p { "Nothing was answered." } };
    };
    let rows = f64::from(high - low + 1);
    let plane = Plane {
        seconds: steps.seconds as f64,
        top: 24.0,
        height: rows * 12.0,
    };
    let content = html! {
        text.label x=(f(LEFT)) y="10" { "answers in " (steps.words()) " by latency, the stronger the more; strip: the fault was felt" }
        (plane.strip(felt))
        @for (n, cells) in shades(&plane, steps, high).iter().enumerate().filter(|(_, cells)| !cells.is_empty()) {
            @let opacity = 0.15 + 0.85 * n as f64 / (SHADES - 1) as f64;
            path.heat d=(cells) fill-opacity=(format!("{opacity:.2}")) {}
        }
        @for bucket in low..=high {
            text.label x=(f(LEFT - 6.0)) y=(f(plane.top + f64::from(high - bucket) * 12.0 + 10.0)) text-anchor="end" { (figure::duration(1 << bucket)) }
        }
        (ends(&plane, plane.seconds))
    };
    frame(
        &format!("latencies of {} by time", traffic.proxy),
        plane.top + plane.height + LINE + 4.0,
        &content,
    )
}

/// The cells of each shade as one path: a page has many of them.
fn shades(plane: &Plane, steps: &Steps, high: u8) -> Vec<String> {
    let counts = steps.all.iter().flat_map(|s| s.buckets.values());
    let most = counts.max().copied().unwrap_or(1);
    let mut shades = vec![String::new(); SHADES];
    for (n, step) in steps.all.iter().enumerate() {
        let (from, to) = steps.span(n);
        let (left, right) = (plane.x(from), plane.x(to));
        let width = (right - left).max(1.0);
        for (bucket, count) in &step.buckets {
            // What is rare is to be seen as well.
            let share = (1.0 + *count as f64).ln() / (1.0 + most as f64).ln();
            let shade = (share * (SHADES - 1) as f64).round() as usize;
            let top = plane.top + f64::from(high - bucket) * 12.0;
            let cells = &mut shades[shade.min(SHADES - 1)];
            let _ = write!(cells, "M{left:.1} {top:.0}h{width:.1}v12h-{width:.1}z");
        }
    }
    shades
}

/// Latency by percentile, a line a phase.
pub(super) fn spectrum(phases: &[(String, Histogram<u64>)]) -> Markup {
    // Of nothing there is no least.
    let some = || phases.iter().filter(|(_, h)| !h.is_empty());
    let slowest = some().map(|(_, h)| h.max()).max().unwrap_or(1).max(2);
    let fastest = some().map(|(_, h)| h.min()).min().unwrap_or(1).max(2) / 2;
    // One nine more is one step to the right.
    let marks = [
        (0.0, "0"),
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
    ];
    let nines = |q: f64| -(1.0 - q).log10();
    let entries = phases.iter().enumerate().map(|(n, (name, histogram))| {
        let count = histogram.len();
        let class = if count == 0 {
            String::new()
        } else {
            format!("line{}", n % 5)
        };
        (class, format!("{name} (n {count})"))
    });
    let (entries, lines) = legend(&entries.collect::<Vec<_>>(), 0.0);
    let plane = Plane {
        seconds: 3.4,
        top: LINE * lines + 24.0,
        height: 150.0,
    };
    let height = |us: u64| {
        let (low, high) = ((fastest as f64).ln(), (slowest as f64).ln());
        ((us.max(1) as f64).ln() - low) / (high - low).max(0.1)
    };
    let line = |histogram: &Histogram<u64>| {
        let steps = (0_u32..=68).map(|n| f64::from(n) * 0.05);
        path(steps.map(|at| {
            let q = 1.0 - 10_f64.powf(-at);
            // A percentile that no sample bounds is not drawn; the largest value stands at the end.
            (histogram.len() as f64 * (1.0 - q) >= 1.0 || at == 0.0)
                .then(|| (plane.x(at), plane.y(height(histogram.value_at_quantile(q)))))
        }))
    };
    let content = html! {
        (entries)
        (plane.axis("latency (log scale) by percentile; dots: the largest", &figure::duration(fastest), &figure::duration(slowest)))
        @for (q, name) in marks {
            line.phase x1=(f(plane.x(nines(q)))) y1=(f(plane.top)) x2=(f(plane.x(nines(q)))) y2=(f(plane.y(0.0))) {}
            text.label x=(f(plane.x(nines(q)))) y=(f(plane.y(0.0) + 14.0)) text-anchor="middle" { (name) }
        }
        @for (n, (_, histogram)) in phases.iter().enumerate() {
            @if !histogram.is_empty() {
                path class=(format!("line line{}", n % 5)) d=(line(histogram)) {}
                // Where one sample in all lies: the largest.
                circle.max cx=(f(plane.x(nines(1.0 - 1.0 / histogram.len() as f64).clamp(0.0, 3.4)))) cy=(f(plane.y(height(histogram.max())))) r="2.5" {}
            }
        }
    };
    let height = plane.y(0.0) + LINE + 10.0;
    frame("latency by percentile and phase", height, &content)
}

/// The states of a breaker over time.
pub(super) fn breaker(breaker: &Breaker, length: u64, felt: Option<Span>) -> Markup {
    let plane = Plane {
        seconds: length as f64 / SECOND as f64,
        top: 26.0,
        height: 22.0,
    };
    let at = |ns: u64| plane.x(ns as f64 / SECOND as f64);
    let end = at(length);
    let spans = breaker.episodes.iter().map(|episode| {
        let from = at(episode.tripped_to);
        (from, episode.probed.map_or(end, at).max(from + 1.0))
    });
    let (top, height) = (plane.top, plane.height);
    let open = |(from, to)| format!("M{from:.1} {top:.1}H{to:.1}v{height:.1}H{from:.1}z");
    let open: String = joined(spans).into_iter().map(open).collect();
    let content = html! {
        rect.closed x=(f(LEFT)) y=(f(plane.top)) width=(f(end - LEFT)) height=(f(plane.height)) {}
        path.open d=(open) {}
        (plane.strip(felt))
        (legend(&[
            ("is-closed".into(), "\u{25a0} closed".into()), ("is-open".into(), "\u{25a0} open".into()),
            (String::new(), "strip: the fault was felt".into()),
        ], 0.0).0)
        (ends(&plane, plane.seconds))
    };
    frame(
        &format!("breaker before {}", breaker.dependency),
        plane.y(0.0) + LINE + 4.0,
        &content,
    )
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

/// Memory and processor time of a process.
pub(super) fn process(process: &Process, length: u64) -> Markup {
    let seconds = length as f64 / SECOND as f64;
    let most = process
        .looks
        .iter()
        .map(|l| l.memory)
        .max()
        .unwrap_or(1)
        .max(1);
    let busiest = process
        .looks
        .iter()
        .filter_map(|l| l.cpu)
        .fold(1.0, f64::max);
    let memory = Plane {
        seconds,
        top: 20.0,
        height: 60.0,
    };
    let cpu = Plane {
        seconds,
        top: 104.0,
        height: 60.0,
    };
    let content = html! {
        (memory.axis("memory", "0", &figure::megabytes(most)))
        path.p95 d=(path(process.looks.iter().map(|l| Some((memory.x(l.at as f64 / SECOND as f64), memory.y(l.memory as f64 / most as f64)))))) {}
        (cpu.axis("processor time, share of one core", "0", &format!("{:.0} %", busiest * 100.0)))
        (ends(&cpu, seconds))
        path.p50 d=(path(process.looks.iter().map(|l| l.cpu.map(|share| (cpu.x(l.at as f64 / SECOND as f64), cpu.y(share / busiest)))))) {}
    };
    frame(&format!("what {} took", process.name), 180.0, &content)
}

/// The latencies of each phase: all operations together, as histograms, which can be added.
pub(super) fn by_phase(operations: &[Operation]) -> Vec<(String, Histogram<u64>)> {
    let mut phases: Vec<(String, Histogram<u64>)> = Vec::new();
    for operation in operations {
        let Some(latencies) = operation.latencies() else {
            continue;
        };
        match phases.iter_mut().find(|(name, _)| *name == operation.phase) {
            Some((_, sum)) => {
                // Both are of the same bounds.
                let _ = sum.add(&latencies);
            }
            None => phases.push((operation.phase.clone(), latencies)),
        }
    }
    phases
}
