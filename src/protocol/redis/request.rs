//! What the client sends: commands as arrays of bulk strings, or inline.

mod facts;
mod head;
mod meaning;

use super::command::{self, Kind};
use super::digest::Digest;
use super::inline::{Inline, Step};
use super::number::{self, Number};
use super::outstanding::{Outstanding, Pending};
use super::word::Word;
use super::{Stop, emit};
use crate::protocol::{Class, Event, Facts, Located, Lost, Operation};
use head::Head;

/// Most arguments of a command, as in Redis.
const MAX_ARGUMENTS: u64 = i32::MAX as u64;
/// Longest argument followed. Redis' own limit is 512 MiB, but may be raised.
const MAX_LENGTH: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between two requests.
    Idle,
    /// In `*3\r\n`.
    Count(Number),
    /// Before `$`.
    Dollar,
    /// In `$3\r\n`.
    Length(Number),
    /// So many bytes of an argument to come.
    Body(u64),
    /// Before the carriage return behind an argument.
    Return,
    /// Before the newline behind an argument.
    Newline,
    /// In an inline command.
    Inline(Inline),
}

/// Which replies the client asked for with CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replies {
    On,
    Off,
    /// None to the next command.
    Skip,
}

/// What happens to the bytes of the current argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    Nothing,
    Word,
    Hash,
    Fact,
}

/// What most commands do not need, since the fast way takes them; made when one first does.
#[derive(Debug)]
struct Details {
    word: Word,
    /// Channel and payload of a PUBLISH.
    digest: Digest,
    saying: facts::Saying,
}

/// What requests alone say of the connection's state: a reply may be long in coming, or never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    replies: Replies,
    /// Between MULTI and EXEC.
    queueing: bool,
}

/// The request half of the decoder.
#[derive(Debug)]
pub(super) struct Requests {
    state: State,
    /// The number of the request under way, or of the next.
    exchange: u64,
    /// Arguments of the request, its name included; not known before the end of an inline command.
    arguments: u32,
    /// Arguments complete.
    index: u32,
    /// Arguments to pass over in the search for BLOCK.
    passing: u8,
    operation: Operation,
    class: Class,
    kind: Kind,
    capture: Capture,
    /// Nothing that follows can change operation, class or whether a reply comes.
    settled: bool,
    /// `RequestKnown` was told.
    known: bool,
    replies: bool,
    withheld: bool,
    /// The argument of CLIENT REPLY.
    wanted: Option<Replies>,
    details: Option<Box<Details>>,
    mode: Mode,
    /// The last request that changed the mode, and the mode before it.
    undo: Option<(u64, Mode)>,
    /// What the session has said of itself.
    facts: Option<Box<Facts>>,
}

impl Requests {
    /// Bytes that it may hold on the heap.
    #[cfg(test)]
    pub(super) const DETAILS: usize = size_of::<Details>() + facts::Saying::HEAP;

    pub(super) const fn new() -> Self {
        Self {
            state: State::Idle,
            exchange: 0,
            arguments: 0,
            index: 0,
            passing: 0,
            operation: command::OTHER,
            class: Class::Admin,
            kind: Kind::Plain,
            capture: Capture::Nothing,
            settled: false,
            known: false,
            replies: false,
            withheld: false,
            wanted: None,
            details: None,
            mode: Mode {
                replies: Replies::On,
                queueing: false,
            },
            undo: None,
            facts: None,
        }
    }

    /// Whether no request has ever been completed.
    pub(super) const fn is_first(&self) -> bool {
        self.exchange == 0
    }

    /// Whether this is the request that is coming in, identified already, and one that is answered.
    pub(super) fn will_be_answered(&self, exchange: u64) -> bool {
        self.exchange == exchange && self.known && self.replies
    }

    /// The newest exchange: the one under way, else the last.
    pub(super) fn newest(&self) -> u64 {
        if self.state == State::Idle {
            self.exchange.saturating_sub(1)
        } else {
            self.exchange
        }
    }

    /// Takes the next piece of the stream.
    #[inline]
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<(), Stop> {
        let mut at = 0;
        let mut head = None;
        while at < bytes.len() {
            if self.state == State::Idle
                && let Some(end) = self.whole(bytes, at, &mut head, outstanding, out)?
            {
                at = end;
            } else {
                at = self.step(bytes, at, outstanding, out)?;
            }
        }
        Ok(())
    }

    /// The fast way: a plain command that is complete in this piece. `None` changes nothing and leaves it to [`Self::step`],
    /// of which this is a shortcut and never more.
    #[inline]
    fn whole(
        &mut self,
        bytes: &[u8],
        begin: usize,
        last: &mut Option<Head>,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<Option<usize>, Stop> {
        let Some(head) = Head::read(&bytes[begin..], last) else {
            return Ok(None);
        };
        let Some(mut rest) = bytes.get(begin + head.length..) else {
            return Ok(None);
        };
        if self.mode.replies != Replies::On {
            return Ok(None);
        }
        for _ in 1..head.arguments {
            match argument(rest) {
                Some((_, after)) => rest = after,
                None => return Ok(None),
            }
        }
        let at = bytes.len() - rest.len();
        let exchange = self.exchange;
        let event = Event::Request {
            begin,
            known: begin + head.length,
            operation: head.operation,
            class: head.class,
        };
        emit(out, at, exchange, event);
        self.exchange += 1;
        let pending = Pending {
            exchange,
            replies: 1,
            kind: head.kind,
            begun: false,
        };
        match outstanding.push(pending) {
            Ok(()) => Ok(Some(at)),
            Err(why) => Err(Stop { at, why }),
        }
    }

    /// Takes one byte, or a run of bytes that are all counted past; returns where it stopped.
    fn step(
        &mut self,
        bytes: &[u8],
        at: usize,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<usize, Stop> {
        let stop = |why| Stop { at, why };
        let byte = bytes[at];
        match &mut self.state {
            State::Idle => {
                self.begin(byte, at, out)?;
                if byte != b'*' {
                    self.inline(byte, at, outstanding, out)?;
                }
            }
            State::Count(number) => {
                if let Some(count) = number.push(byte).map_err(stop)? {
                    match u64::try_from(count) {
                        Err(_) | Ok(0) => {
                            self.operation = command::EMPTY;
                            self.class = Class::Ping;
                            self.finish(at + 1, outstanding, out)?;
                        }
                        Ok(1..=MAX_ARGUMENTS) => {
                            self.arguments = count as u32;
                            self.state = State::Dollar;
                        }
                        Ok(_) => return Err(stop(Lost::Length)),
                    }
                }
            }
            State::Dollar if byte == b'$' => self.state = State::Length(Number::default()),
            State::Length(number) => {
                if let Some(length) = number.push(byte).map_err(stop)? {
                    self.state = match u64::try_from(length) {
                        Ok(0) => State::Return,
                        Ok(length @ 1..=MAX_LENGTH) => State::Body(length),
                        Ok(_) => return Err(stop(Lost::Length)),
                        Err(_) => return Err(stop(Lost::Malformed)),
                    };
                    self.argument_begin();
                }
            }
            State::Body(left) => {
                let here = bytes.len() - at;
                let run = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= run as u64;
                if *left == 0 {
                    self.state = State::Return;
                }
                self.argument_bytes(&bytes[at..at + run]);
                return Ok(at + run);
            }
            State::Return if byte == b'\r' => self.state = State::Newline,
            State::Newline if byte == b'\n' => {
                self.state = State::Dollar;
                self.argument_end();
                if self.index == self.arguments {
                    self.finish(at + 1, outstanding, out)?;
                } else if self.settled && !self.known {
                    self.tell(at + 1, out);
                }
            }
            State::Inline(_) => self.inline(byte, at, outstanding, out)?,
            State::Dollar | State::Return | State::Newline => return Err(stop(Lost::Malformed)),
        }
        Ok(at + 1)
    }

    /// The first byte of a request.
    fn begin(&mut self, byte: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Stop> {
        // TLS begins with 0x16, Postgres with 0: no Redis client begins with a control character.
        if self.exchange == 0 && byte < b' ' && !byte.is_ascii_whitespace() {
            return Err(Stop {
                at,
                why: Lost::WrongProtocol,
            });
        }
        emit(out, at, self.exchange, Event::RequestBegin);
        self.arguments = u32::MAX;
        self.index = 0;
        self.passing = 0;
        self.operation = command::OTHER;
        self.class = Class::Admin;
        self.kind = Kind::Plain;
        self.settled = false;
        self.known = false;
        self.wanted = None;
        self.state = if byte == b'*' {
            State::Count(Number::default())
        } else {
            State::Inline(Inline::new())
        };
        Ok(())
    }

    /// A byte of an inline command. What it asks is told at the end of the line, when the number of arguments is known.
    fn inline(
        &mut self,
        byte: u8,
        at: usize,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<(), Stop> {
        let State::Inline(mut line) = self.state else {
            return Ok(());
        };
        let mut text = [0; 3];
        let mut length = 0;
        let step = line
            .push(byte, &mut |byte| {
                if let Some(room) = text.get_mut(length) {
                    *room = byte;
                    length += 1;
                }
            })
            .map_err(|why| Stop { at, why })?;
        self.state = State::Inline(line);
        match step {
            Step::Space => {}
            Step::Begin => {
                self.argument_begin();
                self.argument_bytes(&text[..length]);
            }
            Step::Inside => self.argument_bytes(&text[..length]),
            Step::End => self.argument_end(),
            Step::Line { word } => {
                if word {
                    self.argument_end();
                }
                if self.exchange == 0 && line.is_http() {
                    let why = Lost::WrongProtocol;
                    return Err(Stop { at, why });
                }
                if self.index == 0 {
                    self.operation = command::EMPTY;
                    self.class = Class::Ping;
                }
                self.arguments = self.index;
                self.finish(at + 1, outstanding, out)?;
            }
        }
        Ok(())
    }
}

/// An argument that is complete at the start of `bytes`: from its text on, and what follows its CRLF.
#[inline]
pub(super) fn argument(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, text) = number::complete(bytes.strip_prefix(b"$")?)?;
    let rest = text.get(usize::try_from(length).ok()?..)?;
    Some((text, rest.strip_prefix(b"\r\n")?))
}
