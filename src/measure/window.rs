//! The last minute, as slices that hold only what changed: of about a second for the last ten, of about five before.

use super::block::{Block, Counters};
use super::buckets::{Buckets, decode, encode};
use super::operations::{Key, Tally};
use super::{ProxyId, Timing};
use crate::protocol::Status;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// How far back windows reach.
const LONGEST: Duration = Duration::from_secs(60);

/// Slices kept as they came: enough for a window of 10 s at any time.
const FINE: usize = 10;

/// Slices that are merged into one when they are older: a fifth of the memory, since most of what they hold is the same.
const MERGED: usize = 5;

/// Merged slices kept, however short they are.
const MAX_COARSE: usize = 128;

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

/// Where encoded counts lie in the bytes of their slice.
type Place = Range<u32>;

#[derive(Debug)]
struct SliceOperation {
    key: Key,
    tally: Tally,
    statuses: Box<[(Status, u64)]>,
    latencies: [Place; 4],
}

#[derive(Debug)]
struct SliceTimer {
    timing: Timing,
    sum: u128,
    max: u64,
    saturated: u64,
    buckets: Place,
}

/// What one proxy did in a slice. All counts by latency share one allocation: many small ones, living for a minute each, would
/// leave the heap in pieces.
#[derive(Debug)]
pub(super) struct SliceProxy {
    proxy: ProxyId,
    operations: Box<[SliceOperation]>,
    counters: Counters,
    timers: Box<[SliceTimer]>,
    levels: Levels,
    bytes: Box<[u8]>,
}

impl SliceProxy {
    /// The same figures, at rest. `scratch` is memory to work in.
    pub(super) fn new(
        proxy: ProxyId,
        block: &Block,
        levels: Levels,
        scratch: &mut Vec<u8>,
    ) -> Self {
        scratch.clear();
        let mut rest = |buckets: &Buckets| {
            let start = scratch.len() as u32;
            encode(buckets, scratch);
            start..scratch.len() as u32
        };
        let active = block.operations.iter().filter(|(_, r)| !r.tally.is_empty());
        let operations = active.map(|(key, record)| SliceOperation {
            key,
            tally: record.tally,
            statuses: record.statuses.as_slice().into(),
            latencies: record.latencies.all().map(&mut rest),
        });
        let operations = operations.collect();
        let used = Timing::ALL.into_iter().zip(&block.timers);
        let used = used.filter(|(_, t)| !t.buckets.is_empty());
        let timers = used.map(|(timing, t)| SliceTimer {
            timing,
            sum: t.sum,
            max: t.max,
            saturated: t.saturated,
            buckets: rest(&t.buckets),
        });
        Self {
            proxy,
            operations,
            counters: block.counters,
            timers: timers.collect(),
            levels,
            bytes: scratch.as_slice().into(),
        }
    }

    fn entries(&self, place: &Place) -> impl Iterator<Item = (usize, u64)> + '_ {
        let place = place.start as usize..place.end as usize;
        decode(self.bytes.get(place).unwrap_or_default())
    }

    fn add_to(&self, block: &mut Block) {
        for operation in &self.operations {
            let slot = block.operations.slot(operation.key);
            let record = block.operations.record(slot);
            record.tally.merge(&operation.tally);
            for &(status, n) in &operation.statuses {
                record.status(status, n);
            }
            let places = record
                .latencies
                .all_mut()
                .into_iter()
                .zip(&operation.latencies);
            places.for_each(|(mine, theirs)| mine.extend(self.entries(theirs)));
        }
        block.counters.merge(&self.counters);
        for timer in &self.timers {
            let mine = &mut block.timers[timer.timing as usize];
            mine.merge_sums(timer.sum, timer.max, timer.saturated);
            mine.buckets.extend(self.entries(&timer.buckets));
        }
    }

    fn memory(&self) -> usize {
        let operations = self
            .operations
            .iter()
            .map(|o| size_of::<SliceOperation>() + o.statuses.len() * size_of::<(Status, u64)>());
        size_of::<Self>()
            + self.bytes.len()
            + operations.sum::<usize>()
            + self.timers.len() * size_of::<SliceTimer>()
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
                buckets.extend(slice.entries(plain));
                buckets.extend(slice.entries(client));
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

impl Window {
    fn of<'a>(slices: impl Iterator<Item = &'a Slice>, proxy: ProxyId) -> Self {
        let mut sum = Self::default();
        for slice in slices {
            sum.covered += slice.elapsed;
            for figures in slice.proxies.iter().filter(|p| p.proxy == proxy) {
                figures.add_to(&mut sum.block);
                sum.levels.merge(&figures.levels);
            }
        }
        sum
    }
}

/// The slices of the last minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct Slices {
    coarse: VecDeque<Slice>,
    fine: VecDeque<Slice>,
    covered: Duration,
    /// Memory in which merged slices are made.
    scratch: Vec<u8>,
}

impl Slices {
    /// Adds the newest slice and forgets those that no window reaches.
    pub(super) fn push(&mut self, slice: Slice) {
        self.covered += slice.elapsed;
        self.fine.push_back(slice);
        if self.fine.len() > FINE + MERGED {
            let oldest: Vec<_> = self.fine.drain(..MERGED).collect();
            self.coarse.extend(merged(&oldest, &mut self.scratch));
        }
        let beyond =
            |oldest: &Slice, covered: Duration| covered.saturating_sub(oldest.elapsed) >= LONGEST;
        while self.coarse.len() > MAX_COARSE
            || self.coarse.front().is_some_and(|s| beyond(s, self.covered))
        {
            let gone = self
                .coarse
                .pop_front()
                .map_or(Duration::ZERO, |s| s.elapsed);
            self.covered = self.covered.saturating_sub(gone);
        }
    }

    /// The slices of about the last ten seconds as they came, oldest first.
    pub(super) fn fine(&self) -> impl Iterator<Item = &Slice> {
        self.fine.iter()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slice> {
        self.coarse.iter_mut().chain(&mut self.fine)
    }

    /// The newest slices that together are closest to `window`; at least one.
    fn newest(&self, window: Duration) -> impl Iterator<Item = &Slice> {
        let mut covered = Duration::ZERO;
        let newest = self.fine.iter().rev().chain(self.coarse.iter().rev());
        newest.take_while(move |slice| {
            let first = covered.is_zero();
            covered += slice.elapsed;
            first || covered.saturating_sub(slice.elapsed / 2) <= window
        })
    }

    /// One proxy's figures over a window.
    pub(super) fn window(&self, proxy: ProxyId, window: Duration) -> Window {
        Window::of(self.newest(window), proxy)
    }

    /// Takes back what was said about a proxy's limits: they changed.
    pub(super) fn unjudge(&mut self, proxy: ProxyId) {
        let proxies = self.iter_mut().flat_map(|s| &mut s.proxies);
        for figures in proxies.filter(|p| p.proxy == proxy) {
            figures
                .operations
                .iter_mut()
                .for_each(|o| o.tally.unjudge());
        }
    }

    /// Forgets a proxy.
    pub(super) fn remove(&mut self, proxy: ProxyId) {
        for slice in self.iter_mut() {
            slice.proxies.retain(|p| p.proxy != proxy);
        }
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let slices = self.coarse.iter().chain(&self.fine);
        let proxies = slices.flat_map(|s| &s.proxies).map(SliceProxy::memory);
        (self.coarse.capacity() + self.fine.capacity()) * size_of::<Slice>()
            + proxies.sum::<usize>()
            + self.scratch.capacity()
    }
}

/// One slice of several that follow each other.
fn merged(slices: &[Slice], scratch: &mut Vec<u8>) -> Option<Slice> {
    let first = slices.first()?;
    let known: BTreeSet<_> = slices
        .iter()
        .flat_map(|s| &s.proxies)
        .map(|p| p.proxy)
        .collect();
    let proxies = known.into_iter().map(|proxy| {
        let sum = Window::of(slices.iter(), proxy);
        SliceProxy::new(proxy, &sum.block, sum.levels, scratch)
    });
    Some(Slice {
        sequence: first.sequence,
        start: first.start,
        elapsed: slices.iter().map(|s| s.elapsed).sum(),
        proxies: proxies.collect(),
    })
}
