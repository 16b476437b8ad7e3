//! What the tests of measurement share.

use super::{Collector, Meta, ProxyId, Sample, Shard, Slo};
use crate::protocol::{Catalog, Class, Operation, Protocol, Status};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

pub(super) const P: ProxyId = ProxyId(0);
pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A proxy with limits of 5 ms, 10 ms and 20 ms.
pub(super) fn meta(name: &str, protocol: Protocol) -> Arc<Meta> {
    Arc::new(Meta {
        name: name.into(),
        catalog: Catalog::new(protocol, &[]),
        slo: Slo {
            mean: Some(Duration::from_millis(5)),
            p95: Some(Duration::from_millis(10)),
            p99: Some(Duration::from_millis(20)),
        },
        pool: None,
    })
}

/// A successful read that took `ns` from all sides.
pub(super) fn sample(operation: u16, ns: u64) -> Sample {
    Sample {
        operation: Operation(operation),
        class: Class::Read,
        status: Status::OK,
        client: ns,
        upstream: Some(ns),
        first_byte: ns,
        request_bytes: 10,
        reply_bytes: 100,
        injected: false,
    }
}

/// Any sample, its latencies spread over the orders of magnitude and often equal.
pub(super) fn samples() -> impl Strategy<Value = Sample> {
    let ns = || {
        (0_u32..43, any::<u64>()).prop_map(|(bits, x)| (1_u64 << bits) | (x & ((1 << bits) - 1)))
    };
    let class = prop::sample::select(&Class::ALL[..]);
    let status = prop_oneof![3 => Just(Status::OK), 1 => (1_u16..6).prop_map(Status), 1 => Just(Status::CLOSED)];
    let upstream = prop_oneof![3 => Just(None), 1 => ns().prop_map(Some)];
    let bytes = (0_u64..1000, 0_u64..1000);
    (
        0_u16..300,
        class,
        status,
        ns(),
        upstream,
        any::<u8>(),
        bytes,
        any::<bool>(),
    )
        .prop_map(
            |(
                operation,
                class,
                status,
                client,
                other,
                kind,
                (request_bytes, reply_bytes),
                injected,
            )| Sample {
                operation: Operation(operation % 7 * 40),
                class,
                status,
                client,
                upstream: if kind < 100 { Some(client) } else { other },
                first_byte: if kind < 150 { client } else { client / 2 },
                request_bytes,
                reply_bytes,
                injected,
            },
        )
}

/// A collector and one shard that know one proxy.
pub(super) fn one(meta: &Arc<Meta>) -> (Collector, Shard) {
    let (mut collector, mut shard) = (Collector::new(), Shard::new());
    collector.register(P, Arc::clone(meta));
    shard.register(P, Arc::clone(meta));
    (collector, shard)
}

/// Writes a whole exchange.
pub(super) fn exchange(shard: &mut Shard, sample: &Sample) {
    shard.started(P, sample.operation, sample.class);
    shard.completed(P, sample);
}
