//! What is switched on. In memory only: a restart leaves nothing behind.
//!
//! Every fault has an end. [`Store::halt`] ends them all at once, and keeps everything off until [`Store::resume`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{DEFAULT_TTL, MAX_TTL};
use super::active::{ActiveFault, Source};
use super::compile::Fault;
use super::plan::Plan;
use super::schedule::State;
use super::spec::FaultSpec;
use crate::protocol::Catalog;

/// Faults that may be switched on at a time.
pub const MAX_FAULTS: usize = 256;

/// The faults in force, in memory only, in the order in which they were switched on.
#[derive(Debug, Default)]
pub struct Store {
    seed: u64,
    halted: bool,
    /// How long a fault stays on where nobody says; `None`: [`DEFAULT_TTL`].
    default_ttl: Option<Duration>,
    active: Vec<Arc<ActiveFault>>,
}

/// Why something cannot be switched on or off. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another fault has that name.
    #[error("a fault named `{0}` is already switched on")]
    NameTaken(Arc<str>),
    /// No fault has that name.
    #[error("no fault named `{0}` is switched on")]
    NotFound(String),
    /// The profile is not switched on.
    #[error("the profile `{0}` is not switched on")]
    ProfileNotFound(String),
    /// [`Store::halt`] was called.
    #[error("faults are halted; resume first")]
    Halted,
    /// Over the cap.
    #[error("a time to live of {} is too long; at most {}", humantime::format_duration(*.0), humantime::format_duration(MAX_TTL))]
    TtlTooLong(Duration),
    /// It would end at once.
    #[error("a time to live of zero would switch nothing on")]
    TtlZero,
    /// Over [`MAX_FAULTS`].
    #[error("at most {MAX_FAULTS} faults can be switched on at a time")]
    TooMany,
}

/// A fault as it is shown: durations are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Fault")]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The profile it came with.
    pub profile: Option<String>,
    /// Whether its schedule has it in force now.
    pub in_force: bool,
    /// Time since it was switched on.
    pub age_ms: u64,
    /// Time until it ends.
    pub left_ms: u64,
    /// Time from being switched on to its end.
    #[serde(default)]
    pub ttl_ms: u64,
    /// Exchanges (for `refuse`: connections) that matched while it was in force.
    pub matched: u64,
    /// Those that it acted on.
    pub injected: u64,
    /// Those that it would have acted on if the state of the session had allowed it.
    pub skipped: u64,
    /// The same by reason: those that occurred. The reasons are those of the events and of the ledger.
    #[serde(default)]
    pub skipped_by_reason: BTreeMap<String, u64>,
    /// The seed of its draws, and the name under which it draws.
    #[serde(default)]
    pub seed: u64,
    /// See `seed`.
    #[serde(default)]
    pub draws_as: String,
    /// Exchanges that its gates `after` and `every` have counted.
    #[serde(default)]
    pub offered: u64,
    /// Hits that its gate `first` has counted.
    #[serde(default)]
    pub hits: u64,
    /// Where a session was asked about, and all that it asks gets one answer (`scope = "session"`, with a gate that counts): that
    /// answer, once it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<bool>,
    /// As it was written.
    pub fault: FaultSpec,
}

impl Store {
    /// An empty store. Faults that bring no seed draw from this one.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Switches a fault on and answers its name: its own, or the first of `latency-1`, `latency-2`, ... that is free. Its time
    /// to live is `ttl`, else its own, else [`DEFAULT_TTL`].
    ///
    /// # Errors
    /// The name is taken, the time to live is zero or too long, there are too many, or everything is halted.
    pub fn add(
        &mut self,
        fault: Fault,
        ttl: Option<Duration>,
        source: Source,
        now: Instant,
    ) -> Result<Arc<str>, StoreError> {
        self.check_open(1)?;
        let name = name(&fault, 1, &self.names(|_| true))?;
        let enabling = Enabling {
            source,
            ttl: self.ttl(ttl, &fault),
            seed: fault.spec().seed.unwrap_or(self.seed),
            now,
        };
        let active = enabling.activate(fault, Arc::clone(&name), &name)?;
        self.active.push(active);
        Ok(name)
    }

    /// How long a fault stays on where nobody says: what an operator allows may be less than [`DEFAULT_TTL`].
    pub fn set_default_ttl(&mut self, ttl: Option<Duration>) {
        self.default_ttl = ttl;
    }

    fn ttl(&self, given: Option<Duration>, fault: &Fault) -> Option<Duration> {
        given.or(fault.spec().ttl).or(self.default_ttl)
    }

    /// Switches one fault off.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        let at = self.active.iter().position(|f| &**f.name() == name);
        let at = at.ok_or_else(|| StoreError::NotFound(name.into()))?;
        self.active.remove(at);
        Ok(())
    }

    /// Puts another fault in the place of one that is on: the same name and source, the same place in the order. It begins anew,
    /// and draws as before, so that a changed probability moves only the sessions between the two.
    ///
    /// # Errors
    /// There is none of that name; otherwise as [`Store::add`].
    pub fn replace(
        &mut self,
        name: &str,
        fault: Fault,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<(), StoreError> {
        self.check_open(0)?;
        let at = self.active.iter().position(|f| &**f.name() == name);
        let at = at.ok_or_else(|| StoreError::NotFound(name.into()))?;
        let old = &self.active[at];
        let name = Arc::clone(old.name());
        let enabling = Enabling {
            source: old.source().clone(),
            ttl: self.ttl(ttl, &fault),
            seed: fault.spec().seed.unwrap_or(old.seed().0),
            now,
        };
        let drawn_as = Arc::clone(&old.seed().1);
        self.active[at] = enabling.activate(fault, name, &drawn_as)?;
        Ok(())
    }

    /// Switches a profile on, all of it or nothing, and answers the names of its faults. If it was on already, it begins anew.
    /// A fault without a name is called by its action and its place in the profile. The time to live of each is `ttl`, else its
    /// own, else [`DEFAULT_TTL`]; it draws from `seed`, else from its own seed, else from that of the store.
    ///
    /// # Errors
    /// A name is taken by a fault outside this profile or twice inside it; otherwise as [`Store::add`].
    pub fn enable_profile(
        &mut self,
        profile: &str,
        faults: Vec<Fault>,
        ttl: Option<Duration>,
        seed: Option<u64>,
        now: Instant,
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let source = Source::Profile(profile.into());
        let replaced = self.active.iter().filter(|f| *f.source() == source).count();
        self.check_open(faults.len().saturating_sub(replaced))?;
        let names = names(&faults, self.names(|f| *f.source() != source))?;
        let mut fresh = Vec::with_capacity(faults.len());
        for ((place, fault), name) in (1..).zip(faults).zip(&names) {
            let enabling = Enabling {
                source: source.clone(),
                ttl: self.ttl(ttl, &fault),
                seed: seed.or(fault.spec().seed).unwrap_or(self.seed),
                now,
            };
            // Its draws depend on its place in the profile, not on which names happened to be free.
            let own = fault
                .name()
                .map_or_else(|| generated(&fault, place), str::to_owned);
            fresh.push(enabling.activate(fault, Arc::clone(name), &own)?);
        }
        self.active.retain(|f| *f.source() != source);
        self.active.append(&mut fresh);
        Ok(names)
    }

    /// Switches off what is left of a profile and answers the names of its faults.
    ///
    /// # Errors
    /// Nothing of it is switched on.
    pub fn disable_profile(&mut self, profile: &str) -> Result<Vec<Arc<str>>, StoreError> {
        let source = Source::Profile(profile.into());
        let names = self.take(|fault| *fault.source() == source);
        if names.is_empty() {
            return Err(StoreError::ProfileNotFound(profile.into()));
        }
        Ok(names)
    }

    /// Everything that is switched on, in order.
    pub fn list(&self, now: Instant) -> Vec<Listed> {
        self.active.iter().map(|f| listed(f, now)).collect()
    }

    /// One fault.
    pub fn get(&self, name: &str, now: Instant) -> Option<Listed> {
        let mut all = self.active.iter();
        all.find(|f| &**f.name() == name).map(|f| listed(f, now))
    }

    /// As [`Self::get`], with what its gates said to this session of a proxy.
    pub fn get_for(
        &self,
        name: &str,
        (proxy, session): (&str, u64),
        now: Instant,
    ) -> Option<Listed> {
        let mut all = self.active.iter();
        let active = all.find(|f| &**f.name() == name)?;
        Some(Listed {
            answer: active.answer(proxy, session),
            ..listed(active, now)
        })
    }

    /// Names of the profiles of which something is switched on, in order.
    pub fn profiles(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for active in &self.active {
            if let Source::Profile(name) = active.source()
                && !names.contains(name)
            {
                names.push(Arc::clone(name));
            }
        }
        names
    }

    /// Switches off what is over, and answers its names.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        self.take(|fault| now >= fault.expires())
    }

    /// When something is over next.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.active.iter().map(|f| f.expires()).min()
    }

    /// Switches everything off, answers its names, and keeps everything off until [`Store::resume`].
    pub fn halt(&mut self) -> Vec<Arc<str>> {
        self.halted = true;
        self.take(|_| true)
    }

    /// Allows faults again. None comes back by itself.
    pub fn resume(&mut self) {
        self.halted = false;
    }

    /// Whether everything is kept off.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The plan of a proxy. Counts of gates live on from one plan to the next.
    pub fn plan_for(&self, proxy: &str, catalog: &Catalog, now: Instant) -> Arc<Plan> {
        let alive = self.active.iter().filter(|f| now < f.expires());
        Arc::new(Plan::new(proxy, catalog, alive))
    }

    fn check_open(&self, more: usize) -> Result<(), StoreError> {
        if self.halted {
            return Err(StoreError::Halted);
        }
        if self.active.len().saturating_add(more) > MAX_FAULTS {
            return Err(StoreError::TooMany);
        }
        Ok(())
    }

    fn names(&self, of: impl Fn(&ActiveFault) -> bool) -> HashSet<Arc<str>> {
        let active = self.active.iter().filter(|f| of(f));
        active.map(|f| Arc::clone(f.name())).collect()
    }

    fn take(&mut self, gone: impl Fn(&ActiveFault) -> bool) -> Vec<Arc<str>> {
        self.active
            .extract_if(.., |fault| gone(fault))
            .map(|fault| Arc::clone(fault.name()))
            .collect()
    }
}

/// How a fault is being switched on.
struct Enabling {
    source: Source,
    ttl: Option<Duration>,
    seed: u64,
    now: Instant,
}

impl Enabling {
    /// `drawn_as` is the name under which it draws.
    fn activate(
        self,
        fault: Fault,
        name: Arc<str>,
        drawn_as: &str,
    ) -> Result<Arc<ActiveFault>, StoreError> {
        let ttl = self.ttl.or(fault.spec().ttl).unwrap_or(DEFAULT_TTL);
        if ttl.is_zero() {
            return Err(StoreError::TtlZero);
        }
        let expires = self.now.checked_add(ttl).filter(|_| ttl <= MAX_TTL);
        let expires = expires.ok_or(StoreError::TtlTooLong(ttl))?;
        let seed = (self.seed, drawn_as.into());
        let active = ActiveFault::new(name, self.source, fault, self.now, expires, seed);
        Ok(Arc::new(active))
    }
}

/// The names of a profile's faults. Names that were given are kept before names are made.
fn names(faults: &[Fault], mut taken: HashSet<Arc<str>>) -> Result<Vec<Arc<str>>, StoreError> {
    for fault in faults.iter().filter(|fault| fault.name().is_some()) {
        taken.insert(name(fault, 1, &taken)?);
    }
    let mut names = Vec::with_capacity(faults.len());
    for (place, fault) in (1..).zip(faults) {
        let name = match fault.name() {
            Some(given) => given.into(),
            None => name(fault, place, &taken)?,
        };
        taken.insert(Arc::clone(&name));
        names.push(name);
    }
    Ok(names)
}

/// The name that was given, if it is free; else the first free one that can be made from `number` up.
fn name(fault: &Fault, number: usize, taken: &HashSet<Arc<str>>) -> Result<Arc<str>, StoreError> {
    if let Some(name) = fault.name() {
        return match taken.get(name) {
            Some(taken) => Err(StoreError::NameTaken(Arc::clone(taken))),
            None => Ok(name.into()),
        };
    }
    // One more than there are taken ones: one of them is free.
    (number..=number.saturating_add(taken.len()))
        .map(|number| Arc::from(generated(fault, number)))
        .find(|name: &Arc<str>| !taken.contains(name))
        .ok_or(StoreError::TooMany)
}

fn generated(fault: &Fault, number: usize) -> String {
    format!("{}-{number}", fault.spec().action.name())
}

fn listed(active: &ActiveFault, now: Instant) -> Listed {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let profile = match active.source() {
        Source::AdHoc => None,
        Source::Profile(name) => Some(name.to_string()),
    };
    let tally = active.tally();
    // In this order: counts only grow, and what is injected has matched.
    let injected = tally.injected();
    let skipped_by_reason = tally.skips_by_reason();
    Listed {
        name: active.name().to_string(),
        profile,
        in_force: active.state(now) != State::Off,
        age_ms: millis(active.elapsed(now)),
        left_ms: millis(active.expires().saturating_duration_since(now)),
        // `now` cancels out.
        ttl_ms: millis(active.elapsed(now) + active.expires().saturating_duration_since(now)),
        injected,
        skipped: skipped_by_reason.values().sum(),
        skipped_by_reason,
        matched: tally.matches(),
        seed: active.seed().0,
        draws_as: active.seed().1.to_string(),
        offered: active.counts().offered(),
        hits: active.counts().hits(),
        answer: None,
        fault: (**active.fault().spec()).clone(),
    }
}

#[cfg(test)]
mod tests;
