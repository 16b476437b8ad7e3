//! What the server says that it is, learned once for each proxy, from the begin of a session.

use super::shared::Shared;
use crate::protocol::Decoder;

/// Pieces of a session, of both directions, within which a server that introduces itself has done so.
const PIECES: u8 = 32;

/// The pieces in which it may still come; none where it is known already.
#[derive(Debug)]
pub(super) struct Introduction(u8);

impl Introduction {
    pub(super) fn new(shared: &Shared) -> Self {
        Self(if shared.server.get().is_some() {
            0
        } else {
            PIECES
        })
    }

    #[inline]
    pub(super) const fn is_awaited(&self) -> bool {
        self.0 != 0
    }

    /// Behind another piece.
    #[cold]
    pub(super) fn look(&mut self, decoder: &Decoder, shared: &Shared) {
        self.0 -= 1;
        if let Some(said) = decoder.server() {
            self.0 = 0;
            shared.server.get_or_init(|| plain(said));
        }
    }
}

/// As text that steers nothing.
fn plain(said: &[u8]) -> Box<str> {
    let visible = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let text = String::from_utf8_lossy(said);
    text.chars().map(visible).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_steers_no_terminal() {
        let said = plain(b"7\x1b[31m\xff\n");
        assert_eq!(&*said, "7\u{fffd}[31m\u{fffd}\u{fffd}");
    }
}
