//! `/metrics`: everything since start in Prometheus' text form.
//!
//! Counters and gauges go through [`metrics`] into a recorder of the exporter crate that lives for one scrape: nothing piles up
//! between scrapes, and what was removed is gone from the next one. Latencies do not go through the crate's own histograms,
//! which keep 16 bytes a sample until they are drained and take one call a sample: a scrape makes the cumulative buckets from
//! the totals and has them written by the crate's formatter.
//!
//! Label values come from closed sets, and there are at most [`MAX_SERIES`] series: operations, statuses and reasons beyond are
//! added up under `other`, and `brownout_series_overflow` says how many they are.

mod histogram;
mod series;

use super::block::Block;
use super::collector::Proxy;
use super::operations::{Record, Side};
use super::summary::{by_status, outstanding};
use super::{Collector, Counter, Meta, ProxyId, Timing};
use crate::fault::Skip;
use crate::protocol::{Lost, Protocol};
use histogram::{Exact, Grid, Histograms, Labels};
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use series::{Cost, Series};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use series::MAX_SERIES;
pub(crate) use series::OWN_SERIES;

/// The operation, class or status that stands for those beyond the cap.
const OTHER: &str = "other";

/// What one proxy takes beside its operations, timings and reasons seen.
const PROXY: Cost = Cost {
    plain: COUNTERS.len() + 10,
    histograms: 0,
};
/// What one timing takes.
const TIMING: Cost = Cost {
    plain: 0,
    histograms: 1,
};
/// What one operation takes, with the status `other`.
const OPERATION: Cost = Cost {
    plain: 6,
    histograms: 2,
};
/// What one status or reason takes.
const ONE: Cost = Cost {
    plain: 1,
    histograms: 0,
};

/// Renders `/metrics`. Remembers which series it has shown, so that these stay when the cap is reached.
#[derive(Debug)]
pub struct Exporter {
    grid: Grid,
    series: Series,
    text: String,
}

impl Exporter {
    /// An exporter whose buckets have an edge on every limit of these proxies. Limits of proxies that come later are added
    /// when they are first seen.
    pub fn new(metas: impl IntoIterator<Item = Arc<Meta>>) -> Self {
        let mut exporter = Self {
            grid: Grid::new(),
            series: Series::new(MAX_SERIES - OWN_SERIES),
            text: String::new(),
        };
        metas.into_iter().for_each(|meta| exporter.edges(&meta));
        exporter
    }

    fn edges(&mut self, meta: &Meta) {
        let missing: Vec<_> = self.grid.missing(&meta.slo).collect();
        for edge in missing {
            if self.series.fits(self.grid.series() + 1) {
                self.grid.add(edge);
            }
        }
    }

    /// Takes the figures that the next [`Self::render`] shows. Meant for each scrape, after the shards were absorbed.
    pub fn update(&mut self, collector: &Collector) {
        self.series.begin(|proxy| collector.get(proxy).is_some());
        collector.proxies().for_each(|(_, meta)| self.edges(meta));
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut histograms = Histograms::default();
        with_local_recorder(&recorder, || {
            describe();
            for (id, proxy) in collector.known() {
                self.proxy(id, proxy, &mut histograms);
            }
            gauge!("brownout_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            gauge!("brownout_uptime_seconds").set(collector.elapsed().as_secs_f64());
            gauge!("brownout_series").set(self.series.used(self.grid.series()) as f64);
            gauge!("brownout_series_overflow").set(self.series.refused() as f64);
        });
        self.text = recorder.handle().render();
        histograms.render(&self.grid, &mut self.text);
    }

    /// The text of the last update, in exposition format 0.0.4.
    pub fn render(&self) -> String {
        self.text.clone()
    }

    fn admit(&mut self, proxy: ProxyId, group: String, cost: Cost) -> bool {
        self.series.admit(proxy, group, cost, self.grid.series())
    }

    fn proxy(&mut self, id: ProxyId, proxy: &Proxy, histograms: &mut Histograms) {
        if self.admit(id, String::new(), PROXY) {
            counters(&proxy.meta.name, &proxy.totals);
            levels(proxy);
            self.reasons(id, proxy);
            self.timings(id, proxy, histograms);
            self.operations(id, proxy, histograms);
        }
    }

    /// Sessions that decoders gave up on, and exchanges that faults left alone, by the reasons that occurred.
    fn reasons(&mut self, id: ProxyId, proxy: &Proxy) {
        let lost = Lost::ALL.map(|why| {
            let metric = "brownout_tap_lost_total";
            (metric, why.name(), Counter::TapLost(why))
        });
        let skipped = Skip::ALL.map(|why| {
            let metric = "brownout_faults_skipped_total";
            (metric, why.reason(), Counter::FaultsSkipped(why))
        });
        for (metric, reason, count) in lost.into_iter().chain(skipped) {
            let n = proxy.totals.counters.get(count);
            if n > 0 && self.admit(id, format!("{metric} {reason}"), ONE) {
                let labels = [
                    ("proxy", proxy.meta.name.to_string()),
                    ("reason", reason.to_owned()),
                ];
                counter!(metric, &labels).absolute(n);
            }
        }
    }

    fn timings(&mut self, id: ProxyId, proxy: &Proxy, histograms: &mut Histograms) {
        for timing in Timing::ALL {
            let timer = proxy.totals.timer(timing);
            let metric = timing_metric(timing);
            if !timer.buckets.is_empty() && self.admit(id, metric.to_owned(), TIMING) {
                let labels = vec![("proxy", proxy.meta.name.to_string())];
                let samples = (timer.buckets.entries(), timer.sum);
                histograms.add(metric, labels, &self.grid, samples, &[]);
            }
        }
    }

    fn operations(&mut self, id: ProxyId, proxy: &Proxy, histograms: &mut Histograms) {
        // in the order in which operations were first seen: later ones never displace those that are shown
        for (key, record) in proxy.totals.operations.iter() {
            let operation = proxy.meta.catalog.operation_name(key.operation);
            let mut row = Row {
                meta: &proxy.meta,
                operation: operation.into_owned(),
                class: key.class.name(),
            };
            if !self.admit(
                id,
                format!("operation {} {}", row.class, row.operation),
                OPERATION,
            ) {
                OTHER.clone_into(&mut row.operation);
                row.class = OTHER;
                if !self.admit(id, OTHER.to_owned(), OPERATION) {
                    continue;
                }
            }
            row.counters(record);
            row.latencies(record, &self.grid, histograms);
            self.statuses(id, &row, record);
        }
    }

    fn statuses(&mut self, id: ProxyId, row: &Row, record: &Record) {
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        for (status, n) in by_status(&row.meta.catalog, record) {
            let label = status_label(row.meta.catalog.protocol(), status);
            *statuses.entry(label).or_default() += n;
        }
        for (status, n) in statuses {
            let group = format!("status {} {} {status}", row.class, row.operation);
            let shown = status != OTHER && self.admit(id, group, ONE);
            let mut labels = row.labels();
            labels.push(("status", if shown { status } else { OTHER.to_owned() }));
            counter!("brownout_exchanges_total", &labels).increment(n);
        }
    }
}

/// The labels of one operation. Several operations may share them, so what they measured is added up.
struct Row<'a> {
    meta: &'a Meta,
    operation: String,
    class: &'static str,
}

impl Row<'_> {
    fn labels(&self) -> Labels {
        vec![
            ("proxy", self.meta.name.to_string()),
            ("operation", self.operation.clone()),
            ("class", self.class.to_owned()),
        ]
    }

    fn counters(&self, record: &Record) {
        let labels = self.labels();
        let tally = &record.tally;
        for (metric, n) in [
            ("brownout_request_bytes_total", tally.request_bytes),
            ("brownout_reply_bytes_total", tally.reply_bytes),
            ("brownout_exchanges_injected_total", tally.injected),
            ("brownout_durations_saturated_total", tally.saturated),
        ] {
            counter!(metric, &labels).increment(n);
        }
        gauge!("brownout_exchanges_outstanding", &labels).increment(outstanding(record) as f64);
    }

    /// The name and labels of the histogram as clients saw it: those of `OpenTelemetry` where it has them.
    fn client_metric(&self) -> (&'static str, Labels) {
        let mut labels = vec![
            ("proxy", self.meta.name.to_string()),
            ("class", self.class.to_owned()),
        ];
        let metric = match self.meta.catalog.protocol() {
            protocol @ (Protocol::Redis | Protocol::Postgres) => {
                let system = if protocol == Protocol::Redis {
                    "redis"
                } else {
                    "postgresql"
                };
                labels.push(("db_system_name", system.to_owned()));
                labels.push(("db_operation_name", self.operation.clone()));
                "db_client_operation_duration_seconds"
            }
            Protocol::Http => {
                let (method, route) = self.operation.split_once(' ').unwrap_or(("_OTHER", OTHER));
                labels.push(("http_request_method", method.to_owned()));
                labels.push(("url_template", route.to_owned()));
                "http_client_request_duration_seconds"
            }
            Protocol::Tcp => {
                labels.push(("operation", self.operation.clone()));
                "brownout_exchange_duration_seconds"
            }
        };
        (metric, labels)
    }

    fn latencies(&self, record: &Record, grid: &Grid, histograms: &mut Histograms) {
        let samples = |side: Side| {
            (
                record.latencies.entries(side),
                record.tally.sums[side as usize],
            )
        };
        let (metric, labels) = self.client_metric();
        let exact = exact(self.meta, record);
        histograms.add(metric, labels, grid, samples(Side::Client), &exact);
        let metric = "brownout_upstream_duration_seconds";
        histograms.add(metric, self.labels(), grid, samples(Side::Upstream), &[]);
    }
}

/// What is known exactly at the edges of the proxy's own limits.
fn exact(meta: &Meta, record: &Record) -> Vec<Exact> {
    let tally = &record.tally;
    if tally.unjudged > 0 {
        return Vec::new();
    }
    let limits = [
        (meta.slo.p95, tally.over_p95),
        (meta.slo.p99, tally.over_p99),
    ];
    let known = limits.into_iter().filter_map(|(limit, over)| {
        Some(Exact {
            edge: limit?,
            at_most: tally.completed.saturating_sub(over),
        })
    });
    known.collect()
}

/// A closed set for the label: for HTTP the class of the code, for Postgres the class of the SQLSTATE.
fn status_label(protocol: Protocol, status: String) -> String {
    match protocol {
        Protocol::Http if status.len() == 3 && status.is_ascii() => format!("{}xx", &status[..1]),
        Protocol::Postgres if status.len() == 5 && status.is_ascii() && status != OTHER => {
            status[..2].to_owned()
        }
        _ => status,
    }
}

const fn timing_metric(timing: Timing) -> &'static str {
    match timing {
        Timing::Connect => "brownout_connect_duration_seconds",
        Timing::Transaction => "brownout_transaction_duration_seconds",
        Timing::IdleInTransaction => "brownout_transaction_idle_seconds",
        Timing::Delivery => "brownout_delivery_duration_seconds",
        Timing::Session => "brownout_session_duration_seconds",
        Timing::Late => "brownout_fault_late_seconds",
    }
}

/// A label.
type Pair = (&'static str, &'static str);

/// The counters of a proxy, each as a metric and one more label.
const COUNTERS: [(Counter, &str, Option<Pair>); 23] = [
    (
        Counter::SessionsOpened,
        "brownout_sessions_opened_total",
        None,
    ),
    (
        Counter::SessionsClosed,
        "brownout_sessions_closed_total",
        None,
    ),
    (
        Counter::ClientResets,
        "brownout_session_resets_total",
        Some(("side", "client")),
    ),
    (
        Counter::UpstreamResets,
        "brownout_session_resets_total",
        Some(("side", "upstream")),
    ),
    (
        Counter::BytesUp,
        "brownout_bytes_total",
        Some(("direction", "up")),
    ),
    (
        Counter::BytesDown,
        "brownout_bytes_total",
        Some(("direction", "down")),
    ),
    (
        Counter::ConnectRefused,
        "brownout_connect_errors_total",
        Some(("reason", "refused")),
    ),
    (
        Counter::ConnectTimeout,
        "brownout_connect_errors_total",
        Some(("reason", "timeout")),
    ),
    (
        Counter::ConnectUnreachable,
        "brownout_connect_errors_total",
        Some(("reason", "unreachable")),
    ),
    (
        Counter::ConnectResolve,
        "brownout_connect_errors_total",
        Some(("reason", "resolve")),
    ),
    (
        Counter::ConnectExhausted,
        "brownout_connect_errors_total",
        Some(("reason", "exhausted")),
    ),
    (
        Counter::ConnectLoop,
        "brownout_connect_errors_total",
        Some(("reason", "loop")),
    ),
    (
        Counter::ConnectOther,
        "brownout_connect_errors_total",
        Some(("reason", "other")),
    ),
    (Counter::Pushes, "brownout_pushes_total", None),
    (Counter::Published, "brownout_published_total", None),
    (
        Counter::TransactionsBegun,
        "brownout_transactions_total",
        Some(("event", "begun")),
    ),
    (
        Counter::TransactionsCommitted,
        "brownout_transactions_total",
        Some(("event", "committed")),
    ),
    (
        Counter::TransactionsRolledBack,
        "brownout_transactions_total",
        Some(("event", "rolled_back")),
    ),
    (
        Counter::TransactionsFailed,
        "brownout_transactions_total",
        Some(("event", "failed")),
    ),
    (Counter::Cancels, "brownout_cancels_total", None),
    (
        Counter::FaultsInjected,
        "brownout_faults_total",
        Some(("outcome", "injected")),
    ),
    (Counter::HeldLimit, "brownout_held_limit_total", None),
    (Counter::PartErrors, "brownout_part_errors_total", None),
];

fn counters(proxy: &str, totals: &Block) {
    for (count, metric, label) in COUNTERS {
        let mut labels = vec![("proxy", proxy.to_owned())];
        labels.extend(label.map(|(key, value)| (key, value.to_owned())));
        counter!(metric, &labels).absolute(totals.counters.get(count));
    }
    let skipped = Skip::ALL.map(|why| totals.counters.get(Counter::FaultsSkipped(why)));
    let labels = [
        ("proxy", proxy.to_owned()),
        ("outcome", "skipped".to_owned()),
    ];
    counter!("brownout_faults_total", &labels).absolute(skipped.into_iter().sum());
}

fn levels(proxy: &Proxy) {
    let name = || ("proxy", proxy.meta.name.to_string());
    let level = |metric: &'static str, value: f64| gauge!(metric, &[name()]).set(value);
    let gauges = &proxy.gauges;
    for (state, n) in [("open", gauges.open), ("busy", gauges.busy)] {
        gauge!("brownout_sessions", &[name(), ("state", state.to_owned())]).set(f64::from(n));
    }
    level(
        "brownout_sessions_busy_peak",
        f64::from(proxy.levels.busy_peak),
    );
    level(
        "brownout_sessions_busy_seconds",
        gauges.busy_ns as f64 / 1e9,
    );
    if let Some(max) = proxy.meta.pool {
        level("brownout_pool_max", f64::from(max));
    }
    let (mut over_p95, mut over_p99) = (0, 0);
    let work = proxy
        .totals
        .operations
        .iter()
        .filter(|(key, _)| key.class.is_work());
    for (_, record) in work {
        over_p95 += record.tally.over_p95;
        over_p99 += record.tally.over_p99;
    }
    let slo = &proxy.meta.slo;
    for (quantile, limit, over) in [("0.95", slo.p95, over_p95), ("0.99", slo.p99, over_p99)] {
        if let Some(limit) = limit {
            let labels = [name(), ("quantile", quantile.to_owned())];
            gauge!("brownout_slo_limit_seconds", &labels).set(limit.as_secs_f64());
            counter!("brownout_slo_exceeded_total", &labels).absolute(over);
        }
    }
}

fn describe() {
    for (metric, help) in [
        ("brownout_sessions_opened_total", "Sessions accepted"),
        ("brownout_sessions_closed_total", "Sessions ended"),
        (
            "brownout_session_resets_total",
            "Sessions ended by a reset, by the side that reset",
        ),
        (
            "brownout_bytes_total",
            "Bytes that came, by direction; what faults withheld is among them",
        ),
        (
            "brownout_connect_errors_total",
            "Connections to the upstream that could not be made, by reason",
        ),
        (
            "brownout_tap_lost_total",
            "Sessions that the decoder gave up on, by reason",
        ),
        (
            "brownout_pushes_total",
            "Messages for clients that belong to no request; what faults dropped is among them",
        ),
        ("brownout_published_total", "Messages published"),
        ("brownout_transactions_total", "Transactions, by event"),
        ("brownout_cancels_total", "Postgres cancel requests"),
        (
            "brownout_faults_total",
            "Exchanges that a fault touched, or matched but could not apply to",
        ),
        (
            "brownout_faults_skipped_total",
            "Exchanges that a fault matched but could not apply to, by reason",
        ),
        (
            "brownout_held_limit_total",
            "Times that the bytes held for a fault reached their bound",
        ),
        (
            "brownout_part_errors_total",
            "Errors of single commands inside transactions that succeeded",
        ),
        (
            "brownout_exchanges_total",
            "Exchanges ended, by operation and status",
        ),
        (
            "brownout_exchanges_injected_total",
            "Exchanges ended that a fault touched",
        ),
        ("brownout_request_bytes_total", "Bytes of requests"),
        ("brownout_reply_bytes_total", "Bytes of replies"),
        (
            "brownout_durations_saturated_total",
            "Durations beyond the hour that histograms reach",
        ),
        (
            "brownout_slo_exceeded_total",
            "Exchanges over the limit, since it is in force",
        ),
    ] {
        describe_counter!(metric, help);
    }
    for (metric, help) in [
        ("brownout_sessions", "Sessions now, by state"),
        (
            "brownout_sessions_busy_peak",
            "The most sessions with a request outstanding at one moment",
        ),
        (
            "brownout_sessions_busy_seconds",
            "Seconds that sessions were busy, summed over sessions; only rises",
        ),
        ("brownout_pool_max", "The declared maximum of sessions"),
        (
            "brownout_slo_limit_seconds",
            "The limit on a percentile of latency as clients see it",
        ),
        (
            "brownout_exchanges_outstanding",
            "Exchanges begun and not ended",
        ),
        ("brownout_build_info", "The version that runs; always 1"),
        ("brownout_uptime_seconds", "Seconds measured"),
        (
            "brownout_series",
            "Series that may be shown, of at most 10000",
        ),
        (
            "brownout_series_overflow",
            "Label sets that are added up under `other`, since the cap is reached",
        ),
    ] {
        describe_gauge!(metric, help);
    }
}

#[cfg(test)]
mod tests;
