//! How long it takes to read everything off a recording of a million records, and how much memory.
//!
//! ```text
//! cargo bench --bench infer
//! ```
//!
//! The recording is of a service with fifty callers, five thousand requests a second, each with a command to Redis, of which all fail
//! for twenty seconds while a circuit breaker opens and tries again.

#![allow(missing_docs)]

use brownout::insight::{self, Topology};
use brownout::measure::trace::{
    Attempt, Header, Name, Outcome, Proxy, ProxyIndex, Record, Trace, VERSION,
};
use brownout::protocol::{Class, Protocol};
use std::hint::black_box;
use std::time::Instant;

const API: ProxyIndex = ProxyIndex(0);
const CACHE: ProxyIndex = ProxyIndex(1);
const RECORDS: usize = 1_000_000;
const ROUNDS: usize = 5;
const CALLERS: u64 = 50;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// Between two requests.
const STEP: u64 = MS / 5;
const FAULT: (u64, u64) = (40 * SECOND, 60 * SECOND);
const THRESHOLD: u32 = 5;
const OPEN_FOR: u64 = 2 * SECOND;

/// The breaker of the service.
#[derive(Default)]
struct Breaker {
    failures: u32,
    open_until: u64,
}

impl Breaker {
    fn lets_through(&self, now: u64) -> bool {
        self.failures < THRESHOLD || now >= self.open_until
    }

    fn learn(&mut self, now: u64, failed: bool) {
        self.failures = if failed { self.failures + 1 } else { 0 };
        self.open_until = now + OPEN_FOR;
    }
}

fn attempt(proxy: ProxyIndex, number: u64, begun: u64, took: u64, names: (Name, Name)) -> Attempt {
    let ended = begun + took;
    Attempt {
        proxy,
        session: number % CALLERS,
        exchange: number / CALLERS,
        operation: names.0,
        class: Class::Read,
        fingerprint: number % 997,
        begun,
        asked: begun,
        first_byte: Some(ended),
        ended,
        upstream: Some(took),
        status: names.1,
        outcome: Outcome::Ok,
        fault: None,
    }
}

fn recording() -> Trace {
    let proxy = |name: &str, protocol| Proxy {
        name: name.into(),
        protocol,
        pool: None,
    };
    let mut trace = Trace::new(Header {
        version: VERSION,
        service: None,
        started_us: 0,
        proxies: vec![
            proxy("api", Protocol::Http),
            proxy("cache", Protocol::Redis),
        ],
    });
    let [items, get, ok, failed, outage] =
        ["GET /items", "GET", "ok", "ERR", "outage"].map(|name| trace.names.intern(name));
    let mut breaker = Breaker::default();
    let mut number = 0;
    while trace.records.len() < RECORDS {
        let now = number * STEP;
        let mut request = attempt(API, number, now, MS / 10, (items, ok));
        let broken = (FAULT.0..FAULT.1).contains(&now);
        if breaker.lets_through(now) {
            // Not always the same, and the same at every run.
            let took = MS + number * 7919 % (2 * MS);
            let mut call = attempt(CACHE, number, now + MS / 20, took, (get, ok));
            if broken {
                call.outcome = Outcome::Failed;
                call.status = failed;
                call.fault = Some(outage);
            }
            request.ended = call.ended + MS / 20;
            breaker.learn(now, broken);
            trace.records.push(Record::Attempt(call));
        }
        if broken {
            request.outcome = Outcome::Failed;
            request.status = failed;
        }
        trace.records.push(Record::Attempt(request));
        number += 1;
    }
    let (on, off) = FAULT;
    trace.records.push(Record::FaultOn {
        at: on,
        fault: outage,
    });
    trace.records.push(Record::FaultOff {
        at: off,
        fault: outage,
    });
    trace.sort();
    trace
}

/// The most memory that the process has had, in MiB. Linux only.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn main() {
    let trace = recording();
    let before = peak();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let found = insight::infer(black_box(&trace), &Topology::default(), 2 * SECOND);
            let took = begun.elapsed().as_secs_f64();
            let breaker = &found.dependencies[0].breakers[0];
            assert!(breaker.threshold.answer.is_ok(), "{:?}", breaker.threshold);
            took
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let length = trace.records.last().map_or(0, Record::at) / SECOND;
    println!(
        "{} records of {length} s: everything is read off in {:.2} s (median of {ROUNDS}, most {:.2} s)",
        trace.records.len(),
        times[ROUNDS / 2],
        times[ROUNDS - 1],
    );
    if let (Some(before), Some(after)) = (before, peak()) {
        println!(
            "memory beside the recording's own {before:.0} MiB: {:.0} MiB",
            after - before
        );
    }
}
