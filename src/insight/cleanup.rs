//! Whether a client cleans up behind a fault: connections closed or used again, transactions ended.

use super::finding::{Evidence, Finding};
use super::view::{Session, View};
use super::{SECOND, seconds, transactions};
use crate::measure::trace::{Outcome, ProxyIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A request that was given up must have freed its connection within this time.
const PROMPT: u64 = 5 * SECOND;

/// A transaction that nobody works in for longer than this is forgotten.
const FORGOTTEN: u64 = 5 * SECOND;

/// One that nobody works in for longer than this is not just between two statements.
const IDLE: u64 = SECOND;

/// Time after the fault that pools are given to settle.
pub(crate) const SETTLE: u64 = 5 * SECOND;

/// What was left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leftovers {
    /// Connections open at the end, beyond those before the fault and what a pool may grow to.
    pub extra_connections: u64,
    /// Connections open before the fault.
    pub connections_before: u64,
    /// Connections open at the end.
    pub connections_after: u64,
    /// Whether those beyond are too many for certain: the size of the pool is declared, or it grew with each of several faults. A pool
    /// of unknown size may grow once.
    #[serde(default)]
    pub extra_is_certain: bool,
    /// Connections that carried a touched request and were neither closed nor used again.
    pub stuck_connections: u64,
    /// Transactions that nobody ended or worked in for 5 s.
    pub forgotten_transactions: u64,
}

impl Leftovers {
    /// Whether nothing was left.
    pub const fn is_clean(&self) -> bool {
        self.extra_connections == 0
            && self.stuck_connections == 0
            && self.forgotten_transactions == 0
    }
}

/// What the clients of a proxy left behind.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Leftovers> {
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
    let left = view.asked_to.saturating_sub(affected.to);
    if left < SETTLE {
        return Finding::unknown(
            format!(
                "{:.1} s were watched after the fault; pools are given {:.0} s to settle",
                seconds(left),
                seconds(SETTLE)
            ),
            "a longer recovery phase",
            evidence,
        );
    }
    let stuck = stuck(view, proxy, &mut evidence);
    let forgotten = forgotten(view, proxy, &mut evidence);
    let sessions = &view.passed(proxy).sessions;
    let before = open_at(sessions.values(), affected.from);
    // A little before the end: whoever ends the recording also ends the load.
    let end = view.asked_to.saturating_sub(SECOND / 10);
    let after = open_at(sessions.values(), end);
    let declared = view.trace.header.get(proxy).and_then(|p| p.pool);
    let allowed = declared.map_or(before + (before / 10).max(2), u64::from);
    evidence.figure("connections_allowed", allowed.max(before) as f64);
    evidence.samples += before;
    Finding::known(
        Leftovers {
            extra_connections: after.saturating_sub(allowed.max(before)),
            connections_before: before,
            connections_after: after,
            extra_is_certain: declared.is_some() || grows_each_time(view, proxy, end),
            stuck_connections: stuck,
            forgotten_transactions: forgotten,
        },
        evidence,
    )
}

/// Whether more connections were left by each of several faults, one after the other.
fn grows_each_time(view: &View<'_>, proxy: ProxyIndex, end: u64) -> bool {
    let sessions = &view.passed(proxy).sessions;
    let moments = view.outbreaks().into_iter().chain([end]);
    let open: Vec<u64> = moments.map(|at| open_at(sessions.values(), at)).collect();
    open.len() > 2 && open.is_sorted_by(|before, after| before < after)
}

fn open_at<'s>(sessions: impl Iterator<Item = &'s Session>, at: u64) -> u64 {
    let open = |s: &&Session| {
        s.opened <= at && s.turned_away.is_none() && s.closed.is_none_or(|(closed, _)| closed > at)
    };
    sessions.filter(open).count() as u64
}

/// Connections of requests that were given up, but neither closed nor used again in time.
fn stuck(view: &View<'_>, proxy: ProxyIndex, evidence: &mut Evidence) -> u64 {
    let passed = view.passed(proxy);
    // In order, so that the same recording gives the same examples.
    let mut last_touched: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    let mut last_answer: HashMap<u64, u64> = HashMap::new();
    for seen in passed.work.iter().chain(&passed.other) {
        let a = seen.attempt;
        if a.fault.is_some() && !a.outcome.is_answered() {
            let at = if a.outcome == Outcome::Outstanding {
                a.asked
            } else {
                a.ended
            };
            last_touched.insert(a.session, (at, seen.record));
        } else if a.outcome.is_answered() {
            let last = last_answer.entry(a.session).or_default();
            *last = (*last).max(a.ended);
        }
    }
    let mut stuck = 0;
    for (session, (at, record)) in last_touched {
        evidence.observe(at);
        let closed = passed.sessions.get(&session).and_then(|s| s.closed);
        let freed = closed.is_some_and(|(closed, _)| closed <= at + PROMPT)
            || last_answer.get(&session).is_some_and(|answer| *answer > at);
        if !freed && view.span.to > at + PROMPT {
            evidence.example(at, record);
            stuck += 1;
        }
    }
    evidence.records.sort_unstable();
    stuck
}

/// Transactions that stayed open without anyone working in them: each time that nobody did for too long.
fn forgotten(view: &View<'_>, proxy: ProxyIndex, evidence: &mut Evidence) -> u64 {
    let mut forgotten = 0;
    for (idle_from, idle_to) in idle_in_transaction(view, proxy) {
        if idle_to.saturating_sub(idle_from) > FORGOTTEN {
            evidence.observe(idle_from);
            forgotten += 1;
        }
    }
    forgotten
}

/// Times in which a transaction was open and nobody worked in it, transaction by transaction.
fn idle_in_transaction(view: &View<'_>, proxy: ProxyIndex) -> Vec<(u64, u64)> {
    let passed = view.passed(proxy);
    let mut worked: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
    for seen in passed.work.iter().chain(&passed.other) {
        let a = seen.attempt;
        worked
            .entry(a.session)
            .or_default()
            .push((a.begun, a.ended));
    }
    for times in worked.values_mut() {
        times.sort_unstable();
    }
    let mut passed_by: HashMap<u64, usize> = HashMap::new();
    let mut idle = Vec::new();
    for transaction in transactions::of(view, proxy) {
        let Some(begun) = transaction.begun.filter(|begun| view.keeps(*begun)) else {
            continue;
        };
        // The transactions of a session come one after the other: what ended before this one is of no later one either.
        let work = worked
            .get(&transaction.session)
            .map_or(&[][..], Vec::as_slice);
        let done = passed_by.entry(transaction.session).or_default();
        let over = work[*done..].iter().take_while(|(_, to)| *to <= begun);
        *done += over.count();
        let during = work[*done..].iter();
        let during = during.take_while(|(from, _)| *from < transaction.ended);
        let within = during.filter(|(_, to)| begun < *to);
        let mut idle_from = begun;
        // Idle time ends with the next request, or with the transaction.
        for (from, to) in within.copied().chain([(transaction.ended, u64::MAX)]) {
            if from > idle_from {
                idle.push((idle_from, from));
            }
            idle_from = idle_from.max(to);
        }
    }
    idle
}

/// Transactions that nobody ended, whatever faults did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOpen {
    /// Nobody worked in them for 5 s, once or again and again.
    pub forgotten: u64,
    /// At the end nobody had worked in them for a second: not long enough to call them forgotten.
    pub idle_at_end: u64,
}

/// The transactions that the clients of a proxy left open.
pub fn left_open(view: &View<'_>, proxy: ProxyIndex, evidence: &mut Evidence) -> LeftOpen {
    let end = view.span.to;
    let idle = idle_in_transaction(view, proxy).into_iter();
    let at_end = idle.filter(|(from, to)| *to >= end && (IDLE..=FORGOTTEN).contains(&(end - from)));
    LeftOpen {
        idle_at_end: at_end.count() as u64,
        forgotten: forgotten(view, proxy, evidence),
    }
}
