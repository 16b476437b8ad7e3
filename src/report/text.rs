//! For a terminal: complete without colour, at 80 columns.

use super::configuration::Configuration;
use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::verdict::Verdict;
use std::fmt::Write;

const WIDTH: usize = 80;

/// The matrix, then what did not pass and why.
#[derive(Debug)]
pub(crate) struct Text;

impl Form for Text {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

fn whole(suite: &Suite) -> String {
    let mut text = format!("{}\n", suite.sentence());
    for run in &suite.runs {
        let _ = writeln!(
            text,
            "\n{} ({}, seed {})",
            plain(&run.profile),
            plain(&run.result),
            run.seed
        );
        if let Some(servers) = run.configuration.as_ref().and_then(Configuration::servers) {
            for line in wrapped(&plain(&format!("servers: {servers}")), WIDTH - 2) {
                let _ = writeln!(text, "  {line}");
            }
        }
        for row in &run.expectations {
            let component = cut(&plain(&row.component), 27);
            let target = cut(&plain(&row.target), 22);
            let measured = cut(&plain(&row.measured), 13);
            let line = format!(
                "  {:<12} {component:<27} {target:<22} {measured}",
                row.word()
            );
            let _ = writeln!(text, "{}", line.trim_end());
            let more = match &row.verdict {
                Verdict::Pass => continue,
                Verdict::Fail { why } | Verdict::Error { why } => plain(why),
                Verdict::Inconclusive { reason, remedy } => {
                    plain(&format!("{reason}; change: {remedy}"))
                }
            };
            for line in wrapped(
                &format!("{more} ({} samples, {})", row.samples, plain(&row.field)),
                WIDTH - 15,
            ) {
                let _ = writeln!(text, "{:15}{line}", "");
            }
        }
        if let Some(stopped) = &run.stopped {
            let _ = writeln!(text, "  stopped early: {}", plain(stopped));
        }
    }
    for broken in &suite.errors {
        let _ = writeln!(text, "\n{} (error)", plain(&broken.profile));
        for line in wrapped(&plain(&broken.why), WIDTH - 2) {
            let _ = writeln!(text, "  {line}");
        }
    }
    let commands = suite.commands();
    if !commands.is_empty() {
        let _ = writeln!(text, "\nHow to run it again");
        for line in wrapped(&suite.of_commands(), WIDTH - 2) {
            let _ = writeln!(text, "  {line}");
        }
        for command in &commands {
            // A command that was broken into lines could not be copied, so this one line may be longer.
            let _ = writeln!(text, "\n  {}", plain(command));
        }
    }
    text
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width - 1).collect();
    short.push('\u{2026}');
    short
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
