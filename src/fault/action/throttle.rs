//! `throttle`: the bytes of one direction go no faster than a slow link would take them.

use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, Side};
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["bytes_per_second", "burst", "on"];

/// Bytes that may go at once after a pause, as a share of a second's: 20 ms of the rate.
const BURST_SHARE: u64 = 50;

/// The highest rate, bytes per second: beyond it the arithmetic would outrun the clock's nanoseconds.
const MAX_RATE: u64 = 1_000_000_000;

/// A bound on the bytes of one direction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Bytes per second, 1 to 10^9.
    pub rate: u64,
    /// Bytes that may go at once after a pause, at least 1.
    pub burst: u64,
    /// Which direction.
    pub on: Side,
}

impl Throttle {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let Some(rate) = spec.bytes_per_second else {
            problems.missing("bytes_per_second", "`throttle`", "bytes_per_second = 10000");
            return None;
        };
        if rate == 0 {
            problems.add(
                "bytes_per_second",
                "nothing would ever go",
                "write a number from 1 up, or action = \"stall\"",
            );
        }
        if rate > MAX_RATE {
            problems.add(
                "bytes_per_second",
                format!("{rate} bytes a second is faster than what can be held to"),
                format!("write at most {MAX_RATE}"),
            );
        }
        if spec.burst == Some(0) {
            problems.add(
                "burst",
                "a burst of zero lets nothing go",
                "write a number from 1 up, or leave it out",
            );
        }
        let burst = spec.burst.unwrap_or(rate / BURST_SHARE).max(1);
        let on = spec.on.unwrap_or_default();
        Some(Self { rate, burst, on })
    }
}

impl Acts for Throttle {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Throttle(*self))
    }
}
