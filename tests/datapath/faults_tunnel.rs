//! Faults in a tunnel, which `Upgrade` or CONNECT made of a connection, and on a connection that is encrypted: what acts on bytes does, and
//! nothing else is asked.

use crate::harness::Proxied;
use crate::ledger::entries;
use crate::peers::{End, Serving, expect, expect_silence, ping, read_to_end};
use brownout::protocol::Protocol;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const UPGRADED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const CONNECT: &str = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
const CONNECTED: &str = "HTTP/1.1 200 OK\r\n\r\n";

/// A server that makes a tunnel of each connection and says everything back.
fn echo() -> Serving {
    Serving::start(|mut stream: TcpStream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read(&mut byte), Ok(1)) {
                return;
            }
            head.push(byte[0]);
        }
        let reply = if head.starts_with(b"CONNECT") {
            CONNECTED
        } else {
            UPGRADED
        };
        stream.write_all(reply.as_bytes()).unwrap();
        crate::peers::echo(stream);
    })
}

fn tunnel(proxied: &Proxied, request: &str, reply: &str) -> TcpStream {
    let mut client = proxied.connect();
    client.write_all(request.as_bytes()).unwrap();
    expect(&client, reply.as_bytes());
    ping(&client).unwrap();
    client
}

/// A tunnel on which a fault is switched on then.
fn with(fault: &Value) -> (Serving, Proxied, TcpStream) {
    let server = echo();
    let proxied = Proxied::to(Protocol::Http, server.address);
    let client = tunnel(&proxied, UPGRADE, UPGRADED);
    let mut spec = fault.clone();
    spec["name"] = json!("f");
    proxied.fault(spec);
    (server, proxied, client)
}

#[test]
fn what_takes_time_takes_it_in_a_tunnel() {
    for (fault, least) in [
        (json!({ "action": "latency", "delay": "50ms" }), 50),
        (
            json!({ "action": "latency", "on": "request", "delay": "50ms" }),
            50,
        ),
        (
            json!({ "action": "throttle", "bytes_per_second": 1000, "burst": 10 }),
            50,
        ),
        (json!({ "action": "slice", "size": 10, "gap": "5ms" }), 50),
    ] {
        let (_server, proxied, mut client) = with(&fault);
        let sent: Vec<u8> = (0..110).collect();
        let began = Instant::now();
        client.write_all(&sent).unwrap();
        expect(&client, &sent);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least), "{fault} {took:?}");
        assert_eq!(proxied.listed("f").injected, 1, "{fault}");
    }
}

#[test]
fn what_ends_or_silences_does_so_in_a_tunnel() {
    for (fault, got, end) in [
        (
            json!({ "action": "disconnect", "how": "fin" }),
            "",
            End::Fin,
        ),
        (
            json!({ "action": "disconnect", "how": "rst" }),
            "",
            End::Rst,
        ),
        (
            json!({ "action": "timeout", "close_after": "20ms" }),
            "",
            End::Fin,
        ),
    ] {
        let (_server, proxied, mut client) = with(&fault);
        client.write_all(b"in it").unwrap();
        assert_eq!(read_to_end(&client), (got.into(), end), "{fault}");
        assert_eq!(proxied.listed("f").injected, 1, "{fault}");
    }
    let (_server, proxied, mut client) = with(&json!({ "action": "stall" }));
    client.write_all(b"held").unwrap();
    expect_silence(&client, Duration::from_millis(50));
    proxied.server.remove_fault("f").unwrap();
    expect(&client, b"held");
}

#[test]
fn bytes_are_changed_in_a_tunnel() {
    let (_server, proxied, mut client) = with(&json!({ "action": "corrupt", "rate": 1.0 }));
    client.write_all(b"AAAAAAAA").unwrap();
    let got = crate::peers::read_exactly(&client, 8);
    assert!(got.iter().all(|byte| *byte != b'A'), "{got:?}");
    assert_eq!(proxied.listed("f").injected, 1);
}

#[test]
fn what_is_about_requests_is_not_asked_in_a_tunnel() {
    for fault in [
        json!({ "action": "error", "preset": "503" }),
        json!({ "action": "lose_reply" }),
        json!({ "action": "lose_request" }),
        json!({ "action": "duplicate_request" }),
        json!({ "action": "truncate" }),
        json!({ "action": "capacity", "in_service": 1, "queue": 0, "service": "1h" }),
    ] {
        let (_server, proxied, client) = with(&fault);
        ping(&client).unwrap();
        assert_eq!(proxied.listed("f").matched, 0, "{fault}");
    }
}

/// A Postgres session that both sides have agreed to encrypt.
fn encrypted(proxied: &Proxied) -> TcpStream {
    let mut client = proxied.connect();
    client.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    expect(&client, b"S");
    ping(&client).unwrap();
    client
}

#[test]
fn on_an_encrypted_session_what_names_no_request_acts_on_bytes() {
    let server = Serving::start(|mut stream: TcpStream| {
        if stream.read_exact(&mut [0; 8]).is_ok() {
            stream.write_all(b"S").unwrap();
            crate::peers::echo(stream);
        }
    });
    let proxied = Proxied::to(Protocol::Postgres, server.address);
    for (fault, least, hit) in [
        (json!({ "action": "latency", "delay": "50ms" }), 50, 1),
        (
            json!({ "action": "latency", "on": "request", "delay": "50ms" }),
            50,
            1,
        ),
        (
            json!({ "action": "throttle", "bytes_per_second": 1000, "burst": 10 }),
            50,
            1,
        ),
        // Of what is in it, nothing is known.
        (
            json!({ "action": "latency", "delay": "1h", "match": { "class": "read" } }),
            0,
            0,
        ),
        (
            json!({ "action": "latency", "delay": "1h", "match": { "operation": "*" } }),
            0,
            0,
        ),
        (
            json!({ "action": "stall", "match": { "database": "*" } }),
            0,
            0,
        ),
        (json!({ "action": "error", "preset": "disk_full" }), 0, 0),
        (json!({ "action": "truncate" }), 0, 0),
    ] {
        let mut client = encrypted(&proxied);
        let mut spec = fault.clone();
        spec["name"] = json!("f");
        proxied.fault(spec);
        let sent: Vec<u8> = (0..110).collect();
        let began = Instant::now();
        client.write_all(&sent).unwrap();
        expect(&client, &sent);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least), "{fault} {took:?}");
        assert_eq!(proxied.listed("f").injected, hit, "{fault}");
        proxied.server.remove_fault("f").unwrap();
    }
    let mut client = encrypted(&proxied);
    proxied.fault(json!({ "name": "f", "action": "disconnect", "how": "rst" }));
    client.write_all(b"in it").unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Rst));
}

#[test]
fn a_tunnel_goes_by_the_request_that_made_it() {
    let server = echo();
    let proxied = Proxied::to(Protocol::Http, server.address);
    let upgraded = tunnel(&proxied, UPGRADE, UPGRADED);
    let connected = tunnel(&proxied, CONNECT, CONNECTED);
    proxied.fault(json!({
        "name": "f", "action": "latency", "delay": "30ms", "match": { "route": "/ws" }
    }));
    assert!(ping(&upgraded).unwrap() >= Duration::from_millis(30));
    ping(&connected).unwrap();
    assert_eq!(proxied.listed("f").matched, 1);
    let [entry] = &entries(&proxied)[..] else {
        panic!("{:?}", entries(&proxied));
    };
    assert_eq!(entry.operation, "GET /ws");
    // Behind the request, and the bytes that came before these.
    assert_eq!((entry.exchange, entry.open, entry.server), (2, false, None));
    proxied.fault(json!({
        "name": "g", "action": "latency", "delay": "30ms", "match": { "method": "CONNECT" }
    }));
    assert!(ping(&connected).unwrap() >= Duration::from_millis(30));
    assert_eq!(proxied.listed("g").matched, 1);
}

#[test]
fn a_fault_on_the_request_goes_on_in_its_tunnel() {
    let server = echo();
    let proxied = Proxied::to(Protocol::Http, server.address);
    proxied.fault(json!({ "name": "f", "action": "latency", "delay": "30ms" }));
    let began = Instant::now();
    let client = tunnel(&proxied, UPGRADE, UPGRADED);
    assert!(began.elapsed() >= Duration::from_millis(60));
    ping(&client).unwrap();
    assert_eq!(proxied.listed("f").injected, 3);
}
