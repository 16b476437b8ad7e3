//! Two reports side by side: what became better or worse, told apart from noise.
//!
//! Latencies are compared by the Mann-Whitney U test: it asks whether one of the two tends to be larger, of whatever shape they are,
//! and takes ties, which histograms are full of, into account. Tails, which a shift of the middle says nothing of, are compared by
//! distribution-free intervals: the order statistics between which p95 or p99 lies but once in a thousand times, whatever the
//! shape. Only intervals that do not meet count, which is stricter than a test of the difference, on purpose: requests that queue
//! behind one another are not independent, and many operations are looked at. A bootstrap would cost more, and of so few samples
//! beyond p99 know no more than these ranks do. Failures are compared by the z test of two proportions. What
//! differs by chance once in a thousand times is noise; what differs for sure and by less than the limit is small. Both have
//! to be exceeded before anything is called a change.

use super::figure;
use super::suite::Suite;
use super::traffic::Operation;
use crate::verify::document::Document;
use crate::verify::verdict::Verdict;
use hdrhistogram::Histogram;
use std::fmt::Write;

/// Two-sided, once in a thousand.
const SURE: f64 = 3.29;
/// Fewer answers on a side say nothing.
const LEAST: u64 = 30;

/// How an operation in a phase became.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) what: String,
    pub(crate) told: String,
    pub(crate) worse: bool,
}

/// What changed by more than `limit` (a share, like 0.1), and how many operations were compared.
pub(crate) fn changes(before: &Suite, after: &Suite, limit: f64) -> (Vec<Change>, usize) {
    let mut found = Vec::new();
    let mut compared = 0;
    for run in &after.runs {
        let Some(old) = before.runs.iter().find(|r| r.profile == run.profile) else {
            continue;
        };
        found.extend(verdicts(old, run));
        found.extend(vanished(old, run));
        for traffic in &run.traffic {
            let Some(was) = old.traffic.iter().find(|t| t.proxy == traffic.proxy) else {
                continue;
            };
            for now in &traffic.operations {
                let same = |o: &&Operation| o.phase == now.phase && o.operation == now.operation;
                let Some(then) = was.operations.iter().find(same) else {
                    continue;
                };
                let what = format!(
                    "{}, {}, {} in {}",
                    run.profile, traffic.proxy, now.operation, now.phase
                );
                // What is too little to tell anything of has not been compared.
                if then.ended >= LEAST && now.ended >= LEAST {
                    compared += 1;
                }
                found.extend(latency(&what, then, now, limit));
                found.extend(tails(&what, then, now, limit));
                found.extend(failures(&what, then, now, limit));
            }
        }
    }
    (found, compared)
}

/// Expectations that passed and fail now, or the other way round: no limit makes that small.
fn verdicts(old: &Document, new: &Document) -> Vec<Change> {
    let mut found = Vec::new();
    for now in &new.expectations {
        let same = old.expectations.iter().find(|then| {
            then.field == now.field && then.component == now.component && then.phases == now.phases
        });
        let Some(then) = same else { continue };
        let worse = match (&then.verdict, &now.verdict) {
            (Verdict::Pass, Verdict::Fail { .. }) => true,
            (Verdict::Fail { .. }, Verdict::Pass) => false,
            _ => continue,
        };
        found.push(Change {
            what: format!("{}, {}: {}", new.profile, now.component, now.target),
            told: format!(
                "{} ({}) -> {} ({})",
                then.word(),
                then.measured,
                now.word(),
                now.measured
            ),
            worse,
        });
    }
    found
}

/// Operations that were there often enough and are not there at all now: a service that is silent is not a service as before.
fn vanished(old: &Document, new: &Document) -> Vec<Change> {
    let there = |proxy: &str, was: &Operation| {
        let traffic = new.traffic.iter().filter(|t| t.proxy == proxy);
        traffic
            .flat_map(|t| &t.operations)
            .any(|o| o.phase == was.phase && o.operation == was.operation)
    };
    let mut found = Vec::new();
    for traffic in &old.traffic {
        for was in &traffic.operations {
            if was.ended < LEAST || there(&traffic.proxy, was) {
                continue;
            }
            found.push(Change {
                what: format!(
                    "{}, {}, {} in {}",
                    new.profile, traffic.proxy, was.operation, was.phase
                ),
                told: format!("n {} -> 0", was.ended),
                worse: true,
            });
        }
    }
    found
}

fn latency(what: &str, then: &Operation, now: &Operation, limit: f64) -> Option<Change> {
    let (a, b) = (then.latencies()?, now.latencies()?);
    if a.len() < LEAST || b.len() < LEAST {
        return None;
    }
    let z = rank_z(&a, &b);
    let (old, new) = (a.value_at_quantile(0.5), b.value_at_quantile(0.5));
    let share = (new as f64 - old as f64) / (old.max(1) as f64);
    if z.abs() < SURE || share.abs() < limit || (z > 0.0) != (share > 0.0) {
        return None;
    }
    Some(Change {
        what: what.into(),
        told: format!(
            "median {} -> {} ({:+.0} %), p95 {} -> {}, n {} and {}, z {z:.1}",
            figure::duration(old),
            figure::duration(new),
            share * 100.0,
            figure::duration(a.value_at_quantile(0.95)),
            figure::duration(b.value_at_quantile(0.95)),
            a.len(),
            b.len()
        ),
        worse: share > 0.0,
    })
}

/// p95 and p99, where both sides have the samples that bound them.
fn tails(what: &str, then: &Operation, now: &Operation, limit: f64) -> Vec<Change> {
    let (Some(a), Some(b)) = (then.latencies(), now.latencies()) else {
        return Vec::new();
    };
    let named = [("p95", 0.95), ("p99", 0.99)].into_iter();
    let found = named.filter_map(|(name, q)| tail(&a, &b, q, limit).map(|t| (name, t)));
    found
        .map(|(name, (told, worse))| Change {
            what: what.into(),
            told: format!("{name} {told}"),
            worse,
        })
        .collect()
}

/// How a percentile moved, and whether that is worse; `None`: not for sure, or by less than the limit.
fn tail(a: &Histogram<u64>, b: &Histogram<u64>, q: f64, limit: f64) -> Option<(String, bool)> {
    let (was, is) = (interval(a, q)?, interval(b, q)?);
    let (old, new) = (a.value_at_quantile(q), b.value_at_quantile(q));
    let share = (new as f64 - old as f64) / (old.max(1) as f64);
    if (was.0 <= is.1 && is.0 <= was.1) || share.abs() < limit {
        return None;
    }
    let shown = |value, (low, high)| {
        let [value, low, high] = [value, low, high].map(figure::duration);
        format!("{value} ({low} to {high})")
    };
    let (from, to) = (shown(old, was), shown(new, is));
    let told = format!(
        "{from} -> {to} ({:+.0} %), n {} and {}",
        share * 100.0,
        a.len(),
        b.len()
    );
    Some((told, share > 0.0))
}

/// Between which values a percentile lies, once in a thousand times wrong: the number of samples below it is binomial. `None`: too
/// few samples for an upper end.
fn interval(of: &Histogram<u64>, q: f64) -> Option<(u64, u64)> {
    let n = of.len() as f64;
    let spread = SURE * (n * q * (1.0 - q)).sqrt();
    let (low, high) = (n * q - spread, n * q + spread + 1.0);
    if low < 1.0 || high > n {
        return None;
    }
    Some((
        of.value_at_quantile(low / n),
        of.value_at_quantile(high / n),
    ))
}

fn failures(what: &str, then: &Operation, now: &Operation, limit: f64) -> Option<Change> {
    let (n, m) = (then.ended as f64, now.ended as f64);
    if then.ended < LEAST || now.ended < LEAST {
        return None;
    }
    let (p, q) = (then.failed as f64 / n, now.failed as f64 / m);
    let all = (then.failed + now.failed) as f64 / (n + m);
    let spread = (all * (1.0 - all) * (1.0 / n + 1.0 / m)).sqrt();
    if spread == 0.0 || ((q - p) / spread).abs() < SURE || (q - p).abs() < limit.min(0.01) {
        return None;
    }
    Some(Change {
        what: what.into(),
        told: format!(
            "failures {} of {} ({}) -> {} of {} ({})",
            then.failed,
            then.ended,
            figure::percent(then.failed, then.ended),
            now.failed,
            now.ended,
            figure::percent(now.failed, now.ended)
        ),
        worse: q > p,
    })
}

/// By how many standard deviations the ranks of `b` are larger than chance would have them, ties taken into account.
fn rank_z(a: &Histogram<u64>, b: &Histogram<u64>) -> f64 {
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

/// For people.
pub(crate) fn render(changes: &[Change], compared: usize, limit: f64) -> String {
    let mut text = String::new();
    for (title, worse) in [("worse", true), ("better", false)] {
        for change in changes.iter().filter(|c| c.worse == worse) {
            let _ = writeln!(
                text,
                "{title}: {}: {}",
                figure::plain(&change.what),
                change.told
            );
        }
    }
    let worse = changes.iter().filter(|c| c.worse).count();
    let _ = writeln!(
        text,
        "{compared} operations compared: {worse} worse, {} better by more than {:.0} % and beyond chance",
        changes.len() - worse,
        limit * 100.0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds");
        for value in values {
            histogram.record(value).expect("within bounds");
        }
        histogram
    }

    #[test]
    fn ranks_tell_a_shift_from_noise() {
        let base = || (0..400_u64).map(|n| 100 + n * 7919 % 97);
        assert!(rank_z(&histogram(base()), &histogram(base())).abs() < 0.01);
        let shifted = base().map(|v| v + 20);
        assert!(rank_z(&histogram(base()), &histogram(shifted.clone())) > 5.0);
        assert!(rank_z(&histogram(shifted), &histogram(base())) < -5.0);
        // All equal: nothing to tell apart.
        assert!(rank_z(&histogram([5; 50]), &histogram([5; 50])).abs() < f64::EPSILON);
    }

    #[test]
    fn a_tail_that_grew_is_told_where_the_median_did_not() {
        let with_tail = |slow: u64| {
            histogram((0..4_000_u64).map(move |n| if n % 50 == 0 { slow } else { 100 + n % 40 }))
        };
        let (before, after) = (with_tail(1_000), with_tail(9_000));
        assert!(rank_z(&before, &after).abs() < SURE, "medians say nothing");
        let (told, worse) = tail(&before, &after, 0.99, 0.1).expect("p99 is nine times as large");
        assert!(
            worse && told.contains("1.00 ms") && told.contains("9.01 ms"),
            "{told}"
        );
        let (_, worse) = tail(&after, &before, 0.99, 0.1).expect("the other way round");
        assert!(!worse);
        assert_eq!(
            tail(&before, &after, 0.95, 0.1),
            None,
            "p95 is before the tail"
        );
        assert_eq!(tail(&before, &after, 0.99, 10.0), None, "below the limit");
        assert_eq!(tail(&before, &before, 0.99, 0.0), None);
    }

    #[test]
    fn a_percentile_needs_the_samples_that_bound_it() {
        let of = |n: u64| histogram(1..=n);
        assert_eq!(interval(&of(205), 0.95), None);
        assert!(interval(&of(300), 0.95).is_some());
        assert_eq!(interval(&of(1_000), 0.99), None);
        let (low, high) = interval(&of(10_000), 0.99).expect("enough");
        // 9900, and 3.29 times the root of 10000 * 0.99 * 0.01 on either side; a bucket is 8 wide there.
        assert!(
            (9_859..=9_880).contains(&low) && (9_925..=9_945).contains(&high),
            "{low} {high}"
        );
    }

    #[test]
    fn u_is_that_of_the_textbook() {
        // Ranks 1, 2, 4 against 3, 5, 6: U = 14 - 6 = 8 of 9; mean 4.5, variance 3 * 3 * 7 / 12.
        let z = rank_z(&histogram([1, 2, 4]), &histogram([3, 5, 6]));
        assert!((z - 3.5 / (63.0_f64 / 12.0).sqrt()).abs() < 1e-9, "{z}");
    }
}
