//! The verdicts as a table, for people.

use super::document::Document;
use super::verdict::Verdict;
use std::fmt::Write as _;

/// The table, and below it what did not pass and why.
pub(crate) fn render(document: &Document) -> String {
    let head = [
        "component",
        "phase",
        "target",
        "measured",
        "samples",
        "verdict",
    ]
    .map(str::to_owned);
    let mut rows = vec![head];
    for row in &document.expectations {
        let phase = if row.phases.is_empty() {
            "all".to_owned()
        } else {
            row.phases.join(", ")
        };
        rows.push([
            row.component.clone(),
            phase,
            row.target.clone(),
            row.measured.clone(),
            row.samples.to_string(),
            row.verdict.word().to_owned(),
        ]);
    }
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for row in &document.expectations {
        let (why, then) = match &row.verdict {
            Verdict::Pass => continue,
            Verdict::Fail { why } => (why.clone(), String::new()),
            Verdict::Inconclusive { reason, remedy } => {
                (reason.clone(), format!("; change: {remedy}"))
            }
        };
        let _ = writeln!(
            text,
            "\n{} ({}), {}: {why}{then}",
            row.component,
            row.field,
            row.verdict.word()
        );
    }
    if let Some(stopped) = &document.stopped {
        let _ = writeln!(text, "\nstopped early: {stopped}");
    }
    let _ = writeln!(
        text,
        "\n{}: {} (seed {})",
        document.profile, document.result, document.seed
    );
    text
}
