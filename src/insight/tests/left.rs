//! What a client gives up because its own caller has left.

use super::*;

#[test]
fn who_ends_with_its_own_caller_has_noticed_nothing() {
    let service = Service {
        callers: 1,
        ..hanging(500 * MS)
    };
    let mut trace = of(&service);
    callers_leave(&mut trace, 5 * MS);
    let found = detection::infer(&view(&trace), CACHE);
    let missing = found.answer.expect_err("it was its callers who left");
    assert!(missing.reason.contains("callers left"), "{missing:?}");
}

/// The callers of what the fault touched leave so long before the calls end.
fn callers_leave(trace: &mut Trace, before: u64) {
    let (on, off) = Service::default().fault;
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.proxy == ProxyIndex(0)
            && a.ended - a.begun > 400 * MS
            && (on..off).contains(&a.begun)
        {
            a.outcome = Outcome::ClientGone;
            a.ended -= before;
            a.first_byte = None;
        }
    }
    trace.sort();
}

#[test]
fn of_several_callers_each_who_left_ends_its_call() {
    let mut trace = of(&Service {
        callers: 4,
        ..hanging(500 * MS)
    });
    callers_leave(&mut trace, 5 * MS);
    let view = view(&trace);
    let found = timeout::infer(&view, CACHE);
    assert!(
        !matches!(found.value(), Some(Waiting::GivesUp(_))),
        "{found:?}"
    );
    let missing = detection::infer(&view, CACHE).answer;
    assert!(missing.is_err_and(|m| m.reason.contains("callers left")));
}

#[test]
fn who_waits_on_after_its_caller_left_gives_up_by_itself() {
    let mut trace = of(&Service {
        callers: 1,
        ..hanging(500 * MS)
    });
    callers_leave(&mut trace, 350 * MS);
    let found = timeout::infer(&view(&trace), CACHE);
    let Some(Waiting::GivesUp(timeout)) = found.value() else {
        panic!("{found:?}");
    };
    assert!((timeout.ms - 500.0).abs() <= 5.0, "{timeout:?}");
}

/// The same service, which asks the server to cancel what it gives up, and has an error from it after a while.
fn cancelling(service: &Service, closes_after: Option<u64>) -> Trace {
    let mut trace = of(service);
    let mut cancels = Vec::new();
    for record in &mut trace.records {
        if let Record::Attempt(a) = record
            && a.outcome == Outcome::ClientGone
        {
            cancels.push(Record::Cancel {
                at: a.ended,
                proxy: a.proxy,
                target: Some(a.session),
            });
            match closes_after {
                Some(after) => a.ended += after,
                None => a.outcome = Outcome::Failed,
            }
        }
    }
    trace.records.extend(cancels);
    trace.sort();
    trace
}

#[test]
fn what_is_cancelled_for_a_caller_who_left_is_no_timeout() {
    let mut trace = cancelling(&hanging(500 * MS), None);
    let found = timeout::infer(&view(&trace), CACHE);
    let cancels = |w: &Waiting| matches!(w, Waiting::GivesUp(t) if t.manner == Manner::Cancels);
    assert!(found.value().is_some_and(cancels), "{found:?}");
    callers_leave(&mut trace, 5 * MS);
    let view = view(&trace);
    let found = timeout::infer(&view, CACHE);
    assert!(!found.value().is_some_and(cancels), "{found:?}");
    let missing = detection::infer(&view, CACHE).answer;
    assert!(missing.is_err_and(|m| m.reason.contains("callers left")));
}

#[test]
fn what_was_cancelled_is_not_given_up_again_when_it_is_closed() {
    let trace = cancelling(&hanging(200 * MS), Some(5 * SECOND));
    let found = timeout::infer(&view(&trace), CACHE);
    let Some(Waiting::GivesUp(timeout)) = found.value() else {
        panic!("{found:?}");
    };
    assert_eq!(timeout.manner, Manner::Cancels);
    assert!((timeout.ms - 200.0).abs() <= 5.0, "{timeout:?}");
    assert!(timeout.also_ms.is_empty(), "{timeout:?}");
}
