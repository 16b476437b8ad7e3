//! The command line as people and scripts meet it: what each command prints, where, and how it ends. Against the built binary
//! and a real redis-server.

mod bad_input;
mod explain;
mod help;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod trouble;

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use support::{Brownout, Directory, Exit, Process, Redis, eventually, run_to_end};

const LIMIT: Duration = Duration::from_secs(20);

/// A brownout with the proxy `redis` before a server of its own.
struct Running {
    brownout: Brownout,
    _redis: Redis,
}

impl Running {
    fn start(more: &[&str]) -> Self {
        let redis = Redis::start();
        let proxy = format!("redis@0={}", redis.address());
        let mut arguments = vec!["--redis", &proxy];
        arguments.extend(more);
        let brownout = Brownout::start(&arguments);
        Self {
            brownout,
            _redis: redis,
        }
    }

    /// Sends one command `count` times on one connection through the proxy.
    fn send(&self, command: &str, count: usize) {
        let mut stream = TcpStream::connect(self.brownout.proxy("redis")).expect("connect");
        let mut replies = BufReader::new(stream.try_clone().expect("clone"));
        for _ in 0..count {
            stream.write_all(command.as_bytes()).expect("write");
            replies.read_line(&mut String::new()).expect("a reply");
        }
    }

    /// Runs a command against it.
    fn command(&self, arguments: &[&str]) -> Exit {
        let admin = self.brownout.admin().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--admin", &admin]);
        run_to_end(&all, LIMIT)
    }

    /// As `command`, which has to succeed in silence; gives what it wrote to stdout.
    fn succeed(&self, arguments: &[&str]) -> String {
        let exit = self.command(arguments);
        assert_eq!(exit.code, Some(0), "{exit:?}");
        assert_eq!(exit.stderr, "", "{exit:?}");
        exit.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        serde_json::from_str(&self.succeed(&all)).expect("JSON")
    }

    /// As `command`, which has to fail with `code` and write nothing to stdout; gives what it wrote to stderr.
    fn fail(&self, arguments: &[&str], code: i32) -> String {
        failed(self.command(arguments), code)
    }
}

#[track_caller]
fn failed(exit: Exit, code: i32) -> String {
    assert_eq!(exit.code, Some(code), "{exit:?}");
    assert_eq!(exit.stdout, "", "{exit:?}");
    assert!(!exit.stderr.is_empty());
    exit.stderr
}

/// The words of the line that begins with `first`.
fn words<'t>(text: &'t str, first: &str) -> Vec<&'t str> {
    let lines = text.lines().map(|line| line.split_whitespace().collect());
    let mut found = lines.filter(|words: &Vec<_>| words.first() == Some(&first));
    found
        .next()
        .unwrap_or_else(|| panic!("no line {first} in {text}"))
}

#[test]
fn stats_are_a_table_by_operation() {
    let running = Running::start(&[]);
    running.send("SET key value\r\n", 7);
    running.send("PING\r\n", 3);
    running.send("NOSUCHCOMMAND\r\n", 2);
    let text = eventually("all to be counted", LIMIT, || {
        let text = running.succeed(&["stats"]);
        (words(&text, "PING")[2] == "3").then_some(text)
    });
    assert!(text.starts_with("redis (redis), since start, "), "{text}");
    let header = words(&text, "operation").join(" ");
    assert_eq!(
        header,
        "operation count /s errors p50 p95 p99 max upstream p95 injected outstanding"
    );
    assert_eq!(words(&text, "SET")[1], "7", "{text}");
    // Work and nothing else: the pings stand below it.
    assert_eq!(words(&text, "total")[1], "9", "{text}");
    assert_eq!(words(&text, "total")[3], "2", "{text}");
    assert!(
        words(&text, "PING").starts_with(&["PING", "(ping)", "3"]),
        "{text}"
    );
    assert!(
        words(&text, "SET")[5].starts_with('~'),
        "too few samples: {text}"
    );

    let json = running.json(&["stats"]);
    assert_eq!(json["proxies"][0]["total"]["count"], 9);
    assert_eq!(json["window_seconds"], Value::Null);
    let json = running.json(&["stats", "redis", "--window", "10s"]);
    assert_eq!(json["window_seconds"], 10.0);
}

#[test]
fn stats_tell_of_limits_and_of_too_few_samples() {
    let directory = Directory::new("cli");
    let redis = Redis::start();
    let config = directory.write(
        "brownout.toml",
        &format!(
            "[[proxy]]\nname = \"redis\"\nprotocol = \"redis\"\nlisten = 0\nupstream = \"{}\"\npool = 4\n\
             slo = {{ mean = \"10s\", p95 = \"10s\", p99 = \"10s\" }}\n",
            redis.address()
        ),
    );
    let running = Running {
        brownout: Brownout::start(&["--config", config.to_str().unwrap()]),
        _redis: redis,
    };
    running.send("GET key\r\n", 100);
    // Levels, such as that of the pool, are known from the first full second on.
    let text = eventually("all to be counted", LIMIT, || {
        let text = running.succeed(&["stats"]);
        (text.contains("peak 25.0 %") && words(&text, "GET")[1] == "100").then_some(text)
    });
    assert!(text.contains("slo mean     met: "), "{text}");
    assert!(text.contains("slo p95      met: "), "{text}");
    assert!(
        text.contains("the limit is 10.0s, 0 of 100 over it"),
        "{text}"
    );
    assert!(
        text.contains("slo p99      too few samples: 100 of 299 needed"),
        "{text}"
    );
    assert!(text.contains("of 4 declared, peak 25.0 %"), "{text}");
}

#[test]
fn stats_refuse_what_is_not_there() {
    let running = Running::start(&[]);
    let said = running.fail(&["stats", "rediss"], 2);
    assert_eq!(said, "there is no proxy `rediss`; did you mean `redis`?\n");
    let said = running.fail(&["stats", "--window", "2h"], 2);
    assert!(
        said.contains("'--window <TIME>': a window is from 1s to 60s"),
        "{said}"
    );
    let said = running.fail(&["stats", "--window", "ten"], 2);
    assert!(said.contains("\"ten\" is not a duration"), "{said}");
}

#[test]
fn watching_goes_on_until_interrupted_or_until_brownout_is_gone() {
    let running = Running::start(&[]);
    let admin = running.brownout.admin().to_string();
    let watch = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command.args(["stats", "--watch", "--output", "json", "--admin", &admin]);
        let process = Process::start(&mut command, "");
        eventually("two documents", LIMIT, || {
            (process.stdout().lines().count() >= 2).then_some(())
        });
        process
    };
    let mut first = watch();
    for line in first.stdout().lines() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["window_seconds"], 10.0);
    }
    first.signal(rustix::process::Signal::INT);
    assert_eq!(first.wait(LIMIT).code(), Some(130));

    let mut second = watch();
    running.brownout.stop(LIMIT);
    assert_eq!(second.wait(LIMIT).code(), Some(4));
    second.drain(LIMIT);
    assert!(
        second.stderr().contains("is `brownout run` running?"),
        "{}",
        second.stderr()
    );
}

#[test]
fn profiles_are_listed_read_and_switched() {
    let running = Running::start(&[]);
    let list = running.succeed(&["profile", "list"]);
    assert_eq!(words(&list, "redis-slow")[1..3], ["off", "1"], "{list}");
    assert!(list.contains("Redis answers, but slowly"), "{list}");
    let shown = running.succeed(&["profile", "show", "redis-slow"]);
    assert!(shown.starts_with("# Redis answers, but slowly"), "{shown}");
    assert!(shown.contains("action = \"latency\""), "{shown}");

    let enable = [
        "profile",
        "enable",
        "redis-slow",
        "--ttl",
        "5m",
        "--seed",
        "7",
    ];
    assert_eq!(
        running.succeed(&enable),
        "redis-slow is on for 5m: redis-slow\n"
    );
    assert_eq!(
        words(&running.succeed(&["profile", "list"]), "redis-slow")[1],
        "on"
    );
    let faults = running.json(&["fault", "list"]);
    assert_eq!(faults["faults"][0]["profile"], "redis-slow");
    let left = faults["faults"][0]["left_ms"].as_u64().unwrap();
    assert!((200_000..=300_000).contains(&left), "{left}");

    assert_eq!(
        running.succeed(&["profile", "disable", "redis-slow"]),
        "redis-slow is off: redis-slow\n"
    );
    let ends = running.succeed(&["profile", "enable", "redis-slow"]);
    assert!(
        ends.starts_with("redis-slow is on for 1"),
        "of 15 minutes: {ends}"
    );
    let again = running.json(&["profile", "enable", "redis-slow"]);
    assert_eq!(again["enabled"], true);
    assert_eq!(
        running.json(&["profile", "show", "redis-slow"])["enabled"],
        true
    );
}

#[test]
fn profiles_that_cannot_be_switched_say_why() {
    let running = Running::start(&[]);
    for command in ["enable", "show"] {
        let said = running.fail(&["profile", command, "redis-slwo"], 2);
        assert_eq!(
            said,
            "redis-slwo: there is no such profile; did you mean `redis-slow`?\n"
        );
    }
    let said = running.fail(&["profile", "disable", "redis-slow"], 2);
    assert_eq!(said, "the profile `redis-slow` is not switched on\n");
    let said = running.fail(&["profile", "enable", "redis-slow", "--ttl", "5"], 2);
    assert!(
        said.contains("'--ttl <TIME>': \"5\" is not a duration; write a number with a unit"),
        "{said}"
    );
    let said = running.fail(&["profile", "enable", "redis-slow", "--ttl", "13h"], 2);
    assert_eq!(said, "a time to live of 13h is too long; at most 12h\n");
    // There is no Postgres here for it to act on.
    let said = running.fail(&["profile", "enable", "postgres-down"], 2);
    assert!(said.contains("postgres-down.toml:"), "{said}");
}

#[test]
fn faults_are_added_listed_and_removed() {
    let running = Running::start(&[]);
    let add = [
        "fault",
        "add",
        "name=slow",
        "action=latency",
        "proxy=redis",
        "delay=1ms",
        "match.operation=GET",
        "ttl=90s",
    ];
    assert_eq!(running.succeed(&add), "slow is on for 1m 30s\n");
    running.send("GET key\r\n", 4);
    let list = eventually("all to be counted", LIMIT, || {
        let list = running.succeed(&["fault", "list"]);
        let done = words(&list, "slow").ends_with(&["4", "4", "0"]);
        done.then_some(list)
    });
    assert_eq!(
        words(&list, "slow")[..5],
        ["slow", "-", "latency", "redis", "on"],
        "{list}"
    );
    let text = running.succeed(&["stats"]);
    assert_eq!(words(&text, "GET")[9], "4", "{text}");
    assert_eq!(
        running.succeed(&["fault", "remove", "slow"]),
        "slow is off\n"
    );
    assert_eq!(
        running.json(&["fault", "list"])["faults"],
        Value::Array(vec![])
    );

    let directory = Directory::new("cli");
    let file = directory.write(
        "fault.json",
        r#"{ "action": "stall", "match": { "operation": "FLUSHALL" } }"#,
    );
    let added = running.json(&["fault", "add", "--json", file.to_str().unwrap()]);
    assert_eq!(added["name"], "stall-1");
}

#[test]
fn faults_that_cannot_be_switched_say_why() {
    let running = Running::start(&[]);
    for (pairs, said) in [
        (
            &["action=latency", "dealy=5ms"][..],
            "a fault has no `dealy`; did you mean `delay`?\n",
        ),
        (
            &["latency"],
            "`latency` is not KEY=VALUE; write action=latency\n",
        ),
        (
            &["action=latency"],
            "delay: `latency` needs `delay`; add delay = \"5ms\"\n",
        ),
    ] {
        let mut command = vec!["fault", "add"];
        command.extend(pairs);
        assert_eq!(running.fail(&command, 2), said);
    }
    let said = running.fail(&["fault", "add", "action=stall", "proxy=postgres"], 2);
    assert!(
        said.contains("no proxy matches `postgres`; proxies here: redis"),
        "{said}"
    );
    let said = running.fail(&["fault", "add"], 2);
    assert!(said.contains("<KEY=VALUE>"), "{said}");
    let said = running.fail(&["fault", "remove", "slow"], 2);
    assert_eq!(said, "no fault named `slow` is switched on\n");
    let said = running.fail(&["fault", "add", "--json", "/nowhere.json"], 2);
    assert!(
        said.starts_with("/nowhere.json: cannot be read: "),
        "{said}"
    );
}

#[test]
fn halt_ends_everything_until_resumed() {
    let running = Running::start(&["--profile", "redis-slow"]);
    assert_eq!(
        running.succeed(&["halt"]),
        "halted: switched off redis-slow; nothing can be switched on until `brownout halt --resume`\n"
    );
    let said = running.fail(&["profile", "enable", "redis-slow"], 4);
    assert_eq!(said, "faults are halted; resume first\n");
    let list = running.command(&["fault", "list"]);
    assert_eq!(list.code, Some(0));
    assert!(list.stderr.contains("brownout halt --resume"), "{list:?}");
    assert_eq!(
        running.succeed(&["halt", "--resume"]),
        "resumed: faults can be switched on again\n"
    );
    running.succeed(&["profile", "enable", "redis-slow"]);
    assert_eq!(running.json(&["halt"])["ended"][0], "redis-slow");
}

#[test]
fn the_endpoint_is_found_by_url_by_environment_and_on_a_unix_socket() {
    let redis = Redis::start();
    let directory = Directory::new("cli");
    let socket = format!("unix:{}", directory.path().join("admin.sock").display());
    let proxy = format!("0={}", redis.address());
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command.args(["run", "--admin", &socket, "--redis", &proxy]);
    let mut process = Process::start(&mut command, "");
    process.until(LIMIT, |stderr| {
        stderr.contains("admin listening on unix:").then_some(())
    });
    let exit = run_to_end(&["profile", "list", "--admin", &socket], LIMIT);
    assert_eq!(exit.code, Some(0), "{exit:?}");

    let running = Running::start(&[]);
    let url = format!("http://{}/", running.brownout.admin());
    let exit = run_to_end(&["profile", "list", "--admin", &url], LIMIT);
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .args(["profile", "list"])
        .env("BROWNOUT_ADMIN", &url);
    assert!(command.output().unwrap().status.success());
}
