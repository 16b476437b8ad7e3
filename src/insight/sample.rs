//! Exact statistics of a few thousand numbers.

/// Numbers, sorted.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<u64>);

impl FromIterator<u64> for Sample {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        Self(values)
    }
}

impl Sample {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In ascending order.
    pub fn values(&self) -> &[u64] {
        &self.0
    }

    /// The smallest value that at least this share of the values does not exceed: rank ceil(q n), as `HdrHistogram` has it.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = (q * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied()
    }

    /// The middle one.
    pub fn median(&self) -> Option<u64> {
        self.quantile(0.5)
    }

    /// The largest.
    pub fn max(&self) -> Option<u64> {
        self.0.last().copied()
    }

    /// The smallest.
    pub fn min(&self) -> Option<u64> {
        self.0.first().copied()
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        let sum: f64 = self.0.iter().map(|v| *v as f64).sum();
        (!self.0.is_empty()).then(|| sum / self.0.len() as f64)
    }

    /// Standard deviation over mean: how uneven they are. `None` for fewer than two, or a mean of 0.
    pub fn variation(&self) -> Option<f64> {
        let mean = self.mean().filter(|mean| *mean > 0.0)?;
        let n = self.0.len();
        if n < 2 {
            return None;
        }
        let squares: f64 = self.0.iter().map(|v| (*v as f64 - mean).powi(2)).sum();
        Some((squares / (n - 1) as f64).sqrt() / mean)
    }

    /// How many exceed a limit.
    pub fn over(&self, limit: u64) -> usize {
        self.0.len() - self.0.partition_point(|v| *v <= limit)
    }
}

/// The samples from which on the largest bounds the `q`-quantile from above with 95 % confidence, whatever the distribution:
/// ln 0.05 / ln q, rounded up.
pub fn needed(q: f64) -> u64 {
    if q <= 0.0 {
        return 1;
    }
    if q >= 1.0 {
        return u64::MAX;
    }
    // Both logarithms are negative; a hair less, so that rounding does not ask for one more.
    ((0.05_f64.ln() / q.ln()) - 1e-9).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let sample: Sample = (1..=100).collect();
        assert_eq!(sample.quantile(0.5), Some(50));
        assert_eq!(sample.quantile(0.95), Some(95));
        assert_eq!(sample.quantile(1.0), Some(100));
        assert_eq!(sample.quantile(0.0), Some(1));
        assert_eq!(sample.over(95), 5);
        assert_eq!(Sample::default().quantile(0.5), None);
    }

    #[test]
    fn percentiles_need_so_many_samples() {
        let of = [0.5, 0.9, 0.95, 0.99, 0.999].map(needed);
        assert_eq!(of, [5, 29, 59, 299, 2995]);
    }

    #[test]
    fn even_numbers_do_not_vary() {
        let even: Sample = [7; 10].into_iter().collect();
        assert_eq!(even.variation(), Some(0.0));
        let uneven: Sample = [1, 13].into_iter().collect();
        assert!(uneven.variation().expect("two") > 1.0);
        assert_eq!([5].into_iter().collect::<Sample>().variation(), None);
    }
}
