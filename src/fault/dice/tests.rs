use std::collections::HashSet;

use proptest::prelude::*;
use rand_xoshiro::rand_core::Rng;

use super::*;

/// Seeds that were written down must give the same draws for ever: if this fails, the function is wrong, not the test.
/// Computed apart from this code, from the description at the head of the module.
#[test]
fn golden_values() {
    let dice = Dice::new(42, "lost-commit-ack").on_proxy("postgres");
    let draws = [
        dice.exchange(0, 0, Purpose::Probability),
        dice.exchange(0, 1, Purpose::Probability),
        dice.exchange(1, 0, Purpose::Probability),
        dice.exchange(0, 0, Purpose::Ramp),
        dice.exchange(0, 0, Purpose::Delay),
        dice.session(0, Purpose::Probability),
        Dice::new(0, "").exchange(0, 0, Purpose::Probability),
    ];
    let bits = draws.map(|draw| format!("{:016x}", draw.0));
    assert_eq!(
        bits,
        [
            "4638dcc30b25e932",
            "6c59d6ce60ba0876",
            "a5b3c83076c1ded2",
            "c4136d441eb9b04d",
            "e5d0631df05b97f4",
            "f62c9425b9367d35",
            "1b0d11402ba39288",
        ]
    );
    assert_eq!(draws[0].generator().next_u64(), 0x01c9_3ad8_dce5_2037);
}

/// The chain, computed by hand from its description: one step of `SplitMix64` from state 0 is its published first output.
#[test]
fn the_mixer_is_splitmix64() {
    assert_eq!(absorb(0, 0), 0xe220_a839_7b1d_cdaf);
    assert_eq!(absorb(0, GOLDEN), 0x6e78_9e6a_a1b9_65f4);
}

/// Test vectors of the FNV authors.
#[test]
fn names_are_hashed_by_fnv1a() {
    assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn every_part_of_the_key_matters() {
    let mut seen = HashSet::new();
    let mut count = 0;
    for seed in 0..3 {
        for fault in ["a", "b", "ab"] {
            for proxy in ["a", "b", "ab"] {
                let dice = Dice::new(seed, fault).on_proxy(proxy);
                for (session, exchange) in (0..8).flat_map(|s| (0..8).map(move |e| (s, e))) {
                    for purpose in [Purpose::Probability, Purpose::Ramp, Purpose::Delay] {
                        seen.insert(dice.exchange(session, exchange, purpose).0);
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), count);
}

/// Pearson's chi-squared over 64 cells: 63 degrees of freedom, 99.99 % below 113.
#[test]
fn draws_of_neighbouring_exchanges_are_uniform() {
    for (name, key) in [
        ("by exchange", (|n| (0, n)) as fn(u64) -> (u64, u64)),
        ("by session", |n| (n, 0)),
        ("by both", |n| (n >> 8, n & 255)),
    ] {
        let dice = Dice::new(7, "uniform");
        let mut cells = [0_u32; 64];
        let samples = 64 * 1000;
        for n in 0..samples {
            let (session, exchange) = key(n);
            let draw = dice.exchange(session, exchange, Purpose::Probability);
            cells[(draw.uniform() * 64.0) as usize] += 1;
        }
        let chi: f64 = cells
            .iter()
            .map(|count| (f64::from(*count) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert!((25.0..113.0).contains(&chi), "{name}: {chi}");
    }
}

/// 100,000 sessions, four standard deviations.
#[test]
fn draws_for_whole_sessions_hit_their_share() {
    let dice = Dice::new(1, "lossy").on_proxy("p");
    let hits =
        (0..100_000).filter(|session| dice.session(*session, Purpose::Probability).hits(0.2));
    assert!((19_490..20_510).contains(&hits.count()));
}

/// A fault that hit is neither more nor less likely to hit again at the next exchange: the lag-1 correlation of 100,000
/// uniform draws is within four standard errors (0.0126) of none.
#[test]
fn consecutive_draws_do_not_correlate() {
    let dice = Dice::new(1, "serial");
    let at = |n| dice.exchange(3, n, Purpose::Probability).uniform() - 0.5;
    let samples = 100_000;
    let sum: f64 = (0..samples).map(|n| at(n) * at(n + 1)).sum();
    let correlation = sum / samples as f64 * 12.0;
    assert!(correlation.abs() < 0.0126, "{correlation}");
}

#[test]
fn flipping_any_bit_of_an_ordinal_flips_half_of_the_draw() {
    let dice = Dice::new(9, "avalanche");
    for bit in 0..64 {
        let flipped: u32 = (0..200)
            .map(|n| {
                let one = dice.exchange(n, 5, Purpose::Delay).0;
                let other = dice.exchange(n ^ (1 << bit), 5, Purpose::Delay).0;
                (one ^ other).count_ones()
            })
            .sum();
        let mean = f64::from(flipped) / 200.0;
        // 200 means of 64 bits: standard deviation 0.28.
        assert!((30.5..33.5).contains(&mean), "bit {bit}: {mean}");
    }
}

proptest! {
    #[test]
    fn uniform_draws_lie_in_the_half_open_interval(bits: u64) {
        let uniform = Draw(bits).uniform();
        prop_assert!((0.0..1.0).contains(&uniform));
        prop_assert!(Draw(bits).hits(1.0));
        prop_assert!(!Draw(bits).hits(0.0));
    }
}
