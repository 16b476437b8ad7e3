//! Between which shares the truth lies, of which a count is what was seen: the exact interval of Clopper and Pearson (1934).
//!
//! Both bounds are those shares at which what was seen, or something beyond it, would come once in forty times: the interval misses
//! the truth at most once in twenty, whatever the share and however few there are.

/// What may lie beyond a bound.
const BEYOND: f64 = 0.025;

/// Halvings of the interval in which a bound is looked for: below what a double tells apart.
const HALVINGS: u32 = 60;

/// The lowest and the highest share, 0 to 1, that `hits` of `all` speak for with 95 % confidence. Of nothing every share is possible.
pub(crate) fn interval(hits: u64, all: u64) -> (f64, f64) {
    let hits = hits.min(all);
    (1.0 - upper(all - hits, all), upper(hits, all))
}

/// The share at which so few would come once in forty times.
fn upper(hits: u64, all: u64) -> f64 {
    if hits >= all {
        return 1.0;
    }
    let choices = ln_choices(hits, all);
    let (mut low, mut high) = (hits as f64 / all as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if at_most(hits, all, middle, choices) > BEYOND {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability of at most `hits` of `all`, each of which comes with this one, where more are to be expected. `choices`: the
/// logarithm of the ways to choose so many.
fn at_most(hits: u64, all: u64, share: f64, choices: f64) -> f64 {
    let (k, n) = (hits as f64, all as f64);
    let mut term = (choices + k * share.ln() + (n - k) * (-share).ln_1p()).exp();
    let mut sum = term;
    let odds = (1.0 - share) / share;
    // Below the mean each is smaller than the one above it.
    for k in (1..=hits).rev() {
        term *= odds * k as f64 / (all - k + 1) as f64;
        sum += term;
        if term <= sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The logarithm of the ways to choose so many of all.
fn ln_choices(hits: u64, all: u64) -> f64 {
    let few = hits.min(all - hits);
    let factors = (1..=few).map(|i| (all - few + i) as f64 / i as f64);
    factors.map(f64::ln).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(found: (f64, f64), low: f64, high: f64) {
        assert!(
            (found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5,
            "{found:?}"
        );
    }

    #[test]
    fn it_is_that_of_the_tables() {
        near(interval(0, 10), 0.0, 0.3085);
        near(interval(1, 10), 0.0025, 0.4450);
        near(interval(5, 10), 0.1871, 0.8129);
        near(interval(10, 100), 0.0490, 0.1762);
        near(interval(100, 100), 0.9638, 1.0);
        near(interval(0, 0), 0.0, 1.0);
    }

    #[test]
    fn of_none_it_is_what_the_root_says() {
        for all in [1_u64, 30, 59, 299, 100_000] {
            let (low, high) = interval(0, all);
            assert!(low.abs() < 1e-12);
            assert!((high - (1.0 - BEYOND.powf(1.0 / all as f64))).abs() < 1e-12);
        }
    }

    /// Every term added up, from the other end.
    fn at_most_slowly(hits: u64, all: u64, share: f64) -> f64 {
        let term = |k: u64| {
            let (kf, n) = (k as f64, all as f64);
            (ln_choices(k, all) + kf * share.ln() + (n - kf) * (-share).ln_1p()).exp()
        };
        (0..=hits).map(term).sum()
    }

    proptest! {
        // Each looks for bounds with up to three thousand terms, forty times.
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// At a bound what was seen or less, or more, comes once in forty times.
        #[test]
        fn beyond_a_bound_is_once_in_forty(all in 1_u64..3_000, part in 0.0_f64..=1.0) {
            let hits = (part * all as f64) as u64;
            let (low, high) = interval(hits, all);
            let seen = hits as f64 / all as f64;
            prop_assert!(low <= seen && seen <= high);
            if hits < all {
                prop_assert!((at_most_slowly(hits, all, high) - BEYOND).abs() < 1e-8);
            }
            if hits > 0 {
                let fewer = at_most_slowly(hits - 1, all, low);
                prop_assert!((1.0 - fewer - BEYOND).abs() < 1e-8, "{fewer}");
            }
        }

        /// It misses the truth once in twenty times at most: summed up over all that can be seen.
        #[test]
        fn it_holds_the_truth_nineteen_times_in_twenty(all in 1_u64..150, truth in 0.001_f64..0.999) {
            let missed = (0..=all).filter(|hits| {
                let (low, high) = interval(*hits, all);
                truth < low || high < truth
            });
            let probability = |hits: u64| {
                let (k, n) = (hits as f64, all as f64);
                (ln_choices(hits, all) + k * truth.ln() + (n - k) * (-truth).ln_1p()).exp()
            };
            let missed: f64 = missed.map(probability).sum();
            prop_assert!(missed <= 0.05 + 1e-9, "{missed}");
        }

        /// More of the same says more, and large counts are no trouble.
        #[test]
        fn more_says_more(all in 10_u64..1_000_000, part in 0.0_f64..=1.0) {
            let hits = (part * all as f64) as u64;
            let (few, many) = (interval(hits, all), interval(3 * hits, 3 * all));
            prop_assert!(few.0 <= many.0 + 1e-12 && many.1 <= few.1 + 1e-12, "{few:?} {many:?}");
        }
    }
}
