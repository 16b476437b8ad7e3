//! The closed table of Postgres operations: what an exchange is called, and what kind of work it is.
//!
//! A statement is named by its leading keyword; the table in PostgreSQL's manual, "SQL Commands", is the source. Where one
//! keyword stands for acts that must not be confused (`ROLLBACK` and `ROLLBACK TO`), each has a row of its own.

use super::statements::TextId;
use crate::protocol::{Class, Operation};

macro_rules! operations {
    ($($id:ident $name:literal $class:ident;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Row { $($id),* }

        $(
            #[doc = concat!("`", $name, "`")]
            pub const $id: Operation = Operation(Row::$id as u16);
        )*

        static TABLE: &[(&str, Class)] = &[$(($name, Class::$class)),*];

        /// The operation of a leading keyword that says everything by itself, given as [`pack`]ed upper case.
        pub(super) fn of_keyword(word: u128) -> Option<Operation> {
            $(
                #[allow(non_upper_case_globals)]
                const $id: u128 = pack($name);
            )*
            match word {
                $($id => Some(Operation(Row::$id as u16)),)*
                _ => None,
            }
        }
    };
}

/// A keyword of at most 16 bytes as one number; longer names (`PREPARE TRANSACTION`) are cut and match no single word,
/// since a word has no space in it.
pub(super) const fn pack(word: &str) -> u128 {
    let bytes = word.as_bytes();
    let mut packed = 0;
    let mut i = 0;
    while i < bytes.len() && i < 16 {
        packed = packed << 8 | bytes[i] as u128;
        i += 1;
    }
    packed
}

operations! {
    OTHER "other" Admin;
    STARTUP "STARTUP" Handshake;
    CANCEL "CANCEL" Admin;
    EMPTY "EMPTY" Ping;
    FUNCTION "FUNCTION" Admin;
    SELECT "SELECT" Read;
    INSERT "INSERT" Write;
    UPDATE "UPDATE" Write;
    DELETE "DELETE" Write;
    MERGE "MERGE" Write;
    VALUES "VALUES" Read;
    TABLE_ "TABLE" Read;
    COPY "COPY" Read;
    TRUNCATE "TRUNCATE" Write;
    BEGIN "BEGIN" Transaction;
    COMMIT "COMMIT" Transaction;
    ROLLBACK "ROLLBACK" Transaction;
    ROLLBACK_TO "ROLLBACK TO" Transaction;
    SAVEPOINT "SAVEPOINT" Transaction;
    RELEASE "RELEASE" Transaction;
    PREPARE_TRANSACTION "PREPARE TRANSACTION" Transaction;
    COMMIT_PREPARED "COMMIT PREPARED" Transaction;
    ROLLBACK_PREPARED "ROLLBACK PREPARED" Transaction;
    PREPARE "PREPARE" Admin;
    EXECUTE "EXECUTE" Admin;
    DEALLOCATE "DEALLOCATE" Admin;
    DECLARE "DECLARE" Read;
    FETCH "FETCH" Read;
    MOVE "MOVE" Read;
    CLOSE "CLOSE" Admin;
    EXPLAIN "EXPLAIN" Read;
    CALL "CALL" Admin;
    DO "DO" Admin;
    LISTEN "LISTEN" Pubsub;
    UNLISTEN "UNLISTEN" Pubsub;
    NOTIFY "NOTIFY" Pubsub;
    SET "SET" Admin;
    RESET "RESET" Admin;
    SHOW "SHOW" Admin;
    DISCARD "DISCARD" Admin;
    LOCK "LOCK" Admin;
    CREATE "CREATE" Admin;
    ALTER "ALTER" Admin;
    DROP "DROP" Admin;
    COMMENT "COMMENT" Admin;
    GRANT "GRANT" Admin;
    REVOKE "REVOKE" Admin;
    REASSIGN "REASSIGN" Admin;
    SECURITY "SECURITY" Admin;
    IMPORT "IMPORT" Admin;
    LOAD "LOAD" Admin;
    ANALYZE "ANALYZE" Admin;
    VACUUM "VACUUM" Admin;
    REINDEX "REINDEX" Admin;
    CLUSTER "CLUSTER" Admin;
    REFRESH "REFRESH" Admin;
    CHECKPOINT "CHECKPOINT" Admin;
}

/// The name of an operation; `other` for a number that is not in the table.
pub fn operation_name(operation: Operation) -> &'static str {
    TABLE
        .get(usize::from(operation.0))
        .map_or("other", |row| row.0)
}

/// The class an operation usually has. The decoder says otherwise where the statement does: a `WITH` that writes, `COPY ...
/// FROM`, `EXPLAIN ANALYZE` of a write.
pub fn operation_class(operation: Operation) -> Class {
    TABLE
        .get(usize::from(operation.0))
        .map_or(Class::Admin, |row| row.1)
}

/// All names, for configuration checks.
pub fn operation_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.0)
}

/// What is remembered of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) operation: Operation,
    pub(super) class: Class,
    /// What it says, where that is remembered.
    pub(super) text: Option<TextId>,
}

impl Known {
    /// A statement that was never seen being prepared, or was forgotten.
    pub(super) const UNKNOWN: Self = Self {
        operation: OTHER,
        class: Class::Admin,
        text: None,
    };

    pub(super) fn of(operation: Operation) -> Self {
        Self {
            operation,
            class: operation_class(operation),
            text: None,
        }
    }
}
