//! Latency by percentile, a line a phase.

use super::{
    CHARACTER, LEFT, LINE, LINE_SIGN, Markup, Plane, RIGHT, Scale, WIDTH, f, frame, legend, path,
};
use crate::insight::SECOND;
use crate::report::configuration::Limit;
use crate::report::figure;
use crate::report::scene::{Phase, Scene};
use crate::report::traffic::Traffic;
use hdrhistogram::Histogram;
use maud::html;

/// The right end: as many nines.
const NINES: f64 = 3.4;

/// A phase with all its latencies together, and what had no answer in it.
#[derive(Debug)]
pub(in super::super) struct InPhase {
    pub(in super::super) name: String,
    pub(in super::super) class: String,
    pub(in super::super) latencies: Histogram<u64>,
    /// Begun, and without an answer at its end.
    pub(in super::super) outstanding: u64,
}

impl InPhase {
    /// "fault (n 0, 3 still out)".
    fn words(&self) -> String {
        let (name, n) = (&self.name, self.latencies.len());
        match self.outstanding {
            0 => format!("{name} (n {n})"),
            out => format!("{name} (n {n}, {out} still out at its end)"),
        }
    }
}

/// Every phase of the run in its order, also those in which nothing was answered: all operations together, as histograms, which
/// can be added.
pub(in super::super) fn by_phase(traffic: &Traffic, scene: &Scene) -> Vec<InPhase> {
    let phase = |name: &str| InPhase {
        name: name.to_owned(),
        class: scene.class(name).to_owned(),
        latencies: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that are valid"),
        outstanding: 0,
    };
    let mut phases: Vec<InPhase> = Vec::new();
    for of in &scene.phases {
        let outstanding = outstanding(traffic, of);
        phases.push(InPhase {
            outstanding,
            ..phase(&of.name)
        });
    }
    for operation in &traffic.operations {
        let Some(latencies) = operation.latencies() else {
            continue;
        };
        let found = phases.iter().position(|p| p.name == operation.phase);
        let found = found.unwrap_or_else(|| {
            phases.push(phase(&operation.phase));
            phases.len() - 1
        });
        // Both are of the same bounds.
        let _ = phases[found].latencies.add(&latencies);
    }
    phases
}

/// As it was counted; of older documents as the last whole second of the phase says.
fn outstanding(traffic: &Traffic, phase: &Phase) -> u64 {
    if let Some(counted) = traffic.phases.iter().find(|p| p.phase == phase.name) {
        return counted.outstanding;
    }
    let ends = traffic.seconds.iter().zip(1_u64..);
    let within = ends.filter(|(_, n)| {
        let end = n.saturating_mul(SECOND);
        phase.span.from < end && end <= phase.span.to
    });
    within.last().map_or(0, |(second, _)| second.outstanding)
}

fn nines(q: f64) -> f64 {
    -(1.0 - q).max(1e-9).log10()
}

/// Which percentile a limit is about. `None`: one of the mean has no place here.
fn percentile(limit: &Limit) -> Option<f64> {
    match limit.figure.strip_prefix('p') {
        Some(number) => Some(number.parse::<f64>().ok()? / 100.0).filter(|q| *q < 1.0),
        None => (limit.figure == "max").then_some(1.0),
    }
}

/// The picture with what its colours mean.
pub(in super::super) fn spectrum(traffic: &Traffic, phases: &[InPhase], scene: &Scene) -> Markup {
    let limits: Vec<_> = scene.limits(&traffic.proxy).collect();
    let limits: Vec<(f64, u64)> = limits
        .iter()
        .filter_map(|(limit, _)| Some((percentile(limit)?, limit.at_most_us)))
        .collect();
    // Of nothing there is no least.
    let some = phases.iter().filter(|p| !p.latencies.is_empty());
    let ends = some.flat_map(|p| [p.latencies.min(), p.latencies.max()]);
    let scale = Scale::of(ends.chain(limits.iter().map(|(_, us)| *us)));
    let plane = Plane {
        seconds: NINES,
        top: 8.0,
        height: 130.0,
    };
    let at = |q: f64| plane.x(nines(q));
    let content = html! {
        (plane.axis(&figure::duration(scale.fastest), &figure::duration(scale.slowest)))
        @for (q, name) in [(0.0, "0"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")] {
            line.phase x1=(f(at(q))) y1=(f(plane.top)) x2=(f(at(q))) y2=(f(plane.y(0.0))) {}
            text.label x=(f(at(q))) y=(f(plane.y(0.0) + LINE - 2.0)) text-anchor="middle" { (name) }
        }
        @for phase in phases.iter().filter(|p| !p.latencies.is_empty()) { (one(&plane, &scale, phase)) }
        @for (q, us) in &limits {
            @let (x, y) = (at(*q).min(WIDTH - RIGHT - CHARACTER), plane.y(scale.share(*us)));
            path.limit d=(format!("M{LEFT:.1} {y:.1}H{x:.1}")) {}
            path.goal d=(format!("M{:.1} {y:.1}l5 -5l5 5l-5 5z", x - 5.0)) {}
        }
    };
    let words = phases
        .iter()
        .map(|p| (p.class.as_str(), LINE_SIGN, p.words()));
    let mut keys: Vec<(&str, &str, String)> = words.collect();
    keys.push((
        "",
        "\u{2022}",
        "the largest of a phase (latency on a log scale)".into(),
    ));
    if !limits.is_empty() {
        keys.push(("is-limit", "\u{25c7}", "limit".into()));
    }
    let height = plane.y(0.0) + LINE + 2.0;
    let title = format!("latency of {} by percentile and phase", traffic.proxy);
    html! { (legend(&keys)) (frame(&title, height, &content)) }
}

/// The line of a phase, with its largest.
fn one(plane: &Plane, scale: &Scale, phase: &InPhase) -> Markup {
    let latencies = &phase.latencies;
    let steps = (0_u32..=68).map(|n| f64::from(n) * 0.05);
    let points = steps.map(|at| {
        let q = 1.0 - 10_f64.powf(-at);
        // A percentile that no sample bounds is not drawn; the largest value stands at the end.
        (latencies.len() as f64 * (1.0 - q) >= 1.0 || at == 0.0).then(|| {
            (
                plane.x(at),
                plane.y(scale.share(latencies.value_at_quantile(q))),
            )
        })
    });
    // Where one sample in all lies: the largest.
    let end = plane.x(nines(1.0 - 1.0 / latencies.len() as f64).clamp(0.0, NINES));
    html! {
        path class=(format!("line {}", phase.class)) d=(path(&points.collect::<Vec<_>>())) {}
        circle class=(format!("dot {}", phase.class)) cx=(f(end)) cy=(f(plane.y(scale.share(latencies.max())))) r="2.5" {}
    }
}
