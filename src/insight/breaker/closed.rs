//! No breaker was seen to open: how much it was given reason to, or why that cannot be told.

use super::super::calls::Call;
use super::super::demand::Demand;
use super::super::finding::{Evidence, Finding, Unknown};
use super::super::{MILLISECOND, early};
use super::{Opening, Question, unknown};

/// The shortest time for which a breaker is taken to stay open: where calls come more seldom, it may have been open between any two.
const SHORTEST_OPEN: u64 = 250 * MILLISECOND;

/// What is said of its opening, and why nothing is known of the rest.
pub(super) struct Closed(pub(super) Box<(Finding<Opening>, Unknown)>);

impl Closed {
    pub(super) fn of(opening: Finding<Opening>, missing: Unknown) -> Self {
        Self(Box::new((opening, missing)))
    }

    /// Calls went on; `why` says how that was seen.
    pub(super) fn stayed(
        question: &Question<'_, '_>,
        demand: &Demand,
        calls: &[Call],
        why: &str,
    ) -> Self {
        let (view, proxy) = (question.view, question.proxy);
        let hidden = early::answers(view, proxy).len();
        if hidden > 0 {
            // Such a call looks as if it were under way until its reply comes, and hides that no new ones began.
            let missing = Unknown::new(
                format!(
                    "the service answered {hidden} of its callers while what it had asked for them was still out: neither its failures nor \
                     a silence behind them can be seen"
                ),
                "have the service close or cancel what it gives up; or a fault that answers at once (`error`)",
            );
            return Self::of(unknown(&missing), missing);
        }
        let mut evidence = Evidence::default();
        let affected = view.affected(proxy);
        let run = longest_run(calls, &mut evidence);
        let in_flight = most_in_flight(calls);
        evidence.figure("failures_in_a_row", run as f64);
        evidence.figure("calls_in_flight", in_flight as f64);
        evidence.note(why);
        let due = affected.map_or(0.0, |span| demand.expected(view, span));
        evidence.figure("calls_due", due);
        let missing = Unknown::new(
            format!("no breaker was seen to open: {why}"),
            "nothing, where none is meant to; else a longer fault phase or a higher rate",
        );
        let opening = Finding::known(
            Opening::StayedClosed {
                failures: run,
                in_flight,
            },
            evidence,
        );
        Self::of(opening, missing)
    }
}

/// Failures with no success between them, the longest run, in the order in which calls ended. After each but the last of them a new
/// call began before a breaker that it tripped would have let one through.
pub(super) fn longest_run(calls: &[Call], evidence: &mut Evidence) -> u64 {
    let starts: Vec<u64> = calls.iter().map(|c| c.start).collect();
    let mut ended: Vec<&Call> = calls.iter().collect();
    ended.sort_by_key(|c| c.end);
    let (mut run, mut longest) = (0, 0);
    for call in ended {
        if !call.failed {
            run = 0;
            continue;
        }
        run += 1;
        longest = longest.max(run);
        evidence.observe(call.end);
        let next = starts.get(starts.partition_point(|start| *start <= call.end));
        if next.is_some_and(|next| next - call.end >= SHORTEST_OPEN) {
            run = 0;
        }
    }
    longest
}

/// Calls that were in flight at once, at most.
pub(super) fn most_in_flight(calls: &[Call]) -> u64 {
    let mut edges: Vec<(u64, i64)> = Vec::with_capacity(calls.len() * 2);
    for call in calls {
        edges.push((call.start, 1));
        edges.push((call.end, -1));
    }
    // An end before a begin of the same moment: they are not at once.
    edges.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, step) in edges {
        now += step;
        most = most.max(now);
    }
    u64::try_from(most).unwrap_or(0)
}
