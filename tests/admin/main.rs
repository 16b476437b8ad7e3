//! The admin endpoint over its socket: what it answers, what it refuses, and that Toxiproxy's clients find what they know.

mod endurance;
mod guards;
mod hostile;
mod proxies;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::{Brownout, Redis, eventually, open_descriptors, request};

const LIMIT: Duration = Duration::from_secs(10);

fn start(redis: &Redis) -> Brownout {
    Brownout::start(&["--redis", &format!("redis@0={}", redis.address())])
}

/// The status of a request that is sent as it stands.
fn raw(admin: SocketAddr, text: &str) -> u16 {
    let mut stream = TcpStream::connect(admin).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("timeout");
    stream.write_all(text.as_bytes()).expect("write");
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("a status line");
    line.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("{line}"))
}

/// The first line that Redis answers to a GET, and how long it took.
fn get(address: SocketAddr) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.write_all(b"GET key\r\n").expect("write");
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("a reply");
    (line, began.elapsed())
}

#[test]
fn requests_of_pages_and_strangers_are_refused() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let admin = brownout.admin();
    let host = format!("Host: {admin}\r\n");
    let status = |first: &str, headers: &str, body: &str| {
        let length = body.len();
        raw(
            admin,
            &format!("{first} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"),
        )
    };
    let json = format!("{host}Content-Type: application/json\r\n");
    assert_eq!(status("GET /v1/proxies", &host, ""), 200);
    assert_eq!(status("GET /v1/proxies", "Host: evil.example\r\n", ""), 403);
    assert_eq!(status("GET /v1/proxies", "", ""), 400);
    assert_eq!(
        status(
            "POST /v1/halt",
            &format!("{host}Origin: http://evil.example\r\n"),
            ""
        ),
        403
    );
    assert_eq!(
        status(
            "POST /v1/halt",
            &format!("{host}Sec-Fetch-Site: cross-site\r\n"),
            ""
        ),
        403
    );
    assert_eq!(status("OPTIONS /v1/halt", &host, ""), 403);
    assert_eq!(
        status("POST /proxies/redis/toxics", "Host: evil.example\r\n", "{}"),
        403
    );
    assert_eq!(status("GET /metrics", "Host: evil.example\r\n", ""), 403);
    let latency = r#"{"action":"latency","delay":"1ms"}"#;
    let text = format!("{host}Content-Type: text/plain\r\n");
    assert_eq!(status("POST /v1/faults", &text, latency), 415);
    assert_eq!(status("POST /v1/faults", &json, "{"), 400);
    assert_eq!(
        status(
            "POST /v1/faults",
            &json,
            r#"{"action":"latency","dely":"1ms"}"#
        ),
        400
    );
    assert_eq!(
        status(
            "POST /v1/faults",
            &json,
            r#"{"action":"latency","action":"stall"}"#
        ),
        400
    );
    assert_eq!(
        status(
            "POST /v1/faults",
            &json,
            r#"{"action":"latency","probability":2}"#
        ),
        422
    );
    assert_eq!(status("POST /v1/faults", &json, &" ".repeat(70_000)), 413);
    assert_eq!(status("GET /v1/nothing", &host, ""), 404);
    assert_eq!(status("DELETE /v1/proxies", &host, ""), 405);
    assert_eq!(status("GET /v1/halt", &host, ""), 405);
    assert_eq!(status("GET /v1/stats?window=2h", &host, ""), 400);
    assert_eq!(status("GET /v1/proxies/%zz", &host, ""), 400);
    assert_eq!(
        brownout.get("/v1/faults").json()["faults"],
        json!([]),
        "nothing was switched on"
    );
}

#[test]
fn problems_name_the_field_and_the_remedy() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let reply = brownout.post(
        "/v1/faults",
        &json!({ "action": "latency", "delay": "1ms", "probability": 2 }),
    );
    assert_eq!(reply.status, 422);
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let problem = reply.json();
    assert_eq!(problem["errors"][0]["field"], "probability");
    assert!(
        problem["errors"][0]["remedy"]
            .as_str()
            .is_some_and(|r| !r.is_empty()),
        "{problem}"
    );
    let reply = brownout.post("/v1/profiles/redis-slo/enable", &json!({}));
    assert_eq!(reply.status, 404);
    assert!(
        reply.json()["detail"]
            .as_str()
            .is_some_and(|d| d.contains("redis-slow")),
        "nearest name"
    );
}

#[test]
fn slow_clients_lose_their_connection_and_hold_nobody_up() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let admin = brownout.admin();
    let before = open_descriptors(brownout.id());
    let mut slow: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(admin).expect("connect");
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: ")
                .expect("write");
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(brownout.get("/healthz").status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "took {:?}",
        began.elapsed()
    );
    // The header's deadline is 5 s.
    for stream in &mut slow {
        stream.set_read_timeout(Some(LIMIT)).expect("timeout");
        let mut rest = Vec::new();
        // What it had not read yet when it closed makes that a reset.
        match stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("closed, not forgotten: {error}")
            }
            _ => {}
        }
    }
    eventually("descriptors to be given back", LIMIT, || {
        (open_descriptors(brownout.id()) <= before + 2).then_some(())
    });
}

#[test]
fn a_toxic_of_toxiproxy_is_a_fault_here() {
    let redis = Redis::start();
    let brownout = start(&redis);
    assert!(
        brownout.get("/version").json()["version"]
            .as_str()
            .is_some_and(|v| v.starts_with("2."))
    );
    let toxics = "/proxies/redis/toxics";
    let wanted = json!({ "type": "latency", "attributes": { "latency": 60, "jitter": 0 } });
    let reply = brownout.post(toxics, &wanted);
    assert_eq!(reply.status, 200, "{:?}", reply.json());
    let shown = json!({
        "attributes": { "latency": 60, "jitter": 0 }, "name": "latency_downstream", "type": "latency",
        "stream": "downstream", "toxicity": 1,
    });
    assert_eq!(reply.json(), shown);
    assert_eq!(brownout.get(toxics).json(), json!([shown]));
    assert_eq!(
        brownout.get("/proxies").json()["redis"]["toxics"],
        json!([shown])
    );
    assert_eq!(
        brownout.get("/v1/faults").json()["faults"][0]["name"],
        "redis.latency_downstream"
    );
    let again = brownout.post(toxics, &wanted);
    assert_eq!(
        (again.status, &again.json()["error"]),
        (409, &json!("toxic already exists"))
    );
    let (reply, took) = get(brownout.proxy("redis"));
    assert_eq!(reply, "$-1\r\n");
    assert!(took >= Duration::from_millis(60), "took {took:?}");
    let faults = &brownout.get("/v1/stats").json()["proxies"][0]["faults"];
    assert_eq!(
        faults["late"]["samples"], 1,
        "how late the held reply went is measured: {faults}"
    );

    for (body, error) in [
        (
            json!({ "type": "latency", "stream": "sideways" }),
            "stream was invalid, can be either upstream or downstream",
        ),
        (json!({ "type": "gravity" }), "invalid toxic type"),
    ] {
        let reply = brownout.post(toxics, &body);
        assert_eq!((reply.status, &reply.json()["error"]), (400, &json!(error)));
    }
    let nowhere = brownout.post("/proxies/other/toxics", &wanted);
    assert_eq!(
        (nowhere.status, &nowhere.json()["error"]),
        (404, &json!("proxy not found"))
    );
    assert_eq!(
        brownout
            .delete(&format!("{toxics}/latency_downstream"))
            .status,
        204
    );
    let gone = brownout.delete(&format!("{toxics}/latency_downstream"));
    assert_eq!(
        (gone.status, &gone.json()["error"]),
        (404, &json!("toxic not found"))
    );
    assert!(get(brownout.proxy("redis")).1 < Duration::from_millis(60));
}

#[test]
fn events_tell_what_happens_while_it_happens() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let mut stream = TcpStream::connect(brownout.admin()).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("timeout");
    let ask = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {}\r\n\r\n",
        brownout.admin()
    );
    stream.write_all(ask.as_bytes()).expect("write");
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"));
    assert!(
        lines.any(|l| l.contains("connected")),
        "the stream begins at once"
    );
    let fault = json!({ "name": "gone", "action": "error", "preset": "LOADING", "match": { "operation": "GET" } });
    assert_eq!(brownout.post("/v1/faults", &fault).status, 201);
    assert!(get(brownout.proxy("redis")).0.starts_with("-LOADING"));
    assert_eq!(
        request(brownout.admin(), "POST", "/v1/halt", None)
            .expect("halt")
            .status,
        200
    );
    let mut wanted = vec![
        "fault_enabled",
        "session_opened",
        "injected",
        "session_closed",
        "halted",
    ];
    let mut last = 0;
    while !wanted.is_empty() {
        let line = lines.next().expect("the stream goes on");
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(data).expect("JSON");
        let id = event["id"].as_u64().expect("an id");
        assert!(id > last, "ids count up");
        last = id;
        wanted.retain(|name| event["event"] != *name);
        if event["event"] == "injected" {
            assert_eq!(
                (&event["operation"], &event["faults"]),
                (&json!("GET"), &json!(["gone"]))
            );
        }
    }
    let refused = brownout.post("/v1/faults", &fault);
    assert_eq!(refused.status, 409, "halted: nothing can be switched on");
    assert_eq!(
        request(brownout.admin(), "POST", "/v1/resume", None)
            .expect("resume")
            .status,
        200
    );
    assert_eq!(brownout.post("/v1/faults", &fault).status, 201);
}

#[test]
fn metrics_are_in_prometheus_form_with_edges_on_limits() {
    let redis = Redis::start();
    let folder = support::Directory::new("admin");
    let text = format!(
        "[[proxy]]\nname = \"cache\"\nprotocol = \"redis\"\nlisten = \"0\"\nupstream = \"{}\"\nslo = {{ p95 = \"7ms\" }}\n",
        redis.address()
    );
    let path = folder.write("brownout.toml", &text);
    let brownout = Brownout::start(&["--config", path.to_str().expect("a path")]);
    for _ in 0..5 {
        get(brownout.proxy("cache"));
    }
    let reply = brownout.get("/metrics");
    assert!(
        reply
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"))
    );
    let text = reply.body;
    let line = |name: &str, part: &str| {
        text.lines()
            .find(|l| l.starts_with(name) && l.contains(part))
            .unwrap_or_else(|| panic!("{name} {part}\n{text}"))
    };
    let edge = line(
        "db_client_operation_duration_seconds_bucket",
        "le=\"0.007\"",
    );
    assert!(edge.contains("GET") && edge.ends_with(" 5"), "{edge}");
    line("brownout_build_info", "version=");
    for line in text
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
    {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn the_ledger_is_asked_for_in_pages_and_names_what_it_does_not_understand() {
    let redis = Redis::start();
    let brownout = start(&redis);
    let ask = |path: &str| {
        let reply = brownout.get(path);
        (reply.status, reply.json())
    };
    let fault = json!({ "name": "slow", "proxy": "redis", "action": "latency", "delay": "1ms" });
    assert_eq!(brownout.post("/v1/faults", &fault).status, 201);
    for _ in 0..3 {
        get(brownout.proxy("redis"));
    }
    let page = |query: &str| {
        let (status, body) = ask(&format!("/v1/ledger?{query}"));
        assert_eq!(status, 200, "{query}: {body}");
        let ids: Vec<u64> = body["entries"]
            .as_array()
            .expect("entries")
            .iter()
            .map(|e| e["id"].as_u64().expect("id"))
            .collect();
        (ids, body["more"].clone(), body["next"].clone())
    };
    assert_eq!(page("limit=2"), (vec![1, 2], json!(true), json!(2)));
    assert_eq!(page("limit=2&since=2"), (vec![3], json!(false), json!(3)));
    let all = "proxy=redis&fault=slow&operation=get&form=full&duplicates=false";
    assert_eq!(page(all).0, [1, 2, 3]);
    for none in [
        "proxy=other",
        "fault=other",
        "operation=SET",
        "duplicates=true",
    ] {
        assert!(page(none).0.is_empty(), "{none}");
    }
    let (status, canonical) = ask("/v1/ledger?form=canonical");
    let expected = json!({ "request": 1000, "reply": 0, "floor": 0 });
    let delays = &canonical["entries"][2]["delays_us"];
    assert!(
        status == 200 && (delays == &expected || delays["reply"] == 1000),
        "{canonical}"
    );
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("since=-1", "since"),
        ("since=x", "since"),
        ("form=short", "form"),
        ("form=canonical&since=1", "form"),
        ("form=canonical&limit=1", "form"),
        ("form=canonical&duplicates=true", "form"),
        ("duplicates=yes", "duplicates"),
        ("proxi=redis", "proxi"),
    ] {
        let (status, problem) = ask(&format!("/v1/ledger?{query}"));
        let found = &problem["errors"][0]["field"];
        assert_eq!((status, found), (400, &json!(field)), "{query}: {problem}");
    }
    assert_eq!(brownout.post("/v1/ledger", &json!({})).status, 405);
}
