//! What comes of an expectation.

use super::written::OnInconclusive;
use crate::insight::{Evidence, Unknown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verdict, and why it is not a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub(crate) enum Verdict {
    Pass,
    Fail {
        why: String,
    },
    /// The evidence does not reach.
    Inconclusive {
        reason: String,
        /// The setting to change.
        remedy: String,
    },
    /// Our own part broke, the judge or the load: it says nothing of the service.
    Error {
        why: String,
    },
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// In a few words, for the table.
    pub(crate) measured: String,
    pub(crate) evidence: Evidence,
}

impl Judgement {
    pub(crate) fn pass(measured: impl Into<String>, evidence: Evidence) -> Self {
        Self {
            verdict: Verdict::Pass,
            measured: measured.into(),
            evidence,
        }
    }

    pub(crate) fn fail(
        measured: impl Into<String>,
        why: impl Into<String>,
        evidence: Evidence,
    ) -> Self {
        Self {
            verdict: Verdict::Fail { why: why.into() },
            measured: measured.into(),
            evidence,
        }
    }

    /// Pass or fail by a condition.
    pub(crate) fn of(
        holds: bool,
        measured: impl Into<String>,
        why: impl Into<String>,
        evidence: Evidence,
    ) -> Self {
        if holds {
            Self::pass(measured, evidence)
        } else {
            Self::fail(measured, why, evidence)
        }
    }

    pub(crate) fn unknown(unknown: &Unknown, evidence: Evidence) -> Self {
        Self {
            verdict: Verdict::Inconclusive {
                reason: unknown.reason.clone(),
                remedy: unknown.remedy.clone(),
            },
            measured: "-".into(),
            evidence,
        }
    }

    /// Our own part broke.
    pub(crate) fn error(why: impl Into<String>, evidence: Evidence) -> Self {
        Self {
            verdict: Verdict::Error { why: why.into() },
            measured: "-".into(),
            evidence,
        }
    }

    pub(crate) fn inconclusive(
        reason: impl Into<String>,
        remedy: impl Into<String>,
        evidence: Evidence,
    ) -> Self {
        Self::unknown(&Unknown::new(reason, remedy), evidence)
    }
}

impl Verdict {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail { .. } => "fail",
            Self::Inconclusive { .. } => "inconclusive",
            Self::Error { .. } => "error",
        }
    }

    /// What it counts as.
    pub(crate) const fn counts(&self, on: OnInconclusive) -> Counts {
        match (self, on) {
            (Self::Pass, _) | (Self::Inconclusive { .. }, OnInconclusive::Pass) => Counts::Passed,
            (Self::Fail { .. }, _) | (Self::Inconclusive { .. }, OnInconclusive::Fail) => {
                Counts::Failed
            }
            (Self::Inconclusive { .. }, OnInconclusive::Warn) => Counts::Open,
            (Self::Error { .. }, _) => Counts::Broken,
        }
    }
}

/// What a verdict counts as; the largest of a run is the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counts {
    Passed,
    Open,
    Failed,
    /// Of a part of it nothing is known, whatever the rest says.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_gravest_whatever_is_done_with_what_is_inconclusive() {
        let error = Verdict::Error { why: String::new() };
        for on in [
            OnInconclusive::Pass,
            OnInconclusive::Warn,
            OnInconclusive::Fail,
        ] {
            assert_eq!(error.counts(on), Counts::Broken);
        }
        assert!(Counts::Broken > Counts::Failed && Counts::Failed > Counts::Open);
    }
}
