//! Random streams through random faults: every byte in its place, or an exact prefix.

use crate::harness::{Proxied, config, proxy};
use crate::peers::{LIMIT, accept};
use crate::scripted::{Scripted, bulk, command};
use brownout::protocol::Protocol;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A generator of one's own: the same seed gives the same test.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds that are near each other are to differ at once.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        // xorshift64*, Vigna 2014.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.roll() >> 11) % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = length.div_ceil(8);
        let mut bytes: Vec<u8> = (0..words).flat_map(|_| self.roll().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }
}

/// The seed, printed so that a failure can be repeated; `BROWNOUT_TEST_SEED` sets it.
fn seed() -> u64 {
    let given = std::env::var("BROWNOUT_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed = given.unwrap_or(clock.as_nanos() as u64 | 1);
    println!("BROWNOUT_TEST_SEED={seed}");
    seed
}

/// Sends the bytes in random pieces with random pauses, and then ends its half. Stops early where the session was cut.
fn send(mut stream: &TcpStream, bytes: &[u8], mut dice: Dice) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = 1 << dice.below(17);
        let length = rest.len().min(1 + dice.below(most) as usize);
        if stream.write_all(&rest[..length]).is_err() {
            return;
        }
        rest = &rest[length..];
        if dice.below(30) == 0 {
            std::thread::sleep(Duration::from_micros(dice.below(3000)));
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Everything that arrives, read in random pieces, and whether it ended in order.
fn receive(mut stream: &TcpStream, mut dice: Dice) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut piece = vec![0; 1 << 17];
    loop {
        let room = 1 + dice.below(1 << 17) as usize;
        match stream.read(&mut piece[..room]) {
            Ok(0) => return (all, true),
            Ok(n) => all.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return (all, false),
            Err(e) => panic!("after {} bytes: {e}", all.len()),
        }
        if dice.below(50) == 0 {
            std::thread::sleep(Duration::from_micros(dice.below(3000)));
        }
    }
}

/// One session: both ends send streams of their own. Gives what was sent and received there, and then back.
fn session(client: &TcpStream, server: &TcpStream, seed: u64) -> [(Vec<u8>, Vec<u8>, bool); 2] {
    let mut dice = Dice(seed | 1);
    let length = |dice: &mut Dice| dice.below(1 << 20) as usize;
    let there = {
        let n = length(&mut dice);
        dice.bytes(n)
    };
    let back = {
        let n = length(&mut dice);
        dice.bytes(n)
    };
    let mut split = || Dice(dice.roll() | 1);
    let (a, b, c, d) = (split(), split(), split(), split());
    std::thread::scope(|scope| {
        scope.spawn(|| send(client, &there, a));
        scope.spawn(|| send(server, &back, b));
        let up = scope.spawn(|| receive(server, c));
        let (got_back, back_ended) = receive(client, d);
        let (got_there, there_ended) = up.join().unwrap();
        [
            (there.clone(), got_there, there_ended),
            (back.clone(), got_back, back_ended),
        ]
    })
}

/// Runs so many sessions at a time, some rounds of them, while `trouble` is called over and over.
fn under(
    trouble: impl Fn(&Proxied, &mut Dice) + Sync,
    check: impl Fn(u64, &[(Vec<u8>, Vec<u8>, bool); 2]) + Sync,
) {
    const SESSIONS: u64 = 6;
    const ROUNDS: u64 = 3;
    let (seed, done) = (seed(), AtomicBool::new(false));
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = upstream.local_addr().unwrap();
    let proxied = Proxied::start(config([proxy("p", Protocol::Tcp, target)]));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(seed);
            while !done.load(Ordering::Relaxed) {
                trouble(&proxied, &mut dice);
            }
        });
        let pairs: Vec<Vec<_>> = (0..SESSIONS)
            .map(|_| {
                (0..ROUNDS)
                    .map(|_| (proxied.connect(), accept(&upstream)))
                    .collect()
            })
            .collect();
        let check = &check;
        let running: Vec<_> = (0..)
            .zip(pairs)
            .map(|(number, pairs)| {
                scope.spawn(move || {
                    for (round, (client, server)) in (0..).zip(pairs) {
                        let own = seed
                            .wrapping_add(1 + number * ROUNDS + round)
                            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
                        check(seed, &session(&client, &server, own));
                    }
                })
            })
            .collect();
        let results: Vec<_> = running
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "seed {seed}");
    });
    proxied.server.halt();
    proxied.wait_until_idle();
    let held = proxied.block_on(proxied.server.exposition());
    assert!(held.contains("brownout_held_bytes 0\n"), "{held}");
}

/// On for a moment, and off again.
fn briefly(proxied: &Proxied, dice: &mut Dice, spec: serde_json::Value) {
    let name = proxied.fault(spec).name;
    std::thread::sleep(Duration::from_micros(dice.below(8000)));
    proxied.server.remove_fault(&name).unwrap();
    std::thread::sleep(Duration::from_micros(dice.below(3000)));
}

#[test]
fn delays_and_stalls_lose_double_and_move_nothing() {
    under(
        |proxied, dice| {
            let spec = match dice.below(3) {
                0 => json!({ "action": "stall", "probability": 0.2 }),
                1 => json!({ "action": "latency", "on": "request", "delay":
                    { "distribution": "uniform", "min": "0ms", "max": "5ms" } }),
                _ => json!({ "action": "latency", "on": "reply", "delay":
                    { "distribution": "uniform", "min": "0ms", "max": "5ms" } }),
            };
            briefly(proxied, dice, spec);
        },
        |seed, both| {
            for (sent, got, in_order) in both {
                assert!(
                    sent == got && *in_order,
                    "{} of {}, seed {seed}",
                    got.len(),
                    sent.len()
                );
            }
        },
    );
}

#[test]
fn cuts_leave_an_exact_prefix() {
    under(
        |proxied, dice| {
            let how = if dice.below(2) == 0 { "fin" } else { "rst" };
            let spec = json!({ "action": "disconnect", "how": how, "probability": 0.02,
                "bytes": dice.below(1000), "seed": dice.roll() >> 1 });
            briefly(proxied, dice, spec);
        },
        |seed, both| {
            for (sent, got, _) in both {
                assert!(
                    sent.starts_with(got),
                    "{} of {}, seed {seed}",
                    got.len(),
                    sent.len()
                );
            }
        },
    );
}

/// Every reply carries the number of its request.
#[test]
fn pipelines_keep_their_order_while_faults_come_and_go() {
    const REQUESTS: usize = 4000;
    let (seed, done) = (seed(), AtomicBool::new(false));
    let upstream = Scripted::redis(Duration::ZERO);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(seed);
            while !done.load(Ordering::Relaxed) {
                let spec = match dice.below(4) {
                    0 => json!({ "action": "stall", "probability": 0.05 }),
                    1 => json!({ "action": "error", "preset": "OOM", "probability": 0.3 }),
                    2 => json!({ "action": "latency", "on": "request", "delay":
                        { "distribution": "uniform", "min": "0ms", "max": "3ms" } }),
                    _ => json!({ "action": "latency", "delay":
                        { "distribution": "uniform", "min": "0ms", "max": "3ms" } }),
                };
                briefly(&proxied, &mut dice, spec);
            }
        });
        let running: Vec<_> = (0..4)
            .map(|number| {
                let client = proxied.connect();
                scope.spawn(move || pipelined(&client, REQUESTS, Dice((seed + number) | 1)))
            })
            .collect();
        let results: Vec<_> = running
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "seed {seed}");
    });
    let total = proxied
        .figures()
        .operation("ECHO")
        .unwrap()
        .exchanges
        .clone();
    assert_eq!(total.count, 4 * REQUESTS as u64);
    assert!(proxied.figures().tap_lost.is_empty());
}

/// Sends numbered requests as fast as they are taken, and checks the replies as they come.
fn pipelined(client: &TcpStream, requests: usize, dice: Dice) {
    let asked: String = (0..requests)
        .map(|n| command(&["ECHO", &n.to_string()]))
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = dice;
            let mut rest = asked.as_bytes();
            while !rest.is_empty() {
                let length = rest.len().min(1 + dice.below(2000) as usize);
                (&*client).write_all(&rest[..length]).unwrap();
                rest = &rest[length..];
            }
        });
        let mut got = Vec::new();
        let mut piece = vec![0; 1 << 16];
        let mut next = 0;
        client.set_read_timeout(Some(LIMIT)).unwrap();
        while next < requests {
            let n = (&*client).read(&mut piece).unwrap();
            assert!(n > 0, "ended after {next} replies");
            got.extend_from_slice(&piece[..n]);
            let mut at = 0;
            while next < requests {
                let wanted = bulk(&next.to_string());
                let rest = &got[at..];
                if rest.starts_with(wanted.as_bytes()) {
                    at += wanted.len();
                } else if rest.starts_with(b"-OOM")
                    && let Some(end) = rest.windows(2).position(|w| w == b"\r\n")
                {
                    at += end + 2;
                } else {
                    let begun = wanted.as_bytes().starts_with(rest)
                        || b"-OOM".starts_with(&rest[..rest.len().min(4)]);
                    assert!(begun, "for {next}: {}", String::from_utf8_lossy(rest));
                    break;
                }
                next += 1;
            }
            got.drain(..at);
        }
    });
}
