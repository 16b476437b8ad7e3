//! Treats each reply as its decision says, and puts replies made here into their places.

use super::super::exchange::Finished;
use super::super::lane::{Cargo, Item};
use super::super::local::Local;
use super::super::relay::{Relay, Way};
use super::Injector;
use super::replies::Replying;
use crate::fault::action::CloseHow;
use crate::measure::Counter;
use crate::protocol::{Event, Located};

/// A reply of which a share is wanted is kept this far to learn its length.
pub(super) const SHARE: usize = 1 << 20;

impl Injector {
    /// A piece from the server, in the scratch buffer. `true`: it goes on whole and at once.
    pub(super) fn reply(
        &mut self,
        length: usize,
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) -> bool {
        if relay.meter.lost {
            local
                .shard
                .count(relay.shared.id, Counter::BytesDown, length as u64);
            if self.replies.is_cut() {
                // Behind what was lost the client would see a hole.
                return false;
            }
            return self.burst(Way::Down, length, now, relay, local);
        }
        if self.replies.is_idle()
            && self.down.is_empty()
            && self.closing.is_none()
            && !self.pushes.is_watching()
            && self.record.is_idle()
        {
            relay
                .meter
                .reply(length, now, local, &relay.shared, relay.session);
            if relay.meter.lost {
                self.give_up(relay, local);
            }
            return true;
        }
        local
            .shard
            .count(relay.shared.id, Counter::BytesDown, length as u64);
        let scratch = std::mem::take(&mut local.scratch);
        let mut events = std::mem::take(&mut local.events);
        events.clear();
        self.pushes.before_piece(&relay.meter.decoder);
        relay.meter.decoder.reply(&scratch[..length], &mut events);
        let mut taken = 0;
        for event in events.iter().copied().flat_map(Located::parts) {
            let bytes = &scratch[taken..event.at.max(taken)];
            self.record.reply_bytes(bytes);
            self.cancel_reply_bytes(bytes);
            self.route_reply(bytes, now, relay);
            taken = event.at.max(taken);
            self.reply_event(&event, now, relay, local);
            if relay.meter.lost {
                self.give_up(relay, local);
            }
        }
        self.record.reply_bytes(&scratch[taken..length]);
        self.cancel_reply_bytes(&scratch[taken..length]);
        self.route_reply(&scratch[taken..length], now, relay);
        self.settle_cut(&scratch[..length], now, relay);
        self.fail_copy(relay);
        self.release_answers_between(now, relay);
        relay
            .meter
            .pass_over(0, length, now, &mut local.shard, &relay.shared);
        local.events = events;
        local.scratch = scratch;
        false
    }

    /// The server's FIN: what ends with the connection is complete now.
    pub(super) fn reply_eof(&mut self, now: u64, relay: &mut Relay, local: &mut Local) {
        relay.meter.reply_eof_events(local);
        let events = std::mem::take(&mut local.events);
        for event in &events {
            self.reply_event(event, now, relay, local);
            if relay.meter.lost {
                self.give_up(relay, local);
            }
        }
        local.events = events;
        let (shard, shared) = (&mut local.shard, &relay.shared);
        relay.meter.pass_over(0, 0, now, shard, shared);
        self.treat_kept(now);
        self.reply_lost(now);
    }

    /// One event of the server's bytes.
    fn reply_event(&mut self, event: &Located, now: u64, relay: &mut Relay, local: &mut Local) {
        if self.pushes.is_watching() && self.push_event(event, now, relay, local) {
            return;
        }
        if let Event::ReplyEnd { status } = event.event {
            self.treat_kept(now);
            self.tell_of_swap(relay, local);
            self.cancel_ends(event.exchange, status, relay, local);
        }
        let Relay {
            meter,
            shared,
            session,
            ..
        } = relay;
        let done = meter.on_reply(event, now, &mut local.shard, shared, *session);
        match event.event {
            Event::ReplyBegin => {
                let asked = meter.get(event.exchange).map_or(now, |e| e.asked);
                self.replies.begin(event.exchange, asked, self.protocol);
                if let Some(cancelling) = &mut self.cancelling {
                    cancelling.reply_begins(event.exchange);
                }
                self.cut_if_due(now);
                let (place, protocol) = (self.down.pushed, self.protocol);
                self.record.reply_begins(event.exchange, place, protocol);
                let first = self.pushes.reply_begins();
                self.record.reply_bytes(&first);
                self.take_reply(&first, now);
            }
            Event::ReplyEnd { status } => {
                let swapped = match &self.replies.replying {
                    Replying::Swapping { swapping, .. } => swapping.status(),
                    _ => None,
                };
                self.reply_end(event.exchange, now);
                let (exchange, place) = (event.exchange, self.down.pushed);
                self.record
                    .reply_ends(exchange, status, swapped, place, &relay.shared);
                if self.replies.is_cut() {
                    self.replies.cut_end = Some(exchange);
                }
                if let Some(mut done) = done {
                    if let Some(status) = swapped {
                        done.becomes(status);
                    }
                    self.finish(done, now, relay, local);
                }
                self.release_answers(now, relay);
            }
            Event::PushEnd => self.release_answers(now, relay),
            _ => {}
        }
    }

    /// Sends reply bytes where they go now.
    pub(super) fn take_reply(&mut self, bytes: &[u8], now: u64) {
        let due = self.replies.due(now);
        match &mut self.replies.replying {
            Replying::Plain => self.down.push_bytes(bytes, 0, None),
            Replying::Held {
                delay,
                floor,
                cause,
            } => {
                let due = if *delay == 0 { 0 } else { now + *delay };
                self.down.push_bytes(bytes, due.max(*floor), Some(cause));
            }
            Replying::Cut { left, cause, .. } => {
                let part = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                *left -= part as u64;
                self.down.push_bytes(&bytes[..part], due, Some(cause));
                self.cut_if_due(now);
            }
            Replying::CutShare { kept, .. } => {
                kept.extend_from_slice(bytes);
                if kept.len() >= SHARE {
                    self.cut_share(now);
                }
            }
            Replying::Swapping {
                swapping,
                delay,
                floor,
                cause,
                ..
            } => {
                let mut out = Vec::new();
                swapping.feed(bytes, &mut out);
                let due = if *delay == 0 { 0 } else { now + *delay };
                self.down.push_bytes(&out, due.max(*floor), Some(cause));
                if swapping.take_copying() {
                    self.requests.fail_copy.is_asked();
                }
            }
            Replying::Truncate { kept, .. } => {
                kept.extend_from_slice(bytes);
                self.truncate(false, now);
            }
            Replying::Swallowed { ready, .. } => {
                let ended = ready.as_mut().and_then(|ready| ready.feed(bytes));
                if let Some(end) = ended {
                    self.replies.replying = Replying::Plain;
                    self.down.push_bytes(&bytes[end..], 0, None);
                }
            }
            Replying::BeforeData {
                asking,
                kept,
                cause,
                ..
            } => {
                let mut rest = bytes;
                while let Some(end) = asking.feed(rest) {
                    kept.extend_from_slice(&rest[..end]);
                    self.down.push_bytes(kept, due, Some(cause));
                    kept.clear();
                    rest = &rest[end..];
                }
                kept.extend_from_slice(rest);
                if kept.len() >= SHARE {
                    self.treat_kept(now);
                }
            }
            Replying::Losing { ready, .. } => {
                let ended = ready.as_mut().and_then(|ready| ready.feed(bytes));
                if ended.is_some() {
                    self.reply_lost(now);
                }
            }
            Replying::Cutoff => {}
        }
    }

    /// The bytes of a reply or message that were kept for a decision that never comes.
    pub(super) fn take_kept_replies(&mut self) -> Vec<u8> {
        let mut kept = self.replies.take_kept();
        kept.extend(self.pushes.take_kept());
        kept
    }

    /// Whether a cut has ended what goes to the client.
    pub(super) fn is_cut_off(&self) -> bool {
        matches!(self.replies.replying, Replying::Cutoff)
    }

    /// The server asks for no COPY data any more in this reply, as far as that is waited for: treats what was kept for that.
    pub(super) fn treat_kept(&mut self, now: u64) {
        self.replies.replying = match std::mem::take(&mut self.replies.replying) {
            Replying::BeforeData {
                kept, then, cause, ..
            } => {
                self.replies.replying = Replying::new(then, cause, 0);
                return self.take_reply(&kept, now);
            }
            other => other,
        };
    }

    /// The last byte of the reply was taken.
    fn reply_end(&mut self, exchange: u64, now: u64) {
        match &mut self.replies.replying {
            Replying::CutShare { .. } => self.cut_share(now),
            Replying::Truncate { .. } => self.truncate(true, now),
            // Shorter than the cut: all of it goes, then the session closes.
            Replying::Cut { left, .. } => {
                *left = 0;
                self.cut_if_due(now);
            }
            Replying::Losing { ready: None, .. } => self.reply_lost(now),
            Replying::Losing { ended, .. } => *ended = Some(exchange),
            Replying::Swallowed { ready: Some(_), .. } | Replying::Cutoff => {}
            _ => self.replies.replying = Replying::Plain,
        }
    }

    /// An exchange is complete once the last byte of its reply was sent on.
    fn finish(&mut self, done: Finished, now: u64, relay: &Relay, local: &mut Local) {
        if self.replies.is_cut() {
            // What the client does about that shows when the session ends.
            self.withheld.push(done);
        } else if let Some(item) = self.down.back_bytes() {
            item.completes.push(done);
        } else {
            done.passed(now, relay.shared.id, &mut local.shard);
        }
    }

    /// As [`Self::release_answers`], at the end of what was read: not inside a message that belongs to no exchange.
    pub(super) fn release_answers_between(&mut self, now: u64, relay: &mut Relay) {
        if !relay.meter.decoder.is_inside_reply() {
            self.release_answers(now, relay);
        }
    }

    /// Puts the answers whose turn has come behind the replies before them.
    pub(super) fn release_answers(&mut self, now: u64, relay: &mut Relay) {
        while self
            .replies
            .answers
            .front()
            .is_some_and(|a| a.exchange == relay.meter.oldest_unanswered())
        {
            let Some(answer) = self.replies.answers.pop_front() else {
                return;
            };
            let (exchange, length) = (answer.exchange, answer.reply.len());
            let done = relay
                .meter
                .answered_here(exchange, answer.status, length, now);
            if self.replies.is_cut() {
                self.withheld.extend(done);
                continue;
            }
            let begin = self.down.pushed;
            self.down
                .push_bytes(&answer.reply, answer.due, Some(&answer.cause));
            if let Some(item) = self.down.back_bytes() {
                item.completes.extend(done);
            }
            let places = (begin, self.down.pushed);
            self.record.answered(exchange, answer.status, places);
            if answer.close {
                let close = Cargo::Close(CloseHow::Fin, 0);
                self.down
                    .push(Item::new(answer.due, close, Some(&answer.cause)));
                self.replies.replying = Replying::Cutoff;
            }
        }
    }
}
