//! Faults of the stream: throttle, slice. The bytes are all there and in order; what changes is when and in which pieces they come.

use crate::harness::Proxied;
use crate::peers::{Serving, expect, expect_silence, pattern, ping, read_exactly};
use crate::scripted::{Scripted, bulk, command};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Sends so many bytes to an echo and reads them back.
fn round_trip(mut client: &TcpStream, length: usize) -> Duration {
    let sent = pattern(0, length);
    let started = Instant::now();
    client.write_all(&sent).unwrap();
    assert_eq!(read_exactly(client, length), sent);
    started.elapsed()
}

#[test]
fn a_throttle_bounds_each_session_and_its_own_direction() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    for on in ["request", "reply"] {
        proxied.fault(json!({
            "name": "slow", "action": "throttle", "bytes_per_second": 100_000, "burst": 1000, "on": on
        }));
        let clients = [proxied.connect(), proxied.connect()];
        let took = std::thread::scope(|scope| {
            let both = clients
                .each_ref()
                .map(|c| scope.spawn(|| round_trip(c, 40_000)));
            both.map(|one| one.join().unwrap())
        });
        for took in took {
            // 39,000 bytes beyond the burst. Both directions at this rate in turn would take as long again.
            assert!(took >= Duration::from_millis(380), "{took:?} on {on}");
            assert!(took < Duration::from_millis(760), "{took:?} on {on}");
        }
        proxied.server.remove_fault("slow").unwrap();
        assert!(round_trip(&clients[0], 40_000) < Duration::from_millis(380));
    }
}

#[test]
fn halting_releases_what_a_throttle_holds_in_order() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let best = (0..3).map(|_| {
        let mut client = proxied.connect();
        ping(&client).unwrap();
        proxied.fault(json!({ "action": "throttle", "bytes_per_second": 1, "burst": 5 }));
        let sent = pattern(0, 500_000);
        client.write_all(&sent).unwrap();
        assert_eq!(read_exactly(&client, 5), sent[..5]);
        let halted = Instant::now();
        proxied.server.halt();
        assert_eq!(read_exactly(&client, sent.len() - 5), sent[5..]);
        proxied.server.resume();
        halted.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn a_throttle_slows_the_exchanges_that_match() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    let mut client = proxied.connect();
    proxied.fault(json!({
        "name": "slow", "action": "throttle", "bytes_per_second": 10_000, "burst": 10,
        "match": { "operation": "GET" }
    }));
    let value = "v".repeat(2_000);
    let mut took = |name: &str| {
        let started = Instant::now();
        client
            .write_all(command(&[name, &value]).as_bytes())
            .unwrap();
        expect(&client, bulk(&value).as_bytes());
        started.elapsed()
    };
    assert!(took("ECHO") < Duration::from_millis(190));
    let slow = took("GET");
    assert!(slow >= Duration::from_millis(190), "{slow:?}");
    assert_eq!(proxied.listed("slow").injected, 1);
    let figures = proxied.figures();
    let get = figures.operation("GET").unwrap().exchanges.clone();
    assert_eq!((get.count, get.injected), (1, 1));
    // The wait is the client's, and no time of the server's.
    assert!(get.client.unwrap().p50_us >= 190_000);
    assert!(get.upstream.unwrap().p50_us < 190_000);
}

#[test]
fn a_reply_comes_in_slices_with_gaps() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, mut server) = proxied.session(&upstream);
    proxied.fault(json!({
        "name": "cut", "action": "slice", "size": 10, "variation": 5, "gap": "20ms"
    }));
    let sent = pattern(0, 200);
    let started = Instant::now();
    server.write_all(&sent).unwrap();
    let (mut got, mut pieces) = (Vec::new(), Vec::new());
    while got.len() < sent.len() {
        let mut piece = [0; 256];
        let n = client.read(&mut piece).unwrap();
        assert_ne!(n, 0, "after {} bytes", got.len());
        pieces.push(n);
        got.extend_from_slice(&piece[..n]);
    }
    assert_eq!(got, sent);
    // Pieces of at most 15 bytes: at least 14 of them, with 13 gaps between.
    assert!(started.elapsed() >= Duration::from_millis(13 * 20));
    assert!(pieces.len() >= 5, "{pieces:?}");
    assert!((5..=15).contains(&pieces[0]), "{pieces:?}");
    assert!(
        pieces.iter().any(|n| *n != pieces[0]),
        "sizes vary: {pieces:?}"
    );
    // The other direction is left alone.
    client.write_all(&sent).unwrap();
    let mut all = [0; 200];
    server.read_exact(&mut all).unwrap();
    assert_eq!(proxied.listed("cut").injected, 1);
}

#[test]
fn a_gap_is_over_when_its_fault_is() {
    let (proxied, upstream) = Proxied::tcp();
    let (client, mut server) = proxied.session(&upstream);
    proxied.fault(json!({ "name": "cut", "action": "slice", "size": 3, "gap": "60s" }));
    server.write_all(b"0123456789").unwrap();
    expect(&client, b"012");
    expect_silence(&client, Duration::from_millis(100));
    proxied.server.remove_fault("cut").unwrap();
    expect(&client, b"3456789");
}
