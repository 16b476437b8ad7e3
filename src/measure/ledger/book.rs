//! All sheets together, and what readers get of them.

use super::Numbering;
use super::entry::{Entry, Touch};
use super::sheet::{Change, Sheet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The merged ledger.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    /// Changes that came before their entry: another worker wrote it, and was asked earlier.
    early: Vec<(u64, Change)>,
}

/// Which entries are wanted. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Of this proxy.
    pub proxy: Option<String>,
    /// Touched by this fault.
    pub fault: Option<String>,
    /// Of this operation, in upper or lower case.
    pub operation: Option<String>,
    /// Done by the server, not told to the client, and done again.
    pub duplicates: bool,
    /// Written after the entry of this number.
    pub since: u64,
    /// At most so many, the oldest.
    pub limit: Option<usize>,
}

/// Some entries of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// Entries that are kept at most, the newest.
    pub capacity: u64,
    /// Entries that were ever written.
    pub recorded: u64,
    /// Those that went to make room.
    pub dropped: u64,
    /// Whether some went.
    pub overflowed: bool,
    /// Exchanges of which nobody looked out for a retry, since too many were waited for at once.
    pub unwatched: u64,
    /// `since` for the entries that come after these.
    pub next: u64,
    /// There are more already.
    pub more: bool,
    /// The entries, by proxy, session and exchange.
    pub entries: Vec<Entry>,
}

/// The ledger as seed, profile and order of requests determine it: equal in every run that has these in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canonical {
    /// Whether entries went to make room; then which of them are left is no longer determined.
    pub overflowed: bool,
    /// The entries, by proxy, session and exchange.
    pub entries: Vec<CanonicalEntry>,
}

/// What is determined of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanonicalEntry {
    /// The proxy.
    pub proxy: Arc<str>,
    /// Ordinal of the session on its proxy.
    pub session: u64,
    /// Ordinal of the exchange in its session.
    pub exchange: u64,
    /// What was asked.
    pub operation: Cow<'static, str>,
    /// The faults that acted, in their order.
    pub faults: Vec<Touch>,
    /// Why what would have ended the exchange was not done, where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Cow<'static, str>>,
    /// The delays that were drawn, in microseconds; `null` where a `capacity` had them depend on the load.
    pub delays_us: Option<Delays>,
}

/// Delays, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delays {
    /// Before the request.
    pub request: u64,
    /// Before the reply.
    pub reply: u64,
    /// The least that the reply takes.
    pub floor: u64,
}

impl Query {
    fn takes(&self, entry: &Entry) -> bool {
        let proxy = self.proxy.as_deref();
        let fault = self.fault.as_deref();
        let operation = self.operation.as_deref();
        proxy.is_none_or(|proxy| proxy == &*entry.proxy)
            && fault.is_none_or(|fault| entry.faults.iter().any(|f| &*f.name == fault))
            && operation.is_none_or(|operation| operation.eq_ignore_ascii_case(&entry.operation))
            && (!self.duplicates || entry.is_duplicated())
    }
}

impl Ledger {
    /// Adds what a worker wrote. The sheet is empty afterwards.
    pub fn absorb(&mut self, sheet: &mut Sheet) {
        self.entries
            .extend(sheet.entries.drain(..).map(|e| (e.id, e)));
        self.early.append(&mut sheet.changes);
    }

    /// All workers were asked: applies what they learned of each other's entries, and lets go what is too old.
    pub fn settle(&mut self, numbering: &Numbering) {
        let gone = numbering.gone();
        if self.entries.first_key_value().is_some_and(|e| *e.0 <= gone) {
            self.entries = self.entries.split_off(&(gone + 1));
        }
        for (id, change) in std::mem::take(&mut self.early) {
            match self.entries.get_mut(&id) {
                Some(entry) => entry.change(change),
                // Its sheet was collected before it was written, and will bring it the next time.
                None if id > gone => self.early.push((id, change)),
                None => {}
            }
        }
    }

    /// Entries that are kept now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries that are wanted.
    pub fn list(&self, query: &Query, numbering: &Numbering) -> Listing {
        let mut wanted = self
            .entries
            .range(query.since.saturating_add(1)..)
            .map(|(_, entry)| entry)
            .filter(|entry| query.takes(entry));
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut entries: Vec<Entry> = wanted.by_ref().take(limit).cloned().collect();
        let more = wanted.next().is_some();
        let newest = self.entries.last_key_value().map_or(0, |(id, _)| *id);
        let next = match entries.last() {
            Some(last) if more => last.id,
            _ => newest.max(query.since),
        };
        entries.sort_by(|a, b| place(a).cmp(&place(b)));
        Listing {
            capacity: numbering.capacity(),
            recorded: numbering.taken(),
            dropped: numbering.gone(),
            overflowed: numbering.gone() > 0,
            unwatched: numbering.unwatched(),
            next,
            more,
            entries,
        }
    }

    /// What is determined of the entries that are wanted.
    pub fn canonical(&self, query: &Query, numbering: &Numbering) -> Canonical {
        let listing = self.list(query, numbering);
        let entries = listing.entries.into_iter().map(CanonicalEntry::from);
        Canonical {
            overflowed: listing.overflowed,
            entries: entries.collect(),
        }
    }
}

fn place(entry: &Entry) -> (&str, u64, u64, u64) {
    (&entry.proxy, entry.session, entry.exchange, entry.id)
}

impl From<Entry> for CanonicalEntry {
    fn from(entry: Entry) -> Self {
        let queued = entry.faults.iter().any(|f| f.action == "capacity");
        Self {
            proxy: entry.proxy,
            session: entry.session,
            exchange: entry.exchange,
            operation: entry.operation,
            faults: entry.faults,
            skipped: entry.skipped,
            delays_us: (!queued).then_some(Delays {
                request: entry.request_delay_us,
                reply: entry.reply_delay_us,
                floor: entry.reply_floor_us,
            }),
        }
    }
}
