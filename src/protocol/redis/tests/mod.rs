//! Whole sessions.
