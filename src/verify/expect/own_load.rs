//! What our own load asked, did not ask, and asked too late.

use super::latency::{Figure, Latency};
use super::missed::{ask, by_hand, case, of, phase, word};
use super::rate::{ErrorRate, Throughput};
use super::*;
use crate::insight::SECOND;
use crate::insight::simulation::MS;
use crate::insight::view::NO_PHASE;
use crate::measure::trace::{Record, Trace};
use crate::protocol::Protocol;

#[test]
fn only_what_was_answered_meanwhile_was_served() {
    let mut trace = by_hand(Protocol::Redis);
    (0..1_000).for_each(|n| ask(&mut trace, n * 10 * MS, 6 * SECOND));
    phase(&mut trace, 0, "steady");
    phase(&mut trace, 10 * SECOND, NO_PHASE);
    assert_eq!(word(&trace, "db", &Throughput(50.0)), "fail");
    assert_eq!(word(&trace, "db", &Throughput(40.0)), "pass");
    // More was never asked for.
    assert_eq!(word(&trace, "db", &Throughput(120.0)), "inconclusive");
}

/// A call of a lane that was sent so late, and took so long from then on.
fn call(trace: &mut Trace, due: u64, late: u64, took: u64) {
    let [lane, ok] = ["load", "ok"].map(|name| trace.names.intern(name));
    trace.records.push(Record::Call {
        at: due + late + took,
        lane,
        request: ok,
        intended: due,
        sent: due + late,
        ok: true,
        status: ok,
    });
}

#[test]
fn callers_who_wait_hide_what_they_did_not_ask() {
    let mut trace = by_hand(Protocol::Redis);
    (0..400).for_each(|n| ask(&mut trace, n * 10 * MS, MS));
    (0..100).for_each(|n| ask(&mut trace, 4 * SECOND + n * 40 * MS, 30 * MS));
    let fault = trace.names.intern("slow");
    trace.records.push(Record::FaultOn {
        at: 4 * SECOND,
        fault,
    });
    phase(&mut trace, 0, "before");
    // As the run records it: the phase first.
    phase(&mut trace, 4 * SECOND - MS / 20, "f1");
    let p95 = Latency {
        figure: Figure::Quantile(0.95),
        limit: Duration::from_millis(50),
    };
    let mut case = case(&trace);
    assert_eq!(p95.judge(&case, &of("db")).verdict, Verdict::Pass);
    case.lanes.insert("load".into(), LaneFigures::default());
    case.closed.insert("load".into());
    let judgement = p95.judge(&case, &of("db"));
    assert_eq!(judgement.verdict.word(), "inconclusive", "{judgement:?}");
    assert_eq!(judgement.measured, "30.0ms");
}

#[test]
fn a_generator_that_is_late_itself_speaks_of_the_machine() {
    let mut trace = by_hand(Protocol::Redis);
    (0..400).for_each(|n| ask(&mut trace, n * 10 * MS, 140 * MS));
    phase(&mut trace, 0, "steady");
    let p95 = Latency {
        figure: Figure::Quantile(0.95),
        limit: Duration::from_millis(10),
    };
    assert_eq!(word(&trace, "db", &p95), "fail");
    (0..400).for_each(|n| call(&mut trace, n * 10 * MS, 1_830 * MS, 140 * MS));
    phase(&mut trace, 4 * SECOND, "later");
    (0..400).for_each(|n| ask(&mut trace, 4 * SECOND + n * 10 * MS, 140 * MS));
    (0..400).for_each(|n| call(&mut trace, 4 * SECOND + n * 10 * MS, 0, 140 * MS));
    trace.sort();
    let mut case = case(&trace);
    case.lanes.insert("load".into(), LaneFigures::default());
    // Of the proxy, and of the lane: only where it was late.
    let lane = Scope {
        lane: Some("load".into()),
        ..Scope::default()
    };
    for scope in [of("db"), lane] {
        for (phase, said) in [("steady", "inconclusive"), ("later", "fail")] {
            let phases = vec![phase.into()];
            let scope = Scope {
                phases,
                ..scope.clone()
            };
            assert_eq!(p95.judge(&case, &scope).verdict.word(), said, "{scope:?}");
        }
    }
}

/// 400 calls in each of two phases of four seconds, all well, and requests that were not sent in the second.
fn unsent(skipped: u64, passed_over: u64, what: &dyn Expectation) -> [&'static str; 2] {
    let mut trace = by_hand(Protocol::Redis);
    (0..800).for_each(|n| call(&mut trace, n * 10 * MS, 0, MS));
    phase(&mut trace, 0, "steady");
    phase(&mut trace, 4 * SECOND, "later");
    phase(&mut trace, 8 * SECOND, NO_PHASE);
    let mut lapses = Lapses::default();
    (0..skipped).for_each(|n| lapses.skipped.add(5 * SECOND + n * MS));
    (0..passed_over).for_each(|n| lapses.passed_over.add(5 * SECOND + n * MS));
    let mut case = case(&trace);
    case.lapses.insert("load".into(), lapses);
    ["steady", "later"].map(|phase| {
        let scope = Scope {
            lane: Some("load".into()),
            phases: vec![phase.into()],
            ..Scope::default()
        };
        what.judge(&case, &scope).verdict.word()
    })
}

#[test]
fn what_was_not_sent_may_have_failed() {
    let rate = ErrorRate(0.01);
    assert_eq!(unsent(3, 1, &rate), ["pass", "pass"], "as few as may fail");
    assert_eq!(unsent(5, 0, &rate), ["pass", "inconclusive"]);
    assert_eq!(unsent(0, 5, &rate), ["pass", "inconclusive"]);
    assert_eq!(unsent(1, 0, &ErrorRate(0.0)), ["pass", "inconclusive"]);
}

#[test]
fn what_was_not_sent_was_not_fast() {
    let p95 = Latency {
        figure: Figure::Quantile(0.95),
        limit: Duration::from_millis(10),
    };
    assert_eq!(unsent(0, 0, &p95), ["pass", "pass"]);
    assert_eq!(unsent(1, 0, &p95), ["pass", "inconclusive"]);
}
