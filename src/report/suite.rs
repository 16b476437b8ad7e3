//! The document of a suite: every run with its verdicts, evidence, traffic, and what was left out.

use super::again;
use crate::verify::document::{Document, Row};
use crate::verify::verdict::{Counts, Standing, Verdict};
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
    /// The gravest of all runs; `error` where one could not be run.
    pub(crate) result: Counts,
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

/// A part that did not come to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unfinished<'s> {
    pub(crate) profile: &'s str,
    pub(crate) standing: Standing,
    pub(crate) what: &'static str,
    pub(crate) why: &'s str,
}

/// What a suite comes to: nothing hides what could not be run, nor that the test itself broke.
pub(super) fn gravest(runs: &[Document], errors: &[Broken]) -> Counts {
    if !errors.is_empty() {
        return Counts::Broken;
    }
    let results = runs.iter().map(|run| run.result);
    results.max().unwrap_or(Counts::Passed)
}

impl Suite {
    pub(crate) fn new(runs: Vec<Document>, errors: Vec<Broken>) -> Self {
        let result = gravest(&runs, &errors);
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self {
            version: VERSION,
            program: concat!("brownout ", env!("CARGO_PKG_VERSION")).into(),
            machine: format!(
                "{} {}, {cores} cores",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
            result,
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

    /// Of each part the command that runs it alone, where another runs all.
    pub(crate) fn commands_of_parts(&self) -> Vec<String> {
        let several = self.runs.len() > 1 && self.runs.iter().all(|run| run.again.is_some());
        if self.again.is_none() || !several {
            return Vec::new();
        }
        self.runs.iter().map(Document::command).collect()
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

    /// Parts that did not come to their end: ended by a guard, or not run at all. An expectation says nothing of it.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = Unfinished<'_>> {
        let stopped = self.runs.iter().filter_map(|run| {
            Some(Unfinished {
                profile: &run.profile,
                standing: Standing::Failed,
                what: "stopped early",
                why: run.stopped.as_deref()?,
            })
        });
        stopped.chain(self.errors.iter().map(|broken| Unfinished {
            profile: &broken.profile,
            standing: Standing::Broken,
            what: "could not be run",
            why: &broken.why,
        }))
    }

    /// All of it in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let mut clauses = vec![Judged::of(self).words()];
        let count = |standing| {
            self.rows()
                .filter(|(_, r)| r.standing() == standing)
                .count()
        };
        match count(Standing::Raised) {
            0 => {}
            1 => clauses.push("1 alert was raised".into()),
            raised => clauses.push(format!("{raised} alerts were raised")),
        }
        match count(Standing::Broken) {
            0 => {}
            broken => clauses.push(format!(
                "of {broken} nothing is known, since the test itself broke"
            )),
        }
        for what in ["stopped early", "could not be run"] {
            match (
                self.unfinished().filter(|part| part.what == what).count(),
                what,
            ) {
                (0, _) => {}
                (1, "stopped early") => clauses.push("1 part was stopped early".into()),
                (n, "stopped early") => clauses.push(format!("{n} parts were stopped early")),
                (1, what) => clauses.push(format!("1 part {what}")),
                (n, what) => clauses.push(format!("{n} parts {what}")),
            }
        }
        clauses.join("; ") + "."
    }
}

/// Limits that were looked at: all but those of which nothing is known.
struct Judged {
    all: usize,
    failed: usize,
    /// Of the failed, those that only could not be judged.
    undecided: usize,
    open: usize,
}

impl Judged {
    fn of(suite: &Suite) -> Self {
        let limits = || {
            let rows = suite.rows().map(|(_, row)| row);
            rows.filter(|row| row.severity == Severity::Limit)
        };
        let count = |standing| limits().filter(|r| r.standing() == standing).count();
        let broken = count(Standing::Broken);
        let undecided = limits().filter(|row| {
            row.standing() == Standing::Failed && !matches!(row.verdict, Verdict::Fail { .. })
        });
        Self {
            all: limits().count() - broken,
            failed: count(Standing::Failed),
            undecided: undecided.count(),
            open: count(Standing::Open),
        }
    }

    fn words(&self) -> String {
        let Self {
            all,
            failed,
            undecided,
            open,
        } = *self;
        let noun = if all == 1 {
            "expectation"
        } else {
            "expectations"
        };
        let mut words = match (all, failed, open) {
            (0, ..) => return "Nothing was judged".into(),
            (1, 0, 0) => return "The one expectation was met".into(),
            (_, 0, 0) => return format!("All {all} expectations were met"),
            (_, 0, _) => format!("None of {all} {noun} failed"),
            (_, failed, _) => format!("{failed} of {all} {noun} failed"),
        };
        match undecided {
            0 => {}
            _ if undecided == failed => {
                words += ", since what cannot be judged fails there (on_inconclusive = \"fail\")";
            }
            _ => {
                words += &format!(
                    ", {undecided} of them since what cannot be judged fails there (on_inconclusive = \"fail\")"
                );
            }
        }
        if open > 0 {
            words += &format!(", and {open} could not be judged");
        }
        words
    }
}
