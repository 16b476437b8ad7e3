//! `brownout`: a transparent TCP proxy that understands the protocols it carries, measures every request inline, injects
//! faults from profiles, and proves whether the services behind it survive.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod demo;
pub mod fault;
mod folder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod insight;
pub mod measure;
pub mod probe;
pub mod protocol;
pub mod proxy;
mod report;
mod signals;
mod sys;
pub mod verify;
