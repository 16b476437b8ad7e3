//! How long a service takes to notice that a dependency is gone.
//!
//! It counts from the first request that the fault touched, not from its being switched on: before that there is nothing to
//! notice. It ends with the first thing that the service does about it.

use super::calls::{Calls, Reading};
use super::finding::{Evidence, Finding};
use super::view::{Span, View};
use super::{MILLISECOND, SECOND, seconds};
use crate::measure::trace::{Outcome, ProxyIndex, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two things that one decision causes are not further apart.
const MOMENT: u64 = 10 * MILLISECOND;

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
    let touched: Vec<_> = view
        .passed(proxy)
        .work
        .iter()
        .filter(|s| s.attempt.fault.is_some())
        .collect();
    let mut reactions: Vec<(u64, Reaction)> = Vec::new();
    let mut slowest = 0;
    for seen in &touched {
        let attempt = seen.attempt;
        evidence.example(attempt.begun, seen.record);
        slowest = slowest.max(attempt.ended.saturating_sub(attempt.begun));
        match attempt.outcome {
            Outcome::ClientGone => reactions.push((attempt.ended, Reaction::GaveUp)),
            Outcome::Failed | Outcome::Refused | Outcome::UpstreamGone | Outcome::Cut => {
                reactions.push((attempt.ended, Reaction::Told));
            }
            Outcome::Ok | Outcome::Outstanding => {}
        }
    }
    for session in view.passed(proxy).sessions.values() {
        if session.turned_away.is_some() {
            let at = session.closed.map_or(session.opened, |(at, _)| at);
            evidence.observe(at);
            reactions.push((at, Reaction::Told));
        }
    }
    reactions.extend(cancels(view, proxy, affected));
    reactions.extend(early_answers(view, proxy));
    let Some((at, reaction)) = reactions.into_iter().filter(|r| r.0 >= affected.from).min() else {
        let watched = seconds(view.span.to.saturating_sub(affected.from));
        evidence.figure("watched_seconds", watched);
        return Finding::unknown(
            format!("nothing that the service did in {watched:.1} s was a reaction"),
            "a fault phase longer than the limit, if this one was shorter; else the service waits without end",
            evidence,
        );
    };
    evidence.figure("touched_requests", touched.len() as f64);
    Finding::known(
        Detection {
            first_seconds: seconds(at - affected.from),
            reaction,
            slowest_seconds: seconds(slowest),
        },
        evidence,
    )
}

fn cancels(
    view: &View<'_>,
    proxy: ProxyIndex,
    affected: Span,
) -> impl Iterator<Item = (u64, Reaction)> {
    view.trace
        .records
        .iter()
        .filter_map(move |record| match record {
            Record::Cancel { at, proxy: p, .. } if *p == proxy && *at >= affected.from => {
                Some((*at, Reaction::Cancelled))
            }
            _ => None,
        })
}

/// Requests of the service's own API that were answered while their touched call was still waited for.
fn early_answers(view: &View<'_>, proxy: ProxyIndex) -> Vec<(u64, Reaction)> {
    let requests = view.api_requests();
    let calls = Calls::of(view, proxy, Reading::Joined);
    let answered = calls.calls.iter().filter(|c| c.affected).filter_map(|c| {
        let request = requests.get(c.api?)?.attempt;
        // A client that gives up closes its connection and answers at the same moment, in either order.
        let early = request.outcome.is_answered() && request.ended + MOMENT < c.end;
        early.then_some((request.ended, Reaction::Answered))
    });
    answered.collect()
}

/// The longest time in which a detection is looked for that never came: for the message of a verdict.
pub fn watched(view: &View<'_>, proxy: ProxyIndex) -> u64 {
    view.affected(proxy)
        .map_or(0, |span| view.span.to.saturating_sub(span.from))
        .min(3_600 * SECOND)
}
