//! Whether clients come back all at once when a dependency does.

use super::finding::{Evidence, Finding};
use super::view::View;
use super::{MILLISECOND, SECOND};
use crate::measure::trace::ProxyIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Connections that say something about their order, at least.
const LEAST: usize = 20;

/// The width of a bin in which they count as at once.
const BIN: u64 = 100 * MILLISECOND;

/// Share of all new connections in one bin that makes a storm.
const STORM_SHARE: f64 = 0.5;

/// Rate of new connections over that before the fault that makes a storm.
const STORM_RATE: f64 = 5.0;

/// How clients came back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reconnects {
    /// Connections in the worst 100 ms.
    pub peak: u64,
    /// Their share of all that came from then on.
    pub peak_share: f64,
    /// Connections a second in the worst second, over the rate before the fault; `None`: there were none before.
    pub rate_over_baseline: Option<f64>,
    /// Whether that is a storm.
    pub storm: bool,
}

/// How the clients of a proxy reconnected from the begin of the fault on.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Reconnects> {
    let mut evidence = Evidence::default();
    let Some(affected) = view.affected(proxy) else {
        return Finding::unknown(
            "no fault touched this dependency",
            "a fault that closes connections: `disconnect`, or `refuse` with `existing = \"cut\"`",
            evidence,
        );
    };
    let sessions = view.passed(proxy).sessions.values();
    let mut opened: Vec<u64> = sessions.map(|s| s.opened).collect();
    opened.sort_unstable();
    let before = opened.partition_point(|at| *at < affected.from);
    let after = &opened[before..];
    for at in after {
        evidence.observe(*at);
    }
    if after.len() < LEAST {
        return Finding::unknown(
            format!("{} new connections; {LEAST} are needed", after.len()),
            "a larger pool or more clients, and a fault that closes connections",
            evidence,
        );
    }
    let peak = fullest(after, BIN);
    let share = peak as f64 / after.len() as f64;
    let undisturbed = view.baseline.length() as f64 / SECOND as f64;
    let calm = opened
        .iter()
        .filter(|at| view.baseline.contains(**at))
        .count();
    let rate = (calm > 0 && undisturbed > 0.0)
        .then(|| fullest(after, SECOND) as f64 / (calm as f64 / undisturbed));
    Finding::known(
        Reconnects {
            peak: peak as u64,
            peak_share: share,
            rate_over_baseline: rate,
            storm: share > STORM_SHARE && rate.is_none_or(|rate| rate > STORM_RATE),
        },
        evidence,
    )
}

/// The most moments within one width; they are sorted.
fn fullest(moments: &[u64], width: u64) -> usize {
    let within = |(at, from): (usize, &u64)| {
        moments.partition_point(|m| *m < from.saturating_add(width)) - at
    };
    moments.iter().enumerate().map(within).max().unwrap_or(0)
}
