//! Calls of the load while a search for capacity holds a rate.

use super::step::Due;
use std::collections::BTreeMap;

/// Calls of one step that are kept.
const MAX_CALLS: usize = 1_000_000;

/// Calls that are kept for a search, by lane.
#[derive(Debug, Default)]
pub(in crate::verify) struct Calls {
    by_lane: BTreeMap<String, Vec<Due>>,
    kept: usize,
    wanted: bool,
}

impl Calls {
    /// From now on they are kept.
    pub(in crate::verify) fn begin(&mut self) {
        self.wanted = true;
    }

    /// No longer.
    pub(in crate::verify) fn end(&mut self) {
        *self = Self::default();
    }

    /// Forgets those that there are.
    pub(in crate::verify) fn clear(&mut self) {
        self.take();
    }

    /// Those since the last `clear`.
    pub(in crate::verify) fn take(&mut self) -> BTreeMap<String, Vec<Due>> {
        self.kept = 0;
        std::mem::take(&mut self.by_lane)
    }

    pub(in crate::verify) fn add(&mut self, lane: &str, due: Due) {
        if self.wanted && self.kept < MAX_CALLS {
            self.kept += 1;
            self.by_lane.entry(lane.to_owned()).or_default().push(due);
        }
    }
}
