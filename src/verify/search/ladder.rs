//! Which rate is tried next, and when the search is over. Pure: what a step showed comes in.
//!
//! From the declared rate upwards by doubling until a step breaks the limits, downwards by halving where the declared one does;
//! then between the best and the worst. A step that breaks them is repeated: two of three decide, so that one hiccup does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest multiple of the declared rate that is tried.
pub(crate) const MOST: f64 = 64.0;
/// The smallest.
pub(crate) const LEAST: f64 = 1.0 / 16.0;
/// How near the best and the worst rate are in the end, as their ratio.
const PRECISION: f64 = 1.1;

/// What a step showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Held {
    /// Every limit is kept.
    Kept,
    /// One is not, and that is the service's.
    Broken,
    /// It cannot be told: our own part was late, or there was too little.
    Unknown,
}

impl Held {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "not kept",
            Self::Unknown => "cannot be told",
        }
    }
}

/// Why nothing more is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// The highest rate is found.
    Found,
    /// [`MOST`] times the declared rate keeps the limits.
    Ceiling,
    /// Not even [`LEAST`] of it does.
    Floor,
    /// Of the next step, twice, it could not be told whether the service or our own part was too slow.
    Unknown,
    /// The phase was too short.
    OutOfTime,
    /// A guard stopped the test.
    Stopped,
}

impl Ended {
    /// For people, as the end of a sentence.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Found => "the search found the highest rate",
            Self::Ceiling => "the search ended at the highest rate that it tries",
            Self::Floor => "the search ended at the lowest rate that it tries",
            Self::Unknown => {
                "the search ended since it could not be told whether the service or the load was too slow"
            }
            Self::OutOfTime => "the search ended with its phase: a longer one would go on",
            Self::Stopped => "the search ended when a guard stopped the test",
        }
    }
}

/// Votes on the factor that is being tried.
#[derive(Debug, Clone, Copy, Default)]
struct Votes {
    kept: u8,
    broken: u8,
    unknown: u8,
}

/// The search. Factors are multiples of the declared rate.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Factors about which something is expected, in order: they are tried themselves.
    wanted: Vec<f64>,
    kept: Option<f64>,
    broken: Option<f64>,
    /// The smallest of which that cannot be told, above what is kept.
    doubt: Option<f64>,
    votes: Votes,
    ended: Option<Ended>,
}

impl Ladder {
    pub(crate) fn new(mut wanted: Vec<f64>) -> Self {
        wanted.sort_by(f64::total_cmp);
        Self {
            wanted,
            kept: None,
            broken: None,
            doubt: None,
            votes: Votes::default(),
            ended: None,
        }
    }

    /// The largest factor that keeps the limits.
    pub(crate) const fn kept(&self) -> Option<f64> {
        self.kept
    }

    /// The smallest that does not.
    pub(crate) const fn broken(&self) -> Option<f64> {
        self.broken
    }

    /// Why it is over, once it is.
    pub(crate) const fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Ends it from outside.
    pub(crate) fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    /// What to try. `None`: it is over.
    pub(crate) fn next(&self) -> Option<f64> {
        if self.ended.is_some() {
            return None;
        }
        let (low, high, default) = match (self.kept, self.upper()) {
            (None, None) => return Some(1.0),
            (Some(low), None) => (low, (low * 2.0).min(MOST), (low * 2.0).min(MOST)),
            (None, Some(high)) => ((high / 2.0).max(LEAST), high, (high / 2.0).max(LEAST)),
            (Some(low), Some(high)) => (low, high, (low * high).sqrt()),
        };
        Some(self.next_between(low, high).unwrap_or(default))
    }

    /// The smallest that was not seen to keep the limits.
    fn upper(&self) -> Option<f64> {
        match (self.broken, self.doubt) {
            (Some(broken), Some(doubt)) => Some(broken.min(doubt)),
            (broken, doubt) => broken.or(doubt),
        }
    }

    /// What is wanted and lies between.
    fn next_between(&self, low: f64, high: f64) -> Option<f64> {
        let wanted = self.wanted.iter().find(|w| low < **w && **w < high);
        wanted.copied()
    }

    /// Takes what the step that [`next`](Self::next) named has shown.
    pub(crate) fn take(&mut self, held: Held) {
        let Some(factor) = self.next() else { return };
        let votes = &mut self.votes;
        match held {
            Held::Kept => votes.kept += 1,
            Held::Broken => votes.broken += 1,
            Held::Unknown => votes.unknown += 1,
        }
        match (votes.kept, votes.broken, votes.unknown) {
            (1, 0, _) | (2, ..) => self.kept = Some(factor),
            (_, 2, _) => self.broken = Some(factor),
            (_, _, 2) | (1, 1, 1) => {
                self.doubt = Some(factor);
                if self.kept.is_none() {
                    self.ended = Some(Ended::Unknown);
                }
            }
            _ => return,
        }
        self.votes = Votes::default();
        self.ended = self.ended.or(match (self.kept, self.upper()) {
            (Some(kept), None) if kept >= MOST => Some(Ended::Ceiling),
            (None, Some(broken)) if broken <= LEAST => Some(Ended::Floor),
            (Some(kept), Some(upper))
                if upper / kept <= PRECISION && self.next_between(kept, upper).is_none() =>
            {
                Some(if self.broken == Some(upper) {
                    Ended::Found
                } else {
                    Ended::Unknown
                })
            }
            _ => None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Searches a service that bears `capacity` times the declared rate, and answers the factors that were tried.
    fn search(ladder: &mut Ladder, capacity: f64) -> Vec<f64> {
        let mut tried = Vec::new();
        while let Some(factor) = ladder.next() {
            tried.push(factor);
            assert!(tried.len() < 60, "without end: {tried:?}");
            ladder.take(if factor <= capacity {
                Held::Kept
            } else {
                Held::Broken
            });
        }
        tried
    }

    #[test]
    fn doubles_then_refines() {
        let mut ladder = Ladder::new(vec![2.0]);
        let tried = search(&mut ladder, 5.0);
        assert_eq!(tried[..5], [1.0, 2.0, 4.0, 8.0, 8.0]);
        assert_eq!(ladder.ended(), Some(Ended::Found));
        assert!(ladder.kept().is_some_and(|k| k <= 5.0));
        assert!(ladder.broken().is_some_and(|b| b > 5.0));
    }

    #[test]
    fn what_is_expected_is_tried_itself() {
        let mut ladder = Ladder::new(vec![1.5]);
        let tried = search(&mut ladder, 1.7);
        assert_eq!(tried[..2], [1.0, 1.5]);
        let mut ladder = Ladder::new(vec![0.7]);
        assert_eq!(search(&mut ladder, 0.6)[..4], [1.0, 1.0, 0.7, 0.7]);
        let mut ladder = Ladder::new(vec![3.0, 1.5]);
        assert_eq!(search(&mut ladder, 9.0)[..3], [1.0, 1.5, 3.0]);
    }

    #[test]
    fn ends_at_both_ends() {
        let mut ladder = Ladder::new(vec![2.0]);
        assert_eq!(search(&mut ladder, f64::MAX).len(), 7);
        assert_eq!(ladder.ended(), Some(Ended::Ceiling));
        assert_eq!((ladder.kept(), ladder.broken()), (Some(MOST), None));
        let mut ladder = Ladder::new(vec![2.0]);
        search(&mut ladder, 0.0);
        assert_eq!(ladder.ended(), Some(Ended::Floor));
        assert_eq!((ladder.kept(), ladder.broken()), (None, Some(LEAST)));
    }

    #[test]
    fn one_hiccup_decides_nothing() {
        let mut ladder = Ladder::new(vec![2.0]);
        ladder.take(Held::Broken);
        assert_eq!(ladder.next(), Some(1.0));
        ladder.take(Held::Kept);
        assert_eq!(ladder.next(), Some(1.0));
        ladder.take(Held::Kept);
        assert_eq!((ladder.kept(), ladder.next()), (Some(1.0), Some(2.0)));
        ladder.take(Held::Unknown);
        assert_eq!(ladder.next(), Some(2.0));
        ladder.take(Held::Kept);
        assert_eq!(ladder.next(), Some(4.0));
    }

    #[test]
    fn what_cannot_be_told_ends_it_and_is_nobodys_limit() {
        let mut ladder = Ladder::new(vec![2.0]);
        ladder.take(Held::Kept);
        // Less load may still tell.
        ladder.take(Held::Unknown);
        ladder.take(Held::Unknown);
        let lower = ladder.next().expect("one between");
        assert!(1.0 < lower && lower < 2.0, "{lower}");
        while ladder.next().is_some() {
            ladder.take(Held::Unknown);
        }
        assert_eq!(ladder.ended(), Some(Ended::Unknown));
        assert_eq!((ladder.kept(), ladder.broken()), (Some(1.0), None));
        let mut ladder = Ladder::new(vec![2.0]);
        for held in [Held::Broken, Held::Kept, Held::Unknown] {
            ladder.take(held);
        }
        assert_eq!(ladder.ended(), Some(Ended::Unknown));
        assert_eq!((ladder.kept(), ladder.broken()), (None, None));
        ladder.take(Held::Kept);
        assert_eq!(ladder.kept(), None);
    }

    proptest! {
        /// What is found lies where the service's capacity is, near it, and after few steps; also with a hiccup now and then.
        #[test]
        fn the_capacity_lies_between_best_and_worst(capacity in 0.07_f64..63.0, wanted in 0.1_f64..10.0, hiccups: u64) {
            let mut ladder = Ladder::new(vec![wanted]);
            let (mut steps, mut before) = (0_u32, None);
            while let Some(factor) = ladder.next() {
                // Never twice in a row: that would be an answer.
                let hiccup = before != Some(factor) && (hiccups >> (steps % 64)) & 1 == 1;
                ladder.take(if factor <= capacity && !hiccup { Held::Kept } else { Held::Broken });
                before = Some(factor);
                steps += 1;
                prop_assert!(steps < 60);
            }
            prop_assert_eq!(ladder.ended(), Some(Ended::Found));
            let (kept, broken) = (ladder.kept().expect("kept"), ladder.broken().expect("broken"));
            prop_assert!(kept <= capacity && capacity < broken, "{} in {}..{}", capacity, kept, broken);
            prop_assert!(broken / kept <= PRECISION);
        }
    }
}
