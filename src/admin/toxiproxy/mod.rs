//! Toxiproxy's API at its own paths, so that a test suite that speaks it needs another binary and nothing else.
//!
//! A toxic is a fault inside: each shows in the other's list. What its clients send is taken as Toxiproxy takes it: any content
//! type, fields that are not known passed over, the case of field names too.

mod fault;
mod input;
mod metrics;
mod proxies;
mod refusal;
mod toxic;
mod toxics;

use super::body::{Answer, empty, with_type};
use super::router::Call;
use crate::proxy::Server;
use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode};
use refusal::Refusal;
use serde::Serialize;

pub(super) use metrics::exposition;
pub use proxies::{PopulateError, populate_file};
pub(super) use toxics::Toxics;

/// The level of Toxiproxy's API that is offered; its clients parse it.
const VERSION: &[u8] = b"{\"version\": \"2.12.0\"}\n";

/// The answer, where the path is one of Toxiproxy's.
pub(super) async fn answer(server: &Server, toxics: &Toxics, call: &Call) -> Option<Answer> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let change = matches!(call.method, Method::POST | Method::PATCH);
    let answered = match (&call.method, &path[..]) {
        (&Method::GET, ["version"]) => Ok(with_type(
            StatusCode::OK,
            Bytes::from_static(VERSION),
            "application/json;charset=utf-8",
        )),
        (&Method::POST, ["reset"]) => toxics.reset(server).await.map(|()| done()),
        (&Method::POST, ["populate"]) => {
            return Some(proxies::populate(server, toxics, &call.body).await);
        }
        (&Method::GET, ["proxies"]) => Ok(shown(StatusCode::OK, &proxies::all(server, toxics))),
        (&Method::POST, ["proxies"]) => proxies::create(server, toxics, &call.body)
            .await
            .map(|proxy| shown(StatusCode::CREATED, &proxy)),
        (&Method::GET, ["proxies", name]) => {
            proxies::one(server, toxics, name).map(|proxy| shown(StatusCode::OK, &proxy))
        }
        (_, ["proxies", name]) if change => proxies::change(server, toxics, name, &call.body)
            .await
            .map(|proxy| shown(StatusCode::OK, &proxy)),
        (&Method::DELETE, ["proxies", name]) => {
            proxies::remove(server, toxics, name).await.map(|()| done())
        }
        (&Method::GET, ["proxies", proxy, "toxics"]) => toxics
            .of(server, proxy)
            .map(|all| shown(StatusCode::OK, &all)),
        (&Method::POST, ["proxies", proxy, "toxics"]) => toxics
            .create(server, proxy, &call.body)
            .map(|toxic| shown(StatusCode::OK, &toxic)),
        (&Method::GET, ["proxies", proxy, "toxics", name]) => toxics
            .one(server, proxy, name)
            .map(|toxic| shown(StatusCode::OK, &toxic)),
        (_, ["proxies", proxy, "toxics", name]) if change => toxics
            .change(server, proxy, name, &call.body)
            .map(|toxic| shown(StatusCode::OK, &toxic)),
        (&Method::DELETE, ["proxies", proxy, "toxics", name]) => {
            toxics.remove(server, proxy, name).map(|()| done())
        }
        (_, path) => return allowed(path).map(not_allowed),
    };
    Some(answered.unwrap_or_else(Refusal::into_answer))
}

/// The methods of a path, where there is such a path.
fn allowed(path: &[&str]) -> Option<&'static str> {
    match path {
        ["version"] => Some("GET"),
        ["reset" | "populate"] => Some("POST"),
        ["proxies"] | ["proxies", _, "toxics"] => Some("GET, POST"),
        ["proxies", _] | ["proxies", _, "toxics", _] => Some("GET, POST, PATCH, DELETE"),
        _ => None,
    }
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    let methods = HeaderValue::from_static(methods);
    answer.headers_mut().insert(ALLOW, methods);
    answer
}

fn done() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

/// An answer in JSON, without a line end behind it, as Toxiproxy writes it.
fn shown(status: StatusCode, value: &impl Serialize) -> Answer {
    // Maps with text keys and plain values: serialization has nothing to fail on.
    let text = serde_json::to_vec(value).unwrap_or_default();
    with_type(status, text.into(), "application/json")
}
