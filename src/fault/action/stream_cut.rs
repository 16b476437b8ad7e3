//! What `blackhole`, `reset_peer` and `limit_data` share: the bytes of one direction of a session stop going on, whatever they
//! mean, and after a while the session is closed.
//!
//! They are asked once a session, when it meets them, so that a probability is a share of sessions.

use std::time::Duration;

use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, Scope, Side};
use crate::protocol::Protocol;

use super::refuse::{reject_exchange_matches, reject_session_matches};
use super::{Acts, CloseHow, Effect, MAX_TTL, NotApplicable};

/// Stops the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCut {
    /// Which direction.
    pub on: Side,
    /// From where on nothing more goes.
    pub from: CutFrom,
    /// How long after that the session is closed; `None`: when the fault ends.
    pub close_after: Option<Duration>,
    /// How it is closed, to client and upstream alike.
    pub how: CloseHow,
}

/// From where on nothing more goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutFrom {
    /// From the moment at which the session meets the fault.
    Start,
    /// From the byte behind so many. None of them: from the first byte that comes.
    Bytes(u64),
}

impl StreamCut {
    /// What every one of them checks.
    pub(super) fn check(spec: &FaultSpec, problems: &mut Problems<'_>) {
        let name = spec.action.name();
        reject_exchange_matches(
            &spec.matching,
            &format!("`{name}` acts on all bytes of a direction"),
            "leave it out, or use `disconnect` or `timeout`",
            problems,
        );
        reject_session_matches(&spec.matching, name, problems);
        if spec.scope == Some(Scope::Exchange) {
            problems.add(
                "scope",
                format!("`{name}` acts on connections, not on exchanges"),
                "leave `scope` out",
            );
        }
        if let Some(after) = spec.close_after {
            problems.check_most("close_after", after, MAX_TTL);
        }
    }
}

impl Acts for StreamCut {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::StreamCut(*self))
    }
}
