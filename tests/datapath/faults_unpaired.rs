//! A decoder that gives up while faults owe something: a reply is never paired with another request, be it that the session is
//! closed.

use crate::faults_postgres::skipped;
use crate::harness::Proxied;
use crate::peers::expect;
use crate::scripted::{bulk, command};
use crate::support::Redis;
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::io::Write;

fn commands(lines: &[&str]) -> Vec<u8> {
    let words = |line: &&str| command(&line.split(' ').collect::<Vec<_>>());
    lines.iter().map(words).collect::<String>().into_bytes()
}

fn fails(operation: &Value, preset: &str) -> Value {
    json!({ "name": "e", "action": "error", "preset": preset, "match": { "operation": operation } })
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
