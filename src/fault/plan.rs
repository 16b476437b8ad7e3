//! The compiled faults of one proxy, and the one question that the data path asks of them.
//!
//! Faults are asked in the order in which they were switched on; those of a profile in the order of its file. What several of
//! them do to one exchange is put together like this:
//!
//! - Delays of the same side add up. Floors do not: the highest counts.
//! - The first one that ends the exchange (stall, timeout, disconnect, truncate, error, lost) does so. Later ones that would end it too are
//!   not asked: their gates do not count the exchange.
//! - A delay of the request comes before the end, a delay of the reply applies to an injected error as to a real reply.
//! - A capacity makes the exchange wait on the request's side and serves it on the reply's; where its queue is full it ends
//!   the exchange. One that has ended already takes no place in it.
//! - Throttles all hold: the slowest rules. Of slices the first in order cuts.
//! - A fault that only delays, throttles or slices is asked whether or not another ends the exchange.

mod aside;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::action::{
    Disconnect, Effect, ErrorReply, Loss, Queue, Refusal, Refuse, Truncate, Turn, TurnAway, When,
};
use super::active::ActiveFault;
use super::arguments::{Request, Said};
use super::dice::{Dice, Purpose};
use super::flow::Flow;
use super::gate::Asked;
use super::index::{Candidates, OperationIndex};
use super::keyed::Keyed;
use super::schedule::State;
use super::skip::{Part, Skip, Undone};
use super::spec::{Existing, Scope, Side};
use crate::protocol::{Catalog, Class, Operation, Protocol};

pub use aside::Message;

/// What is known of an exchange when it is identified.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Ordinal of the session on its proxy, from 0, in the order of accepting.
    pub session: u64,
    /// Ordinal of the exchange in its session, from 0.
    pub exchange: u64,
    /// What is asked.
    pub operation: Operation,
    /// What kind of work.
    pub class: Class,
    /// Where the client is; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// What the decoder knows beyond that.
    pub said: Said<'a>,
    /// The request's bytes as far as they are held: all of it where [`Plan::needs_arguments`] said so and it is small.
    pub request: &'a [u8],
    /// Now.
    pub now: Instant,
}

/// What is to be done with one exchange. Empty: nothing.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Hold the request this long before it goes to the upstream.
    pub request_delay: Duration,
    /// Hold the reply this long before it goes to the client.
    pub reply_delay: Duration,
    /// The reply takes at least this long from the end of the request (`floor = true`); shorter ones are held.
    pub reply_floor: Duration,
    /// How the bytes of the request go.
    pub request_flow: Flow,
    /// How the bytes of the reply go.
    pub reply_flow: Flow,
    /// The published message is dropped.
    pub lost: bool,
    /// What ends the ordinary course of the exchange, after the request's delay. The first one in the plan's order wins.
    pub end: Option<Ending>,
    /// Names of the faults behind this decision, in the plan's order.
    pub faults: Vec<Arc<str>>,
    /// What each of them has a hand in.
    pub parts: Vec<Part>,
}

impl Decision {
    /// A fault is behind it.
    fn by(&mut self, fault: &Arc<str>, part: Part) {
        self.faults.push(Arc::clone(fault));
        self.parts.push(part);
    }

    /// Why each of its faults did nothing, where it did not.
    pub fn undone(&self, undone: Undone) -> impl Iterator<Item = (&Arc<str>, Option<Skip>)> {
        let parts = self.parts.iter().map(move |part| undone.of(*part));
        self.faults.iter().zip(parts)
    }

    /// How the bytes of this side go.
    pub fn flow(&self, side: Side) -> &Flow {
        match side {
            Side::Request => &self.request_flow,
            Side::Reply => &self.reply_flow,
        }
    }

    fn flow_mut(&mut self, side: Side) -> &mut Flow {
        match side {
            Side::Request => &mut self.request_flow,
            Side::Reply => &mut self.reply_flow,
        }
    }
}

/// What ends the ordinary course of an exchange.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Forward nothing more on this session in either direction, keep both connections.
    Stall,
    /// As `Stall`, then close after this long.
    Timeout(Duration),
    /// Close the session.
    Disconnect(Disconnect),
    /// Cut the reply short, then close the session.
    Truncate(Truncate),
    /// Answer with the protocol's own error.
    Error(Arc<ErrorReply>),
    /// The request is withheld, and all behind it.
    LoseRequest(Loss),
    /// The complete reply is withheld, and all behind it.
    LoseReply(Loss),
    /// The request goes on twice, and one reply comes back.
    Duplicate,
    /// The server is asked to cancel it, once so many bytes of its reply have come.
    Cancel(u64),
}

/// The compiled faults of one proxy. Immutable but for the counters of gates, which are atomics.
#[derive(Debug, Default)]
pub struct Plan {
    entries: Vec<Entry>,
    /// `None`: nothing is in it.
    catalog: Option<Catalog>,
    index: OperationIndex,
}

/// One fault, as it is on this proxy.
#[derive(Debug)]
struct Entry {
    active: Arc<ActiveFault>,
    dice: Dice,
    effect: Effect,
    /// Where it is a `capacity`.
    queue: Arc<Mutex<Queue>>,
}

impl Plan {
    /// The plan of a proxy: those of `faults` that act on it and mean something on its protocol, in this order.
    pub fn new<'a>(
        proxy: &str,
        catalog: &Catalog,
        faults: impl IntoIterator<Item = &'a Arc<ActiveFault>>,
    ) -> Self {
        let entries: Vec<Entry> = faults
            .into_iter()
            .filter(|active| active.fault().acts_on(proxy))
            .filter_map(|active| {
                let dice = active.dice().on_proxy(proxy);
                Some(Entry {
                    effect: active.fault().effect(catalog.protocol()).ok()?,
                    dice,
                    queue: active.queue(dice),
                    active: Arc::clone(active),
                })
            })
            .collect();
        if entries.is_empty() {
            return Self::default();
        }
        Self {
            entries,
            catalog: Some(catalog.clone()),
            index: OperationIndex::new(),
        }
    }

    /// Whether nothing is in it: the data path takes its fast way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether some fault in it looks at arguments of this operation (key, header, SQL): the data path then holds the request until it
    /// is complete, or until 64 KiB of it are there, before it asks.
    pub fn needs_arguments(&self, operation: Operation, class: Class) -> bool {
        self.candidates(operation, class)
            .is_some_and(|candidates| candidates.needs_arguments)
    }

    /// Whether some fault in it looks at SQL: the decoder is then to remember what unnamed statements say.
    pub fn needs_statements(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.active.fault().matcher().needs_statement())
    }

    /// Whether no fault in it can be about this request, all of which is given: [`Plan::decide`] would find nothing, and nothing
    /// would count.
    #[inline]
    pub fn leaves_alone(&self, operation: Operation, class: Class, request: &[u8]) -> bool {
        let (Some(candidates), Some(catalog)) =
            (self.candidates(operation, class), self.catalog.as_ref())
        else {
            return true;
        };
        candidates.entries.is_empty() || candidates.pass_over(catalog.protocol(), request)
    }

    /// What to do with this exchange. To be asked exactly once for each: gates count.
    pub fn decide(&self, subject: &Subject<'_>) -> Decision {
        self.ask(subject, None)
    }

    /// As [`Plan::decide`], for bytes that went one way on a proxy that decodes nothing, or in a tunnel: of the delays only those
    /// of this side are asked, so that the gates of the others do not count what they could not delay. In a tunnel only those
    /// are asked that act on bytes.
    pub fn decide_burst(&self, subject: &Subject<'_>, side: Side) -> Decision {
        let mut decision = self.ask(subject, Some(side));
        if side == Side::Request {
            // Of a capacity: nothing says which bytes would be the reply, so a burst is served before it goes on.
            let served = std::mem::take(&mut decision.reply_delay);
            decision.request_delay = decision.request_delay.saturating_add(served);
        }
        decision
    }

    fn ask(&self, subject: &Subject<'_>, side: Option<Side>) -> Decision {
        let mut decision = Decision::default();
        if let Some(catalog) = &self.catalog
            && let bare = catalog.protocol() == Protocol::Tcp
            && let Some(candidates) = self.candidates(subject.operation, subject.class)
            && !candidates.entries.is_empty()
        {
            let mut request = Request::new(catalog.protocol(), subject.request)
                .knowing(subject.said, subject.exchange);
            for at in candidates.about(&request) {
                let entry = &self.entries[usize::from(*at)];
                let means =
                    |side| entry.effect.is_on_side(side) && (bare || entry.effect.is_on_streams());
                if side.is_none_or(means) {
                    entry.act(subject, &mut request, &mut decision);
                }
            }
        }
        decision
    }

    /// What to do with a new session, asked at accept, before the upstream is contacted: the first `refuse` fault that hits.
    /// To be asked exactly once for each. [`Refuse::Closed`] is for a connection that was made before the listener was closed.
    pub fn refuse(
        &self,
        session: u64,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Option<(Refuse, Arc<str>)> {
        self.refusals().find_map(|(entry, refusal)| {
            entry
                .turns_away(session, client, now)
                .then(|| (refusal.how, Arc::clone(entry.active.name())))
        })
    }

    /// Whether a new session is one too many, where `open` others are served: the first `limit_connections` that hits. To be
    /// asked exactly once for each that was not refused.
    pub fn over_limit(
        &self,
        session: u64,
        open: u32,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Option<(TurnAway, Arc<str>)> {
        self.entries.iter().find_map(|entry| match entry.effect {
            Effect::Limit(connections, how)
                if open >= connections && entry.turns_away(session, client, now) =>
            {
                Some((how, Arc::clone(entry.active.name())))
            }
            _ => None,
        })
    }

    /// Whether a `refuse` with `how = "unaccepted"` is in force now: the listener is to accept nobody.
    pub fn listener_full(&self, now: Instant) -> bool {
        self.refusals()
            .any(|(entry, refusal)| refusal.how == Refuse::Unaccepted && entry.in_force(now))
    }

    /// Whether a `refuse` with `how = "closed"` is in force now: the listener is to be closed.
    pub fn listener_closed(&self, now: Instant) -> bool {
        self.refusals()
            .any(|(entry, refusal)| refusal.how == Refuse::Closed && entry.in_force(now))
    }

    /// Whether a `refuse` that cuts existing sessions is in force now.
    pub fn cuts_existing(&self, now: Instant) -> Option<Arc<str>> {
        self.refusals()
            .find(|(entry, refusal)| refusal.existing == Existing::Cut && entry.in_force(now))
            .map(|(entry, _)| Arc::clone(entry.active.name()))
    }

    /// Whether a fault of this name is in force now: what it holds is held on.
    pub fn in_force(&self, fault: &str, now: Instant) -> bool {
        self.entries
            .iter()
            .any(|entry| &**entry.active.name() == fault && entry.in_force(now))
    }

    /// What a fault of it does, as it is written in profiles.
    pub fn action_of(&self, fault: &str) -> Option<&'static str> {
        let mut all = self.entries.iter();
        let entry = all.find(|entry| &**entry.active.name() == fault)?;
        Some(entry.active.fault().spec().action.name())
    }

    /// Whether some fault in it sends requests twice: the data path then needs them whole.
    pub fn has_duplicates(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| matches!(entry.effect, Effect::End(Ending::Duplicate)))
    }

    /// Whether some fault in it answers with errors: the data path may then need requests whole.
    pub fn has_errors(&self) -> bool {
        self.entries.iter().any(|entry| entry.effect.answers())
    }

    /// Whether some fault in it acts where a batch of Postgres ends, or where COPY data begin.
    pub fn needs_batches(&self) -> bool {
        let after = |d: &Disconnect| d.when == When::After;
        self.entries.iter().any(|entry| match &entry.effect {
            Effect::End(Ending::Cancel(_)) => true,
            effect if effect.answers() => true,
            Effect::End(Ending::Disconnect(d)) => after(d),
            _ => false,
        })
    }

    /// Whether a `refuse` or `limit_connections` with `how = "silent"` is in force now: connections that it keeps unanswered stay so.
    pub fn refuses_silently(&self, now: Instant) -> bool {
        self.entries.iter().any(|entry| {
            let silent = match &entry.effect {
                Effect::Refuse(refusal) => refusal.how == Refuse::Silent,
                Effect::Limit(_, how) => *how == TurnAway::Silent,
                _ => false,
            };
            silent && entry.in_force(now)
        })
    }

    /// The next moment after `now` at which a schedule or the end of a time to live switches something on or off, where there
    /// is one.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        self.entries
            .iter()
            .filter_map(|entry| entry.active.next_change(now))
            .min()
    }

    /// The data path could not carry out a decision of this fault in the state in which the session is.
    pub fn skipped(&self, fault: &str, why: Skip) {
        if let Some(entry) = self.entries.iter().find(|e| &**e.active.name() == fault) {
            entry.active.tally().skip(why);
        }
    }

    /// A session has ended: what gates with `scope = "session"` remember of it can go. Without this call the oldest go when
    /// there are too many.
    pub fn session_ended(&self, session: u64) {
        for entry in &self.entries {
            if entry.active.fault().gates().remembers() {
                entry.active.counts().forget(entry.dice, session);
            }
        }
    }

    /// The faults that are about this operation; computed when it is first seen.
    #[inline]
    fn candidates(&self, operation: Operation, class: Class) -> Option<&Candidates> {
        let catalog = self.catalog.as_ref()?;
        Some(self.index.get(operation, class, || {
            let name = catalog.operation_name(operation);
            Class::ALL.map(|class| self.covering(&name, class, catalog.protocol()))
        }))
    }

    fn covering(&self, operation: &str, class: Class, protocol: Protocol) -> Candidates {
        // What a start-up says of its session is known at its end.
        let startup = protocol == Protocol::Postgres && class == Class::Handshake;
        let mut candidates = Candidates::default();
        for (at, entry) in (0_u16..).zip(&self.entries) {
            let matcher = entry.active.fault().matcher();
            let exchange = entry.effect.is_on_exchanges();
            if exchange && matcher.covers(operation, class) {
                candidates.entries.push(at);
                candidates.needs_arguments |=
                    matcher.needs_request(protocol) || (startup && matcher.needs_facts());
            }
        }
        candidates.keyed = Keyed::of(candidates.entries.iter().map(|at| {
            let entry = &self.entries[usize::from(*at)];
            (*at, entry.active.fault().matcher().keys())
        }));
        candidates
    }

    fn refusals(&self) -> impl Iterator<Item = (&Entry, &Refusal)> {
        self.entries.iter().filter_map(|entry| match &entry.effect {
            Effect::Refuse(refusal) => Some((entry, refusal)),
            _ => None,
        })
    }
}

impl Entry {
    /// Adds to the decision what this fault does to an exchange whose operation it is about.
    fn act(&self, subject: &Subject<'_>, request: &mut Request<'_>, decision: &mut Decision) {
        let matcher = self.active.fault().matcher();
        if !matcher.takes_client(subject.client) || !matcher.takes_request(request) {
            return;
        }
        let State::On(strength) = self.active.state(subject.now) else {
            return;
        };
        self.active.tally().matched();
        let ends = matches!(self.effect, Effect::End(_) | Effect::Capacity(..));
        if ends && decision.end.is_some() {
            return;
        }
        let asked = Asked {
            dice: self.dice,
            session: subject.session,
            exchange: Some(subject.exchange),
            elapsed: self.active.elapsed(subject.now),
        };
        let offered = if matches!(self.effect, Effect::Delay(_)) {
            strength > 0.0
        } else {
            self.in_ramp(strength, &asked)
        };
        if !offered || !self.passes(&asked) {
            return;
        }
        let part = match &self.effect {
            Effect::Delay(latency) => {
                let draw = self
                    .dice
                    .exchange(subject.session, subject.exchange, Purpose::Delay);
                latency.apply(draw, strength, decision);
                part_of(latency.on)
            }
            Effect::End(ending) => {
                decision.end = Some(ending.clone());
                Part::End
            }
            Effect::Capacity(capacity, overflow) => {
                let draw = self
                    .dice
                    .exchange(subject.session, subject.exchange, Purpose::Service);
                let service = capacity.service.sample(draw);
                // A queue is whole after a panic elsewhere.
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                match queue.arrive(capacity, service, asked.elapsed) {
                    Turn::Overflow => {
                        decision.end = Some(overflow.clone());
                        Part::End
                    }
                    Turn::After(wait) => {
                        decision.request_delay = decision.request_delay.saturating_add(wait);
                        decision.reply_delay = decision.reply_delay.saturating_add(service);
                        Part::Request
                    }
                }
            }
            Effect::Throttle(throttle) => {
                let throttles = &mut decision.flow_mut(throttle.on).throttles;
                throttles.push((Arc::clone(self.active.name()), *throttle));
                part_of(throttle.on)
            }
            Effect::Corrupt(corrupt) => {
                let draw = self
                    .dice
                    .exchange(subject.session, subject.exchange, Purpose::Corrupt);
                let corruptions = &mut decision.flow_mut(corrupt.on).corruptions;
                corruptions.push((*corrupt, draw));
                part_of(corrupt.on)
            }
            Effect::Slice(slice) => {
                let draw = self
                    .dice
                    .exchange(subject.session, subject.exchange, Purpose::Slice);
                let slices = &mut decision.flow_mut(slice.on).slices;
                slices.get_or_insert((*slice, draw));
                part_of(slice.on)
            }
            Effect::Refuse(_)
            | Effect::Limit(..)
            | Effect::Push(_)
            | Effect::SlowClose(_)
            | Effect::StreamCut(_) => {
                return;
            }
        };
        self.active.tally().hit();
        decision.by(self.active.name(), part);
    }

    /// Whether this one, which is asked when a session begins, hits it.
    fn turns_away(&self, session: u64, client: Option<IpAddr>, now: Instant) -> bool {
        let request = Request::new(Protocol::Tcp, b"");
        self.hits_aside((session, None), client, request, now)
    }

    /// Whether it hits something that is no exchange: a session, or what the number counts in it. Of `request` only the session
    /// matters.
    fn hits_aside(
        &self,
        (session, exchange): (u64, Option<u64>),
        client: Option<IpAddr>,
        mut request: Request<'_>,
        now: Instant,
    ) -> bool {
        let State::On(strength) = self.active.state(now) else {
            return false;
        };
        let matcher = self.active.fault().matcher();
        if !matcher.takes_client(client) || !matcher.takes_session(&mut request) {
            return false;
        }
        self.active.tally().matched();
        let asked = Asked {
            dice: self.dice,
            session,
            exchange,
            elapsed: self.active.elapsed(now),
        };
        let hit = self.in_ramp(strength, &asked) && self.passes(&asked);
        if hit {
            self.active.tally().hit();
        }
        hit
    }

    fn passes(&self, asked: &Asked) -> bool {
        let gates = self.active.fault().gates();
        gates.pass(self.active.counts(), asked)
    }

    /// Whether a ramp at this strength offers it to the gates.
    fn in_ramp(&self, strength: f64, asked: &Asked) -> bool {
        if strength >= 1.0 {
            return true;
        }
        let draw = match (self.active.fault().gates().scope, asked.exchange) {
            (Scope::Exchange, Some(exchange)) => {
                self.dice.exchange(asked.session, exchange, Purpose::Ramp)
            }
            _ => self.dice.session(asked.session, Purpose::Ramp),
        };
        draw.hits(strength)
    }

    fn in_force(&self, now: Instant) -> bool {
        self.active.state(now) != State::Off
    }
}

/// What a fault has a hand in that acts on this side.
const fn part_of(side: Side) -> Part {
    match side {
        Side::Request => Part::Request,
        Side::Reply => Part::Reply,
    }
}

#[cfg(test)]
mod tests;
