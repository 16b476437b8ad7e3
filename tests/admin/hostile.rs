//! Requests that must not be answered as if nothing was: each is sent as it stands, over a socket of its own, and the status
//! that it must get is told beside it. 0: the connection is closed without an answer.

use crate::support::{Brownout, Redis};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The statuses of all answers that a text gets, in order.
fn statuses(admin: SocketAddr, text: &[u8], ends: bool) -> Vec<u16> {
    let mut stream = TcpStream::connect(admin).expect("connect");
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).expect("timeout");
    // A refusal may come, and the connection end, before all was sent.
    let _ = stream.write_all(text);
    if ends {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    let reply = String::from_utf8_lossy(&reply);
    let heads = reply.split("HTTP/1.").skip(1);
    heads
        .filter_map(|head| head.get(2..5)?.parse().ok())
        .collect()
}

/// What is sent, and what must come back.
struct Case {
    what: String,
    text: Vec<u8>,
    status: u16,
}

struct Table {
    admin: SocketAddr,
    cases: Vec<Case>,
}

impl Table {
    fn raw(&mut self, status: u16, what: &str, text: impl Into<Vec<u8>>) {
        self.cases.push(Case {
            what: what.into(),
            text: text.into(),
            status,
        });
    }

    /// A request with a right Host and these further header lines.
    fn ask(&mut self, status: u16, first: &str, lines: &str, body: &str) {
        let text = format!(
            "{first} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        );
        self.raw(status, &format!("{first} {lines:?} {body:.120}"), text);
    }

    fn json(&mut self, status: u16, first: &str, body: &str) {
        self.ask(status, first, "Content-Type: application/json\r\n", body);
    }

    fn hosts(&mut self) {
        let port = self.admin.port();
        let names = [
            "evil.example",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "",
            " ",
            "localhost:80",
            "localhost:1",
            "localhost.attacker.example",
            "127.0.0.1.nip.io",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "0x7f000001",
            "127.0.0.2",
            "[::ffff:127.0.0.1]",
            "user@localhost",
            "localhost,evil.example",
        ];
        for name in names {
            let with_port = [String::new(), format!(":{port}")];
            for suffix in with_port {
                let host = format!("{name}{suffix}");
                if ["localhost", "127.0.0.1", "[::1]"].contains(&name) && !suffix.is_empty() {
                    continue;
                }
                for path in ["/v1/halt", "/proxies/redis/toxics"] {
                    let text = format!(
                        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                    );
                    self.raw(403, &format!("Host {host:?} {path}"), text);
                }
            }
        }
        self.raw(
            400,
            "no Host",
            "POST /v1/halt HTTP/1.1\r\nConnection: close\r\n\r\n",
        );
        let twice = format!(
            "POST /v1/halt HTTP/1.1\r\nHost: {0}\r\nHost: {0}\r\n\r\n",
            self.admin
        );
        self.raw(400, "two Hosts", twice);
        let old = "POST /v1/halt HTTP/1.0\r\n\r\n";
        self.raw(400, "HTTP/1.0 without Host", old);
    }

    fn pages(&mut self) {
        let port = self.admin.port();
        let paths = [
            "POST /v1/halt",
            "GET /v1/stats",
            "GET /metrics",
            "GET /healthz",
            "GET /readyz",
            "GET /proxies",
            "POST /reset",
            "GET /version",
            "GET /v1/events",
        ];
        for origin in [
            "null",
            "http://evil.example",
            "https://localhost",
            "file://",
            "http://localhost:1",
            &format!("https://127.0.0.1:{port}"),
            &format!("http://localhost:{port}.evil.example"),
        ] {
            for path in paths {
                self.ask(403, path, &format!("Origin: {origin}\r\n"), "");
            }
        }
        for site in ["cross-site", "same-site", "CROSS-SITE", "none, cross-site"] {
            for path in paths {
                self.ask(403, path, &format!("Sec-Fetch-Site: {site}\r\n"), "");
            }
        }
        for path in ["/", "*", "/v1/halt", "/proxies", "/metrics"] {
            self.ask(403, &format!("OPTIONS {path}"), "", "");
        }
    }

    #[allow(clippy::too_many_lines)] // A table.
    fn framing(&mut self) {
        let host = format!("Host: {}\r\n", self.admin);
        let fault = r#"{"action":"stall"}"#;
        let json = "Content-Type: application/json\r\n";
        let post = format!("POST /v1/faults HTTP/1.1\r\n{host}{json}");
        let cases = [
            (
                400,
                "both lengths",
                format!("{post}Content-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\n{fault}"),
            ),
            (
                400,
                "two lengths",
                format!("{post}Content-Length: 3\r\nContent-Length: 18\r\n\r\n{fault}"),
            ),
            (
                400,
                "a list of lengths",
                format!("{post}Content-Length: 3, 18\r\n\r\n{fault}"),
            ),
            (
                400,
                "a length below zero",
                format!("{post}Content-Length: -1\r\n\r\n{fault}"),
            ),
            (
                400,
                "a length with a sign",
                format!("{post}Content-Length: +18\r\n\r\n{fault}"),
            ),
            (
                400,
                "a length in hexadecimal",
                format!("{post}Content-Length: 0x12\r\n\r\n{fault}"),
            ),
            (
                400,
                "a length that overflows",
                format!("{post}Content-Length: 99999999999999999999\r\n\r\n{fault}"),
            ),
            (
                400,
                "a coding that is none",
                format!("{post}Transfer-Encoding: gzip\r\n\r\n{fault}"),
            ),
            (
                400,
                "chunked is not last",
                format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
            ),
            (
                400,
                "a chunk without a size",
                format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{fault}\r\n0\r\n\r\n"),
            ),
            (
                400,
                "a chunk that is too large a number",
                format!("{post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"),
            ),
            (
                400,
                "a space before the colon",
                format!("POST /v1/faults HTTP/1.1\r\n{host}Content-Length : 18\r\n\r\n{fault}"),
            ),
            (
                400,
                "a folded line",
                format!("POST /v1/halt HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"),
            ),
            (
                400,
                "a bare CR",
                format!("POST /v1/halt HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"),
            ),
            (
                400,
                "a NUL",
                format!("POST /v1/halt HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"),
            ),
            (400, "no version", format!("GET /v1/stats\r\n{host}\r\n")),
            (
                400,
                "another version",
                format!("GET /v1/stats HTTP/9.9\r\n{host}\r\n"),
            ),
            (
                400,
                "no method",
                format!(" /v1/halt HTTP/1.1\r\n{host}\r\n"),
            ),
            (400, "no path", format!("GET  HTTP/1.1\r\n{host}\r\n")),
            (
                400,
                "a body that ends early",
                format!("{post}Content-Length: 100\r\n\r\n{fault}"),
            ),
            (
                400,
                "a name of a header that is none",
                format!("POST /v1/halt HTTP/1.1\r\n{host}a b: c\r\n\r\n"),
            ),
            (400, "Redis", "*1\r\n$4\r\nPING\r\n".to_owned()),
            (
                400,
                "TLS",
                "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_owned(),
            ),
            (
                431,
                "a header that is too long",
                format!(
                    "GET /v1/stats HTTP/1.1\r\n{host}X: {}\r\n\r\n",
                    "a".repeat(8 << 10)
                ),
            ),
            (
                431,
                "too many headers",
                format!(
                    "GET /v1/stats HTTP/1.1\r\n{host}{}\r\n",
                    "X: a\r\n".repeat(2_000)
                ),
            ),
            (
                431,
                "a path that is too long",
                format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(8 << 10)),
            ),
            (
                413,
                "a body that is too large",
                format!("{post}Content-Length: 65537\r\n\r\n{}", " ".repeat(65_537)),
            ),
            (
                413,
                "chunks that are too large",
                format!(
                    "{post}Transfer-Encoding: chunked\r\n\r\n20000\r\n{}\r\n0\r\n\r\n",
                    " ".repeat(0x20000)
                ),
            ),
        ];
        for (status, what, text) in cases {
            self.raw(status, what, text);
        }
    }

    #[allow(clippy::too_many_lines)] // A table.
    fn bodies(&mut self) {
        for kind in [
            "",
            "Content-Type: text/plain\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "Content-Type: multipart/form-data; boundary=x\r\n",
            "Content-Type: application/jsonp\r\n",
            "Content-Type: text/plain; application/json\r\n",
            "Content-Type: application/json-patch+json\r\n",
        ] {
            self.ask(415, "POST /v1/faults", kind, r#"{"action":"stall"}"#);
            self.ask(415, "PATCH /v1/proxies/redis", kind, r#"{"pool":1}"#);
        }
        for body in [
            "{",
            "}",
            "[]",
            "null",
            "1",
            "\"stall\"",
            "{\"action\"}",
            "{\"action\":}",
            "{\"action\":\"stall\",}",
            "{'action':'stall'}",
            "{\"action\":\"stall\"}{}",
            "{\"action\":\"stall\"} x",
            "{\"action\":\"stall\",\"action\":\"stall\"}",
            "{\"action\":\"stall\",\"\\u0061ction\":\"stall\"}",
            "{\"action\":\"stall\",\"match\":{\"key\":\"a\",\"key\":\"b\"}}",
            "{\"action\":\"error\",\"status\":503,\"headers\":{\"a\":\"1\",\"a\":\"2\"}}",
            "{\"action\":\"stall\",\"unknown\":1}",
            "{\"action\":\"stall\",\"match\":{\"unknown\":1}}",
            "{\"action\":\"nothing\"}",
            "{\"action\":null}",
            "{\"action\":1}",
            "{\"action\":\"latency\",\"delay\":5}",
            "{\"action\":\"latency\",\"delay\":\"5\"}",
            "{\"action\":\"stall\",\"ttl\":-1}",
            "{\"action\":\"stall\",\"probability\":\"1\"}",
            "{\"action\":\"stall\",\"probability\":1e999}",
            "{\"proxy\":\"redis\"}",
            "{}",
            "",
            "{\"__proto__\":{},\"action\":\"stall\"}",
            "{\"action\":\"stall\",\"every\":-1}",
            "{\"action\":\"stall\",\"every\":1.5}",
            "{\"action\":\"stall\",\"every\":99999999999999999999}",
        ] {
            self.json(400, "POST /v1/faults", body);
        }
        self.json(
            400,
            "POST /v1/faults",
            &format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)),
        );
        for body in [
            r#"{"action":"stall","probability":2}"#,
            r#"{"action":"stall","probability":-0.1}"#,
            r#"{"action":"stall","ttl":"13h"}"#,
            r#"{"action":"stall","ttl":"0s"}"#,
            r#"{"action":"stall","proxy":"nothing"}"#,
            r#"{"action":"stall","every":0}"#,
            r#"{"action":"stall","name":"../../etc"}"#,
            r#"{"action":"stall","name":""}"#,
            r#"{"action":"latency"}"#,
            r#"{"action":"error","code":"a\r\nb"}"#,
            r#"{"action":"stall","match":{"client":"10.0.0.0/99"}}"#,
            r#"{"action":"stall","delay":"1s"}"#,
        ] {
            self.json(422, "POST /v1/faults", body);
        }
        for body in [
            r#"{"name":"x"}"#,
            r#"{"name":"x","protocol":"smtp","listen":"0","upstream":"h:1"}"#,
            r#"{"name":"../x","protocol":"tcp","listen":"0","upstream":"h:1"}"#,
            r#"{"name":"x","protocol":"tcp","listen":"99999","upstream":"h:1"}"#,
            r#"{"name":"x","protocol":"tcp","listen":"0","upstream":"redis://:pw@h:1"}"#,
            r#"{"name":"x","protocol":"tcp","listen":"unix:relative","upstream":"h:1"}"#,
            r#"{"name":"x","protocol":"tcp","listen":"0","upstream":"h:1","extra":1}"#,
            r#"{"name":"x","protocol":"tcp","listen":"0","upstream":"h:1","pool":0}"#,
            r#"{"name":"x","protocol":"tcp","listen":"0","upstream":"h:1","enabled":"yes"}"#,
        ] {
            self.json(422, "POST /v1/proxies", body);
        }
        let circle = format!(
            r#"{{"name":"x","protocol":"http","listen":"0","upstream":"{}"}}"#,
            self.admin
        );
        self.json(422, "POST /v1/proxies", &circle);
        let file = r#"{"name":"x","protocol":"tcp","listen":"unix:/etc/hosts","upstream":"h:1"}"#;
        self.json(409, "POST /v1/proxies", file);
        self.json(
            409,
            "POST /v1/proxies",
            r#"{"name":"redis","protocol":"tcp","listen":"0","upstream":"h:1"}"#,
        );
        for body in [
            r#"{"ttl":5}"#,
            r#"{"ttl":"x"}"#,
            r#"{"seed":-1}"#,
            r#"{"other":1}"#,
            "[1]",
        ] {
            self.json(400, "POST /v1/profiles/redis-slow/enable", body);
        }
        for path in [
            "/v1/resume",
            "/v1/proxies/redis/disable",
            "/v1/profiles/redis-slow/disable",
        ] {
            self.json(400, &format!("POST {path}"), r#"{"extra":1}"#);
        }
    }

    fn paths(&mut self) {
        for path in [
            "/v1",
            "/v1/",
            "/v1/nothing",
            "/v2/faults",
            "/V1/faults",
            "/v1/faults/none",
            "/v1/faults/..%2f..%2fetc%2fpasswd",
            "/v1/proxies/none",
            "/v1/proxies/../faults",
            "/v1/proxies/%2e%2e/faults",
            "/v1/faults/a/b",
            "/v1/profiles/none",
            "/v1/profiles/..%2f..%2fetc%2fpasswd",
            "/v1/profiles/%00",
            "/v1/halt/x",
            "/etc/passwd",
            "/../../etc/passwd",
            "/.git/config",
            "/v1/faults;x",
            "/proxies/none/toxics",
            "/v1/openapi.json/x",
            "//evil.example/v1/faults/none",
        ] {
            self.ask(404, &format!("GET {path}"), "", "");
        }
        for path in [
            "/v1/faults/%",
            "/v1/faults/%z",
            "/v1/faults/%zz",
            "/v1/faults/%ff",
            "/v1/faults/%c0%ae",
            "/v1/stats?window=%zz",
        ] {
            self.ask(400, &format!("GET {path}"), "", "");
        }
        for path in [
            "/v1/stats?window=2h",
            "/v1/stats?window=0s",
            "/v1/stats?window=",
            "/v1/stats?windw=1s",
            "/v1/stats?by=nobody",
            "/v1/stats?histograms=yes",
            "/v1/faults?limit=0",
            "/v1/faults?limit=-1",
            "/v1/faults?limit=1e3",
            "/v1/faults?limit=1001",
            "/v1/proxies?after=",
            "/v1/version?x=1",
            "/v1/ledger?form=other",
            "/v1/slo?window=61s",
        ] {
            self.ask(400, &format!("GET {path}"), "", "");
        }
        for first in [
            "GET /v1/halt",
            "GET /v1/resume",
            "PUT /v1/halt",
            "DELETE /v1/faults",
            "PUT /v1/faults",
            "PATCH /v1/faults/a",
            "POST /v1/faults/a",
            "DELETE /v1/proxies",
            "PUT /v1/proxies",
            "POST /v1/stats",
            "POST /v1/events",
            "POST /v1/ledger",
            "GET /v1/profiles/redis-slow/enable",
            "DELETE /v1/profiles/redis-slow",
            "POST /v1/profiles",
            "POST /metrics",
            "DELETE /healthz",
            "POST /readyz",
            "TRACE /v1/halt",
            "CONNECT /v1/halt",
            "HEAD /v1/stats",
            "FOO /v1/faults",
            "GET /v1/proxies/redis/enable",
            "POST /v1/version",
            "PUT /v1/openapi.json",
        ] {
            self.ask(405, first, "", "");
        }
    }

    fn conditions(&mut self) {
        for lines in [
            "If-Match: \"0\"\r\n",
            "If-Match: W/\"0\"\r\n",
            "If-Match: \r\n",
            "If-None-Match: *\r\n",
        ] {
            let lines = format!("{lines}Content-Type: application/json\r\n");
            self.ask(412, "PATCH /v1/proxies/redis", &lines, r#"{"pool":1}"#);
        }
        self.ask(412, "DELETE /v1/proxies/redis", "If-Match: \"0\"\r\n", "");
        self.ask(
            412,
            "POST /v1/proxies/redis/disable",
            "If-Match: \"0\"\r\n",
            "",
        );
        self.ask(
            400,
            "DELETE /v1/proxies/redis",
            "If-Match: \"0\"\r\nIf-Match: *\r\n",
            "",
        );
        self.ask(400, "GET /v1/events", "Last-Event-ID: x\r\n", "");
        self.ask(400, "GET /v1/events", "Last-Event-ID: -1\r\n", "");
    }
}

#[test]
fn every_hostile_request_gets_the_status_that_it_must() {
    let redis = Redis::start();
    let brownout = Brownout::start(&["--redis", &format!("redis@0={}", redis.address())]);
    let mut table = Table {
        admin: brownout.admin(),
        cases: Vec::new(),
    };
    table.hosts();
    table.pages();
    table.framing();
    table.bodies();
    table.paths();
    table.conditions();
    assert!(table.cases.len() >= 200, "{} cases", table.cases.len());
    let before = brownout.get("/v1/proxies").body;
    let mut wrong = Vec::new();
    for Case { what, text, status } in &table.cases {
        let ends = what == "a body that ends early";
        let got = statuses(brownout.admin(), text, ends);
        if got != [*status] {
            wrong.push(format!("{got:?} instead of {status}: {what}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.cases.len(),
        wrong.join("\n")
    );
    eprintln!("{} hostile requests, all refused", table.cases.len());
    assert_eq!(
        brownout.get("/v1/faults").json()["faults"],
        serde_json::json!([])
    );
    assert_eq!(brownout.get("/v1/version").json()["halted"], false);
    assert_eq!(brownout.get("/v1/proxies").body, before);
}
