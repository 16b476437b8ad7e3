//! How much more than the declared load the service bears.

use super::{Case, Expectation, Scope};
use crate::insight::Evidence;
use crate::verify::search::Capacity;
use crate::verify::search::ladder::{Ended, Held};
use crate::verify::verdict::Judgement;

/// Every limit of the search is kept at so many times the declared load.
#[derive(Debug)]
pub(crate) struct Headroom(pub(crate) f64);

/// Each step in a line, and what came of them in figures.
fn evidence(capacity: &Capacity) -> Evidence {
    let mut evidence = Evidence::default();
    for step in &capacity.steps {
        evidence.observe(step.from);
        evidence.observe(step.to);
        evidence.note(step.line());
    }
    let samples = capacity.steps.iter().flat_map(|step| step.lanes.values());
    evidence.samples = samples.map(|lane| lane.samples).sum();
    evidence.figure("steps", capacity.steps.len() as f64);
    evidence.figure("declared_per_second", capacity.declared);
    if let Some(kept) = capacity.kept {
        evidence.figure("headroom", kept);
        evidence.figure("kept_per_second", kept * capacity.declared);
    }
    if let Some(broken) = capacity.broken {
        evidence.figure("broken_per_second", broken * capacity.declared);
    }
    evidence
}

/// The last step that showed this.
fn last(capacity: &Capacity, held: Held) -> String {
    let step = capacity.steps.iter().rev().find(|s| s.held == held);
    step.map_or(String::new(), |s| format!("at {} {}", s.named(), s.why()))
}

impl Headroom {
    /// Between what was kept and what was not, and why nobody looked there.
    fn open(&self, capacity: &Capacity, evidence: Evidence) -> Judgement {
        let (reason, remedy) = match capacity.ended {
            Ended::Unknown => (
                last(capacity, Held::Unknown),
                "a machine of its own for the load, or a longer `step`",
            ),
            Ended::OutOfTime => (
                "the phase ended before it was known".to_owned(),
                "a longer phase of kind capacity (`for`)",
            ),
            Ended::Stopped => (
                "the test was stopped".to_owned(),
                "raise the guard's limit, or mend what it stopped for",
            ),
            Ended::Found | Ended::Ceiling | Ended::Floor => (
                format!("{}x lies outside of what is tried", self.0),
                "another rate of the load",
            ),
        };
        let mut judgement = Judgement::inconclusive(reason, remedy, evidence);
        if let Some(kept) = capacity.kept {
            judgement.measured = format!(">= {}", rate(kept, capacity));
        }
        judgement
    }
}

fn rate(factor: f64, capacity: &Capacity) -> String {
    format!("{factor:.2}x ({:.1}/s)", factor * capacity.declared)
}

impl Expectation for Headroom {
    fn target(&self) -> String {
        format!("headroom >= {}x", self.0)
    }

    fn headroom(&self) -> Option<f64> {
        Some(self.0)
    }

    fn judge(&self, case: &Case<'_>, _: &Scope) -> Judgement {
        let Some(capacity) = &case.capacity else {
            return Judgement::inconclusive(
                "no rate was stepped",
                "a phase of kind capacity that is reached",
                Evidence::default(),
            );
        };
        let evidence = evidence(capacity);
        if let Some(kept) = capacity.kept.filter(|kept| *kept >= self.0) {
            // Where nothing broke, there may be more.
            let more = if capacity.broken.is_none() { ">= " } else { "" };
            return Judgement::pass(format!("{more}{}", rate(kept, capacity)), evidence);
        }
        if capacity.broken.is_none_or(|broken| broken > self.0) {
            return self.open(capacity, evidence);
        }
        let measured = match capacity.kept {
            Some(kept) => rate(kept, capacity),
            None => format!("< {}", rate(capacity.broken.unwrap_or(0.0), capacity)),
        };
        Judgement::fail(measured, last(capacity, Held::Broken), evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::Topology;
    use crate::insight::View;
    use crate::measure::trace::{Header, Trace};
    use crate::verify::search::Step;
    use crate::verify::verdict::Verdict;
    use std::collections::BTreeMap;

    fn step(factor: f64, held: Held) -> Step {
        Step {
            factor,
            rate: factor * 50.0,
            achieved: factor * 50.0,
            p95_ms: 5.0,
            error_rate: 0.0,
            held,
            from: 0,
            to: 1,
            lanes: BTreeMap::new(),
        }
    }

    fn judged(kept: Option<f64>, broken: Option<f64>, ended: Ended, expected: f64) -> Judgement {
        let steps = kept.map(|k| step(k, Held::Kept)).into_iter();
        let steps = steps.chain(broken.map(|b| step(b, Held::Broken)));
        let trace = Trace::new(Header {
            version: 1,
            service: None,
            started_us: 0,
            proxies: Vec::new(),
        });
        let case = Case {
            view: View::new(&trace, &Topology::default()),
            topology: Topology::default(),
            fault_phases: Vec::new(),
            apart: Vec::new(),
            lanes: BTreeMap::new(),
            lapses: BTreeMap::new(),
            stopped: None,
            capacity: Some(Capacity {
                declared: 50.0,
                kept,
                broken,
                ended,
                steps: steps.collect(),
            }),
            broken: BTreeMap::new(),
            closed: std::collections::BTreeSet::new(),
        };
        Headroom(expected).judge(&case, &Scope::default())
    }

    #[test]
    fn passes_by_what_was_kept_and_fails_by_what_was_not() {
        let judgement = judged(Some(2.1), Some(2.3), Ended::Found, 2.0);
        assert_eq!(judgement.verdict, Verdict::Pass);
        assert_eq!(judgement.measured, "2.10x (105.0/s)");
        assert_eq!(judgement.evidence.notes.len(), 2);
        assert!((judgement.evidence.figures["broken_per_second"] - 115.0).abs() < 1e-6);
        let judgement = judged(Some(64.0), None, Ended::Ceiling, 2.0);
        assert_eq!(judgement.measured, ">= 64.00x (3200.0/s)");
        let judgement = judged(Some(1.8), Some(1.9), Ended::Found, 2.0);
        assert!(matches!(judgement.verdict, Verdict::Fail { .. }));
        let judgement = judged(None, Some(0.5), Ended::Floor, 2.0);
        assert!(matches!(judgement.verdict, Verdict::Fail { .. }));
        assert_eq!(judgement.measured, "< 0.50x (25.0/s)");
    }

    #[test]
    fn what_was_not_reached_is_inconclusive() {
        for (kept, broken, ended) in [
            (Some(1.0), None, Ended::OutOfTime),
            (Some(1.0), Some(4.0), Ended::OutOfTime),
            (Some(1.0), None, Ended::Unknown),
            (None, None, Ended::Stopped),
        ] {
            let judgement = judged(kept, broken, ended, 2.0);
            assert!(
                matches!(judgement.verdict, Verdict::Inconclusive { .. }),
                "{judgement:?}"
            );
        }
        // A generator at its end, beyond what is expected, takes nothing away.
        let judgement = judged(Some(4.0), None, Ended::Unknown, 2.0);
        assert_eq!(judgement.verdict, Verdict::Pass);
    }
}
