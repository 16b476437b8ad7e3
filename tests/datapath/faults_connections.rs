//! Faults on newcomers: those beyond a limit, and those that nobody accepts.

use crate::harness::Proxied;
use crate::peers::{End, Serving, dial, expect, expect_silence, ping, read_to_end};
use crate::scripted::{Scripted, command};
use crate::support::eventually;
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[test]
fn beyond_the_limit_newcomers_are_turned_away_until_one_leaves() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    for how in ["reset", "silent"] {
        proxied.fault(json!({
            "name": "limit", "action": "limit_connections", "connections": 2, "how": how
        }));
        let served = [proxied.connect(), proxied.connect()];
        for client in &served {
            ping(client).unwrap();
        }
        let mut events = proxied.events();
        for _ in 0..3 {
            // What is turned away takes no place among those that are served.
            match TcpStream::connect(proxied.address("p")) {
                Ok(turned) if how == "silent" => {
                    expect_silence(&turned, Duration::from_millis(50));
                }
                Ok(turned) => assert_eq!(read_to_end(&turned), (Vec::new(), End::Rst)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        let by = events.find("the refusal", |event| match event {
            Event::Refused { fault, .. } => Some(fault.to_string()),
            _ => None,
        });
        assert_eq!(by, "limit");
        assert_eq!(proxied.listed("limit").injected, 3);
        let [leaves, stays] = served;
        drop(leaves);
        eventually("a place", Duration::from_secs(10), || {
            let client = TcpStream::connect(proxied.address("p")).ok()?;
            client
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            ping(&client).ok()
        });
        ping(&stays).unwrap();
        drop(stays);
        proxied.server.remove_fault("limit").unwrap();
        proxied.wait_until_idle();
    }
}

/// What a client of a proxy without room gets.
fn turned_away(protocol: Protocol, says: &[u8]) -> String {
    let (proxied, _upstream) = Proxied::before(protocol);
    proxied.fault(json!({ "action": "limit_connections", "connections": 0 }));
    let mut client = proxied.connect();
    client.write_all(says).unwrap();
    let (got, end) = read_to_end(&client);
    assert_eq!(end, End::Fin);
    drop(client);
    proxied.wait_until_idle();
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn each_protocol_says_that_there_is_no_room_in_its_own_way() {
    let redis = turned_away(Protocol::Redis, b"");
    assert_eq!(redis, "-ERR max number of clients reached\r\n");
    let startup = b"\0\0\0\x12\0\x03\0\0user\0abc\0\0";
    let plain = turned_away(Protocol::Postgres, startup);
    assert!(plain.starts_with('E'), "{plain:?}");
    assert!(
        plain.contains("SFATAL\0") && plain.contains("C53300\0"),
        "{plain:?}"
    );
    let http = turned_away(Protocol::Http, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(http.starts_with("HTTP/1.1 503 "), "{http:?}");
    assert!(
        http.to_ascii_lowercase().contains("connection: close\r\n"),
        "{http:?}"
    );
}

#[test]
fn a_postgres_client_that_asks_for_encryption_first_is_told_too() {
    let (proxied, _upstream) = Proxied::before(Protocol::Postgres);
    proxied.fault(json!({ "action": "limit_connections", "connections": 0 }));
    let mut client = proxied.connect();
    client.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").unwrap();
    expect(&client, b"N");
    client
        .write_all(b"\0\0\0\x12\0\x03\0\0user\0abc\0\0")
        .unwrap();
    let (got, end) = read_to_end(&client);
    assert!(String::from_utf8_lossy(&got).contains("C53300\0"));
    assert_eq!(end, End::Fin);
    // A request to cancel is never answered.
    let mut cancel = proxied.connect();
    cancel
        .write_all(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02")
        .unwrap();
    assert_eq!(read_to_end(&cancel).0, b"");
}

#[test]
fn sessions_within_the_limit_are_served() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    proxied.fault(json!({ "action": "limit_connections", "connections": 1 }));
    let mut client = proxied.connect();
    client.write_all(command(&["PING"]).as_bytes()).unwrap();
    expect(&client, b"+OK\r\n");
    let newcomer = proxied.connect();
    assert_eq!(
        read_to_end(&newcomer).0,
        b"-ERR max number of clients reached\r\n"
    );
}

fn connects(address: SocketAddr) -> Result<(), ErrorKind> {
    let connected = TcpStream::connect_timeout(&address, Duration::from_millis(300));
    connected.map(drop).map_err(|e| e.kind())
}

#[test]
fn connecting_times_out_where_nobody_accepts_and_succeeds_afterwards() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let address = proxied.address("p");
    let old = proxied.connect();
    ping(&old).unwrap();
    for _ in 0..2 {
        let mut events = proxied.events();
        proxied.fault(json!({ "name": "full", "action": "refuse", "how": "unaccepted" }));
        events.find("the listener to be full", |event| match event {
            Event::Proxy { change: "full", .. } => Some(()),
            _ => None,
        });
        for _ in 0..3 {
            assert_eq!(connects(address), Err(ErrorKind::TimedOut));
        }
        ping(&old).expect("sessions that were open live on");
        proxied.server.remove_fault("full").unwrap();
        ping(&dial(address)).unwrap();
    }
    drop(old);
    proxied.wait_until_idle();
}
