//! One exchange as the wire had it.

use super::record::Rename;
use super::{Name, ProxyIndex};
use crate::protocol::Class;
use serde::{Deserialize, Serialize};

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered with success.
    Ok,
    /// Answered with an error that is the application's own doing (WRONGTYPE, a unique violation, 404).
    Refused,
    /// Answered with an error that speaks of the server (LOADING, 57P01, 503).
    Failed,
    /// No complete reply: the client ended the connection first. Its timeout, or its user's.
    ClientGone,
    /// No complete reply: the upstream ended the connection.
    UpstreamGone,
    /// No complete reply: a fault ended the connection.
    Cut,
    /// Still without a reply when the recording ended.
    Outstanding,
}

impl Outcome {
    /// Whether a client plausibly counts it as a failure of what it called.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::UpstreamGone | Self::Cut)
    }

    /// Whether a complete reply came.
    pub const fn is_answered(self) -> bool {
        matches!(self, Self::Ok | Self::Refused | Self::Failed)
    }
}

/// One exchange. Times are nanoseconds since the recording began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt<P = ProxyIndex, N = Name> {
    /// Where it passed.
    pub proxy: P,
    /// Ordinal of the session on its proxy.
    pub session: u64,
    /// Ordinal of the exchange in its session.
    pub exchange: u64,
    /// What was asked.
    pub operation: N,
    /// What kind of work.
    pub class: Class,
    /// Keyed hash of the request's bytes: equal for equal requests of one recording, and telling nothing else.
    #[serde(with = "hex")]
    pub fingerprint: u64,
    /// First byte of the request seen.
    pub begun: u64,
    /// Last byte of the request seen; that of the end where none came.
    pub asked: u64,
    /// First byte of the reply sent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<u64>,
    /// Last byte of the reply sent on; else the end of the connection or of the recording.
    pub ended: u64,
    /// What the server took, without injected time. `None`: it never saw the request, or never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<u64>,
    /// The status, as the protocol names it; `closed` where none came.
    pub status: N,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault that touched it; the first, where several did.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub fault: Option<N>,
}

fn none<N>() -> Option<N> {
    None
}

impl<P, N> Attempt<P, N> {
    /// Latency as the client saw it, in nanoseconds: with injected time. Of an exchange without a reply, its age at the end.
    pub const fn latency(&self) -> u64 {
        self.ended.saturating_sub(self.asked)
    }
}

impl<P, N> Attempt<P, N> {
    /// The same with its proxy and names in another form.
    pub(super) fn rename<Q, M, R: Rename<P, N, Q, M>>(
        self,
        to: &mut R,
    ) -> Result<Attempt<Q, M>, R::Error> {
        Ok(Attempt {
            proxy: to.proxy(self.proxy)?,
            session: self.session,
            exchange: self.exchange,
            operation: to.name(self.operation)?,
            class: self.class,
            fingerprint: self.fingerprint,
            begun: self.begun,
            asked: self.asked,
            first_byte: self.first_byte,
            ended: self.ended,
            upstream: self.upstream,
            status: to.name(self.status)?,
            outcome: self.outcome,
            fault: self.fault.map(|fault| to.name(fault)).transpose()?,
        })
    }
}

/// A fingerprint as 16 hexadecimal digits: JSON numbers lose the low bits of a `u64` in many readers.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{value:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        u64::from_str_radix(&text, 16)
            .map_err(|_| D::Error::custom("a fingerprint is up to 16 hexadecimal digits"))
    }
}
