//! Entity tags (RFC 9110, section 8.8.3): whoever changes something may say which state of it they mean to change.

use super::super::body::{Answer, json};
use super::super::problem::Problem;
use super::super::router::Call;
use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The tag of a state: what differs has another one.
pub(super) fn of(state: &impl Serialize) -> String {
    let text = serde_json::to_vec(state).unwrap_or_default();
    let digest = Sha256::digest(text);
    let hex = crate::audit::hex(&digest[..12]);
    format!("\"{hex}\"")
}

/// A representation with the tag of its state.
pub(super) fn tagged(status: StatusCode, shown: &impl Serialize, tag: &str) -> Answer {
    let mut answer = json(status, shown);
    if let Ok(value) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}

/// Whether a request means the state that there is; `None`: there is nothing.
///
/// # Errors
/// 412.
pub(super) fn check(call: &Call, now: Option<&str>) -> Result<(), Problem> {
    let refuse = |header: &str, detail: &str| {
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail).field(header))
    };
    let listed = |wanted: &str| wanted.split(',').any(|tag| Some(tag.trim()) == now);
    if let Some(wanted) = &call.if_match
        && !(listed(wanted) || (wanted.trim() == "*" && now.is_some()))
    {
        return refuse("If-Match", "it was changed meanwhile; read it again");
    }
    if let Some(unwanted) = &call.if_none_match
        && (listed(unwanted) || (unwanted.trim() == "*" && now.is_some()))
    {
        return refuse("If-None-Match", "it is there already");
    }
    Ok(())
}
