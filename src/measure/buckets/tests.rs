use super::*;
use proptest::prelude::*;

fn encoded(buckets: &Buckets) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(buckets, &mut bytes);
    bytes
}

fn reference() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST, 3).unwrap()
}

/// Microseconds spread evenly over the orders of magnitude.
fn spread() -> impl Strategy<Value = u64> {
    (0_u32..32, any::<u64>())
        .prop_map(|(bits, x)| ((1 << bits) | (x & ((1 << bits) - 1))).min(HIGHEST))
}

#[test]
fn micros_never_lose_the_side_of_a_limit() {
    for (ns, us) in [
        (0, 1),
        (1, 1),
        (999, 1),
        (1000, 1),
        (1001, 2),
        (5_000_000, 5000),
        (5_000_001, 5001),
    ] {
        assert_eq!(micros(ns), us, "{ns} ns");
    }
    assert_eq!(micros(u64::MAX), u64::MAX / 1000 + 1);
}

#[test]
fn a_count_beyond_32_bits_is_kept() {
    let mut buckets = Buckets::default();
    for _ in 0..3 {
        buckets.record(77, u64::from(u32::MAX));
    }
    buckets.record(78, 1);
    let n = 3 * u64::from(u32::MAX);
    assert_eq!(buckets.entries().collect::<Vec<_>>(), [(77, n), (78, 1)]);
    let mut copy = Buckets::default();
    copy.merge(&buckets);
    copy.extend(decode(&encoded(&buckets)));
    assert_eq!(copy.entries().collect::<Vec<_>>(), [(77, 2 * n), (78, 2)]);
    assert_eq!(copy.len(), 2 * n + 2);
    copy.clear();
    assert_eq!(copy.entries().count(), 0);
}

#[test]
fn longer_than_the_range_counts_at_its_end() {
    let mut buckets = Buckets::default();
    buckets.record(u64::MAX, 2);
    assert_eq!(buckets.entries().collect::<Vec<_>>(), [(index(HIGHEST), 2)]);
    assert_eq!(
        buckets.to_hdr().max(),
        reference().highest_equivalent(HIGHEST)
    );
}

#[test]
fn memory_follows_the_values_and_clearing_gives_back_what_is_rare() {
    let mut buckets = Buckets::default();
    assert_eq!(buckets.memory(), 0);
    buckets.record(100, 1_000_000);
    assert!(buckets.memory() < 1024, "{}", buckets.memory());
    for us in (1..HIGHEST).step_by(100_003) {
        buckets.record(us, 1);
    }
    let wide = buckets.memory();
    assert!(wide <= 120 * 1024, "the whole range once: {wide}");
    buckets.clear();
    assert!(buckets.memory() <= 10 * 1024, "{}", buckets.memory());
    assert!(buckets.is_empty());
}

proptest! {
    #[test]
    fn the_grid_is_that_of_hdrhistogram(us in spread()) {
        let hdr = reference();
        let i = index(us);
        prop_assert_eq!(lowest(i), hdr.lowest_equivalent(us));
        prop_assert_eq!(highest(i), hdr.highest_equivalent(us));
        prop_assert_eq!(index(lowest(i)), i);
        prop_assert_eq!(index(highest(i)), i);
        prop_assert!(highest(i) - lowest(i) <= us / 1000);
    }

    #[test]
    fn converts_to_hdrhistogram_without_loss(values in prop::collection::vec((spread(), 1_u64..1000), 1..300)) {
        let mut ours = Buckets::default();
        let mut theirs = reference();
        for &(us, n) in &values {
            ours.record(us, n);
            theirs.record_n(us, n).unwrap();
        }
        let hdr = ours.to_hdr();
        prop_assert_eq!(hdr.len(), theirs.len());
        prop_assert_eq!(hdr.max(), theirs.max());
        for q in [0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            prop_assert_eq!(hdr.value_at_quantile(q), theirs.value_at_quantile(q));
        }
    }

    #[test]
    fn quantiles_are_within_a_thousandth_of_the_sorted_samples(mut values in prop::collection::vec(spread(), 1..500)) {
        let mut buckets = Buckets::default();
        buckets.extend(values.iter().map(|&us| (index(us), 1)));
        values.sort_unstable();
        let hdr = buckets.to_hdr();
        for q in [0.5, 0.95, 0.99] {
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let (exact, seen) = (values[rank - 1], hdr.value_at_quantile(q));
            prop_assert!(exact <= seen && seen - exact <= exact / 1000, "{} is not {}", seen, exact);
        }
    }

    #[test]
    fn resting_counts_are_the_same_counts(values in prop::collection::vec((spread(), 1_u64..u64::from(u32::MAX)), 0..300)) {
        let mut buckets = Buckets::default();
        buckets.extend(values.iter().map(|&(us, n)| (index(us), n)));
        let bytes = encoded(&buckets);
        prop_assert!(decode(&bytes).eq(buckets.entries()));
        let mut back = Buckets::default();
        back.extend(decode(&bytes));
        prop_assert_eq!(back.len(), buckets.len());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut buckets = Buckets::default();
        buckets.extend(decode(&bytes));
    }
}
