//! Who listens to what, and the delivery of what is published.

use super::codec::Reply;
use super::glob;
use super::store::own;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use tokio::sync::mpsc;

/// Messages that may wait for one subscriber. One more and it is cut off, as Redis does at its output buffer limit: a
/// subscriber that does not read must not hold memory without end.
const BACKLOG: usize = 4096;

#[derive(Debug)]
struct Subscriber {
    messages: mpsc::Sender<Reply>,
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
}

/// What is subscribed to: a channel by name, or all whose name matches a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
}

/// The subscribers, by the number of their session.
#[derive(Debug, Default)]
pub(super) struct PubSub {
    subscribers: HashMap<u64, Subscriber>,
}

impl PubSub {
    /// Makes a session able to subscribe. The receiver ends when the session was removed or cut off.
    pub(super) fn join(&mut self, session: u64) -> mpsc::Receiver<Reply> {
        let (messages, receiver) = mpsc::channel(BACKLOG);
        let subscriber = Subscriber {
            messages,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
        };
        self.subscribers.insert(session, subscriber);
        receiver
    }

    pub(super) fn leave(&mut self, session: u64) {
        self.subscribers.remove(&session);
    }

    fn names(&mut self, session: u64, kind: Kind) -> Option<&mut BTreeSet<Bytes>> {
        let subscriber = self.subscribers.get_mut(&session)?;
        Some(match kind {
            Kind::Channel => &mut subscriber.channels,
            Kind::Pattern => &mut subscriber.patterns,
        })
    }

    pub(super) fn subscribe(&mut self, session: u64, kind: Kind, name: &[u8]) {
        if let Some(names) = self.names(session, kind) {
            names.insert(own(name));
        }
    }

    pub(super) fn unsubscribe(&mut self, session: u64, kind: Kind, name: &[u8]) {
        if let Some(names) = self.names(session, kind) {
            names.remove(name);
        }
    }

    /// What a session subscribed to, of one kind.
    pub(super) fn subscriptions(&mut self, session: u64, kind: Kind) -> Vec<Bytes> {
        let names = self.names(session, kind);
        names.map_or_else(Vec::new, |names| names.iter().cloned().collect())
    }

    /// How many subscriptions a session has, of both kinds.
    pub(super) fn count(&self, session: u64) -> usize {
        let subscriber = self.subscribers.get(&session);
        subscriber.map_or(0, |s| s.channels.len() + s.patterns.len())
    }

    /// Hands a message to everyone who wants it; how many receptions that made.
    pub(super) fn publish(&mut self, channel: &[u8], payload: &[u8]) -> usize {
        let (channel, payload) = (own(channel), own(payload));
        let mut received = 0;
        self.subscribers.retain(|_, subscriber| {
            let direct = subscriber.channels.contains(&channel).then(|| {
                Reply::Push(vec![
                    Reply::bulk("message"),
                    Reply::Bulk(channel.clone()),
                    Reply::Bulk(payload.clone()),
                ])
            });
            let by_pattern = subscriber
                .patterns
                .iter()
                .filter(|pattern| glob::matches(pattern, &channel))
                .map(|pattern| {
                    Reply::Push(vec![
                        Reply::bulk("pmessage"),
                        Reply::Bulk(pattern.clone()),
                        Reply::Bulk(channel.clone()),
                        Reply::Bulk(payload.clone()),
                    ])
                });
            for message in direct.into_iter().chain(by_pattern) {
                if subscriber.messages.try_send(message).is_err() {
                    return false;
                }
                received += 1;
            }
            true
        });
        received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_that_does_not_read_is_cut_off_at_the_bound() {
        let mut pubsub = PubSub::default();
        let mut receiver = pubsub.join(1);
        pubsub.subscribe(1, Kind::Channel, b"news");
        for _ in 0..BACKLOG {
            assert_eq!(pubsub.publish(b"news", b"x"), 1);
        }
        assert_eq!(pubsub.publish(b"news", b"one too many"), 0);
        let mut messages = 0;
        while receiver.try_recv().is_ok() {
            messages += 1;
        }
        assert_eq!(messages, BACKLOG);
        assert!(
            receiver.is_closed(),
            "the session sees its end after the backlog"
        );
    }

    #[test]
    fn a_channel_and_a_matching_pattern_are_two_receptions() {
        let mut pubsub = PubSub::default();
        let _receiver = pubsub.join(1);
        pubsub.subscribe(1, Kind::Channel, b"news.it");
        pubsub.subscribe(1, Kind::Pattern, b"news.*");
        assert_eq!(pubsub.count(1), 2);
        assert_eq!(pubsub.publish(b"news.it", b"x"), 2);
        assert_eq!(pubsub.publish(b"news.fr", b"x"), 1);
        pubsub.unsubscribe(1, Kind::Pattern, b"news.*");
        assert_eq!(pubsub.publish(b"news.fr", b"x"), 0);
    }
}
