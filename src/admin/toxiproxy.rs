//! Toxiproxy's API at its own paths: for now reading, and the toxic `latency`, so that its clients can drive it.
//!
//! A toxic is a fault inside. It is named `PROXY/TOXIC` there, since toxics are named by proxy and faults are not.

use super::body::{Answer, empty, json, with_type};
use super::problem::Problem;
use super::router::Call;
use crate::fault::FaultSpec;
use crate::fault::spec::{ActionKind, Delay, DelayTable, DistributionKind, Scope, Side};
use crate::fault::store::Listed;
use crate::proxy::{ControlError, ProxyInfo, Server};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The level of Toxiproxy's API that is offered; its clients parse it.
const VERSION: &[u8] = b"{\"version\": \"2.12.0\"}\n";

/// Toxics have no time to live of their own; nothing may be forgotten all the same.
const TTL: Duration = Duration::from_secs(12 * 60 * 60);

/// Between proxy and toxic in the name of a fault.
const SEPARATOR: char = '.';

/// A toxic as clients send it. Fields that are not known are passed over, as Toxiproxy does.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Wanted {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    stream: String,
    toxicity: Option<f64>,
    attributes: Attributes,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: String::new(),
            stream: "downstream".into(),
            toxicity: None,
            attributes: Attributes::default(),
        }
    }
}

/// What `latency` takes, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Attributes {
    latency: u64,
    jitter: u64,
}

/// A toxic as it is shown.
#[derive(Debug, Serialize)]
struct Toxic {
    attributes: Attributes,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    stream: &'static str,
    toxicity: f64,
}

/// A proxy as it is shown.
#[derive(Debug, Serialize)]
struct Proxy {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    toxics: Vec<Toxic>,
}

/// An error in Toxiproxy's form.
struct Refusal(StatusCode, String);

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NoProxy(_) => Self(StatusCode::NOT_FOUND, "proxy not found".into()),
            other => {
                let problem = Problem::from(other);
                let status = match problem.status() {
                    StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
                    status => status,
                };
                Self(status, problem.detail().into())
            }
        }
    }
}

/// The answer, where the path is one of Toxiproxy's.
pub(super) fn answer(server: &Server, call: &Call) -> Option<Answer> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let answered = match (&call.method, &path[..]) {
        (&Method::GET, ["version"]) => Ok(with_type(
            StatusCode::OK,
            Bytes::from_static(VERSION),
            "application/json",
        )),
        (&Method::GET, ["proxies"]) => {
            let all: BTreeMap<String, Proxy> = server
                .proxies()
                .into_iter()
                .map(|p| (p.config.name.clone(), proxy(server, p)))
                .collect();
            Ok(json(StatusCode::OK, &all))
        }
        (&Method::GET, ["proxies", name]) => named(server, name).map(|p| json(StatusCode::OK, &p)),
        (&Method::GET, ["proxies", name, "toxics"]) => {
            named(server, name).map(|p| json(StatusCode::OK, &p.toxics))
        }
        (&Method::POST, ["proxies", name, "toxics"]) => create(server, name, &call.body),
        (&Method::GET, ["proxies", name, "toxics", toxic]) => {
            find(server, name, toxic).map(|t| json(StatusCode::OK, &t))
        }
        (&Method::DELETE, ["proxies", name, "toxics", toxic]) => find(server, name, toxic)
            .and_then(|_| Ok(server.remove_fault(&fault_name(name, toxic))?))
            .map(|()| empty(StatusCode::NO_CONTENT)),
        _ => return None,
    };
    Some(answered.unwrap_or_else(|Refusal(status, error)| {
        let body = serde_json::json!({ "error": error, "status": status.as_u16() });
        json(status, &body)
    }))
}

fn create(server: &Server, name: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let bad = |text: &str| Refusal(StatusCode::BAD_REQUEST, text.into());
    server.proxy(name)?;
    let wanted: Wanted =
        serde_json::from_slice(body).map_err(|e| bad(&format!("bad request body: {e}")))?;
    let on = match wanted.stream.as_str() {
        "downstream" => Side::Reply,
        "upstream" => Side::Request,
        _ => {
            return Err(bad(
                "stream was invalid, can be either upstream or downstream",
            ));
        }
    };
    if wanted.kind != "latency" {
        return Err(bad("invalid toxic type"));
    }
    let toxic = match wanted.name.as_str() {
        "" => format!("{}_{}", wanted.kind, wanted.stream),
        given => given.to_owned(),
    };
    if find(server, name, &toxic).is_ok() {
        return Err(Refusal(StatusCode::CONFLICT, "toxic already exists".into()));
    }
    let Attributes { latency, jitter } = wanted.attributes;
    let spec = FaultSpec {
        name: Some(fault_name(name, &toxic)),
        proxy: name.into(),
        on: Some(on),
        delay: Some(delay(latency, jitter)),
        probability: wanted.toxicity,
        scope: Some(Scope::Session),
        ..FaultSpec::new(ActionKind::Latency)
    };
    server.add_fault(&spec, Some(TTL))?;
    find(server, name, &toxic).map(|t| json(StatusCode::OK, &t))
}

/// Latency with uniform jitter around it, never below zero.
fn delay(latency: u64, jitter: u64) -> Delay {
    let ms = Duration::from_millis;
    if jitter == 0 {
        return Delay::Fixed(ms(latency));
    }
    Delay::Drawn(DelayTable {
        min: Some(ms(latency.saturating_sub(jitter))),
        max: Some(ms(latency.saturating_add(jitter))),
        ..DelayTable::new(DistributionKind::Uniform)
    })
}

fn fault_name(proxy: &str, toxic: &str) -> String {
    format!("{proxy}{SEPARATOR}{toxic}")
}

/// A fault as a toxic, where it is one.
fn toxic(proxy: &str, fault: &Listed) -> Option<Toxic> {
    let name = fault.name.strip_prefix(proxy)?.strip_prefix(SEPARATOR)?;
    let spec = &fault.fault;
    let ms = |d: Duration| d.as_millis() as u64;
    let attributes = match spec.delay.as_ref()? {
        Delay::Fixed(d) => Attributes {
            latency: ms(*d),
            jitter: 0,
        },
        Delay::Drawn(t) => {
            let (min, max) = (ms(t.min?), ms(t.max?));
            Attributes {
                latency: u64::midpoint(min, max),
                jitter: (max - min) / 2,
            }
        }
    };
    Some(Toxic {
        attributes,
        name: name.into(),
        kind: "latency",
        stream: if spec.on == Some(Side::Request) {
            "upstream"
        } else {
            "downstream"
        },
        toxicity: spec.probability.unwrap_or(1.0),
    })
}

/// Toxics of a proxy: upstream first, then downstream, each in the order of creation.
fn toxics(server: &Server, proxy: &str) -> Vec<Toxic> {
    let mut found: Vec<Toxic> = server
        .faults()
        .iter()
        .filter_map(|f| toxic(proxy, f))
        .collect();
    found.sort_by_key(|t| t.stream != "upstream");
    found
}

fn proxy(server: &Server, info: ProxyInfo) -> Proxy {
    Proxy {
        toxics: toxics(server, &info.config.name),
        listen: info.config.listen.to_string(),
        upstream: info.config.upstream.to_string(),
        enabled: info.enabled,
        name: info.config.name,
    }
}

fn named(server: &Server, name: &str) -> Result<Proxy, Refusal> {
    Ok(proxy(server, server.proxy(name)?))
}

fn find(server: &Server, proxy: &str, name: &str) -> Result<Toxic, Refusal> {
    server.proxy(proxy)?;
    let found = toxics(server, proxy).into_iter().find(|t| t.name == name);
    found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "toxic not found".into()))
}
