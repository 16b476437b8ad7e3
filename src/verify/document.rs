//! The document of a run: everything, versioned, for programs.

use super::acted;
use super::expect::Place;
use super::load::LaneFigures;
use super::plan::Test;
use super::run::Ran;
use super::search::Capacity;
use super::verdict::{Counts, Standing, Verdict};
use super::written::{Kind, OnInconclusive, Severity};
use crate::insight::Evidence;
use crate::insight::all::{Insights, infer};
use crate::insight::{SECOND, Topology, View};
use crate::measure::trace::Record;
use crate::report::again;
use crate::report::configuration::Configuration;
use crate::report::events::{self, Event};
use crate::report::ledger::Ledger;
use crate::report::traffic::{self, Process, Traffic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of the document.
pub(crate) const VERSION: u32 = 1;

/// A run of `brownout test`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Document {
    /// The version of this form.
    pub(crate) version: u32,
    pub(crate) profile: String,
    pub(crate) description: String,
    /// The same seed gives the same faults.
    pub(crate) seed: u64,
    /// What was in force; none in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) configuration: Option<Configuration>,
    /// Microseconds since the Unix epoch.
    pub(crate) started_us: u64,
    /// The gravest of all.
    pub(crate) result: Counts,
    /// Why a guard ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<String>,
    pub(crate) phases: Vec<Part>,
    pub(crate) lanes: BTreeMap<String, LaneFigures>,
    pub(crate) expectations: Vec<Row>,
    /// What the search for capacity found, step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capacity: Option<Capacity>,
    /// What the recording says of the service, whatever was expected.
    pub(crate) insights: Insights,
    /// What passed each proxy, by second, phase and operation.
    pub(crate) traffic: Vec<Traffic>,
    /// Looks at watched processes.
    pub(crate) watched: Vec<Process>,
    /// When which fault was on.
    pub(crate) faults: Vec<FaultTime>,
    /// What else happened; empty in documents of older programs.
    #[serde(default)]
    pub(crate) events: Vec<Event>,
    /// What became of the exchanges that faults touched; none in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<Ledger>,
    /// How late the proxy itself was; none in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lateness: Option<Lateness>,
    /// What is not in the figures, in words.
    pub(crate) omitted: Vec<String>,
    /// The command that runs it again, alone, as bash and zsh read it. `***` stands for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
}

/// A phase as it was.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Nanoseconds since the recording began.
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A time in which a fault was on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FaultTime {
    pub(crate) fault: String,
    /// Nanoseconds since the recording began.
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// How late the proxy itself was, by the most of each second: so much later than recorded may things have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Lateness {
    /// In a usual second (the median), in microseconds.
    pub(crate) usual_us: u64,
    /// In any, in microseconds.
    pub(crate) most_us: u64,
}

/// An expectation and its verdict.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Row {
    /// What it is about: its name, or the proxy, lane or process.
    pub(crate) component: String,
    /// Where it stands in the profile.
    pub(crate) field: String,
    /// The same as file, line and column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
    /// Phases; empty: all but warm-up.
    pub(crate) phases: Vec<String>,
    pub(crate) target: String,
    pub(crate) measured: String,
    pub(crate) samples: u64,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) on_inconclusive: OnInconclusive,
    /// An alert that is raised fails nothing.
    pub(crate) severity: Severity,
    pub(crate) evidence: Evidence,
}

/// Proxies that an expectation or a fault is about.
pub(crate) fn proxies_in_question(test: &Test) -> BTreeSet<String> {
    test.expects
        .iter()
        .filter_map(|e| e.scope.proxy.clone())
        .collect()
}

impl Document {
    /// Judges a run.
    pub(crate) fn of(test: &Test, ran: &Ran) -> Self {
        let case = ran.case(test);
        let mut counts = Counts::Passed;
        let judged = test.expects.iter().map(|expected| {
            let judgement = case.judge(expected);
            let verdict = &judgement.verdict;
            counts = counts.max(verdict.counts(expected.severity, expected.on_inconclusive));
            let scope = &expected.scope;
            let about = scope
                .lane
                .as_ref()
                .or(scope.watch.as_ref())
                .or(scope.proxy.as_ref());
            let operation = scope
                .operation
                .as_ref()
                .map_or(String::new(), |o| format!(" {o}"));
            let about = about.map_or("all load", String::as_str);
            let about = format!("{about}{operation}");
            Row {
                component: expected.name.clone().unwrap_or(about),
                field: expected.field.clone(),
                place: Some(expected.place.clone()),
                phases: scope.phases.clone(),
                target: expected.what.target(),
                measured: judgement.measured,
                samples: judgement.evidence.samples,
                verdict: judgement.verdict,
                on_inconclusive: expected.on_inconclusive,
                severity: expected.severity,
                evidence: judgement.evidence,
            }
        });
        let mut expectations: Vec<Row> = judged.collect();
        for row in acted::idle(test, &ran.acted) {
            counts = counts.max(row.verdict.counts(row.severity, row.on_inconclusive));
            expectations.push(row);
        }
        if ran.stopped.is_some() {
            counts = counts.max(Counts::Failed);
        }
        let phases = case.view.phases.iter().zip(&test.phases);
        let phases = phases.map(|((_, span), phase)| Part {
            name: phase.name.clone(),
            kind: phase.kind,
            from: span.from,
            to: span.to,
        });
        let traffic = traffic::of(&case.view);
        let (events, further) = events::of(&ran.trace);
        let lateness = Lateness {
            usual_us: case.view.usually_late() / 1_000,
            most_us: case.view.late(case.view.span) / 1_000,
        };
        let mut omitted = omitted(&case.view, &ran.lanes, &traffic);
        omitted.extend(late(lateness, &ran.lanes));
        omitted.extend(beyond(&ran.ledger, further));
        Self {
            version: VERSION,
            profile: test.name.clone(),
            description: test.description.clone(),
            seed: ran.seed,
            configuration: Some(ran.configuration.clone()),
            started_us: ran.trace.header.started_us,
            result: counts,
            stopped: ran.stopped.clone(),
            phases: phases.collect(),
            lanes: ran.lanes.clone(),
            expectations,
            capacity: ran.capacity.clone(),
            insights: infer(&ran.trace, &Topology::default(), 3 * SECOND),
            watched: traffic::processes(&case.view),
            faults: fault_times(&case.view),
            events,
            ledger: Some(ran.ledger.clone()),
            lateness: Some(lateness),
            omitted,
            traffic,
            again: None,
        }
    }

    /// The command that runs it again. Of older documents as much as they tell.
    pub(crate) fn command(&self) -> String {
        let told = self.again.clone();
        told.unwrap_or_else(|| {
            let seed = self.seed.to_string();
            again::command(&["brownout", "test", &self.profile, "--seed", &seed])
        })
    }
}

fn fault_times(view: &View<'_>) -> Vec<FaultTime> {
    let mut times: Vec<FaultTime> = Vec::new();
    for record in &view.trace.records {
        match *record {
            Record::FaultOn { at, fault } => times.push(FaultTime {
                fault: view.trace.names.get(fault).to_owned(),
                from: at,
                to: view.span.to,
            }),
            Record::FaultOff { at, fault } => {
                let name = view.trace.names.get(fault);
                if let Some(on) = times.iter_mut().rev().find(|t| t.fault == name) {
                    on.to = at;
                }
            }
            _ => {}
        }
    }
    times
}

/// What nobody should take for measured.
fn omitted(
    view: &View<'_>,
    lanes: &BTreeMap<String, LaneFigures>,
    traffic: &[Traffic],
) -> Vec<String> {
    let mut lines = Vec::new();
    let second = usize::try_from(traffic::LONGEST).unwrap_or(usize::MAX);
    for proxy in traffic {
        let name = &proxy.proxy;
        if proxy.seconds.len() >= second {
            lines.push(format!("{name}: the timeline ends after {second} s"));
        }
        if proxy.rare > 0 {
            lines.push(format!(
                "{name}: {} requests of operations beyond the {} most frequent stand in no table and no spectrum",
                proxy.rare,
                traffic::OPERATIONS
            ));
        }
        if proxy.lost > 0 {
            lines.push(format!(
                "{name}: the recording lost {} records, its bound was reached",
                proxy.lost
            ));
        }
        if proxy.outstanding > 0 {
            lines.push(format!(
                "{name}: {} requests were still unanswered at the end",
                proxy.outstanding
            ));
        }
    }
    for (lane, figures) in lanes {
        if figures.skipped > 0 {
            lines.push(format!(
                "lane {lane}: {} requests were due and not sent, since too many were unanswered",
                figures.skipped
            ));
        }
    }
    let lost = view
        .trace
        .records
        .iter()
        .filter(|r| matches!(r, Record::TapLost { .. }))
        .count();
    if lost > 0 {
        lines.push(format!("{lost} sessions could not be decoded to their end"));
    }
    lines
}

/// Later than this nobody is by the ticks of timers alone.
const LATE_MS: f64 = 10.0;

/// What our own part was late by, or did not send at all: figures of that time are the machine's as well.
fn late(proxy: Lateness, lanes: &BTreeMap<String, LaneFigures>) -> Vec<String> {
    let mut lines = Vec::new();
    let [usual, most] = [proxy.usual_us, proxy.most_us].map(|us| us as f64 / 1e3);
    if most >= LATE_MS {
        lines.push(format!(
            "the proxy itself was late by up to {most:.0} ms, {usual:.1} ms in a usual second: so much of a latency may be the \
             machine's, and what waited to be read is in none"
        ));
    }
    for (lane, figures) in lanes {
        if figures.late_p99_ms >= LATE_MS {
            lines.push(format!(
                "lane {lane}: one request in a hundred was sent {:.0} ms late or later; callers' latencies count from when it was due",
                figures.late_p99_ms
            ));
        }
        // What was just due when it was stopped is no sign of anything.
        if figures.behind > 1 && figures.behind * 100 > figures.ended {
            lines.push(format!(
                "lane {lane}: the load generator fell behind: {} requests were due and not sent, {} were",
                figures.behind, figures.ended
            ));
        }
        if figures.passed_over > 0 {
            lines.push(format!(
                "lane {lane}: {} requests were due and not sent, since the one before was unanswered",
                figures.passed_over
            ));
        }
    }
    lines
}

/// What the bounds of the ledger and of the events left out.
fn beyond(ledger: &Ledger, events: u64) -> impl Iterator<Item = String> {
    let left_out = [
        (events, "later events stand in no table"),
        (
            ledger.dropped,
            "entries of the ledger had gone for newer ones (`ledger` in the configuration is how many are kept)",
        ),
        (
            ledger.unwatched,
            "exchanges that faults touched were not watched for retries: too many were at once",
        ),
        (
            ledger.rare,
            "exchanges that faults touched are of kinds beyond those that are told apart",
        ),
        (
            ledger.left_out,
            "exchanges that faults touched are counted, and not listed one by one",
        ),
    ];
    let some = left_out.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!("{count} {what}"))
}

/// Why an expectation did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) said: String,
    /// The setting to change, where it could not be judged.
    pub(crate) remedy: Option<String>,
}

impl Why {
    /// Both in one.
    pub(crate) fn whole(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; change: {remedy}", self.said),
            None => self.said.clone(),
        }
    }
}

impl Row {
    pub(crate) const fn standing(&self) -> Standing {
        Standing::of(&self.verdict, self.severity, self.on_inconclusive)
    }

    /// What it adds to the result of its run.
    pub(crate) const fn counts(&self) -> Counts {
        self.verdict.counts(self.severity, self.on_inconclusive)
    }

    /// How it stands, in a word.
    pub(crate) const fn word(&self) -> &'static str {
        self.standing().word()
    }

    /// Why it did not pass. `None`: it did.
    pub(crate) fn why(&self) -> Option<Why> {
        let (said, remedy) = match &self.verdict {
            Verdict::Pass => return None,
            Verdict::Fail { why } => (why.clone(), None),
            Verdict::Error { why } => (format!("nothing is known: {why}"), None),
            Verdict::Inconclusive { reason, remedy } => {
                (self.undecided(reason), Some(remedy.clone()))
            }
        };
        Some(Why { said, remedy })
    }

    /// A reason for not judging, and what the profile makes of that where it is not the usual.
    fn undecided(&self, reason: &str) -> String {
        match (self.severity, self.on_inconclusive) {
            (Severity::Limit, OnInconclusive::Fail) => {
                format!("inconclusive, which fails here (on_inconclusive = \"fail\"): {reason}")
            }
            (Severity::Limit, OnInconclusive::Pass) => {
                format!("inconclusive, which passes here (on_inconclusive = \"pass\"): {reason}")
            }
            _ => reason.to_owned(),
        }
    }

    /// "baseline, fault", or "all".
    pub(crate) fn phases(&self) -> String {
        if self.phases.is_empty() {
            return "all".into();
        }
        self.phases.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(figures: LaneFigures) -> BTreeMap<String, LaneFigures> {
        BTreeMap::from([("reads".to_owned(), figures)])
    }

    #[test]
    fn what_our_own_part_was_late_by_is_told() {
        let busy = Lateness {
            usual_us: 2_100,
            most_us: 172_700,
        };
        let fell_behind = LaneFigures {
            ended: 2_692,
            behind: 2_108,
            late_p99_ms: 1_830.3,
            passed_over: 3,
            ..LaneFigures::default()
        };
        let lines = late(busy, &lanes(fell_behind));
        for words in [
            "late by up to 173 ms, 2.1 ms in a usual second",
            "lane reads: one request in a hundred was sent 1830 ms late",
            "2108 requests were due and not sent, 2692 were",
            "3 requests were due and not sent, since the one before",
        ] {
            assert!(
                lines.iter().any(|line| line.contains(words)),
                "{words}: {lines:?}"
            );
        }
    }

    #[test]
    fn ticks_of_timers_and_the_last_request_are_not_told() {
        let idle = Lateness {
            usual_us: 90,
            most_us: 9_000,
        };
        let kept_up = LaneFigures {
            ended: 1_000,
            behind: 2,
            late_p99_ms: 1.9,
            ..LaneFigures::default()
        };
        assert_eq!(late(idle, &lanes(kept_up)), [""; 0]);
    }
}
