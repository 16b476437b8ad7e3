//! One worker's part of the ledger since it was last collected.

use super::entry::{Entry, Outcome, Retry};
use std::collections::VecDeque;
use std::sync::Arc;

/// What is learned of an entry after it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its request was read to the end: the hash of it.
    Fingerprint(u64),
    /// This fault was not carried out after all, for this reason.
    Skipped(Arc<str>, &'static str),
    /// It ended.
    Closed(Outcome),
    /// The same client asked the same again.
    Retried(Retry),
    /// What came of that.
    RetryEnded(Outcome),
}

impl Entry {
    /// Adds what was learned. What the server saw of a retry says whether it is complete.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Fingerprint(hash) => self.fingerprint = Some(format!("{hash:016x}")),
            Change::Skipped(fault, why) => {
                for touch in self.faults.iter_mut().filter(|touch| touch.name == fault) {
                    touch.skipped = Some(why.into());
                }
                self.skipped = self.faults.iter().find_map(|touch| touch.skipped.clone());
            }
            Change::Closed(outcome) => {
                self.server = Some(outcome.server);
                self.tag = outcome.tag;
                self.told = outcome.told;
                self.told_bytes = outcome.told_bytes;
                self.status = Some(outcome.status);
                self.open = false;
            }
            Change::Retried(retry) => self.retry = Some(retry),
            Change::RetryEnded(outcome) => {
                if let Some(retry) = &mut self.retry {
                    retry.server = Some(outcome.server);
                    retry.tag = outcome.tag;
                    retry.status = Some(outcome.status);
                }
            }
        }
    }
}

/// One worker's part of the ledger since it was last collected. Not shared.
#[derive(Debug, Default)]
pub struct Sheet {
    /// In ascending order of their numbers: one worker takes them one after the other.
    pub(super) entries: VecDeque<Entry>,
    /// About entries that were collected, or that another worker wrote.
    pub(super) changes: Vec<(u64, Change)>,
    /// At this length, changes of what is gone are thrown out.
    pruned_at: usize,
}

/// Changes that are not worth looking through.
const FEW: usize = 1024;

impl Sheet {
    /// Writes an entry. Those up to number `gone` go.
    pub fn write(&mut self, entry: Entry, gone: u64) {
        while self.entries.front().is_some_and(|e| e.id <= gone) {
            self.entries.pop_front();
        }
        if entry.id > gone {
            self.entries.push_back(entry);
        }
    }

    /// Adds what was learned of an entry, unless it is one up to number `gone`.
    pub fn change(&mut self, id: u64, change: Change, gone: u64) {
        if id <= gone {
            return;
        }
        if let Ok(at) = self.entries.binary_search_by_key(&id, |e| e.id) {
            self.entries[at].change(change);
            return;
        }
        // Few are made of one entry, so what is left is bounded as the entries are.
        if self.changes.len() >= self.pruned_at.max(FEW) {
            self.changes.retain(|(id, _)| *id > gone);
            self.pruned_at = self.changes.len() * 2;
        }
        self.changes.push((id, change));
    }

    /// Bytes allocated, about.
    pub(crate) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.changes.capacity() * size_of::<(u64, Change)>()
    }
}
