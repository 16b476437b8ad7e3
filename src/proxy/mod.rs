//! The data path and what steers it.
//!
//! `listener` accepts and hands a socket to a `worker`; `session` connects to the upstream and runs a `relay`, which moves
//! bytes both ways, shows them to the decoder through `meter`, and, while faults are loaded, lets `inject` and its `lane`s
//! stand in between. [`Server`] owns all of it: it is what the admin endpoint and the command line talk to.

mod clock;
pub mod event;
mod exchange;
mod inject;
mod introduction;
mod lag;
mod lane;
pub mod limits;
mod listener;
mod local;
mod measuring;
mod meter;
mod owners;
mod pace;
mod relay;
mod retries;
#[cfg(any(test, fuzzing))]
pub(crate) mod rig;
mod row;
mod server;
mod session;
mod shared;
mod socket;
mod timer;
mod treatment;
mod turn_away;
mod upstream;
mod worker;

pub use event::{Event, EventBus, Missed, Stamped};
pub use measuring::Measuring;
pub(crate) use server::seed_of_time;
pub use server::{ControlError, ProxyInfo, Server, StartError};
