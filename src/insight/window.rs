//! Figures of one time: how often, how well, how fast.

use super::sample::Sample;
use super::view::{Passed, Seen, Span};
use crate::measure::trace::Name;

/// What passed in a time.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Exchanges that ended in it; and those that began in it and failed later, for a hang ends where nobody looks any more.
    pub ended: usize,
    /// Of these, failures. Connections whose upstream was never reached are such, where no operation is chosen.
    pub failed: usize,
    /// Exchanges that began in it, and such connections.
    pub begun: usize,
    /// Latencies of those that were answered, in nanoseconds.
    pub latency: Sample,
}

impl Window {
    /// The work of a proxy in a time; `of`: only this operation.
    pub fn of(passed: &Passed<'_>, span: Span, of: Option<Name>) -> Self {
        match of {
            Some(operation) => Self::answers(passed, span, |s| s.attempt.operation == operation),
            None => Self::count(passed, span, |_| true),
        }
    }

    /// The work of a proxy in a time, as far as `which` chooses it.
    pub fn count(passed: &Passed<'_>, span: Span, which: impl Fn(&Seen<'_>) -> bool) -> Self {
        let mut window = Self::answers(passed, span, which);
        let unreached = passed.unreached_in(span);
        window.begun += unreached;
        window.ended += unreached;
        window.failed += unreached;
        window
    }

    /// The same without connections whose upstream was never reached: whose they were is not known.
    pub fn answers(passed: &Passed<'_>, span: Span, which: impl Fn(&Seen<'_>) -> bool) -> Self {
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
            let begun = span.contains(attempt.begun);
            window.begun += usize::from(begun);
            let failed = passed.fails(seen);
            if span.contains(attempt.ended) || (begun && failed) {
                window.ended += 1;
                window.failed += usize::from(failed);
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
