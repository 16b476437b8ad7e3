//! What a picture shows, as a table behind it: for those who hear the page, and for those who want the figures.

use super::figure;
use super::traffic::Traffic;
use crate::insight::SECOND;
use crate::insight::breaker::Breaker;
use hdrhistogram::Histogram;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Rows of a heat map's table at most: of a longer run several seconds make a row.
const HEAT_ROWS: usize = 120;

/// Percentiles of a spectrum's table, as shares.
const PERCENTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// A table that opens on demand, by mouse and by keyboard.
pub(super) fn details<S: AsRef<str>>(name: &str, head: &[S], rows: Vec<Vec<String>>) -> Markup {
    html! {
        details {
            summary { "The same as a table (" (name) ")" }
            div.scroll tabindex="0" role="region" aria-label=(name) {
                table {
                    thead { tr { @for cell in head { th.number scope="col" { (cell.as_ref()) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td.number { (cell) } } } } }
                }
            }
        }
    }
}

/// Latency by percentile, a row a phase.
pub(super) fn spectrum(phases: &[(String, Histogram<u64>)]) -> Markup {
    let rows = phases.iter().map(|(name, latencies)| {
        let at = PERCENTILES.map(|q| {
            // A percentile needs the samples that bound it.
            let bounded = latencies.len() as f64 * (1.0 - q) >= 1.0;
            figure::some(bounded.then(|| latencies.value_at_quantile(q)))
        });
        let most = (!latencies.is_empty()).then(|| latencies.max());
        let ends = [latencies.len().to_string(), figure::some(most)];
        let mut row = vec![figure::plain(name)];
        row.extend(at);
        row.extend(ends);
        row
    });
    let head = ["phase", "p50", "p90", "p95", "p99", "p99.9", "n", "max"];
    details("percentiles by phase", &head, rows.collect())
}

/// Answers by time and latency.
pub(super) fn heat(traffic: &Traffic) -> Markup {
    let seconds = &traffic.seconds;
    let block = seconds.len().div_ceil(HEAT_ROWS).max(1);
    let buckets = || seconds.iter().flat_map(|s| s.buckets.keys().copied());
    let (Some(low), Some(high)) = (buckets().min(), buckets().max()) else {
        return html! {};
    };
    let rows = seconds.chunks(block).enumerate().map(|(n, some)| {
        let mut sum: BTreeMap<u8, u64> = BTreeMap::new();
        for (bucket, count) in some.iter().flat_map(|s| &s.buckets) {
            *sum.entry(*bucket).or_default() += count;
        }
        let (first, last) = (n * block, n * block + some.len() - 1);
        let named = if first == last {
            first.to_string()
        } else {
            format!("{first} to {last}")
        };
        let counts = (low..=high).map(|b| sum.get(&b).map_or("-".into(), u64::to_string));
        std::iter::once(named).chain(counts).collect()
    });
    let from = (low..=high).map(|b| format!("from {}", figure::duration(1 << b.min(63))));
    let head: Vec<String> = std::iter::once("second".into()).chain(from).collect();
    details("answers by second and latency", &head, rows.collect())
}

/// When a breaker was open.
pub(super) fn breaker(breaker: &Breaker) -> Markup {
    let at = |ns: u64| format!("{:.2} s", ns as f64 / SECOND as f64);
    let rows = breaker.episodes.iter().map(|e| {
        let answer = match (e.probed, e.probe_succeeded) {
            (None, _) => "-",
            (Some(_), true) => "succeeded",
            (Some(_), false) => "failed",
        };
        vec![
            format!("{} to {}", at(e.tripped_from), at(e.tripped_to)),
            e.probed.map_or("-".into(), at),
            e.probes.to_string(),
            answer.into(),
        ]
    });
    let head = ["opened at", "first call after it", "calls then", "which"];
    details("when the breaker was open", &head, rows.collect())
}
