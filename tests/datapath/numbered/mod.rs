//! Integrity at size: every byte of many sessions is compared at both ends, while faults are switched on and off.
//!
//! The size is small here, and may be set: `BROWNOUT_PROOF_BYTES` (compared in all, at both ends), `BROWNOUT_PROOF_SESSIONS`.
//! Each run prints what it proved; `docs/proof-log.md` keeps the large ones.

mod load;
mod speech;

use crate::harness::{Proxied, config, proxy};
use crate::integrity::Dice;
use crate::support::{Postgres, Redis};
use brownout::protocol::Protocol;
use load::{Tally, Trouble};
use speech::Speech;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// What a client of Postgres says first, and how the server's answer ends.
pub(crate) fn postgres_opening() -> (Vec<u8>, &'static [u8]) {
    Speech(Protocol::Postgres).opening().unwrap()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn on_a_runtime(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run);
}

/// One run. Without a server to go to, one of ours is behind the proxy.
fn prove(protocol: Protocol, trouble: Trouble, real: Option<(&str, SocketAddr)>, megabytes: u64) {
    let bytes = setting("BROWNOUT_PROOF_BYTES", megabytes << 20);
    let sessions = setting("BROWNOUT_PROOF_SESSIONS", 100) as u32;
    let (speech, tally) = (Speech(protocol), Arc::new(Tally::default()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    // All sessions connect at once, to a server that has much to do.
    rustix::net::listen(&listener, 4096).unwrap();
    let target = real.map_or(listener.local_addr().unwrap(), |(_, address)| address);
    let mut proxy = proxy("p", protocol, target);
    proxy.connect_timeout = Duration::from_secs(60);
    let proxied = Proxied::start(config([proxy]));
    let done = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            on_a_runtime(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let counts = Arc::clone(&tally);
                let length = length_of_stream(bytes, sessions);
                load::accept(listener, &done, async move |stream| {
                    if protocol == Protocol::Tcp {
                        load::stream(stream, (0, 500_000), length, trouble, &counts).await;
                    } else {
                        load::serve(stream, speech, trouble, &counts).await;
                    }
                })
                .await;
            });
        });
        let switching = scope.spawn(|| {
            load::switch(&proxied, speech, trouble, &done, &tally, Dice::new(4));
        });
        let clients = scope.spawn(|| {
            on_a_runtime(run_clients(
                proxied.address("p"),
                speech,
                (bytes, sessions),
                trouble,
                Arc::clone(&tally),
                real.is_some(),
            ));
        });
        let clients = clients.join();
        done.store(true, Ordering::Relaxed);
        let all = [clients, switching.join(), serving.join()];
        assert!(all.iter().all(Result::is_ok), "see above");
    });
    report(&tally, protocol, trouble, sessions, began.elapsed(), real);
    check_figures(&proxied, &tally, protocol, trouble);
}

/// Each stream of plain TCP, so that both of a session are compared once at each end.
fn length_of_stream(bytes: u64, sessions: u32) -> usize {
    (bytes / 2 / u64::from(sessions)) as usize
}

async fn run_clients(
    address: SocketAddr,
    speech: Speech,
    (bytes, sessions): (u64, u32),
    trouble: Trouble,
    tally: Arc<Tally>,
    is_real: bool,
) {
    // A server of ours compares as much as the client does; a real one compares nothing.
    let share = bytes / u64::from(sessions) / if is_real { 1 } else { 2 };
    let local = tokio::task::LocalSet::new();
    let mut running = tokio::task::JoinSet::new();
    for session in 0..sessions {
        let tally = Arc::clone(&tally);
        running.spawn_local_on(
            async move {
                if speech.0 == Protocol::Tcp {
                    let length = length_of_stream(bytes, sessions);
                    let stream = match tokio::net::TcpStream::connect(address).await {
                        Ok(stream) => stream,
                        // The server's first bytes were cut already.
                        Err(_) if trouble == Trouble::Cuts => return,
                        Err(e) => panic!("{e}"),
                    };
                    load::stream(stream, (500_000, 0), length, trouble, &tally).await;
                } else {
                    load::client(address, speech, session, share, trouble, &tally).await;
                }
            },
            &local,
        );
    }
    local
        .run_until(async {
            while let Some(ended) = running.join_next().await {
                ended.unwrap();
            }
        })
        .await;
}

fn report(
    tally: &Tally,
    protocol: Protocol,
    trouble: Trouble,
    sessions: u32,
    took: Duration,
    real: Option<(&str, SocketAddr)>,
) {
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    let switches = count(&tally.switches);
    println!(
        "PROOF {} to {}, {trouble:?}: {} bytes compared, {sessions} sessions, {} exchanges, {} injected errors, {} cuts, \
         {switches} switches ({:.0}/s), {:.1} s",
        protocol.name(),
        real.map_or("a scripted server", |(name, _)| name),
        tally.bytes(),
        count(&tally.exchanges),
        count(&tally.errors),
        count(&tally.cuts),
        switches as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
    );
    assert!(switches > 20, "faults were switched");
    if protocol != Protocol::Tcp && trouble == Trouble::Late {
        assert!(count(&tally.errors) > 0, "errors were injected");
    }
    if trouble == Trouble::Cuts {
        assert!(count(&tally.cuts) > 0, "sessions were cut");
    }
}

/// The proxy counted what the clients did, and holds nothing.
fn check_figures(proxied: &Proxied, tally: &Tally, protocol: Protocol, trouble: Trouble) {
    proxied.server.halt();
    proxied.wait_until_idle();
    let held = proxied.block_on(proxied.server.exposition());
    assert!(held.contains("brownout_held_bytes 0\n"), "{held}");
    let figures = proxied.figures();
    assert!(figures.tap_lost.is_empty(), "{:?}", figures.tap_lost);
    if trouble == Trouble::Late && protocol != Protocol::Tcp {
        let name = match protocol {
            Protocol::Redis => "ECHO",
            Protocol::Postgres => "SELECT",
            _ => "POST /e",
        };
        let counted = figures.operation(name).unwrap().exchanges.count;
        assert_eq!(counted, tally.exchanges.load(Ordering::Relaxed));
    }
}

#[test]
fn redis_keeps_every_byte_and_every_pair() {
    prove(Protocol::Redis, Trouble::Late, None, 12);
}

#[test]
fn postgres_keeps_every_byte_and_every_pair() {
    prove(Protocol::Postgres, Trouble::Late, None, 12);
}

#[test]
fn http_keeps_every_byte_and_every_pair() {
    prove(Protocol::Http, Trouble::Late, None, 12);
}

#[test]
fn tcp_keeps_every_byte() {
    prove(Protocol::Tcp, Trouble::Late, None, 12);
}

#[test]
fn redis_cuts_leave_exact_prefixes() {
    prove(Protocol::Redis, Trouble::Cuts, None, 4);
}

#[test]
fn postgres_cuts_leave_exact_prefixes() {
    prove(Protocol::Postgres, Trouble::Cuts, None, 4);
}

#[test]
fn http_cuts_leave_exact_prefixes() {
    prove(Protocol::Http, Trouble::Cuts, None, 4);
}

#[test]
fn tcp_cuts_leave_exact_prefixes() {
    prove(Protocol::Tcp, Trouble::Cuts, None, 8);
}

#[test]
fn a_real_redis_server_is_paired_right() {
    let redis = Redis::start();
    let real = Some(("redis-server", redis.address()));
    prove(Protocol::Redis, Trouble::Late, real, 6);
}

#[test]
fn a_real_postgresql_is_paired_right() {
    let postgres = Postgres::start();
    let real = Some(("PostgreSQL", postgres.address()));
    prove(Protocol::Postgres, Trouble::Late, real, 4);
}
