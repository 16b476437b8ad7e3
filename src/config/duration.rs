//! Durations in files: strings with a unit ("5ms", "1m 30s").

use schemars::{Schema, SchemaGenerator, json_schema};
use std::time::Duration;

/// The longest duration that is accepted: far beyond any use, and far below what overflows a clock.
pub const MAX: Duration = Duration::from_secs(366 * 24 * 3600);

const EXPECTED: &str = "write a number with a unit, like \"5ms\" or \"1m 30s\"";

/// Reads "5ms".
///
/// # Errors
/// Says what is wrong and what to write instead, separated by a semicolon.
pub fn parse(text: &str) -> Result<Duration, String> {
    let shown: String = text.chars().take(40).collect();
    match humantime::parse_duration(text) {
        Ok(d) if d > MAX => Err(format!("{shown:?} is too long; at most 366 days")),
        Ok(d) => Ok(d),
        Err(_) => Err(format!("{shown:?} is not a duration; {EXPECTED}")),
    }
}

/// JSON Schema of a duration, for `#[schemars(with = "...")]`.
#[derive(Debug, Clone, Copy)]
pub struct Text;

impl schemars::JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: numbers with units, like \"5ms\", \"250us\" or \"1m 30s\".",
            "pattern": "^\\s*([0-9]+(\\.[0-9]+)?\\s*[a-zA-Z\u{b5}]+\\s*)+$",
            "examples": ["250us", "5ms", "1m 30s"],
        })
    }
}

/// serde for `Duration`.
pub mod required {
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;
    use std::fmt;
    use std::time::Duration;

    /// Writes "5ms".
    #[allow(clippy::missing_errors_doc)]
    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*d))
    }

    /// Reads "5ms".
    #[allow(clippy::missing_errors_doc)]
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        d.deserialize_str(Text)
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration: a string with a unit, like \"5ms\" or \"1m 30s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            super::parse(text).map_err(E::custom)
        }
    }
}

/// serde for `Option<Duration>`.
pub mod option {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    /// Writes "5ms" or nothing.
    #[allow(clippy::missing_errors_doc, clippy::ref_option)]
    pub fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => super::required::serialize(d, s),
            None => s.serialize_none(),
        }
    }

    /// Reads "5ms".
    #[allow(clippy::missing_errors_doc)]
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super::required")] Duration);
        Ok(Option::<Wrapped>::deserialize(d)?.map(|w| w.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units() {
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn says_what_to_write() {
        assert_eq!(
            parse("5").unwrap_err(),
            "\"5\" is not a duration; write a number with a unit, like \"5ms\" or \"1m 30s\""
        );
        for wrong in ["", "ms", "-1s", "5 lightyears", "99999999999999999999s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn is_bounded() {
        assert_eq!(parse("366days"), Ok(MAX));
        assert_eq!(
            parse("367days").unwrap_err(),
            "\"367days\" is too long; at most 366 days"
        );
    }
}
