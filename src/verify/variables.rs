//! `--var name=value`: `{{name}}` in a profile becomes the value.

use crate::config::Problems;
use std::collections::BTreeMap;

/// Replaces what is given; what stands there and was not given is reported with its line.
pub(crate) fn fill(
    text: &str,
    values: &BTreeMap<String, String>,
    origin: &str,
) -> Result<String, Problems> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, behind)) = after.split_once("}}") else {
                break;
            };
            out.push_str(before);
            match values.get(name.trim()) {
                Some(value) => out.push_str(value),
                None => problems.extend(
                    Problems::of_file(
                        origin,
                        &format!("line {}: `{{{{{name}}}}}` has no value", number + 1),
                        &format!("give one with --var {}=VALUE", name.trim()),
                    )
                    .0,
                ),
            }
            rest = behind;
        }
        out.push_str(rest);
    }
    if problems.is_empty() {
        Ok(out)
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
        let text = "a = 1\nb = \"x:{{ port }}\"\nc = { d = {} }\n";
        assert_eq!(
            fill(text, &values, "p").expect("complete"),
            "a = 1\nb = \"x:6379\"\nc = { d = {} }\n"
        );
        let problem = fill("a\nb = \"{{nobody}}\"", &values, "p").expect_err("missing");
        let text = problem.to_string();
        assert!(
            text.contains("line 2") && text.contains("--var nobody="),
            "{text}"
        );
    }
}
