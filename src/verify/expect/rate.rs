//! Limits on what succeeds and what fails; and whether everything works again.

use super::share::interval;
use super::{Case, Expectation, Phases, SICK, Scope};
use crate::insight::Evidence;
use crate::insight::sample::needed;
use crate::insight::view::Span;
use crate::verify::verdict::{Judgement, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests that a rate needs.
const LEAST: u64 = 30;

/// The share of failures has a limit.
///
/// It is judged by what was seen. That none failed of a few says little: as for a percentile there have to be so many that none of
/// them would fail once in twenty times, if the share were at the limit. Of fewer, only what is above the limit beyond doubt counts.
#[derive(Debug)]
pub(crate) struct ErrorRate(pub(crate) f64);

/// So many successes a second at least, by when their answers came.
#[derive(Debug)]
pub(crate) struct Throughput(pub(crate) f64);

/// What worked in the baseline works at the end.
#[derive(Debug)]
pub(crate) struct FullyFunctional;

/// Operations that worked in the baseline, by what became of them.
#[derive(Debug, Default)]
struct Operations<'n> {
    working: u32,
    unasked: Vec<&'n str>,
    broken: Vec<&'n str>,
    /// They fail at the end, and may do so as they did before.
    doubtful: Vec<&'n str>,
}

impl<'n> Operations<'n> {
    /// `before`, `end`: successes and failures.
    fn take(&mut self, name: &'n str, [before, end]: [[u64; 2]; 2]) {
        let share = |[good, bad]: [u64; 2]| bad as f64 / (good + bad) as f64;
        match (before, end) {
            ([0, _], _) => {}
            // What fails by itself shows nothing of the fault, and is not functional where nothing of it works.
            _ if share(before) > SICK => {
                if end[0] == 0 && end[1] > 0 {
                    self.doubtful.push(name);
                }
            }
            (_, [0, 0]) => self.unasked.push(name),
            (_, [_, 0]) => self.working += 1,
            ([_, 0], _) => self.broken.push(name),
            _ if share(end) <= SICK => self.working += 1,
            _ if interval(end[1], end[0] + end[1]).0 > SICK => self.broken.push(name),
            _ => self.doubtful.push(name),
        }
    }
}

/// What was asked, and what became of it.
#[derive(Debug, Clone, Default)]
struct Counted {
    all: u64,
    failed: u64,
    /// Connections whose upstream was never reached, where it is not known what they were for: in none of the other counts.
    unreached: u64,
    /// Requests of our own load that were due and not sent, likewise.
    unsent: u64,
    evidence: Evidence,
}

fn count(case: &Case<'_>, scope: &Scope) -> Counted {
    let mut counted = Counted::default();
    let evidence = &mut counted.evidence;
    if scope.lane.is_some() {
        for call in case.calls(scope) {
            if call.ok {
                evidence.observe(call.at);
            } else {
                counted.failed += 1;
                evidence.example(call.at, call.record);
            }
        }
        counted.unsent = case.unsent(scope);
        evidence.figure("not_sent", counted.unsent as f64);
    } else if let Ok(proxy) = case.proxy(scope) {
        let passed = case.view.passed(proxy);
        for seen in case.exchanges(scope) {
            if passed.fails(&seen) {
                counted.failed += 1;
                evidence.example(seen.attempt.ended, seen.record);
            } else {
                evidence.observe(seen.attempt.ended);
            }
        }
        let spans = case.spans(scope);
        let unreached: usize = spans.iter().map(|span| passed.unreached_in(*span)).sum();
        if scope.operation.is_some() {
            counted.unreached = unreached as u64;
        } else {
            counted.failed += unreached as u64;
            evidence.samples += unreached as u64;
        }
        evidence.figure("unreached", unreached as f64);
    }
    counted.all = evidence.samples;
    evidence.figure("failed", counted.failed as f64);
    counted
}

impl Expectation for ErrorRate {
    fn target(&self) -> String {
        format!("error rate <= {} %", self.0 * 100.0)
    }

    fn samples(&self) -> u64 {
        // That nothing ever fails no number shows: there, what was seen is all that is said.
        if self.0 > 0.0 {
            needed(1.0 - self.0).max(LEAST)
        } else {
            LEAST
        }
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let Counted {
            all,
            failed,
            unreached,
            unsent,
            evidence,
        } = count(case, scope);
        let judgement = self.of(all, failed, evidence.clone());
        let open = unreached + unsent;
        if open == 0 || judgement.verdict != Verdict::Pass {
            return judgement;
        }
        // Were all of them for this operation and failed, would it still pass?
        let most = self.of(all + open, failed + open, evidence.clone());
        if most.verdict == Verdict::Pass {
            return judgement;
        }
        let (what, remedy) = if unsent > 0 {
            (
                format!(
                    "{unsent} that were due were not sent, because others were unanswered, and may have failed"
                ),
                "less load (`rate`), or a shorter `timeout` of the lane",
            )
        } else {
            (
                format!(
                    "{unreached} connections did not reach the upstream, and what they were for is not known"
                ),
                "a limit on the whole proxy, or on a lane of load, which knows what it asked",
            )
        };
        let reason = format!("{failed} of {all} requests failed; {what}");
        Judgement::inconclusive(reason, remedy, evidence)
    }
}

impl ErrorRate {
    fn of(&self, all: u64, failed: u64, mut evidence: Evidence) -> Judgement {
        let (low, high) = interval(failed, all);
        evidence.figure("error_rate_low", low);
        evidence.figure("error_rate_high", high);
        let least = self.samples();
        if all < LEAST || (all < least && low <= self.0) {
            let mut judgement = Judgement::inconclusive(
                format!(
                    "{failed} of {all} requests failed; a limit of {} % needs {least} requests",
                    self.0 * 100.0
                ),
                "a longer phase (`for`) or more load (`rate`)",
                evidence,
            );
            if all > 0 {
                judgement.measured = percent(failed as f64 / all as f64);
            }
            return judgement;
        }
        let rate = failed as f64 / all as f64;
        if self.0 > 0.0 && low <= self.0 && self.0 < high {
            evidence.note(format!(
                "near the limit: {failed} of {all} speak for any share from {} to {}",
                percent(low),
                percent(high)
            ));
        }
        let why = format!("{failed} of {all} requests failed");
        Judgement::of(rate <= self.0, percent(rate), why, evidence)
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

impl Expectation for Throughput {
    fn target(&self) -> String {
        format!("throughput >= {}/s", self.0)
    }

    fn samples(&self) -> u64 {
        LEAST
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let Counted {
            all, mut evidence, ..
        } = count(case, scope);
        let seconds = case.seconds(scope);
        evidence.figure("seconds", seconds);
        if all < LEAST || seconds <= 0.0 {
            return Judgement::inconclusive(
                format!("{all} requests in {seconds:.1} s; a rate needs {LEAST}"),
                "a longer phase (`for`) or more load (`rate`)",
                evidence,
            );
        }
        let rate = case.succeeded(scope) as f64 / seconds;
        let measured = format!("{rate:.1}/s");
        // What was never asked for cannot be served.
        if rate < self.0 && (all as f64 / seconds) < self.0 {
            let mut judgement = Judgement::inconclusive(
                format!(
                    "only {:.1} requests a second were sent",
                    all as f64 / seconds
                ),
                "more load (`rate` or `callers`)",
                evidence,
            );
            judgement.measured = measured;
            return judgement;
        }
        let why = format!("{rate:.1} requests a second succeeded");
        Judgement::of(rate >= self.0, measured, why, evidence)
    }
}

impl Expectation for FullyFunctional {
    fn target(&self) -> String {
        "fully functional at the end".into()
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        Some((Phases::After, Duration::from_secs(1)))
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let baseline = case.view.baseline;
        let last = if scope.phases.is_empty() {
            case.spans(scope).last().map(|span| Span {
                from: span.from + span.length() / 2,
                to: span.to,
            })
        } else {
            case.spans(scope).last().copied()
        };
        let mut evidence = Evidence::default();
        let Some(last) = last.filter(|last| last.from >= baseline.to) else {
            return Judgement::inconclusive(
                "no phase came after the faults",
                "add a recovery phase",
                evidence,
            );
        };
        // Successes and failures before and at the end, by operation.
        let mut operations: BTreeMap<&str, [[u64; 2]; 2]> = BTreeMap::new();
        let passed = case.view.passed(proxy);
        for seen in &passed.work {
            let attempt = seen.attempt;
            let failed = passed.fails(seen);
            let when = match attempt.ended {
                at if baseline.contains(at) => 0,
                at if last.contains(at) => 1,
                // A hang ends where nobody looks any more.
                _ if failed && last.contains(attempt.begun) => 1,
                _ => continue,
            };
            let name = case.view.trace.names.get(attempt.operation);
            operations.entry(name).or_default()[when][usize::from(failed)] += 1;
            if when == 1 {
                evidence.observe(attempt.ended);
            }
        }
        let mut became = Operations::default();
        for (name, counts) in operations {
            became.take(name, counts);
        }
        let Operations {
            working,
            unasked,
            broken,
            doubtful,
        } = became;
        evidence.figure("operations_working", f64::from(working));
        let unreached = passed.unreached_in(last);
        if unreached > 0 {
            let why = format!("{unreached} connections did not reach the upstream at the end");
            return Judgement::fail(format!("{unreached} unreached"), why, evidence);
        }
        if !broken.is_empty() {
            let why = format!("still failing at the end: {}", broken.join(", "));
            return Judgement::fail(format!("{} broken", broken.len()), why, evidence);
        }
        if !doubtful.is_empty() {
            return Judgement::inconclusive(
                format!(
                    "failing at the end, and now and then before any fault: {}",
                    doubtful.join(", ")
                ),
                "a service that works in the baseline phase, and a longer recovery phase",
                evidence,
            );
        }
        if working == 0 || !unasked.is_empty() {
            return Judgement::inconclusive(
                if unasked.is_empty() {
                    "nothing worked in the baseline to compare with".to_owned()
                } else {
                    format!("not asked for at the end: {}", unasked.join(", "))
                },
                "a longer recovery phase with the load of the baseline",
                evidence,
            );
        }
        Judgement::pass(format!("{working} operations work"), evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(limit: f64, failed: u64, all: u64) -> Judgement {
        ErrorRate(limit).of(all, failed, Evidence::default())
    }

    fn passes(limit: f64, failed: u64, all: u64) -> bool {
        judged(limit, failed, all).verdict == Verdict::Pass
    }

    fn fails(limit: f64, failed: u64, all: u64) -> bool {
        matches!(judged(limit, failed, all).verdict, Verdict::Fail { .. })
    }

    #[test]
    fn few_requests_without_a_failure_pass_no_small_limit() {
        assert!(!passes(0.01, 0, 298) && passes(0.01, 0, 299));
        assert!(!passes(0.05, 0, 58) && passes(0.05, 0, 59));
        assert!(!passes(0.5, 0, 29) && passes(0.5, 0, 30));
        // What has to be nothing is judged by what was seen.
        assert!(passes(0.0, 0, 30) && fails(0.0, 1, 30));
    }

    #[test]
    fn one_failure_among_few_breaks_no_small_limit_but_many_do() {
        assert!(!fails(0.01, 1, 40));
        assert!(fails(0.01, 10, 40));
        assert!(!fails(0.01, 10, 12), "too few for any rate");
        let judgement = judged(0.01, 1, 40);
        assert_eq!(judgement.measured, "2.50 %");
        let Verdict::Inconclusive { reason, .. } = judgement.verdict else {
            panic!("{judgement:?}");
        };
        assert!(reason.contains("needs 299 requests"), "{reason}");
    }

    #[test]
    fn near_the_limit_it_says_so() {
        let judgement = judged(0.01, 4, 500);
        assert_eq!(judgement.verdict, Verdict::Pass);
        assert_eq!(
            judgement.evidence.notes,
            ["near the limit: 4 of 500 speak for any share from 0.22 % to 2.04 %"]
        );
        assert!(judged(0.01, 4, 5_000).evidence.notes.is_empty());
        assert!(judged(0.01, 400, 5_000).evidence.notes.is_empty());
    }

    #[test]
    fn what_failed_now_and_then_before_is_no_excuse_to_fail_always() {
        let became = |before: [u64; 2], end: [u64; 2]| {
            let mut all = Operations::default();
            all.take("GET", [before, end]);
            let places = [&all.unasked, &all.broken, &all.doubtful];
            let words = ["unasked", "broken", "doubtful"];
            let place = places.iter().position(|names| !names.is_empty());
            place.map_or(
                if all.working > 0 {
                    "working"
                } else {
                    "left out"
                },
                |p| words[p],
            )
        };
        // Nothing failed before: nothing may fail.
        assert_eq!(became([500, 0], [200, 0]), "working");
        assert_eq!(became([500, 0], [199, 1]), "broken");
        assert_eq!(became([500, 0], [0, 0]), "unasked");
        // Hardly anything did: it worked, and may fail as seldom.
        assert_eq!(became([499, 1], [0, 200]), "broken");
        assert_eq!(became([499, 1], [150, 50]), "broken");
        assert_eq!(became([499, 1], [198, 2]), "working");
        assert_eq!(became([499, 1], [19, 1]), "doubtful");
        assert_eq!(became([499, 1], [0, 0]), "unasked");
        // It did not work before: of the fault it shows nothing, but what never works is not functional.
        assert_eq!(became([480, 20], [100, 100]), "left out");
        assert_eq!(became([480, 20], [0, 200]), "doubtful");
        assert_eq!(became([0, 500], [0, 200]), "left out");
    }

    proptest! {
        /// It never passes what is above the limit, nor fails what is not.
        #[test]
        fn what_was_seen_decides(limit in 0.0_f64..=1.0, all in 0_u64..2_000, part in 0.0_f64..=1.0) {
            let failed = (part * all as f64) as u64;
            let within = failed as f64 <= limit * all as f64;
            prop_assert!(!passes(limit, failed, all) || within);
            prop_assert!(!fails(limit, failed, all) || !within);
            if all >= ErrorRate(limit).samples() {
                prop_assert!(passes(limit, failed, all) || fails(limit, failed, all));
            }
        }
    }
}
