//! The server's side: treats each reply as its decision says, and puts replies made here into their places.

use super::super::clock;
use super::super::exchange::Finished;
use super::super::lane::{Cargo, Item, Lane};
use super::super::local::Local;
use super::super::relay::{Relay, Way};
use super::Injector;
use super::lose::Ready;
use super::request::due;
use super::swap::Swapping;
use crate::fault::Decision;
use crate::fault::action::{CloseHow, Loss, Truncate};
use crate::measure::Counter;
use crate::protocol::{Event, Located, Status};
use crate::proxy::treatment::Swap;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// A reply of which a share is wanted is kept this far to learn its length.
pub(super) const SHARE: usize = 1 << 20;

/// What waits for the reply of an exchange.
#[derive(Debug)]
pub(super) enum Reply {
    /// Each part is held; the whole takes at least `floor` nanoseconds from its request.
    Hold { delay: u64, floor: u64 },
    /// Cut off after this many bytes.
    Cut { how: CloseHow, bytes: u64 },
    /// Cut off after this share.
    CutShare { how: CloseHow, share: f64 },
    /// What the server says to something that the client did not send is exchanged. Held as `Hold` says.
    Swap { swap: Swap, delay: u64, floor: u64 },
    /// None of it goes to the client; once it is complete, the session ends.
    Lose { loss: Loss, ready: Option<Ready> },
    /// Cut short, so that something is missing.
    Truncate(Truncate),
    /// The reply to a second sending: none of it goes to the client.
    Swallow { ready: Option<Ready> },
}

impl Reply {
    /// An exchange, held as the decision says.
    pub(super) fn swap(swap: Swap, decision: &Decision) -> Self {
        Self::Swap {
            swap,
            delay: clock::nanos(decision.reply_delay),
            floor: clock::nanos(decision.reply_floor),
        }
    }

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
pub(super) enum Replying {
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
    /// One message of it is exchanged; the rest goes on as in `Held`.
    Swapping {
        swapping: Swapping,
        delay: u64,
        floor: u64,
        cause: Arc<Decision>,
    },
    /// None of it goes on. On Postgres it is complete with its `ReadyForQuery`.
    Losing {
        loss: Loss,
        ready: Option<Ready>,
        cause: Arc<Decision>,
        /// The fault is over, and this the rest of what it began.
        lapsed: bool,
    },
    /// Kept until it is known where to cut it.
    Truncate {
        truncate: Truncate,
        kept: Vec<u8>,
        cause: Arc<Decision>,
    },
    /// None of it goes on, and what comes behind it does.
    Swallowed { ready: Option<Ready> },
    /// Nothing more goes to the client.
    Cutoff,
}

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct Replies {
    expected: VecDeque<(u64, Arc<Decision>, Reply)>,
    answers: VecDeque<Answer>,
    pub(super) replying: Replying,
    /// How that one is held, whatever else becomes of it.
    hold: Hold,
}

/// How long a reply is held.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    /// Each part of it, from when it comes.
    delay: u64,
    /// None of it goes before this time.
    floor: u64,
}

impl Hold {
    /// As the decision says, of a request that was complete at `asked`.
    fn new(cause: &Decision, asked: u64) -> Self {
        Self {
            delay: clock::nanos(cause.reply_delay),
            floor: floor_from(asked, clock::nanos(cause.reply_floor)),
        }
    }

    /// When a part may go that comes now.
    fn due(self, now: u64) -> u64 {
        due(now, self.delay).max(self.floor)
    }
}

impl Replies {
    /// When what comes now of the reply may go, or what ends it.
    pub(super) fn due(&self, now: u64) -> u64 {
        self.hold.due(now)
    }

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
        self.expected.retain(|(_, d, reply)| {
            in_force(d) || matches!(reply, Reply::Swap { .. } | Reply::Swallow { .. })
        });
        if let Replying::Swapping {
            delay,
            floor,
            cause,
            ..
        } = &mut self.replying
            && !in_force(cause)
        {
            (*delay, *floor) = (0, 0);
        }
        if let Replying::Losing { cause, lapsed, .. } = &mut self.replying
            && !in_force(cause)
        {
            *lapsed = true;
            self.hold = Hold::default();
        }
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
        if !self.is_cut() && !self.is_swallowing() {
            self.replying = Replying::Plain;
        }
        kept
    }

    /// Whether the reply to a second sending is still to come, or to end.
    pub(super) fn is_swallowing(&self) -> bool {
        let expected = |e: &(u64, Arc<Decision>, Reply)| matches!(e.2, Reply::Swallow { .. });
        matches!(self.replying, Replying::Swallowed { .. }) || self.expected.iter().any(expected)
    }

    /// Whether nothing that the server still says reaches the client.
    fn is_cut(&self) -> bool {
        matches!(self.replying, Replying::Losing { .. } | Replying::Cutoff)
    }

    /// The reply of this exchange begins.
    fn begin(&mut self, exchange: u64, asked: u64) {
        while self.expected.front().is_some_and(|e| e.0 < exchange) {
            self.expected.pop_front();
        }
        if self.is_cut() {
            return;
        }
        self.hold = Hold::default();
        self.replying = match self.expected.pop_front() {
            Some((of, cause, reply)) if of == exchange => {
                // A reply of which nothing goes is no reply to hold.
                if !matches!(reply, Reply::Cut { bytes: 0, .. }) {
                    self.hold = Hold::new(&cause, asked);
                }
                Replying::new(reply, cause, asked)
            }
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
            Reply::Hold { delay, floor } => Self::Held {
                delay,
                floor: floor_from(asked, floor),
                cause,
            },
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
            Reply::Swap { swap, delay, floor } => Self::Swapping {
                swapping: Swapping::new(swap),
                delay,
                floor: floor_from(asked, floor),
                cause,
            },
            Reply::Lose { loss, ready } => Self::Losing {
                loss,
                ready,
                cause,
                lapsed: false,
            },
            Reply::Swallow { ready } => Self::Swallowed { ready },
            Reply::Truncate(truncate) => Self::Truncate {
                truncate,
                kept: Vec::new(),
                cause,
            },
        }
    }
}

/// The time before which nothing goes, of a request that was complete at `asked`; no floor is no time.
fn floor_from(asked: u64, floor: u64) -> u64 {
    if floor == 0 {
        0
    } else {
        asked.saturating_add(floor)
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
            self.route_reply(bytes, now, relay);
            taken = event.at.max(taken);
            self.reply_event(&event, now, relay, local);
        }
        self.record.reply_bytes(&scratch[taken..length]);
        self.route_reply(&scratch[taken..length], now, relay);
        self.fail_copy(relay);
        self.release_answers_between(now, relay);
        relay
            .meter
            .pass_over(0, length, now, &mut local.shard, &relay.shared);
        if relay.meter.lost {
            self.give_up(relay, local);
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
                self.reply_end(now);
                let (exchange, place) = (event.exchange, self.down.pushed);
                self.record
                    .reply_ends(exchange, status, swapped, place, &relay.shared);
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
            } => {
                let mut out = Vec::new();
                swapping.feed(bytes, &mut out);
                let due = if *delay == 0 { 0 } else { now + *delay };
                self.down.push_bytes(&out, due.max(*floor), Some(cause));
                self.requests.fail_copy |= swapping.take_copying();
            }
            Replying::Truncate { kept, .. } => {
                kept.extend_from_slice(bytes);
                self.truncate(false, now);
            }
            Replying::Swallowed { ready } => {
                let ended = ready.as_mut().and_then(|ready| ready.feed(bytes));
                if let Some(end) = ended {
                    self.replies.replying = Replying::Plain;
                    self.down.push_bytes(&bytes[end..], 0, None);
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

    /// The last byte of the reply was taken.
    fn reply_end(&mut self, now: u64) {
        match &mut self.replies.replying {
            Replying::CutShare { .. } => self.cut_share(now),
            Replying::Truncate { .. } => self.truncate(true, now),
            // Shorter than the cut: all of it goes, then the session closes.
            Replying::Cut { left, .. } => {
                *left = 0;
                self.cut_if_due(now);
            }
            Replying::Losing { ready: None, .. } => self.reply_lost(now),
            Replying::Losing { .. } | Replying::Swallowed { ready: Some(_) } | Replying::Cutoff => {
            }
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
            if self.replies.is_cut() {
                continue;
            }
            let begin = self.down.pushed;
            self.down.push(item);
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
