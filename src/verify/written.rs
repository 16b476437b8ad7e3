//! The sections of a test profile as they are written: every key optional, so that one missing key hides no other problem. The
//! comments here are what `brownout schema profile` tells.

use crate::config::duration;
pub(crate) use crate::measure::trace::Kind;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of the service.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServiceTable {
    /// The proxy before the service's own API. Default: the only HTTP proxy.
    pub(crate) api: Option<String>,
    /// Processes of the service, each with a breaker of its own. Default: not known.
    #[schemars(range(min = 1))]
    pub(crate) workers: Option<u32>,
}

/// The load, or the word `external`.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "only its schema is used; both forms are read by name"
)]
pub(crate) enum Loads {
    /// `external`: others make it.
    External(String),
    /// Generators, side by side.
    Own(Vec<LoadTable>),
}

/// One generator of load: HTTP requests, Redis commands or Postgres statements, as its proxy speaks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadTable {
    /// Its name in expectations and reports. Default: the proxy's.
    pub(crate) lane: Option<String>,
    /// The proxy that it goes through.
    pub(crate) proxy: Option<String>,
    /// HTTP only: where it goes instead, past all proxies, like `http://127.0.0.1:8000`.
    pub(crate) url: Option<String>,
    /// Open model: requests at fixed times, like "50/s". Latency counts from the time at which a request was due.
    pub(crate) rate: Option<String>,
    /// Open model with a rate that changes, from the begin of the test on; the last one goes on. In place of `rate`.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) stages: Option<Vec<StageTable>>,
    /// With `rate`: one request at a time, beside the load. What is due while one is unanswered is passed over. Default: false.
    pub(crate) canary: Option<bool>,
    /// What `rate` has to keep to while it is stepped, in the phase of kind `capacity`.
    pub(crate) search: Option<SearchTable>,
    /// Closed model: so many callers, each of which sends its next request when the last is answered.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) callers: Option<u32>,
    /// Closed model: what a caller waits before its next request. Default: nothing.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) think: Option<Duration>,
    /// When a caller gives up. Default: 10s.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) timeout: Option<Duration>,
    /// HTTP: method of the only request. Default: GET.
    pub(crate) method: Option<String>,
    /// HTTP: path of the only request.
    pub(crate) path: Option<String>,
    /// HTTP: headers of the only request.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    /// HTTP: body of the only request.
    pub(crate) body: Option<String>,
    /// HTTP: several requests by weight, in place of `path`.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) requests: Option<Vec<RequestTable>>,
    /// Redis: commands, sent in turn, like "GET key".
    #[schemars(length(min = 1, max = 64))]
    pub(crate) commands: Option<Vec<String>>,
    /// Redis: a channel to which messages are published; each has to come back to a subscriber.
    pub(crate) publish: Option<String>,
    /// Postgres: statements, in turn; with `transaction` all of them in one.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) statements: Option<Vec<String>>,
    /// Postgres: whether the statements are one transaction. Default: false.
    pub(crate) transaction: Option<bool>,
    /// Postgres: the user. Default: postgres.
    pub(crate) user: Option<String>,
    /// Postgres: the database. Default: the user's name.
    pub(crate) database: Option<String>,
    /// Redis and Postgres: the variable of the environment that holds the password.
    pub(crate) password_env: Option<String>,
}

/// A rate that is come to, and held.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StageTable {
    /// Like "50/s".
    #[schemars(required)]
    pub(crate) rate: Option<String>,
    /// How long, the ramp included.
    #[serde(rename = "for", with = "duration::option")]
    #[schemars(with = "Option<duration::Text>", required)]
    pub(crate) length: Option<Duration>,
    /// In which time the rate comes there from the one before, of the first stage from nothing. Default: at once.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) ramp: Option<Duration>,
}

/// A figure that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Mean latency.
    Mean,
    /// Latency that half of the requests do not exceed.
    P50,
    /// Of 95 of 100.
    P95,
    /// Of 99 of 100.
    P99,
    /// Of every request.
    Max,
    /// Share of failures.
    ErrorRate,
}

/// A latency or a share.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum LimitText {
    /// Of a latency, like "100ms".
    Latency(String),
    /// Of `error_rate`: 0 to 1.
    Share(f64),
}

/// What a stepped rate has to keep to.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SearchTable {
    /// The figure.
    #[schemars(required)]
    pub(crate) metric: Option<Metric>,
    /// What it may be at most.
    #[schemars(required)]
    pub(crate) limit: Option<LimitText>,
    /// Beside a latency: share of failures, at most. Default: 0.01.
    #[schemars(range(min = 0, max = 1))]
    pub(crate) error_rate: Option<f64>,
}

/// One HTTP request of several.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RequestTable {
    /// Default: GET.
    pub(crate) method: Option<String>,
    /// Its path.
    pub(crate) path: Option<String>,
    /// Its headers.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    /// Its body.
    pub(crate) body: Option<String>,
    /// Its share, as parts of the sum. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) weight: Option<u32>,
}

/// A phase.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PhaseTable {
    /// Its name. Default: its kind.
    pub(crate) name: Option<String>,
    /// What it is for.
    #[schemars(required)]
    pub(crate) kind: Option<Kind>,
    /// How long it is; of kind `capacity`: at most.
    #[serde(rename = "for", with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) length: Option<Duration>,
    /// It ends after so many requests of the load instead; after ten minutes at the latest.
    #[schemars(range(min = 1))]
    pub(crate) samples: Option<u64>,
    /// Kind `capacity`: how long each rate is held, at least; longer where samples need it. Default: 5s.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) step: Option<Duration>,
}

/// What becomes of a verdict that is inconclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnInconclusive {
    /// It counts as passed.
    Pass,
    /// It is said, and the exit code is 3 if nothing failed.
    #[default]
    Warn,
    /// It counts as failed.
    Fail,
}

/// What becomes of a limit that is not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The test fails.
    #[default]
    Limit,
    /// It is said.
    Alert,
}

/// One name or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What is expected of a circuit breaker.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BreakerTable {
    /// Failures in a row after which it opens.
    #[schemars(range(min = 1))]
    pub(crate) opens_after: Option<u64>,
    /// How much longer than a request without the dependency the service takes to say no (p95).
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) fails_fast_within: Option<Duration>,
    /// Whether it closes by itself when the dependency is back.
    pub(crate) closes: Option<bool>,
}

/// What is expected. Each limit is a verdict of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExpectTable {
    /// Its name in reports. Default: what it is about.
    pub(crate) name: Option<String>,
    /// The proxy that it is about.
    pub(crate) proxy: Option<String>,
    /// Only this operation of the proxy.
    pub(crate) operation: Option<String>,
    /// The lane of load that it is about, as the caller saw it.
    pub(crate) lane: Option<String>,
    /// The watched process that it is about. Default: the only one.
    pub(crate) watch: Option<String>,
    /// The phases that count. Default: all but warm-up.
    pub(crate) phase: Option<Names>,
    /// Default: warn.
    pub(crate) on_inconclusive: Option<OnInconclusive>,
    /// `limit`: what is over it fails. `alert`: it is said, and fails nothing. Default: limit.
    pub(crate) severity: Option<Severity>,
    /// Mean latency, at most.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) mean: Option<Duration>,
    /// Latency that half of the requests do not exceed.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) p50: Option<Duration>,
    /// Latency that 95 of 100 requests do not exceed; needs 59 samples.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) p95: Option<Duration>,
    /// Latency that 99 of 100 requests do not exceed; needs 299 samples.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) p99: Option<Duration>,
    /// Latency of every request, at most.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) max: Option<Duration>,
    /// Successes a second, at least, like "100/s".
    pub(crate) throughput: Option<String>,
    /// Share of failures, at most: 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub(crate) error_rate: Option<f64>,
    /// From the first request that a fault touched to the service's first reaction.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) detects_within: Option<Duration>,
    /// While the dependency is disturbed, every request to the API is answered, and none with 500.
    pub(crate) degrades: Option<bool>,
    /// From the end of the fault until the service is itself again.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) recovers_within: Option<Duration>,
    /// How long it has to be itself to have recovered. Default: 3s.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) stable_for: Option<Duration>,
    /// The circuit breaker.
    pub(crate) breaker: Option<BreakerTable>,
    /// How long the service waits for a reply, at most.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) timeout_within: Option<Duration>,
    /// It leaves no connection and no transaction behind.
    pub(crate) cleans_up: Option<bool>,
    /// Routes and dependencies that the fault is not about stay as they were.
    pub(crate) contained: Option<bool>,
    /// Retries of one call, at most.
    pub(crate) retries_at_most: Option<u64>,
    /// Attempts for each request in the fault, over those in the baseline, at most.
    pub(crate) amplification_at_most: Option<f64>,
    /// Nothing of which the reply was lost is done twice.
    pub(crate) no_duplicates: Option<bool>,
    /// The server reports no deadlock of its own.
    pub(crate) no_deadlocks: Option<bool>,
    /// Every transaction is ended, and none is done twice.
    pub(crate) transactions_intact: Option<bool>,
    /// Share of the pool in use, at most: 0 to 1.
    pub(crate) pool_utilisation_at_most: Option<f64>,
    /// Growth of the watched process, at most, like "50MB".
    pub(crate) memory_growth_at_most: Option<String>,
    /// The least time to judge `memory_growth_at_most` by: a shorter one says less of slow leaks. Default: 2m.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) memory_window: Option<Duration>,
    /// Processor time of the watched process as a share of one core, on average.
    pub(crate) cpu_mean_at_most: Option<f64>,
    /// The same between two looks.
    pub(crate) cpu_peak_at_most: Option<f64>,
    /// What worked in the baseline works in the last phase.
    pub(crate) fully_functional: Option<bool>,
    /// The highest rate at which every `search` of the load is kept, as a multiple of the declared rate, at least.
    pub(crate) headroom_at_least: Option<f64>,
}

/// When a test stops early. The faults are off before anything else is done.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GuardTable {
    /// The lane that it looks at. Default: all of them.
    pub(crate) lane: Option<String>,
    /// It looks at the baseline alone, once, before any fault is switched on: where it is lost (too many failures, nobody answers,
    /// requests hang, or slower than `p95`), none is. Default: false.
    pub(crate) baseline: Option<bool>,
    /// Share of failures that is too much. Default with `baseline`: 0.01.
    pub(crate) error_rate: Option<f64>,
    /// A p95 that is too much. Requests that are unanswered for longer count.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) p95: Option<Duration>,
    /// The time that is looked at. Default: 5s; with `baseline` all of it.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) window: Option<Duration>,
}

/// A process, or a container, that is looked at every second.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WatchTable {
    /// Its name in expectations.
    #[schemars(required)]
    pub(crate) name: Option<String>,
    /// By number.
    pub(crate) pid: Option<u32>,
    /// By the name of its program, as /proc/PID/comm has it: the oldest.
    pub(crate) process: Option<String>,
    /// By the port of this machine that it listens on, like "127.0.0.1:8000" or 8000 as text: the oldest such process.
    pub(crate) listens: Option<String>,
    /// A container, by the folder of its cgroup v2 (Linux), like `/sys/fs/cgroup/system.slice/docker-....scope`: memory without
    /// what the kernel can give back at once, processor time and threads of all its processes.
    pub(crate) cgroup: Option<String>,
    /// Started before the load and ended after it: program and arguments.
    pub(crate) command: Option<Vec<String>>,
    /// Variables for `command`; `{proxy:NAME}` is where that proxy listens.
    pub(crate) env: Option<BTreeMap<String, String>>,
    /// How long `command` may take until the upstreams of all proxies accept connections. Default: 30s.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) ready_within: Option<Duration>,
}
