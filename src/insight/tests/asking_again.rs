//! How often a client asks again.

use super::*;

#[test]
fn retries_amplify() {
    let trace = of(&Service {
        threshold: None,
        attempts: 4,
        ..Service::default()
    });
    let found = retries::infer(&view(&trace), CACHE);
    let retries = found.value().expect("a fault touched it");
    assert!(retries.most_attempts.contains(4), "{retries:?}");
    let amplification = retries.amplification.expect("the demand is known");
    assert!((amplification - 4.0).abs() < 0.2, "{retries:?}");
    assert_eq!(retries.backoff, Some(retries::Backoff::Fixed));
}

#[test]
fn calls_that_do_not_fail_show_no_retries() {
    let mut trace = of(&Service {
        threshold: None,
        ..Service::default()
    });
    let (ok, touched) = (trace.names.find("ok").expect("usual"), CACHE);
    let judged = |trace: &Trace| retries::infer(&view(trace), CACHE).answer;
    assert!(judged(&trace).is_ok(), "each failed, and none was retried");
    // The fault only makes them slow.
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.proxy == touched
            && a.fault.is_some()
        {
            (a.outcome, a.status) = (Outcome::Ok, ok);
        }
    }
    let missing = judged(&trace).expect_err("nothing was there to be retried");
    assert!(missing.reason.contains("no call failed"), "{missing:?}");
}

#[test]
fn a_retry_of_the_same_request_may_come_late() {
    let trace = of(&Service {
        threshold: None,
        attempts: 2,
        backoff: 3 * SECOND,
        fault: (4_000 * MS, 14_000 * MS),
        end: 20_000 * MS,
        ..Service::default()
    });
    let found = retries::infer(&view(&trace), CACHE);
    let retries = found.value().expect("a fault touched it");
    assert_eq!(retries.most_attempts, Interval::new(2, 2), "{retries:?}");
}

#[test]
fn the_request_under_way_when_a_fault_begins_is_due() {
    // One call is touched; then the breaker is open to the end.
    let trace = of(&Service {
        threshold: Some(1),
        open_for: 60 * SECOND,
        attempts: 4,
        ..Service::default()
    });
    let found = retries::infer(&view(&trace), CACHE);
    let amplification = found.value().and_then(|r| r.amplification);
    let amplification = amplification.expect("one was due");
    assert!((amplification - 4.0).abs() < 0.2, "{found:?}");
}

#[test]
fn the_calm_between_two_faults_is_not_of_them() {
    let service = Service {
        threshold: None,
        attempts: 4,
        ..Service::default()
    };
    let mut trace = of(&service);
    let fault = trace.names.intern("outage");
    let (from, to) = (5_000 * MS, 8_000 * MS);
    let mut seen = std::collections::HashSet::new();
    trace.records.retain(|record| match record {
        Record::Attempt(a) if a.proxy == CACHE && (from..to).contains(&a.begun) => {
            seen.insert(a.exchange)
        }
        _ => true,
    });
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && (from..to).contains(&a.begun)
        {
            a.outcome = Outcome::Ok;
            a.fault = None;
        }
    }
    trace.records.push(Record::FaultOff { at: from, fault });
    trace.records.push(Record::FaultOn { at: to, fault });
    trace.sort();
    let found = retries::infer(&view(&trace), CACHE);
    let amplification = found.value().and_then(|r| r.amplification);
    assert!(amplification.is_some_and(|a| a > 3.7), "{found:?}");
}

#[test]
fn gaps_in_step_have_no_jitter() {
    let service = Service {
        threshold: None,
        attempts: 3,
        exact: true,
        backoff: 50 * MS,
        ..Service::default()
    };
    let even = of(&service);
    let jitter = |trace: &Trace| {
        let found = retries::infer(&view(trace), CACHE);
        found.value().and_then(|r| r.jitter)
    };
    assert_eq!(jitter(&even), Some(retries::Jitter::None));
    let spread = of(&Service {
        exact: false,
        ..service
    });
    assert_ne!(jitter(&spread), Some(retries::Jitter::None));
}
