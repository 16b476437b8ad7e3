//! PostgreSQL, protocol 3.0 and 3.2: the manual's chapter "Frontend/Backend Protocol".
//!
//! What is an exchange here:
//! - The handshake, `STARTUP`: from the start-up message to the first `ReadyForQuery`, or to the `ErrorResponse`. Its first packet
//!   has no type, so `RequestBegin` comes behind the eight bytes that tell what it is (as for `CANCEL`); encryption requests
//!   before it belong to no exchange.
//! - A simple Query, to its `ReadyForQuery`. One with several statements is named after the first.
//! - In the extended protocol, each Execute: from the first message of its Parse, Bind, Describe, Execute group to the
//!   `CommandComplete`, `EmptyQueryResponse`, `PortalSuspended` or `ErrorResponse`. A group that ends without an Execute is `PREPARE`,
//!   and so is each Parse that another Parse follows; its request ends where the next message begins.
//! - A `FunctionCall`, `FUNCTION`. A `CancelRequest`, `CANCEL`, which is never answered.
//!
//! Close, Sync, Flush, Terminate and COPY data belong to none. After an error in the extended protocol the server drops what
//! comes before the next Sync: these exchanges end there, with the status `skipped`. An error that Sync itself meets (a deferred
//! constraint) comes after the exchanges of its batch have ended and shows in the transaction only.
//!
//! Prepared statements and portals are known by the hash of their name, in bounded number; the operation of one that was
//! forgotten is `other`. Of a named one its literal-free form is remembered, for faults that match on SQL ([`Statement`]); of the
//! unnamed one only while such a fault is loaded. Parameters, rows and error texts are read past and never kept.

mod backend;
mod decoder;
mod frame;
mod frontend;
mod hash;
pub mod inject;
mod names;
pub mod operation;
mod pending;
mod sql;
mod startup;
mod statements;
mod status;
mod transaction;

#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Shape};
pub use operation::{operation_class, operation_name, operation_names};
pub use sql::text::{Statement, TEXT_LIMIT, Table};
pub use startup::asks_for_encryption;
pub use statements::Statements;
pub use status::{OTHER, SKIPPED, is_failure, of_sqlstate, status_name};
