//! `slice`: a message is sent in small pieces with gaps between them, so that it arrives in fragments.

use std::time::Duration;

use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, Side};
use crate::protocol::Protocol;

use super::{Acts, Effect, MAX_DELAY, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["size", "variation", "gap", "on"];

/// Cuts one direction into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The smallest piece, bytes, at least 1.
    pub least: u32,
    /// The largest piece, bytes.
    pub most: u32,
    /// Time between the end of a piece and the beginning of the next.
    pub gap: Duration,
    /// Which direction.
    pub on: Side,
}

impl Slice {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let Some(size) = spec.size else {
            problems.missing("size", "`slice`", "size = 16");
            return None;
        };
        let variation = spec.variation.unwrap_or(0);
        if size == 0 {
            problems.add(
                "size",
                "a piece of no bytes would never end",
                "write a number from 1 up",
            );
        } else if variation >= size {
            problems.add(
                "variation",
                "pieces would be empty: it is not below `size`",
                format!("write at most {}", size - 1),
            );
        }
        let gap = spec.gap.unwrap_or_default();
        problems.check_most("gap", gap, MAX_DELAY);
        Some(Self {
            least: size.saturating_sub(variation).max(1),
            most: size.saturating_add(variation),
            gap,
            on: spec.on.unwrap_or_default(),
        })
    }

    /// The size of a piece, from 64 random bits: all sizes alike.
    pub(crate) fn size(&self, bits: u64) -> usize {
        let span = u64::from(self.most - self.least) + 1;
        let above = ((u128::from(bits) * u128::from(span)) >> 64) as usize;
        self.least as usize + above
    }
}

impl Acts for Slice {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Slice(*self))
    }
}
