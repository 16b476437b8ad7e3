//! How far a figure is from its limit, read from the two as they are told: in every document, whichever program wrote it.

use crate::verify::document::Row;
use crate::verify::verdict::Verdict;

/// "98 % to spare", or "missed by 40 %". `None`: there is no limit in numbers alone, nothing was measured, or both are told too roughly to say.
pub(super) fn of(row: &Row) -> Option<String> {
    let (least, limit) = match (row.target.split_once(" >= "), row.target.split_once(" <= ")) {
        (Some((_, limit)), _) => (true, limit),
        (None, Some((_, limit))) => (false, limit),
        (None, None) => return None,
    };
    let (limit, unit) = figure(limit)?;
    let bound = |sign: &str| row.measured.starts_with(sign);
    let (measured, of_unit) = figure(row.measured.trim_start_matches(['>', '<', '=', ' ']))?;
    if unit != of_unit {
        return None;
    }
    let spare = if least {
        measured - limit
    } else {
        limit - measured
    };
    let kept = spare >= 0.0;
    // Figures are told in few digits: close to the limit the verdict knows better.
    match row.verdict {
        Verdict::Fail { .. } if kept => return Some("missed".into()),
        Verdict::Pass if !kept => return None,
        _ => {}
    }
    // What is only known to be more, or less, may be further away.
    let more = if bound(">") || bound("<") {
        " at least"
    } else {
        ""
    };
    Some(match (kept, limit > 0.0) {
        (true, true) => format!("{:.0}\u{a0}% to spare{more}", spare / limit * 100.0),
        (false, true) if -spare >= 9.0 * limit => {
            format!("{:.0} times the limit{more}", measured / limit)
        }
        (false, true) => format!("missed by {:.0}\u{a0}%{more}", -spare / limit * 100.0),
        (true, false) => "none to spare".into(),
        (false, false) => "missed".into(),
    })
}

/// What a unit is measured in, so that those of one kind can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Nothing,
    Seconds,
    Percent,
    PerSecond,
    Times,
    Megabytes,
}

/// "1m 30s" in seconds, "80 %", "1000/s", "+1.5 MB"; of "2 to 3" the second, which is the worse.
fn figure(text: &str) -> Option<(f64, Unit)> {
    let text = text.split(" (").next()?;
    let text = text.rsplit(" to ").next()?;
    let mut rest = text.trim_start_matches('+');
    let mut sum = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let after = after.trim_start();
        let end = after.find(|c: char| c.is_ascii_digit() || c == ' ');
        let (unit, further) = after.split_at(end.unwrap_or(after.len()));
        let (factor, unit) = unit_of(unit)?;
        let value = number.parse::<f64>().ok()? * factor;
        sum = match sum {
            None => Some((value, unit)),
            Some((before, same)) if same == unit && unit == Unit::Seconds => {
                Some((before + value, unit))
            }
            Some(_) => return None,
        };
        rest = further.trim_start();
    }
    sum
}

fn unit_of(text: &str) -> Option<(f64, Unit)> {
    Some(match text {
        "" => (1.0, Unit::Nothing),
        "ns" => (1e-9, Unit::Seconds),
        "us" | "\u{b5}s" => (1e-6, Unit::Seconds),
        "ms" => (1e-3, Unit::Seconds),
        "s" => (1.0, Unit::Seconds),
        "m" => (60.0, Unit::Seconds),
        "h" => (3600.0, Unit::Seconds),
        "%" => (1.0, Unit::Percent),
        "/s" => (1.0, Unit::PerSecond),
        "x" => (1.0, Unit::Times),
        "MB" => (1.0, Unit::Megabytes),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_told_of_every_limit_in_numbers() {
        let suite = super::super::tests::fixed();
        let mut row = suite.runs[0].expectations[0].clone();
        for (target, measured, margin) in [
            ("p95 <= 10ms", "0.2ms", Some("98 % to spare")),
            ("p95 <= 10ms", "140.1ms", Some("14 times the limit")),
            ("p95 <= 1m 30s", "120s", Some("missed by 33 %")),
            (
                "timeout <= 1s",
                "> 2004ms",
                Some("missed by 100 % at least"),
            ),
            ("throughput >= 1000/s", "695.1/s", Some("missed by 30 %")),
            ("throughput >= 50/s", "80.8/s", Some("62 % to spare")),
            (
                "headroom >= 2x",
                ">= 2.00x (110.0/s)",
                Some("0 % to spare at least"),
            ),
            ("error rate <= 0 %", "0.00 %", Some("none to spare")),
            ("error rate <= 0 %", "3.10 %", Some("missed")),
            ("memory growth <= 50 MB", "+1.0 MB", Some("98 % to spare")),
            ("retries <= 4", "2 to 3", Some("25 % to spare")),
            ("cpu mean <= 0.8", "0.20", Some("75 % to spare")),
            ("pool use <= 80 %", "-", None),
            ("p95 <= 10ms", "3 routes", None),
            ("breaker opens after 5", "8", None),
        ] {
            (row.target, row.measured) = (target.into(), measured.into());
            row.verdict = if margin.is_some_and(|m| m.contains("spare")) {
                Verdict::Pass
            } else {
                Verdict::Fail { why: String::new() }
            };
            let told = of(&row).map(|m| m.replace('\u{a0}', " "));
            assert_eq!(told.as_deref(), margin, "{target}: {measured}");
        }
    }

    #[test]
    fn what_is_rounded_does_not_contradict_the_verdict() {
        let suite = super::super::tests::fixed();
        let mut row = suite.runs[0].expectations[0].clone();
        let fail = || Verdict::Fail { why: String::new() };
        for (target, measured, verdict, margin) in [
            ("detects <= 5s", "> 5.0s", fail(), Some("missed")),
            ("error rate <= 0 %", "0.00 %", fail(), Some("missed")),
            ("memory growth <= 1 MB", "+1.3 MB", Verdict::Pass, None),
        ] {
            (row.target, row.measured, row.verdict) = (target.into(), measured.into(), verdict);
            assert_eq!(of(&row).as_deref(), margin, "{target}: {measured}");
        }
    }
}
