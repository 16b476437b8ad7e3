//! Requests that the server gets twice. The decoder is shown the second as if the client had sent it, so that replies stay
//! paired; its reply goes nowhere.

use super::super::clock;
use super::super::local::Local;
use super::super::relay::Relay;
use super::Injector;
use super::message::Ready;
use super::replies::Reply;
use super::request::{Asked, Asking, due};
use crate::fault::{Decision, Skip, Undone};
use crate::protocol::postgres::{Shape, inject};
use crate::protocol::{Class, Decoder, Located, Protocol, postgres};
use std::sync::Arc;

/// The end of a batch of the extended protocol.
const SYNC: &[u8] = b"S\0\0\0\x04";

/// A request that is to go once more.
#[derive(Debug)]
pub(super) struct Twice {
    asked: Asked,
    bytes: Vec<u8>,
    /// It ends with its batch, whose Sync is still to come.
    batch: bool,
    pub(super) decision: Arc<Decision>,
}

impl Injector {
    /// Lets the request go, and remembers it for a second time. Returns why not, where it cannot be.
    pub(super) fn duplicate(
        &mut self,
        asked: Asked,
        seen: &[u8],
        now: u64,
        decision: &Arc<Decision>,
        relay: &Relay,
    ) -> Option<Skip> {
        let delay = clock::nanos(decision.request_delay);
        self.pass(seen, delay, now, decision);
        if relay.meter.get(asked.0).is_none_or(|e| e.asked == 0) {
            return Some(Skip::LongDuplicate);
        }
        let batch = match &relay.meter.decoder {
            Decoder::Redis(d) => {
                let alone = !d.in_multi(asked.0) && !d.is_subscribed();
                let plain = matches!(
                    asked.2,
                    Class::Read | Class::Write | Class::Admin | Class::Ping
                );
                if !(alone && plain) {
                    return Some(Skip::CommandNotAlone);
                }
                false
            }
            Decoder::Http(d) => {
                if d.closes(asked.0) || d.expects_continue(asked.0) || upgrades(seen) {
                    return Some(Skip::ConnectionEnds);
                }
                false
            }
            Decoder::Postgres(d) => {
                let idle = d.transaction_status() == b'I' && !d.owes_before(asked.0);
                let plain = matches!(asked.2, Class::Read | Class::Write | Class::Admin)
                    && asked.1 != postgres::operation::COPY;
                match d.shape(asked.0) {
                    _ if !(idle && plain) => return Some(Skip::StatementNotAlone),
                    Shape::Simple => false,
                    Shape::Execute if inject::names_a_statement(seen) => {
                        return Some(Skip::Prepares);
                    }
                    Shape::Execute => true,
                    Shape::Other => return Some(Skip::NotAStatement),
                }
            }
            Decoder::Tcp => return Some(Skip::NotARequest),
        };
        self.requests.twice = Some(Twice {
            asked,
            bytes: seen.to_vec(),
            batch,
            decision: Arc::clone(decision),
        });
        None
    }

    /// What was to go twice, if anything, will not.
    pub(super) fn forget_twice(&mut self, why: Skip, relay: &mut Relay, local: &mut Local) {
        if let Some(twice) = self.requests.twice.take() {
            let undone = Undone::end(Some(why));
            self.note(twice.asked, &twice.decision, undone, relay, local);
        }
    }

    /// The piece has gone its way: sends what is to go twice, where the client's stream is at a place for it.
    pub(super) fn send_twice(
        &mut self,
        piece: &[u8],
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        let Some(twice) = &self.requests.twice else {
            return;
        };
        let newest = relay.meter.newest() == Some(twice.asked.0);
        let between = matches!(self.requests.asking, Asking::Plain);
        if newest && twice.batch && !piece.ends_with(SYNC) {
            return;
        }
        let Some(twice) = self.requests.twice.take() else {
            return;
        };
        if !(newest && between) {
            let undone = Undone::end(Some(Skip::Pipelined));
            return self.note(twice.asked, &twice.decision, undone, relay, local);
        }
        let done = Undone::default();
        self.note(twice.asked, &twice.decision, done, relay, local);
        let mut bytes = twice.bytes;
        if twice.batch {
            bytes.extend_from_slice(SYNC);
        }
        let mut events = Vec::new();
        relay.meter.decoder.request(&bytes, &mut events);
        for event in events.into_iter().flat_map(Located::parts) {
            let (shard, shared) = (&mut local.shard, &relay.shared);
            let done = relay
                .meter
                .on_request(&event, now, shard, shared, relay.session);
            debug_assert!(done.is_none(), "it is answered");
        }
        relay
            .meter
            .pass_over(bytes.len(), 0, now, &mut local.shard, &relay.shared);
        let delay = clock::nanos(twice.decision.request_delay);
        self.up
            .push_bytes(&bytes, due(now, delay), Some(&twice.decision));
        let Some(second) = relay.meter.newest() else {
            return;
        };
        self.up.mark_forwarded(second);
        if let Some(fault) = twice.decision.faults.first() {
            relay.meter.touched(second, fault);
        }
        let ready = (relay.shared.protocol() == Protocol::Postgres).then(Ready::default);
        self.replies
            .expect(second, &twice.decision, Reply::Swallow { ready });
    }
}

/// Whether a request asks for another protocol, behind which nothing may be repeated.
fn upgrades(request: &[u8]) -> bool {
    let named = |line: &[u8]| {
        line.get(..8)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"upgrade:"))
    };
    let mut head = request
        .split(|b| *b == b'\n')
        .take_while(|line| !matches!(*line, b"" | b"\r"));
    request.starts_with(b"CONNECT ") || head.any(named)
}

#[cfg(test)]
mod tests {
    use super::upgrades;

    #[test]
    fn an_upgrade_is_seen_in_the_header_alone() {
        assert!(upgrades(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"));
        assert!(upgrades(b"CONNECT a:1 HTTP/1.1\r\n\r\n"));
        assert!(!upgrades(
            b"POST / HTTP/1.1\r\nHost: a\r\n\r\nupgrade: no\r\n"
        ));
    }
}
