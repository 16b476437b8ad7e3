//! Totals and windows, made of the shards that workers hand over.

use super::{Gauges, Meta, ProxyId, Shard, stats::Stats};
use std::sync::Arc;
use std::time::Duration;

/// Totals and windows of all proxies.
#[derive(Debug, Default)]
pub struct Collector {}

impl Collector {
    /// An empty collector.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a proxy known, or changes its limits.
    pub fn register(&mut self, _proxy: ProxyId, _meta: Arc<Meta>) {}

    /// Forgets a proxy that was removed: it is in no later snapshot.
    pub fn remove(&mut self, _proxy: ProxyId) {}

    /// Adds what a worker measured to totals and the current second, and empties the shard for its next use.
    pub fn absorb(&mut self, _shard: &mut Shard) {}

    /// Sets the levels of a proxy.
    pub fn gauges(&mut self, _proxy: ProxyId, _gauges: Gauges) {}

    /// Closes the current second: what was absorbed since the last tick becomes the newest slice of the windows.
    /// `elapsed` is the real time since the last tick.
    pub fn tick(&mut self, _elapsed: Duration) {}

    /// Figures over the last `window` (1 s, 10 s, 60 s), or since start.
    pub fn stats(&self, _window: Option<Duration>) -> Stats {
        Stats::default()
    }
}
