//! What is inferred of services that are known to the last setting.

mod asking_again;
mod by_hand;
mod left;
mod went_on;

use super::simulation::{CACHE, MS, Service};
use super::timeout::{Manner, Waiting};
use super::*;
use crate::measure::trace::{Attempt, Outcome, Trace};
use crate::measure::trace::{ProxyIndex, Record};
use proptest::prelude::*;

fn of(service: &Service) -> Trace {
    service.run()
}

fn view(trace: &Trace) -> View<'_> {
    View::new(trace, &Topology::default())
}

/// A service that waits for a silent dependency until its own timeout.
fn hanging(timeout: u64) -> Service {
    Service {
        threshold: None,
        callers: 3,
        failure: timeout,
        abandons: true,
        exact: true,
        ..Service::default()
    }
}

#[test]
fn a_timeout_shows_as_the_age_at_which_it_gives_up() {
    let trace = of(&hanging(200 * MS));
    let found = timeout::infer(&view(&trace), CACHE);
    let Some(Waiting::GivesUp(timeout)) = found.value() else {
        panic!("{found:?}");
    };
    assert!((timeout.ms - 200.0).abs() <= 5.0, "{timeout:?}");
    assert_eq!(timeout.manner, Manner::Closes);
}

/// What is read late was waited for longer than it seems.
#[test]
fn a_request_that_the_proxy_saw_late_does_not_shorten_the_timeout() {
    let mut trace = of(&hanging(200 * MS));
    let given_up = trace.records.iter_mut().filter_map(|r| match r {
        Record::Attempt(a) if a.outcome == Outcome::ClientGone => Some(a),
        _ => None,
    });
    for attempt in given_up.step_by(9) {
        attempt.begun += 18 * MS;
        attempt.asked = attempt.begun;
    }
    let found = timeout::infer(&view(&trace), CACHE);
    let Some(Waiting::GivesUp(timeout)) = found.value() else {
        panic!("{found:?}");
    };
    assert!((timeout.ms - 200.0).abs() <= 5.0, "{timeout:?}");
}

/// Its breaker may have been open: calls would be too many afterwards, compared with that.
#[test]
fn calls_that_fail_before_any_fault_teach_nothing() {
    let mut trace = of(&Service::default());
    let calls = trace.records.iter_mut().filter_map(|r| match r {
        Record::Attempt(a) if a.proxy == CACHE => Some(a),
        _ => None,
    });
    for attempt in calls.take(40).skip(10) {
        attempt.outcome = Outcome::ClientGone;
    }
    let view = view(&trace);
    let missing = view.demand(CACHE).expect_err("disturbed");
    assert!(missing.reason.contains("before any fault"), "{missing:?}");
    let retries = retries::infer(&view, CACHE).answer.expect("calls failed");
    assert_eq!(retries.amplification, None);
    assert!(breaker::infer(&view, CACHE)[0].opening.answer.is_err());
}

#[test]
fn ages_on_a_busy_machine_are_no_setting() {
    let trace = of(&Service {
        late: 40 * MS,
        ..hanging(200 * MS)
    });
    let found = timeout::infer(&view(&trace), CACHE);
    let missing = found.answer.expect_err("a fifth of it is the proxy's");
    assert!(missing.reason.contains("late"), "{missing:?}");
}

#[test]
fn who_never_gives_up_has_no_timeout_that_was_reached() {
    // The errors come after 300 ms each: requests hang as long, and nobody gives up.
    let trace = of(&Service {
        abandons: false,
        ..hanging(300 * MS)
    });
    let found = timeout::infer(&view(&trace), CACHE);
    assert!(
        matches!(found.value(), Some(Waiting::Without { longest_ms }) if *longest_ms >= 290.0),
        "{found:?}"
    );
}

#[test]
fn noticing_takes_as_long_as_the_timeout() {
    let trace = of(&hanging(500 * MS));
    let found = detection::infer(&view(&trace), CACHE);
    let detection = found.value().expect("it gave up");
    assert_eq!(detection.reaction, detection::Reaction::GaveUp);
    assert!(
        (detection.first_seconds - 0.5).abs() < 0.02,
        "{detection:?}"
    );
}

#[test]
fn a_service_without_timeout_is_never_said_to_notice() {
    // Longer than the recording lasts after the fault began.
    let trace = of(&hanging(60_000 * MS));
    let found = detection::infer(&view(&trace), CACHE);
    assert!(found.answer.is_err(), "{found:?}");
}

/// What `leaking` shows: only its answers tell.
#[test]
fn answers_alone_tell_when_it_noticed() {
    for callers in [1, 2, 3] {
        let service = Service {
            callers,
            ..hanging(500 * MS)
        };
        let trace = leaking(&service);
        let found = detection::infer(&view(&trace), CACHE);
        let detection = found.value().expect("its callers were answered");
        assert_eq!(detection.reaction, detection::Reaction::Answered);
        assert!((detection.first_seconds - 0.5).abs() < 0.1, "{detection:?}");
    }
}

#[test]
fn answers_to_others_in_flight_do_not_tell_when() {
    let service = Service {
        callers: 4,
        ..hanging(500 * MS)
    };
    let mut trace = leaking(&service);
    let (fault, _) = service.fault;
    // Beside each of the first, a request that has its answer at once, and may have been the one that asked.
    let template = trace.records.iter().find_map(|r| match r {
        Record::Attempt(a) if trace.names.get(a.operation) == "GET /items" => Some(*a),
        _ => None,
    });
    let template = template.expect("a request");
    for number in 0..5_000 {
        let begun = fault + number * MS;
        let ended = begun + 3 * MS;
        let beside = Attempt {
            session: 77,
            begun,
            asked: begun,
            ended,
            first_byte: Some(ended),
            ..template
        };
        trace.records.push(Record::Attempt(beside));
    }
    trace.sort();
    let found = detection::infer(&view(&trace), CACHE);
    let missing = found
        .answer
        .expect_err("nobody knows whose answer came when");
    assert!(
        missing.reason.contains("several requests under way"),
        "{missing:?}"
    );
    assert!(
        !found.evidence.figures.contains_key("watched_seconds"),
        "else a verdict says that it never noticed"
    );
}

#[test]
fn recovery_is_when_everything_is_as_before() {
    let trace = of(&Service {
        open_for: 1_500 * MS,
        ..Service::default()
    });
    let found = recovery::infer(&view(&trace), CACHE, 2 * SECOND);
    let recovery = found.value().expect("it recovers");
    // The breaker may be open for as long as that when the fault ends, and not longer.
    assert!(recovery.seconds <= 1.7, "{recovery:?}");
    assert!(recovery.first_success_seconds <= Some(1.7), "{recovery:?}");
}

#[test]
fn who_stays_broken_is_not_recovered() {
    // The breaker stays open beyond the end of the recording.
    let trace = of(&Service {
        open_for: 60_000 * MS,
        ..Service::default()
    });
    let found = recovery::infer(&view(&trace), CACHE, 2 * SECOND);
    let missing = found.answer.expect_err("it never recovers");
    assert!(missing.reason.contains("not itself again"), "{missing:?}");
}

#[test]
fn a_recovery_that_nobody_watched_is_not_known() {
    let trace = of(&Service {
        end: 9_500 * MS,
        ..Service::default()
    });
    let found = recovery::infer(&view(&trace), CACHE, 3 * SECOND);
    assert!(found.answer.is_err(), "{found:?}");
}

#[test]
fn what_is_refused_without_a_fault_too_is_no_failure() {
    let mut trace = of(&hanging(20 * MS));
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.proxy == CACHE
        {
            a.outcome = Outcome::Refused;
            a.status = a.operation;
        }
    }
    let failed = |trace: &Trace| {
        let view = view(trace);
        let calls = &view.calls(CACHE, calls::Reading::Apart).calls;
        calls.iter().filter(|c| c.failed).count()
    };
    assert_eq!(failed(&trace), 0);
    let other = trace.names.intern("injected");
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.fault.is_some()
        {
            a.status = other;
        }
    }
    assert!(failed(&trace) > 100);
}

#[test]
fn who_is_slow_after_the_fault_at_a_low_rate_is_not_recovered() {
    let service = Service {
        threshold: None,
        think: 40 * MS,
        ..Service::default()
    };
    let mut trace = of(&service);
    let recovered = |trace: &Trace| {
        let found = recovery::infer(&view(trace), CACHE, 2 * SECOND);
        assert!((30..59).contains(&found.evidence.samples), "{found:?}");
        found.value().is_some()
    };
    assert!(recovered(&trace));
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && attempt.proxy == simulation::API
            && attempt.begun >= service.fault.1
        {
            attempt.ended += 500 * MS;
        }
    }
    trace.sort();
    assert!(!recovered(&trace));
}

#[test]
fn damage_that_stays_in_is_contained() {
    let trace = of(&Service::default());
    let found = containment::infer(&view(&trace), CACHE);
    let containment = found.value().expect("a route without the dependency");
    assert!(containment.contained, "{containment:?}");
    let needs: Vec<_> = containment
        .routes
        .iter()
        .map(|r| (r.route.as_str(), r.needs_it, r.suffered))
        .collect();
    assert_eq!(
        needs,
        [
            ("GET /health", Some(false), false),
            ("GET /items", Some(true), true)
        ]
    );
}

/// A service whose health takes 100 ms longer from one moment to another.
fn slower_health(from: u64, to: u64) -> Trace {
    let service = Service {
        threshold: None,
        ..Service::default()
    };
    let mut trace = service.run();
    let health = trace.names.find("GET /health");
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && Some(attempt.operation) == health
            && (from..to).contains(&attempt.begun)
        {
            attempt.ended += 100 * MS;
        }
    }
    trace.sort();
    trace
}

#[test]
fn a_machine_that_stands_still_for_a_moment_is_no_damage() {
    let (from, to) = Service::default().fault;
    let trace = slower_health(from + 1_000 * MS, from + 2_000 * MS);
    let missing = containment::infer(&view(&trace), CACHE).answer;
    assert!(missing.is_err_and(|m| m.reason.contains("machine")));
    let trace = slower_health(from, to);
    let found = containment::infer(&view(&trace), CACHE);
    assert!(
        !found.value().expect("all the while").contained,
        "{found:?}"
    );
}

#[test]
fn a_service_is_not_called_slow_for_what_the_proxy_is_late_by() {
    let (_, fault_end) = Service::default().fault;
    let mut trace = slower_recovery(fault_end);
    let stable = 3 * SECOND;
    let found = recovery::infer(&view(&trace), CACHE, stable);
    let missing = found.answer.expect_err("it stays slow");
    assert!(missing.reason.contains("not itself"), "{missing:?}");
    for second in 1..=14 {
        trace.records.push(Record::Lag {
            at: second * SECOND,
            longest: 20 * MS,
        });
    }
    trace.sort();
    let found = recovery::infer(&view(&trace), CACHE, stable);
    assert!(found.evidence.figures[recovery::SECONDS_AT_LEAST] < 1.0);
    let missing = found.answer.expect_err("it is not known");
    assert!(missing.reason.contains("proxy itself"), "{missing:?}");
}

/// All requests take 30 ms longer from one moment on.
fn slower_recovery(from: u64) -> Trace {
    let service = Service {
        threshold: None,
        ..Service::default()
    };
    let mut trace = service.run();
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && attempt.proxy == simulation::API
            && attempt.begun >= from
        {
            attempt.ended += 30 * MS;
        }
    }
    trace.sort();
    trace
}

/// One request that a fault touched, and the fault on for seconds: the service does without what it gave up.
fn given_up(health_slow: impl Fn(u64) -> bool) -> Trace {
    let service = Service {
        threshold: Some(1),
        open_for: 60 * SECOND,
        ..Service::default()
    };
    let mut trace = service.run();
    let health = trace.names.find("GET /health");
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && Some(attempt.operation) == health
            && health_slow(attempt.begun)
        {
            attempt.ended += 100 * MS;
        }
    }
    trace.sort();
    trace
}

#[test]
fn a_dependency_that_was_given_up_is_out_as_long_as_the_fault_is_on() {
    let (on, off) = Service::default().fault;
    let trace = given_up(|_| false);
    let view = view(&trace);
    let touched = view.affected(CACHE).expect("one request");
    assert!(touched.length() < SECOND, "{touched:?}");
    assert_eq!(
        view.disturbed(CACHE).map(|span| span.to),
        Some(off),
        "{touched:?}"
    );
    let found = containment::infer(&view, CACHE);
    assert!(found.value().expect("for seconds").contained, "{found:?}");
    assert!(found.evidence.samples >= 59);
    let trace = given_up(|at| (on..off).contains(&at));
    let found = containment::infer(&self::view(&trace), CACHE);
    assert!(!found.value().expect("all the while").contained);
}

#[test]
fn what_was_slow_while_requests_were_touched_is_not_thinned_out() {
    let (on, _) = Service::default().fault;
    let trace = given_up(|at| (on - 50 * MS..on + 100 * MS).contains(&at));
    let missing = containment::infer(&view(&trace), CACHE).answer;
    let missing = missing.expect_err("too few requests in that moment");
    assert!(missing.reason.contains("59 requests"), "{missing:?}");
}

#[test]
fn damage_that_spreads_is_seen() {
    let trace = of(&Service {
        threshold: None,
        spreads: true,
        ..Service::default()
    });
    let found = containment::infer(&view(&trace), CACHE);
    let containment = found.value().expect("a route without the dependency");
    assert!(!containment.contained, "{containment:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Timers fire late by what the service takes, never early.
    #[test]
    fn timeouts_are_found_within_three_percent(ms in 60_u64..1_500, callers in 1_usize..8, seed in any::<u64>()) {
        let trace = of(&Service { callers, seed, end: 20_000 * MS, fault: (4_000 * MS, 16_000 * MS), ..hanging(ms * MS) });
        let found = timeout::infer(&view(&trace), CACHE);
        let Some(Waiting::GivesUp(timeout)) = found.value() else {
            return Err(TestCaseError::fail(format!("{found:?}")));
        };
        let off = (timeout.ms - ms as f64).abs();
        prop_assert!(off <= 5.0 || off <= 0.03 * ms as f64, "{timeout:?}");
    }
}

/// The same service, which leaves what it gives up open: the replies come when the fault ends.
fn leaking(service: &Service) -> Trace {
    let mut trace = of(service);
    for record in &mut trace.records {
        if let Record::Attempt(attempt) = record
            && attempt.outcome == Outcome::ClientGone
        {
            attempt.outcome = Outcome::Ok;
            attempt.ended = service.fault.1.max(attempt.ended);
            attempt.first_byte = Some(attempt.ended);
        }
    }
    trace.sort();
    trace
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However many are in flight at once: the answers of the service show that it gave up.
    #[test]
    fn who_gives_up_without_closing_is_not_said_to_wait(ms in 80_u64..1_500, callers in 1_usize..16, seed in any::<u64>()) {
        let service = Service { seed, callers, ..hanging(ms * MS) };
        let trace = leaking(&service);
        let found = timeout::infer(&view(&trace), CACHE);
        let missing = found.answer.expect_err("nothing was closed");
        prop_assert!(missing.reason.contains("still out"), "{missing:?}");
    }

    /// And where each caller gets its answer only with the reply, it waited.
    #[test]
    fn who_waits_is_said_to_wait(ms in 80_u64..1_500, callers in 1_usize..16, seed in any::<u64>()) {
        let trace = of(&Service { seed, callers, abandons: false, ..hanging(ms * MS) });
        let found = timeout::infer(&view(&trace), CACHE);
        prop_assert!(matches!(found.value(), Some(Waiting::Without { .. })), "{found:?}");
    }
}
