//! Requests that may be asked again: what faults touched, until it was answered after all, the same client has asked the same
//! again, or nobody has for a minute. It costs nothing while there are none.

use crate::measure::ledger::Numbering;
use crate::protocol::Operation;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A request that is asked again later than this is a new one (nanoseconds).
const WINDOW: u64 = 60_000_000_000;

/// Requests of one proxy whose retry is looked out for at once.
const WATCHED: usize = 16_384;

/// How often those that are too old are looked for (nanoseconds).
const SWEEP: u64 = 1_000_000_000;

/// What a request is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    pub(crate) fingerprint: u64,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) session: u64,
    pub(crate) peer: Option<IpAddr>,
    /// Hash of the name that the session gave itself.
    pub(crate) name: u64,
}

/// A request whose retry is looked out for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    /// Its entry in the ledger.
    pub(crate) entry: u64,
    asker: Asker,
    exchange: u64,
    /// Sessions from this ordinal on were made later than it.
    later: u64,
    /// When it was asked.
    pub(crate) at: u64,
}

impl Watched {
    /// Whether this one, by this client, is it again: on the same session, or after a reconnect.
    fn is_asked_again(&self, by: Asker, exchange: u64) -> bool {
        if by.session == self.asker.session {
            exchange > self.exchange
        } else {
            by.session >= self.later && by.peer == self.asker.peer && by.name == self.asker.name
        }
    }
}

/// Requests of one proxy that may be asked again.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    /// How many there are: the one load that exchanges cost which no fault touches.
    waiting: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    requests: HashMap<Asked, VecDeque<Watched>>,
    /// Their entries, oldest first.
    entries: BTreeMap<u64, Asked>,
    swept: u64,
}

impl Retries {
    /// Whether there is anything to look out for.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is whole between any two statements that change it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, table: &Table) {
        self.waiting.store(table.entries.len(), Ordering::Relaxed);
    }

    /// Looks out for the retry of a request whose entry is `entry`; sessions from the ordinal `later` on are later than it.
    pub(crate) fn watch(
        &self,
        asked: Asked,
        (entry, exchange): (u64, u64),
        asker: Asker,
        later: u64,
        now: u64,
        numbering: &Numbering,
    ) {
        let mut table = self.table();
        if table.entries.len() >= WATCHED {
            table.sweep(now);
        }
        if table.entries.len() >= WATCHED {
            numbering.unwatch();
            return;
        }
        table.entries.insert(entry, asked);
        table.requests.entry(asked).or_default().push_back(Watched {
            entry,
            asker,
            exchange,
            later,
            at: now,
        });
        self.note(&table);
    }

    /// The client has its answer: what it asks later is new.
    pub(crate) fn forget(&self, entry: u64) {
        let mut table = self.table();
        if let Some(asked) = table.entries.remove(&entry) {
            table.retain(asked, |w| w.entry != entry);
        }
        self.note(&table);
    }

    /// The oldest request that this one is the retry of. It is not looked out for any more.
    pub(crate) fn take(
        &self,
        asked: Asked,
        asker: Asker,
        exchange: u64,
        now: u64,
    ) -> Option<Watched> {
        let mut table = self.table();
        if now.saturating_sub(table.swept) >= SWEEP {
            table.sweep(now);
        }
        let same = table.requests.get(&asked);
        let found = same.and_then(|all| all.iter().find(|w| w.is_asked_again(asker, exchange)));
        let found = found.copied();
        if let Some(found) = found {
            table.entries.remove(&found.entry);
            table.retain(asked, |w| w.entry != found.entry);
        }
        self.note(&table);
        found
    }
}

impl Table {
    fn retain(&mut self, asked: Asked, keep: impl Fn(&Watched) -> bool) {
        if let Some(all) = self.requests.get_mut(&asked) {
            all.retain(keep);
            if all.is_empty() {
                self.requests.remove(&asked);
            }
        }
    }

    /// Lets those go whose time is over.
    fn sweep(&mut self, now: u64) {
        self.swept = now;
        let entries = &mut self.entries;
        self.requests.retain(|_, all| {
            all.retain(|w| {
                let keep = now.saturating_sub(w.at) < WINDOW;
                if !keep {
                    entries.remove(&w.entry);
                }
                keep
            });
            !all.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const INCR: Asked = Asked {
        operation: Operation(1),
        fingerprint: 7,
    };

    fn asker(session: u64) -> Asker {
        Asker {
            session,
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            name: 1,
        }
    }

    fn watching(entries: &[(u64, u64)]) -> Retries {
        let retries = Retries::default();
        for (entry, exchange) in entries {
            let numbering = Numbering::default();
            retries.watch(INCR, (*entry, *exchange), asker(3), 5, 0, &numbering);
        }
        retries
    }

    #[test]
    fn the_same_client_is_the_same_session_or_a_later_one_from_there() {
        for (session, exchange, again) in [
            (3, 1, false),
            (3, 2, false),
            (3, 3, true),
            // Open already when the fault acted: another thread of the same service.
            (4, 9, false),
            (5, 0, true),
        ] {
            let retries = watching(&[(1, 2)]);
            let found = retries.take(INCR, asker(session), exchange, 1);
            assert_eq!(found.is_some(), again, "{session} {exchange}");
            assert_eq!(retries.is_waiting(), !again);
        }
        let elsewhere = Asker {
            session: 6,
            peer: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            name: 1,
        };
        let renamed = Asker {
            name: 2,
            ..asker(6)
        };
        for other in [elsewhere, renamed] {
            assert!(watching(&[(1, 2)]).take(INCR, other, 0, 1).is_none());
        }
        let other = Asked {
            fingerprint: 8,
            ..INCR
        };
        assert!(watching(&[(1, 2)]).take(other, asker(5), 0, 1).is_none());
    }

    #[test]
    fn each_is_found_once_and_the_oldest_first() {
        let retries = watching(&[(1, 2), (2, 4)]);
        let take = |exchange| retries.take(INCR, asker(3), exchange, 1).map(|w| w.entry);
        assert_eq!(
            [take(3), take(3), take(5), take(6)],
            [Some(1), None, Some(2), None]
        );
        assert!(!retries.is_waiting());
        let retries = watching(&[(1, 2)]);
        retries.forget(1);
        retries.forget(1);
        assert!(!retries.is_waiting() && retries.take(INCR, asker(3), 3, 1).is_none());
    }

    #[test]
    fn they_are_bounded_in_number_and_in_time() {
        let numbering = Numbering::default();
        let retries = Retries::default();
        let watch = |n: usize, now| {
            let asked = Asked {
                operation: Operation(1),
                fingerprint: n as u64 % 9,
            };
            retries.watch(asked, (n as u64, 0), asker(3), 5, now, &numbering);
        };
        for n in 0..WATCHED + 10 {
            watch(n, 1);
        }
        assert_eq!(retries.table().entries.len(), WATCHED);
        assert_eq!(numbering.unwatched(), 10);
        // A minute later there is room again.
        watch(WATCHED + 10, WINDOW + 1);
        assert_eq!(retries.table().entries.len(), 1);
        assert_eq!(retries.table().requests.len(), 1);
        assert_eq!(numbering.unwatched(), 10);
        assert!(retries.take(INCR, asker(9), 0, 3 * WINDOW).is_none());
        assert!(!retries.is_waiting());
    }
}
