//! A decoder that gives up while faults owe something: a reply is never paired with another request, be it that the session is
//! closed.

use crate::faults_postgres::{Client, message, skipped};
use crate::harness::{Events, Proxied};
use crate::peers::{End, expect, read_to_end};
use crate::scripted::{Scripted, bulk, command};
use crate::support::{Postgres, Redis};
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

fn commands(lines: &[&str]) -> Vec<u8> {
    let words = |line: &&str| command(&line.split(' ').collect::<Vec<_>>());
    lines.iter().map(words).collect::<String>().into_bytes()
}

fn fails(operation: &Value, preset: &str) -> Value {
    json!({ "name": "e", "action": "error", "preset": preset, "match": { "operation": operation } })
}

/// The fault and what it touched, where the session is closed over it.
fn closed(events: &mut Events) -> (String, &'static str) {
    events.find("the end of the pairing", |event| match event {
        Event::InjectedAside { what, faults, .. } => Some((faults[0].to_string(), *what)),
        _ => None,
    })
}

#[test]
fn a_command_that_changes_no_mode_is_answered_in_its_place() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(fails(&json!(["RESET", "CLIENT*"]), "LOADING"));
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    for line in ["RESET", "CLIENT REPLY ON", "CLIENT SETNAME a"] {
        let mut client = proxied.connect();
        let asked = commands(&["ECHO one", line, "ECHO two", "ECHO three"]);
        client.write_all(&asked).unwrap();
        let expected = [&bulk("one"), loading, &bulk("two"), &bulk("three")].concat();
        expect(&client, expected.as_bytes());
    }
    assert_eq!(proxied.listed("e").injected, 3);
    assert!(proxied.figures().tap_lost.is_empty());
}

#[test]
fn a_command_without_which_those_behind_it_would_be_answered_otherwise_is_left_alone() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let mut events = proxied.events();
    proxied.fault(fails(&json!("CLIENT*"), "LOADING"));
    let mut client = proxied.connect();
    let asked = [
        "CLIENT REPLY OFF",
        "ECHO one",
        "CLIENT REPLY ON",
        "ECHO two",
    ];
    client.write_all(&commands(&asked)).unwrap();
    expect(&client, format!("+OK\r\n{}", bulk("two")).as_bytes());
    assert_eq!(skipped(&mut events), "no reply is expected");
    assert_eq!(skipped(&mut events), "other requests are right behind it");
}

#[test]
fn an_error_that_waits_for_its_turn_is_put_into_no_other_place() {
    let redis = Redis::start();
    for (operation, asked) in [
        ("SET", &["BLPOP none 1", "SET a 1", "ECHO two"][..]),
        ("EXEC", &["BLPOP none 1", "MULTI", "SET a 1", "EXEC"]),
    ] {
        let proxied = Proxied::to(Protocol::Redis, redis.address());
        let mut events = proxied.events();
        proxied.fault(fails(&json!(operation), "READONLY"));
        let mut client = proxied.connect();
        client.write_all(&commands(asked)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let lost = commands(&["CLIENT REPLY OFF", "SUBSCRIBE x"]);
        client.write_all(&lost).unwrap();
        assert_eq!(read_to_end(&client), (Vec::new(), End::Rst), "{operation}");
        assert_eq!(closed(&mut events), ("e".into(), "pairing"));
        assert_eq!(redis.command(&["EXISTS", "a"]), ":0\r\n");
    }
}

#[test]
fn over_http_it_is_the_same() {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    let mut events = proxied.events();
    let matching = json!({ "route": "/b" });
    proxied.fault(json!({ "name": "e", "action": "error", "preset": "503", "match": matching }));
    let mut client = proxied.connect();
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    let asked = [get("/a"), get("/b"), "BAD\r\n\r\n".into()].concat();
    client.write_all(asked.as_bytes()).unwrap();
    let (got, end) = read_to_end(&client);
    assert_eq!(end, End::Rst, "{}", String::from_utf8_lossy(&got));
    assert!(got.is_empty() || got.ends_with(b"GET /a"));
    assert_eq!(closed(&mut events), ("e".into(), "pairing"));
}

#[test]
fn on_postgres_an_exchange_that_cannot_be_made_any_more_ends_the_session() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut events = proxied.events();
    proxied.fault(fails(&json!("COMMIT"), "serialization_failure"));
    let mut client = Client::connect(&proxied);
    client.query("begin");
    client.query("insert into t values (1)");
    let query = |sql: &str| message(b'Q', &format!("{sql}\0"));
    client.write(&[query("select pg_sleep(0.3)"), query("commit")].concat());
    std::thread::sleep(Duration::from_millis(50));
    client.write(&message(b'?', "zz"));
    assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
    assert_eq!(closed(&mut events), ("e".into(), "pairing"));
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
}
