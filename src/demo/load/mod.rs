//! The load of the demo: HTTP requests to the sample service, and Redis and Postgres traffic beside it, through the proxies.
//!
//! Each generator runs until it is told to stop, keeps to a rate (an open schedule, with a bound on what it catches up), and
//! counts what it did as the client saw it.

pub mod http;
mod pacer;
pub mod postgres;
pub mod pubsub;
pub mod redis;

#[cfg(test)]
mod tests;

pub use pacer::Pacer;

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Kinds of error that are told apart; any further ones are counted as `other`.
const MAX_KINDS: usize = 32;

/// What a generator did so far, shared by its tasks and its readers.
#[derive(Debug, Default)]
pub struct Tally {
    ok: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    /// Microseconds of round trips, where a generator measures them.
    longest_us: AtomicU64,
}

/// What a generator did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests that gave what was asked for.
    pub ok: u64,
    /// Requests that did not.
    pub errors: u64,
    /// Those, by what the client saw.
    pub by_kind: BTreeMap<String, u64>,
    /// The longest request that succeeded, microseconds.
    pub longest_us: u64,
}

impl Tally {
    /// A request succeeded.
    pub fn ok(&self, took: Duration) {
        self.ok.fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
    }

    /// A request failed.
    pub fn error(&self, kind: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let known = errors.contains_key(kind) || errors.len() < MAX_KINDS;
        let kind = if known { kind } else { "other" };
        *errors.entry(kind.to_owned()).or_default() += 1;
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        Counts {
            ok: self.ok.load(Ordering::Relaxed),
            errors: errors.values().sum(),
            by_kind: errors.clone(),
            longest_us: self.longest_us.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    /// What was done since `before`; the longest request stays that of all time.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let kinds = self.by_kind.iter().filter_map(|(kind, n)| {
            let n = n.saturating_sub(before.by_kind.get(kind).copied().unwrap_or(0));
            (n > 0).then(|| (kind.clone(), n))
        });
        Self {
            ok: self.ok.saturating_sub(before.ok),
            errors: self.errors.saturating_sub(before.errors),
            by_kind: kinds.collect(),
            longest_us: self.longest_us,
        }
    }
}
