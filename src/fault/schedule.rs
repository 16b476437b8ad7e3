//! When a fault is in force, counted from the moment it was switched on.
//!
//! ```text
//! switched on   start           start+duration     start+repeat      start+repeat+duration
//!      |--- off --|======= on ======|------ off ------|======= on ======|--- off ...
//!                 |/ ramp           |                 |/ ramp
//! ```
//!
//! The ramp begins anew each time the fault comes into force. It scales what can be scaled: of a latency the *delay*, every
//! exchange being held a little longer than the one before; of any other fault the *share* of the matching exchanges that
//! are offered to its gates.

use std::time::{Duration, Instant};

/// When a fault is in force. The default: always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Off for this long first.
    pub start: Duration,
    /// Then on for this long; `None`: for good.
    pub duration: Option<Duration>,
    /// On again each time this long has passed since it came on. Longer than `duration`, which must be there.
    pub repeat: Option<Duration>,
    /// From nothing to full strength over this long.
    pub ramp: Duration,
}

/// Whether and how strongly a fault is in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    /// Not now.
    Off,
    /// In force, at this strength: 0 at the beginning of a ramp, 1 at and after its end.
    On(f64),
}

impl Schedule {
    /// The state at `now`, for a fault that was switched on at `enabled`.
    pub fn state(&self, enabled: Instant, now: Instant) -> State {
        let Some(phase) = self.phase(enabled, now) else {
            return State::Off;
        };
        if self.duration.is_some_and(|duration| phase >= duration) {
            State::Off
        } else if phase < self.ramp {
            State::On(phase.as_secs_f64() / self.ramp.as_secs_f64())
        } else {
            State::On(1.0)
        }
    }

    /// The first moment after `now` at which it comes into force or goes out of it, where there is one. A ramp is no such
    /// moment.
    pub fn next_change(&self, enabled: Instant, now: Instant) -> Option<Instant> {
        let Some(phase) = self.phase(enabled, now) else {
            return enabled.checked_add(self.start);
        };
        let wait = match (self.duration, self.repeat) {
            (Some(duration), _) if phase < duration => duration.saturating_sub(phase),
            (_, Some(repeat)) => repeat.saturating_sub(phase),
            _ => return None,
        };
        now.checked_add(wait)
    }

    /// Time since it last came into force; `None` before it first did.
    fn phase(&self, enabled: Instant, now: Instant) -> Option<Duration> {
        let since = now
            .saturating_duration_since(enabled)
            .checked_sub(self.start)?;
        Some(match self.repeat {
            Some(repeat) if since >= repeat => remainder(since, repeat),
            _ => since,
        })
    }
}

/// `time` modulo `period`; a period of zero never repeats.
fn remainder(time: Duration, period: Duration) -> Duration {
    // 2^64 ns are 584 years: neither a process nor a schedule lasts as long.
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    nanos(time)
        .checked_rem(nanos(period))
        .map_or(time, Duration::from_nanos)
}

#[cfg(test)]
mod tests;
