//! Faults on a later Execute of a batch of the extended protocol: the server holds back all replies until the Sync, which such a
//! fault may withhold.

use crate::faults_postgres::{Client, bind, execute, parse, sync};
use crate::harness::Proxied;
use crate::peers::{End, LIMIT, expect_silence, read_exactly, read_to_end};
use crate::support::{Postgres, eventually};
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A server with an empty table, and a proxy before it.
fn start() -> (Postgres, Proxied) {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    (postgres, proxied)
}

fn statement(sql: &str) -> Vec<u8> {
    [parse("", sql), bind(""), execute()].concat()
}

/// Two statements and the Sync behind them.
fn batch(first: &str, second: &str) -> Vec<u8> {
    [statement(first), statement(second), sync()].concat()
}

const INSERT: &str = "insert into t values (1)";

/// What is answered to `select 1`: `ParseComplete`, `BindComplete`, `DataRow`, `CommandComplete`.
const ANSWERED: &str = "12DC";

/// The types of messages that are all whole.
pub(crate) fn kinds(mut bytes: &[u8]) -> String {
    let mut kinds = String::new();
    while let [kind, a, b, c, d, ..] = bytes {
        kinds.push(char::from(*kind));
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        bytes = &bytes[1 + length..];
    }
    assert!(bytes.is_empty(), "a torn message behind {kinds}");
    kinds
}

/// What of the table there is once no session is at work.
fn rows(postgres: &Postgres) -> String {
    eventually("the server to forget the session", LIMIT, || {
        let others = "select count(*) from pg_stat_activity where client_port > 0 and pid <> pg_backend_pid()";
        (postgres.query(others) == "0\n").then_some(())
    });
    postgres.query("select count(*) from t").trim().to_owned()
}

fn on_insert(mut spec: Value) -> Value {
    spec["name"] = json!("f");
    spec["match"] = json!({ "operation": "INSERT" });
    spec
}

#[test]
fn what_precedes_it_is_answered_and_the_session_ends() {
    let (postgres, proxied) = start();
    for (spec, end, stored) in [
        (json!({ "action": "lose_request" }), End::Rst, "0"),
        (
            json!({ "action": "lose_request", "then": "timeout", "close_after": "100ms", "how": "fin" }),
            End::Fin,
            "0",
        ),
        (
            json!({ "action": "disconnect", "how": "rst" }),
            End::Rst,
            "0",
        ),
        (
            json!({ "action": "disconnect", "when": "after", "how": "fin" }),
            End::Fin,
            "1",
        ),
    ] {
        postgres.query("truncate t");
        proxied.fault(on_insert(spec.clone()));
        let mut client = Client::connect(&proxied);
        client.write(&batch("select 1", INSERT));
        let (got, how) = read_to_end(client.stream());
        assert_eq!((kinds(&got).as_str(), how), (ANSWERED, end), "{spec}");
        assert_eq!(rows(&postgres), stored, "{spec}");
        assert_eq!(proxied.listed("f").injected, 1, "{spec}");
        proxied.server.remove_fault("f").unwrap();
    }
}

#[test]
fn the_end_of_the_fault_ends_the_session_whatever_it_waits_for() {
    let (postgres, proxied) = start();
    let stall = json!({ "action": "lose_request", "then": "stall" });
    // What precedes is answered at once, or will not be for long.
    let (quick, slow) = ("select 1", "select pg_sleep(20)");
    for (spec, first, answered) in [
        (stall.clone(), quick, ANSWERED),
        (stall, slow, ""),
        (json!({ "action": "lose_request" }), slow, ""),
        (json!({ "action": "disconnect" }), slow, ""),
    ] {
        let mut best = Duration::MAX;
        for halts in [true, false, true] {
            proxied.fault(on_insert(spec.clone()));
            let mut client = Client::connect(&proxied);
            client.write(&batch(first, INSERT));
            let length = if answered.is_empty() {
                0
            } else {
                5 + 5 + 12 + 14
            };
            assert_eq!(kinds(&read_exactly(client.stream(), length)), answered);
            expect_silence(client.stream(), Duration::from_millis(50));
            let ended = Instant::now();
            if halts {
                proxied.server.halt();
            } else {
                proxied.server.remove_fault("f").unwrap();
            }
            assert_eq!(read_to_end(client.stream()).0, b"", "{spec}");
            best = best.min(ended.elapsed());
            proxied.server.resume();
        }
        assert!(best < Duration::from_millis(100), "{best:?} {spec}");
        postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(20)' and pid <> pg_backend_pid()");
    }
    assert_eq!(rows(&postgres), "0");
}

#[test]
fn a_session_is_closed_after_a_request_only_behind_its_sync() {
    let (postgres, proxied) = start();
    proxied.fault(on_insert(
        json!({ "action": "disconnect", "when": "after", "how": "rst" }),
    ));
    for (messages, stored) in [
        (statement(INSERT), "1"),
        ([statement(INSERT), statement("select 1")].concat(), "1"),
        ([statement(INSERT), statement(INSERT)].concat(), "2"),
    ] {
        for apart in [false, true] {
            postgres.query("truncate t");
            let mut client = Client::connect(&proxied);
            if apart {
                client.write(&messages);
                expect_silence(client.stream(), Duration::from_millis(30));
                client.write(&sync());
            } else {
                client.write(&[messages.clone(), sync()].concat());
            }
            assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
            assert_eq!(rows(&postgres), stored, "apart: {apart}");
        }
    }
}

#[test]
fn a_fatal_error_comes_behind_the_replies_to_what_precedes_it() {
    let (postgres, proxied) = start();
    proxied.fault(on_insert(
        json!({ "action": "error", "preset": "admin_shutdown" }),
    ));
    let mut client = Client::connect(&proxied);
    client.write(&batch("select 1", INSERT));
    let (got, end) = read_to_end(client.stream());
    let expected = format!("{ANSWERED}E");
    assert_eq!((kinds(&got), end), (expected, End::Fin));
    let text = String::from_utf8_lossy(&got);
    assert!(text.contains("FATAL") && text.contains("57P01"), "{text}");
    assert_eq!(rows(&postgres), "0");
}
