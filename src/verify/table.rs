//! The verdicts as a table, for people.

use super::document::{Document, Row};
use crate::report::text::wrapped;
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

/// Between two columns.
const GAP: usize = 2;
/// To so many characters words are broken where a table does not fit otherwise.
const SHORTEST: usize = 8;

/// One matrix of several runs, and below it what did not pass and why. `screen`: characters of a line, for the tables.
pub(crate) fn matrix<D: Borrow<Document>>(documents: &[D], screen: usize) -> String {
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
    let mut text = columns(&rows, screen);
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

/// The table, and below it what did not pass and why. `screen`: characters of a line, for the tables.
pub(crate) fn render(document: &Document, screen: usize) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(document.expectations.iter().map(cells));
    let mut text = columns(&rows, screen);
    text.push_str(&steps(document, screen));
    text.push_str(&lanes(document, screen));
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

fn columns<const N: usize>(rows: &[[String; N]], screen: usize) -> String {
    let widths = widths(rows, screen);
    let mut text = String::new();
    for row in rows {
        let cells: [Vec<String>; N] =
            std::array::from_fn(|column| wrapped(&row[column], widths[column]));
        let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..lines {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let part = cell.get(at).map_or("", String::as_str);
                let _ = write!(line, "{part:<width$}{:GAP$}", "");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// What the cells need; where that is more than there is, the widest columns give way first: down to their longest words, and
/// only if that is not enough below.
fn widths<const N: usize>(rows: &[[String; N]], screen: usize) -> [usize; N] {
    let most = |column: usize, of: fn(&str) -> usize| {
        let cells = rows.iter().map(|row| of(&row[column]));
        cells.max().unwrap_or(0).max(1)
    };
    let longest_word = |cell: &str| {
        let words = cell.split(' ').map(|word| word.chars().count());
        words.max().unwrap_or(0)
    };
    let mut widths: [usize; N] = std::array::from_fn(|at| most(at, |cell| cell.chars().count()));
    let words: [usize; N] = std::array::from_fn(|at| most(at, longest_word));
    let broken = words.map(|word| word.min(SHORTEST));
    let room = screen.saturating_sub(GAP * N.saturating_sub(1));
    for least in [words, broken] {
        while widths.iter().sum::<usize>() > room {
            let may_give = (0..N).filter(|at| widths[*at] > least[*at]);
            let Some(widest) = may_give.max_by_key(|at| widths[*at]) else {
                break;
            };
            widths[widest] -= 1;
        }
    }
    widths
}

/// Every rate that the search for capacity held.
fn steps(document: &Document, screen: usize) -> String {
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
    format!("\n{}", columns(&rows, screen))
}

/// What the callers of each lane saw, where there are several: a canary's latency is not that of the load.
fn lanes(document: &Document, screen: usize) -> String {
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
    format!("\n{}", columns(&rows, screen))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; 3]> {
        let rows = [
            ["part", "target", "samples"],
            [
                "circuit-breaker",
                "degrades: every request answered, none with 500",
                "12345",
            ],
            ["", "/modules/{id}/a/very/long/path/without/any/blank", "7"],
        ];
        rows.map(|row| row.map(str::to_owned)).into()
    }

    #[test]
    fn where_there_is_room_each_row_is_a_line() {
        let text = columns(&rows(), 80);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(text, columns(&rows(), 1_000));
    }

    #[test]
    fn where_there_is_none_cells_are_wrapped_and_nothing_is_lost() {
        for screen in [72, 60, 40] {
            let text = columns(&rows(), screen);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(screen), "{screen}:\n{text}");
            let marks = |text: &str| {
                let mut marks: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
                marks.sort_unstable();
                marks
            };
            assert_eq!(marks(&text), marks(&rows().concat().concat()));
            assert!(text.contains("12345"), "figures are whole:\n{text}");
        }
    }
}
