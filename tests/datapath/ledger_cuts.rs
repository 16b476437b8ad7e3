//! The ledger of what vanishes with the bytes of its session, behind `blackhole`, `reset_peer` and `limit_data`.

use crate::faults_postgres::{Client, message};
use crate::harness::Proxied;
use crate::ledger::{ended, entries, outcome};
use crate::peers::{LIMIT, expect, read_exactly, read_to_end};
use crate::scripted::{Scripted, command};
use crate::support::{Postgres, Redis, eventually};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::Write;

/// What a fault that stops one direction takes with it is written down as touched by it, the latest when the session ends.
#[test]
fn what_vanishes_with_its_bytes_is_written_down() {
    let redis = Redis::start();
    redis.command(&["SET", "key", "value"]);
    let get = command(&["GET", "key"]);
    let (nothing, request) = (
        ("nothing", "-", "nothing", 0, "closed"),
        ("request", "-", "nothing", 0, "closed"),
    );
    let inside = ("request", "-", "partial", 6, "closed");
    let half = get.len() / 2;
    for (fault, expected) in [
        (json!({ "action": "blackhole" }), vec![request, request]),
        (
            json!({ "action": "blackhole", "on": "request" }),
            vec![nothing, nothing],
        ),
        (
            json!({ "action": "reset_peer", "close_after": "50ms" }),
            vec![request, request],
        ),
        (
            json!({ "action": "limit_data", "bytes": 6 }),
            vec![inside, request],
        ),
        (
            json!({ "action": "limit_data", "bytes": half, "on": "request" }),
            vec![nothing, nothing],
        ),
    ] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        let mut client = proxied.connect();
        client.write_all(get.as_bytes()).unwrap();
        expect(&client, b"$5\r\nvalue\r\n");
        let mut spec = fault.clone();
        spec["name"] = json!("f");
        proxied.fault(spec);
        client.write_all(format!("{get}{get}").as_bytes()).unwrap();
        if fault["action"] == "blackhole" {
            // What vanishes is known while the session is still open.
            eventually("both to be in the ledger", LIMIT, || {
                (entries(&proxied).len() == 2).then_some(())
            });
            proxied.server.remove_fault("f").unwrap();
        }
        read_to_end(&client);
        let found = ended(&proxied, 2);
        let outcomes: Vec<_> = found.iter().map(outcome).collect();
        assert_eq!(outcomes, expected, "{fault}");
        for (entry, exchange) in found.iter().zip(1..) {
            assert_eq!((entry.session, entry.exchange), (0, exchange), "{fault}");
            let [touch] = &entry.faults[..] else {
                panic!("one fault: {entry:?}");
            };
            assert_eq!(
                (&*touch.name, &*touch.action),
                ("f", fault["action"].as_str().unwrap())
            );
        }
        let figures = proxied.figures();
        assert_eq!(figures.total.injected, 2, "{fault}");
        assert!(
            figures.tap_lost.is_empty(),
            "{fault}: the decoder kept its place"
        );
    }
}

#[test]
fn what_vanishes_of_a_pipeline_that_latency_holds_is_written_down_once() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({ "name": "late", "action": "latency", "delay": "30s" }));
    let mut client = proxied.connect();
    let get = command(&["GET", "key"]);
    client.write_all(format!("{get}{get}").as_bytes()).unwrap();
    eventually("both to be held", LIMIT, || {
        (entries(&proxied).len() == 2).then_some(())
    });
    proxied.fault(json!({ "name": "hole", "action": "blackhole" }));
    client.write_all(get.as_bytes()).unwrap();
    eventually("the third, too", LIMIT, || {
        (entries(&proxied).len() == 3).then_some(())
    });
    proxied.server.remove_fault("hole").unwrap();
    read_to_end(&client);
    let found = ended(&proxied, 3);
    let names: Vec<_> = found.iter().map(|e| &*e.faults[0].name).collect();
    assert_eq!(names[..2], ["late", "late"]);
    assert!(found.iter().all(|e| e.told_bytes == 0), "{found:?}");
}

/// Waits until so many requests are in the ledger while their session is open, then ends the session.
fn swallowed(proxied: &Proxied, count: usize) {
    eventually("all to be in the ledger", LIMIT, || {
        (entries(proxied).len() == count).then_some(())
    });
    proxied.server.remove_fault("f").unwrap();
}

#[test]
fn what_vanishes_on_postgres_was_done_or_not_as_the_ledger_says() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let insert = message(b'Q', "insert into t values (1)\0");
    for (fault, expected, rows) in [
        (
            json!({ "name": "f", "action": "blackhole" }),
            ("request", "-", "nothing", 0, "closed"),
            "1",
        ),
        (
            json!({ "name": "f", "action": "blackhole", "on": "request" }),
            ("nothing", "-", "nothing", 0, "closed"),
            "1",
        ),
        (
            json!({ "name": "f", "action": "limit_data", "bytes": insert.len() - 1, "on": "request" }),
            ("nothing", "-", "nothing", 0, "closed"),
            "1",
        ),
        (
            json!({ "name": "f", "action": "limit_data", "bytes": 7 }),
            ("request", "-", "partial", 7, "closed"),
            "2",
        ),
    ] {
        let proxied = Proxied::to(Protocol::Postgres, postgres.address());
        let mut client = Client::connect(&proxied);
        proxied.fault(fault.clone());
        client.write(&insert);
        if fault["action"] == "blackhole" {
            swallowed(&proxied, 1);
        }
        read_to_end(client.stream());
        let [entry] = &ended(&proxied, 1)[..] else {
            panic!("one entry");
        };
        assert_eq!(outcome(entry), expected, "{fault}");
        assert_eq!(entry.operation, "INSERT", "{fault}");
        // The greeting, too, was an exchange.
        assert_eq!((entry.session, entry.exchange), (0, 1), "{fault}");
        let count = postgres.query("select count(*) from t");
        assert_eq!(count.trim(), rows, "{fault}");
        assert!(proxied.figures().tap_lost.is_empty(), "{fault}");
    }
}

#[test]
fn what_vanishes_on_http_is_written_down() {
    let get = |n: u32| format!("GET /{n} HTTP/1.1\r\nhost: x\r\n\r\n");
    for (fault, expected, seen) in [
        (
            json!({ "name": "f", "action": "blackhole" }),
            ("request", "-", "nothing", 0, "closed"),
            3,
        ),
        (
            json!({ "name": "f", "action": "blackhole", "on": "request" }),
            ("nothing", "-", "nothing", 0, "closed"),
            1,
        ),
        (
            json!({ "name": "f", "action": "reset_peer", "close_after": "50ms" }),
            ("request", "-", "nothing", 0, "closed"),
            3,
        ),
    ] {
        let server = Scripted::http();
        let proxied = Proxied::to(Protocol::Http, server.address());
        let mut client = proxied.connect();
        client.write_all(get(0).as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"GET /0") {
            head.extend(read_exactly(&client, 1));
        }
        proxied.fault(fault.clone());
        client
            .write_all(format!("{}{}", get(1), get(2)).as_bytes())
            .unwrap();
        if fault["action"] == "blackhole" {
            swallowed(&proxied, 2);
        }
        read_to_end(&client);
        for entry in ended(&proxied, 2) {
            assert_eq!(outcome(&entry), expected, "{fault}");
            assert_eq!(&*entry.faults[0].name, "f");
        }
        drop(client);
        assert_eq!(server.seen_in_all().len(), seen, "{fault}");
    }
}

#[test]
fn the_bytes_of_a_retry_whose_reply_is_cut_count_once() {
    let (proxied, upstream) = Proxied::before(Protocol::Redis);
    proxied.fault(json!({ "name": "lost", "action": "lose_reply" }));
    let get = command(&["GET", "key"]);
    let ask = || {
        let (mut client, server) = proxied.session(&upstream);
        client.write_all(get.as_bytes()).unwrap();
        expect(&server, get.as_bytes());
        (client, server)
    };
    let (client, mut server) = ask();
    server.write_all(b"$5\r\nvalue\r\n").unwrap();
    read_to_end(&client);
    proxied.server.remove_fault("lost").unwrap();
    proxied.fault(json!({ "name": "f", "action": "limit_data", "bytes": 6 }));
    let (again, mut server) = ask();
    // In two pieces: the first is known to be the reply's beginning when the second is cut.
    server.write_all(b"$5\r\n").unwrap();
    expect(&again, b"$5\r\n");
    server.write_all(b"value\r\n").unwrap();
    assert_eq!(read_to_end(&again).0, b"va");
    let [first, retry] = &ended(&proxied, 2)[..] else {
        panic!("two entries");
    };
    assert_eq!(first.retry.as_ref().map(|r| r.session), Some(1));
    assert_eq!(
        outcome(retry),
        ("request", "-", "partial", 6, "closed"),
        "{retry:?}"
    );
}
