//! A service that is known to the last setting, and what the wire would have shown of it.
//!
//! Callers send requests in a closed loop; each makes a call unless its worker's breaker is open. Everything takes a time drawn
//! from a seed, so that thousands of different services can be tried.

use crate::measure::trace::{
    Attempt, Header, Name, Outcome, Proxy, ProxyIndex, Record, Trace, VERSION,
};
use crate::protocol::{Class, Protocol};
use proptest::prelude::*;
use rand_distr::Distribution;
use rand_distr::uniform::Uniform;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(crate) const API: ProxyIndex = ProxyIndex(0);
pub(crate) const CACHE: ProxyIndex = ProxyIndex(1);
pub(crate) const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// What the service is made of.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) seed: u64,
    /// Callers of the route that makes a call.
    pub(crate) callers: usize,
    /// Processes, each with a breaker of its own; callers are spread over them.
    pub(crate) workers: usize,
    /// Failures in a row that open it; `None`: no breaker.
    pub(crate) threshold: Option<u64>,
    pub(crate) open_for: u64,
    /// Whether only one probe at a time is let through.
    pub(crate) gate: bool,
    /// Attempts of a call, the first included.
    pub(crate) attempts: u32,
    pub(crate) backoff: u64,
    /// What a caller thinks between two requests.
    pub(crate) think: u64,
    /// What the dependency takes.
    pub(crate) latency: u64,
    /// What a failing attempt takes: an error, or the client's timeout.
    pub(crate) failure: u64,
    pub(crate) abandons: bool,
    /// Waits of the client take just as long as they are set to.
    pub(crate) exact: bool,
    /// Requests that need no call fail as well while the fault is on.
    pub(crate) spreads: bool,
    /// Whether the process behind each connection was found: none, those of half of the callers, or all.
    pub(crate) owners: Owners,
    /// How late the proxy is, each second.
    pub(crate) late: u64,
    /// The fault is on from here to there.
    pub(crate) fault: (u64, u64),
    pub(crate) end: u64,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            seed: 1,
            callers: 1,
            workers: 1,
            threshold: Some(5),
            open_for: 600 * MS,
            gate: false,
            attempts: 1,
            backoff: 10 * MS,
            think: 10 * MS,
            latency: 2 * MS,
            failure: 2 * MS,
            abandons: false,
            exact: false,
            spreads: false,
            owners: Owners::None,
            late: 0,
            fault: (4_000 * MS, 9_000 * MS),
            end: 14_000 * MS,
        }
    }
}

prop_compose! {
    /// Services with a breaker, of any settings.
    pub(crate) fn services()(
        seed in any::<u64>(),
        callers in 1_usize..12,
        threshold in 1_u64..12,
        open_ms in 300_u64..2_500,
        gate in any::<bool>(),
        attempts in 1_u32..5,
        backoff_ms in 1_u64..40,
        think_ms in 1_u64..25,
        latency_ms in 1_u64..40,
        failure_ms in 1_u64..80,
        abandons in any::<bool>(),
    ) -> Service {
        Service {
            seed,
            callers,
            threshold: Some(threshold),
            open_for: open_ms * MS,
            gate,
            attempts,
            backoff: backoff_ms * MS,
            think: think_ms * MS,
            latency: latency_ms * MS,
            failure: failure_ms * MS,
            abandons,
            ..Service::default()
        }
    }
}

/// How many are drawn: `PROPTEST_CASES` raises it.
pub(crate) fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// Which connections have a known owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    None,
    Half,
    All,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    failures: u64,
    open_until: Option<u64>,
    probing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Send,
    Check,
    Try {
        number: u32,
        call: u64,
    },
    Learn {
        number: u32,
        call: u64,
        failed: bool,
    },
}

struct Run<'s> {
    service: &'s Service,
    rng: Xoshiro256PlusPlus,
    queue: BinaryHeap<Reverse<(u64, usize, Step)>>,
    workers: Vec<Gate>,
    /// When each caller's request began.
    begun: Vec<u64>,
    calls: u64,
    trace: Trace,
    names: [Name; 6],
}

impl Service {
    /// What the wire shows of it.
    pub(crate) fn run(&self) -> Trace {
        let mut run = Run::new(self);
        for caller in 0..=self.callers {
            let first = run.about(self.think);
            run.queue.push(Reverse((first, caller, Step::Send)));
        }
        while let Some(Reverse((now, caller, step))) = run.queue.pop() {
            if now < self.end {
                run.step(now, caller, step);
            }
        }
        run.beside();
        let fault = run.names[5];
        let (on, off) = self.fault;
        run.trace.records.push(Record::FaultOn { at: on, fault });
        run.trace.records.push(Record::FaultOff { at: off, fault });
        run.trace.sort();
        run.trace
    }
}

impl<'s> Run<'s> {
    fn new(service: &'s Service) -> Self {
        let proxy = |name: &str, protocol| Proxy {
            name: name.into(),
            protocol,
            pool: None,
        };
        let mut trace = Trace::new(Header {
            version: VERSION,
            service: None,
            started_us: 0,
            proxies: vec![
                proxy("api", Protocol::Http),
                proxy("cache", Protocol::Redis),
            ],
        });
        let names = ["GET /items", "GET /health", "GET", "ok", "ERR", "outage"]
            .map(|name| trace.names.intern(name));
        Self {
            service,
            rng: Xoshiro256PlusPlus::seed_from_u64(service.seed),
            queue: BinaryHeap::new(),
            workers: vec![Gate::default(); service.workers],
            begun: vec![0; service.callers + 1],
            calls: 0,
            trace,
            names,
        }
    }

    /// What is recorded beside what passed: owners, and how late the proxy was.
    fn beside(&mut self) {
        let service = self.service;
        let known = |caller: &usize| match service.owners {
            Owners::None => false,
            Owners::Half => *caller < service.callers / 2,
            Owners::All => true,
        };
        let owned = (0..service.callers)
            .filter(known)
            .map(|caller| Record::Owner {
                at: SECOND,
                proxy: CACHE,
                session: caller as u64,
                pid: 100 + (caller % service.workers) as u32,
            });
        self.trace.records.extend(owned);
        let looks = (1..=service.end / SECOND).map(|second| Record::Lag {
            at: second * SECOND,
            longest: service.late,
        });
        self.trace.records.extend(looks);
    }

    /// How late the proxy is this time. What it has not read it has not passed on either: causes stay before effects.
    fn late(&mut self) -> u64 {
        match self.service.late {
            0 => 0,
            most => Uniform::new_inclusive(0, most).map_or(0, |late| late.sample(&mut self.rng)),
        }
    }

    /// Around this time, by up to a fifth.
    fn about(&mut self, time: u64) -> u64 {
        let spread = Uniform::new_inclusive(time - time / 5, time + time / 5);
        spread.map_or(time, |spread| spread.sample(&mut self.rng))
    }

    /// A wait that the client is set to.
    fn set(&mut self, time: u64) -> u64 {
        if self.service.exact {
            time
        } else {
            self.about(time)
        }
    }

    /// What the service itself takes from one step to the next.
    fn own(&mut self) -> u64 {
        self.about(MS / 5)
    }

    fn later(&mut self, at: u64, caller: usize, step: Step) {
        self.queue.push(Reverse((at, caller, step)));
    }

    /// The caller with the last number asks for what needs no call.
    fn is_bare(&self, caller: usize) -> bool {
        caller == self.service.callers
    }

    fn step(&mut self, now: u64, caller: usize, step: Step) {
        let worker = caller % self.service.workers;
        match step {
            Step::Send => {
                let now = now + self.late();
                self.begun[caller] = now;
                let at = now + self.own();
                if self.is_bare(caller) {
                    let (on, off) = self.service.fault;
                    let hit = self.service.spreads && (on..off).contains(&now);
                    self.answer(at, caller, !hit);
                } else {
                    self.later(at, caller, Step::Check);
                }
            }
            Step::Check => {
                let gate = &mut self.workers[worker];
                let shut = match gate.open_until {
                    Some(until) if now < until => true,
                    Some(_) if self.service.gate && gate.probing => true,
                    Some(_) => {
                        gate.probing = true;
                        false
                    }
                    None => false,
                };
                if shut {
                    let at = now + self.own();
                    self.answer(at, caller, false);
                } else {
                    self.calls += 1;
                    let call = self.calls;
                    let at = now + self.own();
                    self.later(at, caller, Step::Try { number: 1, call });
                }
            }
            Step::Try { number, call } => self.attempt(now, caller, number, call),
            Step::Learn {
                number,
                call,
                failed,
            } => self.learn(now, caller, number, call, failed),
        }
    }

    fn attempt(&mut self, now: u64, caller: usize, number: u32, call: u64) {
        let (on, off) = self.service.fault;
        let failed = (on..off).contains(&now);
        let took = if failed {
            self.set(self.service.failure)
        } else {
            self.about(self.service.latency)
        };
        // Who is still waiting when the recording ends is shown as waiting.
        let begun = now + self.late();
        // Who gives up does so by its own clock, and is seen to later.
        let gives_up = failed && self.service.abandons;
        let knows = if gives_up { now + took } else { begun + took };
        let waiting = knows >= self.service.end;
        let seen = if gives_up {
            (knows + self.late()).max(begun)
        } else {
            knows
        };
        let ended = seen.min(self.service.end);
        let [_, _, get, ok, err, outage] = self.names;
        self.trace.records.push(Record::Attempt(Attempt {
            proxy: CACHE,
            session: caller as u64,
            exchange: call,
            operation: get,
            class: Class::Read,
            fingerprint: call,
            begun,
            asked: begun,
            first_byte: (!failed && !waiting).then_some(ended),
            ended,
            upstream: (!failed && !waiting).then_some(took),
            status: if failed { err } else { ok },
            outcome: match (failed, self.service.abandons) {
                _ if waiting => Outcome::Outstanding,
                (false, _) => Outcome::Ok,
                (true, false) => Outcome::Failed,
                (true, true) => Outcome::ClientGone,
            },
            fault: failed.then_some(outage),
        }));
        let at = knows + self.own();
        self.later(
            at,
            caller,
            Step::Learn {
                number,
                call,
                failed,
            },
        );
    }

    fn learn(&mut self, now: u64, caller: usize, number: u32, call: u64, failed: bool) {
        if failed && number < self.service.attempts {
            let at = now + self.set(self.service.backoff);
            let number = number + 1;
            return self.later(at, caller, Step::Try { number, call });
        }
        let gate = &mut self.workers[caller % self.service.workers];
        if failed {
            gate.failures += 1;
            let tripped = |threshold| gate.failures >= threshold || gate.open_until.is_some();
            if self.service.threshold.is_some_and(tripped) {
                gate.open_until = Some(now + self.service.open_for);
            }
        } else {
            gate.failures = 0;
            gate.open_until = None;
        }
        gate.probing = false;
        let at = now + self.own();
        self.answer(at, caller, !failed);
    }

    fn answer(&mut self, at: u64, caller: usize, good: bool) {
        let at = at + self.late();
        let begun = self.begun[caller];
        let [items, health, _, ok, err, _] = self.names;
        self.trace.records.push(Record::Attempt(Attempt {
            proxy: API,
            session: caller as u64,
            exchange: at,
            operation: if self.is_bare(caller) { health } else { items },
            class: Class::Read,
            fingerprint: caller as u64,
            begun,
            asked: begun,
            first_byte: Some(at),
            ended: at,
            upstream: Some(at - begun),
            status: if good { ok } else { err },
            outcome: if good { Outcome::Ok } else { Outcome::Failed },
            fault: None,
        }));
        let next = at + self.about(self.service.think);
        self.later(next, caller, Step::Send);
    }
}
