//! Two reports side by side: what became better or worse, told apart from noise, from the machine, and from what was not looked at.
//!
//! Parts, expectations and operations that are there in one report alone, and verdicts that changed, are told whatever the figures say ([`parts`]). Figures are compared
//! by operation, phase by phase:
//!
//! - Medians by the Mann-Whitney U test: whether one of the two tends to be larger, of whatever shape they are. It takes ties into
//!   account, which histograms are full of.
//! - p95 and p99 by how many answers of each side lie beyond the percentile of both together (Mood's median test, at another place),
//!   the z test of two proportions. It needs [`BEYOND`] answers beyond on each side. Failures by how many failed, in a form that holds for
//!   few ([`statistics::few_z`]).
//! - Samples of one second are not independent. So the variance is that of seconds, not of samples, wherever it is larger
//!   ([`statistics::Spread`]).
//! - Many operations are compared at once, and some of them differ by chance. Medians, tails and failures are a third of
//!   [`statistics::LEVEL`] each, and within each of these Holm's method holds it for all tests together.
//! - A difference that is no larger than what the machine was late in that run is not the service's for sure ([`machine`]).
//!
//! What differs for sure and by less than the limit is small. Both have to be exceeded before anything is called a change. Of failures a
//! difference of one percentage point is never small.

mod machine;
mod parts;
mod seconds;
mod statistics;
#[cfg(test)]
mod tests;

use super::figure;
use super::suite::Suite;
use super::traffic::{Operation, Traffic};
use crate::verify::document::Document;
use hdrhistogram::Histogram;
use machine::Figure;
use seconds::Spreads;
use statistics::{LEVEL, Side};
use std::fmt::Write;

/// Fewer answers on a side say nothing.
const LEAST: u64 = 30;

/// Answers beyond a percentile that each side has to have: p95 takes 200, p99 1,000.
const BEYOND: f64 = 10.0;

/// A difference of failures that is never small.
const POINT: f64 = 0.01;

/// A difference, and what it counts as.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) what: String,
    pub(crate) told: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Worse,
    Better,
    /// It may be the machine's.
    Machine {
        /// The figure is.
        worse: bool,
    },
    /// Neither better nor worse.
    Note,
}

impl Change {
    fn sure(what: &str, told: String, worse: bool) -> Self {
        let kind = if worse { Kind::Worse } else { Kind::Better };
        let what = what.to_owned();
        Self { what, told, kind }
    }

    fn note(what: &str, told: String) -> Self {
        let what = what.to_owned();
        Self {
            what,
            told,
            kind: Kind::Note,
        }
    }
}

/// What came of a comparison.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) changes: Vec<Change>,
    /// Parts that both reports have.
    pub(crate) parts: usize,
    /// Operations of which there was enough to compare.
    pub(crate) operations: usize,
    pub(crate) tests: usize,
    limit: f64,
}

/// How a figure of an operation differs, before it is known whether that is chance.
struct Test {
    family: Family,
    chance: f64,
    /// What to say if it is none; `None`: less than the limit.
    change: Option<Change>,
}

/// Tests that share what may be chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Medians,
    Tails,
    Failures,
}

impl Family {
    const ALL: [Self; 3] = [Self::Medians, Self::Tails, Self::Failures];
}

/// What changed by more than `limit` (a share, like 0.1).
pub(crate) fn compare(before: &Suite, after: &Suite, limit: f64) -> Comparison {
    let (pairs, mut changes, parts) = parts::pairs(before, after);
    let same_machine = before.machine == after.machine;
    let (mut operations, mut tests) = (0, Vec::new());
    for (old, new) in pairs {
        changes.extend(parts::stopped(old, new));
        changes.extend(parts::verdicts(old, new));
        changes.extend(parts::operations(old, new));
        let runs = Runs {
            old,
            new,
            same_machine,
            limit,
        };
        let (compared, found) = runs.tests();
        operations += compared;
        tests.extend(found);
    }
    let count = tests.len();
    changes.extend(beyond_chance(&tests));
    if !same_machine {
        let told = format!("{} -> {}", before.machine, after.machine);
        changes.push(Change::note("the machine", told));
    }
    Comparison {
        changes,
        parts,
        operations,
        tests: count,
        limit,
    }
}

/// The changes of tests that chance does not explain.
fn beyond_chance(tests: &[Test]) -> Vec<Change> {
    let mut sure = Vec::new();
    for family in Family::ALL {
        let of_family = |test: &&Test| test.family == family;
        let chances: Vec<f64> = tests.iter().filter(of_family).map(|t| t.chance).collect();
        let level = LEVEL / Family::ALL.len() as f64;
        let found = statistics::holm(&chances, level);
        let both = tests.iter().filter(of_family).zip(found);
        sure.extend(both.filter_map(|(test, sure)| test.change.clone().filter(|_| sure)));
    }
    sure
}

/// Whether operations of a phase are compared, by its name.
fn compares(run: &Document, phase: &str) -> bool {
    seconds::phases(run).any(|of| of.name == phase) || run.phases.is_empty()
}

/// A part in both reports.
#[derive(Clone, Copy)]
struct Runs<'d> {
    old: &'d Document,
    new: &'d Document,
    same_machine: bool,
    limit: f64,
}

/// An operation in both.
struct Pair<'d> {
    runs: Runs<'d>,
    what: String,
    then: &'d Operation,
    now: &'d Operation,
    spreads: [Spreads; 2],
    /// Of what passed its proxy.
    shares: [f64; 2],
}

impl<'d> Runs<'d> {
    /// How many operations are compared, and by which tests.
    fn tests(self) -> (usize, Vec<Test>) {
        let (mut compared, mut tests) = (0, Vec::new());
        for now in &self.new.traffic {
            let Some(then) = self.old.traffic.iter().find(|t| t.proxy == now.proxy) else {
                continue;
            };
            for pair in self.pairs(then, now) {
                compared += 1;
                tests.extend(pair.latencies());
                tests.extend(pair.failures());
            }
        }
        (compared, tests)
    }

    /// Operations of which both have enough to tell anything of.
    fn pairs(self, then: &'d Traffic, now: &'d Traffic) -> Vec<Pair<'d>> {
        let spreads = [Spreads::of(self.old, then), Spreads::of(self.new, now)];
        let enough = |of: &&Operation| {
            let both = compares(self.old, &of.phase) && compares(self.new, &of.phase);
            of.ended >= LEAST && both
        };
        let mut found = Vec::new();
        for of in now.operations.iter().filter(enough) {
            let same = |o: &&Operation| o.phase == of.phase && o.operation == of.operation;
            let Some(was) = then.operations.iter().filter(enough).find(same) else {
                continue;
            };
            found.push(Pair {
                runs: self,
                what: parts::operation(self.new, &now.proxy, of),
                then: was,
                now: of,
                spreads,
                shares: [share(then, was), share(now, of)],
            });
        }
        found
    }
}

/// Which part of what passed a proxy in its phase an operation is.
fn share(of: &Traffic, operation: &Operation) -> f64 {
    let phase = of.operations.iter().filter(|o| o.phase == operation.phase);
    let all: f64 = phase.map(|o| o.ended as f64).sum();
    operation.ended as f64 / all.max(1.0)
}

impl Pair<'_> {
    fn latencies(&self) -> Vec<Test> {
        let (Some(a), Some(b)) = (self.then.latencies(), self.now.latencies()) else {
            return Vec::new();
        };
        if a.len() < LEAST || b.len() < LEAST {
            return Vec::new();
        }
        let figures = [Figure::Median, Figure::P95, Figure::P99].into_iter();
        figures
            .filter_map(|figure| self.latency(figure, &a, &b))
            .collect()
    }

    fn latency(&self, figure: Figure, a: &Histogram<u64>, b: &Histogram<u64>) -> Option<Test> {
        let q = figure.quantile();
        let (family, z) = match figure {
            Figure::Median => (Family::Medians, statistics::rank_z(a, b)),
            Figure::P95 | Figure::P99 => {
                let fewest = a.len().min(b.len()) as f64;
                if fewest * (1.0 - q) < BEYOND {
                    return None;
                }
                (Family::Tails, statistics::tail_z(a, b, q)?)
            }
        };
        let spread = |of: &Spreads| match figure {
            Figure::Median => of.ranks,
            Figure::P95 => of.p95,
            Figure::P99 => of.p99,
        };
        let z = self.by_second(z, [a.len() as f64, b.len() as f64], spread);
        Some(Test {
            family,
            chance: statistics::chance(z),
            change: self.moved(figure, z, a, b),
        })
    }

    fn by_second(
        &self,
        z: f64,
        samples: [f64; 2],
        of: impl Fn(&Spreads) -> statistics::Spread,
    ) -> f64 {
        let side = |n: usize| Side {
            samples: samples[n],
            spread: of(&self.spreads[n]),
            share: self.shares[n],
        };
        statistics::by_second(z, [side(0), side(1)])
    }

    /// How a percentile moved. `None`: by less than the limit, or not in the direction of the test.
    fn moved(
        &self,
        figure: Figure,
        z: f64,
        a: &Histogram<u64>,
        b: &Histogram<u64>,
    ) -> Option<Change> {
        let [old, new] = [a, b].map(|of| of.value_at_quantile(figure.quantile()));
        let share = (new as f64 - old as f64) / (old.max(1) as f64);
        if share.abs() < self.runs.limit || (z > 0.0) != (share > 0.0) {
            return None;
        }
        let mut told = format!(
            "{} {} -> {} ({:+.0} %), n {} and {}, z {z:.1}",
            figure.name(),
            figure::duration(old),
            figure::duration(new),
            share * 100.0,
            a.len(),
            b.len()
        );
        let worse = share > 0.0;
        // What is slower may be so because the machine was late then.
        let run = if worse { self.runs.new } else { self.runs.old };
        let machine = if !self.runs.same_machine {
            Some("another machine".to_owned())
        } else if old.abs_diff(new) <= machine::may_have_added(run, figure) {
            Some(machine::told(run, figure))
        } else {
            None
        };
        let what = self.what.clone();
        let Some(why) = machine else {
            return Some(Change::sure(&what, told, worse));
        };
        told += &format!("; {why}");
        let kind = Kind::Machine { worse };
        Some(Change { what, told, kind })
    }

    fn failures(&self) -> Option<Test> {
        let (then, now) = (self.then, self.now);
        let (n, m) = (then.ended as f64, now.ended as f64);
        let (failed, fails) = (then.failed as f64, now.failed as f64);
        if failed + fails == 0.0 {
            return None;
        }
        let z = statistics::few_z((failed, n), (fails, m));
        let z = self.by_second(z, [n, m], |of| of.failures);
        let small = (fails / m - failed / n).abs() < self.runs.limit.min(POINT);
        let told = format!(
            "failures {} of {} ({}) -> {} of {} ({}), z {z:.1}",
            then.failed,
            then.ended,
            figure::percent(then.failed, then.ended),
            now.failed,
            now.ended,
            figure::percent(now.failed, now.ended)
        );
        Some(Test {
            family: Family::Failures,
            chance: statistics::chance(z),
            change: (!small).then(|| Change::sure(&self.what, told, z > 0.0)),
        })
    }
}

impl Comparison {
    fn count(&self, which: impl Fn(Kind) -> bool) -> usize {
        self.changes.iter().filter(|c| which(c.kind)).count()
    }

    pub(crate) fn is_worse(&self) -> bool {
        self.count(|kind| kind == Kind::Worse) > 0
    }

    /// Whether something may be worse, or may be the machine's.
    pub(crate) fn is_open(&self) -> bool {
        self.count(|kind| kind == Kind::Machine { worse: true }) > 0
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for (title, kind) in [
            ("worse", Kind::Worse),
            ("not comparable: machine", Kind::Machine { worse: true }),
            ("not comparable: machine", Kind::Machine { worse: false }),
            ("changed", Kind::Note),
            ("better", Kind::Better),
        ] {
            for change in self.changes.iter().filter(|c| c.kind == kind) {
                let (what, told) = (figure::plain(&change.what), figure::plain(&change.told));
                let _ = writeln!(text, "{title}: {what}: {told}");
            }
        }
        let _ = writeln!(
            text,
            "compared: parts {}, operations {}, tests {} (Holm, {:.0} % for all of them): {} worse, {} better by more than {:.0} % \
             (failures: {:.0} of 100), {} not comparable for the machine's sake",
            self.parts,
            self.operations,
            self.tests,
            LEVEL * 100.0,
            self.count(|kind| kind == Kind::Worse),
            self.count(|kind| kind == Kind::Better),
            self.limit * 100.0,
            self.limit.min(POINT) * 100.0,
            self.count(|kind| matches!(kind, Kind::Machine { .. }))
        );
        text
    }
}
