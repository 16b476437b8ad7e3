//! A regular expression over the literal-free form of a statement.
//!
//! Matching takes time linear in the text, whatever the pattern: the crate `regex` has no patterns that go back. What a pattern
//! compiles to is bounded, too.

use regex::bytes::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 1024;

/// What a pattern may compile to, in bytes.
const SIZE: usize = 256 * 1024;

/// How deep groups may stand in each other.
const NESTING: u32 = 50;

/// What was wrong, and what would be accepted.
pub(super) type Wrong = (String, &'static str);

/// Compiles a pattern that does not distinguish case.
///
/// # Errors
/// It is empty, too long, too large when compiled, or no regular expression.
pub(super) fn compile(pattern: &str) -> Result<Regex, Wrong> {
    if pattern.is_empty() {
        return Err((
            "an empty pattern matches every statement".into(),
            "write a part of the statement, like \"from orders\", or leave the field out",
        ));
    }
    if pattern.len() > MAX_PATTERN {
        return Err((
            format!("the pattern is longer than {MAX_PATTERN} bytes"),
            "shorten it, or write several as a list",
        ));
    }
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .nest_limit(NESTING)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => (
                format!("`{pattern}` becomes too large"),
                "repeat less: write `+` instead of a large count",
            ),
            other => (
                format!("`{pattern}`: {}", reason(&other)),
                "write a regular expression of the crate `regex`, and a backslash before a character that means itself: `\\(`",
            ),
        })
}

/// The last line of what the crate says; the ones before it show the place.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
