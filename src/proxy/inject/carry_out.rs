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
use crate::fault::{Decision, Skip};
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
        let delay = clock::nanos(decision.request_delay);
        let mut skipped = None;
        match &decision.end {
            None => self.pass(seen, delay, now, decision),
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
            Some(Ending::LoseRequest(loss)) => {
                self.lose_request(*loss, asked.0, now, decision, relay);
            }
            Some(Ending::LoseReply(loss)) => {
                skipped = self.lose_reply(*loss, asked.0, seen, now, decision, relay);
            }
        }
        let hold = Reply::Hold {
            delay: clock::nanos(decision.reply_delay),
            floor: clock::nanos(decision.reply_floor),
        };
        if (hold.is_some() || !decision.reply_flow.is_plain())
            && (matches!(decision.end, None | Some(Ending::Duplicate)) || skipped.is_some())
        {
            self.replies.expect(asked.0, decision, hold);
        }
        if self.replies.tells_later(asked.0) {
            self.enter(asked, decision, None, relay, local);
        } else if self.requests.twice.is_none() {
            self.note(asked, decision, skipped, relay, local);
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

    /// Writes down what was done, and tells everybody.
    pub(super) fn note(
        &mut self,
        asked: Asked,
        decision: &Decision,
        skipped: Option<Skip>,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        self.enter(asked, decision, skipped, relay, local);
        self.tell(asked, decision, skipped, relay, local);
    }

    /// Writes down what was done.
    fn enter(
        &mut self,
        asked: Asked,
        decision: &Decision,
        skipped: Option<Skip>,
        relay: &Relay,
        local: &mut Local,
    ) {
        let (plan, shard) = (&self.plan, &mut local.shard);
        self.record
            .write(asked, decision, skipped, plan, relay, shard);
    }

    /// Tells everybody what was done.
    pub(super) fn tell(
        &mut self,
        (exchange, operation, _): Asked,
        decision: &Decision,
        skipped: Option<Skip>,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        let Relay {
            shared,
            session,
            meter,
            ..
        } = relay;
        let (proxy, session) = (&shared.name, *session);
        if let Some(skip) = skipped {
            local
                .shard
                .count(shared.id, Counter::FaultsSkipped(skip), 1);
            for fault in &decision.faults {
                self.plan.skipped(fault, skip);
            }
            shared.emit(|| Happening::Skipped {
                proxy: proxy.clone(),
                session,
                exchange,
                reason: skip.reason(),
            });
            return;
        }
        if let Some(first) = decision.faults.first() {
            meter.touched(exchange, first);
        }
        local.shard.count(shared.id, Counter::FaultsInjected, 1);
        shared.emit(|| Happening::Injected {
            proxy: proxy.clone(),
            session,
            exchange,
            operation: shared.catalog.operation_name(operation).into_owned(),
            faults: decision.faults.clone(),
        });
    }
}

/// Whether an exchange is part of a batch that a Sync ends.
fn is_in_batch(exchange: u64, relay: &Relay) -> bool {
    matches!(&relay.meter.decoder, Decoder::Postgres(d) if d.shape(exchange) == Shape::Execute)
}
