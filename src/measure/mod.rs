//! What the sessions did: counts, latencies, windows; written by workers without locks, merged on the reader's side.
//!
//! A worker owns one [`Shard`] and writes into it. About once a second, and whenever a reader wants fresh figures, the shard is
//! swapped for an empty one and given to the [`Collector`], which adds it to the totals and to the windows. So nothing that
//! reads can slow a session, and nothing is counted twice or lost.

mod block;
mod buckets;
pub mod collector;
pub mod delivery;
#[cfg(test)]
mod fixture;
pub mod hlog;
pub mod ledger;
mod operations;
pub mod prometheus;
pub mod shard;
pub mod stats;
mod summary;
pub mod trace;
mod window;

pub use collector::Collector;
pub use delivery::Published;
pub use hlog::HlogWriter;
pub use prometheus::Exporter;
pub use shard::Shard;
pub use stats::Stats;

use crate::fault::Skip;
use crate::protocol::{Catalog, Class, Lost, Operation, Status};
use std::sync::Arc;
use std::time::Duration;

/// The number of a proxy inside this process: an index, never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyId(pub u16);

/// Limits on latency, as the client sees it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Limit of the mean.
    #[serde(
        default,
        with = "crate::config::duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<crate::config::duration::Text>")]
    pub mean: Option<Duration>,
    /// Limit of the 95th percentile.
    #[serde(
        default,
        with = "crate::config::duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<crate::config::duration::Text>")]
    pub p95: Option<Duration>,
    /// Limit of the 99th percentile.
    #[serde(
        default,
        with = "crate::config::duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<crate::config::duration::Text>")]
    pub p99: Option<Duration>,
}

/// What measurement must know of a proxy.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Its name.
    pub name: Arc<str>,
    /// Names of its operations and statuses.
    pub catalog: Catalog,
    /// Limits; samples over `p95` and over `p99` are counted exactly.
    pub slo: Slo,
    /// The most sessions the service's pool may hold, where declared: pool use is busy sessions over this.
    pub pool: Option<u32>,
}

/// One finished exchange. Durations are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What was asked.
    pub operation: Operation,
    /// What kind of work.
    pub class: Class,
    /// How it ended.
    pub status: Status,
    /// Last request byte seen to last reply byte sent on: with injected time.
    pub client: u64,
    /// Last request byte sent on to last reply byte seen: without injected time. Where nothing was held it is `client`, whose few
    /// microseconds of the proxy's own are not told apart. `None`: the server never saw it.
    pub upstream: Option<u64>,
    /// Last request byte seen to first reply byte sent on.
    pub first_byte: u64,
    /// Size of the request in bytes.
    pub request_bytes: u64,
    /// Size of the reply in bytes.
    pub reply_bytes: u64,
    /// Whether a fault touched it.
    pub injected: bool,
}

/// Things of a proxy that are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Sessions accepted.
    SessionsOpened,
    /// Sessions ended, for whatever reason.
    SessionsClosed,
    /// Sessions ended by a reset of the client.
    ClientResets,
    /// Sessions ended by a reset of the upstream.
    UpstreamResets,
    /// Bytes from clients passed to the upstream.
    BytesUp,
    /// Bytes from the upstream passed to clients.
    BytesDown,
    /// A connection to the upstream could not be made: refused.
    ConnectRefused,
    /// ... it did not answer in time.
    ConnectTimeout,
    /// ... no route to it.
    ConnectUnreachable,
    /// ... its name does not resolve.
    ConnectResolve,
    /// ... no descriptor or local port was left.
    ConnectExhausted,
    /// ... its address is one of our own listeners.
    ConnectLoop,
    /// ... for another reason.
    ConnectOther,
    /// The decoder gave up on a session.
    TapLost(Lost),
    /// Pushes passed to clients (pub/sub messages, notifications).
    Pushes,
    /// Messages published.
    Published,
    /// Transactions begun, committed, rolled back; and those in which something failed.
    TransactionsBegun,
    /// See above.
    TransactionsCommitted,
    /// See above.
    TransactionsRolledBack,
    /// See above.
    TransactionsFailed,
    /// Postgres cancel requests.
    Cancels,
    /// Exchanges that a fault touched.
    FaultsInjected,
    /// Exchanges that a fault matched but could not apply to in that protocol state.
    FaultsSkipped(Skip),
    /// Bytes held for a fault reached their bound, and reading stopped.
    HeldLimit,
    /// Per-command errors inside a transaction that succeeded as a whole.
    PartErrors,
    /// Of the bytes from clients, those that a fault on the stream let vanish.
    VanishedUp,
    /// Of the bytes from the upstream, those that a fault on the stream let vanish.
    VanishedDown,
}

/// Durations of a proxy that belong to no single operation; each has a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Timing {
    /// Time to connect to the upstream.
    Connect,
    /// A transaction from begin to end.
    Transaction,
    /// Time in which a session sat in a transaction while nothing was asked of the server.
    IdleInTransaction,
    /// From PUBLISH seen to the message passed to a subscriber.
    Delivery,
    /// A session from accept to close.
    Session,
    /// How much later than asked bytes went on that a fault had held.
    Late,
}

impl Timing {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Transaction,
        Self::IdleInTransaction,
        Self::Delivery,
        Self::Session,
        Self::Late,
    ];
}

/// Levels of a proxy at one moment, kept by the data path in atomics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Sessions open now.
    pub open: u32,
    /// Of these, sessions with at least one request outstanding.
    pub busy: u32,
    /// The highest `busy` since the last look.
    pub busy_peak: u32,
    /// Nanoseconds that sessions were busy, summed over sessions, since start.
    pub busy_ns: u64,
}
