//! What became of the exchanges that faults touched: the ledger of a run, as it stood at its end.

use crate::measure::ledger::{Entry, Listing, Saw, Told, Touch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Entries that a document has at most: first those of unknown outcome. Groups count all.
const ENTRIES: usize = 1_000;
/// Groups that are told apart at most.
const GROUPS: usize = 200;

/// The ledger of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Ledger {
    /// Exchanges that faults touched.
    pub(crate) recorded: u64,
    /// Of these, those that had gone for newer ones: they are in no group.
    pub(crate) dropped: u64,
    /// Those of which nobody looked out for a retry, since too many were waited for at once.
    pub(crate) unwatched: u64,
    /// Exchanges that went alike; those of unknown outcome first, then the most frequent.
    pub(crate) groups: Vec<Group>,
    /// Exchanges that are in none of these groups.
    pub(crate) rare: u64,
    /// Single exchanges, in the order in which faults acted; where not all fit, those of unknown outcome first.
    pub(crate) entries: Vec<Entry>,
    /// Those that are in a group and did not fit among the entries.
    pub(crate) left_out: u64,
}

/// Exchanges that went alike. What was asked for again and done twice the insights tell, which know for whom: the same COMMIT may
/// be of another request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Group {
    pub(crate) proxy: String,
    pub(crate) operation: String,
    /// The faults that acted, or would have, in their order.
    pub(crate) faults: Vec<Touch>,
    /// Why one of them was not carried out, where one was not: that of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
    /// What the server saw; null where that is not known.
    pub(crate) server: Option<Saw>,
    /// What the server itself said came of it.
    pub(crate) tag: Option<String>,
    /// What the client was told; null where that is not known.
    pub(crate) told: Option<Told>,
    /// How it counts for the client.
    pub(crate) status: Option<String>,
    pub(crate) count: u64,
}

impl Group {
    fn of(entry: &Entry) -> Self {
        let owned = |text: &Option<_>| text.as_deref().map(str::to_owned);
        Self {
            proxy: entry.proxy.to_string(),
            operation: entry.operation.to_string(),
            faults: entry.faults.clone(),
            skipped: owned(&entry.skipped),
            server: entry.server,
            tag: owned(&entry.tag),
            told: entry.told,
            status: owned(&entry.status),
            count: 0,
        }
    }

    /// Whether the server has the request, and the client was not told what came of it.
    pub(crate) const fn is_unknown(&self) -> bool {
        is_unknown(self.server, self.told)
    }

    /// Whether it is known what the server saw, and what the client was told.
    pub(crate) const fn is_settled(&self) -> bool {
        self.server.is_some() && self.told.is_some()
    }

    /// The faults with their actions, and what was not done.
    pub(crate) fn what(&self) -> String {
        let names = self.faults.iter().map(|touch| {
            let mut what = touch.name.to_string();
            if *touch.name != *touch.action {
                what = format!("{what} ({})", touch.action);
            }
            // Of one alone it is said below.
            match &touch.skipped {
                Some(why) if self.faults.len() > 1 => format!("{what} skipped: {why}"),
                _ => what,
            }
        });
        let mut what = names.collect::<Vec<_>>().join(", ");
        if let (Some(why), [_]) = (&self.skipped, &self.faults[..]) {
            what.push_str("; skipped: ");
            what.push_str(why);
        }
        what
    }

    /// What the server saw, with its own words.
    pub(crate) fn saw(&self) -> String {
        let saw = self.server.map_or("?", Saw::name);
        let tag = self.tag.as_ref();
        tag.map_or_else(|| saw.to_owned(), |tag| format!("{saw}: {tag}"))
    }

    /// What the client was told.
    pub(crate) fn heard(&self) -> String {
        let told = self.told.map_or("?", Told::name);
        let status = self.status.as_ref();
        status.map_or_else(|| told.to_owned(), |status| format!("{told} ({status})"))
    }
}

const fn is_unknown(server: Option<Saw>, told: Option<Told>) -> bool {
    matches!(server, Some(Saw::Request | Saw::Completed))
        && matches!(told, Some(Told::Nothing | Told::Partial))
}

impl Ledger {
    /// Puts together what is alike.
    pub(crate) fn of(listing: Listing) -> Self {
        let Listing {
            recorded,
            dropped,
            unwatched,
            mut entries,
            ..
        } = listing;
        let mut groups = BTreeMap::new();
        for entry in &entries {
            let alike = Group::of(entry);
            let group = groups.entry(key(&alike)).or_insert(alike);
            group.count += 1;
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| (!group.is_unknown(), Reverse(group.count)));
        let rare = groups.drain(GROUPS.min(groups.len())..);
        let rare = rare.map(|group| group.count).sum();
        entries.sort_by_key(|entry| (!is_unknown(entry.server, entry.told), entry.id));
        let left_out = entries.len().saturating_sub(ENTRIES) as u64;
        entries.truncate(ENTRIES);
        entries.sort_by_key(|entry| entry.id);
        Self {
            recorded,
            dropped,
            unwatched,
            groups,
            rare,
            entries,
            left_out,
        }
    }
}

fn key(group: &Group) -> impl Ord + use<> {
    (
        (group.proxy.clone(), group.operation.clone()),
        (group.what(), group.saw(), group.heard()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Class;

    fn entry(id: u64, operation: &'static str, server: Saw, told: Told) -> Entry {
        Entry {
            id,
            time_us: id,
            proxy: "redis".into(),
            session: 0,
            exchange: id,
            operation: operation.into(),
            class: Class::Write,
            faults: vec![Touch {
                name: "f".into(),
                action: "lose_reply".into(),
                skipped: None,
            }],
            skipped: None,
            request_delay_us: 0,
            reply_delay_us: 0,
            reply_floor_us: 0,
            server: Some(server),
            tag: None,
            told: Some(told),
            told_bytes: 0,
            status: Some("closed".into()),
            open: false,
            retry: None,
            fingerprint: None,
        }
    }

    fn listing(entries: Vec<Entry>) -> Listing {
        Listing {
            capacity: 10_000,
            recorded: entries.len() as u64,
            dropped: 0,
            overflowed: false,
            unwatched: 0,
            next: 0,
            more: false,
            entries,
        }
    }

    #[test]
    fn what_is_alike_is_one_group_and_unknown_outcomes_come_first() {
        let mut all: Vec<_> = (1..=5)
            .map(|id| entry(id, "GET", Saw::Completed, Told::Reply))
            .collect();
        all.push(entry(6, "INCR", Saw::Completed, Told::Nothing));
        all.push(entry(7, "INCR", Saw::Nothing, Told::Nothing));
        let ledger = Ledger::of(listing(all));
        let groups: Vec<_> = ledger
            .groups
            .iter()
            .map(|g| (&*g.operation, g.is_unknown(), g.count))
            .collect();
        assert_eq!(
            groups,
            [("INCR", true, 1), ("GET", false, 5), ("INCR", false, 1)]
        );
        assert_eq!(ledger.groups[0].what(), "f (lose_reply)");
        assert_eq!(ledger.entries.len(), 7);
    }

    #[test]
    fn the_bound_keeps_unknown_outcomes_and_says_what_is_left_out() {
        let known = (1..=2_000).map(|id| entry(id, "GET", Saw::Completed, Told::Reply));
        let unknown = (2_001..=2_010).map(|id| entry(id, "INCR", Saw::Request, Told::Partial));
        let ledger = Ledger::of(listing(known.chain(unknown).collect()));
        assert_eq!((ledger.entries.len(), ledger.left_out), (ENTRIES, 1_010));
        let kept = ledger.entries.iter().filter(|e| e.operation == "INCR");
        assert_eq!(kept.count(), 10);
        assert!(ledger.entries.is_sorted_by_key(|e| e.id));
        // Of more kinds than can be told apart the rest is counted.
        let names = (1..=300_u64).map(|id| {
            let name: &'static str = Box::leak(format!("OP{id}").into_boxed_str());
            entry(id, name, Saw::Completed, Told::Reply)
        });
        let ledger = Ledger::of(listing(names.collect()));
        assert_eq!((ledger.groups.len(), ledger.rare), (GROUPS, 100));
    }
}
