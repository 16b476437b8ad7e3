//! What the seconds of a run tell of how much its samples have in common.

use super::statistics::{Spread, above};
use crate::insight::SECOND;
use crate::report::traffic::{Second, Traffic, latencies_of};
use crate::verify::document::{Document, Part};
use crate::verify::written::Kind;
use hdrhistogram::Histogram;

/// Of one proxy in one run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spreads {
    pub(super) ranks: Spread,
    pub(super) p95: Spread,
    pub(super) p99: Spread,
    pub(super) failures: Spread,
}

/// Phases in which the service is compared. Warm-up is what nobody judges, and a search for capacity asks as much as it has found.
pub(super) fn phases(run: &Document) -> impl Iterator<Item = &Part> {
    let of_interest = |phase: &&Part| !matches!(phase.kind, Kind::WarmUp | Kind::Capacity);
    run.phases.iter().filter(of_interest)
}

impl Spreads {
    pub(super) fn of(run: &Document, traffic: &Traffic) -> Self {
        let mut spreads = Self::default();
        for phase in phases(run) {
            spreads.add(&of_phase(phase, traffic));
        }
        spreads
    }

    fn add(&mut self, seconds: &[&Second]) {
        let failed: Vec<(f64, f64)> = seconds
            .iter()
            .filter(|second| second.ended > 0)
            .map(|s| (s.ended as f64, s.failed as f64 / s.ended as f64))
            .collect();
        self.failures.add(&failed, of_share(&failed));
        let latencies: Vec<Histogram<u64>> =
            seconds.iter().filter_map(|s| latencies_of(s)).collect();
        let Some(all) = together(&latencies) else {
            return;
        };
        let (ranks, variance) = Ranks::of(&all);
        let means = latencies.iter().map(|of| (of.len() as f64, ranks.mean(of)));
        self.ranks.add(&means.collect::<Vec<_>>(), variance);
        for (q, spread) in [(0.95, &mut self.p95), (0.99, &mut self.p99)] {
            let value = all.value_at_quantile(q);
            let beyond =
                |of: &Histogram<u64>| (of.len() as f64, above(of, value) / of.len() as f64);
            let beyond: Vec<(f64, f64)> = latencies.iter().map(beyond).collect();
            spread.add(&beyond, of_share(&beyond));
        }
    }
}

/// The seconds of which at least the half lies in it.
fn of_phase<'t>(phase: &Part, traffic: &'t Traffic) -> Vec<&'t Second> {
    let seconds = (0_u64..).zip(&traffic.seconds);
    let inside = seconds.filter(|(n, _)| {
        let middle = n * SECOND + SECOND / 2;
        (phase.from..phase.to).contains(&middle)
    });
    inside.map(|(_, second)| second).collect()
}

/// The variance of whether or not, where so many did on the whole.
fn of_share(seconds: &[(f64, f64)]) -> f64 {
    let all: f64 = seconds.iter().map(|(n, _)| n).sum();
    let share = seconds.iter().map(|(n, share)| n * share).sum::<f64>() / all.max(1.0);
    share * (1.0 - share)
}

fn together(some: &[Histogram<u64>]) -> Option<Histogram<u64>> {
    let (first, rest) = some.split_first()?;
    let mut all = first.clone();
    for more in rest {
        all.add(more).ok()?;
    }
    Some(all)
}

/// Ranks of values among all of a phase, from 0 to 1; equal values share the middle of theirs.
struct Ranks(Vec<(u64, f64)>);

impl Ranks {
    /// And the variance of one sample's.
    fn of(all: &Histogram<u64>) -> (Self, f64) {
        let (whole, mut below, mut variance) = (all.len() as f64, 0.0, 0.0);
        let mut ranks = Vec::new();
        for value in all.iter_recorded() {
            let here = value.count_at_value() as f64;
            let rank = (below + here / 2.0) / whole;
            variance += here / whole * (rank - 0.5_f64).powi(2);
            ranks.push((value.value_iterated_to(), rank));
            below += here;
        }
        (Self(ranks), variance)
    }

    fn mean(&self, of: &Histogram<u64>) -> f64 {
        let ranks = of.iter_recorded().map(|value| {
            let at = value.value_iterated_to();
            let place = self.0.partition_point(|(other, _)| *other < at);
            let rank = self.0.get(place).map_or(1.0, |(_, rank)| *rank);
            rank * value.count_at_value() as f64
        });
        ranks.sum::<f64>() / of.len() as f64
    }
}
