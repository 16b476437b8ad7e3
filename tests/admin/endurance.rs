//! Floods, kills, and what is done ten thousand times: the rest goes on, and nothing is left behind.

use crate::guards::{ask, folder, records, start};
use crate::support::{Brownout, Redis, eventually, open_descriptors, resident_bytes, run_to_end};
use rustix::process::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// Keeps a thousand connections at the endpoint that say one byte and then nothing, and opens others when they are closed.
struct Flood(Arc<AtomicBool>, Vec<std::thread::JoinHandle<()>>);

impl Flood {
    fn of(admin: SocketAddr) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        let threads = (0..4).map(|_| {
            let on = Arc::clone(&on);
            std::thread::spawn(move || {
                let mut held = std::collections::VecDeque::new();
                while on.load(Ordering::Relaxed) {
                    if let Ok(mut stream) =
                        TcpStream::connect_timeout(&admin, Duration::from_secs(1))
                    {
                        let _ = stream.write_all(b"G");
                        held.push_back(stream);
                    }
                    if held.len() > 250 {
                        held.pop_front();
                    }
                    std::thread::sleep(Duration::from_millis(4));
                }
            })
        });
        let threads = threads.collect();
        std::thread::sleep(Duration::from_millis(1_500));
        Self(on, threads)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Two places in the order of some times.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "p99 is for those who read the output")]
struct Spread {
    median: Duration,
    p99: Duration,
}

impl Spread {
    fn of(count: usize, time: impl FnMut(usize) -> Duration) -> Self {
        let mut times: Vec<_> = (0..count).map(time).collect();
        times.sort();
        Self {
            median: times[count / 2],
            p99: times[count * 99 / 100],
        }
    }
}

/// How long traffic takes.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// PINGs on a connection of their own.
    fresh: Spread,
    /// PINGs on one connection.
    kept: Spread,
}

impl Times {
    fn of(proxy: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(proxy).expect("connect");
        stream.set_read_timeout(Some(LIMIT)).expect("timeout");
        Self {
            fresh: Spread::of(200, |_| ping(proxy)),
            kept: Spread::of(3_000, |_| {
                let began = Instant::now();
                stream.write_all(b"PING\r\n").expect("write");
                stream.read_exact(&mut [0; 7]).expect("a reply");
                began.elapsed()
            }),
        }
    }
}

/// How long one PING takes through the proxy.
fn ping(proxy: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(proxy).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("timeout");
    stream.write_all(b"PING\r\n").expect("write");
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).expect("a reply");
    began.elapsed()
}

#[test]
fn a_flood_of_slow_clients_keeps_nobody_from_halting_and_no_traffic_from_passing() {
    let redis = Redis::start();
    let folder = folder(&redis, "[admin]\nhalt_file = \"HALT\"\n");
    let mut brownout = start(&folder);
    let (admin, proxy) = (brownout.admin(), brownout.proxy("redis"));
    let calm = Times::of(proxy);
    let flood = Flood::of(admin);
    let busy = Times::of(proxy);
    eprintln!("FLOOD before: {calm:?}; with 1,000 slow clients: {busy:?}");
    for (calm, busy) in [(calm.fresh, busy.fresh), (calm.kept, busy.kept)] {
        assert!(
            busy.median < calm.median * 10 + Duration::from_millis(50),
            "{calm:?} {busy:?}"
        );
    }

    let held = json!({ "action": "latency", "delay": "60s", "name": "held" }).to_string();
    let mut took = Vec::new();
    let halt_file = folder.path().join("HALT");
    for way in ["api", "signal", "file"] {
        assert_eq!(ask(admin, "PUT /v1/faults/held", "", &held), 201, "{way}");
        let waiting = std::thread::spawn(move || {
            ping(proxy);
            Instant::now()
        });
        // Held by then.
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        let asked = Instant::now();
        match way {
            "api" => assert_eq!(ask(admin, "POST /v1/halt", "", ""), 200),
            "signal" => brownout.process().signal(Signal::USR1),
            _ => std::fs::write(&halt_file, "").expect("a file"),
        }
        let released = waiting.join().expect("released");
        took.push((way, released.saturating_duration_since(asked)));
        if way == "file" {
            assert_eq!(
                ask(admin, "POST /v1/resume", "", ""),
                409,
                "as long as the file is there"
            );
            std::fs::remove_file(&halt_file).expect("removed");
        }
        assert_eq!(
            ask(admin, "PUT /v1/faults/held", "", &held),
            409,
            "halted is halted"
        );
        assert_eq!(ask(admin, "POST /v1/resume", "", ""), 200);
    }
    drop(flood);
    eprintln!("released after {took:?}");
    // 100 ms on a machine that is idle; this one may be far busier.
    for (way, time) in took {
        assert!(time < Duration::from_secs(2), "{way} took {time:?}");
    }
}

/// The same configuration each time, with all that it leaves on disk.
#[test]
fn no_fault_is_on_after_a_kill_under_load() {
    let rounds: usize = std::env::var("BROWNOUT_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    let redis = Redis::start();
    let folder = folder(&redis, "[admin]\naudit = \"audit.jsonl\"\n");
    for _ in 0..rounds {
        let mut brownout = start(&folder);
        assert_eq!(brownout.get("/v1/faults").json()["faults"], json!([]));
        let proxy = brownout.proxy("redis");
        assert!(ping(proxy) < LIMIT);
        let enable = "/v1/profiles/redis-slow/enable";
        assert_eq!(brownout.post(enable, &json!({})).status, 200);
        let load: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(proxy).expect("connect");
                stream.write_all(&b"PING\r\n".repeat(100)).expect("write");
                stream
            })
            .collect();
        brownout.process().signal(Signal::KILL);
        brownout.process().wait(LIMIT);
        drop(load);
    }
    let audit = folder.path().join("audit.jsonl");
    let verified = run_to_end(&["audit", "verify", audit.to_str().expect("a path")], LIMIT);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let records = records(&folder);
    assert!(records.len() >= rounds * 2, "each start and each change");
}

/// One connection to the admin endpoint, for many requests.
struct Line {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Line {
    fn to(host: SocketAddr) -> Self {
        let stream = TcpStream::connect(host).expect("connect");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(LIMIT)).expect("timeout");
        let stream = BufReader::new(stream);
        Self { stream, host }
    }

    /// Status and body of the answer.
    fn ask(&mut self, first: &str, body: &str) -> (u16, String) {
        let (host, length) = (self.host, body.len());
        let kind = "Content-Type: application/json";
        let text = format!(
            "{first} HTTP/1.1\r\nHost: {host}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes()).expect("write");
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a header line");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().expect("a length");
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        (status, String::from_utf8(body).expect("text"))
    }
}

fn ping_at(address: &str) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("timeout");
    stream.write_all(b"PING\r\n").expect("write");
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+PONG\r\n");
}

/// Each is made with another name, has a fault, is used now and then, and is removed.
fn come_and_go(line: &mut Line, upstream: SocketAddr, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let name = format!("p{number}");
        let proxy = json!({ "name": name, "protocol": "redis", "listen": "0", "upstream": upstream.to_string() });
        let (status, made) = line.ask("POST /v1/proxies", &proxy.to_string());
        assert_eq!(status, 201, "{made}");
        if number % 100 == 0 {
            let fault = json!({ "proxy": name, "action": "latency", "delay": "1ms" });
            let (status, answer) = line.ask("PUT /v1/faults/late", &fault.to_string());
            assert!(status == 201 || status == 200, "{answer}");
            let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
            ping_at(made["listen"].as_str().expect("an address"));
        }
        let (status, answer) = line.ask(&format!("DELETE /v1/proxies/{name}"), "");
        assert_eq!(status, 204, "{answer}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_proxies_come_and_go_and_leave_nothing() {
    const WARM: usize = 1_000;
    const ALL: usize = 11_000;
    let redis = Redis::start();
    let folder = crate::support::Directory::new("endurance");
    let text = format!(
        "[admin]\nchanges_per_second = 100000\n[[proxy]]\nname = \"stays\"\nprotocol = \"redis\"\nlisten = \"0\"\nupstream = \"{}\"\n",
        redis.address()
    );
    let file = folder.write("b.toml", &text);
    let brownout = Brownout::start(&["--config", file.to_str().expect("a path")]);
    let mut line = Line::to(brownout.admin());
    let fresh = resident_bytes(brownout.id());
    come_and_go(&mut line, redis.address(), 0..WARM);
    // Sessions end a moment after their proxy.
    let settled = |what: &str, at_most: usize| {
        eventually(what, LIMIT, || {
            let now = open_descriptors(brownout.id());
            (now <= at_most).then_some(now)
        })
    };
    line.ask("GET /metrics", "");
    let before = settled("the first to be gone", usize::MAX);
    let resident = resident_bytes(brownout.id());
    come_and_go(&mut line, redis.address(), WARM..ALL);
    let (_, figures) = line.ask("GET /metrics", "");
    let after = settled("descriptors to be given back", before);
    let grown = resident_bytes(brownout.id()).saturating_sub(resident);
    eprintln!(
        "PROXIES {} made and removed: descriptors {before} before, {after} after; resident {} KiB at the start, {} KiB after the first \
         {WARM}, {} KiB more at the end",
        ALL - WARM,
        fresh >> 10,
        resident >> 10,
        grown >> 10
    );
    // Each number of a proxy costs some 80 bytes, until all 65,536 have been given and are given again.
    assert!(grown < 4 << 20, "{grown} bytes more after the first {WARM}");
    assert!(figures.contains("proxy=\"stays\""), "{figures}");
    // A fault may be on before its proxy is made again.
    let of_faults = |line: &str| line.starts_with("brownout_fault_");
    let mut gone = figures.lines().filter(|l| l.contains("proxy=\"p"));
    assert_eq!(gone.find(|line| !of_faults(line)), None);
    let (_, proxies) = line.ask("GET /v1/proxies", "");
    assert!(!proxies.contains("\"p1"), "{proxies}");
    let (_, faults) = line.ask("GET /v1/faults", "");
    assert!(faults.len() < 2_000, "one at most: {faults}");
}
