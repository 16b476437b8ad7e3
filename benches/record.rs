//! What measurement costs the data path, per exchange; and what it costs the collector, per second.

use brownout::measure::{Collector, Exporter, Meta, ProxyId, Sample, Shard, Slo};
use brownout::protocol::{Catalog, Class, Operation, Protocol, Status};
use criterion::{BatchSize, Criterion, Throughput, black_box, criterion_group, criterion_main};
use std::sync::Arc;
use std::time::Duration;

const P: ProxyId = ProxyId(0);
/// Exchanges of one iteration.
const N: u64 = 1024;

fn meta() -> Arc<Meta> {
    Arc::new(Meta {
        name: "redis".into(),
        catalog: Catalog::new(Protocol::Redis, &[]),
        slo: Slo {
            mean: Some(Duration::from_millis(5)),
            p95: Some(Duration::from_millis(10)),
            p99: Some(Duration::from_millis(20)),
        },
        pool: None,
    })
}

fn shard() -> Shard {
    let mut shard = Shard::new();
    shard.register(P, meta());
    shard
}

/// Durations spread over 50 us to 300 us, as loopback Redis has them; the same ones at every run.
fn latencies() -> Vec<u64> {
    let mut random = 1_u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        random >> 33
    };
    (0..N).map(|_| 50_000 + next() % 250_000).collect()
}

fn sample(operation: u16, ns: u64) -> Sample {
    Sample {
        operation: Operation(operation),
        class: Class::Read,
        status: Status::OK,
        client: ns,
        upstream: Some(ns),
        first_byte: ns,
        request_bytes: 40,
        reply_bytes: 100,
        injected: false,
    }
}

fn record(c: &mut Criterion) {
    let latencies = latencies();
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(N));
    let mut bench = |name: &str, make: &dyn Fn(usize, u64) -> Sample| {
        let samples: Vec<_> = latencies
            .iter()
            .enumerate()
            .map(|(i, &ns)| make(i, ns))
            .collect();
        let mut shard = shard();
        group.bench_function(name, |b| {
            b.iter(|| {
                for sample in &samples {
                    shard.completed(P, black_box(sample));
                }
            });
        });
    };
    bench("ordinary", &|_, ns| sample(3, ns));
    bench("pipeline", &|i, _| {
        sample(3, 100_000 + i as u64 / 16 * 1000)
    });
    bench("hundred operations", &|i, ns| {
        sample((i * 37 % 100) as u16, ns)
    });
    bench("three latencies", &|_, ns| Sample {
        client: ns + 5_000_000,
        first_byte: ns + 4_000_000,
        ..sample(3, ns)
    });
    bench("errors", &|i, ns| Sample {
        status: Status(1 + i as u16 % 4),
        ..sample(3, ns)
    });
    let mut shard = shard();
    group.bench_function("started", |b| {
        b.iter(|| (0..N).for_each(|_| shard.started(P, black_box(Operation(3)), Class::Read)));
    });
    group.finish();
}

/// A second of 50,000 exchanges of 100 operations.
fn collect(c: &mut Criterion) {
    let full = || {
        let mut shard = shard();
        let latencies = latencies();
        for i in 0..50_000_usize {
            let ns = latencies[i % latencies.len()];
            shard.completed(P, &sample((i * 37 % 100) as u16, ns));
        }
        shard
    };
    let mut collector = Collector::new();
    collector.register(P, meta());
    c.bench_function("absorb and tick", |b| {
        b.iter_batched_ref(
            full,
            |shard| {
                collector.absorb(shard);
                collector.tick(Duration::from_secs(1));
            },
            BatchSize::LargeInput,
        );
    });
    c.bench_function("stats since start", |b| b.iter(|| collector.stats(None)));
    c.bench_function("stats of a minute", |b| {
        b.iter(|| collector.stats(Some(Duration::from_secs(60))));
    });
    let mut exporter = Exporter::new([meta()]);
    c.bench_function("metrics scrape", |b| {
        b.iter(|| {
            exporter.update(&collector);
            exporter.render()
        });
    });
}

criterion_group!(benches, record, collect);
criterion_main!(benches);
