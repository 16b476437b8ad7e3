//! When messages were published, so that their delivery can be timed on whatever session it shows.

use std::sync::{Mutex, PoisonError};

/// Messages remembered; the oldest of those that collide make room.
pub const CAPACITY: usize = 1 << 16;

/// Messages with the same remainder of their hash share a set, in which the oldest is overwritten.
const WAYS: usize = 8;
/// Sets are spread over locks, so that workers seldom meet.
const LOCKS: usize = 64;
const SETS: usize = CAPACITY / WAYS / LOCKS;

#[derive(Clone, Copy, Debug, Default)]
struct Message {
    hash: u64,
    /// Time of publication plus one; 0 where there is no message.
    stamp: u64,
}

type Set = [Message; WAYS];

/// Times of publication by hash of channel and payload, shared by all workers of a proxy. Memory is fixed (1 MiB, taken as
/// the first messages come); an operation takes one short lock and looks at one set of 8.
///
/// A message may be looked up any number of times: it has many subscribers. Equal messages cannot be told apart; the newest
/// counts, so that a delivery is at worst reported as too quick, by less than the time between the two.
#[derive(Debug)]
pub struct Published {
    locks: Box<[Mutex<Box<[Set]>>]>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Published {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers that a message was published at `ns`, on any clock that [`Self::lookup`]'s caller shares.
    pub fn insert(&self, hash: u64, ns: u64) {
        let (lock, set) = place(hash);
        let mut sets = self.locks[lock]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if sets.is_empty() {
            *sets = vec![Set::default(); SETS].into_boxed_slice();
        }
        let set = &mut sets[set];
        let same = set.iter().position(|m| m.stamp != 0 && m.hash == hash);
        let oldest = || (0..WAYS).min_by_key(|&i| set[i].stamp).unwrap_or(0);
        set[same.unwrap_or_else(oldest)] = Message {
            hash,
            stamp: ns.saturating_add(1),
        };
    }

    /// When a message was published, if that is remembered.
    pub fn lookup(&self, hash: u64) -> Option<u64> {
        let (lock, set) = place(hash);
        let sets = self.locks[lock]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let message = sets
            .get(set)?
            .iter()
            .find(|m| m.stamp != 0 && m.hash == hash)?;
        Some(message.stamp - 1)
    }
}

/// The lock and the set of a hash. Mixed first: the caller's hash need not be good in its low bits.
fn place(hash: u64) -> (usize, usize) {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let mixed = mixed as usize;
    (mixed % LOCKS, mixed / LOCKS % SETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_each_of_its_subscribers() {
        let published = Published::new();
        assert_eq!(published.lookup(7), None);
        published.insert(7, 0);
        published.insert(0, 100);
        for _ in 0..3 {
            assert_eq!(published.lookup(7), Some(0));
        }
        assert_eq!(published.lookup(0), Some(100), "no hash is special");
        assert_eq!(published.lookup(8), None);
        published.insert(7, 200);
        assert_eq!(
            published.lookup(7),
            Some(200),
            "the newest of equal messages counts"
        );
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_remembered() {
        let published = Published::new();
        let hash = |i: u64| i.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 0x5bd1;
        let n = 10 * CAPACITY as u64;
        (0..n).for_each(|i| published.insert(hash(i), i));
        let found = |range: std::ops::Range<u64>| {
            range
                .filter(|&i| published.lookup(hash(i)) == Some(i))
                .count()
        };
        let recent = CAPACITY as u64 / 4;
        assert!(found(n - recent..n) as u64 >= recent * 99 / 100);
        assert!(found(0..n) <= CAPACITY);
        let entries: usize = published
            .locks
            .iter()
            .map(|l| l.lock().unwrap().len() * WAYS)
            .sum();
        assert_eq!(entries, CAPACITY);
    }

    #[test]
    fn workers_share_it() {
        let published = Published::new();
        std::thread::scope(|scope| {
            for worker in 0..4_u64 {
                let published = &published;
                scope.spawn(move || {
                    for i in 0..1000 {
                        published.insert((worker << 32) | i, i);
                        assert_eq!(published.lookup((worker << 32) | i), Some(i));
                    }
                });
            }
        });
        assert_eq!(published.lookup(0x3_0000_03e7), Some(999));
    }
}
