//! What is switched on.

/// The faults in force, in memory only.
#[derive(Debug, Default)]
pub struct Store {}
