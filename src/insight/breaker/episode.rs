//! A breaker's states over time: open while silent, half-open while it tries, closed when the calls are back.

use super::super::calls::Call;
use super::super::demand::Demand;
use super::super::finding::{Evidence, Finding, Interval};
use super::super::seconds;
use super::super::silence::{DUE, Silence, requests};
use super::super::view::{Span, View};
use super::{BACK_SHARE, BACK_WINDOW, Closing, Probes};
use crate::measure::trace::ProxyIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Calls that must be due in a window before their number says anything.
const MIN_BACK: f64 = 10.0;

/// One time that it was open. Nanoseconds since the recording began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Episode {
    /// It tripped not before.
    pub tripped_from: u64,
    /// It tripped not after.
    pub tripped_to: u64,
    /// The first call after it; `None`: none came.
    pub probed: Option<u64>,
    /// Calls that were tried at once then.
    pub probes: u64,
    /// Whether the first of them to end succeeded.
    pub probe_succeeded: bool,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Episodes {
    list: Vec<Episode>,
    probes: Finding<Probes>,
    closing: Finding<Closing>,
}

impl Episodes {
    pub(super) fn of(
        view: &View<'_>,
        proxy: ProxyIndex,
        demand: &Demand,
        calls: &[Call],
        silences: &[Silence],
    ) -> Self {
        let list: Vec<Episode> = silences
            .iter()
            .enumerate()
            .map(|(at, silence)| {
                let before = at.checked_sub(1).map(|before| &silences[before]);
                episode(calls, silence, before)
            })
            .collect();
        Self {
            probes: probes(view, demand, silences, &list),
            closing: closing(view, proxy, demand, calls, silences),
            list,
        }
    }

    pub(super) fn list(&self) -> Vec<Episode> {
        self.list.clone()
    }

    pub(super) fn probes(&self) -> Finding<Probes> {
        self.probes.clone()
    }

    pub(super) fn closing(&self) -> Finding<Closing> {
        self.closing.clone()
    }

    /// When it tripped for this silence. `lag`: how far the client is behind the wire.
    pub(super) fn trip(&self, at: usize, lag: u64) -> Option<Interval<u64>> {
        let episode = self.list.get(at)?;
        let high = episode.tripped_to.saturating_add(lag);
        Some(Interval::new(episode.tripped_from, high))
    }
}

/// `before`: the silence before this one, whose probes tripped it again.
fn episode(calls: &[Call], silence: &Silence, before: Option<&Silence>) -> Episode {
    let since = before.map_or(0, |b| b.span.to);
    let ended = calls
        .iter()
        .filter(|c| c.start >= since && c.start < silence.span.to);
    let failures: Vec<u64> = ended.filter(|c| c.failed).map(|c| c.end).collect();
    let last = failures.iter().copied().max();
    let first = if before.is_some() {
        failures.iter().copied().min()
    } else {
        run_start(calls, silence.span.from).or(last)
    };
    let burst = burst(calls, silence);
    Episode {
        tripped_from: first.unwrap_or(silence.span.from),
        tripped_to: last.unwrap_or(silence.span.from),
        probed: (!silence.open_ended).then_some(silence.span.to),
        probes: burst.len() as u64,
        probe_succeeded: burst
            .iter()
            .min_by_key(|c| c.end)
            .is_some_and(|c| !c.failed),
    }
}

/// The first failure of the run that ends at the silence.
fn run_start(calls: &[Call], until: u64) -> Option<u64> {
    let done = || calls.iter().filter(|c| c.end <= until);
    let success = done().filter(|c| !c.failed).map(|c| c.end).max();
    done()
        .filter(|c| c.failed && success.is_none_or(|s| c.end > s))
        .map(|c| c.end)
        .min()
}

/// The calls that began before the first of them had ended.
fn burst<'c>(calls: &'c [Call], silence: &Silence) -> Vec<&'c Call> {
    if silence.open_ended {
        return Vec::new();
    }
    let after = calls.iter().filter(|c| c.start >= silence.span.to);
    let first_end = after.clone().map(|c| c.end).min().unwrap_or(u64::MAX);
    after.take_while(|c| c.start < first_end).collect()
}

fn probes(
    view: &View<'_>,
    demand: &Demand,
    silences: &[Silence],
    episodes: &[Episode],
) -> Finding<Probes> {
    let mut evidence = Evidence::default();
    let mut found = Probes {
        at_once: 0,
        callers: 0,
    };
    for (silence, episode) in silences.iter().zip(episodes) {
        if let Some(at) = episode.probed {
            evidence.observe(at);
            found.at_once = found.at_once.max(episode.probes);
            // Who was at the door when it opened: requests in flight at that moment.
            let moment = Span {
                from: silence.span.to.saturating_sub(BACK_WINDOW),
                to: silence.span.to.saturating_add(1),
            };
            let waiting = requests(view, demand, moment).filter(|r| r.attempt.ended > at);
            found.callers = found.callers.max(waiting.count() as u64);
        }
    }
    if evidence.samples == 0 {
        return Finding::unknown(
            "no call came after it had opened",
            "a recovery phase longer than its open time, with load",
            evidence,
        );
    }
    if found.callers <= 1 {
        evidence.note("one caller at a time cannot show whether it lets several through");
    }
    Finding::known(found, evidence)
}

/// Whether it closed by itself after the fault, and how.
fn closing(
    view: &View<'_>,
    proxy: ProxyIndex,
    demand: &Demand,
    calls: &[Call],
    silences: &[Silence],
) -> Finding<Closing> {
    let mut evidence = Evidence::default();
    let fault_end = view.affected(proxy).map_or(0, |span| span.to);
    let after = |c: &&Call| !c.failed && !c.affected && c.end >= fault_end;
    let first_success = calls.iter().filter(after).map(|c| c.end).min();
    let last_silence = silences.last().map_or(0, |s| s.span.to);
    let Some(success) = first_success else {
        let left = demand.expected(
            view,
            Span {
                from: fault_end,
                to: view.span.to,
            },
        );
        evidence.figure("calls_due_after_the_fault", left);
        let seen = seconds(view.span.to.saturating_sub(fault_end));
        evidence.figure("seconds_after_the_fault", seen);
        let reason = if left < DUE {
            format!("{left:.0} calls were due after the fault, too few to tell")
        } else {
            format!("no call succeeded in the {seen:.1} s after the fault")
        };
        return Finding::unknown(
            reason,
            "a recovery phase of at least twice its open time, with load",
            evidence,
        );
    };
    match back(view, demand, calls, success.max(last_silence)) {
        Some(at) => {
            let successes = calls
                .iter()
                .filter(|c| !c.failed && c.end >= success && c.end <= at);
            let count = successes.count() as u64;
            evidence.samples = count;
            evidence.first = Some(success);
            evidence.last = Some(at);
            let closing = Closing {
                successes: count,
                after_seconds: seconds(success.saturating_sub(fault_end)),
            };
            Finding::known(closing, evidence)
        }
        None => Finding::unknown(
            "calls succeed again, but the recording ends before their rate is back",
            "a longer recovery phase, or a higher rate",
            evidence,
        ),
    }
}

/// The begin of the first window after `from` in which as many calls came as were due.
fn back(view: &View<'_>, demand: &Demand, calls: &[Call], from: u64) -> Option<u64> {
    const STEP: u64 = BACK_WINDOW / 10;
    let starts: Vec<u64> = calls.iter().map(|c| c.start).collect();
    let mut at = from;
    // A window grows until enough calls are due in it, or the recording ends.
    while at < view.span.to {
        let mut window = BACK_WINDOW;
        while at.saturating_add(window) <= view.span.to {
            let span = Span {
                from: at,
                to: at + window,
            };
            let due = demand.expected(view, span);
            if due >= MIN_BACK {
                let first = starts.partition_point(|s| *s < span.from);
                let last = starts.partition_point(|s| *s < span.to);
                if (last - first) as f64 >= BACK_SHARE * due {
                    return Some(at);
                }
                break;
            }
            window += BACK_WINDOW;
        }
        at += STEP;
    }
    None
}
