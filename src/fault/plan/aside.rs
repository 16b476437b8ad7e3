//! What a plan says to things of a session that are no exchange: published messages, bytes of which nothing is known, and the end of a
//! connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Decision, Ending, Entry, Plan, Subject};
use crate::fault::action::{Effect, Latency, StreamCut, channel};
use crate::fault::active::ActiveFault;
use crate::fault::arguments::{Request, Said};
use crate::fault::dice::Purpose;
use crate::fault::skip::Part;
use crate::fault::spec::Side;
use crate::protocol::{Catalog, Class, Facts, Protocol, postgres};

/// A message that the server sent unasked.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Ordinal of the session on its proxy.
    pub session: u64,
    /// Ordinal of the message in its session.
    pub ordinal: u64,
    /// Where the client is; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// What its session has said of itself.
    pub facts: Option<&'a Facts>,
    /// All of it.
    pub bytes: &'a [u8],
    /// Now.
    pub now: Instant,
}

/// What is known of a session outside its exchanges.
fn session_of<'a>(catalog: &Catalog, facts: Option<&'a Facts>) -> Request<'a> {
    let said = Said {
        facts,
        statement: None,
    };
    Request::new(catalog.protocol(), b"").knowing(said, u64::MAX)
}

impl Plan {
    /// Whether some fault in it is about published messages.
    pub fn has_push_faults(&self) -> bool {
        let mut all = self.entries.iter();
        all.any(|entry| matches!(entry.effect, Effect::Push(_)))
    }

    /// What to do with a published message: `lost`, or a `reply_delay`. Delays add up. To be asked exactly once for each.
    pub fn decide_push(&self, message: &Message<'_>) -> Decision {
        let mut decision = Decision::default();
        let Some(catalog) = &self.catalog else {
            return decision;
        };
        let name = channel(catalog.protocol(), message.bytes);
        for entry in &self.entries {
            let Effect::Push(push) = &entry.effect else {
                continue;
            };
            let (session, ordinal) = (message.session, message.ordinal);
            if decision.lost
                || !push.takes(name)
                || !entry.hits_aside(
                    (session, Some(ordinal)),
                    message.client,
                    session_of(catalog, message.facts),
                    message.now,
                )
            {
                continue;
            }
            match &push.delay {
                None => decision.lost = true,
                Some(delay) => {
                    let draw = entry.dice.exchange(session, ordinal, Purpose::Delay);
                    let delay = delay.sample(draw);
                    decision.reply_delay = decision.reply_delay.saturating_add(delay);
                }
            }
            decision.by(entry.active.name(), Part::Reply);
        }
        decision
    }

    /// As [`Plan::decide_burst`], for bytes of a session in which nothing is known of requests: of what acts on bytes, only that is asked
    /// which asks for nothing else.
    pub fn decide_unread(&self, subject: &Subject<'_>, side: Side) -> Decision {
        let mut decision = Decision::default();
        if let Some(catalog) = &self.catalog {
            let mut request = Request::new(catalog.protocol(), b"");
            let about = |entry: &&Entry| {
                entry.effect.is_on_side(side)
                    && entry.effect.is_on_streams()
                    && entry.active.fault().matcher().takes_all()
            };
            for entry in self.entries.iter().filter(about) {
                entry.act(subject, &mut request, &mut decision);
            }
        }
        decision
    }

    /// How late the end of a connection is passed on, which came from the client (`Request`) or from the upstream (`Reply`):
    /// the delay of that side. To be asked exactly once for each.
    pub fn decide_close(
        &self,
        session: u64,
        side: Side,
        client: Option<IpAddr>,
        facts: Option<&Facts>,
        now: Instant,
    ) -> Decision {
        let mut decision = Decision::default();
        let Some(catalog) = &self.catalog else {
            return decision;
        };
        for entry in &self.entries {
            let Effect::SlowClose(close) = &entry.effect else {
                continue;
            };
            let place = (session, Some(side as u64));
            let session_of = || session_of(catalog, facts);
            if close.on.is_some_and(|on| on != side)
                || !entry.hits_aside(place, client, session_of(), now)
            {
                continue;
            }
            let draw = entry.dice.exchange(session, side as u64, Purpose::Close);
            let latency = Latency {
                delay: close.delay.clone(),
                on: side,
                floor: false,
            };
            latency.apply(draw, 1.0, &mut decision);
            decision.by(entry.active.name(), super::part_of(side));
        }
        decision
    }

    /// Whether a session that begins now may have its start-up answered by a fault: its upstream is not contacted before.
    pub fn may_answer_startup(&self, client: Option<IpAddr>, now: Instant) -> bool {
        let startup = postgres::operation_name(postgres::operation::STARTUP);
        let catalog = self.catalog.as_ref();
        catalog.is_some_and(|catalog| catalog.protocol() == Protocol::Postgres)
            && self.entries.iter().any(|entry| {
                let matcher = entry.active.fault().matcher();
                matches!(entry.effect, Effect::End(Ending::Error(_)))
                    && matcher.covers(startup, Class::Handshake)
                    && matcher.takes_client(client)
                    && entry.in_force(now)
            })
    }

    /// Whether some fault in it stops the bytes of a direction.
    pub fn has_stream_cuts(&self) -> bool {
        let mut all = self.entries.iter();
        all.any(|entry| matches!(entry.effect, Effect::StreamCut(_)))
    }

    /// What stops the bytes of a direction of this session, in the order of switching on. `asked` is the session's memory of
    /// the faults that it met and whether they hit it: each is asked once.
    pub fn stream_cuts(
        &self,
        session: u64,
        client: Option<IpAddr>,
        now: Instant,
        asked: &mut Vec<(Arc<ActiveFault>, bool)>,
    ) -> Vec<(Arc<str>, StreamCut)> {
        let mut cuts = Vec::new();
        let mut met = Vec::new();
        for entry in &self.entries {
            let Effect::StreamCut(cut) = entry.effect else {
                continue;
            };
            if !entry.in_force(now) {
                continue;
            }
            let known = asked.iter().find(|(of, _)| Arc::ptr_eq(of, &entry.active));
            let hit = known.map_or_else(|| entry.turns_away(session, client, now), |(_, hit)| *hit);
            met.push((Arc::clone(&entry.active), hit));
            if hit {
                cuts.push((Arc::clone(entry.active.name()), cut));
            }
        }
        *asked = met;
        cuts
    }
}
