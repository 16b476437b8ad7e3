//! A service that went on: while one call was out, the same request of its own API made it make another.
//!
//! Who gives up on a call and leaves its connection open shows it first by that, where it never makes two calls of one request at
//! a time.

use super::calls::InFlight;
use super::timeout::HANG;
use super::view::{Seen, View};
use crate::measure::trace::{Attempt, ProxyIndex};

/// Calls in the baseline from which it is known that one waits for the other.
const LEAST: usize = 30;

/// One part in so many of them may seem not to: a reply is noted after it was sent on, and what it causes may be noted before.
const CHANCE: usize = 20;

/// The first moment at which the service went on without the reply of a call that a fault touched, as far as that is certain: one
/// request of its API was under way that can have made calls, the same when both began.
pub(super) fn first(view: &View<'_>, proxy: ProxyIndex) -> Option<u64> {
    let mut work = view.passed(proxy).work.iter();
    if view.api.is_none() || !work.any(|seen| hangs(seen.attempt)) {
        return None;
    }
    let calls = calls(view);
    let makers = makers(view, &calls);
    let (mut in_turn, mut together) = (0, 0);
    let mut found = None;
    let next = calls.iter().zip(&makers).skip(1);
    for (((of, call), maker), ((_, after), later)) in calls.iter().zip(&makers).zip(next) {
        let (call, after) = (call.attempt, after.attempt);
        let Some(maker) = maker else { continue };
        let same = *later == Some(*maker) && after.begun < call.ended;
        if view.baseline.contains(call.begun) {
            in_turn += 1;
            together += usize::from(same);
        } else if same && found.is_none() && *of == proxy && hangs(call) {
            // Whoever goes on at once never waited.
            if after.begun - call.begun < HANG {
                return None;
            }
            found = Some(after.begun);
        }
    }
    found.filter(|_| in_turn >= LEAST && together * CHANCE <= in_turn)
}

fn hangs(attempt: &Attempt) -> bool {
    attempt.fault.is_some() && attempt.ended.saturating_sub(attempt.begun) >= HANG
}

/// Calls to all dependencies, by their begin.
pub(super) fn calls<'v, 't>(view: &'v View<'t>) -> Vec<(ProxyIndex, &'v Seen<'t>)> {
    let mut calls: Vec<_> = dependencies(view)
        .flat_map(|proxy| view.passed(proxy).work.iter().map(move |s| (proxy, s)))
        .collect();
    calls.sort_by_key(|(_, seen)| seen.attempt.begun);
    calls
}

fn dependencies(view: &View<'_>) -> impl Iterator<Item = ProxyIndex> {
    let api = view.api;
    let all = (0..).map(ProxyIndex).zip(&view.trace.header.proxies);
    all.map(|(proxy, _)| proxy)
        .filter(move |proxy| Some(*proxy) != api)
}

/// For each call the request that made it; `None` where several can have.
fn makers(view: &View<'_>, calls: &[(ProxyIndex, &Seen<'_>)]) -> Vec<Option<usize>> {
    let requests = view.api_requests();
    let demands: Vec<_> = dependencies(view).map(|p| view.demand(p).ok()).collect();
    let makes_calls = |request: &&usize| {
        let route = requests[**request].attempt.operation;
        let without = |demand: &Option<_>| {
            demand.is_some_and(|demand: &super::demand::Demand| demand.does_without(route))
        };
        !demands.iter().all(without)
    };
    let mut in_flight = InFlight::new(requests);
    let maker = |(_, seen): &(ProxyIndex, &Seen<'_>)| {
        in_flight.advance(seen.attempt.begun);
        let mut able = in_flight.active().iter().filter(makes_calls);
        let first = able.next().copied();
        first.filter(|_| able.next().is_none())
    };
    calls.iter().map(maker).collect()
}
