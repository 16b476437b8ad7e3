//! The examples of docs/from-toxiproxy.md, run in their order.

use crate::support::{Directory, Process, Redis, eventually, free_port};
use std::process::Command;
use std::time::Duration;

const PAGE: &str = include_str!("../../docs/from-toxiproxy.md");
const LIMIT: Duration = Duration::from_secs(30);

/// The fenced blocks: language and text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut parts = PAGE.split("```").skip(1).step_by(2);
    let block = |part: &'static str| part.split_once('\n').unwrap();
    std::iter::from_fn(move || parts.next().map(block)).collect()
}

#[test]
fn every_example_of_the_page_works() {
    let redis = Redis::start();
    let directory = Directory::new("from-toxiproxy");
    let (admin, first, second) = (free_port(), free_port(), free_port());
    let moved = |text: &str| {
        text.replace("localhost:6379", &redis.address().to_string())
            .replace("127.0.0.1:8474", &format!("127.0.0.1:{admin}"))
            .replace("26379", &first.to_string())
            .replace("26380", &second.to_string())
    };
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_brownout"));
    let folder = binary.parent().unwrap().display();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-euc", line]).current_dir(directory.path());
        command
            .env("PATH", &path)
            .env("BROWNOUT_ADMIN", format!("127.0.0.1:{admin}"));
        command
    };
    let mut running = None;
    let mut commands = 0;
    for (language, text) in blocks() {
        let text = moved(text);
        if language == "json" {
            std::fs::write(directory.path().join("toxiproxy.json"), &text).unwrap();
            continue;
        }
        for line in text.lines() {
            commands += 1;
            if line.starts_with("brownout run") {
                let line = format!("exec {line} --admin 127.0.0.1:{admin}");
                let mut process = Process::start(&mut shell(&line), "");
                process.until(LIMIT, |err| err.contains("admin listening").then_some(()));
                running = Some(process);
                continue;
            }
            let done = shell(&line.replace("curl -s", "curl -sS --fail-with-body"))
                .output()
                .unwrap();
            let (out, err) = (
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr),
            );
            assert!(done.status.success(), "`{line}`: {out}{err}");
        }
    }
    assert!(commands >= 11, "only {commands} commands were found");
    let mut running = running.unwrap();
    running.signal(rustix::process::Signal::TERM);
    eventually("the end", LIMIT, || Some(running.wait(LIMIT)));
}
