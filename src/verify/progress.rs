//! What people are told while a test runs. Verdicts come from the recording alone; this is a look in passing.

use crate::insight::millis;
use crate::insight::sample::Sample;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Calls that were due and did not come before a breaker counts as open: fewer are chance (e^-7 is below 0.1 %).
const DUE: f64 = 7.0;
/// Calls that were due of which a third does not come by chance either.
const MANY: f64 = 2.0 * DUE;
/// Requests to the API that a rate of calls is taken of.
const LEAST: u64 = 30;

/// Tells people how far a test is.
pub(crate) trait Progress: Sync {
    /// Something happened.
    fn say(&self, text: &str);
    /// How it is now: once a second.
    fn now(&self, now: &Now);
}

/// The last two seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) phase: String,
    /// Until the phase is over, at most; `None`: it counts.
    pub(crate) left: Option<Duration>,
    /// What callers saw; `None`: we send nothing.
    pub(crate) calls: Option<Calls>,
    /// By dependency.
    pub(crate) breakers: Vec<(String, Breaker)>,
}

/// What callers saw. Latencies in nanoseconds; none where nothing was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) count: u64,
    pub(crate) failed: u64,
}

/// How the breaker before a dependency seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breaker {
    /// Calls are due, and none come.
    Open,
    /// A few come, where many are due.
    HalfOpen,
    /// Not known: too little was seen, or the load asks the dependency as well.
    Unknown,
    /// Calls come.
    Closed,
}

impl Breaker {
    const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::HalfOpen => "half open",
            Self::Unknown => "-",
            Self::Closed => "closed",
        }
    }
}

impl Calls {
    /// Of latencies and successes.
    pub(crate) fn of(calls: &[(u64, bool)]) -> Self {
        let latencies: Sample = calls.iter().map(|(latency, _)| *latency).collect();
        Self {
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            count: calls.len() as u64,
            failed: calls.iter().filter(|(_, ok)| !ok).count() as u64,
        }
    }
}

impl Now {
    /// "fault, 12s left | p50 1.2 ms, p99 3.4 ms | 0 of 512 failed | breaker: redis open".
    pub(crate) fn line(&self) -> String {
        let calls = self.calls.map_or("no requests of ours".to_owned(), |c| {
            let ms = |ns: Option<u64>| ms(ns).map_or("-".to_owned(), |ms| format!("{ms} ms"));
            let (p50, p99) = (ms(c.p50), ms(c.p99));
            format!("p50 {p50}, p99 {p99} | {} of {} failed", c.failed, c.count)
        });
        let breakers = self.breakers().unwrap_or_else(|| "-".into());
        format!("{} | {calls} | breaker: {breakers}", self.begin())
    }

    /// The same for a terminal of 80 columns: "fault, 12s left | p50 1.2, p99 3.4 ms | 0/512 failed | redis open".
    pub(crate) fn short(&self) -> String {
        let calls = self.calls.map_or("no requests of ours".to_owned(), |c| {
            let ms = |ns: Option<u64>| ms(ns).unwrap_or_else(|| "-".to_owned());
            let (p50, p99) = (ms(c.p50), ms(c.p99));
            format!("p50 {p50}, p99 {p99} ms | {}/{} failed", c.failed, c.count)
        });
        let breakers = self.breakers().unwrap_or_else(|| "breaker -".into());
        format!("{} | {calls} | {breakers}", self.begin())
    }

    fn begin(&self) -> String {
        let left = self.left.map(|left| {
            let seconds = Duration::from_secs(left.as_secs_f64().ceil() as u64);
            format!(", {} left", humantime::format_duration(seconds))
        });
        format!("{}{}", self.phase, left.unwrap_or_default())
    }

    /// What stands at the end is cut off first: those that are open stand in front.
    fn breakers(&self) -> Option<String> {
        let mut breakers: Vec<_> = self.breakers.iter().collect();
        breakers.sort_by_key(|(name, state)| (*state, name.clone()));
        let words = breakers.iter().map(|(n, s)| format!("{n} {}", s.word()));
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Milliseconds, with a tenth.
fn ms(ns: Option<u64>) -> Option<String> {
    ns.map(|ns| format!("{:.1}", millis(ns)))
}

/// What has passed a proxy since the test began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// Exchanges that ended.
    pub(super) ended: u64,
    /// Exchanges that did not.
    pub(super) outstanding: u64,
}

/// Counts what passes each proxy, to see where calls cease.
#[derive(Debug, Default)]
pub(super) struct Passing {
    totals: BTreeMap<String, Passed>,
    /// What passed while nothing was disturbed.
    normal: BTreeMap<String, u64>,
    /// Calls that were due since the last one, by dependency.
    due: BTreeMap<String, f64>,
}

impl Passing {
    /// Takes what has passed so far. `api`: the proxy before the service; `ours`: proxies that the load asks itself; `normal`: no
    /// fault is on.
    pub(super) fn take(
        &mut self,
        totals: BTreeMap<String, Passed>,
        api: Option<&str>,
        ours: &BTreeSet<&str>,
        normal: bool,
    ) -> Vec<(String, Breaker)> {
        let before = std::mem::replace(&mut self.totals, totals);
        let Some(api) = api else { return Vec::new() };
        let since: BTreeMap<&String, u64> = self
            .totals
            .iter()
            .map(|(name, now)| {
                let before = before.get(name).map_or(0, |passed| passed.ended);
                (name, now.ended.saturating_sub(before))
            })
            .collect();
        let asked = since.iter().find(|(name, _)| name.as_str() == api);
        let asked = asked.map_or(0, |(_, count)| *count);
        if normal {
            for (name, count) in &since {
                *self.normal.entry((*name).clone()).or_default() += count;
            }
        }
        let usual = |name: &str| self.normal.get(name).copied().unwrap_or(0);
        let dependencies = since.iter().filter(|(name, _)| name.as_str() != api);
        dependencies
            .map(|(name, passed)| {
                if usual(api) < LEAST || usual(name) == 0 || ours.contains(name.as_str()) {
                    return ((*name).clone(), Breaker::Unknown);
                }
                let due = self.due.entry((*name).clone()).or_default();
                let now = asked as f64 * usual(name) as f64 / usual(api) as f64;
                let waits = self.totals.get(*name).is_some_and(|p| p.outstanding > 0);
                // Whoever waits for an answer has asked.
                *due = if *passed > 0 || waits {
                    0.0
                } else {
                    *due + now
                };
                let state = if *due >= DUE {
                    Breaker::Open
                } else if *passed > 0 && now >= MANY && (*passed as f64) < now / 3.0 {
                    Breaker::HalfOpen
                } else {
                    Breaker::Closed
                };
                ((*name).clone(), state)
            })
            .collect()
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
            calls: Some(Calls::of(&[
                (1_000_000, true),
                (1_200_000, true),
                (3_400_000, false),
            ])),
            breakers: vec![
                ("db".into(), Breaker::Unknown),
                ("mail".into(), Breaker::Closed),
                ("redis".into(), Breaker::Open),
            ],
        };
        assert_eq!(
            now.line(),
            "fault, 12s left | p50 1.2 ms, p99 3.4 ms | 1 of 3 failed | breaker: redis open, db -, mail closed"
        );
        assert_eq!(
            now.short(),
            "fault, 12s left | p50 1.2, p99 3.4 ms | 1/3 failed | redis open, db -, mail closed"
        );
        now.calls = Some(Calls::of(&[]));
        (now.left, now.breakers) = (None, Vec::new());
        let nothing = "fault | p50 -, p99 - | 0 of 0 failed | breaker: -";
        assert_eq!(now.line(), nothing);
        let nothing = "fault | p50 -, p99 - ms | 0/0 failed | breaker -";
        assert_eq!(now.short(), nothing);
        now.calls = None;
        assert_eq!(now.line(), "fault | no requests of ours | breaker: -");
    }

    fn totals<const N: usize>(of: [(&str, u64, u64); N]) -> BTreeMap<String, Passed> {
        let passed = |ended, outstanding| Passed { ended, outstanding };
        let of = of.into_iter();
        of.map(|(name, ended, open)| (name.to_owned(), passed(ended, open)))
            .collect()
    }

    fn redis(passing: &mut Passing, api: u64, redis: u64, open: u64, normal: bool) -> Breaker {
        let totals = totals([("api", api, 0), ("redis", redis, open)]);
        let states = passing.take(totals, Some("api"), &BTreeSet::new(), normal);
        assert_eq!(states.len(), 1, "{states:?}");
        states[0].1
    }

    #[test]
    fn a_breaker_is_open_once_enough_calls_were_due() {
        let passing = &mut Passing::default();
        assert_eq!(redis(passing, 50, 25, 0, true), Breaker::Closed);
        // Half a call for each request: twelve requests are six calls, fourteen are seven.
        assert_eq!(redis(passing, 62, 25, 0, false), Breaker::Closed);
        assert_eq!(redis(passing, 64, 25, 0, false), Breaker::Open);
        // Nobody asks: nothing more is due, and nothing is known to have changed.
        assert_eq!(redis(passing, 64, 25, 0, false), Breaker::Open);
        assert_eq!(redis(passing, 104, 26, 0, false), Breaker::HalfOpen);
        assert_eq!(redis(passing, 124, 26, 0, false), Breaker::Open);
        assert_eq!(redis(passing, 144, 36, 0, false), Breaker::Closed);
        // Few are due: that few come is no wonder.
        assert_eq!(redis(passing, 154, 37, 0, false), Breaker::Closed);
    }

    #[test]
    fn calls_that_wait_for_an_answer_were_made() {
        let passing = &mut Passing::default();
        assert_eq!(redis(passing, 50, 25, 0, true), Breaker::Closed);
        assert_eq!(redis(passing, 150, 25, 3, false), Breaker::Closed);
        assert_eq!(redis(passing, 250, 25, 0, false), Breaker::Open);
    }

    #[test]
    fn too_little_before_says_nothing() {
        let passing = &mut Passing::default();
        assert_eq!(redis(passing, 29, 29, 0, true), Breaker::Unknown);
        assert_eq!(redis(passing, 900, 29, 0, false), Breaker::Unknown);
    }

    #[test]
    fn what_the_load_asks_itself_hides_the_service() {
        let passing = &mut Passing::default();
        let ours = BTreeSet::from(["redis"]);
        let of = || totals([("api", 50, 0), ("redis", 50, 0)]);
        let states = passing.take(of(), Some("api"), &ours, true);
        assert_eq!(states, [("redis".to_owned(), Breaker::Unknown)]);
        let none = passing.take(of(), None, &BTreeSet::new(), true);
        assert_eq!(none, [], "there is no API");
    }
}
