//! Plain TCP, tunnels, and sessions whose decoder gave up: bytes that arrived together stand in for exchanges.

use super::super::clock;
use super::super::lane::{Cargo, Item, Stall};
use super::super::local::Local;
use super::super::relay::{Relay, Way};
use super::Injector;
use super::request::{Asked, due};
use crate::fault::action::{CloseHow, Disconnect, Truncate, When};
use crate::fault::arguments::Said;
use crate::fault::plan::Ending;
use crate::fault::spec::Side;
use crate::fault::{Decision, Subject, Undone};
use crate::protocol::Decoder;
use crate::protocol::tcp::{BURST, BURST_CLASS};
use std::sync::Arc;

impl Injector {
    /// Bytes that arrived together on a proxy that decodes nothing, in a tunnel, or on a session whose decoder gave up: there only faults
    /// are asked that name no exchange.
    pub(super) fn burst(
        &mut self,
        way: Way,
        length: usize,
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) -> bool {
        let clear = self.closing.is_none() && self.stalled.is_none();
        let (asked, decision) = self.decide_burst(way, now, relay);
        let hit = !decision.faults.is_empty();
        if hit {
            self.note(asked, &decision, Undone::default(), relay, local);
        }
        let lane = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        if !hit {
            if lane.is_empty() && clear {
                return true;
            }
            lane.push_bytes(&local.scratch[..length], 0, None);
            return false;
        }
        let decision = Arc::new(decision);
        let delay = clock::nanos(match way {
            Way::Up => decision.request_delay,
            Way::Down => decision.reply_delay.max(decision.reply_floor),
        });
        let bytes = &local.scratch[..length];
        let at = due(now, delay);
        match decision.end {
            Some(ref ending @ (Ending::Stall | Ending::Timeout(_))) => {
                let until = match ending {
                    Ending::Timeout(after) => Some(now + delay + clock::nanos(*after)),
                    _ => None,
                };
                let stall = Cargo::Stall(Stall {
                    until,
                    how: CloseHow::Fin,
                    lost: false,
                    before: None,
                });
                lane.push(Item::new(at, stall, Some(&decision)));
            }
            Some(Ending::Disconnect(Disconnect { how, when })) => {
                let passed = match when {
                    When::Before => 0,
                    When::After => length,
                    When::InsideBytes(n) => usize::try_from(n).map_or(length, |n| n.min(length)),
                    When::InsideShare(share) => (length as f64 * share) as usize,
                };
                lane.push_bytes(&bytes[..passed], at, Some(&decision));
                lane.push(Item::new(at, Cargo::Close(how, 0), Some(&decision)));
                return false;
            }
            Some(Ending::Truncate(Truncate { how, .. })) if length < 2 => {
                lane.push(Item::new(at, Cargo::Close(how, 0), Some(&decision)));
                return false;
            }
            Some(Ending::Truncate(truncate)) => {
                let passed = truncate.place(length, 0, true).unwrap_or(0);
                lane.push_bytes(&bytes[..passed], at, Some(&decision));
                let close = Cargo::Close(truncate.how, 0);
                lane.push(Item::new(at, close, Some(&decision)));
                return false;
            }
            // These are about exchanges, and are not asked here.
            Some(
                Ending::Error(_)
                | Ending::LoseRequest(_)
                | Ending::LoseReply(_)
                | Ending::Duplicate
                | Ending::Cancel(_),
            )
            | None => {}
        }
        lane.push_bytes(bytes, at, Some(&decision));
        false
    }

    /// Asks the plan what to do with the bytes, and as what they were asked.
    fn decide_burst(&mut self, way: Way, now: u64, relay: &Relay) -> (Asked, Decision) {
        // The bytes of a tunnel go by what the request asked for that made it.
        let (first, operation, class, unread) = match &relay.meter.decoder {
            Decoder::Tcp => (0, BURST, BURST_CLASS, false),
            Decoder::Http(http) if let Some(tunnel) = http.tunnel() => {
                (tunnel.requests, tunnel.operation, tunnel.class, false)
            }
            _ => (relay.meter.unanswered().end, BURST, BURST_CLASS, true),
        };
        let exchange = first + self.requests.bursts;
        self.requests.bursts += 1;
        let subject = Subject {
            session: relay.session,
            exchange,
            operation,
            class,
            client: relay.peer,
            said: Said::default(),
            request: &[],
            now: clock::instant(now),
        };
        let side = match way {
            Way::Up => Side::Request,
            Way::Down => Side::Reply,
        };
        let decision = if unread {
            self.plan.decide_unread(&subject, side)
        } else {
            self.plan.decide_burst(&subject, side)
        };
        ((exchange, operation, class), decision)
    }
}
