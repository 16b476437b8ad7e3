//! Numbers for people.

/// Microseconds in the unit that is read most easily.
pub(crate) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// The same, or a dash where there is none.
pub(crate) fn some(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), duration)
}

/// Whether so many samples bound a percentile, with a confidence of 95 %: that of 0.95 needs 59, that of 0.99 needs 299.
pub(crate) fn bounded(q: f64, samples: u64) -> bool {
    samples as f64 * q.ln() <= 0.05_f64.ln()
}

/// Bytes in MB.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A share in percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

/// Characters that could end a line or steer a terminal, or that XML does not have, made visible.
pub(crate) fn plain(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars()
        .map(|c| if odd(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::bounded;
    use crate::measure::stats::needed;

    #[test]
    fn a_percentile_needs_the_samples_that_verdicts_need() {
        for (q, needed) in [(0.5, needed::P50), (0.95, needed::P95), (0.99, needed::P99)] {
            assert!(bounded(q, needed) && !bounded(q, needed - 1), "{q}");
        }
    }
}
