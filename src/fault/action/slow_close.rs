//! `slow_close`: the end of a connection is passed on late.

use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, Side};
use crate::protocol::Protocol;

use super::latency::Distribution;
use super::refuse::reject_exchange_matches;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["delay", "on"];

/// Holds a FIN or a reset that one peer sent, behind all bytes before it, before the other gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowClose {
    /// How long.
    pub delay: Distribution,
    /// `Request`: what the client sent on its way to the upstream. `Reply`: the other way. `None`: both.
    pub on: Option<Side>,
}

impl SlowClose {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        reject_exchange_matches(
            &spec.matching,
            "`slow_close` acts on the end of connections",
            "leave it out, or use `latency`",
            problems,
        );
        let delay = Distribution::of(spec.delay.as_ref(), ("delay", "`slow_close`"), problems)?;
        Some(Self { delay, on: spec.on })
    }
}

impl Acts for SlowClose {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::SlowClose(self.clone()))
    }
}
