//! How long a service takes to notice that a dependency is gone.
//!
//! It counts from the first request that the fault touched, not from its being switched on: before that there is nothing to
//! notice. It ends with the first thing that the service does about it.

use super::early::{self, EarlyAnswer};
use super::finding::{Evidence, Finding, Unknown};
use super::timeout::Cascades;
use super::view::{Span, View};
use super::{MILLISECOND, SECOND, seconds, went_on};
use crate::measure::trace::{Outcome, ProxyIndex, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When it noticed is known as well as this, or not at all.
const SHARP: u64 = 100 * MILLISECOND;

/// In the evidence, where no reaction came: the longest that a touched request was waited for, in seconds.
pub const LONGEST_HELD: &str = "longest_held_seconds";

/// What the service did first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// It got an error, and so knew at once.
    Told,
    /// It gave up on a request and closed its connection.
    GaveUp,
    /// It asked the server to cancel the statement.
    Cancelled,
    /// It went on to its next call without waiting for the dependency.
    WentOn,
    /// It answered its own caller without waiting for the dependency.
    Answered,
}

/// When it noticed. Seconds from the first request that was touched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detection {
    /// To the first reaction.
    pub first_seconds: f64,
    /// What that was.
    pub reaction: Reaction,
    /// The longest that a touched request was waited for.
    pub slowest_seconds: f64,
}

/// When the service noticed what a fault did to this dependency.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Detection> {
    let mut evidence = Evidence::default();
    let Some(affected) = view.affected(proxy) else {
        return Finding::unknown(
            "no fault touched a request to this dependency",
            "let the fault match what the service asks, and the phase last long enough for it",
            evidence,
        );
    };
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let heard = Heard::of(view, proxy, affected, &mut evidence);
    let (first, missing) = heard.first(view, proxy, affected);
    if let Some(missing) = missing {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let Some((at, reaction)) = first else {
        let watched = seconds(view.span.to.saturating_sub(affected.from));
        evidence.figure("watched_seconds", watched);
        evidence.figure(LONGEST_HELD, seconds(heard.slowest));
        return Finding::unknown(
            format!("nothing that the service did in {watched:.1} s was a reaction"),
            "a fault phase longer than the limit, if this one was shorter; else the service waits without end",
            evidence,
        );
    };
    evidence.figure("touched_requests", heard.touched as f64);
    Finding::known(
        Detection {
            first_seconds: seconds(at - affected.from),
            reaction,
            slowest_seconds: seconds(heard.slowest),
        },
        evidence,
    )
}

/// What the proxy itself saw of reactions.
struct Heard {
    touched: usize,
    reactions: Vec<(u64, Reaction)>,
    /// The longest that a touched request was waited for.
    slowest: u64,
    /// Calls that ended with the service's own caller, who left.
    callers_left: usize,
}

impl Heard {
    fn of(view: &View<'_>, proxy: ProxyIndex, affected: Span, evidence: &mut Evidence) -> Self {
        let mut heard = Self {
            touched: 0,
            reactions: Vec::new(),
            slowest: 0,
            callers_left: 0,
        };
        let cascades = Cascades::of(view, proxy);
        heard.reactions = cancels(view, proxy, affected, &cascades).collect();
        let passed = view.passed(proxy);
        for seen in passed.work.iter().filter(|s| s.attempt.fault.is_some()) {
            let attempt = seen.attempt;
            evidence.example(attempt.begun, seen.record);
            heard.touched += 1;
            heard.slowest = heard
                .slowest
                .max(attempt.ended.saturating_sub(attempt.begun));
            if cascades.has(seen.record) {
                heard.callers_left += 1;
                continue;
            }
            let reaction = match attempt.outcome {
                Outcome::ClientGone => Reaction::GaveUp,
                Outcome::Failed | Outcome::Refused | Outcome::UpstreamGone | Outcome::Cut => {
                    Reaction::Told
                }
                Outcome::Ok | Outcome::Outstanding => continue,
            };
            heard.reactions.push((attempt.ended, reaction));
        }
        let away = passed.sessions.values().filter(|s| s.turned_away.is_some());
        for session in away {
            let at = session.closed.map_or(session.opened, |(at, _)| at);
            evidence.observe(at);
            heard.reactions.push((at, Reaction::Told));
        }
        heard
    }

    /// The first reaction; and why it may not have been the first, or why none may say nothing.
    fn first(
        &self,
        view: &View<'_>,
        proxy: ProxyIndex,
        affected: Span,
    ) -> (Option<(u64, Reaction)>, Option<Unknown>) {
        let early = early::answers(view, proxy);
        let is_sharp = |a: &&EarlyAnswer| a.to - a.from <= SHARP;
        let answered = early.iter().filter(is_sharp);
        let all = self.reactions.iter().copied();
        let all = all.chain(answered.map(|a| (a.to, Reaction::Answered)));
        let all = all.chain(went_on::first(view, proxy).map(|at| (at, Reaction::WentOn)));
        let first = all.filter(|r| r.0 >= affected.from).min();
        let blurred = early.iter().filter(|a| !is_sharp(a));
        let before = |a: &&EarlyAnswer| first.is_none_or(|(at, _)| a.from + SHARP < at);
        let missing = match blurred.filter(before).count() {
            0 if first.is_some() || self.callers_left == 0 => None,
            0 => Some(Unknown::new(
                format!(
                    "{} calls ended only as the service's own callers left: it had no time to do anything itself",
                    self.callers_left
                ),
                "load whose own `timeout` is longer than the limit",
            )),
            some => Some(Unknown::new(
                format!(
                    "with several requests under way, {some} may have been answered without waiting for what was asked for them: \
                     when the first was is not known"
                ),
                "a route that is asked one at a time (a canary lane), or a service that closes what it gives up",
            )),
        };
        (first, missing)
    }
}

fn cancels(
    view: &View<'_>,
    proxy: ProxyIndex,
    affected: Span,
    cascades: &Cascades,
) -> impl Iterator<Item = (u64, Reaction)> {
    view.trace
        .records
        .iter()
        .filter_map(move |record| match record {
            Record::Cancel {
                at,
                proxy: p,
                target,
            } if *p == proxy
                && *at >= affected.from
                && view.keeps(*at)
                && !target.is_some_and(|target| cascades.has_cancel(target, *at)) =>
            {
                Some((*at, Reaction::Cancelled))
            }
            _ => None,
        })
}

/// The longest time in which a detection is looked for that never came: for the message of a verdict.
pub fn watched(view: &View<'_>, proxy: ProxyIndex) -> u64 {
    view.affected(proxy)
        .map_or(0, |span| view.span.to.saturating_sub(span.from))
        .min(3_600 * SECOND)
}
