//! What people write: the serde model of a fault, the same keys in TOML and in JSON. Meaning is given to it by
//! [`FaultSpec::compile`].

mod delay;
mod many;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::protocol::Class;

pub use super::action::ActionKind;
pub use delay::{Delay, DelayTable, DistributionKind};
pub use many::Many;

/// A fault as written in a profile (TOML) or sent over the admin endpoint (JSON).
///
/// The model is flat: which of the parameters belong to the action is checked by [`FaultSpec::compile`], so that the message
/// can name the action they do belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What it is called in reports, events and the API. Letters, digits, `.`, `_` and `-`. Default: the action and a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The proxies it acts on: a name, or a glob over names.
    #[serde(default = "every_proxy")]
    pub proxy: String,
    /// What it does.
    pub action: ActionKind,

    /// `latency`, `throttle`, `slice`, `corrupt`: which side of the exchange; default `reply`. `blackhole`, `reset_peer`, `limit_data`: which
    /// direction of the connection; default `reply`. `slow_close`: whose end, that of the client
    /// (`request`) or of the upstream (`reply`); default both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Side>,
    /// `latency` on the reply: the delay is the least time an exchange takes, instead of being added to the time it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<bool>,
    /// `lose_request`, `lose_reply`: what becomes of the session. Default: `disconnect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Then>,
    /// `timeout`, and `lose_request` and `lose_reply` with `then = "timeout"`: how long nothing is forwarded before the
    /// connection is closed. `blackhole`: the same (default: until the fault ends). `reset_peer`: the time from the first bytes to
    /// the reset (default: none).
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub close_after: Option<Duration>,
    /// `disconnect`, `lose_request`, `lose_reply`: `fin` or `rst` (default `rst`). `truncate`: the same (default `fin`). `refuse`:
    /// `closed`, `reset`, `silent` or `unaccepted` (default `closed`). `limit_connections`: `error`, `reset` or `silent` (default
    /// `error`, on plain TCP `reset`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<How>,
    /// `disconnect`: where in the exchange. Default: `before`; `inside` where `bytes` or `share` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Moment>,
    /// `disconnect` inside the reply: after this many bytes of it. `truncate`: the same, on HTTP of its body. `limit_data`: this
    /// many bytes of the connection still go. `cancel`: once so many bytes of the reply have come; default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `disconnect` inside the reply: after this share of it, between 0 and 1. `truncate`: the same, on HTTP of its body (default
    /// 0.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// `refuse`: what becomes of sessions that are open when it comes into force. Default: `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// `error`: a reply that the real server gives, by name: `LOADING`, `serialization_failure`, `503`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `error` on Redis: the first word of the reply. On Postgres: the SQLSTATE, five characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `error` on Redis and Postgres: the text after the code; with `preset`, in place of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `error` on Redis and Postgres: whether the connection ends after the reply (Postgres then says FATAL). Default: as the
    /// real server does for a `preset`, else `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<bool>,
    /// `error` on HTTP: the status, 400 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `error` on HTTP: the body; with `preset`, in place of its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `error` on HTTP: the Retry-After header, in whole seconds; in place of that of a `preset`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "duration::option"
    )]
    #[schemars(with = "Option<duration::Text>")]
    pub retry_after: Option<Duration>,
    /// `throttle`: how many bytes go a second, 1 to 1000000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// `throttle`: how many bytes may go at once after a pause. Default: those of 20 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// `corrupt`: the share of the bytes that are changed, above 0, at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// `corrupt`: how many bytes of the range are changed. Default: 1; needs `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// `corrupt`: the first byte of the message that may be changed, from 0. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// `corrupt`: the first byte behind those that may be changed. Default: the end of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// `slice`: bytes of a piece, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// `slice`: pieces are smaller or larger by up to this many bytes, drawn from the seed. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<u32>,
    /// `slice`: time between two pieces. Default: none.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub gap: Option<Duration>,
    /// `capacity`: how many exchanges are served at once, on the whole proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_service: Option<u32>,
    /// `capacity`: how many wait for that. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// `limit_connections`: how many sessions of the proxy are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,

    /// Gate: the share of matching exchanges that are hit, 0 to 1, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Gate: every Nth matching exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Gate: at most N hits in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Gate: the first N matching exchanges are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Gate: at most N hits in each second since it was switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// What the gates count: exchanges, or sessions (one answer for all matching exchanges of a session). Default: `exchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// How long it stays switched on. Default: 15 minutes; at most 12 hours.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub ttl: Option<Duration>,
    /// Seed of its draws. The same seed and the same order of requests give the same hits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,

    /// `latency`, `push_delay`, `slow_close`: how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// `capacity`: how long an exchange is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Delay>,
    /// `error` on HTTP: header lines; with `preset`, added to its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// Which exchanges. What is not given matches everything; what is given must all hold.
    #[serde(rename = "match", default, skip_serializing_if = "MatchSpec::is_empty")]
    pub matching: MatchSpec,
    /// When it is in force. Default: from the moment it is switched on until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
}

impl FaultSpec {
    /// A fault with this action, on every proxy, with nothing else said.
    pub fn new(action: ActionKind) -> Self {
        Self {
            name: None,
            proxy: every_proxy(),
            action,
            on: None,
            floor: None,
            then: None,
            close_after: None,
            how: None,
            when: None,
            bytes: None,
            share: None,
            existing: None,
            preset: None,
            code: None,
            message: None,
            close: None,
            status: None,
            body: None,
            retry_after: None,
            bytes_per_second: None,
            burst: None,
            size: None,
            variation: None,
            rate: None,
            count: None,
            from: None,
            to: None,
            gap: None,
            in_service: None,
            queue: None,
            connections: None,
            probability: None,
            every: None,
            first: None,
            after: None,
            per_second: None,
            scope: None,
            ttl: None,
            seed: None,
            delay: None,
            service: None,
            headers: None,
            matching: MatchSpec::default(),
            schedule: None,
        }
    }
}

fn every_proxy() -> String {
    "*".into()
}

/// A side of an exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// On its way to the upstream.
    Request,
    /// On its way to the client.
    #[default]
    Reply,
}

impl Side {
    /// Whose bytes these are.
    pub(super) const fn sender(self) -> &'static str {
        match self {
            Self::Request => "client",
            Self::Reply => "server",
        }
    }
}

/// What becomes of a session that has lost something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It is silent and stays open until the client gives up, or the fault ends.
    Stall,
    /// It is silent, and closed after `close_after`.
    Timeout,
    /// It is closed at once.
    #[default]
    Disconnect,
}

/// How a connection is closed (`fin`, `rst`) or turned away (`closed`, `reset`, `silent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// `disconnect`, `truncate`: an orderly end.
    Fin,
    /// `disconnect`, `truncate`: a reset.
    Rst,
    /// `refuse`: no listener; connecting fails with ECONNREFUSED.
    Closed,
    /// `refuse`: accepted, then reset.
    Reset,
    /// `refuse`: accepted, never answered.
    Silent,
    /// `refuse`: not accepted; the queue of the listener fills, and connecting times out.
    Unaccepted,
    /// `limit_connections`: told by the protocol's own error.
    Error,
}

impl How {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::Unaccepted => "unaccepted",
            Self::Error => "error",
        }
    }
}

/// Where in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before the request is forwarded: the server sees nothing of it.
    Before,
    /// After the request was forwarded, before any byte of the reply.
    After,
    /// Inside the reply: needs `bytes` or `share`.
    Inside,
}

/// What becomes of open sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// They live on.
    #[default]
    Keep,
    /// They are closed when the fault comes into force.
    Cut,
}

/// What gates count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each exchange gets its own answer.
    #[default]
    Exchange,
    /// All matching exchanges of a session share one answer.
    Session,
}

/// Which exchanges. A field takes one value or a list; one of a list has to hold, and every field that is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSpec {
    /// Operation: a glob, case does not matter (`GET`, `client|*`, `GET /modules/{id}`).
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub operation: Many<String>,
    /// Class of work.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub class: Many<Class>,
    /// Redis: a glob over the bytes of the command's keys; one of them has to match.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub key: Many<String>,
    /// HTTP: a glob over the route, `{id}` taken literally (`/modules/{id}`, `/modules/*`).
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub route: Many<String>,
    /// HTTP: the method.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub method: Many<String>,
    /// Client address or network: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub client: Many<String>,
    /// `push_loss`, `push_delay`: a glob over the channel of the message.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub channel: Many<String>,
    /// Postgres: a regular expression over the statement without its literals and comments, in lower case; case does not matter.
    /// It need not match from end to end.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub sql: Many<String>,
    /// Postgres: a glob over the tables that the statement names, with or without their schema; case does not matter.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub table: Many<String>,
    /// A glob over the database of the session. Postgres: its name. Redis: the number of the last SELECT (`0`).
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub database: Many<String>,
    /// A glob over the user of the session. Postgres: that of the start-up. Redis: that of the last AUTH or HELLO (`default`).
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub user: Many<String>,
    /// Postgres: a glob over the session's `application_name`, as the server last reported it.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub application_name: Many<String>,
    /// A glob over what the client calls itself: CLIENT SETNAME on Redis, `application_name` on Postgres, `User-Agent` on HTTP.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub client_name: Many<String>,
    /// HTTP: a header of the request, or several of which one has to be there.
    #[serde(default, skip_serializing_if = "Many::is_empty")]
    pub header: Many<HeaderMatch>,
}

impl MatchSpec {
    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A header line of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a header, like { name = \"X-Tenant\", value = \"7\" }"
)]
pub struct HeaderMatch {
    /// Field name; case does not matter.
    pub name: String,
    /// A glob over the field value. Default: any value.
    #[serde(default = "any_value", skip_serializing_if = "is_any_value")]
    pub value: String,
}

fn any_value() -> String {
    "*".into()
}

fn is_any_value(value: &str) -> bool {
    value == "*"
}

/// When a fault is in force, counted from the moment it was switched on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// It comes into force after this long. Default: at once.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub start: Option<Duration>,
    /// It stays in force this long. Default: until it ends.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub duration: Option<Duration>,
    /// It comes into force again each time this long has passed since it last did (flapping). Needs `duration`.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub repeat: Option<Duration>,
    /// It grows to its full strength over this long: a latency's delay from zero, any other fault's share of hits from none.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub ramp: Option<Duration>,
}

/// A field that cannot be accepted, where it is and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}; {remedy}")]
pub struct FieldError {
    /// Dotted path from the root of the document: `fault[2].delay.p99`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub remedy: String,
}

#[cfg(test)]
mod tests;
