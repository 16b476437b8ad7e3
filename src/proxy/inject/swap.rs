//! The exchange of one message in the reply to a request that was replaced: the server's answer to the replacement goes, the
//! injected error comes.

use crate::proxy::treatment::{Provoked, Swap};

/// Type and length of a Postgres message.
const HEADER: usize = 5;

/// An error message longer than this is passed on as it is: what we provoke is far shorter.
const LONGEST: usize = 16 * 1024;

/// What becomes of the message that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes on.
    Pass,
    /// It is left out.
    Swallow,
    /// It goes on, or is exchanged: which, shows when it is complete.
    Keep,
    /// It is exchanged.
    Exchange,
}

/// A reply under exchange.
#[derive(Debug)]
pub(super) struct Swapping {
    swap: Swap,
    /// The exchange was made.
    done: bool,
    /// The server asked for COPY data.
    copying: bool,
    /// The message being read: its header, or all of it where it is kept.
    message: Vec<u8>,
    /// Bytes of its body that are still to come.
    left: usize,
    fate: Fate,
}

impl Swapping {
    pub(super) fn new(swap: Swap) -> Self {
        Self {
            swap,
            done: false,
            copying: false,
            message: Vec::new(),
            left: 0,
            fate: Fate::Pass,
        }
    }

    /// What the exchange counts as now.
    pub(super) fn status(&self) -> Option<crate::protocol::Status> {
        self.done.then_some(self.swap.status)
    }

    /// Whether the server has asked for COPY data; tells it once.
    pub(super) fn take_copying(&mut self) -> bool {
        std::mem::take(&mut self.copying)
    }

    /// Takes the next bytes of the reply; those that go on are appended to `out`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        if self.swap.of == Provoked::Reply {
            if !self.done {
                self.exchange(out);
            }
            return;
        }
        while !bytes.is_empty() {
            if self.message.len() < HEADER {
                let missing = (HEADER - self.message.len()).min(bytes.len());
                let (header, rest) = bytes.split_at(missing);
                self.message.extend_from_slice(header);
                bytes = rest;
                if self.message.len() < HEADER {
                    return;
                }
                self.open(out);
            }
            let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
            bytes = rest;
            self.left -= body.len();
            match self.fate {
                Fate::Pass => out.extend_from_slice(body),
                Fate::Keep => self.message.extend_from_slice(body),
                Fate::Swallow | Fate::Exchange => {}
            }
            if self.left == 0 {
                self.close(out);
            }
        }
    }

    /// Type and length of a message are known.
    fn open(&mut self, out: &mut Vec<u8>) {
        let [kind, a, b, c, d] = self.message[..] else {
            return;
        };
        // The length counts itself, and not the type.
        self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
        self.fate = self.fate_of(kind);
        if self.fate == Fate::Pass {
            out.extend_from_slice(&self.message);
        }
    }

    fn fate_of(&mut self, kind: u8) -> Fate {
        // Notices, parameters and notifications come at any time and belong to nobody.
        if self.done || matches!(kind, b'N' | b'S' | b'A') {
            return Fate::Pass;
        }
        match &mut self.swap.of {
            Provoked::Error(_) | Provoked::Rollback { .. } if kind == b'E' => {
                if self.left <= LONGEST {
                    Fate::Keep
                } else {
                    Fate::Pass
                }
            }
            Provoked::Completion if kind == b'C' => Fate::Exchange,
            Provoked::Rollback { parts } => match (kind, *parts) {
                (b'1' | b'2' | b'T' | b'n', 1..) => {
                    *parts -= 1;
                    Fate::Pass
                }
                (b'1' | b'2' | b'3' | b'C', 0) => Fate::Swallow,
                _ => Fate::Pass,
            },
            _ => Fate::Pass,
        }
    }

    /// The message is complete.
    fn close(&mut self, out: &mut Vec<u8>) {
        self.copying |= self.message.first() == Some(&b'G');
        match (self.fate, self.swap.of.sqlstate()) {
            (Fate::Exchange, _) => self.exchange(out),
            (Fate::Keep, Some(provoked)) if has_sqlstate(&self.message, provoked) => {
                self.exchange(out);
            }
            // An error of the server's own: it came first, and it is the truth.
            (Fate::Keep, _) => out.extend_from_slice(&self.message),
            (Fate::Pass | Fate::Swallow, _) => {}
        }
        self.message.clear();
    }

    fn exchange(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.swap.reply);
        self.done = true;
    }
}

/// Whether an `ErrorResponse` has this SQLSTATE.
fn has_sqlstate(message: &[u8], sqlstate: &str) -> bool {
    message
        .get(HEADER..)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .any(|field| field.strip_prefix(b"C") == Some(sqlstate.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Status, postgres::inject};
    use bytes::Bytes;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    /// What the client gets of `reply`, the same wherever it is cut.
    fn exchanged(of: Provoked, reply: &[u8]) -> (Vec<u8>, bool) {
        let mut results = (0..=reply.len()).map(|cut| {
            let mut swapping = Swapping::new(Swap {
                reply: Bytes::from_static(b"injected"),
                status: Status(7),
                of,
            });
            let mut out = Vec::new();
            swapping.feed(&reply[..cut], &mut out);
            swapping.feed(&reply[cut..], &mut out);
            (out, swapping.status().is_some())
        });
        let first = results.next().unwrap();
        assert!(results.all(|other| other == first));
        first
    }

    fn error(sqlstate: &str) -> Vec<u8> {
        inject::error_response(sqlstate, "no", false).to_vec()
    }

    #[test]
    fn only_the_provoked_error_is_exchanged() {
        let ready = message(b'Z', b"E");
        let notice = message(b'N', b"Mhello\0\0");
        let reply = [&notice[..], &error("34000"), &ready].concat();
        let (out, done) = exchanged(Provoked::Error("34000"), &reply);
        assert_eq!(out, [&notice[..], b"injected", &ready].concat());
        assert!(done);
        let reply = [&error("25P02")[..], &ready].concat();
        assert_eq!(
            exchanged(Provoked::Error("34000"), &reply),
            (reply.clone(), false)
        );
    }

    #[test]
    fn a_completion_is_exchanged_and_an_error_in_its_place_is_not() {
        let ready = message(b'Z', b"I");
        let reply = [message(b'C', b"ROLLBACK\0"), ready.clone()].concat();
        let (out, done) = exchanged(Provoked::Completion, &reply);
        assert_eq!((out, done), ([b"injected", &ready[..]].concat(), true));
        let fatal = error("57P01");
        assert_eq!(
            exchanged(Provoked::Completion, &fatal),
            (fatal.clone(), false)
        );
    }

    #[test]
    fn of_a_rollback_of_our_own_nothing_is_seen() {
        let own = [message(b'1', b""), message(b'2', b""), message(b'n', b"")].concat();
        let ours = [
            message(b'1', b""),
            message(b'2', b""),
            message(b'C', b"ROLLBACK\0"),
            message(b'3', b""),
            error("34000"),
        ];
        let reply = [own.clone(), ours.concat()].concat();
        let (out, done) = exchanged(Provoked::Rollback { parts: 3 }, &reply);
        assert_eq!((out, done), ([&own[..], b"injected"].concat(), true));
    }

    #[test]
    fn a_whole_reply_is_exchanged_once() {
        let (out, done) = exchanged(Provoked::Reply, b"-ERR unknown command\r\n");
        assert_eq!((&out[..], done), (&b"injected"[..], true));
    }
}
