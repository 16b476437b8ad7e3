//! When the service notices, how long it waits, and when it is itself again.

use super::{Case, Expectation, Phases, Scope, known, nanos, text};
use crate::insight::timeout::Waiting;
use crate::insight::view::Span;
use crate::insight::{Evidence, MILLISECOND, detection, millis, recovery, seconds, timeout};
use crate::measure::trace::Outcome;
use crate::verify::verdict::Judgement;
use std::time::Duration;

/// A timer may fire so much later than it is set to, as a factor,
const LATE_TIMER: f64 = 1.15;

/// and by so much, where it is set to little (nanoseconds).
const SLACK: u64 = 15 * MILLISECOND;

/// A timeout that is set to the limit is measured a little above it: by so much (nanoseconds),
const JUST_ABOVE: u64 = 5 * MILLISECOND;

/// or by such a share, whichever is more.
const SHARE_ABOVE: f64 = 0.005;

/// Requests that a verdict about degrading needs.
const LEAST: usize = 30;

/// The first reaction comes in time.
#[derive(Debug)]
pub(crate) struct Detects(pub(crate) Duration);

/// It is itself again in time.
#[derive(Debug)]
pub(crate) struct Recovers {
    pub(crate) within: Duration,
    pub(crate) stable: Duration,
}

/// It waits no longer than this.
#[derive(Debug)]
pub(crate) struct TimesOut(pub(crate) Duration);

/// Every request of the API is answered meanwhile, and none with 500.
#[derive(Debug)]
pub(crate) struct Degrades;

impl Expectation for Detects {
    fn target(&self) -> String {
        format!("detects <= {}", text(self.0))
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        Some((Phases::Fault, self.0))
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let finding = detection::infer(&case.view, proxy);
        let limit = self.0.as_secs_f64();
        match finding.answer {
            Ok(found) => {
                let mut evidence = finding.evidence;
                evidence.figure("slowest_seconds", found.slowest_seconds);
                let why = format!("the first reaction came after {:.2} s", found.first_seconds);
                let measured = format!("{:.3}s", found.first_seconds);
                Judgement::of(found.first_seconds <= limit, measured, why, evidence)
            }
            Err(unknown) => {
                let evidence = finding.evidence;
                match evidence.figures.get(detection::LONGEST_HELD).copied() {
                    // Nothing came, and who waited so long could have done something.
                    Some(held) if held >= limit => {
                        let why =
                            format!("no reaction while the fault held a request for {held:.1} s");
                        Judgement::fail(format!("> {held:.1}s"), why, evidence)
                    }
                    Some(held) => Judgement::inconclusive(
                        format!(
                            "no request was held as long as {}, {held:.2} s at most, and nothing that the service did was a reaction",
                            text(self.0)
                        ),
                        "a fault that holds requests longer than the client's timeout",
                        evidence,
                    ),
                    None => Judgement::unknown(&unknown, evidence),
                }
            }
        }
    }
}

impl Expectation for Recovers {
    fn target(&self) -> String {
        format!("recovers <= {}", text(self.within))
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        Some((Phases::After, self.within + self.stable))
    }

    fn requests(&self) -> Vec<(Phases, u64)> {
        vec![(Phases::Before, recovery::LEAST as u64)]
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let finding = recovery::infer(&case.view, proxy, nanos(self.stable));
        let limit = self.within.as_secs_f64();
        let at_least = finding.evidence.figures.get(recovery::SECONDS_AT_LEAST);
        let in_doubt = at_least.is_some_and(|seconds| *seconds <= limit);
        match finding.answer {
            Ok(found) if found.seconds > limit && in_doubt => Judgement::inconclusive(
                format!(
                    "it was stable {:.2} s after the fault; until then it was slower by no more than the proxy itself was late",
                    found.seconds
                ),
                "less at once on this machine",
                finding.evidence,
            ),
            Ok(found) => {
                let mut evidence = finding.evidence;
                if let Some(first) = found.first_success_seconds {
                    evidence.figure("first_success_seconds", first);
                }
                let why = format!(
                    "it was stable {:.2} s after the fault; a breaker that stays open longer makes that its least",
                    found.seconds
                );
                let measured = format!("{:.3}s", found.seconds);
                Judgement::of(found.seconds <= limit, measured, why, evidence)
            }
            Err(unknown) => {
                let left = case
                    .view
                    .affected(proxy)
                    .map_or(0, |span| case.view.asked_to.saturating_sub(span.to));
                let asked = finding
                    .evidence
                    .figures
                    .contains_key(recovery::ASKED_AT_END);
                if asked && !in_doubt && left >= nanos(self.within + self.stable) {
                    let why = format!(
                        "it was never itself again in {:.1} s: {}",
                        seconds(left),
                        unknown.reason
                    );
                    let measured = format!("> {:.1}s", seconds(left));
                    return Judgement::fail(measured, why, finding.evidence);
                }
                Judgement::unknown(&unknown, finding.evidence)
            }
        }
    }
}

impl Expectation for TimesOut {
    fn target(&self) -> String {
        format!("timeout <= {}", text(self.0))
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        Some((Phases::Fault, self.0))
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let finding = timeout::infer(&case.view, proxy);
        let limit = self.0.as_secs_f64() * 1000.0;
        // Timers fire late: so much may a setting at the limit look like.
        let allowed = limit * LATE_TIMER + millis(SLACK + case.view.usually_late());
        let longest = finding.evidence.figures.get(timeout::LONGEST_WAIT);
        let longest = longest.copied().filter(|ms| *ms > allowed);
        let given_up = matches!(finding.value(), Some(Waiting::GivesUp(_)) | None);
        if let Some(ms) = longest.filter(|_| given_up) {
            let why = format!("a request was waited for {ms:.0} ms");
            return Judgement::fail(format!("{ms:.0}ms"), why, finding.evidence);
        }
        let (waiting, evidence) = match known(finding) {
            Ok(known) => known,
            Err(judgement) => return *judgement,
        };
        match waiting {
            Waiting::GivesUp(found) => {
                // Timers fire late, never early.
                let above = millis(JUST_ABOVE).max(limit * SHARE_ABOVE);
                let most = found.also_ms.iter().copied().fold(found.ms, f64::max);
                let holds = most <= limit + above;
                let mut evidence = evidence;
                if holds && most > limit {
                    evidence.note(format!(
                        "{most:.1} ms was measured, and may be a setting of {limit:.0} ms: timers fire late, by {above:.0} ms and more"
                    ));
                }
                let why = format!(
                    "it waits {:.0} ms, {:.0} ms at most",
                    found.ms, found.longest_ms
                );
                Judgement::of(holds, format!("{:.0}ms", found.ms), why, evidence)
            }
            Waiting::Without { longest_ms } if longest_ms > limit => {
                let why = format!("it never gave up, and waited {longest_ms:.0} ms");
                Judgement::fail(format!("> {longest_ms:.0}ms"), why, evidence)
            }
            Waiting::Without { longest_ms } => Judgement::inconclusive(
                format!("requests hung for {longest_ms:.0} ms at most, and it had not given up"),
                "a fault that makes requests hang longer than the limit (`stall`)",
                evidence,
            ),
        }
    }
}

impl Expectation for Degrades {
    fn target(&self) -> String {
        "degrades: every request answered, none with 500".into()
    }

    fn requests(&self) -> Vec<(Phases, u64)> {
        vec![(Phases::Disturbed, LEAST as u64)]
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let mut evidence = Evidence::default();
        let Some(Span { from, to }) = case.view.disturbed(proxy) else {
            return Judgement::inconclusive(
                "no fault touched a request to this dependency",
                "let the fault match what the service asks, and the phase last long enough for it",
                evidence,
            );
        };
        let names = &case.view.trace.names;
        let (mut hung, mut crashed) = (0_u64, 0_u64);
        for seen in case.view.api_requests() {
            let attempt = seen.attempt;
            if attempt.begun >= to || attempt.ended < from || attempt.fault.is_some() {
                continue;
            }
            let answered = attempt.outcome.is_answered();
            let is_500 = names.get(attempt.status) == "500";
            let ours = matches!(attempt.outcome, Outcome::Cut);
            hung += u64::from(!answered && !ours);
            crashed += u64::from(is_500);
            if is_500 || !answered {
                evidence.example(attempt.ended, seen.record);
            } else {
                evidence.observe(attempt.ended);
            }
        }
        // Who got no connection got no answer.
        let api = case.view.api.map(|api| case.view.passed(api));
        let unreached = api.map_or(0, |api| api.unreached_in(Span { from, to })) as u64;
        hung += unreached;
        evidence.samples += unreached;
        evidence.figure("unreached", unreached as f64);
        evidence.figure("unanswered", hung as f64);
        evidence.figure("status_500", crashed as f64);
        let all = evidence.samples;
        if hung + crashed > 0 {
            let why = format!(
                "of {all} requests {hung} had no answer, and {crashed} were answered with 500"
            );
            return Judgement::fail(format!("{} of {all}", hung + crashed), why, evidence);
        }
        if (all as usize) < LEAST {
            return Judgement::inconclusive(
                format!("{all} requests to the API meanwhile; {LEAST} are needed"),
                "a longer fault phase or more load on the API",
                evidence,
            );
        }
        Judgement::pass(format!("{all} answered"), evidence)
    }
}
