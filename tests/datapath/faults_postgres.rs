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
    pub(crate) fn until_ready(&mut self) -> Vec<String> {
        self.until(b'Z')
    }

    /// Messages up to and with one of this type.
    pub(crate) fn until(&mut self, last: u8) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let (kind, body) = self.next();
            messages.push(match kind {
                b'E' => format!("E {}", field(&body, b'C')),
                b'C' => format!("C {}", text(&body)),
                b'Z' => format!("Z {}", char::from(body[0])),
                kind => char::from(kind).to_string(),
            });
            if kind == last {
                return messages;
            }
        }
    }

    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    pub(crate) fn query(&mut self, sql: &str) -> Vec<String> {
        self.write(&message(b'Q', &format!("{sql}\0")));
        self.until_ready()
    }

    /// The rows of one column.
    pub(crate) fn rows(&mut self, sql: &str) -> Vec<String> {
        self.write(&message(b'Q', &format!("{sql}\0")));
        let mut rows = Vec::new();
        loop {
            match self.next() {
                (b'D', body) => rows.push(text(&body[6..])),
                (b'Z', _) => return rows,
                _ => {}
            }
        }
    }

    pub(crate) fn send(&mut self, messages: &[Vec<u8>]) -> Vec<String> {
        self.write(&messages.concat());
        self.until_ready()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0
    }
}

pub(crate) fn message(kind: u8, body: &str) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[kind], &length[..], body.as_bytes()].concat()
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &format!("{name}\0{sql}\0\0\0"))
}

pub(crate) fn bind(statement: &str) -> Vec<u8> {
    message(b'B', &format!("\0{statement}\0\0\0\0\0\0\0"))
}

pub(crate) fn execute() -> Vec<u8> {
    message(b'E', "\0\0\0\0\0")
}

pub(crate) fn sync() -> Vec<u8> {
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

pub(crate) fn skipped(events: &mut Events) -> &'static str {
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

    let listed = proxied.listed("e");
    assert_eq!((listed.matched, listed.injected, listed.skipped), (3, 3, 0));
    let figures = proxied.figures();
    assert_eq!((figures.faults.injected, figures.faults.skipped), (3, 0));
    let insert = figures.operation("INSERT").unwrap();
    assert_eq!((insert.exchanges.count, insert.exchanges.errors), (3, 3));
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

#[test]
fn a_batch_that_is_too_long_to_be_identified_is_skipped_by_name() {
    let postgres = Postgres::start();
    postgres.query("create table long (t text)");
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = Client::connect(&proxied);
    let value = "x".repeat(2 << 20);
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let parameters = [&b"\0\0\0\0\0\x01"[..], &length, value.as_bytes(), b"\0\0"];
    let body = String::from_utf8(parameters.concat()).unwrap();
    for matching in [json!({ "operation": "INSERT" }), json!({ "table": "long" })] {
        proxied.fault(json!({ "name": "f", "action": "lose_reply", "match": matching }));
        let mut events = proxied.events();
        let insert = [
            parse("", "insert into long values ($1)"),
            message(b'B', &body),
            execute(),
            sync(),
        ];
        assert_eq!(client.send(&insert), ["1", "2", "C INSERT 0 1", "Z I"]);
        assert_eq!(skipped(&mut events), "too long to be identified");
        let listed = proxied.listed("f");
        assert_eq!((listed.matched, listed.injected, listed.skipped), (1, 0, 1));
        proxied.server.remove_fault("f").unwrap();
    }
    let entries = crate::ledger::ended(&proxied, 2);
    for entry in entries {
        let said = (entry.operation.as_ref(), entry.skipped.as_deref());
        assert_eq!(said, ("INSERT", Some("too long to be identified")));
        let outcome = crate::ledger::outcome(&entry);
        assert_eq!(
            (outcome.0, outcome.1, outcome.2),
            ("completed", "INSERT 0 1", "reply")
        );
    }
}

/// The first packet of a client: its length, a version or code, and what follows.
fn first_packet(code: u32, rest: &str) -> Vec<u8> {
    let length = 8 + u32::try_from(rest.len()).unwrap();
    [&length.to_be_bytes(), &code.to_be_bytes(), rest.as_bytes()].concat()
}

#[test]
fn an_error_at_start_up_comes_without_the_upstream() {
    // Nobody listens there any more.
    let (proxied, listener) = Proxied::before(Protocol::Postgres);
    drop(listener);
    proxied.fault(json!({
        "name": "f", "action": "error", "preset": "cannot_connect_now", "match": { "operation": "STARTUP" }
    }));
    let startup = first_packet(3 << 16, "user\0a\0\0");
    for asks_for_encryption in [false, true] {
        let mut client = proxied.connect();
        if asks_for_encryption {
            client.write_all(&first_packet(80_877_103, "")).unwrap();
            crate::peers::expect(&client, b"N");
        }
        client.write_all(&startup).unwrap();
        let (said, end) = crate::peers::read_to_end(&client);
        assert_eq!((said[0], end), (b'E', crate::peers::End::Fin));
        assert!(text_of(&said).contains("57P03"), "{said:?}");
    }
    let listed = proxied.listed("f");
    assert_eq!((listed.matched, listed.injected), (2, 2));
    let [first, _] = &crate::ledger::ended(&proxied, 2)[..] else {
        panic!("two entries");
    };
    assert_eq!(crate::ledger::outcome(first).0, "nothing");
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_start_up_that_no_fault_answers_goes_on_as_ever() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(json!({
        "name": "f", "action": "error", "preset": "too_many_connections",
        "match": { "operation": "STARTUP", "user": "nobody" }
    }));
    let mut client = Client::connect(&proxied);
    assert_eq!(client.rows("select 7"), ["7"]);
    // A client that comes only to look, and one that cancels.
    let looking = proxied.connect();
    looking.shutdown(std::net::Shutdown::Write).unwrap();
    crate::peers::read_to_end(&looking);
    let mut cancelling = proxied.connect();
    cancelling
        .write_all(&[16, 80_877_102, 1, 1].map(u32::to_be_bytes).concat())
        .unwrap();
    crate::peers::read_to_end(&cancelling);
    // One that the fault means, and never reaches the server.
    let mut meant = proxied.connect();
    meant
        .write_all(&first_packet(3 << 16, "user\0nobody\0\0"))
        .unwrap();
    let (said, _) = crate::peers::read_to_end(&meant);
    assert!(text_of(&said).contains("53300"), "{said:?}");
    assert_eq!(proxied.listed("f").injected, 1);
}

#[test]
fn a_start_up_that_no_fault_answers_meets_a_dead_upstream_as_ever() {
    let (proxied, listener) = Proxied::before(Protocol::Postgres);
    drop(listener);
    proxied.fault(json!({
        "name": "f", "action": "error", "preset": "too_many_connections",
        "match": { "operation": "STARTUP", "user": "nobody" }
    }));
    let mut events = proxied.events();
    let mut client = proxied.connect();
    client
        .write_all(&first_packet(3 << 16, "user\0a\0\0"))
        .unwrap();
    assert_eq!(
        crate::peers::read_to_end(&client),
        (Vec::new(), crate::peers::End::Rst)
    );
    events.find("the failure in the event stream", |event| {
        matches!(event, Event::ConnectFailed { .. }).then_some(())
    });
    proxied.wait_until_idle();
}
