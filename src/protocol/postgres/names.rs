//! A bounded memory of named things (prepared statements, portals): name hash to what the statement does.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::operation::Known;

/// The keys are hashes already.
#[derive(Default)]
struct Passthrough(u64);

impl Hasher for Passthrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = super::hash::bytes(self.0, bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// At most `limit` names; the one that was set longest ago goes first.
#[derive(Debug)]
pub(super) struct Names {
    known: HashMap<u64, Entry, BuildHasherDefault<Passthrough>>,
    /// Names in the order of setting. One that was removed or set again leaves a stale turn behind, which `prune` clears.
    order: VecDeque<Turn>,
    limit: usize,
    turn: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    known: Known,
    turn: u32,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    name: u64,
    turn: u32,
}

impl Names {
    /// An empty memory, which has allocated nothing.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            known: HashMap::default(),
            order: VecDeque::new(),
            limit,
            turn: 0,
        }
    }

    pub(super) fn get(&self, name: u64) -> Option<Known> {
        self.known.get(&name).map(|entry| entry.known)
    }

    pub(super) fn set(&mut self, name: u64, known: Known) {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        self.known.insert(name, Entry { known, turn });
        self.order.push_back(Turn { name, turn });
        while self.known.len() > self.limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if self.is_current(oldest) {
                self.known.remove(&oldest.name);
            }
        }
        if self.order.len() > 2 * self.limit {
            self.prune();
        }
    }

    pub(super) fn remove(&mut self, name: u64) {
        self.known.remove(&name);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.known.len(), self.order.len())
    }

    fn is_current(&self, turn: Turn) -> bool {
        self.known
            .get(&turn.name)
            .is_some_and(|entry| entry.turn == turn.turn)
    }

    /// Drops stale turns: at most `limit` stay, so this happens once in `limit` calls of `set` at most.
    fn prune(&mut self) {
        let known = &self.known;
        self.order.retain(|turn| {
            known
                .get(&turn.name)
                .is_some_and(|entry| entry.turn == turn.turn)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation;
    use super::*;

    #[test]
    fn the_oldest_name_goes_first() {
        let mut names = Names::new(3);
        for name in 0..3 {
            names.set(name, Known::of(operation::SELECT));
        }
        names.set(0, Known::of(operation::INSERT));
        names.set(7, Known::of(operation::UPDATE));
        assert_eq!(names.get(1), None);
        assert_eq!(names.get(0), Some(Known::of(operation::INSERT)));
        assert_eq!(names.get(2), Some(Known::of(operation::SELECT)));
        assert_eq!(names.get(7), Some(Known::of(operation::UPDATE)));
    }

    #[test]
    fn setting_and_removing_for_ever_stays_bounded() {
        let mut names = Names::new(64);
        for turn in 0..100_000_u64 {
            names.set(turn % 200, Known::of(operation::SELECT));
            names.remove((turn / 3) % 200);
            let (known, order) = names.len();
            assert!(known <= 64 && order <= 128, "{known} names, {order} turns");
        }
    }
}
