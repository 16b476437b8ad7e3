//! What a session is subscribed to, and what the first word of a pub/sub array says.

use super::command::Kind;
use super::word::{Packed, Word};

/// What kind of pub/sub array it is, by its first element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Not known yet, or nothing that is known.
    Other,
    /// `message`, `smessage`: channel and payload follow.
    Message,
    /// `pmessage`: the pattern precedes the channel.
    PatternMessage,
    /// Answers a PING.
    Pong,
    /// Confirms a command of the SUBSCRIBE family.
    Confirmed(Kind),
}

impl Said {
    /// By the first element.
    pub(super) fn of(word: &Word) -> Self {
        const WORDS: [(Packed, Said); 10] = [
            (Packed::of(b"message"), Said::Message),
            (Packed::of(b"smessage"), Said::Message),
            (Packed::of(b"pmessage"), Said::PatternMessage),
            (Packed::of(b"pong"), Said::Pong),
            (Packed::of(b"subscribe"), Said::Confirmed(Kind::Subscribe)),
            (Packed::of(b"psubscribe"), Said::Confirmed(Kind::Psubscribe)),
            (Packed::of(b"ssubscribe"), Said::Confirmed(Kind::Ssubscribe)),
            (
                Packed::of(b"unsubscribe"),
                Said::Confirmed(Kind::Unsubscribe),
            ),
            (
                Packed::of(b"punsubscribe"),
                Said::Confirmed(Kind::Punsubscribe),
            ),
            (
                Packed::of(b"sunsubscribe"),
                Said::Confirmed(Kind::Sunsubscribe),
            ),
        ];
        let word = word.packed();
        WORDS
            .iter()
            .find_map(|(known, said)| (*known == word).then_some(*said))
            .unwrap_or(Self::Other)
    }

    /// Position of the channel; the payload is the next element, and the last.
    pub(super) const fn channel(self) -> Option<u32> {
        match self {
            Self::Message => Some(1),
            Self::PatternMessage => Some(2),
            _ => None,
        }
    }
}

/// Subscriptions, as the counters in the server's confirmations tell them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscriptions {
    channels: u64,
    patterns: u64,
    shards: u64,
}

impl Subscriptions {
    /// None.
    pub(super) const NONE: Self = Self {
        channels: 0,
        patterns: 0,
        shards: 0,
    };

    /// Whether there is any.
    pub(super) const fn any(self) -> bool {
        self.channels | self.patterns | self.shards != 0
    }

    /// How many confirmations an unsubscription of everything brings from here: one each, or one if there is none.
    pub(super) fn confirmations(self, kind: Kind) -> u64 {
        let subscribed = match kind {
            Kind::Unsubscribe => self.channels,
            Kind::Punsubscribe => self.patterns,
            _ => self.shards,
        };
        subscribed.max(1)
    }

    /// Takes the counter of a confirmation: channels and patterns together, or shard channels.
    pub(super) fn confirmed(&mut self, kind: Kind, count: u64) {
        match kind {
            Kind::Subscribe | Kind::Unsubscribe => {
                self.channels = count.saturating_sub(self.patterns);
            }
            Kind::Psubscribe | Kind::Punsubscribe => {
                self.patterns = count.saturating_sub(self.channels);
            }
            _ => self.shards = count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_tell_channels_from_patterns() {
        let mut subscriptions = Subscriptions::default();
        for (kind, count) in [
            (Kind::Subscribe, 1),
            (Kind::Subscribe, 2),
            (Kind::Subscribe, 2),
            (Kind::Psubscribe, 3),
            (Kind::Ssubscribe, 1),
        ] {
            subscriptions.confirmed(kind, count);
        }
        assert_eq!(subscriptions.confirmations(Kind::Unsubscribe), 2);
        assert_eq!(subscriptions.confirmations(Kind::Punsubscribe), 1);
        assert_eq!(subscriptions.confirmations(Kind::Sunsubscribe), 1);
        subscriptions.confirmed(Kind::Unsubscribe, 2);
        subscriptions.confirmed(Kind::Unsubscribe, 1);
        assert_eq!(subscriptions.confirmations(Kind::Unsubscribe), 1);
        subscriptions.confirmed(Kind::Punsubscribe, 0);
        assert!(subscriptions.any());
        subscriptions.confirmed(Kind::Sunsubscribe, 0);
        assert!(!subscriptions.any());
    }

    #[test]
    fn words_are_told() {
        let said = |text: &[u8]| {
            let mut word = Word::new();
            word.push(text);
            Said::of(&word)
        };
        assert_eq!(said(b"message").channel(), Some(1));
        assert_eq!(said(b"pmessage").channel(), Some(2));
        assert_eq!(said(b"invalidate"), Said::Other);
        assert_eq!(said(b"sunsubscribe"), Said::Confirmed(Kind::Sunsubscribe));
    }
}
