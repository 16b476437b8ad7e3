//! Sans-IO decoders: two byte streams of a session in, exchanges out.
//!
//! A [`Decoder`] is a tap. It sees every byte of both directions exactly once, in order, in pieces of any size; it never
//! copies a payload, never waits, never changes or delays a byte, and has no clock. It answers with [`Located`] events:
//! what happened, for which exchange, at which offset of the piece it was just shown.
//!
//! Rules that every decoder keeps, each of them a test:
//! - The same stream cut anywhere gives the same events at the same absolute offsets. What is whole in a piece may be told in
//!   one event, which stands for its parts ([`Located::parts`]).
//! - State is O(1) in the size of a message: declared lengths are counted down, never allocated. The queue of requests
//!   without a reply is bounded by [`MAX_OUTSTANDING`]; named things that a client declares (prepared statements) too.
//! - What it cannot follow makes it give up on that session for good: one [`Event::Lost`], then silence. It never guesses.
//! - Exchange numbers count up from 0 in a session, in the order in which requests begin.

use serde::{Deserialize, Serialize};

pub mod catalog;
pub mod facts;
pub mod http1;
pub mod postgres;
pub mod redis;
pub mod tcp;

pub use catalog::Catalog;
pub use facts::{Fact, Facts};

/// Requests without a reply that a decoder follows in one session; one more makes it give up ([`Lost::TooDeep`]).
pub const MAX_OUTSTANDING: usize = 1 << 18;

/// What is spoken on a proxy.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Redis serialization protocol, RESP2 and RESP3.
    Redis,
    /// PostgreSQL frontend/backend protocol 3.0 and 3.2.
    Postgres,
    /// HTTP/1.0 and HTTP/1.1 (RFC 9112).
    Http,
    /// Bytes that are not looked into.
    Tcp,
}

impl Protocol {
    /// The name used in configuration, metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// The name of an exchange as a number: an index into the proxy's [`Catalog`]. Bounded in number by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation(pub u16);

/// What kind of work an exchange is. Latency limits speak of `Read` to `Admin`; the rest is kept apart so that it does not
/// dilute them.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Class {
    /// Reads data.
    Read,
    /// Changes data.
    Write,
    /// Opens, ends or queues a transaction (MULTI, EXEC, BEGIN, COMMIT, SAVEPOINT, ...).
    Transaction,
    /// Publishes or (un)subscribes.
    Pubsub,
    /// Everything else that is work: configuration, introspection, scripts of unknown effect.
    Admin,
    /// Setting a connection up: HELLO, AUTH, SELECT, CLIENT SETNAME, Postgres start-up and authentication.
    Handshake,
    /// A liveness check: PING, ECHO, an empty query.
    Ping,
    /// Waits by design (BLPOP, WAIT, XREAD BLOCK): its duration is not latency.
    Blocking,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Transaction,
        Self::Pubsub,
        Self::Admin,
        Self::Handshake,
        Self::Ping,
        Self::Blocking,
    ];

    /// The name used in configuration, metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Transaction => "transaction",
            Self::Pubsub => "pubsub",
            Self::Admin => "admin",
            Self::Handshake => "handshake",
            Self::Ping => "ping",
            Self::Blocking => "blocking",
        }
    }

    /// Whether its latency counts towards the limits of the proxy (`slo`).
    pub const fn is_work(self) -> bool {
        !matches!(self, Self::Handshake | Self::Ping | Self::Blocking)
    }
}

/// How an exchange ended, as its protocol says it: 0 is success, everything else a number of the protocol's own closed
/// table ([`Catalog::status_name`]); for HTTP the status code itself (a 2xx or 3xx is success too).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Status(pub u16);

impl Status {
    /// Success without further detail.
    pub const OK: Self = Self(0);
    /// The connection ended before the reply did. One number for every protocol.
    pub const CLOSED: Self = Self(u16::MAX);
}

/// Why a decoder gave up on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Lost {
    /// Bytes that the protocol does not allow here.
    #[error("malformed")]
    Malformed,
    /// A length or nesting beyond what any peer of this protocol sends.
    #[error("length out of range")]
    Length,
    /// More than [`MAX_OUTSTANDING`] requests wait for a reply.
    #[error("pipeline too deep")]
    TooDeep,
    /// A reply that no request asked for.
    #[error("reply without request")]
    Unpaired,
    /// TLS or GSS encryption that is not terminated here.
    #[error("encrypted")]
    Encrypted,
    /// Replication or another mode that is a protocol of its own.
    #[error("replication")]
    Replication,
    /// MONITOR and other endless replies.
    #[error("monitor")]
    Monitor,
    /// HTTP: lengths that contradict each other; guessing is how request smuggling works.
    #[error("ambiguous length")]
    Ambiguous,
    /// HTTP: the session became a tunnel (101 or CONNECT). Normal; the bytes are no longer exchanges.
    #[error("tunnel")]
    Tunnel,
    /// Another protocol than the proxy's (TLS hello or HTTP on a Redis port, ...).
    #[error("wrong protocol")]
    WrongProtocol,
}

impl Lost {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Length,
        Self::TooDeep,
        Self::Unpaired,
        Self::Encrypted,
        Self::Replication,
        Self::Monitor,
        Self::Ambiguous,
        Self::Tunnel,
        Self::WrongProtocol,
    ];

    /// The label used in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Length => "length",
            Self::TooDeep => "too_deep",
            Self::Unpaired => "unpaired",
            Self::Encrypted => "encrypted",
            Self::Replication => "replication",
            Self::Monitor => "monitor",
            Self::Ambiguous => "ambiguous",
            Self::Tunnel => "tunnel",
            Self::WrongProtocol => "wrong_protocol",
        }
    }
}

/// A transaction's life as the server told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// The session entered a transaction block.
    Begin,
    /// It left the block and the work was kept.
    Commit,
    /// It left the block and the work was undone (ROLLBACK, COMMIT of a failed transaction, DISCARD, EXECABORT, lost WATCH).
    Rollback,
    /// Inside the block something failed; only a rollback can follow (Postgres status E).
    Failed,
}

/// What a decoder saw. Offsets are those of [`Located::at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The first byte of a request is at `at`.
    RequestBegin,
    /// By the bytes before `at` the request is identified. Comes exactly once, after `RequestBegin`, at or before `RequestEnd`.
    RequestKnown {
        /// Index into the catalog.
        operation: Operation,
        /// What kind of work.
        class: Class,
        /// Whether a reply will come. `false`: the exchange is complete at `RequestEnd` (CLIENT REPLY OFF, Terminate).
        replies: bool,
    },
    /// The last byte of the request is just before `at`.
    RequestEnd,
    /// The first byte of the reply is at `at`.
    ReplyBegin,
    /// The protocol's own error message for this exchange begins at `at` and ends at `ReplyEnd` (Postgres: `ErrorResponse`).
    /// Only where it is a part of the reply; where the whole reply is the error, `ReplyBegin` and `ReplyEnd` bound it.
    ErrorBegin,
    /// The last byte of the reply is just before `at`; `status` says how it went. May come before `RequestEnd` (HTTP).
    ReplyEnd {
        /// How it went.
        status: Status,
    },
    /// Some parts of a whole failed while the whole succeeded: per-command errors inside EXEC. Comes before `ReplyEnd`.
    PartErrors(u32),
    /// The first byte of a server message that belongs to no request is at `at` (pub/sub message, notification).
    PushBegin,
    /// The last byte of that message is just before `at`.
    PushEnd,
    /// A channel and payload were published: a hash of both. Belongs to the exchange `exchange`.
    Published(u64),
    /// A published message was delivered to this session: the same hash. Between `PushBegin` and `PushEnd`.
    Delivered(u64),
    /// The session's transaction changed state.
    Transaction(Transaction),
    /// Postgres `BackendKeyData` was seen: process id and a hash of the secret key. Pairs `CancelRequests` with sessions.
    BackendKey {
        /// The server's process id.
        pid: u32,
        /// Hash of the secret key.
        key: u64,
    },
    /// Postgres `CancelRequest` for that backend.
    Cancel {
        /// The server's process id.
        pid: u32,
        /// Hash of the secret key.
        key: u64,
    },
    /// Postgres: the last byte of a Sync is just before `at`. Only where [`Decoder::mark_batches`] asks for it.
    BatchEnd,
    /// Postgres: the first byte of a message of the client that carries COPY data, or ends them, is at `at`. Of those that follow
    /// directly it need not be told. Only where [`Decoder::mark_batches`] asks for it.
    CopyData,
    /// Given up: no further event will come for this session.
    Lost(Lost),
    /// A request of which the piece holds all: in one what `RequestBegin`, `RequestKnown` with `replies`, and `RequestEnd` at
    /// `at` say apart. See [`Located::parts`].
    Request {
        /// Where `RequestBegin` is.
        begin: usize,
        /// Where `RequestKnown` is.
        known: usize,
        /// Index into the catalog.
        operation: Operation,
        /// What kind of work.
        class: Class,
    },
    /// A reply of which the piece holds all: in one what `ReplyBegin`, and `ReplyEnd` at `at` say apart.
    Reply {
        /// Where `ReplyBegin` is.
        begin: usize,
        /// How it went.
        status: Status,
    },
}

/// An event and where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Located {
    /// Offset into the piece that was fed, 0 to its length inclusive. Never decreases within one call.
    pub at: usize,
    /// The exchange it belongs to; for pushes, transactions and `Lost` the newest one, which means nothing.
    pub exchange: u64,
    /// What happened.
    pub event: Event,
}

impl Located {
    /// The events that it stands for: of a whole request or reply its parts, else itself. They are what is the same however the
    /// stream is cut.
    #[inline]
    pub fn parts(self) -> impl Iterator<Item = Self> {
        let part = |at, event| {
            Some(Self {
                at,
                exchange: self.exchange,
                event,
            })
        };
        let parts = match self.event {
            Event::Request {
                begin,
                known,
                operation,
                class,
            } => {
                let replies = true;
                let identified = Event::RequestKnown {
                    operation,
                    class,
                    replies,
                };
                [
                    part(begin, Event::RequestBegin),
                    part(known, identified),
                    part(self.at, Event::RequestEnd),
                ]
            }
            Event::Reply { begin, status } => [
                part(begin, Event::ReplyBegin),
                part(self.at, Event::ReplyEnd { status }),
                None,
            ],
            _ => [Some(self), None, None],
        };
        parts.into_iter().flatten()
    }
}

/// The decoder of one session. An enum, since the set is closed and the call is on the hot path.
#[derive(Debug)]
pub enum Decoder {
    /// RESP2 and RESP3.
    Redis(redis::Decoder),
    /// PostgreSQL 3.0 and 3.2. Boxed: it is much the largest.
    Postgres(Box<postgres::Decoder>),
    /// HTTP/1.
    Http(Box<http1::Decoder>),
    /// Nothing is decoded.
    Tcp,
}

impl Decoder {
    /// A decoder for a new session of a proxy with this catalog.
    pub fn new(catalog: &Catalog) -> Self {
        match catalog.protocol() {
            Protocol::Redis => Self::Redis(redis::Decoder::new()),
            Protocol::Postgres => {
                let decoder = postgres::Decoder::remembering(catalog.statements());
                Self::Postgres(Box::new(decoder))
            }
            Protocol::Http => Self::Http(Box::new(http1::Decoder::new(catalog.routes()))),
            Protocol::Tcp => Self::Tcp,
        }
    }

    /// Shows the next bytes from the client; events are appended to `out`.
    #[inline]
    pub fn request(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        match self {
            Self::Redis(d) => d.request(bytes, out),
            Self::Postgres(d) => d.request(bytes, out),
            Self::Http(d) => d.request(bytes, out),
            Self::Tcp => {}
        }
    }

    /// Shows the next bytes from the server; events are appended to `out`.
    #[inline]
    pub fn reply(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        match self {
            Self::Redis(d) => d.reply(bytes, out),
            Self::Postgres(d) => d.reply(bytes, out),
            Self::Http(d) => d.reply(bytes, out),
            Self::Tcp => {}
        }
    }

    /// The server sent its FIN: a reply that runs to the end of the connection ends here (HTTP). Events have `at` 0.
    pub fn reply_eof(&mut self, out: &mut Vec<Located>) {
        if let Self::Http(d) = self {
            d.reply_eof(out);
        }
    }

    /// The request `exchange` was already shown, but will not reach the server: no reply to it will come. To be called
    /// before any byte of a reply to it, or of what follows it, is shown.
    pub fn withhold(&mut self, exchange: u64) {
        match self {
            Self::Redis(d) => d.withhold(exchange),
            Self::Postgres(d) => d.withhold(exchange),
            Self::Http(d) => d.withhold(exchange),
            Self::Tcp => {}
        }
    }

    /// What the session has said of itself. `None`: nothing yet, or never on this protocol.
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Redis(d) => d.facts(),
            Self::Postgres(d) => d.facts(),
            Self::Http(_) | Self::Tcp => None,
        }
    }

    /// What the server said of its version, at most [`facts::VALUE_LIMIT`] bytes: Postgres `server_version`, `version` in the
    /// reply of Redis to HELLO, HTTP `Server` of the first reply. `None`: it did not, or not yet.
    pub fn server(&self) -> Option<&[u8]> {
        match self {
            Self::Redis(d) => d.server(),
            Self::Postgres(d) => d.server(),
            Self::Http(d) => d.server(),
            Self::Tcp => None,
        }
    }

    /// From now on (`true`) unnamed prepared statements are remembered, too: some fault looks at SQL.
    pub fn watch_statements(&mut self, watch: bool) {
        if let Self::Postgres(d) = self {
            d.watch_statements(watch);
        }
    }

    /// From now on (`true`) [`Event::BatchEnd`] and [`Event::CopyData`] are told.
    pub fn mark_batches(&mut self, mark: bool) {
        if let Self::Postgres(d) = self {
            d.mark_batches(mark);
        }
    }

    /// Whether the bytes of the server seen so far end inside a message: nothing may be put there. Of HTTP it is known by its
    /// exchanges alone.
    pub fn is_inside_reply(&self) -> bool {
        match self {
            Self::Redis(d) => !d.is_between_replies(),
            Self::Postgres(d) => d.is_inside_reply(),
            Self::Http(_) | Self::Tcp => false,
        }
    }
}
