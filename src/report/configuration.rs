//! What a run was configured with: what is in force, after files, variables and defaults.
//!
//! No secret is in it: an address here has no user and no password, and what probes log in with is left out.

use crate::config::ProxyConfig;
use crate::measure::Slo;
use crate::proxy::Server;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Known routes; empty where the protocol is not HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<String>,
    /// The most connections of the service's pool, where declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<u32>,
    /// How long connecting may take, in milliseconds.
    pub(crate) connect_timeout_ms: u64,
}

impl Configuration {
    /// That of a server that runs.
    pub(crate) fn of(server: &Server) -> Self {
        let proxies = server.proxies().into_iter();
        Self {
            workers: server.workers(),
            proxies: proxies
                .map(|p| ProxyInForce::of(p.config, p.server))
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
    fn of(config: ProxyConfig, server: Option<String>) -> Self {
        Self {
            server,
            protocol: config.protocol.name().into(),
            listen: config.listen.to_string(),
            upstream: config.upstream.to_string(),
            slo: config.slo,
            routes: config.routes,
            pool: config.pool.map(std::num::NonZero::get),
            connect_timeout_ms: u64::try_from(config.connect_timeout.as_millis())
                .unwrap_or(u64::MAX),
            name: config.name,
        }
    }
}
