//! `brownout demo`: traffic of three protocols through the proxies, a profile switched on and off, and the table of targets.
//!
//! [`backends`] are what stands behind the proxies: an embedded Redis ([`redis_server`]) and Postgres ([`postgres_server`]),
//! or real ones, and a sample service ([`api`]) that uses both. [`load`] makes the traffic. [`drive`] runs the phases and
//! asks the admin endpoint for what was measured; [`figures`] takes from it what the [`targets`] need, and [`table`] shows it.

pub mod api;
pub mod backends;
pub mod drive;
pub mod figures;
pub mod load;
mod options;
pub mod postgres_server;
pub mod redis_server;
pub mod server;
pub(crate) mod side_by_side;
pub mod table;
pub mod targets;

#[cfg(test)]
mod testing;

pub use options::Options;
