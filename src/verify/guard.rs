//! When a test stops early.

use super::load::Tally;
use super::plan::Guard;
use crate::insight::millis;
use crate::insight::sample::{Sample, needed};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Calls that an error rate is taken of.
const LEAST: usize = 10;

/// Why the test has to stop now, if it has to.
pub(super) fn tripped(
    guards: &[Guard],
    lanes: &BTreeMap<String, Arc<Tally>>,
    now: u64,
) -> Option<String> {
    guards.iter().find_map(|guard| {
        let window = u64::try_from(guard.window.as_nanos()).unwrap_or(u64::MAX);
        let from = now.saturating_sub(window);
        let chosen = lanes
            .iter()
            .filter(|(name, _)| guard.lane.as_ref().is_none_or(|lane| lane == *name));
        let calls: Vec<(u64, bool)> = chosen.flat_map(|(_, tally)| tally.since(from)).collect();
        judge(guard, &calls)
    })
}

fn judge(guard: &Guard, calls: &[(u64, bool)]) -> Option<String> {
    let window = humantime::format_duration(guard.window);
    if let Some(limit) = guard.error_rate
        && calls.len() >= LEAST
    {
        let failed = calls.iter().filter(|(_, ok)| !ok).count();
        let rate = failed as f64 / calls.len() as f64;
        if rate > limit {
            return Some(format!(
                "{:.0} % of {} requests failed in {window}; the guard allows {:.0} %",
                rate * 100.0,
                calls.len(),
                limit * 100.0
            ));
        }
    }
    if let Some(limit) = guard.p95
        && calls.len() >= needed(0.95) as usize
    {
        let sample: Sample = calls.iter().map(|(latency, _)| *latency).collect();
        let p95 = sample.quantile(0.95).unwrap_or(0);
        if u128::from(p95) > limit.as_nanos() {
            return Some(format!(
                "p95 was {:.0} ms in {window}; the guard allows {}",
                millis(p95),
                humantime::format_duration(limit)
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn trips_on_too_many_failures_and_on_slowness_only() {
        let guard = Guard {
            lane: None,
            error_rate: Some(0.5),
            p95: Some(Duration::from_millis(1)),
            window: Duration::from_secs(5),
        };
        let calls = |slow: u64, failed: usize, all: usize| -> Vec<(u64, bool)> {
            (0..all).map(|n| (slow, n >= failed)).collect()
        };
        assert_eq!(judge(&guard, &calls(10, 50, 100)), None);
        let why = judge(&guard, &calls(10, 51, 100)).expect("too many");
        assert!(why.contains("51 %"), "{why}");
        // Nine calls are no rate, and 58 no percentile.
        assert_eq!(judge(&guard, &calls(10, 9, 9)), None);
        assert_eq!(judge(&guard, &calls(2_000_000, 0, 58)), None);
        assert!(judge(&guard, &calls(2_000_000, 0, 59)).is_some());
    }
}
