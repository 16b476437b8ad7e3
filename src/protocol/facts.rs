//! What a session has said of itself: who it is, and where it works. Faults match on it; it goes nowhere else.
//!
//! A decoder reads ahead of the exchange that is being decided about, so a change counts for the exchanges behind the one that
//! asked for it; and it is taken back where the server refuses.

use std::collections::VecDeque;

/// Bytes of a value that are kept; PostgreSQL's own limit for a name is 63.
pub const VALUE_LIMIT: usize = 64;

/// Changes without an answer that are told apart; of more, the oldest count for everything.
const CHANGES: usize = 16;

/// What can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Fact {
    /// Who it is: Postgres `user`, the name of AUTH and HELLO on Redis.
    User,
    /// Postgres `database`, the number of SELECT on Redis.
    Database,
    /// What the client calls itself: Postgres `application_name`, CLIENT SETNAME on Redis.
    Name,
}

type Value = Box<[u8]>;

/// What a session has said of itself.
#[derive(Clone, Default)]
pub struct Facts {
    settled: [Value; 3],
    changes: VecDeque<Change>,
}

#[derive(Clone)]
struct Change {
    exchange: u64,
    fact: Fact,
    value: Value,
}

impl Facts {
    /// What holds for this exchange. Empty: nothing was said.
    pub fn get(&self, fact: Fact, exchange: u64) -> &[u8] {
        let mut changes = self.changes.iter().rev();
        changes
            .find(|change| change.fact == fact && change.exchange < exchange)
            .map_or(&self.settled[fact as usize], |change| &change.value)
    }

    /// What a session would have said.
    pub fn told(user: Option<&str>, database: Option<&str>, name: Option<&str>) -> Self {
        let mut facts = Self::default();
        for (fact, value) in [
            (Fact::User, user),
            (Fact::Database, database),
            (Fact::Name, name),
        ] {
            facts.settle(fact, value.unwrap_or_default().as_bytes());
        }
        facts
    }

    /// The server said so, or the session has only begun.
    pub(crate) fn settle(&mut self, fact: Fact, value: &[u8]) {
        self.settled[fact as usize] = cut(value);
    }

    /// The request `exchange` asks for it.
    pub(super) fn ask(&mut self, exchange: u64, fact: Fact, value: &[u8]) {
        self.changes.push_back(Change {
            exchange,
            fact,
            value: cut(value),
        });
        if self.changes.len() > CHANGES
            && let Some(oldest) = self.changes.pop_front()
        {
            self.settled[oldest.fact as usize] = oldest.value;
        }
    }

    /// Whether some change waits for its answer.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The server has answered the request `exchange`, or never will (`false`): what was asked for before it is as it is.
    pub(super) fn answered(&mut self, exchange: u64, agreed: bool) {
        while self.changes.front().is_some_and(|c| c.exchange <= exchange) {
            let Some(change) = self.changes.pop_front() else {
                return;
            };
            if agreed || change.exchange < exchange {
                self.settled[change.fact as usize] = change.value;
            }
        }
    }

    /// The request `exchange` will not reach the server.
    pub(super) fn withhold(&mut self, exchange: u64) {
        self.changes.retain(|change| change.exchange != exchange);
    }
}

fn cut(value: &[u8]) -> Value {
    value[..value.len().min(VALUE_LIMIT)].into()
}

/// Never what it holds.
impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Facts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_behind_its_request_and_is_taken_back_when_refused() {
        let mut facts = Facts::default();
        facts.settle(Fact::User, b"a");
        facts.ask(3, Fact::User, b"b");
        facts.ask(5, Fact::User, b"c");
        facts.ask(5, Fact::Name, b"n");
        let user = |facts: &Facts, exchange| facts.get(Fact::User, exchange).to_vec();
        assert_eq!(user(&facts, 3), b"a");
        assert_eq!(user(&facts, 4), b"b");
        assert_eq!(user(&facts, 6), b"c");
        facts.answered(3, true);
        facts.answered(5, false);
        assert_eq!(user(&facts, 9), b"b");
        assert_eq!(facts.get(Fact::Name, 9), b"");
        assert!(!facts.is_waiting());
        facts.ask(7, Fact::Name, b"n");
        facts.withhold(7);
        assert_eq!(facts.get(Fact::Name, 9), b"");
    }

    #[test]
    fn it_is_bounded() {
        let mut facts = Facts::default();
        for exchange in 0..1000 {
            facts.ask(exchange, Fact::User, &[b'x'; 1000]);
        }
        assert_eq!(facts.changes.len(), CHANGES);
        assert_eq!(facts.get(Fact::User, 2000).len(), VALUE_LIMIT);
        assert_eq!(format!("{facts:?}"), "Facts");
    }
}
