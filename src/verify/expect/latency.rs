//! Limits on latency, recounted from the recording: what exceeds the limit is counted, not read off a histogram.

use super::{Answered, Case, Expectation, Scope, nanos, shown, text};
use crate::insight::Evidence;
use crate::insight::sample::{Sample, needed};
use crate::insight::view::Span;
use crate::verify::verdict::Judgement;
use std::time::Duration;

/// Samples that a mean needs.
const MEAN: u64 = 30;

/// Callers who ask less often than this share of before have been held up,
const FEWER: f64 = 0.8;

/// if what they ask takes longer than before by this factor.
const SLOWER: f64 = 1.2;

/// Which figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    Mean,
    /// The share that has to keep to the limit, 0 to 1.
    Quantile(f64),
    Max,
}

/// A figure of latency has a limit.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) figure: Figure,
    pub(crate) limit: Duration,
}

impl Figure {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Mean => "mean".into(),
            Self::Quantile(q) => format!("p{:.0}", q * 100.0),
            Self::Max => "max".into(),
        }
    }

    /// Samples with which it can be judged.
    pub(crate) fn needed(self) -> u64 {
        match self {
            Self::Mean => MEAN,
            Self::Quantile(q) => needed(q),
            Self::Max => 1,
        }
    }

    /// Whether it is within a limit, and its value; of nothing it is.
    pub(crate) fn holds(self, sample: &Sample, limit: u64) -> (bool, u64) {
        match self {
            Self::Mean => {
                let mean = sample.mean().unwrap_or(0.0);
                (mean <= limit as f64, mean as u64)
            }
            Self::Quantile(q) => (
                sample.over(limit) <= allowed(q, sample.len()),
                sample.quantile(q).unwrap_or(0),
            ),
            Self::Max => (sample.over(limit) == 0, sample.max().unwrap_or(0)),
        }
    }
}

/// How many of these may exceed the limit of a quantile.
fn allowed(q: f64, all: usize) -> usize {
    ((1.0 - q) * all as f64 + 1e-9).floor() as usize
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    answered: Vec<u64>,
    /// Ages of what never had an answer: it would have taken longer.
    censored: Vec<u64>,
    /// Of what exceeds the limit, when and how long.
    over: Vec<Span>,
    evidence: Evidence,
}

impl Measured {
    /// How late the proxy itself was at most, if all would keep to the limit but for that.
    fn excused(&self, case: &Case<'_>, figure: Figure, limit: u64) -> Option<u64> {
        let late: Vec<u64> = self.over.iter().map(|s| case.view.late(*s)).collect();
        let within = self.answered.iter().chain(&self.censored);
        let within = within.copied().filter(|latency| *latency <= limit);
        let lessened = self.over.iter().zip(&late);
        let lessened = lessened.map(|(span, late)| span.length().saturating_sub(*late));
        let all: Sample = within.chain(lessened).collect();
        let (holds, _) = figure.holds(&all, limit);
        late.into_iter().max().filter(|_| holds)
    }
}

impl Latency {
    fn measure(case: &Case<'_>, scope: &Scope, limit: u64) -> Measured {
        let mut measured = Measured::default();
        let note = |measured: &mut Measured, at: u64, record, latency| {
            if latency > limit {
                measured.evidence.example(at, record);
                let from = at.saturating_sub(latency);
                measured.over.push(Span { from, to: at });
            } else {
                measured.evidence.observe(at);
            }
        };
        if scope.lane.is_some() {
            for Answered {
                record,
                at,
                latency,
                ok,
                ..
            } in case.calls(scope)
            {
                note(&mut measured, at, record, latency);
                // A quick refusal is no quick answer: errors are judged by their rate.
                if ok {
                    measured.answered.push(latency);
                } else {
                    measured.censored.push(latency);
                }
            }
        } else {
            for seen in case.exchanges(scope) {
                let latency = seen.attempt.latency();
                note(&mut measured, seen.attempt.ended, seen.record, latency);
                if seen.attempt.outcome.is_answered() {
                    measured.answered.push(latency);
                } else {
                    measured.censored.push(latency);
                }
            }
        }
        measured
    }

    /// Why the load itself does not bear the verdict: it was late, or not sent.
    fn of_generator(
        &self,
        case: &Case<'_>,
        scope: &Scope,
        holds: bool,
        evidence: &mut Evidence,
    ) -> Option<String> {
        let Some(lane) = &scope.lane else {
            if holds {
                return None;
            }
            // On the wire it is no generator that is timed; one that is later than the limit says what the machine was like.
            let latest = case.lanes.keys().map(|lane| late(case, scope, lane));
            let latest = latest.max().unwrap_or(0);
            return (latest > nanos(self.limit)).then(|| {
                let latest = crate::insight::millis(latest);
                format!("the load generator itself was {latest:.0} ms late (p99): the machine may be the reason")
            });
        };
        let late = crate::insight::millis(late(case, scope, lane));
        let lapses = case.lapses.get(lane);
        let skipped = lapses.map_or(0, |l| l.skipped.within(&case.spans(scope)));
        evidence.figure("generator_late_p99_ms", late);
        evidence.figure("generator_skipped", skipped as f64);
        let is_late = late > 0.1 * crate::insight::millis(nanos(self.limit));
        ((!holds && is_late) || (holds && skipped > 0)).then(|| {
            format!(
                "the load generator could not keep up: p99 {late:.1} ms late, {skipped} requests not sent"
            )
        })
    }
}

/// How late the calls of a lane were sent that count: p99, in nanoseconds.
fn late(case: &Case<'_>, scope: &Scope, lane: &str) -> u64 {
    let calls = Scope {
        lane: Some(lane.to_owned()),
        // An operation on a proxy is none of the lane.
        operation: scope.operation.clone().filter(|_| scope.lane.is_some()),
        ..scope.clone()
    };
    let late: Sample = case.calls(&calls).iter().map(|call| call.late).collect();
    late.quantile(0.99).unwrap_or(0)
}

/// Callers who wait for their replies ask less of what is slow: how often a second before the first fault, and since; `None` where
/// that is not so, or where load comes whether or not it is answered.
fn asked_less(case: &Case<'_>, scope: &Scope) -> Option<(f64, f64)> {
    let wait = match &scope.lane {
        Some(lane) => case.closed.contains(lane),
        None => !case.lanes.is_empty() && case.lanes.keys().all(|lane| case.closed.contains(lane)),
    };
    if !wait {
        return None;
    }
    let everywhere = Scope {
        phases: Vec::new(),
        ..scope.clone()
    };
    // When each was sent, and how long it took.
    let sent = |scope: &Scope| -> Vec<(u64, u64)> {
        if scope.lane.is_some() {
            let calls = case.calls(scope).into_iter();
            calls
                .map(|c| (c.at.saturating_sub(c.latency), c.latency))
                .collect()
        } else {
            let exchanges = case.exchanges(scope).into_iter();
            exchanges
                .map(|s| (s.attempt.begun, s.attempt.latency()))
                .collect()
        }
    };
    let baseline = case.view.baseline;
    let spans = case.spans(scope);
    // The record of a fault phase is made a moment before its fault is on.
    let since = spans.into_iter().filter(|s| s.to > baseline.to);
    let since: Vec<Span> = since
        .map(|s| Span {
            from: s.from.max(baseline.to),
            to: s.to,
        })
        .collect();
    let figures = |sent: &[(u64, u64)], spans: &[Span]| {
        let within = sent
            .iter()
            .filter(|(at, _)| spans.iter().any(|s| s.contains(*at)));
        let (count, sum) = within.fold((0.0, 0.0), |(n, sum), (_, l)| (n + 1.0, sum + *l as f64));
        let seconds: f64 = spans
            .iter()
            .map(|s| crate::insight::seconds(s.length()))
            .sum();
        (count > 0.0 && seconds > 0.0).then(|| (count / seconds, sum / count))
    };
    let (before, took) = figures(&sent(&everywhere), &[baseline])?;
    let (meanwhile, takes) = figures(&sent(scope), &since)?;
    (meanwhile < FEWER * before && takes > SLOWER * took).then_some((before, meanwhile))
}

impl Expectation for Latency {
    fn target(&self) -> String {
        format!("{} <= {}", self.figure.name(), text(self.limit))
    }

    fn samples(&self) -> u64 {
        self.figure.needed()
    }

    fn latency(&self) -> Option<(Figure, Duration)> {
        Some((self.figure, self.limit))
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let limit = nanos(self.limit);
        let found = Self::measure(case, scope, limit);
        let late = found.excused(case, self.figure, limit);
        let Measured {
            answered,
            censored,
            mut evidence,
            ..
        } = found;
        let total = (answered.len() + censored.len()) as u64;
        evidence.samples = total;
        let over = answered
            .iter()
            .chain(&censored)
            .filter(|l| **l > limit)
            .count();
        // What was given up before the limit may have kept to it or not.
        let open = censored.iter().filter(|l| **l <= limit).count();
        let all: Sample = answered.iter().chain(&censored).copied().collect();
        evidence.figure("over_limit", over as f64);
        evidence.figure("unanswered", censored.len() as f64);
        for (name, q) in [
            ("p50_ms", 0.5),
            ("p95_ms", 0.95),
            ("p99_ms", 0.99),
            ("max_ms", 1.0),
        ] {
            if let Some(value) = all.quantile(q) {
                evidence.figure(name, crate::insight::millis(value));
            }
        }
        if total < self.samples() {
            return Judgement::inconclusive(
                format!(
                    "{total} samples; {} needs {}",
                    self.figure.name(),
                    self.samples()
                ),
                "a longer phase (`for`) or more load (`rate`)",
                evidence,
            );
        }
        let (value, worst_holds, best_holds) = match self.figure {
            Figure::Mean => {
                let mean = all.mean().unwrap_or(f64::MAX);
                (
                    mean as u64,
                    mean <= limit as f64 && open == 0,
                    mean <= limit as f64,
                )
            }
            Figure::Quantile(q) => {
                let allowed = allowed(q, answered.len() + censored.len());
                (
                    all.quantile(q).unwrap_or(0),
                    over + open <= allowed,
                    over <= allowed,
                )
            }
            Figure::Max => (all.max().unwrap_or(0), over + open == 0, over == 0),
        };
        let measured = shown(value);
        if worst_holds != best_holds {
            return Judgement::inconclusive(
                format!("{open} requests ended without an answer before the limit"),
                "a phase without faults that end requests, or a limit on error_rate",
                evidence,
            );
        }
        if worst_holds && let Some((before, meanwhile)) = asked_less(case, scope) {
            let mut judgement = Judgement::inconclusive(
                format!(
                    "its callers wait for their replies and asked {meanwhile:.0} times a second instead of {before:.0} while it was slower: \
                     what was not asked is missing among the slow"
                ),
                "load at a `rate`, not by `callers` or as a `canary`",
                evidence,
            );
            judgement.measured = measured;
            return judgement;
        }
        let doubt = self.of_generator(case, scope, worst_holds, &mut evidence);
        let doubt = doubt.or_else(|| {
            let late = late.filter(|_| !worst_holds)?;
            Some(format!(
                "{over} of {total} requests took longer than {}, and may not have: the proxy itself was late by up to {}",
                text(self.limit),
                shown(late)
            ))
        });
        if let Some(reason) = doubt {
            let remedy = "less load (`rate`), or a machine with less to do";
            let mut judgement = Judgement::inconclusive(reason, remedy, evidence);
            judgement.measured = measured;
            return judgement;
        }
        let why = format!(
            "{over} of {total} requests took longer than {}",
            text(self.limit)
        );
        Judgement::of(worst_holds, measured, why, evidence)
    }
}
