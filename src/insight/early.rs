//! Callers who were answered while what had been asked for them was still out.
//!
//! Who gives up without closing its connection shows it in no other way.

use super::calls::{InFlight, Reading};
use super::timeout::HANG;
use super::view::{Span, View};
use crate::measure::trace::{Attempt, ProxyIndex};

/// Two things that one decision causes are not further apart, in nanoseconds.
pub(super) const MOMENT: u64 = 12 * super::MILLISECOND;

/// A call that was still out well after every request that it can have been for had its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EarlyAnswer {
    /// The first of those answers; the call's own caller had none before it.
    pub(super) from: u64,
    /// The last of them; the call's own caller had one by then.
    pub(super) to: u64,
}

/// The calls that a fault touched for which that holds, by their start.
pub(super) fn answers(view: &View<'_>, proxy: ProxyIndex) -> Vec<EarlyAnswer> {
    let requests = view.api_requests();
    let calls = &view.calls(proxy, Reading::Apart).calls;
    let demand = view.demand(proxy).ok();
    let mut in_flight = InFlight::new(requests);
    let early = calls.iter().filter_map(|call| {
        if !call.affected || call.end - call.start < HANG {
            return None;
        }
        in_flight.advance(call.start);
        // A reply is noted after it was sent on: by as much as the proxy is late, its effect may seem to come before it.
        let about = Span {
            from: call.end,
            to: call.end + 1,
        };
        let well_before = call.end.saturating_sub(MOMENT + view.late(about));
        let active = in_flight.active().iter().map(|r| requests[*r].attempt);
        let is_early = |a: &Attempt| a.outcome.is_answered() && a.ended < well_before;
        if !active.clone().all(is_early) {
            return None;
        }
        // Of those that never make such a call none has made this one, most likely.
        let callers = active.filter(|a| demand.is_none_or(|d| !d.does_without(a.operation)));
        let ends: Vec<u64> = callers.map(|a| a.ended).collect();
        Some(EarlyAnswer {
            from: *ends.iter().min()?,
            to: *ends.iter().max()?,
        })
    });
    early.collect()
}
