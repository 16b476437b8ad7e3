//! `KEY=VALUE` words as the JSON of a fault.

use crate::config::suggest::nearest;
use crate::fault::FaultSpec;
use serde_json::{Map, Value};

/// The object that the words describe. Whether it is a fault is not looked at.
pub(super) fn object(pairs: &[String]) -> Result<Value, String> {
    let schema = schemars::schema_for!(FaultSpec);
    let mut object = Map::new();
    for pair in pairs {
        let (path, text) = pair
            .split_once('=')
            .ok_or_else(|| format!("`{pair}` is not KEY=VALUE; write action=latency"))?;
        let value = value(&schema, path, text).map_err(|error| format!("{path}: {error}"))?;
        insert(&mut object, path, value)?;
    }
    Ok(Value::Object(object))
}

/// What a text is, by the type that its key has: `preset=503` is a name, `status=503` a number.
fn value(schema: &schemars::Schema, path: &str, text: &str) -> Result<Value, String> {
    if text.starts_with(['[', '{']) {
        return serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"));
    }
    let typed = match path.split_once('.') {
        // The only number in a table is a distribution's.
        Some((table, _)) => table == "delay",
        None => !may_be_text(schema, path),
    };
    let parsed = serde_json::from_str(text).ok();
    let parsed = parsed.filter(|value: &Value| value.is_number() || value.is_boolean());
    Ok(parsed.filter(|_| typed).unwrap_or_else(|| text.into()))
}

/// Whether a key takes a text; a number or a truth otherwise.
fn may_be_text(schema: &schemars::Schema, key: &str) -> bool {
    let kind = schema
        .get("properties")
        .and_then(|p| p.get(key)?.get("type"));
    let is = |kind: &Value| matches!(kind.as_str(), Some("number" | "integer" | "boolean"));
    match kind {
        Some(Value::Array(kinds)) => !kinds.iter().any(is),
        Some(kind) => !is(kind),
        None => true,
    }
}

/// Puts a value at a dotted path.
fn insert(object: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    if key.is_empty() {
        return Err(format!("`{path}` is no key"));
    }
    let Some(rest) = rest else {
        return match object.insert(key.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(format!("`{key}` is given twice")),
        };
    };
    let table = object.entry(key).or_insert_with(|| Map::new().into());
    match table {
        Value::Object(table) => insert(table, rest, value),
        _ => Err(format!("`{key}` is given twice")),
    }
}

/// Why an object is no fault, with the nearest key where one is unknown.
pub(super) fn explain(
    fault: &Value,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> String {
    let schema = schemars::schema_for!(FaultSpec);
    let known = schema.get("properties").and_then(Value::as_object);
    let known = || known.into_iter().flat_map(Map::keys).map(String::as_str);
    let given = fault.as_object().into_iter().flat_map(Map::keys);
    for key in given {
        if known().any(|k| k == key) {
            continue;
        }
        return match nearest(key, known()) {
            Some(near) => format!("a fault has no `{key}`; did you mean `{near}`?"),
            None => {
                format!("a fault has no `{key}`; `brownout schema profile` describes what it has")
            }
        };
    }
    let (path, error) = (error.path().to_string(), error.inner());
    if path == "." {
        return format!("this is no fault: {error}; `brownout schema profile` describes one");
    }
    format!("this is no fault: {path}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(words: &str) -> Result<Value, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        object(&words)
    }

    #[test]
    fn values_have_the_type_of_their_key() {
        assert_eq!(
            parsed("action=error preset=503 status=503 probability=0.5 close=true name=7"),
            Ok(json!({
                "action": "error", "preset": "503", "status": 503, "probability": 0.5,
                "close": true, "name": "7",
            }))
        );
    }

    #[test]
    fn tables_are_written_with_dots_and_lists_in_brackets() {
        let words = r#"delay.distribution=pareto delay.scale=2ms delay.shape=2.0 match.method=["GET","PUT"] match.key=7"#;
        assert_eq!(
            parsed(words),
            Ok(json!({
                "delay": { "distribution": "pareto", "scale": "2ms", "shape": 2.0 },
                "match": { "method": ["GET", "PUT"], "key": "7" },
            }))
        );
    }

    #[test]
    fn every_fault_can_be_written() {
        let words = "action=latency delay.distribution=pareto delay.scale=2ms delay.shape=2 \
            on=request floor=false probability=1 every=2 first=3 after=4 per_second=5 scope=session ttl=1m seed=6 \
            match.operation=GET match.header.name=x schedule.start=1s bytes=1 share=0.5 status=500";
        let fault = parsed(words).unwrap();
        serde_json::from_value::<FaultSpec>(fault).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, message) in [
            (
                "latency",
                "`latency` is not KEY=VALUE; write action=latency",
            ),
            ("delay=5ms delay.p50=5ms", "`delay` is given twice"),
            ("action=stall action=stall", "`action` is given twice"),
            ("=5", "`` is no key"),
            (
                "match=[",
                "match: not JSON: EOF while parsing a list at line 1 column 1",
            ),
        ] {
            assert_eq!(parsed(words), Err(message.to_owned()));
        }
        let told = |fault: Value| {
            let parsed = serde_path_to_error::deserialize::<_, FaultSpec>(&fault);
            let error = parsed.unwrap_err();
            explain(&fault, &error)
        };
        assert_eq!(
            told(json!({ "action": "stall", "probabilty": 1 })),
            "a fault has no `probabilty`; did you mean `probability`?"
        );
        assert!(told(json!({ "action": "stal" })).contains("`stall`"));
        let bare = told(json!({ "action": "latency", "delay": "5" }));
        assert!(bare.starts_with("this is no fault: delay: "), "{bare}");
        let header = told(json!({ "action": "stall", "match": { "header": "X" } }));
        assert!(header.contains("match.header"), "{header}");
        assert!(header.contains("a header, like { name ="), "{header}");
        assert!(told(json!({ "delay": "5ms" })).contains("missing field `action`"));
        assert!(told(json!({ "action": "stall", "zzz": 1 })).contains("brownout schema profile"));
    }
}
