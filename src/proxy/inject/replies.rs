//! The server's side of a session: which replies are to be treated how, and which are made here.

use super::super::clock;
use super::super::lane::{Cargo, Item, Lane};
use super::message::{MessageEnd, Ready};
use super::request::{Asked, due};
use super::swap::Swapping;
use crate::fault::Decision;
use crate::fault::action::{CloseHow, Loss, Truncate};
use crate::protocol::{Protocol, Status};
use crate::proxy::treatment::Swap;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

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
    Swap {
        swap: Swap,
        delay: u64,
        floor: u64,
        /// The exchange, where only its reply tells whether the server has an error of its own.
        untold: Option<Asked>,
    },
    /// None of it goes to the client; once it is complete, the session ends.
    Lose { loss: Loss, ready: Option<Ready> },
    /// Cut short, so that something is missing.
    Truncate(Truncate),
    /// The reply to a second sending: none of it goes to the client.
    Swallow { ready: Option<Ready> },
}

impl Reply {
    /// An exchange, held as the decision says.
    pub(super) fn swap(swap: Swap, decision: &Decision, untold: Option<Asked>) -> Self {
        Self::Swap {
            swap,
            untold,
            delay: clock::nanos(decision.reply_delay),
            floor: clock::nanos(decision.reply_floor),
        }
    }

    /// Whether it keeps from the client what that must see before it sends COPY data.
    fn waits_for_data(&self, protocol: Protocol) -> bool {
        let kept = matches!(
            self,
            Self::Lose { .. } | Self::CutShare { .. } | Self::Truncate(_)
        );
        kept && protocol == Protocol::Postgres
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
        untold: Option<Asked>,
    },
    /// Postgres: kept as long as the server may still ask for COPY data in it, which the client would not send before it is asked
    /// to. All up to that goes on; `then` treats what comes behind.
    BeforeData {
        asking: MessageEnd,
        kept: Vec<u8>,
        then: Reply,
        cause: Arc<Decision>,
    },
    /// None of it goes on. On Postgres it is complete with its `ReadyForQuery`.
    Losing {
        loss: Loss,
        ready: Option<Ready>,
        cause: Arc<Decision>,
        /// The reply of this exchange has ended, and `ReadyForQuery` is still to come.
        ended: Option<u64>,
    },
    /// Kept until it is known where to cut it.
    Truncate {
        truncate: Truncate,
        kept: Vec<u8>,
        cause: Arc<Decision>,
    },
    /// None of it goes on, and what comes behind it does.
    Swallowed {
        ready: Option<Ready>,
        cause: Arc<Decision>,
    },
    /// Nothing more goes to the client.
    Cutoff,
}

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct Replies {
    expected: VecDeque<(u64, Arc<Decision>, Reply)>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) replying: Replying,
    /// How that one is held, whatever else becomes of it.
    hold: Hold,
    /// The reply of this exchange ended in the piece under way, and did not go to the client whole.
    pub(super) cut_end: Option<u64>,
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
        if let Replying::Losing { loss, cause, .. } = &self.replying
            && !in_force(cause)
        {
            // The client lacks bytes of it, and its end may never come.
            lane.push(Item::new(0, Cargo::Close(loss.how, 0), None));
            self.replying = Replying::Cutoff;
        }
        let lapsed = match &self.replying {
            Replying::Held { cause, .. }
            | Replying::BeforeData { cause, .. }
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
            Replying::CutShare { kept, .. }
            | Replying::Truncate { kept, .. }
            | Replying::BeforeData { kept, .. } => std::mem::take(kept),
            _ => Vec::new(),
        }
    }

    /// No boundaries will be known any more. Returns what was kept.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        let kept = self.take_kept();
        self.expected.clear();
        self.answers.clear();
        if !self.is_cut() {
            self.replying = Replying::Plain;
        }
        kept
    }

    /// What is still to be put into a place among the replies, or to be taken out of them.
    pub(super) fn owed(&self) -> Option<&Arc<Decision>> {
        let under_way = match &self.replying {
            Replying::Swapping { cause, .. } | Replying::Swallowed { cause, .. } => Some(cause),
            _ => None,
        };
        let exchanged = |r: &Reply| matches!(r, Reply::Swap { .. } | Reply::Swallow { .. });
        let expected = self.expected.iter().find(|e| exchanged(&e.2));
        under_way
            .or(expected.map(|e| &e.1))
            .or(self.answers.front().map(|a| &a.cause))
    }

    /// Whether it is told later what was done to this exchange, which is the newest.
    pub(super) fn tells_later(&self, exchange: u64) -> bool {
        self.expected.back().is_some_and(|(of, _, reply)| {
            *of == exchange
                && matches!(
                    reply,
                    Reply::Swap {
                        untold: Some(_),
                        ..
                    }
                )
        })
    }

    /// Exchanges of which it was to be told later what was done to them, and never will be known.
    pub(super) fn take_untold(&mut self) -> Vec<(Asked, Arc<Decision>)> {
        let mut all = Vec::new();
        if let Replying::Swapping { untold, cause, .. } = &mut self.replying {
            all.extend(untold.take().map(|asked| (asked, Arc::clone(cause))));
        }
        for (_, cause, reply) in &mut self.expected {
            if let Reply::Swap { untold, .. } = reply {
                all.extend(untold.take().map(|asked| (asked, Arc::clone(cause))));
            }
        }
        all
    }

    /// Nothing of the replies that are still to come goes to the client.
    pub(super) fn cut_off(&mut self) {
        self.replying = Replying::Cutoff;
    }

    /// Whether nothing that the server still says reaches the client.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.replying, Replying::Losing { .. } | Replying::Cutoff)
    }

    /// The reply of this exchange begins.
    pub(super) fn begin(&mut self, exchange: u64, asked: u64, protocol: Protocol) {
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
                if reply.waits_for_data(protocol) {
                    Replying::BeforeData {
                        asking: MessageEnd::of(b'G'),
                        kept: Vec::new(),
                        then: reply,
                        cause,
                    }
                } else {
                    Replying::new(reply, cause, asked)
                }
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
    pub(super) fn new(reply: Reply, cause: Arc<Decision>, asked: u64) -> Self {
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
            Reply::Swap {
                swap,
                delay,
                floor,
                untold,
            } => Self::Swapping {
                swapping: Swapping::new(swap),
                untold,
                delay,
                floor: floor_from(asked, floor),
                cause,
            },
            Reply::Lose { loss, ready } => Self::Losing {
                loss,
                ready,
                cause,
                ended: None,
            },
            Reply::Swallow { ready } => Self::Swallowed { ready, cause },
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
