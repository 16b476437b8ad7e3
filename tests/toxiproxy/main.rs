//! Toxiproxy's API as a contract: every route, status, message, default and order of checks, byte by byte.
//!
//! That each toxic does what it says is in `toxics.rs`; that clients of the field understand it, in `tests/e2e`.

// A failed step is a failed test.
#![allow(clippy::unwrap_used)]
// A conversation is told from its beginning to its end.
#![allow(clippy::too_many_lines)]

#[path = "../support/mod.rs"]
mod support;

mod docs;
mod toxics;

use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use support::{Brownout, Directory, free_port, request};

/// A server as Toxiproxy's starts: nothing is configured.
fn empty() -> Brownout {
    Brownout::start(&["--toxiproxy-config", "/dev/null"])
}

/// Sends steps in their order; each reply is compared byte by byte.
fn converse(brownout: &Brownout, steps: &[(&str, &str, &str, u16, &str)]) {
    for (number, (method, path, body, status, expected)) in steps.iter().enumerate() {
        let body = Some(*body).filter(|b| !b.is_empty());
        let reply = request(brownout.admin(), method, path, body).unwrap();
        let what = format!(
            "step {number}: {method} {path} {}",
            body.unwrap_or_default()
        );
        assert_eq!((reply.status, &*reply.body), (*status, *expected), "{what}");
        if !expected.is_empty() {
            let kind = reply.header("content-type").unwrap_or_default();
            assert!(kind.starts_with("application/json"), "{what}: {kind}");
        }
    }
}

const NO_PROXY: &str = "{\"error\":\"proxy not found\",\"status\":404}\n";
const NO_TOXIC: &str = "{\"error\":\"toxic not found\",\"status\":404}\n";
const NO_NAME: &str = "{\"error\":\"missing required field: name\",\"status\":400}\n";
const NO_UPSTREAM: &str = "{\"error\":\"missing required field: upstream\",\"status\":400}\n";
const BAD_STREAM: &str =
    "{\"error\":\"stream was invalid, can be either upstream or downstream\",\"status\":400}\n";
const BAD_TYPE: &str = "{\"error\":\"invalid toxic type\",\"status\":400}\n";
const EOF: &str = "{\"error\":\"bad request body: EOF\",\"status\":400}\n";

#[test]
fn nothing_is_there_at_first() {
    converse(
        &empty(),
        &[
            ("GET", "/version", "", 200, "{\"version\": \"2.12.0\"}\n"),
            ("GET", "/proxies", "", 200, "{}"),
            ("GET", "/proxies/none", "", 404, NO_PROXY),
            ("POST", "/proxies/none", "{}", 404, NO_PROXY),
            ("PATCH", "/proxies/none", "not even JSON", 404, NO_PROXY),
            ("DELETE", "/proxies/none", "", 404, NO_PROXY),
            ("GET", "/proxies/none/toxics", "", 404, NO_PROXY),
            (
                "POST",
                "/proxies/none/toxics",
                "not even JSON",
                404,
                NO_PROXY,
            ),
            ("GET", "/proxies/none/toxics/t", "", 404, NO_PROXY),
            ("POST", "/proxies/none/toxics/t", "{}", 404, NO_PROXY),
            ("PATCH", "/proxies/none/toxics/t", "{}", 404, NO_PROXY),
            ("DELETE", "/proxies/none/toxics/t", "", 404, NO_PROXY),
            ("POST", "/reset", "", 204, ""),
            ("POST", "/populate", "[]", 201, "{\"proxies\":[]}"),
            ("POST", "/populate", "null", 201, "{\"proxies\":[]}"),
            ("DELETE", "/proxies", "", 405, ""),
            ("PUT", "/proxies/none", "{}", 405, ""),
            ("GET", "/reset", "", 405, ""),
            ("GET", "/populate", "", 405, ""),
            ("POST", "/version", "", 405, ""),
        ],
    );
}

#[test]
fn a_proxy_lives_its_life() {
    let (port, other) = (free_port(), free_port());
    let listen = format!("127.0.0.1:{port}");
    let on = format!(
        r#"{{"name":"p","listen":"{listen}","upstream":"localhost:1","enabled":true,"toxics":[]}}"#
    );
    let off = on.replace("true", "false");
    let create = format!(r#"{{"name":"p","listen":"{listen}","upstream":"localhost:1"}}"#);
    let same_port = format!(r#"{{"name":"q","listen":"{listen}","upstream":"localhost:1"}}"#);
    let all = format!(r#"{{"p":{on}}}"#);
    let moved = on.replace(&port.to_string(), &other.to_string());
    let move_it = format!(r#"{{"listen":"localhost:{other}"}}"#);
    let rerouted = moved.replace("localhost:1", "127.0.0.1:2");
    let brownout = empty();
    converse(
        &brownout,
        &[
            ("POST", "/proxies", "", 400, EOF),
            ("POST", "/proxies", "{}", 400, NO_NAME),
            ("POST", "/proxies", "null", 400, NO_NAME),
            ("POST", "/proxies", r#"{"name":""}"#, 400, NO_NAME),
            ("POST", "/proxies", r#"{"name":"p"}"#, 400, NO_UPSTREAM),
            ("POST", "/proxies", &create, 201, &on),
            (
                "POST",
                "/proxies",
                &create,
                409,
                "{\"error\":\"proxy already exists\",\"status\":409}\n",
            ),
            ("GET", "/proxies", "", 200, &all),
            ("GET", "/proxies/p", "", 200, &on),
            ("GET", "/proxies/p/toxics", "", 200, "[]"),
            ("POST", "/proxies/p", "", 400, EOF),
            ("POST", "/proxies/p", "{}", 200, &on),
            ("PATCH", "/proxies/p", r#"{"enabled":false}"#, 200, &off),
            ("GET", "/proxies/p", "", 200, &off),
            ("POST", "/proxies/p", "{}", 200, &off),
            ("POST", "/proxies/p", r#"{"enabled":true}"#, 200, &on),
            ("PATCH", "/proxies/p", &move_it, 200, &moved),
            (
                "POST",
                "/proxies/p",
                r#"{"upstream":"127.0.0.1:2"}"#,
                200,
                &rerouted,
            ),
            (
                "POST",
                "/proxies/p",
                r#"{"enabled":false}"#,
                200,
                &rerouted.replace("true", "false"),
            ),
            ("POST", "/reset", "", 204, ""),
            ("GET", "/proxies/p", "", 200, &rerouted),
            ("DELETE", "/proxies/p", "", 204, ""),
            ("DELETE", "/proxies/p", "", 404, NO_PROXY),
            ("GET", "/proxies", "", 200, "{}"),
            (
                "POST",
                "/proxies",
                &create.replace('}', r#","enabled":false}"#),
                201,
                &off,
            ),
        ],
    );
    assert!(TcpStream::connect(&listen).is_err(), "it is off");
    converse(
        &brownout,
        &[("POST", "/proxies/p", r#"{"enabled":true}"#, 200, &on)],
    );
    TcpStream::connect(&listen).unwrap();
    let taken = request(brownout.admin(), "POST", "/proxies", Some(&same_port)).unwrap();
    assert_eq!(taken.status, 500, "{}", taken.body);
}

#[test]
fn addresses_are_shown_as_they_are() {
    let brownout = empty();
    let create = |name: &str, listen: &str, upstream: &str| {
        let body = json!({ "name": name, "listen": listen, "upstream": upstream });
        brownout.post("/proxies", &body)
    };
    for (name, listen, ip) in [
        ("none", "", "127.0.0.1"),
        ("zero", "127.0.0.1:0", "127.0.0.1"),
        ("name", "localhost:0", "127.0.0.1"),
        ("every", ":0", "0.0.0.0"),
    ] {
        let reply = create(name, listen, "localhost:6379");
        assert_eq!(reply.status, 201, "{}", reply.body);
        let shown: SocketAddr = reply.json()["listen"].as_str().unwrap().parse().unwrap();
        assert_eq!(shown.ip().to_string(), ip);
        assert_ne!(shown.port(), 0);
        TcpStream::connect(("127.0.0.1", shown.port())).unwrap();
    }
    for (listen, upstream) in [
        ("127.0.0.1", "localhost:1"),
        ("127.0.0.1:x", "localhost:1"),
        ("no.such.host.invalid:0", "localhost:1"),
        ("", "localhost"),
        ("", "redis://localhost:6379"),
        ("", "localhost:0"),
    ] {
        let reply = create("bad", listen, upstream);
        assert_eq!(reply.status, 500, "{listen} {upstream}: {}", reply.body);
        assert!(!reply.json()["error"].as_str().unwrap().is_empty());
    }
    // What a request would come back to is refused, too.
    let ourselves = create("loop", "", &brownout.admin().to_string());
    assert_eq!(ourselves.status, 500, "{}", ourselves.body);
}

#[test]
fn a_proxy_speaks_what_its_name_or_a_field_says() {
    let brownout = empty();
    for (body, protocol) in [
        (json!({ "name": "plain" }), Value::Null),
        (json!({ "name": "plain-2", "protocol": "tcp" }), Value::Null),
        (json!({ "name": "redis" }), json!("redis")),
        (json!({ "name": "postgres-main" }), json!("postgres")),
        (json!({ "name": "web", "protocol": "http" }), json!("http")),
        (json!({ "name": "redis-2", "protocol": "tcp" }), Value::Null),
    ] {
        let mut body = body;
        body["upstream"] = json!("localhost:1");
        body["unknown"] = json!({ "fields": ["are", "passed over"] });
        let reply = brownout.post("/proxies", &body);
        assert_eq!(reply.status, 201, "{}", reply.body);
        assert_eq!(reply.json()["protocol"], protocol, "{body}");
        let name = body["name"].as_str().unwrap();
        let ours = brownout.get(&format!("/v1/proxies/{name}")).json();
        let spoken = protocol.as_str().unwrap_or("tcp");
        assert_eq!(ours["protocol"], spoken);
    }
    let changed = brownout.post("/proxies/web", &json!({ "protocol": "redis" }));
    assert_eq!(
        (changed.status, &changed.json()["protocol"]),
        (200, &json!("redis"))
    );
    let wrong = brownout.post(
        "/proxies",
        &json!({ "name": "x", "upstream": "a:1", "protocol": "smtp" }),
    );
    assert_eq!(wrong.status, 400, "{}", wrong.body);
}

#[test]
fn a_toxic_lives_its_life() {
    const LATENCY: &str = r#"{"attributes":{"latency":100,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1}"#;
    const CHANGED: &str = r#"{"attributes":{"latency":100,"jitter":7},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.5}"#;
    const UP: &str = r#"{"attributes":{"bytes":9},"name":"up","type":"limit_data","stream":"upstream","toxicity":1}"#;
    const TIMEOUT: &str = r#"{"attributes":{"timeout":0},"name":"last","type":"timeout","stream":"downstream","toxicity":0}"#;
    const EXISTS: &str = "{\"error\":\"toxic already exists\",\"status\":409}\n";
    const WRONG: &str = "{\"error\":\"bad request body: latency must be a whole number of 64 bits, not a string\",\"status\":400}\n";
    let brownout = empty();
    let create = json!({ "name": "p", "upstream": "localhost:1" });
    assert_eq!(brownout.post("/proxies", &create).status, 201);
    let toxics = "/proxies/p/toxics";
    let one = "/proxies/p/toxics/latency_downstream";
    let all = format!("[{UP},{CHANGED},{TIMEOUT}]");
    let left = format!("[{CHANGED},{TIMEOUT}]");
    converse(
        &brownout,
        &[
            ("GET", "/proxies/p/toxics/none", "", 404, NO_TOXIC),
            (
                "POST",
                "/proxies/p/toxics/none",
                "not even JSON",
                404,
                NO_TOXIC,
            ),
            ("DELETE", "/proxies/p/toxics/none", "", 404, NO_TOXIC),
            ("POST", toxics, "", 400, EOF),
            (
                "POST",
                toxics,
                r#"{"stream":"x","type":"y"}"#,
                400,
                BAD_STREAM,
            ),
            ("POST", toxics, r#"{"type":"y"}"#, 400, BAD_TYPE),
            ("POST", toxics, "{}", 400, BAD_TYPE),
            (
                "POST",
                toxics,
                r#"{"type":"latency","attributes":{"latency":"soon"}}"#,
                400,
                WRONG,
            ),
            (
                "POST",
                toxics,
                r#"{"type":"latency","attributes":{"latency":100}}"#,
                200,
                LATENCY,
            ),
            // The name is looked at before the attributes are.
            (
                "POST",
                toxics,
                r#"{"type":"latency","attributes":{"latency":"soon"}}"#,
                409,
                EXISTS,
            ),
            (
                "POST",
                toxics,
                r#"{"type":"timeout","name":"latency_downstream"}"#,
                409,
                EXISTS,
            ),
            ("GET", one, "", 200, LATENCY),
            ("POST", one, "", 400, EOF),
            ("POST", one, "{}", 200, LATENCY),
            (
                "PATCH",
                one,
                r#"{"attributes":{"latency":"soon"}}"#,
                400,
                WRONG,
            ),
            (
                "POST",
                one,
                r#"{"toxicity":0.5,"attributes":{"jitter":7},"name":"other","stream":"upstream","type":"timeout"}"#,
                200,
                CHANGED,
            ),
            (
                "POST",
                toxics,
                r#"{"type":"timeout","name":"last","toxicity":0}"#,
                200,
                TIMEOUT,
            ),
            (
                "POST",
                toxics,
                r#"{"type":"limit_data","name":"up","stream":"upstream","attributes":{"bytes":9}}"#,
                200,
                UP,
            ),
            ("GET", toxics, "", 200, &all),
            ("DELETE", "/proxies/p/toxics/up", "", 204, ""),
            ("GET", toxics, "", 200, &left),
            ("POST", "/reset", "", 204, ""),
            ("GET", toxics, "", 200, "[]"),
            ("GET", one, "", 404, NO_TOXIC),
        ],
    );
    assert_eq!(brownout.get("/v1/faults").json()["faults"], json!([]));
}

#[test]
fn any_name_will_do() {
    let brownout = empty();
    let name = "Redis Master / [1]*";
    let path = "/proxies/Redis%20Master%20%2F%20%5B1%5D%2A";
    let create = json!({ "name": name, "upstream": "localhost:1" });
    assert_eq!(brownout.post("/proxies", &create).status, 201);
    let neighbour = json!({ "name": "Redis Master / 1", "upstream": "localhost:1" });
    assert_eq!(brownout.post("/proxies", &neighbour).status, 201);
    let toxic =
        json!({ "name": "Über \"slow\"", "type": "latency", "attributes": { "latency": 1 } });
    let reply = brownout.post(&format!("{path}/toxics"), &toxic);
    assert_eq!((reply.status, &reply.json()["name"]), (200, &toxic["name"]));
    let shown = brownout.get("/proxies").json();
    assert_eq!(shown[name]["toxics"][0]["name"], toxic["name"]);
    assert_eq!(shown["Redis Master / 1"]["toxics"], json!([]));
    let one = format!("{path}/toxics/%C3%9Cber%20%22slow%22");
    assert_eq!(brownout.get(&one).status, 200);
    assert_eq!(brownout.delete(&one).status, 204);
    // Two that would be one fault's name.
    for (proxy, toxic) in [("a.b", "c"), ("a", "b.c")] {
        let create = json!({ "name": proxy, "upstream": "localhost:1" });
        assert_eq!(brownout.post("/proxies", &create).status, 201);
        let body = json!({ "name": toxic, "type": "timeout" });
        let reply = brownout.post(&format!("/proxies/{proxy}/toxics"), &body);
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    assert_eq!(brownout.get("/proxies/a/toxics").json()[0]["name"], "b.c");
    assert_eq!(brownout.get("/proxies/a.b/toxics").json()[0]["name"], "c");
    assert_eq!(brownout.delete(path).status, 204);
    let endless = json!({ "name": "x".repeat(129), "upstream": "localhost:1" });
    assert_eq!(brownout.post("/proxies", &endless).status, 400);
}

#[test]
fn populating_leaves_what_is_the_same_and_replaces_the_rest() {
    let brownout = empty();
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let wanted = |name: &str, port: u16, upstream: &str| json!({ "name": name, "listen": format!("localhost:{port}"), "upstream": upstream });
    let list = json!([
        wanted("a", ports[0], "localhost:1"),
        wanted("b", ports[1], "localhost:1")
    ]);
    let made = brownout.post("/populate", &list);
    assert_eq!(made.status, 201, "{}", made.body);
    let expected = format!(
        r#"{{"proxies":[{{"name":"a","listen":"127.0.0.1:{}","upstream":"localhost:1","enabled":true,"toxics":[]}},{{"name":"b","listen":"127.0.0.1:{}","upstream":"localhost:1","enabled":true,"toxics":[]}}]}}"#,
        ports[0], ports[1]
    );
    assert_eq!(made.body, expected);
    for name in ["a", "b"] {
        let toxic = json!({ "type": "timeout" });
        assert_eq!(
            brownout
                .post(&format!("/proxies/{name}/toxics"), &toxic)
                .status,
            200
        );
    }
    let list = json!([
        wanted("a", ports[0], "localhost:1"),
        wanted("b", ports[1], "localhost:2"),
        json!({ "name": "c", "listen": format!("127.0.0.1:{}", ports[2]), "upstream": "localhost:1", "enabled": false }),
    ]);
    let made = brownout.post("/populate", &list);
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    let toxics = |at: usize| made["proxies"][at]["toxics"].as_array().unwrap().len();
    assert_eq!((toxics(0), toxics(1)), (1, 0), "untouched, and replaced");
    assert_eq!(made["proxies"][2]["enabled"], false);
    let faults = brownout.get("/v1/faults").json();
    assert_eq!(faults["faults"].as_array().unwrap().len(), 1, "{faults}");

    // Names and upstreams are looked at before anything is made.
    for (list, status, error) in [
        (
            json!([{ "name": "d", "upstream": "a:1" }, { "upstream": "a:1" }]),
            400,
            "missing required field: name at proxy 2",
        ),
        (
            json!([{ "name": "d" }]),
            400,
            "missing required field: upstream at proxy 1",
        ),
        (
            json!([{ "name": "d", "upstream": "a:1" }, { "name": "d", "upstream": "a:1" }]),
            500,
            "duplicate proxy name \"d\"",
        ),
    ] {
        let reply = brownout.post("/populate", &list);
        let expected = json!({ "error": error, "status": status, "proxies": [] });
        assert_eq!((reply.status, reply.json()), (status, expected));
        assert_eq!(brownout.get("/proxies/d").status, 404);
    }
    // What fails in the middle tells what was done before.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let list = json!([
        { "name": "d", "upstream": "localhost:1" },
        { "name": "e", "upstream": "localhost:1", "listen": taken.local_addr().unwrap().to_string() },
        { "name": "f", "upstream": "localhost:1" },
    ]);
    let reply = brownout.post("/populate", &list);
    assert_eq!((reply.status, &reply.json()["status"]), (500, &json!(500)));
    assert!(reply.body.starts_with("{\"error\":"), "{}", reply.body);
    let reply = reply.json();
    let done: Vec<_> = reply["proxies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert_eq!(done, ["d"]);
    assert_eq!(brownout.get("/proxies/f").status, 404);
    let reply = brownout.post("/populate", &json!({ "name": "d" }));
    assert_eq!(reply.status, 400);
    assert!(
        reply.json()["error"]
            .as_str()
            .unwrap()
            .starts_with("bad request body: ")
    );
}

#[test]
fn clients_send_what_they_like() {
    let brownout = empty();
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "User-Agent: Mozilla/5.0\r\nContent-Type: application/json; charset=utf-8\r\n",
    ] {
        use std::io::{Read, Write};
        let body = r#"{"Name":"p","UPSTREAM":"localhost:1"} and more"#;
        let mut stream = TcpStream::connect(brownout.admin()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (host, length) = (brownout.admin(), body.len());
        let request = format!(
            "POST /proxies HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 201 "), "{headers}: {reply}");
        assert_eq!(brownout.delete("/proxies/p").status, 204);
    }
}

#[test]
fn toxics_and_faults_are_one_thing() {
    let brownout = empty();
    for name in ["p", "q"] {
        let create = json!({ "name": name, "upstream": "localhost:1" });
        assert_eq!(brownout.post("/proxies", &create).status, 201);
    }
    let toxic = json!({ "type": "bandwidth", "attributes": { "rate": 5 }, "toxicity": 0.25 });
    assert_eq!(brownout.post("/proxies/p/toxics", &toxic).status, 200);
    let fault = brownout.get("/v1/faults").json()["faults"][0].clone();
    assert_eq!(fault["name"], "p.bandwidth_downstream");
    assert_eq!(fault["fault"]["action"], "throttle");
    assert_eq!(fault["fault"]["bytes_per_second"], 5000);
    assert_eq!(fault["fault"]["probability"], 0.25);
    let left = fault["left_ms"].as_u64().unwrap();
    let hours = Duration::from_millis(left).as_secs_f64() / 3600.0;
    assert!((11.9..=12.0).contains(&hours), "{hours} h");
    assert_eq!(
        brownout.delete("/v1/faults/p.bandwidth_downstream").status,
        204
    );
    assert_eq!(brownout.get("/proxies/p/toxics").json(), json!([]));

    for (fault, toxic) in [
        (
            json!({ "action": "latency", "delay": "20ms" }),
            Some(("latency", json!({ "latency": 20, "jitter": 0 }))),
        ),
        (
            json!({ "action": "latency", "delay": { "distribution": "uniform", "min": "5ms", "max": "15ms" } }),
            Some(("latency", json!({ "latency": 10, "jitter": 5 }))),
        ),
        (
            json!({ "action": "throttle", "bytes_per_second": 2000 }),
            Some(("bandwidth", json!({ "rate": 2 }))),
        ),
        (
            json!({ "action": "slice", "size": 9, "variation": 2, "gap": "1ms" }),
            Some((
                "slicer",
                json!({ "average_size": 9, "size_variation": 2, "delay": 1000 }),
            )),
        ),
        (
            json!({ "action": "slow_close", "delay": "1s", "on": "reply" }),
            Some(("slow_close", json!({ "delay": 1000 }))),
        ),
        (
            json!({ "action": "blackhole" }),
            Some(("timeout", json!({ "timeout": 0 }))),
        ),
        (
            json!({ "action": "reset_peer", "close_after": "2s" }),
            Some(("reset_peer", json!({ "timeout": 2000 }))),
        ),
        (
            json!({ "action": "limit_data", "bytes": 3, "probability": 0.5 }),
            Some(("limit_data", json!({ "bytes": 3 }))),
        ),
        // These have no equivalent.
        (json!({ "action": "stall" }), None),
        (
            json!({ "action": "latency", "delay": "20ms", "first": 1 }),
            None,
        ),
        (
            json!({ "action": "latency", "delay": "20ms", "probability": 0.5 }),
            None,
        ),
        (
            json!({ "action": "latency", "delay": "20ms", "schedule": { "start": "1s" } }),
            None,
        ),
        (json!({ "action": "slow_close", "delay": "1s" }), None),
    ] {
        let mut fault = fault;
        fault["name"] = json!("ours");
        fault["proxy"] = json!("*");
        let reply = brownout.post("/v1/faults", &fault);
        assert_eq!(reply.status, 201, "{}", reply.body);
        for proxy in ["p", "q"] {
            let shown = brownout.get(&format!("/proxies/{proxy}/toxics")).json();
            match &toxic {
                Some((kind, attributes)) => {
                    assert_eq!(shown[0]["type"], *kind);
                    assert_eq!(shown[0]["attributes"], *attributes, "{fault}");
                    assert_eq!(shown[0]["name"], "ours");
                }
                None => assert_eq!(shown, json!([]), "{fault}"),
            }
        }
        if let Some((_, attributes)) = toxic {
            // A change leaves the rest of the fault as it is.
            let body = json!({ "attributes": attributes });
            let changed = brownout.post("/proxies/p/toxics/ours", &body);
            assert_eq!(
                (changed.status, &changed.json()["attributes"]),
                (200, &attributes)
            );
            let fault = brownout.get("/v1/faults/ours").json();
            assert_eq!(fault["fault"]["proxy"], "*");
            assert!(fault["left_ms"].as_u64().unwrap() <= 15 * 60 * 1000);
            assert_eq!(brownout.delete("/proxies/p/toxics/ours").status, 204);
        } else {
            assert_eq!(brownout.delete("/v1/faults/ours").status, 204);
        }
        assert_eq!(brownout.get("/v1/faults").json()["faults"], json!([]));
    }
}

#[test]
fn halting_refuses_new_toxics() {
    let brownout = empty();
    let create = json!({ "name": "p", "upstream": "localhost:1" });
    assert_eq!(brownout.post("/proxies", &create).status, 201);
    assert_eq!(brownout.post("/v1/halt", &json!({})).status, 200);
    let reply = brownout.post("/proxies/p/toxics", &json!({ "type": "timeout" }));
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert_eq!(reply.json()["error"], "faults are halted; resume first");
}

#[test]
fn a_configuration_file_of_toxiproxy_is_read() {
    let directory = Directory::new("toxiproxy");
    let file = directory.path().join("toxiproxy.json");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    write(
        r#"[{"name": "redis", "listen": "[::1]:0", "upstream": "localhost:6379"}, {"name": "mysql", "listen": "localhost:0", "upstream": "db:3306", "enabled": false}]"#,
    );
    let brownout = Brownout::start(&["--toxiproxy-config", &path]);
    let proxies = brownout.get("/proxies").json();
    assert!(
        proxies["redis"]["listen"]
            .as_str()
            .unwrap()
            .starts_with("[::1]:")
    );
    assert_eq!(proxies["mysql"]["enabled"], false);
    assert!(
        brownout
            .stderr()
            .contains("proxy redis redis listening on [::1]:")
    );
    drop(brownout);

    for (text, wrong) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"name": "redis"}"#, "it must be an array of proxies"),
        (
            r#"[{"name": "redis"}]"#,
            "missing required field: upstream at proxy 1",
        ),
    ] {
        write(text);
        let arguments = ["run", "--admin", "127.0.0.1:0", "--toxiproxy-config", &path];
        let exit = support::run_to_end(&arguments, Duration::from_secs(20));
        assert_eq!(exit.code, Some(2), "{}", exit.stderr);
        assert!(
            exit.stderr.contains(&path) && exit.stderr.contains(wrong),
            "{}",
            exit.stderr
        );
    }
}
