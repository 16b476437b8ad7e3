//! What was done twice: the server had done it, the client was not told, and asked again.

use super::SECOND;
use super::calls::{Asked, Reading, Try, Who};
use super::finding::{Evidence, Finding};
use super::transactions::{self, End};
use super::view::{Seen, View};
use crate::measure::trace::{Attempt, Outcome, ProxyIndex, Record};
use crate::protocol::Class;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A client that was left in the dark asks again within this time.
const AGAIN: u64 = 30 * SECOND;

/// Acts on a transaction that change nothing: to do them twice is to do nothing twice.
const WITHOUT_EFFECT: [&str; 9] = [
    "BEGIN",
    "ROLLBACK",
    "ROLLBACK TO",
    "SAVEPOINT",
    "RELEASE",
    "DISCARD",
    "MULTI",
    "UNWATCH",
    "WATCH",
];

/// Acts after which a transaction stays.
const KEEPS: [&str; 3] = ["COMMIT", "PREPARE TRANSACTION", "EXEC"];

/// Operations with an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicates {
    /// Changes that the server made and the client was not told of.
    pub untold: u64,
    /// Of these, such as the client then asked for again.
    pub repeated: u64,
    /// Of these, such as the server then did again.
    pub done_twice: u64,
    /// The others that were done again, perhaps: by the same client for the same request, or by another caller who wanted the same.
    pub uncertain: u64,
}

/// Changes at this proxy whose outcome the client could not know.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Duplicates> {
    let mut evidence = Evidence::default();
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let calls = view.calls(proxy, Reading::Apart);
    let tries = calls.tries();
    let mut found = Duplicates {
        untold: 0,
        repeated: 0,
        done_twice: 0,
        uncertain: 0,
    };
    let requests = Requests::of(view);
    let undone = Undone::of(view, proxy);
    let habits = if view.api.is_none() {
        habits(view, tries)
    } else {
        HashSet::new()
    };
    for (at, tried) in tries.iter().enumerate() {
        let Some(attempt) = attempt(view, tried).filter(|a| is_untold(a) && undone.stays(view, a))
        else {
            continue;
        };
        found.untold += 1;
        evidence.example(attempt.ended, tried.record.unwrap_or(0));
        // Of several, the one that was done counts.
        let again = tries[at + 1..]
            .iter()
            .take_while(|later| later.start <= attempt.ended.saturating_add(AGAIN))
            .filter(|later| {
                later.start >= attempt.ended && later.who == tried.who && later.asked == tried.asked
            });
        let (mut repeated, mut done, mut uncertain) = (false, false, false);
        for later in again {
            let did =
                self::attempt(view, later).is_some_and(|a| is_done(a) && undone.stays(view, a));
            let one = requests.one_asked_for_both(tried.start, later.start);
            // Where nobody sees for whom, who asks once more asks again; not who asks the same all the time.
            match one
                .or_else(|| (view.api.is_none() && !habits.contains(&habit(tried))).then_some(true))
            {
                Some(true) => {
                    repeated = true;
                    done |= did;
                }
                Some(false) => {}
                None => uncertain |= did,
            }
        }
        found.repeated += u64::from(repeated);
        found.done_twice += u64::from(done);
        found.uncertain += u64::from(uncertain && !done);
    }
    if found.untold == 0 {
        return Finding::unknown(
            "no change was made of which the client was not told",
            "a `lose_reply` fault on writes (`match = { class = [\"write\", \"transaction\"] }`)",
            evidence,
        );
    }
    Finding::known(found, evidence)
}

/// The requests of the service's own API, which tell a retry from another caller who wants the same.
struct Requests<'v, 't> {
    /// By their begin; `None`: nobody sees them.
    seen: Option<&'v [Seen<'t>]>,
    longest: u64,
}

impl<'v, 't> Requests<'v, 't> {
    fn of(view: &'v View<'t>) -> Self {
        let seen = view.api.map(|_| view.api_requests());
        let lengths = seen.unwrap_or_default().iter();
        Self {
            longest: lengths
                .map(|s| s.attempt.ended - s.attempt.begun)
                .max()
                .unwrap_or(0),
            seen,
        }
    }

    /// Whether what was asked at `first` and at `later` was asked for one request of the API; `None`: it cannot be told.
    fn one_asked_for_both(&self, first: u64, later: u64) -> Option<bool> {
        let seen = self.seen?;
        let from = seen.partition_point(|s| s.attempt.begun < later.saturating_sub(self.longest));
        let at_later = seen[from..]
            .iter()
            .take_while(|s| s.attempt.begun <= later)
            .filter(|s| s.attempt.ended >= later);
        let (mut both, mut others) = (0, 0);
        for request in at_later {
            if request.attempt.begun <= first {
                both += 1;
            } else {
                others += 1;
            }
        }
        match (both, others) {
            (0, _) => Some(false),
            (_, 0) => Some(true),
            _ => None,
        }
    }
}

/// A client, and what it asks.
type Habit = (Who, Asked);

const fn habit(tried: &Try) -> Habit {
    (tried.who, tried.asked)
}

/// What clients ask once more although they had their answer: that they do so without one, too, says nothing.
fn habits(view: &View<'_>, tries: &[Try]) -> HashSet<Habit> {
    let mut answered = HashSet::new();
    let mut habits = HashSet::new();
    for tried in tries {
        if answered.contains(&habit(tried)) {
            habits.insert(habit(tried));
        }
        if attempt(view, tried).is_some_and(|a| a.outcome.is_answered()) {
            answered.insert(habit(tried));
        }
    }
    habits
}

fn attempt<'t>(view: &View<'t>, tried: &Try) -> Option<&'t Attempt> {
    match view.trace.records.get(tried.record?) {
        Some(Record::Attempt(attempt)) => Some(attempt),
        _ => None,
    }
}

/// Transactions of which nothing stays, by session: begin and end.
struct Undone(HashMap<u64, Vec<(u64, u64)>>);

impl Undone {
    fn of(view: &View<'_>, proxy: ProxyIndex) -> Self {
        let names = &view.trace.names;
        let work = view.passed(proxy).work.iter().map(|seen| seen.attempt);
        let mut kept: HashMap<u64, u64> = HashMap::new();
        for attempt in work.filter(|a| is_done(a) && KEEPS.contains(&names.get(a.operation))) {
            let last = kept.entry(attempt.session).or_default();
            *last = attempt.ended.max(*last);
        }
        let mut undone: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        for transaction in transactions::of(view, proxy) {
            let begun = transaction.begun.unwrap_or(0);
            let stays = match transaction.end {
                End::Committed => true,
                // The server had done its end, too; only nobody saw that.
                End::Closed => kept.get(&transaction.session) >= Some(&begun),
                End::RolledBack | End::Open => false,
            };
            if !stays {
                let of = undone.entry(transaction.session).or_default();
                of.push((begun, transaction.ended));
            }
        }
        Self(undone)
    }

    /// Whether it changed something, and that was not rolled back.
    fn stays(&self, view: &View<'_>, attempt: &Attempt) -> bool {
        if WITHOUT_EFFECT.contains(&view.trace.names.get(attempt.operation)) {
            return false;
        }
        let mut of = self.0.get(&attempt.session).into_iter().flatten();
        attempt.class != Class::Write
            || !of.any(|(from, to)| *from <= attempt.ended && attempt.begun < *to)
    }
}

/// The server did it, whether or not anybody was told; what it refused it did not do.
const fn is_done(attempt: &Attempt) -> bool {
    attempt.upstream.is_some() && !matches!(attempt.outcome, Outcome::Refused)
}

/// The server did it, a fault kept the reply.
const fn is_untold(attempt: &Attempt) -> bool {
    let changes = matches!(attempt.class, Class::Write | Class::Transaction);
    let unanswered = matches!(
        attempt.outcome,
        Outcome::Cut | Outcome::ClientGone | Outcome::Outstanding
    );
    changes && unanswered && attempt.fault.is_some() && attempt.upstream.is_some()
}
