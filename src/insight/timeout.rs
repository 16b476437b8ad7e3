//! The timeouts that a client is set to, from the ages at which it gave up.
//!
//! Timers fire late and never early, so a setting shows as the lower edge of a narrow heap of ages. Ages that are spread wide
//! come from something else: a user who left, a pool that was recycled.

use super::early::{self, MOMENT};
use super::finding::{Evidence, Finding};
use super::sample::Sample;
use super::view::{Span, View};
use super::{MILLISECOND, millis};
use crate::measure::trace::{Attempt, Outcome, ProxyIndex, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Ages that a setting is read from, at least.
const LEAST: usize = 5;

/// The most that one heap of ages is wide, as a share of its middle.
const NARROW: f64 = 0.15;

/// ... and in any case so much: timers of busy event loops fire late.
const SLACK: u64 = 15 * MILLISECOND;

/// How close ages are that follow closely, at least; else a thirty-third.
const CLOSE: u64 = 5 * MILLISECOND;

/// The proxy may usually be late by one part in so many of an age.
const SHARE_LATE: u64 = 10;

/// In the evidence: the longest that a request was waited for, in milliseconds, as far as that is known.
pub const LONGEST_WAIT: &str = "longest_wait_ms";

/// A request that had its reply earlier did not hang.
pub(super) const HANG: u64 = 50 * MILLISECOND;

/// How it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// It closes the connection.
    Closes,
    /// It asks the server to cancel, on a connection of its own.
    Cancels,
}

/// A timeout, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeout {
    /// What it is set to, as far as can be seen.
    pub ms: f64,
    /// The most that a request was waited for, as far as that is known: also one that nobody gave up.
    pub longest_ms: f64,
    /// How it gives up.
    pub manner: Manner,
    /// Other ages around which it gave up, in milliseconds.
    pub also_ms: Vec<f64>,
}

/// What is known of waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "waits", rename_all = "snake_case")]
pub enum Waiting {
    /// It gives up.
    GivesUp(Timeout),
    /// It never did, though requests hung as long as this, in milliseconds.
    Without {
        /// The longest that a request hung.
        longest_ms: f64,
    },
}

/// The timeout of the clients of a proxy.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Waiting> {
    let mut evidence = Evidence::default();
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let cancels = Cancels::of(view, proxy);
    let cascades = Cascades::of(view, proxy);
    let (closed, hangs) = closed_ages(view, proxy, (&cancels, &cascades), &mut evidence);
    let cancelled = cancel_ages(view, proxy, (&cancels, &cascades), &mut evidence);
    let longest_hang = hangs.iter().map(|(_, age)| *age).max().unwrap_or(0);
    let longest = [closed.max(), cancelled.max()]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(0);
    let (ages, manner) = if cancelled.len() > closed.len() {
        (cancelled, Manner::Cancels)
    } else {
        (closed, Manner::Closes)
    };
    evidence.figure("longest_hang_ms", millis(longest_hang));
    let went_on = early::answers(view, proxy).len();
    if went_on > 0 {
        evidence.figure("went_on_without", went_on as f64);
    }
    // Of what it went on without it is not known how long it waited.
    let longest = if went_on > 0 {
        longest
    } else {
        longest.max(longest_hang)
    };
    evidence.figure(LONGEST_WAIT, millis(longest));
    if ages.is_empty() && went_on > 0 {
        return Finding::unknown(
            format!(
                "the service answered {went_on} of its callers while what it had asked for them was still out: it gave up without \
                 closing the connection, or did not need the reply"
            ),
            "have the service close or cancel what it gives up",
            evidence,
        );
    }
    if ages.is_empty() && longest_hang >= HANG {
        let longest_ms = millis(longest_hang);
        for (at, _) in hangs.iter().filter(|(_, age)| *age >= HANG) {
            evidence.observe(*at);
        }
        return Finding::known(Waiting::Without { longest_ms }, evidence);
    }
    if ages.len() < LEAST {
        return Finding::unknown(
            format!(
                "the client gave up on {} requests; {LEAST} are needed",
                ages.len()
            ),
            "a fault that makes requests hang (`stall`, or `latency` above the timeout), for longer",
            evidence,
        );
    }
    let heaps = heaps(&ages);
    let Some((first, others)) = heaps.split_first() else {
        return Finding::unknown(
            "the ages at which the client gave up are spread too wide for one setting",
            "load without users who leave early; a fault that hangs longer",
            evidence,
        );
    };
    let late = view.usually_late();
    if late.saturating_mul(SHARE_LATE) > *first {
        evidence.figure("proxy_late_ms", millis(late));
        return Finding::unknown(
            format!(
                "the proxy itself was often {:.0} ms late, too much for ages of {:.0} ms",
                millis(late),
                millis(*first)
            ),
            "less at once on this machine, or more cores",
            evidence,
        );
    }
    Finding::known(
        Waiting::GivesUp(Timeout {
            ms: millis(*first),
            longest_ms: millis(longest),
            manner,
            also_ms: others.iter().copied().map(millis).collect(),
        }),
        evidence,
    )
}

/// Ages of requests whose connection the client closed, without having asked to cancel them before; and of those that it did not give up like that, until when and how long each
/// was left without a reply, or until it was to be cancelled.
fn closed_ages(
    view: &View<'_>,
    proxy: ProxyIndex,
    (cancels, cascades): (&Cancels, &Cascades),
    evidence: &mut Evidence,
) -> (Sample, Vec<(u64, u64)>) {
    let mut hangs = Vec::new();
    let mut ages = Vec::new();
    for seen in &view.passed(proxy).work {
        let attempt = seen.attempt;
        let cancelled = cancels.first(attempt);
        let until = cancelled.unwrap_or(attempt.ended);
        let age = until.saturating_sub(attempt.asked);
        match attempt.outcome {
            Outcome::ClientGone if cancelled.is_none() && !cascades.has(seen.record) => {
                evidence.example(attempt.ended, seen.record);
                ages.push(attempt.latency());
            }
            Outcome::Outstanding => hangs.push((until, age)),
            _ if attempt.fault.is_some() => hangs.push((until, age)),
            _ => {}
        }
    }
    if !cascades.records.is_empty() {
        evidence.figure("callers_who_left", cascades.records.len() as f64);
    }
    (ages.into_iter().collect(), hangs)
}

/// Moments at which the client asked to cancel what a session was doing, by session, in order.
struct Cancels(HashMap<u64, Vec<u64>>);

impl Cancels {
    fn of(view: &View<'_>, proxy: ProxyIndex) -> Self {
        let mut cancels: HashMap<u64, Vec<u64>> = HashMap::new();
        for record in &view.trace.records {
            if let Record::Cancel {
                at,
                proxy: p,
                target: Some(target),
            } = *record
                && p == proxy
            {
                cancels.entry(target).or_default().push(at);
            }
        }
        Self(cancels)
    }

    /// The first while this was under way.
    fn first(&self, attempt: &Attempt) -> Option<u64> {
        let of = self.0.get(&attempt.session)?;
        let during = attempt.asked..=attempt.ended;
        of.iter().copied().find(|at| during.contains(at))
    }
}

/// Requests given up because a caller of the service had left: not a timeout of this client.
pub(super) struct Cascades {
    records: HashSet<usize>,
    /// Sessions, and when the client asked to cancel what they did.
    cancels: HashSet<(u64, u64)>,
}

impl Cascades {
    pub(super) fn of(view: &View<'_>, proxy: ProxyIndex) -> Self {
        let cancels = Cancels::of(view, proxy);
        let left = Left::of(view);
        let mut found = Self {
            records: HashSet::new(),
            cancels: HashSet::new(),
        };
        for seen in &view.passed(proxy).work {
            let attempt = seen.attempt;
            let cancelled = cancels.first(attempt);
            let gone = (attempt.outcome == Outcome::ClientGone).then_some(attempt.ended);
            // What was cancelled is closed later, if it is.
            let Some(gave_up) = cancelled.or(gone) else {
                continue;
            };
            if left.caused(view, attempt.begun, gave_up) {
                found.records.insert(seen.record);
                found
                    .cancels
                    .extend(cancelled.map(|at| (attempt.session, at)));
            }
        }
        found
    }

    pub(super) fn has(&self, record: usize) -> bool {
        self.records.contains(&record)
    }

    /// Whether the client asked then to cancel what a session did, for a caller who had left.
    pub(super) fn has_cancel(&self, target: u64, at: u64) -> bool {
        self.cancels.contains(&(target, at))
    }
}

/// Requests of the service's own API whose callers left: when, and when they had begun; in order.
struct Left(Vec<(u64, u64)>);

impl Left {
    fn of(view: &View<'_>) -> Self {
        let requests = view.api_requests().iter().map(|r| r.attempt);
        let left = requests.filter(|a| a.outcome == Outcome::ClientGone);
        let mut left: Vec<(u64, u64)> = left.map(|a| (a.ended, a.begun)).collect();
        left.sort_unstable();
        Self(left)
    }

    /// Whether one who left a moment before is why it was given up: his request was in flight when the call began.
    fn caused(&self, view: &View<'_>, begun: u64, gave_up: u64) -> bool {
        let about = Span {
            from: gave_up.saturating_sub(MOMENT),
            to: gave_up.saturating_add(1),
        };
        let from = about.from.saturating_sub(view.late(about)).max(begun);
        let first = self.0.partition_point(|(left, _)| *left < from);
        let before = self.0[first..]
            .iter()
            .take_while(|(left, _)| *left <= gave_up);
        before.into_iter().any(|(_, asked)| *asked <= begun)
    }
}

/// Ages of statements at the moment at which the client asked to cancel them.
fn cancel_ages(
    view: &View<'_>,
    proxy: ProxyIndex,
    (cancels, cascades): (&Cancels, &Cascades),
    evidence: &mut Evidence,
) -> Sample {
    let work = view.passed(proxy).work.iter();
    let own = work.filter(|seen| !cascades.has(seen.record));
    let cancelled = own
        .map(|seen| seen.attempt)
        .filter_map(|a| Some((a.asked, cancels.first(a)?)));
    let ages = cancelled.map(|(asked, at)| {
        evidence.observe(at);
        at - asked
    });
    ages.collect()
}

/// The lower edge of a heap: its first age that others follow closely. What comes before it are requests that the proxy saw late,
/// and so saw waiting for less than they did. `heap`: in order, not empty.
fn setting(heap: &[u64]) -> u64 {
    let close = |age: u64| {
        let until = age.saturating_add((age / 33).max(CLOSE));
        heap.partition_point(|v| *v <= until) - heap.partition_point(|v| *v < age)
    };
    let followed = heap
        .iter()
        .copied()
        .find(|age| close(*age) * 4 >= heap.len());
    followed.unwrap_or(heap[0])
}

/// The lower edges of narrow heaps of ages, the fullest first.
fn heaps(ages: &Sample) -> Vec<u64> {
    let mut heaps: Vec<(usize, u64)> = Vec::new();
    let values = ages.values();
    let mut from = 0;
    while from < values.len() {
        let edge = values[from];
        let width = ((edge as f64 * NARROW) as u64).max(SLACK);
        let to = values.partition_point(|v| *v <= edge.saturating_add(width));
        if to - from >= LEAST {
            heaps.push((to - from, setting(&values[from..to])));
        }
        from = to;
    }
    let all: usize = heaps.iter().map(|(n, _)| n).sum();
    // A heap or two among ages that lie everywhere are chance.
    if all * 5 < values.len() * 4 {
        return Vec::new();
    }
    heaps.sort_by_key(|(n, edge)| (std::cmp::Reverse(*n), *edge));
    heaps.into_iter().map(|(_, edge)| edge).collect()
}
