//! Bodies: read within bounds, written as JSON or text.

use super::problem::Problem;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::time::Duration;

/// The largest body that is read, in bytes.
const LIMIT: usize = 64 * 1024;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the endpoint answers with.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A whole body.
///
/// # Errors
/// 413, 408 or 400.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(DEADLINE, Limited::new(body, LIMIT).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body may have {LIMIT} bytes"),
        )),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the body ended too early",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("a body must arrive within {} s", DEADLINE.as_secs()),
        )),
    }
}

/// A JSON body. An empty one is an empty object.
///
/// # Errors
/// 400 with what the parser says: where, and which field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = if bytes.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        bytes
    };
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
        match path.as_str() {
            "." => problem,
            path => problem.field(path),
        }
    })?;
    reader.end().map_err(|e| told(&e))?;
    Ok(parsed)
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
