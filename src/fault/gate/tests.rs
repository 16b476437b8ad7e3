use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;

fn asked(session: u64, exchange: u64) -> Asked {
    Asked {
        dice: Dice::new(1, "gate"),
        session,
        exchange: Some(exchange),
        elapsed: Duration::ZERO,
    }
}

/// Which of the first `n` exchanges of one session are hit.
fn hits(gates: &Gates, n: u64) -> Vec<u64> {
    let counts = Counts::default();
    (0..n)
        .filter(|exchange| gates.pass(&counts, &asked(0, *exchange)))
        .collect()
}

#[test]
fn without_gates_all_pass() {
    assert_eq!(hits(&Gates::default(), 3), [0, 1, 2]);
}

#[test]
fn each_gate_does_what_it_says() {
    let gates = |set: fn(&mut Gates)| {
        let mut gates = Gates::default();
        set(&mut gates);
        gates
    };
    assert_eq!(hits(&gates(|g| g.after = Some(3)), 6), [3, 4, 5]);
    assert_eq!(hits(&gates(|g| g.every = Some(3)), 9), [2, 5, 8]);
    assert_eq!(hits(&gates(|g| g.every = Some(1)), 3), [0, 1, 2]);
    assert_eq!(hits(&gates(|g| g.first = Some(2)), 6), [0, 1]);
    assert_eq!(hits(&gates(|g| g.per_second = Some(2)), 6), [0, 1]);
    assert!(hits(&gates(|g| g.probability = Some(0.0)), 6).is_empty());
    assert_eq!(hits(&gates(|g| g.probability = Some(1.0)), 3), [0, 1, 2]);
}

#[test]
fn gates_apply_in_their_order() {
    let all = Gates {
        after: Some(2),
        every: Some(2),
        first: Some(3),
        ..Gates::default()
    };
    assert_eq!(hits(&all, 20), [3, 5, 7]);
    // `first` counts hits, not what a draw turned away.
    let drawn = Gates {
        probability: Some(0.3),
        first: Some(10),
        ..Gates::default()
    };
    assert_eq!(hits(&drawn, 1000).len(), 10);
    let every = Gates {
        probability: Some(0.5),
        every: Some(2),
        ..Gates::default()
    };
    assert!(hits(&every, 1000).iter().all(|n| n % 2 == 1));
}

#[test]
fn per_second_starts_anew_each_second_and_costs_first_nothing() {
    let gates = Gates {
        per_second: Some(2),
        first: Some(5),
        ..Gates::default()
    };
    let counts = Counts::default();
    let mut pass = |millis| {
        let elapsed = Duration::from_millis(millis);
        let asked = Asked {
            elapsed,
            ..asked(0, 0)
        };
        gates.pass(&counts, &asked)
    };
    let at: Vec<bool> = [0, 1, 999, 1000, 1999, 1999, 2000, 2001]
        .into_iter()
        .map(&mut pass)
        .collect();
    assert_eq!(at, [true, true, false, true, true, false, true, false]);
    assert!(!pass(10_000), "five in all");
}

#[test]
fn a_late_clock_reading_counts_in_the_newer_second() {
    let gates = Gates {
        per_second: Some(1),
        ..Gates::default()
    };
    let counts = Counts::default();
    let at = |millis| Asked {
        elapsed: Duration::from_millis(millis),
        ..asked(0, 0)
    };
    assert!(gates.pass(&counts, &at(1000)));
    assert!(!gates.pass(&counts, &at(999)));
    assert!(!gates.pass(&counts, &at(1001)));
    assert!(gates.pass(&counts, &at(2000)));
}

#[test]
fn probability_hits_its_share() {
    for (probability, least, most) in [
        (0.01, 900, 1100),
        (0.5, 49_400, 50_600),
        (0.9, 89_600, 90_400),
    ] {
        let gates = Gates {
            probability: Some(probability),
            ..Gates::default()
        };
        let hits = hits(&gates, 100_000).len();
        assert!((least..=most).contains(&hits), "{probability}: {hits}");
    }
}

#[test]
fn a_session_gets_one_answer() {
    for gates in [
        Gates {
            probability: Some(0.5),
            scope: Scope::Session,
            ..Gates::default()
        },
        Gates {
            probability: Some(0.5),
            every: Some(2),
            scope: Scope::Session,
            ..Gates::default()
        },
    ] {
        let counts = Counts::default();
        let mut sessions_hit = 0;
        for session in 0..1000 {
            let answers: Vec<bool> = (0..5)
                .map(|exchange| gates.pass(&counts, &asked(session, exchange)))
                .collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]));
            sessions_hit += u32::from(answers[0]);
        }
        assert!((150..600).contains(&sessions_hit), "{sessions_hit}");
    }
}

#[test]
fn counting_gates_count_sessions_where_told_to() {
    let gates = Gates {
        after: Some(1),
        first: Some(2),
        scope: Scope::Session,
        ..Gates::default()
    };
    let counts = Counts::default();
    let mut answers = Vec::new();
    // Interleaved: the sessions are counted in the order in which they first ask.
    for exchange in 0..3 {
        for session in [7, 3, 5, 9] {
            answers.push(gates.pass(&counts, &asked(session, exchange)));
        }
    }
    assert_eq!(
        answers.chunks(4).collect::<Vec<_>>(),
        [[false, true, true, false]; 3]
    );
    // The same can be looked up, which counts nothing.
    let said = |session| counts.answer(asked(session, 0).dice, session);
    assert_eq!([7, 3, 5, 9].map(said), [false, true, true, false].map(Some));
    assert_eq!(said(1), None);
    assert_eq!((counts.offered(), counts.hits()), (4, 2));
}

#[test]
fn sessions_that_ended_are_forgotten_and_the_rest_is_bounded() {
    let gates = Gates {
        every: Some(2),
        scope: Scope::Session,
        ..Gates::default()
    };
    let counts = Counts::default();
    for session in 0..MAX_SESSIONS as u64 + 10 {
        gates.pass(&counts, &asked(session, 0));
    }
    assert_eq!(counts.sessions().len(), MAX_SESSIONS);
    let newest = MAX_SESSIONS as u64 + 9;
    assert!(
        counts
            .sessions()
            .contains_key(&(newest, Dice::new(1, "gate")))
    );
    counts.forget(Dice::new(1, "gate"), newest);
    assert_eq!(counts.sessions().len(), MAX_SESSIONS - 1);
}

#[test]
fn counts_are_exact_however_many_ask_at_once() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    for (gates, expected) in [
        (
            Gates {
                every: Some(7),
                after: Some(13),
                ..Gates::default()
            },
            (THREADS * EACH - 13) / 7,
        ),
        (
            Gates {
                first: Some(1234),
                ..Gates::default()
            },
            1234,
        ),
        (
            Gates {
                per_second: Some(321),
                ..Gates::default()
            },
            321,
        ),
        (
            Gates {
                first: Some(50),
                every: Some(2),
                per_second: Some(1000),
                ..Gates::default()
            },
            50,
        ),
        (
            Gates {
                first: Some(3),
                scope: Scope::Session,
                ..Gates::default()
            },
            3 * EACH,
        ),
    ] {
        let counts = Arc::new(Counts::default());
        let hits = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for session in 0..THREADS {
                let (counts, hits) = (Arc::clone(&counts), Arc::clone(&hits));
                scope.spawn(move || {
                    for exchange in 0..EACH {
                        if gates.pass(&counts, &asked(session, exchange)) {
                            hits.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(hits.load(Ordering::Relaxed) as u64, expected, "{gates:?}");
    }
}
