//! What the server sends. Manual: "Message Formats", those marked B.

use super::decoder::Decoder;
use super::frame::{Frame, Side};
use super::hash;
use super::operation::pack;
use super::pending::{Entry, Kind};
use super::status;
use super::transaction::{Changes, Tag};
use crate::protocol::facts::VALUE_LIMIT;
use crate::protocol::{Event, Fact, Located, Lost, Status};

/// The longest `BackendKeyData` of protocol 3.2: a process id and a secret key.
const KEY_LIMIT: usize = 4 + 256;

/// The server's direction.
pub(super) struct Back;

/// What the server's message being read has told so far.
#[derive(Debug)]
pub(super) struct Answer {
    step: Step,
    /// `ErrorResponse`: the field being read.
    field: u8,
    /// `ReadyForQuery`: the status.
    ready: u8,
    /// `ErrorResponse`: the severity is FATAL or PANIC: the connection ends.
    fatal: bool,
    /// Bytes of the text or number being read.
    have: u8,
    /// `ErrorResponse`: the SQLSTATE.
    code: [u8; 5],
    /// The text (its first 16 bytes) or number being read.
    text: u128,
    /// `NotificationResponse`: a hash of the rest.
    hash: u64,
    /// `ParameterStatus`: which one it is.
    parameter: Option<Parameter>,
    /// Its value, or `BackendKeyData`.
    value: Vec<u8>,
}

/// What the server has said of itself and of the session.
#[derive(Default)]
pub(super) struct Server {
    /// Its version.
    pub(super) version: Option<Box<[u8]>>,
    /// What cancels statements of the session: `BackendKeyData`, a process id and a secret key. Nobody is shown it.
    key: Box<[u8]>,
}

impl Server {
    /// See its field; `None`: it gave none, or one that no protocol has.
    pub(super) fn key(&self) -> Option<&[u8]> {
        (5..=KEY_LIMIT)
            .contains(&self.key.len())
            .then_some(&self.key)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A setting that the server reports and that is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    ApplicationName,
    ConformingStrings,
    ServerVersion,
}

/// What the next byte of the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Of no interest, like all bytes to the end of the message.
    Skip,
    /// Of a command tag.
    Tag,
    /// The transaction status.
    Ready,
    /// The type of a field of an `ErrorResponse`, or the end of them.
    Field,
    /// The value of that field.
    Value,
    /// Of what cancels statements of this session.
    Key,
    /// A process id, and what is to be hashed behind it.
    Pid,
    Hashed,
    /// The name of a setting, and its value.
    ParameterName,
    ParameterValue,
}

impl Answer {
    pub(super) const fn new() -> Self {
        Self {
            step: Step::Skip,
            field: 0,
            ready: 0,
            fatal: false,
            have: 0,
            code: [0; 5],
            text: 0,
            hash: hash::EMPTY,
            parameter: None,
            value: Vec::new(),
        }
    }

    fn begin(&mut self, step: Step) {
        self.step = step;
        self.have = 0;
        self.text = 0;
    }

    fn read(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            match self.step {
                Step::Skip => return,
                Step::Tag | Step::ParameterValue if byte == 0 => self.step = Step::Skip,
                Step::Ready => self.ready = byte,
                Step::Field => {
                    self.field = byte;
                    self.begin(if byte == 0 { Step::Skip } else { Step::Value });
                }
                Step::Value if byte == 0 => {
                    self.field_end();
                    self.begin(Step::Field);
                }
                Step::ParameterName if byte == 0 => {
                    const CONFORMING: u128 = pack("standard_conforming_strings");
                    const NAME: u128 = pack("application_name");
                    const VERSION: u128 = pack("server_version");
                    self.parameter = match (self.text, self.have) {
                        (VERSION, 14) => Some(Parameter::ServerVersion),
                        (NAME, 16) => Some(Parameter::ApplicationName),
                        (CONFORMING, 27) => Some(Parameter::ConformingStrings),
                        _ => None,
                    };
                    self.value.clear();
                    self.step = match self.parameter {
                        Some(_) => Step::ParameterValue,
                        None => Step::Skip,
                    };
                }
                Step::Tag | Step::Value | Step::ParameterName => self.extend(byte),
                Step::Pid => {
                    self.extend(byte);
                    if self.have == 4 {
                        self.step = Step::Hashed;
                    }
                }
                Step::Key if self.value.len() <= KEY_LIMIT => self.value.push(byte),
                Step::Hashed => self.hash = hash::byte(self.hash, byte),
                Step::ParameterValue if self.value.len() < VALUE_LIMIT => self.value.push(byte),
                Step::Key | Step::ParameterValue => {}
            }
        }
    }

    #[inline]
    fn extend(&mut self, byte: u8) {
        if self.have < 16 {
            self.text = self.text << 8 | u128::from(byte);
        }
        self.have = self.have.saturating_add(1);
    }

    /// Nothing but the SQLSTATE and whether it is fatal is kept: the texts may hold what was in a row.
    fn field_end(&mut self) {
        const FATAL: u128 = pack("FATAL");
        const PANIC: u128 = pack("PANIC");
        match (self.field, self.text) {
            (b'C', code) if self.have == 5 => {
                if let Some(code) = code.to_be_bytes().last_chunk() {
                    self.code = *code;
                }
            }
            (b'S' | b'V', FATAL | PANIC) => self.fatal = true,
            _ => {}
        }
    }
}

impl Side for Back {
    #[inline]
    fn frame(decoder: &mut Decoder) -> &mut Frame {
        &mut decoder.answer_frame
    }

    #[inline]
    fn begin(d: &mut Decoder, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        let step = match kind {
            b'D' | b'd' | b'T' | b't' | b'n' | b'1' | b'2' | b'3' | b'I' | b's' | b'G' | b'H'
            | b'W' | b'c' | b'V' | b'R' | b'v' => Step::Skip,
            b'C' => Step::Tag,
            b'Z' => Step::Ready,
            b'E' => {
                d.answer.fatal = false;
                d.answer.code = [0; 5];
                Step::Field
            }
            b'K' => {
                d.answer.value.clear();
                Step::Key
            }
            // These come at any time and answer nothing.
            b'N' => {
                d.answer.begin(Step::Skip);
                return Ok(());
            }
            b'S' => {
                d.answer.parameter = None;
                d.answer.begin(Step::ParameterName);
                return Ok(());
            }
            b'A' => {
                d.answer.hash = hash::EMPTY;
                d.answer.begin(Step::Pid);
                d.push_event(Event::PushBegin, at, out);
                return Ok(());
            }
            _ => return Err(Lost::Malformed),
        };
        d.answer.begin(step);
        d.expect(kind, at, out)
    }

    #[inline]
    fn open(
        _d: &mut Decoder,
        kind: u8,
        length: u32,
        _at: usize,
        _out: &mut Vec<Located>,
    ) -> Result<(), Lost> {
        match (kind, length) {
            (b'Z', 1) | (b'K' | b'A', 4..) => Ok(()),
            (b'Z' | b'K' | b'A', _) => Err(Lost::Malformed),
            _ => Ok(()),
        }
    }

    #[inline]
    fn body(d: &mut Decoder, chunk: &[u8], _at: usize, _out: &mut Vec<Located>) {
        if d.answer.step != Step::Skip {
            d.answer.read(chunk);
        }
    }

    #[inline]
    fn end(d: &mut Decoder, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        match kind {
            b'1' | b'2' | b'T' | b'n' => d.part_end(at, out),
            b'C' => d.command_complete(at, out),
            b'I' | b's' => d.execute_end(at, out),
            b'G' | b'W' => {
                if let Some(entry) = d.pending.front_mut() {
                    entry.copy_in = true;
                }
            }
            b'3' if d.closes_for_client() => {
                d.pending.pop();
            }
            b'E' => return d.error_end(at, out),
            b'S' => d.parameter_end(),
            b'Z' => return d.ready(at, out),
            b'K' => {
                let given = std::mem::take(&mut d.answer.value);
                if let Some((pid, key)) = given.split_first_chunk() {
                    let pid = u32::from_be_bytes(*pid);
                    let key = hash::bytes(hash::EMPTY, key);
                    d.push_event(Event::BackendKey { pid, key }, at, out);
                }
                d.server.get_or_insert_default().key = given.into_boxed_slice();
            }
            b'A' => {
                d.push_event(Event::Delivered(d.answer.hash), at, out);
                d.push_event(Event::PushEnd, at, out);
            }
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn repeats(kind: u8) -> bool {
        matches!(kind, b'D' | b'd')
    }
}

/// Whether a message of type `kind` can be the next one of the reply to `entry`.
fn fits(entry: &Entry, kind: u8, replied: bool) -> bool {
    match entry.kind {
        Kind::Startup => matches!(kind, b'R' | b'K' | b'v' | b'E' | b'Z'),
        Kind::Query => match kind {
            // Each Query has at least a CommandComplete, an EmptyQueryResponse or an ErrorResponse.
            b'Z' => replied,
            _ => matches!(
                kind,
                b'D' | b'T' | b'C' | b'E' | b'I' | b'd' | b'c' | b'G' | b'H' | b'W'
            ),
        },
        Kind::Function => matches!(kind, b'V' | b'E') || kind == b'Z' && replied,
        Kind::Open | Kind::Prepare => matches!(kind, b'1' | b'2' | b't' | b'T' | b'n' | b'E'),
        Kind::Execute => !matches!(kind, b'R' | b'K' | b'v' | b'Z' | b'V' | b'3'),
        Kind::RolledBack => matches!(kind, b'1' | b'2' | b'3' | b't' | b'T' | b'n' | b'C' | b'E'),
        Kind::Close => matches!(kind, b'3' | b'E'),
        Kind::Sync => matches!(kind, b'Z' | b'E'),
        Kind::CopyEnd => false,
    }
}

impl Decoder {
    /// A message of type `kind`, which answers something, begins at `at`.
    #[inline]
    fn expect(&mut self, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        if self.skipping {
            return match kind {
                b'Z' => self.end_skipping(at, out),
                b'E' => Ok(()),
                _ => Err(Lost::Unpaired),
            };
        }
        self.settle(at, out);
        let Some(front) = self.pending.front() else {
            // Not an answer: the server says why it closes. Whether it does, its severity tells.
            return if kind == b'E' {
                Ok(())
            } else {
                Err(Lost::Unpaired)
            };
        };
        if !fits(front, kind, self.replied) {
            return Err(Lost::Unpaired);
        }
        if front.is_exchange() {
            let exchange = front.exchange;
            if !self.replied {
                self.replied = true;
                let event = Event::ReplyBegin;
                out.push(Located {
                    at,
                    exchange,
                    event,
                });
            }
            if kind == b'E' {
                let event = Event::ErrorBegin;
                out.push(Located {
                    at,
                    exchange,
                    event,
                });
            }
        }
        Ok(())
    }

    /// The server reports a setting: at the start, and whenever it changes, by whatever statement.
    fn parameter_end(&mut self) {
        let value = std::mem::take(&mut self.answer.value);
        match self.answer.parameter.take() {
            Some(Parameter::ApplicationName) => {
                self.facts
                    .get_or_insert_default()
                    .settle(Fact::Name, &value);
            }
            Some(Parameter::ConformingStrings) => self.escapes = value == b"off",
            Some(Parameter::ServerVersion) => {
                self.server.get_or_insert_default().version = Some(value.into_boxed_slice());
            }
            None => {}
        }
    }

    /// Whether a `CloseComplete` answers a Close of the client.
    fn closes_for_client(&self) -> bool {
        self.pending.front().is_some_and(|e| e.kind == Kind::Close)
    }

    /// Removes from the front what is owed nothing more.
    #[inline]
    fn settle(&mut self, at: usize, out: &mut Vec<Located>) {
        while let Some(front) = self.pending.front() {
            match front.kind {
                Kind::CopyEnd => {
                    self.pending.pop();
                }
                // All was answered before the client showed that no Execute would follow.
                Kind::Prepare if front.parts == 0 => self.finish(Status::OK, at, out),
                _ => break,
            }
        }
    }

    /// The front exchange's reply ended.
    #[inline]
    fn finish(&mut self, status: Status, at: usize, out: &mut Vec<Located>) {
        if let Some(entry) = self.pending.pop() {
            out.push(Located {
                at,
                exchange: entry.exchange,
                event: Event::ReplyEnd { status },
            });
        }
        self.replied = false;
        self.error = Status::OK;
    }

    /// A Parse, a Bind or a Describe was answered.
    #[inline]
    fn part_end(&mut self, at: usize, out: &mut Vec<Located>) {
        let Some(entry) = self.pending.front_mut() else {
            return;
        };
        entry.parts = entry.parts.saturating_sub(1);
        if entry.kind == Kind::Prepare && entry.parts == 0 {
            self.finish(Status::OK, at, out);
        }
    }

    fn command_complete(&mut self, at: usize, out: &mut Vec<Located>) {
        self.pending.end_copy();
        let Some(&entry) = self.pending.front() else {
            return;
        };
        if let Some(tag) = Tag::of(self.answer.text, entry.operation) {
            let changes = self.block.complete(tag);
            self.transaction(changes, at, out);
        }
        self.execute_end(at, out);
    }

    /// A statement completed: an Execute has no other.
    #[inline]
    fn execute_end(&mut self, at: usize, out: &mut Vec<Located>) {
        if self
            .pending
            .front()
            .is_some_and(|e| e.kind == Kind::Execute)
        {
            self.finish(Status::OK, at, out);
        }
    }

    fn error_end(&mut self, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        let status = status::of_sqlstate(self.answer.code);
        let fatal = self.answer.fatal;
        if self.skipping {
            return Ok(());
        }
        self.pending.end_copy();
        match self.pending.front().map(|entry| entry.kind) {
            None if fatal => {}
            None => return Err(Lost::Unpaired),
            Some(Kind::Startup) => self.finish(status, at, out),
            Some(Kind::Query | Kind::Function) if fatal => self.finish(status, at, out),
            Some(Kind::Query | Kind::Function) => self.error = status,
            Some(Kind::Execute | Kind::RolledBack | Kind::Prepare) => {
                self.finish(status, at, out);
                self.skipping = true;
            }
            // The rest of its request is still to come: it ends where the skipping does.
            Some(Kind::Open) => {
                self.error = status;
                self.skipping = true;
            }
            Some(Kind::Close) => self.skipping = true,
            // The implicit transaction of the batch failed to commit; its exchanges have ended, ReadyForQuery follows.
            Some(Kind::Sync | Kind::CopyEnd) => {}
        }
        Ok(())
    }

    /// A `ReadyForQuery` begins, after an error in the extended protocol: everything up to a Sync was read and dropped.
    fn end_skipping(&mut self, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        self.skipping = false;
        while let Some(&entry) = self.pending.front() {
            match entry.kind {
                Kind::Sync => return Ok(()),
                Kind::Close | Kind::CopyEnd => {
                    self.pending.pop();
                }
                _ => {
                    let failed = self.error != Status::OK;
                    if !self.replied {
                        out.push(Located {
                            at,
                            exchange: entry.exchange,
                            event: Event::ReplyBegin,
                        });
                    }
                    let status = if failed { self.error } else { status::SKIPPED };
                    self.finish(status, at, out);
                }
            }
        }
        Err(Lost::Unpaired)
    }

    fn ready(&mut self, at: usize, out: &mut Vec<Located>) -> Result<(), Lost> {
        let status = self.answer.ready;
        if !matches!(status, b'I' | b'T' | b'E') {
            return Err(Lost::Malformed);
        }
        let Some(&entry) = self.pending.front() else {
            return Err(Lost::Unpaired);
        };
        let changes = self.block.ready(status);
        self.transaction(changes, at, out);
        if entry.kind == Kind::Sync {
            self.pending.pop();
        } else {
            self.finish(self.error, at, out);
        }
        if entry.kind == Kind::Startup && self.replication {
            return Err(Lost::Replication);
        }
        Ok(())
    }

    fn transaction(&self, changes: Changes, at: usize, out: &mut Vec<Located>) {
        for change in changes.into_iter().flatten() {
            self.push_event(Event::Transaction(change), at, out);
        }
    }

    /// An event of the session rather than of an exchange.
    fn push_event(&self, event: Event, at: usize, out: &mut Vec<Located>) {
        out.push(Located {
            at,
            exchange: self.newest(),
            event,
        });
    }
}
