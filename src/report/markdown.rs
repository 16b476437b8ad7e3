//! For the summary of a pipeline's step.

use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::verdict::Standing;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A heading, the matrix, and what did not pass.
#[derive(Debug)]
pub(crate) struct Markdown;

impl Form for Markdown {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

fn whole(suite: &Suite) -> String {
    let mut text = format!("## {}: {}\n\n", suite.result, suite.sentence());
    text += "| part | component | phase | target | measured | samples | verdict |\n";
    text += "| --- | --- | --- | --- | --- | ---: | --- |\n";
    for (run, row) in suite.rows() {
        let word = match (row.standing(), row.word()) {
            (Standing::Failed | Standing::Raised | Standing::Broken, bad) => format!("**{bad}**"),
            (_, other) => other.into(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {word} |",
            cell(&run.profile),
            cell(&row.component),
            cell(&row.phases()),
            cell(&row.target),
            cell(&row.measured),
            row.samples
        );
    }
    let mut reasons = String::new();
    for (run, row) in suite.rows() {
        let Some(why) = row.why() else { continue };
        let said = match &why.remedy {
            None => cell(&why.said),
            Some(remedy) => format!("{}. *Change:* {}.", cell(&why.said), cell(remedy)),
        };
        let _ = writeln!(
            reasons,
            "- **{}** ({}, {}): {said}",
            cell(&row.component),
            cell(&run.profile),
            row.word()
        );
    }
    for part in suite.unfinished() {
        let _ = writeln!(
            reasons,
            "- **{}** ({}): {}: {}",
            cell(part.profile),
            part.standing.word(),
            part.what,
            cell(part.why)
        );
    }
    if !reasons.is_empty() {
        text += &format!("\n### What did not pass, and why\n\n{reasons}");
    }
    let servers: BTreeSet<String> = suite
        .runs
        .iter()
        .filter_map(|run| run.configuration.as_ref()?.servers())
        .collect();
    if !servers.is_empty() {
        text += "\nServers, as they said:\n\n";
        for line in servers {
            let _ = writeln!(text, "- {}", cell(&line));
        }
    }
    text + &again(suite)
}

/// The commands, as blocks that can be copied.
fn again(suite: &Suite) -> String {
    let (all, parts) = (suite.commands(), suite.commands_of_parts());
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n### How to run it again\n\n{}\n",
        cell(&suite.of_commands())
    );
    text += &block(&all);
    if !parts.is_empty() {
        text += "\nOne part alone:\n";
        text += &block(&parts);
    }
    text
}

fn block(commands: &[String]) -> String {
    let fence = fence(commands);
    let mut text = format!("\n{fence}sh\n");
    for command in commands {
        let _ = writeln!(text, "{}", plain(command));
    }
    let _ = writeln!(text, "{fence}");
    text
}

/// More backticks than stand in a row in any of them: else one could end the block.
fn fence(commands: &[String]) -> String {
    let runs = commands.iter().flat_map(|c| c.split(|c| c != '`'));
    let longest = runs.map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// What would mean something to Markdown or HTML means itself.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
