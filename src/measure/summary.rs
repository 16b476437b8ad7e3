//! From what was measured to what readers get.

use super::block::{Block, Timer};
use super::buckets::Buckets;
use super::operations::{Key, Record, Side};
use super::stats::{
    ByteStats, ConnectStats, EnoughSamples, ExchangeStats, FaultStats, Histograms, Latency,
    OperationStats, PoolStats, ProxyStats, SessionStats, SloCheck, SloStats, TransactionStats,
    needed,
};
use super::window::Levels;
use super::{Counter, Gauges, Meta, Timing};
use crate::fault::Skip;
use crate::protocol::{Catalog, Class, Lost, Status};
use base64::Engine;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a summary is made of.
pub(super) struct Source<'a> {
    /// The proxy.
    pub(super) meta: &'a Meta,
    /// Figures over the window.
    pub(super) block: &'a Block,
    /// Figures since start: what is outstanding is seen only here.
    pub(super) totals: &'a Block,
    /// Levels over the window.
    pub(super) levels: Levels,
    /// Levels now.
    pub(super) gauges: Gauges,
    /// The time that the figures cover.
    pub(super) covered: Duration,
    /// Whether the histograms themselves are wanted.
    pub(super) histograms: bool,
}

/// The figures of one proxy.
pub(super) fn proxy(source: &Source) -> ProxyStats {
    let count = |counter| source.block.counters.get(counter);
    let seconds = source.covered.as_secs_f64();
    let work = work(source);
    ProxyStats {
        name: source.meta.name.to_string(),
        protocol: source.meta.catalog.protocol(),
        covered_seconds: seconds,
        operations: operations(source),
        total: exchanges(&source.meta.catalog, &work, seconds),
        sessions: sessions(source),
        connects: connects(source),
        bytes: ByteStats {
            up: count(Counter::BytesUp),
            down: count(Counter::BytesDown),
            vanished_up: count(Counter::VanishedUp),
            vanished_down: count(Counter::VanishedDown),
        },
        tap_lost: tap_lost(source.block),
        pushes: count(Counter::Pushes),
        published: count(Counter::Published),
        delivery: timer(source.block.timer(Timing::Delivery)),
        transactions: transactions(source),
        pool: pool(source),
        faults: faults(source.block),
        slo: slo(source.meta, &work.record),
        cancels: count(Counter::Cancels),
        part_errors: count(Counter::PartErrors),
        held_limit: count(Counter::HeldLimit),
    }
}

/// The records of all keys that share a name and class, or that are work.
#[derive(Default)]
struct Sum {
    record: Record,
    outstanding: u64,
}

impl Sum {
    /// Adds an operation, as it is in the window and since start.
    fn add(&mut self, window: Option<&Record>, total: &Record) {
        if let Some(window) = window {
            self.record.merge(window);
        }
        self.outstanding += outstanding(total);
    }
}

/// Exchanges begun and not ended, by figures since start.
pub(super) fn outstanding(total: &Record) -> u64 {
    total.tally.started.saturating_sub(total.tally.completed)
}

fn work(source: &Source) -> Sum {
    let mut sum = Sum::default();
    for (key, total) in source.totals.operations.iter() {
        if key.class.is_work() {
            sum.add(source.block.operations.get(key), total);
        }
    }
    sum
}

fn operations(source: &Source) -> Vec<OperationStats> {
    let catalog = &source.meta.catalog;
    // several numbers may share a name, such as those no catalog knows
    let mut named: BTreeMap<(String, Class), Vec<Key>> = BTreeMap::new();
    for (key, total) in source.totals.operations.iter() {
        let active = source
            .block
            .operations
            .get(key)
            .is_some_and(|r| !r.tally.is_empty());
        if active || outstanding(total) > 0 {
            let name = catalog.operation_name(key.operation).into_owned();
            named.entry((name, key.class)).or_default().push(key);
        }
    }
    let seconds = source.covered.as_secs_f64();
    let rows = named.into_iter().map(|((operation, class), keys)| {
        let mut sum = Sum::default();
        for key in keys {
            if let Some(total) = source.totals.operations.get(key) {
                sum.add(source.block.operations.get(key), total);
            }
        }
        OperationStats {
            operation,
            class,
            exchanges: exchanges(catalog, &sum, seconds),
            histograms: source.histograms.then(|| histograms(&sum.record)),
        }
    });
    rows.collect()
}

fn histograms(record: &Record) -> Histograms {
    let side = |side| {
        let mut bytes = Vec::new();
        let histogram = record.latencies.side(side).to_hdr();
        // Writing to memory does not fail.
        let _ = V2DeflateSerializer::new().serialize(&histogram, &mut bytes);
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    Histograms {
        client: side(Side::Client),
        upstream: side(Side::Upstream),
        first_byte: side(Side::FirstByte),
    }
}

fn exchanges(catalog: &Catalog, sum: &Sum, seconds: f64) -> ExchangeStats {
    let record = &sum.record;
    let tally = &record.tally;
    let matching = |is: &dyn Fn(Status) -> bool| {
        let counts = record.statuses.iter().filter(|(s, _)| is(*s));
        counts.map(|(_, n)| n).sum::<u64>()
    };
    let side = |side: Side, samples| {
        let at = side as usize;
        let buckets = record.latencies.side(side);
        latency(&buckets, samples, tally.sums[at], tally.max[at])
    };
    ExchangeStats {
        count: tally.completed,
        rate_per_second: rate(tally.completed, seconds),
        errors: matching(&|s| catalog.is_error(s)),
        failures: matching(&|s| catalog.is_failure(s)),
        by_status: by_status(catalog, record),
        injected: tally.injected,
        outstanding: sum.outstanding,
        client: side(Side::Client, tally.completed),
        upstream: side(Side::Upstream, tally.reached),
        first_byte: side(Side::FirstByte, tally.completed),
        request_bytes: tally.request_bytes,
        reply_bytes: tally.reply_bytes,
        over_p95: tally.over_p95,
        over_p99: tally.over_p99,
        saturated: tally.saturated,
    }
}

/// Exchanges by name of the status.
pub(super) fn by_status(catalog: &Catalog, record: &Record) -> BTreeMap<String, u64> {
    let told: u64 = record.statuses.iter().map(|(_, n)| n).sum();
    let ok = (Status::OK, record.tally.completed.saturating_sub(told));
    let mut named = BTreeMap::new();
    for (status, n) in record
        .statuses
        .iter()
        .copied()
        .chain([ok])
        .filter(|(_, n)| *n > 0)
    {
        *named
            .entry(catalog.status_name(status).into_owned())
            .or_default() += n;
    }
    named
}

fn rate(n: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        n as f64 / seconds
    } else {
        0.0
    }
}

fn mean_us(sum: u128, samples: u64) -> f64 {
    sum as f64 / samples as f64 / 1e3
}

fn latency(buckets: &Buckets, samples: u64, sum: u128, max: u64) -> Option<Latency> {
    if samples == 0 || buckets.is_empty() {
        return None;
    }
    let max_us = max.div_ceil(1000);
    let hdr = buckets.to_hdr();
    let quantile = |q| hdr.value_at_quantile(q).min(max_us);
    Some(Latency {
        samples,
        mean_us: mean_us(sum, samples),
        p50_us: quantile(0.50),
        p95_us: quantile(0.95),
        p99_us: quantile(0.99),
        max_us,
        enough_samples: EnoughSamples::of(samples),
    })
}

/// The distribution of durations in nanoseconds.
pub(super) fn of(durations: impl IntoIterator<Item = u64>) -> Option<Latency> {
    let mut all = Timer::default();
    durations.into_iter().for_each(|ns| all.record(ns));
    timer(&all)
}

fn timer(timer: &Timer) -> Option<Latency> {
    latency(&timer.buckets, timer.buckets.len(), timer.sum, timer.max)
}

fn sessions(source: &Source) -> SessionStats {
    let count = |counter| source.block.counters.get(counter);
    SessionStats {
        opened: count(Counter::SessionsOpened),
        closed: count(Counter::SessionsClosed),
        open: source.gauges.open,
        busy: source.gauges.busy,
        busy_peak: source.levels.busy_peak,
        client_resets: count(Counter::ClientResets),
        upstream_resets: count(Counter::UpstreamResets),
        duration: timer(source.block.timer(Timing::Session)),
    }
}

fn connects(source: &Source) -> ConnectStats {
    let count = |counter| source.block.counters.get(counter);
    let made = source.block.timer(Timing::Connect);
    ConnectStats {
        ok: made.buckets.len(),
        refused: count(Counter::ConnectRefused),
        timeout: count(Counter::ConnectTimeout),
        unreachable: count(Counter::ConnectUnreachable),
        resolve: count(Counter::ConnectResolve),
        exhausted: count(Counter::ConnectExhausted),
        looped: count(Counter::ConnectLoop),
        other: count(Counter::ConnectOther),
        latency: timer(made),
    }
}

fn tap_lost(block: &Block) -> BTreeMap<String, u64> {
    let reasons = Lost::ALL.into_iter();
    let counts = reasons.map(|r| (r.name().to_owned(), block.counters.get(Counter::TapLost(r))));
    counts.filter(|(_, n)| *n > 0).collect()
}

fn faults(block: &Block) -> FaultStats {
    let reasons = Skip::ALL.into_iter();
    let counts = reasons.map(|why| {
        let n = block.counters.get(Counter::FaultsSkipped(why));
        (why.reason().to_owned(), n)
    });
    let skipped: BTreeMap<_, _> = counts.filter(|(_, n)| *n > 0).collect();
    FaultStats {
        injected: block.counters.get(Counter::FaultsInjected),
        skipped: skipped.values().sum(),
        skipped_by_reason: skipped,
        late: timer(block.timer(Timing::Late)),
    }
}

fn transactions(source: &Source) -> TransactionStats {
    let count = |counter| source.block.counters.get(counter);
    let (mut deadlocks, mut serialization_failures) = (0, 0);
    for (_, record) in source.block.operations.iter() {
        for &(status, n) in &record.statuses {
            match &*source.meta.catalog.status_name(status) {
                "40P01" => deadlocks += n,
                "40001" => serialization_failures += n,
                _ => {}
            }
        }
    }
    TransactionStats {
        begun: count(Counter::TransactionsBegun),
        committed: count(Counter::TransactionsCommitted),
        rolled_back: count(Counter::TransactionsRolledBack),
        failed: count(Counter::TransactionsFailed),
        deadlocks,
        serialization_failures,
        duration: timer(source.block.timer(Timing::Transaction)),
        idle: timer(source.block.timer(Timing::IdleInTransaction)),
    }
}

fn pool(source: &Source) -> PoolStats {
    let levels = &source.levels;
    let ns = source.covered.as_nanos() as f64;
    let mean = |level_ns: u128| if ns > 0.0 { level_ns as f64 / ns } else { 0.0 };
    let busy_mean = mean(levels.busy_ns);
    let max = source.meta.pool.filter(|&max| max > 0);
    let share = |busy: f64, open: f64| {
        let of = max.map_or(open, f64::from);
        // without a declared maximum, sessions that came and went between two looks may exceed those seen open
        let limit = if max.is_some() { f64::INFINITY } else { 1.0 };
        (of > 0.0).then(|| (busy / of).min(limit))
    };
    PoolStats {
        max: source.meta.pool,
        busy_mean,
        use_mean: share(busy_mean, mean(levels.open_ns)),
        use_peak: share(f64::from(levels.busy_peak), f64::from(levels.open_peak)),
    }
}

fn slo(meta: &Meta, work: &Record) -> SloStats {
    let tally = &work.tally;
    let at = Side::Client as usize;
    let client = latency(
        &work.latencies.side(Side::Client),
        tally.completed,
        tally.sums[at],
        tally.max[at],
    );
    let judged = tally.completed.saturating_sub(tally.unjudged);
    let quantile =
        |limit: Duration, measured: Option<u64>, over: u64, allowed: f64, needed: u64| {
            let enough = judged >= needed;
            SloCheck {
                limit_us: limit.as_nanos() as f64 / 1e3,
                measured_us: measured.map(|us| us as f64),
                over: Some(over),
                samples: judged,
                enough_samples: enough,
                met: enough.then_some(over as f64 <= judged as f64 * allowed),
            }
        };
    SloStats {
        mean: meta.slo.mean.map(|limit| {
            let limit_us = limit.as_nanos() as f64 / 1e3;
            let enough = tally.completed >= needed::P50;
            SloCheck {
                limit_us,
                measured_us: client.map(|c| c.mean_us),
                over: None,
                samples: tally.completed,
                enough_samples: enough,
                met: client.filter(|_| enough).map(|c| c.mean_us <= limit_us),
            }
        }),
        p95: meta.slo.p95.map(|limit| {
            let measured = client.map(|c| c.p95_us);
            quantile(limit, measured, tally.over_p95, 0.05, needed::P95)
        }),
        p99: meta.slo.p99.map(|limit| {
            let measured = client.map(|c| c.p99_us);
            quantile(limit, measured, tally.over_p99, 0.01, needed::P99)
        }),
    }
}
