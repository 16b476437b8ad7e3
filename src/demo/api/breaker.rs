//! A circuit breaker: after failures in a row it refuses at once, then lets one probe through at a time until one succeeds.
//!
//! It has no clock and no lock: time is an argument, and whoever shares it wraps it.

use std::time::{Duration, Instant};

/// When to open, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before it lets a probe through.
    pub open_for: Duration,
}

/// Leave to make one call; its result goes back to [`Breaker::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// Which state of the breaker gave it: a call that began before the breaker opened says nothing about a later state.
    era: u64,
}

/// The call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("circuit open, next probe in {retry_after:?}")]
pub struct Refused {
    /// Time until a probe may be let through.
    pub retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        since: Instant,
    },
    /// One probe is under way.
    HalfOpen {
        since: Instant,
    },
}

/// What a breaker is doing, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// One call passes, to see whether the dependency is back.
    HalfOpen,
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    era: u64,
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
            era: 0,
        }
    }

    /// What it is doing.
    pub fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::Open { .. } => Position::Open,
            State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }

    /// Asks to make a call.
    ///
    /// A probe that is never settled (its caller was cancelled) counts as lost after `open_for`, and another may go.
    ///
    /// # Errors
    /// While open, and while half-open with the probe under way.
    pub fn acquire(&mut self, now: Instant) -> Result<Permit, Refused> {
        if let State::Open { since } | State::HalfOpen { since } = self.state {
            let waited = now.saturating_duration_since(since);
            if let Some(retry_after) = self.settings.open_for.checked_sub(waited)
                && !retry_after.is_zero()
            {
                return Err(Refused { retry_after });
            }
            self.enter(State::HalfOpen { since: now });
        }
        Ok(Permit { era: self.era })
    }

    /// Tells how a call went.
    pub fn settle(&mut self, permit: Permit, success: bool, now: Instant) {
        if permit.era != self.era {
            return;
        }
        match (self.state, success) {
            (State::Closed { .. }, true) => self.state = State::Closed { failures: 0 },
            (State::HalfOpen { .. }, true) => self.enter(State::Closed { failures: 0 }),
            (State::Closed { failures }, false) if failures + 1 < self.settings.failures => {
                self.state = State::Closed {
                    failures: failures + 1,
                };
            }
            (State::Closed { .. } | State::HalfOpen { .. }, false) => {
                self.enter(State::Open { since: now });
            }
            // Open gives no permits, so none of its era can come back.
            (State::Open { .. }, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let settings = Settings {
            failures: 5,
            open_for: SECOND,
        };
        (Breaker::new(settings), Instant::now())
    }

    fn call(breaker: &mut Breaker, success: bool, now: Instant) {
        let permit = breaker.acquire(now).unwrap();
        breaker.settle(permit, success, now);
    }

    fn opened() -> (Breaker, Instant) {
        let (mut breaker, now) = breaker();
        for _ in 0..5 {
            assert_eq!(breaker.position(), Position::Closed);
            call(&mut breaker, false, now);
        }
        assert_eq!(breaker.position(), Position::Open);
        (breaker, now)
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_in_between_starts_over() {
        let (mut breaker, now) = breaker();
        for _ in 0..4 {
            call(&mut breaker, false, now);
        }
        call(&mut breaker, true, now);
        for _ in 0..4 {
            call(&mut breaker, false, now);
        }
        assert_eq!(breaker.position(), Position::Closed);
        call(&mut breaker, false, now);
        assert_eq!(breaker.position(), Position::Open);
    }

    #[test]
    fn open_refuses_and_says_for_how_long() {
        let (mut breaker, now) = opened();
        let refused = breaker.acquire(now + SECOND / 4).unwrap_err();
        assert_eq!(refused.retry_after, SECOND * 3 / 4);
    }

    #[test]
    fn half_open_lets_a_single_probe_through() {
        let (mut breaker, now) = opened();
        let later = now + SECOND;
        let probe = breaker.acquire(later).unwrap();
        assert_eq!(breaker.position(), Position::HalfOpen);
        assert!(breaker.acquire(later).is_err());
        breaker.settle(probe, true, later);
        assert_eq!(breaker.position(), Position::Closed);
        assert!(breaker.acquire(later).is_ok());
    }

    #[test]
    fn a_failed_probe_opens_it_for_the_whole_time_again() {
        let (mut breaker, now) = opened();
        let probe = breaker.acquire(now + SECOND).unwrap();
        breaker.settle(probe, false, now + SECOND * 2);
        let refused = breaker.acquire(now + SECOND * 5 / 2).unwrap_err();
        assert_eq!(refused.retry_after, SECOND / 2);
    }

    #[test]
    fn a_lost_probe_does_not_keep_it_half_open_for_ever() {
        let (mut breaker, now) = opened();
        let lost = breaker.acquire(now + SECOND).unwrap();
        assert!(breaker.acquire(now + SECOND * 3 / 2).is_err());
        let second = breaker.acquire(now + SECOND * 2).unwrap();
        breaker.settle(lost, true, now + SECOND * 2);
        assert_eq!(
            breaker.position(),
            Position::HalfOpen,
            "the first was given up"
        );
        breaker.settle(second, true, now + SECOND * 2);
        assert_eq!(breaker.position(), Position::Closed);
    }

    #[test]
    fn a_call_from_before_it_opened_says_nothing_afterwards() {
        let (mut breaker, now) = breaker();
        let slow = breaker.acquire(now).unwrap();
        for _ in 0..5 {
            call(&mut breaker, false, now);
        }
        breaker.settle(slow, true, now);
        assert_eq!(breaker.position(), Position::Open);
        let probe = breaker.acquire(now + SECOND).unwrap();
        breaker.settle(slow, false, now + SECOND);
        assert_eq!(breaker.position(), Position::HalfOpen);
        breaker.settle(probe, true, now + SECOND);
        assert_eq!(breaker.position(), Position::Closed);
    }
}
