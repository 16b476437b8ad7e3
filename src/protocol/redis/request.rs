//! What the client sends: commands as arrays of bulk strings, or inline.

use super::command::{self, Kind};
use super::digest::Digest;
use super::inline::{Inline, Step};
use super::number::{self, Number};
use super::outstanding::{Outstanding, Pending};
use super::word::{Packed, Word};
use super::{Stop, emit};
use crate::protocol::{Class, Event, Located, Lost, Operation};

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
    word: Word,
    /// Made for the first PUBLISH of the session.
    digest: Option<Box<Digest>>,
    mode: Mode,
    /// The last request that changed the mode, and the mode before it.
    undo: Option<(u64, Mode)>,
}

impl Requests {
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
            word: Word::new(),
            digest: None,
            mode: Mode {
                replies: Replies::On,
                queueing: false,
            },
            undo: None,
        }
    }

    /// Whether no request has ever been completed.
    pub(super) const fn is_first(&self) -> bool {
        self.exchange == 0
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
        while at < bytes.len() {
            if self.state == State::Idle
                && let Some(end) = self.whole(bytes, at, outstanding, out)?
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
        start: usize,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<Option<usize>, Stop> {
        let Some((arguments, operation, known_at)) = name(bytes, start) else {
            return Ok(None);
        };
        let row = command::command(operation);
        if row.kind != Kind::Plain || self.mode.replies != Replies::On {
            return Ok(None);
        }
        let mut at = known_at;
        for _ in 1..arguments {
            match argument(bytes, at) {
                Some((_, end)) => at = end,
                None => return Ok(None),
            }
        }
        let exchange = self.exchange;
        let located = |at, event| Located {
            at,
            exchange,
            event,
        };
        out.extend_from_slice(&[
            located(start, Event::RequestBegin),
            located(
                known_at,
                Event::RequestKnown {
                    operation,
                    class: row.class,
                    replies: true,
                },
            ),
            located(at, Event::RequestEnd),
        ]);
        self.exchange += 1;
        let pending = Pending {
            exchange,
            replies: 1,
            kind: Kind::Plain,
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

    /// An argument begins: decides what its bytes are good for.
    fn argument_begin(&mut self) {
        self.capture = match (self.kind, self.index) {
            (_, 0) | (Kind::Container, 1) | (Kind::ClientReply, 2) => Capture::Word,
            (Kind::Streams, _) if !self.settled => {
                if self.passing > 0 {
                    self.passing -= 1;
                    Capture::Nothing
                } else {
                    Capture::Word
                }
            }
            // Queued, it is published later, if at all.
            (Kind::Publish, 1 | 2) if self.arguments == 3 && !self.mode.queueing => {
                let digest = self.digest.get_or_insert_default();
                if self.index == 1 {
                    **digest = Digest::new();
                }
                Capture::Hash
            }
            _ => Capture::Nothing,
        };
        if self.capture == Capture::Word {
            self.word = Word::new();
        }
    }

    fn argument_bytes(&mut self, bytes: &[u8]) {
        match (self.capture, &mut self.digest) {
            (Capture::Word, _) => self.word.push(bytes),
            (Capture::Hash, Some(digest)) => digest.write(bytes),
            _ => {}
        }
    }

    /// An argument is complete: draws what it tells.
    fn argument_end(&mut self) {
        let index = self.index;
        self.index += 1;
        match self.capture {
            Capture::Nothing => return,
            Capture::Hash => {
                if let Some(digest) = &mut self.digest {
                    digest.end_field();
                }
                return;
            }
            Capture::Word => {}
        }
        let word = self.word.packed();
        match (index, self.kind) {
            (0, _) => {
                if let Some(operation) = command::find(word, command::OTHER) {
                    self.identify(operation);
                }
                self.settled = !matches!(self.kind, Kind::Container | Kind::Streams);
            }
            (1, Kind::Container) => {
                if let Some(operation) = command::find(word, self.operation) {
                    self.identify(operation);
                }
                self.settled = self.kind != Kind::ClientReply;
            }
            (_, Kind::ClientReply) => {
                self.wanted = [
                    (&b"on"[..], Replies::On),
                    (b"off", Replies::Off),
                    (b"skip", Replies::Skip),
                ]
                .into_iter()
                .find_map(|(name, wanted)| (word == Packed::of(name)).then_some(wanted));
                self.settled = true;
            }
            _ => self.streams_option(word),
        }
    }

    fn identify(&mut self, operation: Operation) {
        let row = command::command(operation);
        self.operation = operation;
        self.class = row.class;
        self.kind = row.kind;
    }

    /// An option of XREAD or XREADGROUP before STREAMS.
    fn streams_option(&mut self, word: Packed) {
        if word == Packed::of(b"block") {
            self.class = Class::Blocking;
            self.settled = true;
        } else if word == Packed::of(b"streams") {
            self.settled = true;
        } else if word == Packed::of(b"group") {
            self.passing = 2;
        } else if word == Packed::of(b"count") {
            self.passing = 1;
        }
    }

    /// What CLIENT REPLY asks for; with another number of arguments it is refused.
    fn reply_mode(&self) -> Option<Replies> {
        self.wanted.filter(|_| self.arguments == 3)
    }

    /// RESET leaves every mode, and answers even where replies were off; with arguments it is refused.
    fn is_reset(&self) -> bool {
        self.kind == Kind::Reset && self.arguments == 1
    }

    /// Tells what is asked, and whether a reply will come.
    fn tell(&mut self, at: usize, out: &mut Vec<Located>) {
        self.known = true;
        self.replies = match (self.reply_mode(), self.mode.replies) {
            _ if self.operation == command::EMPTY => false,
            (Some(Replies::On), _) | (None, Replies::On) => true,
            (None, Replies::Off) => self.is_reset(),
            (Some(Replies::Off | Replies::Skip), _) | (None, Replies::Skip) => false,
        };
        let event = Event::RequestKnown {
            operation: self.operation,
            class: self.class,
            replies: self.replies,
        };
        emit(out, at, self.exchange, event);
    }

    /// The request is complete.
    fn finish(
        &mut self,
        at: usize,
        outstanding: &mut Outstanding,
        out: &mut Vec<Located>,
    ) -> Result<(), Stop> {
        let stop = |why| Stop { at, why };
        let exchange = self.exchange;
        if !self.known {
            self.tell(at, out);
        }
        if let (Capture::Hash, Some(digest), false) = (self.capture, &self.digest, self.withheld) {
            emit(out, at, exchange, Event::Published(digest.value()));
        }
        emit(out, at, exchange, Event::RequestEnd);
        self.state = State::Idle;
        self.capture = Capture::Nothing;
        self.exchange += 1;
        if self.withheld {
            self.withheld = false;
            return Ok(());
        }
        let before = self.mode;
        self.change_mode();
        if self.mode != before {
            self.undo = Some((exchange, before));
        }
        match self.kind {
            Kind::Replconf => return Err(stop(Lost::Replication)),
            Kind::Replication if !self.replies => return Err(stop(Lost::Replication)),
            Kind::Monitor if !self.replies => return Err(stop(Lost::Monitor)),
            // Whether these are answered depends on the server's version.
            kind if kind.is_subscription() && !self.replies => return Err(stop(Lost::Unpaired)),
            // Executed in the middle of EXEC's reply, which it then cuts short.
            Kind::ClientReply if before.queueing => return Err(stop(Lost::Unpaired)),
            _ => {}
        }
        if !self.replies {
            return Ok(());
        }
        outstanding.push(self.pending(exchange)).map_err(stop)
    }

    fn change_mode(&mut self) {
        self.mode.replies = match (self.reply_mode(), self.mode.replies) {
            _ if self.is_reset() => Replies::On,
            (Some(Replies::On), _) | (None, Replies::On | Replies::Skip) => Replies::On,
            (Some(Replies::Off), _) | (_, Replies::Off) => Replies::Off,
            (Some(Replies::Skip), Replies::On | Replies::Skip) => Replies::Skip,
        };
        self.mode.queueing = match self.kind {
            Kind::Multi => true,
            Kind::Exec | Kind::Discard | Kind::Reset => false,
            _ => self.mode.queueing,
        };
    }

    fn pending(&self, exchange: u64) -> Pending {
        let channels = self.arguments - 1;
        let (kind, replies) = match self.kind {
            Kind::Container | Kind::Publish | Kind::Streams => (Kind::Plain, 1),
            kind if kind.is_unsubscription() => (kind, channels),
            // Without a channel it is an error: one reply.
            kind if kind.is_subscription() => (kind, channels.max(1)),
            kind => (kind, 1),
        };
        Pending {
            exchange,
            replies,
            kind,
            begun: false,
        }
    }

    /// See [`crate::protocol::Decoder::withhold`]. `false`: requests that came after it were already judged by what it would
    /// have changed; the pairing can no longer be known.
    pub(super) fn withhold(&mut self, exchange: u64, outstanding: &mut Outstanding) -> bool {
        let under_way = self.state != State::Idle;
        if under_way && exchange == self.exchange {
            self.withheld = true;
            return true;
        }
        let pending = outstanding.remove(exchange);
        let last = exchange + 1 == self.exchange && !(under_way && self.known);
        match (self.undo, pending) {
            (Some((changed, before)), _)
                if changed == exchange && (last || before.replies == self.mode.replies) =>
            {
                self.mode = before;
                true
            }
            (_, Some(pending)) => !matches!(pending.kind, Kind::ClientReply | Kind::Reset),
            (Some((changed, _)), None) => exchange > changed,
            (None, None) => true,
        }
    }
}

/// The header and the name of a command that are complete in `bytes`: number of arguments, operation, and where the name
/// ends. `None`: incomplete, or not a matter for the fast way.
#[inline]
fn name(bytes: &[u8], start: usize) -> Option<(u64, Operation, usize)> {
    if *bytes.get(start)? != b'*' {
        return None;
    }
    let (arguments, at) = number::complete(bytes, start + 1)?;
    if arguments == 0 || arguments > MAX_ARGUMENTS {
        return None;
    }
    let (name, end) = argument(bytes, at)?;
    let name = Packed::prefix(bytes.get(name..)?, end - 2 - name)?;
    let operation = command::find(name, command::OTHER).unwrap_or(command::OTHER);
    Some((arguments, operation, end))
}

/// Where an argument that is complete in `bytes` has its text, and where it ends after its CRLF.
#[inline]
pub(super) fn argument(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    if *bytes.get(start)? != b'$' {
        return None;
    }
    let (length, text) = number::complete(bytes, start + 1)?;
    let end = text.checked_add(usize::try_from(length).ok()?)?;
    (bytes.get(end..end + 2)? == b"\r\n").then_some((text, end + 2))
}
