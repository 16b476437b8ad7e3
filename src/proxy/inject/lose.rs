//! Requests and replies that never arrive. What is behind them does not either: the session falls silent or closes.

use super::super::clock;
use super::super::lane::{Cargo, Item, Stall};
use super::super::relay::Relay;
use super::Injector;
use super::message::Ready;
use super::replies::{Reply, Replying};
use super::request::{Asking, due};
use crate::fault::Decision;
use crate::fault::action::Loss;
use crate::protocol::{Decoder, Protocol, postgres};
use std::sync::Arc;
use std::time::Duration;

impl Injector {
    /// The request and all behind it go nowhere; the replies of those before it still come.
    pub(super) fn lose_request(
        &mut self,
        loss: Loss,
        exchange: u64,
        now: u64,
        decision: &Arc<Decision>,
        relay: &Relay,
    ) {
        self.ask_for_replies_before(exchange, relay);
        let at = due(now, clock::nanos(decision.request_delay));
        let cargo = silence(loss, at.max(now), Some(exchange));
        self.up.push(Item::new(at, cargo, Some(decision)));
        self.requests.asking = Asking::Drop;
        self.requests.over = true;
    }

    /// This exchange, and what is behind it, does not go on: neither does the Sync for which Postgres holds back the replies to what
    /// precedes it in its batch. It is asked for them now; nobody could wait for their end else.
    pub(super) fn ask_for_replies_before(&mut self, exchange: u64, relay: &Relay) {
        if let Decoder::Postgres(decoder) = &relay.meter.decoder
            && decoder.holds_back_before(exchange)
        {
            self.up.push_bytes(postgres::inject::FLUSH, 0, None);
        }
    }

    /// The request goes on, and its reply goes nowhere.
    pub(super) fn lose_reply(
        &mut self,
        loss: Loss,
        exchange: u64,
        seen: &[u8],
        now: u64,
        decision: &Arc<Decision>,
        relay: &Relay,
    ) {
        let delay = clock::nanos(decision.request_delay);
        self.pass(seen, delay, now, decision);
        let ready = (relay.shared.protocol() == Protocol::Postgres).then(Ready::default);
        self.replies
            .expect(exchange, decision, Reply::Lose { loss, ready });
    }

    /// The reply that is being lost is complete: the server has done all that was asked.
    pub(super) fn reply_lost(&mut self, now: u64) {
        let Replying::Losing { loss, cause, .. } = &self.replies.replying else {
            return;
        };
        let due = self.replies.due(now);
        let cargo = silence(*loss, due.max(now), None);
        self.down.push(Item::new(due, cargo, Some(cause)));
        self.replies.replying = Replying::Cutoff;
    }

    /// A piece of the server was dealt with in which the reply ended that the client does not get. Where that is part of a batch which
    /// the client has not ended, its work will be undone with the session.
    pub(super) fn settle_cut(&mut self, piece: &[u8], now: u64, relay: &Relay) {
        if let Some(exchange) = self.replies.cut_end.take()
            && let Decoder::Postgres(decoder) = &relay.meter.decoder
            && !decoder.owes_ready()
            && !postgres::inject::ends_with_ready(piece)
        {
            self.record.not_committed(exchange);
            self.lose_flushed(now, relay);
        }
    }

    /// Where the client asks for a reply by a Flush, it may wait for that before it sends the Sync. Of a reply that it does not get
    /// nothing more will come then: it is lost as it is.
    pub(super) fn lose_flushed(&mut self, now: u64, relay: &Relay) {
        if let Replying::Losing {
            ended: Some(exchange),
            ..
        } = self.replies.replying
            && let Decoder::Postgres(decoder) = &relay.meter.decoder
            && !decoder.owes_ready()
            && decoder.is_flushed(exchange)
        {
            self.reply_lost(now);
        }
    }
}

/// What the session comes to at `now`, once the replies of the exchanges before this one were sent.
fn silence(loss: Loss, now: u64, before: Option<u64>) -> Cargo {
    if loss.silence == Some(Duration::ZERO) {
        return Cargo::Close(loss.how, before.unwrap_or(0));
    }
    Cargo::Stall(Stall {
        until: loss
            .silence
            .map(|silence| now.saturating_add(clock::nanos(silence))),
        how: loss.how,
        lost: true,
        before,
    })
}
