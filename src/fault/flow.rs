//! What faults do to the bytes of one direction of an exchange while they pass, beside holding them.

use std::sync::Arc;

use super::action::{Corrupt, Slice, Throttle};
use super::dice::Draw;

/// How the bytes of one direction go. The default: as they come.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Each with the fault whose bucket it fills; all of them hold, so that the slowest rules.
    pub throttles: Vec<(Arc<str>, Throttle)>,
    /// In which pieces; of several the first in the plan's order. The draw is that of the first piece's size.
    pub slices: Option<(Slice, Draw)>,
    /// What is changed in them, by each fault in its turn.
    pub corruptions: Vec<(Corrupt, Draw)>,
}

impl Flow {
    /// Whether the bytes go as they come.
    pub fn is_plain(&self) -> bool {
        self.is_unpaced() && self.corruptions.is_empty()
    }

    /// Whether nothing holds them up.
    pub fn is_unpaced(&self) -> bool {
        self.throttles.is_empty() && self.slices.is_none()
    }
}
