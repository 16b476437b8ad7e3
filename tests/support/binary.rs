//! The `brownout` binary under test.

use super::http::{Reply, request};
use super::process::{Process, eventually};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);
const REMEDY: &str = "cargo builds it together with this test";

/// A running `brownout run`, killed on drop.
pub(crate) struct Brownout {
    process: Process,
    admin: SocketAddr,
}

impl Brownout {
    /// Starts `brownout run --admin 127.0.0.1:0` with `arguments` and waits for `/readyz`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(Command::new(env!("CARGO_BIN_EXE_brownout")), arguments)
    }

    /// As [`start`](Self::start), with a prepared command: its environment, directory or wrapper.
    pub(crate) fn start_with(mut command: Command, arguments: &[&str]) -> Self {
        command.args(["run", "--admin", "127.0.0.1:0"]);
        command.args(arguments);
        let mut process = Process::start(&mut command, REMEDY);
        let admin = process.until(READY_LIMIT, admin_address);
        process.until(READY_LIMIT, |_| {
            let reply = request(admin, "GET", "/readyz", None).ok()?;
            (reply.status == 200).then_some(())
        });
        Self { process, admin }
    }

    /// Where the proxy of that name listens, as it printed it.
    pub(crate) fn proxy(&self, name: &str) -> SocketAddr {
        let what = format!("the listener of proxy {name}");
        eventually(&what, READY_LIMIT, || {
            listeners(&self.process.stderr()).remove(name)
        })
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        request(self.admin, "GET", path, None).unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Reply {
        request(self.admin, "POST", path, Some(&body.to_string()))
            .unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        request(self.admin, "DELETE", path, None).unwrap_or_else(|e| panic!("DELETE {path}: {e}"))
    }

    /// Finished exchanges of one proxy since start, by operation.
    pub(crate) fn counts(&self, proxy: &str) -> BTreeMap<String, u64> {
        let stats = self.get("/v1/stats").json();
        let mut counts = BTreeMap::new();
        let proxies = stats["proxies"].as_array().into_iter().flatten();
        for one in proxies.filter(|one| one["name"] == proxy) {
            for operation in one["operations"].as_array().into_iter().flatten() {
                let name = operation["operation"].as_str().unwrap_or_default();
                let count = operation["count"].as_u64().unwrap_or_default();
                *counts.entry(name.to_owned()).or_default() += count;
            }
        }
        counts
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self, limit: Duration) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(limit)
    }
}

/// How a command that is not `run` ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `brownout` with `arguments` to its end.
pub(crate) fn run_to_end(arguments: &[&str], limit: Duration) -> Exit {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
    let mut process = Process::start(command.args(arguments), REMEDY);
    let status = process.wait(limit);
    process.drain(limit);
    Exit {
        code: status.code(),
        stdout: process.stdout(),
        stderr: process.stderr(),
    }
}

/// `admin listening on ADDRESS`.
fn admin_address(stderr: &str) -> Option<SocketAddr> {
    let (_, rest) = stderr.split_once("admin listening on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// `proxy NAME PROTOCOL listening on ADDRESS -> UPSTREAM`, by name.
fn listeners(stderr: &str) -> BTreeMap<String, SocketAddr> {
    let mut found = BTreeMap::new();
    for line in stderr.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        for window in words.windows(8) {
            if let ["proxy", name, _, "listening", "on", address, "->", _] = window
                && let Ok(address) = address.parse()
            {
                found.insert((*name).to_owned(), address);
            }
        }
    }
    found
}
