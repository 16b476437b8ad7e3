//! The transactions of a recording: when each was open, and how it ended.

use super::view::View;
use crate::measure::trace::{ProxyIndex, Record};
use crate::protocol::Transaction;
use std::collections::BTreeMap;

/// How one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What was done in it stays.
    Committed,
    /// It was undone.
    RolledBack,
    /// With its connection: the server undoes it.
    Closed,
    /// Not before the recording did.
    Open,
}

/// One transaction. Times are nanoseconds since the recording began.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its session.
    pub session: u64,
    /// When it began; `None`: before the recording did.
    pub begun: Option<u64>,
    /// When it ended, or the recording.
    pub ended: u64,
    /// How.
    pub end: End,
}

/// Those of a proxy, by their end; those that are open come last.
pub fn of(view: &View<'_>, proxy: ProxyIndex) -> Vec<Seen> {
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for record in &view.trace.records {
        let (session, ended, end) = match *record {
            Record::Transaction {
                at,
                proxy: p,
                session,
                state,
            } if p == proxy => match state {
                Transaction::Begin => {
                    open.entry(session).or_insert(at);
                    continue;
                }
                Transaction::Failed => continue,
                Transaction::Commit => (session, at, End::Committed),
                Transaction::Rollback => (session, at, End::RolledBack),
            },
            Record::Closed {
                at,
                proxy: p,
                session,
                ..
            } if p == proxy && open.contains_key(&session) => (session, at, End::Closed),
            _ => continue,
        };
        found.push(Seen {
            session,
            begun: open.remove(&session),
            ended,
            end,
        });
    }
    let ended = view.span.to;
    found.extend(open.into_iter().map(|(session, begun)| Seen {
        session,
        begun: Some(begun),
        ended,
        end: End::Open,
    }));
    found
}
