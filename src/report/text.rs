//! For a terminal: complete without colour, at 80 columns.

use super::configuration::Configuration;
use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::document::Row;
use std::fmt::Write;

const WIDTH: usize = 80;

const HEAD: [&str; 6] = ["verdict", "component", "phase", "target", "measured", "n"];
/// Of the columns; before each is a blank.
const WIDTHS: [usize; 6] = [12, 18, 10, 18, 10, 6];

/// The matrix, then what did not pass and why.
#[derive(Debug)]
pub(crate) struct Text;

impl Form for Text {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

fn whole(suite: &Suite) -> String {
    let mut text = paragraph(&suite.sentence(), 0);
    for run in &suite.runs {
        let heading = format!("{} ({}, seed {})", run.profile, run.result, run.seed);
        text += &format!("\n{}", paragraph(&heading, 0));
        if let Some(servers) = run.configuration.as_ref().and_then(Configuration::servers) {
            text += &paragraph(&format!("servers: {servers}"), 2);
        }
        if !run.expectations.is_empty() {
            text += &columns(&HEAD);
        }
        for row in &run.expectations {
            text += &of_row(row);
        }
    }
    for part in suite.unfinished() {
        let heading = format!("{} ({}): {}", part.profile, part.standing.word(), part.what);
        text += &format!("\n{}{}", paragraph(&heading, 0), paragraph(part.why, 2));
    }
    text + &again(suite)
}

/// A row of the matrix, and below it why it did not pass.
fn of_row(row: &Row) -> String {
    let samples = row.samples.to_string();
    let mut text = columns(&[
        row.word(),
        &row.component,
        &row.phases(),
        &row.target,
        &row.measured,
        &samples,
    ]);
    if let Some(why) = row.why() {
        text += &paragraph(&format!("{} ({})", why.whole(), row.field), 15);
    }
    text
}

/// The commands: one that was broken into lines could not be copied, so these lines may be longer.
fn again(suite: &Suite) -> String {
    let (all, parts) = (suite.commands(), suite.commands_of_parts());
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\nHow to run it again\n{}",
        paragraph(&suite.of_commands(), 2)
    );
    for command in all {
        let _ = write!(text, "\n  {}\n", plain(&command));
    }
    if !parts.is_empty() {
        text += "\n  One part alone:\n";
    }
    for command in parts {
        let _ = write!(text, "\n  {}\n", plain(&command));
    }
    text
}

/// A row of cells, each in as many lines as it takes: nothing is cut off.
fn columns(cells: &[&str; 6]) -> String {
    let cells: Vec<Vec<String>> = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| wrapped(&plain(cell), width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for n in 0..height {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(WIDTHS) {
            let part = cell.get(n).map_or("", String::as_str);
            let _ = write!(line, " {part:<width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Lines of a text, so far from the left.
fn paragraph(text: &str, left: usize) -> String {
    let mut lines = String::new();
    for line in wrapped(&plain(text), WIDTH - left) {
        let _ = writeln!(lines, "{:left$}{line}", "");
    }
    lines
}

/// Broken at blanks; a word that is longer than a line is broken, too.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().expect("one at least");
            let used = line.chars().count();
            let blank = usize::from(used > 0);
            if used + blank + word.len() <= width {
                if blank == 1 {
                    line.push(' ');
                }
                line.extend(&word);
                break;
            }
            if used > 0 {
                lines.push(String::new());
                continue;
            }
            line.extend(word.drain(..width));
            lines.push(String::new());
        }
    }
    lines
}
