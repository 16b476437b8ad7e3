//! Messages that the server sends unasked, while a fault is about them: kept until they are whole, then dropped, held or sent on.

use super::super::clock;
use super::super::event::Event as Happening;
use super::super::local::Local;
use super::super::relay::Relay;
use super::{Injector, note_aside};
use crate::fault::plan::Message;
use crate::fault::{Decision, Skip};
use crate::measure::Counter;
use crate::protocol::{Decoder, Event, Located};
use std::sync::Arc;

/// A message that is longer is sent on as it comes, and counted as skipped.
const KEPT: usize = 1 << 20;

/// Of such a message so much is kept: its channel is in it.
const BEGINNING: usize = 64 * 1024;

/// Where the server's stream stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Somewhere: the fault came into force in the middle of something.
    #[default]
    Unknown,
    /// Between replies. What comes may be the beginning of a message, and in RESP2 only its first element tells.
    Between,
    /// In a reply.
    Reply,
}

/// What is under way beside replies.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    watching: bool,
    place: Place,
    /// A message is under way; whether all of it so far is in `kept`.
    push: Option<bool>,
    kept: Vec<u8>,
    /// The beginning of one that was too long.
    too_long: Option<Vec<u8>>,
    /// The decoder said that it is a published message, and told when.
    delivered: Option<Located>,
    /// Published messages so far.
    seen: u64,
}

impl Pushes {
    pub(super) fn is_watching(&self) -> bool {
        self.watching
    }

    pub(super) fn is_idle(&self) -> bool {
        self.kept.is_empty()
    }

    /// From now on messages are watched, or not any more. Returns what was kept for that.
    pub(super) fn watch(&mut self, watching: bool) -> Vec<u8> {
        if self.watching == watching {
            return Vec::new();
        }
        self.watching = watching;
        self.take_kept()
    }

    /// The bytes of a message of which nothing will be decided.
    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        self.place = Place::Unknown;
        self.push = None;
        self.too_long = None;
        self.delivered = None;
        std::mem::take(&mut self.kept)
    }

    /// The decoder is about to be shown a piece.
    pub(super) fn before_piece(&mut self, decoder: &Decoder) {
        if self.watching
            && self.place == Place::Unknown
            && self.push.is_none()
            && let Decoder::Redis(redis) = decoder
            && redis.is_between_replies()
        {
            self.place = Place::Between;
        }
    }

    /// A reply begins. Returns its first bytes, where they were kept.
    pub(super) fn reply_begins(&mut self) -> Vec<u8> {
        if !self.watching {
            return Vec::new();
        }
        self.place = Place::Reply;
        std::mem::take(&mut self.kept)
    }
}

impl Injector {
    /// Sends bytes of the server where they go now, or keeps them until it is known what they are.
    pub(super) fn route_reply(&mut self, bytes: &[u8], now: u64, relay: &Relay) {
        if bytes.is_empty() {
            return;
        }
        let redis = matches!(relay.meter.decoder, Decoder::Redis(_));
        let pushes = &mut self.pushes;
        // Inside a reply of RESP2 the first element of a message went before it was known to be one.
        if pushes.push == Some(true)
            && pushes.kept.is_empty()
            && redis
            && pushes.place != Place::Between
            && bytes[0] != b'>'
        {
            pushes.push = Some(false);
        }
        let keep = match pushes.push {
            Some(whole) => whole,
            None => redis && pushes.place == Place::Between,
        };
        if !(pushes.watching && keep) {
            self.take_reply(bytes, now);
            return;
        }
        pushes.kept.extend_from_slice(bytes);
        if pushes.kept.len() > KEPT {
            let kept = std::mem::take(&mut pushes.kept);
            match &mut pushes.push {
                Some(whole) => {
                    *whole = false;
                    pushes.too_long = Some(kept[..BEGINNING].to_vec());
                }
                None => pushes.place = Place::Unknown,
            }
            self.take_reply(&kept, now);
        }
    }

    /// One event while messages are watched. Whether it is dealt with.
    pub(super) fn push_event(
        &mut self,
        event: &Located,
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) -> bool {
        match event.event {
            Event::PushBegin => self.pushes.push = Some(true),
            Event::Delivered(_)
                if self.pushes.push == Some(true) || self.pushes.too_long.is_some() =>
            {
                self.pushes.delivered = Some(*event);
                return true;
            }
            Event::PushEnd => {
                let whole = self.pushes.push.take() == Some(true);
                if self.pushes.place == Place::Unknown {
                    self.pushes.place = Place::Between;
                }
                let too_long = self.pushes.too_long.take();
                if whole {
                    self.push_end(now, relay, local);
                } else if let Some(begin) = too_long {
                    self.leave_long_message(&begin, now, relay, local);
                }
            }
            Event::ReplyEnd { .. } => self.pushes.place = Place::Between,
            _ => {}
        }
        false
    }

    /// The message is whole: asks what to do with it, and does that.
    fn push_end(&mut self, now: u64, relay: &mut Relay, local: &mut Local) {
        let kept = std::mem::take(&mut self.pushes.kept);
        if self.is_cut_off() {
            return;
        }
        // Invalidations and the like are no published messages.
        let Some(delivered) = self.pushes.delivered.take() else {
            self.down.push_bytes(&kept, 0, None);
            return;
        };
        let decision = self.decide_push(&kept, now, relay);
        let delay = clock::nanos(decision.reply_delay);
        let due = if delay == 0 {
            0
        } else {
            now.saturating_add(delay)
        };
        if !decision.faults.is_empty() {
            note_aside("push", &decision, relay, local);
        }
        if decision.lost {
            return;
        }
        let sent = due.max(now);
        let (shard, shared) = (&mut local.shard, &relay.shared);
        relay
            .meter
            .on_reply(&delivered, sent, shard, shared, relay.session);
        let cause = (delay > 0).then(|| Arc::new(decision));
        self.down.push_bytes(&kept, due, cause.as_ref());
    }

    /// What the plan says to the next published message, of which these bytes are there.
    fn decide_push(&mut self, bytes: &[u8], now: u64, relay: &Relay) -> Decision {
        let message = Message {
            facts: relay.meter.decoder.facts(),
            session: relay.session,
            ordinal: self.pushes.seen,
            client: relay.peer,
            bytes,
            now: clock::instant(now),
        };
        self.pushes.seen += 1;
        self.plan.decide_push(&message)
    }

    /// A message that begins so is over, and was too long to be kept: it went. What would have been done to it is skipped.
    fn leave_long_message(&mut self, begin: &[u8], now: u64, relay: &mut Relay, local: &mut Local) {
        let Some(delivered) = self.pushes.delivered.take() else {
            return;
        };
        let (shard, shared) = (&mut local.shard, &relay.shared);
        relay
            .meter
            .on_reply(&delivered, now, shard, shared, relay.session);
        let decision = self.decide_push(begin, now, relay);
        if decision.faults.is_empty() {
            return;
        }
        let why = Skip::LongMessage;
        for fault in &decision.faults {
            self.plan.skipped(fault, why);
        }
        let (shared, session) = (&relay.shared, relay.session);
        local.shard.count(shared.id, Counter::FaultsSkipped(why), 1);
        shared.emit(|| Happening::SkippedAside {
            proxy: shared.name.clone(),
            session,
            what: "push",
            reason: why.reason(),
            faults: decision.faults.clone(),
        });
    }
}
