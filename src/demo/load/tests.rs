//! The generators against the embedded servers and the sample service.

use super::http::{HttpLoad, Mix};
use super::postgres::PostgresLoad;
use super::pubsub::PubSubLoad;
use super::redis::RedisLoad;
use super::{Counts, Tally};
use crate::demo::testing::{Stage, dead_port, stage};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Runs a generator for that long; what it did.
async fn counted<F: Future>(
    time: Duration,
    run: impl FnOnce(Arc<Tally>, CancellationToken) -> F,
) -> Counts {
    let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
    let began = Instant::now();
    let load = run(Arc::clone(&tally), stop.clone());
    let end = async {
        tokio::time::sleep(time).await;
        stop.cancel();
    };
    tokio::join!(load, end);
    assert!(began.elapsed() < time * 3, "it ends when it is told to");
    tally.counts()
}

fn near(counts: &Counts, expected: u64) {
    assert_eq!(counts.errors, 0, "{counts:?}");
    let range = expected / 2..=expected * 5 / 4;
    assert!(range.contains(&counts.ok), "{counts:?}, not {range:?}");
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn every_generator_keeps_its_rate_without_errors() {
    let Stage {
        redis,
        postgres,
        api,
        info,
        config,
    } = stage().await;
    let http = HttpLoad {
        addr: api.addr(),
        workers: 4,
        per_second: 200.0,
        mix: Mix {
            health: 1,
            create: 1,
            list: 1,
            get: 1,
        },
    };
    near(&counted(SECOND, |t, s| http.run(t, s)).await, 200);
    let load = PostgresLoad {
        config,
        connections: 2,
        per_second: 100.0,
    };
    near(&counted(SECOND, |t, s| load.run(t, s)).await, 100);
    let load = RedisLoad {
        info: info.clone(),
        connections: 4,
        per_second: 1200.0,
    };
    near(&counted(SECOND, |t, s| load.run(t, s)).await, 1200);
    let load = PubSubLoad {
        info,
        per_second: 100.0,
    };
    near(&counted(SECOND, |t, s| load.run(t, s)).await, 100);
    for server in [redis, postgres, api] {
        server.shutdown().await;
    }
}

#[tokio::test]
async fn errors_are_counted_by_kind_and_the_generators_go_on() {
    let Stage {
        redis,
        postgres,
        api,
        info,
        config,
    } = stage().await;
    postgres.shutdown().await;
    let http = HttpLoad {
        addr: api.addr(),
        workers: 2,
        per_second: 100.0,
        mix: Mix {
            health: 1,
            create: 1,
            list: 0,
            get: 0,
        },
    };
    let counts = counted(SECOND, |t, s| http.run(t, s)).await;
    assert!(counts.ok > 20, "health needs no database: {counts:?}");
    assert_eq!(
        counts.by_kind.keys().collect::<Vec<_>>(),
        ["503"],
        "{counts:?}"
    );
    assert!(counts.errors > 20, "{counts:?}");

    let load = PostgresLoad {
        config,
        connections: 1,
        per_second: 100.0,
    };
    let counts = counted(SECOND / 2, |t, s| load.run(t, s)).await;
    assert_eq!((counts.ok, counts.by_kind.len()), (0, 1), "{counts:?}");
    redis.shutdown().await;
    let load = RedisLoad {
        info: info.clone(),
        connections: 1,
        per_second: 100.0,
    };
    let counts = counted(SECOND / 2, |t, s| load.run(t, s)).await;
    assert_eq!(counts.ok, 0, "{counts:?}");
    assert!(
        counts.by_kind.contains_key("connection refused"),
        "{counts:?}"
    );
    let load = PubSubLoad {
        info,
        per_second: 100.0,
    };
    let counts = counted(SECOND / 2, |t, s| load.run(t, s)).await;
    assert!(counts.ok == 0 && counts.errors > 0, "{counts:?}");
    let http = HttpLoad {
        addr: dead_port(),
        ..http
    };
    let counts = counted(SECOND / 2, |t, s| http.run(t, s)).await;
    assert_eq!(
        counts.by_kind.keys().collect::<Vec<_>>(),
        ["connect: connection refused"]
    );
    api.shutdown().await;
}

#[test]
fn counts_of_a_phase_are_a_difference() {
    let tally = Tally::default();
    tally.ok(Duration::from_millis(3));
    tally.error("timeout");
    let before = tally.counts();
    tally.ok(Duration::from_millis(1));
    tally.error("503");
    tally.error("503");
    let counts = tally.counts().since(&before);
    assert_eq!((counts.ok, counts.errors), (1, 2));
    assert_eq!(
        counts.by_kind.into_iter().collect::<Vec<_>>(),
        [("503".to_owned(), 2)]
    );
}

#[test]
fn kinds_of_error_are_bounded() {
    let tally = Tally::default();
    for n in 0..1000 {
        tally.error(&n.to_string());
    }
    let counts = tally.counts();
    assert_eq!(counts.errors, 1000);
    assert_eq!(counts.by_kind.len(), super::MAX_KINDS + 1);
    assert_eq!(counts.by_kind["other"], 1000 - super::MAX_KINDS as u64);
}
