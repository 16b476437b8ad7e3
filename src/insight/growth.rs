//! Memory and processor time of a watched process.

use super::SECOND;
use super::finding::{Evidence, Finding};
use super::sample::Sample;
use super::view::{Span, View};
use crate::measure::trace::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Looks that growth is read from, at least.
const LEAST: usize = 60;

/// Time that growth is read from, at least.
pub(crate) const SHORTEST: u64 = 120 * SECOND;

/// Share of the looks, at the begin and at the end, that are compared.
const ENDS: f64 = 0.2;

/// Memory over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Median of the last fifth less that of the first, in bytes.
    pub bytes: i64,
    /// Median slope between any two looks, in bytes a second: one jump does not move it.
    pub bytes_per_second: f64,
    /// Where 95 % of the slopes lie.
    pub slope_low: f64,
    /// See above.
    pub slope_high: f64,
    /// The most that was used, in bytes.
    pub peak_bytes: u64,
    /// Time that was watched, in seconds.
    pub watched_seconds: f64,
}

/// Processor time, as a share of one core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuUse {
    /// Over all of the time.
    pub mean: f64,
    /// Between two looks, at most.
    pub peak: f64,
    /// Descriptors at most.
    pub most_descriptors: u32,
    /// Threads at most.
    pub most_threads: u32,
}

#[derive(Clone, Copy)]
struct Look {
    at: u64,
    pid: u32,
    memory: u64,
    cpu: u64,
    descriptors: u32,
    threads: u32,
}

fn looks(view: &View<'_>, target: &str, span: Span) -> Vec<Look> {
    let name = view.trace.names.find(target);
    let records = view.trace.records.iter();
    let looks = records.filter_map(|record| match *record {
        Record::Watched {
            at,
            target,
            pid,
            memory,
            cpu,
            descriptors,
            threads,
        } if Some(target) == name && span.contains(at) => Some(Look {
            at,
            pid,
            memory,
            cpu,
            descriptors,
            threads,
        }),
        _ => None,
    });
    looks.collect()
}

/// Whether it is one process all the while.
fn restarted(looks: &[Look]) -> bool {
    looks.windows(2).any(|pair| pair[0].pid != pair[1].pid)
}

/// How the memory of a watched process grew in a time. `shortest`: the least time to judge by, in nanoseconds; 0: two minutes.
pub fn memory(view: &View<'_>, target: &str, span: Span, shortest: u64) -> Finding<Growth> {
    let looks = looks(view, target, span);
    let mut evidence = Evidence::default();
    for look in &looks {
        evidence.observe(look.at);
    }
    let watched = match (looks.first(), looks.last()) {
        (Some(first), Some(last)) => last.at - first.at,
        _ => 0,
    };
    let (shortest, least) = if shortest == 0 {
        (SHORTEST, LEAST)
    } else {
        (
            shortest,
            (shortest / SECOND).clamp(5, LEAST as u64) as usize,
        )
    };
    if watched.saturating_add(2 * SECOND) < shortest || looks.len() < least {
        return Finding::unknown(
            format!(
                "{} looks at `{target}` over {:.0} s; {least} over {:.0} s are needed",
                looks.len(),
                super::seconds(watched),
                super::seconds(shortest)
            ),
            "longer phases under load, or `memory_window` for a weaker statement",
            evidence,
        );
    }
    if restarted(&looks) {
        return Finding::unknown(
            format!("`{target}` was restarted"),
            "a service that lives as long as the test",
            evidence,
        );
    }
    let ends = ((looks.len() as f64 * ENDS) as usize).max(1);
    let median = |looks: &[Look]| {
        let memory: Sample = looks.iter().map(|l| l.memory).collect();
        memory.median().unwrap_or(0)
    };
    let (first, last) = (median(&looks[..ends]), median(&looks[looks.len() - ends..]));
    let slopes = slopes(&looks);
    let at = |q: f64| {
        let place = (slopes.len() as f64 * q) as usize;
        slopes
            .get(place.min(slopes.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    };
    Finding::known(
        Growth {
            bytes: last.cast_signed() - first.cast_signed(),
            bytes_per_second: at(0.5),
            slope_low: at(0.025),
            slope_high: at(0.975),
            peak_bytes: looks.iter().map(|l| l.memory).max().unwrap_or(0),
            watched_seconds: super::seconds(watched),
        },
        evidence,
    )
}

/// Slopes between any two looks (Theil and Sen), sorted; of long runs every so many looks.
fn slopes(looks: &[Look]) -> Vec<f64> {
    let step = looks.len().div_ceil(500).max(1);
    let looks: Vec<&Look> = looks.iter().step_by(step).collect();
    let mut slopes = Vec::with_capacity(looks.len() * looks.len() / 2);
    for (at, a) in looks.iter().enumerate() {
        for b in &looks[at + 1..] {
            if b.at > a.at {
                let bytes = b.memory as f64 - a.memory as f64;
                slopes.push(bytes / super::seconds(b.at - a.at));
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes
}

/// What a watched process used of the processor in a time.
pub fn cpu(view: &View<'_>, target: &str, span: Span) -> Finding<CpuUse> {
    let looks = looks(view, target, span);
    let mut evidence = Evidence::default();
    for look in &looks {
        evidence.observe(look.at);
    }
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
        return Finding::unknown(
            format!("nobody looked at `{target}`"),
            "a `[watch]` of it",
            evidence,
        );
    };
    if looks.len() < 5 || restarted(&looks) {
        return Finding::unknown(
            format!(
                "{} looks at `{target}`, or it was restarted; 5 at one process are needed",
                looks.len()
            ),
            "a longer phase, and a service that lives as long as the test",
            evidence,
        );
    }
    let share = |from: &Look, to: &Look| {
        to.cpu.saturating_sub(from.cpu) as f64 / to.at.saturating_sub(from.at).max(1) as f64
    };
    let peaks = looks.windows(2).map(|pair| share(&pair[0], &pair[1]));
    Finding::known(
        CpuUse {
            mean: share(first, last),
            peak: peaks.fold(0.0, f64::max),
            most_descriptors: looks.iter().map(|l| l.descriptors).max().unwrap_or(0),
            most_threads: looks.iter().map(|l| l.threads).max().unwrap_or(0),
        },
        evidence,
    )
}
