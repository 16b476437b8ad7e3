//! The ledger: what became of every exchange that a fault touched. The truth about the server stands beside what its client
//! was told, which is the one thing that neither of the two knows of an outcome that was lost.
//!
//! It goes the way of all measurement: a worker writes into its [`Sheet`] without locks, and readers merge the sheets into the
//! [`Ledger`]. An [`Entry`] is written when the fault acts, and completed when the exchange has ended, or its session. Entries
//! are numbered across workers ([`Numbering`]); the newest are kept, and how many went is known.
//!
//! No payload is ever in it. Tags are words of closed tables and numbers; a fingerprint is a hash under a key that this
//! process drew at random and shows to nobody.

mod book;
mod entry;
mod fingerprint;
mod sheet;
mod tag;

pub use book::{Canonical, CanonicalEntry, Ledger, Listing, Query};
pub use entry::{Entry, Outcome, Retry, Saw, Told, Touch};
pub use fingerprint::Fingerprint;
pub use sheet::{Change, Sheet};
pub use tag::TagReader;

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries that are kept where nothing else is said.
pub const CAPACITY: u32 = 65_536;

/// The most entries that can be kept: a full ledger of this size takes about half a gigabyte.
pub const MAX_CAPACITY: u32 = 1 << 20;

/// Numbers entries for all workers, and so says which are too old to keep.
#[derive(Debug)]
pub struct Numbering {
    /// Entries so far: the number of the newest.
    taken: AtomicU64,
    capacity: u64,
    /// Exchanges of which nobody looks out for a retry, since too many are waited for.
    unwatched: AtomicU64,
    key: RandomState,
}

impl Default for Numbering {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Numbering {
    /// For a ledger that keeps so many entries, at least one.
    pub fn new(capacity: u32) -> Self {
        Self {
            taken: AtomicU64::new(0),
            capacity: u64::from(capacity.max(1)),
            unwatched: AtomicU64::new(0),
            key: RandomState::new(),
        }
    }

    /// The number of a new entry; from 1.
    pub fn take(&self) -> u64 {
        self.taken.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Entries so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Entries that are kept.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Entries up to this number are gone.
    pub fn gone(&self) -> u64 {
        self.taken().saturating_sub(self.capacity)
    }

    /// Nobody looks out for the retry of one more.
    pub fn unwatch(&self) {
        self.unwatched.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that nobody looks out for.
    pub fn unwatched(&self) -> u64 {
        self.unwatched.load(Ordering::Relaxed)
    }

    /// The secret of the fingerprints.
    pub fn key(&self) -> &RandomState {
        &self.key
    }
}

#[cfg(test)]
mod tests;
