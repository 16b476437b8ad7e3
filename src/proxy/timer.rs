//! Wake-ups of held bytes, to a tenth of a millisecond.
//!
//! The runtime's own timer has ticks of 1 ms and rounds up, which would make an injected delay of 5 ms late by up to a fifth. On
//! Linux each worker has one timerfd(2), armed for the earliest deadline and watched by the runtime like any socket;
//! elsewhere the runtime's timer serves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

pub(crate) use alarm::Alarm;

/// The deadlines of one worker.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Deadline and session slot, earliest first. Entries of sessions that ended wake a wrong session once, which does no harm.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// The deadline that the alarm is set for; `u64::MAX` where it is not set.
    armed: u64,
    alarm: Alarm,
}

impl Timers {
    /// Timers, and the wait for their alarm: a future for the worker's runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            heap: BinaryHeap::new(),
            armed: u64::MAX,
            alarm: Alarm::new()?,
        })
    }

    /// A second handle on the alarm, to wait on.
    pub(crate) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }

    /// Asks for a wake-up of the session in `slot` at `deadline` (nanoseconds of [`super::clock`]).
    pub(crate) fn schedule(&mut self, deadline: u64, slot: usize, now: u64) {
        self.heap.push(Reverse((deadline, slot)));
        self.arm(now);
    }

    /// Whether the alarm is set.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed != u64::MAX
    }

    /// Whether a deadline has come for which the alarm was set.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.armed <= now
    }

    /// Takes one slot whose deadline has come. `None`: no more; the alarm is set for the next.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<usize> {
        if let Some(&Reverse((deadline, slot))) = self.heap.peek()
            && deadline <= now
        {
            self.heap.pop();
            return Some(slot);
        }
        self.armed = u64::MAX;
        self.arm(now);
        None
    }

    /// The earliest deadline.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|&Reverse((deadline, _))| deadline)
    }

    fn arm(&mut self, now: u64) {
        if let Some(&Reverse((deadline, _))) = self.heap.peek()
            && deadline < self.armed
        {
            self.armed = deadline;
            #[cfg(any(test, fuzzing))]
            if super::clock::stands_still() {
                return; // whoever moves the time wakes us
            }
            self.alarm.set(deadline.saturating_sub(now).max(1));
        }
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use tokio::io::unix::AsyncFd;

    /// One timerfd, watched by the runtime.
    #[derive(Debug, Clone)]
    pub(crate) struct Alarm(Arc<AsyncFd<Arc<OwnedFd>>>);

    impl Alarm {
        pub(crate) fn new() -> io::Result<Self> {
            let fd = timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
            )?;
            Ok(Self(Arc::new(crate::sys::watch(Arc::new(fd))?)))
        }

        /// Goes off once, `ns` nanoseconds (at least 1) from now.
        pub(crate) fn set(&self, ns: u64) {
            let value = Timespec {
                tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
            };
            let zero = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let spec = Itimerspec {
                it_interval: zero,
                it_value: value,
            };
            // Fails only for a bad descriptor or an invalid time; neither can be.
            let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec);
        }

        /// Waits until it goes off.
        pub(crate) async fn rings(&self) -> io::Result<()> {
            loop {
                let mut guard = self.0.readable().await?;
                let mut expirations = [0_u8; 8];
                match guard.try_io(|fd| {
                    rustix::io::read(fd.get_ref(), &mut expirations).map_err(io::Error::from)
                }) {
                    Ok(read) => return read.map(|_| ()),
                    Err(_would_block) => {}
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod alarm {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;
    use tokio::sync::Notify;
    use tokio::time::Instant;

    /// The runtime's timer.
    #[derive(Debug, Clone)]
    pub(crate) struct Alarm(Arc<(Mutex<Option<Instant>>, Notify)>);

    impl Alarm {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self(Arc::new((Mutex::new(None), Notify::new()))))
        }

        /// Goes off once, `ns` nanoseconds from now.
        pub(crate) fn set(&self, ns: u64) {
            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Instant::now() + Duration::from_nanos(ns));
            self.0.1.notify_one();
        }

        /// Waits until it goes off.
        pub(crate) async fn rings(&self) -> io::Result<()> {
            loop {
                let at = *self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
                match at {
                    None => self.0.1.notified().await,
                    Some(at) => tokio::select! {
                        () = tokio::time::sleep_until(at) => {
                            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take();
                            return Ok(());
                        }
                        () = self.0.1.notified() => {}
                    },
                }
            }
        }
    }
}
