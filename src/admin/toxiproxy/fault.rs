//! A toxic as a fault, and a fault as a toxic.

use super::toxic::{Kind, Toxic};
use crate::fault::FaultSpec;
use crate::fault::action::{MAX_DELAY, MAX_TTL};
use crate::fault::spec::{ActionKind, Delay, DelayTable, DistributionKind, Scope, Side};
use crate::fault::store::Listed;
use std::time::Duration;

/// Beyond this a throttle is none: bytes per second.
const MAX_RATE: u64 = 1_000_000_000;

/// A delay of nothing is no fault, and Toxiproxy takes it.
const NOTHING: Duration = Duration::from_nanos(1);

/// The longest name of a fault.
const MAX_NAME: usize = 64;

/// The fault that a toxic is: `base` with what the toxic says in it.
pub(super) fn spec(toxic: &Toxic, base: FaultSpec) -> FaultSpec {
    let attribute = |place: usize| u64::try_from(toxic.attributes[place]).unwrap_or(0);
    let ms = |place: usize| Duration::from_millis(attribute(place));
    let probability = (toxic.toxicity < 1.0).then_some(toxic.toxicity.max(0.0));
    let spec = FaultSpec {
        on: Some(toxic.stream),
        probability,
        scope: Some(Scope::Session),
        ..base
    };
    match toxic.kind {
        Kind::Latency => FaultSpec {
            action: ActionKind::Latency,
            delay: Some(latency(ms(0), ms(1))),
            ..spec
        },
        Kind::SlowClose => FaultSpec {
            action: ActionKind::SlowClose,
            delay: Some(Delay::Fixed(ms(0).clamp(NOTHING, MAX_DELAY))),
            ..spec
        },
        Kind::Bandwidth => FaultSpec {
            action: ActionKind::Throttle,
            bytes_per_second: Some(match attribute(0).saturating_mul(1000) {
                0 => MAX_RATE,
                rate => rate.min(MAX_RATE),
            }),
            ..spec
        },
        Kind::Slicer => {
            // Pieces of no size: Toxiproxy sends what it has.
            let size = match u32::try_from(attribute(0)).unwrap_or(u32::MAX) {
                0 => u32::MAX,
                size => size,
            };
            let variation = u32::try_from(attribute(1)).unwrap_or(u32::MAX);
            FaultSpec {
                action: ActionKind::Slice,
                size: Some(size),
                variation: Some(variation.min(size - 1)),
                gap: Some(Duration::from_micros(attribute(2)).min(MAX_DELAY)),
                ..spec
            }
        }
        Kind::Timeout => FaultSpec {
            action: ActionKind::Blackhole,
            close_after: Some(ms(0).min(MAX_TTL)).filter(|after| !after.is_zero()),
            ..spec
        },
        Kind::ResetPeer => FaultSpec {
            action: ActionKind::ResetPeer,
            close_after: Some(ms(0).min(MAX_TTL)),
            ..spec
        },
        Kind::LimitData => FaultSpec {
            action: ActionKind::LimitData,
            bytes: Some(attribute(0)),
            ..spec
        },
    }
}

/// Latency with uniform jitter around it, never below zero.
fn latency(latency: Duration, jitter: Duration) -> Delay {
    let max = latency.saturating_add(jitter).clamp(NOTHING, MAX_DELAY);
    if jitter.is_zero() {
        return Delay::Fixed(max);
    }
    Delay::Drawn(DelayTable {
        min: Some(
            latency
                .saturating_sub(jitter)
                .min(max.saturating_sub(NOTHING)),
        ),
        max: Some(max),
        ..DelayTable::new(DistributionKind::Uniform)
    })
}

/// A fault that has an equivalent in Toxiproxy, as a toxic of this proxy.
pub(super) fn toxic(proxy: &str, fault: &Listed) -> Option<Toxic> {
    let spec = &fault.fault;
    let (kind, attributes) = equivalent(spec)?;
    let name = match fault.name.strip_prefix(proxy) {
        Some(rest) => rest.strip_prefix('.').filter(|rest| !rest.is_empty()),
        None => None,
    };
    Some(Toxic {
        name: name.unwrap_or(&fault.name).into(),
        kind,
        stream: spec.on.unwrap_or_default(),
        toxicity: spec.probability.unwrap_or(1.0),
        attributes,
    })
}

fn equivalent(spec: &FaultSpec) -> Option<(Kind, [i64; 3])> {
    let gated = spec.every.is_some()
        || spec.first.is_some()
        || spec.after.is_some()
        || spec.per_second.is_some();
    let on_sessions = matches!(
        spec.action,
        ActionKind::Blackhole | ActionKind::ResetPeer | ActionKind::LimitData
    );
    let by_session = spec.probability.is_none()
        || spec.scope == Some(Scope::Session)
        || (on_sessions && spec.scope.is_none());
    if gated || !by_session || !spec.matching.is_empty() || spec.schedule.is_some() {
        return None;
    }
    let whole = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
    let ms = |d: Duration| whole(d.as_millis());
    let after = ms(spec.close_after.unwrap_or_default());
    Some(match spec.action {
        ActionKind::Latency if spec.floor != Some(true) => {
            let [latency, jitter] = around(spec.delay.as_ref()?)?;
            (Kind::Latency, [ms(latency), ms(jitter), 0])
        }
        ActionKind::SlowClose => {
            // Both directions are two toxics.
            let (_, Delay::Fixed(delay)) = (spec.on?, spec.delay.as_ref()?) else {
                return None;
            };
            (Kind::SlowClose, [ms(*delay), 0, 0])
        }
        ActionKind::Throttle => {
            let rate = spec.bytes_per_second?.div_ceil(1000);
            (Kind::Bandwidth, [whole(u128::from(rate)), 0, 0])
        }
        ActionKind::Slice => {
            let gap = spec.gap.unwrap_or_default().as_micros();
            let variation = i64::from(spec.variation.unwrap_or(0));
            (Kind::Slicer, [i64::from(spec.size?), variation, whole(gap)])
        }
        ActionKind::Blackhole => (Kind::Timeout, [after, 0, 0]),
        ActionKind::ResetPeer => (Kind::ResetPeer, [after, 0, 0]),
        ActionKind::LimitData => (Kind::LimitData, [whole(u128::from(spec.bytes?)), 0, 0]),
        _ => return None,
    })
}

/// A delay as a middle and what it may be off.
fn around(delay: &Delay) -> Option<[Duration; 2]> {
    match delay {
        Delay::Fixed(delay) => Some([*delay, Duration::ZERO]),
        Delay::Drawn(table) if table.distribution == DistributionKind::Uniform => {
            let (min, max) = (table.min?, table.max?);
            Some([(min + max) / 2, max.saturating_sub(min) / 2])
        }
        Delay::Drawn(_) => None,
    }
}

/// A new fault for a proxy, under the first name that is free: that of proxy and toxic, as far as a fault may have it.
pub(super) fn base(proxy: &str, toxic: &Toxic, taken: &[Listed]) -> FaultSpec {
    let plain: String = format!("{proxy}.{}", toxic.name)
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect();
    let mut number = 1;
    let name = loop {
        let tail = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let head = &plain[..plain.len().min(MAX_NAME - tail.len())];
        let name = format!("{head}{tail}");
        if !taken.iter().any(|f| f.name == name) {
            break name;
        }
        number += 1;
    };
    FaultSpec {
        name: Some(name),
        proxy: only(proxy),
        ..FaultSpec::new(ActionKind::Latency)
    }
}

/// The pattern that matches this name and no other.
pub(super) fn only(proxy: &str) -> String {
    let mut pattern = String::with_capacity(proxy.len());
    for c in proxy.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The direction of a toxic in the order in which toxics are listed.
pub(super) fn order(stream: Side) -> u8 {
    match stream {
        Side::Request => 0,
        Side::Reply => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toxic_of(kind: Kind, attributes: [i64; 3]) -> Toxic {
        Toxic {
            name: "t".into(),
            kind,
            stream: Side::Reply,
            toxicity: 1.0,
            attributes,
        }
    }

    #[test]
    fn whatever_toxiproxy_takes_is_a_fault() {
        for kind in [
            Kind::Latency,
            Kind::Bandwidth,
            Kind::SlowClose,
            Kind::Timeout,
            Kind::ResetPeer,
            Kind::Slicer,
            Kind::LimitData,
        ] {
            for value in [i64::MIN, -1, 0, 1, 5, 100_000, i64::MAX] {
                for other in [0, 7, i64::MAX] {
                    for toxicity in [-1.0, 0.0, 0.5, 1.0, 17.0] {
                        let mut toxic = toxic_of(kind, [value, other, other]);
                        toxic.toxicity = toxicity;
                        let spec = spec(&toxic, base("p", &toxic, &[]));
                        let compiled = spec.compile("");
                        assert!(compiled.is_ok(), "{toxic:?}: {compiled:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn usual_toxics_come_back_as_they_were() {
        for (kind, attributes) in [
            (Kind::Latency, [100, 0, 0]),
            (Kind::Latency, [100, 20, 0]),
            (Kind::Bandwidth, [5, 0, 0]),
            (Kind::SlowClose, [30, 0, 0]),
            (Kind::Timeout, [0, 0, 0]),
            (Kind::Timeout, [500, 0, 0]),
            (Kind::ResetPeer, [0, 0, 0]),
            (Kind::Slicer, [64, 32, 10]),
            (Kind::LimitData, [1024, 0, 0]),
        ] {
            let toxic = toxic_of(kind, attributes);
            assert_eq!(
                equivalent(&spec(&toxic, base("p", &toxic, &[]))),
                Some((kind, attributes))
            );
        }
    }

    #[test]
    fn names_are_made_to_fit_and_are_free() {
        let toxic = toxic_of(Kind::Timeout, [0; 3]);
        assert_eq!(base("p", &toxic, &[]).name.as_deref(), Some("p.t"));
        assert_eq!(base("a b/é", &toxic, &[]).name.as_deref(), Some("a_b__.t"));
        let long = "x".repeat(100);
        let name = base(&long, &toxic, &[]).name.unwrap();
        assert_eq!(name.len(), MAX_NAME);
        assert_eq!(only("a*b[c]"), "a\\*b\\[c\\]");
        let pattern = crate::fault::glob::Glob::new(&only("a*b[c]?\\")).unwrap();
        assert!(pattern.matches(b"a*b[c]?\\"));
        assert!(!pattern.matches(b"aab[c]?\\"));
    }
}
