//! FIN, half-close and RST pass through as what they are, after every byte that was due: on the fast way, with a fault loaded
//! that never hits, and with one that holds every byte for a while.

use crate::harness::Proxied;
use crate::peers::{End, LIMIT, Serving, accept, dial, fill, pattern, read_to_end, reset};
use crate::support::{Brownout, eventually, free_port, open_descriptors};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// What stands in the way of the bytes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Clear,
    /// A fault is loaded and never hits.
    Loaded,
    /// Every burst is held for two milliseconds.
    Held,
}

/// A proxy for each way, and what it is.
fn ways() -> impl Iterator<Item = (Proxied, TcpListener, Way)> {
    [Way::Clear, Way::Loaded, Way::Held].into_iter().map(|way| {
        let (proxied, upstream) = Proxied::tcp();
        match way {
            Way::Clear => {}
            Way::Loaded => {
                proxied.fault(json!({ "action": "stall", "probability": 0.0 }));
            }
            Way::Held => {
                proxied.fault(json!({ "action": "latency", "delay": "2ms", "on": "request" }));
                proxied.fault(json!({ "action": "latency", "delay": "2ms", "on": "reply" }));
            }
        }
        (proxied, upstream, way)
    })
}

/// Sizes around a read of the proxy, for one cycle after the other.
fn size(cycle: usize) -> usize {
    [0, 1, 1000, 65_535, 65_536, 65_537, 200_000][cycle % 7]
}

#[test]
fn a_half_close_of_the_client_leaves_the_way_back_open() {
    for (proxied, upstream, way) in ways() {
        for cycle in 0..70 {
            let (mut client, mut server) = proxied.session(&upstream);
            let (there, back) = (pattern(cycle, size(cycle)), pattern(7, size(cycle / 7)));
            client.write_all(&there).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&server), (there, End::Fin), "{way:?} {cycle}");
            // Late: the client's end was passed on before.
            server.write_all(&back).unwrap();
            drop(server);
            assert_eq!(read_to_end(&client), (back, End::Fin), "{way:?} {cycle}");
        }
        proxied.wait_until_idle();
    }
}

#[test]
fn a_half_close_of_the_server_leaves_the_way_there_open() {
    for (proxied, upstream, way) in ways() {
        for cycle in 0..70 {
            let (mut client, mut server) = proxied.session(&upstream);
            let (back, late) = (pattern(cycle, size(cycle)), pattern(7, size(cycle / 7)));
            server.write_all(&back).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&client), (back, End::Fin), "{way:?} {cycle}");
            client.write_all(&late).unwrap();
            drop(client);
            assert_eq!(read_to_end(&server), (late, End::Fin), "{way:?} {cycle}");
        }
        proxied.wait_until_idle();
    }
}

#[test]
fn a_reset_of_the_client_reaches_the_server_after_the_bytes() {
    for (proxied, upstream, way) in ways() {
        for cycle in 0..100 {
            let (mut client, server) = proxied.session(&upstream);
            // Small enough for the first window: a reset discards what the sender's kernel still holds.
            let bytes = pattern(cycle, size(cycle).min(32_000));
            client.write_all(&bytes).unwrap();
            reset(client);
            assert_eq!(read_to_end(&server), (bytes, End::Rst), "{way:?} {cycle}");
        }
        proxied.wait_until_idle();
        assert_eq!(proxied.figures().sessions.client_resets, 100, "{way:?}");
    }
}

#[test]
fn a_reset_of_the_server_reaches_the_client_after_the_bytes() {
    for (proxied, upstream, way) in ways() {
        for cycle in 0..100 {
            let (mut client, mut server) = proxied.session(&upstream);
            // The proxy knows that it is connected once a byte has passed: a reset before that is a connection that failed.
            client.write_all(b"!").unwrap();
            server.read_exact(&mut [0]).unwrap();
            let bytes = pattern(cycle, size(cycle).min(32_000));
            server.write_all(&bytes).unwrap();
            reset(server);
            assert_eq!(read_to_end(&client), (bytes, End::Rst), "{way:?} {cycle}");
        }
        proxied.wait_until_idle();
        assert_eq!(proxied.figures().sessions.upstream_resets, 100, "{way:?}");
    }
}

/// The proxy learns of this reset by a write that fails, and must not take the silence after it for an orderly end.
#[test]
fn a_reset_against_the_stream_is_a_reset_too() {
    for (proxied, upstream, way) in ways() {
        for _ in 0..3 {
            let (client, server) = proxied.session(&upstream);
            fill(&client);
            reset(server);
            assert_eq!(read_to_end(&client).1, End::Rst, "{way:?}: of the server");

            let (client, server) = proxied.session(&upstream);
            fill(&server);
            reset(client);
            assert_eq!(read_to_end(&server).1, End::Rst, "{way:?}: of the client");
        }
        proxied.wait_until_idle();
    }
}

#[test]
fn closing_with_unread_bytes_resets_the_other_side() {
    for (proxied, upstream, way) in ways() {
        for _ in 0..10 {
            let (mut client, mut server) = proxied.session(&upstream);
            client.write_all(b"seen and unread").unwrap();
            server.read_exact(&mut [0]).unwrap();
            drop(server);
            assert_eq!(read_to_end(&client).1, End::Rst, "{way:?}");
        }
        proxied.wait_until_idle();
    }
}

/// Nothing moves any more on such a session, so nothing tells the proxy but the socket's state.
#[test]
fn a_reset_after_a_half_close_ends_the_session() {
    for (proxied, upstream, way) in ways() {
        let (mut client, server) = proxied.session(&upstream);
        client.write_all(b"request").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&server), (b"request".into(), End::Fin));
        reset(client);
        proxied.wait_until_idle();
        // The end of the stream was read before, so only the socket's error tells.
        eventually(&format!("the reset, {way:?}"), LIMIT, || {
            server.take_error().unwrap()
        });
    }
}

#[test]
fn the_protocols_close_as_plain_tcp_does() {
    for protocol in [Protocol::Redis, Protocol::Postgres, Protocol::Http] {
        let (proxied, upstream) = Proxied::before(protocol);
        for cycle in 0..20 {
            let (mut client, mut server) = proxied.session(&upstream);
            // No protocol's bytes: the decoder gives up, and that must not show.
            let bytes = pattern(cycle, size(cycle).min(32_000));
            client.write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(
                read_to_end(&server),
                (bytes.clone(), End::Fin),
                "{protocol:?}"
            );
            server.write_all(&bytes).unwrap();
            reset(server);
            assert_eq!(read_to_end(&client), (bytes, End::Rst), "{protocol:?}");
        }
        proxied.wait_until_idle();
    }
}

#[test]
fn no_end_of_a_session_leaves_anything_behind() {
    let echo = Serving::echo();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let listening = upstream.local_addr().unwrap();
    let (nobody, other) = (free_port(), echo.address);
    let brownout = Brownout::start(&[
        "--tcp",
        &format!("raw@0={listening}"),
        "--tcp",
        &format!("echo@0={other}"),
        "--tcp",
        &format!("refused@0=127.0.0.1:{nobody}"),
    ]);
    let (raw, refused) = (brownout.proxy("raw"), brownout.proxy("refused"));
    let before = open_descriptors(brownout.id());
    for cycle in 0..300 {
        let mut client = dial(raw);
        let mut server = accept(&upstream);
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        match cycle % 6 {
            0 => reset(client),
            1 => reset(server),
            2 => drop((client, server)),
            3 => {
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_to_end(&server).1, End::Fin);
            }
            4 => {
                server.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_to_end(&client).1, End::Fin);
            }
            _ => {
                if let Ok(client) = TcpStream::connect(refused) {
                    assert_eq!(read_to_end(&client).1, End::Rst);
                }
            }
        }
    }
    eventually("all descriptors to be given back", LIMIT, || {
        (open_descriptors(brownout.id()) <= before).then_some(())
    });
    let proxies = brownout.get("/v1/proxies").json();
    for one in proxies["proxies"].as_array().unwrap() {
        assert_eq!(one["sessions"], 0, "{one}");
    }
    // The admin endpoint's own connections are the only ones that may come and go.
    std::thread::sleep(Duration::from_millis(10));
    assert!(open_descriptors(brownout.id()) <= before + 1);
}

/// Both directions are full when the client resets: the upstream, which waits for its own bytes to be read, would never take the
/// client's.
#[test]
fn a_reset_of_a_client_that_reads_nothing_ends_the_session() {
    for (proxied, upstream, way) in ways() {
        let (client, server) = proxied.session(&upstream);
        let echo = std::thread::spawn(move || crate::peers::echo(server));
        fill(&client);
        reset(client);
        proxied.wait_until_idle();
        echo.join().expect("the server sees an end");
        assert_eq!(proxied.figures().sessions.open, 0, "{way:?}");
    }
}
