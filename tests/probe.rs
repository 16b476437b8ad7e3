//! Whether what is behind the proxies answers: `brownout check --probe` and `/readyz?probe=upstream`, on real servers.

mod support;

use rustix::process::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;
use support::{Brownout, Directory, Postgres, Redis, eventually, free_port};

const PASSWORD: &str = "probe-password";

fn proxy(name: &str, protocol: &str, upstream: &str, more: &str) -> String {
    format!(
        "[[proxy]]\nname = '{name}'\nprotocol = '{protocol}'\nlisten = 0\nupstream = '{upstream}'\n{more}\n"
    )
}

fn check(text: &str, more: &[&str]) -> Output {
    let directory = Directory::new("probe");
    let path = directory.write("brownout.toml", text);
    Command::new(env!("CARGO_BIN_EXE_brownout"))
        .args(["check", "--probe"])
        .args(more)
        .arg(path)
        .env("PROBE_PASSWORD", PASSWORD)
        .output()
        .expect("brownout")
}

/// The upstreams as JSON tells of them.
fn upstreams(text: &str) -> (Option<i32>, Vec<Value>) {
    let output = check(text, &["--output", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let list = document["upstreams"].as_array().expect("a list").clone();
    (output.status.code(), list)
}

fn said(text: &str) -> (bool, String) {
    let (code, list) = upstreams(text);
    let healthy = list[0]["healthy"].as_bool().expect("a verdict");
    assert_eq!(code, Some(i32::from(!healthy)), "{list:?}");
    (healthy, list[0]["said"].as_str().expect("text").to_owned())
}

#[test]
fn the_health_of_all_services_is_one_table() {
    let (redis, locked) = (Redis::start(), Redis::start_with_password(PASSWORD));
    let (prod, dev) = (Postgres::start(), Postgres::start());
    // Something that speaks HTTP, and is not the one that asks.
    let web = Brownout::start(&["--redis", &format!("redis@0={}", redis.address())]);
    let text = [
        proxy("redis", "redis", &redis.address().to_string(), ""),
        proxy(
            "cache",
            "redis",
            &locked.address().to_string(),
            "probe = { password_env = 'PROBE_PASSWORD' }",
        ),
        proxy("prod", "postgres", &prod.address().to_string(), ""),
        proxy(
            "dev",
            "postgres",
            &format!(
                "unix:{}/.s.PGSQL.{}",
                dev.socket_directory().display(),
                dev.address().port()
            ),
            "",
        ),
        proxy(
            "api",
            "http",
            &web.admin().to_string(),
            "probe = { path = '/healthz' }",
        ),
        proxy("graph", "tcp", &redis.address().to_string(), ""),
    ]
    .concat();
    let output = check(&text, &[]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    for (name, answer) in [
        ("redis", "PONG"),
        ("cache", "PONG"),
        ("prod", "SELECT 1"),
        ("dev", "SELECT 1"),
        ("api", "GET /healthz: 200"),
        ("graph", "accepts connections"),
    ] {
        let row = table
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let row = row.unwrap_or_else(|| panic!("no row of {name}:\n{table}"));
        assert!(row.contains(" ok ") && row.ends_with(answer), "{row}");
    }
    assert!(!table.contains(PASSWORD));
}

#[test]
fn what_does_not_answer_is_told_with_its_reason() {
    let redis = Redis::start_with_password(PASSWORD);
    let (at, closed) = (
        redis.address(),
        SocketAddr::from(([127, 0, 0, 1], free_port())),
    );
    let one = |protocol: &str, at: SocketAddr, more: &str| {
        said(&proxy("p", protocol, &at.to_string(), more))
    };
    for protocol in ["redis", "postgres", "http", "tcp"] {
        assert_eq!(
            one(protocol, closed, ""),
            (false, "refused".into()),
            "{protocol}"
        );
    }
    assert_eq!(one("redis", at, ""), (true, "wants a password".into()));
    let wrong = one(
        "redis",
        at,
        "probe = { user = 'nobody', password_env = 'PROBE_PASSWORD' }",
    );
    assert_eq!(wrong, (false, "the password is refused".into()));
    let unset = one("redis", at, "probe = { password_env = 'NO_SUCH_VARIABLE' }");
    assert!(
        !unset.0 && unset.1.contains("NO_SUCH_VARIABLE"),
        "{unset:?}"
    );
    // Another protocol than was said.
    assert!(!one("postgres", at, "").0);
    assert!(!one("http", at, "").0);
    let postgres = Postgres::start();
    assert!(!one("redis", postgres.address(), "connect_timeout = '1s'").0);
    let stranger = one(
        "postgres",
        postgres.address(),
        "probe = { user = 'stranger' }",
    );
    assert_eq!(stranger, (true, "wants credentials".into()));
    let nowhere = one(
        "postgres",
        postgres.address(),
        "probe = { database = 'nowhere' }",
    );
    assert_eq!(nowhere, (false, "it answers 3D000".into()));
}

#[test]
fn one_that_hangs_takes_its_connect_timeout() {
    let redis = Redis::start();
    redis.process().signal(Signal::STOP);
    let told = said(&proxy(
        "p",
        "redis",
        &redis.address().to_string(),
        "connect_timeout = '300ms'",
    ));
    redis.process().signal(Signal::CONT);
    assert_eq!(told, (false, "no answer within 300ms".into()));
}

#[test]
fn readyz_tells_of_upstreams_when_it_is_asked() {
    let redis = Redis::start();
    let closed = free_port();
    let brownout = Brownout::start(&[
        "--redis",
        &format!("redis@0={}", redis.address()),
        "--http",
        &format!("api@0=127.0.0.1:{closed}"),
    ]);
    let plain = brownout.get("/readyz");
    assert_eq!(plain.status, 200);
    assert_eq!(plain.json()["upstreams"], Value::Null);
    let probed = brownout.get("/readyz?probe=upstream");
    let told = probed.json();
    assert_eq!(probed.status, 503, "{told}");
    assert_eq!(told["ready"], false);
    assert_eq!(told["upstreams"]["redis"]["healthy"], true);
    assert_eq!(told["upstreams"]["redis"]["said"], "PONG");
    assert_eq!(told["upstreams"]["api"]["said"], "refused");
    // A probe is none of the service's requests.
    assert!(brownout.counts("redis").is_empty());
    // Now there is an answer, and within a second it is seen.
    let web = Brownout::start(&["--redis", &format!("redis@0={}", redis.address())]);
    let patch = serde_json::json!({ "upstream": web.admin().to_string() });
    let changed = support::request(
        brownout.admin(),
        "PATCH",
        "/v1/proxies/api",
        Some(&patch.to_string()),
    );
    assert_eq!(changed.expect("an answer").status, 200);
    eventually("readiness", Duration::from_secs(10), || {
        let reply = brownout.get("/readyz?probe=upstream");
        (reply.status == 200).then_some(())
    });
    let wrong = brownout.get("/readyz?probe=upstraem");
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json()["errors"][0]["field"], "probe");
}

#[test]
fn who_can_only_reach_the_endpoint_cannot_have_our_variables_sent() {
    let redis = Redis::start();
    let brownout = Brownout::start(&["--redis", &format!("redis@0={}", redis.address())]);
    let proxy = serde_json::json!({
        "name": "p", "protocol": "redis", "listen": "0", "upstream": redis.address().to_string(),
        "probe": { "password_env": "HOME" },
    });
    let reply = brownout.post("/v1/proxies", &proxy);
    assert_eq!(reply.status, 422, "{}", reply.json());
    assert_eq!(
        reply.json()["errors"][0]["field"],
        "probe",
        "{}",
        reply.json()
    );
}
