//! What is inferred of recordings that are written by hand, record by record.

use super::{of, view};
use crate::insight::simulation::Service;
use crate::insight::*;
use crate::measure::trace::{Attempt, CloseSide, Header, Outcome, Proxy, Trace, VERSION};
use crate::measure::trace::{ProxyIndex, Record};
use crate::protocol::{Class, Protocol, Transaction};

/// A recording made by hand, of one Postgres proxy.
struct ByHand(Trace);

const DB: ProxyIndex = ProxyIndex(0);

impl ByHand {
    fn new() -> Self {
        Self(Trace::new(Header {
            version: VERSION,
            service: None,
            started_us: 0,
            proxies: vec![Proxy {
                name: "db".into(),
                protocol: Protocol::Postgres,
                pool: Some(2),
            }],
        }))
    }

    fn statement(&mut self, session: u64, times: (u64, u64), outcome: Outcome, fault: bool) {
        self.act("UPDATE", Class::Write, session, times, outcome, fault);
    }

    fn act(
        &mut self,
        operation: &str,
        class: Class,
        session: u64,
        (from, to): (u64, u64),
        outcome: Outcome,
        fault: bool,
    ) {
        let name = self.0.names.intern(operation);
        let status = self.0.names.intern("ok");
        let fault = fault.then(|| self.0.names.intern("lost"));
        self.0.records.push(Record::Attempt(Attempt {
            proxy: DB,
            session,
            exchange: from,
            operation: name,
            class,
            fingerprint: 42,
            begun: from,
            asked: from,
            first_byte: None,
            ended: to,
            upstream: Some(to - from),
            status,
            outcome,
            fault,
        }));
    }

    fn opened(&mut self, session: u64, at: u64) {
        let client = self.0.names.intern("127.0.0.1");
        self.0.records.push(Record::Opened {
            at,
            proxy: DB,
            session,
            client,
            port: 1,
        });
    }

    fn transaction(&mut self, session: u64, at: u64, state: Transaction) {
        self.0.records.push(Record::Transaction {
            at,
            proxy: DB,
            session,
            state,
        });
    }

    fn closed(&mut self, session: u64, at: u64, by: CloseSide) {
        self.0.records.push(Record::Closed {
            at,
            proxy: DB,
            session,
            by,
        });
    }

    fn sorted(mut self) -> Trace {
        self.0.sort();
        self.0
    }
}

#[test]
fn what_was_done_twice_is_counted() {
    let mut hand = ByHand::new();
    for session in 1..=3 {
        hand.opened(session, session);
    }
    hand.statement(1, (10, 20), Outcome::Cut, true);
    let alone = hand.0.clone();
    hand.statement(2, (30, 40), Outcome::Ok, false);
    let found = duplicates::infer(&view(&hand.sorted()), DB);
    let expected = duplicates::Duplicates {
        untold: 1,
        repeated: 1,
        done_twice: 1,
        uncertain: 0,
    };
    assert_eq!(found.value(), Some(&expected));
    let found = duplicates::infer(&view(&alone), DB);
    assert_eq!(
        found.value().map(|d| (d.untold, d.done_twice)),
        Some((1, 0))
    );
}

#[test]
fn what_was_rolled_back_is_not_done_twice() {
    let lost = |ended: Option<Transaction>, commit: bool| {
        let mut hand = ByHand::new();
        (1..=2).for_each(|session| hand.opened(session, session));
        hand.act("BEGIN", Class::Transaction, 1, (10, 11), Outcome::Ok, false);
        hand.transaction(1, 11, Transaction::Begin);
        hand.statement(1, (12, 20), Outcome::Cut, true);
        if commit {
            hand.act(
                "COMMIT",
                Class::Transaction,
                1,
                (13, 20),
                Outcome::Cut,
                false,
            );
        }
        if let Some(state) = ended {
            hand.transaction(1, 20, state);
        }
        hand.closed(1, 20, CloseSide::Fault);
        hand.statement(2, (30, 40), Outcome::Ok, false);
        let found = duplicates::infer(&view(&hand.sorted()), DB);
        found.value().map(|d| d.done_twice)
    };
    assert_eq!(lost(None, false), None);
    assert_eq!(lost(Some(Transaction::Rollback), false), None);
    assert_eq!(lost(Some(Transaction::Commit), true), Some(1));
    // Nobody saw how it ended, but the server had its COMMIT.
    assert_eq!(lost(None, true), Some(1));
}

#[test]
fn what_changes_nothing_is_not_done_twice() {
    for operation in ["BEGIN", "ROLLBACK", "SAVEPOINT"] {
        let mut hand = ByHand::new();
        (1..=2).for_each(|session| hand.opened(session, session));
        let class = Class::Transaction;
        hand.act(operation, class, 1, (10, 20), Outcome::Cut, true);
        hand.act(operation, class, 2, (30, 40), Outcome::Ok, false);
        let found = duplicates::infer(&view(&hand.sorted()), DB);
        assert!(found.answer.is_err(), "{operation}: {found:?}");
    }
}

#[test]
fn what_the_server_refused_the_second_time_is_not_done_twice() {
    let mut hand = ByHand::new();
    (1..=2).for_each(|session| hand.opened(session, session));
    hand.statement(1, (10, 20), Outcome::Cut, true);
    hand.statement(2, (30, 40), Outcome::Refused, false);
    let found = duplicates::infer(&view(&hand.sorted()), DB);
    let found = found.value().map(|d| (d.repeated, d.done_twice));
    assert_eq!(found, Some((1, 0)));
}

#[test]
fn who_asks_the_same_all_the_time_has_not_asked_again() {
    let mut hand = ByHand::new();
    (1..=4).for_each(|session| hand.opened(session, session));
    hand.statement(1, (10, 20), Outcome::Ok, false);
    hand.statement(2, (30, 40), Outcome::Ok, false);
    hand.statement(3, (50, 60), Outcome::Cut, true);
    hand.statement(4, (70, 80), Outcome::Ok, false);
    let found = duplicates::infer(&view(&hand.sorted()), DB);
    let twice = found.value().map(|d| (d.done_twice, d.uncertain));
    assert_eq!(twice, Some((0, 1)), "{found:?}");
}

#[test]
fn no_duplicates_are_only_said_where_there_could_have_been() {
    let mut hand = ByHand::new();
    hand.statement(1, (10, 20), Outcome::Ok, false);
    assert!(duplicates::infer(&view(&hand.sorted()), DB).answer.is_err());
}

#[test]
fn a_transaction_that_nobody_ends_is_found() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    hand.statement(1, (SECOND, 2 * SECOND), Outcome::Failed, true);
    hand.0.records.push(Record::Transaction {
        at: SECOND,
        proxy: DB,
        session: 1,
        state: Transaction::Begin,
    });
    hand.statement(2, (20 * SECOND, 21 * SECOND), Outcome::Ok, false);
    let found = cleanup::infer(&view(&hand.sorted()), DB);
    let leftovers = found.value().expect("long enough");
    assert_eq!(leftovers.forgotten_transactions, 1);
    assert!(!leftovers.is_clean());
}

#[test]
fn a_transaction_ends_with_its_connection() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    hand.0.records.push(Record::Transaction {
        at: SECOND,
        proxy: DB,
        session: 1,
        state: Transaction::Begin,
    });
    hand.statement(1, (SECOND, 2 * SECOND), Outcome::ClientGone, true);
    hand.0.records.push(Record::Closed {
        at: 2 * SECOND,
        proxy: DB,
        session: 1,
        by: CloseSide::Client,
    });
    hand.statement(2, (20 * SECOND, 21 * SECOND), Outcome::Ok, false);
    let found = cleanup::infer(&view(&hand.sorted()), DB);
    let leftovers = found.value().expect("long enough");
    assert_eq!(leftovers.forgotten_transactions, 0, "{leftovers:?}");
}

#[test]
fn stuck_connections_are_shown_in_order() {
    let mut hand = ByHand::new();
    for session in 1..=40 {
        hand.opened(session, 0);
        hand.statement(session, (SECOND, 2 * SECOND), Outcome::Cut, true);
    }
    hand.statement(99, (20 * SECOND, 21 * SECOND), Outcome::Ok, false);
    let trace = hand.sorted();
    let found = cleanup::infer(&view(&trace), DB);
    let sessions = found.evidence.records.iter().map(|r| &trace.records[*r]);
    let sessions = sessions.filter_map(|r| match r {
        Record::Attempt(a) => Some(a.session),
        _ => None,
    });
    let first: Vec<u64> = (1..=32).collect();
    assert_eq!(sessions.collect::<Vec<u64>>(), first);
}

#[test]
fn each_transaction_is_idle_where_nobody_works_in_it() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    for (begun, ended) in [(1, 9), (10, 12), (13, 30)] {
        hand.transaction(1, begun * SECOND, Transaction::Begin);
        hand.statement(
            1,
            (begun * SECOND, (begun + 1) * SECOND),
            Outcome::Ok,
            false,
        );
        hand.transaction(1, ended * SECOND, Transaction::Commit);
    }
    hand.statement(1, (20 * SECOND, 21 * SECOND), Outcome::Ok, false);
    let trace = hand.sorted();
    let left = cleanup::left_open(&view(&trace), DB, &mut Evidence::default());
    // From 2 to 9, from 14 to 20, from 21 to 30.
    assert_eq!(left.forgotten, 3, "{left:?}");
}

#[test]
fn a_pool_is_not_judged_on_a_machine_that_is_too_busy() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    hand.statement(1, (SECOND, 2 * SECOND), Outcome::Ok, false);
    let span = view(&hand.0).span;
    assert!(pool::infer(&view(&hand.0), DB, span).answer.is_ok());
    for at in [SECOND, 2 * SECOND] {
        let longest = SECOND / 2;
        hand.0.records.push(Record::Lag { at, longest });
    }
    let found = pool::infer(&view(&hand.sorted()), DB, span);
    let missing = found.answer.expect_err("late by half a second");
    assert!(missing.reason.contains("too busy"), "{missing:?}");
}

#[test]
fn a_pool_is_used_as_far_as_its_connections_are_busy() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    hand.opened(2, 0);
    hand.statement(1, (0, 10), Outcome::Ok, false);
    hand.statement(2, (5, 10), Outcome::Ok, false);
    hand.statement(1, (15, 20), Outcome::Ok, false);
    let trace = hand.sorted();
    let found = pool::infer(&view(&trace), DB, view::Span { from: 0, to: 20 });
    let used = found.value().expect("something passed");
    assert_eq!((used.most_busy, used.size, used.declared), (2, 2, true));
    assert!((used.utilisation - 0.5).abs() < 1e-9, "{used:?}");
    assert!((used.exhausted - 0.25).abs() < 1e-9, "{used:?}");
}

#[test]
fn connections_that_a_fault_turned_away_are_not_of_the_pool() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    hand.statement(1, (0, 10), Outcome::Ok, false);
    let fault = hand.0.names.intern("refuse");
    for session in 2..=9 {
        hand.opened(session, 5);
        hand.0.records.push(Record::TurnedAway {
            at: 5,
            proxy: DB,
            session,
            fault,
        });
    }
    let trace = hand.sorted();
    let found = pool::infer(&view(&trace), DB, view::Span { from: 0, to: 20 });
    assert_eq!(found.value().map(|used| used.most_open), Some(1));
}

#[test]
fn a_connection_is_in_use_while_its_transaction_is_open() {
    let mut hand = ByHand::new();
    hand.opened(1, 0);
    hand.opened(2, 0);
    for (at, session, state) in [
        (2, 1, Transaction::Begin),
        (8, 1, Transaction::Commit),
        (10, 2, Transaction::Begin),
        (11, 2, Transaction::Failed),
    ] {
        hand.0.records.push(Record::Transaction {
            at,
            proxy: DB,
            session,
            state,
        });
    }
    hand.statement(1, (1, 2), Outcome::Ok, false);
    hand.statement(1, (7, 8), Outcome::Ok, false);
    hand.0.records.push(Record::Closed {
        at: 15,
        proxy: DB,
        session: 2,
        by: CloseSide::Client,
    });
    let found = pool::infer(&view(&hand.sorted()), DB, view::Span { from: 0, to: 20 });
    // From 1 to 8, and from 10 to 15.
    let used = found.value().expect("something passed");
    assert!((used.mean_busy - 12.0 / 20.0).abs() < 1e-9, "{used:?}");
    assert_eq!(used.most_busy, 1);
}

#[test]
fn memory_that_grows_is_told_from_memory_that_varies() {
    let watched = |grow: u64| {
        let mut hand = ByHand::new();
        let target = hand.0.names.intern("api");
        for second in 0..180_u64 {
            hand.0.records.push(Record::Watched {
                at: second * SECOND,
                target,
                pid: 7,
                memory: 100_000_000 + second * grow + (second * 7919 % 13) * 100_000,
                cpu: second * SECOND / 4,
                descriptors: 20,
                threads: 4,
            });
        }
        hand.sorted()
    };
    let span = view::Span {
        from: 0,
        to: 200 * SECOND,
    };
    let steady = watched(0);
    let found = growth::memory(&view(&steady), "api", span, 0);
    let growth = *found.value().expect("three minutes");
    assert!(growth.bytes.abs() < 1_000_000, "{growth:?}");
    assert!(growth.slope_low <= 0.0 && 0.0 <= growth.slope_high);
    let leaking = watched(500_000);
    let found = growth::memory(&view(&leaking), "api", span, 0);
    let growth = *found.value().expect("three minutes");
    assert!(
        growth.bytes > 60_000_000 && growth.slope_low > 0.0,
        "{growth:?}"
    );
    let cpu = growth::cpu(&view(&leaking), "api", span);
    assert!((cpu.value().expect("looks").mean - 0.25).abs() < 1e-6);
    assert!(
        growth::memory(&view(&leaking), "other", span, 0)
            .answer
            .is_err()
    );
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let trace = of(&Service {
        callers: 4,
        ..Service::default()
    });
    let said = |trace: &Trace| {
        let insights = infer(trace, &Topology::default(), 2 * SECOND);
        serde_json::to_string(&insights).expect("JSON")
    };
    let mut file = Vec::new();
    crate::measure::trace::jsonl::write(&mut file, &trace).expect("a vector takes everything");
    let again = crate::measure::trace::jsonl::read(&file[..]).expect("what was written");
    assert_eq!(again.damage, None);
    let again = again.trace;
    assert_eq!(said(&trace), said(&again));
}
