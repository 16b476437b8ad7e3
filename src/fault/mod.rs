//! Faults: what to do, to which exchanges, when, how often. No sockets and no clock here: time comes in as an argument.
//!
//! A [`FaultSpec`] is what people write (TOML in a profile, JSON over the admin endpoint). [`FaultSpec::compile`] checks it and
//! makes a [`Fault`], whose wrong states cannot be expressed. The [`Store`] holds what is switched on, each with a time to
//! live; a [`Plan`] is the compiled list of one proxy, shared with its sessions, asked once per exchange.

pub mod action;
pub mod active;
pub mod arguments;
pub mod compile;
pub mod dice;
pub mod gate;
pub mod glob;
mod index;
pub mod matcher;
pub(crate) mod nearest;
pub mod network;
pub mod plan;
pub mod preset;
mod problems;
pub mod schedule;
pub mod spec;
pub mod store;

pub use action::Action;
pub use active::{ActiveFault, Source};
pub use compile::Fault;
pub use plan::{Decision, Plan, Subject};
pub use spec::{FaultSpec, FieldError};
pub use store::{Store, StoreError};
