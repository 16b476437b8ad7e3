//! What comes of an expectation.

use super::written::{OnInconclusive, Severity};
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

    /// What it counts as: an alert fails nothing, and leaves nothing open.
    pub(crate) const fn counts(&self, severity: Severity, on: OnInconclusive) -> Counts {
        match (Standing::of(self, severity, on), severity, on) {
            (Standing::Broken, ..) => Counts::Broken,
            (Standing::Failed, ..) => Counts::Failed,
            (Standing::Open, Severity::Limit, OnInconclusive::Warn) => Counts::Open,
            _ => Counts::Passed,
        }
    }
}

/// What a verdict counts as; the largest of a run is the run's, and that of its runs the suite's.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub(crate) enum Counts {
    #[serde(rename = "pass")]
    Passed,
    #[serde(rename = "inconclusive")]
    Open,
    #[serde(rename = "fail")]
    Failed,
    /// Of a part of it nothing is known, whatever the rest says.
    #[serde(rename = "error")]
    Broken,
}

impl Counts {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Open => "inconclusive",
            Self::Failed => "fail",
            Self::Broken => "error",
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// How an expectation stands in every form of a report: its verdict, and what the profile makes of it. The graver the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Passed,
    /// An alert that is not exceeded.
    Quiet,
    /// Not judged, and nothing fails by it.
    Open,
    /// An alert that is exceeded; it fails nothing.
    Raised,
    /// The limit is not kept, or could not be judged where the profile says that this fails.
    Failed,
    Broken,
}

impl Standing {
    pub(crate) const fn of(verdict: &Verdict, severity: Severity, on: OnInconclusive) -> Self {
        match (verdict, severity) {
            (Verdict::Error { .. }, _) => Self::Broken,
            (Verdict::Pass, Severity::Limit) => Self::Passed,
            (Verdict::Pass, Severity::Alert) => Self::Quiet,
            (Verdict::Fail { .. }, Severity::Alert) => Self::Raised,
            (Verdict::Fail { .. }, Severity::Limit) => Self::Failed,
            (Verdict::Inconclusive { .. }, Severity::Limit)
                if matches!(on, OnInconclusive::Fail) =>
            {
                Self::Failed
            }
            (Verdict::Inconclusive { .. }, _) => Self::Open,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Quiet => "quiet",
            Self::Open => "inconclusive",
            Self::Raised => "RAISED",
            Self::Failed => "FAIL",
            Self::Broken => "error",
        }
    }
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
            for severity in [Severity::Limit, Severity::Alert] {
                assert_eq!(error.counts(severity, on), Counts::Broken);
            }
        }
        assert!(Counts::Broken > Counts::Failed && Counts::Failed > Counts::Open);
    }
}
