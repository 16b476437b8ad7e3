//! Durations in files: strings with a unit ("5ms", "1m 30s").

/// serde for `Duration`.
pub mod required {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    /// Writes "5ms".
    #[allow(clippy::missing_errors_doc)]
    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*d))
    }

    /// Reads "5ms".
    #[allow(clippy::missing_errors_doc)]
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_duration(&text).map_err(|e| {
            D::Error::custom(format!("`{text}` is not a duration ({e}); write a number with a unit, like \"5ms\" or \"1m 30s\""))
        })
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
