//! The transaction block of a session, from command tags and the status in `ReadyForQuery`.
//!
//! A tag tells at once, and also what happens between two `ReadyForQuery` (`BEGIN; ...; COMMIT` in one batch). The status corrects
//! what tags cannot tell: `ROLLBACK` is also the tag of ROLLBACK TO SAVEPOINT, and a block may end in an error.

use super::operation::{self, pack};
use crate::protocol::{Operation, Transaction};

/// The block as far as the server told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Of the last `ReadyForQuery`.
    status: u8,
    /// In a block.
    inside: bool,
    /// That block has failed.
    failed: bool,
    /// A tag `ROLLBACK` came; whether it ended the block is still to be seen.
    rolled_back: bool,
}

/// What a command tag says of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Begin,
    Commit,
    Rollback,
    /// `ROLLBACK` behind a statement that may have been a ROLLBACK TO SAVEPOINT.
    MaybeRollback,
}

impl Tag {
    /// The meaning of a tag, given its first 16 bytes, [`pack`]ed, and what the exchange is called.
    pub(super) fn of(packed: u128, operation: Operation) -> Option<Self> {
        const BEGIN: u128 = pack("BEGIN");
        const START: u128 = pack("START TRANSACTION");
        const COMMIT: u128 = pack("COMMIT");
        const PREPARE: u128 = pack("PREPARE TRANSACTION");
        const ROLLBACK: u128 = pack("ROLLBACK");
        match packed {
            BEGIN | START => Some(Self::Begin),
            // A prepared transaction is kept, and no longer this session's.
            COMMIT | PREPARE => Some(Self::Commit),
            ROLLBACK => match operation {
                // COMMIT of a failed block is answered so too.
                operation::ROLLBACK | operation::COMMIT => Some(Self::Rollback),
                operation::ROLLBACK_TO => None,
                _ => Some(Self::MaybeRollback),
            },
            _ => None,
        }
    }
}

/// What changed, in order.
pub(super) type Changes = [Option<Transaction>; 3];

impl Block {
    pub(super) const fn new() -> Self {
        Self {
            status: b'I',
            inside: false,
            failed: false,
            rolled_back: false,
        }
    }

    pub(super) fn status(self) -> u8 {
        self.status
    }

    /// A command completed.
    pub(super) fn complete(&mut self, tag: Tag) -> Changes {
        let mut changes = [None; 3];
        match tag {
            Tag::Commit if self.inside => changes[0] = Some(self.leave(Transaction::Commit)),
            Tag::Rollback if self.inside => changes[0] = Some(self.leave(Transaction::Rollback)),
            Tag::Commit | Tag::Rollback => {}
            Tag::MaybeRollback => self.rolled_back |= self.inside,
            // A BEGIN inside a block changes nothing, but one after a ROLLBACK shows that this one ended it.
            Tag::Begin => {
                if self.rolled_back {
                    changes[0] = Some(self.leave(Transaction::Rollback));
                }
                if !self.inside {
                    self.inside = true;
                    changes[1] = Some(Transaction::Begin);
                }
            }
        }
        changes
    }

    /// `ReadyForQuery` with this status. A block that is open although the last one ended is a new one (AND CHAIN).
    pub(super) fn ready(&mut self, status: u8) -> Changes {
        let mut changes = [None; 3];
        let open = status != b'I';
        if self.inside && !open {
            changes[0] = Some(self.leave(Transaction::Rollback));
        }
        if open && !self.inside {
            self.inside = true;
            changes[1] = Some(Transaction::Begin);
        }
        if status == b'E' && !self.failed {
            changes[2] = Some(Transaction::Failed);
        }
        self.failed = status == b'E';
        self.rolled_back = false;
        self.status = status;
        changes
    }

    fn leave(&mut self, how: Transaction) -> Transaction {
        self.inside = false;
        self.failed = false;
        self.rolled_back = false;
        how
    }
}
