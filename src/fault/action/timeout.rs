//! `timeout`: nothing more is forwarded on the session; after a while it is closed.

use std::time::Duration;

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;
use crate::protocol::Protocol;

use super::{Acts, Effect, MAX_TTL, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["close_after"];

/// Silence, then the end of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout {
    /// How long the silence lasts.
    pub close_after: Duration,
}

impl Timeout {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let Some(close_after) = spec.close_after else {
            problems.missing("close_after", "`timeout`", "close_after = \"5s\"");
            return None;
        };
        if close_after.is_zero() {
            problems.add(
                "close_after",
                "a timeout of zero is a disconnect",
                "write a duration above zero, or action = \"disconnect\"",
            );
        }
        problems.check_most("close_after", close_after, MAX_TTL);
        Some(Self { close_after })
    }
}

impl Acts for Timeout {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::Timeout(self.close_after)))
    }
}
