//! Redis: RESP2 and RESP3, as the RESP specification and the command documentation describe them and as Redis 7 behaves.
//!
//! A request is an array of bulk strings or an inline line (`request`, `inline`); a reply is counted down without a stack
//! (`reply`). Replies pair with requests in order (`outstanding`); the exceptions are what these two halves are about:
//! - SUBSCRIBE and its family answer once per channel; messages belong to no request (`subscription`).
//! - CLIENT REPLY OFF and SKIP keep replies back.
//! - EXEC answers for everything that was queued.
//!
//! An array or push that may be either a confirmation or a message (a (un)subscription, or a PING in RESP2, is outstanding while
//! messages may come) is told by its first element: its `ReplyBegin` or `PushBegin` stands right behind that element.
//!
//! Followed no further, with [`Lost`](super::Lost) and the bytes flowing on: MONITOR, replication, streamed aggregates; CLIENT
//! REPLY, HELLO or a (un)subscription inside MULTI, whose reply would stand inside that of EXEC; HELLO or a (un)subscription
//! while replies are off, since only the reply tells the version, and since Redis versions answer the latter differently.
//!
//! An empty line or `*0` is an exchange too: operation `empty`, without a reply.

mod command;
mod decoder;
mod digest;
pub mod inject;
mod inline;
mod number;
mod outstanding;
mod reply;
mod request;
mod state;
mod status;
mod subscription;
mod word;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use inject::error;

use super::{Class, Event, Located, Lost, Operation, Status};

/// The name of an operation: `GET`, `config|get`; `other` for what is none of ours.
pub fn operation_name(operation: Operation) -> &'static str {
    command::command(operation).name
}

/// The class an operation usually has.
pub fn operation_class(operation: Operation) -> Class {
    command::command(operation).class
}

/// The name of a status: the first word of the error, where it is one that Redis has.
pub fn status_name(status: Status) -> &'static str {
    status::name(status)
}

/// Whether a status means that the server failed, as opposed to the application's own mistake.
pub fn is_failure(status: Status) -> bool {
    status::is_failure(status)
}

/// Where and why a half gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    at: usize,
    why: Lost,
}

impl Stop {
    const fn unpaired(at: usize) -> Self {
        Self {
            at,
            why: Lost::Unpaired,
        }
    }
}

#[inline]
fn emit(out: &mut Vec<Located>, at: usize, exchange: u64, event: Event) {
    out.push(Located {
        at,
        exchange,
        event,
    });
}

/// The status of an error by its first word.
pub fn status_of(code: &[u8]) -> Status {
    status::find(code)
}
