//! Faults of capacity: what is served at once, what waits, and what is turned away.

use crate::faults_postgres::{Client, bind, execute, message, parse, sync};
use crate::harness::Proxied;
use crate::peers::{Serving, expect, expect_silence, ping};
use crate::scripted::{Response, Scripted, bulk, command};
use crate::support::Postgres;
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const BUSY: &str = "-BUSY the server is overloaded (injected by brownout)\r\n";

/// One request, the first line of its reply, and how long that took.
fn ask(mut client: TcpStream, start: &Barrier) -> (String, Duration) {
    start.wait();
    let started = Instant::now();
    client
        .write_all(command(&["ECHO", "x"]).as_bytes())
        .unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    (line, started.elapsed())
}

#[test]
fn sessions_share_the_places_and_the_queue_of_their_proxy() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    proxied.fault(json!({
        "name": "brownout", "action": "capacity", "in_service": 1, "queue": 2, "service": "300ms"
    }));
    let start = Barrier::new(5);
    let clients: Vec<_> = (0..5).map(|_| proxied.connect()).collect();
    let mut replies = std::thread::scope(|scope| {
        let start = &start;
        let asking: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(move || ask(client, start)))
            .collect();
        let replies = asking.into_iter().map(|one| one.join().unwrap());
        replies.collect::<Vec<_>>()
    });
    replies.sort_by_key(|(_, took)| *took);
    let (refused, served) = replies.split_at(2);
    for (line, took) in refused {
        assert_eq!(line, BUSY, "{replies:?}");
        assert!(*took < Duration::from_millis(300), "{replies:?}");
    }
    for ((line, took), turn) in served.iter().zip(1..) {
        assert_eq!(line, "$1\r\n");
        // They do not start at the very same moment; who comes later waits the shorter.
        let least = Duration::from_millis(300 * turn).saturating_sub(Duration::from_millis(100));
        assert!(*took >= least, "{replies:?}");
    }
    assert_eq!(upstream.seen().len(), 3, "the rest never reached it");
    let listed = proxied.listed("brownout");
    assert_eq!((listed.matched, listed.injected), (5, 5));
}

#[test]
fn a_pipeline_is_served_one_after_the_other_and_its_overflow_in_its_turn() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    proxied.fault(json!({
        "action": "capacity", "in_service": 2, "queue": 1, "service": "100ms",
        "match": { "operation": "ECHO" }
    }));
    let mut client = proxied.connect();
    let asked: String = (0..4)
        .map(|n| command(&["ECHO", &n.to_string()]))
        .chain([command(&["GET", "free"])])
        .collect();
    let started = Instant::now();
    client.write_all(asked.as_bytes()).unwrap();
    expect(&client, (bulk("0") + &bulk("1")).as_bytes());
    let first = started.elapsed();
    expect(&client, (bulk("2") + BUSY + &bulk("free")).as_bytes());
    let last = started.elapsed();
    assert!(first >= Duration::from_millis(100), "{first:?}");
    assert!(last >= Duration::from_millis(200), "{last:?}");
    assert!(last < Duration::from_millis(600), "{last:?}");
}

#[test]
fn an_overloaded_http_service_says_when_to_come_back() {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    proxied.fault(json!({ "action": "capacity", "in_service": 1, "service": "60s" }));
    let request = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = proxied.connect();
    first.write_all(request).unwrap();
    expect_silence(&first, Duration::from_millis(50));
    let mut second = proxied.connect();
    second.write_all(request).unwrap();
    let response = Response::read(&mut BufReader::new(&second), false);
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    // What waits is released with the fault.
    let halted = Instant::now();
    proxied.server.halt();
    let response = Response::read(&mut BufReader::new(&first), false);
    assert_eq!((response.status, response.body.as_str()), (200, "GET /a"));
    assert!(halted.elapsed() < Duration::from_secs(5));
}

#[test]
fn bursts_are_served_where_nothing_is_decoded() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    proxied.fault(json!({ "action": "capacity", "in_service": 1, "service": "40ms" }));
    let client = proxied.connect();
    for _ in 0..3 {
        assert!(ping(&client).unwrap() >= Duration::from_millis(40));
    }
}

#[test]
fn an_overloaded_postgres_says_so_in_either_protocol() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    proxied.fault(json!({
        "name": "full", "action": "capacity", "in_service": 1, "service": "60s", "match": { "operation": "SELECT" }
    }));
    let mut first = Client::connect(&proxied);
    first.write(&message(b'Q', "select 1\0"));
    expect_silence(first.stream(), Duration::from_millis(50));
    let mut second = Client::connect(&proxied);
    assert_eq!(second.query("select 2"), ["E 53000", "Z I"]);
    let extended = [parse("", "select 3"), bind(""), execute(), sync()];
    assert_eq!(second.send(&extended), ["1", "2", "E 53000", "Z I"]);
    assert_eq!(proxied.listed("full").skipped, 0);
}
