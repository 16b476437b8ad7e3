//! What belongs to one worker and is used by all its sessions: scratch buffer, measurements, timers.
//!
//! It lives in a thread-local, so that sessions reach it without locks and their tasks stay plain. A session borrows it for one
//! poll; nothing inside a poll borrows it again.

use super::clock;
use super::timer::Timers;
use crate::measure::Shard;
use crate::protocol::Located;
use slab::Slab;
use std::cell::RefCell;
use std::io;
use std::task::Waker;

/// One read takes at most this much, and so much is kept for a reader that stalls: with the rest of a session less than 64 KiB.
/// Larger gains nothing on loopback, and would not fit beside the rest in a core's cache.
pub(crate) const SCRATCH: usize = 56 * 1024;

/// Buffers for bytes that a socket did not take, kept for re-use.
const SPARE_BUFFERS: usize = 32;

/// What belongs to one worker.
pub(crate) struct Local {
    pub(crate) scratch: Box<[u8]>,
    pub(crate) events: Vec<Located>,
    pub(crate) shard: Shard,
    pub(crate) timers: Timers,
    /// The tasks of the sessions that live here.
    sessions: Slab<Option<Waker>>,
    spare: Vec<Vec<u8>>,
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

impl Local {
    /// Makes the calling thread a worker's.
    pub(crate) fn install(shard: Shard) -> io::Result<()> {
        let local = Self {
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            events: Vec::with_capacity(256),
            shard,
            timers: Timers::new()?,
            sessions: Slab::new(),
            spare: Vec::new(),
        };
        LOCAL.with_borrow_mut(|slot| *slot = Some(local));
        Ok(())
    }

    /// Runs `f` with the worker's local state.
    #[inline]
    pub(crate) fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        LOCAL.with_borrow_mut(|slot| {
            let local = slot
                .as_mut()
                .expect("sessions run on worker threads, which call install first");
            if local.scratch.is_empty() {
                // A session panicked while it had the buffer.
                local.scratch = vec![0; SCRATCH].into_boxed_slice();
            }
            f(local)
        })
    }

    /// A place for a session, to be woken by.
    pub(crate) fn enter(&mut self) -> usize {
        self.sessions.insert(None)
    }

    /// Gives the place back.
    pub(crate) fn leave(&mut self, slot: usize) {
        self.sessions.try_remove(slot);
    }

    /// Sets whom to wake for a slot. A task keeps its waker for life, so this costs something once.
    #[inline]
    pub(crate) fn set_waker(&mut self, slot: usize, waker: &Waker) {
        if let Some(place) = self.sessions.get_mut(slot) {
            match place {
                Some(w) if w.will_wake(waker) => {}
                _ => *place = Some(waker.clone()),
            }
        }
    }

    /// Wakes every session: a plan changed, a proxy goes, a drain begins.
    pub(crate) fn wake_all(&mut self) {
        for (_, waker) in &self.sessions {
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Wakes the sessions whose deadline has come, and sets the alarm for the next.
    pub(crate) fn wake_due(&mut self) {
        let now = clock::now();
        while let Some(slot) = self.timers.pop_due(now) {
            if let Some(Some(waker)) = self.sessions.get(slot) {
                waker.wake_by_ref();
            }
        }
    }

    /// An empty buffer.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() != 0
            && buffer.capacity() <= 2 * SCRATCH
            && self.spare.len() < SPARE_BUFFERS
        {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
