//! What happens, as a stream for whoever listens: dashboards, tests, reports. Nobody listening costs one atomic load.

use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::broadcast;

/// Events kept for a listener that is slow; one that falls further behind is told how many it missed.
const CAPACITY: usize = 4096;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A session was accepted.
    SessionOpened {
        /// Its proxy.
        proxy: Arc<str>,
        /// Its ordinal there.
        session: u64,
    },
    /// A session ended.
    SessionClosed {
        /// Its proxy.
        proxy: Arc<str>,
        /// Its ordinal there.
        session: u64,
        /// How: `fin`, `client_reset`, `upstream_reset`, `fault`, `connect_failed`, `closed`.
        how: &'static str,
    },
    /// The upstream could not be reached for a session.
    ConnectFailed {
        /// Its proxy.
        proxy: Arc<str>,
        /// Its ordinal there.
        session: u64,
        /// Why.
        reason: &'static str,
    },
    /// The decoder gave up on a session.
    TapLost {
        /// Its proxy.
        proxy: Arc<str>,
        /// Its ordinal there.
        session: u64,
        /// Why.
        reason: &'static str,
    },
    /// A fault touched an exchange.
    Injected {
        /// Its proxy.
        proxy: Arc<str>,
        /// Ordinal of the session.
        session: u64,
        /// Ordinal of the exchange in the session.
        exchange: u64,
        /// What was asked.
        operation: String,
        /// The faults, in their order.
        faults: Vec<Arc<str>>,
    },
    /// A fault touched something of a session that is no exchange.
    InjectedAside {
        /// Its proxy.
        proxy: Arc<str>,
        /// Ordinal of the session.
        session: u64,
        /// What: `push` (a published message), `close` (the end of the connection).
        what: &'static str,
        /// The faults, in their order.
        faults: Vec<Arc<str>>,
    },
    /// A fault turned a connection away.
    Refused {
        /// Its proxy.
        proxy: Arc<str>,
        /// The ordinal that its session would have had, or has, where it is kept unanswered.
        session: u64,
        /// The fault.
        fault: Arc<str>,
    },
    /// A fault matched an exchange, but cannot be applied in its protocol state.
    Skipped {
        /// Its proxy.
        proxy: Arc<str>,
        /// Ordinal of the session.
        session: u64,
        /// Ordinal of the exchange in the session.
        exchange: u64,
        /// Why not.
        reason: &'static str,
    },
    /// A fault was switched on.
    FaultEnabled {
        /// Its name.
        fault: Arc<str>,
        /// The profile it came with.
        profile: Option<Arc<str>>,
    },
    /// A fault is off.
    FaultDisabled {
        /// Its name.
        fault: Arc<str>,
        /// `removed`, `expired`, `halted`.
        why: &'static str,
    },
    /// Everything was switched off, and nothing can be switched on until resumed.
    Halted,
    /// Faults can be switched on again.
    Resumed,
    /// A proxy came, changed or went.
    Proxy {
        /// Its name.
        proxy: Arc<str>,
        /// `added`, `changed`, `removed`, `listening`, `closed`, `full` (it accepts nobody).
        change: &'static str,
    },
    /// A reload was refused, and the old configuration stays in force.
    ReloadFailed {
        /// The first problem.
        problem: String,
    },
    /// A reload was carried out.
    Reloaded,
}

/// An event with its number and time.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// Counts up from 1 in this process.
    pub id: u64,
    /// Microseconds since the Unix epoch.
    pub time_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Where events go.
#[derive(Debug)]
pub struct EventBus {
    sender: broadcast::Sender<Arc<Stamped>>,
    next: AtomicU64,
}

impl Default for EventBus {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            next: AtomicU64::new(1),
        }
    }
}

impl EventBus {
    /// Everything from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Stamped>> {
        self.sender.subscribe()
    }

    /// Tells the listeners. The event is made only when there are any.
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        let time_us = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_micros() as u64);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // Fails only when the last listener has just gone.
        let _ = self.sender.send(Arc::new(Stamped {
            id,
            time_us,
            event: event(),
        }));
    }
}
