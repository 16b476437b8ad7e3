//! Cumulative buckets, made from HdrHistogram counts at the scrape.
//!
//! An edge that is a limit of the proxy itself (p95, p99) is exact: it comes from the counters of exchanges over the limit. At
//! any other edge an HdrHistogram bucket that reaches across it counts as below: the edge lies in effect at most 0.1 % higher,
//! and exactly where it says up to 2 ms. Counts never decrease from one scrape to the next, nor from one edge to the next.

use crate::measure::Slo;
use crate::measure::buckets::lowest;
use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Limits that get an edge, in the order in which they became known; a configuration with more is beyond any use of one set
/// of edges.
const MAX_LIMITS: usize = 64;

/// Series of a histogram beside those of its edges: `+Inf`, sum, count.
const BESIDE_EDGES: usize = 3;

/// Labels of a series, in the order in which they are written.
pub(super) type Labels = Vec<(&'static str, String)>;

/// The upper edges of all histograms: the same for all, so that they can be summed.
#[derive(Debug)]
pub(super) struct Grid {
    edges: Vec<Duration>,
    limits: usize,
}

impl Grid {
    /// 1-2-5 from 50 us to 60 s.
    pub(super) fn new() -> Self {
        let decades = (0..7).flat_map(|decade| {
            [1, 2, 5].map(|n| Duration::from_micros(n * 10_u64.pow(decade + 1)))
        });
        let range = Duration::from_micros(50)..=Duration::from_secs(50);
        let mut edges: Vec<_> = decades.filter(|edge| range.contains(edge)).collect();
        edges.push(Duration::from_secs(60));
        Self { edges, limits: 0 }
    }

    /// The limits of a proxy that are no edges yet.
    pub(super) fn missing(&self, slo: &Slo) -> impl Iterator<Item = Duration> {
        let limits = [slo.mean, slo.p95, slo.p99].into_iter().flatten();
        limits.filter(|limit| !limit.is_zero() && self.edges.binary_search(limit).is_err())
    }

    /// Adds an edge, up to a bound.
    pub(super) fn add(&mut self, edge: Duration) {
        if let Err(at) = self.edges.binary_search(&edge)
            && self.limits < MAX_LIMITS
        {
            self.edges.insert(at, edge);
            self.limits += 1;
        }
    }

    /// Series of one histogram.
    pub(super) fn series(&self) -> usize {
        self.edges.len() + BESIDE_EDGES
    }
}

/// How many samples are at most `edge`, known exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    pub(super) edge: Duration,
    pub(super) at_most: u64,
}

/// One histogram as it is shown.
#[derive(Debug, Default)]
struct Cumulative {
    counts: Vec<u64>,
    len: u64,
    sum: u128,
}

impl Cumulative {
    /// Adds counts by HdrHistogram bucket, in any order.
    fn add(&mut self, grid: &Grid, entries: impl Iterator<Item = (usize, u64)>, exact: &[Exact]) {
        let mut counts = vec![0_u64; grid.edges.len()];
        for (index, n) in entries {
            let from = Duration::from_micros(lowest(index));
            let first = grid.edges.partition_point(|edge| *edge < from);
            if let Some(count) = counts.get_mut(first) {
                *count += n;
            }
            self.len += n;
        }
        let mut below = 0;
        for count in &mut counts {
            below += *count;
            *count = below;
        }
        for known in exact {
            if let Ok(at) = grid.edges.binary_search(&known.edge) {
                counts[at] = counts[at].min(known.at_most);
            }
        }
        let mut above = u64::MAX;
        for count in counts.iter_mut().rev() {
            *count = (*count).min(above);
            above = *count;
        }
        self.counts.resize(counts.len(), 0);
        for (mine, theirs) in self.counts.iter_mut().zip(counts) {
            *mine += theirs;
        }
    }
}

/// All histograms of a scrape.
#[derive(Debug, Default)]
pub(super) struct Histograms {
    metrics: BTreeMap<&'static str, BTreeMap<Labels, Cumulative>>,
}

impl Histograms {
    /// Adds samples to the histogram with these labels; their sum is in nanoseconds.
    pub(super) fn add(
        &mut self,
        metric: &'static str,
        labels: Labels,
        grid: &Grid,
        (entries, sum): (impl Iterator<Item = (usize, u64)>, u128),
        exact: &[Exact],
    ) {
        let series = self.metrics.entry(metric).or_default();
        let histogram = series.entry(labels).or_default();
        histogram.add(grid, entries, exact);
        histogram.sum = histogram.sum.saturating_add(sum);
    }

    /// Appends all of it in text form.
    pub(super) fn render(&self, grid: &Grid, text: &mut String) {
        for (metric, series) in &self.metrics {
            write_help_line(text, metric, None, None, help(metric));
            write_type_line(text, metric, None, None, "histogram");
            for (labels, histogram) in series {
                let labels = label_set(labels);
                let mut bucket = |le: &str, n| {
                    write_metric_line(
                        text,
                        metric,
                        Some("bucket"),
                        &labels,
                        Some(("le", le)),
                        n,
                        None,
                    );
                };
                for (edge, &n) in grid.edges.iter().zip(&histogram.counts) {
                    bucket(&edge.as_secs_f64().to_string(), n);
                }
                bucket("+Inf", histogram.len);
                let sum = histogram.sum as f64 / 1e9;
                write_metric_line::<&str, _>(text, metric, Some("sum"), &labels, None, sum, None);
                write_metric_line::<&str, _>(
                    text,
                    metric,
                    Some("count"),
                    &labels,
                    None,
                    histogram.len,
                    None,
                );
            }
            text.push('\n');
        }
    }
}

#[allow(clippy::default_trait_access)] // the map is of a crate that is no dependency of ours
fn label_set(labels: &Labels) -> LabelSet {
    let labels: Vec<Label> = labels.iter().map(Label::from).collect();
    LabelSet::from_key_and_global(&Key::from_parts("", labels), &Default::default())
}

fn help(metric: &str) -> &'static str {
    match metric {
        "db_client_operation_duration_seconds" => {
            "Duration of database operations as the client saw them, with injected time"
        }
        "http_client_request_duration_seconds" => {
            "Duration of HTTP requests as the client saw them, with injected time"
        }
        "brownout_exchange_duration_seconds" => {
            "Duration of exchanges as the client saw them, with injected time"
        }
        "brownout_upstream_duration_seconds" => {
            "Duration of exchanges as the server took them, without injected time"
        }
        "brownout_connect_duration_seconds" => "Time to connect to the upstream",
        "brownout_transaction_duration_seconds" => "Duration of transactions",
        "brownout_transaction_idle_seconds" => "Times in which a session sat idle in a transaction",
        "brownout_delivery_duration_seconds" => {
            "Time from a message published to the message passed to a subscriber"
        }
        "brownout_fault_late_seconds" => {
            "Time by which held bytes were sent later than they were due"
        }
        _ => "Duration of sessions",
    }
}

#[cfg(test)]
mod tests;
