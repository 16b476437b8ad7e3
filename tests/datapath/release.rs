//! What faults hold: as much as may be and no more, and gone at once when they are over.

use crate::harness::{Proxied, config, proxy};
use crate::peers::{LIMIT, pattern};
use crate::support::{Brownout, eventually};
use brownout::protocol::Protocol;
use serde_json::json;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the delays of these tests are: nobody waits for them.
const DELAY: Duration = Duration::from_secs(60);

/// On a machine with nothing else to do it is a tenth of a second; this one may be busy.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Sessions that send so many bytes each way, and are held there.
struct Crowd {
    sessions: usize,
    bytes: usize,
}

impl Crowd {
    /// Connects all, sends both ways, and has `release` end the faults once everything is held. Checks that all of it arrives in
    /// order; gives how long that took.
    fn held_and_released(
        &self,
        address: SocketAddr,
        upstream: StdListener,
        hold: impl FnOnce(),
        mut all_held: impl FnMut() -> bool,
        release: impl FnOnce(),
    ) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            upstream.set_nonblocking(true).unwrap();
            let upstream = TcpListener::from_std(upstream).unwrap();
            let mut peers = Vec::new();
            for _ in 0..self.sessions {
                // One at a time: who was accepted belongs to who connected, whatever the order.
                let client = TcpStream::connect(address).await.unwrap();
                let (server, _) = tokio::time::timeout(LIMIT, upstream.accept())
                    .await
                    .expect("the proxy connects on")
                    .unwrap();
                peers.extend([client, server]);
            }
            hold();
            let sent = pattern(0, self.bytes);
            for peer in &mut peers {
                peer.write_all(&sent).await.unwrap();
            }
            let began = Instant::now();
            while !all_held() {
                assert!(began.elapsed() < LIMIT, "not everything was held");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let released = Instant::now();
            let waiting = async {
                let mut running = JoinSet::new();
                for mut peer in peers {
                    let wanted = sent.clone();
                    running.spawn(async move {
                        let mut got = vec![0; wanted.len()];
                        peer.read_exact(&mut got).await.unwrap();
                        assert!(got == wanted, "out of order");
                    });
                }
                while let Some(ended) = running.join_next().await {
                    ended.unwrap();
                }
            };
            release();
            tokio::time::timeout(DELAY / 2, waiting)
                .await
                .expect("released without waiting for the delay");
            released.elapsed()
        })
    }
}

fn held_bytes(exposition: &str) -> usize {
    let line = exposition
        .lines()
        .find_map(|line| line.strip_prefix("brownout_held_bytes "));
    line.unwrap().parse().unwrap()
}

/// As the server says it, asked from outside the runtime that drives the test's own ends.
fn held_now(proxied: &Proxied) -> usize {
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| proxied.block_on(proxied.server.exposition()));
        asking.join().unwrap()
    });
    held_bytes(&asked)
}

/// 5,000 sessions with bytes in both directions, in a process of their own: this one has the other 10,000 sockets.
#[test]
fn a_halt_releases_five_thousand_sessions_at_once() {
    raise_descriptors();
    let crowd = Crowd {
        sessions: 5000,
        bytes: 8 << 10,
    };
    let upstream = StdListener::bind("127.0.0.1:0").unwrap();
    let proxied = Brownout::start(&["--tcp", &format!("p@0={}", upstream.local_addr().unwrap())]);
    let total = crowd.sessions * crowd.bytes * 2;
    let took = crowd.held_and_released(
        proxied.proxy("p"),
        upstream,
        || {
            for on in ["request", "reply"] {
                let delay = json!({ "action": "latency", "delay": "60s", "on": on });
                assert_eq!(proxied.post("/v1/faults", &delay).status, 201);
            }
        },
        || held_bytes(&proxied.get("/metrics").body) == total,
        || assert_eq!(proxied.post("/v1/halt", &json!({})).status, 200),
    );
    println!(
        "RELEASED {} sessions, {total} bytes, by a halt: {took:?}",
        crowd.sessions
    );
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(held_bytes(&proxied.get("/metrics").body), 0);
}

#[test]
fn switching_off_and_expiry_release_at_once() {
    let crowd = || Crowd {
        sessions: 300,
        bytes: 30_000,
    };
    for expires in [false, true] {
        let upstream = StdListener::bind("127.0.0.1:0").unwrap();
        let target = upstream.local_addr().unwrap();
        let proxied = Proxied::start(config([proxy("p", Protocol::Tcp, target)]));
        let ttl = if expires { "5s" } else { "10m" };
        let total = crowd().sessions * crowd().bytes * 2;
        let took = crowd().held_and_released(
            proxied.address("p"),
            upstream,
            || {
        for (name, on) in [("there", "request"), ("back", "reply")] {
            let spec = json!({ "action": "latency", "delay": "60s", "on": on, "name": name, "ttl": ttl });
            proxied.fault(spec);
        }
            },
            || held_now(&proxied) == total,
            || {
                if expires {
                    eventually("the faults to expire", LIMIT, || {
                        proxied.server.faults().is_empty().then_some(())
                    });
                } else {
                    proxied.server.remove_fault("there").unwrap();
                    proxied.server.remove_fault("back").unwrap();
                }
            },
        );
        assert!(
            took < AT_ONCE + Duration::from_secs(5),
            "{took:?}, expired: {expires}"
        );
    }
}

/// All sessions together hold 256 MiB; then those that hold something already wait, and it is said.
#[test]
fn what_all_sessions_hold_is_bounded() {
    const BOUND: usize = 256 << 20;
    const SESSIONS: usize = 320;
    let upstream = StdListener::bind("127.0.0.1:0").unwrap();
    let target = upstream.local_addr().unwrap();
    let proxied = Proxied::start(config([proxy("p", Protocol::Tcp, target)]));
    proxied.fault(json!({ "action": "latency", "delay": "1h", "on": "request" }));
    let sent = vec![7; 1 << 20];
    std::thread::scope(|scope| {
        let mut ends = Vec::new();
        for _ in 0..SESSIONS {
            let (client, server) = proxied.session(&upstream);
            ends.push(server);
            let sent = &sent;
            scope.spawn(move || {
                use std::io::Write;
                // More than the bound in all: some of it waits until the halt.
                (&client).write_all(sent).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                client
            });
        }
        let held = || held_bytes(&proxied.block_on(proxied.server.exposition()));
        eventually("the bound", LIMIT, || (held() >= BOUND).then_some(()));
        std::thread::sleep(Duration::from_millis(200));
        // Each session may be one read beyond, in the one direction that is held.
        let (now, most) = (held(), BOUND + SESSIONS * (64 << 10));
        assert!((BOUND..=most).contains(&now), "{now}");
        assert!(proxied.figures().held_limit >= 1, "it is counted");
        let text = proxied.block_on(proxied.server.exposition());
        assert!(
            text.contains("brownout_held_limit_total{proxy=\"p\"}"),
            "{text}"
        );
        proxied.server.halt();
        for server in ends {
            let (got, _) = crate::peers::read_to_end(&server);
            assert_eq!(got.len(), sent.len());
        }
    });
    assert_eq!(
        held_bytes(&proxied.block_on(proxied.server.exposition())),
        0
    );
}

/// By the clock of this process, which is the proxy's: no reply comes before its time.
#[test]
fn a_delay_is_never_early() {
    let echo = crate::peers::Serving::echo();
    let proxied = Proxied::to(Protocol::Tcp, echo.address);
    for ms in [1, 5, 20, 100] {
        let delay = format!("{ms}ms");
        let fault = proxied.fault(json!({ "action": "latency", "delay": delay }));
        let client = proxied.connect();
        for _ in 0..20 {
            let took = crate::peers::ping(&client).unwrap();
            assert!(took >= Duration::from_millis(ms), "{took:?} of {ms} ms");
        }
        proxied.server.remove_fault(&fault.name).unwrap();
    }
    // A thousand at once: each by its own clock.
    let fault = proxied.fault(json!({ "action": "latency", "delay": "20ms", "on": "request" }));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                use std::io::{Read, Write};
                let clients: Vec<_> = (0..63).map(|_| proxied.connect()).collect();
                let sent: Vec<_> = clients
                    .iter()
                    .map(|mut c| {
                        let at = Instant::now();
                        c.write_all(b"?").unwrap();
                        at
                    })
                    .collect();
                for (mut client, at) in clients.iter().zip(sent) {
                    client.read_exact(&mut [0]).unwrap();
                    let took = at.elapsed();
                    assert!(took >= Duration::from_millis(20), "{took:?}");
                }
            });
        }
    });
    proxied.server.remove_fault(&fault.name).unwrap();
    let late = proxied.figures().faults.late.unwrap();
    assert!(late.samples >= 1000, "{late:?}");
}

/// As many descriptors as the system allows.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
