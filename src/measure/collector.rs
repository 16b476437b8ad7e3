//! Totals and windows, made of the shards that workers hand over.

use super::block::Block;
use super::operations::{Limits, Side};
use super::stats::Stats;
use super::summary::{self, Source};
use super::window::{Levels, Slice, SliceProxy, Slices, Window};
use super::{Gauges, Meta, ProxyId, Shard};
use crate::protocol::{Class, Operation};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::time::Duration;

/// Totals and windows of all proxies.
#[derive(Debug, Default)]
pub struct Collector {
    proxies: Vec<Slot>,
    slices: Slices,
    elapsed: Duration,
    sequence: u64,
    /// Memory in which slices are made.
    scratch: Vec<u8>,
}

/// A proxy number and what is known of it. A number is used again only when all 65,536 have been.
#[derive(Debug, Default)]
enum Slot {
    #[default]
    Unknown,
    Known(Box<Proxy>),
    Removed,
}

/// What was measured of one proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) meta: Arc<Meta>,
    pub(super) totals: Block,
    pub(super) gauges: Gauges,
    pub(super) levels: Levels,
    limits: Limits,
    /// When it was registered, since start.
    since: Duration,
    /// Since the last tick.
    current: Block,
    /// Since the last tick: the most sessions that were busy, and `busy_ns` as it was then.
    current_peak: u32,
    counted_ns: u64,
}

impl Proxy {
    fn new(meta: Arc<Meta>, since: Duration) -> Self {
        Self {
            limits: Limits::from(&meta.slo),
            meta,
            totals: Block::default(),
            gauges: Gauges::default(),
            levels: Levels::default(),
            since,
            current: Block::default(),
            current_peak: 0,
            counted_ns: 0,
        }
    }

    /// Closes the current slice.
    fn tick(&mut self, id: ProxyId, elapsed: Duration, scratch: &mut Vec<u8>) -> SliceProxy {
        let levels = Levels {
            busy_ns: u128::from(self.gauges.busy_ns.saturating_sub(self.counted_ns)),
            open_ns: u128::from(self.gauges.open) * elapsed.as_nanos(),
            busy_peak: self.current_peak.max(self.gauges.busy),
            open_peak: self.gauges.open,
        };
        self.counted_ns = self.gauges.busy_ns;
        self.current_peak = 0;
        self.levels.merge(&levels);
        let slice = SliceProxy::new(id, &self.current, levels, scratch);
        self.current.clear();
        slice
    }
}

/// The latencies of one operation, in microseconds.
#[derive(Debug, Clone)]
pub struct OperationHistograms {
    /// The operation.
    pub operation: Operation,
    /// The class.
    pub class: Class,
    /// As the client saw it.
    pub client: Histogram<u64>,
    /// As the server took it.
    pub upstream: Histogram<u64>,
    /// Until the first byte of the reply.
    pub first_byte: Histogram<u64>,
}

impl Collector {
    /// An empty collector.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a proxy known, or changes its limits: exchanges are then held against the new ones only. To be called before a
    /// shard that knows the proxy is absorbed. A removed proxy stays removed.
    pub fn register(&mut self, proxy: ProxyId, meta: Arc<Meta>) {
        let index = usize::from(proxy.0);
        if self.proxies.len() <= index {
            self.proxies.resize_with(index + 1, Slot::default);
        }
        match &mut self.proxies[index] {
            slot @ Slot::Unknown => {
                *slot = Slot::Known(Box::new(Proxy::new(meta, self.elapsed)));
            }
            Slot::Known(known) => {
                let limits = Limits::from(&meta.slo);
                known.meta = meta;
                if known.limits != limits {
                    known.limits = limits;
                    known.totals.operations.unjudge();
                    known.current.operations.unjudge();
                    self.slices.unjudge(proxy);
                }
            }
            Slot::Removed => {}
        }
    }

    /// Forgets a proxy that was removed: it is in no later snapshot.
    pub fn remove(&mut self, proxy: ProxyId) {
        if let Some(slot) = self.proxies.get_mut(usize::from(proxy.0)) {
            *slot = Slot::Removed;
            self.slices.remove(proxy);
        }
    }

    /// Lets the number of a removed proxy be registered again, once no shard can know it any more.
    pub fn free(&mut self, proxy: ProxyId) {
        if let Some(slot @ Slot::Removed) = self.proxies.get_mut(usize::from(proxy.0)) {
            *slot = Slot::Unknown;
        }
    }

    /// A proxy with what was measured of it.
    pub(super) fn get(&self, proxy: ProxyId) -> Option<&Proxy> {
        match self.proxies.get(usize::from(proxy.0)) {
            Some(Slot::Known(known)) => Some(known),
            _ => None,
        }
    }

    /// All proxies with what was measured of them.
    pub(super) fn known(&self) -> impl Iterator<Item = (ProxyId, &Proxy)> {
        let slots = (0..).map(ProxyId).zip(&self.proxies);
        slots.filter_map(|(id, slot)| match slot {
            Slot::Known(known) => Some((id, &**known)),
            Slot::Unknown | Slot::Removed => None,
        })
    }

    /// The proxies, in the order of their numbers.
    pub fn proxies(&self) -> impl Iterator<Item = (ProxyId, &Arc<Meta>)> {
        self.known().map(|(id, proxy)| (id, &proxy.meta))
    }

    /// The sum of all ticks.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Adds what a worker measured to totals and the current second, and empties the shard for its next use. What it holds of
    /// a proxy that is not registered yet stays there; what it holds of a removed one is dropped.
    pub fn absorb(&mut self, shard: &mut Shard) {
        self.absorb_with(shard, &mut Self::default());
    }

    /// As [`absorb`](Self::absorb), and adds it to another collector too: that of one worker.
    pub fn absorb_with(&mut self, shard: &mut Shard, own: &mut Self) {
        for (id, slot) in shard.proxies_mut() {
            match (self.proxies.get_mut(usize::from(id.0)), &mut *slot) {
                (Some(Slot::Known(known)), Some(written)) => {
                    written.drain(known.limits, |block| {
                        known.totals.merge(block);
                        known.current.merge(block);
                        if let Some(Slot::Known(own)) = own.proxies.get_mut(usize::from(id.0)) {
                            own.totals.merge(block);
                            own.current.merge(block);
                        }
                    });
                }
                (Some(Slot::Removed), Some(_)) => *slot = None,
                _ => {}
            }
        }
    }

    /// Sets the levels of a proxy.
    pub fn gauges(&mut self, proxy: ProxyId, gauges: Gauges) {
        if let Some(Slot::Known(known)) = self.proxies.get_mut(usize::from(proxy.0)) {
            known.current_peak = known.current_peak.max(gauges.busy_peak);
            known.gauges = gauges;
        }
    }

    /// Closes the current second: what was absorbed since the last tick becomes the newest slice of the windows.
    /// `elapsed` is the real time since the last tick.
    pub fn tick(&mut self, elapsed: Duration) {
        let mut proxies = Vec::new();
        for (id, slot) in (0..).map(ProxyId).zip(&mut self.proxies) {
            if let Slot::Known(known) = slot {
                proxies.push(known.tick(id, elapsed, &mut self.scratch));
            }
        }
        self.slices.push(Slice {
            sequence: self.sequence,
            start: self.elapsed,
            elapsed,
            proxies,
        });
        self.sequence += 1;
        self.elapsed += elapsed;
    }

    /// The slices of the last minute, oldest first.
    pub(super) fn slices(&self) -> &Slices {
        &self.slices
    }

    /// Figures over the last `window` (1 s, 10 s, 60 s; at most a minute), or since start. Windows end at the last tick and
    /// cover whole slices, together as close to `window` as they come: of about a second in the last ten, of about five
    /// before. Figures since start include what was absorbed after the last tick.
    pub fn stats(&self, window: Option<Duration>) -> Stats {
        self.figures(window, false)
    }

    /// As [`stats`](Self::stats), with the histograms of every operation.
    pub fn detailed(&self, window: Option<Duration>) -> Stats {
        self.figures(window, true)
    }

    fn figures(&self, window: Option<Duration>, histograms: bool) -> Stats {
        let mut stats = Stats {
            window_seconds: window.map(|w| w.as_secs_f64()),
            worker_lag: None,
            proxies: self
                .known()
                .map(|(id, p)| self.summary(id, p, window, histograms))
                .collect(),
        };
        stats.proxies.sort_by(|a, b| a.name.cmp(&b.name));
        stats
    }

    fn summary(
        &self,
        id: ProxyId,
        proxy: &Proxy,
        window: Option<Duration>,
        histograms: bool,
    ) -> super::stats::ProxyStats {
        let recent = window.map(|w| self.slices.window(id, w));
        let (block, levels, covered) = match &recent {
            Some(Window {
                block,
                levels,
                covered,
            }) => (block, *levels, *covered),
            None => (
                &proxy.totals,
                proxy.levels,
                self.elapsed.saturating_sub(proxy.since),
            ),
        };
        summary::proxy(&Source {
            meta: &proxy.meta,
            block,
            totals: &proxy.totals,
            levels,
            gauges: proxy.gauges,
            covered,
            histograms,
        })
    }

    /// The latencies of all operations of a proxy over a window, or since start; empty for an unknown proxy.
    pub fn histograms(&self, proxy: ProxyId, window: Option<Duration>) -> Vec<OperationHistograms> {
        let Some(known) = self.get(proxy) else {
            return Vec::new();
        };
        let recent = window.map(|w| self.slices.window(proxy, w));
        let block = recent.as_ref().map_or(&known.totals, |w| &w.block);
        let operations = block
            .operations
            .iter()
            .filter(|(_, r)| r.tally.completed > 0);
        let histograms = operations.map(|(key, record)| {
            let of = |side: Side| record.latencies.side(side).to_hdr();
            OperationHistograms {
                operation: key.operation,
                class: key.class,
                client: of(Side::Client),
                upstream: of(Side::Upstream),
                first_byte: of(Side::FirstByte),
            }
        });
        histograms.collect()
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        let proxies = self
            .known()
            .map(|(_, p)| size_of::<Proxy>() + p.totals.memory() + p.current.memory());
        self.proxies.capacity() * size_of::<Slot>()
            + proxies.sum::<usize>()
            + self.slices.memory()
            + self.scratch.capacity()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
