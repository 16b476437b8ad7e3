//! The search for capacity: the rate of the load is stepped until the service no longer keeps to what is asked of it.
//!
//! [`ladder`] says which rate is next, [`step`] what a step showed, [`conduct`] turns the dial of the load and waits. A step holds its
//! rate until there are enough requests; before the next one everything that was sent is answered or given up, so that no step
//! inherits the queue of the one before.

pub(crate) mod calls;
pub(crate) mod conduct;
pub(crate) mod ladder;
pub(crate) mod step;

use ladder::{Ended, Held};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use step::LaneStep;

pub(crate) use step::Slo;

/// How a search is carried out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Steps {
    /// How long a rate is held at least.
    pub(crate) hold: Duration,
    /// The time for all of them.
    pub(crate) within: Duration,
    /// Multiples of the declared rate about which something is expected.
    pub(crate) wanted: Vec<f64>,
}

/// Share of a step, at its begin, that is left out: connections are made, caches filled.
const SETTLES: f64 = 0.2;

impl Steps {
    /// How long a rate has to be held until each of these lanes has its samples: (requests a second, samples).
    pub(crate) fn holds(&self, lanes: impl IntoIterator<Item = (f64, u64)>) -> Duration {
        let needed = lanes
            .into_iter()
            .map(|(rate, samples)| (samples as f64 + 2.0) / rate.max(1e-6) / (1.0 - SETTLES))
            .fold(0.0, f64::max);
        self.hold.max(Duration::from_secs_f64(needed.min(1e6)))
    }
}

/// One rate that was held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Step {
    /// The multiple of the declared rate.
    pub(crate) factor: f64,
    /// Requests a second, of all open lanes.
    pub(crate) rate: f64,
    /// Successes a second while it lasted.
    pub(crate) achieved: f64,
    /// The slowest lane's p95 from the time at which a request was due, in milliseconds.
    pub(crate) p95_ms: f64,
    /// Share of failures.
    pub(crate) error_rate: f64,
    pub(crate) held: Held,
    /// Nanoseconds since the recording began.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) lanes: BTreeMap<String, LaneStep>,
}

impl Step {
    /// Puts the lanes together: one that breaks its limits breaks the step, one that cannot be told leaves it open.
    fn of(factor: f64, (from, to): (u64, u64), lanes: BTreeMap<String, LaneStep>) -> Self {
        let sum = |of: fn(&LaneStep) -> f64| lanes.values().map(of).sum::<f64>();
        let samples = sum(|l| l.samples as f64);
        let any = |held| lanes.values().any(|l| l.held == held);
        Self {
            factor,
            rate: sum(|l| l.rate),
            achieved: sum(|l| l.achieved),
            p95_ms: lanes.values().map(|l| l.p95_ms).fold(0.0, f64::max),
            error_rate: sum(|l| l.error_rate * l.samples as f64) / samples.max(1.0),
            held: if any(Held::Broken) {
                Held::Broken
            } else if any(Held::Unknown) {
                Held::Unknown
            } else {
                Held::Kept
            },
            from,
            to,
            lanes,
        }
    }

    /// Which lane did not keep what, or why that cannot be told.
    pub(crate) fn why(&self) -> String {
        let lanes = self.lanes.iter().filter(|(_, l)| l.held == self.held);
        let whys = lanes.filter_map(|(name, l)| Some(format!("lane {name}: {}", l.why.as_ref()?)));
        whys.collect::<Vec<_>>().join("; ")
    }

    /// "2.00x, 110.0/s: 109.8/s answered, p95 12.1 ms, 0.0 % errors: kept".
    pub(crate) fn line(&self) -> String {
        let why = self.why();
        format!(
            "{}: {:.1}/s answered, p95 {:.1} ms, {:.1} % errors: {}{}{why}",
            self.named(),
            self.achieved,
            self.p95_ms,
            self.error_rate * 100.0,
            self.held.words(),
            if why.is_empty() { "" } else { ", " },
        )
    }

    /// "2.00x, 110.0/s".
    pub(crate) fn named(&self) -> String {
        format!("{:.2}x, {:.1}/s", self.factor, self.rate)
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Capacity {
    /// Requests a second of all open lanes, as declared.
    pub(crate) declared: f64,
    /// The largest multiple of it that kept every limit.
    pub(crate) kept: Option<f64>,
    /// The smallest that did not.
    pub(crate) broken: Option<f64>,
    pub(crate) ended: Ended,
    pub(crate) steps: Vec<Step>,
}
