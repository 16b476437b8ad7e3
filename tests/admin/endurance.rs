//! What is done ten thousand times leaves nothing behind.
#![cfg(target_os = "linux")]

use crate::support::{Brownout, Redis, eventually, open_descriptors, resident_bytes};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

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

fn ping(address: &str) {
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
            ping(made["listen"].as_str().expect("an address"));
        }
        let (status, answer) = line.ask(&format!("DELETE /v1/proxies/{name}"), "");
        assert_eq!(status, 204, "{answer}");
    }
}

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
    assert!(!figures.contains("proxy=\"p"), "{figures}");
    let (_, proxies) = line.ask("GET /v1/proxies", "");
    assert!(!proxies.contains("\"p1"), "{proxies}");
    let (_, faults) = line.ask("GET /v1/faults", "");
    assert!(faults.len() < 2_000, "one at most: {faults}");
}
