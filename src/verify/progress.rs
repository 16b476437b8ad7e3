//! What people are told while a test runs. Verdicts come from the recording alone; this is a look in passing.

use crate::insight::millis;
use crate::insight::sample::Sample;
use std::collections::BTreeMap;
use std::time::Duration;

/// Calls that were due and did not come before a dependency counts as silent: fewer are chance (e^-7 is below 0.1 %).
const DUE: f64 = 7.0;
/// Requests to the API that a rate of calls is taken of.
const LEAST: u64 = 30;

/// Tells people how far a test is.
pub(crate) trait Progress: Sync {
    /// Something happened.
    fn say(&self, text: &str);
    /// How it is now: once a second.
    fn now(&self, _now: &Now) {}
}

impl<F: Fn(&str) + Sync> Progress for F {
    fn say(&self, text: &str) {
        self(text);
    }
}

/// The last two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) phase: String,
    /// Until the phase is over, at most; `None`: it counts.
    pub(crate) left: Option<Duration>,
    /// Latencies and successes, as callers saw them.
    pub(crate) calls: Vec<(u64, bool)>,
    /// Dependencies that the service no longer asks, though it used to and is asked itself.
    pub(crate) silent: Vec<String>,
}

impl Now {
    /// "fault, 12s left: p50 1.2 ms, p99 3.4 ms, 0 of 512 requests failed; redis is not asked (breaker open?)".
    pub(crate) fn line(&self) -> String {
        let left = self.left.map_or(String::new(), |left| {
            let seconds = Duration::from_secs(left.as_secs_f64().ceil() as u64);
            format!(", {} left", humantime::format_duration(seconds))
        });
        let latencies: Sample = self.calls.iter().map(|(latency, _)| *latency).collect();
        let failed = self.calls.iter().filter(|(_, ok)| !ok).count();
        let mut line = format!("{}{left}: ", self.phase);
        match (latencies.quantile(0.5), latencies.quantile(0.99)) {
            (Some(p50), Some(p99)) => {
                line += &format!(
                    "p50 {:.1} ms, p99 {:.1} ms, {failed} of {} requests failed",
                    millis(p50),
                    millis(p99),
                    self.calls.len()
                );
            }
            _ => line += "no requests of ours",
        }
        for name in &self.silent {
            line += &format!("; {name} is not asked (breaker open?)");
        }
        line
    }
}

/// Counts what passes each proxy, to see where calls cease.
#[derive(Debug, Default)]
pub(super) struct Passing {
    totals: BTreeMap<String, u64>,
    /// What passed while nothing was disturbed.
    normal: BTreeMap<String, u64>,
    /// Calls that were due since the last one, by dependency.
    due: BTreeMap<String, f64>,
}

impl Passing {
    /// Takes what has passed so far. `api`: the proxy before the service; `normal`: no fault is on. Answers who is silent.
    pub(super) fn take(
        &mut self,
        totals: BTreeMap<String, u64>,
        api: Option<&str>,
        normal: bool,
    ) -> Vec<String> {
        let before = std::mem::replace(&mut self.totals, totals);
        let since = |name: &str| {
            let now = self.totals.get(name).copied().unwrap_or(0);
            now.saturating_sub(before.get(name).copied().unwrap_or(0))
        };
        let mut silent = Vec::new();
        let Some(api) = api else { return silent };
        let asked = since(api);
        for name in self.totals.keys() {
            let passed = since(name);
            if normal {
                *self.normal.entry(name.clone()).or_default() += passed;
            }
            let usual = |name: &str| self.normal.get(name).copied().unwrap_or(0);
            if name == api || usual(api) < LEAST {
                continue;
            }
            let due = self.due.entry(name.clone()).or_default();
            if passed > 0 {
                *due = 0.0;
            } else {
                *due += asked as f64 * usual(name) as f64 / usual(api) as f64;
            }
            if *due >= DUE {
                silent.push(name.clone());
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_last_seconds_in_a_line() {
        let mut now = Now {
            phase: "fault".into(),
            left: Some(Duration::from_millis(11_200)),
            calls: vec![(1_000_000, true), (1_200_000, true), (3_400_000, false)],
            silent: vec!["redis".into()],
        };
        assert_eq!(
            now.line(),
            "fault, 12s left: p50 1.2 ms, p99 3.4 ms, 1 of 3 requests failed; redis is not asked (breaker open?)"
        );
        now.calls.clear();
        (now.left, now.silent) = (None, Vec::new());
        assert_eq!(now.line(), "fault: no requests of ours");
    }

    #[test]
    fn who_is_no_longer_asked_is_silent_once_enough_calls_were_due() {
        let totals = |api: u64, redis: u64| {
            let totals = [("api", api), ("redis", redis)];
            BTreeMap::from(totals.map(|(name, count)| (name.to_owned(), count)))
        };
        let mut passing = Passing::default();
        assert!(passing.take(totals(50, 25), Some("api"), true).is_empty());
        // Half a call for each request: twelve requests are six calls, fourteen are seven.
        assert!(passing.take(totals(62, 25), Some("api"), false).is_empty());
        assert_eq!(passing.take(totals(64, 25), Some("api"), false), ["redis"]);
        // Nobody asks: nothing more is due, and nothing is known to have changed.
        assert_eq!(passing.take(totals(64, 25), Some("api"), false), ["redis"]);
        assert!(passing.take(totals(70, 26), Some("api"), false).is_empty());
        assert!(passing.take(totals(90, 26), None, false).is_empty());
    }

    #[test]
    fn too_little_before_says_nothing() {
        let totals = |api: u64| BTreeMap::from([("api".to_owned(), api), ("db".to_owned(), 29)]);
        let mut passing = Passing::default();
        assert!(passing.take(totals(29), Some("api"), true).is_empty());
        assert!(passing.take(totals(900), Some("api"), false).is_empty());
    }
}
