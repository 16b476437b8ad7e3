//! How long a socket that can be read waits before its worker reads it: the proxy's own queue, which no latency shows.
//!
//! Each worker has a timer of its own, which becomes readable like any socket; how late it is seen is how late a request would
//! have been. That counts what other sessions of the worker take and what the kernel gives to other processes. It is looked for
//! 50 times a second while the worker has sessions, which costs less than a thousandth of a core.

use super::clock;
use super::timer::Alarm;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How often it is looked for, in nanoseconds.
const EVERY: u64 = 20_000_000;

/// How often a worker without sessions looks whether it has one.
const REST: u64 = 200_000_000;

/// Looks kept: those of the last ten seconds.
const KEPT: usize = 500;

/// How far back they may lie, in nanoseconds.
const RECENT: u64 = 10_000_000_000;

/// The latest looks of one worker.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// When it was due and how late it was seen, in nanoseconds.
    looks: Mutex<VecDeque<(u64, u64)>>,
}

impl Lag {
    /// A look that was due at `due` was had at `now`. Those that were due in between would have been as late: they count too,
    /// since whoever came then waited.
    fn seen(&self, due: u64, now: u64) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = now.saturating_sub(due) / EVERY;
        for missed in missed.saturating_sub(KEPT as u64)..=missed {
            let due = due + missed * EVERY;
            if looks.len() == KEPT {
                looks.pop_front();
            }
            looks.push_back((due, now.saturating_sub(due)));
        }
    }

    /// The longest of the waits that ended after `since`, of those kept, in nanoseconds. `None`: nobody looked.
    pub(crate) fn longest_since(&self, since: u64) -> Option<u64> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = looks.iter().filter(|(due, late)| due + late > since);
        ended.map(|&(_, late)| late).max()
    }

    /// The waits of the last ten seconds before `now`, in nanoseconds.
    pub(crate) fn recent(&self, now: u64) -> Vec<u64> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = looks.iter().filter(|(due, _)| due + RECENT >= now);
        recent.map(|&(_, late)| late).collect()
    }
}

/// Looks for ever, as long as there are `sessions`.
pub(crate) async fn watch(alarm: Alarm, lag: Arc<Lag>, sessions: Arc<AtomicUsize>) {
    loop {
        let idle = sessions.load(Ordering::Relaxed) == 0;
        let wait = if idle { REST } else { EVERY };
        let due = clock::now() + wait;
        alarm.set(wait);
        if alarm.rings().await.is_err() {
            return;
        }
        if !idle {
            lag.seen(due, clock::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_that_of_the_time_asked_for() {
        let lag = Lag::default();
        assert_eq!(lag.longest_since(0), None);
        lag.seen(100, 105);
        lag.seen(200, 201);
        assert_eq!(lag.longest_since(0), Some(5));
        assert_eq!(lag.longest_since(105), Some(1));
        assert_eq!(lag.longest_since(201), None);
    }

    #[test]
    fn a_long_wait_counts_for_all_who_came_in_it() {
        let lag = Lag::default();
        lag.seen(1_000, 1_500);
        assert_eq!(lag.recent(2_000), [500]);
        lag.seen(EVERY, 4 * EVERY + 1);
        let waits = [500, 3 * EVERY + 1, 2 * EVERY + 1, EVERY + 1, 1];
        assert_eq!(lag.recent(4 * EVERY), waits);
        assert_eq!(lag.recent(RECENT + 3 * EVERY), [EVERY + 1, 1]);
        assert!(lag.recent(RECENT * 2).is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let lag = Lag::default();
        let now = 10 * RECENT;
        lag.seen(1, now);
        let waits = lag.recent(now);
        assert_eq!(waits.len(), KEPT);
        assert!(waits.iter().all(|&wait| wait < RECENT));
        lag.seen(now, now);
        assert_eq!(lag.recent(now).len(), KEPT);
    }

    #[tokio::test]
    async fn a_worker_that_is_kept_busy_lags() {
        let lag = Arc::new(Lag::default());
        let sessions = Arc::new(AtomicUsize::new(1));
        let alarm = Alarm::new().unwrap();
        let watch = tokio::spawn(watch(alarm, Arc::clone(&lag), sessions));
        let busy = 10 * EVERY;
        while lag.recent(clock::now()).iter().max() < Some(&(busy / 2)) {
            tokio::time::sleep(std::time::Duration::from_nanos(2 * EVERY)).await;
            std::thread::sleep(std::time::Duration::from_nanos(busy));
        }
        watch.abort();
    }
}
