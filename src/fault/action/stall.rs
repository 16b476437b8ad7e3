//! `stall`: nothing more is forwarded on the session, in either direction; both connections stay open until the fault ends.

/// The keys that belong to it: none.
pub(super) const PARAMETERS: &[&str] = &[];
