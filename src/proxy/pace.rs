//! When bytes go that a fault throttles or slices: the state of one direction of a session.

use crate::fault::Decision;
use crate::fault::action::{Slice, Throttle};
use crate::fault::spec::Side;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;
use std::sync::Arc;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Whether bytes may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// This many may, at least one.
    Now(usize),
    /// None before this time.
    At(u64),
}

/// The state of one direction.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// One for each throttle that acted on this direction; faults are few.
    buckets: Vec<(Arc<str>, Bucket)>,
    slicing: Option<Slicing>,
}

impl Pace {
    /// How many of the next `left` bytes may go now, as this decision says.
    pub(crate) fn ask(
        &mut self,
        decision: &Arc<Decision>,
        side: Side,
        left: usize,
        now: u64,
    ) -> Pass {
        let flow = decision.flow(side);
        let mut most = left;
        let mut due = 0;
        for (fault, throttle) in &flow.throttles {
            match self.bucket(fault).ask(throttle, left, now) {
                Pass::Now(n) => most = most.min(n),
                Pass::At(at) => due = due.max(at),
            }
        }
        if let Some((slice, draw)) = &flow.slices {
            let resume = self.slicing.as_ref().map_or(0, |s| s.resume);
            let slicing = match &mut self.slicing {
                Some(slicing) if Arc::ptr_eq(&slicing.of, decision) => slicing,
                other => {
                    let mut sizes = draw.generator();
                    other.insert(Slicing {
                        of: Arc::clone(decision),
                        left: slice.size(sizes.next_u64()),
                        sizes,
                        resume,
                    })
                }
            };
            most = most.min(slicing.left);
            if slicing.resume > now {
                due = due.max(slicing.resume);
            }
        }
        if due > now {
            Pass::At(due)
        } else {
            Pass::Now(most)
        }
    }

    /// So many bytes went.
    pub(crate) fn went(&mut self, decision: &Decision, side: Side, bytes: usize, now: u64) {
        let flow = decision.flow(side);
        for (fault, throttle) in &flow.throttles {
            self.bucket(fault).take(throttle, bytes, now);
        }
        if let (Some((slice, _)), Some(slicing)) = (&flow.slices, &mut self.slicing) {
            slicing.went(slice, bytes, now);
        }
    }

    fn bucket(&mut self, fault: &Arc<str>) -> &mut Bucket {
        let at = self.buckets.iter().position(|(name, _)| name == fault);
        let at = at.unwrap_or_else(|| {
            self.buckets.push((Arc::clone(fault), Bucket::default()));
            self.buckets.len() - 1
        });
        &mut self.buckets[at].1
    }
}

/// Where the message that is being sliced stands.
#[derive(Debug)]
struct Slicing {
    of: Arc<Decision>,
    sizes: Xoshiro256PlusPlus,
    /// Bytes left of the current piece, at least 1.
    left: usize,
    /// The current piece does not begin before this time.
    resume: u64,
}

impl Slicing {
    fn went(&mut self, slice: &Slice, bytes: usize, now: u64) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.left = slice.size(self.sizes.next_u64());
            self.resume = now.saturating_add(super::clock::nanos(slice.gap));
        }
    }
}

/// A bucket of tokens, one a byte, kept as the time at which it would be full again (the generic cell rate algorithm).
#[derive(Debug, Default)]
struct Bucket {
    full: u64,
}

impl Bucket {
    fn ask(&self, throttle: &Throttle, left: usize, now: u64) -> Pass {
        // A wake-up for each byte would be the proxy's own load: half a burst is worth one.
        let quantum = (throttle.burst / 2).clamp(1, left.max(1) as u64);
        let room = cost(throttle.burst, throttle.rate);
        let behind = self.full.saturating_sub(now);
        let free = u128::from(room.saturating_sub(behind)) * u128::from(throttle.rate);
        let tokens = (free / u128::from(SECOND)) as u64;
        if tokens >= quantum {
            return Pass::Now(usize::try_from(tokens).map_or(left, |n| n.min(left)));
        }
        let wanted = cost(quantum, throttle.rate);
        let due = self.full.saturating_add(wanted).saturating_sub(room);
        Pass::At(due.max(now + 1))
    }

    fn take(&mut self, throttle: &Throttle, bytes: usize, now: u64) {
        let from = self.full.max(now);
        self.full = from.saturating_add(cost(bytes as u64, throttle.rate));
    }
}

/// The time that so many bytes take at this rate, rounded up, nanoseconds.
fn cost(bytes: u64, rate: u64) -> u64 {
    let nanos = (u128::from(bytes) * u128::from(SECOND)).div_ceil(u128::from(rate.max(1)));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a bucket lets go in `time`, by somebody who always has more to send.
    fn drained(throttle: &Throttle, time: u64) -> u64 {
        let mut bucket = Bucket::default();
        let (mut now, mut sent) = (1, 0);
        while now <= time {
            match bucket.ask(throttle, 1 << 20, now) {
                Pass::Now(n) => {
                    bucket.take(throttle, n, now);
                    sent += n as u64;
                }
                Pass::At(due) => {
                    assert!(due > now, "time goes on");
                    now = due;
                }
            }
        }
        sent
    }

    #[test]
    fn a_bucket_holds_to_its_rate_and_never_exceeds_its_burst() {
        for (rate, burst) in [
            (1, 1),
            (7, 3),
            (1000, 20),
            (1000, 5000),
            (10_000_000, 1),
            (1_000_000_000, 20_000_000),
        ] {
            let throttle = Throttle {
                rate,
                burst,
                on: Side::Reply,
            };
            let time = if rate < 10 { 100 } else { 1 };
            let sent = drained(&throttle, time * SECOND / 10) * 10;
            let (least, most) = (rate * time * 8 / 10, rate * time + burst * 10);
            assert!(
                (least..=most).contains(&sent),
                "{sent} bytes in {time} s at {rate} with {burst}"
            );
        }
    }

    #[test]
    fn an_empty_bucket_says_when_to_come_back() {
        let throttle = Throttle {
            rate: 1000,
            burst: 10,
            on: Side::Reply,
        };
        let mut bucket = Bucket::default();
        assert_eq!(bucket.ask(&throttle, 100, 1), Pass::Now(10));
        bucket.take(&throttle, 10, 1);
        // Half a burst is five bytes, and they take 5 ms.
        assert_eq!(bucket.ask(&throttle, 100, 1), Pass::At(5_000_001));
        assert_eq!(bucket.ask(&throttle, 100, 5_000_001), Pass::Now(5));
        // The last byte of all does not wait for four that never come.
        assert_eq!(bucket.ask(&throttle, 1, 1_000_001), Pass::Now(1));
        // A pause fills it up to the burst, not beyond.
        assert_eq!(bucket.ask(&throttle, 100, 60 * SECOND), Pass::Now(10));
    }

    #[test]
    fn slices_are_the_same_however_the_message_comes() {
        let plan = |gap| {
            let slice = Slice {
                least: 3,
                most: 9,
                gap: std::time::Duration::from_millis(gap),
                on: Side::Reply,
            };
            let draw = crate::fault::dice::Dice::new(1, "f").exchange(
                0,
                0,
                crate::fault::dice::Purpose::Slice,
            );
            let mut decision = Decision::default();
            decision.reply_flow.slices = Some((slice, draw));
            Arc::new(decision)
        };
        let ends = |arriving: usize| {
            let (mut pace, decision) = (Pace::default(), plan(5));
            let (mut now, mut sent, mut ends) = (1, 0, Vec::new());
            while sent < 300 {
                let there = (sent / arriving + 1) * arriving;
                match pace.ask(&decision, Side::Reply, there.min(300) - sent, now) {
                    Pass::At(due) => {
                        assert_eq!(due, now + 5_000_000);
                        ends.push(sent);
                        now = due;
                    }
                    Pass::Now(n) => {
                        pace.went(&decision, Side::Reply, n, now);
                        sent += n;
                    }
                }
            }
            ends
        };
        let whole = ends(300);
        assert!(whole.windows(2).all(|w| (3..=9).contains(&(w[1] - w[0]))));
        assert!(whole.len() > 30, "{whole:?}");
        assert_eq!(ends(1), whole);
        assert_eq!(ends(17), whole);
    }
}
