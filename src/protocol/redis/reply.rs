//! What the server sends: replies in the order of the requests, and messages that belong to none.
//!
//! No stack: elements still to come are one counter, whatever the nesting. Where the elements of the outermost array matter
//! (EXEC, pub/sub), that array is taken apart: its parts are counted on their own, each with the one counter.

use super::command::Kind;
use super::digest::Digest;
use super::number::{self, Number};
use super::outstanding::Outstanding;
use super::request::{Requests, argument};
use super::subscription::{Said, Subscriptions};
use super::word::Word;
use super::{Stop, emit, status};
use crate::protocol::{Event, Located, Lost, Status, Transaction};

/// Longest string followed, and most elements of one aggregate.
const MAX_LENGTH: u64 = 1 << 40;
const MAX_ELEMENTS: u64 = 1 << 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the type of an element.
    Type,
    /// In a line; whether its last byte was a carriage return.
    Line(bool),
    /// In the header of an element of this type.
    Header(Number, u8),
    /// So many bytes of a string to come.
    Body(u64),
    /// Before the carriage return behind a string.
    Return,
    /// Before the newline behind a string.
    Newline,
}

/// What the message under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// None is under way.
    Idle,
    /// A reply, of which only an attribute was seen.
    Attributed,
    /// A reply that is counted past.
    Plain,
    /// A reply that is an error.
    Error,
    /// The results of a transaction.
    Exec,
    /// A reply or a push: its first element will tell.
    Undecided,
    /// The confirmation of one channel.
    Confirmation,
    /// A message that belongs to no request.
    Push,
}

impl Frame {
    /// Whether its outermost array is taken apart.
    const fn has_parts(self) -> bool {
        matches!(
            self,
            Self::Exec | Self::Undecided | Self::Confirmation | Self::Push
        )
    }
}

/// What the text of the current element is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    Nothing,
    /// The first word of an error.
    Code,
    /// The kind of a pub/sub array.
    Said,
    /// The counter of a confirmation.
    Count,
    /// Channel or payload.
    Hash,
}

/// What most replies do not need; made when one first does.
#[derive(Debug)]
struct Details {
    word: Word,
    /// Parts that begin after the current one.
    parts: u64,
    /// Position of the current part.
    index: u32,
    /// Parts in all.
    size: u64,
    said: Said,
    hashed: u8,
    digest: Digest,
    count: Option<u64>,
    /// Failed parts of EXEC.
    errors: u32,
    /// Parts of EXEC that wait while a push stands among them.
    suspended: Option<u64>,
    subscriptions: Subscriptions,
}

impl Details {
    const fn new() -> Self {
        Self {
            word: Word::new(),
            parts: 0,
            index: 0,
            size: 0,
            said: Said::Other,
            hashed: 0,
            digest: Digest::new(),
            count: None,
            errors: 0,
            suspended: None,
            subscriptions: Subscriptions::NONE,
        }
    }
}

/// The reply half of the decoder.
#[derive(Debug)]
pub(super) struct Replies {
    state: State,
    /// Elements still to come of the message, or of its current part.
    pending: u64,
    /// Elements still to come of attributes, which stand before an element and are none.
    attributes: u64,
    frame: Frame,
    /// The type of the message under way.
    first: u8,
    /// The next header is that of the outermost array.
    outermost: bool,
    /// The next element is a part.
    fresh: bool,
    nil: bool,
    capture: Capture,
    resp3: bool,
    subscribed: bool,
    in_transaction: bool,
    failed: bool,
    /// Something that looks like RESP came.
    any: bool,
    status: Status,
    details: Option<Box<Details>>,
}

/// What a step needs besides the decoder's own state.
struct Context<'a> {
    requests: &'a Requests,
    outstanding: &'a mut Outstanding,
    out: &'a mut Vec<Located>,
}

impl Context<'_> {
    /// For events that belong to no exchange.
    fn emit_newest(&mut self, at: usize, event: Event) {
        emit(self.out, at, self.requests.newest(), event);
    }
}

impl Replies {
    /// Whether a MULTI block is open, as the server last said.
    pub(super) fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Whether the session is subscribed to anything, as the server last said.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    pub(super) const fn new() -> Self {
        Self {
            state: State::Type,
            pending: 0,
            attributes: 0,
            frame: Frame::Idle,
            first: 0,
            outermost: false,
            fresh: false,
            nil: false,
            capture: Capture::Nothing,
            resp3: false,
            subscribed: false,
            in_transaction: false,
            failed: false,
            any: false,
            status: Status::OK,
            details: None,
        }
    }

    /// Takes the next piece of the stream.
    #[inline]
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        requests: &Requests,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<(), Stop> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Type && self.frame == Frame::Idle {
                if let Some(end) = self.whole(bytes, at, outstanding, out) {
                    at = end;
                    continue;
                }
            }
            let context = &mut Context {
                requests,
                outstanding,
                out,
            };
            if self.state == State::Type && self.frame == Frame::Plain && self.attributes == 0 {
                at = self.elements(bytes, at);
                if self.pending == 0 {
                    self.message_end(at, context)?;
                    continue;
                }
                if at == bytes.len() {
                    break;
                }
            }
            at = self.step(bytes, at, context)?;
        }
        Ok(())
    }

    /// The fast way: the reply to a plain command that is one element, complete in this piece. `None` changes nothing and leaves
    /// it to [`Self::step`].
    #[inline]
    fn whole(
        &mut self,
        bytes: &[u8],
        start: usize,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Option<usize> {
        let head = outstanding.front()?;
        if !matches!(head.kind, Kind::Plain | Kind::Ping) {
            return None;
        }
        let end = scalar(bytes, start)?;
        let exchange = head.exchange;
        let status = Status::OK;
        let located = |at, event| Located {
            at,
            exchange,
            event,
        };
        out.extend_from_slice(&[
            located(start, Event::ReplyBegin),
            located(end, Event::ReplyEnd { status }),
        ]);
        outstanding.pop();
        self.any = true;
        Some(end)
    }

    /// Counts past the elements of a plain reply that are complete in this piece.
    fn elements(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while self.pending > 0 {
            if let Some(end) = scalar(bytes, at) {
                self.pending -= 1;
                at = end;
            } else if bytes.get(at) == Some(&b'*')
                && let Some((count @ ..=MAX_ELEMENTS, end)) = number::complete(bytes, at + 1)
                && let Some(pending) = (self.pending - 1).checked_add(count)
            {
                self.pending = pending;
                at = end;
            } else {
                break;
            }
        }
        at
    }

    /// Takes one byte, or a run of bytes that are all text; returns where it stopped.
    fn step(&mut self, bytes: &[u8], at: usize, context: &mut Context<'_>) -> Result<usize, Stop> {
        let stop = |why| Stop { at, why };
        let byte = bytes[at];
        match &mut self.state {
            State::Type => self.element_begin(byte, at, context)?,
            State::Line(carriage_return) => {
                let mut before = *carriage_return;
                let end = bytes[at..].iter().position(|byte| {
                    let end = before && *byte == b'\n';
                    before = *byte == b'\r';
                    end
                });
                *carriage_return = before;
                let next = end.map_or(bytes.len(), |end| at + end + 1);
                self.text(&bytes[at..next]).map_err(stop)?;
                if end.is_some() {
                    self.element_end(next, context)?;
                }
                return Ok(next);
            }
            State::Header(number, of) => {
                let of = *of;
                if let Some(value) = number.push(byte).map_err(stop)? {
                    self.header(of, value, at + 1, context)?;
                }
            }
            State::Body(left) => {
                let here = bytes.len() - at;
                let run = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= run as u64;
                if *left == 0 {
                    self.state = State::Return;
                }
                self.text(&bytes[at..at + run]).map_err(stop)?;
                return Ok(at + run);
            }
            State::Return if byte == b'\r' => self.state = State::Newline,
            State::Newline if byte == b'\n' => self.element_end(at + 1, context)?,
            State::Return | State::Newline => return Err(stop(Lost::Malformed)),
        }
        Ok(at + 1)
    }

    /// The type of an element.
    fn element_begin(
        &mut self,
        byte: u8,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let stop = |why| Stop { at, why };
        if self.frame == Frame::Idle
            && byte != b'-'
            && matches!(context.outstanding.front(), Some(head) if head.kind == Kind::Replication)
        {
            return Err(stop(Lost::Replication));
        }
        let state = match byte {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => State::Line(false),
            b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                State::Header(Number::default(), byte)
            }
            _ if self.any => return Err(stop(Lost::Malformed)),
            _ => return Err(stop(Lost::WrongProtocol)),
        };
        self.any = true;
        if self.attributes == 0 {
            match (self.frame, byte) {
                (Frame::Idle, b'|') => {
                    self.reply_begin(at, context)?;
                    self.frame = Frame::Attributed;
                }
                (_, b'|') => {}
                (Frame::Idle, _) => self.message_begin(byte, at, context)?,
                (Frame::Attributed, _) => self.reply_classify(byte, at, context)?,
                _ if self.fresh => self.part_begin(byte, at, context),
                _ => {}
            }
        }
        self.state = state;
        Ok(())
    }

    /// The first byte of a message.
    fn message_begin(
        &mut self,
        byte: u8,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let head = context.outstanding.front().map(|head| head.kind);
        let confirmable = head.is_some_and(Kind::is_subscription);
        let push = match byte {
            b'>' => true,
            // In RESP2, a subscribed session gets messages as arrays; nothing but these three may be asked then.
            b'*' => self.subscribed && !self.resp3,
            // Refused at accept: the limit of clients, or protected mode.
            b'-' => head.is_none() && context.requests.is_first(),
            _ => false,
        };
        if !push {
            self.reply_begin(at, context)?;
            return self.reply_classify(byte, at, context);
        }
        if confirmable || (byte == b'*' && head == Some(Kind::Ping)) {
            self.open(Frame::Undecided, byte);
            self.inspect();
        } else {
            self.push_begin(byte, at, context);
        }
        Ok(())
    }

    fn push_begin(&mut self, byte: u8, at: usize, context: &mut Context<'_>) {
        context.emit_newest(at, Event::PushBegin);
        self.open(Frame::Push, byte);
        self.inspect();
    }

    fn reply_begin(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        let Some(head) = context.outstanding.front_mut() else {
            let why = Lost::Unpaired;
            return Err(Stop { at, why });
        };
        if !head.begun {
            head.begun = true;
            emit(context.out, at, head.exchange, Event::ReplyBegin);
        }
        Ok(())
    }

    /// What a reply of this type means to the request at the head.
    fn reply_classify(
        &mut self,
        byte: u8,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let kind = context.outstanding.front().map(|head| head.kind);
        let frame = match (kind, byte) {
            (Some(_), b'-' | b'!') => Some(Frame::Error),
            (Some(Kind::Exec), b'*') => Some(Frame::Exec),
            (Some(Kind::Exec), b'+' | b'_') => Some(Frame::Plain),
            (Some(Kind::Hello), b'%' | b'*' | b'+') => Some(Frame::Plain),
            (Some(Kind::Multi | Kind::Discard | Kind::Reset | Kind::Monitor), b'+') => {
                Some(Frame::Plain)
            }
            (Some(Kind::Exec | Kind::Hello | Kind::Multi | Kind::Discard | Kind::Reset), _)
            | (Some(Kind::Monitor), _)
            | (None, _) => None,
            (Some(kind), b'*' | b'>') if kind.is_subscription() => Some(Frame::Confirmation),
            (Some(kind), b'+') if kind.is_subscription() => Some(Frame::Plain),
            (Some(kind), _) if kind.is_subscription() => None,
            _ => Some(Frame::Plain),
        };
        let Some(frame) = frame else {
            let why = Lost::Unpaired;
            return Err(Stop { at, why });
        };
        self.open(frame, byte);
        match frame {
            Frame::Error => {
                self.status = Status::OK;
                self.details().word = Word::new();
                self.capture = Capture::Code;
            }
            Frame::Exec => self.details().errors = 0,
            Frame::Confirmation => self.inspect(),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame, byte: u8) {
        self.frame = frame;
        self.first = byte;
        self.outermost = true;
        self.nil = false;
        self.pending = 1;
    }

    fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_with(|| Box::new(Details::new()))
    }

    /// Forgets what the last pub/sub array said.
    fn inspect(&mut self) {
        let details = self.details();
        details.parts = 0;
        details.index = 0;
        details.size = 0;
        details.said = Said::Other;
        details.hashed = 0;
        details.digest = Digest::new();
        details.count = None;
    }

    /// The type of a part: what its text is good for.
    fn part_begin(&mut self, byte: u8, at: usize, context: &mut Context<'_>) {
        self.fresh = false;
        let frame = self.frame;
        let details = self.details();
        if frame == Frame::Exec {
            match byte {
                b'-' | b'!' => details.errors = details.errors.saturating_add(1),
                // Servers before 7.2 put messages that the transaction itself caused among its results.
                b'>' => {
                    details.suspended = Some(details.parts);
                    self.push_begin(byte, at, context);
                }
                _ => {}
            }
            return;
        }
        let channel = details.said.channel();
        self.capture = match (details.index, byte) {
            (0, b'$') => {
                details.word = Word::new();
                Capture::Said
            }
            (index, b'$')
                if channel.is_some_and(|channel| {
                    (index == channel || index == channel + 1)
                        && details.size == u64::from(channel) + 2
                }) =>
            {
                Capture::Hash
            }
            (2, b':') if matches!(details.said, Said::Confirmed(_)) => {
                details.count = Some(0);
                Capture::Count
            }
            _ => Capture::Nothing,
        };
    }

    /// A header of type `of` is complete just before `at`.
    fn header(
        &mut self,
        of: u8,
        value: i64,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let stop = |why| Stop { at, why };
        self.state = State::Type;
        if value == -1 && matches!(of, b'$' | b'*') {
            self.nil |= self.outermost && self.attributes == 0;
            self.capture = Capture::Nothing;
            return self.element_end(at, context);
        }
        let count = u64::try_from(value).map_err(|_| stop(Lost::Malformed))?;
        if matches!(of, b'$' | b'!' | b'=') {
            self.state = match count {
                0 => State::Return,
                1..=MAX_LENGTH => State::Body(count),
                _ => return Err(stop(Lost::Length)),
            };
            return Ok(());
        }
        if count > MAX_ELEMENTS {
            return Err(stop(Lost::Length));
        }
        let elements = match of {
            b'%' | b'|' => 2 * count,
            _ => count,
        };
        let add = |counter: u64| counter.checked_add(elements).ok_or(stop(Lost::Length));
        if of == b'|' {
            self.attributes = add(self.attributes)?;
        } else if self.attributes > 0 {
            self.attributes = add(self.attributes - 1)?;
        } else if self.outermost && self.frame.has_parts() {
            return self.parts_begin(count, at, context);
        } else {
            self.outermost = false;
            self.pending = add(self.pending - 1)?;
            if self.pending == 0 {
                return self.part_end(at, context);
            }
        }
        Ok(())
    }

    /// The outermost array of a message that is taken apart has so many parts.
    fn parts_begin(
        &mut self,
        count: u64,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        self.outermost = false;
        let details = self.details();
        details.size = count;
        details.index = 0;
        match count.checked_sub(1) {
            None => self.message_end(at, context),
            Some(after) => {
                details.parts = after;
                self.pending = 1;
                self.fresh = true;
                Ok(())
            }
        }
    }

    /// Text of the current element; of a line, its CRLF too.
    fn text(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        if self.capture == Capture::Nothing {
            return Ok(());
        }
        let capture = self.capture;
        let details = self.details();
        match capture {
            Capture::Nothing => {}
            Capture::Said => details.word.push(bytes),
            Capture::Hash => details.digest.write(bytes),
            Capture::Code => {
                let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\r'));
                details.word.push(&bytes[..end.unwrap_or(bytes.len())]);
                if end.is_some() {
                    self.captured();
                }
            }
            Capture::Count => {
                for byte in bytes {
                    let count = details.count.unwrap_or(0);
                    details.count = match byte {
                        b'0'..=b'9' => count
                            .checked_mul(10)
                            .and_then(|count| count.checked_add(u64::from(byte - b'0'))),
                        b'\r' | b'\n' => Some(count),
                        _ => None,
                    };
                    if details.count.is_none() {
                        return Err(Lost::Malformed);
                    }
                }
            }
        }
        Ok(())
    }

    /// All the text that was wanted is there.
    fn captured(&mut self) {
        let capture = self.capture;
        self.capture = Capture::Nothing;
        let details = self.details();
        match capture {
            Capture::Code => self.status = status::find(details.word.bytes()),
            Capture::Said => details.said = Said::of(&details.word),
            Capture::Hash => {
                details.digest.end_field();
                details.hashed += 1;
            }
            Capture::Nothing | Capture::Count => {}
        }
    }

    /// An element that holds no others is complete.
    fn element_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        self.state = State::Type;
        if self.attributes > 0 {
            self.attributes -= 1;
            return Ok(());
        }
        if self.capture != Capture::Nothing {
            self.captured();
        }
        self.outermost = false;
        self.pending -= 1;
        if self.pending == 0 {
            self.part_end(at, context)
        } else {
            Ok(())
        }
    }

    /// A part, or a message that has none, is complete.
    fn part_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        if !self.frame.has_parts() {
            return self.message_end(at, context);
        }
        if matches!(
            self.details(),
            Details {
                index: 0,
                size: 1..,
                ..
            }
        ) {
            self.decide(at, context)?;
        }
        let details = self.details();
        let Some(after) = details.parts.checked_sub(1) else {
            return self.message_end(at, context);
        };
        details.parts = after;
        details.index += 1;
        self.pending = 1;
        self.fresh = true;
        Ok(())
    }

    /// The first element of an array is complete: what it says the array is.
    fn decide(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        if !matches!(self.frame, Frame::Undecided | Frame::Push) {
            return Ok(());
        }
        let said = self.details().said;
        let head = context.outstanding.front().map(|head| head.kind);
        let answered = match said {
            Said::Pong => Some(Kind::Ping),
            Said::Confirmed(kind) => Some(kind),
            _ => None,
        };
        if self.frame == Frame::Undecided && answered.is_some() && answered == head {
            self.frame = Frame::Confirmation;
            return self.reply_begin(at, context);
        }
        // RESP3 has pushes of many kinds; in RESP2 an array that is none of these means that the place was lost.
        if self.first == b'*' && matches!(said, Said::Other | Said::Pong) {
            let why = Lost::Unpaired;
            return Err(Stop { at, why });
        }
        if self.frame == Frame::Undecided {
            context.emit_newest(at, Event::PushBegin);
            self.frame = Frame::Push;
        }
        Ok(())
    }

    /// The message is complete.
    fn message_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        let frame = self.frame;
        self.frame = Frame::Idle;
        match frame {
            Frame::Push => self.push_end(at, context),
            Frame::Confirmation => return self.confirmation_end(at, context),
            Frame::Undecided => {
                let why = Lost::Malformed;
                return Err(Stop { at, why });
            }
            _ => return self.reply_end(frame, at, context),
        }
        Ok(())
    }

    fn push_end(&mut self, at: usize, context: &mut Context<'_>) {
        let details = self.details();
        match (details.said, details.count) {
            (Said::Message | Said::PatternMessage, _) if details.hashed == 2 => {
                context.emit_newest(at, Event::Delivered(details.digest.value()));
            }
            (Said::Confirmed(kind), Some(count)) => details.subscriptions.confirmed(kind, count),
            _ => {}
        }
        context.emit_newest(at, Event::PushEnd);
        let subscribed = details.subscriptions.any();
        if let Some(parts) = details.suspended.take() {
            details.parts = parts;
            self.open(Frame::Exec, b'*');
            self.outermost = false;
            self.fresh = true;
        }
        self.subscribed = subscribed;
    }

    /// One channel is confirmed: the reply is complete when all are.
    fn confirmation_end(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), Stop> {
        let details = self.details();
        let said = details.said;
        let (size, count) = (details.size, details.count);
        let Some(head) = context.outstanding.front_mut() else {
            let why = Lost::Unpaired;
            return Err(Stop { at, why });
        };
        match (said, count) {
            (Said::Pong, _) => head.replies = 1,
            (Said::Confirmed(kind), Some(count)) if head.kind == kind && size == 3 => {
                if head.replies == 0 {
                    let all = details.subscriptions.confirmations(kind);
                    head.replies = u32::try_from(all).unwrap_or(u32::MAX);
                }
                details.subscriptions.confirmed(kind, count);
            }
            _ => {
                let why = Lost::Unpaired;
                return Err(Stop { at, why });
            }
        }
        self.subscribed = details.subscriptions.any();
        head.replies -= 1;
        if head.replies == 0 {
            return self.reply_end(Frame::Plain, at, context);
        }
        Ok(())
    }

    fn reply_end(
        &mut self,
        frame: Frame,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let Some(head) = context.outstanding.pop() else {
            let why = Lost::Unpaired;
            return Err(Stop { at, why });
        };
        let status = match frame {
            Frame::Error => self.status,
            _ => Status::OK,
        };
        if frame == Frame::Exec {
            let errors = self.details().errors;
            if errors > 0 {
                emit(context.out, at, head.exchange, Event::PartErrors(errors));
            }
        }
        emit(context.out, at, head.exchange, Event::ReplyEnd { status });
        self.effects(head.kind, frame, at, context)
    }

    /// What a complete reply changes.
    fn effects(
        &mut self,
        kind: Kind,
        frame: Frame,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let stop = |why| Err(Stop { at, why });
        match kind {
            Kind::Exec if frame == Frame::Exec && !self.nil => {
                self.transaction_end(Transaction::Commit, at, context);
            }
            Kind::Exec if frame != Frame::Error || self.status == status::EXECABORT => {
                self.transaction_end(Transaction::Rollback, at, context);
            }
            Kind::Multi if frame == Frame::Plain => {
                self.in_transaction = true;
                self.failed = false;
                context.emit_newest(at, Event::Transaction(Transaction::Begin));
            }
            Kind::Discard if frame == Frame::Plain => {
                self.transaction_end(Transaction::Rollback, at, context);
            }
            Kind::Reset if frame == Frame::Plain => {
                self.transaction_end(Transaction::Rollback, at, context);
                self.resp3 = false;
                self.subscribed = false;
                self.details().subscriptions = Subscriptions::NONE;
            }
            Kind::Multi | Kind::Exec | Kind::Discard | Kind::Reset | Kind::Watch => {}
            _ if frame == Frame::Error => {
                if self.in_transaction && !self.failed {
                    self.failed = true;
                    context.emit_newest(at, Event::Transaction(Transaction::Failed));
                }
            }
            Kind::Monitor => return stop(Lost::Monitor),
            Kind::Hello if self.first != b'+' => self.resp3 = self.first == b'%',
            // Queued: its real answer will stand inside the reply of EXEC, and not as one element.
            kind if (kind == Kind::Hello || kind.is_subscription()) && self.first == b'+' => {
                return stop(Lost::Unpaired);
            }
            _ => {}
        }
        Ok(())
    }

    fn transaction_end(&mut self, how: Transaction, at: usize, context: &mut Context<'_>) {
        if self.in_transaction {
            self.in_transaction = false;
            context.emit_newest(at, Event::Transaction(how));
        }
    }
}

/// Where an element without others ends that is complete in `bytes`. Errors, nil strings and long lines are left to the slow
/// way.
#[inline]
fn scalar(bytes: &[u8], start: usize) -> Option<usize> {
    /// Longest line looked through: a status, a number.
    const LINE: usize = 32;
    match bytes.get(start)? {
        b'$' => argument(bytes, start).map(|(_, end)| end),
        b'+' | b':' | b'_' | b',' | b'#' => {
            let line = bytes.get(start..)?;
            let line = line.get(..LINE).unwrap_or(line);
            let end = line.windows(2).position(|pair| pair == b"\r\n")?;
            Some(start + end + 2)
        }
        _ => None,
    }
}
