//! Faults of the stream: throttle and slice change when and in which pieces bytes come, truncate where they end.

use crate::harness::Proxied;
use crate::peers::{
    End, Serving, expect, expect_silence, pattern, ping, read_exactly, read_to_end,
};
use crate::scripted::{Scripted, bulk, command};
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::{Value, json};
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

/// A session on this protocol whose one request was answered with `reply`.
fn answered(protocol: Protocol, request: &str, reply: &[u8], spec: Value) -> (Vec<u8>, End) {
    let (proxied, upstream) = Proxied::before(protocol);
    let mut events = proxied.events();
    proxied.fault(spec);
    let (mut client, mut server) = proxied.session(&upstream);
    client.write_all(request.as_bytes()).unwrap();
    expect(&server, request.as_bytes());
    server.write_all(reply).unwrap();
    let got = read_to_end(&client);
    events.find("the hit", |e| {
        matches!(e, Event::Injected { .. }).then_some(())
    });
    got
}

#[test]
fn a_truncated_http_response_breaks_its_promise() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    let whole = format!("{head}0123456789");
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (spec, body) in [
        (json!({ "action": "truncate" }), "01234"),
        (json!({ "action": "truncate", "share": 0.0 }), ""),
        (json!({ "action": "truncate", "bytes": 3 }), "012"),
        (json!({ "action": "truncate", "bytes": 10 }), "012345678"),
        (json!({ "action": "truncate", "bytes": 1000 }), "012345678"),
    ] {
        let text = spec.to_string();
        let (got, end) = answered(Protocol::Http, request, whole.as_bytes(), spec);
        assert_eq!(
            String::from_utf8(got).unwrap(),
            format!("{head}{body}"),
            "{text}"
        );
        assert_eq!(end, End::Fin);
    }
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    let spec = json!({ "action": "truncate", "bytes": 8, "how": "rst" });
    let (got, end) = answered(Protocol::Http, request, chunked.as_bytes(), spec);
    assert_eq!(end, End::Rst);
    assert!(
        got.ends_with(b"a\r\n01234"),
        "{:?}",
        String::from_utf8_lossy(&got)
    );
}

#[test]
fn a_truncated_reply_keeps_those_before_it_whole() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    proxied.fault(json!({ "action": "truncate", "match": { "operation": "GET" } }));
    let mut client = proxied.connect();
    let asked = ["ECHO", "GET", "ECHO"].map(|name| command(&[name, "0123456789"]));
    client.write_all(asked.concat().as_bytes()).unwrap();
    let one = bulk("0123456789");
    let cut = one.len() / 2;
    let (got, end) = read_to_end(&client);
    assert_eq!(
        String::from_utf8(got).unwrap(),
        format!("{one}{}", &one[..cut])
    );
    assert_eq!(end, End::Fin);
    proxied.wait_until_idle();
}

#[test]
fn a_truncated_burst_lacks_its_end_and_requests_are_left_alone() {
    let (proxied, upstream) = Proxied::tcp();
    proxied.fault(json!({ "action": "truncate", "share": 0.999 }));
    let (mut client, mut server) = proxied.session(&upstream);
    client.write_all(b"request").unwrap();
    expect(&server, b"request");
    server.write_all(b"0123456789").unwrap();
    assert_eq!(read_to_end(&client), (b"012345678".to_vec(), End::Fin));
}

#[test]
fn the_end_of_a_connection_is_passed_on_late_and_at_once_when_halted() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, server) = proxied.session(&upstream);
    proxied.fault(json!({
        "name": "late", "action": "slow_close", "delay": "200ms", "on": "request"
    }));
    let started = Instant::now();
    client.write_all(b"the last words").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    expect(&server, b"the last words");
    let early = started.elapsed();
    assert_eq!(read_to_end(&server), (Vec::new(), End::Fin));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(
        early < Duration::from_millis(200),
        "{early:?}: bytes are not held"
    );
    // The other way is not asked.
    drop(server);
    assert_eq!(read_to_end(&client).1, End::Fin);
    assert_eq!(proxied.listed("late").injected, 1);
    proxied.wait_until_idle();

    proxied.server.remove_fault("late").unwrap();
    for end in [End::Fin, End::Rst] {
        proxied.fault(json!({ "action": "slow_close", "delay": "60s" }));
        let (client, server) = proxied.session(&upstream);
        match end {
            End::Fin => drop(server),
            End::Rst => crate::peers::reset(server),
        }
        expect_silence(&client, Duration::from_millis(100));
        proxied.server.halt();
        assert_eq!(read_to_end(&client), (Vec::new(), end));
        proxied.server.resume();
    }
}
