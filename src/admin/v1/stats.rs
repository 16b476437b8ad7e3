//! `/v1/stats` and `/v1/slo`.

use super::super::body::json;
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::route::{Content, Handler, Later, Query, Route};
use crate::config::duration;
use crate::measure::stats::{SloStats, Stats};
use hyper::StatusCode;
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use std::time::Duration;

const WINDOW: Query = Query {
    name: "window",
    about: "The last so many seconds, 1s to 60s. Default: since start.",
    schema: |g| g.subschema_for::<duration::Text>(),
};

/// The figures of each worker, or those of all together.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Its schema is what is used.
enum Figures {
    /// All together.
    Together(Stats),
    /// By worker.
    ByWorker(ByWorker),
}

/// The figures of each worker.
#[derive(Debug, Serialize, JsonSchema)]
struct ByWorker {
    /// In their order. Levels (sessions open and busy, use of the pool) belong to a proxy, not to a worker: they are 0 here.
    workers: Vec<Stats>,
}

/// How limits are kept.
#[derive(Debug, Serialize, JsonSchema)]
struct SloReport {
    /// By name.
    proxies: Vec<ProxySlo>,
}

/// How the limits of one proxy are kept.
#[derive(Debug, Serialize, JsonSchema)]
struct ProxySlo {
    /// Its name.
    name: String,
    /// The limits that are set, and whether they are kept.
    slo: SloStats,
}

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[
    Route {
        query: &[
            WINDOW,
            Query {
                name: "by",
                about: "`worker`: the figures of each worker instead of their sum.",
                schema: |_| json_schema!({ "type": "string", "enum": ["worker"] }),
            },
            Query {
                name: "histograms",
                about: "`v2`: with each operation its HDR histograms, V2 compressed, in base64.",
                schema: |_| json_schema!({ "type": "string", "enum": ["v2"] }),
            },
        ],
        ..Route::get(
            "/v1/stats",
            "getStats",
            "What was measured.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Figures>),
            )],
            Handler::Later(stats),
        )
    },
    Route {
        query: &[WINDOW],
        ..Route::get(
            "/v1/slo",
            "getSlo",
            "The limits that are set, and how they were kept.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<SloReport>),
            )],
            Handler::Later(slo),
        )
    },
];

fn stats<'a>(cx: &'a Context, call: &'a Call, _: &'a str) -> Later<'a> {
    Box::pin(async move {
        let window = window(call)?;
        let histograms = flag(call, "histograms", "v2")?;
        if flag(call, "by", "worker")? {
            let workers = cx.server.stats_by_worker(window, histograms).await;
            return Ok(json(StatusCode::OK, &ByWorker { workers }));
        }
        let stats = if histograms {
            cx.server.stats_with_histograms(window).await
        } else {
            cx.server.stats(window).await
        };
        Ok(json(StatusCode::OK, &stats))
    })
}

fn slo<'a>(cx: &'a Context, call: &'a Call, _: &'a str) -> Later<'a> {
    Box::pin(async move {
        let stats = cx.server.stats(window(call)?).await;
        let proxies = stats.proxies.into_iter().map(|p| ProxySlo {
            name: p.name,
            slo: p.slo,
        });
        let proxies = proxies.collect();
        Ok(json(StatusCode::OK, &SloReport { proxies }))
    })
}

/// A parameter that has one value.
fn flag(call: &Call, name: &str, value: &str) -> Result<bool, Problem> {
    match call.parameter(name) {
        None => Ok(false),
        Some(given) if given == value => Ok(true),
        Some(_) => Err(Problem::bad(format!("`{name}` may be `{value}`")).field(name)),
    }
}

/// `?window=10s`.
fn window(call: &Call) -> Result<Option<Duration>, Problem> {
    let Some(text) = call.parameter("window") else {
        return Ok(None);
    };
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
    let window = duration::parse(text).ok();
    window
        .filter(|w| (least..=most).contains(w))
        .map(Some)
        .ok_or_else(|| Problem::bad("a window is 1s to 60s, like ?window=10s").field("window"))
}
