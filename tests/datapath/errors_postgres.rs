//! Errors on Postgres in every state of a session, against a real server, which is left as the real error would leave it. Each
//! test goes on with the same connection where the error lets it.

use crate::faults_postgres::{Client, bind, execute, message, parse, skipped, sync};
use crate::harness::Proxied;
use crate::peers::{End, read_to_end};
use crate::support::{Postgres, eventually};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::Write;

/// A server with an empty table, a proxy before it that answers `operation` with a serialization failure, and a client.
fn failing(operation: &str) -> (Postgres, Proxied, Client) {
    let postgres = Postgres::start();
    postgres.query("create table t (n int primary key)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let client = Client::connect(&proxied);
    let matching = json!({ "operation": operation });
    let spec = json!({ "name": "e", "action": "error", "preset": "serialization_failure", "match": matching });
    proxied.fault(spec);
    (postgres, proxied, client)
}

fn counts(proxied: &Proxied) -> (u64, u64, u64) {
    let listed = proxied.listed("e");
    (listed.matched, listed.injected, listed.skipped)
}

fn whole(sql: &str) -> [Vec<u8>; 4] {
    [parse("", sql), bind(""), execute(), sync()]
}

#[test]
fn inside_a_transaction_a_simple_error_aborts_it() {
    let (postgres, proxied, mut client) = failing("INSERT");
    let mut events = proxied.events();
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    assert_eq!(client.query("update t set n = 0"), ["C UPDATE 0", "Z T"]);
    assert_eq!(client.query("savepoint s"), ["C SAVEPOINT", "Z T"]);
    assert_eq!(client.query("insert into t values (1)"), ["E 40001", "Z E"]);
    // Failed already: the server says so itself.
    assert_eq!(client.query("insert into t values (2)"), ["E 25P02", "Z E"]);
    assert_eq!(skipped(&mut events), "the transaction has failed already");
    assert_eq!(client.query("rollback to s"), ["C ROLLBACK", "Z T"]);
    assert_eq!(client.query("select 1"), ["T", "D", "C SELECT 1", "Z T"]);
    assert_eq!(client.query("insert into t values (3)"), ["E 40001", "Z E"]);
    // A COMMIT of a failed transaction rolls back, in reality as here.
    assert_eq!(client.query("commit"), ["C ROLLBACK", "Z I"]);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
    assert_eq!(counts(&proxied), (3, 2, 1));
    proxied.server.remove_fault("e").unwrap();
    assert_eq!(
        client.query("insert into t values (4)"),
        ["C INSERT 0 1", "Z I"]
    );
}

#[test]
fn inside_a_transaction_an_extended_error_aborts_it_and_keeps_what_was_prepared() {
    let (postgres, proxied, mut client) = failing("INSERT");
    let prepared = client.send(&[parse("keep", "insert into t values (1)"), sync()]);
    assert_eq!(prepared, ["1", "Z I"]);
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    let kept = [bind("keep"), execute(), sync()];
    assert_eq!(client.send(&kept), ["2", "E 40001", "Z E"]);
    let other = whole("select 1");
    assert_eq!(client.send(&other), ["E 25P02", "Z E"]);
    assert_eq!(client.query("rollback"), ["C ROLLBACK", "Z I"]);
    // What stands behind it in a batch is skipped; the batch behind that is not.
    let batch = [&whole("insert into t values (2)")[..3], &whole("select 2")].concat();
    assert_eq!(client.send(&batch), ["1", "2", "E 40001", "Z I"]);
    assert_eq!(client.send(&other), ["1", "2", "D", "C SELECT 1", "Z I"]);
    assert_eq!(counts(&proxied), (2, 2, 0));
    proxied.server.remove_fault("e").unwrap();
    assert_eq!(client.send(&kept), ["2", "C INSERT 0 1", "Z I"]);
    assert_eq!(postgres.query("select n from t"), "1\n");
}

#[test]
fn behind_statements_in_flight_the_error_comes_in_its_turn() {
    let (postgres, proxied, mut client) = failing("INSERT");
    let simple = |sql: &str| message(b'Q', &format!("{sql}\0"));
    let insert = simple("insert into t values (1)");
    // Which status it will meet is decided by what is still on its way.
    let queries = [
        simple("select pg_sleep(0.1)"),
        insert.clone(),
        simple("begin"),
        insert.clone(),
        insert,
        simple("commit"),
    ];
    client.write(&queries.concat());
    assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
    assert_eq!(client.until_ready(), ["E 40001", "Z I"]);
    assert_eq!(client.until_ready(), ["C BEGIN", "Z T"]);
    assert_eq!(client.until_ready(), ["E 40001", "Z E"]);
    assert_eq!(client.until_ready(), ["E 25P02", "Z E"]);
    assert_eq!(client.until_ready(), ["C ROLLBACK", "Z I"]);
    // Batches of a pipeline, each with a Sync.
    let batches = [
        whole("select 1"),
        whole("insert into t values (2)"),
        whole("select 2"),
    ];
    client.write(&batches.concat().concat());
    assert_eq!(client.until_ready(), ["1", "2", "D", "C SELECT 1", "Z I"]);
    assert_eq!(client.until_ready(), ["1", "2", "E 40001", "Z I"]);
    assert_eq!(client.until_ready(), ["1", "2", "D", "C SELECT 1", "Z I"]);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
    assert!(proxied.figures().tap_lost.is_empty());
}

#[test]
fn a_simple_commit_that_fails_rolls_back() {
    let (postgres, proxied, mut client) = failing("COMMIT");
    for _ in 0..2 {
        assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
        assert_eq!(
            client.query("insert into t values (1)"),
            ["C INSERT 0 1", "Z T"]
        );
        assert_eq!(client.query("commit"), ["E 40001", "Z I"]);
    }
    assert_eq!(client.query("end"), ["E 40001", "Z I"]);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
    let transactions = proxied.figures().transactions;
    assert_eq!((transactions.committed, transactions.rolled_back), (0, 2));
    proxied.server.remove_fault("e").unwrap();
    assert_eq!(
        client.query("begin; insert into t values (1); commit"),
        ["C BEGIN", "C INSERT 0 1", "C COMMIT", "Z I"]
    );
    assert_eq!(postgres.query("select n from t"), "1\n");
}

#[test]
fn an_extended_commit_that_fails_rolls_back() {
    let (postgres, proxied, mut client) = failing("COMMIT");
    assert_eq!(client.send(&[parse("c", "commit"), sync()]), ["1", "Z I"]);
    let prepared = [bind("c"), execute(), sync()];
    let described = [
        parse("", "commit"),
        bind(""),
        message(b'D', "P\0"),
        execute(),
        sync(),
    ];
    for (commit, replies) in [
        (&whole("commit")[..], &["1", "2", "E 40001", "Z I"][..]),
        (&prepared, &["2", "E 40001", "Z I"]),
        (&described, &["1", "2", "n", "E 40001", "Z I"]),
    ] {
        assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
        assert_eq!(
            client.query("insert into t values (1)"),
            ["C INSERT 0 1", "Z T"]
        );
        assert_eq!(client.send(commit), replies);
    }
    // In one pipeline, with more behind it.
    let pipeline = [
        &whole("begin")[..],
        &whole("insert into t values (1)"),
        &whole("commit"),
        &whole("select 1"),
    ]
    .concat();
    client.write(&pipeline.concat());
    assert_eq!(client.until_ready(), ["1", "2", "C BEGIN", "Z T"]);
    assert_eq!(client.until_ready(), ["1", "2", "C INSERT 0 1", "Z T"]);
    assert_eq!(client.until_ready(), ["1", "2", "E 40001", "Z I"]);
    assert_eq!(client.until_ready(), ["1", "2", "D", "C SELECT 1", "Z I"]);
    // In one batch, what stands behind it is skipped.
    let batch = [
        &whole("begin")[..3],
        &whole("insert into t values (1)")[..3],
        &whole("commit")[..3],
        &whole("select 1"),
    ]
    .concat();
    let replies = [
        "1",
        "2",
        "C BEGIN",
        "1",
        "2",
        "C INSERT 0 1",
        "1",
        "2",
        "E 40001",
        "Z I",
    ];
    assert_eq!(client.send(&batch), replies);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
    let figures = proxied.figures();
    assert_eq!(figures.transactions.committed, 0);
    assert!(figures.tap_lost.is_empty());
    assert_eq!(counts(&proxied), (5, 5, 0));
    // Nothing of ours is left behind.
    let left = client.rows("select count(*) from pg_prepared_statements where name <> 'c'");
    assert_eq!(left, ["0"]);
    proxied.server.remove_fault("e").unwrap();
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    assert_eq!(
        client.query("insert into t values (1)"),
        ["C INSERT 0 1", "Z T"]
    );
    assert_eq!(client.send(&prepared), ["2", "C COMMIT", "Z I"]);
    assert_eq!(postgres.query("select n from t"), "1\n");
}

#[test]
fn a_copy_in_fails_while_its_data_are_on_their_way() {
    let (postgres, proxied, mut client) = failing("COPY");
    let copy = message(b'Q', "copy t from stdin\0");
    for (status, row) in [("Z I", 1), ("Z E", 2)] {
        if status == "Z E" {
            assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
        }
        client.write(&copy);
        assert_eq!(client.until(b'G'), ["G"]);
        let rows = message(b'd', &format!("{row}\n")).repeat(1000);
        client.write(&rows);
        client.write(&message(b'c', ""));
        assert_eq!(client.until_ready(), ["E 40001", status]);
        if status == "Z E" {
            assert_eq!(client.query("rollback"), ["C ROLLBACK", "Z I"]);
        }
    }
    assert_eq!(client.query("select 1"), ["T", "D", "C SELECT 1", "Z I"]);
    // An error of the server's own comes first.
    assert_eq!(client.query("copy nowhere from stdin"), ["E 42P01", "Z I"]);
    // COPY out has not begun when it fails.
    assert_eq!(client.query("copy t to stdout"), ["E 40001", "Z I"]);
    proxied.server.remove_fault("e").unwrap();
    client.write(&copy);
    assert_eq!(client.until(b'G'), ["G"]);
    client.write(&[message(b'd', "7\n"), message(b'c', "")].concat());
    assert_eq!(client.until_ready(), ["C COPY 1", "Z I"]);
    assert_eq!(postgres.query("select n from t"), "7\n");
    assert!(proxied.figures().tap_lost.is_empty());
}

#[test]
fn a_fatal_error_ends_both_sides_in_order() {
    let (postgres, proxied, mut client) = failing("CHECKPOINT");
    let spec = json!({ "action": "error", "preset": "admin_shutdown", "match": { "operation": "UPDATE" } });
    proxied.fault(spec);
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    let simple = |sql: &str| message(b'Q', &format!("{sql}\0"));
    let queries = [
        simple("insert into t values (1)"),
        simple("update t set n = 2"),
        simple("commit"),
    ];
    client.write(&queries.concat());
    assert_eq!(client.until_ready(), ["C INSERT 0 1", "Z T"]);
    assert_eq!(client.until(b'E'), ["E 57P01"]);
    assert_eq!(read_to_end(client.stream()), (Vec::new(), End::Fin));
    proxied.wait_until_idle();
    // Neither the commit behind it nor a backend is left.
    eventually(
        "the server to forget the session",
        crate::peers::LIMIT,
        || {
            let others = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
            (postgres.query(others) == "0\n").then_some(())
        },
    );
    assert_eq!(postgres.query("select count(*) from t"), "0\n");
}

#[test]
fn a_fatal_error_says_goodbye_to_the_server() {
    let (proxied, upstream) = Proxied::before(Protocol::Postgres);
    let mut client = proxied.connect();
    let mut server = crate::peers::accept(&upstream);
    let startup = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    client.write_all(startup).unwrap();
    crate::peers::expect(&server, startup);
    let greeting = [message(b'R', "\0\0\0\0"), message(b'Z', "I")].concat();
    server.write_all(&greeting).unwrap();
    crate::peers::expect(&client, &greeting);
    proxied.fault(json!({ "action": "error", "preset": "admin_shutdown" }));
    client.write_all(&message(b'Q', "select 1\0")).unwrap();
    let (told, end) = read_to_end(&server);
    assert_eq!((told, end), (message(b'X', ""), End::Fin));
}

#[test]
fn at_startup_the_server_is_not_contacted() {
    for preset in [
        "too_many_connections",
        "cannot_connect_now",
        "28P01",
        "3D000",
    ] {
        let (proxied, upstream) = Proxied::before(Protocol::Postgres);
        let mut spec = json!({ "action": "error", "match": { "operation": "STARTUP" } });
        let code = match preset {
            "too_many_connections" => "53300",
            "cannot_connect_now" => "57P03",
            code => code,
        };
        if code == preset {
            spec["code"] = json!(code);
            spec["message"] = json!("no");
        } else {
            spec["preset"] = json!(preset);
        }
        proxied.fault(spec);
        let mut client = proxied.connect();
        client
            .write_all(b"\0\0\0\x11\0\x03\0\0user\0me\0\0")
            .unwrap();
        let (got, end) = read_to_end(&client);
        assert_eq!((got[0], end), (b'E', End::Fin));
        let text = String::from_utf8_lossy(&got);
        assert!(text.contains(&format!("\0C{code}\0")), "{text}");
        assert!(text.contains("SFATAL\0"), "{text}");
        drop(client);
        proxied.wait_until_idle();
        upstream.set_nonblocking(true).unwrap();
        let nobody = upstream.accept().unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "{preset}");
    }
}
