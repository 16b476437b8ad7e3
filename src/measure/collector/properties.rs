//! What holds whatever happens: nothing lost, nothing doubled, memory within its budget.

use super::tests::figures;
use super::*;
use crate::measure::Sample;
use crate::measure::fixture::{MS, P, SECOND, exchange, meta, sample, samples};
use crate::measure::stats::ProxyStats;
use crate::protocol::{Protocol, Status};
use proptest::prelude::*;

/// What may happen between workers and the collector.
#[derive(Clone, Debug)]
enum Step {
    Exchange {
        worker: usize,
        sample: Sample,
        ends_later: bool,
    },
    Repeat {
        worker: usize,
        sample: Sample,
        times: u8,
        /// All at once.
        row: bool,
    },
    Swap {
        worker: usize,
    },
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = 0_usize..3;
    let step = prop_oneof![
        8 => (worker.clone(), samples(), any::<bool>())
            .prop_map(|(worker, sample, ends_later)| Step::Exchange { worker, sample, ends_later }),
        2 => (worker.clone(), samples(), 1_u8.., any::<bool>())
            .prop_map(|(worker, sample, times, row)| Step::Repeat { worker, sample, times, row }),
        2 => worker.prop_map(|worker| Step::Swap { worker }),
        1 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the order of writing, swapping, absorbing and ticking: nothing is lost and nothing counted twice, in the totals
    /// and in a window that covers all.
    #[test]
    fn swapping_neither_loses_nor_doubles(steps in steps()) {
        let meta = meta("redis", Protocol::Redis);
        let mut collector = Collector::new();
        collector.register(P, Arc::clone(&meta));
        // two shards a worker: the one in use and the one that is being absorbed
        let mut workers: Vec<[Shard; 2]> = (0..3).map(|_| [Shard::new(), Shard::new()]).collect();
        workers.iter_mut().flatten().for_each(|s| s.register(P, Arc::clone(&meta)));
        let mut seen: Vec<Sample> = Vec::new();
        let mut open: Vec<Sample> = Vec::new();
        for step in steps {
            match step {
                Step::Exchange { worker, sample, ends_later } => {
                    let shard = &mut workers[worker][0];
                    shard.started(P, sample.operation, sample.class);
                    open.push(sample);
                    if !ends_later {
                        // may end an exchange that another shard began
                        let ended = open.remove(open.len() / 2);
                        shard.completed(P, &ended);
                        seen.push(ended);
                    }
                }
                Step::Repeat { worker, sample, times, row } => {
                    let shard = &mut workers[worker][0];
                    seen.extend((0..times).map(|_| sample));
                    if row {
                        let n = u64::from(times);
                        let sums = Sample {
                            request_bytes: n * sample.request_bytes,
                            reply_bytes: n * sample.reply_bytes,
                            ..sample
                        };
                        shard.started_row(P, sample.operation, sample.class, n);
                        shard.completed_row(P, &sums, n);
                    } else {
                        (0..times).for_each(|_| exchange(shard, &sample));
                    }
                }
                Step::Swap { worker } => {
                    workers[worker].swap(0, 1);
                    collector.absorb(&mut workers[worker][1]);
                }
                Step::Tick => collector.tick(Duration::from_millis(100)),
            }
        }
        workers.iter_mut().flatten().for_each(|s| collector.absorb(s));
        collector.tick(Duration::from_millis(100));
        for window in [None, Some(60 * SECOND)] {
            check(&figures(&collector, window), &collector.histograms(P, window), &seen, &open)?;
        }
    }
}

/// One of a sample's durations.
type OneSide = fn(&Sample) -> Option<u64>;

fn check(
    stats: &ProxyStats,
    histograms: &[OperationHistograms],
    seen: &[Sample],
    open: &[Sample],
) -> Result<(), TestCaseError> {
    let rows = stats.operations.iter();
    prop_assert_eq!(
        rows.clone().map(|o| o.exchanges.count).sum::<u64>(),
        seen.len() as u64
    );
    prop_assert_eq!(
        rows.clone().map(|o| o.exchanges.outstanding).sum::<u64>(),
        open.len() as u64
    );
    for class in Class::ALL {
        let mine = || seen.iter().filter(move |s| s.class == class);
        let rows = || {
            rows.clone()
                .filter(move |o| o.class == class)
                .map(|o| &o.exchanges)
        };
        let sum = |f: fn(&Sample) -> u64| mine().map(f).sum::<u64>();
        prop_assert_eq!(rows().map(|o| o.count).sum::<u64>(), sum(|_| 1));
        prop_assert_eq!(
            rows().map(|o| o.request_bytes).sum::<u64>(),
            sum(|s| s.request_bytes)
        );
        prop_assert_eq!(
            rows().map(|o| o.reply_bytes).sum::<u64>(),
            sum(|s| s.reply_bytes)
        );
        prop_assert_eq!(
            rows().map(|o| o.injected).sum::<u64>(),
            sum(|s| u64::from(s.injected))
        );
        prop_assert_eq!(
            rows().map(|o| o.errors).sum::<u64>(),
            sum(|s| u64::from(s.status != Status::OK))
        );
        prop_assert_eq!(
            rows().map(|o| o.over_p95).sum::<u64>(),
            sum(|s| u64::from(s.client > 10 * MS))
        );
        prop_assert_eq!(
            rows().map(|o| o.over_p99).sum::<u64>(),
            sum(|s| u64::from(s.client > 20 * MS))
        );
        let longest = rows().filter_map(|o| o.client).map(|c| c.max_us).max();
        prop_assert_eq!(longest, mine().map(|s| s.client.div_ceil(1000)).max());
    }
    for row in histograms {
        let mine = || {
            seen.iter()
                .filter(|s| s.operation == row.operation && s.class == row.class)
        };
        let sides: [(&Histogram<u64>, OneSide); 3] = [
            (&row.client, |s| Some(s.client)),
            (&row.upstream, |s| s.upstream),
            (&row.first_byte, |s| Some(s.first_byte)),
        ];
        for (histogram, side) in sides {
            let mut exact: Vec<u64> = mine()
                .filter_map(side)
                .map(|ns| ns.div_ceil(1000).max(1))
                .collect();
            exact.sort_unstable();
            prop_assert_eq!(histogram.len(), exact.len() as u64);
            for q in [0.5, 0.95, 0.99, 1.0] {
                if exact.is_empty() {
                    continue;
                }
                let rank = ((q * exact.len() as f64).ceil() as usize).max(1);
                let (exact, seen) = (
                    exact[rank - 1].min(3_600_000_000),
                    histogram.value_at_quantile(q),
                );
                prop_assert!(
                    seen >= exact && seen - exact <= exact / 1000,
                    "{} is not {}",
                    seen,
                    exact
                );
            }
        }
    }
    prop_assert_eq!(
        histograms.iter().map(|h| h.client.len()).sum::<u64>(),
        seen.len() as u64
    );
    Ok(())
}

/// 100 operations on two workers, with latencies over five orders of magnitude that differ on all sides: the worst that a real
/// proxy sees. With the 16 MiB of a fresh process that has to stay under 64 MiB.
#[test]
fn memory_of_a_hundred_operations_is_within_budget() {
    let meta = meta("redis", Protocol::Redis);
    let mut collector = Collector::new();
    collector.register(P, Arc::clone(&meta));
    let mut workers: Vec<[Shard; 2]> = (0..2).map(|_| [Shard::new(), Shard::new()]).collect();
    workers
        .iter_mut()
        .flatten()
        .for_each(|s| s.register(P, Arc::clone(&meta)));
    let fresh = collector.memory() + workers.iter().flatten().map(Shard::memory).sum::<usize>();
    assert!(fresh < 64 * 1024, "fresh: {fresh}");
    let mut random = 1_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut peak = 0;
    for _ in 0..62 {
        for worker in &mut workers {
            for i in 0..5_000_u16 {
                let magnitude = next() % 17;
                let ns = 50_000 * ((1 << magnitude) + next() % (1 << magnitude));
                let injected = Sample {
                    client: ns + next() % ns,
                    first_byte: ns + next() % 1_000_000,
                    ..sample(i % 100 * 37, ns)
                };
                exchange(&mut worker[0], &injected);
            }
        }
        let shards = workers.iter().flatten().map(Shard::memory).sum::<usize>();
        peak = peak.max(collector.memory() + shards);
        for worker in &mut workers {
            worker.swap(0, 1);
            collector.absorb(&mut worker[1]);
        }
        let shards = workers.iter().flatten().map(Shard::memory).sum::<usize>();
        peak = peak.max(collector.memory() + shards);
        collector.tick(SECOND);
    }
    assert!(peak < 48 << 20, "{} MiB", peak >> 20);
    assert_eq!(figures(&collector, None).total.count, 620_000);
}
