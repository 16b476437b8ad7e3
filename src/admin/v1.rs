//! Our own API.

use super::body::{Answer, empty, json, parse};
use super::problem::Problem;
use super::router::{Call, not_allowed};
use super::{events, ledger};
use crate::config::duration;
use crate::fault::FaultSpec;
use crate::protocol::Protocol;
use crate::proxy::{ProxyInfo, Server};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A proxy as it is shown.
#[derive(Debug, Serialize)]
struct ProxyView {
    name: String,
    protocol: Protocol,
    listen: String,
    upstream: String,
    enabled: bool,
    sessions: u32,
    slo: crate::measure::Slo,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<u32>,
}

impl From<ProxyInfo> for ProxyView {
    fn from(info: ProxyInfo) -> Self {
        let config = info.config;
        Self {
            name: config.name,
            protocol: config.protocol,
            listen: config.listen.to_string(),
            upstream: config.upstream.to_string(),
            enabled: info.enabled,
            sessions: info.sessions,
            slo: config.slo,
            routes: config.routes,
            pool: config.pool.map(std::num::NonZero::get),
        }
    }
}

/// A profile as it is listed.
#[derive(Debug, Serialize)]
struct ProfileView<'p> {
    name: &'p str,
    description: &'p str,
    faults: usize,
    enabled: bool,
}

/// What enabling a profile may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Enable {
    #[serde(with = "duration::option")]
    ttl: Option<Duration>,
    seed: Option<u64>,
}

/// The answer to a request below `/v1`.
pub(super) async fn answer(server: &Server, call: &Call, path: &[&str]) -> Result<Answer, Problem> {
    match (&call.method, path) {
        (&Method::GET, ["proxies"]) => {
            let proxies: Vec<ProxyView> = server.proxies().into_iter().map(Into::into).collect();
            Ok(json(
                StatusCode::OK,
                &serde_json::json!({ "proxies": proxies }),
            ))
        }
        (&Method::GET, ["proxies", name]) => {
            Ok(json(StatusCode::OK, &ProxyView::from(server.proxy(name)?)))
        }
        (&Method::GET, ["stats"]) => {
            let stats = server.stats(window(call)?).await;
            Ok(json(StatusCode::OK, &stats))
        }
        (&Method::GET, ["ledger"]) => ledger::show(server, call).await,
        (&Method::GET, ["faults"]) => {
            let shown =
                serde_json::json!({ "halted": server.is_halted(), "faults": server.faults() });
            Ok(json(StatusCode::OK, &shown))
        }
        (&Method::POST, ["faults"]) => {
            let spec: FaultSpec = parse(&call.body)?;
            Ok(json(StatusCode::CREATED, &server.add_fault(&spec, None)?))
        }
        (&Method::GET, ["faults", name]) => {
            let found = server.faults().into_iter().find(|f| f.name == *name);
            found
                .map(|f| json(StatusCode::OK, &f))
                .ok_or_else(Problem::not_found)
        }
        (&Method::DELETE, ["faults", name]) => {
            server.remove_fault(name)?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, ["halt"]) => {
            let ended = server.halt();
            Ok(json(
                StatusCode::OK,
                &serde_json::json!({ "halted": true, "ended": ended }),
            ))
        }
        (&Method::POST, ["resume"]) => {
            server.resume();
            Ok(json(
                StatusCode::OK,
                &serde_json::json!({ "halted": false }),
            ))
        }
        (&Method::GET, ["events"]) => Ok(events::stream(server)),
        (_, ["profiles", rest @ ..]) => profiles(server, call, rest),
        (_, ["proxies" | "stats" | "ledger" | "events"] | ["proxies", _]) => Ok(not_allowed("GET")),
        (_, ["faults"]) => Ok(not_allowed("GET, POST")),
        (_, ["faults", _]) => Ok(not_allowed("GET, DELETE")),
        (_, ["halt" | "resume"]) => Ok(not_allowed("POST")),
        _ => Err(Problem::not_found()),
    }
}

/// Profiles. A name may have folders in it: `redis/slow`.
fn profiles(server: &Server, call: &Call, path: &[&str]) -> Result<Answer, Problem> {
    match (&call.method, path) {
        (&Method::GET, []) => list_profiles(server),
        (_, []) => Ok(not_allowed("GET")),
        (&Method::POST, [name @ .., "enable"]) if !name.is_empty() => {
            let Enable { ttl, seed } = parse(&call.body)?;
            let name = name.join("/");
            let faults = server.enable_profile(&name, ttl, seed)?;
            let shown = serde_json::json!({ "profile": name, "enabled": true, "faults": faults });
            Ok(json(StatusCode::OK, &shown))
        }
        (&Method::POST, [name @ .., "disable"]) if !name.is_empty() => {
            let name = name.join("/");
            let ended = server.disable_profile(&name)?;
            let shown = serde_json::json!({ "profile": name, "enabled": false, "faults": ended });
            Ok(json(StatusCode::OK, &shown))
        }
        (_, [name @ .., "enable" | "disable"]) if !name.is_empty() => Ok(not_allowed("POST")),
        (&Method::GET, name) => show_profile(server, &name.join("/")),
        _ => Ok(not_allowed("GET")),
    }
}

fn list_profiles(server: &Server) -> Result<Answer, Problem> {
    let library = server.library()?;
    let on = server.enabled_profiles();
    let profiles: Vec<ProfileView<'_>> = library
        .iter()
        .map(|p| ProfileView {
            name: &p.name,
            description: p.summary(),
            faults: p.faults.len(),
            enabled: on.iter().any(|name| **name == *p.name),
        })
        .collect();
    let broken: Vec<_> = library
        .broken()
        .iter()
        .map(|b| serde_json::json!({ "name": b.name, "problems": b.problems }))
        .collect();
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({ "profiles": profiles, "broken": broken }),
    ))
}

fn show_profile(server: &Server, name: &str) -> Result<Answer, Problem> {
    let library = server.library()?;
    let profile = library
        .get(name)
        .map_err(crate::proxy::ControlError::Profile)?;
    let faults: Vec<&FaultSpec> = profile.faults.iter().map(|f| &**f.spec()).collect();
    let enabled = server
        .enabled_profiles()
        .iter()
        .any(|on| **on == *profile.name);
    let shown = serde_json::json!({
        "name": profile.name,
        "description": profile.description,
        "enabled": enabled,
        "seed": profile.seed,
        "faults": faults,
        "source": &*profile.source,
    });
    Ok(json(StatusCode::OK, &shown))
}

/// Ready: every proxy listens, or a fault has closed its listener on purpose.
pub(super) fn ready(server: &Server) -> Answer {
    let proxies = server.proxies();
    let shown = serde_json::json!({
        // What was switched off on purpose is as it should be.
        "ready": proxies.iter().all(|p| p.enabled || p.disabled),
        "proxies": proxies.iter().map(|p| (p.config.name.clone(), p.enabled)).collect::<std::collections::BTreeMap<_, _>>(),
    });
    let status = if shown["ready"] == true {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, &shown)
}

/// `?window=10s`.
fn window(call: &Call) -> Result<Option<Duration>, Problem> {
    let Some(text) = call.parameter("window") else {
        return Ok(None);
    };
    let window = duration::parse(text).ok();
    window
        .filter(|w| !w.is_zero() && *w <= Duration::from_secs(60))
        .map(Some)
        .ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "a window is 1s to 60s, like ?window=10s",
            )
            .field("window")
        })
}
