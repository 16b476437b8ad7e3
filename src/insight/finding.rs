//! A result and what it rests on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The records that a finding keeps as examples.
pub const MAX_EXAMPLES: usize = 32;

/// What a result rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Observations that speak to the question.
    pub samples: u64,
    /// The first of them: nanoseconds since the recording began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// Figures by name; the unit is in the name.
    pub figures: BTreeMap<String, f64>,
    /// Places of records in the recording, as examples; at most [`MAX_EXAMPLES`].
    pub records: Vec<usize>,
    /// What was assumed, and what speaks for another reading, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Evidence {
    /// One more observation at this time.
    pub fn observe(&mut self, at: u64) {
        self.samples += 1;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    /// The same, with the record as an example.
    pub fn example(&mut self, at: u64, record: usize) {
        self.observe(at);
        if self.records.len() < MAX_EXAMPLES {
            self.records.push(record);
        }
    }

    /// A figure under its name.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.into(), value);
    }

    /// Something to know beside the figures.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// Why there is no result, and what would bring one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
    /// What is missing.
    pub reason: String,
    /// What to change: a setting of the test, by its name.
    pub remedy: String,
}

impl Unknown {
    /// Of a reason and a remedy.
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// An answer, or why there is none; in both cases with what was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding<T> {
    /// The answer.
    pub answer: Result<T, Unknown>,
    /// What it rests on.
    pub evidence: Evidence,
}

impl<T> Finding<T> {
    /// An answer.
    pub const fn known(value: T, evidence: Evidence) -> Self {
        Self {
            answer: Ok(value),
            evidence,
        }
    }

    /// No answer.
    pub fn unknown(
        reason: impl Into<String>,
        remedy: impl Into<String>,
        evidence: Evidence,
    ) -> Self {
        Self {
            answer: Err(Unknown::new(reason, remedy)),
            evidence,
        }
    }

    /// The answer, where there is one.
    pub fn value(&self) -> Option<&T> {
        self.answer.as_ref().ok()
    }
}

/// Between two values, both of them possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interval<T> {
    /// The least.
    pub low: T,
    /// The most.
    pub high: T,
}

impl<T: PartialOrd + Copy> Interval<T> {
    /// Between these.
    pub const fn new(low: T, high: T) -> Self {
        Self { low, high }
    }

    /// Whether a value is possible.
    pub fn contains(&self, value: T) -> bool {
        self.low <= value && value <= self.high
    }

    /// What both allow; `None` where they contradict each other.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let low = if self.low > other.low {
            self.low
        } else {
            other.low
        };
        let high = if self.high < other.high {
            self.high
        } else {
            other.high
        };
        (low <= high).then_some(Self { low, high })
    }
}
