//! Several faults on one exchange: each is carried out, or skipped with a reason, and the ledger says which was which.

use crate::faults_postgres::{Client, message};
use crate::harness::Proxied;
use crate::ledger::{ended, entries};
use crate::peers::{End, expect, expect_silence, read_exactly, read_to_end};
use crate::scripted::command;
use crate::support::{Postgres, Redis};
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// What the ledger says of the faults on its only exchange: each with why it was skipped.
fn touched(proxied: &Proxied) -> Vec<(String, Option<String>)> {
    let [entry] = &entries(proxied)[..] else {
        panic!("one entry: {:?}", entries(proxied));
    };
    let touches = entry.faults.iter();
    let touches = touches.map(|t| (t.name.to_string(), t.skipped.as_deref().map(str::to_owned)));
    touches.collect()
}

/// How often a fault acted, and how often it was skipped.
fn tally(proxied: &Proxied, fault: &str) -> (u64, u64) {
    let listed = proxied.listed(fault);
    (listed.injected, listed.skipped)
}

/// A Redis with a value, and a proxy with two faults on GET: 80 ms before the reply, and one that ends it.
fn late_and(mut ending: Value) -> (Redis, Proxied) {
    let redis = Redis::start();
    redis.command(&["SET", "k", "value"]);
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let get = json!({ "operation": "GET" });
    proxied.fault(json!({ "name": "late", "action": "latency", "delay": "80ms", "match": get }));
    ending["name"] = json!("end");
    ending["match"] = get;
    proxied.fault(ending);
    (redis, proxied)
}

#[test]
fn what_is_cut_of_a_reply_is_late_too() {
    let reply: &[u8] = b"$5\r\nvalue\r\n";
    for (ending, went) in [
        (json!({ "action": "truncate", "bytes": 6 }), Some(6)),
        (json!({ "action": "truncate" }), None),
        (
            json!({ "action": "disconnect", "when": "inside", "bytes": 4 }),
            Some(4),
        ),
        (
            json!({ "action": "disconnect", "when": "inside", "share": 0.5 }),
            Some(5),
        ),
        (json!({ "action": "lose_reply" }), Some(0)),
    ] {
        let (_redis, proxied) = late_and(ending.clone());
        let mut client = proxied.connect();
        let asked = Instant::now();
        client.write_all(command(&["GET", "k"]).as_bytes()).unwrap();
        let (got, _) = read_to_end(&client);
        let took = asked.elapsed();
        assert!(took >= Duration::from_millis(80), "{ending} {took:?}");
        assert!(reply.starts_with(&got), "{ending} {got:?}");
        assert!(
            went.is_none_or(|went| got.len() == went),
            "{ending} {got:?}"
        );
        ended(&proxied, 1);
        let both = [("late".to_owned(), None), ("end".to_owned(), None)];
        assert_eq!(touched(&proxied), both, "{ending}");
        assert_eq!(entries(&proxied)[0].reply_delay_us, 80_000);
    }
}

#[test]
fn where_no_reply_is_left_nothing_holds_it() {
    for ending in [
        json!({ "action": "disconnect", "when": "before" }),
        json!({ "action": "disconnect", "when": "after" }),
        json!({ "action": "lose_request" }),
        json!({ "action": "timeout", "close_after": "5ms" }),
    ] {
        let (_redis, proxied) = late_and(ending.clone());
        let mut client = proxied.connect();
        client.write_all(command(&["GET", "k"]).as_bytes()).unwrap();
        read_to_end(&client);
        ended(&proxied, 1);
        let why = Some("another fault leaves no reply".to_owned());
        let said = [("late".to_owned(), why), ("end".to_owned(), None)];
        assert_eq!(touched(&proxied), said, "{ending}");
        assert_eq!(entries(&proxied)[0].reply_delay_us, 0);
        assert_eq!(tally(&proxied, "late"), (0, 1), "{ending}");
        assert_eq!(tally(&proxied, "end"), (1, 0), "{ending}");
    }
}

#[test]
fn an_injected_reply_is_corrupted_as_a_real_one() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let get = json!({ "operation": "GET" });
    proxied.fault(
        json!({ "name": "error", "action": "error", "code": "OOM", "message": "no", "match": get }),
    );
    proxied.fault(json!({
        "name": "corrupt", "action": "corrupt", "rate": 1.0, "from": 1, "to": 7, "match": get
    }));
    let mut client = proxied.connect();
    client.write_all(command(&["GET", "k"]).as_bytes()).unwrap();
    let (sent, got) = (b"-OOM no\r\n", read_exactly(&client, 9));
    for (at, (got, sent)) in got.iter().zip(sent).enumerate() {
        assert_eq!(got == sent, !(1..7).contains(&at), "byte {at}");
    }
    assert_eq!(tally(&proxied, "corrupt"), (1, 0));
}

#[test]
fn a_delay_beside_an_error_that_cannot_be_is_still_a_delay() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = Client::connect(&proxied);
    client.query("begin");
    client.query("select 1/0");
    let read = json!({ "class": "read" });
    proxied.fault(json!({ "name": "late", "action": "latency", "delay": "80ms", "match": read }));
    proxied.fault(json!({
        "name": "error", "action": "error", "preset": "deadlock_detected", "match": read
    }));
    let asked = Instant::now();
    let said = client.query("select 1");
    assert!(said[0].contains("25P02"), "{said:?}");
    assert!(asked.elapsed() >= Duration::from_millis(80));
    ended(&proxied, 1);
    let why = Some("the transaction has failed already".to_owned());
    let said = [("late".to_owned(), None), ("error".to_owned(), why)];
    assert_eq!(touched(&proxied), said);
    assert_eq!(entries(&proxied)[0].reply_delay_us, 80_000);
    assert_eq!(tally(&proxied, "late"), (1, 0));
    assert_eq!(tally(&proxied, "error"), (0, 1));
    // The time that was injected is nobody else's.
    let figures = proxied.figures();
    let select = &figures.operation("SELECT").unwrap().exchanges;
    assert_eq!((select.count, select.injected), (2, 1));
}

#[test]
fn a_delay_beside_an_error_that_the_server_forestalls_is_still_a_delay() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = Client::connect(&proxied);
    let copy = json!({ "operation": "COPY" });
    proxied.fault(json!({ "name": "late", "action": "latency", "delay": "80ms", "match": copy }));
    proxied.fault(json!({
        "name": "error", "action": "error", "preset": "deadlock_detected", "match": copy
    }));
    let asked = Instant::now();
    let said = client.query("copy nothing from stdin");
    assert!(said[0].contains("42P01"), "{said:?}");
    assert!(asked.elapsed() >= Duration::from_millis(80));
    ended(&proxied, 1);
    let why = Some("the server has an error of its own".to_owned());
    let said = [("late".to_owned(), None), ("error".to_owned(), why.clone())];
    assert_eq!(touched(&proxied), said);
    let entry = entries(&proxied).remove(0);
    assert_eq!(
        (entry.skipped.as_deref(), entry.reply_delay_us),
        (why.as_deref(), 80_000)
    );
    assert_eq!(tally(&proxied, "late"), (1, 0));
    assert_eq!(tally(&proxied, "error"), (0, 1));
}

#[test]
fn the_demand_for_copy_data_is_late_too_where_the_reply_is_cut() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    for ending in [
        json!({ "action": "lose_reply" }),
        json!({ "action": "truncate" }),
        json!({ "action": "disconnect", "share": 0.5 }),
    ] {
        let proxied = Proxied::to(Protocol::Postgres, postgres.address());
        let mut client = Client::connect(&proxied);
        let copy = json!({ "operation": "COPY" });
        proxied
            .fault(json!({ "name": "late", "action": "latency", "delay": "80ms", "match": copy }));
        let mut spec = ending.clone();
        spec["name"] = json!("end");
        spec["match"] = copy;
        proxied.fault(spec);
        let asked = Instant::now();
        client.write(&message(b'Q', "copy t from stdin\0"));
        assert_eq!(client.until(b'G'), ["G"], "{ending}");
        assert!(asked.elapsed() >= Duration::from_millis(80), "{ending}");
        let given = Instant::now();
        client.write(&[message(b'd', "5\n"), message(b'c', "")].concat());
        read_to_end(client.stream());
        assert!(given.elapsed() >= Duration::from_millis(80), "{ending}");
        ended(&proxied, 1);
        let both = [("late".to_owned(), None), ("end".to_owned(), None)];
        assert_eq!(touched(&proxied), both, "{ending}");
    }
}

#[test]
fn where_no_reply_is_due_faults_on_it_are_skipped() {
    let redis = Redis::start();
    for fault in [
        json!({ "action": "latency", "delay": "20ms" }),
        json!({ "action": "latency", "delay": "20ms", "floor": true }),
        json!({ "action": "throttle", "bytes_per_second": 10 }),
        json!({ "action": "slice", "size": 1, "gap": "10ms" }),
        json!({ "action": "corrupt", "rate": 1.0 }),
        json!({ "action": "truncate" }),
        json!({ "action": "disconnect", "when": "inside", "bytes": 3 }),
        json!({ "action": "disconnect", "when": "inside", "share": 0.5 }),
        json!({ "action": "lose_reply" }),
        json!({ "action": "error", "preset": "OOM" }),
        json!({ "action": "duplicate_request" }),
    ] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        let mut spec = fault.clone();
        spec["name"] = json!("f");
        spec["match"] = json!({ "operation": "SET" });
        proxied.fault(spec);
        let mut client = proxied.connect();
        let silent = [
            command(&["CLIENT", "REPLY", "OFF"]),
            command(&["SET", "a", "1"]),
            command(&["CLIENT", "REPLY", "ON"]),
            command(&["GET", "a"]),
        ];
        client.write_all(silent.concat().as_bytes()).unwrap();
        expect(&client, b"+OK\r\n$1\r\n1\r\n");
        assert_eq!(tally(&proxied, "f"), (0, 1), "{fault}");
        let why = Some("no reply is expected".to_owned());
        assert_eq!(touched(&proxied), [("f".to_owned(), why)], "{fault}");
    }
}

#[test]
fn without_a_reply_the_request_may_still_be_held_or_lost() {
    let redis = Redis::start();
    for (fault, end) in [
        (
            json!({ "action": "latency", "on": "request", "delay": "5ms" }),
            None,
        ),
        (
            json!({ "action": "disconnect", "when": "after" }),
            Some(End::Rst),
        ),
        (json!({ "action": "lose_request" }), Some(End::Rst)),
    ] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        let mut spec = fault.clone();
        spec["name"] = json!("f");
        spec["match"] = json!({ "operation": "SET" });
        proxied.fault(spec);
        let mut client = proxied.connect();
        let off = command(&["CLIENT", "REPLY", "OFF"]);
        let set = command(&["SET", "a", "1"]);
        client.write_all([off, set].concat().as_bytes()).unwrap();
        if let Some(end) = end {
            assert_eq!(read_to_end(&client).1, end, "{fault}");
        } else {
            let on = [command(&["CLIENT", "REPLY", "ON"]), command(&["PING"])];
            client.write_all(on.concat().as_bytes()).unwrap();
            expect(&client, b"+OK\r\n+PONG\r\n");
        }
        assert_eq!(tally(&proxied, "f"), (1, 0), "{fault}");
    }
}

#[test]
fn a_limit_on_bytes_counts_what_a_stall_holds() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let set = command(&["SET", "k", "v"]);
    proxied.fault(
        json!({ "name": "limit", "action": "limit_data", "on": "request", "bytes": set.len() }),
    );
    proxied.fault(json!({ "name": "stall", "action": "stall", "match": { "operation": "SET" } }));
    let mut client = proxied.connect();
    client.write_all(set.as_bytes()).unwrap();
    expect_silence(&client, Duration::from_millis(50));
    client
        .write_all(command(&["SET", "other", "v"]).as_bytes())
        .unwrap();
    expect_silence(&client, Duration::from_millis(50));
    proxied.server.remove_fault("stall").unwrap();
    read_to_end(&client);
    assert_eq!(redis.command(&["EXISTS", "other"]), ":0\r\n");
}
