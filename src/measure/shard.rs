//! One worker's measurements since it was last collected.

use super::block::Block;
use super::ledger::Sheet;
use super::operations::{Key, Limits};
use super::{Counter, Meta, ProxyId, Sample, Timing};
use crate::protocol::{Class, Operation};
use std::sync::Arc;

/// What one worker measured of one proxy.
#[derive(Debug)]
pub(super) struct ProxyShard {
    limits: Limits,
    block: Block,
    /// The key seen last and its slot: spares the lookup where one operation dominates.
    last: Option<(Key, usize)>,
}

impl ProxyShard {
    #[inline]
    fn slot(&mut self, key: Key) -> usize {
        match self.last {
            Some((last, slot)) if last == key => slot,
            _ => {
                let slot = self.block.operations.slot(key);
                self.last = Some((key, slot));
                slot
            }
        }
    }

    #[inline]
    fn completed(&mut self, sample: &Sample, n: u64) {
        let slot = self.slot(Key {
            operation: sample.operation,
            class: sample.class,
        });
        let record = self.block.operations.record(slot);
        record.add(sample, n, self.limits);
    }

    /// Gives away what was measured against these limits, and is empty afterwards.
    pub(super) fn drain(&mut self, limits: Limits, into: impl FnOnce(&Block)) {
        self.block.operations.settle();
        if self.limits != limits {
            self.block.operations.unjudge();
        }
        into(&self.block);
        self.block.clear();
    }
}

/// One worker's measurements since it was last collected. Not shared: no locks, no atomics.
#[derive(Debug, Default)]
pub struct Shard {
    proxies: Vec<Option<Box<ProxyShard>>>,
    /// What faults did.
    pub ledger: Sheet,
}

impl Shard {
    /// An empty shard.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a proxy known. To be called on every shard before anything is written for that proxy; again when its limits change.
    /// What is written for a proxy that is not known is ignored.
    #[allow(clippy::needless_pass_by_value)] // as it is for the collector
    pub fn register(&mut self, proxy: ProxyId, meta: Arc<Meta>) {
        let limits = Limits::from(&meta.slo);
        let index = usize::from(proxy.0);
        if self.proxies.len() <= index {
            self.proxies.resize_with(index + 1, || None);
        }
        match &mut self.proxies[index] {
            Some(known) if known.limits == limits => {}
            Some(known) => {
                known.limits = limits;
                known.block.operations.unjudge();
            }
            slot @ None => {
                *slot = Some(Box::new(ProxyShard {
                    limits,
                    block: Block::default(),
                    last: None,
                }));
            }
        }
    }

    #[inline]
    fn proxy(&mut self, proxy: ProxyId) -> Option<&mut ProxyShard> {
        self.proxies.get_mut(usize::from(proxy.0))?.as_deref_mut()
    }

    /// An exchange was identified and is outstanding from now on.
    #[inline]
    pub fn started(&mut self, proxy: ProxyId, operation: Operation, class: Class) {
        self.started_row(proxy, operation, class, 1);
    }

    /// As [`Self::started`] for `n` of them.
    #[inline]
    pub fn started_row(&mut self, proxy: ProxyId, operation: Operation, class: Class, n: u64) {
        if let Some(proxy) = self.proxy(proxy) {
            let slot = proxy.slot(Key { operation, class });
            proxy.block.operations.record(slot).tally.started += n;
        }
    }

    /// An exchange that was `started` ended.
    #[inline]
    pub fn completed(&mut self, proxy: ProxyId, sample: &Sample) {
        if let Some(proxy) = self.proxy(proxy) {
            proxy.completed(sample, 1);
        }
    }

    /// `n` exchanges that were `started` ended, and differ in nothing but their sizes, of which the sample holds the sums.
    #[inline]
    pub fn completed_row(&mut self, proxy: ProxyId, sample: &Sample, n: u64) {
        if let Some(proxy) = self.proxy(proxy) {
            proxy.completed(sample, n);
        }
    }

    /// Adds `n` to a counter.
    #[inline]
    pub fn count(&mut self, proxy: ProxyId, counter: Counter, n: u64) {
        if let Some(proxy) = self.proxy(proxy) {
            proxy.block.counters.add(counter, n);
        }
    }

    /// Records a duration in nanoseconds.
    #[inline]
    pub fn observe(&mut self, proxy: ProxyId, timing: Timing, ns: u64) {
        if let Some(proxy) = self.proxy(proxy) {
            proxy.block.timers[timing as usize].record(ns);
        }
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        let proxies = self.proxies.iter().flatten();
        self.proxies.capacity() * size_of::<Option<Box<ProxyShard>>>()
            + self.ledger.memory()
            + proxies
                .map(|p| size_of::<ProxyShard>() + p.block.memory())
                .sum::<usize>()
    }

    /// What was measured, by proxy.
    pub(super) fn proxies_mut(
        &mut self,
    ) -> impl Iterator<Item = (ProxyId, &mut Option<Box<ProxyShard>>)> {
        (0..).map(ProxyId).zip(&mut self.proxies)
    }
}
