//! What the faults of a test did: one that did nothing proves nothing.

use super::document::Row;
use super::plan::Test;
use super::verdict::Judgement;
use super::written::{Kind, OnInconclusive, Severity};
use crate::fault::spec::ActionKind;
use crate::fault::store::Listed;
use crate::insight::Evidence;
use std::collections::BTreeMap;

/// What one fault did, over all phases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acted {
    name: String,
    matched: u64,
    injected: u64,
    skipped: BTreeMap<String, u64>,
}

impl Acted {
    /// A fault that was switched on.
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What it did until it was switched off.
    pub(super) fn add(&mut self, listed: &Listed) {
        self.matched += listed.matched;
        self.injected += listed.injected;
        for (reason, count) in &listed.skipped_by_reason {
            *self.skipped.entry(reason.clone()).or_default() += count;
        }
    }

    fn nothing(&self) -> Judgement {
        let mut evidence = Evidence {
            samples: self.matched,
            ..Evidence::default()
        };
        evidence.figure("matched", self.matched as f64);
        let skipped: Vec<String> = self
            .skipped
            .iter()
            .map(|(why, n)| format!("{n}: {why}"))
            .collect();
        let (reason, remedy) = if skipped.is_empty() {
            (
                "it touched nothing while it was on".to_owned(),
                "let its `match` and gates fit what is asked (`brownout profile explain` says why an exchange is not hit)",
            )
        } else {
            (
                format!("it could be done nowhere ({})", skipped.join("; ")),
                "let it match exchanges on which it can act (docs/faults.md says in which state each can)",
            )
        };
        let mut judgement = Judgement::inconclusive(reason, remedy, evidence);
        judgement.measured = format!("0 of {}", self.matched);
        judgement
    }
}

/// A row for each fault that did nothing: whatever was expected, it was not tried.
pub(super) fn idle(test: &Test, acted: &[Acted]) -> Vec<Row> {
    let phases = test.phases.iter().filter(|p| p.kind == Kind::Fault);
    let phases: Vec<String> = phases.map(|p| p.name.clone()).collect();
    let faults = test.faults.iter().zip(acted).enumerate();
    let idle = faults.filter(|(_, (fault, acted))| {
        // Where nothing listens, nobody is counted.
        acted.injected == 0 && fault.spec().action != ActionKind::Refuse
    });
    let row = |(at, (_, acted)): (usize, (_, &Acted))| {
        let judgement = acted.nothing();
        Row {
            component: format!("fault {}", acted.name),
            field: format!("fault[{at}]"),
            place: None,
            phases: phases.clone(),
            target: "touches something".into(),
            measured: judgement.measured,
            samples: judgement.evidence.samples,
            verdict: judgement.verdict,
            on_inconclusive: OnInconclusive::Warn,
            severity: Severity::Limit,
            evidence: judgement.evidence,
        }
    };
    idle.map(row).collect()
}
