//! Requests that the server gets twice: it does both, the client hears of one, and the connection goes on.

use crate::faults_postgres::{Client, bind, execute, message, parse, skipped, sync};
use crate::harness::Proxied;
use crate::ledger::ended;
use crate::peers::{LIMIT, expect, expect_silence};
use crate::scripted::{Response, Scripted, command};
use crate::support::{Postgres, Redis, eventually};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{BufReader, Write};
use std::time::Duration;

fn twice(proxied: &Proxied, operation: &str) {
    proxied.fault(json!({
        "name": "twice", "action": "duplicate_request", "match": { "operation": operation }
    }));
}

/// A server with an empty table, and a proxy before it that has each INSERT done twice.
fn inserting() -> (Postgres, Proxied) {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    twice(&proxied, "INSERT");
    (postgres, proxied)
}

#[test]
fn a_command_counts_twice_and_is_answered_once() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    twice(&proxied, "INCR");
    let mut client = proxied.connect();
    for expected in [":1\r\n", ":3\r\n", ":5\r\n"] {
        client
            .write_all(command(&["INCR", "n"]).as_bytes())
            .unwrap();
        expect(&client, expected.as_bytes());
    }
    expect_silence(&client, Duration::from_millis(50));
    client.write_all(command(&["GET", "n"]).as_bytes()).unwrap();
    expect(&client, b"$1\r\n6\r\n");
    assert_eq!(proxied.listed("twice").injected, 3);
}

#[test]
fn in_a_pipeline_it_goes_right_behind_itself() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    twice(&proxied, "INCR");
    let pipeline = [
        command(&["GET", "n"]),
        command(&["INCR", "n"]),
        command(&["GET", "n"]),
        command(&["INCR", "n"]),
        command(&["INCR", "n"]),
        command(&["GET", "n"]),
    ]
    .concat();
    // The same in one piece and in any two.
    for cut in [0, 7, 25, 40, 60, pipeline.len() - 1] {
        redis.command(&["DEL", "n"]);
        let mut client = proxied.connect();
        client.set_nodelay(true).unwrap();
        client.write_all(&pipeline.as_bytes()[..cut]).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        client.write_all(&pipeline.as_bytes()[cut..]).unwrap();
        expect(&client, b"$-1\r\n:1\r\n$1\r\n2\r\n:3\r\n:5\r\n$1\r\n6\r\n");
    }
}

#[test]
fn what_does_not_stand_alone_is_left_alone() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    twice(&proxied, "*");
    let mut events = proxied.events();
    let mut client = proxied.connect();
    for (words, reply) in [
        (&["MULTI"][..], "+OK\r\n"),
        (&["INCR", "n"], "+QUEUED\r\n"),
        (&["EXEC"], "*1\r\n:1\r\n"),
        (&["BLPOP", "nothing", "0.01"], "*-1\r\n"),
        (
            &["SUBSCRIBE", "c"],
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        ),
    ] {
        client.write_all(command(words).as_bytes()).unwrap();
        expect(&client, reply.as_bytes());
        assert_eq!(skipped(&mut events), "not a command that stands alone");
    }
}

#[test]
fn a_statement_is_done_twice_in_both_protocols() {
    let (_postgres, proxied) = inserting();
    let mut client = Client::connect(&proxied);
    assert_eq!(
        client.query("insert into t values (1)"),
        ["C INSERT 0 1", "Z I"]
    );
    assert_eq!(client.rows("select count(*) from t"), ["2"]);
    let batch = [
        parse("", "insert into t values (2)"),
        bind(""),
        execute(),
        sync(),
    ];
    assert_eq!(client.send(&batch), ["1", "2", "C INSERT 0 1", "Z I"]);
    assert_eq!(client.rows("select count(*) from t"), ["4"]);
    // A statement that was prepared before.
    let prepared = [parse("p", "insert into t values (3)"), sync()];
    assert_eq!(client.send(&prepared), ["1", "Z I"]);
    let batch = [bind("p"), execute(), sync()];
    assert_eq!(client.send(&batch), ["2", "C INSERT 0 1", "Z I"]);
    assert_eq!(client.rows("select count(*) from t"), ["6"]);
    // The Sync comes in a piece of its own.
    client.write(&[bind("p"), execute()].concat());
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(client.send(&[sync()]), ["2", "C INSERT 0 1", "Z I"]);
    assert_eq!(client.rows("select count(*) from t"), ["8"]);
    assert_eq!(proxied.listed("twice").injected, 4);
}

#[test]
fn a_duplicate_that_fails_shows_nowhere() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int primary key)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    twice(&proxied, "INSERT");
    let mut client = Client::connect(&proxied);
    assert_eq!(
        client.query("insert into t values (1)"),
        ["C INSERT 0 1", "Z I"]
    );
    assert_eq!(client.rows("select count(*) from t"), ["1"]);
    let insert = &proxied.figures();
    let insert = &insert.operation("INSERT").unwrap().exchanges;
    // The server was asked twice, and refused the second.
    assert_eq!((insert.count, insert.injected), (2, 2));
}

#[test]
fn inside_a_transaction_nothing_goes_twice() {
    let (_postgres, proxied) = inserting();
    let mut events = proxied.events();
    let mut client = Client::connect(&proxied);
    client.query("begin");
    client.query("insert into t values (1)");
    assert_eq!(skipped(&mut events), "not a statement that stands alone");
    client.query("commit");
    let named = [
        parse("named", "insert into t values (1)"),
        bind("named"),
        execute(),
        sync(),
    ];
    client.send(&named);
    assert_eq!(skipped(&mut events), "it prepares a named statement");
    assert_eq!(client.rows("select count(*) from t"), ["2"]);
    assert_eq!(proxied.listed("twice").skipped, 2);
}

#[test]
fn a_batch_that_never_ends_goes_once() {
    let (_postgres, proxied) = inserting();
    let mut events = proxied.events();
    let mut client = Client::connect(&proxied);
    let unended = [parse("", "insert into t values (1)"), bind(""), execute()];
    client.write(&unended.concat());
    while proxied.listed("twice").matched == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(client);
    let why = "the connection does not go on as it is";
    assert_eq!(skipped(&mut events), why);
    let listed = proxied.listed("twice");
    assert_eq!((listed.injected, listed.skipped), (0, 1));
}

/// Why each entry of the ledger was skipped, in their order.
fn skips(proxied: &Proxied, count: usize) -> Vec<Option<String>> {
    let entries = ended(proxied, count);
    let skips = entries.iter().map(|e| e.skipped.as_deref());
    skips.map(|why| why.map(str::to_owned)).collect()
}

#[test]
fn of_a_pipeline_only_the_last_goes_twice_and_the_rest_is_skipped() {
    let pipelined = || Some("other requests are right behind it".to_owned());
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    twice(&proxied, "*");
    let mut client = proxied.connect();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = ["/one", "/two", "/three"].map(get).concat();
    client.write_all(all.as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(Response::read(&mut reader, false).status, 200);
    }
    assert_eq!(skips(&proxied, 3), [pipelined(), pipelined(), None]);
    let listed = proxied.listed("twice");
    assert_eq!((listed.injected, listed.skipped), (1, 2));
    // The reply to the first sending may be there before the second is.
    let mut seen = Vec::new();
    eventually("the second sending", LIMIT, || {
        seen.extend(upstream.seen());
        (seen.len() >= 4).then_some(())
    });
    let paths = seen.iter().map(|r| r.split(' ').nth(1).unwrap());
    let paths: Vec<&str> = paths.collect();
    assert_eq!(paths, ["/one", "/two", "/three", "/three"]);

    let (_postgres, proxied) = inserting();
    let mut client = Client::connect(&proxied);
    let insert = |n| message(b'Q', &format!("insert into t values ({n})\0"));
    client.write(&[insert(1), insert(2), message(b'Q', "select 7\0")].concat());
    for _ in 0..3 {
        client.until_ready();
    }
    let behind = Some("not a statement that stands alone".to_owned());
    assert_eq!(skips(&proxied, 2), [pipelined(), behind]);
    assert_eq!(client.rows("select count(*) from t"), ["2"]);
    let listed = proxied.listed("twice");
    assert_eq!((listed.injected, listed.skipped), (0, 2));
}

#[test]
fn a_cancel_request_goes_once_for_it_has_no_reply() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    twice(&proxied, "CANCEL");
    let mut events = proxied.events();
    let mut client = proxied.connect();
    let cancel = [16, 80_877_102, 1, 1].map(u32::to_be_bytes).concat();
    client.write_all(&cancel).unwrap();
    assert_eq!(skipped(&mut events), "no reply is expected");
}

#[test]
fn a_post_arrives_twice() {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    twice(&proxied, "POST *");
    let mut client = proxied.connect();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    client
        .write_all(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        .unwrap();
    assert_eq!(Response::read(&mut reader, false).status, 200);
    client
        .write_all(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(Response::read(&mut reader, false).status, 200);
    let seen = upstream.seen();
    let paths: Vec<&str> = seen
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(paths, ["/a", "/a", "/b"]);
}

#[test]
fn bytes_are_changed_inside_their_range_alone_and_pairing_goes_on() {
    let redis = Redis::start();
    redis.command(&["SET", "k", "0123456789"]);
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({
        "name": "c", "action": "corrupt", "from": 5, "to": 15, "count": 2, "seed": 7,
        "match": { "operation": "GET" }
    }));
    let reply = b"$10\r\n0123456789\r\n";
    let ask = |first_session: bool| {
        let mut client = proxied.connect();
        let asked = [command(&["GET", "k"]), command(&["PING"])].concat();
        client.write_all(asked.as_bytes()).unwrap();
        let got = crate::peers::read_exactly(&client, reply.len());
        expect(&client, b"+PONG\r\n");
        let changed: Vec<usize> = (0..got.len()).filter(|at| got[*at] != reply[*at]).collect();
        assert!((1..=2).contains(&changed.len()), "{first_session} {got:?}");
        assert!(changed.iter().all(|at| (5..15).contains(at)), "{changed:?}");
    };
    ask(true);
    ask(false);
    // What the server gets is changed where that is asked for.
    proxied.server.remove_fault("c").unwrap();
    proxied.fault(json!({
        "name": "c", "action": "corrupt", "on": "request", "rate": 1.0, "from": 26, "to": 27,
        "match": { "operation": "SET" }
    }));
    let mut client = proxied.connect();
    client
        .write_all(command(&["SET", "x", "abc"]).as_bytes())
        .unwrap();
    expect(&client, b"+OK\r\n");
    let stored = redis.command(&["GET", "x"]);
    assert!(
        stored.starts_with("$3\r\n") && !stored.contains("abc"),
        "{stored}"
    );
}
