//! Judges before services that are known to the last setting: right, or inconclusive, and never wrong.

use super::breaker::{Closes, FailsFast, OpensAfter};
use super::latency::{Figure, Latency};
use super::timing::{Detects, Recovers};
use super::*;
use crate::insight::Topology;
use crate::insight::simulation::{CACHE, MS, Service, cases, services};
use crate::measure::trace::{Outcome, ProxyIndex, Record, Trace};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::cell::Cell;

fn verdict(trace: &Trace, what: &dyn Expectation) -> Verdict {
    let topology = Topology {
        workers: Some(1),
        ..Topology::default()
    };
    let case = Case {
        view: View::new(trace, &topology),
        topology,
        fault_phases: Vec::new(),
        apart: Vec::new(),
        lanes: BTreeMap::new(),
        lapses: BTreeMap::new(),
        stopped: None,
        capacity: None,
        broken: BTreeMap::new(),
        closed: BTreeSet::new(),
    };
    let scope = Scope {
        proxy: Some("cache".into()),
        ..Scope::default()
    };
    what.judge(&case, &scope).verdict
}

fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Pass)
}

fn fails(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail { .. })
}

/// Long enough for whatever these services do.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_service_of_one_caller_is_told_from_its_neighbours() {
    for threshold in [2, 5, 8] {
        let trace = Service {
            threshold: Some(threshold),
            ..Service::default()
        }
        .run();
        for limit in 1..12 {
            let verdict = verdict(&trace, &OpensAfter(limit));
            assert_eq!(passes(&verdict), limit == threshold, "{limit}: {verdict:?}");
            assert_eq!(fails(&verdict), limit != threshold, "{limit}: {verdict:?}");
        }
    }
}

#[test]
fn who_has_no_breaker_fails_to_open_and_passes_nothing() {
    let trace = Service {
        threshold: None,
        callers: 4,
        ..Service::default()
    }
    .run();
    assert!(fails(&verdict(&trace, &OpensAfter(5))));
    assert!(!passes(&verdict(&trace, &Closes(true))));
    assert!(!passes(&verdict(&trace, &FailsFast(LONG))));
}

/// Two milliseconds are the service's own where the proxy is prompt, and may be the proxy's where it is not.
#[test]
fn what_a_late_proxy_may_have_added_is_not_held_against_the_service() {
    let mut trace = Service::default().run();
    let one_ms = FailsFast(Duration::from_millis(1));
    assert!(passes(&verdict(&trace, &one_ms)));
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.proxy == ProxyIndex(0)
            && a.outcome == Outcome::Failed
        {
            a.ended += 2 * MS;
        }
    }
    assert!(fails(&verdict(&trace, &one_ms)));
    for record in &mut trace.records {
        if let Record::Lag { longest, .. } = record {
            *longest = 3 * MS;
        }
    }
    let late = verdict(&trace, &one_ms);
    assert!(!fails(&late) && !passes(&late), "{late:?}");
}

/// Everything takes longer meanwhile: a refusal, too.
#[test]
fn what_a_slower_machine_adds_is_not_held_against_the_breaker() {
    let service = Service::default();
    let mut trace = service.run();
    let bare = trace.names.find("GET /health");
    let (from, to) = service.fault;
    let during = trace.records.iter_mut().filter_map(|r| match r {
        Record::Attempt(a) if a.proxy == ProxyIndex(0) && (from..to).contains(&a.begun) => Some(a),
        _ => None,
    });
    for attempt in during {
        let took = attempt.ended - attempt.begun;
        attempt.ended += if Some(attempt.operation) == bare {
            2 * took
        } else {
            2 * took + 2 * MS
        };
    }
    let slow = verdict(&trace, &FailsFast(Duration::from_millis(1)));
    assert!(!fails(&slow) && !passes(&slow), "{slow:?}");
}

/// What a route does beside its calls it also does while the breaker is open: that is not the breaker's.
#[test]
fn what_a_route_takes_by_itself_is_not_held_against_its_breaker() {
    let mut trace = Service::default().run();
    let bare = trace.names.find("GET /health");
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.proxy == ProxyIndex(0)
            && Some(a.operation) != bare
        {
            a.ended += 2 * MS;
        }
    }
    let slow = verdict(&trace, &FailsFast(Duration::from_millis(1)));
    assert!(!fails(&slow) && !passes(&slow), "{slow:?}");
}

#[test]
fn latency_that_may_be_the_late_proxys_own_breaks_no_limit() {
    let mut trace = Service::default().run();
    let phase = trace.names.intern("steady");
    trace.records.insert(
        0,
        Record::Phase {
            at: 0,
            phase,
            kind: None,
        },
    );
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.proxy == CACHE
        {
            a.ended += 5 * MS;
        }
    }
    let within = |ms| Latency {
        figure: Figure::Mean,
        limit: Duration::from_millis(ms),
    };
    let generous = verdict(&trace, &within(400));
    assert!(passes(&generous), "{generous:?}");
    assert!(fails(&verdict(&trace, &within(5))));
    for record in &mut trace.records {
        if let Record::Lag { longest, .. } = record {
            *longest = 3 * MS;
        }
    }
    let late = verdict(&trace, &within(5));
    assert!(!fails(&late) && !passes(&late), "{late:?}");
    assert!(
        fails(&verdict(&trace, &within(1))),
        "beyond what it was late"
    );
}

#[test]
fn a_breaker_that_is_meant_to_stay_open_and_closes_fails() {
    let trace = Service::default().run();
    assert!(passes(&verdict(&trace, &Closes(true))));
    assert!(fails(&verdict(&trace, &Closes(false))));
}

proptest! {
    // Each case is a run of 14 s of a service, judged several times.
    #![proptest_config(ProptestConfig::with_cases(cases() / 3))]

    /// It passes for what it has, or for one beside it where calls in flight leave two; and does not fail for what it has.
    #[test]
    fn no_threshold_passes_or_fails_wrongly(service in services(), limit in 1..14_u64) {
        let threshold = service.threshold.expect("it has one");
        let trace = service.run();
        let said = verdict(&trace, &OpensAfter(limit));
        prop_assert!(!passes(&said) || threshold.abs_diff(limit) <= 1, "{limit}: {said:?}");
        prop_assert!(!fails(&said) || threshold != limit, "{limit}: {said:?}");
        prop_assert!(!fails(&verdict(&trace, &OpensAfter(threshold))));
    }

    /// They come back, all of them, and are never said not to.
    #[test]
    fn who_closes_is_never_said_to_stay_open(service in services()) {
        let trace = service.run();
        prop_assert!(!fails(&verdict(&trace, &Closes(true))));
        prop_assert!(!passes(&verdict(&trace, &Closes(false))));
    }

    /// Without a breaker none of its rows passes, however generous the limit.
    #[test]
    fn without_a_breaker_nothing_of_it_passes(mut service in services(), limit in 1..14_u64) {
        service.threshold = None;
        let trace = service.run();
        prop_assert!(!passes(&verdict(&trace, &OpensAfter(limit))));
        prop_assert!(!passes(&verdict(&trace, &Closes(true))));
        prop_assert!(!passes(&verdict(&trace, &FailsFast(LONG))));
    }

    /// It says no within a millisecond of its own, and a request without the dependency takes as long.
    #[test]
    fn who_fails_fast_is_never_said_not_to(service in services()) {
        let said = verdict(&service.run(), &FailsFast(Duration::from_millis(2)));
        prop_assert!(!fails(&said), "{said:?}");
    }

    /// It notices when an attempt has failed, at the latest a fifth later than it is set to, and is itself again after its breaker
    /// has closed.
    #[test]
    fn times_hold_where_they_are_generous_and_not_where_they_are_impossible(service in services()) {
        let trace = service.run();
        let failure = Duration::from_nanos(service.failure);
        let said = verdict(&trace, &Detects(2 * failure + Duration::from_secs(1)));
        prop_assert!(!fails(&said), "detects: {said:?}");
        if service.abandons && service.failure > 20 * MS {
            let said = verdict(&trace, &Detects(failure / 4));
            prop_assert!(!passes(&said), "detects: {said:?}");
        }
        let recovers = |within| Recovers { within, stable: Duration::from_secs(1) };
        let open = Duration::from_nanos(service.open_for);
        let said = verdict(&trace, &recovers(2 * open + Duration::from_secs(5)));
        prop_assert!(!fails(&said), "recovers: {said:?}");
    }
}

/// What never says anything is never wrong: most of it can be said.
#[test]
fn most_is_said() {
    let (said, asked) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..60 {
        let service = services()
            .new_tree(&mut runner)
            .expect("no filter")
            .current();
        let trace = service.run();
        let count = |what: &dyn Expectation| {
            asked.set(asked.get() + 1);
            let verdict = verdict(&trace, what);
            said.set(said.get() + u32::from(passes(&verdict) || fails(&verdict)));
        };
        count(&Closes(true));
        count(&FailsFast(Duration::from_millis(2)));
        count(&Detects(Duration::from_secs(2)));
        count(&Recovers {
            within: Duration::from_secs(4),
            stable: Duration::from_secs(1),
        });
    }
    assert!(
        said.get() * 10 >= asked.get() * 9,
        "{} of {}",
        said.get(),
        asked.get()
    );
}
