//! The figures that readers get, as they appear in JSON.
//!
//! Durations are microseconds and carry the unit in their name. Percentiles are those of an HdrHistogram with 3 digits: at or
//! above the exact value, by at most 0.1 %. Means, maxima and counts are exact. Where nothing was measured there is `null`,
//! never 0.

use super::summary;
use crate::protocol::{Class, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The figures of all proxies over one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// The window that was asked for; `None`: since start.
    pub window_seconds: Option<f64>,
    /// How long sockets that could be read waited for the proxy in the last ten seconds, on the worker where that was longest.
    /// `None`: no worker had a session. A request waits so long before it is measured.
    #[serde(default)]
    pub worker_lag: Option<Latency>,
    /// The proxies, by name.
    pub proxies: Vec<ProxyStats>,
}

impl Stats {
    /// The figures of one proxy.
    pub fn proxy(&self, name: &str) -> Option<&ProxyStats> {
        self.proxies.iter().find(|p| p.name == name)
    }
}

/// The figures of one proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyStats {
    /// Its name.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The time that the figures cover. May differ from the window: ticks are not exact, and at first there are few.
    pub covered_seconds: f64,
    /// By operation and class, sorted.
    pub operations: Vec<OperationStats>,
    /// All operations that are work: without handshakes, pings and blocking commands.
    pub total: ExchangeStats,
    /// Sessions.
    pub sessions: SessionStats,
    /// Connections to the upstream.
    pub connects: ConnectStats,
    /// Bytes passed on.
    pub bytes: ByteStats,
    /// Sessions that the decoder gave up on, by reason.
    pub tap_lost: BTreeMap<String, u64>,
    /// Messages passed to clients that belong to no request.
    pub pushes: u64,
    /// Messages published.
    pub published: u64,
    /// From a message published to the message passed to a subscriber.
    pub delivery: Option<Latency>,
    /// Transactions.
    pub transactions: TransactionStats,
    /// Use of the service's connection pool.
    pub pool: PoolStats,
    /// Faults.
    pub faults: FaultStats,
    /// Limits and how they were kept, over all operations that are work.
    pub slo: SloStats,
    /// Postgres cancel requests.
    pub cancels: u64,
    /// Errors of single commands inside transactions that succeeded as a whole.
    pub part_errors: u64,
    /// Times that the bytes held for a fault reached their bound.
    pub held_limit: u64,
}

impl ProxyStats {
    /// The figures of one operation: of its usual class if it has several, that is, of the one with the most exchanges.
    pub fn operation(&self, name: &str) -> Option<&OperationStats> {
        let named = self.operations.iter().filter(|o| o.operation == name);
        named.max_by_key(|o| o.exchanges.count)
    }
}

/// The figures of one operation in one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperationStats {
    /// Its name.
    pub operation: String,
    /// Its class.
    pub class: Class,
    /// Its exchanges.
    #[serde(flatten)]
    pub exchanges: ExchangeStats,
    /// Its histograms, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<Histograms>,
}

/// HDR histograms of microseconds: V2, compressed, in base64, as the tools of HdrHistogram read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Histograms {
    /// As the client saw it.
    pub client: String,
    /// As the server took it.
    pub upstream: String,
    /// Until the first byte of the reply.
    pub first_byte: String,
}

/// Figures over exchanges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExchangeStats {
    /// Exchanges ended.
    pub count: u64,
    /// Exchanges ended per second.
    pub rate_per_second: f64,
    /// Of these, errors of any kind.
    pub errors: u64,
    /// Of the errors, those that are not the application's own doing.
    pub failures: u64,
    /// Exchanges by status, `ok` included.
    pub by_status: BTreeMap<String, u64>,
    /// Exchanges that a fault touched.
    pub injected: u64,
    /// Exchanges begun and not ended, now.
    pub outstanding: u64,
    /// Last request byte seen to last reply byte sent on: with injected time.
    pub client: Option<Latency>,
    /// Last request byte sent on to last reply byte seen: without injected time.
    pub upstream: Option<Latency>,
    /// Last request byte seen to first reply byte sent on.
    pub first_byte: Option<Latency>,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of replies.
    pub reply_bytes: u64,
    /// Exchanges longer than the limit of p95, counted exactly.
    pub over_p95: u64,
    /// Exchanges longer than the limit of p99, counted exactly.
    pub over_p99: u64,
    /// Durations longer than the hour that histograms reach; they count as an hour.
    pub saturated: u64,
}

/// A distribution of durations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// How many.
    pub samples: u64,
    /// Their exact mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: u64,
    /// The 95th percentile.
    pub p95_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The longest, rounded up.
    pub max_us: u64,
    /// Which of these percentiles rest on enough samples.
    pub enough_samples: EnoughSamples,
}

impl Latency {
    /// The distribution of these durations in nanoseconds; `None` of no durations.
    pub fn of(durations: impl IntoIterator<Item = u64>) -> Option<Self> {
        summary::of(durations)
    }
}

/// Samples that bound a percentile from above by their maximum with 95 % confidence, whatever the distribution.
pub mod needed {
    /// For the median.
    pub const P50: u64 = 5;
    /// For the 95th percentile.
    pub const P95: u64 = 59;
    /// For the 99th percentile.
    pub const P99: u64 = 299;
}

/// Which percentiles rest on enough samples ([`needed`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnoughSamples {
    /// The median.
    pub p50: bool,
    /// The 95th percentile.
    pub p95: bool,
    /// The 99th percentile.
    pub p99: bool,
}

impl EnoughSamples {
    /// For a number of samples.
    pub const fn of(samples: u64) -> Self {
        Self {
            p50: samples >= needed::P50,
            p95: samples >= needed::P95,
            p99: samples >= needed::P99,
        }
    }
}

/// Figures over sessions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionStats {
    /// Accepted.
    pub opened: u64,
    /// Ended.
    pub closed: u64,
    /// Open now.
    pub open: u32,
    /// With a request outstanding now.
    pub busy: u32,
    /// The most with a request outstanding at one moment.
    pub busy_peak: u32,
    /// Ended by a reset of the client.
    pub client_resets: u64,
    /// Ended by a reset of the upstream.
    pub upstream_resets: u64,
    /// From accept to close, of those that ended.
    pub duration: Option<Latency>,
}

/// Figures over connections to the upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectStats {
    /// Made.
    pub ok: u64,
    /// Refused.
    pub refused: u64,
    /// Not answered in time.
    pub timeout: u64,
    /// No route.
    pub unreachable: u64,
    /// The name does not resolve.
    pub resolve: u64,
    /// No descriptor or local port was left.
    pub exhausted: u64,
    /// The address is one of our own listeners.
    #[serde(rename = "loop")]
    pub looped: u64,
    /// Failed for another reason.
    pub other: u64,
    /// Time to connect, of those made.
    pub latency: Option<Latency>,
}

/// Bytes that came, to be passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByteStats {
    /// From clients to the upstream.
    pub up: u64,
    /// From the upstream to clients.
    pub down: u64,
    /// Of `up`, those that `blackhole`, `reset_peer` or `limit_data` let vanish.
    #[serde(default)]
    pub vanished_up: u64,
    /// Of `down`, the same.
    #[serde(default)]
    pub vanished_down: u64,
}

/// Figures over transactions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransactionStats {
    /// Begun.
    pub begun: u64,
    /// Ended, and the work was kept.
    pub committed: u64,
    /// Ended, and the work was undone.
    pub rolled_back: u64,
    /// In which something failed.
    pub failed: u64,
    /// Exchanges that ended with SQLSTATE 40P01.
    pub deadlocks: u64,
    /// Exchanges that ended with SQLSTATE 40001.
    pub serialization_failures: u64,
    /// From begin to end.
    pub duration: Option<Latency>,
    /// Times in which a session sat in a transaction and asked nothing of the server.
    pub idle: Option<Latency>,
}

/// Use of the service's connection pool: busy sessions, against the declared maximum, else against the sessions open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolStats {
    /// The declared maximum of sessions.
    pub max: Option<u32>,
    /// Sessions busy, averaged over time.
    pub busy_mean: f64,
    /// That over the maximum: 0 to 1, or more where the maximum declared is not kept. `None` if no session was open.
    pub use_mean: Option<f64>,
    /// The same for the most sessions that were busy at one moment.
    pub use_peak: Option<f64>,
}

/// Figures over faults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultStats {
    /// Exchanges that a fault touched.
    pub injected: u64,
    /// Exchanges that a fault matched but could not apply to in that state of the protocol.
    pub skipped: u64,
    /// The same by reason: those that occurred. The reasons are those of the events and of the ledger.
    #[serde(default)]
    pub skipped_by_reason: BTreeMap<String, u64>,
    /// How much later than asked held bytes went on: the precision of injected delays, as far as this process has it in hand.
    #[serde(default)]
    pub late: Option<Latency>,
}

/// The limits of a proxy that are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloStats {
    /// Of the mean.
    pub mean: Option<SloCheck>,
    /// Of the 95th percentile.
    pub p95: Option<SloCheck>,
    /// Of the 99th percentile.
    pub p99: Option<SloCheck>,
}

/// One limit and how it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloCheck {
    /// The limit.
    pub limit_us: f64,
    /// What was measured, as the client saw it. `None` without samples.
    pub measured_us: Option<f64>,
    /// Exchanges over the limit, counted exactly. `None` for the mean, which is a limit on no single exchange.
    pub over: Option<u64>,
    /// Exchanges that were held against the limit. Fewer than were measured if the limit was changed meanwhile.
    pub samples: u64,
    /// Whether these are enough to say anything ([`needed`]; for the mean as for the median).
    pub enough_samples: bool,
    /// Whether the limit was kept: by the mean itself, or by the share of exchanges over it. `None` with too few samples.
    pub met: Option<bool>,
}
