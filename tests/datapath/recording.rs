//! Recordings: every exchange once, at its times, with how it ended and whose doing that was.

use crate::faults_postgres::Client;
use crate::harness::Proxied;
use crate::peers::{LIMIT, expect, read_to_end};
use crate::scripted::command;
use crate::support::{Postgres, Redis, eventually};
use brownout::measure::trace::{Attempt, CloseSide, Keeping, Outcome, Record, Trace};
use brownout::protocol::{Protocol, Transaction};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Records in memory, without a bound that is reached.
fn begin(proxied: &Proxied) {
    proxied.block_on(proxied.server.record_in_memory(100_000));
}

fn end(proxied: &Proxied) -> Trace {
    proxied.wait_until_idle();
    let stopped = proxied.block_on(proxied.server.stop_recording());
    stopped.expect("it was kept in memory")
}

fn attempts<'t>(trace: &'t Trace, operation: &str) -> Vec<&'t Attempt> {
    let records = trace.records.iter();
    let attempts = records.filter_map(|record| match record {
        Record::Attempt(a) if trace.names.get(a.operation) == operation => Some(a),
        _ => None,
    });
    attempts.collect()
}

fn closes(trace: &Trace) -> Vec<CloseSide> {
    let records = trace.records.iter();
    let closes = records.filter_map(|record| match record {
        Record::Closed { by, .. } => Some(*by),
        _ => None,
    });
    closes.collect()
}

fn ask(client: &mut TcpStream, words: &[&str]) {
    client.write_all(command(words).as_bytes()).unwrap();
}

#[test]
fn every_exchange_is_recorded_once_in_its_order() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    let mut client = proxied.connect();
    let pipeline = [
        command(&["SET", "k", "v"]),
        command(&["GET", "k"]),
        command(&["GET", "k"]),
        command(&["GET", "other"]),
        command(&["LPUSH", "k", "x"]),
    ];
    client.write_all(pipeline.concat().as_bytes()).unwrap();
    expect(
        &client,
        b"+OK\r\n$1\r\nv\r\n$1\r\nv\r\n$-1\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    );
    drop(client);
    let trace = end(&proxied);
    let gets = attempts(&trace, "GET");
    assert_eq!(gets.len(), 3);
    // Equal requests have equal fingerprints, others do not.
    assert_eq!(gets[0].fingerprint, gets[1].fingerprint);
    assert_ne!(gets[0].fingerprint, gets[2].fingerprint);
    for get in &gets {
        assert!(get.begun <= get.asked && get.asked <= get.ended, "{get:?}");
        assert_eq!((get.outcome, get.fault), (Outcome::Ok, None));
        assert_eq!(trace.names.get(get.status), "ok");
        assert!(get.upstream.is_some());
    }
    let pushed = attempts(&trace, "LPUSH");
    assert_eq!(pushed[0].outcome, Outcome::Refused);
    assert_eq!(trace.names.get(pushed[0].status), "WRONGTYPE");
    assert_eq!(closes(&trace), [CloseSide::Client]);
    let numbers: Vec<u64> = trace
        .records
        .iter()
        .filter_map(|r| match r {
            Record::Attempt(a) => Some(a.exchange),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}

#[test]
fn a_request_that_comes_in_pieces_has_the_fingerprint_of_the_whole() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    let mut client = proxied.connect();
    client.set_nodelay(true).unwrap();
    ask(&mut client, &["GET", "some-key"]);
    expect(&client, b"$-1\r\n");
    for byte in command(&["GET", "some-key"]).bytes() {
        client.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    expect(&client, b"$-1\r\n");
    drop(client);
    let trace = end(&proxied);
    let gets = attempts(&trace, "GET");
    assert_eq!(gets.len(), 2);
    assert_eq!(gets[0].fingerprint, gets[1].fingerprint);
    assert!(gets[1].begun < gets[1].asked);
}

#[test]
fn whose_doing_an_end_is_is_recorded() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    // A fault cuts.
    proxied
        .fault(json!({ "name": "cut", "action": "disconnect", "match": { "operation": "GET" } }));
    let mut client = proxied.connect();
    ask(&mut client, &["GET", "k"]);
    read_to_end(&client);
    proxied.wait_until_idle();
    proxied.server.remove_fault("cut").unwrap();
    // The client gives up.
    proxied.fault(json!({ "name": "hang", "action": "stall", "match": { "operation": "GET" } }));
    let mut client = proxied.connect();
    ask(&mut client, &["GET", "k"]);
    std::thread::sleep(Duration::from_millis(60));
    drop(client);
    proxied.wait_until_idle();
    proxied.server.remove_fault("hang").unwrap();
    // The server did it, and the client hears nothing until it gives up.
    proxied.fault(json!({ "name": "lost", "action": "lose_reply", "then": "stall", "match": { "operation": "INCR" } }));
    let mut client = proxied.connect();
    ask(&mut client, &["INCR", "n"]);
    std::thread::sleep(Duration::from_millis(60));
    drop(client);
    let trace = end(&proxied);
    let gets = attempts(&trace, "GET");
    let shown: Vec<_> = gets
        .iter()
        .map(|g| (g.outcome, g.fault.map(|f| trace.names.get(f))))
        .collect();
    assert_eq!(
        shown,
        [
            (Outcome::Cut, Some("cut")),
            (Outcome::ClientGone, Some("hang"))
        ]
    );
    assert!(gets[1].latency() >= 50_000_000, "{:?}", gets[1]);
    let lost = attempts(&trace, "INCR");
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].outcome, Outcome::ClientGone);
    assert!(lost[0].upstream.is_some(), "the server did it");
    assert!(lost[0].latency() >= 50_000_000, "{:?}", lost[0]);
    assert_eq!(
        closes(&trace),
        [CloseSide::Fault, CloseSide::Client, CloseSide::Client]
    );
    let switched: Vec<_> = trace
        .records
        .iter()
        .filter_map(|r| match r {
            Record::FaultOn { fault, .. } => Some((true, trace.names.get(*fault))),
            Record::FaultOff { fault, .. } => Some((false, trace.names.get(*fault))),
            _ => None,
        })
        .collect();
    assert_eq!(
        switched,
        [
            (true, "cut"),
            (false, "cut"),
            (true, "hang"),
            (false, "hang"),
            (true, "lost")
        ]
    );
}

#[test]
fn connections_that_are_turned_away_are_recorded() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    proxied.fault(json!({ "name": "full", "action": "refuse", "how": "reset" }));
    // The reset may be there before the connection is.
    if let Ok(stream) = TcpStream::connect(proxied.address("p")) {
        read_to_end(&stream);
    }
    let trace = end(&proxied);
    let away = trace.records.iter().any(|record| {
        matches!(record, Record::TurnedAway { fault, session: 0, .. } if trace.names.get(*fault) == "full")
    });
    assert!(away, "{:?}", trace.records);
}

#[test]
fn transactions_are_recorded() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    begin(&proxied);
    let mut client = Client::connect(&proxied);
    for statement in ["begin", "select 1", "commit"] {
        client.query(statement);
    }
    drop(client);
    let trace = end(&proxied);
    let states: Vec<Transaction> = trace
        .records
        .iter()
        .filter_map(|r| match r {
            Record::Transaction { state, .. } => Some(*state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [Transaction::Begin, Transaction::Commit]);
    assert_eq!(attempts(&trace, "SELECT").len(), 1);
}

/// Who has a client's end of its connections, by session.
fn owners(trace: &Trace) -> Vec<(u64, u32)> {
    let owners = trace.records.iter().filter_map(|record| match record {
        Record::Owner { session, pid, .. } => Some((*session, *pid)),
        _ => None,
    });
    owners.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_that_has_a_connection_is_recorded() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    let mut ours = proxied.connect();
    ask(&mut ours, &["GET", "k"]);
    expect(&ours, b"$-1\r\n");
    // What it reads from and writes to is held by the child alone.
    let theirs = std::os::fd::OwnedFd::from(proxied.connect());
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .stdin(theirs)
        .spawn()
        .unwrap();
    // Looked for every 50 ms, and among all processes every half second.
    std::thread::sleep(Duration::from_secs(2));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(ours);
    let trace = end(&proxied);
    let mut found = owners(&trace);
    found.sort_unstable();
    let pids: Vec<u32> = found.into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(pids, [std::process::id(), child.id()]);
}

#[test]
fn how_late_the_workers_were_is_recorded() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    let mut client = proxied.connect();
    ask(&mut client, &["GET", "k"]);
    expect(&client, b"$-1\r\n");
    // A worker looks for it 50 times a second.
    std::thread::sleep(Duration::from_millis(500));
    drop(client);
    let trace = end(&proxied);
    let told = trace
        .records
        .iter()
        .filter(|r| matches!(r, Record::Lag { longest, .. } if *longest > 0));
    assert!(told.count() >= 1);
}

#[test]
fn what_a_full_recording_lost_is_counted() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.block_on(proxied.server.record_in_memory(10));
    let mut client = proxied.connect();
    for _ in 0..30 {
        ask(&mut client, &["PING"]);
        expect(&client, b"+PONG\r\n");
    }
    drop(client);
    let trace = end(&proxied);
    let proxy = trace.header.proxy("p").expect("the harness calls it so");
    // 30 exchanges, the begin and the end of a connection, and its upstream.
    assert_eq!(trace.dropped(proxy), 33 - 10);
}

#[test]
fn sessions_from_before_are_not_recorded_and_nothing_is_without_a_recording() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let mut before = proxied.connect();
    ask(&mut before, &["PING"]);
    expect(&before, b"+PONG\r\n");
    begin(&proxied);
    ask(&mut before, &["GET", "k"]);
    expect(&before, b"$-1\r\n");
    drop(before);
    let trace = end(&proxied);
    assert!(attempts(&trace, "GET").is_empty());
    let none = proxied.block_on(proxied.server.stop_recording());
    assert!(none.is_none());
}

/// What was recorded lately of an operation, and of what is without a reply now.
fn lately(proxied: &Proxied, operation: &str) -> Vec<(Attempt, Option<String>)> {
    let excerpt = proxied.block_on(proxied.server.recent());
    let trace = excerpt.expect("it is recorded").into_part().trace;
    let all = attempts(&trace, operation).into_iter();
    let named = all.map(|a| (*a, a.fault.map(|f| trace.names.get(f).to_owned())));
    named.collect()
}

const HOURS: Duration = Duration::from_secs(36_000);

#[test]
fn what_hangs_is_seen_while_it_does_and_recorded_once() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    assert!(proxied.block_on(proxied.server.record_recent(HOURS)));
    proxied.fault(json!({ "name": "hang", "action": "stall", "match": { "operation": "GET" } }));
    let mut client = proxied.connect();
    ask(&mut client, &["GET", "k"]);
    let first = eventually("the hang", LIMIT, || lately(&proxied, "GET").pop());
    let (attempt, fault) = first;
    assert_eq!(attempt.outcome, Outcome::Outstanding);
    assert_eq!(fault.as_deref(), Some("hang"));
    std::thread::sleep(Duration::from_millis(100));
    let (later, _) = lately(&proxied, "GET").pop().expect("it hangs");
    assert!(
        later.latency() >= attempt.latency() + 90_000_000,
        "{later:?}"
    );
    assert_eq!(later.begun, attempt.begun);
    assert_eq!(later.fingerprint, attempt.fingerprint);
    proxied.server.remove_fault("hang").unwrap();
    expect(&client, b"$-1\r\n");
    let outcomes: Vec<Outcome> = eventually("its reply", LIMIT, || {
        let all = lately(&proxied, "GET");
        let all: Vec<Outcome> = all.into_iter().map(|(a, _)| a.outcome).collect();
        (all != [Outcome::Outstanding]).then_some(all)
    });
    assert_eq!(outcomes, [Outcome::Ok]);
}

#[test]
fn what_is_without_a_reply_at_the_end_is_recorded_as_such() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    // The server did it; the client does not know.
    proxied.fault(json!({ "name": "lost", "action": "lose_reply", "then": "stall", "match": { "operation": "INCR" } }));
    let mut lost = proxied.connect();
    ask(&mut lost, &["INCR", "n"]);
    // Its reply is there, and held.
    proxied.fault(json!({ "name": "late", "action": "latency", "delay": "1m", "on": "reply", "match": { "operation": "GET" } }));
    let mut late = proxied.connect();
    ask(&mut late, &["GET", "k"]);
    // The server itself lets it wait.
    let mut waits = proxied.connect();
    ask(&mut waits, &["BLPOP", "none", "0"]);
    // Answered here, in a minute.
    proxied.fault(json!({ "name": "no", "action": "error", "code": "ERR", "message": "no", "match": { "operation": "HGET" } }));
    proxied.fault(json!({ "name": "slow", "action": "latency", "delay": "1m", "match": { "operation": "HGET" } }));
    let mut held = proxied.connect();
    ask(&mut held, &["HGET", "k", "f"]);
    eventually("all four to be under way", LIMIT, || {
        let hit = ["lost", "late", "no"].map(|fault| proxied.listed(fault).injected);
        let asked = proxied
            .figures()
            .operations
            .iter()
            .any(|o| o.operation == "BLPOP");
        (hit == [1, 1, 1] && asked).then_some(())
    });
    // ... and the replies to be there.
    std::thread::sleep(Duration::from_millis(300));
    let trace = proxied
        .block_on(proxied.server.stop_recording())
        .expect("it was kept in memory");
    for (operation, fault, answered) in [
        ("INCR", Some("lost"), true),
        ("GET", Some("late"), true),
        ("BLPOP", None, false),
        ("HGET", Some("no"), false),
    ] {
        let found = attempts(&trace, operation);
        let [attempt] = found[..] else {
            panic!("{operation}: {found:?}");
        };
        assert_eq!(attempt.outcome, Outcome::Outstanding, "{attempt:?}");
        assert_eq!(attempt.fault.map(|f| trace.names.get(f)), fault);
        assert_eq!(attempt.upstream.is_some(), answered, "{attempt:?}");
        assert!(attempt.latency() >= 200_000_000, "{attempt:?}");
    }
}

#[test]
fn a_recording_that_nobody_asks_for_ends() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let unasked = Duration::from_secs(3);
    let keeping = || proxied.block_on(proxied.server.keeping());
    assert!(proxied.block_on(proxied.server.record_recent(unasked)));
    assert!(!proxied.block_on(proxied.server.record_recent(unasked)));
    let begun = Instant::now();
    while begun.elapsed() < 2 * unasked {
        assert!(proxied.block_on(proxied.server.recent()).is_some());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Looking whether there is one is not asking.
    eventually("its end", LIMIT, || keeping().is_none().then_some(()));
    assert!(proxied.block_on(proxied.server.recent()).is_none());
    assert!(proxied.block_on(proxied.server.record_recent(unasked)));
    assert_eq!(keeping(), Some(Keeping::Recent));
}

#[test]
fn a_recording_that_is_kept_does_not_end_by_itself() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    assert!(proxied.block_on(proxied.server.record_recent(Duration::ZERO)));
    eventually("its end", LIMIT, || {
        let keeping = proxied.block_on(proxied.server.keeping());
        keeping.is_none().then_some(())
    });
    begin(&proxied);
    std::thread::sleep(Duration::from_millis(2_500));
    let keeping = proxied.block_on(proxied.server.keeping());
    assert_eq!(keeping, Some(Keeping::Memory));
}

/// Nothing is lost of what happened right before the end.
#[test]
fn what_ended_while_the_server_ended_is_recorded() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    begin(&proxied);
    let mut client = proxied.connect();
    ask(&mut client, &["SET", "k", "v"]);
    expect(&client, b"+OK\r\n");
    ask(&mut client, &["BLPOP", "none", "0"]);
    std::thread::sleep(Duration::from_millis(20));
    proxied.block_on(proxied.server.drain(Duration::ZERO));
    let trace = proxied.block_on(proxied.server.stop_recording());
    let trace = trace.expect("it was kept in memory");
    assert_eq!(attempts(&trace, "SET").len(), 1);
    assert_eq!(attempts(&trace, "BLPOP")[0].outcome, Outcome::Outstanding);
    assert_eq!(closes(&trace), [CloseSide::Proxy]);
}
