//! Faults on replies that end only after the client has sent something more: COPY from the client, and a batch that the client ends
//! with a Flush.

use crate::faults_postgres::{Client, bind, execute, message, parse, skipped, sync};
use crate::harness::Proxied;
use crate::ledger::ended;
use crate::peers::{End, expect_silence, read_to_end};
use crate::support::Postgres;
use brownout::measure::ledger::{Saw, Told};
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::{Duration, Instant};

const COPY: &str = "copy t from stdin";

/// A server with two empty tables.
fn server() -> Postgres {
    let postgres = Postgres::start();
    postgres.query("create table t (n int); create table u (n int)");
    postgres
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &format!("{sql}\0"))
}

/// The COPY in the extended protocol, as libpq asks for it: with a Sync that the server drops.
fn extended() -> Vec<u8> {
    let describe = message(b'D', "P\0");
    [parse("", COPY), bind(""), describe, execute(), sync()].concat()
}

/// Two rows, and the end of them.
fn data() -> Vec<u8> {
    [
        message(b'd', "5\n"),
        message(b'd', "6\n"),
        message(b'c', ""),
    ]
    .concat()
}

fn on_copy(mut spec: Value) -> Value {
    spec["name"] = json!("f");
    spec["match"] = json!({ "operation": "COPY" });
    spec
}

/// The only entry of the ledger: whether it was skipped, what the server saw, its tag, what the client was told.
fn entry(proxied: &Proxied) -> (bool, Option<Saw>, Option<String>, Option<Told>) {
    let entry = ended(proxied, 1).remove(0);
    let tag = entry.tag.map(Cow::into_owned);
    (entry.skipped.is_some(), entry.server, tag, entry.told)
}

#[test]
fn a_reply_is_cut_behind_the_data() {
    let postgres = server();
    let last = [message(b'C', "COPY 2\0"), message(b'Z', "I")].concat();
    for (spec, left) in [
        (json!({ "action": "lose_reply" }), 0),
        (json!({ "action": "truncate" }), last.len() / 2),
        (
            json!({ "action": "disconnect", "share": 0.5 }),
            last.len() / 2,
        ),
    ] {
        postgres.query("truncate t");
        let proxied = Proxied::to(Protocol::Postgres, postgres.address());
        proxied.fault(on_copy(spec.clone()));
        let mut client = Client::connect(&proxied);
        client.write(&query(COPY));
        assert_eq!(client.until(b'G'), ["G"], "{spec}");
        client.write(&data());
        let (got, _) = read_to_end(client.stream());
        assert_eq!(got, last[..left], "{spec}");
        assert_eq!(postgres.query("select count(*) from t"), "2\n", "{spec}");
        let told = if left == 0 {
            Told::Nothing
        } else {
            Told::Partial
        };
        let (skipped, server, tag, _) = entry(&proxied);
        let expected = (false, Some(Saw::Completed), Some("COPY 2".to_owned()));
        assert_eq!((skipped, server, tag), expected, "{spec} {told:?}");
    }
}

#[test]
fn so_it_is_in_the_extended_protocol_and_of_a_second_copy() {
    let postgres = server();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(on_copy(json!({ "action": "lose_reply" })));
    let mut client = Client::connect(&proxied);
    client.write(&extended());
    assert_eq!(client.until(b'G'), ["1", "2", "n", "G"]);
    client.write(&[data(), sync()].concat());
    assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
    assert_eq!(postgres.query("select count(*) from t"), "2\n");

    let mut client = Client::connect(&proxied);
    client.write(&query("copy t from stdin; copy u from stdin"));
    assert_eq!(client.until(b'G'), ["G"]);
    client.write(&data());
    assert_eq!(client.until(b'G'), ["C COPY 2", "G"]);
    client.write(&data());
    assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
    let both = "select (select count(*) from t), (select count(*) from u)";
    assert_eq!(postgres.query(both), "4|2\n");
}

#[test]
fn a_copy_whose_reply_would_be_lost_goes_on_when_the_fault_ends() {
    let postgres = server();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(on_copy(json!({ "action": "lose_reply" })));
    let mut client = Client::connect(&proxied);
    client.write(&query(COPY));
    assert_eq!(client.until(b'G'), ["G"]);
    proxied.server.remove_fault("f").unwrap();
    client.write(&data());
    assert_eq!(client.until_ready(), ["C COPY 2", "Z I"]);
}

#[test]
fn a_reply_that_a_flush_asks_for_is_lost_and_nothing_is_committed() {
    let postgres = server();
    let insert = [parse("", "insert into t values (1)"), bind(""), execute()].concat();
    for (end, stored, server, tag) in [
        (message(b'H', ""), "0\n", Saw::Request, None),
        (sync(), "1\n", Saw::Completed, Some("INSERT 0 1".to_owned())),
    ] {
        for spec in [
            json!({ "action": "lose_reply", "how": "rst" }),
            json!({ "action": "disconnect", "bytes": 0, "how": "rst" }),
        ] {
            postgres.query("truncate t");
            let proxied = Proxied::to(Protocol::Postgres, postgres.address());
            let mut spec = spec;
            spec["match"] = json!({ "operation": "INSERT" });
            proxied.fault(spec);
            let mut client = Client::connect(&proxied);
            client.write(&[insert.clone(), end.clone()].concat());
            assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
            assert_eq!(postgres.query("select count(*) from t"), stored);
            let expected = (false, Some(server), tag.clone(), Some(Told::Nothing));
            assert_eq!(entry(&proxied), expected);
        }
    }
}

#[test]
fn what_is_lost_of_a_reply_is_not_waited_for_when_the_fault_ends() {
    let postgres = server();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let best = (0..3).map(|_| {
        let matching = json!({ "operation": "SELECT" });
        proxied.fault(json!({ "name": "f", "action": "lose_reply", "match": matching }));
        let mut client = Client::connect(&proxied);
        // More rows than are kept, and one that is long in coming.
        let rows =
            "select repeat('x', 1000), pg_sleep(n / 3000 * 20) from generate_series(1, 3000) n";
        client.write(&query(rows));
        expect_silence(client.stream(), Duration::from_millis(300));
        let ended = Instant::now();
        proxied.server.remove_fault("f").unwrap();
        assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Rst));
        ended.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn a_copy_fails_also_where_the_client_sends_data_unasked() {
    let postgres = server();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(on_copy(json!({ "action": "error", "preset": "disk_full" })));
    let mut client = Client::connect(&proxied);
    client.write(&[query(COPY), data(), query("select 1")].concat());
    assert_eq!(client.until_ready(), ["G", "E 53100", "Z I"]);
    assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
    // The same, once the server asks, in either protocol.
    client.write(&query(COPY));
    assert_eq!(client.until_ready(), ["G", "E 53100", "Z I"]);
    client.write(&extended());
    assert_eq!(client.until(b'E'), ["1", "2", "n", "G", "E 53100"]);
    client.write(&[data(), sync()].concat());
    assert_eq!(client.until_ready(), ["Z I"]);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
    assert_eq!(client.query("select 1"), ["T", "D", "C SELECT 1", "Z I"]);
    let listed = proxied.listed("f");
    assert_eq!((listed.injected, listed.skipped), (3, 0));
}

#[test]
fn where_the_server_has_an_error_of_its_own_ours_is_skipped() {
    let postgres = server();
    for (operation, before, asked, sqlstate) in [
        (
            "COPY",
            "select 1",
            query("copy nothing from stdin"),
            "42P01",
        ),
        ("COMMIT", "begin", failing_commit(), "22012"),
        (
            "SELECT",
            "select 1",
            [parse("", "select nothing"), bind(""), execute(), sync()].concat(),
            "42703",
        ),
    ] {
        let proxied = Proxied::to(Protocol::Postgres, postgres.address());
        let mut client = Client::connect(&proxied);
        client.query(before);
        let mut events = proxied.events();
        let spec = json!({ "name": "f", "action": "error", "preset": "serialization_failure", "match": { "operation": operation } });
        proxied.fault(spec);
        client.write(&asked);
        let got = client.until_ready();
        assert!(
            got.contains(&format!("E {sqlstate}")),
            "{operation} {got:?}"
        );
        assert_eq!(skipped(&mut events), "the server has an error of its own");
        let listed = proxied.listed("f");
        assert_eq!((listed.injected, listed.skipped), (0, 1), "{operation}");
        let figures = proxied.figures();
        assert_eq!((figures.faults.injected, figures.faults.skipped), (0, 1));
        let (skipped, _, _, told) = entry(&proxied);
        assert!(
            skipped && told != Some(Told::Injected),
            "{operation} {told:?}"
        );
    }
}

/// A statement that fails and the COMMIT behind it, in one batch.
fn failing_commit() -> Vec<u8> {
    let statement = |sql| [parse("", sql), bind(""), execute()].concat();
    let fails = statement("insert into t values (1 / (select 0))");
    [fails, statement("commit"), sync()].concat()
}
