//! Retries: how many attempts a call takes, how far apart, and whether many clients do it in step.

use super::calls::{Call, Calls, InFlight, Reading, Try};
use super::demand::Demand;
use super::finding::{Evidence, Finding, Interval};
use super::sample::Sample;
use super::view::{Span, View};
use super::{MILLISECOND, SECOND, millis};
use crate::measure::trace::ProxyIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Retried calls that the spread of gaps is read from, at least.
const LEAST: usize = 20;

/// Coefficient of variation of a gap below which nothing varies it.
const NO_JITTER: f64 = 0.05;

/// ... from which on it is spread well.
const JITTER: f64 = 0.25;

/// Ratio of one gap to the one before from which on they grow.
const GROWS: f64 = 1.4;

/// How gaps develop from one attempt to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// At once.
    None,
    /// Always as long.
    Fixed,
    /// Longer each time.
    Growing,
}

/// Whether gaps are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// All clients come back in step.
    None,
    /// A little.
    Weak,
    /// Well.
    Spread,
}

/// What is known of retries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retries {
    /// Attempts of one call, at most: an interval where some attempts could be retries or other callers.
    pub most_attempts: Interval<u64>,
    /// Attempts on the wire for each request of the service's own, in the fault over before; `None`: the demand is not known.
    pub amplification: Option<f64>,
    /// The same in the worst second.
    pub peak_amplification: Option<f64>,
    /// How gaps develop; `None`: too few retries.
    pub backoff: Option<Backoff>,
    /// Whether they are spread; `None`: too few retries.
    pub jitter: Option<Jitter>,
    /// Medians of the gaps by attempt, in milliseconds.
    pub gaps_ms: Vec<f64>,
}

/// Attempts that must have been due for a ratio to them. What a request makes on average may be a little less than one.
const LEAST_DUE: f64 = 0.9;

/// A pause below this is none: what a service does between two attempts takes as long.
const AT_ONCE: u64 = 5 * MILLISECOND;

/// How the clients of a proxy retry.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Retries> {
    let mut evidence = Evidence::default();
    let Some(affected) = view.affected(proxy) else {
        return Finding::unknown(
            "no fault touched a request to this dependency",
            "let the fault match what the service asks, and the phase last long enough for it",
            evidence,
        );
    };
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let joined = view.calls(proxy, Reading::Joined);
    let apart = view.calls(proxy, Reading::Apart);
    let failed = |c: &&Call| c.affected;
    for call in joined.calls.iter().filter(failed) {
        evidence.observe(call.start);
    }
    let most = |calls: &Calls| {
        let tries = calls
            .calls
            .iter()
            .filter(failed)
            .map(|c| u64::from(c.tries));
        tries.max().unwrap_or(0)
    };
    if most(joined) == 0 {
        return Finding::unknown(
            "no call that a fault touched was seen to end",
            "a fault on requests (`match = { class = [\"read\", \"write\"] }`), not on the way to them",
            evidence,
        );
    }
    // Who has no failure has nothing to repeat.
    let tempted = |call: &Call| call.tries > 1 || joined.tries_of(call).any(|t| t.failed);
    if !joined.calls.iter().filter(failed).any(tempted) {
        return Finding::unknown(
            "no call failed while the fault was on, so none was there to be retried",
            "a fault that makes calls fail (`error`, or `latency` above the client's timeout)",
            evidence,
        );
    }
    if joined.ambiguous > 0 {
        evidence.figure("ambiguous_attempts", joined.ambiguous as f64);
    }
    let gaps = Gaps::of(joined);
    let amplification = Amplification::of(view, proxy, affected);
    Finding::known(
        Retries {
            most_attempts: Interval::new(most(apart), most(joined)),
            amplification: amplification.as_ref().map(|a| a.mean),
            peak_amplification: amplification.as_ref().map(|a| a.peak),
            backoff: gaps.backoff(),
            jitter: gaps.jitter(view.usually_late()),
            gaps_ms: gaps.medians().into_iter().map(millis).collect(),
        },
        evidence,
    )
}

/// Times in which faults acted: of each outbreak from the first attempt that was touched to the end of the last, without the calm between two.
fn acted(view: &View<'_>, tries: &[Try], affected: Span) -> Vec<Span> {
    let begins = view.outbreaks();
    let mut acted: BTreeMap<usize, Span> = BTreeMap::new();
    for tried in tries.iter().filter(|t| t.affected) {
        let outbreak = begins.partition_point(|begun| *begun <= tried.start);
        let to = tried.end.saturating_add(1);
        let from = tried.start;
        let span = acted.entry(outbreak).or_insert(Span { from, to });
        span.to = span.to.max(to);
    }
    if acted.is_empty() {
        return vec![affected];
    }
    acted.into_values().collect()
}

/// Attempts that were due of the request whose attempt was the first to be touched: it began before that.
fn under_way(view: &View<'_>, demand: &Demand, at: u64) -> f64 {
    let mut in_flight = InFlight::new(view.api_requests());
    in_flight.advance(at);
    let requests = view.api_requests();
    let active = in_flight.active().iter().map(|r| requests[*r].attempt);
    let able = active.filter(|a| a.begun < at && demand.needs(a.operation));
    let last = able.max_by_key(|a| a.begun);
    last.and_then(|a| demand.per_request(a.operation))
        .unwrap_or(0.0)
}

/// Attempts for each one that was due.
struct Amplification {
    mean: f64,
    peak: f64,
}

impl Amplification {
    fn of(view: &View<'_>, proxy: ProxyIndex, affected: Span) -> Option<Self> {
        let demand = view.demand(proxy).ok()?;
        let tries = view.calls(proxy, Reading::Joined).tries();
        let count = |span: Span| {
            let first = tries.partition_point(|t| t.start < span.from);
            let last = tries.partition_point(|t| t.start < span.to);
            (last - first) as f64
        };
        let ratio = |span: Span| {
            let due = demand.expected(view, span);
            (due >= LEAST_DUE).then(|| count(span) / due)
        };
        let acted = acted(view, tries, affected);
        let asked = acted.iter().map(|span| span.from);
        let due: f64 = acted.iter().map(|span| demand.expected(view, *span)).sum();
        let due = due + asked.map(|at| under_way(view, demand, at)).sum::<f64>();
        let came: f64 = acted.iter().map(|span| count(*span)).sum();
        let mean = (due >= LEAST_DUE).then(|| came / due)?;
        let seconds = acted.iter().flat_map(|span| {
            let begins = (span.from..span.to).step_by(SECOND as usize);
            begins.map(|from| Span {
                from,
                to: (from + SECOND).min(span.to),
            })
        });
        let peaks = seconds.filter_map(ratio);
        Some(Self {
            mean,
            peak: peaks.fold(mean, f64::max),
        })
    }
}

/// Gaps between a failure and the attempt that follows it, by the number of the attempt.
struct Gaps(Vec<Sample>);

impl Gaps {
    fn of(calls: &Calls) -> Self {
        let mut gaps: Vec<Vec<u64>> = Vec::new();
        for call in calls.calls.iter().filter(|c| c.tries > 1) {
            let mut before = None;
            for (at, tried) in calls.tries_of(call).enumerate() {
                if let Some(ended) = before.replace(tried.end) {
                    if gaps.len() < at {
                        gaps.push(Vec::new());
                    }
                    // The pause is over when it connects, where it has to.
                    let came = if tried.opened > ended {
                        tried.opened
                    } else {
                        tried.start
                    };
                    gaps[at - 1].push(came.saturating_sub(ended));
                }
            }
        }
        Self(gaps.into_iter().map(Sample::from_iter).collect())
    }

    /// Where enough calls got as far.
    fn enough(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(|gap| gap.len() >= LEAST)
    }

    fn medians(&self) -> Vec<u64> {
        self.0.iter().filter_map(Sample::median).collect()
    }

    fn backoff(&self) -> Option<Backoff> {
        let medians: Vec<u64> = self.enough().filter_map(Sample::median).collect();
        let first = *medians.first()?;
        if medians.iter().all(|gap| *gap < AT_ONCE) {
            return Some(Backoff::None);
        }
        if medians.len() < 2 {
            return (self.0.len() < 2).then_some(Backoff::Fixed);
        }
        // A cap makes the last ones equal: the first steps decide.
        let last = medians[medians.len().min(4) - 1];
        let steps = (medians.len().min(4) - 1) as f64;
        let ratio = (last.max(1) as f64 / first.max(1) as f64).powf(1.0 / steps);
        Some(if ratio >= GROWS {
            Backoff::Growing
        } else {
            Backoff::Fixed
        })
    }

    /// The most even gap decides: one that is in step is enough for a herd.
    /// `late`: by how much the proxy may have varied them.
    fn jitter(&self, late: u64) -> Option<Jitter> {
        let long = self.enough().filter(|gap| gap.median() >= Some(AT_ONCE));
        let least = long.filter_map(Sample::variation).reduce(f64::min)?;
        let gap = self
            .enough()
            .filter_map(Sample::median)
            .filter(|gap| *gap >= AT_ONCE)
            .min()?;
        if (NO_JITTER..JITTER).contains(&least) && late as f64 > NO_JITTER * gap as f64 {
            return None;
        }
        Some(if least < NO_JITTER {
            Jitter::None
        } else if least < JITTER {
            Jitter::Weak
        } else {
            Jitter::Spread
        })
    }
}
