//! Pictures as inline SVG. Behind each stands a table with the same figures; gaps are gaps, and maxima are drawn.

use super::figure;
use super::traffic::{Operation, Process, Traffic};
use crate::insight::SECOND;
use crate::insight::breaker::Breaker;
use crate::insight::view::Span;
use hdrhistogram::Histogram;
use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;

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

    /// The time in which a fault touched something.
    fn shade(&self, felt: Option<Span>) -> Markup {
        html! {
            @if let Some(felt) = felt {
                @let from = self.x(felt.from as f64 / SECOND as f64);
                @let to = self.x(felt.to as f64 / SECOND as f64);
                rect.fault x=(f(from)) y=(f(self.top)) width=(f((to - from).max(1.0))) height=(f(self.height)) {}
            }
        }
    }

    fn axis(&self, name: &str, least: &str, most: &str) -> Markup {
        html! {
            line.axis x1=(f(LEFT)) y1=(f(self.y(0.0))) x2=(f(WIDTH - RIGHT)) y2=(f(self.y(0.0))) {}
            text.label x=(f(LEFT - 6.0)) y=(f(self.y(0.0))) text-anchor="end" { (least) }
            text.label x=(f(LEFT - 6.0)) y=(f(self.top + 10.0)) text-anchor="end" { (most) }
            text.label x=(f(LEFT)) y=(f(self.top - 4.0)) { (name) }
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

fn frame(title: &str, height: f64, content: &Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
            title { (title) }
            (content)
        }
    }
}

/// Requests, failures and latency of a proxy by second, with the phases and the fault's effect.
pub(super) fn timeline(traffic: &Traffic, phases: &[(String, Span)], felt: Option<Span>) -> Markup {
    let seconds = &traffic.seconds;
    let most = seconds.iter().map(|s| s.ended).max().unwrap_or(0).max(1);
    let slowest = seconds
        .iter()
        .filter_map(|s| s.max_us)
        .max()
        .unwrap_or(0)
        .max(2);
    let fastest = seconds
        .iter()
        .filter_map(|s| s.p50_us)
        .min()
        .unwrap_or(1)
        .max(2)
        / 2;
    let rate = Plane {
        seconds: seconds.len() as f64,
        top: 34.0,
        height: 90.0,
    };
    let latency = Plane {
        seconds: seconds.len() as f64,
        top: 154.0,
        height: 90.0,
    };
    let middle = |n: usize| n as f64 + 0.5;
    // Latencies lie far apart: a logarithm shows all of them.
    let log = |us: u64| {
        let (low, high) = ((fastest as f64).ln(), (slowest as f64).ln());
        ((us.max(1) as f64).ln() - low) / (high - low).max(0.1)
    };
    let line = |of: fn(&super::traffic::Second) -> Option<u64>| {
        path(
            seconds
                .iter()
                .enumerate()
                .map(|(n, s)| of(s).map(|us| (latency.x(middle(n)), latency.y(log(us))))),
        )
    };
    let content = html! {
        (rate.shade(felt)) (latency.shade(felt))
        @for (name, span) in phases {
            @let x = rate.x(span.from as f64 / SECOND as f64);
            line.phase x1=(f(x)) y1="14" x2=(f(x)) y2=(f(latency.y(0.0))) {}
            text.label x=(f(x + 3.0)) y="12" { (name) }
        }
        (rate.axis("requests a second; red: failed; shaded: the fault was felt", "0", &most.to_string()))
        @for (n, second) in seconds.iter().enumerate() {
            @let width = (rate.x(1.0) - rate.x(0.0)).max(1.0) - 0.5;
            @let (all, bad) = (second.ended as f64 / most as f64, second.failed as f64 / most as f64);
            @if second.ended > 0 {
                rect.rate x=(f(rate.x(n as f64))) y=(f(rate.y(all))) width=(f(width)) height=(f(rate.height * all)) {}
            }
            @if second.failed > 0 {
                rect.bad x=(f(rate.x(n as f64))) y=(f(rate.y(bad))) width=(f(width)) height=(f((rate.height * bad).max(1.0))) {}
            }
        }
        (latency.axis("latency (log scale): p50, p95, and the largest as dots", &figure::duration(fastest), &figure::duration(slowest)))
        path.p50 d=(line(|s| s.p50_us)) {}
        path.p95 d=(line(|s| s.p95_us)) {}
        @for (n, second) in seconds.iter().enumerate() {
            @if let Some(us) = second.max_us {
                circle.max cx=(f(latency.x(middle(n)))) cy=(f(latency.y(log(us)))) r="1.8" {}
            }
        }
        text.label x=(f(WIDTH - RIGHT)) y=(f(latency.y(0.0) + 14.0)) text-anchor="end" { (seconds.len()) " s" }
    };
    frame(&format!("{} by second", traffic.proxy), 262.0, &content)
}

/// How many answers took how long in each second.
pub(super) fn heat(traffic: &Traffic, felt: Option<Span>) -> Markup {
    let buckets = || traffic.seconds.iter().flat_map(|s| s.buckets.keys());
    let (Some(low), Some(high)) = (buckets().min().copied(), buckets().max().copied()) else {
        return html! { p { "Nothing was answered." } };
    };
    let rows = f64::from(high - low + 1);
    let most = traffic
        .seconds
        .iter()
        .flat_map(|s| s.buckets.values())
        .max()
        .copied()
        .unwrap_or(1);
    let plane = Plane {
        seconds: traffic.seconds.len() as f64,
        top: 14.0,
        height: rows * 12.0,
    };
    let width = (plane.x(1.0) - plane.x(0.0)).max(1.0);
    let content = html! {
        (plane.shade(felt))
        @for (n, second) in traffic.seconds.iter().enumerate() {
            @for (bucket, count) in &second.buckets {
                // What is rare is to be seen as well.
                @let shade = 0.15 + 0.85 * (1.0 + *count as f64).ln() / (1.0 + most as f64).ln();
                rect.heat x=(f(plane.x(n as f64))) y=(f(plane.top + f64::from(high - bucket) * 12.0)) width=(f(width)) height="12" fill-opacity=(format!("{shade:.2}")) {
                    title { "second " (n) ", from " (figure::duration(1 << bucket)) ": " (count) }
                }
            }
        }
        @for bucket in low..=high {
            text.label x=(f(LEFT - 6.0)) y=(f(plane.top + f64::from(high - bucket) * 12.0 + 10.0)) text-anchor="end" { (figure::duration(1 << bucket)) }
        }
    };
    frame(
        &format!("latencies of {} by second", traffic.proxy),
        plane.top + plane.height + 6.0,
        &content,
    )
}

/// Latency by percentile, a line a phase.
pub(super) fn spectrum(phases: &[(String, Histogram<u64>)]) -> Markup {
    let slowest = phases
        .iter()
        .map(|(_, h)| h.max())
        .max()
        .unwrap_or(1)
        .max(2);
    let fastest = phases
        .iter()
        .map(|(_, h)| h.min())
        .min()
        .unwrap_or(1)
        .max(2)
        / 2;
    // One nine more is one step to the right.
    let marks = [
        (0.0, "0"),
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
    ];
    let nines = |q: f64| -(1.0 - q).log10();
    let plane = Plane {
        seconds: 3.4,
        top: 24.0,
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
        (plane.axis("latency (log scale) by percentile", &figure::duration(fastest), &figure::duration(slowest)))
        @for (q, name) in marks {
            line.phase x1=(f(plane.x(nines(q)))) y1=(f(plane.top)) x2=(f(plane.x(nines(q)))) y2=(f(plane.y(0.0))) {}
            text.label x=(f(plane.x(nines(q)))) y=(f(plane.y(0.0) + 14.0)) text-anchor="middle" { (name) }
        }
        @for (n, (name, histogram)) in phases.iter().enumerate() {
            path class=(format!("line line{}", n % 5)) d=(line(histogram)) {}
            @if !histogram.is_empty() {
                // Where one sample in all lies: the largest.
                circle.max cx=(f(plane.x(nines(1.0 - 1.0 / histogram.len() as f64).clamp(0.0, 3.4)))) cy=(f(plane.y(height(histogram.max())))) r="2.5" {}
            }
            text class=(format!("label line{}", n % 5)) x=(f(LEFT + 90.0 * n as f64)) y="10" { (name) " (n " (histogram.len()) ")" }
        }
    };
    frame("latency by percentile and phase", 196.0, &content)
}

/// The states of a breaker over time.
pub(super) fn breaker(breaker: &Breaker, length: u64, felt: Option<Span>) -> Markup {
    let plane = Plane {
        seconds: length as f64 / SECOND as f64,
        top: 16.0,
        height: 26.0,
    };
    let at = |ns: u64| plane.x(ns as f64 / SECOND as f64);
    let end = at(length);
    let content = html! {
        rect.closed x=(f(LEFT)) y=(f(plane.top)) width=(f(end - LEFT)) height=(f(plane.height)) {}
        @for episode in &breaker.episodes {
            @let (from, to) = (at(episode.tripped_to), episode.probed.map_or(end, at));
            rect.open x=(f(from)) y=(f(plane.top)) width=(f((to - from).max(1.0))) height=(f(plane.height)) {}
        }
        (plane.shade(felt))
        text.label x=(f(LEFT)) y="10" { "light: closed; dark: open; behind it: the fault is felt" }
    };
    frame(
        &format!("breaker before {}", breaker.dependency),
        48.0,
        &content,
    )
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
        top: 18.0,
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
        path.p50 d=(path(process.looks.iter().map(|l| l.cpu.map(|share| (cpu.x(l.at as f64 / SECOND as f64), cpu.y(share / busiest)))))) {}
    };
    frame(&format!("what {} took", process.name), 172.0, &content)
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
