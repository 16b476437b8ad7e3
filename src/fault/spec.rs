//! What people write.

/// A fault as written in a profile (TOML) or sent over the admin endpoint (JSON).
#[derive(Debug, Clone)]
pub struct FaultSpec {}

/// A field that cannot be accepted, where it is and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}; {remedy}")]
pub struct FieldError {
    /// Dotted path from the root of the document: `fault[2].delay.p99`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub remedy: String,
}
