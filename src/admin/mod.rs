//! The admin endpoint: our API under `/v1`, Toxiproxy's at its own paths, `/metrics`, `/healthz`, `/readyz`, and a page at `/`.
//!
//! It has a thread and descriptors of its own, so that traffic cannot lock out whoever wants to halt, and deadlines on
//! everything that a client does, so that no client can lock out another.

mod auth;
mod body;
pub mod client;
mod dashboard;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guard;
mod places;
mod problem;
mod rate;
mod ready;
mod router;
mod serve;
mod toxiproxy;
mod v1;

pub use serve::{Admin, AdminError};
pub use toxiproxy::{PopulateError, populate_file};

/// The OpenAPI document of `/v1`, as it is served.
pub fn openapi() -> serde_json::Value {
    v1::openapi::document()
}
