//! Expectations to verdicts: one file a family.

pub(crate) mod breaker;
pub(crate) mod capacity;
pub(crate) mod cleanup;
mod counted;
pub(crate) mod latency;
pub(crate) mod rate;
pub(crate) mod resources;
mod share;
pub(crate) mod timing;
pub(crate) mod transactions;

#[cfg(test)]
mod known;
#[cfg(test)]
mod missed;
#[cfg(test)]
mod own_load;

use super::load::{LaneFigures, Lapses};
use super::search::Capacity;
use super::verdict::{Judgement, Verdict};
use super::written::{OnInconclusive, Severity};
use crate::insight::view::Span;
use crate::insight::window::Window;
use crate::insight::{Evidence, Finding, Topology, Unknown, View};
use crate::measure::trace::{Name, ProxyIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

/// Failures in the baseline above which nothing is said of a fault's effect.
pub(super) const SICK: f64 = 0.01;

/// What an expectation is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) proxy: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) lane: Option<String>,
    pub(crate) watch: Option<String>,
    /// Names of phases; empty: all but warm-up and capacity.
    pub(crate) phases: Vec<String>,
}

/// Where an expectation stands.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub(crate) struct Place {
    /// The file, as it was named.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1.
    pub(crate) column: usize,
}

/// One expectation.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) name: Option<String>,
    pub(crate) scope: Scope,
    pub(crate) on_inconclusive: OnInconclusive,
    pub(crate) severity: Severity,
    /// Where it stands, like `expect[2].p95`.
    pub(crate) field: String,
    pub(crate) place: Place,
    pub(crate) what: Box<dyn Expectation>,
}

/// What can be expected.
pub(crate) trait Expectation: Debug + Send + Sync {
    /// In a few words: "p95 <= 10ms".
    fn target(&self) -> String;
    /// What comes of it.
    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement;
    /// The least samples in its phases with which it can pass.
    fn samples(&self) -> u64 {
        1
    }
    /// The least time of its phases with which it can pass.
    fn time(&self) -> Option<(Phases, Duration)> {
        None
    }
    /// The least requests to the service's API with which it can pass.
    fn requests(&self) -> Vec<(Phases, u64)> {
        Vec::new()
    }
    /// The multiple of the declared load that it is about.
    fn headroom(&self) -> Option<f64> {
        None
    }
    /// The limit on latency that it is, for pictures.
    fn latency(&self) -> Option<(latency::Figure, Duration)> {
        None
    }
    /// Whether it is about what a fault does.
    fn is_about_faults(&self) -> bool {
        false
    }
}

/// Which phases have to be long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phases {
    /// All that come before the first fault phase, without warm-up.
    Before,
    Fault,
    /// From the first fault phase to the last.
    Disturbed,
    /// The first fault phase and all behind it.
    Since,
    /// All that come after the first fault phase.
    After,
    /// Those that the expectation is about.
    Counted,
    /// From the first of these to the last.
    Around,
}

impl Phases {
    /// For the message that they are too short.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Before => "phases before the fault",
            Self::Fault | Self::Disturbed => "fault phases",
            Self::Since => "the fault phases and those after them",
            Self::After => "phases after the fault",
            Self::Counted | Self::Around => "the phases that count",
        }
    }
}

/// What was recorded, and what is known beside it.
#[derive(Debug, Clone)]
pub(crate) struct Case<'c> {
    pub(crate) view: View<'c>,
    pub(crate) topology: Topology,
    /// Names of phases in which faults are on.
    pub(crate) fault_phases: Vec<String>,
    /// Names of phases that count only where they are named: warm-up, capacity.
    pub(crate) apart: Vec<String>,
    pub(crate) lanes: BTreeMap<String, LaneFigures>,
    /// When their generators did not do what they should have.
    pub(crate) lapses: BTreeMap<String, Lapses>,
    /// Why it ended early.
    pub(crate) stopped: Option<String>,
    pub(crate) capacity: Option<Capacity>,
    /// Lanes whose generator did not come to its end, and why.
    pub(crate) broken: BTreeMap<String, String>,
    /// Lanes whose callers wait for their replies.
    pub(crate) closed: BTreeSet<String>,
}

impl Case<'_> {
    /// The times that count.
    pub(crate) fn spans(&self, scope: &Scope) -> Vec<Span> {
        let phases = self.view.phases.iter().filter(|(name, _)| {
            let name = self.view.trace.names.get(*name);
            if scope.phases.is_empty() {
                !self.apart.iter().any(|apart| apart == name)
            } else {
                scope.phases.iter().any(|phase| phase == name)
            }
        });
        phases.map(|(_, span)| *span).collect()
    }

    /// How long these are, in seconds.
    pub(crate) fn seconds(&self, scope: &Scope) -> f64 {
        self.spans(scope)
            .iter()
            .map(|span| crate::insight::seconds(span.length()))
            .sum()
    }

    pub(crate) fn proxy(&self, scope: &Scope) -> Result<ProxyIndex, Box<Judgement>> {
        let header = &self.view.trace.header;
        let proxy = scope.proxy.as_ref().and_then(|name| header.proxy(name));
        proxy.ok_or_else(|| {
            Box::new(Judgement::inconclusive(
                "the proxy is not in the recording",
                "name a proxy that runs",
                Evidence::default(),
            ))
        })
    }

    /// Whether faults are on in the phase of this name.
    fn is_fault_phase(&self, name: &str) -> bool {
        self.fault_phases.iter().any(|fault| fault == name)
    }

    /// The verdict. What went wrong with the run itself, or with the baseline, comes first.
    pub(crate) fn judge(&self, expected: &Expected) -> Judgement {
        let scope = &expected.scope;
        if expected.what.is_about_faults() && !scope.phases.is_empty() {
            let phases = Vec::new();
            let whole = Scope {
                phases,
                ..scope.clone()
            };
            return self.of_faults_in(&scope.phases).judge_in(expected, &whole);
        }
        self.judge_in(expected, scope)
    }

    /// The same as if of the faults there had been only those of these phases: from the begin of a fault phase to the next.
    fn of_faults_in(&self, phases: &[String]) -> Self {
        let name = |of: &(Name, Span)| self.view.trace.names.get(of.0);
        let all = &self.view.phases;
        let is_fault = |of: &&(Name, Span)| self.is_fault_phase(name(of));
        let begins: Vec<u64> = all
            .iter()
            .filter(is_fault)
            .map(|(_, span)| span.from)
            .collect();
        let first = begins.first().copied().unwrap_or(0);
        let mut times = vec![Span { from: 0, to: first }];
        for (at, from) in begins.iter().copied().enumerate() {
            let to = begins.get(at + 1).copied().unwrap_or(u64::MAX);
            let cycle = Span { from, to };
            let of_it = all.iter().filter(|(_, span)| cycle.contains(span.from));
            if of_it.map(name).any(|name| phases.iter().any(|p| p == name)) {
                times.push(cycle);
            }
        }
        let view = View::within(self.view.trace, &self.topology, times);
        Self {
            view,
            ..self.clone()
        }
    }

    fn judge_in(&self, expected: &Expected, scope: &Scope) -> Judgement {
        // One judge that breaks must not take the others' verdicts along. It only reads.
        let judged = std::panic::AssertUnwindSafe(|| expected.what.judge(self, scope));
        let Ok(mut judgement) = std::panic::catch_unwind(judged) else {
            let why = "brownout has a bug: the judge of this expectation panicked";
            return Judgement::error(why, Evidence::default());
        };
        if let Some(why) = self.broke(expected, scope, &judgement.verdict) {
            return Judgement::error(why, judgement.evidence);
        }
        let decided = matches!(judgement.verdict, Verdict::Pass | Verdict::Fail { .. });
        if decided && let Some(lost) = self.lost(scope) {
            judgement.verdict = Verdict::Inconclusive {
                reason: lost.reason,
                remedy: lost.remedy,
            };
        }
        if let Some(stopped) = &self.stopped
            && judgement.verdict == Verdict::Pass
        {
            judgement.verdict = Verdict::Inconclusive {
                reason: format!("the test stopped early: {stopped}"),
                remedy: "raise the guard's limit, or mend what it stopped for".into(),
            };
        }
        if expected.what.is_about_faults()
            && judgement.verdict != Verdict::Pass
            && let Ok(proxy) = self.proxy(scope)
            && let Some(rate) = self.sick(proxy)
        {
            judgement.evidence.figure("baseline_error_rate", rate);
            judgement.verdict = Verdict::Inconclusive {
                reason: format!(
                    "{:.1} % of the requests failed before any fault",
                    rate * 100.0
                ),
                remedy: "a service that works in the baseline phase".into(),
            };
        }
        judgement
    }

    /// Why the load that it rests on is none.
    fn broke(&self, expected: &Expected, scope: &Scope, verdict: &Verdict) -> Option<String> {
        let about = |lane: &String| scope.lane.as_ref().is_none_or(|l| l == lane);
        let broken = self.broken.iter().find(|(lane, _)| about(lane));
        if let Some((lane, why)) = broken {
            return Some(format!("the load of lane {lane} broke: {why}"));
        }
        // What passes nevertheless passes, and a search tells such steps apart itself.
        if *verdict == Verdict::Pass || expected.what.headroom().is_some() {
            return None;
        }
        let spans = self.spans(scope);
        let lanes = self.lapses.iter().filter(|(lane, _)| about(lane));
        let (lane, own) = lanes
            .map(|(lane, lapses)| (lane, lapses.own.within(&spans)))
            .find(|(_, own)| *own > 0)?;
        Some(format!(
            "{own} requests of lane {lane} failed on this machine: no descriptors or ports were left"
        ))
    }

    /// What is missing of the recording that it rests on.
    fn lost(&self, scope: &Scope) -> Option<Unknown> {
        if let Ok(proxy) = self.proxy(scope) {
            return self.view.whole(proxy).err();
        }
        // What is of no proxy may be missing wherever something is.
        let proxies = (0..)
            .map(ProxyIndex)
            .take(self.view.trace.header.proxies.len());
        proxies
            .map(|proxy| self.view.whole(proxy))
            .find_map(Result::err)
    }

    fn sick(&self, proxy: ProxyIndex) -> Option<f64> {
        let passed = self.view.passed(self.view.api.unwrap_or(proxy));
        Window::of(passed, self.view.baseline, None)
            .error_rate()
            .filter(|rate| *rate > SICK)
    }
}

/// A call of our own load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) record: usize,
    pub(crate) at: u64,
    /// Nanoseconds.
    pub(crate) latency: u64,
    /// How late it was sent, likewise.
    pub(crate) late: u64,
    pub(crate) ok: bool,
}

/// The answer of a finding, or the verdict that there is none.
fn known<T>(finding: Finding<T>) -> Result<(T, Evidence), Box<Judgement>> {
    match finding.answer {
        Ok(answer) => Ok((answer, finding.evidence)),
        Err(unknown) => Err(Box::new(Judgement::unknown(&unknown, finding.evidence))),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// "12.3ms", "1.25s".
fn shown(ns: u64) -> String {
    let ms = crate::insight::millis(ns);
    if ms >= 1000.0 {
        format!("{:.2}s", ms / 1000.0)
    } else if ms >= 10.0 {
        format!("{ms:.1}ms")
    } else {
        format!("{ms:.3}ms")
    }
}

fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::SECOND;
    use crate::insight::view::NO_PHASE;
    use crate::measure::trace::{Header, Trace};

    /// Answers what it is told to.
    #[derive(Debug)]
    struct Judge(fn() -> Judgement);

    impl Expectation for Judge {
        fn target(&self) -> String {
            "as it is told".into()
        }

        fn judge(&self, _: &Case<'_>, _: &Scope) -> Judgement {
            (self.0)()
        }
    }

    fn judged(judge: fn() -> Judgement, own: u64, broken: bool, lane: &str) -> Verdict {
        judged_in("steady", judge, own, broken, lane)
    }

    /// `own` requests of the first phase, "steady", failed on this machine.
    fn judged_in(
        phase: &str,
        judge: fn() -> Judgement,
        own: u64,
        broken: bool,
        lane: &str,
    ) -> Verdict {
        let mut trace = Trace::new(Header {
            version: 1,
            service: None,
            started_us: 0,
            proxies: Vec::new(),
        });
        missed::phase(&mut trace, 0, "steady");
        missed::phase(&mut trace, SECOND, "later");
        missed::phase(&mut trace, 2 * SECOND, NO_PHASE);
        let mut lapses = Lapses::default();
        (0..own).for_each(|_| lapses.own.add(SECOND / 2));
        let broken = broken.then(|| ("reads".to_owned(), "it panicked".to_owned()));
        let case = Case {
            view: View::new(&trace, &Topology::default()),
            topology: Topology::default(),
            fault_phases: Vec::new(),
            apart: Vec::new(),
            lanes: BTreeMap::new(),
            lapses: BTreeMap::from([("reads".to_owned(), lapses)]),
            stopped: None,
            capacity: None,
            broken: broken.into_iter().collect(),
            closed: BTreeSet::new(),
        };
        let expected = Expected {
            name: None,
            scope: Scope {
                lane: Some(lane.to_owned()),
                phases: vec![phase.to_owned()],
                ..Scope::default()
            },
            on_inconclusive: OnInconclusive::Pass,
            severity: Severity::Limit,
            field: String::new(),
            place: Place {
                file: String::new(),
                line: 1,
                column: 1,
            },
            what: Box::new(Judge(judge)),
        };
        case.judge(&expected).verdict
    }

    #[test]
    fn what_is_ours_is_an_error_and_no_fault_of_the_service() {
        let pass = || Judgement::pass("", Evidence::default());
        let fail = || Judgement::fail("", "", Evidence::default());
        assert_eq!(judged(pass, 0, false, "reads").word(), "pass");
        assert_eq!(judged(fail, 0, false, "reads").word(), "fail");
        assert_eq!(
            judged(|| panic!("a bug"), 0, false, "reads").word(),
            "error"
        );
        // Requests that this machine could not send fail nothing of the service.
        assert_eq!(judged(fail, 3, false, "reads").word(), "error");
        assert_eq!(judged(pass, 3, false, "reads").word(), "pass");
        assert_eq!(judged(fail, 3, false, "writes").word(), "fail");
        // Those of another phase have nothing to do with it.
        assert_eq!(judged_in("later", fail, 3, false, "reads").word(), "fail");
        // A load that ended early is no load.
        assert_eq!(judged(pass, 0, true, "reads").word(), "error");
        assert_eq!(judged(pass, 0, true, "writes").word(), "pass");
    }
}
