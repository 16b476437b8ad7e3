//! Tables, rows and transactions, as READ COMMITTED has them.
//!
//! A row holds what was committed and, while a transaction changes it, what that transaction sees. Others see what was
//! committed; who wants to change the same row waits until the first has ended. A wait that would close a circle is a
//! deadlock, found at once. Commit folds the pending versions in, rollback drops them.

use super::sql::{Column, SqlError, Value};
use std::collections::{BTreeMap, HashMap};

/// Tables of a server.
const MAX_TABLES: usize = 100;
/// Rows of a table.
const MAX_ROWS: usize = 200_000;

/// A row's values, one a column.
pub(super) type Values = Vec<Value>;

/// The number of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TransactionId(u64);

/// Why a statement did not finish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Halt {
    Error(SqlError),
    /// A row is being changed by that transaction: try again when it has ended.
    Wait(TransactionId),
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

#[derive(Debug, Default)]
struct Row {
    committed: Option<Values>,
    pending: Option<(TransactionId, Option<Values>)>,
}

impl Row {
    fn seen_by(&self, reader: TransactionId) -> Option<&Values> {
        match &self.pending {
            Some((owner, values)) if *owner == reader => values.as_ref(),
            _ => self.committed.as_ref(),
        }
    }

    fn locked_by_other(&self, writer: TransactionId) -> Option<TransactionId> {
        let (owner, _) = self.pending.as_ref()?;
        (*owner != writer).then_some(*owner)
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    pub(super) columns: Vec<Column>,
    /// By primary key, or by a hidden number where there is none.
    rows: BTreeMap<i64, Row>,
    /// The last number given out, to a serial column or as a hidden one. Not taken back by a rollback.
    sequence: i64,
}

impl Table {
    /// The index of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize, SqlError> {
        let index = self.columns.iter().position(|column| column.name == name);
        index.ok_or_else(|| SqlError::new("42703", format!("column \"{name}\" does not exist")))
    }

    /// The index of the primary key.
    pub(super) fn key(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.primary_key)
    }

    pub(super) fn next_number(&mut self) -> Result<i64, SqlError> {
        let next = self.sequence.checked_add(1);
        self.sequence = next.ok_or_else(|| SqlError::new("2200H", "sequence exhausted"))?;
        Ok(self.sequence)
    }

    /// The rows that a transaction sees, in the order of their keys.
    pub(super) fn visible(
        &self,
        reader: TransactionId,
    ) -> impl DoubleEndedIterator<Item = (i64, &Values)> {
        let rows = self.rows.iter();
        rows.filter_map(move |(key, row)| Some((*key, row.seen_by(reader)?)))
    }

    /// One row by its key.
    pub(super) fn visible_row(&self, key: i64, reader: TransactionId) -> Option<(i64, &Values)> {
        Some((key, self.rows.get(&key)?.seen_by(reader)?))
    }

    /// Whether a key is free for a new row.
    pub(super) fn check_free(&self, key: i64, writer: TransactionId) -> Result<(), Halt> {
        let Some(row) = self.rows.get(&key) else {
            if self.rows.len() >= MAX_ROWS {
                let text = format!("a table of the demo holds at most {MAX_ROWS} rows");
                return Err(SqlError::new("53400", text).into());
            }
            return Ok(());
        };
        self.check_writable(key, writer)?;
        if row.seen_by(writer).is_some() {
            let text = format!(
                "duplicate key value violates unique constraint \"{}_pkey\"",
                self.name
            );
            return Err(SqlError::new("23505", text).into());
        }
        Ok(())
    }

    /// Whether nobody else is changing a row.
    pub(super) fn check_writable(&self, key: i64, writer: TransactionId) -> Result<(), Halt> {
        match self
            .rows
            .get(&key)
            .and_then(|row| row.locked_by_other(writer))
        {
            Some(owner) => Err(Halt::Wait(owner)),
            None => Ok(()),
        }
    }
}

/// All tables of a server, and who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Store {
    tables: HashMap<String, Table>,
    /// The rows that each running transaction changed.
    running: HashMap<TransactionId, Vec<(String, i64)>>,
    waits: HashMap<TransactionId, TransactionId>,
    last_transaction: u64,
}

impl Store {
    pub(super) fn begin(&mut self) -> TransactionId {
        self.last_transaction += 1;
        let id = TransactionId(self.last_transaction);
        self.running.insert(id, Vec::new());
        id
    }

    /// Ends a transaction: what it changed becomes what all see, or is gone.
    pub(super) fn end(&mut self, id: TransactionId, commit: bool) {
        self.waits.remove(&id);
        for (table, key) in self.running.remove(&id).unwrap_or_default() {
            let Some(table) = self.tables.get_mut(&table) else {
                continue;
            };
            let Some(row) = table.rows.get_mut(&key) else {
                continue;
            };
            if let Some((_, values)) = row.pending.take_if(|(owner, _)| *owner == id)
                && commit
            {
                row.committed = values;
            }
            if row.committed.is_none() && row.pending.is_none() {
                table.rows.remove(&key);
            }
        }
    }

    /// Remembers that `waiter` waits for `owner`.
    ///
    /// # Errors
    /// `deadlock_detected` when `owner` already waits, directly or not, for `waiter`.
    pub(super) fn wait(
        &mut self,
        waiter: TransactionId,
        owner: TransactionId,
    ) -> Result<(), SqlError> {
        let mut next = Some(owner);
        while let Some(id) = next {
            if id == waiter {
                self.waits.remove(&waiter);
                return Err(SqlError::new("40P01", "deadlock detected"));
            }
            next = self.waits.get(&id).copied();
        }
        self.waits.insert(waiter, owner);
        Ok(())
    }

    pub(super) fn waits_no_more(&mut self, waiter: TransactionId) {
        self.waits.remove(&waiter);
    }

    pub(super) fn table(&self, name: &str) -> Result<&Table, SqlError> {
        let table = self.tables.get(name);
        table.ok_or_else(|| no_table(name))
    }

    pub(super) fn table_mut(&mut self, name: &str) -> Result<&mut Table, SqlError> {
        let table = self.tables.get_mut(name);
        table.ok_or_else(|| no_table(name))
    }

    pub(super) fn create(&mut self, name: &str, columns: &[Column]) -> Result<(), SqlError> {
        if self.tables.len() >= MAX_TABLES {
            let text = format!("the demo holds at most {MAX_TABLES} tables");
            return Err(SqlError::new("53400", text));
        }
        let table = Table {
            name: name.to_owned(),
            columns: columns.to_vec(),
            rows: BTreeMap::new(),
            sequence: 0,
        };
        self.tables.insert(name.to_owned(), table);
        Ok(())
    }

    /// Removes a table; whether it was there. Waits for no one: see [`Store::changed_by_other`].
    pub(super) fn drop_table(&mut self, name: &str) -> bool {
        self.tables.remove(name).is_some()
    }

    /// A transaction other than `writer` that has changed rows of a table and has not ended.
    pub(super) fn changed_by_other(
        &self,
        table: &str,
        writer: TransactionId,
    ) -> Option<TransactionId> {
        self.running
            .iter()
            .find(|(id, rows)| **id != writer && rows.iter().any(|(name, _)| name == table))
            .map(|(id, _)| *id)
    }

    /// Gives a row new values, or with `None` removes it, within a transaction. The caller has checked that it may.
    pub(super) fn write(
        &mut self,
        table: &str,
        key: i64,
        values: Option<Values>,
        writer: TransactionId,
    ) -> Result<(), SqlError> {
        let row = self.table_mut(table)?.rows.entry(key).or_default();
        let first = row.pending.is_none();
        row.pending = Some((writer, values));
        if first {
            let rows = self.running.entry(writer).or_default();
            rows.push((table.to_owned(), key));
        }
        Ok(())
    }
}

fn no_table(name: &str) -> SqlError {
    SqlError::new("42P01", format!("relation \"{name}\" does not exist"))
}
