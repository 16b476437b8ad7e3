//! What a toxic is: the model, as it is read and as it is shown.

use super::input::Fields;
use super::refusal::Refusal;
use crate::fault::spec::Side;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

/// What a toxic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Latency,
    Bandwidth,
    SlowClose,
    Timeout,
    ResetPeer,
    Slicer,
    LimitData,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Latency,
        Self::Bandwidth,
        Self::SlowClose,
        Self::Timeout,
        Self::ResetPeer,
        Self::Slicer,
        Self::LimitData,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Bandwidth => "bandwidth",
            Self::SlowClose => "slow_close",
            Self::Timeout => "timeout",
            Self::ResetPeer => "reset_peer",
            Self::Slicer => "slicer",
            Self::LimitData => "limit_data",
        }
    }

    /// Its attributes, in the order in which they are shown. All are whole numbers, and zero where nothing is said.
    const fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Latency => &["latency", "jitter"],
            Self::Bandwidth => &["rate"],
            Self::SlowClose => &["delay"],
            Self::Timeout | Self::ResetPeer => &["timeout"],
            Self::Slicer => &["average_size", "size_variation", "delay"],
            Self::LimitData => &["bytes"],
        }
    }
}

/// A toxic.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Toxic {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) stream: Side,
    /// Share of connections, as it was sent: what is beyond 0 and 1 counts as these.
    pub(super) toxicity: f64,
    /// In the order of [`Kind::attributes`]; what it does not have is zero.
    pub(super) attributes: [i64; 3],
}

/// The part of a new toxic that is read before the attributes are.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) toxic: Toxic,
    attributes: Fields,
}

impl Wanted {
    /// Reads all but the attributes.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let fields = Fields::parse(body)?;
        let name = fields.text("name")?.unwrap_or_default();
        let kind = fields.text("type")?.unwrap_or_default();
        // noxious-client says `direction`, which nobody else sends.
        let stream = match fields.text("stream")? {
            None => fields.text("direction")?,
            said => said,
        };
        let toxicity = fields.number("toxicity")?.unwrap_or(1.0);
        let attributes = fields.object("attributes")?;
        let stream = match stream.map(|s| s.to_ascii_lowercase()).as_deref() {
            None | Some("downstream") => Side::Reply,
            Some("upstream") => Side::Request,
            Some(_) => return Err(Refusal::invalid_stream()),
        };
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind);
        let kind = kind.ok_or_else(Refusal::invalid_type)?;
        let name = if name.is_empty() {
            format!("{}_{}", kind.name(), direction(stream))
        } else {
            name
        };
        let toxic = Toxic {
            name,
            kind,
            stream,
            toxicity,
            attributes: [0; 3],
        };
        Ok(Self { toxic, attributes })
    }

    /// Reads the attributes.
    pub(super) fn complete(mut self) -> Result<Toxic, Refusal> {
        self.toxic.take(&self.attributes)?;
        Ok(self.toxic)
    }
}

impl Toxic {
    /// What a change leaves out stays.
    pub(super) fn changed(mut self, body: &[u8]) -> Result<Self, Refusal> {
        let fields = Fields::parse(body)?;
        self.toxicity = fields.number("toxicity")?.unwrap_or(self.toxicity);
        self.take(&fields.object("attributes")?)?;
        Ok(self)
    }

    fn take(&mut self, given: &Fields) -> Result<(), Refusal> {
        for (place, name) in self.kind.attributes().iter().enumerate() {
            if let Some(value) = given.integer(name)? {
                self.attributes[place] = value;
            }
        }
        Ok(())
    }
}

/// The name of a direction.
pub(super) const fn direction(stream: Side) -> &'static str {
    match stream {
        Side::Request => "upstream",
        Side::Reply => "downstream",
    }
}

impl Serialize for Toxic {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut shown = s.serialize_struct("Toxic", 5)?;
        shown.serialize_field("attributes", &Attributes(self))?;
        shown.serialize_field("name", &self.name)?;
        shown.serialize_field("type", self.kind.name())?;
        shown.serialize_field("stream", direction(self.stream))?;
        // Go writes a whole number without a point.
        if self.toxicity.fract() == 0.0 && self.toxicity.abs() < 1e15 {
            shown.serialize_field("toxicity", &(self.toxicity as i64))?;
        } else {
            shown.serialize_field("toxicity", &self.toxicity)?;
        }
        shown.end()
    }
}

struct Attributes<'t>(&'t Toxic);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let names = self.0.kind.attributes();
        let mut shown = s.serialize_map(Some(names.len()))?;
        for (name, value) in names.iter().zip(&self.0.attributes) {
            shown.serialize_entry(name, value)?;
        }
        shown.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toxic(body: &str) -> Result<String, String> {
        let toxic = Wanted::parse(body.as_bytes()).and_then(Wanted::complete);
        toxic
            .map(|t| serde_json::to_string(&t).unwrap())
            .map_err(|e| e.message)
    }

    #[test]
    fn every_kind_has_its_attributes_and_defaults() {
        for (body, shown) in [
            (
                r#"{"type":"latency"}"#,
                r#"{"attributes":{"latency":0,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1}"#,
            ),
            (
                r#"{"type":"bandwidth","attributes":{"rate":5},"toxicity":0.25,"stream":"upstream"}"#,
                r#"{"attributes":{"rate":5},"name":"bandwidth_upstream","type":"bandwidth","stream":"upstream","toxicity":0.25}"#,
            ),
            (
                r#"{"type":"slow_close","name":"n","attributes":{"delay":7,"other":"x"},"more":1}"#,
                r#"{"attributes":{"delay":7},"name":"n","type":"slow_close","stream":"downstream","toxicity":1}"#,
            ),
            (
                r#"{"type":"timeout","toxicity":0}"#,
                r#"{"attributes":{"timeout":0},"name":"timeout_downstream","type":"timeout","stream":"downstream","toxicity":0}"#,
            ),
            (
                r#"{"type":"reset_peer","stream":"Upstream"}"#,
                r#"{"attributes":{"timeout":0},"name":"reset_peer_upstream","type":"reset_peer","stream":"upstream","toxicity":1}"#,
            ),
            (
                r#"{"type":"latency","direction":"upstream"}"#,
                r#"{"attributes":{"latency":0,"jitter":0},"name":"latency_upstream","type":"latency","stream":"upstream","toxicity":1}"#,
            ),
            (
                r#"{"type":"latency","stream":"downstream","direction":"upstream"}"#,
                r#"{"attributes":{"latency":0,"jitter":0},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1}"#,
            ),
            (
                r#"{"type":"slicer","attributes":{"delay":1,"average_size":2,"size_variation":3}}"#,
                r#"{"attributes":{"average_size":2,"size_variation":3,"delay":1},"name":"slicer_downstream","type":"slicer","stream":"downstream","toxicity":1}"#,
            ),
            (
                r#"{"type":"limit_data","attributes":{"bytes":-1}}"#,
                r#"{"attributes":{"bytes":-1},"name":"limit_data_downstream","type":"limit_data","stream":"downstream","toxicity":1}"#,
            ),
        ] {
            assert_eq!(toxic(body).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn checks_come_in_order() {
        const STREAM: &str = "stream was invalid, can be either upstream or downstream";
        for (body, wrong) in [
            (
                r#"{"stream":"x","type":"y","attributes":{"latency":"z"}}"#,
                STREAM,
            ),
            (r#"{"stream":""}"#, STREAM),
            (
                r#"{"type":"y","attributes":{"latency":"z"}}"#,
                "invalid toxic type",
            ),
            (r#"{"type":"Latency"}"#, "invalid toxic type"),
            ("{}", "invalid toxic type"),
            (
                r#"{"type":"latency","attributes":{"latency":"z"}}"#,
                "bad request body: latency must be a whole number of 64 bits, not a string",
            ),
            (
                r#"{"type":"latency","stream":"x","attributes":[]}"#,
                "bad request body: attributes must be an object, not an array",
            ),
        ] {
            assert_eq!(toxic(body).unwrap_err(), wrong, "{body}");
        }
    }
}
