//! What the integration tests share: real servers of their own, the `brownout` binary, an HTTP client for its admin
//! endpoint, and what the kernel says about a process.
//!
//! Nothing here touches a server that was running before: every server gets a free port, a fresh directory, and is asked
//! who it is before a test may write to it. A missing server is a panic that says how to get it, never a skipped test.

// Each test binary compiles its own copy and uses its own part.
#![allow(dead_code, unused_imports)]

mod binary;
mod directory;
mod http;
mod kernel;
mod postgres;
mod process;
mod redis;

pub(crate) use binary::{Brownout, Exit, run_to_end};
pub(crate) use directory::Directory;
pub(crate) use http::{Reply, request};
pub(crate) use kernel::{cpu_time, open_descriptors, resident_bytes};
pub(crate) use postgres::Postgres;
pub(crate) use process::{Process, eventually, free_port};
pub(crate) use redis::Redis;
