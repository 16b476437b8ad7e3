//! What was done twice: the server had done it, the client was not told, and asked again.

use super::SECOND;
use super::calls::{Calls, Reading, Try};
use super::finding::{Evidence, Finding};
use super::view::View;
use crate::measure::trace::{Attempt, Outcome, ProxyIndex, Record};
use crate::protocol::Class;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A client that was left in the dark asks again within this time.
const AGAIN: u64 = 30 * SECOND;

/// Operations with an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicates {
    /// Changes that the server made and the client was not told of.
    pub untold: u64,
    /// Of these, such as the client then asked for again.
    pub repeated: u64,
    /// Of these, such as the server then did again.
    pub done_twice: u64,
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
    let calls = Calls::of(view, proxy, Reading::Apart);
    let tries = calls.tries();
    let mut found = Duplicates {
        untold: 0,
        repeated: 0,
        done_twice: 0,
    };
    for (at, tried) in tries.iter().enumerate() {
        let Some(attempt) = attempt(view, tried).filter(|a| is_untold(a)) else {
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
        let (mut repeated, mut done) = (false, false);
        for later in again {
            repeated = true;
            done |= self::attempt(view, later).is_some_and(|a| a.upstream.is_some());
        }
        found.repeated += u64::from(repeated);
        found.done_twice += u64::from(done);
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

fn attempt<'t>(view: &View<'t>, tried: &Try) -> Option<&'t Attempt> {
    match view.trace.records.get(tried.record?) {
        Some(Record::Attempt(attempt)) => Some(attempt),
        _ => None,
    }
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
