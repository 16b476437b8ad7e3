//! What the server sends: replies in the order of the requests, and messages that belong to none.
//!
//! No stack: elements still to come are one counter, whatever the nesting. Where the elements of the outermost array matter
//! (EXEC, pub/sub), that array is taken apart: its parts are counted on their own, each with the one counter.

mod message;

use super::command::Kind;
use super::digest::Digest;
use super::number::{self, Number};
use super::outstanding::Outstanding;
use super::request::{Requests, argument};
use super::subscription::{Said, Subscriptions};
use super::word::{Packed, Word};
use super::{Stop, emit, status};
use crate::protocol::{Event, Located, Lost, Status};

/// Longest string followed, and most elements of one aggregate.
const MAX_LENGTH: u64 = 1 << 40;
const MAX_ELEMENTS: u64 = 1 << 31;

/// The key of the server's version in the reply to HELLO.
const VERSION: Packed = Packed::of(b"version");

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
    /// What the server says of itself.
    Hello,
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
            Self::Exec | Self::Hello | Self::Undecided | Self::Confirmation | Self::Push
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
    /// A key of the reply to HELLO, and the value of that which is wanted.
    Key,
    Version,
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
    /// The next part is the server's version.
    version_next: bool,
    version: Option<Word>,
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
            version_next: false,
            version: None,
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

    /// Whether RESP3 is spoken, as the server last said.
    pub(super) fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// The version that the server told in its reply to HELLO.
    pub(super) fn version(&self) -> Option<&[u8]> {
        Some(self.details.as_ref()?.version.as_ref()?.bytes())
    }

    /// Whether no reply or message is under way.
    pub(super) fn is_between(&self) -> bool {
        self.frame == Frame::Idle && self.state == State::Type && self.attributes == 0
    }

    /// Bytes that it may hold on the heap.
    #[cfg(test)]
    pub(super) const DETAILS: usize = size_of::<Details>();

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
            if self.state == State::Type
                && self.frame == Frame::Idle
                && let Some(end) = self.whole(bytes, at, outstanding, out)
            {
                at = end;
                continue;
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
        begin: usize,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Option<usize> {
        let head = outstanding.front()?;
        if !head.kind.is_plain() {
            return None;
        }
        let end = bytes.len() - scalar(&bytes[begin..])?.len();
        let exchange = head.exchange;
        let status = Status::OK;
        emit(out, end, exchange, Event::Reply { begin, status });
        outstanding.pop();
        self.any = true;
        Some(end)
    }

    /// Counts past the elements of a plain reply that are complete in this piece; returns where it stopped.
    fn elements(&mut self, bytes: &[u8], start: usize) -> usize {
        let mut rest = &bytes[start..];
        while self.pending > 0 {
            if let Some(after) = scalar(rest) {
                self.pending -= 1;
                rest = after;
            } else if let Some(header) = rest.strip_prefix(b"*")
                && let Some((count @ ..=MAX_ELEMENTS, after)) = number::complete(header)
                && let Some(pending) = (self.pending - 1).checked_add(count)
            {
                self.pending = pending;
                rest = after;
            } else {
                break;
            }
        }
        bytes.len() - rest.len()
    }

    /// Takes one byte, or a run of bytes that are all text; returns where it stopped.
    fn step(&mut self, bytes: &[u8], at: usize, context: &mut Context<'_>) -> Result<usize, Stop> {
        let stop = |why| Stop { at, why };
        let malformed = |at| Stop {
            at,
            why: Lost::Malformed,
        };
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
                self.text(&bytes[at..next]).map_err(|i| malformed(at + i))?;
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
                self.text(&bytes[at..at + run])
                    .map_err(|i| malformed(at + i))?;
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
        if self.frame == Frame::Idle {
            self.silent_resets(context);
            let head = context.outstanding.front();
            if byte != b'-' && head.is_some_and(|head| head.kind == Kind::Replication) {
                return Err(stop(Lost::Replication));
            }
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
                    message::reply_begin(at, context)?;
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
            return self.parts_begin(elements, at, context);
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

    /// Text of the current element; of a line, its CRLF too. An error says which byte is malformed.
    fn text(&mut self, bytes: &[u8]) -> Result<(), usize> {
        if self.capture == Capture::Nothing {
            return Ok(());
        }
        let capture = self.capture;
        let details = self.details();
        match capture {
            Capture::Nothing => {}
            Capture::Said | Capture::Key | Capture::Version => details.word.push(bytes),
            Capture::Hash => details.digest.write(bytes),
            Capture::Code => {
                let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'\r'));
                details.word.push(&bytes[..end.unwrap_or(bytes.len())]);
                if end.is_some() {
                    self.captured();
                }
            }
            Capture::Count => {
                for (index, byte) in bytes.iter().enumerate() {
                    let count = details.count.unwrap_or(0);
                    details.count = match byte {
                        b'0'..=b'9' => count
                            .checked_mul(10)
                            .and_then(|count| count.checked_add(u64::from(byte - b'0'))),
                        b'\r' | b'\n' => Some(count),
                        _ => None,
                    };
                    if details.count.is_none() {
                        return Err(index);
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
            Capture::Key => details.version_next = details.word.packed() == VERSION,
            Capture::Version => {
                // One that is longer than any is none.
                details.version = (!details.word.bytes().is_empty()).then_some(details.word);
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
}

/// What follows an element without others that is complete at the start of `bytes`. Errors, nil strings and long lines are left
/// to the slow way.
#[inline]
fn scalar(bytes: &[u8]) -> Option<&[u8]> {
    /// Longest line looked through: a status, a number.
    const LINE: usize = 32;
    match bytes.first()? {
        b'$' => argument(bytes).map(|(_, rest)| rest),
        b'+' | b':' | b'_' | b',' | b'#' => {
            let line = bytes.get(..LINE).unwrap_or(bytes);
            let end = line.windows(2).position(|pair| pair == b"\r\n")?;
            bytes.get(end + 2..)
        }
        _ => None,
    }
}
