//! The client's side: identifies requests, asks the plan, and sends each request where its decision says (`carry_out`).

use super::super::clock;
use super::super::lane::{Cargo, Item};
use super::super::local::Local;
use super::super::relay::{Relay, Way};
use super::super::row::Begun;
use super::replies::Answer;
use super::twice::Twice;
use super::{Injector, note_aside};
use crate::fault::action::CloseHow;
use crate::fault::arguments::Said;
use crate::fault::{Decision, Skip, Subject, Undone};
use crate::measure::Counter;
use crate::protocol::{Class, Decoder, Event, Located, Operation, Protocol};
use std::sync::Arc;

/// A request of which a fault looks at the arguments is kept this far before the plan is asked.
const ARGUMENTS: usize = 64 * 1024;

/// A request that is not identified by then goes on without a decision.
const UNDECIDED: usize = 1 << 20;

/// An exchange that the plan is asked about.
pub(super) type Asked = (u64, Operation, Class);

/// Where request bytes go.
#[derive(Debug, Default)]
pub(super) enum Asking {
    /// On at once, after what is in the lane: between requests, and of requests that nothing holds.
    #[default]
    Plain,
    /// On, each part at its time.
    Held { delay: u64, cause: Arc<Decision> },
    /// Kept: the request is not identified yet, or not far enough.
    Undecided,
    /// Nowhere: the request was taken out.
    Drop,
}

/// Whether the server is to be told that there will be no COPY data.
#[derive(Debug, Default)]
pub(super) enum FailCopy {
    #[default]
    No,
    /// In this exchange, as soon as it asks for them, or the client sends some unasked.
    Armed(u64),
    /// It waits for them.
    Due,
}

impl FailCopy {
    /// The server asks for COPY data.
    pub(super) fn is_asked(&mut self) {
        if let Self::Armed(_) = self {
            *self = Self::Due;
        }
    }

    /// The reply to this exchange ends: if it was to ask for data, it has not.
    pub(super) fn reply_ends(&mut self, exchange: u64) {
        if matches!(self, Self::Armed(of) if *of == exchange) {
            *self = Self::No;
        }
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) asking: Asking,
    /// The request that is not decided: its bytes so far.
    undecided: Vec<u8>,
    /// It is identified, and its arguments are awaited.
    waiting: Option<Asked>,
    /// The beginning of a request that went on before it was identified: it was too long to be kept until then.
    too_long: Option<Vec<u8>>,
    /// Comes after the request that is passing.
    pub(super) after: Option<Item>,
    /// The answer to the request that is being taken out, which must be read to its end first.
    pub(super) drained_answer: Option<Answer>,
    /// Comes after the Sync of the batch that is passing.
    pub(super) behind_batch: Option<Item>,
    pub(super) fail_copy: FailCopy,
    /// The request that is to go once more.
    pub(super) twice: Option<Twice>,
    /// Nothing more goes to the server.
    pub(super) over: bool,
    /// Bursts so far, where they stand in for exchanges.
    pub(super) bursts: u64,
}

/// The piece that was just read.
struct Piece<'a> {
    bytes: &'a [u8],
    now: u64,
    /// Up to here its bytes were sent where they go.
    taken: usize,
    /// Here a request began that is not decided yet.
    begin: Option<usize>,
}

impl Requests {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.asking, Asking::Plain)
            && self.undecided.is_empty()
            && self.after.is_none()
            && self.drained_answer.is_none()
            && self.behind_batch.is_none()
            && self.twice.is_none()
            && matches!(self.fail_copy, FailCopy::No)
    }

    /// Whether the request that is being read is here from its first byte on. One of which a part went on before faults were
    /// loaded is left alone: what is withheld of it would leave the server with a torn one.
    fn is_kept(&self, piece: &Piece<'_>) -> bool {
        piece.begin.is_some() || matches!(self.asking, Asking::Undecided)
    }

    /// Lets everything go whose fault is not in force any more.
    pub(super) fn free(&mut self, in_force: impl Fn(&Decision) -> bool) {
        if let Asking::Held { cause, .. } = &self.asking
            && !in_force(cause)
        {
            self.asking = Asking::Plain;
        }
        let lapsed = |i: &Item| i.cause.as_deref().is_some_and(|d| !in_force(d));
        if let Some(item) = self.after.take_if(|i| lapsed(i))
            && let Cargo::Bytes(_) = item.cargo
        {
            // What stands in for a request comes all the same: its reply is waited for.
            self.after = Some(Item::new(0, item.cargo, None));
        }
        self.behind_batch.take_if(|i| lapsed(i));
        self.twice.take_if(|twice| !in_force(&twice.decision));
        if let Some(answer) = &mut self.drained_answer
            && !in_force(&answer.cause)
        {
            answer.due = 0;
        }
    }

    /// The bytes of a request that was not decided, and never will be.
    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        if matches!(self.asking, Asking::Undecided) {
            self.asking = Asking::Plain;
        }
        self.waiting = None;
        std::mem::take(&mut self.undecided)
    }
}

impl Injector {
    /// A piece from the client, in the scratch buffer. `true`: it goes on whole and at once.
    pub(super) fn request(
        &mut self,
        length: usize,
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) -> bool {
        local
            .shard
            .count(relay.shared.id, Counter::BytesUp, length as u64);
        if self.requests.over && !self.record.is_asking() {
            return false;
        }
        if relay.meter.lost {
            return self.burst(Way::Up, length, now, relay, local);
        }
        // Put back below, like the events: taken so that the rest of the local state can be borrowed beside them.
        let scratch = std::mem::take(&mut local.scratch);
        let bytes = &scratch[..length];
        let whole = if relay.shared.protocol() == Protocol::Redis && self.plan.has_duplicates() {
            // What goes twice goes right behind itself: no command that is decoded may be behind it.
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                if self.request_bytes(part, now, relay, local) {
                    self.up.push_bytes(part, 0, None);
                }
            }
            false
        } else {
            self.request_bytes(bytes, now, relay, local)
        };
        local.scratch = scratch;
        whole
    }

    /// Bytes from the client. `true`: they go on whole and at once.
    fn request_bytes(
        &mut self,
        bytes: &[u8],
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) -> bool {
        if relay.meter.lost {
            return true;
        }
        let mut events = std::mem::take(&mut local.events);
        events.clear();
        relay.meter.decoder.request(bytes, &mut events);
        let mut piece = Piece {
            bytes,
            now,
            taken: 0,
            begin: None,
        };
        relay.meter.record(piece.bytes, &events, now, &relay.shared);
        let mut begun = Begun::new(relay.shared.id);
        for event in &events {
            if let Event::Request {
                begin,
                operation,
                class,
                ..
            } = event.event
                && let request = &piece.bytes[begin..event.at]
                && self.leaves_alone(operation, class, request, &piece, relay)
            {
                let length = request.len();
                relay
                    .meter
                    .ask(event.exchange, operation, class, length, now);
                begun.add(operation, class, &mut local.shard);
            } else {
                for part in event.parts() {
                    self.request_part(&part, relay, local, &mut piece);
                }
            }
        }
        begun.tell(&mut local.shard);
        self.record.end_of_piece(piece.bytes);
        relay
            .meter
            .pass_over(bytes.len(), 0, now, &mut local.shard, &relay.shared);
        let whole = self.end_of_request_piece(&mut piece, relay, local);
        self.lose_flushed(now, relay);
        if relay.meter.lost {
            self.give_up(relay, local);
        }
        local.events = events;
        whole
    }

    /// Whether a request that is whole in the piece needs nothing but counting: no fault is about it, and no byte before it waits
    /// for a decision. The same as asking the plan, which would find nothing.
    fn leaves_alone(
        &self,
        operation: Operation,
        class: Class,
        request: &[u8],
        piece: &Piece<'_>,
        relay: &Relay,
    ) -> bool {
        matches!(self.requests.asking, Asking::Plain)
            && self.requests.waiting.is_none()
            && piece.begin.is_none()
            && !self.requests.over
            // It may be the retry of another.
            && !relay.shared.retries.is_waiting()
            && self.plan.leaves_alone(operation, class, request)
    }

    /// One event of the client's bytes: for the meter, then for the faults.
    fn request_part(
        &mut self,
        event: &Located,
        relay: &mut Relay,
        local: &mut Local,
        piece: &mut Piece<'_>,
    ) {
        let (now, id) = (piece.now, relay.shared.id);
        let (shard, shared) = (&mut local.shard, &relay.shared);
        let done = relay
            .meter
            .on_request(event, now, shard, shared, relay.session);
        let replies = done.is_none();
        if let Some(done) = done {
            done.sent(now, now, id, shard);
        }
        self.request_event(event, relay, local, piece);
        if let Event::RequestEnd = event.event {
            let asked = (event.exchange, replies);
            let shard = &mut local.shard;
            self.record
                .asked(asked, piece.bytes, event.at, now, relay, shard);
        }
    }

    /// One event of the client's bytes.
    fn request_event(
        &mut self,
        event: &Located,
        relay: &mut Relay,
        local: &mut Local,
        piece: &mut Piece<'_>,
    ) {
        if self.requests.over {
            return;
        }
        match event.event {
            Event::RequestBegin => piece.begin = Some(begin_of(event, relay)),
            Event::RequestKnown {
                operation, class, ..
            } if self.requests.is_kept(piece) => {
                let asked = (event.exchange, operation, class);
                if self.plan.needs_arguments(operation, class) || self.needs_whole(relay) {
                    self.requests.waiting = Some(asked);
                } else {
                    self.decide(asked, event.at, relay, local, piece);
                }
            }
            Event::RequestKnown {
                operation, class, ..
            } => {
                let asked = (event.exchange, operation, class);
                if let Some(begin) = self.requests.too_long.take() {
                    self.leave_long(asked, &begin, piece.now, relay, local);
                }
            }
            Event::RequestEnd => {
                self.requests.too_long = None;
                let waiting = self.requests.waiting.take_if(|w| w.0 == event.exchange);
                if let Some(asked) = waiting {
                    self.decide(asked, event.at, relay, local, piece);
                }
                self.request_end(event, relay, piece);
                self.hold_behind(Some(event.exchange), relay, local);
            }
            Event::BatchEnd => {
                if let Some(item) = self.requests.behind_batch.take() {
                    self.advance(piece, event.at);
                    self.up.push(item);
                }
                if self.cancelling.is_some() {
                    self.advance(piece, event.at);
                    self.hold_behind(None, relay, local);
                }
            }
            Event::CopyData if self.cancelling.is_some() => {
                self.forget_cancel(Skip::NotAStatement, relay, local);
            }
            Event::CopyData if !matches!(self.requests.fail_copy, FailCopy::No) => {
                self.advance(piece, event.at);
                self.fail_copy_before_data();
            }
            _ => {}
        }
    }

    /// A Postgres statement that may be answered with an error is exchanged message by message, and what is to go twice must be
    /// known: it must be there whole.
    fn needs_whole(&self, relay: &Relay) -> bool {
        let exchanged = relay.shared.protocol() == Protocol::Postgres && self.plan.has_errors();
        exchanged || self.plan.has_duplicates()
    }

    /// Nothing of the piece is left to look at: keeps what is undecided, and says whether the piece goes on whole.
    fn end_of_request_piece(
        &mut self,
        piece: &mut Piece<'_>,
        relay: &mut Relay,
        local: &mut Local,
    ) -> bool {
        // Where no fault is left, nobody will decide.
        if let Some(begin) = piece.begin.take()
            && !self.plan.is_empty()
        {
            self.advance(piece, begin);
            self.requests.asking = Asking::Undecided;
        }
        let plain = matches!(self.requests.asking, Asking::Plain);
        if piece.taken == 0
            && plain
            && !matches!(self.requests.fail_copy, FailCopy::Due)
            && self.requests.twice.is_none()
            && self.up.is_empty()
            && self.closing.is_none()
            && self.stalled.is_none()
        {
            return true;
        }
        self.advance(piece, piece.bytes.len());
        self.send_twice(piece.bytes, piece.now, relay, local);
        self.fail_copy(relay);
        if self.requests.undecided.len() >= ARGUMENTS {
            if let Some(asked) = self.requests.waiting.take() {
                self.decide(asked, piece.bytes.len(), relay, local, piece);
                self.record.end_of_piece(piece.bytes);
            } else if self.requests.undecided.len() >= UNDECIDED {
                let mut kept = self.requests.take_kept();
                self.up.push_bytes(&kept, 0, None);
                kept.truncate(ARGUMENTS);
                self.requests.too_long = Some(kept);
            }
        }
        false
    }

    /// Sends the bytes of the piece up to `to` where they go now.
    fn advance(&mut self, piece: &mut Piece<'_>, to: usize) {
        let bytes = &piece.bytes[piece.taken.min(to)..to];
        piece.taken = to;
        match &self.requests.asking {
            Asking::Plain => self.up.push_bytes(bytes, 0, None),
            Asking::Held { delay, cause } => {
                self.up
                    .push_bytes(bytes, due(piece.now, *delay), Some(cause));
            }
            Asking::Undecided => self.requests.undecided.extend_from_slice(bytes),
            Asking::Drop => {}
        }
    }

    /// The request is identified by the bytes before `at`: asks the plan, and does what it says.
    fn decide(
        &mut self,
        asked: Asked,
        at: usize,
        relay: &mut Relay,
        local: &mut Local,
        piece: &mut Piece<'_>,
    ) {
        let begin = piece.begin.take();
        if begin.is_none() {
            self.advance(piece, at);
        }
        let kept = std::mem::take(&mut self.requests.undecided);
        let seen = begin.map_or(kept.as_slice(), |begin| &piece.bytes[begin..at]);
        let decision = self.ask_plan(asked, seen, piece.now, relay);
        let touched = !decision.faults.is_empty();
        if touched {
            self.record.begin(asked.0, &relay.shared);
        }
        if touched || relay.shared.retries.is_waiting() {
            self.record.ask(asked, seen, at, relay);
        }
        if !touched {
            self.up.push_bytes(&kept, 0, None);
            self.requests.asking = Asking::Plain;
            return;
        }
        if let Some(begin) = begin {
            // What came before this request goes its own way first.
            self.advance(piece, begin);
            piece.taken = at;
        }
        let seen = seen.to_vec();
        self.apply(asked, &Arc::new(decision), &seen, piece.now, relay, local);
    }

    /// What the plan says to a request of which `seen` are the bytes so far.
    fn ask_plan(&self, asked: Asked, seen: &[u8], now: u64, relay: &Relay) -> Decision {
        let decoder = &relay.meter.decoder;
        let statement = match decoder {
            Decoder::Postgres(d) if self.plan.needs_arguments(asked.1, asked.2) => {
                d.statement_of(asked.0, seen)
            }
            _ => None,
        };
        let subject = Subject {
            said: Said {
                facts: decoder.facts(),
                statement: statement.as_deref(),
            },
            session: relay.session,
            exchange: asked.0,
            operation: asked.1,
            class: asked.2,
            client: relay.peer,
            request: seen,
            now: clock::instant(now),
        };
        self.plan.decide(&subject)
    }

    /// A request is identified too late: what begins so is on its way. What would have been done to it is skipped.
    fn leave_long(
        &mut self,
        asked: Asked,
        begin: &[u8],
        now: u64,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        let decision = self.ask_plan(asked, begin, now, relay);
        if decision.faults.is_empty() {
            return;
        }
        self.record.begin(asked.0, &relay.shared);
        // As of one that a fault holds for no time at all, it is told when the server has it.
        self.pass(&[], 0, now, &Arc::default());
        let undone = Undone::all(Skip::Unidentified);
        self.note(asked, &decision, undone, relay, local);
    }

    /// The last byte of a request is before the event.
    fn request_end(&mut self, event: &Located, relay: &mut Relay, piece: &mut Piece<'_>) {
        match self.requests.asking {
            Asking::Plain => return,
            // Not decided by its end: the decoder never said what it is.
            Asking::Undecided => {
                self.advance(piece, event.at);
                let kept = self.requests.take_kept();
                self.up.push_bytes(&kept, 0, None);
                return;
            }
            Asking::Held { .. } => {
                self.advance(piece, event.at);
                self.up.mark_forwarded(event.exchange);
            }
            Asking::Drop => self.advance(piece, event.at),
        }
        if let Some(item) = self.requests.after.take() {
            self.up.push(item);
        }
        self.requests.asking = Asking::Plain;
        if let Some(answer) = self.requests.drained_answer.take() {
            if answer.close {
                self.requests.over = true;
                self.requests.asking = Asking::Drop;
            }
            self.replies.answer(answer);
            self.release_answers_between(piece.now, relay);
        }
    }

    /// The decoder lost its place: what is kept goes on, and exchanges are not touched any more.
    pub(super) fn give_up(&mut self, relay: &mut Relay, local: &mut Local) {
        self.forget_twice(Skip::ConnectionEnds, relay, local);
        self.forget_cancel(Skip::ConnectionEnds, relay, local);
        self.tell_of_swaps(relay, local);
        let broken = self.broken_promise();
        let (shared, shard) = (&relay.shared, &mut local.shard);
        self.record.give_up(self.down.sent, shared, shard);
        let kept = self.requests.take_kept();
        self.up.push_bytes(&kept, 0, None);
        if !self.requests.over {
            self.requests.asking = Asking::Plain;
        }
        if let Some(cause) = broken {
            // A wrong pairing is worse than the end of the connection.
            note_aside("pairing", &cause, relay, local);
            self.down
                .push(Item::new(0, Cargo::Close(CloseHow::Rst, 0), None));
            self.replies.cut_off();
        }
        // A reply that is being lost has no end any more that could be waited for.
        let now = clock::now();
        self.treat_kept(now);
        self.reply_lost(now);
        let mut kept = self.replies.give_up();
        kept.extend(self.pushes.take_kept());
        self.down.push_bytes(&kept, 0, None);
    }
}

impl Injector {
    /// What cannot be kept where requests and replies are told apart no longer: a reply of our own that waits for its turn, one of the
    /// server's that the client must not see as it is, or the rest of a request that is being taken out.
    fn broken_promise(&self) -> Option<Arc<Decision>> {
        if self.replies.is_cut() {
            return None;
        }
        let requests = &self.requests;
        let drained = requests.drained_answer.as_ref().map(|a| &a.cause);
        let torn = requests.after.as_ref().and_then(|item| item.cause.as_ref());
        self.replies.owed().or(drained).or(torn).cloned()
    }
}

/// Where a request begins. What the first packet of a Postgres session is shows only in its eighth byte, so its decoder says so
/// late; a fault on it must have those bytes too.
fn begin_of(event: &Located, relay: &Relay) -> usize {
    const FIRST: usize = 8;
    let late = relay.shared.protocol() == Protocol::Postgres && event.exchange == 0;
    if late {
        event.at.saturating_sub(FIRST)
    } else {
        event.at
    }
}

/// The time after a delay; no delay is due at once, whatever the clock says later.
pub(super) fn due(now: u64, delay: u64) -> u64 {
    if delay == 0 {
        0
    } else {
        now.saturating_add(delay)
    }
}
