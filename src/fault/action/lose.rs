//! `lose_request` and `lose_reply`: one side of an exchange never arrives, and the session can only end.
//!
//! The client sees the same of both. The truth is opposite: of a lost request the server knows nothing, of a lost reply it has
//! done what was asked. A TCP stream cannot lose its middle, so nothing behind what was lost gets through either.

use std::time::Duration;

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, How, Then};
use crate::protocol::Protocol;

use super::{Acts, CloseHow, Effect, MAX_TTL, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["then", "how", "close_after"];

/// What a session comes to that has lost something. Where the fault ends while the session is silent, it is closed: what is
/// lost cannot be made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// How long the session is silent before it is closed; `None`: until the client gives up or the fault ends.
    pub silence: Option<Duration>,
    /// How it is closed.
    pub how: CloseHow,
}

impl Loss {
    fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let how = match spec.how {
            None | Some(How::Rst) => Some(CloseHow::Rst),
            Some(How::Fin) => Some(CloseHow::Fin),
            Some(other) => {
                problems.add(
                    "how",
                    format!(
                        "`{}` is a way to refuse, not to close a session",
                        other.name()
                    ),
                    "write \"fin\" or \"rst\"",
                );
                None
            }
        };
        let then = spec.then.unwrap_or_default();
        let silence = match (then, spec.close_after) {
            (Then::Timeout, Some(after)) => {
                problems.check_duration("close_after", after, MAX_TTL);
                Some(after)
            }
            (Then::Timeout, None) => {
                problems.missing("close_after", "then = \"timeout\"", "close_after = \"5s\"");
                return None;
            }
            (_, Some(_)) => {
                problems.add(
                    "close_after",
                    "`close_after` says when a timeout closes, but `then` is not \"timeout\"",
                    "write then = \"timeout\", or leave `close_after` out",
                );
                return None;
            }
            (Then::Disconnect, None) => Some(Duration::ZERO),
            (Then::Stall, None) => None,
        };
        Some(Self { silence, how: how? })
    }

    /// Itself, where there are exchanges that can be lost.
    fn on(self, protocol: Protocol) -> Result<Self, NotApplicable> {
        match protocol {
            Protocol::Redis | Protocol::Postgres | Protocol::Http => Ok(self),
            Protocol::Tcp => Err(NotApplicable {
                field: "action",
                message: "on plain TCP there are no requests and replies to lose".into(),
                remedy: "use `disconnect`, `stall` or `timeout`".into(),
            }),
        }
    }
}

/// The server never sees the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoseRequest(Loss);

/// The client never sees the reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoseReply(Loss);

impl LoseRequest {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        Loss::compile(spec, problems).map(Self)
    }
}

impl LoseReply {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        Loss::compile(spec, problems).map(Self)
    }
}

impl Acts for LoseRequest {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::LoseRequest(self.0.on(protocol)?)))
    }
}

impl Acts for LoseReply {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::LoseReply(self.0.on(protocol)?)))
    }
}
