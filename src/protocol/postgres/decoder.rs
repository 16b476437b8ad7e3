//! The decoder of one session: its state, and the way into its two directions.

use super::backend::{Answer, Back, Server};
use super::frame::{self, Frame, Stop};
use super::frontend::{Ask, Front};
use super::hash;
use super::inject;
use super::names::Names;
use super::operation::Known;
use super::pending::{Entry, Kind, Pending};
use super::sql::text::Statement;
use super::sql::{Forget, Scanner};
use super::startup::Opening;
use super::statements::Statements;
use super::transaction::Block;
use crate::protocol::{Event, Facts, Located, Lost, Operation, Status};
use bytes::Bytes;
use std::sync::Arc;

/// Prepared statements that are remembered in one session.
pub(super) const STATEMENTS: usize = 4096;

/// Named portals that are remembered in one session.
pub(super) const PORTALS: usize = 1024;

/// How an exchange was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// By one message that is answered up to its own `ReadyForQuery`: Query, `FunctionCall`.
    Simple,
    /// In the extended protocol, its Execute the last message, or yet to come.
    Execute,
    /// The handshake, a group without an Execute, or nothing that is known.
    Other,
}

/// Decoder of one session.
#[derive(Debug)]
pub struct Decoder {
    /// Before the first typed message.
    pub(super) opening: Opening,
    pub(super) ask_frame: Frame,
    pub(super) answer_frame: Frame,
    /// What the message being read is to tell.
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) scanner: Scanner,
    /// What the server owes.
    pub(super) pending: Pending,
    /// Whether the last entry of `pending` is a group that the client may still add to.
    pub(super) group_open: bool,
    /// A byte of the front exchange's reply was seen.
    pub(super) replied: bool,
    /// After an error in the extended protocol: the server reads on to the next Sync and answers nothing.
    pub(super) skipping: bool,
    /// Replication was asked for: give up once the handshake is over.
    pub(super) replication: bool,
    pub(super) lost: bool,
    /// How the front exchange failed, while it has not ended.
    pub(super) error: Status,
    pub(super) block: Block,
    /// The number of the next exchange.
    pub(super) next: u64,
    pub(super) unnamed_statement: Known,
    pub(super) unnamed_portal: Known,
    pub(super) facts: Option<Box<Facts>>,
    pub(super) server: Option<Box<Server>>,
    /// A backslash in an ordinary string escapes: the server said `standard_conforming_strings = off`.
    pub(super) escapes: bool,
    /// What prepared statements say.
    pub(super) texts: Option<Arc<Statements>>,
    /// That of unnamed ones is remembered, too.
    pub(super) watching: bool,
    /// Ends of batches and beginnings of COPY data are told.
    pub(super) marking: bool,
    /// The exchanges before this one have a Flush behind them.
    pub(super) flushed: u64,
    statements: Option<Box<Names>>,
    portals: Option<Box<Names>>,
}

impl Decoder {
    /// A decoder at the start of a session. It allocates nothing.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            opening: Opening::new(),
            ask_frame: Frame::new(),
            answer_frame: Frame::new(),
            ask: Ask::new(),
            answer: Answer::new(),
            scanner: Scanner::new(),
            pending: Pending::default(),
            group_open: false,
            replied: false,
            skipping: false,
            replication: false,
            lost: false,
            error: Status::OK,
            block: Block::new(),
            next: 0,
            unnamed_statement: Known::UNKNOWN,
            unnamed_portal: Known::UNKNOWN,
            facts: None,
            server: None,
            escapes: false,
            texts: None,
            watching: false,
            marking: false,
            flushed: 0,
            statements: None,
            portals: None,
        }
    }

    /// A decoder that remembers there what prepared statements say.
    pub fn remembering(statements: Arc<Statements>) -> Self {
        Self {
            texts: Some(statements),
            ..Self::new()
        }
    }

    /// What the session has said of itself.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_deref()
    }

    /// What cancels the statement that the server carries out for this session; `None`: it gave no key for that.
    pub fn cancel_request(&self) -> Option<Bytes> {
        self.server.as_ref()?.key().map(inject::cancel_request)
    }

    /// See [`crate::protocol::Decoder::server`].
    pub fn server(&self) -> Option<&[u8]> {
        self.server.as_ref()?.version.as_deref()
    }

    /// See [`crate::protocol::Decoder::watch_statements`].
    pub fn watch_statements(&mut self, watch: bool) {
        self.watching = watch;
    }

    /// See [`crate::protocol::Decoder::mark_batches`].
    pub fn mark_batches(&mut self, mark: bool) {
        self.marking = mark;
    }

    /// The statement of an exchange whose reply has not ended: of a simple Query that of `request`, its bytes; of an Execute the
    /// one that was prepared, where it is remembered.
    pub fn statement_of(&self, exchange: u64, request: &[u8]) -> Option<Arc<Statement>> {
        /// Type and length.
        const HEADER: usize = 5;
        let entry = self.pending.find(exchange)?;
        match entry.kind {
            Kind::Query => {
                let text = request.strip_prefix(b"Q").and(request.get(HEADER..))?;
                Some(Arc::new(Statement::of(text, self.escapes)))
            }
            _ => self.texts.as_ref()?.get(entry.text?),
        }
    }

    /// See [`crate::protocol::Decoder::request`].
    pub fn request(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        if self.lost {
            return;
        }
        let read = match self.open_request(bytes, out) {
            Ok(at) => frame::run::<Front>(self, bytes, at, out),
            Err(stop) => Err(stop),
        };
        self.settle_on(read, out);
    }

    /// See [`crate::protocol::Decoder::reply`].
    pub fn reply(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        if self.lost {
            return;
        }
        let read = match self.open_reply(bytes) {
            Ok(at) => frame::run::<Back>(self, bytes, at, out),
            Err(stop) => Err(stop),
        };
        self.settle_on(read, out);
    }

    /// See [`crate::protocol::Decoder::withhold`]. For a simple Query this includes its `ReadyForQuery`; for a group of the extended
    /// protocol it does not include that of the Sync behind it.
    pub fn withhold(&mut self, exchange: u64) {
        self.pending.remove(exchange);
    }

    /// The transaction status of the last `ReadyForQuery`: `b'I'` idle, `b'T'` in a transaction block, `b'E'` in a failed one.
    pub fn transaction_status(&self) -> u8 {
        self.block.status()
    }

    /// How many exchanges have begun whose reply has not ended. Counts them, so not for every message.
    pub fn in_flight(&self) -> usize {
        self.pending.exchanges()
    }

    /// Whether the server still owes something for what the client sent before `exchange`: only when not is
    /// [`Self::transaction_status`] the status in which it will be carried out.
    pub fn owes_before(&self, exchange: u64) -> bool {
        self.pending.owes_before(exchange)
    }

    /// Whether a `ReadyForQuery` is owed for what the client sent before `exchange`: the server may still be at that.
    pub fn owes_ready_before(&self, exchange: u64) -> bool {
        self.pending.owes_ready_before(exchange)
    }

    /// Whether the server may hold back replies to what the client sent before `exchange`, until a Sync or a Flush comes: what
    /// precedes it belongs to a batch of the extended protocol that has not ended.
    pub fn holds_back_before(&self, exchange: u64) -> bool {
        use Kind::{Close, Execute, Prepare, RolledBack};
        let last = self.pending.last_before(exchange);
        matches!(last, Some(Execute | RolledBack | Prepare | Close))
    }

    /// Whether a `ReadyForQuery` is owed: what was asked is in a batch that has ended.
    pub fn owes_ready(&self) -> bool {
        self.pending.owes_ready()
    }

    /// Whether the client has asked for the reply to `exchange` by a Flush: it may wait for that before it ends the batch.
    pub fn is_flushed(&self, exchange: u64) -> bool {
        exchange < self.flushed
    }

    /// How an exchange whose reply has not ended was asked.
    pub fn shape(&self, exchange: u64) -> Shape {
        match self.pending.find(exchange).map(|entry| entry.kind) {
            Some(Kind::Query | Kind::Function) => Shape::Simple,
            Some(Kind::Open | Kind::Execute | Kind::RolledBack) => Shape::Execute,
            _ => Shape::Other,
        }
    }

    /// The Execute of `exchange` reaches the server as [`super::inject::roll_back`] and an Execute that fails: no
    /// `CommandComplete` ends its reply, only the error. To be called before any of it is shown. Returns how many replies come
    /// before those, to the client's own messages.
    pub fn expect_rollback(&mut self, exchange: u64) -> u32 {
        self.pending.find_mut(exchange).map_or(0, |entry| {
            entry.kind = Kind::RolledBack;
            entry.parts
        })
    }

    /// Whether the bytes of the client seen so far end inside a message.
    pub fn is_inside_request(&self) -> bool {
        self.ask_frame.is_inside()
    }

    /// Whether the bytes of the server seen so far end inside a message.
    pub fn is_inside_reply(&self) -> bool {
        self.answer_frame.is_inside()
    }

    /// Begins an exchange at `at`.
    #[inline]
    pub(super) fn begin(
        &mut self,
        kind: Kind,
        operation: Operation,
        at: usize,
        out: &mut Vec<Located>,
    ) -> Result<(), Lost> {
        let exchange = self.next;
        self.pending.push(Entry {
            exchange,
            parts: 0,
            operation,
            kind,
            copy_in: false,
            text: None,
        })?;
        self.next += 1;
        out.push(Located {
            at,
            exchange,
            event: Event::RequestBegin,
        });
        Ok(())
    }

    /// Expects a reply that belongs to no exchange.
    pub(super) fn owe(&mut self, kind: Kind) -> Result<(), Lost> {
        self.pending.push(Entry {
            exchange: self.newest(),
            parts: 0,
            operation: super::operation::OTHER,
            kind,
            copy_in: false,
            text: None,
        })
    }

    /// The newest exchange.
    #[inline]
    pub(super) fn newest(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    pub(super) fn statement(&self, name: u64) -> Known {
        match (name, &self.statements) {
            (hash::EMPTY, _) => self.unnamed_statement,
            (_, Some(names)) => names.get(name).unwrap_or(Known::UNKNOWN),
            _ => Known::UNKNOWN,
        }
    }

    pub(super) fn set_statement(&mut self, name: u64, known: Known) {
        if name == hash::EMPTY {
            self.unnamed_statement = known;
        } else {
            let new = || Box::new(Names::new(STATEMENTS));
            self.statements.get_or_insert_with(new).set(name, known);
        }
    }

    pub(super) fn portal(&self, name: u64) -> Known {
        match (name, &self.portals) {
            (hash::EMPTY, _) => self.unnamed_portal,
            (_, Some(names)) => names.get(name).unwrap_or(Known::UNKNOWN),
            _ => Known::UNKNOWN,
        }
    }

    pub(super) fn set_portal(&mut self, name: u64, known: Known) {
        if name == hash::EMPTY {
            self.unnamed_portal = known;
        } else {
            let new = || Box::new(Names::new(PORTALS));
            self.portals.get_or_insert_with(new).set(name, known);
        }
    }

    pub(super) fn forget_portal(&mut self, name: u64) {
        if let Some(names) = &mut self.portals {
            names.remove(name);
        }
    }

    /// Done when the client asks for it, not when the server has agreed: what a pipeline prepares behind it must stay.
    pub(super) fn forget(&mut self, what: Forget) {
        match what {
            Forget::Nothing => {}
            Forget::One(name) => {
                if let Some(names) = &mut self.statements {
                    names.remove(name);
                }
            }
            Forget::All => self.statements = None,
        }
    }

    fn settle_on(&mut self, read: Result<(), Stop>, out: &mut Vec<Located>) {
        let Err((at, lost)) = read else {
            return;
        };
        let exchange = self.newest();
        *self = Self::new();
        self.lost = true;
        out.push(Located {
            at,
            exchange,
            event: Event::Lost(lost),
        });
    }
}
