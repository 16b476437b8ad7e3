//! Carries an injected error out: answers in the server's place, or lets the server err and exchanges what it says.

use super::super::clock;
use super::super::lane::{Cargo, Item};
use super::super::relay::Relay;
use super::super::treatment::Treatment;
use super::Injector;
use super::reply::{Answer, Reply};
use super::request::{Asked, Asking, due};
use crate::fault::{Decision, Skip};
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
                self.replies
                    .expect(exchange, decision, Reply::swap(swap, decision));
            }
            Treatment::FailCopy(swap) => {
                self.pass(seen, delay, now, decision);
                self.replies
                    .expect(exchange, decision, Reply::swap(swap, decision));
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
            && self.requests.fail_copy
            && !decoder.is_inside_request()
        {
            self.requests.fail_copy = false;
            self.up.push_bytes(&postgres::inject::copy_fail(), 0, None);
        }
    }
}
