//! What a run was configured with: what is in force, after files, variables and defaults.
//!
//! No secret is in it: an address here has no user and no password, and what probes log in with is left out.

use super::figure::duration;
use crate::config::ProxyConfig;
use crate::measure::Slo;
use crate::proxy::Server;
use crate::verify::expect::Expected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// The configuration of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Configuration {
    /// Threads that carried sessions.
    pub(crate) workers: usize,
    /// By name.
    pub(crate) proxies: Vec<ProxyInForce>,
}

/// A proxy as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProxyInForce {
    pub(crate) name: String,
    pub(crate) protocol: String,
    /// Where it really listened.
    pub(crate) listen: String,
    pub(crate) upstream: String,
    /// What the server behind it said of its version on the wire, at most 64 bytes: Postgres `server_version`, `version` in the
    /// reply of Redis to HELLO, HTTP `Server`. None: it was not seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Limits on latency.
    pub(crate) slo: Slo,
    /// Limits on latency that the profile sets for all or one of its operations; empty in documents of older programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) expected: Vec<Limit>,
    /// Known routes; empty where the protocol is not HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<String>,
    /// The most connections of the service's pool, where declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<u32>,
    /// How long connecting may take, in milliseconds.
    pub(crate) connect_timeout_ms: u64,
}

/// A limit on a figure of latency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Limit {
    /// `mean`, `max`, or a percentile like `p95`.
    pub(crate) figure: String,
    pub(crate) at_most_us: u64,
    /// None: all operations together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    /// Phases in which it holds; empty: all but warm-up and capacity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) phases: Vec<String>,
}

impl Limit {
    /// Of an expectation on the latency of a proxy.
    fn of(expected: &Expected) -> Option<(&str, Self)> {
        let (figure, limit) = expected.what.latency()?;
        let scope = &expected.scope;
        let limit = Self::new(figure.name(), limit);
        let proxy = scope.proxy.as_deref().filter(|_| scope.lane.is_none())?;
        let (operation, phases) = (scope.operation.clone(), scope.phases.clone());
        Some((
            proxy,
            Self {
                operation,
                phases,
                ..limit
            },
        ))
    }

    fn new(figure: String, limit: Duration) -> Self {
        Self {
            figure,
            at_most_us: u64::try_from(limit.as_micros()).unwrap_or(u64::MAX),
            operation: None,
            phases: Vec::new(),
        }
    }

    /// "p95 <= 10 ms of GET in fault".
    pub(crate) fn words(&self) -> String {
        let mut words = format!("{} <= {}", self.figure, duration(self.at_most_us));
        if let Some(operation) = &self.operation {
            let _ = write!(words, " of {operation}");
        }
        if !self.phases.is_empty() {
            let _ = write!(words, " in {}", self.phases.join(", "));
        }
        words
    }
}

impl Configuration {
    /// That of a server that runs, and what is expected of it.
    pub(crate) fn of(server: &Server, expected: &[Expected]) -> Self {
        let proxies = server.proxies().into_iter();
        let limits: Vec<(&str, Limit)> = expected.iter().filter_map(Limit::of).collect();
        let of = |name: &str| {
            let mine = limits.iter().filter(|(proxy, _)| *proxy == name);
            let mut mine: Vec<Limit> = mine.map(|(_, limit)| limit.clone()).collect();
            mine.dedup();
            mine
        };
        Self {
            workers: server.workers(),
            proxies: proxies
                .map(|p| {
                    let expected = of(&p.config.name);
                    ProxyInForce {
                        expected,
                        ..ProxyInForce::of(p.config, p.server)
                    }
                })
                .collect(),
        }
    }

    /// "redis 7.0.15, postgres 15.14": what the servers said of themselves, by proxy. `None`: nothing.
    pub(crate) fn servers(&self) -> Option<String> {
        let said = self.proxies.iter().filter_map(|proxy| {
            let server = proxy.server.as_ref()?;
            Some(format!("{} {server}", proxy.name))
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

impl ProxyInForce {
    /// All limits on its latency: of its configuration, and of the profile.
    pub(crate) fn limits(&self) -> Vec<Limit> {
        let slo = [
            ("mean", self.slo.mean),
            ("p95", self.slo.p95),
            ("p99", self.slo.p99),
        ];
        let slo = slo.into_iter();
        let slo = slo.filter_map(|(figure, limit)| Some(Limit::new(figure.into(), limit?)));
        slo.chain(self.expected.iter().cloned()).collect()
    }

    fn of(config: ProxyConfig, server: Option<String>) -> Self {
        Self {
            server,
            protocol: config.protocol.name().into(),
            listen: config.listen.to_string(),
            upstream: config.upstream.to_string(),
            slo: config.slo,
            expected: Vec::new(),
            routes: config.routes,
            pool: config.pool.map(std::num::NonZero::get),
            connect_timeout_ms: u64::try_from(config.connect_timeout.as_millis())
                .unwrap_or(u64::MAX),
            name: config.name,
        }
    }
}
