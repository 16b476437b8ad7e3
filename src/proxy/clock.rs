//! One monotonic clock for the whole process, as nanoseconds in a `u64`: half the size of an `Instant`, and comparable across
//! workers. Wall-clock changes and suspends do not touch it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

fn start() -> Instant {
    *START.get_or_init(Instant::now)
}

/// Nanoseconds since the process first asked, plus one: 0 is free to mean "not yet".
#[inline]
pub(crate) fn now() -> u64 {
    #[cfg(any(test, fuzzing))]
    if let Some(at) = STOPPED.get() {
        return at;
    }
    u64::try_from(start().elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
}

#[cfg(any(test, fuzzing))]
thread_local! {
    /// The time on this thread where it stands still.
    static STOPPED: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// Has the time on this thread be `at`, until told otherwise.
#[cfg(any(test, fuzzing))]
pub(crate) fn stop(at: Option<u64>) {
    STOPPED.set(at);
}

/// Whether the time on this thread stands still.
#[cfg(any(test, fuzzing))]
pub(crate) fn stands_still() -> bool {
    STOPPED.get().is_some()
}

/// The `Instant` of a time that [`now`] gave.
#[inline]
pub(crate) fn instant(at: u64) -> Instant {
    start() + Duration::from_nanos(at.saturating_sub(1))
}

/// A duration in nanoseconds, saturating at centuries.
#[inline]
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
