//! What is expected of circuit breakers. Of several processes, each with a breaker of its own, the worst counts.

use super::{Case, Expectation, Phases, Scope, text};
use crate::insight::breaker::{self, Breaker, FailFast, Opening};
use crate::insight::silence::SHORTEST;
use crate::insight::view::Span;
use crate::insight::{Evidence, SECOND, View, millis, seconds};
use crate::measure::trace::ProxyIndex;
use crate::verify::verdict::{Judgement, Verdict};
use std::time::Duration;

/// Samples of a p95.
const LEAST: u64 = 59;

/// It opens after so many failures in a row.
#[derive(Debug)]
pub(crate) struct OpensAfter(pub(crate) u64);

/// While it is open, the service says no this much later than a request without the dependency takes.
#[derive(Debug)]
pub(crate) struct FailsFast(pub(crate) Duration);

/// It closes by itself.
#[derive(Debug)]
pub(crate) struct Closes(pub(crate) bool);

/// The worst verdict over all breakers.
fn worst(case: &Case<'_>, scope: &Scope, one: impl Fn(&Breaker) -> Judgement) -> Judgement {
    let proxy = match case.proxy(scope) {
        Ok(proxy) => proxy,
        Err(judgement) => return *judgement,
    };
    let rank = |j: &Judgement| match j.verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive { .. } => 1,
        Verdict::Fail { .. } => 2,
        Verdict::Error { .. } => 3,
    };
    let all = breaker::infer(&case.view, proxy);
    all.iter().map(one).max_by_key(rank).unwrap_or_else(|| {
        Judgement::inconclusive(
            "nothing is known of a breaker",
            "load that makes the service call this dependency",
            Evidence::default(),
        )
    })
}

/// Calls that have to be due in a time in which none came before that says anything.
const DUE: f64 = 7.0;

/// Why a breaker could not have closed in a time: there was no service to close it, or nobody asked for what it guards.
fn could_not_close(
    view: &View<'_>,
    proxy: ProxyIndex,
    after: Span,
) -> Option<(String, &'static str)> {
    let unreached = view
        .api
        .map_or(0, |api| view.passed(api).unreached_in(after));
    if unreached > 0 {
        let reason =
            format!("the service itself could not be reached {unreached} times after the fault");
        return Some((
            reason,
            "a service that lives until the end: a breaker goes with its process",
        ));
    }
    let due = view.demand(proxy).map_or(0.0, |d| d.expected(view, after));
    (due < DUE).then(|| {
        let reason = format!(
            "{due:.0} calls were due in the {:.1} s after the fault",
            seconds(after.length())
        );
        (reason, "load until the end of the recovery phase")
    })
}

/// Breakers behind what was counted; `None`: not known.
const fn breakers(breaker: &Breaker) -> Option<u64> {
    match (breaker.process, breaker.breakers) {
        (Some(_), _) => Some(1),
        (None, Some(k)) => Some(k as u64),
        (None, None) => None,
    }
}

const WORKERS: &str = "say how many processes the service has: `workers` below [service]";

impl OpensAfter {
    fn one(&self, breaker: &Breaker) -> Judgement {
        let limit = self.0;
        let evidence = breaker.opening.evidence.clone();
        let opening = match &breaker.opening.answer {
            Ok(opening) => *opening,
            Err(unknown) => return Judgement::unknown(unknown, evidence),
        };
        if let Opening::StayedClosed {
            failures,
            in_flight,
        } = opening
        {
            let Some(k) = breakers(breaker) else {
                return Judgement::inconclusive(
                    format!(
                        "it did not open in {failures} failures, of an unknown number of processes"
                    ),
                    WORKERS,
                    evidence,
                );
            };
            let enough = limit.saturating_mul(k) + in_flight + 1;
            if failures >= enough {
                let why = format!("{failures} failures in a row, and calls went on");
                return Judgement::fail("never opened", why, evidence);
            }
            return Judgement::inconclusive(
                format!(
                    "{failures} failures in a row; {enough} are needed to say that it does not open"
                ),
                "a longer fault phase or a higher rate",
                evidence,
            );
        }
        let evidence = breaker.threshold.evidence.clone();
        let interval = match &breaker.threshold.answer {
            Ok(interval) => interval,
            Err(unknown) => return Judgement::unknown(unknown, evidence),
        };
        let (low, high) = (interval.low, interval.high);
        let measured = if low == high {
            format!("{low}")
        } else {
            format!("{low} to {high}")
        };
        let mut judgement = if interval.contains(limit) && high - low <= 1 {
            Judgement::pass(measured.clone(), evidence)
        } else if interval.contains(limit) {
            Judgement::inconclusive(
                format!("it opened after {low} to {high} failures: calls in flight blur the count"),
                "a lane of load with callers = 1, and none beside it",
                evidence,
            )
        } else if breakers(breaker).is_none() && low > limit {
            Judgement::inconclusive(
                format!(
                    "it opened after {low} to {high} failures, of an unknown number of processes"
                ),
                WORKERS,
                evidence,
            )
        } else {
            let why = format!("it opened after {measured} failures in a row");
            Judgement::fail(measured.clone(), why, evidence)
        };
        judgement.measured = measured;
        judgement
    }
}

impl Expectation for OpensAfter {
    fn target(&self) -> String {
        format!("breaker opens after {}", self.0)
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        worst(case, scope, |breaker| self.one(breaker))
    }
}

/// What else than the breaker may have made refusals slow.
fn excuse(fast: &FailFast, limit: f64) -> Option<(String, &'static str)> {
    if fast.excess_p95_ms / fast.slower <= limit {
        let reason = format!(
            "requests without any dependency took {:.1} times as long meanwhile as before: the machine was slower",
            fast.slower
        );
        return Some((reason, "less at once on this machine, or more cores"));
    }
    let own = fast.undisturbed_p95_ms?;
    (fast.p95_ms - own * fast.slower <= limit).then(|| {
        let reason =
            format!("it takes {own:.2} ms by itself when nothing is wrong, beside its calls");
        (
            reason,
            "load on a route that does little beside this dependency",
        )
    })
}

impl Expectation for FailsFast {
    fn target(&self) -> String {
        format!("fails fast: p95 <= baseline + {}", text(self.0))
    }

    fn requests(&self) -> Vec<(Phases, u64)> {
        // It may stay open longer than the fault lasts.
        vec![(Phases::Since, LEAST)]
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let limit = self.0.as_secs_f64() * 1000.0;
        worst(case, scope, |breaker| {
            let mut evidence = breaker.fails_fast.evidence.clone();
            match &breaker.fails_fast.answer {
                Err(unknown) => Judgement::unknown(unknown, evidence),
                Ok(_) if evidence.samples < LEAST => Judgement::inconclusive(
                    format!(
                        "{} requests while it was open; p95 needs {LEAST}",
                        evidence.samples
                    ),
                    "a longer fault phase or a higher rate",
                    evidence,
                ),
                Ok(fast) => {
                    evidence.figure("p50_ms", fast.p50_ms);
                    evidence.figure("p95_ms", fast.p95_ms);
                    evidence.figure("excess_p95_ms", fast.excess_p95_ms);
                    evidence.figure("floor_p95_ms", fast.floor_p95_ms);
                    let why = format!(
                        "it said no after {:.2} ms (p95), {:.2} ms more than a request without the dependency",
                        fast.p95_ms, fast.excess_p95_ms
                    );
                    if fast.excess_p95_ms > limit
                        && let Some((reason, remedy)) = excuse(fast, limit)
                    {
                        return Judgement::inconclusive(
                            format!("{why}; but {reason}"),
                            remedy,
                            evidence,
                        );
                    }
                    let late = millis(case.view.usually_late());
                    if fast.excess_p95_ms > limit && fast.excess_p95_ms <= limit + late {
                        return Judgement::inconclusive(
                            format!("{why}, by no more than the proxy itself was late"),
                            "less at once on this machine, or more cores",
                            evidence,
                        );
                    }
                    let measured = format!("{:+.2}ms", fast.excess_p95_ms);
                    Judgement::of(fast.excess_p95_ms <= limit, measured, why, evidence)
                }
            }
        })
    }
}

impl Expectation for Closes {
    fn target(&self) -> String {
        format!("breaker closes: {}", self.0)
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        // That it stays open is only said of one that had its time twice, and a second.
        let least = if self.0 { SHORTEST } else { SECOND };
        Some((Phases::After, Duration::from_nanos(least)))
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let wanted = self.0;
        let view = &case.view;
        let proxy = case.proxy(scope).ok();
        let after = proxy
            .and_then(|proxy| view.disturbed(proxy))
            .map(|span| Span {
                from: span.to,
                to: view.asked_to.max(span.to),
            });
        let left = after.map_or(0.0, |after| seconds(after.length()));
        let hindered = proxy.zip(after);
        let hindered = hindered.and_then(|(proxy, after)| could_not_close(view, proxy, after));
        worst(case, scope, |breaker| {
            let mut evidence = breaker.closing.evidence.clone();
            if let Ok(closing) = &breaker.closing.answer {
                evidence.figure("after_seconds", closing.after_seconds);
                evidence.figure("successes", closing.successes as f64);
                let measured = format!("closed after {:.2}s", closing.after_seconds);
                return Judgement::of(wanted, measured, "it closed by itself", evidence);
            }
            let opened = matches!(breaker.opening.answer, Ok(Opening::Opened { .. }));
            let open = breaker.open_seconds.value().map(|i| i.high);
            evidence.figure("watched_seconds", left);
            match open {
                // Half-open comes lazily, so twice the open time is given.
                Some(open) if opened && left >= 2.0 * open + 1.0 => match &hindered {
                    Some((reason, remedy)) => Judgement::inconclusive(reason, *remedy, evidence),
                    None => Judgement::of(
                        !wanted,
                        "stayed open",
                        format!(
                            "{left:.1} s after the fault it had not closed; it stays open for {open:.1} s"
                        ),
                        evidence,
                    ),
                },
                _ => match &breaker.closing.answer {
                    Err(unknown) => Judgement::unknown(unknown, evidence),
                    Ok(_) => Judgement::pass("closed", evidence),
                },
            }
        })
    }
}
