//! Figures for people: three digits that count, with a unit.

/// 3 digits that count: `1.23`, `12.3`, `123`, `1234`.
fn digits(value: f64) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// Microseconds: `853us`, `1.23ms`, `12.3s`.
pub(super) fn time(us: f64) -> String {
    match us {
        us if us < 999.5 && us.fract() == 0.0 => format!("{us}us"),
        us if us < 999.5 => format!("{}us", digits(us)),
        us if us < 999_500.0 => format!("{}ms", digits(us / 1e3)),
        us => format!("{}s", digits(us / 1e6)),
    }
}

/// Whole microseconds.
pub(in crate::cli) fn micros(us: u64) -> String {
    time(us as f64)
}

/// Bytes, in powers of 1000.
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{} kB", digits(n as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", digits(n as f64 / 1e6)),
        _ => format!("{} GB", digits(n as f64 / 1e9)),
    }
}

/// A rate per second.
pub(in crate::cli) fn rate(per_second: f64) -> String {
    if per_second == 0.0 {
        "0".to_owned()
    } else {
        digits(per_second)
    }
}

/// A count in at most 6 characters; exact up to 99,999.
pub(in crate::cli) fn count(n: u64) -> String {
    match n {
        0..100_000 => n.to_string(),
        100_000..1_000_000 => format!("{}k", digits(n as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{}M", digits(n as f64 / 1e6)),
        _ => format!("{}G", digits(n as f64 / 1e9)),
    }
}

/// A share of 1, in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        for (us, shown) in [
            (0.0, "0us"),
            (0.5, "0.50us"),
            (7.0, "7us"),
            (853.0, "853us"),
            (1_000.0, "1.00ms"),
            (1_234.0, "1.23ms"),
            (9_996.0, "10.0ms"),
            (99_960.0, "100ms"),
            (999_600.0, "1.00s"),
            (3_600_000_000.0, "3600s"),
        ] {
            assert_eq!(time(us), shown);
        }
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500_000), "1.50 MB");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(12_345.6), "12346");
        assert_eq!(count(99_999), "99999");
        assert_eq!(count(1_234_567), "1.23M");
        assert_eq!(percent(0.123), "12.3 %");
    }
}
