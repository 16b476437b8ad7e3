//! `/v1/halt`, `/v1/resume` and `/v1/version`.

use super::super::auth::Role;
use super::super::body::{self, Answer, json};
use super::super::problem::Problem;
use super::super::router::{Call, Context};
use super::route::{Content, Handler, Route};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Everything is off and stays so.
#[derive(Debug, Serialize, JsonSchema)]
struct Halted {
    /// Whether everything is kept off.
    halted: bool,
    /// The names of the faults that were on.
    #[schemars(with = "Vec<String>")]
    ended: Vec<Arc<str>>,
}

/// Faults can be switched on again.
#[derive(Debug, Serialize, JsonSchema)]
struct Resumed {
    /// Whether everything is kept off.
    halted: bool,
}

/// What runs here, and how it is guarded.
#[derive(Debug, Serialize, JsonSchema)]
struct Version {
    /// The name of the program.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// Whether everything is kept off.
    halted: bool,
    /// Whether a token is needed.
    token: bool,
    /// Whether the endpoint can be reached from other machines without TLS: whoever is on the way reads the tokens.
    insecure_plaintext: bool,
    /// Whether changes and refusals are recorded.
    audit: bool,
}

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        role: Role::Operate,
        ..Route::get(
            "/v1/halt",
            "halt",
            "Switches everything off at once, and keeps it off until resumed. No limit on rates applies.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Halted>),
            )],
            Handler::Now(halt),
        )
    },
    Route {
        method: "POST",
        role: Role::Admin,
        refusals: &[409],
        ..Route::get(
            "/v1/resume",
            "resume",
            "Allows faults again. None comes back by itself.",
            &[(
                200,
                Content::Json(schemars::SchemaGenerator::subschema_for::<Resumed>),
            )],
            Handler::Now(resume),
        )
    },
    Route::get(
        "/v1/version",
        "getVersion",
        "What runs here, and how it is guarded.",
        &[(
            200,
            Content::Json(schemars::SchemaGenerator::subschema_for::<Version>),
        )],
        Handler::Now(version),
    ),
];

fn halt(cx: &Context, _: &Call, _: &str) -> Result<Answer, Problem> {
    let ended = cx.server.halt();
    Ok(json(
        StatusCode::OK,
        &Halted {
            halted: true,
            ended,
        },
    ))
}

fn resume(cx: &Context, call: &Call, _: &str) -> Result<Answer, Problem> {
    body::nothing(&call.body)?;
    if let Some(path) = cx.server.config().guards.halt_file
        && path.symlink_metadata().is_ok()
    {
        let detail = format!("the file {} is there; remove it first", path.display());
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    cx.server.resume();
    Ok(json(StatusCode::OK, &Resumed { halted: false }))
}

fn version(cx: &Context, _: &Call, _: &str) -> Result<Answer, Problem> {
    let shown = Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        halted: cx.server.is_halted(),
        token: cx.tokens.is_some(),
        insecure_plaintext: cx.insecure_plaintext,
        audit: cx.audit.is_on(),
    };
    Ok(json(StatusCode::OK, &shown))
}
