//! All that is measured of one proxy over some time: the unit that shards, totals and windows add up.

use super::buckets::{Buckets, HIGHEST, micros};
use super::operations::Operations;
use super::{Counter, Timing};
use crate::fault::Skip;
use crate::protocol::Lost;

/// The counters of one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters([u64; Self::LEN]);

impl Counters {
    const PLAIN: usize = 25;
    const SKIPPED: usize = Self::PLAIN + Lost::ALL.len();
    const LEN: usize = Self::SKIPPED + Skip::ALL.len();

    const fn index(counter: Counter) -> usize {
        match counter {
            Counter::SessionsOpened => 0,
            Counter::SessionsClosed => 1,
            Counter::ClientResets => 2,
            Counter::UpstreamResets => 3,
            Counter::BytesUp => 4,
            Counter::BytesDown => 5,
            Counter::ConnectRefused => 6,
            Counter::ConnectTimeout => 7,
            Counter::ConnectUnreachable => 8,
            Counter::ConnectResolve => 9,
            Counter::ConnectExhausted => 10,
            Counter::ConnectLoop => 11,
            Counter::ConnectOther => 12,
            Counter::Pushes => 13,
            Counter::Published => 14,
            Counter::TransactionsBegun => 15,
            Counter::TransactionsCommitted => 16,
            Counter::TransactionsRolledBack => 17,
            Counter::TransactionsFailed => 18,
            Counter::Cancels => 19,
            Counter::FaultsInjected => 20,
            Counter::HeldLimit => 21,
            Counter::PartErrors => 22,
            Counter::VanishedUp => 23,
            Counter::VanishedDown => 24,
            Counter::TapLost(reason) => Self::PLAIN + reason as usize,
            Counter::FaultsSkipped(why) => Self::SKIPPED + why as usize,
        }
    }

    /// Adds `n`.
    #[inline]
    pub(super) fn add(&mut self, counter: Counter, n: u64) {
        let slot = &mut self.0[Self::index(counter)];
        *slot = slot.saturating_add(n);
    }

    /// What was counted.
    pub(super) fn get(&self, counter: Counter) -> u64 {
        self.0[Self::index(counter)]
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self([0; Self::LEN])
    }
}

/// The durations of one [`Timing`].
#[derive(Clone, Debug, Default)]
pub(super) struct Timer {
    /// Their distribution.
    pub(super) buckets: Buckets,
    /// Their sum in nanoseconds.
    pub(super) sum: u128,
    /// The longest in nanoseconds.
    pub(super) max: u64,
    /// Those longer than the histogram's range.
    pub(super) saturated: u64,
}

impl Timer {
    /// Adds a duration in nanoseconds.
    pub(super) fn record(&mut self, ns: u64) {
        let us = micros(ns);
        self.saturated += u64::from(us > HIGHEST);
        self.sum = self.sum.saturating_add(u128::from(ns));
        self.max = self.max.max(ns);
        self.buckets.record(us, 1);
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.merge_sums(other.sum, other.max, other.saturated);
        self.buckets.merge(&other.buckets);
    }

    /// Adds all of another but its distribution.
    pub(super) fn merge_sums(&mut self, sum: u128, max: u64, saturated: u64) {
        self.sum = self.sum.saturating_add(sum);
        self.max = self.max.max(max);
        self.saturated = self.saturated.saturating_add(saturated);
    }

    fn clear(&mut self) {
        self.buckets.clear();
        (self.sum, self.max, self.saturated) = (0, 0, 0);
    }
}

/// All that is measured of one proxy over some time.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// By operation.
    pub(super) operations: Operations,
    /// Things only counted.
    pub(super) counters: Counters,
    /// Durations of no operation, by [`Timing`].
    pub(super) timers: [Timer; Timing::ALL.len()],
}

impl Block {
    /// The durations of a kind.
    pub(super) fn timer(&self, timing: Timing) -> &Timer {
        &self.timers[timing as usize]
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.operations.merge(&other.operations);
        self.counters.merge(&other.counters);
        for (mine, theirs) in self.timers.iter_mut().zip(&other.timers) {
            mine.merge(theirs);
        }
    }

    /// Forgets what was measured and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.operations.clear();
        self.counters = Counters::default();
        self.timers.iter_mut().for_each(Timer::clear);
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let timers = self.timers.iter().map(|t| t.buckets.memory());
        self.operations.memory() + timers.sum::<usize>()
    }
}
