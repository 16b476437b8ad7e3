//! What the service leaves behind, where the damage goes, and how it retries.

use super::{Case, Expectation, Phases, Scope, known};
use crate::insight::sample::needed;
use crate::insight::{cleanup, containment, retries};
use crate::verify::verdict::Judgement;
use std::time::Duration;

/// It leaves no connection and no transaction behind.
#[derive(Debug)]
pub(crate) struct CleansUp;

/// What the fault is not about stays as it was.
#[derive(Debug)]
pub(crate) struct Contained;

/// Retries of one call have a limit.
#[derive(Debug)]
pub(crate) struct Retries(pub(crate) u64);

/// Attempts a request, over those of the baseline, have a limit.
#[derive(Debug)]
pub(crate) struct Amplification(pub(crate) f64);

/// The answer of an inference about the scope's proxy.
macro_rules! infer {
    ($case:expr, $scope:expr, $infer:path) => {{
        let found = $case
            .proxy($scope)
            .and_then(|proxy| known($infer(&$case.view, proxy)));
        match found {
            Ok(found) => found,
            Err(judgement) => return *judgement,
        }
    }};
}

impl Expectation for CleansUp {
    fn target(&self) -> String {
        "cleans up".into()
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        Some((Phases::After, Duration::from_nanos(cleanup::SETTLE)))
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let (left, mut evidence) = infer!(case, scope, cleanup::infer);
        evidence.figure("extra_connections", left.extra_connections as f64);
        evidence.figure("stuck_connections", left.stuck_connections as f64);
        evidence.figure("forgotten_transactions", left.forgotten_transactions as f64);
        let why = format!(
            "it left {} connections more than before ({} to {}), {} stuck ones and {} open transactions",
            left.extra_connections,
            left.connections_before,
            left.connections_after,
            left.stuck_connections,
            left.forgotten_transactions
        );
        let count = left.extra_connections + left.stuck_connections + left.forgotten_transactions;
        let measured = format!("{count} left");
        let kept = left.stuck_connections + left.forgotten_transactions;
        if kept == 0 && left.extra_connections > 0 && !left.extra_is_certain {
            let mut judgement = Judgement::inconclusive(
                format!("{why}; a pool may have grown, and its size is not known"),
                "say how many connections the pool may have (`pool` of the proxy), or let the fault come twice: what leaks grows each time",
                evidence,
            );
            judgement.measured = measured;
            return judgement;
        }
        Judgement::of(left.is_clean(), measured, why, evidence)
    }
}

impl Expectation for Contained {
    fn target(&self) -> String {
        "contained".into()
    }

    fn requests(&self) -> Vec<(Phases, u64)> {
        // Of a route that does without the dependency: at most all are.
        let least = needed(0.95);
        vec![(Phases::Before, least), (Phases::Disturbed, least)]
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let (found, evidence) = infer!(case, scope, containment::infer);
        let suffered: Vec<&str> = found
            .routes
            .iter()
            .filter(|r| r.suffered && r.needs_it != Some(true) && !r.hit_otherwise)
            .map(|r| r.route.as_str())
            .collect();
        let why = format!(
            "it spread: {}",
            match (suffered.is_empty(), found.unreached) {
                (false, _) => suffered.join(", "),
                (true, 0) => "to other dependencies".to_owned(),
                (true, n) => format!("the service itself could not be reached {n} times"),
            }
        );
        let measured = format!("{} routes", found.routes.len());
        Judgement::of(found.contained, measured, why, evidence)
    }
}

impl Expectation for Retries {
    fn target(&self) -> String {
        format!("retries <= {}", self.0)
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let (found, evidence) = infer!(case, scope, retries::infer);
        let (low, high) = (found.most_attempts.low, found.most_attempts.high);
        let allowed = self.0.saturating_add(1);
        let measured = format!("{} to {}", low.saturating_sub(1), high.saturating_sub(1));
        if low <= allowed && high > allowed {
            let mut judgement = Judgement::inconclusive(
                format!(
                    "one call made {low} to {high} attempts: callers that ask the same cannot be told apart"
                ),
                "a lane of load with callers = 1, and none beside it",
                evidence,
            );
            judgement.measured = measured;
            return judgement;
        }
        let why = format!("one call made {low} attempts at least");
        Judgement::of(high <= allowed, measured, why, evidence)
    }
}

impl Expectation for Amplification {
    fn target(&self) -> String {
        format!("amplification <= {}", self.0)
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let (found, mut evidence) = infer!(case, scope, retries::infer);
        let Some(amplification) = found.amplification else {
            return Judgement::inconclusive(
                "what a request asks for normally is not known",
                "a longer baseline phase, with the service's own API behind a proxy",
                evidence,
            );
        };
        evidence.figure("amplification", amplification);
        if let Some(peak) = found.peak_amplification {
            evidence.figure("peak_amplification", peak);
        }
        let why = format!("{amplification:.2} attempts came for each that comes normally");
        let measured = format!("{amplification:.2}");
        Judgement::of(amplification <= self.0, measured, why, evidence)
    }
}
