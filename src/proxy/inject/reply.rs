//! The server's side: treats each reply as its decision says, and puts replies made here into their places.

use super::super::lane::{Cargo, Item, Lane};
use super::super::local::Local;
use super::super::meter::Finished;
use super::super::relay::{Relay, Way};
use super::Injector;
use crate::fault::Decision;
use crate::fault::action::{CloseHow, Truncate};
use crate::measure::Counter;
use crate::protocol::{Event, Located, Protocol, Status, http1};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// A reply of which a share is wanted is kept this far to learn its length.
const SHARE: usize = 1 << 20;

/// Type and length of a Postgres message.
const HEADER: usize = 5;

/// What waits for the reply of an exchange.
#[derive(Debug)]
pub(super) enum Reply {
    /// Each part is held; the whole takes at least `floor` nanoseconds from its request.
    Hold { delay: u64, floor: u64 },
    /// Cut off after this many bytes.
    Cut { how: CloseHow, bytes: u64 },
    /// Cut off after this share.
    CutShare { how: CloseHow, share: f64 },
    /// Cut short, so that something is missing.
    Truncate(Truncate),
    /// The server's error message is exchanged for this one, which stands for this status.
    SwapError { error: Bytes, status: Status },
}

impl Reply {
    /// Whether it does anything.
    pub(super) fn is_some(&self) -> bool {
        !matches!(self, Self::Hold { delay: 0, floor: 0 })
    }
}

/// A reply made here, waiting for its turn.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) exchange: u64,
    pub(super) reply: Bytes,
    pub(super) status: Status,
    pub(super) due: u64,
    /// The session ends after it.
    pub(super) close: bool,
    pub(super) cause: Arc<Decision>,
}

/// The reply that is coming in.
#[derive(Debug, Default)]
enum Replying {
    /// Goes on at once, after what is in the lane.
    #[default]
    Plain,
    /// Each part goes on after `delay`, and none before `floor`.
    Held {
        delay: u64,
        floor: u64,
        cause: Arc<Decision>,
    },
    /// Goes on until `left` bytes went.
    Cut {
        how: CloseHow,
        left: u64,
        cause: Arc<Decision>,
    },
    /// Kept until its length is known.
    CutShare {
        how: CloseHow,
        share: f64,
        kept: Vec<u8>,
        cause: Arc<Decision>,
    },
    /// Kept until it is known where to cut it.
    Truncate {
        truncate: Truncate,
        kept: Vec<u8>,
        cause: Arc<Decision>,
    },
    /// Goes on until the error message comes.
    SwapError { error: Bytes, status: Status },
    /// The server's error message is left out: `header` collects its length, `left` is what is left of it.
    Skipping { header: Vec<u8>, left: usize },
    /// Nothing more goes to the client.
    Cutoff,
}

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct Replies {
    expected: VecDeque<(u64, Arc<Decision>, Reply)>,
    answers: VecDeque<Answer>,
    replying: Replying,
    /// What the reply that is coming in counts as, its error being exchanged.
    swapped: Option<Status>,
}

impl Replies {
    pub(super) fn is_idle(&self) -> bool {
        self.expected.is_empty()
            && self.answers.is_empty()
            && matches!(self.replying, Replying::Plain)
    }

    /// The reply of this exchange is to be treated.
    pub(super) fn expect(&mut self, exchange: u64, decision: &Arc<Decision>, reply: Reply) {
        self.expected
            .push_back((exchange, Arc::clone(decision), reply));
    }

    /// The exchange is answered here.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.push_back(answer);
    }

    /// Lets everything go whose fault is not in force any more.
    pub(super) fn free(&mut self, in_force: impl Fn(&Decision) -> bool, lane: &mut Lane) {
        for answer in self.answers.iter_mut().filter(|a| !in_force(&a.cause)) {
            answer.due = 0;
        }
        // What was asked of the server in another form must be answered so; everything else may lapse.
        self.expected
            .retain(|(_, d, reply)| in_force(d) || matches!(reply, Reply::SwapError { .. }));
        let lapsed = match &self.replying {
            Replying::Held { cause, .. }
            | Replying::Cut { cause, .. }
            | Replying::CutShare { cause, .. }
            | Replying::Truncate { cause, .. } => !in_force(cause),
            _ => false,
        };
        if lapsed {
            lane.push_bytes(&self.take_kept(), 0, None);
            self.replying = Replying::Plain;
        }
    }

    /// The bytes of a reply that was kept to learn its length, and never will be complete.
    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        match &mut self.replying {
            Replying::CutShare { kept, .. } | Replying::Truncate { kept, .. } => {
                std::mem::take(kept)
            }
            _ => Vec::new(),
        }
    }

    /// No boundaries will be known any more. Returns what was kept.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        let kept = self.take_kept();
        self.expected.clear();
        if !matches!(self.replying, Replying::Cutoff) {
            self.replying = Replying::Plain;
        }
        kept
    }

    /// The reply of this exchange begins.
    fn begin(&mut self, exchange: u64, asked: u64) {
        while self.expected.front().is_some_and(|e| e.0 < exchange) {
            self.expected.pop_front();
        }
        if matches!(self.replying, Replying::Cutoff) {
            return;
        }
        self.replying = match self.expected.pop_front() {
            Some((of, cause, reply)) if of == exchange => Replying::new(reply, cause, asked),
            Some(later) => {
                self.expected.push_front(later);
                Replying::Plain
            }
            None => Replying::Plain,
        };
    }
}

impl Replying {
    /// The treatment of a reply that begins, of a request that was complete at `asked`.
    fn new(reply: Reply, cause: Arc<Decision>, asked: u64) -> Self {
        match reply {
            Reply::Hold { delay, floor } => {
                let floor = if floor == 0 {
                    0
                } else {
                    asked.saturating_add(floor)
                };
                Self::Held {
                    delay,
                    floor,
                    cause,
                }
            }
            Reply::Cut { how, bytes } => Self::Cut {
                how,
                left: bytes,
                cause,
            },
            Reply::CutShare { how, share } => Self::CutShare {
                how,
                share,
                kept: Vec::new(),
                cause,
            },
            Reply::Truncate(truncate) => Self::Truncate {
                truncate,
                kept: Vec::new(),
                cause,
            },
            Reply::SwapError { error, status } => Self::SwapError { error, status },
        }
    }
}

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
            return self.burst(Way::Down, length, now, relay, local);
        }
        if self.replies.is_idle()
            && self.down.is_empty()
            && self.closing.is_none()
            && !self.pushes.is_watching()
        {
            relay
                .meter
                .reply(length, now, local, &relay.shared, relay.session);
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
        for event in &events {
            self.route_reply(&scratch[taken..event.at.max(taken)], now, relay, local);
            taken = event.at.max(taken);
            self.reply_event(event, now, relay, local);
        }
        self.route_reply(&scratch[taken..length], now, relay, local);
        relay
            .meter
            .pass_over(0, length, now, &mut local.shard, &relay.shared);
        if relay.meter.lost {
            self.give_up();
        }
        local.events = events;
        local.scratch = scratch;
        false
    }

    /// One event of the server's bytes.
    fn reply_event(&mut self, event: &Located, now: u64, relay: &mut Relay, local: &mut Local) {
        if self.pushes.is_watching() && self.push_event(event, now, relay, local) {
            return;
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
                self.replies.begin(event.exchange, asked);
                self.cut_if_due();
                let first = self.pushes.reply_begins();
                self.take_reply(&first, now);
            }
            Event::ErrorBegin => {
                if let Replying::SwapError { error, status } = &self.replies.replying {
                    self.replies.swapped = Some(*status);
                    self.down.push_bytes(error, 0, None);
                    self.replies.replying = Replying::Skipping {
                        header: Vec::new(),
                        left: HEADER,
                    };
                }
            }
            Event::ReplyEnd { .. } => {
                self.reply_end();
                let swapped = self.replies.swapped.take();
                if let Some(mut done) = done {
                    done.sample.status = swapped.unwrap_or(done.sample.status);
                    self.finish(done, now, relay, local);
                }
                self.release_answers(now, relay);
            }
            _ => {}
        }
    }

    /// Sends reply bytes where they go now.
    pub(super) fn take_reply(&mut self, bytes: &[u8], now: u64) {
        match &mut self.replies.replying {
            Replying::Plain | Replying::SwapError { .. } => self.down.push_bytes(bytes, 0, None),
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
                self.down.push_bytes(&bytes[..part], 0, Some(cause));
                self.cut_if_due();
            }
            Replying::CutShare { kept, .. } => {
                kept.extend_from_slice(bytes);
                if kept.len() >= SHARE {
                    self.cut_share();
                }
            }
            Replying::Truncate { kept, .. } => {
                kept.extend_from_slice(bytes);
                self.truncate(false);
            }
            Replying::Skipping { .. } => self.skip_error(bytes, now),
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

    /// Leaves the server's error message out; what comes after it goes on.
    fn skip_error(&mut self, bytes: &[u8], now: u64) {
        let Replying::Skipping { header, left } = &mut self.replies.replying else {
            return;
        };
        let mut rest = bytes;
        while header.len() < HEADER && !rest.is_empty() {
            header.push(rest[0]);
            rest = &rest[1..];
            if let [_, a, b, c, d] = header[..] {
                // The length counts itself, and not the type.
                *left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            }
        }
        if header.len() < HEADER {
            return;
        }
        let skipped = rest.len().min(*left);
        *left -= skipped;
        if *left == 0 {
            self.replies.replying = Replying::Plain;
            self.take_reply(&rest[skipped..], now);
        }
    }

    /// Cuts the session where a reply reached its last byte that may go.
    fn cut_if_due(&mut self) {
        if let Replying::Cut {
            how,
            left: 0,
            cause,
        } = &self.replies.replying
        {
            // Everything before this reply is in the lane already.
            let close = Item::new(0, Cargo::Close(*how, 0), Some(cause));
            self.down.push(close);
            self.replies.replying = Replying::Cutoff;
        }
    }

    /// The length of the reply is known, or as much of it as is kept: sends the share on, and cuts.
    fn cut_share(&mut self) {
        if let Replying::CutShare {
            how,
            share,
            kept,
            cause,
        } = &self.replies.replying
        {
            let part = (kept.len() as f64 * share) as usize;
            self.down
                .push_bytes(&kept[..part.min(kept.len())], 0, Some(cause));
            let close = Item::new(0, Cargo::Close(*how, 0), Some(cause));
            self.down.push(close);
            self.replies.replying = Replying::Cutoff;
        }
    }

    /// Sends of a reply what goes before its cut, once that is known, and cuts. `complete`: no more of it will come.
    fn truncate(&mut self, complete: bool) {
        let Replying::Truncate {
            truncate,
            kept,
            cause,
        } = &self.replies.replying
        else {
            return;
        };
        // What is longer than is kept is cut as if it were as long as that.
        let complete = complete || kept.len() >= SHARE;
        let head = match self.protocol {
            Protocol::Http => http1::inject::head_length(kept),
            _ => Some(0),
        };
        let head = match head {
            None if !complete => return,
            head => head.unwrap_or(kept.len()),
        };
        if let Some(at) = truncate.place(kept.len(), head, complete) {
            self.down.push_bytes(&kept[..at], 0, Some(cause));
            let close = Item::new(0, Cargo::Close(truncate.how, 0), Some(cause));
            self.down.push(close);
            self.replies.replying = Replying::Cutoff;
        }
    }

    /// The last byte of the reply was taken.
    fn reply_end(&mut self) {
        match &mut self.replies.replying {
            Replying::CutShare { .. } => self.cut_share(),
            Replying::Truncate { .. } => self.truncate(true),
            // Shorter than the cut: all of it goes, then the session closes.
            Replying::Cut { left, .. } => {
                *left = 0;
                self.cut_if_due();
            }
            Replying::Cutoff => {}
            _ => self.replies.replying = Replying::Plain,
        }
    }

    /// An exchange is complete once the last byte of its reply was sent on.
    fn finish(&mut self, done: Finished, now: u64, relay: &Relay, local: &mut Local) {
        if matches!(self.replies.replying, Replying::Cutoff) {
            let mut sample = done.sent(done.first_byte, now);
            sample.status = Status::CLOSED;
            local.shard.completed(relay.shared.id, &sample);
        } else if let Some(item) = self.down.back_bytes() {
            item.completes.push(done);
        } else {
            local
                .shard
                .completed(relay.shared.id, &done.sent(done.first_byte, now));
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
            let mut item = Item::new(
                answer.due,
                Cargo::Bytes(answer.reply.to_vec()),
                Some(&answer.cause),
            );
            if let Some(done) = relay
                .meter
                .answered_here(exchange, answer.status, length, now)
            {
                item.completes.push(done);
            }
            if matches!(self.replies.replying, Replying::Cutoff) {
                continue;
            }
            self.down.push(item);
            if answer.close {
                let close = Cargo::Close(CloseHow::Fin, 0);
                self.down
                    .push(Item::new(answer.due, close, Some(&answer.cause)));
                self.replies.replying = Replying::Cutoff;
            }
        }
    }
}
