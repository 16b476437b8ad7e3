//! How often a fault hits.
//!
//! An exchange that matches, while the schedule has the fault in force, passes the gates in this order; the first one that
//! turns it away ends it:
//!
//! 1. `after`: the first N are left alone.
//! 2. `every`: of the rest, every Nth goes on (the Nth, the 2Nth, ...).
//! 3. `probability`: a draw from the seed ([`super::dice`]).
//! 4. `first`: at most N hits in all.
//! 5. `per_second`: at most N hits in each second, counted from the moment of switching on.
//!
//! `first` and `per_second` count hits: an exchange that `per_second` turns away costs `first` nothing. All counts are exact
//! however many threads ask at once. They are counts of the fault, not of a session or a proxy, so with `after`, `every` and
//! `first` *which* exchange is hit depends on the order of exchanges between sessions; a draw does not.
//!
//! With [`Scope::Session`] the gates are asked once for each session, at its first matching exchange, and the answer holds for
//! all of its matching exchanges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::dice::{Dice, Purpose};
use super::spec::Scope;

/// Sessions whose answer is remembered for one fault; beyond it the oldest are forgotten, and would be asked for anew.
pub const MAX_SESSIONS: usize = 1 << 16;

/// How often a fault hits. The default: always.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gates {
    /// Share of hits, 0 to 1.
    pub probability: Option<f64>,
    /// Every Nth.
    pub every: Option<u64>,
    /// At most N in all.
    pub first: Option<u64>,
    /// Not the first N.
    pub after: Option<u64>,
    /// At most N a second.
    pub per_second: Option<u32>,
    /// What is counted.
    pub scope: Scope,
}

/// What the gates of one fault have counted. Shared by all plans the fault is in.
#[derive(Debug, Default)]
pub struct Counts {
    /// Exchanges offered.
    offered: AtomicU64,
    /// Hits, while `first` limits them.
    hits: AtomicU64,
    /// The second that is being counted (upper half) and the hits in it (lower half).
    second: AtomicU64,
    /// Answers by (dice of the proxy, session), oldest sessions first.
    sessions: Mutex<BTreeMap<(u64, Dice), bool>>,
}

/// What the gates are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Dice of the fault on the proxy.
    pub dice: Dice,
    /// Ordinal of the session.
    pub session: u64,
    /// Ordinal of the exchange; `None`: the session itself.
    pub exchange: Option<u64>,
    /// Time since the fault was switched on.
    pub elapsed: Duration,
}

impl Gates {
    /// Whether this one is hit. To be asked once for each exchange (or session): it counts.
    pub fn pass(&self, counts: &Counts, asked: &Asked) -> bool {
        match asked.exchange {
            Some(_) if self.remembers() => {
                // The lock is held while asking, so that two exchanges of one session cannot both ask.
                let mut sessions = counts.sessions();
                let key = (asked.session, asked.dice);
                if let Some(answer) = sessions.get(&key) {
                    return *answer;
                }
                let answer = self.ask(counts, asked);
                sessions.insert(key, answer);
                if sessions.len() > MAX_SESSIONS {
                    sessions.pop_first();
                }
                answer
            }
            _ => self.ask(counts, asked),
        }
    }

    /// Whether answers have to be remembered by session: they are one a session, and depend on what was asked before.
    pub fn remembers(&self) -> bool {
        let counts = self.every.is_some()
            || self.first.is_some()
            || self.after.is_some()
            || self.per_second.is_some();
        counts && self.scope == Scope::Session
    }

    fn ask(&self, counts: &Counts, asked: &Asked) -> bool {
        self.in_turn(counts)
            && self.drawn(asked)
            && self.left(counts)
            && self.in_rate(counts, asked.elapsed)
            && self.take(counts)
    }

    /// `after` and `every`.
    fn in_turn(&self, counts: &Counts) -> bool {
        if self.after.is_none() && self.every.is_none() {
            return true;
        }
        let offered = counts.offered.fetch_add(1, Ordering::Relaxed);
        let Some(rest) = offered.checked_sub(self.after.unwrap_or(0)) else {
            return false;
        };
        let every = self.every.unwrap_or(1).max(1);
        rest % every == every - 1
    }

    /// `probability`.
    fn drawn(&self, asked: &Asked) -> bool {
        let Some(probability) = self.probability else {
            return true;
        };
        let draw = match (self.scope, asked.exchange) {
            (Scope::Exchange, Some(exchange)) => {
                asked
                    .dice
                    .exchange(asked.session, exchange, Purpose::Probability)
            }
            _ => asked.dice.session(asked.session, Purpose::Probability),
        };
        draw.hits(probability)
    }

    /// Whether `first` has hits left: looked at before `per_second` counts one.
    fn left(&self, counts: &Counts) -> bool {
        self.first
            .is_none_or(|first| counts.hits.load(Ordering::Relaxed) < first)
    }

    /// `per_second`.
    fn in_rate(&self, counts: &Counts, elapsed: Duration) -> bool {
        let Some(limit) = self.per_second else {
            return true;
        };
        let now = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
        counts
            .second
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                let (second, hits) = ((packed >> 32) as u32, packed as u32);
                // A thread whose clock reading is older than another's counts in the newer second.
                let (second, hits) = if now > second {
                    (now, 0)
                } else {
                    (second, hits)
                };
                (hits < limit).then(|| u64::from(second) << 32 | u64::from(hits + 1))
            })
            .is_ok()
    }

    /// `first`, for good.
    fn take(&self, counts: &Counts) -> bool {
        let Some(first) = self.first else {
            return true;
        };
        counts
            .hits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |hits| {
                (hits < first).then_some(hits + 1)
            })
            .is_ok()
    }
}

impl Counts {
    /// Exchanges that `after` and `every` have counted.
    pub fn offered(&self) -> u64 {
        self.offered.load(Ordering::Relaxed)
    }

    /// Hits that `first` has counted.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// The answer that was given for a session, where one was.
    pub fn answer(&self, dice: Dice, session: u64) -> Option<bool> {
        self.sessions().get(&(session, dice)).copied()
    }

    /// Forgets the answer given for a session that has ended.
    pub fn forget(&self, dice: Dice, session: u64) {
        self.sessions().remove(&(session, dice));
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u64, Dice), bool>> {
        // A map of plain values is whole after a panic elsewhere.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
