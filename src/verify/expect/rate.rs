//! Limits on what succeeds and what fails; and whether everything works again.

use super::{Case, Expectation, Phases, Scope};
use crate::insight::Evidence;
use crate::insight::calls::fails;
use crate::insight::view::Span;
use crate::verify::verdict::Judgement;
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests that a rate needs.
const LEAST: u64 = 30;

/// The share of failures has a limit.
#[derive(Debug)]
pub(crate) struct ErrorRate(pub(crate) f64);

/// So many successes a second at least.
#[derive(Debug)]
pub(crate) struct Throughput(pub(crate) f64);

/// What worked in the baseline works at the end.
#[derive(Debug)]
pub(crate) struct FullyFunctional;

fn count(case: &Case<'_>, scope: &Scope) -> (u64, u64, Evidence) {
    let mut evidence = Evidence::default();
    let mut failed = 0;
    if scope.lane.is_some() {
        for call in case.calls(scope) {
            if call.ok {
                evidence.observe(call.at);
            } else {
                failed += 1;
                evidence.example(call.at, call.record);
            }
        }
    } else {
        for seen in case.exchanges(scope) {
            if fails(&seen) {
                failed += 1;
                evidence.example(seen.attempt.ended, seen.record);
            } else {
                evidence.observe(seen.attempt.ended);
            }
        }
    }
    evidence.figure("failed", failed as f64);
    (evidence.samples, failed, evidence)
}

impl Expectation for ErrorRate {
    fn target(&self) -> String {
        format!("error rate <= {} %", self.0 * 100.0)
    }

    fn samples(&self) -> u64 {
        LEAST
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let (all, failed, evidence) = count(case, scope);
        if all < LEAST {
            return Judgement::inconclusive(
                format!("{all} requests; a rate needs {LEAST}"),
                "a longer phase (`for`) or more load (`rate`)",
                evidence,
            );
        }
        let rate = failed as f64 / all as f64;
        let why = format!("{failed} of {all} requests failed");
        Judgement::of(
            rate <= self.0,
            format!("{:.2} %", rate * 100.0),
            why,
            evidence,
        )
    }
}

impl Expectation for Throughput {
    fn target(&self) -> String {
        format!("throughput >= {}/s", self.0)
    }

    fn samples(&self) -> u64 {
        LEAST
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let (all, failed, mut evidence) = count(case, scope);
        let seconds = case.seconds(scope);
        evidence.figure("seconds", seconds);
        if all < LEAST || seconds <= 0.0 {
            return Judgement::inconclusive(
                format!("{all} requests in {seconds:.1} s; a rate needs {LEAST}"),
                "a longer phase (`for`) or more load (`rate`)",
                evidence,
            );
        }
        let rate = (all - failed) as f64 / seconds;
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
        for seen in &case.view.passed(proxy).work {
            let attempt = seen.attempt;
            let when = match attempt.ended {
                at if baseline.contains(at) => 0,
                at if last.contains(at) => 1,
                _ => continue,
            };
            let name = case.view.trace.names.get(attempt.operation);
            operations.entry(name).or_default()[when][usize::from(fails(seen))] += 1;
            if when == 1 {
                evidence.observe(attempt.ended);
            }
        }
        let worked = operations
            .iter()
            .filter(|(_, [before, _])| before[0] > 0 && before[1] == 0);
        let (mut broken, mut unasked, mut working) = (Vec::new(), Vec::new(), 0);
        for (name, [_, end]) in worked {
            match end {
                [0, 0] => unasked.push(*name),
                [_, 0] => working += 1,
                _ => broken.push(*name),
            }
        }
        evidence.figure("operations_working", f64::from(working));
        if !broken.is_empty() {
            let why = format!("still failing at the end: {}", broken.join(", "));
            return Judgement::fail(format!("{} broken", broken.len()), why, evidence);
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
