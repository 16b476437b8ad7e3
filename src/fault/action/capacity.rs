//! `capacity`: so many exchanges are served at once, so many wait, and the rest are turned away: latency grows with load, as in
//! a real brownout.
//!
//! The service is a queue with several servers, first come, first served. It is kept in virtual time: when an exchange
//! arrives, the moment at which it would be served and that at which it would be done follow from those before it, so that
//! nothing has to be woken for it. The upstream's own time comes on top.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;
use crate::protocol::Protocol;

use super::latency::Distribution;
use super::{Acts, CloseHow, Disconnect, Effect, ErrorAction, ErrorReply, NotApplicable, When};
use crate::fault::plan::Ending;

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &[
    "in_service",
    "queue",
    "service",
    "preset",
    "code",
    "message",
    "close",
    "status",
    "headers",
    "body",
    "retry_after",
];

/// The most exchanges in service, and the most that wait: what they cost in memory is 8 bytes each.
const MAX_PLACES: u32 = 100_000;

/// A service that can do only so much.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// Exchanges served at once, at least 1.
    pub in_service: u32,
    /// Exchanges that wait.
    pub queue: u32,
    /// How long one is served.
    pub service: Distribution,
    /// What the rest are told; `None`: what the protocol's servers say when they are overloaded.
    overflow: Option<ErrorAction>,
}

impl Capacity {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let service = Distribution::of(spec.service.as_ref(), ("service", "`capacity`"), problems);
        let Some(in_service) = spec.in_service else {
            problems.missing("in_service", "`capacity`", "in_service = 4");
            return None;
        };
        if in_service == 0 {
            problems.add(
                "in_service",
                "nothing would ever be served",
                "write a number from 1 up, or action = \"stall\"",
            );
        }
        let queue = spec.queue.unwrap_or(0);
        for (field, value) in [("in_service", in_service), ("queue", queue)] {
            if value > MAX_PLACES {
                problems.add(
                    field,
                    format!("{value} are more than can be kept track of"),
                    format!("write at most {MAX_PLACES}"),
                );
            }
        }
        let chosen = super::given(spec).any(|key| PARAMETERS[3..].contains(&key));
        let overflow = if chosen {
            Some(ErrorAction::compile(spec, problems)?)
        } else {
            None
        };
        Some(Self {
            in_service,
            queue,
            service: service?,
            overflow,
        })
    }

    /// What becomes of an exchange that finds the queue full.
    ///
    /// # Errors
    /// The error that was written belongs to another protocol.
    pub(super) fn overflow(&self, protocol: Protocol) -> Result<Ending, NotApplicable> {
        if let Some(error) = &self.overflow {
            return Ok(Ending::Error(error.reply(protocol)?));
        }
        Ok(Ending::Error(Arc::new(match protocol {
            Protocol::Tcp => {
                return Ok(Ending::Disconnect(Disconnect {
                    how: CloseHow::Rst,
                    when: When::Before,
                }));
            }
            Protocol::Redis => ErrorReply::Redis {
                code: "BUSY".into(),
                message: "the server is overloaded (injected by brownout)".into(),
                close: false,
            },
            // insufficient_resources
            Protocol::Postgres => ErrorReply::Postgres {
                sqlstate: "53000".into(),
                message: "the server is overloaded".into(),
                fatal: false,
            },
            Protocol::Http => ErrorReply::Http {
                status: 503,
                headers: vec![("Retry-After".into(), "1".into())],
                body: "Service Unavailable (injected by brownout)\n".into(),
            },
        })))
    }
}

/// What an exchange gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fault) enum Turn {
    /// It waits so long, and is then served.
    After(Duration),
    /// The queue is full.
    Overflow,
}

/// The queue of one proxy. Times are those since the fault was switched on.
#[derive(Debug, Default)]
pub(in crate::fault) struct Queue {
    /// When each place in service is free again; a place that was never used is not in it.
    places: BinaryHeap<Reverse<Duration>>,
    /// When those that wait will be served; ascending, since first come is first served.
    waiting: VecDeque<Duration>,
}

impl Queue {
    /// An exchange arrives at `now`, to be served for `service`.
    pub(in crate::fault) fn arrive(
        &mut self,
        capacity: &Capacity,
        service: Duration,
        now: Duration,
    ) -> Turn {
        while self.waiting.front().is_some_and(|begins| *begins <= now) {
            self.waiting.pop_front();
        }
        let begins = if self.places.len() < capacity.in_service as usize {
            now
        } else {
            let free = self.places.peek().map_or(now, |Reverse(at)| *at);
            if free > now && self.waiting.len() >= capacity.queue as usize {
                return Turn::Overflow;
            }
            self.places.pop();
            free.max(now)
        };
        self.places.push(Reverse(begins.saturating_add(service)));
        if begins > now {
            self.waiting.push_back(begins);
        }
        Turn::After(begins.saturating_sub(now))
    }
}

impl Acts for Capacity {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Capacity(self.clone(), self.overflow(protocol)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn capacity(in_service: u32, queue: u32) -> Capacity {
        Capacity {
            in_service,
            queue,
            service: Distribution::Fixed(10 * MS),
            overflow: None,
        }
    }

    #[test]
    fn the_queue_fills_overflows_and_empties() {
        let (capacity, mut queue) = (capacity(2, 2), Queue::default());
        let mut arrive = |now: u32| queue.arrive(&capacity, 10 * MS, now * MS);
        assert_eq!(arrive(0), Turn::After(Duration::ZERO));
        assert_eq!(arrive(1), Turn::After(Duration::ZERO));
        assert_eq!(arrive(2), Turn::After(8 * MS));
        assert_eq!(arrive(2), Turn::After(9 * MS));
        assert_eq!(arrive(3), Turn::Overflow);
        // At 10 the first of them is served, and there is room for one again.
        assert_eq!(arrive(10), Turn::After(10 * MS));
        assert_eq!(arrive(10), Turn::Overflow);
        assert_eq!(arrive(100), Turn::After(Duration::ZERO));
    }

    #[test]
    fn never_more_than_its_places_are_in_service() {
        for (in_service, places) in [(1, 0), (1, 5), (3, 7)] {
            let (capacity, mut queue) = (capacity(in_service, places), Queue::default());
            let mut served: Vec<(Duration, Duration)> = Vec::new();
            for number in 0..500_u32 {
                let now = (number * 7 % 3 + number * 2) * MS;
                let service = (1 + number * 13 % 20) * MS;
                if let Turn::After(wait) = queue.arrive(&capacity, service, now) {
                    let begins = now + wait;
                    served.push((begins, begins + service));
                    let busy = served.iter().filter(|(b, e)| *b <= begins && begins < *e);
                    assert!(busy.count() <= in_service as usize);
                }
                assert!(queue.waiting.len() <= places as usize);
            }
            assert!(served.len() > 40);
        }
    }
}
