//! Statements that the server is asked to cancel, before a real server: the error is its own, and nothing behind them is hit.

use crate::faults_postgres::{Client, bind, execute, message, parse, skipped, sync};
use crate::harness::Proxied;
use crate::ledger::{ended, outcome};
use crate::peers::{LIMIT, expect_silence, read_exactly, read_to_end};
use crate::support::{Postgres, eventually};
use brownout::protocol::Protocol;
use serde_json::json;
use std::time::{Duration, Instant};

const LONG: &str = "select pg_sleep(60)";

/// Far more rows than the sockets on the way take.
const MANY: &str = "select repeat('x', 1000) from generate_series(1, 1000000)";

fn start() -> (Postgres, Proxied) {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    (postgres, proxied)
}

fn cancel(proxied: &Proxied, bytes: u64, first: u64) {
    let matching = json!({ "operation": "SELECT" });
    let spec = json!({ "name": "f", "action": "cancel", "bytes": bytes, "first": first, "match": matching });
    proxied.fault(spec);
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &format!("{sql}\0"))
}

/// Whether these are the messages of a statement that was cancelled, wherever in it the server was.
fn cancelled(messages: &[String], status: char) -> bool {
    messages.ends_with(&["E 57014".to_owned(), format!("Z {status}")])
}

fn statement(sql: &str) -> Vec<u8> {
    [parse("", sql), bind(""), execute()].concat()
}

#[test]
fn what_is_behind_it_is_never_hit() {
    let (_postgres, proxied) = start();
    let mut client = Client::connect(&proxied);
    let began = Instant::now();
    for round in 0..20 {
        cancel(&proxied, 0, 1);
        // All in one piece, the next statement right behind.
        client.write(&[query(LONG), query("select pg_sleep(0.02)")].concat());
        let got = client.until_ready();
        assert!(cancelled(&got, 'I'), "{round}: {got:?}");
        assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
        assert_eq!(proxied.listed("f").injected, 1, "{round}");
        proxied.server.remove_fault("f").unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    // And the session goes on.
    assert_eq!(client.rows("select 7"), ["7"]);
}

#[test]
fn rows_come_and_then_the_servers_own_error() {
    let (_postgres, proxied) = start();
    let mut client = Client::connect(&proxied);
    for (sql, row) in [
        (MANY.to_owned(), "D"),
        (format!("copy ({MANY}) to stdout"), "d"),
    ] {
        proxied.fault(json!({ "name": "f", "action": "cancel", "bytes": 5_000_000 }));
        let got = client.query(&sql);
        let rows = got.iter().filter(|kind| *kind == row).count();
        assert!((4_000..900_000).contains(&rows), "{rows} of {sql}");
        assert!(cancelled(&got, 'I'));
        assert_eq!(proxied.listed("f").injected, 1);
        proxied.server.remove_fault("f").unwrap();
    }
    for entry in ended(&proxied, 2) {
        let (saw, tag, told, bytes, status) = outcome(&entry);
        assert_eq!(
            (saw, tag, told, status),
            ("completed", "57014", "reply", "57014")
        );
        assert!(bytes >= 5_000_000, "{bytes}");
        assert_eq!(entry.faults[0].action, "cancel");
    }
}

#[test]
fn transactions_and_prepared_statements_are_left_as_a_real_one_leaves_them() {
    let (postgres, proxied) = start();
    let mut client = Client::connect(&proxied);
    client.send(&[parse("keep", LONG), sync()]);
    cancel(&proxied, 0, 2);
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    client.query("insert into t values (1)");
    assert!(cancelled(&client.query(LONG), 'E'));
    assert_eq!(client.query("commit"), ["C ROLLBACK", "Z I"]);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
    let run = [bind("keep"), execute(), sync()];
    assert!(cancelled(&client.send(&run), 'I'));
    assert_eq!(proxied.listed("f").injected, 2);
    // It is still there, to be carried out when nobody cancels it.
    client.query("set statement_timeout = '50ms'");
    assert!(cancelled(&client.send(&run), 'I'));
}

#[test]
fn where_another_could_be_hit_or_it_ends_first_it_is_skipped() {
    let (_postgres, proxied) = start();
    let mut client = Client::connect(&proxied);
    let mut events = proxied.events();
    cancel(&proxied, 0, 1);
    let both = [statement("select 1"), statement("select 2"), sync()];
    let answered = ["1", "2", "D", "C SELECT 1"];
    let got = client.send(&both);
    assert_eq!(got, [&answered[..], &answered[..], &["Z I"]].concat());
    assert_eq!(skipped(&mut events), "other requests are right behind it");
    proxied.server.remove_fault("f").unwrap();

    cancel(&proxied, 1_000_000, 1);
    client.write(&[query("select 1"), query("select 2")].concat());
    for _ in 0..2 {
        assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
    }
    assert_eq!(skipped(&mut events), "it ended before it was cancelled");
    assert_eq!(proxied.listed("f").injected, 0);
}

#[test]
fn a_halt_lets_go_what_waits() {
    let (_postgres, proxied) = start();
    let mut client = Client::connect(&proxied);
    let mut events = proxied.events();
    cancel(&proxied, 1 << 40, 1);
    client.write(&[query("select pg_sleep(0.5)"), query("select 2")].concat());
    expect_silence(client.stream(), Duration::from_millis(100));
    proxied.server.halt();
    for _ in 0..2 {
        assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
    }
    assert_eq!(skipped(&mut events), "it ended before it was cancelled");
}

#[test]
fn a_session_of_which_a_side_has_gone_ends() {
    let (postgres, proxied) = start();
    cancel(&proxied, 1 << 40, 100);
    let mut client = Client::connect(&proxied);
    client.write(&query(MANY));
    read_exactly(client.stream(), 100_000);
    drop(client);
    proxied.wait_until_idle();

    let mut client = Client::connect(&proxied);
    client.write(&query(LONG));
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)' and pid <> pg_backend_pid()";
    eventually("the server to be at it", LIMIT, || {
        (postgres.query(end) == "t\n").then_some(())
    });
    read_to_end(client.stream());
    drop(client);
    proxied.wait_until_idle();
}

#[test]
fn data_of_a_copy_are_never_waited_for() {
    let (postgres, proxied) = start();
    proxied.fault(json!({ "name": "f", "action": "cancel", "bytes": 1_u64 << 40 }));
    let mut client = Client::connect(&proxied);
    for sql in ["copy t from stdin", "begin; copy t from stdin; commit"] {
        client.write(&query(sql));
        client.until(b'G');
        client.write(&[message(b'd', "1\n"), message(b'c', "")].concat());
        assert_eq!(client.until_ready().last().unwrap(), "Z I", "{sql}");
    }
    assert_eq!(postgres.query("select count(*) from t"), "2\n");
    assert_eq!(proxied.listed("f").injected, 0);
}

#[test]
fn what_is_committed_before_it_is_committed() {
    let (postgres, proxied) = start();
    postgres.query(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$;
         create constraint trigger slow after insert on t deferrable initially deferred for each row execute function slow()",
    );
    cancel(&proxied, 0, 1);
    let mut client = Client::connect(&proxied);
    client.write(&[statement("insert into t values (1)"), message(b'H', "")].concat());
    client.until(b'C');
    client.write(&[sync(), statement(LONG), sync()].concat());
    assert_eq!(client.until_ready(), ["Z I"]);
    assert!(cancelled(&client.until_ready(), 'I'));
    assert_eq!(postgres.query("select count(*) from t"), "1\n");
}

#[test]
fn it_is_refused_where_nothing_can_be_cancelled() {
    let (_postgres, proxied) = start();
    let spec = json!({ "name": "f", "action": "cancel", "bytes": 1 });
    drop(proxied);
    let redis = crate::support::Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let spec = serde_json::from_value(spec).unwrap();
    let refused = proxied.server.add_fault(&spec, None).unwrap_err();
    let words = format!("{refused:?}");
    assert!(
        words.contains("knows no request to cancel another"),
        "{words}"
    );
}
