//! The state machine.

use crate::protocol::Located;

/// Decoder of one session.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder at the start of a session.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {}
    }

    /// See [`crate::protocol::Decoder::request`].
    pub fn request(&mut self, _bytes: &[u8], _out: &mut Vec<Located>) {}

    /// See [`crate::protocol::Decoder::reply`].
    pub fn reply(&mut self, _bytes: &[u8], _out: &mut Vec<Located>) {}

    /// See [`crate::protocol::Decoder::withhold`].
    pub fn withhold(&mut self, _exchange: u64) {}
}
