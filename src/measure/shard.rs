//! One worker's measurements since it was last collected.

use super::{Counter, Meta, ProxyId, Sample, Timing};
use crate::protocol::{Class, Operation};
use std::sync::Arc;

/// One worker's measurements since it was last collected. Not shared: no locks, no atomics.
#[derive(Debug, Default)]
pub struct Shard {}

impl Shard {
    /// An empty shard.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a proxy known. To be called on every shard before anything is written for that proxy; again when its limits change.
    pub fn register(&mut self, _proxy: ProxyId, _meta: Arc<Meta>) {}

    /// An exchange was identified and is outstanding from now on.
    #[inline]
    pub fn started(&mut self, _proxy: ProxyId, _operation: Operation, _class: Class) {}

    /// An exchange that was `started` ended.
    #[inline]
    pub fn completed(&mut self, _proxy: ProxyId, _sample: &Sample) {}

    /// Adds `n` to a counter.
    #[inline]
    pub fn count(&mut self, _proxy: ProxyId, _counter: Counter, _n: u64) {}

    /// Records a duration in nanoseconds.
    #[inline]
    pub fn observe(&mut self, _proxy: ProxyId, _timing: Timing, _ns: u64) {}
}
