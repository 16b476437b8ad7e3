//! After how many failures in a row it opened: those that the client knew of when it made its last call, and those that it can have
//! known of when it first made none.

use super::super::calls::Call;
use super::super::finding::{Evidence, Finding, Interval};
use super::super::sample::Sample;
use super::super::view::Span;
use super::closed::{longest_run, most_in_flight};
use super::turns::Turns;
use super::{LAG, Open};
use crate::measure::trace::CloseSide;

impl Open<'_, '_> {
    /// The failures in a row after which it opened.
    pub(super) fn threshold(&self) -> Finding<Interval<u64>> {
        let mut evidence = Evidence::default();
        let question = self.question;
        let joined = self.failures(&question.calls(question.joined), &mut evidence);
        let apart = self.failures(&question.calls(question.apart), &mut Evidence::default());
        let (Some(joined), Some(apart)) = (joined, apart) else {
            return Finding::unknown(
                "no failed call came before the calls ceased",
                "let the fault touch the calls of this service",
                evidence,
            );
        };
        let waited = question.joined.tries().iter().filter(|t| t.abandoned);
        let waited: Sample = waited.map(|t| t.end.saturating_sub(t.start)).collect();
        let late = question.view.usually_late();
        if waited.median().is_some_and(|waited| waited < late) {
            return Finding::unknown(
                "the proxy itself was later than the service waits: what it asked first cannot be told",
                "less at once on this machine, or more cores",
                evidence,
            );
        }
        let unasked = self.unasked(&evidence);
        let both = Interval::new(
            joined.low.min(apart.low),
            joined.high.max(apart.high) + unasked,
        );
        if unasked > 0 {
            evidence.note(format!(
                "{unasked} connections were closed before anything was asked on them: the client may count them as failures"
            ));
        }
        if let Some(longer) = self.longer_before(both.high, &evidence) {
            return Finding::unknown(
                format!(
                    "it opened after {} failures in a row at most, and {longer} had not opened it before: it goes by a share of failures, \
                     or by their time",
                    both.high
                ),
                "a fault that touches every call, to see how many it takes then",
                evidence,
            );
        }
        if joined != apart {
            evidence.note(format!(
                "{} attempts may be retries, or other callers who asked for the same",
                question.joined.ambiguous
            ));
        }
        evidence.figure("proxy_late_ms", super::super::millis(self.late));
        evidence.figure("failures_low", both.low as f64);
        evidence.figure("failures_high", both.high as f64);
        let breakers = u64::from(question.group.breakers.unwrap_or(1).max(1));
        if question.group.breakers.is_none() {
            evidence.note(
                "how many breakers share these failures is not known: the least is of all processes together, one alone may take fewer",
            );
        }
        if breakers > 1 {
            evidence.note(format!(
                "{breakers} breakers share these failures: all of them, or one of them alone"
            ));
        }
        // Spread evenly each has seen its part; callers that keep their connections may have met one process only.
        let needed = both.low.saturating_sub(self.beyond(breakers, &evidence));
        let each = Interval::new(needed.div_ceil(breakers).max(1), both.high);
        Finding::known(each, evidence)
    }

    /// Connections among the failures that the client closed before it asked for anything: it may have given up on them.
    fn unasked(&self, evidence: &Evidence) -> u64 {
        let question = self.question;
        let among = Span {
            from: evidence.first.unwrap_or(0),
            to: self.first().span.to,
        };
        let tries = question.joined.tries();
        let mut tried: Vec<u64> = tries.iter().map(|t| t.session).collect();
        tried.sort_unstable();
        let sessions = question.view.passed(question.proxy).sessions.values();
        let given_up = sessions.filter(|s| {
            let by_client = matches!(
                s.closed,
                Some((at, CloseSide::Client | CloseSide::ClientReset)) if among.contains(at)
            );
            let ours = question.group.process.is_none()
                || s.pid.is_none()
                || s.pid == question.group.process;
            by_client && ours && tried.binary_search(&s.session).is_err()
        });
        given_up.count() as u64
    }

    /// A run of failures before the one that opened it, of which each was told from the next, and which was longer than that one.
    fn longer_before(&self, high: u64, evidence: &Evidence) -> Option<u64> {
        if self.question.group.breakers != Some(1) {
            return None;
        }
        let first = evidence.first?;
        let calls = self.question.calls(self.question.joined);
        let before: Vec<Call> = calls
            .into_iter()
            .filter(|c| c.end < first)
            .copied()
            .collect();
        let longest = longest_run(&before, &mut Evidence::default());
        // Of calls that were in flight together the client may have learned in another order.
        let blurred = most_in_flight(&before).saturating_sub(1);
        (longest > high.saturating_add(blurred)).then_some(longest)
    }

    /// Failures that may have come after a breaker had opened already, while the others had not: of calls that were in flight,
    /// or, where that lasted as long as one may stay open, of any number that tried again.
    fn beyond(&self, breakers: u64, evidence: &Evidence) -> u64 {
        if breakers == 1 {
            return 0;
        }
        let run = evidence
            .last
            .unwrap_or(0)
            .saturating_sub(evidence.first.unwrap_or(0));
        let open = self.silences.iter().map(|s| s.span.length()).min();
        if run >= open.unwrap_or(0) {
            return u64::MAX;
        }
        let first = self.first().span.from;
        let calls = self.question.calls(self.question.apart);
        let before: Vec<Call> = calls
            .into_iter()
            .filter(|c| c.start < first)
            .copied()
            .collect();
        most_in_flight(&before).saturating_sub(1)
    }

    /// The failures that had been seen by the client when it made its last call, and those that it can have seen when it first
    /// refused one.
    fn failures(&self, calls: &[&Call], evidence: &mut Evidence) -> Option<Interval<u64>> {
        let silence = self.first();
        let before: Vec<Call> = calls
            .iter()
            .filter(|c| c.start < silence.span.to)
            .map(|c| **c)
            .collect();
        let starts: Vec<u64> = before.iter().map(|c| c.start).collect();
        let last_start = *starts.last()?;
        // Of calls that were in flight together the client may have learned in another order than the wire shows.
        let unordered = if most_in_flight(&before) > 1 {
            self.lag
        } else {
            0
        };
        let success = before.iter().filter(|c| !c.failed).map(|c| c.end).max();
        let turns = self.turns(&starts);
        let in_turn = |then, later| turns.as_ref().is_some_and(|t| t.in_order(then, later));
        let may_follow = |end: u64| success.is_none_or(|s| end + unordered > s && !in_turn(end, s));
        let mut failures: Vec<u64> = before
            .iter()
            .filter(|c| c.failed && may_follow(c.end))
            .map(|c| c.end)
            .collect();
        failures.sort_unstable();
        for at in &failures {
            evidence.observe(*at);
        }
        // ... and another may have begun what is noted just after a failure before it learned of that.
        let begun = if unordered > 0 {
            self.lag + self.late
        } else {
            0
        };
        let opened = self.maybe_earlier(&starts, &failures, begun);
        let opened = opened.unwrap_or(last_start);
        let follows = |end: u64| success.is_none_or(|s| end > s + unordered || in_turn(s, end));
        let known = |end: u64| {
            end < opened.saturating_sub(self.lag)
                // In turns it does not matter how late the proxy is.
                || (end + LAG < opened && in_turn(end, opened))
        };
        let sure = |end: u64| follows(end) && known(end);
        let seen = failures.iter().filter(|end| sure(**end)).count();
        // Processes cannot be told apart by their requests: then every failure before the silence may have been needed.
        let refused = silence
            .first_rejected
            .filter(|_| self.question.group.process.is_none());
        let possible = refused.map_or(failures.len(), |at| {
            failures.partition_point(|c| *c <= at.saturating_add(self.lag))
        });
        if failures.is_empty() {
            return None;
        }
        let low = (seen as u64 + 1).min(failures.len() as u64);
        Some(Interval::new(low, (possible as u64).max(low)))
    }

    /// Whether those who cause calls took turns until it opened. `starts`: of all calls before.
    fn turns(&self, starts: &[u64]) -> Option<Turns> {
        let view = self.question.view;
        let span = Span {
            from: view.baseline.from,
            to: self.first().span.from,
        };
        Turns::of(view, self.demand, starts, span)
    }

    /// The last call before it may have opened unseen, earlier than in the first silence: too few calls were due meanwhile, or
    /// those in flight went on. After a failure no new call began for as long as it may stay open, but for those that had `begun`
    /// so short a time after it. `starts` are in order.
    fn maybe_earlier(&self, starts: &[u64], failures: &[u64], begun: u64) -> Option<u64> {
        let shortest = self.silences.iter().enumerate().map(|(at, silence)| {
            let refused = self.open_time(at, silence).map_or(0, |open| open.low);
            // Seven calls were due in it: that the first came later than after half of them is rare.
            refused.max(silence.span.length() / 2)
        });
        let shortest = shortest.min()?;
        failures.iter().find_map(|failure| {
            let later = starts.partition_point(|start| *start <= failure.saturating_add(begun));
            let idle = starts.get(later)?.saturating_sub(*failure);
            let last = starts
                .partition_point(|start| start <= failure)
                .checked_sub(1)?;
            (idle + self.late + self.lag >= shortest).then(|| starts[last])
        })
    }
}
