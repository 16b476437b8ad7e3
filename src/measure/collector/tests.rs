use super::*;
use crate::fault::Skip;
use crate::measure::fixture::{MS, P, SECOND, exchange, meta, one, sample};
use crate::measure::{Counter, Sample, Slo, Timing};
use crate::protocol::{Lost, Protocol, Status};

/// The figures of the only proxy.
pub(super) fn figures(
    collector: &Collector,
    window: Option<Duration>,
) -> crate::measure::stats::ProxyStats {
    collector.stats(window).proxies.remove(0)
}

#[test]
fn counts_and_extremes_are_exact() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    for ms in 1..=100 {
        exchange(&mut shard, &sample(3, ms * MS));
    }
    shard.started(P, Operation(3), Class::Read);
    exchange(
        &mut shard,
        &Sample {
            class: Class::Blocking,
            ..sample(3, 30_000 * MS)
        },
    );
    collector.absorb(&mut shard);
    let all = figures(&collector, None);
    assert_eq!(all.operations.len(), 2, "classes are kept apart");
    let read = &all.operations[0].exchanges;
    assert_eq!(all.operations[0].class, Class::Read);
    assert_eq!((read.count, read.outstanding, read.errors), (100, 1, 0));
    assert_eq!((read.request_bytes, read.reply_bytes), (1000, 10_000));
    assert_eq!((read.over_p95, read.over_p99), (90, 80));
    assert_eq!(read.by_status.values().sum::<u64>(), 100);
    for side in [read.client, read.upstream, read.first_byte] {
        let side = side.unwrap();
        assert_eq!((side.samples, side.max_us), (100, 100_000));
        assert!((side.mean_us - 50_500.0).abs() < 1e-9, "{}", side.mean_us);
        for (exact, seen) in [
            (50_000, side.p50_us),
            (95_000, side.p95_us),
            (99_000, side.p99_us),
        ] {
            assert!(
                seen >= exact && seen <= exact + exact / 1000,
                "{seen} is not {exact}"
            );
        }
        assert!(side.enough_samples.p95);
        assert!(!side.enough_samples.p99);
    }
    assert_eq!(all.total.count, 100, "waiting by design is no work");
    assert_eq!(all.total.client, read.client);
}

#[test]
fn a_limit_is_kept_or_not_by_the_exact_share_over_it() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    let limit = 10 * MS;
    for _ in 0..285 {
        exchange(&mut shard, &sample(0, limit));
    }
    for _ in 0..15 {
        exchange(&mut shard, &sample(0, limit + 1));
    }
    collector.absorb(&mut shard);
    let slo = figures(&collector, None).slo;
    let p95 = slo.p95.unwrap();
    assert_eq!(
        (p95.over, p95.samples, p95.met),
        (Some(15), 300, Some(true)),
        "5 % of 300 are 15"
    );
    assert_eq!(slo.p99.unwrap().met, Some(true));
    assert_eq!(slo.mean.unwrap().met, Some(false), "10 ms is over 5 ms");
    exchange(&mut shard, &sample(0, limit + 1));
    collector.absorb(&mut shard);
    let p95 = figures(&collector, None).slo.p95.unwrap();
    assert_eq!((p95.over, p95.met), (Some(16), Some(false)));
}

#[test]
fn too_few_samples_say_nothing() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    let check = |collector: &Collector| {
        let slo = figures(collector, None).slo;
        [slo.mean, slo.p95, slo.p99].map(|c| c.unwrap().met)
    };
    assert_eq!(check(&collector), [None; 3]);
    assert_eq!(
        figures(&collector, None).total.client,
        None,
        "nothing is not 0"
    );
    let mut written = 0;
    for (samples, met) in [
        (4, [None; 3]),
        (5, [Some(true), None, None]),
        (58, [Some(true), None, None]),
        (59, [Some(true), Some(true), None]),
        (298, [Some(true), Some(true), None]),
        (299, [Some(true); 3]),
    ] {
        while written < samples {
            exchange(&mut shard, &sample(0, MS));
            written += 1;
        }
        collector.absorb(&mut shard);
        assert_eq!(check(&collector), met, "{samples} samples");
    }
}

#[test]
fn changed_limits_are_held_against_later_exchanges_only() {
    let before = meta("redis", Protocol::Redis);
    let (mut collector, mut shard) = one(&before);
    let mut late = Shard::new();
    late.register(P, Arc::clone(&before));
    (0..400).for_each(|_| exchange(&mut shard, &sample(0, 15 * MS)));
    (0..50).for_each(|_| exchange(&mut late, &sample(0, 15 * MS)));
    collector.absorb(&mut shard);
    collector.tick(SECOND);
    assert_eq!(figures(&collector, None).slo.p95.unwrap().over, Some(400));
    let slo = Slo {
        p95: Some(Duration::from_millis(14)),
        ..before.slo
    };
    let after = Arc::new(Meta {
        slo,
        ..(*before).clone()
    });
    collector.register(P, Arc::clone(&after));
    shard.register(P, after);
    for _ in 0..100 {
        exchange(&mut shard, &sample(0, 14 * MS));
    }
    exchange(&mut shard, &sample(0, 14 * MS + 1));
    collector.absorb(&mut shard);
    collector.absorb(&mut late); // still holds what was measured against the old limits
    collector.tick(SECOND);
    for window in [None, Some(10 * SECOND)] {
        let figures = figures(&collector, window);
        let p95 = figures.slo.p95.unwrap();
        assert_eq!((p95.over, p95.samples, p95.met), (Some(1), 101, Some(true)));
        assert_eq!(figures.total.count, 551, "nothing else is forgotten");
    }
}

#[test]
fn windows_move_and_end() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    for second in 0..90 {
        exchange(&mut shard, &sample(0, (second + 1) * MS));
        collector.absorb(&mut shard);
        collector.tick(SECOND);
    }
    for (window, count) in [(1, 1), (10, 10), (60, 60)] {
        let recent = figures(&collector, Some(Duration::from_secs(window)));
        assert_eq!(recent.total.count, count);
        assert!((recent.covered_seconds - window as f64).abs() < 1e-9);
        assert!((recent.total.rate_per_second - 1.0).abs() < 1e-9);
        let mean = (90.5 - count as f64 / 2.0) * 1000.0;
        assert!((recent.total.client.unwrap().mean_us - mean).abs() < 1e-6);
        assert_eq!(recent.total.client.unwrap().max_us, 90_000);
    }
    assert_eq!(figures(&collector, None).total.count, 90);
    (0..60).for_each(|_| collector.tick(SECOND));
    let quiet = figures(&collector, Some(60 * SECOND));
    assert_eq!((quiet.total.count, quiet.operations.len()), (0, 0));
    assert_eq!(figures(&collector, None).total.count, 90);
}

#[test]
fn ticks_need_not_be_exact_nor_few() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    for _ in 0..100 {
        exchange(&mut shard, &sample(0, MS));
        collector.absorb(&mut shard);
        collector.tick(Duration::from_millis(1003));
    }
    assert_eq!(figures(&collector, Some(SECOND)).total.count, 1);
    assert_eq!(figures(&collector, Some(10 * SECOND)).total.count, 10);
    for _ in 0..100_000 {
        collector.tick(Duration::from_millis(1));
    }
    assert!(collector.slices().fine().count() <= 15);
    assert!(collector.memory() < 1 << 20, "{}", collector.memory());
}

#[test]
fn what_is_outstanding_stays_so_in_windows_without_it() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    (0..3).for_each(|_| shard.started(P, Operation(9), Class::Write));
    collector.absorb(&mut shard);
    (0..5).for_each(|_| collector.tick(SECOND));
    let recent = figures(&collector, Some(SECOND));
    assert_eq!(recent.operations[0].exchanges.outstanding, 3);
    assert_eq!(recent.operations[0].exchanges.client, None);
    let hung = Sample {
        class: Class::Write,
        status: Status::CLOSED,
        upstream: None,
        ..sample(9, 5000 * MS)
    };
    shard.completed(P, &hung);
    collector.absorb(&mut shard);
    let now = &figures(&collector, None).operations[0].exchanges;
    assert_eq!(
        (now.outstanding, now.count, now.errors, now.failures),
        (2, 1, 1, 1)
    );
    assert_eq!(now.by_status["closed"], 1);
    assert_eq!(now.upstream, None, "the server never saw it");
    assert_eq!(now.client.unwrap().max_us, 5_000_000);
}

#[test]
fn errors_and_failures_are_those_of_the_protocol() {
    let (mut collector, mut shard) = one(&meta("api", Protocol::Http));
    for (status, n) in [(200, 5), (302, 1), (404, 2), (429, 1), (503, 3)] {
        for _ in 0..n {
            exchange(
                &mut shard,
                &Sample {
                    status: Status(status),
                    ..sample(0, MS)
                },
            );
        }
    }
    collector.absorb(&mut shard);
    let total = figures(&collector, None).total;
    assert_eq!((total.count, total.errors, total.failures), (12, 6, 4));
    let statuses: Vec<_> = total
        .by_status
        .iter()
        .map(|(s, n)| (s.as_str(), *n))
        .collect();
    assert_eq!(
        statuses,
        [("200", 5), ("302", 1), ("404", 2), ("429", 1), ("503", 3)]
    );
}

#[test]
fn sessions_connections_and_timings_are_told() {
    let (mut collector, mut shard) = one(&meta("postgres", Protocol::Postgres));
    shard.count(P, Counter::SessionsOpened, 4);
    shard.count(P, Counter::ConnectRefused, 2);
    shard.count(P, Counter::ConnectLoop, 1);
    shard.count(P, Counter::TapLost(Lost::Encrypted), 1);
    shard.count(P, Counter::TapLost(Lost::WrongProtocol), 2);
    shard.count(P, Counter::FaultsSkipped(Skip::Pipelined), 4);
    shard.count(P, Counter::FaultsSkipped(Skip::NotAStatement), 5);
    shard.count(P, Counter::BytesUp, 10);
    shard.count(P, Counter::BytesDown, u64::MAX);
    shard.count(P, Counter::BytesDown, 1);
    shard.count(P, Counter::TransactionsCommitted, 3);
    shard.observe(P, Timing::Connect, MS);
    shard.observe(P, Timing::Transaction, 20 * MS);
    shard.observe(P, Timing::Transaction, 40 * MS);
    collector.absorb(&mut shard);
    collector.tick(SECOND);
    for window in [None, Some(SECOND)] {
        let all = figures(&collector, window);
        assert_eq!(all.sessions.opened, 4);
        assert_eq!(
            (all.connects.ok, all.connects.refused, all.connects.looped),
            (1, 2, 1)
        );
        let lost: Vec<_> = all.tap_lost.iter().map(|(r, n)| (r.as_str(), *n)).collect();
        assert_eq!(lost, [("encrypted", 1), ("wrong_protocol", 2)]);
        assert_eq!(all.faults.skipped, 9);
        let reasons: Vec<_> = all.faults.skipped_by_reason.iter().collect();
        assert_eq!(
            reasons
                .iter()
                .map(|(r, n)| (&***r, **n))
                .collect::<Vec<_>>(),
            [
                ("not a statement", 5),
                ("other requests are right behind it", 4)
            ]
        );
        assert_eq!(
            (all.bytes.up, all.bytes.down),
            (10, u64::MAX),
            "counters do not wrap"
        );
        assert_eq!(all.transactions.committed, 3);
        let duration = all.transactions.duration.unwrap();
        assert_eq!((duration.samples, duration.max_us), (2, 40_000));
        assert!((duration.mean_us - 30_000.0).abs() < 1e-9);
        assert_eq!(all.transactions.idle, None);
    }
    let json = serde_json::to_value(collector.stats(None)).unwrap();
    assert_eq!(json["proxies"][0]["connects"]["loop"], 1);
    assert_eq!(json["proxies"][0]["connects"]["latency"]["p99_us"], 1000);
}

#[test]
fn pool_use_is_busy_time_over_the_maximum() {
    let declared = Arc::new(Meta {
        pool: Some(10),
        ..(*meta("redis", Protocol::Redis)).clone()
    });
    let mut collector = Collector::new();
    collector.register(P, declared);
    collector.register(ProxyId(1), meta("undeclared", Protocol::Redis));
    for second in 1..=4_u64 {
        for proxy in [P, ProxyId(1)] {
            collector.gauges(
                proxy,
                Gauges {
                    open: 8,
                    busy: 2,
                    busy_peak: if second == 2 { 6 } else { 3 },
                    busy_ns: second * 2_000_000_000,
                },
            );
        }
        collector.tick(SECOND);
    }
    for window in [None, Some(10 * SECOND)] {
        let stats = collector.stats(window);
        let pool = stats.proxy("redis").unwrap().pool;
        assert_eq!(
            (pool.max, pool.busy_mean, pool.use_mean, pool.use_peak),
            (Some(10), 2.0, Some(0.2), Some(0.6))
        );
        let pool = stats.proxy("undeclared").unwrap().pool;
        assert_eq!(
            (pool.max, pool.use_mean, pool.use_peak),
            (None, Some(0.25), Some(0.75))
        );
    }
    assert_eq!(
        collector.stats(Some(SECOND)).proxies[0].sessions.busy_peak,
        3
    );
}

#[test]
fn a_removed_proxy_is_gone_and_frees_what_shards_hold() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    exchange(&mut shard, &sample(0, MS));
    collector.absorb(&mut shard);
    collector.tick(SECOND);
    exchange(&mut shard, &sample(0, MS));
    collector.remove(P);
    collector.absorb(&mut shard);
    assert_eq!(collector.stats(None).proxies, []);
    assert_eq!(collector.stats(Some(SECOND)).proxies, []);
    let empty = shard.memory();
    exchange(&mut shard, &sample(0, MS)); // a session that still lives
    assert_eq!(shard.memory(), empty);
    collector.absorb(&mut shard);
    assert_eq!(collector.proxies().count(), 0);
}

#[test]
fn what_comes_before_its_proxy_is_known_waits_in_the_shard() {
    let mut collector = Collector::new();
    let mut shard = Shard::new();
    shard.register(P, meta("redis", Protocol::Redis));
    exchange(&mut shard, &sample(0, MS));
    collector.absorb(&mut shard);
    collector.register(P, meta("redis", Protocol::Redis));
    assert_eq!(figures(&collector, None).total.count, 0);
    collector.absorb(&mut shard);
    assert_eq!(figures(&collector, None).total.count, 1);
}

#[test]
fn histograms_are_those_of_all_shards() {
    let (mut collector, mut shard) = one(&meta("redis", Protocol::Redis));
    exchange(&mut shard, &sample(5, 2 * MS));
    let delayed = Sample {
        client: 9 * MS,
        first_byte: 8 * MS,
        ..sample(5, 2 * MS)
    };
    exchange(&mut shard, &delayed);
    collector.absorb(&mut shard);
    let [row] = &collector.histograms(P, None)[..] else {
        panic!("one operation");
    };
    assert_eq!((row.operation, row.class), (Operation(5), Class::Read));
    assert_eq!(row.client.len(), 2);
    assert_eq!(row.client.count_at(9000), 1);
    assert_eq!(row.upstream.count_at(2000), 2);
    assert_eq!(row.first_byte.count_at(8000), 1);
    assert!(
        collector.histograms(P, Some(SECOND)).is_empty(),
        "no tick yet"
    );
    assert!(collector.histograms(ProxyId(7), None).is_empty());
}
