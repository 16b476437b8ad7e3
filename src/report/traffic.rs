//! What passed, counted from the recording: by second, and by phase and operation.

use crate::insight::calls::fails;
use crate::insight::sample::Sample;
use crate::insight::view::{Seen, Span};
use crate::insight::{SECOND, View};
use crate::measure::trace::{ProxyIndex, Record};
use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds that a timeline shows at most; what comes later is left out, and said.
pub(crate) const LONGEST: u64 = 3_600;
/// Operations of a proxy that are told apart at most: the most frequent. Others are left out, and said.
pub(crate) const OPERATIONS: usize = 30;

/// What passed one proxy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Traffic {
    pub(crate) proxy: String,
    pub(crate) protocol: String,
    /// One a second, without gaps.
    pub(crate) seconds: Vec<Second>,
    /// By phase and operation, the most frequent first.
    pub(crate) operations: Vec<Operation>,
    /// Of each phase, also of those in which nothing was answered. Empty in documents of older programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) phases: Vec<InPhase>,
    /// Exchanges of operations that are not among those.
    pub(crate) rare: u64,
    /// Requests that were still unanswered when the recording ended.
    pub(crate) outstanding: u64,
    /// Records that the recording lost: the figures are of the others.
    pub(crate) lost: u64,
}

/// A second of a proxy. Latencies in microseconds, of what was answered in it; none where nothing was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Second {
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    /// Of these, touched by a fault.
    pub(crate) injected: u64,
    /// Begun and not ended, at its end.
    pub(crate) outstanding: u64,
    /// How long the oldest of those had waited by then. None: there were none, or an older program wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waited_us: Option<u64>,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p95_us: Option<u64>,
    pub(crate) max_us: Option<u64>,
    /// Answers by latency: bucket n holds 2^n to 2^(n+1) microseconds.
    pub(crate) buckets: BTreeMap<u8, u64>,
    /// The latencies of its answers as an HdrHistogram in its V2 encoding, base64: 1 us to 1 h, 2 digits; so that seconds can be put
    /// together. None where nothing was answered, and in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) histogram: Option<String>,
}

/// What a phase left without an answer: it would look fast if only answers were counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InPhase {
    pub(crate) phase: String,
    /// Begun and not ended, at its end.
    pub(crate) outstanding: u64,
}

/// An operation in a phase. Latencies in microseconds, as the client saw them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Operation {
    pub(crate) phase: String,
    pub(crate) operation: String,
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    pub(crate) injected: u64,
    pub(crate) answered: u64,
    pub(crate) mean_us: Option<u64>,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p95_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) max_us: Option<u64>,
    /// All latencies as an HdrHistogram in its V2 encoding, base64: 1 us to 1 h, 3 digits.
    pub(crate) histogram: String,
}

/// Looks at a process, once a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) looks: Vec<Look>,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Look {
    /// Nanoseconds since the recording began.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) memory: u64,
    /// Processor time since the look before, as a share of one core.
    pub(crate) cpu: Option<f64>,
    pub(crate) descriptors: u32,
    pub(crate) threads: u32,
}

/// The traffic of every proxy of a recording.
pub(crate) fn of(view: &View<'_>) -> Vec<Traffic> {
    let proxies = (0..).map(ProxyIndex).zip(&view.trace.header.proxies);
    proxies
        .map(|(index, proxy)| {
            let passed = view.passed(index);
            let mut all: Vec<&Seen<'_>> = passed.work.iter().collect();
            all.sort_by_key(|seen| (is_open(view, seen), seen.attempt.ended));
            Traffic {
                proxy: proxy.name.clone(),
                protocol: proxy.protocol.name().into(),
                seconds: seconds(view, &all),
                rare: rare(view, &all),
                operations: operations(view, &all),
                phases: in_phases(view, &all),
                outstanding: all.iter().filter(|s| is_open(view, s)).count() as u64,
                lost: passed.dropped,
            }
        })
        .collect()
}

fn us(ns: u64) -> u64 {
    ns.div_ceil(1_000)
}

fn latencies<'s>(seen: impl Iterator<Item = &'s Seen<'s>>) -> Sample {
    seen.filter(|s| s.attempt.outcome.is_answered())
        .map(|s| s.attempt.latency())
        .collect()
}

/// Whether it had no answer when the recording ended, which is no end of its own.
fn is_open(view: &View<'_>, seen: &Seen<'_>) -> bool {
    !seen.attempt.outcome.is_answered() && seen.attempt.ended >= view.span.to
}

fn in_phases(view: &View<'_>, all: &[&Seen<'_>]) -> Vec<InPhase> {
    let phases = view.phases.iter().map(|(name, span)| {
        let out = all.iter().filter(|s| {
            s.attempt.begun < span.to && (s.attempt.ended > span.to || is_open(view, s))
        });
        InPhase {
            phase: view.trace.names.get(*name).to_owned(),
            outstanding: out.count() as u64,
        }
    });
    phases.collect()
}

fn failures(view: &View<'_>, here: &[&Seen<'_>]) -> u64 {
    let failed = here
        .iter()
        .filter(|s| fails(view.passed(s.attempt.proxy), s));
    failed.count() as u64
}

fn seconds(view: &View<'_>, all: &[&Seen<'_>]) -> Vec<Second> {
    let count = view.span.to.div_ceil(SECOND).min(LONGEST);
    let mut begun: Vec<u64> = all.iter().map(|s| s.attempt.begun).collect();
    begun.sort_unstable();
    // What is still open comes last, and ends in no second.
    let over = all.partition_point(|s| !is_open(view, s));
    let oldest = oldest(all);
    (0..count)
        .map(|n| {
            let (from, to) = (n * SECOND, (n + 1) * SECOND);
            let first = all[..over].partition_point(|s| s.attempt.ended < from);
            let last = all[..over].partition_point(|s| s.attempt.ended < to);
            let here = &all[first..last];
            let end = to.min(view.span.to);
            let outstanding = (begun.partition_point(|b| *b < to) - last) as u64;
            Second {
                ended: here.len() as u64,
                failed: failures(view, here),
                injected: here.iter().filter(|s| s.attempt.fault.is_some()).count() as u64,
                outstanding,
                waited_us: (outstanding > 0).then(|| us(end.saturating_sub(oldest[last]))),
                ..Second::answered(&latencies(here.iter().copied()))
            }
        })
        .collect()
}

/// From each of these on, in their order by end, when the first of them begun.
fn oldest(all: &[&Seen<'_>]) -> Vec<u64> {
    let mut oldest = vec![u64::MAX; all.len() + 1];
    for (n, seen) in all.iter().enumerate().rev() {
        oldest[n] = oldest[n + 1].min(seen.attempt.begun);
    }
    oldest
}

impl Second {
    /// The figures of its answers.
    fn answered(sample: &Sample) -> Self {
        let mut buckets = BTreeMap::new();
        for latency in sample.values() {
            let bucket = us(*latency).max(1).ilog2();
            *buckets.entry(bucket as u8).or_default() += 1;
        }
        Self {
            p50_us: sample.quantile(0.5).map(us),
            p95_us: sample.quantile(0.95).map(us),
            max_us: sample.max().map(us),
            histogram: (!sample.is_empty()).then(|| encoded(sample, Digits::Two)),
            buckets,
            ..Self::default()
        }
    }
}

/// The latencies of a second again. `None`: they are not there, or cannot be read.
pub(super) fn latencies_of(second: &Second) -> Option<Histogram<u64>> {
    let read = decoded(second.histogram.as_ref()?)?;
    let answered = second.buckets.values().copied();
    let answered = answered.fold(0, u64::saturating_add);
    (read.len() == answered).then_some(read)
}

/// A percentile in microseconds; never above what is known to be the largest.
pub(super) fn us_at(latencies: &Histogram<u64>, quantile: f64, most: Option<u64>) -> Option<u64> {
    let at = latencies.value_at_quantile(quantile);
    (!latencies.is_empty()).then(|| most.map_or(at, |most| at.min(most)))
}

/// The operations, the most frequent first.
fn by_frequency<'v>(view: &View<'v>, all: &[&Seen<'_>]) -> Vec<(&'v str, usize)> {
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for seen in all {
        *totals
            .entry(view.trace.names.get(seen.attempt.operation))
            .or_default() += 1;
    }
    let mut order: Vec<(&str, usize)> = totals.into_iter().collect();
    order.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
    order
}

fn rare(view: &View<'_>, all: &[&Seen<'_>]) -> u64 {
    let order = by_frequency(view, all);
    order.iter().skip(OPERATIONS).map(|(_, n)| *n as u64).sum()
}

fn operations(view: &View<'_>, all: &[&Seen<'_>]) -> Vec<Operation> {
    let names = &view.trace.names;
    let mut order = by_frequency(view, all);
    order.truncate(OPERATIONS);
    let whole = [("all".to_owned(), view.span)];
    let named = view
        .phases
        .iter()
        .map(|(name, span)| (names.get(*name).to_owned(), *span));
    let phases: Vec<(String, Span)> = if view.phases.is_empty() {
        whole.into()
    } else {
        named.collect()
    };
    let mut found = Vec::new();
    for (operation, _) in &order {
        for (phase, span) in &phases {
            let here = || {
                all.iter().copied().filter(|seen| {
                    span.contains(seen.attempt.ended)
                        && names.get(seen.attempt.operation) == *operation
                })
            };
            if let Some(one) = Operation::of(view, (phase, operation), &here().collect::<Vec<_>>())
            {
                found.push(one);
            }
        }
    }
    found
}

impl Operation {
    fn of(view: &View<'_>, (phase, operation): (&str, &str), here: &[&Seen<'_>]) -> Option<Self> {
        if here.is_empty() {
            return None;
        }
        let sample = latencies(here.iter().copied());
        Some(Self {
            phase: phase.into(),
            operation: operation.into(),
            ended: here.len() as u64,
            failed: failures(view, here),
            injected: here.iter().filter(|s| s.attempt.fault.is_some()).count() as u64,
            answered: sample.len() as u64,
            mean_us: sample.mean().map(|mean| us(mean as u64)),
            p50_us: sample.quantile(0.5).map(us),
            p95_us: sample.quantile(0.95).map(us),
            p99_us: sample.quantile(0.99).map(us),
            max_us: sample.max().map(us),
            histogram: encoded(&sample, Digits::Three),
        })
    }

    /// The latencies again, for spectra and comparisons. `None`: the document was changed by hand, and they cannot be read.
    pub(crate) fn latencies(&self) -> Option<Histogram<u64>> {
        let read = decoded(&self.histogram)?;
        (read.len() == self.answered).then_some(read)
    }
}

/// How close a histogram keeps its values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Digits {
    /// 1 %.
    Two = 2,
    /// 0.1 %.
    Three = 3,
}

/// An hour.
const MOST_US: u64 = 3_600_000_000;

fn empty(digits: Digits) -> Histogram<u64> {
    Histogram::new_with_bounds(1, MOST_US, digits as u8).expect("bounds that are valid")
}

fn decoded(text: &str) -> Option<Histogram<u64>> {
    use hdrhistogram::serialization::Deserializer;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    if !is_ours(&bytes) {
        return None;
    }
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

/// Whether a histogram has the form and bounds of ours, and says of itself how long it is: others could ask for any amount of memory.
fn is_ours(bytes: &[u8]) -> bool {
    // Cookie, length of what follows the header, offset, digits: four bytes each; the least and the largest value, and a ratio: eight.
    const HEADER: usize = 40;
    const V2: u32 = 0x1c84_9313;
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (digits, high, low) = (number(12), number(24), number(28));
    let largest = high
        .zip(low)
        .map(|(high, low)| u64::from(high) << 32 | u64::from(low));
    let length = number(4).and_then(|length| usize::try_from(length).ok());
    number(0) == Some(V2)
        && length.is_some_and(|length| bytes.len().checked_sub(HEADER) == Some(length))
        && digits.is_some_and(|digits| digits <= 3)
        && largest.is_some_and(|most| most <= MOST_US)
}

pub(super) fn encoded(sample: &Sample, digits: Digits) -> String {
    let mut histogram = empty(digits);
    for latency in sample.values() {
        histogram.saturating_record(us(*latency).max(1));
    }
    let mut bytes = Vec::new();
    // Into memory, and within its bounds: neither can fail.
    let _ = V2Serializer::new().serialize(&histogram, &mut bytes);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The looks at every watched process.
pub(crate) fn processes(view: &View<'_>) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut before: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for record in &view.trace.records {
        let Record::Watched {
            at,
            target,
            memory,
            cpu,
            descriptors,
            threads,
            ..
        } = *record
        else {
            continue;
        };
        let name = view.trace.names.get(target).to_owned();
        let last = before.insert(name.clone(), (at, cpu));
        let share = last
            .filter(|(then, _)| at > *then)
            .map(|(then, used)| cpu.saturating_sub(used) as f64 / (at - then) as f64);
        let look = Look {
            at,
            memory,
            cpu: share,
            descriptors,
            threads,
        };
        match found.iter_mut().find(|p| p.name == name) {
            Some(process) => process.looks.push(look),
            None => found.push(Process {
                name,
                looks: vec![look],
            }),
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::insight::MILLISECOND;
    use crate::measure::trace::{Attempt, Header, Outcome, Trace};
    use crate::protocol::Class;

    /// A second with answers of so many microseconds.
    pub(in super::super) fn second(latencies: &[u64]) -> Second {
        let sample: Sample = latencies.iter().map(|us| us * 1_000).collect();
        Second {
            ended: latencies.len() as u64,
            ..Second::answered(&sample)
        }
    }

    /// An operation with answers of so many microseconds, none of which failed.
    pub(in super::super) fn operation(phase: &str, name: &str, latencies: &[u64]) -> Operation {
        let sample: Sample = latencies.iter().map(|us| us * 1_000).collect();
        let n = latencies.len() as u64;
        Operation {
            phase: phase.into(),
            operation: name.into(),
            ended: n,
            failed: 0,
            injected: 0,
            answered: n,
            mean_us: sample.mean().map(|mean| us(mean as u64)),
            p50_us: sample.quantile(0.5).map(us),
            p95_us: sample.quantile(0.95).map(us),
            p99_us: sample.quantile(0.99).map(us),
            max_us: sample.max().map(us),
            histogram: encoded(&sample, Digits::Three),
        }
    }

    #[test]
    fn the_latencies_of_a_second_are_read_back() {
        let read = latencies_of(&second(&[1, 200, 200, 3_000_000])).expect("they are there");
        assert_eq!((read.len(), read.min()), (4, 1));
        assert_eq!(us_at(&read, 0.5, None), Some(200));
        assert_eq!(us_at(&read, 1.0, Some(3_000_000)), Some(3_000_000));
        assert_eq!(latencies_of(&second(&[])), None);
        let mut changed = second(&[5]);
        changed.buckets.clear();
        assert_eq!(latencies_of(&changed), None, "changed by hand");
        changed.histogram = Some("x".into());
        assert_eq!(latencies_of(&changed), None);
    }

    /// "baseline" for two seconds, then "dark": two answers before, one request that is answered in the fourth second, and one that
    /// still waits at the end, after four and a half.
    fn hanging() -> Trace {
        let mut trace = Trace::new(Header {
            version: 1,
            started_us: 0,
            service: None,
            proxies: vec![crate::measure::trace::Proxy {
                name: "redis".into(),
                protocol: crate::protocol::Protocol::Redis,
                pool: None,
            }],
        });
        let [baseline, dark, get, ok] =
            ["baseline", "dark", "GET", "ok"].map(|name| trace.names.intern(name));
        let phase = |at, phase| Record::Phase {
            at,
            phase,
            kind: None,
        };
        let attempt = |(begun, ended, outcome): (u64, u64, Outcome)| {
            Record::Attempt(Attempt {
                proxy: ProxyIndex(0),
                session: 0,
                exchange: begun,
                operation: get,
                class: Class::Read,
                fingerprint: 0,
                begun: begun * MILLISECOND,
                asked: begun * MILLISECOND,
                first_byte: None,
                ended: ended * MILLISECOND,
                upstream: None,
                status: ok,
                outcome,
                fault: None,
            })
        };
        let passed = [
            (100, 110, Outcome::Ok),
            (1_100, 1_110, Outcome::Ok),
            (1_900, 3_200, Outcome::Ok),
            (2_500, 4_500, Outcome::Outstanding),
        ];
        trace.records = [phase(0, baseline), phase(2 * SECOND, dark)]
            .into_iter()
            .chain(passed.map(attempt))
            .collect();
        trace
    }

    #[test]
    fn what_waits_is_counted_at_the_end_of_each_second_with_its_age() {
        let trace = hanging();
        let found = of(&View::new(&trace, &crate::insight::Topology::default()));
        let seconds = found[0].seconds.iter();
        let told: Vec<_> = seconds
            .map(|s| (s.ended, s.outstanding, s.waited_us))
            .collect();
        let expected = [
            (1, 0, None),
            (1, 1, Some(100_000)),
            (0, 2, Some(1_100_000)),
            (1, 1, Some(1_500_000)),
            (0, 1, Some(2_000_000)),
        ];
        assert_eq!(told, expected, "the end of the recording is no answer");
        let phases = found[0].phases.iter();
        let phases: Vec<_> = phases.map(|p| (p.phase.as_str(), p.outstanding)).collect();
        assert_eq!(phases, [("baseline", 1), ("dark", 1)]);
        assert_eq!(found[0].outstanding, 1);
    }
}
