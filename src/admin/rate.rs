//! How often something may be done: a bucket of tokens that fills with time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bucket that holds what may be done in one second.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    level: Mutex<(f64, Instant)>,
}

impl Rate {
    /// So many a second, and as many at once after a pause.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self {
            per_second,
            level: Mutex::new((per_second, Instant::now())),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.1).as_secs_f64();
        let filled = (level.0 + passed * self.per_second).min(self.per_second);
        if filled < 1.0 {
            *level = (filled, now);
            return Err(Duration::from_secs_f64((1.0 - filled) / self.per_second));
        }
        *level = (filled - 1.0, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let rate = Rate::new(10);
        let start = Instant::now();
        assert_eq!((0..50).filter(|_| rate.take(start).is_ok()).count(), 10);
        let wait = rate.take(start).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100));
        assert!(rate.take(start + Duration::from_millis(101)).is_ok());
        let later = start + Duration::from_secs(60);
        assert_eq!((0..50).filter(|_| rate.take(later).is_ok()).count(), 10);
    }
}
