//! Figures of one time: how often, how well, how fast.

use super::sample::Sample;
use super::view::{Passed, Seen, Span};
use crate::measure::trace::Name;

/// What passed in a time.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Exchanges that ended in it.
    pub ended: usize,
    /// Of these, failures.
    pub failed: usize,
    /// Exchanges that began in it.
    pub begun: usize,
    /// Latencies of those that were answered, in nanoseconds.
    pub latency: Sample,
}

impl Window {
    /// The work of a proxy in a time; `of`: only this operation.
    pub fn of(passed: &Passed<'_>, span: Span, of: Option<Name>) -> Self {
        Self::count(passed, span, |seen| {
            of.is_none_or(|operation| seen.attempt.operation == operation)
        })
    }

    /// The work of a proxy in a time, as far as `which` chooses it.
    pub fn count(passed: &Passed<'_>, span: Span, which: impl Fn(&Seen<'_>) -> bool) -> Self {
        let mut latencies = Vec::new();
        let mut window = Self::default();
        let since = passed.first_ended_since(span.from);
        let before = passed.work[since..]
            .iter()
            .take_while(|s| s.attempt.begun < span.to);
        for seen in before {
            let attempt = seen.attempt;
            if !which(seen) {
                continue;
            }
            window.begun += usize::from(span.contains(attempt.begun));
            if span.contains(attempt.ended) {
                window.ended += 1;
                window.failed += usize::from(super::calls::fails(seen));
                if attempt.outcome.is_answered() {
                    latencies.push(attempt.latency());
                }
            }
        }
        window.latency = latencies.into_iter().collect();
        window
    }

    /// Share of failures, 0 to 1; `None` of nothing.
    pub fn error_rate(&self) -> Option<f64> {
        (self.ended > 0).then(|| self.failed as f64 / self.ended as f64)
    }
}
