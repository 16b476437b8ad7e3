//! Bodies as Toxiproxy reads them: one JSON value, what stands behind it ignored, field names in any case, `null` as if it were
//! not there.

use super::refusal::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One JSON value.
pub(super) fn value(body: &[u8]) -> Result<Value, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::bad_body("EOF"));
    }
    let mut values = serde_json::Deserializer::from_slice(body);
    Value::deserialize(&mut values).map_err(Refusal::bad_body)
}

/// The fields of a JSON object.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn of(value: Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            Value::Null => Ok(Self::default()),
            other => Err(unlike("the body", "an object", &other)),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        Self::of(value(body)?)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let any_case = || {
            let mut all = self.0.iter();
            all.find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v)
        };
        let found = self.0.get(name).or_else(any_case);
        found.filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(unlike(name, "a string", other)),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(unlike(name, "true or false", other)),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number = value.as_f64();
        number
            .map(Some)
            .ok_or_else(|| unlike(name, "a number", value))
    }

    /// A whole number; one that is written with a point is taken where nothing stands behind the point.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let whole = |number: f64| {
            let fits = number.fract() == 0.0 && number.abs() < 9e15;
            fits.then_some(number as i64)
        };
        let integer = value.as_i64().or_else(|| value.as_f64().and_then(whole));
        integer
            .map(Some)
            .ok_or_else(|| unlike(name, "a whole number of 64 bits", value))
    }

    pub(super) fn object(&self, name: &str) -> Result<Self, Refusal> {
        match self.get(name) {
            None => Ok(Self::default()),
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            Some(other) => Err(unlike(name, "an object", other)),
        }
    }
}

fn unlike(name: &str, expected: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "this number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::bad_body(format!("{name} must be {expected}, not {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Result<Fields, String> {
        Fields::parse(text.as_bytes()).map_err(|e| e.message)
    }

    #[test]
    fn reads_as_toxiproxy_does() {
        let fields = fields(r#"{"Name": "a", "rate": 5.0, "enabled": null} trailing"#).unwrap();
        assert_eq!(fields.text("name").unwrap().as_deref(), Some("a"));
        assert_eq!(fields.integer("rate").unwrap(), Some(5));
        assert_eq!(fields.number("rate").unwrap(), Some(5.0));
        assert_eq!(fields.flag("enabled").unwrap(), None);
        assert_eq!(fields.integer("nothing").unwrap(), None);
        assert!(fields.object("nothing").unwrap().0.is_empty());
    }

    #[test]
    fn says_what_is_not_as_it_should_be() {
        assert_eq!(fields(" \n").unwrap_err(), "bad request body: EOF");
        let wrong = fields("[]").unwrap_err();
        assert_eq!(
            wrong,
            "bad request body: the body must be an object, not an array"
        );
        assert!(
            fields("{")
                .unwrap_err()
                .starts_with("bad request body: EOF while parsing")
        );
        let fields = fields(r#"{"name": 1, "rate": "x", "bytes": 1.5, "enabled": "no"}"#).unwrap();
        let message = |refusal: Refusal| refusal.message;
        assert_eq!(
            fields.text("name").map_err(message).unwrap_err(),
            "bad request body: name must be a string, not this number"
        );
        assert!(fields.integer("rate").is_err());
        assert!(fields.integer("bytes").is_err());
        assert!(fields.number("rate").is_err());
        assert!(fields.flag("enabled").is_err());
        assert!(fields.object("name").is_err());
    }
}
