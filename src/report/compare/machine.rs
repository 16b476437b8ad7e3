//! What the machine may have added: how late the load generator and the proxy were in each of two runs.

use super::super::figure;
use crate::verify::document::Document;

/// How late a timer may be on any machine, in milliseconds: it has ticks of one, and a moment passes until its task runs.
const USUAL_MS: f64 = 2.0;

/// A request and its answer each wait for a processor once more on their way.
const PASSES: f64 = 2.0;

/// Later than this, in milliseconds, and than twice as much as before: the machine was busier.
const BUSY_MS: f64 = 10.0;

/// A figure of latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Median,
    P95,
    P99,
}

impl Figure {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    pub(super) const fn quantile(self) -> f64 {
        match self {
            Self::Median => 0.5,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }
}

/// How late our own part was in a run at a percentile: the lane that was latest, or the proxy. Milliseconds.
fn late_ms(run: &Document, figure: Figure) -> f64 {
    let lanes = run.lanes.values().map(|lane| {
        let known = match figure {
            Figure::Median => lane.late_p50_ms,
            Figure::P95 => lane.late_p95_ms,
            Figure::P99 => None,
        };
        // Documents of older programs have but the p99: it is not less.
        known.unwrap_or(lane.late_p99_ms)
    });
    let proxy = run.lateness.map_or(0, |late| match figure {
        Figure::Median => late.usual_us,
        Figure::P95 | Figure::P99 => late.most_us,
    });
    lanes.fold(proxy as f64 / 1e3, f64::max)
}

/// What the machine may have added to a figure in a run, in microseconds: nothing where it was no later than it is anywhere.
pub(super) fn may_have_added(run: &Document, figure: Figure) -> u64 {
    match late_ms(run, figure) {
        late if late > USUAL_MS => (PASSES * late * 1e3) as u64,
        _ => 0,
    }
}

/// Whether the machine was much busier in the second run than in the first.
pub(super) fn was_busier(then: &Document, now: &Document) -> bool {
    let [then, now] = [then, now].map(|run| late_ms(run, Figure::P99));
    now > BUSY_MS && now > 2.0 * then
}

/// How late it was, for people.
pub(super) fn told(run: &Document, figure: Figure) -> String {
    let late = (late_ms(run, figure) * 1e3) as u64;
    format!("our own part was late by {} there", figure::duration(late))
}
