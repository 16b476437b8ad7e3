//! The state machine.

use super::Routes;
use crate::protocol::Located;
use std::sync::Arc;

/// Decoder of one session.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder at the start of a session.
    pub fn new(_routes: Arc<Routes>) -> Self {
        Self {}
    }

    /// See [`crate::protocol::Decoder::request`].
    pub fn request(&mut self, _bytes: &[u8], _out: &mut Vec<Located>) {}

    /// See [`crate::protocol::Decoder::reply`].
    pub fn reply(&mut self, _bytes: &[u8], _out: &mut Vec<Located>) {}

    /// See [`crate::protocol::Decoder::reply_eof`].
    pub fn reply_eof(&mut self, _out: &mut Vec<Located>) {}

    /// See [`crate::protocol::Decoder::withhold`].
    pub fn withhold(&mut self, _exchange: u64) {}
}
