//! What a peer does not take stops the other; what it takes slowly costs nobody else.

use crate::harness::Proxied;
use crate::peers::{End, Serving, dial, expect, expect_silence, fill, pattern, ping, read_to_end};
use crate::support::{Brownout, resident_bytes};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the user's memory of one direction of a stalled session may take.
const BOUND: u64 = 64 * 1024;

#[test]
fn a_stalled_reader_costs_little_and_nobody_else() {
    const SESSIONS: u64 = 8;
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let echo = Serving::echo();
    let raw = format!("raw@0={}", upstream.local_addr().unwrap());
    let other = format!("other@0={}", echo.address);
    let brownout = Brownout::start(&["--workers", "1", "--tcp", &raw, "--tcp", &other]);
    let other = dial(brownout.proxy("other"));
    ping(&other).unwrap();
    let before = resident_bytes(brownout.id());

    let mut stalled = Vec::new();
    for _ in 0..SESSIONS {
        let client = dial(brownout.proxy("raw"));
        let server = crate::peers::accept(&upstream);
        // Both ways at once: neither end reads.
        let taken = [fill(&client), fill(&server)];
        stalled.push((client, server, taken));
    }
    let grown = resident_bytes(brownout.id()).saturating_sub(before);
    let bound = SESSIONS * 2 * BOUND + (512 << 10);
    assert!(
        grown <= bound,
        "{grown} bytes for {SESSIONS} stalled sessions"
    );

    // The one worker goes on, and is not busy with those that wait.
    let slowest = (0..200).map(|_| ping(&other).unwrap()).max().unwrap();
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");

    // Whoever begins to read gets every byte that was taken.
    for (client, server, [up, down]) in stalled {
        client.shutdown(Shutdown::Write).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let reader = std::thread::spawn(move || read_to_end(&server));
        let (back, end) = read_to_end(&client);
        assert_eq!((back.len(), end), (down, End::Fin));
        let (there, end) = reader.join().unwrap();
        assert_eq!((there.len(), end), (up, End::Fin));
    }
}

#[test]
fn a_byte_at_a_time_is_a_request_all_the_same() {
    let echo = Serving::echo();
    for protocol in [Protocol::Redis, Protocol::Http] {
        let proxied = Proxied::to(protocol, echo.address);
        let mut client = proxied.connect();
        // What is echoed is a request where a reply should be; so only the bytes count here.
        let request: &[u8] = match protocol {
            Protocol::Http => b"GET /a HTTP/1.1\r\nHost: here\r\n\r\n",
            _ => b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n",
        };
        for byte in request {
            client.write_all(&[*byte]).unwrap();
            expect(&client, &[*byte]);
        }
    }
}

/// Checked on both ends while it goes, so that no end ever holds more than a piece.
#[test]
fn a_hundred_megabytes_each_way_arrive_whole() {
    const TOTAL: usize = 100 << 20;
    /// Whole periods, so that every piece is the same.
    const PIECE: usize = 1_000_003;
    fn send(mut stream: &TcpStream, piece: &[u8]) {
        let mut left = TOTAL;
        while left > 0 {
            let n = left.min(PIECE);
            stream.write_all(&piece[..n]).unwrap();
            left -= n;
        }
        stream.shutdown(Shutdown::Write).unwrap();
    }
    fn check(mut stream: &TcpStream, piece: &[u8]) {
        let mut buffer = vec![0; 256 * 1024];
        let mut at = 0;
        loop {
            let n = stream.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            let mut got = &buffer[..n];
            while !got.is_empty() {
                let place = at % PIECE;
                let same = got.len().min(PIECE - place);
                assert!(got[..same] == piece[place..place + same], "near byte {at}");
                at += same;
                got = &got[same..];
            }
        }
        assert_eq!(at, TOTAL);
    }
    let (proxied, upstream) = Proxied::tcp();
    let (client, server) = proxied.session(&upstream);
    let piece = pattern(0, PIECE);
    std::thread::scope(|scope| {
        scope.spawn(|| send(&client, &piece));
        scope.spawn(|| send(&server, &piece));
        scope.spawn(|| check(&client, &piece));
        check(&server, &piece);
    });
    let bytes = proxied.figures().bytes;
    assert_eq!((bytes.up, bytes.down), (TOTAL as u64, TOTAL as u64));
}

/// A flood one way must not keep what goes the other way from its turn.
#[test]
fn a_flood_does_not_starve_the_other_direction() {
    for loaded in [false, true] {
        let slowest = beside_a_flood(loaded);
        assert!(
            slowest < Duration::from_millis(300),
            "{slowest:?}, a fault loaded: {loaded}"
        );
    }
}

/// The longest way of a byte to a client that sends without end.
fn beside_a_flood(loaded: bool) -> Duration {
    let (proxied, upstream) = Proxied::tcp();
    let (client, server) = proxied.session(&upstream);
    if loaded {
        proxied.fault(json!({ "action": "stall", "probability": 0.0 }));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let piece = vec![0; 1 << 20];
            while !done.load(Ordering::Relaxed) {
                (&client).write_all(&piece).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(|| {
            let mut piece = vec![0; 1 << 20];
            while let Ok(1..) = (&server).read(&mut piece) {}
        });
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(10));
            let sent = Instant::now();
            (&server).write_all(b"!").unwrap();
            expect(&client, b"!");
            slowest = slowest.max(sent.elapsed());
        }
        done.store(true, Ordering::Relaxed);
        slowest
    })
}

/// A delay holds up to its bound; then the sender waits, and that is counted.
#[test]
fn what_a_delay_holds_is_bounded() {
    const BOUND: usize = 1 << 20;
    let (proxied, upstream) = Proxied::tcp();
    let (client, server) = proxied.session(&upstream);
    let spec = json!({ "action": "latency", "delay": "1h", "on": "request" });
    proxied.fault(spec);
    let sent = fill(&client);
    let held = held_bytes(&proxied);
    assert!(
        (BOUND..=BOUND + (64 << 10)).contains(&held),
        "{held} of {sent}"
    );
    assert!(proxied.figures().held_limit >= 1);
    expect_silence(&server, Duration::from_millis(50));

    proxied.server.halt();
    client.shutdown(Shutdown::Write).unwrap();
    let (got, end) = read_to_end(&server);
    assert_eq!((got.len(), end), (sent, End::Fin));
    assert_eq!(held_bytes(&proxied), 0);
}

fn held_bytes(proxied: &Proxied) -> usize {
    let figures = proxied.block_on(proxied.server.exposition());
    let line = figures
        .lines()
        .find_map(|line| line.strip_prefix("brownout_held_bytes "));
    line.unwrap().parse().unwrap()
}
