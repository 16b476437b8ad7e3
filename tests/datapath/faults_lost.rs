//! Requests and replies that are lost: the client sees the same of both, and the truth is opposite.

use crate::faults_postgres::{Client, bind, execute, message, parse, skipped, sync};
use crate::harness::Proxied;
use crate::peers::{End, accept, expect, expect_silence, read_exactly, read_to_end};
use crate::scripted::{Scripted, command};
use crate::support::{Postgres, Redis, eventually};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};

/// What a client gets of a COMMIT that is lost by `action`, and how many rows are there afterwards.
fn lost_commit(
    postgres: &Postgres,
    action: &str,
    how: &str,
    commit: &[u8],
) -> (Vec<u8>, End, String) {
    postgres.query("truncate t");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let matching = json!({ "operation": "COMMIT" });
    proxied.fault(json!({ "action": action, "how": how, "match": matching }));
    let mut client = Client::connect(&proxied);
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    assert_eq!(
        client.query("insert into t values (1)"),
        ["C INSERT 0 1", "Z T"]
    );
    client.write(commit);
    let (got, end) = read_to_end(client.stream());
    proxied.wait_until_idle();
    let figures = proxied.figures();
    let commit = &figures.operation("COMMIT").unwrap().exchanges;
    assert_eq!((commit.count, commit.errors, commit.injected), (1, 1, 1));
    eventually(
        "the server to forget the session",
        crate::peers::LIMIT,
        || {
            let open = "select count(*) from pg_stat_activity where state like 'idle in%'";
            (postgres.query(open) == "0\n").then_some(())
        },
    );
    (got, end, postgres.query("select count(*) from t"))
}

#[test]
fn of_a_lost_commit_the_client_cannot_tell_whether_it_happened() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let simple = message(b'Q', "commit\0");
    let extended = [parse("", "commit"), bind(""), execute(), sync()].concat();
    for commit in [simple, extended] {
        for (how, end) in [("rst", End::Rst), ("fin", End::Fin)] {
            let request = lost_commit(&postgres, "lose_request", how, &commit);
            assert_eq!(request, (Vec::new(), end, "0\n".into()));
            let reply = lost_commit(&postgres, "lose_reply", how, &commit);
            assert_eq!(reply, (Vec::new(), end, "1\n".into()));
        }
    }
}

#[test]
fn a_lost_incr_has_counted_once_or_not_at_all() {
    let redis = Redis::start();
    for (action, count) in [("lose_request", "1\r\n"), ("lose_reply", "2\r\n")] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        redis.command(&["SET", "n", "1"]);
        proxied.fault(json!({ "name": "l", "action": action, "match": { "operation": "INCR" } }));
        let mut client = proxied.connect();
        let asked = [
            command(&["GET", "n"]),
            command(&["INCR", "n"]),
            command(&["PING"]),
        ];
        client.write_all(asked.concat().as_bytes()).unwrap();
        // What came before is answered; what was lost, and all behind it, is not.
        assert_eq!(read_to_end(&client), (b"$1\r\n1\r\n".to_vec(), End::Rst));
        let value = redis.command(&["INCRBY", "n", "0"]);
        assert_eq!(value, format!(":{count}"), "{action}");
        assert_eq!(proxied.listed("l").injected, 1);
        // The session is lost, the proxy is not.
        let mut client = proxied.connect();
        client.write_all(command(&["PING"]).as_bytes()).unwrap();
        expect(&client, b"+PONG\r\n");
    }
}

#[test]
fn a_queued_command_and_exec_are_lost_as_any_other() {
    let redis = Redis::start();
    for (action, operation, exists) in [
        ("lose_request", "SET", ":0\r\n"),
        ("lose_reply", "SET", ":0\r\n"),
        ("lose_request", "EXEC", ":0\r\n"),
        ("lose_reply", "EXEC", ":1\r\n"),
    ] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        redis.command(&["DEL", "a"]);
        proxied
            .fault(json!({ "action": action, "how": "fin", "match": { "operation": operation } }));
        let mut client = proxied.connect();
        client.write_all(command(&["MULTI"]).as_bytes()).unwrap();
        expect(&client, b"+OK\r\n");
        client
            .write_all(command(&["SET", "a", "1"]).as_bytes())
            .unwrap();
        if operation == "EXEC" {
            expect(&client, b"+QUEUED\r\n");
            client.write_all(command(&["EXEC"]).as_bytes()).unwrap();
        }
        assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
        assert_eq!(
            redis.command(&["EXISTS", "a"]),
            exists,
            "{action} {operation}"
        );
    }
}

#[test]
fn a_session_that_stalls_over_a_loss_is_closed_when_the_fault_ends() {
    let redis = Redis::start();
    for (action, count) in [("lose_request", ":0\r\n"), ("lose_reply", ":1\r\n")] {
        let best = (0..3).map(|_| {
            redis.command(&["SET", "n", "0"]);
            let proxied = Proxied::to(Protocol::Redis, redis.address());
            proxied.fault(
                json!({ "action": action, "then": "stall", "match": { "operation": "INCR" } }),
            );
            let mut client = proxied.connect();
            client
                .write_all(command(&["INCR", "n"]).as_bytes())
                .unwrap();
            expect_silence(&client, Duration::from_millis(50));
            client
                .write_all(command(&["SET", "n", "7"]).as_bytes())
                .unwrap();
            expect_silence(&client, Duration::from_millis(20));
            let halted = Instant::now();
            proxied.server.halt();
            assert_eq!(read_to_end(&client), (Vec::new(), End::Rst));
            let took = halted.elapsed();
            assert_eq!(redis.command(&["INCRBY", "n", "0"]), count, "{action}");
            took
        });
        let best = best.min().unwrap();
        assert!(best < Duration::from_millis(100), "{best:?}");
    }
}

#[test]
fn a_session_that_times_out_over_a_loss_is_closed_after_its_time() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    for (action, end, seen) in [("lose_request", End::Fin, 0), ("lose_reply", End::Rst, 1)] {
        let how = if end == End::Fin { "fin" } else { "rst" };
        let spec = json!({ "name": "l", "action": action, "then": "timeout", "close_after": "150ms", "how": how });
        proxied.fault(spec);
        let mut client = proxied.connect();
        let started = Instant::now();
        client
            .write_all(command(&["ECHO", "1"]).as_bytes())
            .unwrap();
        assert_eq!(read_to_end(&client), (Vec::new(), end));
        assert!(started.elapsed() >= Duration::from_millis(150));
        assert_eq!(upstream.seen().len(), seen, "{action}");
        proxied.server.remove_fault("l").unwrap();
    }
}

#[test]
fn a_reply_is_lost_only_once_it_is_complete() {
    let (proxied, upstream) = Proxied::before(Protocol::Postgres);
    let mut client = proxied.connect();
    let mut server = accept(&upstream);
    let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    client.write_all(startup).unwrap();
    expect(&server, startup);
    let greeting = [message(b'R', "\0\0\0\0"), message(b'Z', "I")].concat();
    server.write_all(&greeting).unwrap();
    expect(&client, &greeting);
    proxied.fault(json!({ "action": "lose_reply" }));
    let batch = [parse("", "commit"), bind(""), execute(), sync()].concat();
    client.write_all(&batch).unwrap();
    read_exactly(&server, batch.len());
    let done = [
        message(b'1', ""),
        message(b'2', ""),
        message(b'C', "COMMIT\0"),
    ]
    .concat();
    for byte in done {
        server.write_all(&[byte]).unwrap();
    }
    expect_silence(&client, Duration::from_millis(100));
    server.write_all(&message(b'Z', "I")).unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Rst));
}

#[test]
fn where_no_reply_is_due_none_is_lost() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let mut events = proxied.events();
    proxied.fault(json!({ "name": "l", "action": "lose_reply", "match": { "operation": "SET" } }));
    let mut client = proxied.connect();
    let asked = [
        command(&["CLIENT", "REPLY", "OFF"]),
        command(&["SET", "a", "2"]),
        command(&["CLIENT", "REPLY", "ON"]),
        command(&["GET", "a"]),
    ];
    client.write_all(asked.concat().as_bytes()).unwrap();
    expect(&client, b"+OK\r\n$1\r\n2\r\n");
    assert_eq!(skipped(&mut events), "no reply is expected");
    let listed = proxied.listed("l");
    assert_eq!((listed.injected, listed.skipped), (0, 1));
}

#[test]
fn over_http_the_server_has_seen_it_or_not() {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    for (action, seen) in [
        ("lose_request", &["GET /1"][..]),
        ("lose_reply", &["GET /1", "POST /lost"]),
    ] {
        proxied.fault(json!({ "name": "l", "action": action, "match": { "method": "POST" } }));
        let mut client = proxied.connect();
        let get = "GET /1 HTTP/1.1\r\nHost: here\r\n\r\n";
        let post = "POST /lost HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody";
        client.write_all(get.as_bytes()).unwrap();
        expect(
            &client,
            b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nGET /1",
        );
        client.write_all(post.as_bytes()).unwrap();
        assert_eq!(read_to_end(&client), (Vec::new(), End::Rst));
        assert_eq!(upstream.seen_in_all(), seen);
        proxied.server.remove_fault("l").unwrap();
    }
}
