//! What must not happen to changes: that they are done twice, block each other, or stay open.

use super::{Case, Expectation, Scope, known};
use crate::insight::cleanup::{self, LeftOpen};
use crate::insight::transactions::{self, End};
use crate::insight::{Evidence, duplicates};
use crate::protocol::Class;
use crate::verify::verdict::Judgement;

/// Statements that a verdict about deadlocks needs.
const LEAST: u64 = 30;

/// What the server answers to whom it gives up so that the others can go on.
const DEADLOCK: &str = "40P01";

/// Nothing of which the reply was lost is done twice.
#[derive(Debug)]
pub(crate) struct NoDuplicates;

/// The server reports no deadlock of its own.
#[derive(Debug)]
pub(crate) struct NoDeadlocks;

/// Every transaction is ended, and none is done twice.
#[derive(Debug)]
pub(crate) struct Intact;

impl Expectation for NoDuplicates {
    fn target(&self) -> String {
        "no duplicates".into()
    }

    fn is_about_faults(&self) -> bool {
        true
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let found = case
            .proxy(scope)
            .and_then(|proxy| known(duplicates::infer(&case.view, proxy)));
        let (found, mut evidence) = match found {
            Ok(found) => found,
            Err(judgement) => return *judgement,
        };
        evidence.figure("untold", found.untold as f64);
        evidence.figure("repeated", found.repeated as f64);
        evidence.figure("done_twice", found.done_twice as f64);
        let why = format!(
            "of {} changes whose reply was lost {} were done twice",
            found.untold, found.done_twice
        );
        let measured = format!("{} of {}", found.done_twice, found.untold);
        if found.done_twice == 0 && found.uncertain > 0 {
            return Judgement::inconclusive(
                format!(
                    "{} changes may have been done twice, or two callers wanted the same",
                    found.uncertain
                ),
                "let callers ask for different things, or one at a time",
                evidence,
            );
        }
        Judgement::of(found.done_twice == 0, measured, why, evidence)
    }
}

impl Expectation for NoDeadlocks {
    fn target(&self) -> String {
        "no deadlocks".into()
    }

    fn samples(&self) -> u64 {
        LEAST
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let mut evidence = Evidence::default();
        let (mut deadlocks, mut touched) = (0_u64, 0_u64);
        for seen in case.exchanges(scope) {
            let attempt = seen.attempt;
            let gave_up = case.view.trace.names.get(attempt.status) == DEADLOCK;
            // Also who only locks is given up, as with SELECT ... FOR UPDATE.
            if gave_up && attempt.fault.is_none() {
                deadlocks += 1;
                evidence.example(attempt.ended, seen.record);
            } else if gave_up && attempt.upstream.is_some() {
                touched += 1;
                evidence.example(attempt.ended, seen.record);
            } else if matches!(attempt.class, Class::Write | Class::Transaction) {
                evidence.observe(attempt.ended);
            }
        }
        evidence.figure("deadlocks", deadlocks as f64);
        evidence.figure("deadlocks_touched", touched as f64);
        if deadlocks > 0 {
            let why = format!("the server ended {deadlocks} statements for a deadlock (40P01)");
            return Judgement::fail(deadlocks.to_string(), why, evidence);
        }
        if touched > 0 {
            return Judgement::inconclusive(
                format!(
                    "{touched} statements that the server saw ended for a deadlock (40P01), and a fault touched them: it may have made that answer"
                ),
                "a limit on phases without that fault, or a fault that touches other statements",
                evidence,
            );
        }
        if evidence.samples < LEAST {
            return Judgement::inconclusive(
                format!(
                    "{} statements that change something; {LEAST} are needed",
                    evidence.samples
                ),
                "a longer phase or more writes",
                evidence,
            );
        }
        Judgement::pass("0", evidence)
    }
}

impl Expectation for Intact {
    fn target(&self) -> String {
        "transactions intact".into()
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let mut evidence = Evidence::default();
        let (mut kept, mut undone) = (0_u64, 0_u64);
        for transaction in transactions::of(&case.view, proxy) {
            match transaction.end {
                End::Committed => kept += 1,
                End::RolledBack => undone += 1,
                End::Closed => {
                    undone += 1;
                    continue;
                }
                End::Open => continue,
            }
            evidence.observe(transaction.ended);
        }
        evidence.figure("committed", kept as f64);
        evidence.figure("rolled_back", undone as f64);
        let duplicates = duplicates::infer(&case.view, proxy);
        let twice = duplicates.value().map_or(0, |d| d.done_twice);
        let perhaps = duplicates.value().map_or(0, |d| d.uncertain);
        evidence.figure("done_twice", twice as f64);
        let LeftOpen {
            forgotten,
            idle_at_end,
        } = cleanup::left_open(&case.view, proxy, &mut evidence);
        evidence.figure("forgotten", forgotten as f64);
        evidence.figure("idle_at_end", idle_at_end as f64);
        if twice + forgotten > 0 {
            let why =
                format!("{twice} changes were done twice, {forgotten} transactions were left open");
            return Judgement::fail(format!("{}", twice + forgotten), why, evidence);
        }
        if let Err(unknown) = case.view.complete(proxy) {
            return Judgement::unknown(&unknown, evidence);
        }
        if perhaps > 0 {
            return Judgement::inconclusive(
                format!(
                    "{perhaps} changes may have been done twice, or two callers wanted the same"
                ),
                "let callers ask for different things, or one at a time",
                evidence,
            );
        }
        if idle_at_end > 0 {
            return Judgement::inconclusive(
                format!(
                    "{idle_at_end} transactions were open at the end, and nobody worked in them"
                ),
                "5 s more of the last phase: then it shows whether they are forgotten",
                evidence,
            );
        }
        if kept + undone == 0 {
            return Judgement::inconclusive(
                "no transaction ended",
                "load that makes the service run transactions",
                evidence,
            );
        }
        Judgement::pass(format!("{kept} kept, {undone} undone"), evidence)
    }
}
