//! `delay`: a duration, or a table that names a distribution.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::duration;
use crate::fault::recorded::Recorded;

/// How long a fault holds something: `"5ms"`, or a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Drawn from a distribution.
    Drawn(DelayTable),
}

/// A distribution and its parameters; which belong together is checked when the fault is compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelayTable {
    /// The family.
    pub distribution: DistributionKind,
    /// `fixed`: the delay.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub value: Option<Duration>,
    /// `uniform`: the least.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub min: Option<Duration>,
    /// `uniform`: the most.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub max: Option<Duration>,
    /// `normal`: the mean, before draws below zero are raised to it.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub mean: Option<Duration>,
    /// `normal`: the standard deviation.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub stddev: Option<Duration>,
    /// `lognormal`: the median.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub p50: Option<Duration>,
    /// `lognormal`: the 99th percentile.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub p99: Option<Duration>,
    /// `pareto`: the least.
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub scale: Option<Duration>,
    /// `pareto`: the tail index; the smaller, the heavier the tail (2 to 3 is typical of networks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<f64>,
    /// `recorded`: an HdrHistogram log with values in microseconds, as `--hlog` writes it; relative to the profile's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `recorded`: only intervals with this tag. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What the file holds, once it was read.
    #[serde(skip)]
    pub recorded: Option<Arc<Recorded>>,
}

impl DelayTable {
    /// A table with this family and no parameter yet.
    pub const fn new(distribution: DistributionKind) -> Self {
        Self {
            distribution,
            value: None,
            min: None,
            max: None,
            mean: None,
            stddev: None,
            p50: None,
            p99: None,
            scale: None,
            shape: None,
            file: None,
            tag: None,
            recorded: None,
        }
    }
}

/// A family of distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DistributionKind {
    /// Always `value`.
    Fixed,
    /// Anything between `min` and `max`, all alike.
    Uniform,
    /// Around `mean`, spread by `stddev`; never below zero.
    Normal,
    /// The usual shape of real latencies: median `p50`, tail through `p99`.
    Lognormal,
    /// A heavy tail: never below `scale`, the rarer the longer by `shape`.
    Pareto,
    /// As it was measured once: a `file`, in a profile only.
    Recorded,
}

impl DistributionKind {
    /// As written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Lognormal => "lognormal",
            Self::Pareto => "pareto",
            Self::Recorded => "recorded",
        }
    }

    /// The parameters it needs.
    pub const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Fixed => &["value"],
            Self::Uniform => &["min", "max"],
            Self::Normal => &["mean", "stddev"],
            Self::Lognormal => &["p50", "p99"],
            Self::Pareto => &["scale", "shape"],
            Self::Recorded => &["file", "tag"],
        }
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(delay) => duration::required::serialize(delay, serializer),
            Self::Drawn(table) => table.serialize(serializer),
        }
    }
}

/// By hand: an untagged enum would answer every mistake inside the table with "did not match any variant".
impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Delay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration with a unit, like \"5ms\", or a table with a `distribution`",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Delay, E> {
                let text = serde::de::value::StrDeserializer::new(text);
                duration::required::deserialize(text).map(Delay::Fixed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                DelayTable::deserialize(MapAccessDeserializer::new(map)).map(Delay::Drawn)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Delay {
    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<DelayTable>();
        json_schema!({
            "description": "How long: a duration with a unit, like \"5ms\", or a table that names a distribution.",
            "anyOf": [{ "type": "string" }, table]
        })
    }
}
