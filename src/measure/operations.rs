//! What was measured of each operation of one proxy, found by (operation, class) without hashing.

use super::buckets::{Buckets, HIGHEST, micros};
use super::{Sample, Slo};
use crate::protocol::{Class, Operation, Status};
use std::time::Duration;

/// Pairs of operation and class that one proxy keeps apart; what comes later is counted under [`OTHER`] of its class.
pub(super) const MAX_OPERATIONS: usize = 1024;

/// Statuses that one operation keeps apart; what comes later is counted under [`OTHER_STATUS`].
pub(super) const MAX_STATUSES: usize = 256;

/// The operation that stands for those beyond [`MAX_OPERATIONS`]. No catalog has a name for it, so it reads `other`.
pub(super) const OTHER: Operation = Operation(u16::MAX);

/// The status that stands for those beyond [`MAX_STATUSES`].
pub(super) const OTHER_STATUS: Status = Status(u16::MAX - 1);

/// What an exchange is counted under. An operation may appear with several classes (XREAD with and without BLOCK).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// The operation.
    pub(super) operation: Operation,
    /// The class.
    pub(super) class: Class,
}

/// The limits whose violations are counted, in nanoseconds; `u64::MAX` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Limit of the 95th percentile.
    pub(super) p95: u64,
    /// Limit of the 99th percentile.
    pub(super) p99: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            p95: u64::MAX,
            p99: u64::MAX,
        }
    }
}

impl From<&Slo> for Limits {
    fn from(slo: &Slo) -> Self {
        let ns = |d: Option<Duration>| {
            d.map_or(u64::MAX, |d| {
                u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
            })
        };
        Self {
            p95: ns(slo.p95),
            p99: ns(slo.p99),
        }
    }
}

/// The three durations of an exchange, in the order in which arrays hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Side {
    /// As the client saw it.
    Client,
    /// As the server took it.
    Upstream,
    /// Until the first byte of the reply.
    FirstByte,
}

/// Exact sums over exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Exchanges begun.
    pub(super) started: u64,
    /// Exchanges ended.
    pub(super) completed: u64,
    /// Of these, the ones a fault touched.
    pub(super) injected: u64,
    /// Of these, the ones that reached the server.
    pub(super) reached: u64,
    /// Durations longer than the histograms' range.
    pub(super) saturated: u64,
    /// Exchanges over the limit of p95.
    pub(super) over_p95: u64,
    /// Exchanges over the limit of p99.
    pub(super) over_p99: u64,
    /// Exchanges ended that were not held against the limits in force, since these came later.
    pub(super) unjudged: u64,
    /// Bytes of requests.
    pub(super) request_bytes: u64,
    /// Bytes of replies.
    pub(super) reply_bytes: u64,
    /// Sums of durations in nanoseconds, by [`Side`].
    pub(super) sums: [u128; 3],
    /// Longest durations in nanoseconds, by [`Side`].
    pub(super) max: [u64; 3],
}

impl Tally {
    fn add(&mut self, sample: &Sample, n: u64, limits: Limits) {
        let n_if = |condition| if condition { n } else { 0 };
        self.completed += n;
        self.injected += n_if(sample.injected);
        self.over_p95 += n_if(sample.client > limits.p95);
        self.over_p99 += n_if(sample.client > limits.p99);
        self.request_bytes = self.request_bytes.saturating_add(sample.request_bytes);
        self.reply_bytes = self.reply_bytes.saturating_add(sample.reply_bytes);
        self.time(Side::Client, sample.client, n);
        self.time(Side::FirstByte, sample.first_byte, n);
        if let Some(upstream) = sample.upstream {
            self.reached += n;
            self.time(Side::Upstream, upstream, n);
        }
    }

    fn time(&mut self, side: Side, ns: u64, n: u64) {
        let side = side as usize;
        self.sums[side] += u128::from(ns) * u128::from(n);
        self.max[side] = self.max[side].max(ns);
    }

    /// Adds another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.started, other.started),
            (&mut self.completed, other.completed),
            (&mut self.injected, other.injected),
            (&mut self.reached, other.reached),
            (&mut self.saturated, other.saturated),
            (&mut self.over_p95, other.over_p95),
            (&mut self.over_p99, other.over_p99),
            (&mut self.unjudged, other.unjudged),
            (&mut self.request_bytes, other.request_bytes),
            (&mut self.reply_bytes, other.reply_bytes),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        for side in 0..3 {
            self.sums[side] = self.sums[side].saturating_add(other.sums[side]);
            self.max[side] = self.max[side].max(other.max[side]);
        }
    }

    /// Takes back what was said about limits: they changed.
    pub(super) fn unjudge(&mut self) {
        self.over_p95 = 0;
        self.over_p99 = 0;
        self.unjudged = self.completed;
    }

    /// Whether nothing happened.
    pub(super) fn is_empty(&self) -> bool {
        self.started == 0 && self.completed == 0
    }
}

/// Histograms of one operation. Most exchanges take equally long from all sides: these are recorded once, in `plain`, and
/// belong to each of the three others.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    /// Exchanges whose three durations are the same number of microseconds.
    pub(super) plain: Buckets,
    /// The durations of all others, by [`Side`].
    pub(super) sides: [Buckets; 3],
}

impl Latencies {
    /// One side's buckets and counts: first the shared ones, then its own.
    pub(super) fn entries(&self, side: Side) -> impl Iterator<Item = (usize, u64)> + '_ {
        let own = &self.sides[side as usize];
        self.plain.entries().chain(own.entries())
    }

    /// All samples of one side.
    pub(super) fn side(&self, side: Side) -> Buckets {
        let mut all = self.plain.clone();
        all.merge(&self.sides[side as usize]);
        all
    }

    /// The four histograms.
    pub(super) fn all(&self) -> [&Buckets; 4] {
        let [a, b, c] = &self.sides;
        [&self.plain, a, b, c]
    }

    /// The four histograms.
    pub(super) fn all_mut(&mut self) -> [&mut Buckets; 4] {
        let [a, b, c] = &mut self.sides;
        [&mut self.plain, a, b, c]
    }
}

/// Sums over exchanges that went well, untouched, within the limits, and took equally long from all sides: nearly all. Kept
/// apart from the [`Tally`] since counting them there would take three times as many writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ordinary {
    n: u64,
    request_bytes: u64,
    reply_bytes: u64,
    sum: u128,
    max: u64,
}

impl Ordinary {
    #[inline]
    fn add(&mut self, sample: &Sample, n: u64) {
        self.n += n;
        self.request_bytes = self.request_bytes.saturating_add(sample.request_bytes);
        self.reply_bytes = self.reply_bytes.saturating_add(sample.reply_bytes);
        self.sum += u128::from(sample.client) * u128::from(n);
        self.max = self.max.max(sample.client);
    }
}

/// Everything measured of one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Exact sums.
    pub(super) tally: Tally,
    /// What is not yet in `tally`, in the shard of a worker.
    ordinary: Ordinary,
    /// Exchanges by status; [`Status::OK`] is what is missing to `tally.completed`.
    pub(super) statuses: Vec<(Status, u64)>,
    /// Histograms.
    pub(super) latencies: Latencies,
}

impl Record {
    /// Adds `n` finished exchanges that differ in nothing but their sizes, of which the sample holds the sums.
    #[inline]
    pub(super) fn add(&mut self, sample: &Sample, n: u64, limits: Limits) {
        let client = micros(sample.client);
        if client <= HIGHEST
            && sample.upstream == Some(sample.client)
            && sample.first_byte == sample.client
            && sample.status == Status::OK
            && !sample.injected
            && sample.client <= limits.p95
            && sample.client <= limits.p99
        {
            self.ordinary.add(sample, n);
            self.latencies.plain.record(client, n);
        } else {
            self.add_any(sample, n, client, limits);
        }
    }

    fn add_any(&mut self, sample: &Sample, n: u64, client: u64, limits: Limits) {
        self.tally.add(sample, n, limits);
        if sample.status != Status::OK {
            self.status(sample.status, n);
        }
        let same = |ns: u64| micros(ns) == client;
        if client <= HIGHEST && sample.upstream.is_some_and(same) && same(sample.first_byte) {
            self.latencies.plain.record(client, n);
        } else {
            self.add_apart(sample, n);
        }
    }

    /// Moves what [`Ordinary`] holds to where readers look.
    pub(super) fn settle(&mut self) {
        let Ordinary {
            n,
            request_bytes,
            reply_bytes,
            sum,
            max,
        } = std::mem::take(&mut self.ordinary);
        self.tally.merge(&Tally {
            completed: n,
            reached: n,
            request_bytes,
            reply_bytes,
            sums: [sum; 3],
            max: [max; 3],
            ..Tally::default()
        });
    }

    fn add_apart(&mut self, sample: &Sample, n: u64) {
        let durations = [
            Some(sample.client),
            sample.upstream,
            Some(sample.first_byte),
        ];
        for (buckets, ns) in self.latencies.sides.iter_mut().zip(durations) {
            if let Some(us) = ns.map(micros) {
                self.tally.saturated += if us > HIGHEST { n } else { 0 };
                buckets.record(us, n);
            }
        }
    }

    /// Counts a status.
    pub(super) fn status(&mut self, status: Status, n: u64) {
        if let Some((_, count)) = self.statuses.iter_mut().find(|(s, _)| *s == status) {
            *count = count.saturating_add(n);
        } else if self.statuses.len() < MAX_STATUSES || status == OTHER_STATUS {
            self.statuses.push((status, n));
        } else {
            self.status(OTHER_STATUS, n);
        }
    }

    /// Adds another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        for &(status, n) in &other.statuses {
            self.status(status, n);
        }
        for (mine, theirs) in self
            .latencies
            .all_mut()
            .into_iter()
            .zip(other.latencies.all())
        {
            mine.merge(theirs);
        }
    }

    fn clear(&mut self) {
        self.tally = Tally::default();
        self.statuses.clear();
        self.latencies
            .all_mut()
            .into_iter()
            .for_each(Buckets::clear);
    }

    fn memory(&self) -> usize {
        self.statuses.capacity() * size_of::<(Status, u64)>()
            + self
                .latencies
                .all()
                .into_iter()
                .map(Buckets::memory)
                .sum::<usize>()
    }
}

const LEAF: usize = 64;

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    /// Number of the next entry of the same operation, with another class, plus one; 0 for none.
    next: u16,
    record: Record,
}

/// The operations of one proxy. Numbers of operations are sparse (HTTP: route and method), so they are looked up in leaves
/// of 64 that exist only where needed: two dependent loads, whatever the mix.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations {
    /// Number of the operation's first entry plus one, 0 for none; by operation / 64, then % 64.
    leaves: Vec<Option<Box<[u16; LEAF]>>>,
    entries: Vec<Entry>,
}

impl Operations {
    /// The number of a key's record, which is made if there is none.
    #[inline]
    pub(super) fn slot(&mut self, key: Key) -> usize {
        match self.find(key) {
            Some(slot) => slot,
            None => self.insert(key),
        }
    }

    #[inline]
    fn find(&self, key: Key) -> Option<usize> {
        let operation = usize::from(key.operation.0);
        let leaf = self.leaves.get(operation / LEAF)?.as_deref()?;
        let mut at = usize::from(leaf[operation % LEAF]);
        loop {
            let entry = self.entries.get(at.checked_sub(1)?)?;
            if entry.key.class == key.class {
                return Some(at - 1);
            }
            at = usize::from(entry.next);
        }
    }

    #[cold]
    fn insert(&mut self, key: Key) -> usize {
        if self.entries.len() >= MAX_OPERATIONS && key.operation != OTHER {
            return self.slot(Key {
                operation: OTHER,
                ..key
            });
        }
        let operation = usize::from(key.operation.0);
        if self.leaves.len() <= operation / LEAF {
            self.leaves.resize(operation / LEAF + 1, None);
        }
        let leaf = self.leaves[operation / LEAF].get_or_insert_with(|| Box::new([0; LEAF]));
        let first = &mut leaf[operation % LEAF];
        let next = *first;
        *first = self.entries.len() as u16 + 1;
        self.entries.push(Entry {
            key,
            next,
            record: Record::default(),
        });
        self.entries.len() - 1
    }

    /// The record of a slot that [`Self::slot`] gave.
    #[inline]
    pub(super) fn record(&mut self, slot: usize) -> &mut Record {
        &mut self.entries[slot].record
    }

    /// The record of a key.
    pub(super) fn get(&self, key: Key) -> Option<&Record> {
        self.find(key).map(|slot| &self.entries[slot].record)
    }

    /// All records, in the order in which their operations were first seen.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Record)> {
        self.entries.iter().map(|e| (e.key, &e.record))
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (key, record) in other.iter() {
            if !record.tally.is_empty() {
                let slot = self.slot(key);
                self.record(slot).merge(record);
            }
        }
    }

    /// Forgets what was measured and keeps the memory.
    pub(super) fn clear(&mut self) {
        for entry in &mut self.entries {
            if !entry.record.tally.is_empty() {
                entry.record.clear();
            }
        }
    }

    /// Moves what was held back for speed to where readers look.
    pub(super) fn settle(&mut self) {
        for entry in self.entries.iter_mut().filter(|e| e.record.ordinary.n > 0) {
            entry.record.settle();
        }
    }

    /// Takes back what was said about limits: they changed.
    pub(super) fn unjudge(&mut self) {
        self.settle();
        self.entries
            .iter_mut()
            .for_each(|e| e.record.tally.unjudge());
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let leaves = self.leaves.iter().flatten().count() * size_of::<[u16; LEAF]>();
        leaves
            + self.leaves.capacity() * size_of::<Option<Box<[u16; LEAF]>>>()
            + self.entries.capacity() * size_of::<Entry>()
            + self
                .entries
                .iter()
                .map(|e| e.record.memory())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
