//! Faults that stop the bytes of one direction: `blackhole`, `reset_peer`, `limit_data`, on any protocol.

use crate::harness::Proxied;
use crate::peers::{End, Serving, dial, expect, expect_silence, ping, read_to_end, reset};
use crate::scripted::{Scripted, command};
use crate::support::eventually;
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_blackhole_lets_one_direction_vanish_until_it_closes() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, mut server) = proxied.session(&upstream);
    let started = Instant::now();
    proxied.fault(json!({ "name": "hole", "action": "blackhole", "close_after": "300ms" }));
    client.write_all(b"arrives").unwrap();
    expect(&server, b"arrives");
    server.write_all(b"vanishes").unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(read_to_end(&server).1, End::Fin);
    assert_eq!(proxied.listed("hole").injected, 1);
    // Newcomers meet it, too.
    let (mut client, server) = proxied.session(&upstream);
    client.write_all(b"arrives").unwrap();
    expect(&server, b"arrives");
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
}

#[test]
fn a_blackhole_without_an_end_closes_when_it_is_removed() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, server) = proxied.session(&upstream);
    proxied.fault(json!({ "name": "hole", "action": "blackhole", "on": "request" }));
    client.write_all(b"vanishes").unwrap();
    expect_silence(&server, Duration::from_millis(100));
    expect_silence(&client, Duration::from_millis(50));
    proxied.server.remove_fault("hole").unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
    assert_eq!(read_to_end(&server), (Vec::new(), End::Fin));
    proxied.wait_until_idle();
}

#[test]
fn halting_closes_what_a_blackhole_has_made_a_hole_in() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, _server) = proxied.session(&upstream);
    proxied.fault(json!({ "action": "blackhole", "on": "request" }));
    client.write_all(b"vanishes").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    proxied.server.halt();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
}

#[test]
fn changing_a_blackhole_does_not_close() {
    let (proxied, upstream) = Proxied::tcp();
    let (client, mut server) = proxied.session(&upstream);
    let hole = |after: &str| {
        let spec = json!({ "name": "hole", "action": "blackhole", "close_after": after });
        serde_json::from_value(spec).unwrap()
    };
    proxied.server.add_fault(&hole("1h"), None).unwrap();
    server.write_all(b"vanishes").unwrap();
    expect_silence(&client, Duration::from_millis(100));
    proxied
        .server
        .replace_fault("hole", &hole("2h"), None)
        .unwrap();
    expect_silence(&client, Duration::from_millis(100));
    proxied
        .server
        .replace_fault("hole", &hole("1ms"), None)
        .unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
}

#[test]
fn a_client_that_gives_up_ends_a_blackhole() {
    let redis = crate::support::Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({ "action": "blackhole", "on": "request" }));
    let mut client = proxied.connect();
    client.write_all(b"PING\r\n").unwrap();
    expect_silence(&client, Duration::from_millis(100));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
    proxied.wait_until_idle();
    // On plain TCP the end may be half of one, and is held; a reset is the end anywhere.
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    proxied.fault(json!({ "action": "blackhole", "on": "request" }));
    let client = proxied.connect();
    (&client).write_all(b"vanishes").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    client.shutdown(Shutdown::Write).unwrap();
    expect_silence(&client, Duration::from_millis(100));
    let resetting = proxied.connect();
    (&resetting).write_all(b"vanishes").unwrap();
    eventually("both sessions", Duration::from_secs(10), || {
        (proxied.server.proxy("p").unwrap().sessions == 2).then_some(())
    });
    socket2::SockRef::from(&resetting)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(resetting);
    eventually(
        "the reset to end its session",
        Duration::from_secs(10),
        || (proxied.server.proxy("p").unwrap().sessions == 1).then_some(()),
    );
}

#[test]
fn a_reset_comes_with_the_first_bytes_or_some_time_after_them() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let before = proxied.connect();
    ping(&before).unwrap();
    let reset = proxied.fault(json!({ "action": "reset_peer" }));
    expect_silence(&before, Duration::from_millis(100));
    (&before).write_all(b"x").unwrap();
    assert_eq!(read_to_end(&before), (Vec::new(), End::Rst));
    proxied.server.remove_fault(&reset.name).unwrap();

    proxied.fault(json!({ "action": "reset_peer", "close_after": "200ms" }));
    let client = proxied.connect();
    let started = Instant::now();
    (&client).write_all(b"x").unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Rst));
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_reset_reaches_the_upstream_too() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, server) = proxied.session(&upstream);
    proxied.fault(json!({ "action": "reset_peer", "on": "request" }));
    client.write_all(b"vanishes").unwrap();
    assert_eq!(read_to_end(&server), (Vec::new(), End::Rst));
}

#[test]
fn limited_data_is_an_exact_prefix() {
    for (limit, on) in [
        (0, "reply"),
        (1, "reply"),
        (5000, "reply"),
        (5000, "request"),
    ] {
        let (proxied, upstream) = Proxied::tcp();
        proxied.fault(json!({ "action": "limit_data", "bytes": limit, "on": on }));
        let (client, server) = proxied.session(&upstream);
        let (from, to) = match on {
            "reply" => (&server, &client),
            _ => (&client, &server),
        };
        let sent: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
        for piece in sent.chunks(700) {
            // It may be closed by then.
            let _ = (&*from).write_all(piece);
            std::thread::sleep(Duration::from_millis(1));
        }
        let (got, end) = read_to_end(to);
        assert_eq!(end, End::Fin);
        assert!(got == sent[..limit], "{} of {limit} on {on}", got.len());
    }
}

#[test]
fn the_limit_counts_from_when_a_session_meets_it_and_is_its_own() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let old = proxied.connect();
    ping(&old).unwrap();
    proxied.fault(json!({ "action": "limit_data", "bytes": 100 }));
    for client in [&old, &dial(proxied.address("p"))] {
        let mut client = client;
        client.write_all(&[b'x'; 99]).unwrap();
        expect(client, &[b'x'; 99]);
        client.write_all(b"yz").unwrap();
        assert_eq!(read_to_end(client), (b"y".into(), End::Fin));
    }
}

#[test]
fn a_limit_cuts_redis_inside_a_reply_and_counts_what_was_not_answered() {
    let redis = crate::support::Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let mut client = proxied.connect();
    client.write_all(b"ECHO hello\r\n").unwrap();
    expect(&client, b"$5\r\nhello\r\n");
    proxied.fault(json!({ "action": "limit_data", "bytes": 6 }));
    client.write_all(b"ECHO hello\r\n").unwrap();
    assert_eq!(read_to_end(&client), (b"$5\r\nhe".into(), End::Fin));
    proxied.wait_until_idle();
    let figures = proxied.figures();
    let counted: Vec<_> = figures
        .operations
        .iter()
        .map(|o| (&*o.operation, o.exchanges.count))
        .collect();
    assert_eq!(counted, [("ECHO", 2)]);
}

#[test]
fn a_share_of_sessions_is_hit_once_and_for_all() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let reset = proxied.fault(json!({ "action": "reset_peer", "probability": 0.5 }));
    let mut hit = 0;
    for _ in 0..40 {
        let client = proxied.connect();
        match ping(&client) {
            Ok(_) => {
                // Other faults come and go; the answer for this session stays.
                for round in 0..5 {
                    let other = proxied.fault(json!({ "action": "latency", "delay": "1ms" }));
                    ping(&client).unwrap_or_else(|e| panic!("round {round}: {e}"));
                    proxied.server.remove_fault(&other.name).unwrap();
                }
            }
            Err(_) => hit += 1,
        }
    }
    assert!((8..=32).contains(&hit), "{hit} of 40");
    let listed = proxied.listed(&reset.name);
    assert_eq!((listed.matched, listed.injected), (40, hit));
    // None at all, which is what Toxiproxy gets wrong.
    proxied.server.remove_fault(&reset.name).unwrap();
    proxied.fault(json!({ "action": "reset_peer", "probability": 0 }));
    for _ in 0..5 {
        ping(&proxied.connect()).unwrap();
    }
}

/// What is held before the place at which the session is to close cannot go any more.
#[test]
fn a_client_that_leaves_before_the_cut_leaves_nothing_behind() {
    for bye in [drop as fn(TcpStream), reset] {
        let upstream = Scripted::redis(Duration::ZERO);
        let proxied = Proxied::to(Protocol::Redis, upstream.address());
        proxied.fault(json!({ "name": "late", "action": "latency", "delay": "300ms", "match": { "operation": "GET" } }));
        proxied.fault(
            json!({ "name": "cut", "action": "disconnect", "match": { "operation": "SET" } }),
        );
        let mut client = proxied.connect();
        let asked = [
            command(&["GET", "a"]),
            command(&["GET", "b"]),
            command(&["SET", "c", "d"]),
        ];
        client.write_all(asked.concat().as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        bye(client);
        proxied.wait_until_idle();
    }
}

#[test]
fn an_answer_behind_what_was_lost_is_outstanding_no_more() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    proxied
        .fault(json!({ "name": "lost", "action": "lose_reply", "match": { "operation": "GET" } }));
    proxied.fault(json!({ "name": "told", "action": "error", "preset": "OOM", "match": { "operation": "SET" } }));
    let mut client = proxied.connect();
    let asked = [command(&["GET", "a"]), command(&["SET", "c", "d"])];
    client.write_all(asked.concat().as_bytes()).unwrap();
    read_to_end(&client);
    proxied.wait_until_idle();
    let figures = proxied.figures();
    let ended = |name: &str| {
        let mut all = figures.operations.iter();
        let of = all.find(|o| o.operation == name).expect(name);
        (of.exchanges.count, of.exchanges.outstanding)
    };
    assert_eq!((ended("GET"), ended("SET")), ((1, 0), (1, 0)));
}

#[test]
fn a_reset_while_a_session_is_silent_is_a_reset() {
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    proxied.fault(json!({ "name": "f", "action": "stall", "match": { "operation": "SET" } }));
    let mut client = proxied.connect();
    client.write_all(command(&["GET", "a"]).as_bytes()).unwrap();
    expect(&client, b"$1\r\na\r\n");
    client
        .write_all(command(&["SET", "c", "d"]).as_bytes())
        .unwrap();
    expect_silence(&client, Duration::from_millis(50));
    reset(client);
    proxied.wait_until_idle();
    assert_eq!(proxied.figures().sessions.client_resets, 1);
}
