//! What a request asks: its operation and class, whether it will be answered, what it changes for those that follow.

use super::facts::Saying;
use super::{Capture, Details, Mode, Replies, Requests, State};
use crate::protocol::redis::command::{self, Kind};
use crate::protocol::redis::digest::Digest;
use crate::protocol::redis::outstanding::{Outstanding, Pending};
use crate::protocol::redis::word::{Packed, Word};
use crate::protocol::redis::{Stop, emit};
use crate::protocol::{Class, Event, Located, Lost, Operation};

impl Requests {
    /// An argument begins: decides what its bytes are good for.
    pub(super) fn argument_begin(&mut self) {
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
                if self.index == 1 {
                    self.details().digest = Digest::new();
                }
                Capture::Hash
            }
            _ => self.capture_of_fact(),
        };
        if self.capture == Capture::Word {
            self.details().word = Word::new();
        }
    }

    pub(super) fn details(&mut self) -> &mut Details {
        self.details.get_or_insert_with(|| {
            Box::new(Details {
                word: Word::new(),
                digest: Digest::new(),
                saying: Saying::new(),
            })
        })
    }

    pub(super) fn argument_bytes(&mut self, bytes: &[u8]) {
        match self.capture {
            Capture::Nothing => {}
            Capture::Word => self.details().word.push(bytes),
            Capture::Hash => self.details().digest.write(bytes),
            Capture::Fact => self.details().saying.push(bytes),
        }
    }

    /// An argument is complete: draws what it tells.
    pub(super) fn argument_end(&mut self) {
        let index = self.index;
        self.index += 1;
        match self.capture {
            Capture::Nothing => return self.password_end(),
            Capture::Fact => return self.fact_end(),
            Capture::Hash => return self.details().digest.end_field(),
            Capture::Word => {}
        }
        let word = self.details().word.packed();
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
            (_, Kind::Hello) => self.hello_option(word),
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
    pub(super) fn tell(&mut self, at: usize, out: &mut Vec<Located>) {
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
    pub(super) fn finish(
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
        if self.capture == Capture::Hash && !self.withheld {
            let hash = self.details().digest.value();
            emit(out, at, exchange, Event::Published(hash));
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
        self.say(exchange, self.is_reset());
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
            // Only its reply tells which protocol version is spoken from here.
            Kind::Hello if !self.replies => return Err(stop(Lost::Unpaired)),
            // Executed in the middle of EXEC's reply, which it then cuts short.
            Kind::ClientReply if before.queueing => return Err(stop(Lost::Unpaired)),
            _ => {}
        }
        if !self.replies && !self.is_reset() {
            return Ok(());
        }
        let mut pending = self.pending(exchange);
        if !self.replies {
            pending.replies = 0;
        }
        outstanding.push(pending).map_err(stop)
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
            Kind::Container
            | Kind::Publish
            | Kind::Streams
            | Kind::Auth
            | Kind::SetName
            | Kind::Select => (Kind::Plain, 1),
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
    pub(in crate::protocol::redis) fn withhold(
        &mut self,
        exchange: u64,
        outstanding: &mut Outstanding,
    ) -> bool {
        let under_way = self.state != State::Idle;
        if under_way && exchange == self.exchange {
            self.withheld = true;
            return true;
        }
        let pending = outstanding.remove(exchange);
        let kind = pending.map(|pending| pending.kind);
        if let Some(before) = self.undoable(exchange) {
            self.mode = before;
            return true;
        }
        self.is_indifferent(exchange, kind)
    }

    /// Whether a request can be withheld so that the pairing of those behind it is still known.
    pub(in crate::protocol::redis) fn can_withhold(
        &self,
        exchange: u64,
        outstanding: &Outstanding,
    ) -> bool {
        let under_way = self.state != State::Idle && exchange == self.exchange;
        let mut pending = outstanding.iter().filter(|p| p.exchange == exchange);
        under_way
            || self.undoable(exchange).is_some()
            || self.is_indifferent(exchange, pending.next().map(|p| p.kind))
    }

    /// The mode before this request, where it was the last that changed it, and those behind it were judged as they would be
    /// without it.
    fn undoable(&self, exchange: u64) -> Option<Mode> {
        let last = exchange + 1 == self.exchange && !(self.state != State::Idle && self.known);
        let (changed, before) = self.undo?;
        let same = last || before.replies == self.mode.replies;
        (changed == exchange && same).then_some(before)
    }

    /// Whether those behind this request were judged as they would be without it: it changed no mode, or is of no kind that does.
    fn is_indifferent(&self, exchange: u64, kind: Option<Kind>) -> bool {
        let changed_nothing = self.undo.is_none_or(|(changed, _)| exchange > changed);
        changed_nothing || kind.is_some_and(|kind| !matches!(kind, Kind::ClientReply | Kind::Reset))
    }
}
