//! How late injected delays are, by the proxy's own clock, and how fast a halt releases what is held.
//!
//! ```text
//! cargo bench --bench lateness              everything, two minutes
//! cargo bench --bench lateness -- --quick   fewer rounds
//! ```
//!
//! Proxy, clients and servers share the machine, and it should have nothing else to do. `late` is the time between the moment
//! at which held bytes were due and the moment at which the proxy sent them; it is never negative (a test holds that). Of 1,000
//! sessions that are due at the same moment the last one waits for 999 writes; the last lines say how long those take alone.

#![allow(clippy::unwrap_used, missing_docs)]

use brownout::config::{Config, Listen, ProxyConfig, Upstream};
use brownout::fault::FaultSpec;
use brownout::measure::Slo;
use brownout::protocol::Protocol;
use brownout::proxy::Server;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Delays in milliseconds, and how often each is measured on one session.
const DELAYS: [(u64, usize); 4] = [(1, 1000), (5, 600), (20, 400), (100, 300)];

/// Sessions that are asked at once, and how often.
const MANY: (usize, usize) = (1000, 5);

/// A second, of all these sessions together, where each is asked at a moment of its own.
const SPREAD: u64 = 2000;

/// Sessions of the release; each is four descriptors of this one process.
const HELD: usize = 4900;

/// What each of them holds, in each direction.
const BYTES: usize = 8 << 10;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends everything back, on a thread of its own.
fn echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
    });
    address
}

async fn start(upstream: SocketAddr) -> (Server, SocketAddr) {
    let proxy = ProxyConfig {
        name: "p".into(),
        protocol: Protocol::Tcp,
        listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        upstream: Upstream::Tcp {
            host: upstream.ip().to_string(),
            port: upstream.port(),
        },
        slo: Slo::default(),
        routes: Vec::new(),
        pool: None,
        connect_timeout: Duration::from_secs(5),
        probe: brownout::config::Probe::default(),
    };
    let config = Config {
        proxies: vec![proxy],
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let Listen::Tcp(address) = server.proxy("p").unwrap().config.listen else {
        panic!("it listens on TCP");
    };
    (server, address)
}

fn delay(server: &Server, on: &str, delay: &str) {
    let spec = serde_json::json!({ "action": "latency", "on": on, "delay": delay });
    let spec: FaultSpec = serde_json::from_value(spec).unwrap();
    server.add_fault(&spec, None).unwrap();
}

async fn connect(address: SocketAddr, sessions: usize) -> Vec<TcpStream> {
    let mut clients = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        let client = TcpStream::connect(address).await.unwrap();
        client.set_nodelay(true).unwrap();
        clients.push(client);
    }
    clients
}

/// When sessions are asked.
#[derive(Clone, Copy)]
enum When {
    /// All at once, and again when all are answered.
    Together,
    /// Each at moments of its own.
    Spread,
}

async fn ask(client: &mut TcpStream) {
    let mut one = [b'?'];
    client.write_all(&one).await.unwrap();
    client.read_exact(&mut one).await.unwrap();
}

async fn together(clients: &mut [TcpStream]) {
    for client in &mut *clients {
        client.write_all(b"?").await.unwrap();
    }
    for client in clients {
        client.read_exact(&mut [0]).await.unwrap();
    }
}

/// Asks each once within the time that the rate gives, at a moment that is drawn.
async fn spread(clients: &mut Vec<TcpStream>, round: u64) {
    let within = 1_000_000 * clients.len() as u64 / SPREAD;
    let began = tokio::time::Instant::now();
    let asked: Vec<_> = (0..)
        .zip(clients.drain(..))
        .map(|(session, mut client)| {
            let mut hasher = DefaultHasher::new();
            (round, session).hash(&mut hasher);
            let at = began + Duration::from_micros(hasher.finish() % within);
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                ask(&mut client).await;
                client
            })
        })
        .collect();
    for client in asked {
        clients.push(client.await.unwrap());
    }
}

/// One line of the table.
async fn late(upstream: SocketAddr, ms: u64, sessions: usize, rounds: usize, when: When) {
    let (server, address) = start(upstream).await;
    let mut clients = connect(address, sessions).await;
    // The first byte of a session also waits for the connection to the upstream.
    for client in &mut clients {
        ask(client).await;
    }
    delay(&server, "reply", &format!("{ms}ms"));
    for round in 0..rounds {
        match when {
            When::Together => together(&mut clients).await,
            When::Spread => spread(&mut clients, round as u64).await,
        }
    }
    let stats = server.stats(None).await;
    let late = stats.proxy("p").unwrap().faults.late.unwrap();
    let asked = match when {
        When::Together => "at once",
        When::Spread => "spread",
    };
    println!(
        "{ms:>6} ms {sessions:>8} {asked:>8} {:>8} {:>8.0} {:>8} {:>8} {:>8}",
        late.samples, late.mean_us, late.p50_us, late.p99_us, late.max_us
    );
    server.drain(Duration::ZERO).await;
}

/// How long so many writes take one after the other, with nothing else to do: by then the last of those due at once can be sent.
fn writes(sessions: usize) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pairs: Vec<_> = (0..sessions)
        .map(|_| {
            let near = std::net::TcpStream::connect(address).unwrap();
            near.set_nodelay(true).unwrap();
            (near, listener.accept().unwrap().0)
        })
        .collect();
    let mut rounds: Vec<Duration> = (0..9)
        .map(|_| {
            let began = Instant::now();
            for (near, _) in &pairs {
                (&*near).write_all(b"?").unwrap();
            }
            began.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    let middle = rounds[rounds.len() / 2];
    println!(
        "\n{sessions} writes of a byte, one after the other on one core, take {middle:.1?} (median of {})",
        rounds.len()
    );
}

fn held(exposition: &str) -> usize {
    let mut lines = exposition.lines();
    let line = lines.find_map(|l| l.strip_prefix("brownout_held_bytes "));
    line.unwrap().parse().unwrap()
}

/// Holds bytes everywhere, and halts.
async fn release(upstream: SocketAddr, sessions: usize) {
    let (server, address) = start(upstream).await;
    let mut clients = connect(address, sessions).await;
    let sent = vec![b'x'; BYTES];
    // An echo is first held on its way there; only after that would it be on its way back.
    delay(&server, "request", "60s");
    for client in &mut clients {
        client.write_all(&sent).await.unwrap();
    }
    while held(&server.exposition().await) < sessions * BYTES {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let halted = Instant::now();
    server.halt();
    let told = halted.elapsed();
    while held(&server.exposition().await) > 0 {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let gone = halted.elapsed();
    let mut got = sent.clone();
    for client in &mut clients {
        client.read_exact(&mut got).await.unwrap();
    }
    println!(
        "\n{sessions} sessions hold {} KiB each; a halt answers after {told:.1?}, has sent all of it on after {gone:.1?}; the last \
         echo is back after {:.1?}",
        BYTES >> 10,
        halted.elapsed(),
    );
    server.drain(Duration::ZERO).await;
}

fn main() {
    // What `cargo test` and `cargo bench` pass to every bench.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let quick = std::env::args().any(|a| a == "--quick");
    let upstream = echo();
    println!("    delay sessions    asked  samples  mean us   p50 us   p99 us   max us");
    runtime().block_on(async {
        for (ms, rounds) in DELAYS {
            let rounds = if quick { rounds / 10 } else { rounds };
            late(upstream, ms, 1, rounds, When::Together).await;
        }
        let (sessions, rounds) = (MANY.0, if quick { 1 } else { MANY.1 });
        for when in [When::Spread, When::Together] {
            for (ms, _) in DELAYS {
                late(upstream, ms, sessions, rounds, when).await;
            }
        }
        writes(sessions);
        release(upstream, HELD).await;
    });
}
