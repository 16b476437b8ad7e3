//! An open schedule: requests are due at fixed times, whether or not the last one was quick.

use std::time::{Duration, Instant};

/// Time that a worker may be behind and still catch up. What is older is skipped: after an outage, the load goes on as before
/// instead of arriving all at once.
const CATCH_UP: Duration = Duration::from_millis(100);

/// When the requests of one worker are due.
#[derive(Debug)]
pub struct Pacer {
    period: Duration,
    due: Instant,
    skipped: u64,
}

impl Pacer {
    /// `per_second` requests a second, the first one at `start`.
    pub fn new(per_second: f64, start: Instant) -> Self {
        // At most a million a second, at least one a minute: a rate that is no number is the slowest.
        let rate = if per_second.is_finite() {
            per_second.clamp(1.0 / 60.0, 1e6)
        } else {
            1.0 / 60.0
        };
        Self {
            period: Duration::from_secs_f64(1.0 / rate),
            due: start,
            skipped: 0,
        }
    }

    /// When the next request is due: now or later, or a little in the past when there is something to catch up.
    pub fn next(&mut self, now: Instant) -> Instant {
        while now.saturating_duration_since(self.due) > CATCH_UP {
            self.due += self.period;
            self.skipped += 1;
        }
        let due = self.due;
        self.due += self.period;
        due
    }

    /// Requests that were never sent, because earlier ones took too long.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Waits until the next request is due.
    pub async fn wait(&mut self) {
        let due = self.next(Instant::now());
        tokio::time::sleep_until(due.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate_and_catches_up_only_a_little() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacer = Pacer::new(100.0, start);
        assert_eq!(pacer.next(start), start);
        assert_eq!(pacer.next(start), at(10));
        // 40 ms late: what was due is sent at once.
        let late: Vec<_> = (0..5).map(|_| pacer.next(at(50))).collect();
        assert_eq!(late, [at(20), at(30), at(40), at(50), at(60)]);
        assert_eq!(pacer.skipped(), 0);
        // 10 s late: 100 ms of it is caught up.
        let due = pacer.next(at(10_000));
        assert_eq!(due, at(9_900));
        assert_eq!(pacer.skipped(), 983);
    }

    #[test]
    fn any_rate_gives_a_period() {
        let now = Instant::now();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let mut pacer = Pacer::new(rate, now);
            pacer.next(now);
            assert!(pacer.next(now) > now, "{rate}");
        }
    }
}
