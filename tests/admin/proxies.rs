//! Proxies, faults and figures over `/v1`: made, changed and removed while everything runs.

use crate::support::{Brownout, Redis, request};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn start(redis: &Redis) -> Brownout {
    Brownout::start(&["--redis", &format!("redis@0={}", redis.address())])
}

fn send(brownout: &Brownout, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let reply = request(brownout.admin(), method, path, Some(&body.to_string())).expect("a reply");
    let value = serde_json::from_str(&reply.body).unwrap_or(Value::Null);
    (reply.status, value)
}

/// Status of a request with one more header line, and its tag.
fn with(brownout: &Brownout, first: &str, line: &str, body: &str) -> (u16, Option<String>) {
    let admin = brownout.admin();
    let mut stream = TcpStream::connect(admin).expect("connect");
    let text = format!(
        "{first} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Type: application/json\r\n{line}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).expect("write");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("read");
    let status = reply[9..12].parse().expect("a status");
    let tag = reply.lines().find_map(|l| l.strip_prefix("etag: "));
    (status, tag.map(str::to_owned))
}

fn ping(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("timeout");
    let mut line = String::new();
    stream.write_all(b"PING\r\n").is_ok()
        && BufReader::new(stream).read_line(&mut line).is_ok()
        && line == "+PONG\r\n"
}

#[test]
fn a_proxy_is_made_changed_switched_and_removed() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let upstream = redis.address().to_string();
    let wanted =
        json!({ "name": "second", "protocol": "redis", "listen": "0", "upstream": upstream });
    let (status, made) = send(&brownout, "POST", "/v1/proxies", &wanted);
    assert_eq!(status, 201, "{made}");
    let listen = made["listen"].as_str().expect("an address").to_owned();
    assert!(ping(&listen));
    assert_eq!(send(&brownout, "POST", "/v1/proxies", &wanted).0, 409);

    let path = "/v1/proxies/second";
    let (status, put) = send(&brownout, "PUT", path, &wanted);
    assert_eq!(
        (status, &put["listen"]),
        (200, &made["listen"]),
        "asking again changes nothing"
    );
    let (status, changed) = send(
        &brownout,
        "PATCH",
        path,
        &json!({ "pool": 5, "slo": { "p95": "5ms" } }),
    );
    assert_eq!(
        (status, &changed["pool"], &changed["slo"]["p95"]),
        (200, &json!(5), &json!("5ms"))
    );
    let (status, changed) = send(&brownout, "PATCH", path, &json!({ "pool": null }));
    assert_eq!(
        (status, &changed["pool"], &changed["slo"]["p95"]),
        (200, &Value::Null, &json!("5ms"))
    );
    let (status, problem) = send(
        &brownout,
        "PATCH",
        path,
        &json!({ "slo": { "p95": "1h", "p99": "1s" } }),
    );
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("slo.p95"))
    );
    assert_eq!(
        send(&brownout, "PATCH", path, &json!({ "name": "third" })).0,
        422
    );

    assert_eq!(
        send(&brownout, "POST", &format!("{path}/disable"), &json!({})).1["enabled"],
        false
    );
    assert!(!ping(&listen));
    assert_eq!(brownout.get("/readyz").status, 200, "off on purpose");
    assert_eq!(
        send(&brownout, "PATCH", path, &json!({ "enabled": true })).1["enabled"],
        true
    );
    assert!(ping(&listen));
    assert_eq!(brownout.counts("second")["PING"], 2, "figures go on");

    assert_eq!(brownout.delete(path).status, 204);
    assert!(!ping(&listen));
    assert_eq!(brownout.delete(path).status, 404);
    assert_eq!(send(&brownout, "PUT", path, &wanted).0, 201);
}

#[test]
fn only_the_state_that_is_meant_is_changed() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let (status, tag) = with(&brownout, "GET /v1/proxies/redis", "", "");
    let tag = tag.expect("a tag");
    assert_eq!(status, 200);
    let same = format!("If-Match: {tag}\r\n");
    let (status, next) = with(&brownout, "PATCH /v1/proxies/redis", &same, r#"{"pool":9}"#);
    assert_eq!(status, 200);
    assert_ne!(next.as_ref(), Some(&tag));
    assert_eq!(
        with(&brownout, "PATCH /v1/proxies/redis", &same, r#"{"pool":8}"#).0,
        412
    );
    assert_eq!(
        with(
            &brownout,
            "PATCH /v1/proxies/redis",
            "If-Match: *\r\n",
            r#"{"pool":8}"#
        )
        .0,
        200
    );
    let fault = r#"{"action":"stall","match":{"client":"203.0.113.7"}}"#;
    let none = "If-None-Match: *\r\n";
    let (status, tag) = with(&brownout, "PUT /v1/faults/a", none, fault);
    assert_eq!(status, 201);
    assert_eq!(with(&brownout, "PUT /v1/faults/a", none, fault).0, 412);
    assert_eq!(
        with(&brownout, "PUT /v1/faults/a", "", fault),
        (200, tag.clone()),
        "the same fault"
    );
    let other = format!("If-Match: {}\r\n", tag.expect("a tag"));
    assert_eq!(
        with(
            &brownout,
            "PUT /v1/faults/a",
            &other,
            r#"{"action":"stall"}"#
        )
        .0,
        200
    );
    assert_eq!(with(&brownout, "DELETE /v1/faults/a", &other, "").0, 412);
    assert_eq!(with(&brownout, "DELETE /v1/faults/a", "", "").0, 204);
}

#[test]
fn lists_come_in_pages() {
    let redis = Redis::start();
    let brownout = start(&redis);
    for name in ["c", "a", "b"] {
        let fault =
            json!({ "action": "stall", "name": name, "match": { "client": "203.0.113.7" } });
        assert_eq!(send(&brownout, "POST", "/v1/faults", &fault).0, 201);
    }
    let names = |path: &str| {
        let page = brownout.get(path).json();
        let faults = page["faults"].as_array().expect("faults");
        let names: Vec<String> = faults
            .iter()
            .map(|f| f["name"].as_str().unwrap_or_default().into())
            .collect();
        (names.join(" "), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(
        names("/v1/faults"),
        ("c a b".into(), None),
        "in the order of enabling"
    );
    assert_eq!(
        names("/v1/faults?limit=2"),
        ("a b".into(), Some("b".into()))
    );
    assert_eq!(names("/v1/faults?limit=2&after=b"), ("c".into(), None));
    let profiles = brownout.get("/v1/profiles?limit=1").json();
    assert_eq!(profiles["profiles"].as_array().map(Vec::len), Some(1));
}

#[test]
fn figures_come_by_worker_and_with_histograms() {
    let redis = Redis::start();
    let brownout = Brownout::start(&[
        "--workers",
        "2",
        "--redis",
        &format!("redis@0={}", redis.address()),
    ]);
    let address = brownout.proxy("redis").to_string();
    for _ in 0..6 {
        assert!(ping(&address));
    }
    let count = |stats: &Value| {
        let operations = stats["proxies"][0]["operations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        operations
            .iter()
            .filter_map(|o| o["count"].as_u64())
            .sum::<u64>()
    };
    let workers = brownout.get("/v1/stats?by=worker").json();
    let each: Vec<u64> = workers["workers"]
        .as_array()
        .expect("workers")
        .iter()
        .map(count)
        .collect();
    assert_eq!((each.len(), each.iter().sum::<u64>()), (2, 6), "{each:?}");
    assert_eq!(count(&brownout.get("/v1/stats").json()), 6);
    let detailed = brownout.get("/v1/stats?histograms=v2").json();
    let text = detailed["proxies"][0]["operations"][0]["histograms"]["client"].clone();
    let text = text.as_str().expect("base64");
    // The cookie of a V2 histogram that is compressed.
    assert!(text.starts_with("HISTFAAA"), "{text}");
    assert!(
        brownout.get("/v1/stats").json()["proxies"][0]["operations"][0]["histograms"].is_null()
    );
    assert_eq!(
        brownout.get("/v1/slo").json()["proxies"][0]["name"],
        "redis"
    );
}

#[test]
fn whoever_comes_back_to_the_events_is_told_what_happened_meanwhile() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let listen = |line: &str| {
        let admin = brownout.admin();
        let mut stream = TcpStream::connect(admin).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("timeout");
        let ask = format!("GET /v1/events HTTP/1.1\r\nHost: {admin}\r\n{line}\r\n");
        stream.write_all(ask.as_bytes()).expect("write");
        BufReader::new(stream).lines().map_while(Result::ok)
    };
    let switch = |name: &str| {
        let fault =
            json!({ "action": "stall", "name": name, "match": { "client": "203.0.113.7" } });
        assert_eq!(brownout.post("/v1/faults", &fault).status, 201);
    };
    let mut first = listen("");
    assert!(first.any(|l| l.contains("connected")));
    switch("a");
    let id = first
        .find_map(|l| l.strip_prefix("id: ").map(str::to_owned))
        .expect("an id");
    drop(first);
    switch("b");
    let mut second = listen(&format!("Last-Event-ID: {id}\r\n"));
    let data = second
        .find(|l| l.starts_with("data: "))
        .expect("what was missed");
    assert!(
        data.contains("fault_enabled") && data.contains("\"b\""),
        "{data}"
    );
    // A number of another run.
    let mut third = listen("Last-Event-ID: 123456789\r\n");
    let told = third.find(|l| l.starts_with("event: ") || l.starts_with("data: "));
    assert_eq!(told.as_deref(), Some("event: missed"));
}
