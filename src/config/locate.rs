//! A TOML document that remembers where everything stands, and the reading of it into types: serde stops at the first
//! error, people want all of them. So what is wrong is reported, taken out, and the rest is read again.

use super::problem::{MAX_PROBLEMS, Problem, Problems};
use super::suggest::{nearest, one_of};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// The largest text, in bytes, of which everything is told: time grows with the size and with the number of problems. Of larger
/// ones it is the first syntax error, or a tenth of [`MAX_PROBLEMS`].
const MAX_THOROUGH: usize = 64 << 10;

/// What can be told of a text, and what is wrong with its syntax.
pub(super) fn parse(text: &str) -> (Spanned<DeTable<'_>>, Vec<toml::de::Error>) {
    match DeTable::parse(text) {
        Ok(table) => (table, Vec::new()),
        // Recovery takes time for every error, and a large file of something else has one at every byte.
        Err(error) if text.len() > MAX_THOROUGH => {
            (Spanned::new(0..0, DeTable::new()), vec![error])
        }
        Err(_) => DeTable::parse_recoverable(text),
    }
}

/// One step from a node of the document to a node inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// `proxy[1].slo.p95`.
pub(crate) fn dotted(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
        }
    }
    out
}

/// The steps of `proxy[1].slo.p95`. What is not of this form is taken as a key.
pub(crate) fn steps(dotted: &str) -> Vec<Step> {
    let mut out = Vec::new();
    for part in dotted.split('.').filter(|p| !p.is_empty()) {
        let (key, indices) = part.split_once('[').unwrap_or((part, ""));
        if !key.is_empty() {
            out.push(Step::Key(key.to_owned()));
        }
        let numbers = indices.split('[').map(|i| i.trim_end_matches(']'));
        out.extend(numbers.filter_map(|i| i.parse().ok()).map(Step::Index));
    }
    out
}

/// A parsed file and what was found wrong with it so far.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    origin: &'t str,
    text: &'t str,
    root: Spanned<DeValue<'t>>,
    problems: Vec<(usize, Problem)>,
    /// Fields that are not missing: reported under their own name, or meant by a misspelt one.
    known: HashSet<String>,
}

impl<'t> Document<'t> {
    /// Parses TOML. Nothing else is looked at in a file that is not TOML.
    pub(crate) fn parse(text: &'t str, origin: &'t str) -> Result<Self, Problems> {
        let (table, errors) = parse(text);
        let span = table.span();
        let mut document = Self {
            origin,
            text,
            root: Spanned::new(span, DeValue::Table(table.into_inner())),
            problems: Vec::new(),
            known: HashSet::new(),
        };
        for error in errors {
            let (message, remedy) = syntax(error.message());
            document.push(error.span().unwrap_or(0..0), "", &message, &remedy);
        }
        if document.problems.is_empty() {
            Ok(document)
        } else {
            Err(document.into_problems())
        }
    }

    /// Names of what stands at the top.
    pub(crate) fn keys(&self) -> Vec<String> {
        match self.root.get_ref() {
            DeValue::Table(table) => table.keys().map(|k| k.get_ref().to_string()).collect(),
            _ => Vec::new(),
        }
    }

    /// How many elements the array under this key has; `None` if it is none, or not there.
    pub(crate) fn len_of(&self, key: &str) -> Option<usize> {
        self.root
            .get_ref()
            .get(key)?
            .get_ref()
            .as_array()
            .map(|a| a.len())
    }

    /// Reads what stands at `at`, and reports everything in it that serde refuses. `None` if too little remains.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, at: &[Step]) -> Option<T> {
        let mut node = descend(&self.root, at)?.clone();
        loop {
            let error = match T::deserialize(ValueDeserializer::from(node.clone())) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| node.span());
            let mut path = find(&node, &span, error.message());
            let value = descend(&node, &path);
            let (message, remedy) = plain(error.message(), &path, value.map(Spanned::get_ref));
            let field = |path: &[Step]| dotted(&[at, path].concat());
            let is_known = |name: &str| self.known.contains(&field(&below(&path, name)));
            if !quoted_after(error.message(), "missing field ").is_some_and(is_known) {
                if let Some((_, near)) = misspelt(error.message()) {
                    let parent = path.split_last().map_or(&path[..], |(_, parent)| parent);
                    self.known.insert(field(&below(parent, near)));
                }
                self.push(span, &field(&path), &message, &remedy);
            }
            // An element cannot be taken out of an array without renumbering its neighbours: the whole array goes.
            while matches!(path.last(), Some(Step::Index(_))) {
                path.pop();
            }
            self.known.insert(dotted(&[at, &path].concat()));
            if self.is_full() || !remove(&mut node, &path) {
                return None;
            }
        }
    }

    /// Reports a problem of a field, located at its value, or at the nearest thing around it that exists.
    pub(crate) fn report(&mut self, field: &str, message: &str, remedy: &str) {
        let path = steps(field);
        let span = (0..=path.len())
            .rev()
            .find_map(|n| descend(&self.root, &path[..n]))
            .map_or(0..0, Spanned::span);
        // The whole document as a place is its beginning.
        let span = if span == self.root.span() { 0..0 } else { span };
        self.push(span, field, message, remedy);
    }

    /// Where a field stands, or what is nearest above it: line and column, from 1.
    pub(crate) fn place(&self, field: &str) -> (usize, usize) {
        let path = steps(field);
        let span = (1..=path.len())
            .rev()
            .find_map(|n| descend(&self.root, &path[..n]))
            .map_or(0..0, Spanned::span);
        let problem = Problem::of_file(self.origin, "", "").at(self.text, span);
        (problem.line, problem.column)
    }

    /// The file, as it was named.
    pub(crate) fn origin(&self) -> &str {
        self.origin
    }

    /// Whether something was already reported of this field, or of a misspelling of it: then it is not missing.
    pub(crate) fn is_reported(&self, field: &str) -> bool {
        self.known.contains(field)
    }

    /// Whether nothing was reported in these sections: what refers to them can only be held against them if they were read whole.
    pub(crate) fn is_sound(&self, sections: &[&str]) -> bool {
        let within = |field: &str, section: &str| {
            let rest = field.strip_prefix(section);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let in_any = |field: &String| sections.iter().any(|section| within(field, section));
        !self.known.iter().any(in_any)
    }

    /// Whether nothing was reported.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// What was reported, in the order of the lines.
    pub(crate) fn into_problems(self) -> Problems {
        let limit = self.limit();
        let mut located = self.problems;
        located.sort_by_key(|(at, _)| *at);
        let mut problems: Vec<Problem> = located.into_iter().map(|(_, p)| p).collect();
        if problems.len() > limit {
            problems.truncate(limit);
            problems.push(Problem::of_file(
                self.origin,
                "there are more problems",
                "mend these first",
            ));
        }
        Problems(problems)
    }

    fn is_full(&self) -> bool {
        self.problems.len() > self.limit()
    }

    fn limit(&self) -> usize {
        if self.text.len() > MAX_THOROUGH {
            MAX_PROBLEMS / 10
        } else {
            MAX_PROBLEMS
        }
    }

    fn push(&mut self, span: Range<usize>, field: &str, message: &str, remedy: &str) {
        if !self.is_full() {
            let problem = Problem::of_file(self.origin, message, remedy)
                .field(field)
                .at(self.text, span.clone());
            self.problems.push((span.start, problem));
            self.known.insert(field.to_owned());
        }
    }
}

fn descend<'n, 't>(
    root: &'n Spanned<DeValue<'t>>,
    at: &[Step],
) -> Option<&'n Spanned<DeValue<'t>>> {
    at.iter().try_fold(root, |node, step| match step {
        Step::Key(key) => node.get_ref().get(key.as_str()),
        Step::Index(index) => node.get_ref().get(*index),
    })
}

/// The path of what an error is about: the deepest key or value that stands at its span. Errors of untagged and flattened
/// types have the span of the whole table, but their message names the key.
fn find(root: &Spanned<DeValue<'_>>, span: &Range<usize>, message: &str) -> Vec<Step> {
    let mut best = Vec::new();
    search(root, span, &mut Vec::new(), &mut best);
    if let (Some(key), Some(DeValue::Table(table))) = (
        quoted_after(message, "unknown field "),
        descend(root, &best).map(Spanned::get_ref),
    ) && table.contains_key(key)
    {
        best.push(Step::Key(key.to_owned()));
    }
    best
}

fn search(
    node: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    path: &mut Vec<Step>,
    best: &mut Vec<Step>,
) {
    let mut visit = |step: Step, key: Option<Range<usize>>, value: &Spanned<DeValue<'_>>| {
        path.push(step);
        if (key.as_ref() == Some(span) || value.span() == *span) && path.len() > best.len() {
            best.clone_from(path);
        }
        search(value, span, path, best);
        path.pop();
    };
    match node.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                visit(
                    Step::Key(key.get_ref().to_string()),
                    Some(key.span()),
                    value,
                );
            }
        }
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                visit(Step::Index(index), None, value);
            }
        }
        _ => {}
    }
}

/// Takes the entry at `path` out of its table. Whether there was one.
fn remove(root: &mut Spanned<DeValue<'_>>, path: &[Step]) -> bool {
    let Some((Step::Key(last), above)) = path.split_last() else {
        return false;
    };
    let mut node = root;
    for step in above {
        let next = match (step, node.get_mut()) {
            (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str()),
            (Step::Index(index), DeValue::Array(array)) => array.get_mut(*index),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => return false,
        }
    }
    match node.get_mut() {
        DeValue::Table(table) => table.remove(last.as_str()).is_some(),
        _ => false,
    }
}

fn below(path: &[Step], key: &str) -> Vec<Step> {
    [path, &[Step::Key(key.to_owned())]].concat()
}

/// A message of the TOML parser, as (message, remedy).
fn syntax(message: &str) -> (String, String) {
    match message.split_once(", expected ") {
        Some((what, "nothing")) => (format!("TOML: {what}"), "remove it".into()),
        Some((what, expected)) => (format!("TOML: {what}"), format!("expected {expected}")),
        None if message == "duplicate key" => (
            "this key stands here for the second time".into(),
            "keep one of them".into(),
        ),
        None => (format!("TOML: {message}"), String::new()),
    }
}

/// A message of serde, as (message, remedy) for people.
fn plain(message: &str, path: &[Step], value: Option<&DeValue<'_>>) -> (String, String) {
    if let Some(name) = quoted_after(message, "unknown field ") {
        let remedy = match misspelt(message) {
            Some((_, near)) => format!("did you mean `{near}`?"),
            None => format!("expected {}", one_of(&expected_names(message))),
        };
        return (format!("unknown field `{name}`"), remedy);
    }
    if let Some(name) = quoted_after(message, "unknown variant ") {
        let known = expected_names(message);
        let noun = path.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let mut remedy = format!("expected {}", one_of(&known));
        if let Some(near) = nearest(name, known.iter().copied()) {
            let _ = write!(remedy, " (did you mean \"{near}\"?)");
        }
        let noun = noun.unwrap_or("value");
        return (format!("unknown {noun} {name:?}"), remedy);
    }
    if let Some(name) = quoted_after(message, "missing field ") {
        return (
            format!("`{name}` is missing"),
            format!("add `{name} = ...`"),
        );
    }
    if message == "wanted string or table" {
        let found = value.map_or("something else", DeValue::type_str);
        return (format!("found {found}"), "expected a string".into());
    }
    for prefix in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) = message
            .strip_prefix(prefix)
            .and_then(|m| m.rsplit_once(", expected "))
        {
            return found_expected(found, expected, path);
        }
    }
    match message.rsplit_once("; ") {
        Some((what, remedy)) => (what.into(), remedy.into()),
        None => (message.into(), String::new()),
    }
}

/// The key that does not exist and the one that was meant, where the message is about that.
fn misspelt(message: &str) -> Option<(&str, &str)> {
    let name = quoted_after(message, "unknown field ")?;
    Some((name, nearest(name, expected_names(message))?))
}

/// What serde found and expected, in the words of TOML.
fn found_expected(found: &str, expected: &str, path: &[Step]) -> (String, String) {
    let found = match found {
        "map" => "a table",
        "sequence" => "an array",
        other => other,
    };
    let expected = match expected {
        "a sequence" if found == "a table" => match path.last() {
            Some(Step::Key(key)) => {
                format!("double brackets, which begin one of several: [[{key}]]")
            }
            _ => "an array".into(),
        },
        "a sequence" => "an array".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, not negative".into(),
        "f64" => "a number".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other => other.into(),
    };
    (
        format!("found {}", found.replace('`', "")),
        format!("expected {expected}"),
    )
}

/// The name in backticks after `prefix`, where the message begins with it.
fn quoted_after<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
    // The name itself may hold a backtick; what follows it does not.
    let end = rest
        .rfind("`, expected ")
        .or_else(|| rest.rfind("`, there are no "))
        .or_else(|| rest.rfind('`'))?;
    rest.get(..end)
}

/// The names in backticks after "expected".
fn expected_names(message: &str) -> Vec<&str> {
    message
        .rsplit_once("`, expected ")
        .map_or_else(Vec::new, |(_, list)| {
            list.split('`').skip(1).step_by(2).collect()
        })
}

#[cfg(test)]
mod tests;
