//! Errors of the API: problem documents (RFC 9457) that name the field.

use super::body::{Answer, json};
use crate::fault::StoreError;
use crate::proxy::{ControlError, StartError};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// An error as it is sent.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// Fields or headers that are at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip)]
    code: StatusCode,
}

/// One field that cannot be accepted.
#[derive(Debug, Serialize)]
struct FieldProblem {
    field: String,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

impl Problem {
    pub(super) fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: code.canonical_reason().unwrap_or("Error"),
            status: code.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            code,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    /// Names the field or header at fault.
    pub(super) fn field(mut self, field: &str) -> Self {
        let detail = self.detail.clone();
        self.errors.push(FieldProblem {
            field: field.into(),
            detail,
            remedy: String::new(),
        });
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.code
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut answer = json(self.code, &self);
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::NoProxy(_)
            | ControlError::Store(StoreError::NotFound(_) | StoreError::ProfileNotFound(_)) => {
                StatusCode::NOT_FOUND
            }
            ControlError::ProxyExists(_)
            | ControlError::Store(
                StoreError::NameTaken(_) | StoreError::Halted | StoreError::TooMany,
            )
            | ControlError::TooManyProxies
            | ControlError::Start(StartError::Listen { .. }) => StatusCode::CONFLICT,
            ControlError::Profile(problems) if problems.iter().all(|p| p.line == 0) => {
                StatusCode::NOT_FOUND
            }
            ControlError::Profile(_)
            | ControlError::Proxy(_)
            | ControlError::Fault(_)
            | ControlError::Store(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ControlError::Start(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(code, chain(&error));
        match error {
            ControlError::Fault(fields) | ControlError::Proxy(fields) => {
                problem
                    .errors
                    .extend(fields.into_iter().map(|f| FieldProblem {
                        field: f.path,
                        detail: f.message,
                        remedy: f.remedy,
                    }));
            }
            ControlError::Profile(problems) => {
                problem.errors.extend(problems.iter().map(|p| FieldProblem {
                    field: format!("{}:{}:{} {}", p.path, p.line, p.column, p.field),
                    detail: p.message.clone(),
                    remedy: p.remedy.clone(),
                }));
            }
            _ => {}
        }
        problem
    }
}

/// An error with what caused it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
