//! `brownout test`: load, phases with faults, and verdicts from what passed.
//!
//! The way of a test: [`written`] is what may stand in a profile; [`plan`] makes a [`plan::Test`] of it, or problems; [`run`]
//! starts the proxies, drives the load ([`load`]) through the phases, steps its rate where capacity is asked for ([`search`]), starts
//! processes ([`started`]) and looks at them ([`watch`]) and at guards, and gives back the recording; [`expect`] turns that into verdicts, and [`document`] and [`table`] show them. A verdict is never given without
//! evidence: what no request was about is inconclusive.

mod acted;
mod cgroup;
pub(crate) mod document;
pub(crate) mod expect;
mod guard;
pub(crate) mod load;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod progress;
pub(crate) mod recordings;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod started;
pub(crate) mod suite;
pub(crate) mod table;
pub(crate) mod variables;
pub(crate) mod verdict;
pub(crate) mod watch;
pub(crate) mod written;
