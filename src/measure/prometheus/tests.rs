use super::*;
use crate::measure::fixture::{MS, P, SECOND, exchange, meta, one, sample};
use crate::measure::{Gauges, Sample, Shard, Slo};
use crate::protocol::{Class, Operation, Status};
use std::time::Duration;

fn scrape(exporter: &mut Exporter, collector: &Collector) -> String {
    exporter.update(collector);
    exporter.render()
}

/// The value of the only series whose line begins so and has all of these labels.
fn value(text: &str, metric: &str, labels: &[&str]) -> Option<f64> {
    let lines: Vec<_> = (text.lines())
        .filter(|l| {
            l.strip_prefix(metric)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .filter(|l| labels.iter().all(|label| l.contains(label)))
        .collect();
    assert!(lines.len() <= 1, "{lines:?}");
    lines.first()?.rsplit(' ').next()?.parse().ok()
}

fn series(text: &str) -> usize {
    text.lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .count()
}

#[test]
fn latencies_have_the_names_of_opentelemetry() {
    for (protocol, metric, label) in [
        (
            Protocol::Redis,
            "db_client_operation_duration_seconds",
            "db_system_name=\"redis\"",
        ),
        (
            Protocol::Postgres,
            "db_client_operation_duration_seconds",
            "db_system_name=\"postgresql\"",
        ),
        (
            Protocol::Http,
            "http_client_request_duration_seconds",
            "http_request_method=",
        ),
        (
            Protocol::Tcp,
            "brownout_exchange_duration_seconds",
            "operation=",
        ),
    ] {
        let (mut collector, mut shard) = one(&meta("it", protocol));
        exchange(&mut shard, &sample(0, 3 * MS));
        let delayed = Sample {
            client: 30 * MS,
            ..sample(0, 3 * MS)
        };
        exchange(&mut shard, &delayed);
        collector.absorb(&mut shard);
        let text = scrape(&mut Exporter::new([]), &collector);
        assert!(
            text.contains(&format!("# TYPE {metric} histogram\n")),
            "{text}"
        );
        let bucket = |metric: &str, le: &str| {
            value(
                &text,
                &format!("{metric}_bucket"),
                &[&format!("le=\"{le}\"")],
            )
        };
        assert_eq!(bucket(metric, "0.002"), Some(0.0));
        assert_eq!(bucket(metric, "0.005"), Some(1.0));
        assert_eq!(bucket(metric, "0.05"), Some(2.0));
        assert_eq!(bucket(metric, "+Inf"), Some(2.0));
        assert_eq!(
            value(&text, &format!("{metric}_sum"), &[label]),
            Some(0.033)
        );
        assert_eq!(
            value(&text, &format!("{metric}_count"), &["proxy=\"it\""]),
            Some(2.0)
        );
        assert_eq!(
            bucket("brownout_upstream_duration_seconds", "0.005"),
            Some(2.0),
            "without injected time"
        );
    }
}

#[test]
fn counters_are_totals_and_levels_are_levels() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    let mut exporter = Exporter::new([]);
    for scrapes in 1..=3_u32 {
        shard.count(P, Counter::SessionsOpened, 2);
        shard.count(P, Counter::ConnectRefused, 1);
        shard.count(P, Counter::TapLost(Lost::Monitor), 1);
        shard.count(P, Counter::FaultsSkipped(Skip::Subscribed), 1);
        shard.count(P, Counter::FaultsSkipped(Skip::NoReply), 2);
        shard.observe(P, Timing::Connect, MS);
        exchange(&mut shard, &sample(0, MS));
        shard.started(P, Operation(0), Class::Read);
        collector.absorb(&mut shard);
        let gauges = Gauges {
            open: 5,
            busy: 2,
            busy_peak: 3,
            busy_ns: 1_500_000_000,
        };
        collector.gauges(P, gauges);
        collector.tick(SECOND);
        let text = scrape(&mut exporter, &collector);
        let n = f64::from(scrapes);
        for (metric, label, expected) in [
            ("brownout_sessions_opened_total", "proxy=\"redis\"", 2.0 * n),
            ("brownout_connect_errors_total", "reason=\"refused\"", n),
            ("brownout_connect_errors_total", "reason=\"timeout\"", 0.0),
            ("brownout_tap_lost_total", "reason=\"monitor\"", n),
            ("brownout_faults_total", "outcome=\"skipped\"", 3.0 * n),
            ("brownout_faults_skipped_total", "reason=\"subscribed\"", n),
            (
                "brownout_faults_skipped_total",
                "reason=\"no reply is expected\"",
                2.0 * n,
            ),
            ("brownout_exchanges_total", "status=\"ok\"", n),
            ("brownout_exchanges_outstanding", "class=\"read\"", n),
            ("brownout_request_bytes_total", "class=\"read\"", 10.0 * n),
            ("brownout_connect_duration_seconds_count", "proxy", n),
            ("brownout_sessions", "state=\"busy\"", 2.0),
            ("brownout_sessions_busy_peak", "proxy", 3.0),
            ("brownout_sessions_busy_seconds", "proxy", 1.5),
            ("brownout_slo_limit_seconds", "quantile=\"0.95\"", 0.01),
            ("brownout_slo_exceeded_total", "quantile=\"0.95\"", 0.0),
            ("brownout_uptime_seconds", "", n),
            ("brownout_build_info", "version", 1.0),
        ] {
            assert_eq!(
                value(&text, metric, &[label]),
                Some(expected),
                "{metric} in {text}"
            );
        }
        assert!(!text.contains("brownout_pool_max{"), "not declared");
    }
}

#[test]
fn every_metric_says_what_it_is() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    exchange(&mut shard, &sample(0, MS));
    for timing in Timing::ALL {
        shard.observe(P, timing, MS);
    }
    shard.count(P, Counter::TapLost(Lost::Length), 1);
    shard.count(P, Counter::FaultsSkipped(Skip::NoReply), 1);
    collector.absorb(&mut shard);
    let text = scrape(&mut Exporter::new([]), &collector);
    let metrics: Vec<_> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(metrics.len() > 25, "{metrics:?}");
    for metric in metrics {
        assert!(
            text.contains(&format!("# HELP {metric} ")),
            "{metric} has no help"
        );
    }
}

#[test]
fn status_labels_are_classes_of_closed_sets() {
    for (protocol, status, label) in [
        (Protocol::Http, "503", "5xx"),
        (Protocol::Http, "closed", "closed"),
        (Protocol::Postgres, "40P01", "40"),
        (Protocol::Postgres, "other", "other"),
        (Protocol::Postgres, "ok", "ok"),
        (Protocol::Redis, "WRONGTYPE", "WRONGTYPE"),
    ] {
        assert_eq!(status_label(protocol, status.to_owned()), label);
    }
}

#[test]
fn the_edge_at_a_limit_is_exact_and_never_falls() {
    let base = meta("redis", Protocol::Redis);
    let limited = |us| {
        let p95 = Some(Duration::from_micros(us));
        let slo = Slo { p95, ..base.slo };
        Arc::new(Meta {
            slo,
            ..(*base).clone()
        })
    };
    let (mut collector, mut shard) = one(&limited(5001));
    let mut exporter = Exporter::new(collector.proxies().map(|(_, m)| Arc::clone(m)));
    for us in 4990..5010 {
        exchange(&mut shard, &sample(0, us * 1000));
    }
    collector.absorb(&mut shard);
    let at = |text: &str, le: &str| {
        let le = format!("le=\"{le}\"");
        value(text, "db_client_operation_duration_seconds_bucket", &[&le]).unwrap() as u64
    };
    let text = scrape(&mut exporter, &collector);
    assert_eq!(at(&text, "0.005001"), 12);
    // the limit changes: its old edge is no longer counted exactly, but may not fall, which would read as a restart
    collector.register(P, limited(7000));
    let text = scrape(&mut exporter, &collector);
    assert!(
        (12..=14).contains(&at(&text, "0.005001")),
        "{}",
        at(&text, "0.005001")
    );
    assert_eq!(at(&text, "0.007"), 20);
}

#[test]
fn a_removed_proxy_leaves_no_series() {
    let (mut collector, mut shard) = one(&meta("gone", Protocol::Redis));
    exchange(&mut shard, &sample(0, MS));
    collector.absorb(&mut shard);
    let mut exporter = Exporter::new([]);
    assert!(scrape(&mut exporter, &collector).contains("gone"));
    collector.remove(P);
    let text = scrape(&mut exporter, &collector);
    assert!(!text.contains("gone"));
    assert_eq!(value(&text, "brownout_series", &[]), Some(4.0));
}

/// A million random operations, classes and statuses: nothing grows.
#[test]
fn random_operations_leave_series_and_memory_flat() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    let mut exporter = Exporter::new([]);
    let mut random = 7_u64;
    let mut write = |collector: &mut Collector, n: u32| {
        for _ in 0..n {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let bits = (random >> 16) as usize;
            let any = Sample {
                class: Class::ALL[bits >> 16 & 7],
                status: Status(if bits.is_multiple_of(4) {
                    (bits >> 20) as u16
                } else {
                    0
                }),
                ..sample(bits as u16, MS)
            };
            exchange(&mut shard, &any);
        }
        collector.absorb(&mut shard);
        collector.tick(SECOND);
        shard.memory()
    };
    let held = write(&mut collector, 500_000);
    let first = series(&scrape(&mut exporter, &collector));
    let held_later = write(&mut collector, 500_000);
    let text = scrape(&mut exporter, &collector);
    assert!(series(&text) <= MAX_SERIES, "{}", series(&text));
    assert!(
        series(&text) <= first + first / 10 + 100,
        "{first} became {}",
        series(&text)
    );
    assert!(held_later <= held + held / 4, "{held} became {held_later}");
    assert!(collector.memory() < 64 << 20, "{}", collector.memory());
    let work = collector.stats(None).proxies.remove(0);
    assert_eq!(
        work.operations
            .iter()
            .map(|o| o.exchanges.count)
            .sum::<u64>(),
        1_000_000
    );
}

/// More proxies, classes and statuses than the cap allows: it holds, what is shown stays shown, and the rest is said.
#[test]
fn the_cap_on_series_holds_and_is_said() {
    let mut collector = Collector::new();
    let mut shard = Shard::new();
    let mut exporter = Exporter::new([]);
    let mut shown = 0;
    for proxies in [20_u16, 40, 400] {
        for id in (0..proxies).map(ProxyId) {
            let meta = meta(&format!("proxy-{}", id.0), Protocol::Redis);
            collector.register(id, Arc::clone(&meta));
            shard.register(id, meta);
            for class in Class::ALL {
                let one = Sample {
                    class,
                    ..sample(0, MS)
                };
                shard.completed(id, &one);
            }
        }
        collector.absorb(&mut shard);
        let text = scrape(&mut exporter, &collector);
        assert!(series(&text) <= MAX_SERIES, "{}", series(&text));
        assert!(value(&text, "brownout_series", &[]).unwrap() >= series(&text) as f64);
        assert_eq!(
            value(&text, "brownout_series_overflow", &[]).unwrap() > 0.0,
            proxies > 20
        );
        let count = "db_client_operation_duration_seconds_count";
        assert!(value(&text, count, &["proxy=\"proxy-19\"", "class=\"blocking\""]).is_some());
        assert!(series(&text) >= shown);
        shown = series(&text);
    }
    assert!(shown > MAX_SERIES * 9 / 10, "the room is used: {shown}");
}
