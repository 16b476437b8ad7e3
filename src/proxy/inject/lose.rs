//! Requests and replies that never arrive. What is behind them does not either: the session falls silent or closes.

use super::super::clock;
use super::super::lane::{Cargo, Item, Stall};
use super::super::relay::Relay;
use super::Injector;
use super::reply::{Reply, Replying};
use super::request::{Asking, due};
use crate::fault::Decision;
use crate::fault::action::Loss;
use crate::protocol::Protocol;
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
    ) {
        let at = due(now, clock::nanos(decision.request_delay));
        let cargo = silence(loss, at.max(now), Some(exchange));
        self.up.push(Item::new(at, cargo, Some(decision)));
        self.requests.asking = Asking::Drop;
        self.requests.over = true;
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
        let Replying::Losing {
            loss,
            cause,
            lapsed,
            ..
        } = &self.replies.replying
        else {
            return;
        };
        let due = self.replies.due(now);
        let cargo = if *lapsed {
            Cargo::Close(loss.how, 0)
        } else {
            silence(*loss, due.max(now), None)
        };
        self.down.push(Item::new(due, cargo, Some(cause)));
        self.replies.replying = Replying::Cutoff;
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

/// Looks for the end of a `ReadyForQuery`, from a boundary between messages on.
#[derive(Debug, Default)]
pub(super) struct Ready {
    header: Vec<u8>,
    /// Bytes of the body that are still to come, once the header is complete.
    left: usize,
}

/// Type and length of a message.
const HEADER: usize = 5;

impl Ready {
    /// Takes the next bytes. Where it has ended among them, if it has.
    pub(super) fn feed(&mut self, all: &[u8]) -> Option<usize> {
        let mut bytes = all;
        loop {
            let missing = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            let [kind, a, b, c, d] = self.header[..] else {
                return None;
            };
            if missing > 0 {
                // The length counts itself, and not the type.
                self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            }
            let body = self.left.min(bytes.len());
            self.left -= body;
            bytes = &bytes[body..];
            if self.left > 0 {
                return None;
            }
            self.header.clear();
            if kind == b'Z' {
                return Some(all.len() - bytes.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_end_of_a_ready_for_query_wherever_the_stream_is_cut() {
        let row = b"D\0\0\0\x0bZZZZZZZ".as_slice();
        let reply = [row, b"C\0\0\0\x06ZZ", b"n\0\0\0\x04", b"Z\0\0\0\x05I"].concat();
        for first in 0..reply.len() {
            for second in first..reply.len() {
                let mut ready = Ready::default();
                assert_eq!(ready.feed(&reply[..first]), None);
                assert_eq!(ready.feed(&reply[first..second]), None);
                let rest = [&reply[second..], b"behind"].concat();
                let end = Some(reply.len() - second);
                assert_eq!(ready.feed(&rest), end, "{first} {second}");
            }
        }
    }
}
