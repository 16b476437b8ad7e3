//! The verdicts as a table, for people.

use super::document::{Document, Row};
use std::borrow::Borrow;
use std::fmt::Write as _;

const HEAD: [&str; 6] = [
    "component",
    "phase",
    "target",
    "measured",
    "samples",
    "verdict",
];

/// One matrix of several runs, and below it what did not pass and why.
pub(crate) fn matrix<D: Borrow<Document>>(documents: &[D]) -> String {
    let documents = || documents.iter().map(Borrow::borrow);
    let [component, phase, target, measured, samples, verdict] = HEAD;
    let head = ["part", component, phase, target, measured, samples, verdict];
    let mut rows = vec![head.map(str::to_owned)];
    for document in documents() {
        let mut part = document
            .profile
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        for row in &document.expectations {
            let [component, phase, target, measured, samples, verdict] = cells(row);
            rows.push([
                std::mem::take(&mut part),
                component,
                phase,
                target,
                measured,
                samples,
                verdict,
            ]);
        }
    }
    let mut text = columns(&rows);
    for document in documents() {
        text.push_str(&reasons(document, &format!("{}: ", document.profile)));
    }
    let _ = writeln!(text);
    for document in documents() {
        let _ = writeln!(
            text,
            "{}: {} (seed {})",
            document.profile, document.result, document.seed
        );
    }
    text
}

/// The table, and below it what did not pass and why.
pub(crate) fn render(document: &Document) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(document.expectations.iter().map(cells));
    let mut text = columns(&rows);
    text.push_str(&steps(document));
    text.push_str(&lanes(document));
    text.push_str(&reasons(document, ""));
    let _ = writeln!(
        text,
        "\n{}: {} (seed {})",
        document.profile, document.result, document.seed
    );
    text
}

fn cells(row: &Row) -> [String; 6] {
    [
        row.component.clone(),
        row.phases(),
        row.target.clone(),
        row.measured.clone(),
        row.samples.to_string(),
        row.word().to_owned(),
    ]
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Every rate that the search for capacity held.
fn steps(document: &Document) -> String {
    let Some(capacity) = &document.capacity else {
        return String::new();
    };
    let head = ["rate", "load", "answered", "p95", "errors", "limits"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(capacity.steps.iter().map(|step| {
        [
            format!("{:.1}/s", step.rate),
            format!("{:.2}x", step.factor),
            format!("{:.1}/s", step.achieved),
            format!("{:.1}ms", step.p95_ms),
            format!("{:.1} %", step.error_rate * 100.0),
            step.held.words().to_owned(),
        ]
    }));
    format!("\n{}", columns(&rows))
}

/// What the callers of each lane saw, where there are several: a canary's latency is not that of the load.
fn lanes(document: &Document) -> String {
    if document.lanes.len() < 2 {
        return String::new();
    }
    let head = [
        "lane",
        "requests",
        "failed",
        "p50",
        "p95",
        "p99",
        "not sent",
        "passed over",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(document.lanes.iter().map(|(lane, figures)| {
        let ms = |value: f64| format!("{value:.1}ms");
        [
            lane.clone(),
            figures.ended.to_string(),
            figures.failed.to_string(),
            ms(figures.p50_ms),
            ms(figures.p95_ms),
            ms(figures.p99_ms),
            figures.skipped.to_string(),
            figures.passed_over.to_string(),
        ]
    }));
    format!("\n{}", columns(&rows))
}

/// What did not pass, and why.
fn reasons(document: &Document, before: &str) -> String {
    let mut text = String::new();
    for row in &document.expectations {
        let Some(why) = row.why() else { continue };
        let _ = writeln!(
            text,
            "\n{before}{} ({}), {}: {}",
            row.component,
            row.field,
            row.word(),
            why.whole()
        );
    }
    if let Some(stopped) = &document.stopped {
        let _ = writeln!(text, "\n{before}stopped early: {stopped}");
    }
    text
}
