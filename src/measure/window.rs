//! The last minute, as slices of about a second that hold only what changed.

use super::block::{Block, Counters};
use super::buckets::{Buckets, Sparse};
use super::operations::{Key, Tally};
use super::{ProxyId, Timing};
use crate::protocol::Status;
use std::collections::VecDeque;
use std::time::Duration;

/// How far back windows reach.
const LONGEST: Duration = Duration::from_secs(60);

/// Slices kept, however short they are.
const MAX_SLICES: usize = 128;

/// Levels of a proxy over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    /// Nanoseconds that sessions were busy, summed over sessions.
    pub(super) busy_ns: u128,
    /// Nanoseconds that sessions were open, summed over sessions, as sampled once a slice.
    pub(super) open_ns: u128,
    /// The most sessions busy at one moment.
    pub(super) busy_peak: u32,
    /// The most sessions open at one look.
    pub(super) open_peak: u32,
}

impl Levels {
    /// Adds another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.busy_ns = self.busy_ns.saturating_add(other.busy_ns);
        self.open_ns = self.open_ns.saturating_add(other.open_ns);
        self.busy_peak = self.busy_peak.max(other.busy_peak);
        self.open_peak = self.open_peak.max(other.open_peak);
    }
}

#[derive(Debug)]
struct SliceOperation {
    key: Key,
    tally: Tally,
    statuses: Box<[(Status, u64)]>,
    latencies: [Sparse; 4],
}

#[derive(Debug)]
struct SliceTimer {
    timing: Timing,
    sum: u128,
    max: u64,
    saturated: u64,
    buckets: Sparse,
}

/// What one proxy did in a slice.
#[derive(Debug)]
pub(super) struct SliceProxy {
    proxy: ProxyId,
    operations: Box<[SliceOperation]>,
    counters: Counters,
    timers: Box<[SliceTimer]>,
    levels: Levels,
}

impl SliceProxy {
    /// The same figures, at rest.
    pub(super) fn new(proxy: ProxyId, block: &Block, levels: Levels) -> Self {
        let active = block.operations.iter().filter(|(_, r)| !r.tally.is_empty());
        let operations = active.map(|(key, record)| SliceOperation {
            key,
            tally: record.tally,
            statuses: record.statuses.as_slice().into(),
            latencies: record.latencies.all().map(Sparse::from),
        });
        let used = Timing::ALL.into_iter().zip(&block.timers);
        let timers = used
            .filter(|(_, t)| !t.buckets.is_empty())
            .map(|(timing, t)| SliceTimer {
                timing,
                sum: t.sum,
                max: t.max,
                saturated: t.saturated,
                buckets: Sparse::from(&t.buckets),
            });
        Self {
            proxy,
            operations: operations.collect(),
            counters: block.counters,
            timers: timers.collect(),
            levels,
        }
    }

    fn add_to(&self, block: &mut Block) {
        for operation in &self.operations {
            let slot = block.operations.slot(operation.key);
            let record = block.operations.record(slot);
            record.tally.merge(&operation.tally);
            for &(status, n) in &operation.statuses {
                record.status(status, n);
            }
            for (mine, theirs) in record
                .latencies
                .all_mut()
                .into_iter()
                .zip(&operation.latencies)
            {
                mine.extend(theirs.entries());
            }
        }
        block.counters.merge(&self.counters);
        for timer in &self.timers {
            let mine = &mut block.timers[timer.timing as usize];
            mine.merge_sums(timer.sum, timer.max, timer.saturated);
            mine.buckets.extend(timer.buckets.entries());
        }
    }

    fn memory(&self) -> usize {
        let operations = self.operations.iter().map(|o| {
            size_of::<SliceOperation>()
                + o.statuses.len() * size_of::<(Status, u64)>()
                + o.latencies.iter().map(Sparse::memory).sum::<usize>()
        });
        let timers = self
            .timers
            .iter()
            .map(|t| size_of::<SliceTimer>() + t.buckets.memory());
        size_of::<Self>() + operations.sum::<usize>() + timers.sum::<usize>()
    }
}

/// What all proxies did between two ticks.
#[derive(Debug)]
pub(super) struct Slice {
    /// Its number, from 0 since start.
    pub(super) sequence: u64,
    /// When it began, since start.
    pub(super) start: Duration,
    /// How long it was.
    pub(super) elapsed: Duration,
    /// The proxies in which something happened.
    pub(super) proxies: Vec<SliceProxy>,
}

impl Slice {
    /// Calls `f` with the latencies of a proxy as the client saw them, by operation.
    pub(super) fn clients(&self, proxy: ProxyId, mut f: impl FnMut(Key, &Buckets)) {
        for slice in self.proxies.iter().filter(|p| p.proxy == proxy) {
            for operation in &slice.operations {
                let [plain, client, ..] = &operation.latencies;
                let mut buckets = Buckets::default();
                buckets.extend(plain.entries());
                buckets.extend(client.entries());
                f(operation.key, &buckets);
            }
        }
    }
}

/// One proxy's figures over the slices of a window.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The time that the slices cover.
    pub(super) covered: Duration,
    /// All figures.
    pub(super) block: Block,
    /// Levels.
    pub(super) levels: Levels,
}

/// The slices of the last minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct Slices {
    ring: VecDeque<Slice>,
    covered: Duration,
}

impl Slices {
    /// Adds the newest slice and forgets those that no window reaches.
    pub(super) fn push(&mut self, slice: Slice) {
        self.covered += slice.elapsed;
        self.ring.push_back(slice);
        while self.ring.len() > MAX_SLICES
            || (self.ring.front())
                .is_some_and(|s| self.covered.saturating_sub(s.elapsed) >= LONGEST)
        {
            let oldest = self.ring.pop_front();
            self.covered = self
                .covered
                .saturating_sub(oldest.map_or(Duration::ZERO, |s| s.elapsed));
        }
    }

    /// The slices, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Slice> {
        self.ring.iter()
    }

    /// The newest slices that together are closest to `window`; at least one.
    fn newest(&self, window: Duration) -> impl Iterator<Item = &Slice> {
        let mut covered = Duration::ZERO;
        self.ring.iter().rev().take_while(move |slice| {
            let first = covered.is_zero();
            covered += slice.elapsed;
            first || covered.saturating_sub(slice.elapsed / 2) <= window
        })
    }

    /// One proxy's figures over a window.
    pub(super) fn window(&self, proxy: ProxyId, window: Duration) -> Window {
        let mut sum = Window::default();
        for slice in self.newest(window) {
            sum.covered += slice.elapsed;
            for figures in slice.proxies.iter().filter(|p| p.proxy == proxy) {
                figures.add_to(&mut sum.block);
                sum.levels.merge(&figures.levels);
            }
        }
        sum
    }

    /// Takes back what was said about a proxy's limits: they changed.
    pub(super) fn unjudge(&mut self, proxy: ProxyId) {
        let proxies = self.ring.iter_mut().flat_map(|s| &mut s.proxies);
        for figures in proxies.filter(|p| p.proxy == proxy) {
            figures
                .operations
                .iter_mut()
                .for_each(|o| o.tally.unjudge());
        }
    }

    /// Forgets a proxy.
    pub(super) fn remove(&mut self, proxy: ProxyId) {
        for slice in &mut self.ring {
            slice.proxies.retain(|p| p.proxy != proxy);
        }
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let slices = self
            .ring
            .iter()
            .map(|s| s.proxies.iter().map(SliceProxy::memory).sum::<usize>());
        self.ring.capacity() * size_of::<Slice>() + slices.sum::<usize>()
    }
}
