//! When the requests of an open lane are due.

use std::time::Duration;

/// A rate that is come to, and held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stage {
    /// Requests a second.
    pub(crate) rate: f64,
    /// How long, the ramp included. The last one goes on.
    pub(crate) length: Duration,
    /// In which time the rate comes there from the one before; of the first stage from nothing.
    pub(crate) ramp: Duration,
}

/// Rates over time, of which the last goes on without an end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule(Vec<Piece>);

/// A time in which the rate is steady or changes evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    /// Seconds since the begin.
    from: f64,
    /// Requests a second at `from`.
    rate: f64,
    /// What the rate gains a second.
    slope: f64,
    /// Requests that are due before.
    before: f64,
}

impl Piece {
    /// Requests in its first seconds.
    fn requests(&self, seconds: f64) -> f64 {
        seconds * (self.rate + 0.5 * self.slope * seconds)
    }
}

impl Schedule {
    /// One rate, in requests a second.
    pub(crate) fn steady(rate: f64) -> Self {
        Self(vec![Piece {
            from: 0.0,
            rate,
            slope: 0.0,
            before: 0.0,
        }])
    }

    /// `None` where there is no stage.
    pub(crate) fn staged(stages: &[Stage]) -> Option<Self> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut from, mut before, mut reached) = (0.0, 0.0, 0.0);
        for (place, stage) in stages.iter().enumerate() {
            let last = place + 1 == stages.len();
            let ramp = stage.ramp.as_secs_f64();
            let held = (stage.length.as_secs_f64() - ramp).max(0.0);
            let climb = (stage.rate - reached) / ramp.max(f64::MIN_POSITIVE);
            for (length, rate, slope) in [(ramp, reached, climb), (held, stage.rate, 0.0)] {
                if length > 0.0 || (slope == 0.0 && last) {
                    let piece = Piece {
                        from,
                        rate,
                        slope,
                        before,
                    };
                    before += piece.requests(length);
                    from += length;
                    pieces.push(piece);
                }
            }
            reached = stage.rate;
        }
        (!pieces.is_empty()).then_some(Self(pieces))
    }

    /// Whether the rate is one and the same, and which.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self.0[..] {
            [only] => Some(only.rate),
            _ => None,
        }
    }

    /// When this request is due, from 0 on.
    pub(crate) fn due(&self, number: u64) -> Duration {
        let number = number as f64;
        let place = self.0.partition_point(|piece| piece.before <= number);
        let piece = &self.0[place.max(1) - 1];
        let left = number - piece.before;
        // The root of `requests(x) = left` in the form that is exact without a slope, too.
        let root = (piece.rate * piece.rate + 2.0 * piece.slope * left)
            .max(0.0)
            .sqrt();
        let seconds = if left > 0.0 {
            2.0 * left / (piece.rate + root)
        } else {
            0.0
        };
        Duration::try_from_secs_f64(piece.from + seconds).unwrap_or(Duration::MAX)
    }

    /// Requests that are due between these seconds.
    pub(crate) fn between(&self, from: f64, to: f64) -> f64 {
        let until = |seconds: f64| {
            let place = self.0.partition_point(|piece| piece.from <= seconds);
            let piece = &self.0[place.max(1) - 1];
            piece.before + piece.requests(seconds - piece.from)
        };
        until(to) - until(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::sample::Sample;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    fn stage(rate: f64, length: u64, ramp: u64) -> Stage {
        Stage {
            rate,
            length: Duration::from_secs(length),
            ramp: Duration::from_secs(ramp),
        }
    }

    #[test]
    fn one_rate_is_evenly_spaced() {
        let schedule = Schedule::steady(50.0);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_millis(20));
        assert_eq!(schedule.due(5000), Duration::from_secs(100));
        assert_eq!(schedule.rate(), Some(50.0));
    }

    #[test]
    fn stages_follow_each_other_and_the_last_goes_on() {
        let schedule = Schedule::staged(&[stage(10.0, 2, 0), stage(100.0, 1, 0)]).expect("two");
        assert_eq!(schedule.due(19), Duration::from_millis(1900));
        assert_eq!(schedule.due(20), Duration::from_secs(2));
        assert_eq!(schedule.due(21), Duration::from_millis(2010));
        assert_eq!(schedule.due(1020), Duration::from_secs(12));
        assert!((schedule.between(1.0, 3.0) - 110.0).abs() < 1e-9);
        assert_eq!(schedule.rate(), None);
        assert_eq!(Schedule::staged(&[]), None);
    }

    #[test]
    fn a_ramp_begins_at_the_rate_before() {
        // From nothing to 10/s in 2 s are 10 requests, from there to 0.. of the second stage 1 s at (10 + 20) / 2.
        let schedule = Schedule::staged(&[stage(10.0, 2, 2), stage(20.0, 5, 1)]).expect("two");
        assert!((schedule.between(0.0, 2.0) - 10.0).abs() < 1e-9);
        assert!((schedule.between(2.0, 3.0) - 15.0).abs() < 1e-9);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(10), Duration::from_secs(2));
        assert_eq!(schedule.due(25), Duration::from_secs(3));
        assert_eq!(schedule.due(27), Duration::from_millis(3100));
    }

    /// A service that answers nobody for a part of every so often, in seconds: when a request that comes then has its answer.
    struct Stalling {
        every: f64,
        stalls: f64,
        takes: f64,
    }

    impl Stalling {
        fn answers(&self, at: f64) -> f64 {
            at + (self.stalls - at % self.every).max(0.0) + self.takes
        }

        /// What must come out of requests that come evenly.
        fn quantile(&self, q: f64) -> f64 {
            self.takes + (q - (1.0 - self.stalls / self.every)).max(0.0) * self.every
        }
    }

    fn quantile(seconds: impl Iterator<Item = f64>, q: f64) -> f64 {
        let sample: Sample = seconds.map(|s| (s * 1e9) as u64).collect();
        sample.quantile(q).expect("some") as f64 / 1e9
    }

    proptest! {
        /// Latency from the time that the schedule says is what HdrHistogram's correction makes of one who waits, as wrk2 does,
        /// and what the stalls alone say: within 5 %.
        #[test]
        fn latency_from_the_schedule_needs_no_correction(
            rate in 50.0_f64..2_000.0,
            every in 2.0_f64..8.0,
            share in 0.06_f64..0.3,
            part in 0.1_f64..0.9,
            periods in 8_u32..16,
        ) {
            // One who waits keeps to the interval, but for the stalls.
            let (interval, stalls) = (1.0 / rate, share * every);
            let service = Stalling { every, stalls, takes: part * interval };
            let end = f64::from(periods) * every;
            let schedule = Schedule::steady(rate);
            let due = (0..).map(|n| schedule.due(n).as_secs_f64()).take_while(|at| *at < end);
            let from_schedule: Vec<f64> = due.map(|at| service.answers(at) - at).collect();
            // One who sends as often, but waits: where an answer takes longer than the interval he sends late.
            let mut corrected = Histogram::<u64>::new(3).expect("allowed");
            let mut at = 0.0;
            while at < end {
                let latency = service.answers(at) - at;
                let [latency, expected] = [latency, interval].map(|s| (s * 1e6) as u64);
                corrected.record_correct(latency, expected).expect("it grows");
                at = (at + interval).max(service.answers(at));
            }
            for q in [0.5, 0.95, 0.99] {
                let ours = quantile(from_schedule.iter().copied(), q);
                let must = service.quantile(q);
                // Between two requests nobody looks.
                let near = |other: f64| (ours - other).abs() <= 0.05 * other + interval;
                prop_assert!(near(must), "p{}: {ours}, and {must} must come out", q * 100.0);
                let hdr = corrected.value_at_quantile(q) as f64 / 1e6;
                prop_assert!(near(hdr), "p{}: {ours}, corrected {hdr}", q * 100.0);
            }
        }

        /// Requests come in order, and as many as the rates say.
        #[test]
        fn what_is_due_is_what_the_rates_say(
            stages in prop::collection::vec((1.0_f64..500.0, 1_u64..5, 0_u64..5), 1..5),
            number in 0_u64..5000,
        ) {
            let stages: Vec<Stage> = stages.into_iter()
                .map(|(rate, length, ramp)| stage(rate, length, ramp.min(length)))
                .collect();
            let schedule = Schedule::staged(&stages).expect("one at least");
            let (this, next) = (schedule.due(number), schedule.due(number + 1));
            prop_assert!(this < next);
            let counted = schedule.between(0.0, this.as_secs_f64());
            prop_assert!((counted - number as f64).abs() < 1e-3, "{counted} until number {number}");
        }
    }
}
