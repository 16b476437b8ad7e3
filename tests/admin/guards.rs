//! Who may do what, how often, and what is recorded of it.

use crate::support::{Brownout, Directory, Redis, eventually, run_to_end};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);
const READ: &str = "0123456789abcdef0123456789abcdef";
const OPERATE: &str = "123456789abcdef0123456789abcdef0";
const ADMIN: &str = "23456789abcdef0123456789abcdef01";

const QUIET: &str = r#"{"action":"stall","match":{"operation":"NOTHING"}}"#;

/// A folder with a configuration of one proxy, `redis`, and what is to be said beside it.
fn folder(redis: &Redis, more: &str) -> Directory {
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

fn start(folder: &Directory) -> Brownout {
    let file = folder.path().join("brownout.toml");
    Brownout::start(&["--config", file.to_str().expect("a path")])
}

/// The status of a request, with these header lines.
fn ask(admin: SocketAddr, first: &str, lines: &str, body: &str) -> u16 {
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

/// The records of a log.
fn records(folder: &Directory) -> Vec<Value> {
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
    let mut text = String::new();
    let _ = write!(text, "{}", brownout.stderr());
    assert!(text.contains("audit log cannot be written"), "{text}");
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
