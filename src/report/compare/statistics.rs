//! Tests that assume no shape, what samples of one second have in common, and what many tests find by chance.

use hdrhistogram::Histogram;

/// How often a comparison of two runs of the same service may call anything a change by chance.
pub(super) const LEVEL: f64 = 0.01;

/// By how much the means of single seconds differ more than those of independent samples would.
///
/// Requests of one second meet the same pause of the collector, the same checkpoint, the same neighbour on the machine. So seconds
/// are the blocks, and their spread about their phase is compared with what independent samples would have: the ratio is the
/// design effect, by which the variance of every figure is larger than it seems. It is never taken for smaller than 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spread {
    observed: f64,
    expected: f64,
    /// Samples, and the sum of the squares of how many each second had: their ratio is what a second has typically.
    samples: f64,
    squares: f64,
    /// Seconds less phases.
    freedom: f64,
}

impl Spread {
    /// The seconds of one phase as samples and their mean; `variance` of a single sample.
    pub(super) fn add(&mut self, seconds: &[(f64, f64)], variance: f64) {
        let all: f64 = seconds.iter().map(|(n, _)| n).sum();
        if seconds.len() < 2 || all <= 0.0 {
            return;
        }
        let mean = seconds.iter().map(|(n, mean)| n * mean).sum::<f64>() / all;
        for (n, of_second) in seconds {
            self.observed += (n * (of_second - mean)).powi(2);
            self.expected += variance * n * (1.0 - n / all);
            self.samples += n;
            self.squares += n * n;
        }
        self.freedom += seconds.len() as f64 - 1.0;
    }

    /// The design effect for what has `share` of the samples: what fewer of a second have in common matters less.
    fn effect(&self, share: f64) -> f64 {
        if self.expected <= 0.0 {
            return 1.0;
        }
        let typical = self.squares / self.samples;
        let whole = (self.observed / self.expected).max(1.0);
        let alike = if typical > 1.0 {
            (whole - 1.0) / (typical - 1.0)
        } else {
            0.0
        };
        1.0 + alike * (typical * share - 1.0).max(0.0)
    }
}

/// A side of a test: its samples, and what they have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    pub(super) samples: f64,
    pub(super) spread: Spread,
    /// Of the samples of its proxy.
    pub(super) share: f64,
}

/// A `z` of independent samples as one of samples by second: the variance of each side grows by its design effect, and that this
/// is estimated from few seconds is taken into account (Student's t, with the degrees of freedom of Welch and Satterthwaite).
pub(super) fn by_second(z: f64, sides: [Side; 2]) -> f64 {
    let parts = sides.map(|side| side.spread.effect(side.share) / side.samples);
    let plain: f64 = sides.iter().map(|side| 1.0 / side.samples).sum();
    let t = z / (parts.iter().sum::<f64>() / plain).sqrt();
    let uncertain = parts
        .iter()
        .zip(sides)
        .filter(|(_, s)| s.spread.freedom > 0.0);
    let uncertain: f64 = uncertain
        .map(|(part, s)| part * part / s.spread.freedom)
        .sum();
    if uncertain <= 0.0 {
        return t;
    }
    normal(t, parts.iter().sum::<f64>().powi(2) / uncertain)
}

/// The standard normal deviate that is as rare as a `t` of so many degrees of freedom (Wallace 1959; within 1 %).
fn normal(t: f64, freedom: f64) -> f64 {
    let scale = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0);
    t.signum() * scale * (freedom * (t * t / freedom).ln_1p()).sqrt()
}

/// How often chance alone gives a `z` as large, in either direction.
pub(super) fn chance(z: f64) -> f64 {
    // erfc of Numerical Recipes: relative error below 1.2e-7 everywhere.
    const TERMS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let sum = TERMS.iter().rev().fold(0.0, |sum, term| sum * t + term);
    (t * (sum - x * x).exp()).min(1.0)
}

/// Which of these are no chance, together at `level` (Holm): the rarest is held against all, the next against those that are left.
///
/// It holds whatever the tests have to do with one another, which the operations of one run have, and finds more than Bonferroni's.
pub(super) fn holm(chances: &[f64], level: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|a, b| chances[*a].total_cmp(&chances[*b]));
    let mut sure = vec![false; chances.len()];
    for (place, n) in order.into_iter().enumerate() {
        if chances[n] > level / (chances.len() - place) as f64 {
            break;
        }
        sure[n] = true;
    }
    sure
}

/// By how many standard deviations the ranks of `b` are larger than chance would have them, ties taken into account.
pub(super) fn rank_z(a: &Histogram<u64>, b: &Histogram<u64>) -> f64 {
    let (of_a, of_b) = (a.len() as f64, b.len() as f64);
    let mut values: Vec<u64> = a.iter_recorded().map(|v| v.value_iterated_to()).collect();
    values.extend(b.iter_recorded().map(|v| v.value_iterated_to()));
    values.sort_unstable();
    values.dedup();
    let (mut below, mut ranks, mut ties) = (0.0, 0.0, 0.0);
    for value in values {
        let here = b.count_at(value) as f64;
        let all = a.count_at(value) as f64 + here;
        // Equal values share the middle of their ranks.
        ranks += here * (below + f64::midpoint(all, 1.0));
        ties += all.powi(3) - all;
        below += all;
    }
    let total = of_a + of_b;
    let larger = ranks - of_b * (of_b + 1.0) / 2.0;
    let variance = of_a * of_b / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 0.0;
    }
    (larger - of_a * of_b / 2.0) / variance.sqrt()
}

/// By how many standard deviations the second of two shares is larger than chance would have it: each `(part, whole)`.
pub(super) fn share_z(then: (f64, f64), now: (f64, f64)) -> Option<f64> {
    let all = (then.0 + now.0) / (then.1 + now.1);
    let spread = (all * (1.0 - all) * (1.0 / then.1 + 1.0 / now.1)).sqrt();
    (spread > 0.0).then(|| (now.0 / now.1 - then.0 / then.1) / spread)
}

/// The same for parts that may be few, or none: their shares are transformed so that their spread is known without them (Anscombe 1948).
/// That one of thirty fails where none of six hundred did, is no proof.
pub(super) fn few_z(then: (f64, f64), now: (f64, f64)) -> f64 {
    let angle = |(part, whole): (f64, f64)| ((part + 0.375) / (whole + 0.75)).sqrt().asin();
    2.0 * (angle(now) - angle(then)) / (1.0 / (then.1 + 0.5) + 1.0 / (now.1 + 0.5)).sqrt()
}

/// How many are above a value.
pub(super) fn above(of: &Histogram<u64>, value: u64) -> f64 {
    let values = of.iter_recorded();
    let larger = values.filter(|v| v.value_iterated_to() > value);
    larger.map(|v| v.count_at_value() as f64).sum()
}

/// By how many standard deviations more of `b` lies beyond the percentile that both have together: whatever the shape.
pub(super) fn tail_z(a: &Histogram<u64>, b: &Histogram<u64>, q: f64) -> Option<f64> {
    let mut both = a.clone();
    both.add(b).ok()?;
    let value = both.value_at_quantile(q);
    let side = |of: &Histogram<u64>| (above(of, value), of.len() as f64);
    share_z(side(a), side(b))
}
