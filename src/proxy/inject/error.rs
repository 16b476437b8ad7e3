//! Carries an injected error out: answers in the server's place, or lets the server err and exchanges what it says.

use super::super::clock;
use super::super::lane::{Cargo, Item};
use super::super::local::Local;
use super::super::relay::Relay;
use super::super::treatment::Treatment;
use super::Injector;
use super::replies::{Answer, Reply, Replying};
use super::request::{Asked, Asking, FailCopy, due};
use crate::fault::{Decision, Skip, Undone};
use crate::protocol::{Class, Decoder, postgres};
use std::sync::Arc;

impl Injector {
    /// Answers with an error, one way or another. Returns why not, where it cannot be.
    pub(super) fn error(
        &mut self,
        treatment: Treatment,
        asked: Asked,
        decision: &Arc<Decision>,
        seen: &[u8],
        now: u64,
        relay: &mut Relay,
    ) -> Option<Skip> {
        let exchange = asked.0;
        let delay = clock::nanos(decision.request_delay);
        match treatment {
            Treatment::Skip(reason) => {
                self.pass(seen, delay, now, decision);
                return Some(reason);
            }
            Treatment::Substitute { request, swap } => {
                // Not before the client has said all: the reply to it would come to a request that is not complete.
                let request = Cargo::Bytes(request.to_vec());
                let request = Item::new(due(now, delay), request, Some(decision));
                self.requests.after = Some(request);
                self.requests.asking = Asking::Drop;
                let untold = swap.is_uncertain().then_some(asked);
                let swap = Reply::swap(swap, decision, untold);
                self.replies.expect(exchange, decision, swap);
            }
            Treatment::FailCopy(swap) => {
                self.pass(seen, delay, now, decision);
                self.requests.fail_copy = FailCopy::Armed(exchange);
                let swap = Reply::swap(swap, decision, Some(asked));
                self.replies.expect(exchange, decision, swap);
            }
            Treatment::Answer {
                reply,
                status,
                close,
                early,
            } => {
                if close {
                    self.ask_for_replies_before(exchange, relay);
                }
                relay.meter.decoder.withhold(exchange);
                let wait = delay + clock::nanos(decision.reply_delay.max(decision.reply_floor));
                let answer = Answer {
                    exchange,
                    reply,
                    status,
                    due: due(now, wait),
                    close,
                    cause: Arc::clone(decision),
                };
                self.requests.asking = Asking::Drop;
                if early {
                    self.replies.answer(answer);
                    self.release_answers_between(now, relay);
                } else {
                    self.requests.drained_answer = Some(answer);
                }
                if close && asked.2 != Class::Handshake {
                    self.take_leave(due(now, delay), decision, relay);
                }
                self.requests.over = close && early;
            }
        }
        None
    }

    /// Says to the server what a client says that leaves, where its protocol has a word for it.
    fn take_leave(&mut self, due: u64, decision: &Arc<Decision>, relay: &Relay) {
        if let Decoder::Postgres(_) = relay.meter.decoder {
            let terminate = postgres::inject::terminate();
            self.up.push_bytes(&terminate, due, Some(decision));
        }
    }

    /// Tells the server that there will be no COPY data, once it waits for them and between the messages of the client.
    pub(super) fn fail_copy(&mut self, relay: &Relay) {
        if let Decoder::Postgres(decoder) = &relay.meter.decoder
            && matches!(self.requests.fail_copy, FailCopy::Due)
            && !decoder.is_inside_request()
        {
            self.say_copy_fails();
        }
    }

    /// Tells the server that there will be no COPY data, if that is due: the client is about to send some.
    pub(super) fn fail_copy_before_data(&mut self) {
        if !matches!(self.requests.fail_copy, FailCopy::No) {
            self.say_copy_fails();
        }
    }

    fn say_copy_fails(&mut self) {
        self.requests.fail_copy = FailCopy::No;
        self.up.push_bytes(&postgres::inject::copy_fail(), 0, None);
    }

    /// A reply ends: now it is known whether what was to be exchanged in it was, or the server had an error of its own.
    pub(super) fn tell_of_swap(&mut self, relay: &mut Relay, local: &mut Local) {
        let Replying::Swapping {
            swapping,
            cause,
            untold,
            ..
        } = &mut self.replies.replying
        else {
            return;
        };
        let Some(asked) = untold.take() else {
            return;
        };
        let skipped = swapping.status().is_none().then_some(Skip::ServersError);
        let undone = Undone::end(skipped);
        let cause = Arc::clone(cause);
        self.requests.fail_copy.reply_ends(asked.0);
        let (shared, shard) = (&relay.shared, &mut local.shard);
        self.record.skipped(asked.0, &cause, undone, shared, shard);
        self.tell(asked, &cause, undone, relay, local);
    }

    /// What was to be told with a reply that never will come is told now.
    pub(super) fn tell_of_swaps(&mut self, relay: &mut Relay, local: &mut Local) {
        for (asked, cause) in self.replies.take_untold() {
            self.tell(asked, &cause, Undone::default(), relay, local);
        }
    }
}
