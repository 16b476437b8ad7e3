//! How long a service takes to be itself again after a fault.
//!
//! It counts from the last reply that the fault touched. Recovered is not the first success, but the begin of the first time of
//! a given length in which errors, latency and the rate of calls are what they were before.

use super::calls::Reading;
use super::demand::Demand;
use super::finding::{Evidence, Finding};
use super::sample::{Sample, needed};
use super::seconds;
use super::view::{Passed, Span, View};
use super::window::Window;
use crate::measure::trace::ProxyIndex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Errors may be more than before by this share.
const MORE_ERRORS: f64 = 0.01;

/// The 95th percentile may be more than before by this factor.
const SLOWER: f64 = 1.2;

/// ... or by as much as this, where it is tiny: what a busy machine adds.
const TINY: u64 = 5 * super::MILLISECOND;

/// Calls may be fewer than due by this factor.
const FEWER: f64 = 0.9;

/// A request passes the proxy twice, and may be late by as much as the proxy each time.
const PASSES: u64 = 2;

/// In the evidence: seconds to recovery where all that the proxy itself was late by is taken for its own doing, if that makes them fewer.
pub const SECONDS_AT_LEAST: &str = "seconds_at_least";

/// In the evidence of what never was itself again: requests in the last window, and those that still waited at its end. It is not
/// there where too little was asked to know.
pub const ASKED_AT_END: &str = "asked_at_end";

/// Answers that a window needs before its error rate means something.
pub(crate) const LEAST: usize = 30;

/// When it was itself again. Seconds from the last reply that the fault touched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// To the begin of the first stable window, and to the first success at least.
    pub seconds: f64,
    /// To the first success of a request that needs the dependency.
    pub first_success_seconds: Option<f64>,
    /// How long the stable window is.
    pub stable_seconds: f64,
}

/// When the service was itself again after what a fault did to this dependency. `stable`: how long it has to be, in nanoseconds.
pub fn infer(view: &View<'_>, proxy: ProxyIndex, stable: u64) -> Finding<Recovery> {
    let mut evidence = Evidence::default();
    let Some(affected) = view.affected(proxy) else {
        return Finding::unknown(
            "no fault touched a request to this dependency",
            "let the fault match what the service asks, and the phase last long enough for it",
            evidence,
        );
    };
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let watched = Watched::new(view, proxy);
    let before = watched.window(view.baseline);
    if before.ended < LEAST {
        evidence.samples = before.ended as u64;
        return Finding::unknown(
            format!(
                "{} undisturbed requests to compare with; {LEAST} are needed",
                before.ended
            ),
            "a longer baseline phase or a higher rate",
            evidence,
        );
    }
    let judge = Judge {
        errors: before.error_rate().unwrap_or(0.0),
        p95: before.latency.quantile(0.95).unwrap_or(0),
        median: before.latency.median().unwrap_or(0),
        watched: &watched,
    };
    evidence.figure("baseline_error_rate", judge.errors);
    evidence.figure("baseline_p95_ms", super::millis(judge.p95));
    let first_success = watched.first_success(affected.to);
    let left = view.asked_to.saturating_sub(affected.to);
    if left < stable {
        return Finding::unknown(
            format!(
                "{:.1} s were watched after the fault; {:.1} s are needed",
                seconds(left),
                seconds(stable)
            ),
            "a recovery phase longer than `stable_for` plus the limit",
            evidence,
        );
    }
    let found = judge.first_stable(affected.to, stable, 0);
    let lenient = judge.first_stable(affected.to, stable, PASSES);
    if let Some((at, _)) = lenient
        && found.as_ref().is_none_or(|(found, _)| *found > at)
    {
        evidence.figure(SECONDS_AT_LEAST, seconds(at - affected.to));
    }
    match found {
        Some((at, window)) => {
            evidence.samples = window.ended as u64;
            evidence.first = Some(at);
            evidence.last = Some(at + stable);
            evidence.figure("error_rate", window.error_rate().unwrap_or(0.0));
            // A window bears a few missing calls at its begin; nobody is himself again before a call has succeeded.
            let itself = at.max(first_success.unwrap_or(at));
            let recovery = Recovery {
                seconds: seconds(itself - affected.to),
                first_success_seconds: first_success.map(|at| seconds(at - affected.to)),
                stable_seconds: seconds(stable),
            };
            Finding::known(recovery, evidence)
        }
        None if lenient.is_some() => Finding::unknown(
            "it was slower than before by no more than the proxy itself was late: the machine may be the reason",
            "less at once on this machine",
            evidence,
        ),
        None => judge.never(evidence, affected, stable),
    }
}

/// Whose errors and latencies count: the service's own requests where they are seen, else the calls themselves.
struct Watched<'v, 't> {
    view: &'v View<'t>,
    proxy: ProxyIndex,
    passed: &'v Passed<'t>,
    demand: Option<&'v Demand>,
}

impl<'v, 't> Watched<'v, 't> {
    fn new(view: &'v View<'t>, proxy: ProxyIndex) -> Self {
        Self {
            view,
            proxy,
            passed: view.passed(view.api.unwrap_or(proxy)),
            demand: view.demand(proxy).ok(),
        }
    }

    fn window(&self, span: Span) -> Window {
        Window::count(self.passed, span, |seen| {
            let needs = |d: &Demand| d.needs(seen.attempt.operation);
            self.view.api.is_none() || self.demand.is_none_or(needs)
        })
    }

    /// Whether as many calls came as were due.
    fn calls_are_back(&self, span: Span) -> bool {
        let Some(demand) = self.demand else {
            return true;
        };
        let due = demand.expected(self.view, span);
        let calls = &self.view.calls(self.proxy, Reading::Joined).calls;
        let before = |moment| calls.partition_point(|c| c.start < moment);
        let came = before(span.to).saturating_sub(before(span.from));
        came as f64 >= FEWER * due - 1.0
    }

    fn first_success(&self, from: u64) -> Option<u64> {
        let passed = self.view.passed(self.proxy);
        let good = |s: &&super::view::Seen<'_>| {
            // What was asked earlier may be answered to nobody: a client that gave up without closing is still waiting to try.
            let untouched = s.attempt.fault.is_none();
            s.attempt.begun >= from && untouched && !super::calls::fails(passed, s)
        };
        let work = passed.work.iter();
        work.filter(good).map(|s| s.attempt.ended).min()
    }
}

struct Judge<'v, 't> {
    errors: f64,
    p95: u64,
    median: u64,
    watched: &'v Watched<'v, 't>,
}

impl Judge<'_, '_> {
    /// `passes`: how often the lateness of the proxy is borne.
    fn is_good(&self, span: Span, passes: u64) -> Option<Window> {
        let window = self.watched.window(span);
        let errors = window.error_rate()?;
        let late = passes * self.watched.view.late(span);
        let slow = self.is_slow(&window.latency, late);
        let good = window.ended >= LEAST
            && errors <= self.errors + MORE_ERRORS
            && !slow
            && self.watched.calls_are_back(span);
        good.then_some(window)
    }

    /// A percentile is only held against the limit on as many samples as it needs: of fewer the middle one is.
    fn is_slow(&self, latency: &Sample, late: u64) -> bool {
        let (found, before) = if latency.len() >= needed(0.95) as usize {
            (latency.quantile(0.95), self.p95)
        } else if latency.len() >= LEAST {
            (latency.median(), self.median)
        } else {
            return false;
        };
        let most = ((before as f64 * SLOWER) as u64).max(before + TINY) + late;
        found.is_some_and(|found| found > most)
    }

    /// The first time of this length that is good from begin to end.
    fn first_stable(&self, from: u64, stable: u64, passes: u64) -> Option<(u64, Window)> {
        let step = (stable / 60).max(super::MILLISECOND);
        let end = self.watched.view.asked_to;
        let mut at = from;
        while at.saturating_add(stable) <= end {
            let span = Span {
                from: at,
                to: at + stable,
            };
            match self.is_good(span, passes) {
                Some(window) => return Some((self.begin(at, step), window)),
                None => at += step,
            }
        }
        None
    }

    /// Errors weigh little in a long window: its begin is after the last failure in its first part.
    fn begin(&self, at: u64, step: u64) -> u64 {
        let last = self.watched.passed.work.iter().filter(|s| {
            let ended = s.attempt.ended;
            super::calls::fails(self.watched.passed, s) && ended >= at && ended < at + step
        });
        last.map(|s| s.attempt.ended).max().unwrap_or(at)
    }

    fn never(&self, mut evidence: Evidence, affected: Span, stable: u64) -> Finding<Recovery> {
        let end = self.watched.view.asked_to;
        let last = self.watched.window(Span {
            from: end.saturating_sub(stable),
            to: end,
        });
        evidence.samples = last.ended as u64;
        evidence.figure("last_error_rate", last.error_rate().unwrap_or(0.0));
        let watched = seconds(end.saturating_sub(affected.to));
        evidence.figure("watched_seconds", watched);
        let work = self.watched.passed.work.iter().map(|s| s.attempt);
        let waiting = work.filter(|a| a.begun < end && a.ended >= end && !a.outcome.is_answered());
        let asked = last.begun + waiting.count();
        if last.ended < LEAST && last.failed == 0 && asked == last.begun {
            return Finding::unknown(
                format!(
                    "{} requests in the last {:.1} s; {LEAST} are needed to call it stable",
                    last.ended,
                    seconds(stable)
                ),
                "load until the end of the recovery phase, at a higher rate",
                evidence,
            );
        }
        evidence.figure(ASKED_AT_END, asked as f64);
        Finding::unknown(
            format!("not itself again in the {watched:.1} s after the fault"),
            "a longer recovery phase, if this one was shorter than the limit plus `stable_for`; else the service does not recover",
            evidence,
        )
    }
}
