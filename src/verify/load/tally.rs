//! What callers saw, kept until it is written into the recording; and whether the generator itself kept up.

use super::lapses::Lapses;
use crate::insight::sample::Sample;
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls that are kept for a guard's window; older ones go.
const MAX_RECENT: usize = 100_000;
/// Calls that wait to be written into the recording.
const MAX_UNWRITTEN: usize = 1_000_000;
/// Times at which the generator was late that are kept; further ones replace earlier ones.
const MAX_LATE: usize = 65_536;

/// The longest latency that is told apart, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// A call. Nanoseconds of the process's clock.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) at: u64,
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) request: String,
    pub(crate) status: String,
    pub(crate) ok: bool,
    /// It failed on this machine, before the service: no descriptors or ports were left.
    pub(crate) own: bool,
}

#[derive(Debug)]
struct Inner {
    /// Microseconds.
    latencies: Histogram<u64>,
    unwritten: Vec<Called>,
    recent: VecDeque<(u64, u64, bool)>,
    late: Vec<u64>,
    /// Requests that have not ended, by when they were due.
    out: BTreeMap<u64, u64>,
    figures: LaneFigures,
    lapses: Lapses,
    /// Requests that ended and were due from this moment on.
    counted: (u64, u64),
}

/// What one lane did.
#[derive(Debug)]
pub(crate) struct Tally(Mutex<Inner>);

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LONGEST, 3);
        Self(Mutex::new(Inner {
            latencies: latencies.expect("these bounds are allowed"),
            unwritten: Vec::new(),
            recent: VecDeque::new(),
            late: Vec::new(),
            out: BTreeMap::new(),
            figures: LaneFigures::default(),
            lapses: Lapses::default(),
            counted: (0, 0),
        }))
    }
}

/// The figures of a lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
pub(crate) struct LaneFigures {
    /// Requests that ended.
    pub(crate) ended: u64,
    /// Of these, failures as a caller sees them.
    pub(crate) failed: u64,
    /// Requests that were due and not sent, because too many were unanswered.
    pub(crate) skipped: u64,
    /// Latency as a caller saw it, over all of the test, in milliseconds; failures are in it.
    #[serde(default)]
    pub(crate) p50_ms: f64,
    #[serde(default)]
    pub(crate) p95_ms: f64,
    #[serde(default)]
    pub(crate) p99_ms: f64,
    /// How late the generator itself was, in milliseconds; none in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) late_p50_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) late_p95_ms: Option<f64>,
    /// How late the generator itself was: p99, in milliseconds.
    pub(crate) late_p99_ms: f64,
    /// Requests that were due and not sent, because the generator had not come to them when it was stopped.
    #[serde(default)]
    pub(crate) behind: u64,
    /// Of a canary: times at which it was due, and its last request was still unanswered.
    #[serde(default)]
    pub(crate) passed_over: u64,
    /// Failures on this machine, before the service: no descriptors or ports were left.
    #[serde(default)]
    pub(crate) own: u64,
}

impl Tally {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, call: Called) {
        let mut inner = self.inner();
        if let Entry::Occupied(mut out) = inner.out.entry(call.intended) {
            *out.get_mut() -= 1;
            if *out.get() == 0 {
                out.remove();
            }
        }
        inner.figures.ended += 1;
        if call.intended >= inner.counted.0 {
            inner.counted.1 += 1;
        }
        inner.figures.failed += u64::from(!call.ok);
        if call.own {
            inner.figures.own += 1;
            inner.lapses.own.add(call.intended);
        }
        if inner.recent.len() >= MAX_RECENT {
            inner.recent.pop_front();
        }
        let latency = call.at.saturating_sub(call.intended);
        inner.latencies.saturating_record((latency / 1000).max(1));
        inner.recent.push_back((call.at, latency, call.ok));
        if inner.unwritten.len() < MAX_UNWRITTEN {
            inner.unwritten.push(call);
        }
    }

    /// A request is sent that was due at this moment.
    pub(crate) fn begin(&self, intended: u64) {
        *self.inner().out.entry(intended).or_default() += 1;
    }

    /// Requests that have not ended.
    pub(crate) fn outstanding(&self) -> u64 {
        self.inner().out.values().sum()
    }

    /// For how long they have been out: their latencies will be no less.
    pub(crate) fn ages(&self, now: u64) -> Vec<u64> {
        let inner = self.inner();
        let ages = inner.out.iter().flat_map(|(intended, count)| {
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            std::iter::repeat_n(now.saturating_sub(*intended), count)
        });
        ages.collect()
    }

    /// A request is not sent that was due at this moment.
    pub(crate) fn skip(&self, intended: u64) {
        let mut inner = self.inner();
        inner.figures.skipped += 1;
        inner.lapses.skipped.add(intended);
    }

    pub(crate) fn fall_behind(&self, requests: u64) {
        self.inner().figures.behind += requests;
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.inner().figures.skipped
    }

    /// The same of a canary.
    pub(crate) fn pass_over(&self, intended: u64) {
        let mut inner = self.inner();
        inner.figures.passed_over += 1;
        inner.lapses.passed_over.add(intended);
    }

    /// When it did not do what it should have, on the clock of a recording that began then.
    pub(crate) fn lapses(&self, began: u64) -> Lapses {
        self.inner().lapses.since(began)
    }

    pub(crate) fn late(&self, ns: u64) {
        let mut inner = self.inner();
        if inner.late.len() < MAX_LATE {
            inner.late.push(ns);
        } else {
            let at = inner.figures.ended as usize % MAX_LATE;
            inner.late[at] = ns;
        }
    }

    /// From now on counts those that are due from this moment on.
    pub(crate) fn count(&self, from: u64) {
        self.inner().counted = (from, 0);
    }

    /// How many of these have ended.
    pub(crate) fn counted(&self) -> u64 {
        self.inner().counted.1
    }

    pub(crate) fn failures(&self) -> u64 {
        self.inner().figures.failed
    }

    /// What is not in the recording yet.
    pub(crate) fn take(&self) -> Vec<Called> {
        std::mem::take(&mut self.inner().unwritten)
    }

    /// Latencies and successes of the calls that ended since.
    pub(crate) fn since(&self, from: u64) -> Vec<(u64, bool)> {
        let inner = self.inner();
        let recent = inner.recent.iter().filter(|(at, ..)| *at >= from);
        recent.map(|(_, latency, ok)| (*latency, *ok)).collect()
    }

    pub(crate) fn figures(&self) -> LaneFigures {
        let inner = self.inner();
        let late: Sample = inner.late.iter().copied().collect();
        let ms = |q: f64| match inner.latencies.len() {
            0 => 0.0,
            _ => inner.latencies.value_at_quantile(q) as f64 / 1e3,
        };
        let late_ms = |q: f64| late.quantile(q).map(crate::insight::millis);
        LaneFigures {
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            late_p50_ms: late_ms(0.5),
            late_p95_ms: late_ms(0.95),
            late_p99_ms: late_ms(0.99).unwrap_or(0.0),
            ..inner.figures.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_due_before_a_phase_is_no_sample_of_it() {
        let tally = Tally::default();
        let ends = |intended: u64| {
            tally.add(Called {
                at: 1_000,
                intended,
                sent: intended,
                request: "GET".into(),
                status: "ok".into(),
                ok: true,
                own: false,
            });
        };
        ends(400);
        tally.count(500);
        // They were still out when the phase began.
        [100, 400, 499].into_iter().for_each(ends);
        assert_eq!(tally.counted(), 0);
        [500, 700].into_iter().for_each(ends);
        assert_eq!(tally.counted(), 2);
        assert_eq!(tally.figures().ended, 6);
    }
}
