//! `brownout exec`: on redis-cli and psql, with its signals, its exit codes and what it refuses.

// A failed step is a failed test.
#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use support::{Directory, Postgres, Process, Redis};

const LIMIT: Duration = Duration::from_secs(30);

struct Exit {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// `brownout exec` with these variables, those of this process left out that would be found.
fn exec(variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    command
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap());
    command
        .envs(variables.iter().copied())
        .arg("exec")
        .args(arguments);
    command
}

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Exit {
    let mut process = Process::start(&mut exec(variables, arguments), "");
    let status = process.wait(LIMIT);
    process.drain(LIMIT);
    Exit {
        code: status.code(),
        stdout: process.stdout(),
        stderr: process.stderr(),
    }
}

fn redis_url(redis: &Redis) -> String {
    format!("redis://{}/0", redis.address())
}

#[test]
fn redis_cli_is_told_of_by_operation() {
    let redis = Redis::start();
    let script = "redis-cli -u $REDIS_URL SET k v && redis-cli -u $REDIS_URL GET k && redis-cli -u $REDIS_URL NOSUCH";
    let exit = run(
        &[("REDIS_URL", &redis_url(&redis))],
        &["--", "sh", "-c", script],
    );
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(exit.stdout.contains("OK\nv\n"), "{}", exit.stdout);
    let heading = format!("redis (REDIS_URL -> {}): 3 connections", redis.address());
    assert!(exit.stderr.contains(&heading), "{}", exit.stderr);
    let row = |name: &str| {
        let mut lines = exit.stderr.lines();
        let line = lines
            .find(|l| l.starts_with(name))
            .unwrap_or_else(|| panic!("{}", exit.stderr));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row("operation"),
        [
            "operation",
            "count",
            "p50",
            "p95",
            "p99",
            "slowest",
            "errors"
        ]
    );
    assert_eq!((&*row("SET")[1], &*row("SET")[6]), ("1", "0"));
    assert_eq!((&*row("GET")[1], &*row("GET")[6]), ("1", "0"));
}

#[test]
fn psql_finds_its_server_by_url_and_by_variables() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let url =
        format!("postgresql+asyncpg://postgres:s%40cret@{address}/postgres?application_name=a%20b");
    let directory = Directory::new("exec");
    let report = directory.path().join("deep/report");
    let script = "echo $DATABASE_URL; psql -XAtU postgres -c 'select 41 + 1' postgres";
    let exit = run(
        &[("DATABASE_URL", &url), ("PGHOST", &host), ("PGPORT", &port)],
        &[
            "--report",
            &report.display().to_string(),
            "--",
            "sh",
            "-c",
            script,
        ],
    );
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let (led, answer) = exit.stdout.split_once('\n').unwrap();
    assert!(
        led.starts_with("postgresql+asyncpg://postgres:s%40cret@127.0.0.1:"),
        "{led}"
    );
    assert!(
        led.ends_with("/postgres?application_name=a%20b") && led != url,
        "{led}"
    );
    assert_eq!(answer, "42\n");
    assert!(!exit.stderr.contains("s%40cret"), "{}", exit.stderr);
    let text = std::fs::read_to_string(report.join("exec.json")).unwrap();
    assert!(!text.contains("s%40cret"), "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["exit_code"], 0);
    assert_eq!(told["proxies"][0]["name"], "postgres");
    assert_eq!(
        told["proxies"][0]["variables"],
        serde_json::json!(["DATABASE_URL", "PGHOST"])
    );
    let operations = told["stats"]["proxies"][0]["operations"]
        .as_array()
        .unwrap();
    let select = operations
        .iter()
        .find(|o| o["operation"] == "SELECT")
        .unwrap();
    assert_eq!(select["count"], 1);
    assert!(select["client"]["p99_us"].is_u64());
}

#[test]
fn profiles_are_on_and_the_command_can_switch_others() {
    let redis = Redis::start();
    let script = "redis-cli -u $REDIS_URL PING; brownout profile disable redis-down; sleep 1; redis-cli -u $REDIS_URL PING";
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_brownout"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let url = redis_url(&redis);
    let variables = [("REDIS_URL", &*url), ("PATH", &*path)];
    let exit = run(
        &variables,
        &["--profile", "redis-down", "--", "sh", "-c", script],
    );
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(exit.stdout.ends_with("PONG\n"), "{}", exit.stdout);
    assert!(exit.stderr.contains("Could not connect"), "{}", exit.stderr);
    let exit = run(&variables, &["--profile", "no-such", "--", "true"]);
    assert_eq!(exit.code, Some(2), "{}", exit.stderr);
}

#[test]
fn one_document_stands_behind_what_the_command_wrote() {
    let redis = Redis::start();
    let url = redis_url(&redis);
    let exit = run(
        &[("A", &url)],
        &[
            "--output",
            "json",
            "--seed",
            "7",
            "--",
            "redis-cli",
            "-u",
            &url,
            "PING",
        ],
    );
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    let document = exit.stdout.strip_prefix("PONG\n").unwrap();
    let told: Value = serde_json::from_str(document).unwrap();
    assert_eq!(told["seed"], 7);
    assert_eq!(told["command"][0], "redis-cli");
    // It was called with the server's own address, so nothing passed here.
    assert_eq!(told["stats"]["proxies"][0]["sessions"]["opened"], 0);
}

#[test]
fn exit_codes_are_those_of_the_command() {
    let url = "redis://localhost:1";
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let exit = run(&[("REDIS_URL", url)], &["--", "sh", "-c", script]);
        assert_eq!(exit.code, Some(code), "{script}: {}", exit.stderr);
    }
    let exit = run(&[("REDIS_URL", url)], &["--", "/no/such/command"]);
    assert_eq!(exit.code, Some(4), "{}", exit.stderr);
    assert!(
        exit.stderr.contains("cannot run \"/no/such/command\""),
        "{}",
        exit.stderr
    );
}

#[test]
fn signals_are_passed_on() {
    // SIGHUP, which whoever runs this may have been told to ignore, is tried in tests/e2e/test_signals.py.
    for (signal, name, code) in [(Signal::TERM, "TERM", 3), (Signal::INT, "INT", 4)] {
        let script = format!(
            "trap 'echo got {name}; exit {code}' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let mut command = exec(
            &[("REDIS_URL", "redis://localhost:1")],
            &["--", "sh", "-c", &script],
        );
        let mut process = Process::start(&mut command, "");
        support::eventually("the command", LIMIT, || {
            process.stdout().contains("ready").then_some(())
        });
        process.signal(signal);
        let status = process.wait(LIMIT);
        process.drain(LIMIT);
        assert_eq!(status.code(), Some(code), "{name}: {}", process.stderr());
        assert!(process.stdout().contains(&format!("got {name}")));
        // Told all the same.
        assert!(
            process.stderr().contains("0 connections"),
            "{}",
            process.stderr()
        );
    }
}

#[test]
fn what_cannot_be_led_through_is_refused_with_the_reason() {
    for (variables, arguments, parts) in [
        (
            vec![("REDIS_URL", "rediss://:secret@h")],
            vec![],
            vec!["REDIS_URL", "TLS"],
        ),
        (
            vec![("DATABASE_URL", "postgres://u:secret@h/d?sslmode=require")],
            vec![],
            vec!["DATABASE_URL", "TLS"],
        ),
        (
            vec![("PGHOST", "h"), ("PGSSLMODE", "verify-full")],
            vec![],
            vec!["PGSSLMODE", "TLS"],
        ),
        (
            vec![("PGHOST", "/run/postgresql")],
            vec![],
            vec!["PGHOST", "unix socket"],
        ),
        (
            vec![("API", "https://u:secret@h/")],
            vec!["--env", "API"],
            vec!["API", "TLS"],
        ),
        (
            vec![("HOME", "/root")],
            vec![],
            vec!["the environment names no server"],
        ),
        (
            vec![("REDIS_URL", "redis://h")],
            vec!["--env", "OTHER"],
            vec!["--env"],
        ),
    ] {
        let arguments: Vec<&str> = arguments.into_iter().chain(["--", "echo", "ran"]).collect();
        let exit = run(&variables, &arguments);
        assert_eq!(exit.code, Some(2), "{variables:?}: {}", exit.stderr);
        assert_eq!(exit.stdout, "", "it was not run");
        for part in parts {
            assert!(exit.stderr.contains(part), "{part}: {}", exit.stderr);
        }
        assert!(!exit.stderr.contains("secret"), "{}", exit.stderr);
    }
    let variables = [("API", "https://h/"), ("REDIS_URL", "redis://localhost:1")];
    let exit = run(&variables, &["--", "sh", "-c", "echo $API"]);
    assert_eq!((exit.code, &*exit.stdout), (Some(0), "https://h/\n"));
    assert!(
        exit.stderr.contains("API is left as it is"),
        "{}",
        exit.stderr
    );
}
