//! When a generator did not do what it should have: limits on a phase are not about what happened in another.

use crate::insight::MILLISECOND;
use crate::insight::view::Span;
use std::collections::BTreeMap;

/// Times that are told apart; where there would be more, they become longer.
const MAX_TIMES: usize = 65_536;

/// What was not done, or failed for reasons of our own, by when it was due.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lapses {
    /// Requests that were not sent, because too many were unanswered.
    pub(crate) skipped: Moments,
    /// Of a canary: requests that were not sent, because its last was unanswered.
    pub(crate) passed_over: Moments,
    /// Failures on this machine, before the service.
    pub(crate) own: Moments,
}

impl Lapses {
    /// The same on the clock of a recording that began then.
    pub(super) fn since(&self, began: u64) -> Self {
        let since = |moments: &Moments| Moments {
            began,
            ..moments.clone()
        };
        Self {
            skipped: since(&self.skipped),
            passed_over: since(&self.passed_over),
            own: since(&self.own),
        }
    }

    /// Requests that were due in these times and not sent.
    pub(crate) fn unsent(&self, spans: &[Span]) -> u64 {
        self.skipped.within(spans) + self.passed_over.within(spans)
    }
}

/// How often something was at which time, by times of one length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    /// On the clock on which moments are added, where that begins on which they are asked for.
    began: u64,
    /// Nanoseconds.
    length: u64,
    counts: BTreeMap<u64, u64>,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            began: 0,
            length: MILLISECOND,
            counts: BTreeMap::new(),
        }
    }
}

impl Moments {
    pub(crate) fn add(&mut self, at: u64) {
        *self.counts.entry(at / self.length).or_default() += 1;
        while self.counts.len() > MAX_TIMES {
            self.length *= 2;
            for (place, count) in std::mem::take(&mut self.counts) {
                *self.counts.entry(place / 2).or_default() += count;
            }
        }
    }

    /// How often it was in these times, and may have been.
    pub(crate) fn within(&self, spans: &[Span]) -> u64 {
        let touches = |place: u64| {
            let from = place.saturating_mul(self.length);
            let to = from.saturating_add(self.length).saturating_sub(self.began);
            let from = from.saturating_sub(self.began);
            spans.iter().any(|span| from < span.to && span.from < to)
        };
        let counts = self.counts.iter().filter(|(place, _)| touches(**place));
        counts.map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insight::SECOND;

    fn second(number: u64) -> [Span; 1] {
        let from = number * SECOND;
        let to = from + SECOND;
        [Span { from, to }]
    }

    #[test]
    fn they_are_of_the_time_in_which_they_were() {
        let mut lapses = Lapses::default();
        lapses.skipped.add(7 * SECOND + 3 * MILLISECOND);
        lapses.skipped.add(7 * SECOND + 4 * MILLISECOND);
        lapses.passed_over.add(7 * SECOND + 500 * MILLISECOND);
        let lapses = lapses.since(5 * SECOND);
        assert_eq!([1, 2, 3].map(|n| lapses.unsent(&second(n))), [0, 3, 0]);
        assert_eq!(lapses.skipped.within(&second(2)), 2);
    }

    #[test]
    fn however_many_there_are_they_stay_few_and_none_is_missing() {
        let mut moments = Moments::default();
        let all = 3 * MAX_TIMES as u64;
        (0..all).for_each(|n| moments.add(n * MILLISECOND));
        assert!(moments.counts.len() <= MAX_TIMES);
        let to = u64::MAX;
        assert_eq!(moments.within(&[Span { from: 0, to }]), all);
        assert!((1_000..1_010).contains(&moments.within(&second(100))));
    }
}
