//! What each toxic does to real traffic: a TCP echo, and a redis-server.

use crate::empty;
use crate::support::{Brownout, Redis, eventually, request};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// A server that sends back what it gets, and ends when its client does.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    address
}

/// A proxy named `p` before an upstream.
struct Proxy {
    brownout: Brownout,
    address: SocketAddr,
}

impl Proxy {
    fn to(upstream: SocketAddr, protocol: &str) -> Self {
        let brownout = empty();
        let body = json!({ "name": "p", "upstream": upstream.to_string(), "protocol": protocol });
        let made = brownout.post("/proxies", &body);
        assert_eq!(made.status, 201, "{}", made.body);
        let address = made.json()["listen"].as_str().unwrap().parse().unwrap();
        Self { brownout, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn toxic(&self, kind: &str, attributes: Value) {
        self.toxic_on("downstream", kind, attributes);
    }

    fn toxic_on(&self, stream: &str, kind: &str, attributes: Value) {
        let mut body = json!({ "name": "t", "type": kind, "stream": stream });
        body["attributes"] = attributes;
        let reply = self.brownout.post("/proxies/p/toxics", &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    fn change(&self, attributes: &Value) {
        let reply = self
            .brownout
            .post("/proxies/p/toxics/t", &json!({ "attributes": attributes }));
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    fn cure(&self) {
        assert_eq!(self.brownout.delete("/proxies/p/toxics/t").status, 204);
    }
}

/// How long it takes until `bytes` come back.
fn echoed(mut stream: &TcpStream, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "what comes back is what was sent");
    began.elapsed()
}

/// What comes until the end, and whether that was in order.
fn rest(mut stream: &TcpStream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => (all, true),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => (all, false),
        Err(e) => panic!("neither end nor reset: {e}"),
    }
}

fn silent(mut stream: &TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).unwrap();
    let read = stream.read(&mut [0; 16]);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let waited = read
        .as_ref()
        .is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    assert!(waited, "expected silence: {read:?}");
}

#[test]
fn latency_changes_while_connections_are_open() {
    let proxy = Proxy::to(echo(), "tcp");
    let stream = proxy.connect();
    echoed(&stream, b"x");
    proxy.toxic("latency", json!({ "latency": 80 }));
    assert!(echoed(&stream, b"x") >= Duration::from_millis(80));
    proxy.change(&json!({ "latency": 160 }));
    assert!(echoed(&stream, b"x") >= Duration::from_millis(160));
    proxy.change(&json!({ "latency": 0 }));
    let quick = (0..5).map(|_| echoed(&stream, b"x")).min().unwrap();
    assert!(quick < Duration::from_millis(80), "{quick:?}");
    // A pipeline is late once, not once a piece.
    proxy.change(&json!({ "latency": 100, "jitter": 20 }));
    let began = Instant::now();
    for _ in 0..20 {
        (&stream).write_all(b"y").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut back = [0; 20];
    (&stream).read_exact(&mut back).unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(80), "{took:?}");
    assert!(took < Duration::from_millis(80 * 20), "{took:?}");
}

#[test]
fn bandwidth_is_that_of_each_connection() {
    let proxy = Proxy::to(echo(), "tcp");
    proxy.toxic("bandwidth", json!({ "rate": 100 }));
    let address = proxy.address;
    let both: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                echoed(&stream, &vec![7; 50_000])
            })
        })
        .collect();
    for one in both {
        let took = one.join().unwrap();
        assert!(took >= Duration::from_millis(450), "{took:?}");
    }
    proxy.change(&json!({ "rate": 0 }));
    let took = echoed(&proxy.connect(), &vec![7; 1_000_000]);
    assert!(
        took < Duration::from_secs(5),
        "no rate is no limit: {took:?}"
    );
}

#[test]
fn slow_close_holds_the_end_of_one_direction() {
    let proxy = Proxy::to(echo(), "tcp");
    proxy.toxic("slow_close", json!({ "delay": 300 }));
    let stream = proxy.connect();
    let began = Instant::now();
    (&stream).write_all(b"bye").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&stream), (b"bye".to_vec(), true));
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_timeout_drops_everything_and_closes_when_it_is_removed() {
    let proxy = Proxy::to(echo(), "tcp");
    proxy.toxic("timeout", json!({ "timeout": 0 }));
    let stream = proxy.connect();
    (&stream).write_all(b"vanishes").unwrap();
    silent(&stream, Duration::from_millis(200));
    proxy.cure();
    assert_eq!(rest(&stream), (Vec::new(), true));
    echoed(&proxy.connect(), b"as before");

    proxy.toxic_on("upstream", "timeout", json!({ "timeout": 250 }));
    let stream = proxy.connect();
    let began = Instant::now();
    (&stream).write_all(b"vanishes").unwrap();
    assert_eq!(rest(&stream), (Vec::new(), true));
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_reset_is_a_reset_and_none_at_toxicity_zero() {
    let proxy = Proxy::to(echo(), "tcp");
    proxy.toxic("reset_peer", json!({ "timeout": 0 }));
    let stream = proxy.connect();
    (&stream).write_all(b"x").unwrap();
    assert_eq!(rest(&stream), (Vec::new(), false));
    proxy.change(&json!({ "timeout": 200 }));
    let stream = proxy.connect();
    let began = Instant::now();
    (&stream).write_all(b"x").unwrap();
    assert_eq!(rest(&stream), (Vec::new(), false));
    assert!(began.elapsed() >= Duration::from_millis(200));
    let none = request(
        proxy.brownout.admin(),
        "PATCH",
        "/proxies/p/toxics/t",
        Some(r#"{"toxicity": 0}"#),
    );
    assert_eq!(none.unwrap().status, 200);
    let stream = proxy.connect();
    echoed(&stream, b"x");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&stream), (Vec::new(), true));
}

#[test]
fn a_slicer_cuts_into_pieces_with_gaps() {
    let proxy = Proxy::to(echo(), "tcp");
    proxy.toxic(
        "slicer",
        json!({ "average_size": 10, "size_variation": 5, "delay": 20_000 }),
    );
    let stream = proxy.connect();
    let began = Instant::now();
    (&stream).write_all(&[7; 100]).unwrap();
    let (mut reads, mut total) = (0, 0);
    let mut piece = [0; 100];
    while total < 100 {
        let n = (&stream).read(&mut piece).unwrap();
        (reads, total) = (reads + 1, total + n);
    }
    // Pieces of at most 15 bytes are 7 at least, with 6 gaps.
    assert!(reads >= 2, "{reads} reads");
    assert!(began.elapsed() >= Duration::from_millis(6 * 20));
}

#[test]
fn limited_data_is_a_prefix_in_either_direction() {
    for stream in ["upstream", "downstream"] {
        let proxy = Proxy::to(echo(), "tcp");
        proxy.toxic_on(stream, "limit_data", json!({ "bytes": 10 }));
        for _ in 0..2 {
            let stream = proxy.connect();
            echoed(&stream, b"12345678");
            (&stream).write_all(b"9012").unwrap();
            let (got, in_order) = rest(&stream);
            assert!(in_order);
            assert!(b"90".starts_with(&got[..]), "{got:?}");
        }
    }
}

#[test]
fn every_toxic_acts_on_redis_too() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address(), "redis");
    let get = |mut stream: &TcpStream| {
        let began = Instant::now();
        stream.write_all(b"ECHO hello\r\n").unwrap();
        let mut reply = Vec::new();
        let mut byte = [0];
        while !reply.ends_with(b"hello\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => reply.push(byte[0]),
                _ => break,
            }
        }
        (reply, began.elapsed())
    };
    let whole = b"$5\r\nhello\r\n".to_vec();
    for (kind, attributes) in [
        ("latency", json!({ "latency": 60 })),
        ("slicer", json!({ "average_size": 1, "delay": 10_000 })),
        ("bandwidth", json!({ "rate": 1 })),
    ] {
        let stream = proxy.connect();
        proxy.toxic(kind, attributes);
        let (reply, took) = get(&stream);
        assert_eq!(reply, whole, "{kind}");
        if kind != "bandwidth" {
            assert!(took >= Duration::from_millis(60), "{kind}: {took:?}");
        }
        proxy.cure();
        assert_eq!(get(&stream).0, whole, "{kind} is over");
    }
    for (kind, attributes, expected) in [
        ("limit_data", json!({ "bytes": 6 }), &whole[..6]),
        ("reset_peer", json!({ "timeout": 0 }), &whole[..0]),
        ("timeout", json!({ "timeout": 100 }), &whole[..0]),
    ] {
        proxy.toxic(kind, attributes);
        assert_eq!(get(&proxy.connect()).0, expected, "{kind}");
        proxy.cure();
    }
    eventually("the sessions to end", LIMIT, || {
        let sessions = &proxy.brownout.get("/v1/proxies/p").json()["sessions"];
        (*sessions == 0).then_some(())
    });
}

#[test]
fn bytes_are_counted_under_toxiproxys_names() {
    let proxy = Proxy::to(echo(), "tcp");
    echoed(&proxy.connect(), &[7; 1000]);
    proxy.toxic("timeout", json!({ "timeout": 0 }));
    let stream = proxy.connect();
    (&stream).write_all(&[7; 500]).unwrap();
    let listener = proxy.address;
    let upstream = proxy.brownout.get("/proxies/p").json()["upstream"]
        .as_str()
        .unwrap()
        .to_owned();
    let line = |what: &str, direction: &str, count: u32| {
        format!(
            "toxiproxy_proxy_{what}_bytes_total{{direction=\"{direction}\",listener=\"{listener}\",proxy=\"p\",upstream=\"{upstream}\"}} {count}\n"
        )
    };
    eventually("the figures", LIMIT, || {
        let text = proxy.brownout.get("/metrics").body;
        let all = [
            line("received", "upstream", 1500),
            line("sent", "upstream", 1500),
            line("received", "downstream", 1500),
            line("sent", "downstream", 1000),
        ];
        all.iter().all(|line| text.contains(line)).then_some(())
    });
}

#[test]
fn disabling_a_proxy_ends_its_connections() {
    let proxy = Proxy::to(echo(), "tcp");
    let stream = proxy.connect();
    echoed(&stream, b"x");
    let off = proxy
        .brownout
        .post("/proxies/p", &json!({ "enabled": false }));
    assert_eq!(off.status, 200, "{}", off.body);
    assert_eq!(rest(&stream).0, b"");
    assert!(TcpStream::connect(proxy.address).is_err());
    let on = proxy
        .brownout
        .post("/proxies/p", &json!({ "enabled": true }));
    assert_eq!(on.status, 200, "{}", on.body);
    echoed(&proxy.connect(), b"x");
}
