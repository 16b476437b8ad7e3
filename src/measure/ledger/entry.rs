//! What stands in the ledger about one exchange.

use crate::protocol::Class;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// A fault that touched an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Touch {
    /// Its name.
    pub name: Arc<str>,
    /// Its action, as it is written in profiles.
    pub action: Cow<'static, str>,
    /// Why it was not carried out in this state of the session, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Cow<'static, str>>,
}

/// What the server saw of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Saw {
    /// No complete request: nothing was done.
    Nothing,
    /// The request. Whether it was carried out is not known.
    Request,
    /// The request, and it said what came of it.
    Completed,
}

impl Saw {
    /// The name used in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Request => "request",
            Self::Completed => "completed",
        }
    }
}

/// What the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// The server's reply, all of it.
    Reply,
    /// A reply that was made here.
    Injected,
    /// Not a byte.
    Nothing,
    /// The beginning of a reply.
    Partial,
}

impl Told {
    /// The name used in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Injected => "injected",
            Self::Nothing => "nothing",
            Self::Partial => "partial",
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the server saw.
    pub server: Saw,
    /// What the server said came of it.
    pub tag: Option<Cow<'static, str>>,
    /// What the client was told; `None`: not known, since the decoder had to give up.
    pub told: Option<Told>,
    /// Bytes of the reply that went to the client.
    pub told_bytes: u64,
    /// How it counts for the client.
    pub status: Cow<'static, str>,
}

/// The same client asked the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// Ordinal of the session on its proxy.
    pub session: u64,
    /// Ordinal of the exchange in that session.
    pub exchange: u64,
    /// From one request to the other, in microseconds.
    pub after_us: u64,
    /// What the server saw of it; `null` while that is not known.
    pub server: Option<Saw>,
    /// What the server said came of it.
    pub tag: Option<Cow<'static, str>>,
    /// How it counts for the client.
    pub status: Option<Cow<'static, str>>,
}

/// An exchange that a fault touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its number in the ledger, from 1, in the order in which faults acted.
    pub id: u64,
    /// When the fault acted, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// The proxy.
    pub proxy: Arc<str>,
    /// Ordinal of the session on its proxy, from 0.
    pub session: u64,
    /// Ordinal of the exchange in its session, from 0. On plain TCP: of the bytes that arrived together.
    pub exchange: u64,
    /// What was asked.
    pub operation: Cow<'static, str>,
    /// What kind of work that is.
    pub class: Class,
    /// The faults that acted, or would have, in their order.
    pub faults: Vec<Touch>,
    /// Why one of them was not carried out in this state of the session, where one was not: that of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Cow<'static, str>>,
    /// Delay put before the request, in microseconds.
    pub request_delay_us: u64,
    /// Delay put before the reply, in microseconds.
    pub reply_delay_us: u64,
    /// What the reply was made to take at least, in microseconds.
    pub reply_floor_us: u64,
    /// What the server saw; `null` while that is not known, and on plain TCP.
    pub server: Option<Saw>,
    /// What the server itself said came of it. Postgres: the tag of the command, `COMMIT`, `INSERT 0 1`; Redis: `OK`, or the
    /// type of the reply; HTTP: the status code; all: the code of an error.
    pub tag: Option<Cow<'static, str>>,
    /// What the client was told; `null` while that is not known, and on plain TCP.
    pub told: Option<Told>,
    /// Bytes of the reply that went to the client.
    pub told_bytes: u64,
    /// How it counts for the client: `ok`, `closed`, the code of an error; `null` while it has not ended.
    pub status: Option<Cow<'static, str>>,
    /// It has not ended.
    pub open: bool,
    /// The same client asked the same again.
    pub retry: Option<Retry>,
    /// A keyed hash of the request, in hexadecimal digits: equal for equal requests, and of no meaning outside this process.
    pub fingerprint: Option<String>,
}

impl Entry {
    /// Whether the server did it, the client was not told, and then the server did it again.
    pub fn is_duplicated(&self) -> bool {
        let untold = matches!(self.told, Some(Told::Nothing | Told::Partial));
        let again = self.retry.as_ref();
        self.server == Some(Saw::Completed)
            && untold
            && again.is_some_and(|retry| retry.server == Some(Saw::Completed))
    }
}
