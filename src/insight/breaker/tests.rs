use super::*;
use crate::insight::Topology;
use crate::insight::simulation::{CACHE, MS, Owners, Service, cases, services};
use crate::measure::trace::{Attempt, CloseSide, Outcome, Proxy, ProxyIndex, Record, Trace};
use crate::protocol::Protocol;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn seen(service: &Service) -> Breaker {
    let topology = Topology {
        workers: u32::try_from(service.workers).ok(),
        ..Topology::default()
    };
    let trace = service.run();
    let view = View::new(&trace, &topology);
    let mut found = infer(&view, CACHE);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn threshold(breaker: &Breaker) -> Interval<u64> {
    *breaker.threshold.value().expect("it opened")
}

#[test]
fn one_caller_shows_the_threshold_exactly() {
    for wanted in [1, 3, 5, 8] {
        let breaker = seen(&Service {
            threshold: Some(wanted),
            ..Service::default()
        });
        assert_eq!(threshold(&breaker), Interval::new(wanted, wanted));
        assert!(matches!(
            breaker.opening.value(),
            Some(Opening::Opened {
                cause: Cause::FailsFast
            })
        ));
    }
}

/// On a busy machine a client may give up before it has a connection to ask on; a failure to its breaker all the same.
#[test]
fn a_connection_that_was_given_up_may_be_a_failure() {
    let wanted = 5;
    let service = Service {
        threshold: Some(wanted - 1),
        failure: 200 * MS,
        abandons: true,
        ..Service::default()
    };
    let mut trace = service.run();
    let (proxy, session) = (CACHE, 1_000);
    let at = service.fault.0 + 450 * MS;
    let by = CloseSide::Client;
    let client = trace.names.intern("127.0.0.1");
    trace.records.push(Record::Opened {
        at,
        proxy,
        session,
        client,
        port: 1,
    });
    trace.records.push(Record::Closed {
        at: at + 10 * MS,
        proxy,
        session,
        by,
    });
    trace.sort();
    let breaker = infer(&View::new(&trace, &Topology::default()), CACHE).remove(0);
    assert_eq!(threshold(&breaker), Interval::new(wanted - 1, wanted));
    let notes = &breaker.threshold.evidence.notes;
    assert!(
        notes
            .iter()
            .any(|n| n.contains("before anything was asked")),
        "{notes:?}"
    );
}

#[test]
fn the_open_time_is_bounded_from_both_sides() {
    let breaker = seen(&Service::default());
    let open = breaker.open_seconds.value().expect("it closed");
    assert!(open.contains(0.6), "{open:?}");
    assert!(open.high - open.low < 0.05, "{open:?}");
}

#[test]
fn it_closes_by_itself_and_says_no_quickly() {
    let breaker = seen(&Service::default());
    let closing = breaker.closing.value().expect("it closed");
    assert!(closing.after_seconds < 0.7, "{closing:?}");
    let fast = breaker.fails_fast.value().expect("many refusals");
    assert!(fast.excess_p95_ms < 1.0, "{fast:?}");
    assert_eq!(breaker.probes.value().expect("probes").at_once, 1);
}

/// Who waits for his answer before he asks again shows the order, however late the proxy is.
#[test]
fn one_caller_shows_it_on_a_busy_machine() {
    for (seed, late) in [(1, 5), (2, 10), (3, 20), (4, 30)] {
        for wanted in [1, 3, 5, 8] {
            let breaker = seen(&Service {
                seed,
                threshold: Some(wanted),
                late: late * MS,
                think: 20 * MS,
                // Turns that are long, and enough of them.
                fault: (10_000 * MS, 15_000 * MS),
                end: 20_000 * MS,
                ..Service::default()
            });
            let found = threshold(&breaker);
            assert_eq!(found, Interval::new(wanted, wanted), "{late} ms late");
        }
    }
}

/// Two who ask at once show none, and what they leave open stays open.
#[test]
fn callers_who_do_not_take_turns_leave_an_interval_on_a_busy_machine() {
    let breaker = seen(&Service {
        callers: 3,
        late: 20 * MS,
        think: 20 * MS,
        ..Service::default()
    });
    let found = threshold(&breaker);
    assert!(found.contains(5) && found.high > found.low, "{found:?}");
}

#[test]
fn several_callers_leave_an_interval() {
    let breaker = seen(&Service {
        callers: 10,
        latency: 20 * MS,
        failure: 20 * MS,
        ..Service::default()
    });
    let threshold = threshold(&breaker);
    assert!(threshold.contains(5) && threshold.high > threshold.low);
    // Without a gate all of them come through when the time is over.
    assert!(breaker.probes.value().expect("probes").at_once > 1);
}

#[test]
fn retries_are_one_call() {
    let breaker = seen(&Service {
        attempts: 4,
        ..Service::default()
    });
    assert_eq!(threshold(&breaker), Interval::new(5, 5));
}

#[test]
fn no_breaker_is_not_taken_for_one() {
    let breaker = seen(&Service {
        threshold: None,
        ..Service::default()
    });
    let Some(Opening::StayedClosed { failures, .. }) = breaker.opening.value() else {
        panic!("{:?}", breaker.opening);
    };
    assert!(*failures > 100, "{failures}");
    assert!(breaker.threshold.answer.is_err());
}

/// What calls the cache holds from a second after the fault began on, of some sessions; nothing failed.
fn warmed(service: &Service, of: impl Fn(u64) -> bool) -> Trace {
    let mut trace = service.run();
    let (on, off) = service.fault;
    trace.records.retain(|record| {
        !matches!(record, Record::Attempt(a) if a.proxy == CACHE && of(a.session) && (on + SECOND..off).contains(&a.begun))
    });
    trace
}

#[test]
fn a_cache_that_gets_warm_is_no_breaker() {
    let service = Service {
        threshold: None,
        ..Service::default()
    };
    let mut trace = warmed(&service, |_| true);
    for record in &mut trace.records {
        if let Record::Attempt(a) = record {
            a.outcome = Outcome::Ok;
        }
    }
    let unknown = |trace: &Trace| {
        let breaker = infer(&View::new(trace, &Topology::default()), CACHE).remove(0);
        let missing = breaker.opening.answer.expect_err("nothing failed");
        assert!(missing.reason.contains("none had failed"), "{missing:?}");
    };
    unknown(&trace);
    // Nor is it one where calls went on for most of a second after the only failure.
    let touched = trace.records.iter_mut().find_map(|record| match record {
        Record::Attempt(a) if a.fault.is_some() => Some(a),
        _ => None,
    });
    touched.expect("the fault touched some").outcome = Outcome::Failed;
    unknown(&trace);
}

#[test]
fn a_process_that_is_silent_alone_may_have_ended() {
    let service = Service {
        threshold: None,
        workers: 2,
        callers: 2,
        owners: Owners::All,
        ..Service::default()
    };
    let mut trace = warmed(&service, |session| session == 1);
    let (proxy, by, session) = (CACHE, CloseSide::Client, 1);
    let at = service.fault.0 + SECOND;
    trace.records.push(Record::Closed {
        at,
        proxy,
        session,
        by,
    });
    trace.sort();
    let each = infer(&View::new(&trace, &Topology::default()), CACHE);
    let opening = |pid| {
        let of = each.iter().find(|b| b.process == Some(pid));
        of.expect("its process is known").opening.clone()
    };
    let missing = opening(101).answer.expect_err("it may have ended");
    assert!(
        missing.reason.contains("no connection any more"),
        "{missing:?}"
    );
    assert!(matches!(
        opening(100).value(),
        Some(Opening::StayedClosed { .. })
    ));
}

#[test]
fn of_an_unknown_number_of_breakers_the_least_is_that_of_all_together() {
    let service = Service {
        workers: 2,
        callers: 2,
        owners: Owners::Half,
        ..Service::default()
    };
    let breaker = undeclared(&service).remove(0);
    let notes = &breaker.threshold.evidence.notes;
    assert!(
        notes.iter().any(|n| n.contains("all processes together")),
        "{notes:?}"
    );
}

/// The route beside calls a dependency, too: another one.
#[test]
fn a_route_that_calls_another_dependency_is_no_floor() {
    let mut trace = Service::default().run();
    trace.header.proxies.push(Proxy {
        name: "table".into(),
        protocol: Protocol::Postgres,
        pool: None,
    });
    let health = trace.names.find("GET /health");
    let requests = trace.records.iter().filter_map(|record| match record {
        Record::Attempt(a) if Some(a.operation) == health => Some(*a),
        _ => None,
    });
    let third = |a: &Attempt| (a.ended - a.begun) / 3;
    let calls = requests.map(|a| {
        Record::Attempt(Attempt {
            proxy: ProxyIndex(2),
            begun: a.begun + third(&a),
            asked: a.begun + third(&a),
            ended: a.ended - third(&a),
            ..a
        })
    });
    let calls: Vec<Record> = calls.collect();
    trace.records.extend(calls);
    trace.sort();
    let breaker = infer(&View::new(&trace, &Topology::default()), CACHE).remove(0);
    let notes = &breaker.fails_fast.evidence.notes;
    assert!(
        notes
            .iter()
            .any(|n| n.contains("less the time of their calls")),
        "{notes:?}"
    );
}

#[test]
fn calls_are_subtracted_only_from_the_one_request_that_can_have_made_them() {
    let service = Service::default();
    let mut trace = service.run();
    let known = |trace: &Trace| {
        let breaker = infer(&View::new(trace, &Topology::default()), CACHE).remove(0);
        breaker
            .fails_fast
            .value()
            .is_some_and(|f| f.undisturbed_p95_ms.is_some())
    };
    assert!(known(&trace));
    // One that is under way all the while.
    let items = trace.names.find("GET /items");
    let request = trace.records.iter().find_map(|record| match record {
        Record::Attempt(a) if Some(a.operation) == items => Some(*a),
        _ => None,
    });
    let long = Attempt {
        session: 77,
        begun: 1,
        asked: 1,
        ended: service.end,
        ..request.expect("many")
    };
    trace.records.push(Record::Attempt(long));
    trace.sort();
    assert!(!known(&trace));
}

#[test]
fn too_little_load_is_no_evidence() {
    let breaker = seen(&Service {
        think: 300 * MS,
        ..Service::default()
    });
    assert!(
        !matches!(breaker.opening.value(), Some(Opening::Opened { .. })),
        "{:?}",
        breaker.opening
    );
}

#[test]
fn a_fault_that_touched_nothing_tells_nothing() {
    let breaker = seen(&Service {
        fault: (20_000 * MS, 21_000 * MS),
        ..Service::default()
    });
    let missing = breaker.opening.answer.expect_err("nothing was touched");
    assert!(missing.reason.contains("no fault touched"), "{missing:?}");
}

#[test]
fn several_breakers_share_the_failures() {
    for workers in [2, 4] {
        let breaker = seen(&Service {
            workers,
            callers: workers,
            ..Service::default()
        });
        assert!(threshold(&breaker).contains(5), "{breaker:?}");
    }
}

/// Without being told how many processes there are.
fn undeclared(service: &Service) -> Vec<Breaker> {
    let trace = service.run();
    infer(&View::new(&trace, &Topology::default()), CACHE)
}

#[test]
fn processes_whose_connections_are_known_need_not_be_declared() {
    let service = Service {
        workers: 2,
        callers: 2,
        owners: Owners::All,
        ..Service::default()
    };
    let each = undeclared(&service);
    let processes: Vec<_> = each.iter().map(|b| (b.process, b.breakers)).collect();
    assert_eq!(processes, [(Some(100), Some(1)), (Some(101), Some(1))]);
    for breaker in &each {
        let found = threshold(breaker);
        assert!(found.contains(5) && found.high <= 6, "{found:?}");
    }
}

#[test]
fn of_connections_known_by_half_only_the_number_of_processes_is_used() {
    let service = Service {
        workers: 2,
        callers: 4,
        owners: Owners::Half,
        ..Service::default()
    };
    let each = undeclared(&service);
    assert_eq!(each.len(), 1);
    assert_eq!(each[0].process, None);
    assert!(threshold(&each[0]).contains(5), "{each:?}");
}

#[test]
fn one_process_whose_connections_are_known_by_half_may_be_one_of_several() {
    let service = Service {
        workers: 2,
        callers: 2,
        owners: Owners::Half,
        ..Service::default()
    };
    assert_eq!(undeclared(&service)[0].breakers, None);
}

#[test]
fn fewer_owners_than_declared_are_none() {
    // A pooler between holds the connections of both.
    let service = Service {
        callers: 2,
        owners: Owners::All,
        ..Service::default()
    };
    let trace = service.run();
    let topology = Topology {
        workers: Some(2),
        ..Topology::default()
    };
    let each = infer(&View::new(&trace, &topology), CACHE);
    assert_eq!(
        (each.len(), each[0].process, each[0].breakers),
        (1, None, Some(2))
    );
}

#[test]
fn a_machine_that_is_too_busy_makes_it_inconclusive() {
    let breaker = seen(&Service {
        callers: 8,
        late: 150 * MS,
        ..Service::default()
    });
    let missing = breaker.threshold.answer.expect_err("nothing is certain");
    assert!(missing.reason.contains("too busy"), "{missing:?}");
    assert!(breaker.opening.answer.is_err());
}

proptest! {
    // PROPTEST_CASES raises it: thousands are tried before a release.
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Whatever the service is set to: what is stated holds.
    #[test]
    fn what_is_stated_holds(service in services()) {
        let breaker = seen(&service);
        if let Ok(threshold) = &breaker.threshold.answer {
            prop_assert!(threshold.contains(service.threshold.expect("it has one")), "{threshold:?}");
        }
        if let Ok(open) = &breaker.open_seconds.answer {
            prop_assert!(open.contains(seconds(service.open_for)), "{open:?}");
        }
        if let Ok(probes) = &breaker.probes.answer {
            prop_assert!(!service.gate || probes.at_once <= 1, "{probes:?}");
        }
        if let Ok(Opening::StayedClosed { failures, in_flight }) = &breaker.opening.answer {
            let threshold = service.threshold.expect("it has one");
            prop_assert!(*failures <= threshold + in_flight, "{:?}", breaker.opening);
        }
    }

    /// So it does where callers take turns, or nearly, before a proxy that is late.
    #[test]
    fn it_holds_for_few_callers_before_a_late_proxy(
        mut service in services(),
        callers in 1_usize..4,
        late_ms in 0_u64..80,
        think_ms in 1_u64..60,
    ) {
        service.callers = callers;
        service.late = late_ms * MS;
        service.think = think_ms * MS;
        let breaker = seen(&service);
        if let Some(found) = breaker.threshold.value() {
            let wanted = service.threshold.expect("it has one");
            prop_assert!(found.contains(wanted), "{found:?} for {wanted}");
        }
    }

    /// So it does with several processes, whose connections are known or not.
    #[test]
    fn it_holds_for_several_processes_on_a_busy_machine(
        service in services(),
        workers in 1_usize..5,
        late_ms in 0_u64..40,
        owners in prop_oneof![Just(Owners::None), Just(Owners::All)],
    ) {
        let callers = service.callers.max(workers);
        let service = Service { workers, callers, owners, late: late_ms * MS, ..service };
        let each = if owners == Owners::All { undeclared(&service) } else { vec![seen(&service)] };
        for breaker in each {
            if let Ok(threshold) = &breaker.threshold.answer {
                prop_assert!(threshold.contains(service.threshold.expect("it has one")), "{breaker:?}");
            }
            if let (Ok(open), true) = (&breaker.open_seconds.answer, breaker.breakers == Some(1)) {
                prop_assert!(open.contains(seconds(service.open_for)), "{breaker:?}");
            }
        }
    }

    /// Without a breaker none is seen.
    #[test]
    fn none_is_invented(mut service in services()) {
        service.threshold = None;
        let breaker = seen(&service);
        prop_assert!(!matches!(breaker.opening.answer, Ok(Opening::Opened { .. })), "{:?}", breaker.opening);
    }
}

/// What never says anything is never wrong: with this much load, everything can be said.
#[test]
fn enough_load_leaves_nothing_open() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let drawn = services().new_tree(&mut runner).expect("no filter");
        let service = drawn.current();
        let breaker = seen(&service);
        let said = breaker.threshold.answer.is_ok()
            && breaker.open_seconds.answer.is_ok()
            && breaker.probes.answer.is_ok()
            && breaker.closing.answer.is_ok()
            && breaker.fails_fast.answer.is_ok();
        assert!(said, "{service:?}: {breaker:?}");
    }
}

#[test]
fn calls_that_are_given_up_unseen_leave_it_open_whether_a_breaker_opened() {
    let service = Service {
        callers: 1,
        failure: 200 * MS,
        abandons: true,
        ..Service::default()
    };
    assert!(seen(&service).opening.value().is_some());
    let mut trace = service.run();
    // The same client, but it keeps its connections, and what it gave up is answered long after the fault.
    let end = service.fault.1 + 2 * SECOND;
    trace
        .records
        .retain(|r| !matches!(r, Record::Closed { proxy, .. } if *proxy == CACHE));
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && attempt.outcome == Outcome::ClientGone
            && attempt.proxy == CACHE
        {
            attempt.outcome = Outcome::Ok;
            attempt.ended = attempt.ended.max(end);
        }
    }
    trace.sort();
    let view = View::new(&trace, &Topology::default());
    let breaker = infer(&view, CACHE).remove(0);
    let missing = breaker.opening.answer.expect_err("nobody sees it");
    assert!(missing.reason.contains("still out"), "{missing:?}");
}

#[test]
fn where_calls_come_seldom_it_may_have_been_open_between_any_two() {
    let breaker = seen(&Service {
        callers: 1,
        threshold: None,
        think: 400 * MS,
        fault: (30_000 * MS, 50_000 * MS),
        end: 60_000 * MS,
        ..Service::default()
    });
    let Some(Opening::StayedClosed { failures, .. }) = breaker.opening.value() else {
        panic!("{breaker:?}");
    };
    assert!(*failures <= 1, "{failures}");
}

#[test]
fn a_longer_run_that_did_not_open_it_refutes_a_count() {
    let service = Service::default();
    let mut trace = service.run();
    let from = service.fault.0 - 1_000 * MS;
    let mut left = 8;
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && attempt.proxy == CACHE
            && attempt.begun >= from
            && left > 0
        {
            attempt.outcome = Outcome::Failed;
            left -= 1;
        }
    }
    let one = Topology {
        workers: Some(1),
        ..Topology::default()
    };
    let view = View::new(&trace, &one);
    let breaker = infer(&view, CACHE).remove(0);
    assert!(breaker.opening.value().is_some());
    let missing = breaker
        .threshold
        .answer
        .expect_err("5 opened it, 8 did not");
    assert!(missing.reason.contains("8 had not"), "{missing:?}");
}
