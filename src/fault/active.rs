//! A fault that is switched on. Shared by the store and by every plan it is in, so that a new plan loses no count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::action::Queue;
use super::compile::Fault;
use super::dice::Dice;
use super::gate::Counts;
use super::schedule::State;
use super::skip::Skip;

/// Who switched a fault on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// Somebody, by itself.
    AdHoc,
    /// It came with the profile of this name.
    Profile(Arc<str>),
}

/// A fault and what it has done since it was switched on.
#[derive(Debug)]
pub struct ActiveFault {
    name: Arc<str>,
    source: Source,
    fault: Fault,
    enabled: Instant,
    expires: Instant,
    dice: Dice,
    /// What the dice are made of: the seed, and the name under which it draws.
    seed: (u64, Arc<str>),
    counts: Counts,
    /// The queues of `capacity`, by proxy.
    queues: Mutex<BTreeMap<Dice, Arc<Mutex<Queue>>>>,
    tally: Tally,
}

/// What a fault has done, counted.
#[derive(Debug, Default)]
pub struct Tally {
    matched: AtomicU64,
    hits: AtomicU64,
    /// By [`Skip`].
    skipped: [AtomicU64; Skip::ALL.len()],
}

impl ActiveFault {
    /// Switches a fault on.
    pub(super) fn new(
        name: Arc<str>,
        source: Source,
        fault: Fault,
        enabled: Instant,
        expires: Instant,
        seed: (u64, Arc<str>),
    ) -> Self {
        Self {
            name,
            source,
            fault,
            enabled,
            expires,
            dice: Dice::new(seed.0, &seed.1),
            seed,
            counts: Counts::default(),
            queues: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// Its name, unique among all that are switched on.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Who switched it on.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What it is.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// When its time to live is over.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// Time since it was switched on.
    pub fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.enabled)
    }

    /// What it has done.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether and how strongly it is in force. Never beyond its time to live, even if nobody came to remove it.
    pub fn state(&self, now: Instant) -> State {
        if now >= self.expires {
            return State::Off;
        }
        self.fault.schedule().state(self.enabled, now)
    }

    /// The first moment after `now` at which it comes into force or goes out of it.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        if now >= self.expires {
            return None;
        }
        let scheduled = self.fault.schedule().next_change(self.enabled, now);
        Some(scheduled.map_or(self.expires, |at| at.min(self.expires)))
    }

    pub(super) fn seed(&self) -> &(u64, Arc<str>) {
        &self.seed
    }

    pub(super) fn dice(&self) -> Dice {
        self.dice
    }

    /// The queue of a `capacity` on the proxy of these dice: the same for every plan that it is in.
    pub(super) fn queue(&self, dice: Dice) -> Arc<Mutex<Queue>> {
        // A map of queues is whole after a panic elsewhere.
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(dice).or_default())
    }

    /// What its gates said to all that this session asks, where that is settled.
    pub fn answer(&self, proxy: &str, session: u64) -> Option<bool> {
        self.counts.answer(self.dice.on_proxy(proxy), session)
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Tally {
    /// Exchanges (or sessions) that matched while it was in force.
    pub fn matches(&self) -> u64 {
        self.matched.load(Ordering::Relaxed)
    }

    /// Of these, those that it acted on.
    pub fn injected(&self) -> u64 {
        // Skips are counted after their hits, so reading them first can only show too few.
        let skipped = self.skips();
        self.hits.load(Ordering::Relaxed).saturating_sub(skipped)
    }

    /// Those that it would have acted on if the state of the session had allowed it.
    pub fn skips(&self) -> u64 {
        self.skipped.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// The same by reason, of those that occurred.
    pub fn skips_by_reason(&self) -> BTreeMap<String, u64> {
        let counted = Skip::ALL.into_iter().map(|skip| {
            let n = self.skipped[skip as usize].load(Ordering::Relaxed);
            (skip.reason().to_owned(), n)
        });
        counted.filter(|(_, n)| *n > 0).collect()
    }

    pub(super) fn matched(&self) {
        self.matched.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn skip(&self, why: Skip) {
        self.skipped[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}
