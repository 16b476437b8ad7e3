//! All that is wrong with a fault, collected, so that one look at the answer is enough to put it right.

use std::time::Duration;

use super::spec::FieldError;

/// Collects problems of one fault under the path at which it stands in its document.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    prefix: &'a str,
    found: Vec<FieldError>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(prefix: &'a str) -> Self {
        Self {
            prefix,
            found: Vec::new(),
        }
    }

    /// Adds one. `field` is dotted, from the fault; empty: the fault itself.
    pub(super) fn add(
        &mut self,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.found.push(FieldError {
            path: join(self.prefix, field),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// A field that is needed and not there.
    pub(super) fn missing(&mut self, field: &str, by: &str, example: &str) {
        self.add(
            field,
            format!("{by} needs `{field}`"),
            format!("add {example}"),
        );
    }

    /// A duration that has to be more than zero and at most `most`.
    pub(super) fn check_duration(&mut self, field: &str, value: Duration, most: Duration) {
        if value.is_zero() {
            self.add(field, "zero has no effect", "write a duration above zero");
        }
        self.check_most(field, value, most);
    }

    /// A duration that has to be at most `most`.
    pub(super) fn check_most(&mut self, field: &str, value: Duration, most: Duration) {
        if value > most {
            self.add(
                field,
                format!("{} is too long", humantime::format_duration(value)),
                format!("write at most {}", humantime::format_duration(most)),
            );
        }
    }

    pub(super) fn finish(self) -> Result<(), Vec<FieldError>> {
        if self.found.is_empty() {
            Ok(())
        } else {
            Err(self.found)
        }
    }
}

/// `fault[2]` and `delay.p99` are `fault[2].delay.p99`.
pub(super) fn join(prefix: &str, field: &str) -> String {
    match (prefix, field) {
        ("", field) => field.into(),
        (prefix, "") => prefix.into(),
        (prefix, field) => format!("{prefix}.{field}"),
    }
}

/// `a, b and c`, each in backquotes.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".into(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
