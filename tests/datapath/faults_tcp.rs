//! Faults on plain TCP, where an exchange is a burst; and those on connections, which need no protocol.

use crate::harness::Proxied;
use crate::peers::{End, LIMIT, Serving, dial, expect, expect_silence, ping, read_to_end};
use crate::support::eventually;
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The faults that the next hit names.
fn injected(events: &mut crate::harness::Events) -> Vec<String> {
    events.find("the hit in the event stream", |event| match event {
        Event::Injected { faults, .. } => Some(faults.iter().map(ToString::to_string).collect()),
        _ => None,
    })
}

#[test]
fn latency_holds_its_own_side_and_never_too_short() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let client = proxied.connect();
    ping(&client).unwrap();
    for (on, delay) in [("request", 20), ("reply", 20), ("reply", 1)] {
        let mut events = proxied.events();
        let name = format!("{on}-{delay}");
        let text = format!("{delay}ms");
        proxied.fault(json!({ "name": name, "action": "latency", "delay": text, "on": on }));
        for _ in 0..20 {
            let took = ping(&client).unwrap();
            assert!(took >= Duration::from_millis(delay), "{took:?} with {name}");
        }
        assert_eq!(injected(&mut events), [name.as_str()]);
        // One side only: the bursts of the other were not even asked.
        assert_eq!(proxied.listed(&name).injected, 20);
        proxied.server.remove_fault(&name).unwrap();
    }
    assert_eq!(proxied.figures().faults.injected, 60);
}

#[test]
fn the_gates_of_a_latency_do_not_count_the_other_side() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let client = proxied.connect();
    proxied.fault(json!({ "action": "latency", "delay": "60ms", "on": "reply", "first": 1 }));
    assert!(ping(&client).unwrap() >= Duration::from_millis(60));
}

/// The best of some: what is measured is the proxy, not how busy the machine is.
fn best_of(tries: usize, mut once: impl FnMut() -> Duration) -> Duration {
    (0..tries).map(|_| once()).min().unwrap()
}

#[test]
fn halting_releases_what_a_stall_holds_in_order() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let waited = best_of(3, || {
        let mut client = proxied.connect();
        ping(&client).unwrap();
        proxied.fault(json!({ "action": "stall" }));
        for piece in 0..10 {
            client
                .write_all(format!("piece {piece};").as_bytes())
                .unwrap();
        }
        expect_silence(&client, Duration::from_millis(50));
        assert_eq!(
            proxied.server.proxy("p").unwrap().sessions,
            1,
            "the connection is kept"
        );
        let halted = Instant::now();
        proxied.server.halt();
        let all = (0..10)
            .map(|piece| format!("piece {piece};"))
            .collect::<Vec<_>>()
            .concat();
        expect(&client, all.as_bytes());
        proxied.server.resume();
        drop(client);
        proxied.wait_until_idle();
        halted.elapsed()
    });
    assert!(waited < Duration::from_millis(100), "{waited:?}");
}

#[test]
fn a_half_close_during_a_stall_is_held_like_bytes() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let mut client = proxied.connect();
    ping(&client).unwrap();
    let stall = proxied.fault(json!({ "action": "stall" }));
    client.write_all(b"held").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    expect_silence(&client, Duration::from_millis(100));
    proxied.server.remove_fault(&stall.name).unwrap();
    assert_eq!(read_to_end(&client), (b"held".into(), End::Fin));
}

#[test]
fn a_timeout_is_silent_and_then_closes() {
    let (proxied, upstream) = Proxied::tcp();
    let (mut client, server) = proxied.session(&upstream);
    proxied.fault(json!({ "action": "timeout", "close_after": "150ms" }));
    let started = Instant::now();
    client.write_all(b"never arrives").unwrap();
    assert_eq!(read_to_end(&client), (Vec::new(), End::Fin));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(150), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(read_to_end(&server), (Vec::new(), End::Fin));
}

#[test]
fn a_disconnect_leaves_an_exact_prefix_of_the_burst() {
    let (proxied, upstream) = Proxied::tcp();
    let places = [
        (json!({ "when": "before" }), 0),
        (json!({ "when": "after" }), 10),
        (json!({ "bytes": 3 }), 3),
        (json!({ "bytes": 30 }), 10),
        (json!({ "share": 0.5 }), 5),
    ];
    for (how, end) in [("fin", End::Fin), ("rst", End::Rst)] {
        for (place, passed) in &places {
            let (mut client, mut server) = proxied.session(&upstream);
            client.write_all(b"hello").unwrap();
            expect(&server, b"hello");
            let mut spec = json!({ "name": "cut", "action": "disconnect", "how": how });
            let both = spec.as_object_mut().unwrap();
            both.extend(place.as_object().unwrap().clone());
            proxied.fault(spec);
            server.write_all(b"0123456789").unwrap();
            let prefix = b"0123456789"[..*passed].to_vec();
            assert_eq!(read_to_end(&client), (prefix, end), "{how} {place}");
            assert_eq!(read_to_end(&server).1, end, "{how} {place}");
            proxied.server.remove_fault("cut").unwrap();
        }
    }
    proxied.wait_until_idle();
}

/// A session through `proxied` that works.
fn working(proxied: &Proxied) -> TcpStream {
    let client = proxied.connect();
    ping(&client).unwrap();
    client
}

/// How a new connection fares: `Err` while it connects, or how it ends without a byte.
fn newcomer(address: SocketAddr) -> Result<End, ErrorKind> {
    let client = TcpStream::connect(address).map_err(|e| e.kind())?;
    client.set_read_timeout(Some(LIMIT)).unwrap();
    Ok(read_to_end(&client).1)
}

#[test]
fn refuse_closed_takes_the_listener_away_and_gives_it_back() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let address = proxied.address("p");
    let old = working(&proxied);
    let mut events = proxied.events();
    let fault = proxied.fault(json!({ "action": "refuse", "how": "closed" }));
    events.find("the listener to close", |event| match event {
        Event::Proxy {
            change: "closed", ..
        } => Some(()),
        _ => None,
    });
    assert_eq!(newcomer(address), Err(ErrorKind::ConnectionRefused));
    ping(&old).expect("sessions that were open live on");
    proxied.server.remove_fault(&fault.name).unwrap();
    events.find("the listener to open again", |event| match event {
        Event::Proxy {
            change: "listening",
            ..
        } => Some(()),
        _ => None,
    });
    ping(&dial(address)).unwrap();
}

#[test]
fn refuse_reset_and_silent_turn_newcomers_away() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let address = proxied.address("p");
    let old = working(&proxied);

    let mut events = proxied.events();
    let fault = proxied.fault(json!({ "name": "reset", "action": "refuse", "how": "reset" }));
    match newcomer(address) {
        Ok(End::Rst) | Err(ErrorKind::ConnectionReset) => {}
        other => panic!("{other:?}"),
    }
    ping(&old).unwrap();
    assert_eq!(proxied.listed(&fault.name).injected, 1);
    let by = events.find("the refusal", |event| match event {
        Event::Refused { fault, .. } => Some(fault.to_string()),
        _ => None,
    });
    assert_eq!(by, "reset");
    proxied.server.remove_fault("reset").unwrap();

    proxied.fault(json!({ "name": "silent", "action": "refuse", "how": "silent" }));
    let mut ignored = dial(address);
    ignored.write_all(b"anybody there?").unwrap();
    expect_silence(&ignored, Duration::from_millis(100));
    ping(&old).unwrap();
    proxied.server.remove_fault("silent").unwrap();
    assert_eq!(read_to_end(&ignored).1, End::Rst, "it ends with the fault");
    drop(old);
    proxied.wait_until_idle();
}

#[test]
fn refuse_can_cut_what_is_open() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    for how in ["closed", "reset", "silent"] {
        let old = working(&proxied);
        let fault = proxied.fault(json!({ "action": "refuse", "how": how, "existing": "cut" }));
        assert_eq!(read_to_end(&old).1, End::Rst, "{how}");
        proxied.server.remove_fault(&fault.name).unwrap();
        eventually("the proxy to be back", LIMIT, || {
            let client = TcpStream::connect(proxied.address("p")).ok()?;
            client.set_read_timeout(Some(LIMIT)).unwrap();
            ping(&client).ok()
        });
        proxied.wait_until_idle();
    }
}

/// A fault that outlives its welcome goes by itself.
#[test]
fn a_fault_ends_with_its_time_to_live() {
    let echo = Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    let mut client = working(&proxied);
    let mut events = proxied.events();
    let enabled = Instant::now();
    proxied.fault(json!({ "name": "brief", "action": "stall", "ttl": "200ms" }));
    client.write_all(b"held until then").unwrap();
    expect(&client, b"held until then");
    let held = enabled.elapsed();
    assert!(held >= Duration::from_millis(200), "{held:?}");
    assert!(held < Duration::from_secs(2), "{held:?}");
    let why = events.find("the end of the fault", |event| match event {
        Event::FaultDisabled { fault, why } if &**fault == "brief" => Some(*why),
        _ => None,
    });
    assert_eq!(why, "expired");
    assert!(proxied.server.faults().is_empty());
}
