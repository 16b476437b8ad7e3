//! Requests that are out: of the sessions of one worker that are being recorded, what has no whole reply yet.
//!
//! A record is written when an exchange ends, so a hang would show only once it is over. Whoever asks meanwhile is told of these.
//! They lie in a thread-local, since a session lives and dies on its worker: reaching them takes no lock, and they stay where they
//! are when the measurements are collected.

use super::roll::{Label, Raw};
use super::{Attempt, Outcome, Record};
use crate::measure::ProxyId;
use crate::protocol::{Class, Operation, Status};
use slab::Slab;
use std::cell::RefCell;
use std::sync::Arc;

/// Requests of one worker that are told of at one moment; further ones are counted as missing.
pub const MAX_OUT: usize = 1 << 16;

/// Room that is kept for the next burst when nothing is out.
const KEPT: usize = 1 << 10;

/// A request without a whole reply. Times are nanoseconds of the process.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) proxy: ProxyId,
    pub(super) session: u64,
    pub(super) exchange: u64,
    pub(super) begun: u64,
    /// Its last byte; 0: not seen yet.
    pub(super) asked: u64,
    /// What it asks; `None`: not known yet.
    pub(super) operation: Option<(Operation, Class)>,
    pub(super) fingerprint: u64,
    /// The first fault that touched it.
    pub(super) fault: Option<Arc<str>>,
    /// What the server took, where it has answered and a fault keeps the reply.
    pub(super) upstream: Option<u64>,
}

thread_local! {
    static OUT: RefCell<Slab<Request>> = const { RefCell::new(Slab::new()) };
}

/// The place of a request that is out. It is out no more when this is dropped.
#[derive(Debug)]
pub(super) struct Place(usize);

impl Place {
    /// Notes a request.
    pub(super) fn of(request: Request) -> Self {
        Self(OUT.with_borrow_mut(|out| out.insert(request)))
    }

    /// Notes something of it.
    pub(super) fn note(&self, with: impl FnOnce(&mut Request)) {
        OUT.with_borrow_mut(|out| out.get_mut(self.0).map(with));
    }

    /// What was noted.
    pub(super) fn get(&self) -> Option<Request> {
        OUT.with_borrow(|out| out.get(self.0).cloned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A thread that ends has nobody left who asks.
        let _ = OUT.try_with(|out| {
            let mut out = out.borrow_mut();
            out.try_remove(self.0);
            if out.is_empty() && out.capacity() > KEPT {
                *out = Slab::new();
            }
        });
    }
}

/// What is out on this worker at `now`: at most [`MAX_OUT`] of the oldest, then how many more there are, by proxy.
pub(super) fn all(now: u64) -> Vec<Raw> {
    OUT.with_borrow(|out| {
        let known = out.iter().filter(|(_, r)| r.operation.is_some());
        let mut oldest: Vec<(u64, usize)> = known.map(|(place, r)| (r.begun, place)).collect();
        let mut rest = Vec::new();
        if oldest.len() > MAX_OUT {
            // Sessions wait meanwhile: all of them are not sorted.
            oldest.select_nth_unstable(MAX_OUT);
            rest = oldest.split_off(MAX_OUT);
        }
        oldest.sort_unstable();
        let told = oldest.iter().filter_map(|(_, place)| out.get(*place));
        let mut told: Vec<Raw> = told.map(|r| r.outstanding(now)).collect();
        told.extend(missing(out, &rest, now));
        told
    })
}

/// How many requests are not told of, by proxy.
fn missing(out: &Slab<Request>, rest: &[(u64, usize)], at: u64) -> impl Iterator<Item = Raw> {
    let mut missing: Vec<(ProxyId, u64)> = Vec::new();
    for request in rest.iter().filter_map(|(_, place)| out.get(*place)) {
        match missing.iter_mut().find(|m| m.0 == request.proxy) {
            Some(known) => known.1 += 1,
            None => missing.push((request.proxy, 1)),
        }
    }
    let missing = missing.into_iter();
    missing.map(move |(proxy, count)| Record::Dropped { at, proxy, count })
}

impl Request {
    fn outstanding(&self, now: u64) -> Raw {
        let (operation, class) = self.operation.unwrap_or((Operation(0), Class::Admin));
        Raw::Attempt(Attempt {
            proxy: self.proxy,
            session: self.session,
            exchange: self.exchange,
            operation: Label::Operation(operation),
            class,
            fingerprint: self.fingerprint,
            begun: self.begun,
            asked: if self.asked == 0 { now } else { self.asked },
            first_byte: None,
            ended: now,
            upstream: self.upstream,
            status: Label::Status(Status::CLOSED),
            outcome: Outcome::Outstanding,
            fault: self.fault.clone().map(Label::Text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(begun: u64, operation: Option<(Operation, Class)>) -> Request {
        Request {
            proxy: ProxyId(0),
            session: 0,
            exchange: begun,
            begun,
            asked: 0,
            operation,
            fingerprint: 0,
            fault: None,
            upstream: None,
        }
    }

    const GET: Option<(Operation, Class)> = Some((Operation(1), Class::Read));

    #[test]
    fn what_is_out_is_told_until_it_is_answered() {
        let unknown = Place::of(request(1, None));
        let (first, second) = (Place::of(request(3, GET)), Place::of(request(2, GET)));
        first.note(|r| r.asked = 4);
        let told = all(10);
        let Raw::Attempt(oldest) = &told[0] else {
            panic!("{told:?}")
        };
        // Its last byte has not come: it is not waited for yet.
        assert_eq!((oldest.begun, oldest.asked, oldest.ended), (2, 10, 10));
        assert_eq!(oldest.outcome, Outcome::Outstanding);
        let Raw::Attempt(other) = &told[1] else {
            panic!("{told:?}")
        };
        assert_eq!((other.begun, other.asked), (3, 4));
        assert_eq!(told.len(), 2);
        drop(second);
        assert_eq!(all(11).len(), 1);
        drop((first, unknown));
        assert!(all(12).is_empty());
    }

    #[test]
    fn how_many_are_told_is_bounded_and_the_rest_is_counted() {
        let places: Vec<Place> = (0..MAX_OUT as u64 + 7)
            .map(|n| Place::of(request(n, GET)))
            .collect();
        let told = all(1 << 40);
        assert_eq!(told.len(), MAX_OUT + 1);
        let Some(Record::Dropped { count, .. }) = told.last() else {
            panic!("the rest")
        };
        assert_eq!(*count, 7);
        drop(places);
        assert!(OUT.with_borrow(Slab::capacity) <= KEPT);
    }
}
