//! Times in which calls were due and none came, and why.

use super::calls::Call;
use super::demand::Demand;
use super::sample::Sample;
use super::view::{Seen, Span, View};
use super::{MILLISECOND, SECOND};
use crate::measure::trace::{Outcome, ProxyIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;

/// Calls that must have been due for their absence to mean something: with as many, a Poisson process is silent once in a
/// thousand times.
pub const DUE: f64 = 7.0;

/// The shortest silence that is looked at.
pub const SHORTEST: u64 = 100 * MILLISECOND;

/// Share of the requests that decides what a silence is.
const MOST: f64 = 0.8;

/// What a silence looks like from the service's own API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Requests fail at once without a call: an open breaker.
    FailsFast,
    /// Requests succeed at once without a call: an open breaker with a fallback, or a cache.
    FallsBack,
    /// Requests hang: they wait for a connection of the pool, or for each other.
    Blocked,
    /// New connections are tried all the while: the client library waits between attempts.
    Reconnecting,
    /// The service itself does not answer.
    Dead,
    /// None of these for most requests.
    Mixed,
}

impl Cause {
    /// Whether a breaker would look like that.
    pub const fn may_be_open(self) -> bool {
        matches!(self, Self::FailsFast | Self::FallsBack)
    }
}

/// A time in which calls were due and none came.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// From the end of the last call before it to the begin of the first after it.
    pub span: Span,
    /// Whether it lasted to the end of the recording: its true end is later.
    pub open_ended: bool,
    /// Calls that were due.
    pub due: f64,
    /// What it looks like.
    pub cause: Cause,
    /// The first request that was answered without a call: when it was answered.
    pub first_rejected: Option<u64>,
    /// How many.
    pub rejected: u64,
}

/// All silences of calls, by time. `share` is the part of the demand that these calls are of (1 where they are all there are).
pub fn silences(
    view: &View<'_>,
    proxy: ProxyIndex,
    calls: &[Call],
    demand: &Demand,
    share: f64,
) -> Vec<Silence> {
    let usual = OnceCell::new();
    let usual = || *usual.get_or_init(|| usual_latency(view, demand));
    let mut found = Vec::new();
    let mut busy_until = 0;
    for (at, call) in calls.iter().enumerate() {
        busy_until = busy_until.max(call.end);
        let next = calls.get(at + 1).map(|c| c.start);
        let span = Span {
            from: busy_until,
            to: next.unwrap_or(view.span.to),
        };
        if span.from >= span.to || span.length() < SHORTEST {
            continue;
        }
        let due = demand.expected(view, span) * share;
        if due >= DUE {
            found.push(look(
                view,
                proxy,
                demand,
                (span, usual()),
                due,
                next.is_none(),
            ));
        }
    }
    found
}

fn look(
    view: &View<'_>,
    proxy: ProxyIndex,
    demand: &Demand,
    (span, usual): (Span, u64),
    due: f64,
    open_ended: bool,
) -> Silence {
    let inside: Vec<&Seen<'_>> = requests(view, demand, span).collect();
    let rejected: Vec<&&Seen<'_>> = inside
        .iter()
        .filter(|r| r.attempt.ended <= span.to && r.attempt.outcome.is_answered())
        .collect();
    Silence {
        span,
        open_ended,
        due,
        cause: cause(view, proxy, &inside, span, usual),
        first_rejected: rejected.iter().map(|r| r.attempt.ended).min(),
        rejected: rejected.len() as u64,
    }
}

/// Requests that began in a time and usually make calls.
pub fn requests<'v, 't>(
    view: &'v View<'t>,
    demand: &'v Demand,
    span: Span,
) -> impl Iterator<Item = &'v Seen<'t>> {
    let all = view.api_requests();
    let first = all.partition_point(|r| r.attempt.begun < span.from);
    all[first..]
        .iter()
        .take_while(move |r| r.attempt.begun < span.to)
        .filter(|r| demand.needs(r.attempt.operation))
}

/// What undisturbed requests that make calls take at most, but for one in twenty.
fn usual_latency(view: &View<'_>, demand: &Demand) -> u64 {
    let usual: Sample = requests(view, demand, view.baseline)
        .map(|r| r.attempt.latency())
        .collect();
    usual.quantile(0.95).unwrap_or(0)
}

fn cause(
    view: &View<'_>,
    proxy: ProxyIndex,
    inside: &[&Seen<'_>],
    span: Span,
    usual: u64,
) -> Cause {
    let all = inside.len() as f64;
    let most = |count: usize| count as f64 >= MOST * all;
    // Slow is what no undisturbed request was, by far.
    let limit = (3 * usual).max(50 * MILLISECOND);
    let slow = |r: &&&Seen<'_>| {
        r.attempt.latency() > limit || (r.attempt.ended > span.to && span.length() > limit)
    };
    let fast = |outcome: fn(Outcome) -> bool| {
        inside
            .iter()
            .filter(|r| !slow(r) && outcome(r.attempt.outcome))
            .count()
    };
    let gone = |outcome| matches!(outcome, Outcome::UpstreamGone | Outcome::Cut);
    if most(fast(gone)) {
        return Cause::Dead;
    }
    let opened = connections(view, proxy, span);
    if opened >= 2 && opened as f64 / (span.length() as f64 / SECOND as f64) >= 0.5 {
        return Cause::Reconnecting;
    }
    if most(fast(|outcome| {
        matches!(outcome, Outcome::Failed | Outcome::Refused)
    })) {
        Cause::FailsFast
    } else if most(fast(|outcome| outcome == Outcome::Ok)) {
        Cause::FallsBack
    } else if most(inside.iter().filter(slow).count()) {
        Cause::Blocked
    } else {
        Cause::Mixed
    }
}

/// Connections that came in a time.
fn connections(view: &View<'_>, proxy: ProxyIndex, span: Span) -> usize {
    let sessions = view.passed(proxy).sessions.values();
    sessions.filter(|s| span.contains(s.opened)).count()
}
