//! `GET /v1/ledger`: what became of the exchanges that faults touched.

use super::super::body::{Answer, json};
use super::super::problem::Problem;
use super::super::router::Call;
use super::route::{Content, Handler, Query, Route};
use crate::measure::ledger::{self, Canonical, Listing};
use crate::proxy::Server;
use hyper::StatusCode;
use schemars::{JsonSchema, json_schema};
use serde::Serialize;

/// Entries of one page where nothing else is said, and at most.
const PAGE: usize = 1_000;
const LARGEST_PAGE: usize = 10_000;

/// The ledger in one of its forms.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Its schema is what is used.
enum Shown {
    /// Entries in full.
    Full(Listing),
    /// What is determined of them.
    Canonical(Canonical),
}

/// The routes of this resource.
pub(super) const ROUTES: &[Route] = &[Route {
    query: &[
        Query {
            name: "proxy",
            about: "Only of this proxy.",
            schema: |g| g.subschema_for::<String>(),
        },
        Query {
            name: "fault",
            about: "Only those that this fault touched.",
            schema: |g| g.subschema_for::<String>(),
        },
        Query {
            name: "operation",
            about: "Only of this operation, in upper or lower case.",
            schema: |g| g.subschema_for::<String>(),
        },
        Query {
            name: "duplicates",
            about: "Only what the server did, the client was not told, and was done again.",
            schema: |g| g.subschema_for::<bool>(),
        },
        Query {
            name: "since",
            about: "Only entries behind this number: the `next` of the page before.",
            schema: |g| g.subschema_for::<u64>(),
        },
        Query {
            name: "limit",
            about: "At most so many, the oldest. Default: 1000.",
            schema: |_| json_schema!({ "type": "integer", "minimum": 1, "maximum": LARGEST_PAGE }),
        },
        Query {
            name: "form",
            about: "`canonical`: what seed, profile and order of requests determine; without since, limit and duplicates.",
            schema: |_| json_schema!({ "type": "string", "enum": ["full", "canonical"] }),
        },
    ],
    ..Route::get(
        "/v1/ledger",
        "getLedger",
        "What became of the exchanges that faults touched.",
        &[(
            200,
            Content::Json(schemars::SchemaGenerator::subschema_for::<Shown>),
        )],
        Handler::Later(|cx, call, _| Box::pin(show(&cx.server, call))),
    )
}];

/// One page of the ledger, or all of what is determined (`form=canonical`).
async fn show(server: &Server, call: &Call) -> Result<Answer, Problem> {
    let text = |name| call.parameter(name).map(str::to_owned);
    let mut query = ledger::Query {
        proxy: text("proxy"),
        fault: text("fault"),
        operation: text("operation"),
        duplicates: match call.parameter("duplicates") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(wrong("duplicates", "expected true or false")),
        },
        since: number(call, "since", 0..=u64::MAX)?.unwrap_or(0),
        limit: None,
    };
    let limit = number(call, "limit", 1..=LARGEST_PAGE as u64)?;
    match call.parameter("form") {
        None | Some("full") => {}
        Some("canonical") if call.parameter("since").is_some() || limit.is_some() => {
            let remedy = "leave out since and limit: the order of entries is not determined";
            return Err(wrong("form", remedy));
        }
        Some("canonical") if query.duplicates => {
            let remedy = "leave out duplicates: what clients do is not determined";
            return Err(wrong("form", remedy));
        }
        Some("canonical") => {
            let canonical = server.canonical_ledger(&query).await;
            return Ok(json(StatusCode::OK, &canonical));
        }
        Some(_) => return Err(wrong("form", "expected full or canonical")),
    }
    query.limit = Some(limit.map_or(PAGE, |n| n as usize));
    Ok(json(StatusCode::OK, &server.ledger(&query).await))
}

pub(super) fn number(
    call: &Call,
    name: &str,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Problem> {
    let Some(text) = call.parameter(name) else {
        return Ok(None);
    };
    let number: Option<u64> = text.parse().ok();
    number
        .filter(|n| allowed.contains(n))
        .map(Some)
        .ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            wrong(name, &format!("expected a number from {least} to {most}"))
        })
}

pub(super) fn wrong(name: &str, remedy: &str) -> Problem {
    let detail = format!("{name}: {remedy}");
    Problem::new(StatusCode::BAD_REQUEST, detail).field(name)
}
