//! Use of a client's connection pool: how many of its connections had a request under way, or a transaction open: between two of its
//! statements nobody else can have the connection.

use super::finding::{Evidence, Finding};
use super::transactions;
use super::view::{Span, View};
use crate::measure::trace::ProxyIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Use of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolUse {
    /// Connections that were busy at once, at most.
    pub most_busy: u64,
    /// Connections that were open at once, at most.
    pub most_open: u64,
    /// Mean of the busy ones over time.
    pub mean_busy: f64,
    /// The most that the pool may hold: as declared, else the most that were open.
    pub size: u64,
    /// Whether the size was declared.
    pub declared: bool,
    /// Mean of the busy ones over the size: 0 to 1.
    pub utilisation: f64,
    /// Share of the time in which all were busy.
    pub exhausted: f64,
}

/// Use of the pool behind a proxy in a time.
pub fn infer(view: &View<'_>, proxy: ProxyIndex, span: Span) -> Finding<PoolUse> {
    let mut evidence = Evidence::default();
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let passed = view.passed(proxy);
    let busy = passed.work.iter().chain(&passed.other).filter_map(|seen| {
        let a = seen.attempt;
        clip(a.begun, a.ended, span).map(|(from, to)| (a.session, from, to))
    });
    let mut busy: Vec<(u64, u64, u64)> = busy.chain(transactions(view, proxy, span)).collect();
    busy.sort_unstable();
    // Of one session, requests that overlap are one busy time.
    let mut merged: Vec<(u64, u64, u64)> = Vec::new();
    for (session, from, to) in busy {
        match merged.last_mut() {
            Some(last) if last.0 == session && from <= last.2 => last.2 = last.2.max(to),
            _ => merged.push((session, from, to)),
        }
    }
    for (_, from, _) in &merged {
        evidence.observe(*from);
    }
    if merged.is_empty() || span.length() == 0 {
        return Finding::unknown("nothing passed", "load in this phase", evidence);
    }
    // One that a fault turned away never was of the pool, and nobody sees it closed.
    let taken = passed.sessions.values();
    let taken = taken.filter(|s| s.turned_away.is_none());
    let open = taken.filter_map(|s| {
        let to = s.closed.map_or(view.span.to, |(at, _)| at);
        clip(s.opened, to, span)
    });
    let most_open = most(open);
    let declared = view.trace.header.get(proxy).and_then(|p| p.pool);
    let size = declared.map_or(most_open, u64::from).max(1);
    let times = || merged.iter().map(|(_, from, to)| (*from, *to));
    let sum: u64 = times().map(|(from, to)| to - from).sum();
    let full = full_time(times(), size);
    let length = span.length() as f64;
    let mean = sum as f64 / length;
    Finding::known(
        PoolUse {
            most_busy: most(times()),
            most_open,
            mean_busy: mean,
            size,
            declared: declared.is_some(),
            utilisation: mean / size as f64,
            exhausted: full as f64 / length,
        },
        evidence,
    )
}

/// Session, begin and end of each transaction in a time.
fn transactions(
    view: &View<'_>,
    proxy: ProxyIndex,
    span: Span,
) -> impl Iterator<Item = (u64, u64, u64)> {
    let all = transactions::of(view, proxy).into_iter();
    all.filter_map(move |t| clip(t.begun?, t.ended, span).map(|(f, to)| (t.session, f, to)))
}

fn clip(from: u64, to: u64, span: Span) -> Option<(u64, u64)> {
    let (from, to) = (from.max(span.from), to.min(span.to));
    (from < to).then_some((from, to))
}

fn edges(times: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, i64)> {
    let mut edges: Vec<(u64, i64)> = times.flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    edges.sort_unstable();
    edges
}

/// The most times that overlap.
fn most(times: impl Iterator<Item = (u64, u64)>) -> u64 {
    let (mut now, mut most) = (0_i64, 0);
    for (_, step) in edges(times) {
        now += step;
        most = most.max(now);
    }
    u64::try_from(most).unwrap_or(0)
}

/// Time in which at least so many overlap.
fn full_time(times: impl Iterator<Item = (u64, u64)>, least: u64) -> u64 {
    let (mut now, mut since, mut full) = (0_i64, 0, 0);
    for (at, step) in edges(times) {
        let before = u64::try_from(now).unwrap_or(0) >= least;
        now += step;
        let after = u64::try_from(now).unwrap_or(0) >= least;
        match (before, after) {
            (false, true) => since = at,
            (true, false) => full += at - since,
            _ => {}
        }
    }
    full
}
