//! `brownout.toml` as it is written: every key optional, so that one missing key hides no other problem. The checked
//! form is [`Config`](super::Config). The comments here are what `brownout schema config` tells.

use super::address::{Listen, Written};
use super::duration;
use super::guards::LimitsTable;
use super::probe::Probe;
use crate::measure::Slo;
use crate::protocol::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What happens to a session whose bytes the decoder cannot follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDesync {
    /// Its bytes flow on, undecoded; it is counted and reported.
    #[default]
    Pass,
    /// It is closed, so that no traffic goes unmeasured.
    Cut,
}

/// The configuration of `brownout run`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "brownout.toml")]
pub(crate) struct File {
    /// Threads that carry sessions, 1 to 256. Default: one for each core.
    #[schemars(range(min = 1, max = 256))]
    pub(crate) workers: Option<u32>,
    /// Seed of every random choice of faults: the same seed, profile and order of requests give the same faults.
    /// Default: chosen at start and printed.
    pub(crate) seed: Option<u64>,
    /// Folder of profiles, relative to this file. Default: `profiles` if it exists, else the built-in ones.
    pub(crate) profiles: Option<PathBuf>,
    /// Folder for HdrHistogram logs (`.hlog`), relative to this file. Default: none are written.
    pub(crate) hlog: Option<PathBuf>,
    /// How long sessions may go on after SIGTERM before they are cut; `0s` cuts at once. Default: 30s.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) drain_deadline: Option<Duration>,
    /// Sessions held at once, over all proxies; more are accepted when one ends. Default: as many as the limit of file
    /// descriptors allows.
    #[schemars(range(min = 1))]
    pub(crate) max_sessions: Option<u32>,
    /// What happens to a session whose bytes cannot be decoded: `pass` lets them flow on and counts it, `cut` closes it.
    /// Default: pass.
    pub(crate) on_desync: Option<OnDesync>,
    /// How long sent bytes may stay unacknowledged before the connection counts as dead (`TCP_USER_TIMEOUT`, Linux only).
    /// Default: the system's.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) tcp_user_timeout: Option<Duration>,
    /// Exchanges that the ledger keeps, the newest of those that faults touched: 1 to 1048576. Default: 65536.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub(crate) ledger: Option<u32>,
    /// The admin endpoint: API, dashboard, metrics.
    pub(crate) admin: Option<AdminTable>,
    /// What no profile, fault or toxic may go beyond.
    pub(crate) limits: Option<LimitsTable>,
    /// One table for each proxy.
    pub(crate) proxy: Option<Vec<ProxyTable>>,
}

/// The admin endpoint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminTable {
    /// Where it listens: a loopback address, or a unix socket. Default: 127.0.0.1:8474, which is Toxiproxy's port. Any other
    /// address needs `token_file`, and until there is TLS `--admin-insecure-plaintext`.
    pub(crate) listen: Option<Listen>,
    /// File of lines `ROLE:TOKEN` (role: read, operate, admin), which only its owner can read. Default: no token is needed.
    pub(crate) token_file: Option<PathBuf>,
    /// Names by which it is reached beside its own address: `host:port`. Default: none.
    #[schemars(length(max = 64))]
    pub(crate) hosts: Option<Vec<String>>,
    /// How often something may be changed in a second; halting is always possible. Default: 1000 where only this machine can
    /// reach it, else 10.
    #[schemars(range(min = 1))]
    pub(crate) changes_per_second: Option<u32>,
    /// While this file is there, everything is off, and stays off until resumed. Default: none is looked for.
    pub(crate) halt_file: Option<PathBuf>,
    /// File to which changes and refusals are appended; while it cannot be written, nothing is switched on. Default: none.
    pub(crate) audit: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz alone are served as well, without a token and to whoever reaches it: for a Prometheus or
    /// a kubelet that is not on this machine. Default: nowhere else.
    pub(crate) metrics: Option<Listen>,
}

/// A listen address, its upstream, and what is spoken there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyTable {
    /// Its name in profiles, metrics and reports: 1 to 64 of a-z, 0-9, `_`, `.` and `-`; unique.
    #[schemars(required, regex(pattern = "^[a-z0-9_.-]{1,64}$"))]
    pub(crate) name: Option<String>,
    /// What is spoken: `redis`, `postgres`, `http`, or `tcp` for anything else.
    #[schemars(required)]
    pub(crate) protocol: Option<Protocol>,
    /// Where clients connect: `port` (on 127.0.0.1), `addr:port`, `[v6]:port` or `unix:/path`. Port 0 lets the system choose.
    #[schemars(required)]
    pub(crate) listen: Option<Listen>,
    /// The real server: `host:port`, `[v6]:port` or `unix:/path`; of `http` also `http://host:port`.
    #[schemars(required)]
    pub(crate) upstream: Option<Written>,
    /// Limits on latency as clients see it; requests over `p95` and `p99` are counted exactly. Default: none.
    pub(crate) slo: Option<Slo>,
    /// `http` only: paths with their variable parts in braces, like `/modules/{id}`; requests are counted by route.
    /// Default: learned from traffic.
    #[schemars(length(max = 256))]
    pub(crate) routes: Option<Vec<String>>,
    /// The most connections that the service's pool may open: pool use is reported against it. Default: unknown.
    #[schemars(range(min = 1))]
    pub(crate) pool: Option<u32>,
    /// How long connecting to the upstream may take. Default: 5s.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub(crate) connect_timeout: Option<Duration>,
    /// How it is asked whether it works, by `check --probe` and `/readyz?probe=upstream`. Default: without credentials; HTTP at `/`.
    pub(crate) probe: Option<Probe>,
}
