//! Faults on HTTP: a response in its turn, whatever of the request is still on its way.

use crate::harness::Proxied;
use crate::peers::{End, Serving, expect_silence, read_to_end};
use crate::scripted::{Response, Scripted};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A proxy whose requests to `/bad/...` are answered with 503.
fn start() -> (Proxied, Scripted, TcpStream) {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    let spec = json!({ "name": "bad", "action": "error", "status": 503, "body": "no luck",
        "headers": { "Retry-After": "7" }, "match": { "route": "/bad/*" } });
    proxied.fault(spec);
    let client = proxied.connect();
    (proxied, upstream, client)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: here\r\n\r\n")
}

/// The status and body of what comes next.
fn next(reader: &mut BufReader<&TcpStream>) -> (u16, String) {
    let response = Response::read(reader, false);
    (response.status, response.body)
}

fn refused() -> (u16, String) {
    (503, "no luck".into())
}

fn served(request: &str) -> (u16, String) {
    (200, request.into())
}

#[test]
fn an_error_keeps_the_connection() {
    let (proxied, upstream, mut client) = start();
    for n in 0..3 {
        client
            .write_all(get(&format!("/bad/{n}")).as_bytes())
            .unwrap();
        let response = Response::read(&mut BufReader::new(&client), false);
        assert_eq!((response.status, &*response.body), (503, "no luck"));
        assert_eq!(response.header("retry-after"), Some("7"));
        assert_ne!(response.header("connection"), Some("close"));
        client.write_all(get("/good/1").as_bytes()).unwrap();
        assert_eq!(next(&mut BufReader::new(&client)), served("GET /good/1"));
    }
    assert_eq!(upstream.seen(), ["GET /good/1"; 3]);
    let total = proxied.figures().total;
    assert_eq!((total.count, total.errors, total.injected), (6, 3, 3));
    assert_eq!(total.by_status["503"], 3);
}

#[test]
fn an_error_keeps_the_connection_where_the_next_request_has_begun() {
    let (_proxied, upstream, mut client) = start();
    let post = "POST /bad/1 HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab";
    let next_post = "POST /good/1 HTTP/1.1\r\nHost: here\r\nContent-Length: 90000\r\n\r\n";
    client
        .write_all([post, next_post, "c"].concat().as_bytes())
        .unwrap();
    let mut reader = BufReader::new(&client);
    let response = Response::read(&mut reader, false);
    assert_eq!(response.status, 503);
    assert_ne!(response.header("connection"), Some("close"));
    (&client).write_all(&vec![b'c'; 89_999]).unwrap();
    assert_eq!(next(&mut reader), served("POST /good/1"));
    assert_eq!(upstream.seen(), ["POST /good/1"]);
}

#[test]
fn errors_in_a_pipeline_come_in_their_turn() {
    let (_proxied, upstream, mut client) = start();
    let targets: Vec<_> = (0..40)
        .map(|n| format!("/{}/{n}", if n % 3 == 1 { "bad" } else { "good" }))
        .collect();
    let asked: String = targets.iter().map(|target| get(target)).collect();
    for piece in asked.as_bytes().chunks(37) {
        client.write_all(piece).unwrap();
    }
    let mut reader = BufReader::new(&client);
    for target in &targets {
        let wanted = if target.starts_with("/bad") {
            refused()
        } else {
            served(&format!("GET {target}"))
        };
        assert_eq!(next(&mut reader), wanted, "{target}");
    }
    assert!(
        upstream
            .seen()
            .iter()
            .all(|request| request.contains("good"))
    );
}

#[test]
fn an_error_to_head_has_the_length_and_not_the_body() {
    let (_proxied, _upstream, mut client) = start();
    let head = "HEAD /bad/1 HTTP/1.1\r\nHost: here\r\n\r\n".to_owned();
    client
        .write_all((head + &get("/good/2")).as_bytes())
        .unwrap();
    let mut reader = BufReader::new(&client);
    let response = Response::read(&mut reader, true);
    assert_eq!(response.status, 503);
    assert_eq!(response.header("content-length"), Some("7"));
    assert_eq!(next(&mut reader), served("GET /good/2"));
}

#[test]
fn a_short_body_is_read_to_its_end_before_the_answer() {
    let (_proxied, upstream, mut client) = start();
    let length = 64 * 1024;
    let head = format!("POST /bad/1 HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&vec![b'b'; length - 1]).unwrap();
    expect_silence(&client, Duration::from_millis(50));
    client.write_all(b"b").unwrap();
    client.write_all(get("/good/1").as_bytes()).unwrap();
    let mut reader = BufReader::new(&client);
    assert_eq!(next(&mut reader), refused());
    assert_eq!(next(&mut reader), served("GET /good/1"));
    assert_eq!(upstream.seen(), ["GET /good/1"]);
}

#[test]
fn a_long_or_endless_body_is_answered_and_cut_off() {
    for framing in ["Content-Length: 10000000", "Transfer-Encoding: chunked"] {
        let (proxied, upstream, mut client) = start();
        let head = format!("POST /bad/1 HTTP/1.1\r\nHost: here\r\n{framing}\r\n\r\n");
        client.write_all(head.as_bytes()).unwrap();
        let chunk = [b"8000\r\n".to_vec(), vec![b'b'; 0x8000], b"\r\n".to_vec()].concat();
        // The client writes on for a while: that must not cost it the answer.
        for _ in 0..20 {
            client.write_all(&chunk).unwrap();
        }
        let mut reader = BufReader::new(&client);
        let response = Response::read(&mut reader, false);
        assert_eq!(
            (response.status, &*response.body),
            (503, "no luck"),
            "{framing}"
        );
        assert_eq!(response.header("connection"), Some("close"), "{framing}");
        drop(reader);
        assert_eq!(read_to_end(&client), (Vec::new(), End::Fin), "{framing}");
        drop(client);
        proxied.wait_until_idle();
        assert!(upstream.seen().is_empty(), "{framing}");
    }
}

#[test]
fn who_waits_for_permission_gets_the_final_answer() {
    let (_proxied, upstream, mut client) = start();
    let head =
        "POST /bad/1 HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    assert_eq!(next(&mut BufReader::new(&client)), refused());
    assert!(upstream.seen().is_empty());

    let (_proxied, upstream, mut client) = start();
    client
        .write_all(head.replace("bad", "good").as_bytes())
        .unwrap();
    let mut reader = BufReader::new(&client);
    assert_eq!(next(&mut reader).0, 100);
    (&client).write_all(b"hello").unwrap();
    assert_eq!(next(&mut reader), served("POST /good/1"));
    assert_eq!(upstream.seen(), ["POST /good/1"]);
}

#[test]
fn latency_and_disconnect_hit_what_they_match() {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    let slow = json!({ "method": "POST" });
    proxied.fault(json!({ "action": "latency", "delay": "80ms", "match": slow }));
    let cut = json!({ "header": { "name": "X-Tenant", "value": "7*" } });
    proxied.fault(json!({ "action": "disconnect", "share": 0.5, "how": "fin", "match": cut }));

    let mut client = proxied.connect();
    for (method, least, most) in [("GET", 0, 80), ("POST", 80, 1000)] {
        let started = Instant::now();
        let request = format!("{method} /a HTTP/1.1\r\nHost: here\r\nX-Tenant: 17\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(
            next(&mut BufReader::new(&client)),
            served(&format!("{method} /a"))
        );
        let took = started.elapsed().as_millis();
        assert!((least..most).contains(&took), "{method} took {took} ms");
    }
    let request = "GET /a HTTP/1.1\r\nHost: here\r\nx-tenant: 71\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nGET /a";
    let half = whole.as_bytes()[..whole.len() / 2].to_vec();
    assert_eq!(read_to_end(&client), (half, End::Fin));
}

/// Replies that end with their connection are held, lost and cut as those with a length.
#[test]
fn a_reply_that_ends_with_its_connection_is_treated_as_any_other() {
    let body = "x".repeat(1000);
    let reply = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    let whole = reply.len();
    let server = Serving::start(move |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(reply.as_bytes());
    });
    for (fault, length, status) in [
        (
            json!({ "action": "latency", "delay": "80ms" }),
            whole..=whole,
            "200",
        ),
        (
            json!({ "action": "throttle", "bytes_per_second": 10_000, "burst": 1 }),
            whole..=whole,
            "200",
        ),
        (json!({ "action": "lose_reply" }), 0..=0, "closed"),
        (
            json!({ "action": "disconnect", "share": 0.5 }),
            whole / 2 - 1..=whole / 2 + 1,
            "closed",
        ),
        (
            json!({ "action": "truncate", "share": 0.5 }),
            500..=whole - 400,
            "closed",
        ),
    ] {
        let proxied = Proxied::to(Protocol::Http, server.address);
        let mut spec = fault.clone();
        spec["name"] = json!("f");
        proxied.fault(spec);
        let mut client = proxied.connect();
        let asked = Instant::now();
        client
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let (got, _) = read_to_end(&client);
        let took = asked.elapsed();
        drop(client);
        assert!(length.contains(&got.len()), "{fault} {}", got.len());
        proxied.wait_until_idle();
        let figures = proxied.figures();
        let of = &figures.operations[0].exchanges;
        if status == "200" {
            assert!(took >= Duration::from_millis(80), "{fault} {took:?}");
            let client = of.client.as_ref().expect("one answer");
            assert!(client.max_us >= 80_000, "{fault} {client:?}");
        }
        let statuses: Vec<&str> = of.by_status.keys().map(String::as_str).collect();
        assert_eq!(statuses, [status], "{fault}");
    }
}

#[test]
fn a_request_that_never_ends_counts_what_came_of_it() {
    let upstream = Scripted::http();
    let proxied = Proxied::to(Protocol::Http, upstream.address());
    let mut client = proxied.connect();
    let one = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..20 {
        client.write_all(one).unwrap();
        let mut reader = BufReader::new(&client);
        assert_eq!(Response::read(&mut reader, false).status, 200);
    }
    let begun = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc";
    client.write_all(begun).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(client);
    proxied.wait_until_idle();
    assert_eq!(
        proxied.figures().total.request_bytes,
        (20 * one.len() + begun.len()) as u64
    );
}
