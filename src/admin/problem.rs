//! Errors of the API: problem documents (RFC 9457) that name the field.

use super::body::{Answer, json};
use crate::fault::StoreError;
use crate::proxy::{ControlError, StartError};
use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

/// An error as it is sent.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong.
    detail: String,
    /// Fields or headers that are at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    errors: Vec<FieldProblem>,
    #[serde(skip)]
    #[schemars(skip)]
    code: StatusCode,
    #[serde(skip)]
    #[schemars(skip)]
    headers: Vec<(HeaderName, String)>,
}

/// One field that cannot be accepted.
#[derive(Debug, Serialize, JsonSchema)]
struct FieldProblem {
    /// Its path, or the header's name.
    field: String,
    /// What is wrong with it.
    detail: String,
    /// What would be accepted.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(default)]
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
            headers: Vec::new(),
        }
    }

    /// 400.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 405 with the methods that there are.
    pub(super) fn not_allowed(methods: &[&str]) -> Self {
        let methods = methods.join(", ");
        let detail = format!("this path takes {methods}");
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        problem.headers.push((ALLOW, methods));
        problem
    }

    /// With a header in its answer.
    pub(super) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
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

    /// Names the field that is not there.
    pub(super) fn missing(self, field: &str) -> Self {
        let mut problem = self.field(field);
        if let Some(last) = problem.errors.last_mut() {
            last.remedy = format!("give `{field}`; /v1/openapi.json says what it takes");
        }
        problem
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
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().insert(name, value);
            }
        }
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
            ControlError::Limit(_) => StatusCode::FORBIDDEN,
            ControlError::Profile(_)
            | ControlError::Proxy(_)
            | ControlError::Fault(_)
            | ControlError::Store(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ControlError::Start(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(code, chain(&error));
        match error {
            ControlError::Fault(fields)
            | ControlError::Proxy(fields)
            | ControlError::Limit(fields) => {
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
            ControlError::Store(error @ (StoreError::TtlTooLong(_) | StoreError::TtlZero)) => {
                let most = humantime::format_duration(crate::fault::action::MAX_TTL);
                problem.errors.push(FieldProblem {
                    field: "ttl".into(),
                    detail: error.to_string(),
                    remedy: format!("write a duration above zero, at most {most}"),
                });
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
