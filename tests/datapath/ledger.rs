//! The ledger against scripted peers and real servers: what the server saw, what the client was told, whether it asked again.

use crate::faults_postgres::{Client, message};
use crate::harness::Proxied;
use crate::peers::{End, LIMIT, dial, expect, read_exactly, read_to_end};
use crate::scripted::command;
use crate::support::{Postgres, Redis, eventually};
use brownout::measure::ledger::{Entry, Query, Saw, Told};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{Read, Write};
use std::time::Duration;

/// What a Redis out of memory says.
const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

pub(crate) fn entries(proxied: &Proxied) -> Vec<Entry> {
    let all = Query::default();
    proxied.block_on(proxied.server.ledger(&all)).entries
}

/// The entries, once there are so many and all have ended.
pub(crate) fn ended(proxied: &Proxied, count: usize) -> Vec<Entry> {
    eventually("all entries to end", LIMIT, || {
        let found = entries(proxied);
        (found.len() == count && found.iter().all(|e| !e.open)).then_some(found)
    })
}

/// What the server saw, its tag, what the client was told, how many bytes, how it counts.
pub(crate) fn outcome(entry: &Entry) -> (&str, &str, &str, u64, &str) {
    (
        entry.server.map_or("?", Saw::name),
        entry.tag.as_deref().unwrap_or("-"),
        entry.told.map_or("?", Told::name),
        entry.told_bytes,
        entry.status.as_deref().unwrap_or("?"),
    )
}

#[test]
fn what_each_action_does_to_a_redis_command_is_written_down() {
    let redis = Redis::start();
    redis.command(&["SET", "key", "value"]);
    for (fault, expected) in [
        (
            json!({ "action": "latency", "delay": "2ms" }),
            ("completed", "string", "reply", 11, "ok"),
        ),
        (
            json!({ "action": "error", "preset": "OOM" }),
            ("nothing", "-", "injected", OOM.len() as u64, "OOM"),
        ),
        (
            json!({ "action": "lose_request" }),
            ("nothing", "-", "nothing", 0, "closed"),
        ),
        (
            json!({ "action": "lose_reply" }),
            ("completed", "string", "nothing", 0, "closed"),
        ),
        (
            json!({ "action": "disconnect", "when": "before" }),
            ("nothing", "-", "nothing", 0, "closed"),
        ),
        (
            json!({ "action": "disconnect", "when": "inside", "bytes": 6 }),
            ("completed", "string", "partial", 6, "closed"),
        ),
        (
            json!({ "action": "timeout", "close_after": "20ms" }),
            ("nothing", "-", "nothing", 0, "closed"),
        ),
    ] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        let mut spec = fault.clone();
        spec["name"] = json!("f");
        spec["match"] = json!({ "operation": "GET" });
        proxied.fault(spec);
        let mut client = proxied.connect();
        client
            .write_all(command(&["GET", "key"]).as_bytes())
            .unwrap();
        let told = expected.3;
        let got = read_exactly(&client, usize::try_from(told).unwrap());
        assert_eq!(got.len() as u64, told);
        let [entry] = &ended(&proxied, 1)[..] else {
            panic!("one entry");
        };
        assert_eq!(outcome(entry), expected, "{fault}");
        assert_eq!((entry.session, entry.exchange), (0, 0));
        assert_eq!(entry.operation, "GET");
        assert_eq!(&*entry.faults[0].name, "f");
        assert_eq!(entry.faults[0].action, fault["action"].as_str().unwrap());
        assert!(entry.retry.is_none() && entry.fingerprint.is_some());
        let delayed = fault["action"] == "latency";
        let delay = entry.request_delay_us + entry.reply_delay_us;
        assert_eq!(delay, if delayed { 2000 } else { 0 });
    }
}

#[test]
fn a_request_that_is_on_its_way_is_open_and_not_yet_known() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({ "name": "f", "action": "latency", "delay": "1h" }));
    let mut client = proxied.connect();
    client.write_all(command(&["PING"]).as_bytes()).unwrap();
    let held = eventually("the entry", LIMIT, || entries(&proxied).pop());
    assert!(held.open && held.told.is_none() && held.status.is_none());
    // Once the fault is over, the exchange ends as it would have.
    proxied.server.remove_fault("f").unwrap();
    expect(&client, b"+PONG\r\n");
    let ended = ended(&proxied, 1);
    assert_eq!(outcome(&ended[0]), ("completed", "PONG", "reply", 7, "ok"));
    // And the session goes on the fast way.
    client.write_all(command(&["PING"]).as_bytes()).unwrap();
    expect(&client, b"+PONG\r\n");
    assert_eq!(entries(&proxied).len(), 1);
}

#[test]
fn a_client_that_gives_up_was_told_nothing_although_the_server_did_it() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({ "name": "f", "action": "latency", "delay": "1h", "on": "reply" }));
    let mut client = proxied.connect();
    client
        .write_all(command(&["INCR", "n"]).as_bytes())
        .unwrap();
    eventually("the server to have done it", LIMIT, || {
        (redis.command(&["EXISTS", "n"]) == ":1\r\n").then_some(())
    });
    // The reply must have come in before the client goes, and the client gone before it goes on.
    std::thread::sleep(Duration::from_millis(300));
    drop(client);
    std::thread::sleep(Duration::from_millis(300));
    proxied.server.remove_fault("f").unwrap();
    let gone = ended(&proxied, 1);
    assert_eq!(
        outcome(&gone[0]),
        ("completed", "integer", "nothing", 0, "closed")
    );
}

#[test]
fn a_retry_is_found_on_the_same_session_and_after_a_reconnect() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let matching = json!({ "operation": "INCR" });
    proxied.fault(json!({ "name": "lost", "action": "lose_reply", "match": matching, "first": 1 }));
    let incr = command(&["INCR", "n"]);
    let mut client = proxied.connect();
    client.write_all(incr.as_bytes()).unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Rst));
    let mut other = proxied.connect();
    other.write_all(command(&["INCR", "m"]).as_bytes()).unwrap();
    expect(&other, b":1\r\n");
    let mut client = proxied.connect();
    client.write_all(command(&["PING"]).as_bytes()).unwrap();
    expect(&client, b"+PONG\r\n");
    // From the same address, but it calls itself something else.
    let named = command(&["CLIENT", "SETNAME", "other"]);
    other.write_all(named.as_bytes()).unwrap();
    expect(&other, b"+OK\r\n");
    other.write_all(incr.as_bytes()).unwrap();
    expect(&other, b":2\r\n");
    client.write_all(incr.as_bytes()).unwrap();
    expect(&client, b":3\r\n");
    let duplicates = Query {
        duplicates: true,
        ..Query::default()
    };
    let found = eventually("the retry", LIMIT, || {
        let listing = proxied.block_on(proxied.server.ledger(&duplicates));
        listing.entries.into_iter().next()
    });
    let retry = found.retry.clone().unwrap();
    assert_eq!((retry.session, retry.exchange), (2, 1));
    assert_eq!(retry.tag.as_deref(), Some("integer"));
    assert_eq!(retry.status.as_deref(), Some("ok"));
    // Asked once more, it is new.
    client.write_all(incr.as_bytes()).unwrap();
    expect(&client, b":4\r\n");
    assert_eq!(entries(&proxied)[0].retry, Some(retry));
    // An error that was injected is retried where the client is.
    proxied.fault(json!({ "name": "busy", "action": "error", "preset": "BUSY", "first": 1, "match": { "operation": "SET" } }));
    let set = command(&["SET", "k", "v"]);
    client.write_all(set.as_bytes()).unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    assert!(line.starts_with(b"-BUSY"));
    client.write_all(set.as_bytes()).unwrap();
    expect(&client, b"+OK\r\n");
    let retry = eventually("the second retry", LIMIT, || {
        let all = entries(&proxied);
        let set = all.iter().find(|e| e.operation == "SET")?;
        let retry = set.retry.clone()?;
        retry.status.is_some().then_some(retry)
    });
    assert_eq!((retry.session, retry.exchange), (2, 4));
    assert_eq!(retry.tag.as_deref(), Some("OK"));
}

#[test]
fn a_request_that_was_answered_is_not_asked_again_by_the_next_one() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({ "name": "slow", "action": "latency", "delay": "200us" }));
    let mut client = proxied.connect();
    for _ in 0..200 {
        client.write_all(command(&["PING"]).as_bytes()).unwrap();
        expect(&client, b"+PONG\r\n");
    }
    let all = ended(&proxied, 200);
    assert!(all.iter().all(|e| e.retry.is_none()));
    let prints: std::collections::BTreeSet<_> = all.iter().map(|e| &e.fingerprint).collect();
    assert_eq!(prints.len(), 1);
}

#[test]
fn a_pipeline_is_written_down_exchange_by_exchange() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({ "name": "half", "action": "error", "preset": "OOM", "every": 2 }));
    proxied.fault(json!({ "name": "slow", "action": "latency", "delay": "1ms", "on": "reply" }));
    let mut client = proxied.connect();
    let asked: String = (0..100)
        .map(|n| command(&["SET", &n.to_string(), "v"]))
        .collect();
    client.write_all(asked.as_bytes()).unwrap();
    let all = ended(&proxied, 100);
    for (n, entry) in all.iter().enumerate() {
        assert_eq!(entry.exchange, n as u64);
        let (server, tag, told, _, status) = outcome(entry);
        let expected = if n % 2 == 1 {
            ("nothing", "-", "injected", "OOM")
        } else {
            ("completed", "OK", "reply", "ok")
        };
        assert_eq!((server, tag, told, status), expected, "{n}");
    }
}

#[test]
fn postgres_says_with_its_own_tags_what_it_did() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(json!({ "name": "slow", "action": "latency", "delay": "1ms" }));
    let mut client = Client::connect(&proxied);
    for sql in [
        "begin",
        "insert into t values (1), (2)",
        "update t set n = 3 where n = 2",
        "select 1/0",
        "commit",
        "create table u (n int)",
        "select * from u",
        "insert into t values (7); delete from t",
    ] {
        client.query(sql);
    }
    let all = ended(&proxied, 9);
    let tags: Vec<_> = all.iter().skip(1).map(|e| outcome(e).1).collect();
    assert_eq!(
        tags,
        [
            "BEGIN",
            "INSERT 0 2",
            "UPDATE 1",
            "22012",
            "ROLLBACK",
            "CREATE TABLE",
            "SELECT 0",
            "DELETE 1"
        ]
    );
    assert!(all.iter().all(|e| e.server == Some(Saw::Completed)));
    assert!(all.iter().all(|e| e.told == Some(Told::Reply)));
}

#[test]
fn the_two_sides_of_a_lost_commit_are_told_apart() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    for (action, expected) in [
        ("lose_request", ("nothing", "-", "nothing", 0, "closed")),
        (
            "lose_reply",
            ("completed", "COMMIT", "nothing", 0, "closed"),
        ),
    ] {
        let proxied = Proxied::to(Protocol::Postgres, postgres.address());
        let matching = json!({ "operation": "COMMIT" });
        proxied.fault(json!({ "action": action, "match": matching }));
        let mut client = Client::connect(&proxied);
        client.query("begin");
        client.query("insert into t values (1)");
        client.write(&message(b'Q', "commit\0"));
        assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
        assert_eq!(outcome(&ended(&proxied, 1)[0]), expected);
    }
    // An error in the server's place: it got a ROLLBACK, and never saw the COMMIT.
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(json!({ "action": "error", "preset": "serialization_failure", "match": { "operation": "COMMIT" } }));
    let mut client = Client::connect(&proxied);
    client.query("begin");
    client.query("commit");
    let all = ended(&proxied, 1);
    let (server, tag, told, _, status) = outcome(&all[0]);
    assert_eq!(
        (server, tag, told, status),
        ("nothing", "-", "injected", "40001")
    );
}

#[test]
fn of_plain_tcp_only_the_faults_are_known() {
    let (proxied, upstream) = Proxied::tcp();
    proxied.fault(json!({ "name": "slow", "action": "latency", "delay": "1ms", "on": "request" }));
    let (mut client, mut server) = proxied.session(&upstream);
    client.write_all(b"hello").unwrap();
    expect(&server, b"hello");
    server.write_all(b"world").unwrap();
    expect(&client, b"world");
    let all = ended(&proxied, 1);
    assert_eq!(outcome(&all[0]), ("?", "-", "?", 0, "?"));
    assert_eq!(all[0].request_delay_us, 1000);
}

#[test]
fn a_ledger_that_is_full_keeps_the_newest_and_says_so() {
    let redis = Redis::start();
    let mut config =
        crate::harness::config([crate::harness::proxy("p", Protocol::Redis, redis.address())]);
    config.ledger = 10;
    let proxied = Proxied::start(config);
    proxied.fault(json!({ "name": "slow", "action": "latency", "delay": "100us" }));
    for _ in 0..5 {
        let mut client = dial(proxied.address("p"));
        for _ in 0..5 {
            client.write_all(command(&["PING"]).as_bytes()).unwrap();
            expect(&client, b"+PONG\r\n");
        }
    }
    let listing = proxied.block_on(proxied.server.ledger(&Query::default()));
    assert_eq!((listing.capacity, listing.recorded), (10, 25));
    assert_eq!((listing.dropped, listing.overflowed), (15, true));
    let ids: Vec<u64> = listing.entries.iter().map(|e| e.id).collect();
    assert_eq!(ids, (16..=25).collect::<Vec<_>>());
}

#[test]
fn a_long_request_is_known_again_however_it_is_cut() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let matching = json!({ "key": "k" });
    proxied.fault(json!({ "name": "f", "action": "latency", "delay": "1ms", "match": matching }));
    let request = command(&["SET", "k", &"v".repeat(200_000)]).into_bytes();
    for cut in [request.len(), 70_000, 1_000, 66_000] {
        let mut client = proxied.connect();
        for piece in request.chunks(cut) {
            client.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        expect(&client, b"+OK\r\n");
    }
    let all = ended(&proxied, 4);
    let first = &all[0].fingerprint;
    assert!(first.is_some());
    assert!(all.iter().all(|e| e.fingerprint == *first), "{all:?}");
}
