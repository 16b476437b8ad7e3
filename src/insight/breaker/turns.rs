//! Callers that take turns: what one of them caused is over before the next asks.
//!
//! A proxy that is late stamps a request later than it was sent, so that times alone do not tell whether the client knew of a
//! failure when it made a call. Order tells it: a caller who waits for his answer asks again only after he has it, however late the
//! proxy is, and the failure that the answer is about was known by then.

use super::super::demand::Demand;
use super::super::sample::needed;
use super::super::view::{Span, View};

/// Requests that make calls, of which none was ever in flight beside another: begin and end, in order.
#[derive(Debug)]
pub(super) struct Turns(Vec<(u64, u64)>);

impl Turns {
    /// `None` where two of them were in flight at once, a call came outside of them, or they are too few to say that they never are.
    /// `starts`: of the calls in this time.
    pub(super) fn of(view: &View<'_>, demand: &Demand, starts: &[u64], span: Span) -> Option<Self> {
        let requests = view.api_requests().iter();
        let turns: Vec<(u64, u64)> = requests
            .filter(|r| span.contains(r.attempt.begun))
            // One that may make calls counts as one that does.
            .filter(|r| !demand.does_without(r.attempt.operation))
            .map(|r| (r.attempt.begun, r.attempt.ended))
            .collect();
        let apart = turns.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        let turns = Self(turns);
        let inside = |start: &&u64| turns.turn(**start).is_some();
        let mut calls = starts.iter().filter(|start| span.contains(**start));
        (apart && turns.0.len() as u64 >= needed(0.95) && calls.all(|start| inside(&start)))
            .then_some(turns)
    }

    /// The turn that a moment is in.
    fn turn(&self, at: u64) -> Option<usize> {
        let last = self.0.partition_point(|(begun, _)| *begun <= at);
        let turn = last.checked_sub(1)?;
        (at <= self.0[turn].1).then_some(turn)
    }

    /// Whether a reply that ended then was followed by the end of its turn before something else in a later one.
    pub(super) fn in_order(&self, then: u64, later: u64) -> bool {
        match (self.turn(then), self.turn(later)) {
            (Some(then), Some(later)) => then < later,
            _ => false,
        }
    }
}
