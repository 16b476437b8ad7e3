//! From wire attempts to the calls that the service made.
//!
//! A client library that retries ten times makes one call of eleven attempts: a breaker above it counts one failure. Attempts
//! are joined when the later one follows a failed earlier one of the same client and asks the same, or opens the connection
//! for it, inside one request of the service's own API. Where several requests were in flight, that can be read in two ways:
//! two retries, or two callers who want the same. Both readings are kept ([`Reading`]), and what is concluded must hold in both.

use super::view::{Passed, Seen, Session, View};
use crate::measure::trace::{CloseSide, Name, Outcome, ProxyIndex};
use std::collections::{BTreeMap, HashMap};

/// A retry begins within this time of the failure before it, where nothing bounds it better (nanoseconds): twice the cap of
/// common client libraries.
pub const RETRY_WINDOW: u64 = 2_000_000_000;

/// A reply and what it causes may be seen in one read of the proxy.
const SLACK: u64 = 1_000;

/// Who made an attempt: as much as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// A process.
    Process(u32),
    /// Whoever is at an address.
    Address(Name),
    /// Not known.
    Unknown,
}

/// What an attempt asked for; `None`: for a connection, which it did not get.
pub type Asked = Option<(Name, u64)>;

/// One attempt on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// First byte of the request, or the connection's accept.
    pub start: u64,
    /// When its connection was opened; 0 where nobody saw that.
    pub opened: u64,
    /// Reply complete, or given up.
    pub end: u64,
    /// The client plausibly counts it as a failure.
    pub failed: bool,
    /// The client gave up.
    pub abandoned: bool,
    /// A fault touched it.
    pub affected: bool,
    /// Who made it.
    pub who: Who,
    /// What it asked for.
    pub asked: Asked,
    /// Place in the recording; `None` for a connection.
    pub record: Option<usize>,
    /// Its session.
    pub session: u64,
    /// The next attempt of the same call.
    next: Option<u32>,
}

/// A call of the service: one attempt and its retries.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// When its first attempt began.
    pub start: u64,
    /// When its last attempt ended.
    pub end: u64,
    /// Attempts.
    pub tries: u32,
    /// Whether its last attempt failed.
    pub failed: bool,
    /// Whether a fault touched one of its attempts.
    pub affected: bool,
    /// Who made it.
    pub who: Who,
    /// What was asked, where an attempt got as far.
    pub asked: Asked,
    /// The request of the service's API that it belongs to: place in [`View::api_requests`]; `None` where several or none were
    /// in flight.
    pub api: Option<usize>,
    first: u32,
    last: u32,
}

/// How attempts that could be retries or could be other callers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Only what is certain is joined: as many calls as there can be.
    Apart,
    /// What may be a retry is one: as few calls as there can be.
    Joined,
}

/// The calls to one dependency.
#[derive(Clone, Debug)]
pub struct Calls {
    tries: Vec<Try>,
    /// By their start.
    pub calls: Vec<Call>,
    /// Attempts that were joined, or left apart, without certainty.
    pub ambiguous: usize,
}

impl Calls {
    /// The calls to a proxy, in one of the two readings.
    pub fn of(view: &View<'_>, proxy: ProxyIndex, reading: Reading) -> Self {
        let mut calls = Self {
            tries: tries(view, proxy),
            calls: Vec::new(),
            ambiguous: 0,
        };
        calls.join(view, reading);
        calls
    }

    /// Attempts on the wire, by their start.
    pub fn tries(&self) -> &[Try] {
        &self.tries
    }

    /// The attempts of a call, in order.
    pub fn tries_of(&self, call: &Call) -> impl Iterator<Item = &Try> {
        let mut next = Some(call.first);
        std::iter::from_fn(move || {
            let tried = &self.tries[next? as usize];
            next = tried.next;
            Some(tried)
        })
    }

    fn join(&mut self, view: &View<'_>, reading: Reading) {
        let mut requests = InFlight::new(view.api_requests());
        // Who gives up knows it before the proxy does, which may be late.
        let late = view.late(view.span);
        let mut failed = Failed::default();
        for at in 0..self.tries.len() {
            let tried = self.tries[at];
            requests.advance(tried.start);
            let api = requests.only();
            let candidates = failed.retried_by(&tried, &self.calls, &requests);
            let retries = |slack: u64| {
                let may_be = |c: &usize| {
                    let call = &self.calls[*c];
                    let of_one = api.is_some() && call.api == api;
                    call.end <= tried.start + slack
                        && (of_one || in_window(call, &tried))
                        && requests.span(call.start, call.api)
                };
                candidates.iter().copied().find(may_be)
            };
            let in_order = retries(SLACK);
            let retried = in_order.or_else(|| retries(SLACK + late));
            let sure = retried.is_none_or(|c| {
                let call = &self.calls[c];
                // Of a connection that got no further nobody knows what it was for: the next command, as well as the last again.
                let told = call.asked.is_some() && tried.asked.is_some();
                told && api.is_some() && call.api == api && in_order.is_some()
            });
            self.ambiguous += usize::from(!sure);
            let number = match retried {
                Some(call) if sure || reading == Reading::Joined => {
                    failed.remove(self.calls[call].who, self.calls[call].asked, call);
                    self.extend(call, at);
                    call
                }
                _ => {
                    self.calls.push(Call::of(&tried, at, api));
                    self.calls.len() - 1
                }
            };
            if tried.failed {
                failed.add(tried.who, self.calls[number].asked, number);
            }
        }
    }

    fn extend(&mut self, call: usize, with: usize) {
        let tried = self.tries[with];
        let call = &mut self.calls[call];
        self.tries[call.last as usize].next = u32::try_from(with).ok();
        call.last = with as u32;
        call.end = call.end.max(tried.end);
        call.tries += 1;
        call.failed = tried.failed;
        call.affected |= tried.affected;
        call.asked = call.asked.or(tried.asked);
    }
}

impl Call {
    fn of(tried: &Try, at: usize, api: Option<usize>) -> Self {
        Self {
            start: tried.start,
            end: tried.end,
            tries: 1,
            failed: tried.failed,
            affected: tried.affected,
            who: tried.who,
            asked: tried.asked,
            api,
            first: at as u32,
            last: at as u32,
        }
    }
}

/// Calls that failed and may be tried again, by who made them and what they asked for.
#[derive(Debug, Default)]
struct Failed(HashMap<Who, BTreeMap<Asked, Vec<usize>>>);

impl Failed {
    /// Those that this may be a retry of, the oldest first: they asked the same, or for a connection to ask it on.
    fn retried_by(
        &mut self,
        tried: &Try,
        calls: &[Call],
        requests: &InFlight<'_, '_>,
    ) -> Vec<usize> {
        let alive = |c: &usize| {
            let of = calls[*c].api;
            in_window(&calls[*c], tried) || of.is_some_and(|r| requests.active().contains(&r))
        };
        let mut found = Vec::new();
        let mut look = |of: &mut Vec<usize>| {
            of.retain(alive);
            found.extend_from_slice(of);
            !of.is_empty()
        };
        let by = self.0.entry(tried.who).or_default();
        if tried.asked.is_none() {
            by.retain(|_, of| look(of));
        } else {
            for asked in [None, tried.asked] {
                if by.get_mut(&asked).is_some_and(|of| !look(of)) {
                    by.remove(&asked);
                }
            }
        }
        found.sort_unstable();
        found
    }

    fn add(&mut self, who: Who, asked: Asked, call: usize) {
        let by = self.0.entry(who).or_default();
        by.entry(asked).or_default().push(call);
    }

    fn remove(&mut self, who: Who, asked: Asked, call: usize) {
        if let Some(of) = self.0.get_mut(&who).and_then(|by| by.get_mut(&asked)) {
            of.retain(|c| *c != call);
        }
    }
}

fn in_window(call: &Call, tried: &Try) -> bool {
    tried.start.saturating_sub(call.end) <= RETRY_WINDOW
}

/// Everything that the service tried, by its start.
fn tries(view: &View<'_>, proxy: ProxyIndex) -> Vec<Try> {
    let passed = view.passed(proxy);
    let mut tries: Vec<Try> = passed
        .work
        .iter()
        .map(|seen| exchange(passed, seen))
        .collect();
    let mut worked: Vec<u64> = tries.iter().map(|t| t.session).collect();
    worked.sort_unstable();
    worked.dedup();
    let mut refused: HashMap<u64, bool> = HashMap::new();
    for seen in &passed.other {
        let failed = fails(passed, seen) && seen.attempt.class == crate::protocol::Class::Handshake;
        *refused.entry(seen.attempt.session).or_default() |= failed;
    }
    for session in passed.sessions.values().filter(|s| view.keeps(s.opened)) {
        let handshake = refused.get(&session.session) == Some(&true);
        if worked.binary_search(&session.session).is_err()
            && let Some(tried) = connection(session, handshake)
        {
            tries.push(tried);
        }
    }
    tries.sort_by_key(|t| (t.start, t.end));
    tries
}

fn exchange(passed: &Passed<'_>, seen: &Seen<'_>) -> Try {
    let attempt = seen.attempt;
    let session = passed.sessions.get(&attempt.session);
    Try {
        start: attempt.begun,
        opened: session.map_or(0, |s| s.opened),
        end: attempt.ended,
        failed: fails(passed, seen),
        abandoned: attempt.outcome == Outcome::ClientGone,
        affected: attempt.fault.is_some(),
        who: session.map_or(Who::Unknown, who),
        asked: Some((attempt.operation, attempt.fingerprint)),
        record: Some(seen.record),
        session: attempt.session,
        next: None,
    }
}

/// A connection that never carried work and did not end well.
fn connection(session: &Session, handshake_failed: bool) -> Option<Try> {
    let (end, by) = match session.closed {
        Some(closed) => closed,
        None if session.turned_away.is_some() => (session.opened, CloseSide::Fault),
        None => return None,
    };
    let failed = handshake_failed
        || session.turned_away.is_some()
        || matches!(
            by,
            CloseSide::Fault | CloseSide::ConnectFailed | CloseSide::UpstreamReset
        );
    failed.then_some(Try {
        start: session.opened,
        opened: session.opened,
        end,
        failed: true,
        abandoned: matches!(by, CloseSide::Client | CloseSide::ClientReset),
        affected: session.turned_away.is_some() || by == CloseSide::Fault,
        who: who(session),
        asked: None,
        record: None,
        session: session.session,
        next: None,
    })
}

/// Whether the client plausibly counts it as a failure. An error that a fault made is meant to be one, whatever its code; not one that the
/// server gives anyway, which a fault may only have delayed.
pub fn fails(passed: &Passed<'_>, seen: &Seen<'_>) -> bool {
    let attempt = seen.attempt;
    match attempt.outcome {
        Outcome::Failed | Outcome::UpstreamGone | Outcome::Cut | Outcome::ClientGone => true,
        Outcome::Refused => attempt.fault.is_some() && !passed.refuses_anyway(attempt),
        Outcome::Ok | Outcome::Outstanding => false,
    }
}

fn who(session: &Session) -> Who {
    match (session.pid, session.client) {
        (Some(pid), _) => Who::Process(pid),
        (None, Some(address)) => Who::Address(address),
        (None, None) => Who::Unknown,
    }
}

/// The requests of the service's own API that are in flight while time goes on.
#[derive(Debug)]
pub struct InFlight<'v, 't> {
    requests: &'v [Seen<'t>],
    next: usize,
    now: u64,
    /// Places of those in flight now.
    active: Vec<usize>,
}

impl<'v, 't> InFlight<'v, 't> {
    /// Of these requests, by their start.
    pub const fn new(requests: &'v [Seen<'t>]) -> Self {
        Self {
            requests,
            next: 0,
            now: 0,
            active: Vec::new(),
        }
    }

    /// Goes on to a later moment.
    pub fn advance(&mut self, to: u64) {
        self.now = to;
        while let Some(request) = self.requests.get(self.next)
            && request.attempt.begun <= to
        {
            self.active.push(self.next);
            self.next += 1;
        }
        let requests = self.requests;
        self.active.retain(|r| requests[*r].attempt.ended > to);
    }

    /// Those in flight now.
    pub fn active(&self) -> &[usize] {
        &self.active
    }

    /// The only one in flight.
    pub fn only(&self) -> Option<usize> {
        match self.active[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether one request can have caused both a call that began `then` and belongs to `of`, and what happens now. Where no
    /// request is seen at all, nothing speaks against it.
    fn span(&self, then: u64, of: Option<usize>) -> bool {
        match of {
            Some(request) => self.active.contains(&request),
            None if self.requests.is_empty() => true,
            None => {
                let begun = |r: &usize| self.requests[*r].attempt.begun;
                self.active.iter().any(|r| begun(r) <= then)
            }
        }
    }
}
