//! Bodies: read within bounds, written as JSON or text.

use super::problem::Problem;
use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// The largest body that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// Of a body that is too large, so many bytes are read and passed over: closing on unread bytes resets the connection, and the
/// client would not get to know why.
const PASSED_OVER: usize = 1024 * 1024;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the endpoint answers with.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A whole body.
///
/// # Errors
/// 413, 408 or 400.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Problem> {
    match tokio::time::timeout(DEADLINE, collect(body)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("a body must arrive within {} s", DEADLINE.as_secs()),
        )),
    }
}

async fn collect(mut body: Incoming) -> Result<Bytes, Problem> {
    let (mut read, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad("the body ended too early"))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        length += data.len();
        if length <= LIMIT {
            read.extend_from_slice(data);
        } else if length > PASSED_OVER {
            break;
        }
    }
    if length > LIMIT {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body may have {LIMIT} bytes"),
        ));
    }
    Ok(read.freeze())
}

/// A JSON body. An empty one is an empty object.
///
/// # Errors
/// 400 with what the parser says: where, and which field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let told = |e: &serde_json::Error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not as expected: {e}"),
        )
    };
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        let problem = told(e.inner());
        let inner = e.inner().to_string();
        // What is missing is named by the message alone.
        let missing = inner.strip_prefix("missing field `");
        match (
            missing.and_then(|rest| rest.split('`').next()),
            path.as_str(),
        ) {
            (Some(field), ".") => problem.missing(field),
            (Some(field), path) => problem.missing(&format!("{path}.{field}")),
            (None, ".") => problem,
            (None, path) => problem.field(path),
        }
    })?;
    reader.end().map_err(|e| told(&e))?;
    Ok(parsed)
}

/// The members of a JSON object. An empty body is an empty object.
///
/// # Errors
/// 400.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    parse(bytes)
}

/// A JSON object that has to be there.
///
/// # Errors
/// 400.
pub(super) fn required(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.is_empty() {
        return Err(Problem::bad(
            "a body is missing: say what is to be otherwise",
        ));
    }
    object(bytes)
}

/// A body with nothing in it, where there is nothing to say.
///
/// # Errors
/// 400.
pub(super) fn nothing(bytes: &[u8]) -> Result<(), Problem> {
    match object(bytes)?.keys().next() {
        None => Ok(()),
        Some(key) => {
            let key = key.chars().take(80).collect::<String>();
            Err(Problem::bad(format!(
                "nothing is to be said here, and the body says `{key}`"
            ))
            .field(&key))
        }
    }
}

/// Whether a body begins as an object does: a list would be read as the fields of one, in their order.
///
/// # Errors
/// 400.
pub(super) fn object_only(bytes: &[u8]) -> Result<(), Problem> {
    match bytes.trim_ascii_start().first() {
        None if bytes.is_empty() => Ok(()),
        Some(b'{') => Ok(()),
        _ => Err(Problem::bad(
            "the body is not as expected: it is no JSON object",
        )),
    }
}

/// Whether no object of a JSON text has a key twice: readers would not agree on what it says.
///
/// # Errors
/// 400 with the key.
pub(super) fn unambiguous(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut text = serde_json::Deserializer::from_slice(bytes);
    Once::deserialize(&mut text)
        .and_then(|_| text.end())
        .map_err(|e| Problem::bad(format!("the body is not as expected: {e}")))
}

/// Any JSON value, in which no key stands twice in one object.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Self>()?;
            if seen.contains(&key) {
                let key: String = key.chars().take(80).collect();
                return Err(serde::de::Error::custom(format!(
                    "`{key}` stands there twice"
                )));
            }
            seen.insert(key);
        }
        Ok(self)
    }
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Maps with text keys and plain values: serialization has nothing to fail on.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    with_type(status, text.into(), "application/json")
}

/// An answer in plain text of some type.
pub(super) fn with_type(status: StatusCode, body: Bytes, kind: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(body).boxed_unsync());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_may_stand_twice_at_any_depth() {
        for fine in [
            "",
            "{}",
            r#"{"a":[{"b":1},{"b":2}],"c":{"a":null}}"#,
            "[1,2.5,-3,true]",
        ] {
            assert!(unambiguous(fine.as_bytes()).is_ok(), "{fine}");
        }
        for wrong in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
            " ",
            "{",
            "{} {}",
            "{}x",
            "nul",
        ] {
            assert!(unambiguous(wrong.as_bytes()).is_err(), "{wrong}");
        }
        // Deeper than any request of ours, and than the stack is asked to bear.
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(unambiguous(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        use crate::fault::FaultSpec;
        for (body, field) in [
            (r#"{"delay":"5ms"}"#, "action"),
            (
                r#"{"action":"stall","match":{"header":{"value":"x"}}}"#,
                "match.header.name",
            ),
            (r#"{"action":"latency","delay":"5"}"#, "delay"),
        ] {
            let problem = parse::<FaultSpec>(body.as_bytes()).unwrap_err();
            let problem = serde_json::to_value(&problem).unwrap();
            assert_eq!(problem["errors"][0]["field"], field, "{problem}");
            let remedy = &problem["errors"][0]["remedy"];
            assert_eq!(remedy.is_null(), field == "delay", "{problem}");
        }
    }
}
