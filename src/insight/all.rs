//! Everything that a recording says, dependency by dependency.

use super::finding::Finding;
use super::view::{Span, Topology, View};
use super::{
    breaker, cleanup, containment, detection, duplicates, pool, reconnect, recovery, retries,
    timeout,
};
use crate::measure::trace::{ProxyIndex, Trace};
use crate::protocol::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of the service's way with one dependency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    /// Its proxy.
    pub proxy: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// From the first request that a fault touched to the last reply: nanoseconds since the recording began.
    pub affected: Option<Span>,
    /// Circuit breakers: one for each process of the service, where they can be told apart.
    pub breakers: Vec<breaker::Breaker>,
    /// When the service noticed.
    pub detection: Finding<detection::Detection>,
    /// When it was itself again.
    pub recovery: Finding<recovery::Recovery>,
    /// How long it waits.
    pub timeout: Finding<timeout::Waiting>,
    /// How it retries.
    pub retries: Finding<retries::Retries>,
    /// How it reconnects.
    pub reconnects: Finding<reconnect::Reconnects>,
    /// How much of its pool it uses, over the whole recording.
    pub pool: Finding<pool::PoolUse>,
    /// What it left behind.
    pub leftovers: Finding<cleanup::Leftovers>,
    /// Where the damage went.
    pub containment: Finding<containment::Containment>,
    /// What was done twice.
    pub duplicates: Finding<duplicates::Duplicates>,
}

/// Everything that a recording says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Insights {
    /// The proxy of the service's own API.
    pub api: Option<String>,
    /// Length of the recording in nanoseconds.
    pub length: u64,
    /// What nothing disturbed.
    pub baseline: Span,
    /// By dependency, in the order of the recording's header.
    pub dependencies: Vec<Dependency>,
}

/// Reads everything off a recording. `stable`: how long a service has to be itself to be recovered, in nanoseconds.
pub fn infer(trace: &Trace, topology: &Topology, stable: u64) -> Insights {
    let view = View::new(trace, topology);
    let proxies = (0..).map(ProxyIndex).zip(&trace.header.proxies);
    let dependencies = proxies
        .filter(|(proxy, _)| Some(*proxy) != view.api)
        .map(|(proxy, meta)| Dependency {
            proxy: meta.name.clone(),
            protocol: meta.protocol,
            affected: view.affected(proxy),
            breakers: breaker::infer(&view, proxy),
            detection: detection::infer(&view, proxy),
            recovery: recovery::infer(&view, proxy, stable),
            timeout: timeout::infer(&view, proxy),
            retries: retries::infer(&view, proxy),
            reconnects: reconnect::infer(&view, proxy),
            pool: pool::infer(&view, proxy, view.span),
            leftovers: cleanup::infer(&view, proxy),
            containment: containment::infer(&view, proxy),
            duplicates: duplicates::infer(&view, proxy),
        })
        .collect();
    Insights {
        api: view.api.map(|api| trace.header.name(api).to_owned()),
        length: view.span.length(),
        baseline: view.baseline,
        dependencies,
    }
}
