//! What the wire says about a client: its breaker, timeouts, retries, recovery; whether it cleans up and keeps the damage in.
//!
//! Pure functions from a [`Trace`](crate::measure::trace::Trace) to findings: no I/O, no clock, and the same recording gives the same bytes. Nothing here is
//! guessed: a [`Finding`] holds what it rests on, and where the evidence does not reach it says so and names the setting that
//! would change that.
//!
//! The order of thought, each step a file: [`view`] sorts the recording by proxy and session; [`calls`] joins wire attempts to
//! the calls that the service made (retries of a client library are not calls); [`demand`] learns in the undisturbed part how
//! many calls a request of the service's own API causes; [`silence`] finds the times in which calls were due and none came; and
//! what these add up to is read off by the rest.

pub mod all;
pub mod breaker;
pub mod calls;
pub mod cleanup;
pub mod containment;
pub mod demand;
pub mod detection;
pub mod duplicates;
mod early;
pub mod finding;
pub mod growth;
mod memo;
mod owners;
pub mod pool;
pub mod reconnect;
pub mod recovery;
pub mod retries;
pub mod sample;
pub mod silence;
pub mod timeout;
pub mod transactions;
pub mod view;
mod went_on;
pub mod window;
pub mod words;

#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;

pub use all::{Dependency, Insights, infer};
pub use finding::{Evidence, Finding, Interval, Unknown};
pub use view::{Topology, View};

/// One millisecond in the unit of recordings.
pub const MILLISECOND: u64 = 1_000_000;

/// One second in the unit of recordings.
pub const SECOND: u64 = 1_000_000_000;

/// Seconds of nanoseconds.
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND as f64
}

/// Milliseconds of nanoseconds.
pub(crate) fn millis(ns: u64) -> f64 {
    ns as f64 / MILLISECOND as f64
}
