//! `--var name=value`: `{{name}}` in a profile becomes the value; of `{{name|default}}` the default where none is given.

use crate::config::Problems;
use std::collections::{BTreeMap, BTreeSet};

/// A profile with its values.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) text: String,
    /// By line, from 1: the variables whose values were given.
    given: BTreeMap<usize, BTreeSet<String>>,
}

impl Filled {
    /// Names the variables that made what is wrong: the file does not have it.
    pub(crate) fn blame(&self, mut problems: Problems) -> Problems {
        for problem in &mut problems.0 {
            if let Some(names) = self.given.get(&problem.line) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let given = format!(" (given with --var {})", names.join(", --var "));
                problem.message.push_str(&given);
            }
        }
        problems
    }
}

/// Replaces what is given; what stands there, was not given and has no default is reported with its line. The names that stand
/// there are added to `known`.
pub(crate) fn fill(
    text: &str,
    values: &BTreeMap<String, String>,
    origin: &str,
    known: &mut BTreeSet<String>,
) -> Result<Filled, Problems> {
    let mut given: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                break;
            };
            out.push_str(before);
            let (name, default) = match name.split_once('|') {
                Some((name, default)) => (name.trim(), Some(default.trim())),
                None => (name.trim(), None),
            };
            known.insert(name.to_owned());
            if values.contains_key(name) {
                let names = given.entry(number + 1).or_default();
                names.insert(name.to_owned());
            }
            match values.get(name).map(String::as_str).or(default) {
                Some(value) => out.push_str(value),
                None => problems.extend(
                    Problems::of_file(
                        origin,
                        &format!("line {}: `{{{{{name}}}}}` has no value", number + 1),
                        &format!("give one with --var {name}=VALUE"),
                    )
                    .0,
                ),
            }
            rest = behind;
        }
        out.push_str(rest);
    }
    if problems.is_empty() {
        Ok(Filled { text: out, given })
    } else {
        Err(Problems(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_what_is_given_and_names_what_is_not() {
        let values = BTreeMap::from([("port".to_owned(), "6379".to_owned())]);
        let fill = |text, values, origin| fill(text, values, origin, &mut BTreeSet::new());
        let text = "a = 1\nb = \"x:{{ port }}\"\nc = { d = {} }\n";
        assert_eq!(
            fill(text, &values, "p").expect("complete").text,
            "a = 1\nb = \"x:6379\"\nc = { d = {} }\n"
        );
        let problem = fill("a\nb = \"{{nobody}}\"", &values, "p").expect_err("missing");
        let text = problem.to_string();
        assert!(
            text.contains("line 2") && text.contains("--var nobody="),
            "{text}"
        );
    }

    #[test]
    fn a_default_stands_where_nothing_is_given() {
        let text = "a = \"{{redis|localhost:6379}}\"\nb = \"{{ empty | }}\"";
        let mut known = BTreeSet::new();
        let filled = fill(text, &BTreeMap::new(), "p", &mut known)
            .expect("complete")
            .text;
        assert_eq!(filled, "a = \"localhost:6379\"\nb = \"\"");
        assert_eq!(known.into_iter().collect::<Vec<_>>(), ["empty", "redis"]);
        let values = BTreeMap::from([("redis".to_owned(), "h:1".to_owned())]);
        let filled = fill(text, &values, "p", &mut BTreeSet::new())
            .expect("complete")
            .text;
        assert!(filled.starts_with("a = \"h:1\""));
    }

    #[test]
    fn what_is_wrong_with_a_value_names_its_variable() {
        let values = BTreeMap::from([("a".to_owned(), "x".to_owned())]);
        let text = "k = {{a}}\nl = {{b|y}}\n";
        let filled = fill(text, &values, "p", &mut BTreeSet::new()).expect("complete");
        let at = |line| {
            let mut problems = Problems::of_file("p", "it is wrong", "mend it");
            problems.0[0].line = line;
            filled.blame(problems).to_string()
        };
        assert!(at(1).contains("it is wrong (given with --var a); mend it"));
        assert!(!at(2).contains("--var"));
    }
}
