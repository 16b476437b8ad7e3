//! `/v1/proxies`.

use super::super::auth::Role;
use super::super::body::{self, Answer, empty, json};
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::route::{Content, Handler, Later, Route};
use super::{etag, page};
use crate::config::{Listen, ProxyConfig, Upstream};
use crate::measure::Slo;
use crate::protocol::Protocol;
use crate::proxy::{ControlError, ProxyInfo};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// A proxy as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Proxy")]
pub(in super::super) struct ProxyView {
    /// Its name.
    name: String,
    /// What is spoken there.
    protocol: Protocol,
    /// Where it really listens.
    listen: String,
    /// The real server.
    upstream: String,
    /// Whether it accepts connections.
    enabled: bool,
    /// Sessions open now.
    sessions: u32,
    /// Limits on latency.
    slo: Slo,
    /// Known routes, of HTTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    routes: Vec<String>,
    /// The most connections of the service's pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<u32>,
    /// How long connecting to the upstream may take.
    #[serde(with = "crate::config::duration::required")]
    #[schemars(with = "crate::config::duration::Text")]
    connect_timeout: Duration,
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
            connect_timeout: config.connect_timeout,
        }
    }
}

impl ProxyView {
    /// What of it is written, as it would be written: everything but what is counted.
    fn written(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut written)) = serde_json::to_value(self) else {
            return Map::new();
        };
        written.remove("sessions");
        written
    }

    fn tag(&self) -> String {
        etag::of(&self.written())
    }

    fn answer(self, status: StatusCode) -> Answer {
        let tag = self.tag();
        etag::tagged(status, &self, &tag)
    }
}

/// A proxy as it is written. What is not said has its default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // The schema of what the configuration's own checks read.
struct ProxyWritten {
    /// Its name: 1 to 64 of a-z, 0-9, `_`, `.` and `-`. In PUT and PATCH it is that of the path.
    #[schemars(regex(pattern = "^[a-z0-9_.-]{1,64}$"))]
    name: Option<String>,
    /// What is spoken there.
    protocol: Protocol,
    /// Where clients connect: `port` (on 127.0.0.1), `addr:port`, `[v6]:port` or `unix:/path`. Port 0 lets the system choose.
    listen: Listen,
    /// The real server: `host:port`, `[v6]:port` or `unix:/path`.
    upstream: Upstream,
    /// Whether it accepts connections. Default: true.
    enabled: Option<bool>,
    /// Limits on latency.
    slo: Option<Slo>,
    /// Of HTTP only: paths with their variable parts in braces.
    routes: Option<Vec<String>>,
    /// The most connections of the service's pool.
    #[schemars(range(min = 1))]
    pool: Option<u32>,
    /// How long connecting to the upstream may take. Default: 5s.
    #[schemars(with = "Option<crate::config::duration::Text>")]
    connect_timeout: Option<String>,
}

/// What of a proxy is to be otherwise (RFC 7396): `null` takes a setting back to its default.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct ProxyPatch {
    /// The name that it has.
    name: Option<String>,
    /// What is spoken there.
    protocol: Option<Protocol>,
    /// Where clients connect.
    listen: Option<Listen>,
    /// The real server.
    upstream: Option<Upstream>,
    /// Whether it accepts connections.
    enabled: Option<bool>,
    /// Limits on latency.
    slo: Option<Slo>,
    /// Of HTTP only: paths with their variable parts in braces.
    routes: Option<Vec<String>>,
    /// The most connections of the service's pool.
    #[schemars(range(min = 1))]
    pool: Option<u32>,
    /// How long connecting to the upstream may take.
    #[schemars(with = "Option<crate::config::duration::Text>")]
    connect_timeout: Option<String>,
}

/// Some proxies.
#[derive(Debug, Serialize, JsonSchema)]
struct Proxies {
    /// In the order of names.
    proxies: Vec<ProxyView>,
    /// The name to go on after, where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

const SHOWN: Content = Content::Json(schemars::SchemaGenerator::subschema_for::<ProxyView>);

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[
    Route {
        query: page::QUERY,
        ..Route::get(
            "/v1/proxies",
            "listProxies",
            "The proxies.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Proxies>),
            )],
            Handler::Now(list),
        )
    },
    Route {
        method: "POST",
        role: Role::Admin,
        body: Some(schemars::SchemaGenerator::subschema_for::<ProxyWritten>),
        refusals: &[409, 422],
        ..Route::get(
            "/v1/proxies",
            "createProxy",
            "Adds a proxy.",
            &[(201, SHOWN)],
            Handler::Later(create),
        )
    },
    Route {
        refusals: &[404],
        ..Route::get(
            "/v1/proxies/{name}",
            "getProxy",
            "One proxy.",
            &[(200, SHOWN)],
            Handler::Now(show),
        )
    },
    Route {
        method: "PUT",
        role: Role::Admin,
        conditional: true,
        body: Some(schemars::SchemaGenerator::subschema_for::<ProxyWritten>),
        refusals: &[409, 412, 422],
        ..Route::get(
            "/v1/proxies/{name}",
            "putProxy",
            "Makes a proxy what is written, whether it is there or not. Asking again changes nothing.",
            &[(200, SHOWN), (201, SHOWN)],
            Handler::Later(put),
        )
    },
    Route {
        method: "PATCH",
        role: Role::Admin,
        conditional: true,
        body: Some(schemars::SchemaGenerator::subschema_for::<ProxyPatch>),
        refusals: &[404, 409, 412, 422],
        ..Route::get(
            "/v1/proxies/{name}",
            "patchProxy",
            "Changes what is written of a proxy. Limits and pool change under open sessions; anything else ends them.",
            &[(200, SHOWN)],
            Handler::Later(patch),
        )
    },
    Route {
        method: "DELETE",
        role: Role::Admin,
        conditional: true,
        refusals: &[404, 412],
        ..Route::get(
            "/v1/proxies/{name}",
            "deleteProxy",
            "Removes a proxy and ends its sessions.",
            &[(204, Content::Empty)],
            Handler::Later(delete),
        )
    },
    Route {
        method: "POST",
        role: Role::Operate,
        conditional: true,
        refusals: &[404, 409, 412],
        ..Route::get(
            "/v1/proxies/{name}/enable",
            "enableProxy",
            "Has a proxy accept connections.",
            &[(200, SHOWN)],
            Handler::Later(|cx, call, name| Box::pin(switch(cx, call, name, true))),
        )
    },
    Route {
        method: "POST",
        role: Role::Operate,
        conditional: true,
        refusals: &[404, 412],
        ..Route::get(
            "/v1/proxies/{name}/disable",
            "disableProxy",
            "Has a proxy refuse connections, and ends its sessions: what a server looks like that is down.",
            &[(200, SHOWN)],
            Handler::Later(|cx, call, name| Box::pin(switch(cx, call, name, false))),
        )
    },
];

fn list(cx: &Context, call: &Call, _: &str) -> Result<Answer, Problem> {
    let all: Vec<ProxyView> = cx.server.proxies().into_iter().map(Into::into).collect();
    let (proxies, next) = page::page(call, all, |p| &p.name)?;
    Ok(json(StatusCode::OK, &Proxies { proxies, next }))
}

fn show(cx: &Context, _: &Call, name: &str) -> Result<Answer, Problem> {
    Ok(ProxyView::from(cx.server.proxy(name)?).answer(StatusCode::OK))
}

fn create<'a>(cx: &'a Context, call: &'a Call, _: &'a str) -> Later<'a> {
    Box::pin(async move {
        let (config, enabled) = read(body::object(&call.body)?)?;
        let made = cx.server.add_proxy(config, enabled).await?;
        Ok(ProxyView::from(made).answer(StatusCode::CREATED))
    })
}

fn put<'a>(cx: &'a Context, call: &'a Call, name: &'a str) -> Later<'a> {
    Box::pin(async move {
        let now = cx.server.proxy(name).ok().map(ProxyView::from);
        etag::check(call, now.as_ref().map(ProxyView::tag).as_deref())?;
        let mut written = body::object(&call.body)?;
        written.entry("name").or_insert_with(|| name.into());
        let (config, enabled) = read(written)?;
        named(&config, name)?;
        if now.is_none() {
            let made = cx.server.add_proxy(config, enabled).await?;
            return Ok(ProxyView::from(made).answer(StatusCode::CREATED));
        }
        change(cx, name, config, enabled).await
    })
}

fn patch<'a>(cx: &'a Context, call: &'a Call, name: &'a str) -> Later<'a> {
    Box::pin(async move {
        let now = ProxyView::from(cx.server.proxy(name)?);
        etag::check(call, Some(&now.tag()))?;
        let mut written = now.written();
        for (key, value) in body::required(&call.body)? {
            merge(&mut written, key, value);
        }
        let (config, enabled) = read(written)?;
        named(&config, name)?;
        change(cx, name, config, enabled).await
    })
}

async fn change(
    cx: &Context,
    name: &str,
    config: ProxyConfig,
    enabled: bool,
) -> Result<Answer, Problem> {
    // Off first: what is not wanted open is not opened at a new address.
    if !enabled {
        cx.server.enable_proxy(name, false).await?;
    }
    cx.server.change_proxy(name, config).await?;
    let changed = cx.server.enable_proxy(name, enabled).await?;
    Ok(ProxyView::from(changed).answer(StatusCode::OK))
}

fn delete<'a>(cx: &'a Context, call: &'a Call, name: &'a str) -> Later<'a> {
    Box::pin(async move {
        let now = ProxyView::from(cx.server.proxy(name)?);
        etag::check(call, Some(&now.tag()))?;
        cx.server.remove_proxy(name).await?;
        Ok(empty(StatusCode::NO_CONTENT))
    })
}

async fn switch(cx: &Context, call: &Call, name: &str, on: bool) -> Result<Answer, Problem> {
    body::nothing(&call.body)?;
    let now = ProxyView::from(cx.server.proxy(name)?);
    etag::check(call, Some(&now.tag()))?;
    let changed = cx.server.enable_proxy(name, on).await?;
    Ok(ProxyView::from(changed).answer(StatusCode::OK))
}

fn named(config: &ProxyConfig, name: &str) -> Result<(), Problem> {
    if config.name == name {
        return Ok(());
    }
    let detail = "a proxy keeps its name; it is that of the path";
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).field("name"))
}

/// What was written, by the same checks as a `[[proxy]]` of brownout.toml, and whether it is to be on.
fn read(mut written: Map<String, Value>) -> Result<(ProxyConfig, bool), Problem> {
    let enabled = match written.remove("enabled") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(enabled)) => enabled,
        Some(_) => {
            let detail = "`enabled` is true or false";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).field("enabled"));
        }
    };
    let config = ProxyConfig::from_json(written).map_err(ControlError::Proxy)?;
    Ok((config, enabled))
}

/// One member of a merge patch (RFC 7396).
fn merge(into: &mut Map<String, Value>, key: String, value: Value) {
    match (into.get_mut(&key), value) {
        (_, Value::Null) => {
            into.remove(&key);
        }
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (key, value) in new {
                merge(old, key, value);
            }
        }
        (_, value) => {
            into.insert(key, value);
        }
    }
}
