//! What happens, as a stream for whoever listens: dashboards, tests, reports. Nobody listening costs one atomic load.

use schemars::JsonSchema;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::broadcast;

/// Events kept for a listener that is slow; one that falls further behind is told how many it missed.
const CAPACITY: usize = 4096;

/// How long events are kept for a listener that went.
const COMING_BACK: Duration = Duration::from_secs(60);

/// Something that happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
        /// What: `push` (a published message), `close` (the end of the connection), `stream` (its bytes), `pairing` (replies can be told apart no longer,
        /// so that the session is closed).
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
        /// The faults, in their order.
        faults: Vec<Arc<str>>,
    },
    /// A fault is about something of a session that is no exchange, but cannot be applied to it.
    SkippedAside {
        /// Its proxy.
        proxy: Arc<str>,
        /// Ordinal of the session.
        session: u64,
        /// What: `push` (a published message).
        what: &'static str,
        /// Why not.
        reason: &'static str,
        /// The faults, in their order.
        faults: Vec<Arc<str>>,
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
        /// `removed`, `expired`, `halted`, `limits`.
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
        /// `added`, `changed`, `removed`, `enabled`, `disabled`, `listening`, `closed`, `full` (it accepts nobody).
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Stamped {
    /// Counts up from 1 in this process.
    pub id: u64,
    /// Microseconds since the Unix epoch.
    pub time_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a listener that comes back has missed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Nothing,
    /// So many events, which are kept no longer.
    Some(u64),
    /// It cannot be said: nobody listened meanwhile, or the number is of another run.
    Unknown,
}

/// Events that were told, for those who come back.
#[derive(Debug)]
struct Kept {
    ring: VecDeque<Arc<Stamped>>,
    /// The number of the next event.
    next: u64,
    /// The number from which on everything was told.
    whole_from: u64,
    /// When the last listener was last seen.
    heard: Instant,
}

/// Where events go.
#[derive(Debug)]
pub struct EventBus {
    sender: broadcast::Sender<Arc<Stamped>>,
    /// Whether anybody listens, or did a moment ago. The one load that an event costs where nobody does.
    heard: AtomicBool,
    kept: Mutex<Kept>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            heard: AtomicBool::new(false),
            kept: Mutex::new(Kept {
                ring: VecDeque::new(),
                next: 1,
                whole_from: 1,
                heard: Instant::now(),
            }),
        }
    }
}

impl EventBus {
    /// Everything from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Stamped>> {
        self.resume(None).2
    }

    /// Everything behind the event of this number, and from now on: what is missing, what is kept, what comes.
    pub fn resume(
        &self,
        last: Option<u64>,
    ) -> (Missed, Vec<Arc<Stamped>>, broadcast::Receiver<Arc<Stamped>>) {
        let mut kept = self.kept();
        if !self.heard.swap(true, Ordering::Relaxed) {
            // One number stands for all that nobody heard.
            kept.next += u64::from(kept.next > 1);
            kept.whole_from = kept.next;
        }
        kept.heard = Instant::now();
        let live = self.sender.subscribe();
        let Some(last) = last else {
            return (Missed::Nothing, Vec::new(), live);
        };
        let oldest = kept.ring.front().map_or(kept.next, |e| e.id);
        let missed = if last >= kept.next || last.saturating_add(1) < kept.whole_from {
            Missed::Unknown
        } else if last.saturating_add(1) < oldest {
            Missed::Some(oldest - last - 1)
        } else {
            Missed::Nothing
        };
        // A number of another run says nothing about this one.
        let behind = if last >= kept.next { 0 } else { last };
        let again = kept.ring.iter().filter(|e| e.id > behind);
        (missed, again.cloned().collect(), live)
    }

    /// Tells the listeners. The event is made only where there are any, or were a moment ago: they may come back for it.
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if !self.heard.load(Ordering::Relaxed) {
            return;
        }
        let event = event();
        let time_us = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_micros() as u64);
        // Numbered, kept and sent in one: whoever comes back meanwhile finds each event in one place.
        let mut kept = self.kept();
        let id = kept.next;
        kept.next += 1;
        let stamped = Arc::new(Stamped { id, time_us, event });
        if kept.ring.len() == CAPACITY {
            kept.ring.pop_front();
        }
        kept.ring.push_back(Arc::clone(&stamped));
        // Fails only when the last listener has just gone.
        let _ = self.sender.send(stamped);
    }

    /// Looks whether anybody still listens. To be called about once a second.
    pub(crate) fn tick(&self) {
        let mut kept = self.kept();
        if self.sender.receiver_count() > 0 {
            kept.heard = Instant::now();
        } else if self.heard.load(Ordering::Relaxed) && kept.heard.elapsed() > COMING_BACK {
            self.heard.store(false, Ordering::Relaxed);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(kept: &[Arc<Stamped>]) -> Vec<u64> {
        kept.iter().map(|e| e.id).collect()
    }

    #[test]
    fn whoever_comes_back_gets_what_was_missed() {
        let bus = EventBus::default();
        bus.emit(|| panic!("nobody listens: the event is not even made"));
        let live = bus.subscribe();
        for _ in 0..3 {
            bus.emit(|| Event::Halted);
        }
        drop(live);
        bus.emit(|| Event::Resumed);
        let (missed, kept, mut live) = bus.resume(Some(2));
        assert_eq!((missed, ids(&kept)), (Missed::Nothing, vec![3, 4]));
        bus.emit(|| Event::Halted);
        assert_eq!(live.try_recv().unwrap().id, 5);
        let (missed, kept, _) = bus.resume(Some(77));
        assert_eq!((missed, kept.len()), (Missed::Unknown, 5), "another run");
        let (missed, kept, _) = bus.resume(None);
        assert_eq!((missed, kept.len()), (Missed::Nothing, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_told() {
        let bus = EventBus::default();
        let _live = bus.subscribe();
        for _ in 0..CAPACITY + 10 {
            bus.emit(|| Event::Halted);
        }
        let (missed, kept, _) = bus.resume(Some(3));
        assert_eq!(missed, Missed::Some(7));
        assert_eq!(kept.len(), CAPACITY);
    }

    #[test]
    fn where_nobody_listened_for_long_it_is_not_known_what_was_missed() {
        let bus = EventBus::default();
        drop(bus.subscribe());
        bus.emit(|| Event::Halted);
        bus.kept().heard -= COMING_BACK * 2;
        bus.tick();
        bus.emit(|| panic!("nobody listens"));
        assert_eq!(bus.resume(Some(1)).0, Missed::Unknown);
    }
}
