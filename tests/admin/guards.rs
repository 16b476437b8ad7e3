//! Who may do what, how often, and what is recorded of it.

use crate::support::{Brownout, Directory, Redis, eventually, run_to_end};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
const READ: &str = "0123456789abcdef0123456789abcdef";
const OPERATE: &str = "123456789abcdef0123456789abcdef0";
const ADMIN: &str = "23456789abcdef0123456789abcdef01";

const QUIET: &str = r#"{"action":"stall","match":{"client":"203.0.113.7"}}"#;

/// A folder with a configuration of one proxy, `redis`, and what is to be said beside it.
pub(crate) fn folder(redis: &Redis, more: &str) -> Directory {
    let folder = Directory::new("guards");
    let proxy = format!(
        "[[proxy]]\nname = \"redis\"\nprotocol = \"redis\"\nlisten = \"0\"\nupstream = \"{}\"\n",
        redis.address()
    );
    folder.write("brownout.toml", &format!("{more}\n{proxy}"));
    let tokens = folder.write(
        "tokens",
        &format!("read:{READ}\noperate:{OPERATE}\nadmin:{ADMIN}\n"),
    );
    std::fs::set_permissions(tokens, std::fs::Permissions::from_mode(0o600)).expect("mode");
    folder
}

pub(crate) fn start(folder: &Directory) -> Brownout {
    let file = folder.path().join("brownout.toml");
    Brownout::start(&["--config", file.to_str().expect("a path")])
}

/// The status of a request, with these header lines.
pub(crate) fn ask(admin: SocketAddr, first: &str, lines: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(admin).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("timeout");
    let text = format!(
        "{first} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Type: application/json\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).expect("write");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("read");
    reply
        .get(9..12)
        .and_then(|s| s.parse().ok())
        .unwrap_or_default()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn a_token_may_do_what_its_role_may() {
    let redis = Redis::start();
    let folder = folder(&redis, "[admin]\ntoken_file = \"tokens\"\n");
    let brownout = start(&folder);
    let admin = brownout.admin();
    let proxy = r#"{"pool":3}"#;
    let table = [
        ("GET /healthz", "", [200, 200, 200, 200]),
        ("GET /readyz", "", [200, 200, 200, 200]),
        ("GET /v1/stats", "", [401, 200, 200, 200]),
        ("GET /metrics", "", [401, 200, 200, 200]),
        ("GET /proxies", "", [401, 200, 200, 200]),
        ("GET /v1/nothing", "", [401, 404, 404, 404]),
        ("POST /v1/faults", QUIET, [401, 403, 201, 201]),
        ("POST /v1/proxies/redis/enable", "", [401, 403, 200, 200]),
        ("PATCH /v1/proxies/redis", proxy, [401, 403, 403, 200]),
        ("DELETE /v1/proxies/nothing", "", [401, 403, 403, 404]),
        ("POST /v1/halt", "", [401, 403, 200, 200]),
        ("POST /v1/resume", "", [401, 403, 403, 200]),
    ];
    let brought = [String::new(), bearer(READ), bearer(OPERATE), bearer(ADMIN)];
    for (first, body, statuses) in table {
        let got: Vec<u16> = brought
            .iter()
            .map(|lines| ask(admin, first, lines, body))
            .collect();
        assert_eq!(got, statuses, "{first}");
    }
    let other = bearer("3456789abcdef0123456789abcdef012");
    assert_eq!(ask(admin, "GET /v1/stats", &other, ""), 401);
    let twice = format!("{}{}", bearer(ADMIN), bearer(ADMIN));
    assert_eq!(ask(admin, "GET /v1/stats", &twice, ""), 401);
    // The command line brings one along.
    let tokens = folder.path().join("tokens");
    let url = admin.to_string();
    let with = run_to_end(
        &[
            "stats",
            "--admin",
            &url,
            "--token-file",
            tokens.to_str().expect("a path"),
        ],
        LIMIT,
    );
    assert_eq!(with.code, Some(0), "{}", with.stderr);
    assert_eq!(run_to_end(&["stats", "--admin", &url], LIMIT).code, Some(2));
}

#[test]
fn beyond_this_machine_nothing_opens_without_tokens_and_a_word() {
    let redis = Redis::start();
    let folder = folder(&redis, "[admin]\nlisten = \"0.0.0.0:0\"\n");
    let config = folder.path().join("brownout.toml");
    let config = config.to_str().expect("a path");
    let without = run_to_end(&["run", "--config", config], LIMIT);
    assert_eq!(without.code, Some(2));
    assert!(without.stderr.contains("token_file"), "{}", without.stderr);
    let text = std::fs::read_to_string(config).expect("read");
    let text = text.replace("[admin]\n", "[admin]\ntoken_file = \"tokens\"\n");
    folder.write("brownout.toml", &text);
    let unsaid = run_to_end(&["run", "--config", config], LIMIT);
    assert_eq!(unsaid.code, Some(2));
    assert!(
        unsaid.stderr.contains("--admin-insecure-plaintext"),
        "{}",
        unsaid.stderr
    );
    let tokens = folder.path().join("tokens");
    std::fs::set_permissions(tokens, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let open = run_to_end(
        &["run", "--config", config, "--admin-insecure-plaintext"],
        LIMIT,
    );
    assert_eq!(open.code, Some(4));
    assert!(open.stderr.contains("chmod 600"), "{}", open.stderr);
}

#[test]
fn changes_have_a_rate_and_halting_has_none() {
    let redis = Redis::start();
    let folder = folder(&redis, "[admin]\nchanges_per_second = 2\n");
    let brownout = start(&folder);
    let admin = brownout.admin();
    let switch = || ask(admin, "PUT /v1/faults/a", "", QUIET);
    let statuses: Vec<u16> = (0..10).map(|_| switch()).collect();
    assert_eq!(statuses[0], 201);
    assert!(statuses.contains(&429), "{statuses:?}");
    for _ in 0..10 {
        assert_eq!(ask(admin, "POST /v1/halt", "", ""), 200);
        assert_eq!(ask(admin, "GET /v1/faults", "", ""), 200);
    }
    eventually("the rate to allow a change again", LIMIT, || {
        (ask(admin, "POST /v1/resume", "", "") == 200).then_some(())
    });
}

#[test]
fn what_an_operator_forbids_is_refused_by_every_way() {
    let redis = Redis::start();
    let limits =
        "[limits]\nmax_share = 0.5\nproxies = [\"redis\"]\ndestructive = false\nmax_ttl = \"2m\"\n";
    let folder = folder(&redis, limits);
    let brownout = start(&folder);
    let field = |body: Value| {
        let reply = brownout.post("/v1/faults", &body);
        let field = reply.json()["errors"][0]["field"]
            .as_str()
            .map(str::to_owned);
        (reply.status, field)
    };
    let latency = |probability: f64| json!({ "action": "latency", "delay": "1ms", "proxy": "redis", "scope": "session", "probability": probability });
    let forbidden = |field: &str| (403, Some(field.to_owned()));
    assert_eq!(
        field(json!({ "action": "stall", "scope": "session", "probability": 0.1 })),
        forbidden("action")
    );
    assert_eq!(
        field(json!({ "action": "latency", "delay": "1ms" })),
        forbidden("probability")
    );
    let mut long = latency(0.1);
    long["ttl"] = "3m".into();
    assert_eq!(field(long), forbidden("ttl"));
    assert_eq!(field(latency(0.3)), (201, None));
    assert_eq!(
        field(latency(0.3)),
        forbidden("probability"),
        "0.3 and 0.3 are more than 0.5"
    );
    let on = &brownout.get("/v1/faults").json()["faults"][0];
    assert_eq!(
        on["ttl_ms"], 120_000,
        "the default is no longer than what is allowed"
    );
    let profile = brownout.post("/v1/profiles/redis-down/enable", &json!({}));
    assert_eq!(profile.status, 403, "{}", profile.body);
    let toxic = json!({ "type": "latency", "attributes": { "latency": 1 } });
    assert_eq!(brownout.post("/proxies/redis/toxics", &toxic).status, 403);
    // A proxy that came later is touched by nothing.
    let upstream = redis.address().to_string();
    let api = json!({ "name": "api", "protocol": "redis", "listen": "0", "upstream": upstream });
    assert_eq!(brownout.post("/v1/proxies", &api).status, 201);
    let mut there = latency(0.1);
    there["proxy"] = "api".into();
    assert_eq!(field(there), forbidden("proxy"));
}

/// The statuses of requests to the endpoint for figures alone, by what is asked and which header lines come with it.
#[test]
fn the_endpoint_for_figures_tells_them_to_every_address_and_does_nothing_else() {
    let redis = Redis::start();
    let more = "[admin]\nmetrics = \"127.0.0.1:0\"\nhosts = [\"figures.example:9474\"]\ntoken_file = \"tokens\"\n";
    let folder = folder(&redis, more);
    let brownout = start(&folder);
    let figures: SocketAddr = eventually("where figures are", LIMIT, || {
        let stderr = brownout.stderr();
        let (_, rest) = stderr.split_once("metrics listening on ")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let own = format!("Host: {figures}\r\n");
    let ask = |first: &str, lines: &str| {
        let text =
            format!("{first} HTTP/1.1\r\nConnection: close\r\n{lines}Content-Length: 0\r\n\r\n");
        crate::raw(figures, &text)
    };
    for path in ["/metrics", "/healthz", "/readyz", "/readyz?probe=upstream"] {
        let get = format!("GET {path}");
        assert_eq!(ask(&get, &own), 200, "without a token: {path}");
        assert_eq!(ask(&get, "Host: 10.1.2.3:9474\r\n"), 200, "{path}");
        assert_eq!(ask(&get, "Host: figures.example:9474\r\n"), 200, "{path}");
        assert_eq!(ask(&get, "Host: evil.example\r\n"), 403, "{path}");
        assert_eq!(ask(&get, ""), 400, "{path}");
        let page = format!("{own}Origin: http://evil.example\r\n");
        assert_eq!(ask(&get, &page), 403, "{path}");
        let page = format!("{own}Sec-Fetch-Site: cross-site\r\n");
        assert_eq!(ask(&get, &page), 403, "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            assert_eq!(ask(&format!("{method} {path}"), &own), 405);
        }
    }
    // With the token of an admin, too.
    for lines in [own.clone(), format!("{own}{}", bearer(ADMIN))] {
        for first in [
            "GET /",
            "GET /v1/stats",
            "GET /v1/faults",
            "GET /v1/events",
            "GET /v1/openapi.json",
            "GET /proxies",
            "GET /version",
            "POST /reset",
            "POST /v1/halt",
            "POST /v1/resume",
            "POST /v1/faults",
            "POST /v1/profiles/redis-slow/enable",
            "DELETE /v1/proxies/redis",
            "DELETE /proxies/redis",
        ] {
            assert_eq!(ask(first, &lines), 404, "{first}");
        }
    }
    assert_eq!(
        ask("GET /readyz", &own),
        200,
        "nothing was done: the proxy is there"
    );
    let on = ask_admin(&brownout, "PUT /v1/faults/quiet");
    assert_eq!(on, 201, "nothing was halted");
}

fn ask_admin(brownout: &Brownout, first: &str) -> u16 {
    ask(brownout.admin(), first, &bearer(ADMIN), QUIET)
}

/// The records of a log.
pub(crate) fn records(folder: &Directory) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("the log");
    text.lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect()
}

#[test]
fn changes_and_refusals_are_recorded_in_a_chain() {
    let redis = Redis::start();
    let folder = folder(
        &redis,
        "[admin]\naudit = \"audit.jsonl\"\ntoken_file = \"tokens\"\n",
    );
    let mut brownout = start(&folder);
    let admin = brownout.admin();
    assert_eq!(ask(admin, "PUT /v1/faults/a", &bearer(OPERATE), QUIET), 201);
    assert_eq!(ask(admin, "DELETE /v1/faults/a", &bearer(OPERATE), ""), 204);
    assert_eq!(ask(admin, "PUT /v1/faults/a", &bearer(READ), QUIET), 403);
    assert_eq!(ask(admin, "PUT /v1/faults/a", "", QUIET), 401);
    assert_eq!(
        ask(
            admin,
            "PATCH /v1/proxies/redis",
            &bearer(ADMIN),
            r#"{"pool":4}"#
        ),
        200
    );
    brownout.process().signal(Signal::USR1);
    let all = eventually("the signal to be recorded", LIMIT, || {
        let all = records(&folder);
        all.iter().any(|r| r["who"] == "signal").then_some(all)
    });
    let done = |what: &str, outcome: &str| {
        let found = all
            .iter()
            .find(|r| r["what"] == what && r["outcome"] == outcome);
        found
            .unwrap_or_else(|| panic!("{what} {outcome}: {all:#?}"))
            .clone()
    };
    let put = done("PUT /v1/faults/a", "done");
    assert_eq!(
        (&put["status"], &put["ttl_ms"]),
        (&json!(201), &json!(900_000))
    );
    assert_eq!(put["new"]["fault/a"]["fault"]["action"], "stall");
    assert!(
        put["who"]
            .as_str()
            .is_some_and(|who| who.starts_with("operate:"))
    );
    assert!(
        put["from"]
            .as_str()
            .is_some_and(|from| from.starts_with("127.0.0.1:"))
    );
    done("PUT /v1/faults/a", "asked");
    let gone = done("DELETE /v1/faults/a", "done");
    assert_eq!(gone["old"]["fault/a"]["fault"]["action"], "stall");
    let refused: Vec<&Value> = all.iter().filter(|r| r["outcome"] == "refused").collect();
    assert_eq!(refused.len(), 2, "{refused:#?}");
    assert_eq!(
        (&refused[1]["who"], &refused[1]["status"]),
        (&json!("anyone"), &json!(401))
    );
    let patch = done("PATCH /v1/proxies/redis", "done");
    assert_eq!(
        (
            &patch["old"]["proxy/redis"]["pool"],
            &patch["new"]["proxy/redis"]["pool"]
        ),
        (&Value::Null, &json!(4))
    );
    drop(brownout);

    let log = folder.path().join("audit.jsonl");
    let log = log.to_str().expect("a path");
    let whole = run_to_end(&["audit", "verify", log], LIMIT);
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    assert!(
        whole
            .stdout
            .starts_with(&format!("whole: {} records", all.len())),
        "{}",
        whole.stdout
    );
    let text = std::fs::read_to_string(log).expect("the log");
    for token in [READ, OPERATE, ADMIN] {
        assert!(!text.contains(token), "no token is recorded");
    }
    std::fs::write(log, text.replacen("\"stall\"", "\"slice\"", 1)).expect("write");
    let changed = run_to_end(&["audit", "verify", log], LIMIT);
    assert_eq!(changed.code, Some(1));
    assert!(changed.stderr.contains("line "), "{}", changed.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn with_a_full_disk_nothing_is_switched_on_and_halting_works() {
    let redis = Redis::start();
    let folder = folder(&redis, "[admin]\naudit = \"audit.jsonl\"\n");
    let brownout = start(&folder);
    let admin = brownout.admin();
    assert_eq!(ask(admin, "PUT /v1/faults/a", "", QUIET), 201);
    // The file can grow no further: what a full disk looks like to whoever writes.
    let mut prlimit = std::process::Command::new("prlimit");
    let size = std::fs::metadata(folder.path().join("audit.jsonl"))
        .expect("the log")
        .len();
    prlimit.args([
        format!("--pid={}", brownout.id()),
        format!("--fsize={size}"),
    ]);
    assert!(prlimit.status().expect("prlimit").success());
    assert_eq!(ask(admin, "PUT /v1/faults/b", "", QUIET), 503);
    assert_eq!(
        ask(
            admin,
            "POST /proxies/redis/toxics",
            "",
            r#"{"type":"latency"}"#
        ),
        503
    );
    let listed = brownout.get("/v1/faults").json();
    assert_eq!(listed["faults"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(admin, "DELETE /v1/faults/a", "", ""), 204);
    assert_eq!(ask(admin, "POST /v1/halt", "", ""), 200);
    eventually("the complaint", LIMIT, || {
        let said = brownout.stderr().contains("audit log cannot be written");
        said.then_some(())
    });
}
