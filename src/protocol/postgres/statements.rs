//! What prepared statements say, shared by the sessions of a proxy: a pool prepares the same ones on every connection.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use super::sql::text::Statement;

/// Bytes of statements that are kept for one proxy; beyond it those go first that were prepared first.
const BYTES: usize = 8 * 1024 * 1024;

/// Stands for a statement. Never given twice; of one that is gone, nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TextId(NonZeroU32);

/// The statements that were prepared on one proxy.
#[derive(Debug, Default)]
pub struct Statements(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_hash: HashMap<u64, TextId>,
    by_id: HashMap<TextId, Arc<Statement>>,
    order: VecDeque<TextId>,
    last: u32,
    bytes: usize,
}

impl Statements {
    /// Remembers a statement. `None` once four thousand million different ones were prepared.
    pub(super) fn remember(&self, statement: Statement) -> Option<TextId> {
        // Maps of plain values are whole after a panic elsewhere.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = statement.hash();
        if let Some(id) = inner.by_hash.get(&hash)
            && inner
                .by_id
                .get(id)
                .is_some_and(|known| **known == statement)
        {
            return Some(*id);
        }
        inner.last = inner.last.checked_add(1)?;
        let id = TextId(NonZeroU32::new(inner.last)?);
        inner.bytes += statement.weight();
        inner.by_hash.insert(hash, id);
        inner.by_id.insert(id, Arc::new(statement));
        inner.order.push_back(id);
        while inner.bytes > BYTES {
            let oldest = inner.order.pop_front()?;
            if let Some(gone) = inner.by_id.remove(&oldest) {
                inner.bytes -= gone.weight();
                let hash = gone.hash();
                if inner.by_hash.get(&hash) == Some(&oldest) {
                    inner.by_hash.remove(&hash);
                }
            }
        }
        Some(id)
    }

    /// What it says.
    pub(super) fn get(&self, id: TextId) -> Option<Arc<Statement>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_id.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once_and_the_whole_is_bounded() {
        let statements = Statements::default();
        let of = |n: usize| {
            let columns = "c, ".repeat(1000);
            Statement::of(format!("select {columns} t{n}.x").as_bytes(), false)
        };
        let first = statements.remember(of(0)).unwrap();
        assert_eq!(statements.remember(of(0)), Some(first));
        assert_eq!(*statements.get(first).unwrap(), of(0));
        for n in 1..4_000 {
            statements.remember(of(n)).unwrap();
        }
        assert_eq!(statements.get(first), None);
        let inner = statements.0.lock().unwrap();
        assert!(inner.bytes <= BYTES && inner.by_id.len() < BYTES / 3000);
        assert_eq!(inner.by_hash.len(), inner.by_id.len());
        assert_eq!(inner.order.len(), inner.by_id.len());
    }
}
