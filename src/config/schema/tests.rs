//! The example and the profiles against the schemas, by a validator that knows exactly the keywords that our schemas use.

use super::*;
use serde_json::{Map, Value, json};

const EXAMPLE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/brownout.example.toml"
));

/// Keywords that assert nothing.
const NOTES: [&str; 8] = [
    "$schema",
    "$defs",
    "title",
    "description",
    "examples",
    "default",
    "format",
    "$comment",
];

struct Validator<'s> {
    root: &'s Value,
}

impl Validator<'_> {
    /// Everything that the schema refuses of a value, each as "path: why".
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let rules = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Bool(false) => return vec![format!("{at}: nothing is allowed here")],
            Value::Object(rules) => rules,
            other => panic!("{other} is no schema"),
        };
        let rules = rules.iter().filter(|(k, _)| !NOTES.contains(&k.as_str()));
        let all = schema.as_object().unwrap();
        rules
            .flat_map(|(keyword, rule)| self.keyword(keyword, rule, all, value, at))
            .collect()
    }

    fn keyword(
        &self,
        keyword: &str,
        rule: &Value,
        all: &Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Vec<String> {
        let ok = match keyword {
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                return self.check(self.root.pointer(pointer).unwrap(), value, at);
            }
            "anyOf" | "oneOf" => {
                let fits = |s: &&Value| self.check(s, value, at).is_empty();
                let fitting = rule.as_array().unwrap().iter().filter(fits).count();
                if keyword == "anyOf" {
                    fitting >= 1
                } else {
                    fitting == 1
                }
            }
            "properties" => {
                let given = value.as_object().into_iter().flatten();
                let known = given.filter_map(|(k, v)| rule.get(k).map(|s| (k, v, s)));
                return known
                    .flat_map(|(k, v, s)| self.check(s, v, &format!("{at}.{k}")))
                    .collect();
            }
            "additionalProperties" => {
                let known = all.get("properties").and_then(Value::as_object);
                let given = value.as_object().into_iter().flatten();
                let others = given.filter(|(k, _)| known.is_none_or(|p| !p.contains_key(*k)));
                return others
                    .flat_map(|(k, v)| self.check(rule, v, &format!("{at}.{k}")))
                    .collect();
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                return items
                    .flat_map(|(i, v)| self.check(rule, v, &format!("{at}[{i}]")))
                    .collect();
            }
            "required" => {
                let keys = rule.as_array().unwrap().iter().map(|k| k.as_str().unwrap());
                value
                    .as_object()
                    .is_none_or(|o| keys.into_iter().all(|k| o.contains_key(k)))
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|t| is_type(t, value)),
                one => is_type(one, value),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "pattern" => {
                let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|s| pattern.is_match(s))
            }
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|a| a.len() as u64 <= rule.as_u64().unwrap()),
            other => panic!("the validator of this test does not know {other:?}"),
        };
        if ok {
            Vec::new()
        } else {
            vec![format!("{at}: {keyword} {rule} refuses {value}")]
        }
    }
}

fn is_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("type {other:?}"),
    }
}

fn refusals(schema: &Schema, toml: &str) -> Vec<String> {
    let root = schema.as_value();
    let value: Value = toml::from_str(toml).unwrap();
    Validator { root }.check(root, &value, "")
}

/// Every property of a schema and of what it refers to.
fn properties(schema: &Value, found: &mut Vec<(String, Value)>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                if key == "properties" {
                    found.extend(
                        value
                            .as_object()
                            .unwrap()
                            .iter()
                            .map(|(k, v)| (k.clone(), v.clone())),
                    );
                }
                properties(value, found);
            }
        }
        Value::Array(array) => array.iter().for_each(|v| properties(v, found)),
        _ => {}
    }
}

#[test]
fn the_example_fits_and_has_every_key() {
    let schema = config();
    assert_eq!(refusals(&schema, EXAMPLE), [""; 0]);
    let mut all = Vec::new();
    properties(schema.as_value(), &mut all);
    assert!(all.len() > 20, "{all:?}");
    for (key, _) in all {
        let word = regex_lite::Regex::new(&format!(r"(?m)(^|[\s{{\[,]){key}( =|\])")).unwrap();
        assert!(
            word.is_match(EXAMPLE),
            "brownout.example.toml does not show `{key}`"
        );
    }
}

#[test]
fn every_key_of_the_example_is_explained_above_it() {
    let mut before = "";
    let mut seen = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with('#')
            && !seen.contains(&key)
        {
            assert!(before.starts_with('#'), "no comment above: {line}");
            seen.push(key);
        }
        before = line;
    }
    assert!(seen.len() > 15, "{seen:?}");
}

#[test]
fn every_built_in_profile_fits() {
    for builtin in crate::config::Library::builtin().iter() {
        assert_eq!(
            refusals(&profile(), &builtin.source),
            [""; 0],
            "{}",
            builtin.name
        );
    }
}

#[test]
fn every_property_is_described() {
    for schema in [config(), profile()] {
        let mut all = Vec::new();
        properties(schema.as_value(), &mut all);
        for (key, value) in all {
            assert!(
                value
                    .get("description")
                    .is_some_and(|d| !d.as_str().unwrap().is_empty()),
                "{key}: {value}"
            );
        }
    }
}

#[test]
fn durations_have_a_pattern_and_null_is_nowhere() {
    for schema in [config(), profile()] {
        let text = schema.as_value().to_string();
        assert!(!text.contains("null"), "{text}");
    }
    let wrong = ["5", "ms", "5 5", "five ms"];
    for text in wrong {
        assert!(
            !refusals(&config(), &format!("drain_deadline = '{text}'")).is_empty(),
            "{text}"
        );
    }
    for text in ["5ms", "1m 30s", "0.5ms", "250us", "2 days"] {
        assert_eq!(
            refusals(&config(), &format!("drain_deadline = '{text}'")),
            [""; 0]
        );
    }
}

#[test]
fn refuses_what_the_parser_refuses() {
    for toml in [
        "wrokers = 1",
        "workers = 0",
        "workers = 257",
        "on_desync = 'drop'",
        "[admin]\nlisten = 70000",
        "[admin]\nlisten = 'x'",
        "[[proxy]]\nname = 'a'",
        "[[proxy]]\nname = 'A'\nprotocol = 'tcp'\nlisten = 1\nupstream = 'h:1'",
        "[[proxy]]\nname = 'a'\nprotocol = 'udp'\nlisten = 1\nupstream = 'h:1'",
        "[[proxy]]\nname = 'a'\nprotocol = 'tcp'\nlisten = 1\nupstream = 'redis://h:1'",
        "[[proxy]]\nname = 'a'\nprotocol = 'tcp'\nlisten = 1\nupstream = 'h:1'\nslo = { p95 = 5 }",
    ] {
        assert!(crate::config::Config::parse(toml, "t").is_err(), "{toml}");
        assert!(!refusals(&config(), toml).is_empty(), "{toml}");
    }
    for toml in [
        "[[fault]]\naction = 'melt'",
        "[[fault]]\nproxy = 'a'",
        "fault = 1",
        "[[fault]]\naction = 'stall'\nttl = 5",
    ] {
        assert!(
            crate::config::Profile::parse("p", toml, "t").is_err(),
            "{toml}"
        );
        assert!(!refusals(&profile(), toml).is_empty(), "{toml}");
    }
}

#[test]
fn the_validator_can_refuse() {
    let root = json!({ "type": "object", "additionalProperties": false });
    assert_eq!(
        Validator { root: &root }
            .check(&root, &json!({ "a": 1 }), "")
            .len(),
        1
    );
    assert_eq!(
        Validator { root: &root }.check(&root, &json!(1), "").len(),
        1
    );
}
