//! `push_loss` and `push_delay`: published messages on their way to a subscriber are dropped or held, each as a whole.

use crate::fault::glob::Glob;
use crate::fault::matcher::glob;
use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;
use crate::protocol::Protocol;

use super::latency::Distribution;
use super::refuse::reject_exchange_matches;
use super::{Acts, Effect, NotApplicable, Side};

/// The keys that belong to `push_loss`: none.
pub(super) const LOSS: &[&str] = &[];

/// The keys that belong to `push_delay`.
pub(super) const DELAY: &[&str] = &["delay"];

/// What becomes of messages that the server sends unasked: Redis pub/sub messages, Postgres notifications.
#[derive(Debug, Clone)]
pub struct Push {
    /// Globs over the channel; none: every channel.
    channels: Vec<Glob>,
    /// Held this long; `None`: dropped.
    pub delay: Option<Distribution>,
}

impl Push {
    /// `push_loss`.
    pub(super) fn loss(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        Self::compile(spec, false, problems)
    }

    /// `push_delay`.
    pub(super) fn delay(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        Self::compile(spec, true, problems)
    }

    fn compile(spec: &FaultSpec, is_delay: bool, problems: &mut Problems<'_>) -> Option<Self> {
        let action = spec.action.name();
        reject_exchange_matches(
            &spec.matching,
            &format!("`{action}` acts on messages that nothing asked for"),
            "leave it out, or write match.channel",
            problems,
        );
        let channels = spec.matching.channel.0.iter();
        let channels = channels
            .filter_map(|one| glob(one, "match.channel", Glob::new, problems))
            .collect();
        let delay = if is_delay {
            let needed = format!("`{action}`");
            let delay = Distribution::of(spec.delay.as_ref(), ("delay", &needed), problems);
            Some(delay?)
        } else {
            None
        };
        Some(Self { channels, delay })
    }

    /// Where there are such messages.
    pub(super) fn on(&self, protocol: Protocol) -> Result<Self, NotApplicable> {
        match protocol {
            Protocol::Redis | Protocol::Postgres => Ok(self.clone()),
            Protocol::Http | Protocol::Tcp => Err(NotApplicable {
                field: "action",
                message: "only Redis and Postgres servers send messages unasked".into(),
                remedy: "use `latency` or `stall`".into(),
            }),
        }
    }

    /// Whether it is about this channel. One that cannot be read is none.
    pub(in crate::fault) fn takes(&self, channel: Option<&[u8]>) -> bool {
        self.channels.is_empty()
            || channel.is_some_and(|name| self.channels.iter().any(|glob| glob.matches(name)))
    }

    /// The side of an exchange that these messages share their way with.
    pub const SIDE: Side = Side::Reply;
}

/// The channel of a whole message; `None` where it has none.
pub(in crate::fault) fn channel(protocol: Protocol, message: &[u8]) -> Option<&[u8]> {
    match protocol {
        // Type, length, process id; then the name, ended by a zero.
        Protocol::Postgres => {
            let name = message.get(9..)?;
            name.get(..memchr::memchr(0, name)?)
        }
        Protocol::Redis => {
            let (_, rest) = line(message)?;
            let (kind, rest) = string(rest)?;
            let (first, rest) = string(rest)?;
            if kind.eq_ignore_ascii_case(b"pmessage") {
                string(rest).map(|(channel, _)| channel)
            } else {
                Some(first)
            }
        }
        Protocol::Http | Protocol::Tcp => None,
    }
}

/// The first line, without its end, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(bytes, b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// A string of RESP that begins here, and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = line(bytes)?;
    match head.split_first()? {
        (b'+', text) => Some((text, rest)),
        (b'$', length) => {
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            let text = rest.get(..length)?;
            Some((text, rest.get(length..)?.strip_prefix(b"\r\n")?))
        }
        _ => None,
    }
}

impl Acts for Push {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Push(self.on(protocol)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_and_nonsense_has_none() {
        let redis = |message: &'static [u8]| channel(Protocol::Redis, message);
        let message = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
        assert_eq!(redis(message), Some(&b"news"[..]));
        let pattern = b">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
        assert_eq!(redis(pattern), Some(&b"news"[..]));
        let huge = b">3\r\n$7\r\nmessage\r\n$18446744073709551615\r\nnews\r\n";
        assert_eq!(redis(huge), None);
        for end in 0..message.len() - 8 {
            let _ = redis(&message[..end]);
        }
        let notification = b"A\0\0\0\x11\0\0\0\x01news\0hi\0";
        assert_eq!(
            channel(Protocol::Postgres, notification),
            Some(&b"news"[..])
        );
        assert_eq!(channel(Protocol::Postgres, &notification[..10]), None);
    }
}
