//! What hides from whoever only looks at what ended: hangs, a service that is gone, load that stopped, one fault after another.

use super::breaker::Closes;
use super::cleanup::{CleansUp, Contained};
use super::latency::{Figure, Latency};
use super::rate::{ErrorRate, FullyFunctional, Throughput};
use super::resources::MemoryGrowth;
use super::timing::{Degrades, Detects, Recovers, TimesOut};
use super::transactions::{Intact, NoDeadlocks};
use super::*;
use crate::insight::simulation::{API, CACHE, MS, Service};
use crate::insight::view::NO_PHASE;
use crate::insight::{SECOND, Topology};
use crate::measure::trace::{
    Attempt, CloseSide, Header, Outcome, Proxy, ProxyIndex, Record, Trace, VERSION,
};
use crate::protocol::{Class, Protocol, Transaction};

const RECOVERS: Recovers = Recovers {
    within: Duration::from_secs(2),
    stable: Duration::from_secs(1),
};

pub(super) fn case(trace: &Trace) -> Case<'_> {
    let topology = Topology {
        workers: Some(1),
        ..Topology::default()
    };
    Case {
        view: View::new(trace, &topology),
        topology,
        fault_phases: vec!["f1".into(), "f2".into()],
        apart: Vec::new(),
        lanes: BTreeMap::new(),
        lapses: BTreeMap::new(),
        stopped: None,
        capacity: None,
        broken: BTreeMap::new(),
        closed: BTreeSet::new(),
    }
}

pub(super) fn of(proxy: &str) -> Scope {
    Scope {
        proxy: Some(proxy.into()),
        ..Scope::default()
    }
}

pub(super) fn word(trace: &Trace, proxy: &str, what: &dyn Expectation) -> &'static str {
    what.judge(&case(trace), &of(proxy)).verdict.word()
}

/// A recording with one phase from its begin until the load ends.
fn run(service: &Service) -> Trace {
    let mut trace = service.run();
    phase(&mut trace, 0, "steady");
    phase(&mut trace, service.end, NO_PHASE);
    trace
}

pub(super) fn phase(trace: &mut Trace, at: u64, name: &str) {
    let phase = trace.names.intern(name);
    trace.records.push(Record::Phase {
        at,
        phase,
        kind: None,
    });
    trace.sort();
}

/// The exchanges of a proxy that began in a time.
pub(super) fn begun(trace: &mut Trace, proxy: ProxyIndex, from: u64, to: u64) -> Vec<&mut Attempt> {
    let attempts = trace.records.iter_mut().filter_map(|record| match record {
        Record::Attempt(a) if a.proxy == proxy && (from..to).contains(&a.begun) => Some(a),
        _ => None,
    });
    attempts.collect()
}

/// Its client waits for ten seconds and leaves.
fn hang(attempt: &mut Attempt) {
    attempt.outcome = Outcome::ClientGone;
    attempt.ended = attempt.begun + 10 * SECOND;
}

#[test]
fn who_hangs_after_the_fault_has_not_recovered() {
    let service = Service::default();
    let mut trace = run(&service);
    assert_eq!(word(&trace, "cache", &RECOVERS), "pass");
    let after = begun(&mut trace, API, service.fault.1, service.end);
    after.into_iter().step_by(5).for_each(hang);
    trace.sort();
    assert_eq!(word(&trace, "cache", &RECOVERS), "fail");
}

#[test]
fn what_is_still_out_at_the_end_has_failed() {
    let service = Service::default();
    let mut trace = run(&service);
    // The fault makes errors of its own: before it there are none.
    let before = Scope {
        phases: vec!["steady".into()],
        ..of("cache")
    };
    phase(&mut trace, service.fault.0, "f1");
    let judge = |trace: &Trace| ErrorRate(0.05).judge(&case(trace), &before).verdict;
    assert_eq!(judge(&trace), Verdict::Pass);
    let all = begun(&mut trace, CACHE, SECOND, service.fault.0);
    for attempt in all.into_iter().step_by(5) {
        attempt.outcome = Outcome::Outstanding;
        attempt.ended = service.end;
    }
    trace.sort();
    assert_eq!(judge(&trace).word(), "fail");
}

#[test]
fn a_route_that_hangs_meanwhile_is_damage() {
    let service = Service::default();
    let mut trace = run(&service);
    assert_eq!(word(&trace, "cache", &Contained), "pass");
    let health = trace.names.find("GET /health");
    let (from, to) = service.fault;
    let during = begun(&mut trace, API, from, to).into_iter();
    let during = during.filter(|a| Some(a.operation) == health);
    during.step_by(5).for_each(hang);
    trace.sort();
    assert_eq!(word(&trace, "cache", &Contained), "fail");
}

/// A service that dies a second into the fault: its callers get no connection any more.
fn dead(service: &Service) -> Trace {
    let mut trace = run(service);
    let died = service.fault.0 + SECOND;
    trace.records.retain(|record| match record {
        Record::Attempt(a) => a.ended < died,
        _ => true,
    });
    let client = trace.names.intern("127.0.0.1");
    for n in 0..900 {
        let at = died + n * 10 * MS;
        let (session, by) = (1_000 + n, CloseSide::ConnectFailed);
        trace.records.push(Record::Opened {
            at,
            proxy: API,
            session,
            client,
            port: 1,
        });
        trace.records.push(Record::Closed {
            at: at + MS,
            proxy: API,
            session,
            by,
        });
    }
    trace.sort();
    trace
}

#[test]
fn a_service_that_is_gone_answers_nobody() {
    let trace = dead(&Service::default());
    assert_eq!(word(&trace, "cache", &Degrades), "fail");
    assert_eq!(word(&trace, "cache", &Contained), "fail");
    assert_eq!(word(&trace, "api", &ErrorRate(0.2)), "fail");
    // Whether they were for this route nobody knows.
    let health = Scope {
        operation: Some("GET /health".into()),
        ..of("api")
    };
    let judgement = ErrorRate(0.2).judge(&case(&trace), &health);
    assert_eq!(judgement.verdict.word(), "inconclusive", "{judgement:?}");
    // Its breaker is gone with it.
    assert_eq!(word(&trace, "cache", &Closes(true)), "inconclusive");
    assert_eq!(word(&trace, "cache", &RECOVERS), "fail");
}

#[test]
fn load_that_stops_is_not_held_against_the_service() {
    let service = Service {
        open_for: SECOND,
        ..Service::default()
    };
    let mut trace = run(&service);
    let stops = service.fault.1 - 100 * MS;
    trace.records.retain(|record| match record {
        Record::Attempt(a) => a.begun < stops,
        _ => true,
    });
    for what in [&RECOVERS as &dyn Expectation, &Closes(true)] {
        assert_eq!(word(&trace, "cache", what), "inconclusive", "{what:?}");
    }
}

#[test]
fn late_replies_do_not_lengthen_the_last_phase() {
    let service = Service::default();
    let mut trace = run(&service);
    let all = begun(&mut trace, API, 0, u64::MAX).into_iter();
    let all = all.filter(|a| a.outcome == Outcome::Ok).count() as f64;
    let nearly = Throughput(0.9 * all / (service.end / SECOND) as f64);
    let health = trace.names.find("GET /health");
    let last = begun(&mut trace, API, service.end - SECOND, service.end);
    let last = last.into_iter().find(|a| Some(a.operation) == health);
    last.into_iter().for_each(hang);
    trace.sort();
    assert!(case(&trace).view.span.to > service.end + 5 * SECOND);
    assert_eq!(word(&trace, "api", &nearly), "pass");
}

#[test]
fn one_failure_before_the_fault_hides_no_operation_that_is_gone() {
    let judged = |failed_before: usize| {
        let mut trace = by_hand(Protocol::Redis);
        (0..1_200).for_each(|n| ask(&mut trace, n * 10 * MS, MS));
        // Another one works all the time.
        let (ping, fault) = (trace.names.intern("HGET"), trace.names.intern("slow"));
        let other = begun(&mut trace, ProxyIndex(0), 0, u64::MAX).into_iter();
        other.step_by(2).for_each(|a| a.operation = ping);
        trace.records.push(Record::FaultOn {
            at: 4 * SECOND,
            fault,
        });
        for (at, name) in [(0, "before"), (4 * SECOND, "f1"), (5 * SECOND, "r1")] {
            phase(&mut trace, at, name);
        }
        let fails = |a: &mut Attempt| a.outcome = Outcome::Failed;
        let mine = |a: &&mut Attempt| a.operation != ping;
        let before = begun(&mut trace, ProxyIndex(0), 0, 4 * SECOND).into_iter();
        before.filter(mine).take(failed_before).for_each(fails);
        let after = begun(&mut trace, ProxyIndex(0), 5 * SECOND, u64::MAX).into_iter();
        after.filter(mine).for_each(fails);
        word(&trace, "db", &FullyFunctional)
    };
    assert_eq!(judged(0), "fail");
    assert_eq!(judged(1), "fail");
    assert_eq!(judged(50), "inconclusive");
}

#[test]
fn one_request_that_is_waited_for_too_long_is_too_much() {
    let service = Service {
        threshold: None,
        callers: 3,
        failure: 300 * MS,
        abandons: true,
        exact: true,
        ..Service::default()
    };
    let mut trace = run(&service);
    let second = TimesOut(Duration::from_secs(1));
    assert_eq!(word(&trace, "cache", &second), "pass");
    let (from, to) = service.fault;
    let touched = begun(&mut trace, CACHE, from, to).into_iter();
    let other = touched.filter(|a| a.fault.is_some()).last().expect("one");
    let (began, ended) = (other.begun, other.ended);
    other.outcome = Outcome::Ok;
    other.ended = ended + 4 * SECOND;
    // So long waits whoever asked for it.
    let callers = begun(&mut trace, API, from, began).into_iter();
    for caller in callers.filter(|a| a.ended >= began) {
        caller.ended += 4 * SECOND;
    }
    trace.sort();
    assert_eq!(word(&trace, "cache", &second), "fail");
}

#[test]
fn a_timeout_that_is_set_to_the_limit_keeps_to_it() {
    let judged = |wait: u64, limit: u64| {
        let trace = run(&Service {
            threshold: None,
            callers: 3,
            failure: wait,
            abandons: true,
            exact: true,
            ..Service::default()
        });
        let what = TimesOut(Duration::from_nanos(limit));
        let judgement = what.judge(&case(&trace), &of("cache"));
        (judgement.verdict.word(), judgement.evidence.notes.len())
    };
    assert_eq!(judged(300 * MS, 300 * MS), ("pass", 0));
    assert_eq!(judged(303 * MS, 300 * MS), ("pass", 1));
    assert_eq!(judged(306 * MS, 300 * MS), ("fail", 0));
    assert_eq!(judged(2_008 * MS, 2_000 * MS), ("pass", 1));
    assert_eq!(judged(2_012 * MS, 2_000 * MS), ("fail", 0));
}

#[test]
fn who_had_no_time_to_react_is_not_said_to_be_late() {
    // For eight seconds every request takes so long, and nobody does anything about it.
    let judged = |held: u64| {
        let mut trace = by_hand(Protocol::Redis);
        let fault = trace.names.intern("slow");
        (0..100).for_each(|n| ask(&mut trace, n * 10 * MS, MS));
        (0..8).for_each(|n| ask(&mut trace, (n + 1) * SECOND, held));
        for attempt in begun(&mut trace, ProxyIndex(0), SECOND, u64::MAX) {
            attempt.fault = Some(fault);
        }
        word(&trace, "db", &Detects(Duration::from_millis(500)))
    };
    assert_eq!(judged(100 * MS), "inconclusive");
    assert_eq!(judged(600 * MS), "fail");
}

#[test]
fn another_fault_of_the_same_time_is_no_damage_of_this_one() {
    let service = Service::default();
    let mut trace = run(&service);
    trace.header.proxies.push(Proxy {
        name: "other".into(),
        protocol: Protocol::Redis,
        pool: None,
    });
    let (from, to) = service.fault;
    let copies = begun(&mut trace, CACHE, 0, to).into_iter();
    let copies: Vec<Attempt> = copies
        .map(|a| *a)
        .filter(|a| a.begun < SECOND || a.begun >= from)
        .collect();
    let fault = trace.names.intern("elsewhere");
    for mut copy in copies {
        copy.proxy = ProxyIndex(2);
        // Between requests of the service: nobody's but our own load's.
        (copy.begun, copy.asked, copy.ended) = (
            copy.begun + 6 * MS,
            copy.asked + 6 * MS,
            copy.asked + 7 * MS,
        );
        if copy.begun >= from {
            (copy.outcome, copy.fault) = (Outcome::Failed, Some(fault));
        }
        trace.records.push(Record::Attempt(copy));
    }
    trace.sort();
    let judgement = Contained.judge(&case(&trace), &of("cache"));
    assert_ne!(judgement.verdict.word(), "fail", "{judgement:?}");
}

/// Two runs of a service, one after the other: two faults, each with a recovery behind it. It stays broken after the first.
fn twice() -> Trace {
    let service = Service::default();
    let mut trace = service.run();
    let second = trace.clone();
    let (on, off) = service.fault;
    for attempt in begun(&mut trace, API, off, u64::MAX) {
        attempt.outcome = Outcome::Failed;
    }
    for record in second.records {
        trace.records.push(match record {
            Record::Attempt(mut a) => {
                a.begun += service.end;
                a.asked += service.end;
                a.ended += service.end;
                Record::Attempt(a)
            }
            Record::FaultOn { at, fault } => Record::FaultOn {
                at: at + service.end,
                fault,
            },
            Record::FaultOff { at, fault } => Record::FaultOff {
                at: at + service.end,
                fault,
            },
            Record::Lag { at, longest } => Record::Lag {
                at: at + service.end,
                longest,
            },
            _ => continue,
        });
    }
    for (at, name) in [
        (0, "before"),
        (on, "f1"),
        (off, "r1"),
        (service.end + on, "f2"),
        (service.end + off, "r2"),
        (2 * service.end, NO_PHASE),
    ] {
        phase(&mut trace, at, name);
    }
    trace
}

fn expected(what: impl Expectation + 'static, scope: Scope) -> Expected {
    Expected {
        name: None,
        scope,
        on_inconclusive: OnInconclusive::Warn,
        severity: Severity::Limit,
        field: String::new(),
        place: Place {
            file: String::new(),
            line: 1,
            column: 1,
        },
        what: Box::new(what),
    }
}

#[test]
fn a_phase_chooses_the_fault_that_is_judged() {
    let trace = twice();
    let case = case(&trace);
    let judged = |phase: &str| {
        let phases = vec![phase.to_owned()];
        let scope = Scope {
            phases,
            ..of("cache")
        };
        case.judge(&expected(RECOVERS, scope)).verdict
    };
    for (phase, word) in [
        ("f1", "fail"),
        ("r1", "fail"),
        ("f2", "pass"),
        ("r2", "pass"),
    ] {
        let verdict = judged(phase);
        assert_eq!(verdict.word(), word, "{phase}: {verdict:?}");
    }
}

#[test]
fn what_rests_on_missing_records_is_not_said() {
    let mut trace = run(&Service::default());
    let generous = || Latency {
        figure: Figure::Mean,
        limit: Duration::from_secs(10),
    };
    let judged = |trace: &Trace| {
        case(trace)
            .judge(&expected(generous(), of("cache")))
            .verdict
    };
    assert_eq!(judged(&trace), Verdict::Pass);
    trace.records.push(Record::Dropped {
        at: SECOND,
        proxy: CACHE,
        count: 1,
    });
    assert_eq!(judged(&trace).word(), "inconclusive");
}

/// A proxy with one session, whose every request takes a time.
pub(super) fn by_hand(protocol: Protocol) -> Trace {
    Trace::new(Header {
        version: VERSION,
        started_us: 0,
        service: None,
        proxies: vec![Proxy {
            name: "db".into(),
            protocol,
            pool: None,
        }],
    })
}

pub(super) fn ask(trace: &mut Trace, at: u64, took: u64) {
    let (operation, status) = (trace.names.intern("GET"), trace.names.intern("ok"));
    trace.records.push(Record::Attempt(Attempt {
        proxy: ProxyIndex(0),
        session: 1,
        exchange: at,
        operation,
        class: Class::Read,
        fingerprint: 1,
        begun: at,
        asked: at,
        first_byte: None,
        ended: at + took,
        upstream: Some(took),
        status,
        outcome: Outcome::Ok,
        fault: None,
    }));
}

#[test]
fn a_transaction_that_stays_open_is_not_intact() {
    let state = |trace: &mut Trace, at, session, state| {
        let proxy = ProxyIndex(0);
        trace.records.push(Record::Transaction {
            at,
            proxy,
            session,
            state,
        });
    };
    let judged = |idle: u64| {
        let mut trace = by_hand(Protocol::Postgres);
        state(&mut trace, SECOND, 1, Transaction::Begin);
        state(&mut trace, 2 * SECOND, 1, Transaction::Commit);
        state(&mut trace, 2 * SECOND, 2, Transaction::Begin);
        ask(&mut trace, 2 * SECOND + idle - MS, MS);
        trace.sort();
        word(&trace, "db", &Intact)
    };
    assert_eq!(judged(6 * SECOND), "fail");
    assert_eq!(judged(3 * SECOND), "inconclusive");
    assert_eq!(judged(SECOND / 2), "pass");
}

#[test]
fn a_deadlock_is_one_whatever_was_asked() {
    let judged = |class: Class, touched: bool, seen: bool| {
        let mut trace = by_hand(Protocol::Postgres);
        (0..100).for_each(|n| ask(&mut trace, n * 10 * MS, MS));
        phase(&mut trace, 0, "steady");
        let (fault, status) = (trace.names.intern("f"), trace.names.intern("40P01"));
        let mut all = begun(&mut trace, ProxyIndex(0), 0, SECOND);
        for attempt in &mut all {
            attempt.class = Class::Write;
        }
        let last = all.last_mut().expect("one of them");
        (last.class, last.status, last.outcome) = (class, status, Outcome::Failed);
        last.fault = touched.then_some(fault);
        last.upstream = seen.then_some(MS);
        word(&trace, "db", &NoDeadlocks)
    };
    for class in [Class::Read, Class::Admin, Class::Write] {
        assert_eq!(judged(class, false, true), "fail", "{class:?}");
        // Whose answer it is nobody knows; what the server never saw it did not end.
        assert_eq!(judged(class, true, true), "inconclusive", "{class:?}");
        assert_eq!(judged(class, true, false), "pass", "{class:?}");
    }
}

#[test]
fn memory_that_goes_on_growing_is_not_within_its_limit() {
    let judged = |grows_until: u64| {
        let mut trace = by_hand(Protocol::Redis);
        let target = trace.names.intern("api");
        for second in 0..180 {
            trace.records.push(Record::Watched {
                at: second * SECOND,
                target,
                pid: 7,
                memory: 100_000_000 + 200_000 * second.min(grows_until),
                cpu: 0,
                descriptors: 20,
                threads: 4,
            });
        }
        phase(&mut trace, 0, "steady");
        let most = MemoryGrowth {
            most: 50_000_000,
            window: 0,
        };
        let scope = Scope {
            watch: Some("api".into()),
            ..Scope::default()
        };
        most.judge(&case(&trace), &scope).verdict.word()
    };
    assert_eq!(judged(60), "pass");
    assert_eq!(judged(180), "inconclusive");
}

#[test]
fn a_pool_of_unknown_size_may_grow_once() {
    let grown = |faults: u64, pool: Option<u32>| {
        let mut trace = by_hand(Protocol::Postgres);
        trace.header.proxies[0].pool = pool;
        let client = trace.names.intern("127.0.0.1");
        let fault = trace.names.intern("slow");
        let opens = |at: u64, session: u64| Record::Opened {
            at,
            proxy: ProxyIndex(0),
            session,
            client,
            port: 1,
        };
        let mut records = vec![opens(0, 1)];
        for n in 1..=faults {
            let at = n * 10 * SECOND;
            records.push(Record::FaultOn { at, fault });
            records.extend((0..4).map(|m| opens(at + MS, 10 * n + m)));
            records.push(Record::FaultOff {
                at: at + SECOND,
                fault,
            });
        }
        trace.records.extend(records);
        ask(&mut trace, 10 * SECOND, MS);
        if let Some(Record::Attempt(touched)) = trace.records.last_mut() {
            touched.fault = Some(fault);
        }
        ask(&mut trace, 40 * SECOND, MS);
        trace.sort();
        word(&trace, "db", &CleansUp)
    };
    assert_eq!(grown(1, None), "inconclusive");
    assert_eq!(grown(1, Some(1)), "fail");
    assert_eq!(grown(1, Some(20)), "pass");
    assert_eq!(grown(2, None), "fail");
}
