//! What one step of the search showed of a lane.

use super::ladder::Held;
use crate::insight::sample::Sample;
use crate::insight::{millis, seconds};
use crate::verify::expect::latency::Figure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Share of the limit, and of what exceeds it, that our own part may be late. More of either, and a machine that has too much to do
/// explains the latency as well as a slow service does.
const LATE: f64 = 0.1;
/// What it may be late whatever the limit is: a timer has ticks of a millisecond.
const TICKS: u64 = 2_000_000;
/// The same where the limit is no latency.
const LATE_WITHOUT: u64 = 50_000_000;
/// Share of the requests that were due which have to be sent.
const SENT: f64 = 0.95;
/// Requests that a share of failures is taken of.
const SHARE: u64 = 30;

/// What a rate has to keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slo {
    pub(crate) latency: Option<(Figure, Duration)>,
    /// Share of failures, at most.
    pub(crate) errors: f64,
}

impl Slo {
    /// The least requests that can show whether it is kept.
    pub(crate) fn samples(&self) -> u64 {
        self.latency
            .map_or(SHARE, |(figure, _)| figure.needed().max(SHARE))
    }

    /// How late our own part may be, in nanoseconds, before a latency says nothing of the service.
    pub(crate) fn may_be_late(&self) -> u64 {
        self.latency.map_or(LATE_WITHOUT, |(_, limit)| {
            TICKS.max((limit.as_nanos() as f64 * LATE) as u64)
        })
    }
}

/// A request that was due in a step. Nanoseconds of the process's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) at: u64,
    pub(crate) ok: bool,
    /// It failed on this machine, before the service.
    pub(crate) own: bool,
}

/// When the step was looked at, and what was asked of the generator in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Requests that were not sent, since too many were unanswered.
    pub(crate) skipped: u64,
    /// How late the proxy itself was, in nanoseconds.
    pub(crate) lag: u64,
}

/// A lane in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LaneStep {
    /// Requests a second that were asked of it.
    pub(crate) rate: f64,
    /// Successes a second, while the step lasted.
    pub(crate) achieved: f64,
    /// Requests that count.
    pub(crate) samples: u64,
    /// Share of failures.
    pub(crate) error_rate: f64,
    /// From the time at which a request was due, in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    /// How late requests were sent: p99, in milliseconds.
    pub(crate) late_p99_ms: f64,
    /// Requests that were due and not sent, since too many were unanswered.
    pub(crate) skipped: u64,
    pub(crate) held: Held,
    /// Why it did not keep its limits, or why that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// Judges a lane by the requests that were due in the window, all of which have ended. `slo`: a lane without one only takes part.
pub(crate) fn judge(slo: Option<&Slo>, calls: &[Due], window: &Window) -> LaneStep {
    let calls: Vec<&Due> = calls
        .iter()
        .filter(|c| window.from <= c.intended && c.intended < window.to)
        .collect();
    let length = seconds(window.to.saturating_sub(window.from)).max(1e-9);
    let intended: Sample = calls
        .iter()
        .map(|c| c.at.saturating_sub(c.intended))
        .collect();
    let late: Sample = calls
        .iter()
        .map(|c| c.sent.saturating_sub(c.intended))
        .collect();
    let failed = calls.iter().filter(|c| !c.ok).count();
    let answered = calls.iter().filter(|c| c.ok && c.at < window.to).count();
    let ms = |sample: &Sample, q: f64| sample.quantile(q).map_or(0.0, millis);
    let mut step = LaneStep {
        rate: window.rate,
        achieved: answered as f64 / length,
        samples: calls.len() as u64,
        error_rate: failed as f64 / calls.len().max(1) as f64,
        p50_ms: ms(&intended, 0.5),
        p95_ms: ms(&intended, 0.95),
        p99_ms: ms(&intended, 0.99),
        late_p99_ms: ms(&late, 0.99),
        skipped: window.skipped,
        held: Held::Kept,
        why: None,
    };
    let verdict = own_part(&calls, window, length).map_or(Ok(()), Err);
    let verdict = match slo {
        None => verdict,
        Some(slo) => verdict.and_then(|()| {
            let late = late.quantile(0.99).unwrap_or(0);
            kept(slo, &calls, window, late)
        }),
    };
    if let Err((held, why)) = verdict {
        (step.held, step.why) = (held, Some(why));
    }
    step
}

type Otherwise = (Held, String);

/// What went wrong on this machine, whatever the limits are.
fn own_part(calls: &[&Due], window: &Window, length: f64) -> Option<Otherwise> {
    let own = calls.iter().filter(|c| c.own).count();
    if own > 0 {
        let why =
            format!("{own} requests failed on this machine: no descriptors or ports are left");
        return Some((Held::Unknown, why));
    }
    let due = window.rate * length;
    if window.skipped == 0 && (calls.len() as f64) < SENT * due - 1.0 {
        let why = format!(
            "the load generator could not keep up: {} of {due:.0} requests were sent",
            calls.len()
        );
        return Some((Held::Unknown, why));
    }
    None
}

fn kept(slo: &Slo, calls: &[&Due], window: &Window, late: u64) -> Result<(), Otherwise> {
    let all = calls.len() as u64;
    if all < slo.samples() && window.skipped == 0 {
        let why = format!("{all} requests; {} are needed", slo.samples());
        return Err((Held::Unknown, why));
    }
    // What our own part was late makes answers late, and lets requests time out.
    let late = late.max(window.lag);
    let broken = |what: String, over: u64| {
        if late > slo.may_be_late().max((over as f64 * LATE) as u64) {
            let why = format!(
                "the load generator could not keep up: {:.1} ms late; {what}",
                millis(late)
            );
            return Err((Held::Unknown, why));
        }
        Err((Held::Broken, what))
    };
    let failed = calls.iter().filter(|c| !c.ok).count();
    if failed as f64 > slo.errors * all as f64 {
        return broken(format!("{failed} of {all} requests failed"), 0);
    }
    let Some((figure, limit)) = slo.latency else {
        return unsent(window);
    };
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    // A quick refusal is no quick answer: it counts as an error, and one that took too long as both.
    let of = |begin: fn(&Due) -> u64| -> Sample {
        calls
            .iter()
            .map(|c| (c.at.saturating_sub(begin(c)), c.ok))
            .filter(|(latency, ok)| *ok || *latency > limit)
            .map(|(latency, _)| latency)
            .collect()
    };
    let (holds, value) = figure.holds(&of(|c| c.intended), limit);
    if holds {
        return unsent(window);
    }
    let slow = format!("{} was {:.1} ms", figure.name(), millis(value));
    // From when it was really sent: without what our own part added.
    let (holds, from_sent) = figure.holds(&of(|c| c.sent), limit);
    if holds {
        let why = format!("{slow}, but not without the time that the load generator was late");
        return Err((Held::Unknown, why));
    }
    broken(slow, from_sent.saturating_sub(limit))
}

/// What was not sent has not been kept to any limit.
fn unsent(window: &Window) -> Result<(), Otherwise> {
    if window.skipped == 0 {
        return Ok(());
    }
    let why = format!(
        "{} requests were not sent, since too many were unanswered",
        window.skipped
    );
    Err((Held::Unknown, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn slo(limit: u64) -> Slo {
        Slo {
            latency: Some((Figure::Quantile(0.95), Duration::from_millis(limit))),
            errors: 0.01,
        }
    }

    /// 100 requests a second for two seconds.
    fn window() -> Window {
        Window {
            from: 0,
            to: 2000 * MS,
            rate: 100.0,
            skipped: 0,
            lag: 0,
        }
    }

    /// `late` and `took` in milliseconds, by number.
    fn calls(
        late: impl Fn(u64) -> u64,
        took: impl Fn(u64) -> u64,
        ok: impl Fn(u64) -> bool,
    ) -> Vec<Due> {
        let call = |n: u64| {
            let intended = n * 10 * MS;
            let sent = intended + late(n) * MS;
            Due {
                intended,
                sent,
                at: sent + took(n) * MS,
                ok: ok(n),
                own: false,
            }
        };
        (0..200).map(call).collect()
    }

    fn held(slo: &Slo, calls: &[Due], window: &Window) -> (Held, String) {
        let step = judge(Some(slo), calls, window);
        (step.held, step.why.unwrap_or_default())
    }

    #[test]
    fn a_service_is_judged_by_its_answers() {
        let quick = calls(|_| 0, |_| 5, |_| true);
        let step = judge(Some(&slo(10)), &quick, &window());
        assert_eq!(
            (step.held, step.samples, step.p95_ms),
            (Held::Kept, 200, 5.0)
        );
        assert!((step.achieved - 100.0).abs() < 1.0, "{step:?}");
        // Ten of two hundred may be slow, eleven not.
        let slow = |count| calls(|_| 0, move |n| if n < count { 50 } else { 5 }, |_| true);
        assert_eq!(held(&slo(10), &slow(10), &window()).0, Held::Kept);
        assert_eq!(held(&slo(10), &slow(11), &window()).0, Held::Broken);
        let failing = |count| calls(|_| 0, |_| 5, move |n| n >= count);
        assert_eq!(held(&slo(10), &failing(2), &window()).0, Held::Kept);
        let (held, why) = held(&slo(10), &failing(3), &window());
        assert_eq!(
            (held, why.as_str()),
            (Held::Broken, "3 of 200 requests failed")
        );
    }

    #[test]
    fn a_generator_that_is_late_is_no_slow_service() {
        // Answers take 5 ms, and requests are sent 20 ms after they were due.
        let late = calls(|_| 20, |_| 5, |_| true);
        let (what, why) = held(&slo(10), &late, &window());
        assert_eq!(what, Held::Unknown);
        assert!(why.contains("load generator was late"), "{why}");
        // The service is too slow by itself, but how slow cannot be told from a machine that is.
        let both = calls(|_| 20, |_| 50, |_| true);
        assert_eq!(held(&slo(10), &both, &window()).0, Held::Unknown);
        let timeouts = calls(|_| 20, |_| 50, |n| n % 2 == 0);
        assert_eq!(held(&slo(10), &timeouts, &window()).0, Held::Unknown);
        // Unless it is so slow that this explains nothing.
        let hopeless = calls(|_| 20, |_| 250, |_| true);
        assert_eq!(held(&slo(10), &hopeless, &window()).0, Held::Broken);
        // Within the bound, the time that it was late is not the service's either.
        let bit = calls(|_| 2, |_| 9, |_| true);
        assert_eq!(held(&slo(10), &bit, &window()).0, Held::Unknown);
        let slow = calls(|_| 2, |_| 11, |_| true);
        assert_eq!(held(&slo(10), &slow, &window()).0, Held::Broken);
        // Limits that are kept nevertheless are kept.
        assert_eq!(held(&slo(100), &late, &window()).0, Held::Kept);
        let lagging = Window {
            lag: 30 * MS,
            ..window()
        };
        assert_eq!(held(&slo(10), &slow, &lagging).0, Held::Unknown);
    }

    #[test]
    fn what_was_not_sent_is_not_kept() {
        let few = calls(|_| 0, |_| 5, |_| true);
        let (what, why) = held(&slo(10), &few[..150], &window());
        assert_eq!(what, Held::Unknown);
        assert!(why.contains("150 of 200"), "{why}");
        let skipped = Window {
            skipped: 7,
            ..window()
        };
        assert_eq!(held(&slo(10), &few[..150], &skipped).0, Held::Unknown);
        // Where what was sent was too slow, that is enough.
        let slow = calls(|_| 0, |_| 50, |_| true);
        assert_eq!(held(&slo(10), &slow[..150], &skipped).0, Held::Broken);
        let mut own = few;
        own[3].own = true;
        own[3].ok = false;
        assert_eq!(held(&slo(10), &own, &window()).0, Held::Unknown);
    }

    #[test]
    fn too_little_says_nothing() {
        let window = Window {
            to: 500 * MS,
            ..window()
        };
        let (what, why) = held(&slo(10), &calls(|_| 0, |_| 50, |_| true), &window);
        assert_eq!(what, Held::Unknown);
        assert!(why.contains("50 requests; 59"), "{why}");
    }
}
