//! Carries out what was decided about a request, and tells of it.

use super::super::clock;
use super::super::event::Event as Happening;
use super::super::lane::{Cargo, Item, Stall};
use super::super::local::Local;
use super::super::relay::Relay;
use super::super::treatment;
use super::Injector;
use super::replies::Reply;
use super::request::{Asked, Asking, due};
use crate::fault::action::{CloseHow, Disconnect, When};
use crate::fault::plan::Ending;
use crate::fault::{Decision, Skip, Undone};
use crate::measure::Counter;
use crate::protocol::Decoder;
use crate::protocol::postgres::Shape;
use std::sync::Arc;

impl Injector {
    /// Carries a decision out on a request of which `seen` are the bytes so far.
    pub(super) fn apply(
        &mut self,
        asked: Asked,
        decision: &Arc<Decision>,
        seen: &[u8],
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        // What waits for its second sending has another request right behind it.
        self.forget_twice(Skip::Pipelined, relay, local);
        let delay = clock::nanos(decision.request_delay);
        let answered = is_answered(asked.0, relay);
        let mut skipped = None;
        match &decision.end {
            None => self.pass(seen, delay, now, decision),
            Some(ending) if !answered && needs_reply(ending) => {
                self.pass(seen, delay, now, decision);
                skipped = Some(Skip::NoReply);
            }
            Some(ending @ (Ending::Stall | Ending::Timeout(_))) => {
                let until = match ending {
                    Ending::Timeout(after) => Some(now + delay + clock::nanos(*after)),
                    _ => None,
                };
                let stall = Cargo::Stall(Stall {
                    until,
                    how: CloseHow::Fin,
                    lost: false,
                    before: Some(asked.0),
                });
                let stall = Item::new(due(now, delay), stall, Some(decision));
                self.up.push(stall);
                self.pass(seen, 0, now, decision);
            }
            Some(Ending::Disconnect(d)) => {
                self.disconnect(*d, asked.0, seen, now, decision, relay);
            }
            Some(Ending::Truncate(truncate)) => {
                self.pass(seen, delay, now, decision);
                self.replies
                    .expect(asked.0, decision, Reply::Truncate(*truncate));
            }
            Some(Ending::Error(error)) => {
                let decoder = &mut relay.meter.decoder;
                let treatment = treatment::of(error, decoder, asked, seen);
                skipped = self.error(treatment, asked, decision, seen, now, relay);
            }
            Some(Ending::Duplicate) => {
                skipped = self.duplicate(asked, seen, now, decision, relay);
            }
            Some(Ending::Cancel(bytes)) => {
                skipped = self.cancel(asked, *bytes, seen, now, decision, relay);
            }
            Some(Ending::LoseRequest(loss)) => {
                self.lose_request(*loss, asked.0, now, decision, relay);
            }
            Some(Ending::LoseReply(loss)) => {
                self.lose_reply(*loss, asked.0, seen, now, decision, relay);
            }
        }
        let hold = Reply::Hold {
            delay: clock::nanos(decision.reply_delay),
            floor: clock::nanos(decision.reply_floor),
        };
        if (hold.is_some() || !decision.reply_flow.is_plain())
            && (keeps_reply(decision.end.as_ref()) || skipped.is_some())
        {
            self.replies.expect(asked.0, decision, hold);
        }
        let undone = undone(decision, skipped, answered);
        if self.replies.tells_later(asked.0) || self.is_cancelling(asked.0) {
            self.enter(asked, decision, undone, relay, local);
        } else if self.requests.twice.is_none() {
            self.note(asked, decision, undone, relay, local);
        }
    }

    /// Sends a request on after `delay` nanoseconds.
    pub(super) fn pass(&mut self, seen: &[u8], delay: u64, now: u64, decision: &Arc<Decision>) {
        self.up.push_bytes(seen, due(now, delay), Some(decision));
        self.record.passes();
        self.requests.asking = Asking::Held {
            delay,
            cause: Arc::clone(decision),
        };
    }

    fn disconnect(
        &mut self,
        disconnect: Disconnect,
        exchange: u64,
        seen: &[u8],
        now: u64,
        decision: &Arc<Decision>,
        relay: &Relay,
    ) {
        let delay = clock::nanos(decision.request_delay);
        let how = disconnect.how;
        let close = Item::new(due(now, delay), Cargo::Close(how, exchange), Some(decision));
        let cut = match disconnect.when {
            When::Before => {
                self.ask_for_replies_before(exchange, relay);
                self.up.push(close);
                self.requests.asking = Asking::Drop;
                return;
            }
            When::After => {
                // In the extended protocol the server carries nothing out for good before it has the Sync.
                if is_in_batch(exchange, relay) {
                    self.requests.behind_batch.get_or_insert(close);
                } else {
                    self.requests.after = Some(close);
                }
                Reply::Cut { how, bytes: 0 }
            }
            When::InsideBytes(bytes) => Reply::Cut { how, bytes },
            When::InsideShare(share) => Reply::CutShare { how, share },
        };
        self.pass(seen, delay, now, decision);
        self.replies.expect(exchange, decision, cut);
    }

    /// Writes down what was done, and what was not, and tells everybody.
    pub(super) fn note(
        &mut self,
        asked: Asked,
        decision: &Decision,
        undone: Undone,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        self.enter(asked, decision, undone, relay, local);
        self.tell(asked, decision, undone, relay, local);
    }

    /// Writes down what was done.
    fn enter(
        &mut self,
        asked: Asked,
        decision: &Decision,
        undone: Undone,
        relay: &Relay,
        local: &mut Local,
    ) {
        let (plan, shard) = (&self.plan, &mut local.shard);
        self.record
            .write(asked, decision, undone, plan, relay, shard);
    }

    /// Tells everybody what was done, and what was not.
    pub(super) fn tell(
        &mut self,
        (exchange, operation, _): Asked,
        decision: &Decision,
        undone: Undone,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        let (plan, shard) = (&self.plan, &mut local.shard);
        let Relay {
            shared,
            session,
            meter,
            ..
        } = relay;
        let (proxy, session) = (&shared.name, *session);
        for (skip, faults) in skipped(decision, undone) {
            shard.count(shared.id, Counter::FaultsSkipped(skip), 1);
            for fault in &faults {
                plan.skipped(fault, skip);
            }
            shared.emit(|| Happening::Skipped {
                proxy: proxy.clone(),
                session,
                exchange,
                reason: skip.reason(),
                faults,
            });
        }
        let done = || {
            let all = decision.undone(undone).filter(|(_, why)| why.is_none());
            all.map(|(fault, _)| fault)
        };
        let Some(first) = done().next() else {
            return;
        };
        meter.touched(exchange, first);
        shard.count(shared.id, Counter::FaultsInjected, 1);
        shared.emit(|| Happening::Injected {
            proxy: proxy.clone(),
            session,
            exchange,
            operation: shared.catalog.operation_name(operation).into_owned(),
            faults: done().cloned().collect(),
        });
    }
}

/// Whether an exchange is part of a batch that a Sync ends.
fn is_in_batch(exchange: u64, relay: &Relay) -> bool {
    matches!(&relay.meter.decoder, Decoder::Postgres(d) if d.shape(exchange) == Shape::Execute)
}

/// The faults that were not carried out, by why.
fn skipped(decision: &Decision, undone: Undone) -> Vec<(Skip, Vec<Arc<str>>)> {
    let mut all: Vec<(Skip, Vec<Arc<str>>)> = Vec::new();
    for (fault, why) in decision.undone(undone) {
        let Some(why) = why else { continue };
        match all.iter_mut().find(|(skip, _)| *skip == why) {
            Some((_, faults)) => faults.push(Arc::clone(fault)),
            None => all.push((why, vec![Arc::clone(fault)])),
        }
    }
    all
}

/// Whether a reply to this request is to come.
fn is_answered(exchange: u64, relay: &Relay) -> bool {
    match &relay.meter.decoder {
        Decoder::Redis(decoder) => decoder.answers(exchange),
        _ => relay.meter.get(exchange).is_some_and(|e| e.replies),
    }
}

/// Whether an exchange that has no reply cannot end so.
const fn needs_reply(ending: &Ending) -> bool {
    match ending {
        Ending::Truncate(_) | Ending::LoseReply(_) | Ending::Duplicate | Ending::Cancel(_) => true,
        Ending::Disconnect(d) => matches!(d.when, When::InsideBytes(_) | When::InsideShare(_)),
        Ending::Stall | Ending::Timeout(_) | Ending::Error(_) | Ending::LoseRequest(_) => false,
    }
}

/// Whether an exchange that ends so has no reply.
const fn leaves_no_reply(ending: &Ending) -> bool {
    match ending {
        Ending::Stall | Ending::Timeout(_) | Ending::LoseRequest(_) => true,
        Ending::Disconnect(d) => matches!(d.when, When::Before | When::After),
        Ending::Truncate(_)
        | Ending::LoseReply(_)
        | Ending::Duplicate
        | Ending::Cancel(_)
        | Ending::Error(_) => false,
    }
}

/// Whether the client gets the server's own reply of an exchange that ends so.
const fn keeps_reply(ending: Option<&Ending>) -> bool {
    matches!(ending, None | Some(Ending::Duplicate | Ending::Cancel(_)))
}

/// What of a decision is not carried out, where its end is skipped or not.
fn undone(decision: &Decision, skipped: Option<Skip>, answered: bool) -> Undone {
    let ending = decision.end.as_ref().filter(|_| skipped.is_none());
    let reply = if ending.is_some_and(leaves_no_reply) {
        Some(Skip::Ended)
    } else {
        (!answered).then_some(Skip::NoReply)
    };
    Undone {
        request: None,
        reply,
        end: skipped,
    }
}
