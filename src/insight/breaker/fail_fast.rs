//! How fast a service says no while its breaker is open.
//!
//! No web framework answers in under a millisecond at every percentile, so the time of a refusal says little by itself: what a
//! breaker adds is what it takes beyond a request that needs no dependency at all.

use super::super::calls::InFlight;
use super::super::demand::Demand;
use super::super::finding::{Evidence, Finding};
use super::super::millis;
use super::super::sample::{Sample, needed};
use super::super::silence::{Silence, requests};
use super::super::view::{Seen, View};
use crate::measure::trace::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

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
    let made = Made::of(view);
    let mut refusals = Vec::new();
    for silence in silences {
        for request in requests(view, demand, silence.span) {
            let attempt = request.attempt;
            if attempt.ended <= silence.span.to && attempt.outcome.is_answered() {
                evidence.example(attempt.ended, request.record);
                // What a fallback asks of others is not the breaker's.
                refusals.push(made.without(request).unwrap_or(attempt.latency()));
            }
        }
    }
    let refusals: Sample = refusals.into_iter().collect();
    let bare = Bare::gather(view, silences);
    let undisturbed = undisturbed(view, demand, &made);
    let (floor, of) = floor(&bare, &undisturbed);
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
    let (refusal, without) = (at(&refusals, 0.95), at(floor, 0.95));
    let undisturbed = (undisturbed.len() >= least).then(|| millis(at(&undisturbed, 0.95)));
    Finding::known(
        FailFast {
            p50_ms: millis(at(&refusals, 0.5)),
            p95_ms: millis(refusal),
            p99_ms: millis(at(&refusals, 0.99)),
            max_ms: millis(at(&refusals, 1.0)),
            excess_p95_ms: millis(refusal.saturating_sub(without)),
            floor_p95_ms: millis(without),
            undisturbed_p95_ms: undisturbed,
            slower: bare.slower(),
        },
        evidence,
    )
}

/// Answers to requests of routes that make no calls: what framework and machine take by themselves.
struct Bare {
    before: Sample,
    meanwhile: Sample,
    ever: Sample,
}

impl Bare {
    fn gather(view: &View<'_>, silences: &[Silence]) -> Self {
        let bare = routes_without_calls(view);
        let (mut before, mut meanwhile, mut ever) = (Vec::new(), Vec::new(), Vec::new());
        for request in view.api_requests() {
            let attempt = request.attempt;
            if !bare.contains(&attempt.operation) || !attempt.outcome.is_answered() {
                continue;
            }
            let latency = attempt.latency();
            ever.push(latency);
            if view.baseline.contains(attempt.begun) {
                before.push(latency);
            }
            if silences.iter().any(|s| s.span.contains(attempt.begun)) {
                meanwhile.push(latency);
            }
        }
        Self {
            before: before.into_iter().collect(),
            meanwhile: meanwhile.into_iter().collect(),
            ever: ever.into_iter().collect(),
        }
    }

    /// How many times as long they took meanwhile: at the median, or at the 95th percentile, where more of it shows.
    fn slower(&self) -> f64 {
        if self.before.len() < ENOUGH || self.meanwhile.len() < ENOUGH {
            return 1.0;
        }
        let at = |sample: &Sample, q| sample.quantile(q).unwrap_or(0).max(1) as f64;
        let times = [0.5, 0.95].map(|q| at(&self.meanwhile, q) / at(&self.before, q));
        times.into_iter().fold(1.0, f64::max)
    }
}

/// What an answer takes without a call: of routes that make none, at the same time if there are enough; else undisturbed requests
/// less the time of their calls.
fn floor<'a>(bare: &'a Bare, undisturbed: &'a Sample) -> (&'a Sample, &'static str) {
    let least = needed(0.95) as usize;
    if bare.meanwhile.len() >= least {
        let of = "requests of routes that make no calls, meanwhile";
        (&bare.meanwhile, of)
    } else if bare.ever.len() >= least {
        (&bare.ever, "requests of routes that make no calls")
    } else {
        let of = "undisturbed requests of the same routes, less the time of their calls";
        (undisturbed, of)
    }
}

/// Requests that make calls, of the baseline, less the time of these, where it is known.
fn undisturbed(view: &View<'_>, demand: &Demand, calls: &Made) -> Sample {
    let all = requests(view, demand, view.baseline);
    all.filter_map(|r| calls.without(r)).collect()
}

/// The time of the calls that each request of the service made, as far as it is known whose they were.
#[derive(Default)]
struct Made {
    /// By the request's record: in nanoseconds, and until when that is.
    times: HashMap<usize, (u64, u64)>,
    /// Records of requests that may have made a call of another's.
    unsure: HashSet<usize>,
}

impl Made {
    fn of(view: &View<'_>) -> Self {
        let bare = routes_without_calls(view);
        let able = view.api_requests().iter().copied();
        let able: Vec<Seen<'_>> = able
            .filter(|r| !bare.contains(&r.attempt.operation))
            .collect();
        let mut in_flight = InFlight::new(&able);
        let mut made = Self::default();
        for (_, call) in super::super::went_on::calls(view) {
            let call = call.attempt;
            in_flight.advance(call.begun);
            let active = in_flight.active();
            // Who waits for a call has no answer before it.
            let waits = |r: &usize| able[*r].attempt.ended >= call.ended;
            let waiting: Vec<usize> = active.iter().copied().filter(waits).collect();
            match (&waiting[..], active) {
                (&[only], _) | ([], &[only]) => made.add(&able[only], call.begun, call.ended),
                ([], several) => made.unsure.extend(several.iter().map(|r| able[*r].record)),
                (several, _) => made.unsure.extend(several.iter().map(|r| able[*r].record)),
            }
        }
        made
    }

    fn add(&mut self, request: &Seen<'_>, begun: u64, ended: u64) {
        let ended = ended.min(request.attempt.ended);
        let (time, until) = self.times.entry(request.record).or_default();
        *time += ended.saturating_sub(begun.max(*until));
        *until = ended.max(*until);
    }

    /// What a request took without its calls; `None`: not known.
    fn without(&self, request: &Seen<'_>) -> Option<u64> {
        if self.unsure.contains(&request.record) {
            return None;
        }
        let time = self.times.get(&request.record).map_or(0, |(time, _)| *time);
        Some(request.attempt.latency().saturating_sub(time))
    }
}

/// Routes of the service that are known to call no dependency, also none but this.
fn routes_without_calls(view: &View<'_>) -> HashSet<Name> {
    let routes: HashSet<Name> = view
        .api_requests()
        .iter()
        .map(|r| r.attempt.operation)
        .collect();
    routes
        .into_iter()
        .filter(|route| view.calls_nothing(*route))
        .collect()
}
