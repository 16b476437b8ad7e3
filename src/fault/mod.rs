//! Faults: what to do, to which exchanges, when, how often. No sockets and no clock here: time comes in as an argument.
//!
//! A [`FaultSpec`] is what people write (TOML in a profile, JSON over the admin endpoint). [`FaultSpec::compile`] checks it and
//! makes a [`Fault`], whose wrong states cannot be expressed. The [`Store`] holds what is switched on, each with a time to
//! live; a [`Plan`] is the compiled list of one proxy, shared with its sessions, asked once per exchange.
//!
//! ```text
//! spec --compile--> Fault --Store::add--> ActiveFault --Store::plan_for--> Plan --decide--> Decision
//! ```
//!
//! For each exchange a fault answers, in this order: is it about it ([`matcher`])? Is it in force ([`schedule`])? Does it hit
//! ([`gate`], with [`dice`])? What does it do ([`action`])?
//!
//! To add an action: its file in `action/`, its row in the table of [`action`], and the keys that only it has in [`FaultSpec`].

pub mod action;
pub mod active;
pub mod arguments;
pub mod compile;
pub mod dice;
pub mod explain;
pub mod flow;
pub mod gate;
pub mod glob;
mod index;
mod keyed;
pub mod matcher;
pub mod network;
pub mod plan;
pub mod preset;
mod problems;
pub mod recorded;
pub mod schedule;
pub mod skip;
pub mod spec;
pub mod store;

pub use action::Action;
pub use active::{ActiveFault, Source};
pub use compile::Fault;
pub use plan::{Decision, Plan, Subject};
pub use skip::{Part, Skip, Undone};
pub use spec::{FaultSpec, FieldError};
pub use store::{Store, StoreError};
