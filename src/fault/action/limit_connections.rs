//! `limit_connections`: beyond so many sessions newcomers are turned away, as a server at its limit does.

use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, How};
use crate::protocol::Protocol;

use super::refuse::{reject_exchange_matches, reject_session_matches};
use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["connections", "how"];

/// Turns newcomers away while so many sessions are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Sessions that are served.
    pub connections: u32,
    /// What the next gets; `None`: the protocol's own error where it has one, else a reset.
    pub how: Option<TurnAway>,
}

/// How a newcomer is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnAway {
    /// Accepted, then reset.
    Reset,
    /// Accepted, never answered.
    Silent,
    /// Accepted, and told by the protocol's own error; then closed.
    Error,
}

impl Limit {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        reject_exchange_matches(
            &spec.matching,
            "`limit_connections` acts on connections, before anything is asked on them",
            "leave it out",
            problems,
        );
        reject_session_matches(&spec.matching, "limit_connections", problems);
        let how = match spec.how {
            None => None,
            Some(How::Reset) => Some(TurnAway::Reset),
            Some(How::Silent) => Some(TurnAway::Silent),
            Some(How::Error) => Some(TurnAway::Error),
            Some(other) => {
                problems.add(
                    "how",
                    format!("`{}` is no way to turn one of many away", other.name()),
                    "write \"error\", \"reset\" or \"silent\"",
                );
                None
            }
        };
        let Some(connections) = spec.connections else {
            problems.missing("connections", "`limit_connections`", "connections = 10");
            return None;
        };
        Some(Self { connections, how })
    }

    /// How newcomers are turned away on this protocol.
    pub(super) fn on(self, protocol: Protocol) -> Result<(u32, TurnAway), NotApplicable> {
        let how = match (self.how, protocol) {
            (None, Protocol::Tcp) => TurnAway::Reset,
            (None, _) => TurnAway::Error,
            (Some(TurnAway::Error), Protocol::Tcp) => {
                return Err(NotApplicable {
                    field: "how",
                    message: "plain TCP has no errors of its own".into(),
                    remedy: "write how = \"reset\" or \"silent\"".into(),
                });
            }
            (Some(how), _) => how,
        };
        Ok((self.connections, how))
    }
}

impl Acts for Limit {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        let (connections, how) = self.on(protocol)?;
        Ok(Effect::Limit(connections, how))
    }
}
