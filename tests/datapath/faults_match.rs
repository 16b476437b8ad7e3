//! Faults that are about some sessions, statements and tables, against real servers: they hit those and no others.

use crate::faults_postgres::{Client, bind, execute, parse, sync};
use crate::harness::Proxied;
use crate::peers::expect;
use crate::scripted::command;
use crate::support::{Postgres, Redis};
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const REFUSED: &str = "E 40001";

fn postgres() -> (Proxied, Postgres, Client) {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = Client::connect(&proxied);
    client.query("create table orders (n int)");
    client.query("create table users (n int)");
    (proxied, postgres, client)
}

fn refuse(proxied: &Proxied, matching: &Value) {
    let _ = proxied.server.remove_fault("f");
    let fault = json!({
        "name": "f", "action": "error", "preset": "serialization_failure", "match": matching,
    });
    proxied.fault(fault);
}

fn hit(messages: &[String]) -> bool {
    messages.iter().any(|message| message == REFUSED)
}

#[test]
fn statements_are_hit_by_table_and_by_text() {
    let (proxied, _postgres, mut client) = postgres();
    refuse(&proxied, &json!({ "table": "orders" }));
    assert!(hit(&client.query("select * from orders")));
    assert!(hit(
        &client.query("insert into public.\"orders\" values (1)")
    ));
    assert!(!hit(&client.query("select 'from orders' from users")));
    assert!(!hit(&client.query("select 1 /* from orders */")));
    refuse(&proxied, &json!({ "sql": "^select count.*where n = \\?$" }));
    assert!(hit(&client.query(
        "SELECT count(*)\n  FROM users -- all\n WHERE n = 12345"
    )));
    assert!(!hit(&client.query("select count(*) from users")));
    assert_eq!(proxied.listed("f").injected, 1);
    assert_eq!(client.rows("select count(*) from orders"), ["0"]);
}

/// The usual pool: statements were prepared long before the fault is switched on.
#[test]
fn a_statement_that_was_prepared_before_is_hit_where_it_is_executed() {
    let (proxied, _postgres, mut client) = postgres();
    let prepared = [
        parse("o", "select n from orders"),
        parse("u", "select n from users"),
        sync(),
    ];
    client.send(&prepared);
    refuse(&proxied, &json!({ "table": "orders" }));
    assert!(hit(&client.send(&[bind("o"), execute(), sync()])));
    assert!(!hit(&client.send(&[bind("u"), execute(), sync()])));
    // Unnamed ones, in the batch that executes them and in one before it.
    let unnamed = [
        parse("", "select n from orders"),
        bind(""),
        execute(),
        sync(),
    ];
    assert!(hit(&client.send(&unnamed)));
    client.send(&[parse("", "delete from orders"), sync()]);
    assert!(hit(&client.send(&[bind(""), execute(), sync()])));
    client.send(&[parse("", "delete from users"), sync()]);
    assert!(!hit(&client.send(&[bind(""), execute(), sync()])));
    assert_eq!(proxied.listed("f").injected, 3);
    proxied.server.remove_fault("f").unwrap();
    assert!(!hit(&client.send(&[bind("o"), execute(), sync()])));
}

/// An unnamed statement is remembered only from the moment on at which some fault looks at SQL.
#[test]
fn an_unnamed_statement_from_before_the_fault_is_not_known() {
    let (proxied, _postgres, mut client) = postgres();
    client.send(&[parse("", "select n from orders"), sync()]);
    refuse(&proxied, &json!({ "table": "orders" }));
    assert!(!hit(&client.send(&[bind(""), execute(), sync()])));
    client.send(&[parse("", "select n from orders"), sync()]);
    assert!(hit(&client.send(&[bind(""), execute(), sync()])));
}

#[test]
fn a_statement_in_a_pipeline_is_judged_by_itself() {
    let (proxied, _postgres, mut client) = postgres();
    refuse(&proxied, &json!({ "table": "orders" }));
    // All in one piece: when the first is judged, the decoder has read the last.
    let pipeline = [
        parse("", "insert into users values (1)"),
        bind(""),
        execute(),
        sync(),
        parse("", "insert into orders values (1)"),
        bind(""),
        execute(),
        sync(),
    ];
    let first = client.send(&pipeline);
    assert!(!hit(&first));
    assert!(hit(&client.until_ready()));
    assert_eq!(client.rows("select count(*) from users"), ["1"]);
}

#[test]
fn a_long_statement_is_matched_by_what_was_held_of_it() {
    let (proxied, _postgres, mut client) = postgres();
    refuse(&proxied, &json!({ "table": "orders" }));
    let far = format!("select '{}' from orders", "x".repeat(30_000));
    assert!(hit(&client.query(&far)));
    let too_far = format!("select '{}' from orders", "x".repeat(200_000));
    assert!(!hit(&client.query(&too_far)));
}

/// A start-up of protocol 3.0, and what the server says first.
fn start(proxied: &Proxied, parameters: &[&str]) -> (TcpStream, u8) {
    let mut stream = proxied.connect();
    let body: String = parameters.iter().flat_map(|text| [text, "\0"]).collect();
    let length = (body.len() as u32 + 9).to_be_bytes();
    let packet = [&length[..], b"\0\x03\0\0", body.as_bytes(), b"\0"].concat();
    stream.write_all(&packet).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    (stream, first[0])
}

#[test]
fn a_start_up_is_hit_by_its_database_user_and_name() {
    let (proxied, _postgres, mut client) = postgres();
    client.query("create role other login superuser");
    client.query("create database other");
    for matching in [
        json!({ "database": "oth*" }),
        json!({ "user": "other" }),
        json!({ "application_name": "other" }),
        json!({ "client_name": "other" }),
    ] {
        let mut matching = matching;
        matching["operation"] = json!("STARTUP");
        proxied.fault(json!({
            "name": "full", "action": "error", "preset": "too_many_connections", "match": matching,
        }));
        let named = [
            "user",
            "other",
            "database",
            "other",
            "application_name",
            "other",
        ];
        assert_eq!(start(&proxied, &named).1, b'E', "{matching}");
        let others = ["user", "postgres", "database", "postgres"];
        assert_eq!(start(&proxied, &others).1, b'R', "{matching}");
        proxied.server.remove_fault("full").unwrap();
    }
}

#[test]
fn a_session_that_renames_itself_is_known_by_its_new_name() {
    let (proxied, _postgres, mut client) = postgres();
    refuse(&proxied, &json!({ "application_name": "batch" }));
    assert!(!hit(&client.query("select 1")));
    client.query("set application_name = 'batch'");
    assert!(hit(&client.query("select 1")));
    assert!(hit(&client.query("reset application_name")));
    proxied.server.remove_fault("f").unwrap();
    client.query("begin; set local application_name = 'local'");
    refuse(&proxied, &json!({ "client_name": "local" }));
    assert!(hit(&client.query("select 1")));
    // The error aborted the transaction, and took the name with it.
    client.query("rollback");
    assert!(!hit(&client.query("select 1")));
}

fn ask(mut client: &TcpStream, words: &[&str], reply: &str) {
    client.write_all(command(words).as_bytes()).unwrap();
    expect(client, reply.as_bytes());
}

#[test]
fn a_redis_session_is_known_by_database_user_and_name() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let client = proxied.connect();
    let refuse = |matching: Value| {
        let _ = proxied.server.remove_fault("f");
        proxied.fault(json!({
            "name": "f", "action": "error", "preset": "LOADING", "message": "now", "match": matching,
        }));
    };
    let (refused, pong) = ("-LOADING now\r\n", "$1\r\nx\r\n");
    ask(
        &client,
        &["ACL", "SETUSER", "api", "on", ">secret", "+@all", "~*"],
        "+OK\r\n",
    );
    refuse(json!({ "database": "3" }));
    ask(&client, &["ECHO", "x"], pong);
    ask(&client, &["SELECT", "3"], "+OK\r\n");
    ask(&client, &["ECHO", "x"], refused);
    refuse(json!({ "user": "api", "operation": "ECHO" }));
    ask(&client, &["ECHO", "x"], pong);
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    ask(&client, &["AUTH", "api", "wrong"], wrong);
    ask(&client, &["ECHO", "x"], pong);
    ask(&client, &["AUTH", "api", "secret"], "+OK\r\n");
    ask(&client, &["ECHO", "x"], refused);
    refuse(json!({ "client_name": "worker-*" }));
    ask(&client, &["ECHO", "x"], pong);
    ask(&client, &["CLIENT", "SETNAME", "worker-7"], "+OK\r\n");
    ask(&client, &["ECHO", "x"], refused);
    // Another session is not meant.
    ask(&proxied.connect(), &["ECHO", "x"], pong);
}

/// What one session says of itself reaches no figure, no event and no listing.
#[test]
fn what_a_session_says_goes_nowhere() {
    let (proxied, _postgres, mut client) = postgres();
    client.query("set application_name = 'sEcReT-name'");
    refuse(&proxied, &json!({ "table": "sEcReT*" }));
    client.query("select 'sEcReT' as a from users");
    let figures = format!("{:?}{:?}", proxied.stats(), proxied.server.proxies().len());
    assert!(!figures.contains("sEcReT"));
}
