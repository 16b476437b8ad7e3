//! Decoder of postgres.

mod decoder;

pub use decoder::Decoder;

use super::{Class, Operation, Status};

/// The name of an operation.
pub fn operation_name(_operation: Operation) -> &'static str {
    "other"
}

/// The class an operation usually has.
pub fn operation_class(_operation: Operation) -> Class {
    Class::Admin
}

/// The name of a status.
pub fn status_name(_status: Status) -> &'static str {
    "other"
}

/// Whether a status means that the server failed, as opposed to the application's own mistake.
pub fn is_failure(_status: Status) -> bool {
    true
}
