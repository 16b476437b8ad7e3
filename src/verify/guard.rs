//! When a test stops early: while it runs, and before its first fault where there is no baseline to compare with.

use super::load::Tally;
use super::plan::Guard;
use crate::insight::millis;
use crate::insight::sample::{Sample, needed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Calls that an error rate is taken of.
const LEAST: usize = 10;
/// A request of a baseline hangs that is out for longer than this, and than so many times what is usual.
const HANGS: u64 = 1_000_000_000;
const UNUSUAL: u64 = 10;

/// Calls that a guard looks at.
#[derive(Debug, Default)]
struct Calls {
    /// Latency and success of those that ended.
    ended: Vec<(u64, bool)>,
    /// How long the others are out.
    out: Vec<u64>,
}

impl Calls {
    fn of(guard: &Guard, lanes: &BTreeMap<String, Arc<Tally>>, from: u64, now: u64) -> Self {
        let chosen = lanes
            .iter()
            .filter(|(name, _)| guard.lane.as_ref().is_none_or(|lane| lane == *name));
        let mut calls = Self::default();
        for (_, tally) in chosen {
            calls.ended.append(&mut tally.since(from));
            calls.out.append(&mut tally.ages(now));
        }
        calls
    }

    fn failed(&self) -> usize {
        self.ended.iter().filter(|(_, ok)| !ok).count()
    }

    /// Those that are out for longer.
    fn out_for(&self, longer: u64) -> impl Iterator<Item = u64> {
        let out = self.out.iter().copied();
        out.filter(move |age| *age > longer)
    }

    /// What is over the limit for certain: an age is the least that a latency will be, and what is younger is not known yet.
    fn slow(&self, limit: Duration) -> Option<String> {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let hanging = self.out_for(nanos).count();
        let ended = self.ended.iter().map(|(latency, _)| *latency);
        let sample: Sample = ended.chain(self.out_for(nanos)).collect();
        let all = self.ended.len() + hanging;
        let shown = humantime::format_duration(limit);
        if all < needed(0.95) as usize {
            // Too few for a percentile; but where most hang, no percentile is kept.
            let most = hanging >= LEAST && hanging * 2 > all;
            return most.then(|| {
                format!(
                    "{hanging} requests were still unanswered after more than {shown}, {} ended",
                    self.ended.len()
                )
            });
        }
        let p95 = sample.quantile(0.95).unwrap_or(0);
        (p95 > nanos).then(|| match hanging {
            0 => format!("p95 was {:.0} ms", millis(p95)),
            _ => format!(
                "p95 was {:.0} ms at least, with {hanging} requests still unanswered after more than {shown}",
                millis(p95)
            ),
        })
    }
}

/// Why the test has to stop now, if it has to.
pub(super) fn tripped(
    guards: &[Guard],
    lanes: &BTreeMap<String, Arc<Tally>>,
    now: u64,
) -> Option<String> {
    guards.iter().filter(|g| !g.baseline).find_map(|guard| {
        let window = u64::try_from(guard.window.as_nanos()).unwrap_or(u64::MAX);
        judge(
            guard,
            &Calls::of(guard, lanes, now.saturating_sub(window), now),
        )
    })
}

fn judge(guard: &Guard, calls: &Calls) -> Option<String> {
    let window = humantime::format_duration(guard.window);
    if let Some(limit) = guard.error_rate
        && calls.ended.len() >= LEAST
    {
        let rate = calls.failed() as f64 / calls.ended.len() as f64;
        if rate > limit {
            return Some(format!(
                "{:.0} % of {} requests failed in {window}; the guard allows {:.0} %",
                rate * 100.0,
                calls.ended.len(),
                limit * 100.0
            ));
        }
    }
    let limit = guard.p95?;
    let slow = calls.slow(limit)?;
    let limit = humantime::format_duration(limit);
    Some(format!("{slow} in {window}; the guard allows {limit}"))
}

/// Why no fault may be switched on: the baseline, which began at `from`, shows nothing that a fault could be told from.
pub(super) fn lost(
    guards: &[Guard],
    lanes: &BTreeMap<String, Arc<Tally>>,
    from: Option<u64>,
    now: u64,
) -> Option<String> {
    guards.iter().filter(|g| g.baseline).find_map(|guard| {
        let calls = Calls::of(guard, lanes, from?, now);
        let why = sick(guard, &calls)?;
        Some(format!(
            "the baseline is lost, no fault was switched on: {why}"
        ))
    })
}

/// What is wrong with a baseline.
fn sick(guard: &Guard, calls: &Calls) -> Option<String> {
    let (ended, failed) = (calls.ended.len(), calls.failed());
    if ended == failed {
        let out = calls.out.len();
        return Some(format!(
            "no request succeeded, {failed} failed, {out} were still unanswered"
        ));
    }
    let answered: Sample = calls.ended.iter().map(|(latency, _)| *latency).collect();
    let usual = answered.median().unwrap_or(0);
    let longest = usual.saturating_mul(UNUSUAL).max(HANGS);
    let hanging = calls.out_for(longest).count();
    let all = ended + hanging;
    let rate = (failed + hanging) as f64 / all as f64;
    if let Some(limit) = guard.error_rate
        && rate > limit
    {
        return Some(format!(
            "of {all} requests {failed} failed and {hanging} were unanswered for longer than {:.0} ms, {:.1} %; the guard allows {:.1} %",
            millis(longest),
            rate * 100.0,
            limit * 100.0
        ));
    }
    let limit = guard.p95?;
    let slow = calls.slow(limit)?;
    let limit = humantime::format_duration(limit);
    Some(format!("{slow}; the guard allows {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::load::Called;

    const MS: u64 = 1_000_000;

    fn guard(error_rate: f64, p95: Duration) -> Guard {
        Guard {
            lane: None,
            baseline: false,
            error_rate: Some(error_rate),
            p95: Some(p95),
            window: Duration::from_secs(5),
        }
    }

    fn calls(latency: u64, failed: usize, all: usize) -> Calls {
        Calls {
            ended: (0..all).map(|n| (latency, n >= failed)).collect(),
            out: Vec::new(),
        }
    }

    #[test]
    fn trips_on_too_many_failures_and_on_slowness_only() {
        let guard = guard(0.5, Duration::from_millis(1));
        assert_eq!(judge(&guard, &calls(10, 50, 100)), None);
        let why = judge(&guard, &calls(10, 51, 100)).expect("too many");
        assert!(why.contains("51 %"), "{why}");
        // Nine calls are no rate, and 58 no percentile.
        assert_eq!(judge(&guard, &calls(10, 9, 9)), None);
        assert_eq!(judge(&guard, &calls(2 * MS, 0, 58)), None);
        assert!(judge(&guard, &calls(2 * MS, 0, 59)).is_some());
    }

    #[test]
    fn requests_that_hang_are_slow_and_those_that_were_just_sent_are_not_known() {
        let guard = guard(0.5, Duration::from_secs(1));
        let hanging = |ended, age, out| Calls {
            out: vec![age; out],
            ..calls(MS, 0, ended)
        };
        let why = judge(&guard, &hanging(0, 1_001 * MS, 10)).expect("all hang");
        let said = "10 requests were still unanswered after more than 1s, 0 ended in 5s; the guard allows 1s";
        assert_eq!(why, said);
        assert_eq!(judge(&guard, &hanging(0, 1_001 * MS, 9)), None);
        assert_eq!(judge(&guard, &hanging(0, 999 * MS, 1_000)), None);
        assert_eq!(judge(&guard, &hanging(10, 1_001 * MS, 10)), None);
        // Of enough calls one in twenty is what a p95 allows.
        assert_eq!(judge(&guard, &hanging(97, 2_000 * MS, 3)), None);
        let why = judge(&guard, &hanging(90, 2_000 * MS, 10)).expect("too many");
        assert!(
            why.starts_with("p95 was 2000 ms at least, with 10 requests"),
            "{why}"
        );
    }

    #[test]
    fn a_lane_knows_for_how_long_its_requests_are_out() {
        let tally = Tally::default();
        for due in [10, 10, 30] {
            tally.begin(due);
        }
        assert_eq!(tally.ages(50), [40, 40, 20]);
        tally.add(Called {
            at: 45,
            intended: 10,
            sent: 11,
            request: String::new(),
            status: String::new(),
            ok: true,
            own: false,
        });
        assert_eq!(tally.ages(50), [40, 20]);
        assert_eq!(tally.outstanding(), 2);
    }

    #[test]
    fn a_baseline_is_lost_by_failures_by_hanging_and_by_slowness() {
        let guard = Guard {
            baseline: true,
            ..guard(0.01, Duration::from_millis(100))
        };
        assert_eq!(sick(&guard, &calls(MS, 1, 100)), None);
        let failing = sick(&guard, &calls(MS, 2, 100)).expect("two of a hundred");
        assert!(
            failing.starts_with("of 100 requests 2 failed and 0"),
            "{failing}"
        );
        assert!(
            failing.ends_with("2.0 %; the guard allows 1.0 %"),
            "{failing}"
        );
        let hanging = |age| Calls {
            out: vec![age; 20],
            ..calls(MS, 0, 80)
        };
        // Those of the last moments are not known yet.
        assert_eq!(sick(&guard, &hanging(90 * MS)), None);
        let why = sick(&guard, &hanging(1_500 * MS)).expect("a fifth hangs");
        assert!(
            why.contains("0 failed and 20 were unanswered for longer than 1000 ms"),
            "{why}"
        );
        let slow = sick(&guard, &calls(101 * MS, 0, 100)).expect("too slow");
        assert_eq!(slow, "p95 was 101 ms; the guard allows 100ms");
        let none = sick(&guard, &calls(MS, 3, 3)).expect("nothing succeeds");
        assert!(none.starts_with("no request succeeded, 3 failed"), "{none}");
        let silent = Calls {
            out: vec![MS; 4],
            ..Calls::default()
        };
        assert!(sick(&guard, &silent).is_some_and(|why| why.ends_with("4 were still unanswered")));
    }
}
