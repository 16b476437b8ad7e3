//! Annotations of GitHub Actions (workflow commands): each failure at its line of the profile.

use super::{Form, FormError, Suite};
use crate::verify::verdict::Verdict;
use crate::verify::written::Severity;
use std::fmt::Write;

/// `::error file=...,line=...::...`, one a line; nothing for what passed.
#[derive(Debug)]
pub(crate) struct Github;

impl Form for Github {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

fn whole(suite: &Suite) -> String {
    let mut text = String::new();
    for (run, row) in suite.rows() {
        let (level, why) = match (&row.verdict, row.severity) {
            (Verdict::Pass, _) => continue,
            (Verdict::Fail { why }, Severity::Limit) => ("error", why.clone()),
            (Verdict::Error { why }, _) => ("error", format!("nothing is known: {why}")),
            (Verdict::Fail { why }, Severity::Alert) => ("warning", why.clone()),
            (Verdict::Inconclusive { reason, remedy }, _) => (
                "warning",
                format!("inconclusive: {reason}; change: {remedy}"),
            ),
        };
        let title = format!("{}: {} ({})", row.component, row.target, row.measured);
        let mut place = String::new();
        if let Some(at) = &row.place {
            let _ = write!(
                place,
                "file={},line={},col={},",
                property(&at.file),
                at.line,
                at.column
            );
        }
        let _ = writeln!(
            text,
            "::{level} {place}title={}::{}: {}",
            property(&title),
            data(&run.profile),
            data(&why)
        );
    }
    for broken in &suite.errors {
        let _ = writeln!(
            text,
            "::error title={}::{}",
            property(&broken.profile),
            data(&broken.why)
        );
    }
    if !text.is_empty() {
        for command in suite.commands() {
            let _ = writeln!(
                text,
                "::notice title=How to run it again::{}",
                data(&command)
            );
        }
    }
    text
}

fn data(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
