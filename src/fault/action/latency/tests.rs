use proptest::prelude::*;

use super::*;
use crate::fault::dice::{Dice, Purpose};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// 200,001 sorted draws in milliseconds.
fn sorted_draws(table: &DelayTable) -> Vec<f64> {
    let mut problems = Problems::new("");
    let distribution = Distribution::compile(table, "delay", &mut problems);
    problems.finish().unwrap();
    let distribution = distribution.unwrap();
    let dice = Dice::new(11, "latency");
    let mut drawn: Vec<f64> = (0..200_001)
        .map(|n| distribution.sample(dice.exchange(0, n, Purpose::Delay)))
        .map(|delay| delay.as_secs_f64() * 1e3)
        .collect();
    drawn.sort_by(f64::total_cmp);
    drawn
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[(q * (sorted.len() - 1) as f64) as usize]
}

fn close(measured: f64, expected: f64, share: f64) {
    let off = (measured / expected - 1.0).abs();
    assert!(off < share, "{measured} is not {expected} within {share}");
}

#[test]
fn fixed_is_fixed() {
    let table = DelayTable {
        value: Some(ms(5)),
        ..DelayTable::new(DistributionKind::Fixed)
    };
    assert!(
        sorted_draws(&table)
            .iter()
            .all(|delay| (*delay - 5.0).abs() < 1e-9)
    );
}

#[test]
fn uniform_fills_its_interval() {
    let drawn = sorted_draws(&DelayTable {
        min: Some(ms(10)),
        max: Some(ms(30)),
        ..DelayTable::new(DistributionKind::Uniform)
    });
    assert!(drawn[0] >= 10.0 && drawn[200_000] <= 30.0);
    close(quantile(&drawn, 0.05), 11.0, 0.02);
    close(quantile(&drawn, 0.5), 20.0, 0.02);
    close(quantile(&drawn, 0.95), 29.0, 0.02);
}

#[test]
fn normal_has_its_mean_and_spread_and_is_never_negative() {
    let drawn = sorted_draws(&DelayTable {
        mean: Some(ms(100)),
        stddev: Some(ms(10)),
        ..DelayTable::new(DistributionKind::Normal)
    });
    close(quantile(&drawn, 0.5), 100.0, 0.01);
    close(quantile(&drawn, 0.841_345), 110.0, 0.01);
    close(quantile(&drawn, 0.158_655), 90.0, 0.01);
    let wide = sorted_draws(&DelayTable {
        mean: Some(ms(1)),
        stddev: Some(ms(10)),
        ..DelayTable::new(DistributionKind::Normal)
    });
    let zeros = wide.iter().filter(|delay| **delay == 0.0).count();
    // The share of a normal distribution that is below its mean by more than a tenth of its spread: 46 %.
    close(zeros as f64, 0.460 * 200_001.0, 0.02);
}

#[test]
fn lognormal_goes_through_its_percentiles() {
    let drawn = sorted_draws(&DelayTable {
        p50: Some(ms(5)),
        p99: Some(ms(40)),
        ..DelayTable::new(DistributionKind::Lognormal)
    });
    close(quantile(&drawn, 0.5), 5.0, 0.03);
    close(quantile(&drawn, 0.99), 40.0, 0.08);
    // 84 % is one standard deviation in the logarithm: 5 * (40/5)^(1/2.326).
    close(
        quantile(&drawn, 0.841_345),
        5.0 * 8.0_f64.powf(1.0 / Z99),
        0.04,
    );
}

#[test]
fn pareto_has_its_least_and_its_tail() {
    let drawn = sorted_draws(&DelayTable {
        scale: Some(ms(10)),
        shape: Some(2.0),
        ..DelayTable::new(DistributionKind::Pareto)
    });
    assert!(drawn[0] >= 9.999_999);
    for q in [0.5, 0.9, 0.99] {
        close(quantile(&drawn, q), 10.0 * (1.0_f64 - q).powf(-0.5), 0.06);
    }
}

/// The heaviest tail that can be written reaches far beyond the cap.
#[test]
fn no_draw_exceeds_the_cap() {
    let drawn = sorted_draws(&DelayTable {
        scale: Some(ms(3_600_000)),
        shape: Some(1e-300),
        ..DelayTable::new(DistributionKind::Pareto)
    });
    assert!(
        drawn
            .iter()
            .all(|delay| (*delay - 3_600_000.0).abs() < 1e-6)
    );
    assert_eq!(clamped(f64::INFINITY), MAX_DELAY);
    assert_eq!(clamped(f64::NEG_INFINITY), Duration::ZERO);
    assert_eq!(clamped(f64::NAN), Duration::ZERO);
}

#[test]
fn sides_add_and_floors_do_not() {
    let latency = |on, floor, millis| Latency {
        delay: Distribution::Fixed(ms(millis)),
        on,
        floor,
    };
    let draw = Dice::new(0, "").exchange(0, 0, Purpose::Delay);
    let mut decision = Decision::default();
    latency(Side::Reply, false, 5).apply(draw, 1.0, &mut decision);
    latency(Side::Reply, false, 7).apply(draw, 0.5, &mut decision);
    latency(Side::Request, false, 3).apply(draw, 1.0, &mut decision);
    latency(Side::Reply, true, 9).apply(draw, 1.0, &mut decision);
    latency(Side::Reply, true, 4).apply(draw, 1.0, &mut decision);
    assert_eq!(decision.request_delay, ms(3));
    assert_eq!(decision.reply_delay, Duration::from_micros(8500));
    assert_eq!(decision.reply_floor, ms(9));
    assert!(decision.end.is_none());
}

/// Recorded seeds must stay good. If an upgrade of the distributions' crate changes these, say so in the changelog.
#[test]
fn golden_delays() {
    let table = DelayTable {
        p50: Some(ms(5)),
        p99: Some(ms(40)),
        ..DelayTable::new(DistributionKind::Lognormal)
    };
    let distribution = Distribution::compile(&table, "delay", &mut Problems::new("")).unwrap();
    let dice = Dice::new(42, "redis-slow");
    let nanos: Vec<u128> = (0..4)
        .map(|n| {
            distribution
                .sample(dice.exchange(0, n, Purpose::Delay))
                .as_nanos()
        })
        .collect();
    assert_eq!(nanos, [686_714, 868_726, 40_537_301, 14_219_620]);
}

proptest! {
    #[test]
    fn whatever_compiles_draws_within_bounds(
        kind in 0..5,
        a in 0..4_000_000_u64,
        b in 0..4_000_000_u64,
        shape: f64,
        seed: u64,
    ) {
        let (a, b) = (Some(ms(a)), Some(ms(b)));
        let table = match kind {
            0 => DelayTable { value: a, ..DelayTable::new(DistributionKind::Fixed) },
            1 => DelayTable { min: a, max: b, ..DelayTable::new(DistributionKind::Uniform) },
            2 => DelayTable { mean: a, stddev: b, ..DelayTable::new(DistributionKind::Normal) },
            3 => DelayTable { p50: a, p99: b, ..DelayTable::new(DistributionKind::Lognormal) },
            _ => DelayTable { scale: a, shape: Some(shape), ..DelayTable::new(DistributionKind::Pareto) },
        };
        let mut problems = Problems::new("");
        let distribution = Distribution::compile(&table, "delay", &mut problems);
        if problems.finish().is_ok() {
            let distribution = distribution.expect("nothing without a problem");
            let dice = Dice::new(seed, "bounds");
            for n in 0..50 {
                let draw = dice.exchange(0, n, Purpose::Delay);
                let delay = distribution.sample(draw);
                prop_assert!(delay <= MAX_DELAY);
                prop_assert_eq!(delay, distribution.sample(draw), "a draw is a value");
            }
        }
    }
}
