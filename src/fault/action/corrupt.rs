//! `corrupt`: some bytes of a message are changed on their way. The decoder has seen the message as it was, so that pairing and
//! measurement go on.

use crate::fault::dice::Draw;
use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, Side};
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["rate", "count", "from", "to", "on"];

/// The most bytes of one message that `count` changes.
const MOST: u32 = 65_536;

/// Changes bytes of one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corrupt {
    /// Which bytes of the range.
    pub which: Which,
    /// The first byte of the message that may be changed.
    pub from: u64,
    /// The first behind those that may be; `None`: to its end.
    pub to: Option<u64>,
    /// Which side.
    pub on: Side,
}

/// Which bytes are changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Which {
    /// Each with this probability.
    Share(f64),
    /// So many places of the range, drawn; one that is drawn twice counts once.
    Places(u32),
}

impl Corrupt {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let (from, to) = (spec.from.unwrap_or(0), spec.to);
        if to.is_some_and(|to| to <= from) {
            problems.add(
                "to",
                "there is no byte between `from` and `to`",
                format!("write a number above {from}"),
            );
        }
        let which = match (spec.rate, spec.count) {
            (Some(_), Some(_)) => {
                problems.add(
                    "count",
                    "`rate` already says how many bytes are changed",
                    "leave one of the two out",
                );
                return None;
            }
            (Some(rate), None) if rate > 0.0 && rate <= 1.0 => Which::Share(rate),
            (Some(rate), None) => {
                problems.add(
                    "rate",
                    format!("{rate} is no share of the bytes"),
                    "write a number above 0, at most 1",
                );
                return None;
            }
            (None, count) => {
                let count = count.unwrap_or(1);
                if !(1..=MOST).contains(&count) {
                    problems.add(
                        "count",
                        format!("{count} bytes cannot be changed"),
                        format!("write a number from 1 to {MOST}"),
                    );
                }
                if to.is_none() {
                    problems.missing("to", "`count`, since places are drawn before the length of the message is known,", "to = 64");
                    return None;
                }
                Which::Places(count)
            }
        };
        Some(Self {
            which,
            from,
            to,
            on: spec.on.unwrap_or_default(),
        })
    }

    /// Changes bytes of a message that begin at its byte `offset`. The same draw changes the same bytes in the same way, however
    /// the message is cut.
    pub(crate) fn apply(&self, draw: Draw, offset: u64, bytes: &mut [u8]) {
        let end = offset.saturating_add(bytes.len() as u64);
        let range = self.from.max(offset)..self.to.unwrap_or(u64::MAX).min(end);
        match self.which {
            Which::Share(rate) => {
                for at in range {
                    if draw.at(at).hits(rate) {
                        flip(draw, at, &mut bytes[(at - offset) as usize]);
                    }
                }
            }
            Which::Places(count) => {
                let span = self.to.unwrap_or(self.from).saturating_sub(self.from);
                for place in self.places(draw, count, span) {
                    if range.contains(&place) {
                        flip(draw, place, &mut bytes[(place - offset) as usize]);
                    }
                }
            }
        }
    }

    fn places(&self, draw: Draw, count: u32, span: u64) -> Vec<u64> {
        let place = |n: u32| {
            let draw = draw.at(u64::MAX - u64::from(n));
            self.from + (draw.uniform() * span as f64) as u64
        };
        let mut places: Vec<u64> = (0..count).map(place).collect();
        places.sort_unstable();
        // Changed twice could be as it was.
        places.dedup();
        places
    }
}

/// Changes at least one bit.
fn flip(draw: Draw, at: u64, byte: &mut u8) {
    let mask = (draw.at(at).at(1).uniform() * 255.0) as u8;
    *byte ^= mask.saturating_add(1);
}

impl Acts for Corrupt {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Corrupt(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::dice::{Dice, Purpose};
    use proptest::prelude::*;

    fn draw(exchange: u64) -> Draw {
        Dice::new(7, "c").exchange(0, exchange, Purpose::Corrupt)
    }

    fn corrupt(which: Which, from: u64, to: Option<u64>) -> Corrupt {
        Corrupt {
            which,
            from,
            to,
            on: Side::Reply,
        }
    }

    #[test]
    fn a_share_of_the_bytes_is_changed() {
        let mut bytes = vec![0; 100_000];
        corrupt(Which::Share(0.1), 0, None).apply(draw(1), 0, &mut bytes);
        let changed = bytes.iter().filter(|b| **b != 0).count();
        assert!((9_500..10_500).contains(&changed), "{changed}");
    }

    #[test]
    fn one_place_is_one_byte_inside_the_range() {
        for exchange in 0..200 {
            let mut bytes = [0; 64];
            corrupt(Which::Places(1), 10, Some(20)).apply(draw(exchange), 0, &mut bytes);
            let changed: Vec<usize> = (0..64).filter(|at| bytes[*at] != 0).collect();
            assert_eq!(changed.len(), 1);
            assert!((10..20).contains(&changed[0]));
        }
    }

    proptest! {
        #[test]
        fn the_same_bytes_change_however_the_message_is_cut(
            cut in 0_usize..200,
            share in 0.01_f64..1.0,
            from in 0_u64..150,
            length in 1_u64..100,
            places in prop::option::of(1_u32..20),
            exchange in any::<u64>(),
        ) {
            let which = places.map_or(Which::Share(share), Which::Places);
            let corrupt = corrupt(which, from, Some(from + length));
            let original: Vec<u8> = (0..200).collect();
            let mut whole = original.clone();
            corrupt.apply(draw(exchange), 0, &mut whole);
            let mut parts = original.clone();
            let (first, second) = parts.split_at_mut(cut);
            corrupt.apply(draw(exchange), 0, first);
            corrupt.apply(draw(exchange), cut as u64, second);
            prop_assert_eq!(&parts, &whole);
            for (at, (is, was)) in whole.iter().zip(&original).enumerate() {
                let inside = (from..from + length).contains(&(at as u64));
                prop_assert!(inside || is == was);
            }
        }
    }
}
