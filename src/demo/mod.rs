//! `brownout demo`: embedded upstreams, a sample service, load, and the table of targets.

pub mod api;
pub mod figures;
pub mod load;
pub mod postgres_server;
pub mod redis_server;
pub mod server;
pub mod targets;

#[cfg(test)]
mod testing;
