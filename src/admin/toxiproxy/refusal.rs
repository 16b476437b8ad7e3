//! Errors in Toxiproxy's form.

use super::super::body::{Answer, with_type};
use super::super::problem::Problem;
use crate::fault::StoreError;
use crate::proxy::ControlError;
use hyper::StatusCode;
use serde::Serialize;

/// An error in Toxiproxy's form.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    #[serde(rename = "error")]
    pub(super) message: String,
    #[serde(rename = "status", serialize_with = "number")]
    pub(super) status: StatusCode,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde wants
fn number<S: serde::Serializer>(status: &StatusCode, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u16(status.as_u16())
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { message, status }
    }

    pub(super) fn bad_body(why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("bad request body: {why}"))
    }

    pub(super) fn missing(field: &str) -> Self {
        let message = format!("missing required field: {field}");
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn invalid_stream() -> Self {
        const MESSAGE: &str = "stream was invalid, can be either upstream or downstream";
        Self::new(StatusCode::BAD_REQUEST, MESSAGE)
    }

    pub(super) fn invalid_type() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid toxic type")
    }

    pub(super) fn no_proxy() -> Self {
        Self::new(StatusCode::NOT_FOUND, "proxy not found")
    }

    pub(super) fn no_toxic() -> Self {
        Self::new(StatusCode::NOT_FOUND, "toxic not found")
    }

    pub(super) fn proxy_exists() -> Self {
        Self::new(StatusCode::CONFLICT, "proxy already exists")
    }

    pub(super) fn toxic_exists() -> Self {
        Self::new(StatusCode::CONFLICT, "toxic already exists")
    }

    /// What Toxiproxy has no status of its own for.
    pub(super) fn other(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// With the line end that Toxiproxy's errors have.
    pub(super) fn into_answer(self) -> Answer {
        let mut text = serde_json::to_vec(&self).unwrap_or_default();
        text.push(b'\n');
        with_type(self.status, text.into(), "application/json")
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NoProxy(_) => Self::no_proxy(),
            ControlError::ProxyExists(_) => Self::proxy_exists(),
            ControlError::Store(StoreError::NotFound(_)) => Self::no_toxic(),
            ControlError::Fault(_) => Self::bad_body(error),
            // What Toxiproxy knows nothing of keeps the status that it has on /v1.
            ControlError::Store(_) | ControlError::Limit(_) => {
                let problem = Problem::from(error);
                Self::new(problem.status(), problem.detail())
            }
            other => Self::other(Problem::from(other).detail()),
        }
    }
}
