//! A circuit breaker as the wire shows it.
//!
//! After so many failures in a row the calls cease though they are due; later a few come, and if they succeed, all of them
//! come again. What a breaker is set to is never seen, only bounded: calls that were in flight when it tripped make the count of
//! failures an interval, and a breaker that looks at the clock only when it is called makes its open time one.

mod closed;
mod episode;
mod fail_fast;
mod threshold;
mod turns;

pub use episode::Episode;
pub use fail_fast::FailFast;

use super::calls::{Call, Calls, Reading, Who};
use super::demand::Demand;
use super::finding::{Evidence, Finding, Interval, Unknown};
use super::sample::Sample;
use super::silence::{Cause, Silence, requests, silences};
use super::view::{Session, Span, View};
use super::{MILLISECOND, SECOND, early, seconds};
use crate::measure::trace::ProxyIndex;
use closed::Closed;
use episode::Episodes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far what the client knows lags behind what the wire shows, at least.
const LAG: u64 = 4 * MILLISECOND;

/// The most that is believed of it.
const MAX_LAG: u64 = 50 * MILLISECOND;

/// An open time that grows by more than this from one episode to the next is meant to.
const GROWTH: f64 = 1.3;

/// Whether it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Opening {
    /// It did.
    Opened {
        /// What the service answered meanwhile.
        cause: Cause,
    },
    /// Calls went on after so many failures in a row: if there is a breaker, it takes more.
    StayedClosed {
        /// Failures in a row, at least; of all its processes together.
        failures: u64,
        /// Calls in flight at once, at most: as many may follow the failure that trips it.
        in_flight: u64,
    },
}

/// What was tried when its open time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probes {
    /// Calls that began before the first of them ended, at most over all episodes.
    pub at_once: u64,
    /// Requests that could have made one at that moment, at most.
    pub callers: u64,
}

/// How it came back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Closing {
    /// Calls that succeeded before the rate was back.
    pub successes: u64,
    /// Seconds from the end of the fault to the first call that succeeded.
    pub after_seconds: f64,
}

/// What is known of the breaker of one client of one dependency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// The dependency: a proxy's name.
    pub dependency: String,
    /// The client's process; `None`: all clients taken together.
    pub process: Option<u32>,
    /// Breakers that share what is counted here: the declared number of processes, where they cannot be told apart. `None`:
    /// not known.
    pub breakers: Option<u32>,
    /// Whether it opened.
    pub opening: Finding<Opening>,
    /// Failures in a row that open it, of one breaker.
    pub threshold: Finding<Interval<u64>>,
    /// How long it stays open, in seconds.
    pub open_seconds: Finding<Interval<f64>>,
    /// What is tried then.
    pub probes: Finding<Probes>,
    /// How it closes.
    pub closing: Finding<Closing>,
    /// How fast the service says no while it is open.
    pub fails_fast: Finding<FailFast>,
    /// Its states over time.
    pub episodes: Vec<Episode>,
}

/// What is known of the breakers of the clients of one dependency: one for each process, where they can be told apart.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Vec<Breaker> {
    let joined = view.calls(proxy, Reading::Joined);
    let apart = view.calls(proxy, Reading::Apart);
    let groups = groups(view, joined);
    groups
        .into_iter()
        .map(|group| {
            let question = Question {
                view,
                proxy,
                group,
                joined,
                apart,
                demand: view.demand(proxy),
            };
            question.answer()
        })
        .collect()
}

/// Clients that are looked at together.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// `None`: everyone.
    process: Option<u32>,
    /// Their part of the undisturbed calls.
    share: f64,
    breakers: Option<u32>,
}

/// By process, where nearly every call has one; else everyone.
fn groups(view: &View<'_>, calls: &Calls) -> Vec<Group> {
    let mut by: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let mut known = 0;
    for call in &calls.calls {
        if let Who::Process(pid) = call.who {
            known += 1;
            let counts = by.entry(pid).or_default();
            counts.0 += 1;
            counts.1 += u64::from(view.baseline.contains(call.start));
        }
    }
    let all = calls.calls.len() as u64;
    if known == 0 || known * 20 < all * 19 {
        return vec![Group {
            process: None,
            share: 1.0,
            breakers: view.workers,
        }];
    }
    let undisturbed: u64 = by.values().map(|(_, baseline)| baseline).sum();
    by.iter()
        .filter(|(_, (calls, _))| calls * 50 >= all)
        .map(|(pid, (calls, baseline))| Group {
            process: Some(*pid),
            share: if undisturbed > 0 {
                *baseline as f64 / undisturbed as f64
            } else {
                *calls as f64 / all as f64
            },
            breakers: Some(1),
        })
        .collect()
}

struct Question<'q, 't> {
    view: &'q View<'t>,
    proxy: ProxyIndex,
    group: Group,
    joined: &'q Calls,
    apart: &'q Calls,
    demand: Result<&'q Demand, &'q Unknown>,
}

impl Question<'_, '_> {
    fn answer(&self) -> Breaker {
        let dependency = self.view.trace.header.name(self.proxy).to_owned();
        let found = self.basis().and_then(|demand| self.open_at(demand));
        let (process, breakers) = (self.group.process, self.group.breakers);
        match found {
            Ok(open) => Breaker {
                dependency,
                process,
                breakers,
                opening: open.opening(),
                threshold: open.threshold(),
                open_seconds: open.open_seconds(),
                probes: open.episodes.probes(),
                closing: open.episodes.closing(),
                fails_fast: fail_fast::measure(self.view, open.demand, &open.silences),
                episodes: open.episodes.list(),
            },
            Err(Closed(without)) => Breaker {
                dependency,
                process,
                breakers,
                opening: without.0,
                threshold: unknown(&without.1),
                open_seconds: unknown(&without.1),
                probes: unknown(&without.1),
                closing: unknown(&without.1),
                fails_fast: unknown(&without.1),
                episodes: Vec::new(),
            },
        }
    }

    /// What every answer needs.
    fn basis(&self) -> Result<&Demand, Closed> {
        let demand = self.demand.map_err(Clone::clone);
        let affected = self.view.affected(self.proxy).ok_or_else(|| {
            Unknown::new(
                "no fault touched a request to this dependency",
                "let the fault match what the service asks, and the phase last long enough for it",
            )
        });
        let whole = self.view.complete(self.proxy);
        demand
            .and_then(|demand| affected.map(|_| demand))
            .and_then(|demand| whole.map(|()| demand))
            .map_err(|missing| Closed::of(unknown(&missing), missing))
    }

    fn calls<'c>(&self, calls: &'c Calls) -> Vec<&'c Call> {
        let all = calls.calls.iter();
        match self.group.process {
            None => all.collect(),
            Some(pid) => all.filter(|c| c.who == Who::Process(pid)).collect(),
        }
    }

    /// The times in which it was open.
    fn open_at<'d>(&self, demand: &'d Demand) -> Result<Open<'_, 'd>, Closed> {
        let calls: Vec<Call> = self.calls(self.joined).into_iter().copied().collect();
        let affected = self.view.affected(self.proxy).map_or(0, |span| span.from);
        let mut silences = silences(self.view, self.proxy, &calls, demand, self.group.share);
        silences.retain(|s| s.span.to > affected);
        let alone = match self.group.process {
            Some(pid) => self
                .borrow_causes(demand, &mut silences)
                .map(|alone| (pid, alone)),
            None => None,
        };
        let closed = |why: &str| Closed::stayed(self, demand, &calls, why);
        if let Some((pid, alone)) = alone
            && silences.first().is_none_or(|s| alone.from < s.span.from)
        {
            return Err(self.silent_alone(pid, alone));
        }
        let Some(first) = silences.first() else {
            return Err(closed("calls went on"));
        };
        if !silences.iter().any(|s| s.cause.may_be_open()) {
            return Err(closed(match first.cause {
                Cause::Blocked => {
                    "calls ceased because requests hang, not because a breaker is open"
                }
                Cause::Reconnecting => "between attempts the client library waits by itself",
                Cause::Dead => "the service itself did not answer",
                _ => "what the service did while no calls came fits no breaker",
            }));
        }
        silences.retain(|s| s.cause.may_be_open());
        let first = silences[0].span;
        let behind = MAX_LAG + self.view.late(self.view.span);
        keep_provoked(&mut silences, &calls, affected, behind);
        if silences.is_empty() {
            return Err(self.unprovoked(demand, &calls, first));
        }
        let episodes = Episodes::of(self.view, self.proxy, demand, &calls, &silences);
        let trip = Span {
            from: affected,
            to: silences[0].span.from.saturating_add(SECOND),
        };
        let late = self.view.late(trip);
        Ok(Open {
            question: self,
            demand,
            silences,
            episodes,
            lag: lag(self.view, &calls) + late,
            late,
        })
    }

    /// Requests cannot be told apart by process, so what they looked like is known only where every process was silent: of the others
    /// none is kept, and the first is answered.
    fn borrow_causes(&self, demand: &Demand, silences: &mut Vec<Silence>) -> Option<Span> {
        let everyone =
            super::silence::silences(self.view, self.proxy, &self.joined.calls, demand, 1.0);
        let mut alone = None;
        silences.retain_mut(|silence| {
            let span = silence.span;
            let during = |s: &&Silence| s.span.from < span.to && span.from < s.span.to;
            let all = everyone.iter().find(during);
            match all {
                Some(all) => silence.cause = all.cause,
                None => alone = alone.or(Some(span)),
            }
            all.is_some()
        });
        alone
    }

    /// A process made no calls while others did.
    fn silent_alone(&self, pid: u32, span: Span) -> Closed {
        let sessions = self.view.passed(self.proxy).sessions.values();
        let middle = span.from + span.length() / 2;
        let has_one = |s: &Session| {
            s.pid == Some(pid) && s.opened <= middle && s.closed.is_none_or(|(at, _)| at > middle)
        };
        let gone = if sessions.filter(|s| s.turned_away.is_none()).any(has_one) {
            ""
        } else {
            ", and it had no connection any more: it may have ended"
        };
        let missing = Unknown::new(
            format!(
                "process {pid} made no calls for {:.1} s while others did; what its own requests were answered is not known{gone}",
                seconds(span.length())
            ),
            "a service of one process (`workers = 1`) that lives as long as the test",
        );
        Closed::of(unknown(&missing), missing)
    }

    /// Calls ceased, but nothing had failed that could have opened a breaker.
    fn unprovoked(&self, demand: &Demand, calls: &[Call], span: Span) -> Closed {
        if !early::answers(self.view, self.proxy).is_empty() {
            return Closed::stayed(self, demand, calls, "calls went on");
        }
        let missing = Unknown::new(
            format!(
                "no calls came for {:.1} s, but none had failed just before: a cache that holds what is asked looks like that",
                seconds(span.length())
            ),
            "a fault that makes calls fail (`error`, or `latency` above the timeout)",
        );
        Closed::of(unknown(&missing), missing)
    }
}

/// Keeps the silences before which a call failed, since the fault began or since the one before ended; and
/// after which none began that the client can have known of it by then: it opens at a failure. `lag`: how far it is behind.
fn keep_provoked(silences: &mut Vec<Silence>, calls: &[Call], affected: u64, lag: u64) {
    let mut since = affected;
    silences.retain(|silence| {
        let before = calls.partition_point(|c| c.start < silence.span.from);
        let last = calls[..before].last().map_or(0, |c| c.start);
        let fault = Span {
            from: since.max(last.saturating_sub(lag)),
            to: silence.span.from.saturating_add(1),
        };
        let provoked = calls.iter().any(|c| c.failed && fault.contains(c.end));
        if provoked {
            since = silence.span.to;
        }
        provoked
    });
}

fn unknown<T>(missing: &Unknown) -> Finding<T> {
    Finding {
        answer: Err(missing.clone()),
        evidence: Evidence::default(),
    }
}

/// How long the client takes from a reply on the wire to what it does next, all but one time in a hundred.
fn lag(view: &View<'_>, calls: &[Call]) -> u64 {
    let requests = view.api_requests();
    let hands: Sample = calls
        .iter()
        .filter_map(|call| {
            let request = requests.get(call.api?)?.attempt;
            request.ended.checked_sub(call.end)
        })
        .collect();
    hands.quantile(0.99).unwrap_or(LAG).clamp(LAG, MAX_LAG)
}

/// It was seen open.
struct Open<'q, 'd> {
    question: &'q Question<'q, 'q>,
    demand: &'d Demand,
    silences: Vec<Silence>,
    episodes: Episodes,
    /// How far the client is behind what is recorded.
    lag: u64,
    /// How late what is recorded may be.
    late: u64,
}

impl Open<'_, '_> {
    fn first(&self) -> &Silence {
        // `open_at` keeps at least one.
        &self.silences[0]
    }

    fn opening(&self) -> Finding<Opening> {
        let mut evidence = Evidence::default();
        for silence in &self.silences {
            evidence.observe(silence.span.from);
        }
        let first = self.first();
        evidence.figure("calls_due", first.due);
        evidence.figure("silent_seconds", seconds(first.span.length()));
        evidence.figure("rejected", first.rejected as f64);
        if first.cause == Cause::FallsBack {
            evidence.note("requests succeed without a call: a fallback, or a cache that happened to hold what was asked");
        }
        Finding::known(Opening::Opened { cause: first.cause }, evidence)
    }

    /// How long it stayed open, where every episode agrees.
    fn open_seconds(&self) -> Finding<Interval<f64>> {
        let mut evidence = Evidence::default();
        let bounds: Vec<Interval<u64>> = self
            .silences
            .iter()
            .enumerate()
            .filter_map(|(at, silence)| self.open_time(at, silence))
            .collect();
        for silence in &self.silences {
            evidence.observe(silence.span.from);
        }
        let Some(first) = bounds.first() else {
            return Finding::unknown(
                "it was still open when the recording ended",
                "a recovery phase longer than its open time",
                evidence,
            );
        };
        let agreed = bounds.iter().try_fold(*first, |all, bound| all.and(bound));
        let in_seconds = |i: Interval<u64>| Interval::new(seconds(i.low), seconds(i.high));
        if let Some(agreed) = agreed {
            return Finding::known(in_seconds(agreed), evidence);
        }
        let grew = bounds
            .windows(2)
            .all(|pair| pair[1].low as f64 > GROWTH * pair[0].low as f64);
        evidence.note(if grew {
            "it stays open longer each time"
        } else {
            "it does not stay open for the same time each time"
        });
        let low = bounds.iter().map(|b| b.low).min().unwrap_or(first.low);
        let high = bounds.iter().map(|b| b.high).max().unwrap_or(first.high);
        Finding::known(in_seconds(Interval::new(low, high)), evidence)
    }

    /// From the trip to the first call after it: bounded by the last refusal from below, by that call from above.
    fn open_time(&self, at: usize, silence: &Silence) -> Option<Interval<u64>> {
        if silence.open_ended {
            return None;
        }
        let trip = self.episodes.trip(at, self.lag)?;
        let high = silence.span.to.saturating_sub(trip.low) + self.late;
        // A refusal may be another process's, whose breaker tripped later.
        let refused = self
            .last_refused(silence)
            .filter(|_| self.question.group.process.is_none());
        let low = refused.map_or(0, |last| {
            last.saturating_sub(trip.high.saturating_add(self.lag))
        });
        Some(Interval::new(low.min(high), high))
    }

    /// When the last request began that was refused because it was open. Those just before the call that ends the silence may
    /// have been refused because that one was on its way already.
    fn last_refused(&self, silence: &Silence) -> Option<u64> {
        let span = Span {
            from: silence.span.from,
            to: silence.span.to.saturating_sub(self.lag),
        };
        requests(self.question.view, self.demand, span)
            .filter(|r| r.attempt.ended <= silence.span.to && r.attempt.outcome.is_answered())
            .map(|r| r.attempt.begun)
            .max()
    }
}

/// Calls are back when as many come as are due, over this time.
pub(super) const BACK_WINDOW: u64 = SECOND;

/// Share of the calls due that counts as all of them.
pub(super) const BACK_SHARE: f64 = 0.9;

#[cfg(test)]
mod tests;
