//! What the server still owes: one entry for each thing in the client's stream that is answered, in order.

use std::collections::VecDeque;

use super::statements::TextId;
use crate::protocol::{Lost, MAX_OUTSTANDING, Operation};

/// What is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The handshake, up to the first `ReadyForQuery`.
    Startup,
    /// A simple Query, up to its `ReadyForQuery`.
    Query,
    /// A `FunctionCall`, up to its `ReadyForQuery`.
    Function,
    /// Parse, Bind, Describe of a group that has not ended in the client's stream: always the last entry.
    Open,
    /// A group that ended with its Execute.
    Execute,
    /// A group whose Execute was replaced: see [`super::Decoder::expect_rollback`].
    RolledBack,
    /// A group that ended without one.
    Prepare,
    /// A Close: one `CloseComplete`, and no exchange.
    Close,
    /// A Sync: one `ReadyForQuery`, and no exchange.
    Sync,
    /// Not owed at all: the client ended a COPY here (`CopyDone`, `CopyFail`).
    CopyEnd,
}

impl Kind {
    /// Whether it ends with a `ReadyForQuery`.
    const fn is_made_ready(self) -> bool {
        matches!(
            self,
            Self::Startup | Self::Query | Self::Function | Self::Sync
        )
    }
}

/// One entry of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its number, where it is an exchange.
    pub(super) exchange: u64,
    /// Groups: replies that are owed for its Parse, Bind and Describe messages.
    pub(super) parts: u32,
    pub(super) operation: Operation,
    pub(super) kind: Kind,
    /// The server asked for COPY data.
    pub(super) copy_in: bool,
    /// What its statement says, where that is remembered.
    pub(super) text: Option<TextId>,
}

impl Entry {
    pub(super) fn is_exchange(&self) -> bool {
        !matches!(self.kind, Kind::Close | Kind::Sync | Kind::CopyEnd)
    }
}

/// The queue. Allocates nothing until something is owed, and gives the memory of a deep pipeline back.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: VecDeque<Entry>,
}

/// Entries whose memory a session keeps when nothing is owed.
const KEPT: usize = 64;

impl Pending {
    pub(super) fn push(&mut self, entry: Entry) -> Result<(), Lost> {
        if self.entries.len() >= MAX_OUTSTANDING {
            return Err(Lost::TooDeep);
        }
        self.entries.push_back(entry);
        Ok(())
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Entry> {
        self.entries.front_mut()
    }

    #[inline]
    pub(super) fn back_mut(&mut self) -> Option<&mut Entry> {
        self.entries.back_mut()
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front();
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries.shrink_to(KEPT);
        }
        entry
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes an exchange, wherever it stands.
    pub(super) fn remove(&mut self, exchange: u64) {
        if let Some(at) = self.position(exchange) {
            self.entries.remove(at);
        }
    }

    pub(super) fn find(&self, exchange: u64) -> Option<&Entry> {
        self.position(exchange).and_then(|at| self.entries.get(at))
    }

    pub(super) fn find_mut(&mut self, exchange: u64) -> Option<&mut Entry> {
        self.position(exchange)
            .and_then(|at| self.entries.get_mut(at))
    }

    pub(super) fn exchanges(&self) -> usize {
        self.entries.iter().filter(|e| e.is_exchange()).count()
    }

    /// Whether anything is owed for what the client sent before this exchange.
    pub(super) fn owes_before(&self, exchange: u64) -> bool {
        self.entries
            .front()
            .is_some_and(|e| !(e.is_exchange() && e.exchange == exchange))
    }

    /// What is owed last for what the client sent before this exchange.
    pub(super) fn last_before(&self, exchange: u64) -> Option<Kind> {
        let at = self.position(exchange)?;
        let before = self.entries.iter().take(at).rev();
        before.map(|e| e.kind).find(|kind| *kind != Kind::CopyEnd)
    }

    /// Whether a `ReadyForQuery` is owed.
    pub(super) fn owes_ready(&self) -> bool {
        self.entries.iter().any(|e| e.kind.is_made_ready())
    }

    /// Whether one is owed for what the client sent before this exchange.
    pub(super) fn owes_ready_before(&self, exchange: u64) -> bool {
        let own = |e: &&Entry| e.is_exchange() && e.exchange == exchange;
        let before = self.entries.iter().take_while(|e| !own(e));
        before.into_iter().any(|e| e.kind.is_made_ready())
    }

    /// A COPY that the front entry asked for is over: the server read and dropped every Sync that directly followed (libpq sends
    /// one before it knows that a COPY began), so no `ReadyForQuery` will come for it.
    pub(super) fn end_copy(&mut self) {
        let Some(front) = self.entries.front_mut() else {
            return;
        };
        if std::mem::take(&mut front.copy_in) {
            while self.entries.get(1).is_some_and(|e| e.kind == Kind::Sync) {
                self.entries.remove(1);
            }
        }
    }

    fn position(&self, exchange: u64) -> Option<usize> {
        self.entries
            .iter()
            .rposition(|e| e.is_exchange() && e.exchange == exchange)
    }
}
