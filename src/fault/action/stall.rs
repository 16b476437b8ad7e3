//! `stall`: nothing more is forwarded on the session, in either direction; both connections stay open until the fault ends.

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it: none.
pub(super) const PARAMETERS: &[&str] = &[];

/// Nothing goes any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall;

impl Stall {
    pub(super) const fn compile(_: &FaultSpec, _: &mut Problems<'_>) -> Self {
        Self
    }
}

impl Acts for Stall {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::Stall))
    }
}
