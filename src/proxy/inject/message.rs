//! Where messages of Postgres end, in a stream that comes in pieces.

/// Type and length of a message.
const HEADER: usize = 5;

/// Looks for the end of a message of one type, from a boundary between messages on.
#[derive(Debug)]
pub(super) struct MessageEnd {
    kind: u8,
    header: Vec<u8>,
    /// Bytes of the body that are still to come, once the header is complete.
    left: usize,
}

impl MessageEnd {
    pub(super) const fn of(kind: u8) -> Self {
        Self {
            kind,
            header: Vec::new(),
            left: 0,
        }
    }

    /// Takes the next bytes, up to the end of such a message. Where that is among them, if it is.
    pub(super) fn feed(&mut self, all: &[u8]) -> Option<usize> {
        let mut bytes = all;
        loop {
            let missing = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            let [kind, a, b, c, d] = self.header[..] else {
                return None;
            };
            if missing > 0 {
                // The length counts itself, and not the type.
                self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            }
            let body = self.left.min(bytes.len());
            self.left -= body;
            bytes = &bytes[body..];
            if self.left > 0 {
                return None;
            }
            self.header.clear();
            if kind == self.kind {
                return Some(all.len() - bytes.len());
            }
        }
    }
}

/// Looks for the end of a `ReadyForQuery`.
#[derive(Debug)]
pub(super) struct Ready(MessageEnd);

impl Default for Ready {
    fn default() -> Self {
        Self(MessageEnd::of(b'Z'))
    }
}

impl Ready {
    /// See [`MessageEnd::feed`].
    pub(super) fn feed(&mut self, all: &[u8]) -> Option<usize> {
        self.0.feed(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_end_of_a_ready_for_query_wherever_the_stream_is_cut() {
        let row = b"D\0\0\0\x0bZZZZZZZ".as_slice();
        let reply = [row, b"C\0\0\0\x06ZZ", b"n\0\0\0\x04", b"Z\0\0\0\x05I"].concat();
        for first in 0..reply.len() {
            for second in first..reply.len() {
                let mut ready = Ready::default();
                assert_eq!(ready.feed(&reply[..first]), None);
                assert_eq!(ready.feed(&reply[first..second]), None);
                let rest = [&reply[second..], b"behind"].concat();
                let end = Some(reply.len() - second);
                assert_eq!(ready.feed(&rest), end, "{first} {second}");
            }
        }
    }
}
