//! What was measured in one phase: the part of `/v1/stats` that the targets speak of.

use crate::measure::stats::{self, ProxyStats, Stats};
use crate::protocol::Class;
use serde::Serialize;

/// The names of the demo's proxies.
pub mod proxy {
    /// Before Redis.
    pub const REDIS: &str = "redis";
    /// Before Postgres.
    pub const POSTGRES: &str = "postgres";
    /// Before the sample service.
    pub const API: &str = "api";
}

/// A distribution of durations, as the client saw them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// How many.
    pub samples: u64,
    /// Their mean, microseconds.
    pub mean_us: f64,
    /// The 95th percentile, microseconds.
    pub p95_us: f64,
    /// The 99th percentile, microseconds.
    pub p99_us: f64,
    /// The longest, microseconds.
    pub max_us: f64,
}

impl From<&stats::Latency> for Latency {
    fn from(latency: &stats::Latency) -> Self {
        Self {
            samples: latency.samples,
            mean_us: latency.mean_us,
            p95_us: latency.p95_us as f64,
            p99_us: latency.p99_us as f64,
            max_us: latency.max_us as f64,
        }
    }
}

/// Requests and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Requests that ended.
    pub count: u64,
    /// Of these, those that failed, and not by the application's own doing.
    pub failures: u64,
    /// Requests ended a second.
    pub per_second: f64,
}

/// One of the three.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Component {
    /// Of all requests that are work.
    pub latency: Option<Latency>,
    /// Of all requests that are work.
    pub traffic: Traffic,
    /// Requests that a fault touched.
    pub injected: u64,
    /// Busy sessions over the pool's maximum, 0 to 1, averaged over the phase.
    pub pool_use: Option<f64>,
}

/// Transactions of Postgres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Transactions {
    /// Begun.
    pub begun: u64,
    /// Committed or rolled back.
    pub ended: u64,
    /// In which something failed.
    pub failed: u64,
    /// Ended by the server as a deadlock.
    pub deadlocks: u64,
    /// The most that can be under way at a moment: so many may have begun before the phase, or end after it.
    pub open_at_most: u64,
}

impl Transactions {
    /// Transactions that failed, or that neither ended nor can still be under way.
    pub fn astray(&self) -> u64 {
        let unmatched = self.begun.abs_diff(self.ended);
        self.failed + unmatched.saturating_sub(self.open_at_most)
    }
}

/// What was measured in one phase. `None` and zero counts: nothing was.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// The time they cover.
    pub seconds: f64,
    /// The sample service.
    pub api: Component,
    /// Redis.
    pub redis: Component,
    /// Postgres.
    pub postgres: Component,
    /// `GET /health`.
    pub health: Option<Latency>,
    /// `POST /modules`.
    pub create: Option<Latency>,
    /// `GET /modules`.
    pub list: Option<Latency>,
    /// From a message published to the message passed to a subscriber.
    pub delivery: Option<Latency>,
    /// Reads of Postgres. Percentiles are those of the slowest operation, which none of the whole exceeds.
    pub reads: Option<Latency>,
    /// Writes of Postgres, likewise.
    pub writes: Option<Latency>,
    /// Transactions of Postgres.
    pub transactions: Transactions,
}

impl Figures {
    /// From the stats over a phase. `open_at_most` is the number of connections that use transactions.
    pub fn new(stats: &Stats, open_at_most: u64) -> Self {
        let mut figures = Self::default();
        if let Some(api) = stats.proxy(proxy::API) {
            figures.seconds = api.covered_seconds;
            figures.api = component(api);
            figures.health = operation(api, "GET /health");
            figures.create = operation(api, "POST /modules");
            figures.list = operation(api, "GET /modules");
        }
        if let Some(redis) = stats.proxy(proxy::REDIS) {
            figures.redis = component(redis);
            figures.delivery = redis.delivery.as_ref().map(Latency::from);
        }
        if let Some(postgres) = stats.proxy(proxy::POSTGRES) {
            figures.postgres = component(postgres);
            figures.reads = class(postgres, Class::Read);
            figures.writes = class(postgres, Class::Write);
            let transactions = &postgres.transactions;
            figures.transactions = Transactions {
                begun: transactions.begun,
                ended: transactions.committed + transactions.rolled_back,
                failed: transactions.failed,
                deadlocks: transactions.deadlocks,
                open_at_most,
            };
        }
        figures
    }

    /// Requests that a fault touched.
    pub fn injected(&self) -> u64 {
        self.api.injected + self.redis.injected + self.postgres.injected
    }
}

fn component(proxy: &ProxyStats) -> Component {
    let total = &proxy.total;
    Component {
        latency: total.client.as_ref().map(Latency::from),
        traffic: Traffic {
            count: total.count,
            failures: total.failures,
            per_second: total.rate_per_second,
        },
        injected: total.injected,
        pool_use: proxy.pool.use_mean,
    }
}

fn operation(proxy: &ProxyStats, name: &str) -> Option<Latency> {
    let client = proxy.operation(name)?.exchanges.client.as_ref();
    client.map(Latency::from)
}

/// All operations of a class together: an exact mean; for each percentile the highest of any operation, since that of a
/// mixture lies between those of its parts.
fn class(proxy: &ProxyStats, class: Class) -> Option<Latency> {
    let of_class = proxy.operations.iter().filter(|o| o.class == class);
    let latencies = of_class.filter_map(|o| o.exchanges.client.as_ref().map(Latency::from));
    latencies.reduce(|a, b| {
        let samples = a.samples + b.samples;
        let sum = a.mean_us * a.samples as f64 + b.mean_us * b.samples as f64;
        Latency {
            samples,
            mean_us: sum / samples.max(1) as f64,
            p95_us: a.p95_us.max(b.p95_us),
            p99_us: a.p99_us.max(b.p99_us),
            max_us: a.max_us.max(b.max_us),
        }
    })
}
