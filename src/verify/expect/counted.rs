//! What counts in which phase.
//!
//! A request of our own load counts where it was due, an exchange on a proxy where it began, whatever became of it and whenever that
//! was. What is under way when a fault comes is hit by it all the same: it counts in the phase of the fault, unless it hung before.
//! Only what succeeds a second is counted by when the answers came.

use super::{Answered, Case, Scope};
use crate::insight::sample::Sample;
use crate::insight::view::{Seen, Span};
use crate::measure::trace::{Attempt, Name, Record};

/// One answer that took very long says nothing of the others.
const NEARLY_ALL: f64 = 0.99;

/// The phases of faults, and what was usual without.
struct Faults {
    phases: Vec<Span>,
    /// What is out for no longer does not hang: twice what nearly all answers took outside of them, in nanoseconds.
    usual: u64,
}

impl Faults {
    /// `answered`: from when to when answers were waited for.
    fn new(case: &Case<'_>, answered: impl Iterator<Item = (u64, u64)>) -> Self {
        let names = &case.view.trace.names;
        let phases = case.view.phases.iter();
        let phases = phases.filter(|(name, _)| case.is_fault_phase(names.get(*name)));
        let phases: Vec<Span> = phases.map(|(_, span)| *span).collect();
        let apart = |from, to| phases.iter().all(|p| to < p.from || p.to <= from);
        let usual = answered.filter(|(from, to)| apart(*from, *to));
        let usual: Sample = usual.map(|(from, to)| to.saturating_sub(from)).collect();
        let usual = usual.quantile(NEARLY_ALL).unwrap_or(0).saturating_mul(2);
        Self { phases, usual }
    }

    /// The phase that began while something was under way.
    fn entered(&self, from: u64, to: u64) -> Option<u64> {
        let mut begins = self.phases.iter().map(|phase| phase.from);
        begins.find(|begin| from < *begin && *begin <= to)
    }

    /// The moment by which it counts: that at which it began, but where a fault hit it on its way.
    fn moment(&self, from: u64, to: u64) -> u64 {
        let entered = self.entered(from, to);
        let entered = entered.filter(|begin| begin - from <= self.usual);
        entered.unwrap_or(from)
    }

    /// The same of an exchange, of which it is known whether a fault touched it.
    fn moment_of(&self, attempt: &Attempt) -> u64 {
        let (from, to) = (attempt.begun, attempt.ended);
        if attempt.fault.is_some() {
            return self.entered(from, to).unwrap_or(from);
        }
        self.moment(from, to)
    }
}

impl<'t> Case<'t> {
    /// Exchanges of the scope's proxy and operation in its phases, by when they began.
    pub(super) fn exchanges(&self, scope: &Scope) -> Vec<Seen<'t>> {
        let Ok(proxy) = self.proxy(scope) else {
            return Vec::new();
        };
        let spans = self.spans(scope);
        let work = &self.view.passed(proxy).work;
        let answered = work.iter().map(|seen| seen.attempt);
        let answered = answered.filter(|a| a.outcome.is_answered() && a.fault.is_none());
        let faults = Faults::new(self, answered.map(|a| (a.begun, a.ended)));
        let counted = work.iter().filter(|seen| {
            let moment = faults.moment_of(seen.attempt);
            self.is_of(scope, seen.attempt.operation)
                && spans.iter().any(|span| span.contains(moment))
        });
        counted.copied().collect()
    }

    /// Successes of the scope's lane, or of its proxy, whose answers came in its phases.
    pub(super) fn succeeded(&self, scope: &Scope) -> u64 {
        let spans = self.spans(scope);
        let came = |at: u64| spans.iter().any(|span| span.contains(at));
        let count = if scope.lane.is_some() {
            let calls = self.calls_of(scope).into_iter();
            calls.filter(|(_, call)| call.ok && came(call.at)).count()
        } else if let Ok(proxy) = self.proxy(scope) {
            let passed = self.view.passed(proxy);
            let answered = passed.work.iter().filter(|seen| {
                let attempt = seen.attempt;
                attempt.outcome.is_answered() && came(attempt.ended) && !passed.fails(seen)
            });
            let answered = answered.filter(|seen| self.is_of(scope, seen.attempt.operation));
            answered.count()
        } else {
            0
        };
        count as u64
    }

    /// Requests of the scope's lane that were due in its phases and not sent.
    pub(super) fn unsent(&self, scope: &Scope) -> u64 {
        let lapses = scope.lane.as_ref().and_then(|lane| self.lapses.get(lane));
        lapses.map_or(0, |lapses| lapses.unsent(&self.spans(scope)))
    }

    /// Whether the scope is about this operation.
    fn is_of(&self, scope: &Scope, operation: Name) -> bool {
        let name = self.view.trace.names.get(operation);
        let wanted = scope.operation.as_ref();
        wanted.is_none_or(|wanted| name.eq_ignore_ascii_case(wanted))
    }

    /// Calls of the scope's lane in its phases, by when they were due: latency from then, and success.
    pub(super) fn calls(&self, scope: &Scope) -> Vec<Answered> {
        let spans = self.spans(scope);
        let all = self.calls_of(scope);
        let answered = all.iter().filter(|(_, call)| call.ok);
        let faults = Faults::new(self, answered.map(|(due, call)| (*due, call.at)));
        let counted = all.into_iter().filter(|(due, call)| {
            let moment = faults.moment(*due, call.at);
            spans.iter().any(|span| span.contains(moment))
        });
        counted.map(|(_, call)| call).collect()
    }

    /// All calls of the scope's lane and operation, by when they were due.
    fn calls_of(&self, scope: &Scope) -> Vec<(u64, Answered)> {
        let names = &self.view.trace.names;
        let wanted = scope.lane.as_deref().and_then(|lane| names.find(lane));
        let records = self.view.trace.records.iter().enumerate();
        let calls = records.filter_map(|(record, r)| match *r {
            Record::Call {
                at,
                lane,
                intended,
                sent,
                ok,
                request,
                ..
            } if Some(lane) == wanted && self.is_of(scope, request) => {
                let latency = at.saturating_sub(intended);
                let answered = Answered {
                    record,
                    at,
                    latency,
                    late: sent.saturating_sub(intended),
                    ok,
                };
                Some((intended, answered))
            }
            _ => None,
        });
        calls.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::missed::{begun, case, of, phase};
    use super::*;
    use crate::insight::SECOND;
    use crate::insight::simulation::{CACHE, MS, Service};
    use crate::insight::view::NO_PHASE;
    use crate::measure::trace::{Outcome, Trace};

    const FAULT: u64 = 1_000 * MS;

    /// A call every 10 ms that takes 1 ms, and a fault phase from the first second to the second.
    fn calls(odd: &[(u64, u64)]) -> Trace {
        let mut trace = Trace::new(Service::default().run().header);
        for (at, name) in [(0, "before"), (FAULT, "f1"), (2 * FAULT, "after")] {
            phase(&mut trace, at, name);
        }
        let usual = (0..300).map(|n| (n * 10 * MS, n * 10 * MS + MS, true));
        let odd = odd.iter().map(|(due, at)| (*due, *at, false));
        let (lane, ok, closed) = ["load", "ok", "closed"]
            .map(|n| trace.names.intern(n))
            .into();
        for (due, at, good) in usual.chain(odd) {
            trace.records.push(Record::Call {
                at,
                lane,
                request: lane,
                intended: due,
                sent: due,
                ok: good,
                status: if good { ok } else { closed },
            });
        }
        trace.sort();
        trace
    }

    fn failed(trace: &Trace, phase: &str) -> usize {
        let scope = Scope {
            lane: Some("load".into()),
            phases: vec![phase.into()],
            ..Scope::default()
        };
        let calls = case(trace).calls(&scope);
        calls.iter().filter(|call| !call.ok).count()
    }

    #[test]
    fn what_a_fault_hits_on_its_way_counts_in_its_phase() {
        let trace = calls(&[(FAULT - MS / 2, FAULT + MS)]);
        assert_eq!((failed(&trace, "before"), failed(&trace, "f1")), (0, 1));
    }

    #[test]
    fn what_hung_before_the_fault_counts_where_it_was_due() {
        let trace = calls(&[(FAULT - 500 * MS, FAULT + MS)]);
        assert_eq!((failed(&trace, "before"), failed(&trace, "f1")), (1, 0));
        // One answer that took very long makes nothing of this usual.
        let mut trace = trace;
        if let Some(Record::Call { at, .. }) = trace.records.first_mut() {
            *at += 600 * MS;
        }
        trace.sort();
        assert_eq!((failed(&trace, "before"), failed(&trace, "f1")), (1, 0));
    }

    #[test]
    fn what_fails_after_the_fault_counts_where_it_was_due() {
        let trace = calls(&[
            (2 * FAULT - MS / 2, 2 * FAULT + MS),
            (2 * FAULT, 2 * FAULT + 2 * MS),
        ]);
        assert_eq!((failed(&trace, "f1"), failed(&trace, "after")), (1, 1));
    }

    #[test]
    fn an_exchange_that_a_fault_touched_is_of_the_fault() {
        let service = Service::default();
        let (on, off) = service.fault;
        let mut trace = service.run();
        for (at, name) in [(0, "before"), (on, "f1"), (off, "after")] {
            phase(&mut trace, at, name);
        }
        let fault = trace.names.intern("loss");
        let count = |trace: &Trace, phase: &str| {
            let scope = Scope {
                phases: vec![phase.into()],
                ..of("cache")
            };
            case(trace).exchanges(&scope).len()
        };
        let usual = ["before", "f1", "after"].map(|phase| count(&trace, phase));
        // One that was asked long before and whose reply is lost; one whose late reply comes when the fault is off.
        let mut before = begun(&mut trace, CACHE, 0, on);
        let last = before.last_mut().expect("one before the fault");
        (last.outcome, last.ended, last.fault) = (Outcome::Cut, on + MS, Some(fault));
        let mut meanwhile = begun(&mut trace, CACHE, on, off);
        let last = meanwhile.last_mut().expect("one in the fault");
        (last.outcome, last.ended, last.fault) = (Outcome::Ok, off + MS, Some(fault));
        trace.sort();
        let now = ["before", "f1", "after"].map(|phase| count(&trace, phase));
        assert_eq!(now, [usual[0] - 1, usual[1] + 1, usual[2]]);
    }

    #[test]
    fn what_is_answered_late_counts_where_it_was_asked() {
        let service = Service::default();
        let (on, off) = service.fault;
        let mut trace = service.run();
        for (at, name) in [
            (0, "before"),
            (on, "f1"),
            (off, "after"),
            (service.end, NO_PHASE),
        ] {
            phase(&mut trace, at, name);
        }
        let scope = |phase: &str| Scope {
            phases: vec![phase.into()],
            ..of("cache")
        };
        let asked =
            |trace: &Trace| ["f1", "after"].map(|phase| case(trace).exchanges(&scope(phase)).len());
        let came =
            |trace: &Trace| ["f1", "after"].map(|phase| case(trace).succeeded(&scope(phase)));
        let (usual, usually_came) = (asked(&trace), came(&trace));
        // No fault touched the one in the fault phase; the other is the last that was asked.
        for (from, to) in [(on, off), (off, service.end)] {
            let mut all = begun(&mut trace, CACHE, from, to);
            let last = all.last_mut().expect("one in each phase");
            (last.outcome, last.ended, last.fault) = (Outcome::Ok, to + SECOND, None);
        }
        trace.sort();
        assert_eq!(asked(&trace), usual);
        // That of the fault phase came in the next instead, where one of its own is missing now.
        assert_eq!(came(&trace), usually_came);
    }
}
