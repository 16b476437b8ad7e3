//! How fast a service says no while its breaker is open.
//!
//! No web framework answers in under a millisecond at every percentile, so the time of a refusal says little by itself: what a
//! breaker adds is what it takes beyond a request that needs no dependency at all.

use super::super::demand::Demand;
use super::super::finding::{Evidence, Finding};
use super::super::millis;
use super::super::sample::{Sample, needed};
use super::super::silence::{Silence, requests};
use super::super::view::View;
use crate::measure::trace::Attempt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Latency of refusals, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailFast {
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile; where there are too few for it, the largest.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
    /// 95th percentile beyond that of requests that need no dependency; not below 0.
    pub excess_p95_ms: f64,
    /// 95th percentile of those.
    pub floor_p95_ms: f64,
    /// 95th percentile of the same requests while nothing was wrong, less the time of their calls: what they take by themselves.
    /// None where too few were seen, and in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undisturbed_p95_ms: Option<f64>,
    /// How many times as long requests that need no dependency took meanwhile as they did before: the machine. 1 where they took
    /// no longer, or where that is not known.
    #[serde(default = "as_before")]
    pub slower: f64,
}

const fn as_before() -> f64 {
    1.0
}

/// Requests with which those of before and those of meanwhile are worth a comparison.
const ENOUGH: usize = 20;

pub(super) fn measure(view: &View<'_>, demand: &Demand, silences: &[Silence]) -> Finding<FailFast> {
    let mut evidence = Evidence::default();
    let mut refusals = Vec::new();
    for silence in silences {
        for request in requests(view, demand, silence.span) {
            let attempt = request.attempt;
            if attempt.ended <= silence.span.to && attempt.outcome.is_answered() {
                evidence.example(attempt.ended, request.record);
                // What a fallback asks of others is not the breaker's.
                let others = view.calls_within(attempt.begun, attempt.ended);
                refusals.push(attempt.latency().saturating_sub(others));
            }
        }
    }
    let refusals: Sample = refusals.into_iter().collect();
    let (floor, of) = floor(view, demand, silences);
    evidence.figure("floor_samples", floor.len() as f64);
    evidence.note(format!("compared with {of}"));
    let least = needed(0.95) as usize;
    if refusals.len() < least || floor.len() < least {
        let (what, n) = if refusals.len() < least {
            ("requests were answered while it was open", refusals.len())
        } else {
            (
                "requests show what an answer takes without a call",
                floor.len(),
            )
        };
        return Finding::unknown(
            format!("{n} {what}; a 95th percentile needs {least}"),
            "a longer fault phase or a higher rate; a route without dependencies under load beside it",
            evidence,
        );
    }
    let at = |sample: &Sample, q| sample.quantile(q).unwrap_or(0);
    let (own, bare) = (at(&refusals, 0.95), at(&floor, 0.95));
    let undisturbed = undisturbed(view, demand);
    let undisturbed = (undisturbed.len() >= least).then(|| millis(at(&undisturbed, 0.95)));
    Finding::known(
        FailFast {
            p50_ms: millis(at(&refusals, 0.5)),
            p95_ms: millis(own),
            p99_ms: millis(at(&refusals, 0.99)),
            max_ms: millis(at(&refusals, 1.0)),
            excess_p95_ms: millis(own.saturating_sub(bare)),
            floor_p95_ms: millis(bare),
            undisturbed_p95_ms: undisturbed,
            slower: slower(view, demand, silences),
        },
        evidence,
    )
}

/// What an answer takes without a call: of routes that make none, at the same time if there are enough; else undisturbed requests
/// less the time of their calls.
fn floor(view: &View<'_>, demand: &Demand, silences: &[Silence]) -> (Sample, &'static str) {
    let least = needed(0.95) as usize;
    let meanwhile = bare(view, demand, |at| {
        silences.iter().any(|s| s.span.contains(at))
    });
    if meanwhile.len() >= least {
        return (
            meanwhile,
            "requests of routes that make no calls, meanwhile",
        );
    }
    let ever = bare(view, demand, |_| true);
    if ever.len() >= least {
        return (ever, "requests of routes that make no calls");
    }
    (
        undisturbed(view, demand),
        "undisturbed requests of the same routes, less the time of their calls",
    )
}

/// Requests of routes that make no calls, begun at such times.
fn bare(view: &View<'_>, demand: &Demand, at: impl Fn(u64) -> bool) -> Sample {
    let requests = view.api_requests().iter().map(|r| r.attempt);
    requests
        .filter(|a| demand.does_without(a.operation) && a.outcome.is_answered() && at(a.begun))
        .map(Attempt::latency)
        .collect()
}

/// How many times as long they took meanwhile: at the median, or at the 95th percentile, where more of it shows.
fn slower(view: &View<'_>, demand: &Demand, silences: &[Silence]) -> f64 {
    let before = bare(view, demand, |at| view.baseline.contains(at));
    let meanwhile = bare(view, demand, |at| {
        silences.iter().any(|s| s.span.contains(at))
    });
    if before.len() < ENOUGH || meanwhile.len() < ENOUGH {
        return 1.0;
    }
    let at = |sample: &Sample, q| sample.quantile(q).unwrap_or(0).max(1) as f64;
    let times = [0.5, 0.95].map(|q| at(&meanwhile, q) / at(&before, q));
    times.into_iter().fold(1.0, f64::max)
}

/// Requests that make calls, of the baseline, less the time of these.
fn undisturbed(view: &View<'_>, demand: &Demand) -> Sample {
    let own = requests(view, demand, view.baseline).map(|r| {
        let request = r.attempt;
        let calls = view.calls_within(request.begun, request.ended);
        request.latency().saturating_sub(calls)
    });
    own.collect()
}
