//! Errors on Postgres, against a real server: its state afterwards must be the one that the real error would have left.

use crate::harness::{Events, Proxied};
use crate::support::Postgres;
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A client that sees every message.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(proxied: &Proxied) -> Self {
        let mut client = Self(proxied.connect());
        let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        let length = (body.len() as u32 + 4).to_be_bytes();
        client.0.write_all(&[&length, &body[..]].concat()).unwrap();
        assert_eq!(client.until_ready().last().unwrap(), "Z I");
        client
    }

    /// Messages up to and with `ReadyForQuery`: their types, with the SQLSTATE of an error and the status of a transaction.
    fn until_ready(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).unwrap();
            let kind = char::from(head[0]);
            messages.push(match kind {
                'E' => format!("E {}", field(&body, b'C')),
                'C' => format!("C {}", text(&body)),
                'Z' => format!("Z {}", char::from(body[0])),
                kind => kind.to_string(),
            });
            if kind == 'Z' {
                return messages;
            }
        }
    }

    pub(crate) fn query(&mut self, sql: &str) -> Vec<String> {
        self.0
            .write_all(&message(b'Q', &format!("{sql}\0")))
            .unwrap();
        self.until_ready()
    }

    fn send(&mut self, messages: &[Vec<u8>]) -> Vec<String> {
        self.0.write_all(&messages.concat()).unwrap();
        self.until_ready()
    }
}

fn message(kind: u8, body: &str) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], body.as_bytes()].concat()
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &format!("{name}\0{sql}\0\0\0"))
}

fn bind(statement: &str) -> Vec<u8> {
    message(b'B', &format!("\0{statement}\0\0\0\0\0\0\0"))
}

fn execute() -> Vec<u8> {
    message(b'E', "\0\0\0\0\0")
}

fn sync() -> Vec<u8> {
    message(b'S', "")
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body)
        .trim_end_matches('\0')
        .to_owned()
}

/// A field of an `ErrorResponse`.
fn field(body: &[u8], wanted: u8) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let found = fields.find(|field| field.first() == Some(&wanted));
    text(&found.unwrap()[1..])
}

fn skipped(events: &mut Events) -> &'static str {
    events.find("the skip in the event stream", |event| match event {
        Event::Skipped { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn an_error_leaves_the_server_as_the_real_one_would() {
    let postgres = Postgres::start();
    postgres.query("create table t (n int)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = Client::connect(&proxied);
    let prepared = client.send(&[parse("keep", "insert into t values (10)"), sync()]);
    assert_eq!(prepared, ["1", "Z I"]);

    let matching = json!({ "operation": "INSERT" });
    let spec = json!({ "name": "e", "action": "error", "preset": "serialization_failure", "match": matching });
    proxied.fault(spec);

    // Simple, outside a transaction: the server never sees it.
    assert_eq!(client.query("insert into t values (1)"), ["E 40001", "Z I"]);
    assert_eq!(client.query("select 1"), ["T", "D", "C SELECT 1", "Z I"]);

    // Extended: the server refuses what it gets instead, and skips to Sync as it would.
    let extended = [
        parse("", "insert into t values (2)"),
        bind(""),
        execute(),
        sync(),
    ];
    assert_eq!(client.send(&extended), ["1", "2", "E 40001", "Z I"]);
    let kept = [bind("keep"), execute(), sync()];
    assert_eq!(client.send(&kept), ["2", "E 40001", "Z I"]);
    assert_eq!(client.query("select 1"), ["T", "D", "C SELECT 1", "Z I"]);
    assert_eq!(postgres.query("select count(*) from t"), "0\n");

    // Inside a transaction: not yet; it goes its way, and that is said.
    let mut events = proxied.events();
    assert_eq!(client.query("begin"), ["C BEGIN", "Z T"]);
    assert_eq!(
        client.query("insert into t values (3)"),
        ["C INSERT 0 1", "Z T"]
    );
    assert_eq!(skipped(&mut events), "inside a transaction");
    assert_eq!(client.query("commit"), ["C COMMIT", "Z I"]);
    assert_eq!(postgres.query("select n from t"), "3\n");

    let listed = proxied.listed("e");
    assert_eq!((listed.matched, listed.injected, listed.skipped), (4, 3, 1));
    let figures = proxied.figures();
    assert_eq!((figures.faults.injected, figures.faults.skipped), (3, 1));
    let insert = figures.operation("INSERT").unwrap();
    assert_eq!((insert.exchanges.count, insert.exchanges.errors), (4, 3));
    assert_eq!(figures.transactions.serialization_failures, 3);

    // The fault gone, the prepared statement is still there.
    proxied.server.remove_fault("e").unwrap();
    assert_eq!(client.send(&kept), ["2", "C INSERT 0 1", "Z I"]);
}

#[test]
fn delays_and_cuts_keep_the_order_of_a_pipeline() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = Client::connect(&proxied);
    proxied.fault(json!({ "name": "l", "action": "latency", "delay": "60ms" }));
    let started = std::time::Instant::now();
    let query = message(b'Q', "select 1\0");
    client.0.write_all(&query.repeat(5)).unwrap();
    for _ in 0..5 {
        assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
    }
    let took = started.elapsed().as_millis();
    assert!((60..250).contains(&took), "{took} ms for five side by side");
    proxied.server.remove_fault("l").unwrap();

    let matching = json!({ "operation": "SELECT" });
    let spec =
        json!({ "action": "disconnect", "bytes": 3, "how": "rst", "after": 1, "match": matching });
    proxied.fault(spec);
    client.0.write_all(&query.repeat(3)).unwrap();
    assert_eq!(client.until_ready(), ["T", "D", "C SELECT 1", "Z I"]);
    let (rest, end) = crate::peers::read_to_end(&client.0);
    assert_eq!(
        (rest.len(), rest[0], end),
        (3, b'T', crate::peers::End::Rst)
    );
}
