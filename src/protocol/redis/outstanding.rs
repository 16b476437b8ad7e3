//! Requests that wait for their replies, in order.

use std::collections::VecDeque;

use super::command::Kind;
use crate::protocol::{Lost, MAX_OUTSTANDING};

/// Room kept when a deep pipeline has drained: 1 KiB.
const KEPT: usize = 64;

/// A request whose reply is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// The number of the exchange.
    pub(super) exchange: u64,
    /// For the SUBSCRIBE family, replies still to come; 0 for an UNSUBSCRIBE of everything, whose number shows at its turn.
    pub(super) replies: u32,
    /// What was asked.
    pub(super) kind: Kind,
    /// Whether the reply's beginning was told.
    pub(super) begun: bool,
}

/// The queue. Starts without an allocation, and gives back what a deep pipeline took.
#[derive(Debug, Default)]
pub(super) struct Outstanding(VecDeque<Pending>);

impl Outstanding {
    /// Adds the newest.
    #[inline]
    pub(super) fn push(&mut self, pending: Pending) -> Result<(), Lost> {
        if self.0.len() >= MAX_OUTSTANDING {
            return Err(Lost::TooDeep);
        }
        self.0.push_back(pending);
        Ok(())
    }

    /// The one whose reply comes next.
    #[inline]
    pub(super) fn front(&self) -> Option<&Pending> {
        self.0.front()
    }

    /// The one whose reply comes next.
    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Pending> {
        self.0.front_mut()
    }

    /// Its reply is complete.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0.shrink_to(KEPT);
        }
        pending
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.0.iter()
    }

    /// Takes one out of its place.
    pub(super) fn remove(&mut self, exchange: u64) -> Option<Pending> {
        let at = self
            .0
            .binary_search_by_key(&exchange, |pending| pending.exchange)
            .ok()?;
        self.0.remove(at)
    }

    /// Drops all of them and their memory.
    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(exchange: u64) -> Pending {
        Pending {
            exchange,
            replies: 1,
            kind: Kind::Plain,
            begun: false,
        }
    }

    #[test]
    fn is_bounded_and_gives_memory_back() {
        let mut queue = Outstanding::default();
        assert_eq!(queue.0.capacity(), 0);
        for exchange in 0..MAX_OUTSTANDING as u64 {
            assert_eq!(queue.push(pending(exchange)), Ok(()));
        }
        assert_eq!(queue.push(pending(1 << 40)), Err(Lost::TooDeep));
        assert_eq!(queue.remove(7), Some(pending(7)));
        assert_eq!(queue.remove(7), None);
        while queue.pop().is_some() {}
        assert!(queue.0.capacity() <= KEPT);
        assert_eq!(size_of::<Pending>(), 16);
    }
}
