//! The document of a suite: every run with its verdicts, evidence, traffic, and what was left out.

use super::again;
use crate::verify::document::{Document, Row};
use crate::verify::verdict::Verdict;
use crate::verify::written::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the document. It rises when something that is there changes its meaning or goes.
pub(crate) const VERSION: u32 = 1;

/// One or more runs of `brownout test`, in their order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Suite {
    /// The version of this form.
    pub(crate) version: u32,
    /// The program that wrote it.
    pub(crate) program: String,
    /// The machine: system, architecture and cores.
    pub(crate) machine: String,
    /// The worst of all runs: `pass`, `fail`, `inconclusive`, or `error` where one could not be run.
    pub(crate) result: String,
    pub(crate) runs: Vec<Document>,
    /// Runs that came to no end, and why.
    pub(crate) errors: Vec<Broken>,
    /// The command that runs all of it again, as bash and zsh read it. `***` stands for a secret. None where it takes several, or
    /// in documents of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<String>,
}

/// A run that gave no verdict.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Broken {
    pub(crate) profile: String,
    pub(crate) why: String,
}

impl Suite {
    pub(crate) fn new(runs: Vec<Document>, errors: Vec<Broken>) -> Self {
        let has = |result: &str| runs.iter().any(|run| run.result == result);
        let result = match () {
            () if !errors.is_empty() => "error",
            () if has("fail") => "fail",
            () if has("inconclusive") => "inconclusive",
            () => "pass",
        };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self {
            version: VERSION,
            program: concat!("brownout ", env!("CARGO_PKG_VERSION")).into(),
            machine: format!(
                "{} {}, {cores} cores",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
            result: result.into(),
            runs,
            errors,
            again: None,
        }
    }

    /// The commands that run it again: one where one does.
    pub(crate) fn commands(&self) -> Vec<String> {
        match &self.again {
            Some(whole) => vec![whole.clone()],
            None => self.runs.iter().map(Document::command).collect(),
        }
    }

    /// What is to be known of them.
    pub(crate) fn of_commands(&self) -> String {
        let commands = self.commands();
        let seeded = commands.iter().any(|command| again::has_seed(command));
        let mut text = "For bash or zsh, in the folder it was run in. ".to_owned();
        text += if seeded {
            "The same seed gives the same faults to the same requests; what variables of the environment said is not in it."
        } else {
            "What variables of the environment said is not in it."
        };
        if commands.iter().any(|command| again::is_masked(command)) {
            text += " Where *** stands, a secret was left out: put it in again.";
        }
        text
    }

    /// Every expectation with its run.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Document, &Row)> {
        let of = |run| -> Box<dyn Iterator<Item = (&Document, &Row)>> {
            let run: &Document = run;
            Box::new(run.expectations.iter().map(move |row| (run, row)))
        };
        self.runs.iter().flat_map(of)
    }

    /// Whether every latency that it counts can be read: a comparison of nothing would find nothing worse.
    ///
    /// # Errors
    /// The operation of which it cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        for run in &self.runs {
            for traffic in &run.traffic {
                let broken = traffic.operations.iter().find(|o| o.latencies().is_none());
                if let Some(broken) = broken {
                    let (profile, proxy) = (&run.profile, &traffic.proxy);
                    return Err(format!(
                        "the histogram of {} in {profile}, {proxy}, {} cannot be read",
                        broken.operation, broken.phase
                    ));
                }
            }
        }
        Ok(())
    }

    /// All of it in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let limits = || {
            self.rows()
                .filter(|(_, row)| row.severity == Severity::Limit)
        };
        let count =
            |which: fn(&Verdict) -> bool| limits().filter(|(_, r)| which(&r.verdict)).count();
        let all = limits().count();
        let failed = count(|v| matches!(v, Verdict::Fail { .. }));
        let open = count(|v| matches!(v, Verdict::Inconclusive { .. }));
        let raised = self
            .rows()
            .filter(|(_, row)| row.severity == Severity::Alert)
            .filter(|(_, row)| matches!(row.verdict, Verdict::Fail { .. }))
            .count();
        let mut sentence = match (failed, open) {
            (0, 0) if limits().all(|(_, r)| r.verdict == Verdict::Pass) => {
                format!("All {all} expectations were met")
            }
            (0, 0) => format!("None of {all} expectations failed"),
            (0, open) => {
                format!("None of {all} expectations failed, and {open} could not be judged")
            }
            (failed, 0) => format!("{failed} of {all} expectations failed"),
            (failed, open) => {
                format!("{failed} of {all} expectations failed, and {open} could not be judged")
            }
        };
        if raised > 0 {
            let (noun, verb) = if raised == 1 {
                ("alert", "was")
            } else {
                ("alerts", "were")
            };
            sentence += &format!("; {raised} {noun} {verb} raised");
        }
        let broken = self
            .rows()
            .filter(|(_, row)| matches!(row.verdict, Verdict::Error { .. }))
            .count();
        if broken > 0 {
            sentence += &format!("; of {broken} nothing is known, since the test itself broke");
        }
        if !self.errors.is_empty() {
            let count = self.errors.len();
            let noun = if count == 1 { "part" } else { "parts" };
            sentence += &format!("; {count} {noun} could not be run");
        }
        sentence + "."
    }
}
