//! What a fault does.

use std::time::Duration;

/// What a fault does, checked.
#[derive(Debug, Clone)]
pub enum Action {
    /// Placeholder of the skeleton.
    Stall,
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseHow {
    /// An orderly end: FIN after every byte that was due.
    Fin,
    /// A reset, after every byte that was due was delivered.
    Rst,
}

/// Where in the exchange a disconnect happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// Before the request is forwarded: the server sees nothing of it.
    Before,
    /// After the request was forwarded, before any byte of the reply: the server saw it.
    After,
    /// After this many bytes of the reply; all of it if it is shorter, then close.
    InsideBytes(u64),
    /// After this share (0 to 1) of the reply, where its length is known from what is held (at most 1 MiB); else of its first MiB.
    InsideShare(f64),
}

/// Closes the session around an exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disconnect {
    /// FIN or RST; to client and upstream alike.
    pub how: CloseHow,
    /// Where in the exchange.
    pub when: When,
}

/// How a new connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuse {
    /// No listener: the client's connect fails with ECONNREFUSED.
    Closed,
    /// Accepted, then reset.
    Reset,
    /// Accepted, never answered; ends when the fault does, or when the client gives up.
    Silent,
}

/// The protocol's own error reply, as configured; each protocol encodes it.
#[derive(Debug, Clone, PartialEq)]
pub enum ErrorReply {
    /// `-CODE message`.
    Redis {
        /// First word: `LOADING`.
        code: String,
        /// The rest of the line.
        message: String,
        /// Close after it (ERR max number of clients reached).
        close: bool,
    },
    /// ErrorResponse with severity ERROR, or FATAL and then FIN.
    Postgres {
        /// Five characters: `40001`.
        sqlstate: String,
        /// The primary message.
        message: String,
        /// FATAL: the connection ends after it.
        fatal: bool,
    },
    /// A whole response.
    Http {
        /// 400 to 599.
        status: u16,
        /// Header lines beside Content-Length, Connection and Date.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
}

/// Placeholder of the skeleton.
pub const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);
