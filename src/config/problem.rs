//! What is wrong with a file: where, what, and what would be accepted.

use serde::Serialize;
use std::fmt;

/// Problems reported of one file; what comes after them is left out, and said to be.
pub const MAX_PROBLEMS: usize = 100;
/// Characters of a source line that are shown.
const MAX_EXCERPT: usize = 160;
/// Characters of a message or remedy that are shown: both may quote the file.
const MAX_TEXT: usize = 400;

/// One thing that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problem {
    /// The file, as it was named.
    pub path: String,
    /// Line, from 1; 0 where the problem is the file itself.
    pub line: usize,
    /// Column in characters, from 1; 0 where the problem is the file itself.
    pub column: usize,
    /// Dotted path of the field: `proxy[1].slo.p95`; empty where there is none.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What would be accepted; may be empty.
    pub remedy: String,
    /// The line itself, without credentials; empty where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_line: String,
    /// How many characters of the line, from the column on, are meant.
    #[serde(skip)]
    pub(crate) width: usize,
}

impl Problem {
    /// A problem of the file as a whole.
    pub fn of_file(path: &str, message: &str, remedy: &str) -> Self {
        Self {
            path: printable(path, MAX_TEXT),
            line: 0,
            column: 0,
            field: String::new(),
            message: printable(message, MAX_TEXT),
            remedy: printable(remedy, MAX_TEXT),
            source_line: String::new(),
            width: 0,
        }
    }

    /// The same problem of a field.
    #[must_use]
    pub(crate) fn field(mut self, field: &str) -> Self {
        self.field = printable(field, MAX_TEXT);
        self
    }

    /// The same problem, located at a range of bytes of the text.
    #[must_use]
    pub(crate) fn at(mut self, text: &str, span: std::ops::Range<usize>) -> Self {
        let start = char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let end = char_boundary(text, span.end.clamp(start, line_end));
        self.line = text[..line_start].matches('\n').count() + 1;
        self.column = text[line_start..start].chars().count() + 1;
        self.width = text[start..end].trim_end().chars().count().max(1);
        let line = text[line_start..line_end].trim_end_matches('\r');
        self.source_line = printable(&hide_credentials(line), MAX_EXCERPT);
        self
    }
}

impl fmt::Display for Problem {
    /// One line: `brownout.toml:12:8: proxy[1].protocol: unknown protocol "reddis"; expected redis or tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl Problems {
    /// One problem of the file as a whole.
    pub fn of_file(path: &str, message: &str, remedy: &str) -> Self {
        Self(vec![Problem::of_file(path, message, remedy)])
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    /// Each problem on its line, then the line it is about and a caret below the place, as compilers do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
            if !problem.source_line.is_empty() {
                write_excerpt(f, problem)?;
            }
        }
        Ok(())
    }
}

fn write_excerpt(f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
    let number = problem.line.to_string();
    let gutter = " ".repeat(number.len());
    write!(f, "\n {number} | {}", problem.source_line)?;
    let shown = problem.source_line.chars().count();
    let before = problem.column.saturating_sub(1);
    if before < shown {
        // Tabs stay tabs, so that the caret stands below its character whatever a tab is worth.
        let pad: String = problem
            .source_line
            .chars()
            .take(before)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(problem.width.min(shown - before));
        write!(f, "\n {gutter} | {pad}{carets}")?;
    }
    Ok(())
}

/// The nearest place at or before `at` where a character begins.
fn char_boundary(text: &str, at: usize) -> usize {
    let last = at.min(text.len());
    (0..=last)
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or_default()
}

/// Text that is safe on a terminal: no control characters, and not endless.
fn printable(text: &str, max: usize) -> String {
    let mut out: String = text
        .chars()
        .take(max)
        .map(|c| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(max).is_some() {
        out.push_str("...");
    }
    out
}

/// Replaces what stands before `@` in a URL or address by asterisks, one for one: it may hold a password.
fn hide_credentials(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for token in line.split_inclusive(['"', '\'', ' ', '\t', ',']) {
        let start = token.find("://").map_or(0, |i| i + 3);
        match token.rfind('@') {
            Some(end) if start < end && token[..end].contains(':') => {
                out.push_str(&token[..start]);
                out.extend(token[start..end].chars().map(|_| '*'));
                out.push_str(&token[end..]);
            }
            _ => out.push_str(token),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: std::ops::Range<usize>) -> Problems {
        Problem::of_file("f.toml", "wrong", "do better")
            .field("a.b")
            .at(text, span)
            .into()
    }

    #[test]
    fn points_at_the_place() {
        assert_eq!(
            at("x = 1\n\tkey = \"ü\" # c\n", 13..17).to_string(),
            "f.toml:2:8: a.b: wrong; do better\n 2 | \tkey = \"ü\" # c\n   | \t      ^^^"
        );
    }

    #[test]
    fn survives_spans_that_lie() {
        assert_eq!(at("", 5..9).0[0].line, 1);
        assert_eq!(at("ü", 1..1).0[0].column, 1);
        let reversed = std::ops::Range { start: 2, end: 0 };
        assert_eq!(at("ab\ncd", reversed).0[0].column, 3);
    }

    #[test]
    fn shows_no_password() {
        let line = "upstream = \"postgres://me:se@cret@db:5432/x\"";
        let shown = at(line, 0..8).to_string();
        assert!(!shown.contains("cret"), "{shown}");
        assert!(shown.contains("postgres://**********@db:5432/x"), "{shown}");
        assert_eq!(hide_credentials("u = 'me:pw@db:1'"), "u = '*****@db:1'");
        assert_eq!(hide_credentials("# mail a@b.c"), "# mail a@b.c");
    }

    #[test]
    fn sends_no_escape_sequence_to_the_terminal() {
        let shown = at("a = \"\u{1b}[2J\"", 0..1).to_string();
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn cuts_endless_lines() {
        let text = "x".repeat(10_000);
        let shown = at(&text, 9_000..9_001).to_string();
        assert!(shown.len() < 300, "{}", shown.len());
        assert!(shown.starts_with("f.toml:1:9001:"));
    }
}
