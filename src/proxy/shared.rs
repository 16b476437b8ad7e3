//! What the sessions of one proxy share, and what all proxies share.

use super::clock;
use super::event::{Event, EventBus};
use super::owners;
use super::retries::Retries;
use super::upstream::Upstream;
use crate::config::{Listen, ProxyConfig};
use crate::fault::Plan;
use crate::measure::ledger::Numbering;
use crate::measure::trace::{Raw, Roll};
use crate::measure::{Gauges, ProxyId};
use crate::protocol::{Catalog, Protocol};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Bytes that faults may hold in all sessions together.
pub(crate) const HELD_TOTAL: usize = 256 << 20;

/// What all proxies of the process share.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// Where we listen ourselves: never an upstream.
    pub(crate) own: ArcSwap<Vec<Listen>>,
    /// Bytes held for faults now.
    pub(crate) held: AtomicUsize,
    /// Sessions open now, of all proxies.
    pub(crate) sessions: AtomicUsize,
    /// What happens, for whoever listens.
    pub(crate) events: EventBus,
    /// Numbers the entries of the ledger.
    pub(crate) ledger: Numbering,
    /// Whether sessions that begin are recorded.
    recording: AtomicBool,
    /// What is recorded outside the workers.
    aside: Mutex<Roll>,
    /// Connections whose owner is looked for, while somebody records.
    pub(crate) newcomers: owners::Waiting,
}

impl Process {
    /// Nothing runs yet.
    pub(crate) fn new(ledger: Numbering) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    /// Whether sessions that begin now are recorded.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    /// Begins or ends a recording.
    pub(crate) fn record(&self, on: bool) {
        self.aside().switch(on);
        self.recording.store(on, Ordering::Release);
    }

    /// What is recorded outside the workers.
    pub(crate) fn aside(&self) -> MutexGuard<'_, Roll> {
        // Whole between any two statements that change it.
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what happened outside the workers.
    pub(crate) fn note(&self, record: impl FnOnce(u64) -> Raw) {
        if self.is_recording() {
            let raw = record(clock::now());
            self.aside().write(ProxyId(0), || raw);
        }
    }
}

/// What the sessions of one proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ProxyId,
    pub(crate) name: Arc<str>,
    pub(crate) catalog: Catalog,
    pub(crate) upstream: Upstream,
    pub(crate) connect_timeout: Duration,
    pub(crate) user_timeout: Option<Duration>,
    /// Whether a session that the decoder cannot follow is cut instead of passed on.
    pub(crate) cut_on_desync: bool,
    pub(crate) process: Arc<Process>,
    pub(crate) levels: Arc<Levels>,
    /// Which session has which Postgres backend, while somebody records.
    pub(crate) backends: Backends,
    /// Published messages on their way to subscribers of this proxy.
    pub(crate) deliveries: crate::measure::delivery::Published,
    plan: ArcSwap<Plan>,
    /// 0 while the plan is empty; else a number that changes with it. The one load that an idle fault plane costs.
    generation: AtomicU64,
    plans: AtomicU64,
    next_session: AtomicU64,
    /// Sessions open that no fault turned away.
    pub(crate) served: AtomicU32,
    /// What faults touched and may be asked again.
    pub(crate) retries: Retries,
    /// When it was last said that the upstream is not reached, of [`clock`]; 0: never.
    unreached: AtomicU64,
    /// What the server said of its version, the first time that it did.
    pub(crate) server: OnceLock<Box<str>>,
}

/// How often it is said at most that an upstream is not reached, in nanoseconds: once a minute.
const SAID_AGAIN: u64 = 60_000_000_000;

/// The generation that ends every session of a proxy.
pub(crate) const CLOSING: u64 = u64::MAX;

impl Shared {
    pub(crate) fn new(
        id: ProxyId,
        config: &ProxyConfig,
        catalog: Catalog,
        upstream: Upstream,
        user_timeout: Option<Duration>,
        cut_on_desync: bool,
        process: Arc<Process>,
    ) -> Self {
        Self {
            id,
            name: config.name.as_str().into(),
            catalog,
            upstream,
            connect_timeout: config.connect_timeout,
            user_timeout,
            cut_on_desync,
            process,
            levels: Arc::default(),
            backends: Backends::default(),
            deliveries: crate::measure::delivery::Published::default(),
            plan: ArcSwap::default(),
            generation: AtomicU64::new(0),
            plans: AtomicU64::new(0),
            next_session: AtomicU64::new(0),
            served: AtomicU32::new(0),
            retries: Retries::default(),
            unreached: AtomicU64::new(0),
            server: OnceLock::new(),
        }
    }

    /// Whether to say at `now` that the upstream is not reached: not for each of many sessions.
    pub(crate) fn says_unreached(&self, now: u64) -> bool {
        let said = self.unreached.load(Ordering::Relaxed);
        let due = said == 0 || now.saturating_sub(said) >= SAID_AGAIN;
        let swap = |to| {
            self.unreached
                .compare_exchange(said, to, Ordering::Relaxed, Ordering::Relaxed)
        };
        due && swap(now.max(1)).is_ok()
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.catalog.protocol()
    }

    /// 0: no fault is loaded for this proxy.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// Puts another plan in force. The sessions must be woken afterwards: those that hold bytes look only then.
    pub(crate) fn set_plan(&self, plan: Arc<Plan>) {
        let empty = plan.is_empty();
        self.plan.store(plan);
        let number = self.plans.fetch_add(1, Ordering::Relaxed) + 1;
        let next = if empty { 0 } else { number };
        // A proxy that is closing stays so.
        let _ = self
            .generation
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now != CLOSING).then_some(next)
            });
    }

    /// The ordinal of the next session.
    pub(crate) fn number_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// The ordinal that the next session will have.
    pub(crate) fn sessions_so_far(&self) -> u64 {
        self.next_session.load(Ordering::Relaxed)
    }

    /// Goes on where another left off: with its numbers of sessions, and its levels, which only rise or fall by what happens.
    pub(crate) fn go_on_from(&mut self, before: &Self) {
        let next = before.next_session.load(Ordering::Relaxed);
        self.next_session.store(next, Ordering::Relaxed);
        self.levels = Arc::clone(&before.levels);
    }

    /// Ends the sessions of this proxy at their next look.
    pub(crate) fn close(&self) {
        self.generation.store(CLOSING, Ordering::Release);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.generation() == CLOSING
    }

    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        self.process.events.emit(event);
    }
}

/// Backends that are remembered at once; beyond that a cancel request names no session.
const MAX_BACKENDS: usize = 65_536;

/// Postgres backends by what a cancel request names: process id and the hash of a key.
#[derive(Debug, Default)]
pub(crate) struct Backends(Mutex<HashMap<(u32, u64), u64>>);

impl Backends {
    fn table(&self) -> MutexGuard<'_, HashMap<(u32, u64), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has this backend.
    pub(crate) fn insert(&self, backend: (u32, u64), session: u64) {
        let mut table = self.table();
        if table.len() < MAX_BACKENDS {
            table.insert(backend, session);
        }
    }

    /// The session of a backend.
    pub(crate) fn get(&self, backend: (u32, u64)) -> Option<u64> {
        self.table().get(&backend).copied()
    }

    /// A session has ended.
    pub(crate) fn forget(&self, session: u64) {
        self.table().retain(|_, of| *of != session);
    }
}

/// Levels of a proxy, kept by its sessions.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    open: AtomicU32,
    busy: AtomicU32,
    busy_peak: AtomicU32,
    /// Finished busy time.
    busy_ns: AtomicU64,
    /// Sum of the moments at which the sessions that are busy now became so.
    busy_since: AtomicU64,
}

impl Levels {
    /// Sessions open now.
    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// A session has its first request outstanding.
    #[inline]
    pub(crate) fn busy(&self, now: u64) {
        let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
        self.busy_since.fetch_add(now, Ordering::Relaxed);
        if busy > self.busy_peak.load(Ordering::Relaxed) {
            self.busy_peak.fetch_max(busy, Ordering::Relaxed);
        }
    }

    /// Its last outstanding request is done; it was busy since `since`.
    #[inline]
    pub(crate) fn idle(&self, since: u64, now: u64) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        self.busy_since.fetch_sub(since, Ordering::Relaxed);
        self.busy_ns
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
    }

    /// The levels now; the peak begins anew.
    pub(crate) fn take(&self) -> Gauges {
        let now = clock::now();
        let busy = self.busy.load(Ordering::Relaxed);
        let running = u64::from(busy)
            .wrapping_mul(now)
            .wrapping_sub(self.busy_since.load(Ordering::Relaxed));
        // The loads above are not one moment: a session that changed between them may make the difference negative.
        let running = if running > u64::MAX / 2 { 0 } else { running };
        Gauges {
            open: self.open.load(Ordering::Relaxed),
            busy,
            busy_peak: self.busy_peak.swap(busy, Ordering::Relaxed).max(busy),
            busy_ns: self.busy_ns.load(Ordering::Relaxed).saturating_add(running),
        }
    }
}
