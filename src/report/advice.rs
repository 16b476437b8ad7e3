//! What usually mends a service that did not keep to an expectation.

use crate::verify::document::{Document, Row};

/// In words that go on after "In the service: ". `None`: of expectations that are not known here.
pub(super) fn of(run: &Document, row: &Row) -> Option<&'static str> {
    let key = row.field.rsplit('.').next().unwrap_or_default();
    Some(match key {
        "opens_after" => opens_after(&row.measured),
        "closes" => closes(&row.measured),
        "fails_fast_within" => {
            "while the breaker is open, answer before any connection, pool or lock is asked for."
        }
        "mean" | "p50" | "p95" | "p99" | "max" => latency(key, run, row),
        "throughput" | "headroom_at_least" => {
            "find what all requests wait for first (a pool, a lock, one busy core) and give it more room: a larger pool, fewer calls a request, or more workers."
        }
        "error_rate" => error_rate(run, row),
        "cpu_mean_at_most" | "cpu_peak_at_most" => {
            "profile it under this load: compute less for each request (caching, cheaper encoding, no logging in loops), or spread it over more workers."
        }
        "no_deadlocks" => {
            "take locks in the same order in every transaction, keep transactions short, and repeat a whole transaction that the server gave up (40P01)."
        }
        "detects_within" | "timeout_within" => {
            "set a limit on connecting and on each reply of this client, well below what a caller waits."
        }
        "recovers_within" | "fully_functional" => {
            "try again by itself: connections that broke have to leave the pool, and whatever gave the dependency up has to look for it again."
        }
        "degrades" => {
            "answer without the dependency, from a fallback or with a clear 503, instead of letting its error through."
        }
        "cleans_up" => {
            "close what timed out and roll back what failed, on every way out (context managers, finally)."
        }
        "contained" => {
            "keep pools, threads and health checks of this dependency apart from the rest."
        }
        "retries_at_most" | "amplification_at_most" => {
            "retry a few times at most, with growing and jittered pauses, on one level only."
        }
        "transactions_intact" if figure(row, "done_twice") == Some(0.0) => {
            "end every transaction on every way out, also after an error or a cancelled request: roll back what failed (context managers, finally)."
        }
        "no_duplicates" | "transactions_intact" => {
            "do not repeat what may have been done: give each change a key of its own that the database keeps unique."
        }
        "memory_growth_at_most" => "look for what each request leaves behind.",
        "pool_utilisation_at_most" => {
            "make the pool larger, or hold connections for a shorter time."
        }
        _ => return None,
    })
}

/// By what was seen of it: none at all, or one that is set otherwise.
fn opens_after(measured: &str) -> &'static str {
    if measured.starts_with("never") {
        return "put a circuit breaker around all calls to this dependency; if there is one, look whether its client raises what it counts as a failure (timeouts and error replies as well).";
    }
    "the breaker is there and opens at another count: set its threshold to what is wanted, and look whether retries, or one breaker for each worker, make the count differ."
}

fn closes(measured: &str) -> &'static str {
    if measured == "stayed open" {
        return "the breaker opened and never closed: after its open time let one call through (half open), close when it succeeds, and do not begin the open time anew with each call that is refused.";
    }
    if measured.starts_with("closed") {
        return "the breaker closes by itself though it is not wanted to: let it stay open until somebody closes it.";
    }
    "put a circuit breaker around calls to this dependency that lets one call through after a while, and closes when it succeeds."
}

/// A number of the evidence, where there is one.
fn figure(row: &Row, name: &str) -> Option<f64> {
    row.evidence.figures.get(name).copied()
}

/// Whether faults were on in what it is about: in a phase that it names, or in any where it names none.
fn is_disturbed(run: &Document, row: &Row) -> bool {
    let disturbed = |name: &String| {
        let phase = run.phases.iter().find(|p| p.name == *name);
        phase.is_some_and(|p| p.kind == crate::verify::written::Kind::Fault)
    };
    if row.phases.is_empty() {
        !run.faults.is_empty()
    } else {
        row.phases.iter().any(disturbed)
    }
}

/// A tail and a middle have different causes.
fn latency(key: &str, run: &Document, row: &Row) -> &'static str {
    if is_disturbed(run, row) {
        return "bound what a request waits for the disturbed dependency: a shorter timeout, a breaker that opens earlier, or an answer from a fallback.";
    }
    match key {
        "mean" | "p50" => {
            "every request is slow: look in the table by operation for the slowest and the most frequent, and make fewer calls one after the other, add an index, or cache."
        }
        "p99" | "max" => {
            "look for what the slowest requests wait for: a pool that is too small, a lock, a collection of garbage, or a connection that is only opened then."
        }
        _ => {
            "look in the table by operation which one is slow, then whether it waits (a pool that is too small, a lock) or works (a query without an index, many calls in a row)."
        }
    }
}

fn error_rate(run: &Document, row: &Row) -> &'static str {
    if !is_disturbed(run, row) {
        return "nothing disturbed it, so these errors are its own: read its log for the time of the run, and look for exhausted pools and limits on connections.";
    }
    "answer without the disturbed dependency where that is possible, and try once more where the request may be repeated without harm."
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixed;
    use super::*;

    #[test]
    fn every_expectation_has_an_advice() {
        let suite = fixed();
        let run = &suite.runs[0];
        let mut row = run.expectations[0].clone();
        for key in [
            "mean",
            "p50",
            "p95",
            "p99",
            "max",
            "throughput",
            "error_rate",
            "headroom_at_least",
            "cpu_mean_at_most",
            "cpu_peak_at_most",
            "no_deadlocks",
            "breaker.opens_after",
            "breaker.closes",
            "breaker.fails_fast_within",
            "detects_within",
            "timeout_within",
            "recovers_within",
            "fully_functional",
            "degrades",
            "cleans_up",
            "contained",
            "retries_at_most",
            "amplification_at_most",
            "no_duplicates",
            "transactions_intact",
            "memory_growth_at_most",
            "pool_utilisation_at_most",
        ] {
            row.field = format!("expect[0].{key}");
            assert!(of(run, &row).is_some(), "{key}");
        }
    }

    #[test]
    fn what_is_advised_depends_on_whether_a_fault_was_on() {
        let mut suite = fixed();
        let run = &mut suite.runs[0];
        run.phases[0].kind = crate::verify::written::Kind::Fault;
        let mut before = run.phases[0].clone();
        before.kind = crate::verify::written::Kind::Baseline;
        before.name = "before".into();
        run.phases.push(before);
        let [fault, quiet] = [0, 1].map(|n| run.phases[n].name.clone());
        let run = &suite.runs[0];
        let mut row = run.expectations[0].clone();
        for key in ["p95", "error_rate"] {
            row.field = format!("expect[0].{key}");
            for (phases, disturbed) in [
                (vec![fault.clone()], true),
                (vec![quiet.clone()], false),
                (vec![], true),
            ] {
                row.phases = phases;
                let advice = of(run, &row).expect("an advice");
                assert_eq!(
                    advice.contains("disturbed dependency"),
                    disturbed,
                    "{key} {:?}",
                    row.phases
                );
            }
        }
        row.field = "expect[0].transactions_intact".into();
        for (twice, first) in [(0.0, "end every transaction"), (1.0, "do not repeat")] {
            row.evidence.figures.insert("done_twice".into(), twice);
            assert!(of(run, &row).expect("an advice").starts_with(first));
        }
    }

    #[test]
    fn what_is_advised_of_a_breaker_depends_on_what_was_seen() {
        let suite = fixed();
        let run = &suite.runs[0];
        let mut row = run.expectations[0].clone();
        let mut told = |field: &str, measured: &str| {
            (row.field, row.measured) = (field.into(), measured.into());
            of(run, &row).expect("an advice")
        };
        let opens = "expect[0].breaker.opens_after";
        assert!(told(opens, "never opened").starts_with("put a circuit breaker"));
        assert!(told(opens, "8").contains("set its threshold"));
        let closes = "expect[0].breaker.closes";
        assert!(told(closes, "stayed open").contains("never closed"));
        assert!(told(closes, "-").starts_with("put a circuit breaker"));
    }
}
