use super::*;
use crate::measure::buckets::{Buckets, micros};
use proptest::prelude::*;

fn counts(values: &[u64], grid: &Grid, exact: &[Exact]) -> Cumulative {
    let mut buckets = Buckets::default();
    values.iter().for_each(|&ns| buckets.record(micros(ns), 1));
    let mut cumulative = Cumulative::default();
    cumulative.add(grid, buckets.entries(), exact);
    cumulative
}

fn exact(values: &[u64], edge: Duration) -> Exact {
    let at_most = values
        .iter()
        .filter(|&&ns| u128::from(ns) <= edge.as_nanos())
        .count();
    Exact {
        edge,
        at_most: at_most as u64,
    }
}

#[test]
fn edges_are_1_2_5_and_the_limits_once_each() {
    let mut grid = Grid::new();
    let seconds = |grid: &Grid| {
        grid.edges
            .iter()
            .map(Duration::as_secs_f64)
            .collect::<Vec<_>>()
    };
    let base = [
        0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
        2.0, 5.0, 10.0, 20.0, 50.0, 60.0,
    ];
    assert_eq!(seconds(&grid), base);
    let slo = Slo {
        mean: Some(Duration::from_millis(5)),
        p95: Some(Duration::from_millis(12)),
        p99: Some(Duration::from_millis(12)),
    };
    for edge in grid.missing(&slo).collect::<Vec<_>>() {
        grid.add(edge);
    }
    assert_eq!(grid.series(), base.len() + 1 + BESIDE_EDGES);
    assert!(seconds(&grid).contains(&0.012));
    assert_eq!(grid.missing(&slo).count(), 0);
    (1..1000).for_each(|us| grid.add(Duration::from_micros(us)));
    assert_eq!(grid.edges.len(), base.len() + MAX_LIMITS);
}

#[test]
fn a_limit_between_two_buckets_is_exact() {
    let mut grid = Grid::new();
    // 5001 us lies within the HdrHistogram bucket of 5000 to 5003 us
    let limit = Duration::from_micros(5001);
    grid.add(limit);
    let values = [
        4_999_999, 5_000_000, 5_000_500, 5_001_000, 5_001_001, 5_003_000, 5_004_000,
    ];
    let known = exact(&values, limit);
    let shown = counts(&values, &grid, &[known]);
    let at = grid.edges.binary_search(&limit).unwrap();
    assert_eq!(shown.counts[at], 4);
    assert_eq!(
        (shown.counts[at - 1], shown.len),
        (4, 7),
        "not more below than above"
    );
    assert_eq!(shown.counts[at + 1], 7);
}

proptest! {
    #[test]
    fn edges_hold_what_is_below_them(
        values in prop::collection::vec((10_u32..40, any::<u64>()).prop_map(|(bits, x)| (1 << bits) | (x & ((1 << bits) - 1))), 1..200),
        limit_us in 1_u64..100_000_000,
    ) {
        let limit = Duration::from_micros(limit_us);
        let mut grid = Grid::new();
        grid.add(limit);
        let shown = counts(&values, &grid, &[exact(&values, limit)]);
        prop_assert_eq!(shown.len, values.len() as u64);
        prop_assert!(shown.counts.is_sorted());
        for (edge, &n) in grid.edges.iter().zip(&shown.counts) {
            let below = exact(&values, *edge).at_most;
            let nearly = exact(&values, *edge + *edge / 1000).at_most;
            if *edge == limit || edge.as_micros() < 2048 {
                prop_assert_eq!(n, below, "at {:?}", edge);
            } else {
                prop_assert!((below..=nearly).contains(&n), "{} at {:?}, not {} to {}", n, edge, below, nearly);
            }
        }
    }
}
