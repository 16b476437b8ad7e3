//! `GET /v1/ledger`: what became of the exchanges that faults touched.

use super::body::{Answer, json};
use super::problem::Problem;
use super::router::Call;
use crate::measure::ledger::Query;
use crate::proxy::Server;
use hyper::StatusCode;

/// Entries of one page where nothing else is said, and at most.
const PAGE: usize = 1_000;
const LARGEST_PAGE: usize = 10_000;

/// One page of the ledger, or all of what is determined (`form=canonical`).
pub(super) async fn show(server: &Server, call: &Call) -> Result<Answer, Problem> {
    for (name, _) in &call.query {
        if !PARAMETERS.contains(&name.as_str()) {
            let known = PARAMETERS.join(", ");
            return Err(wrong(name, &format!("there are {known}")));
        }
    }
    let text = |name| call.parameter(name).map(str::to_owned);
    let mut query = Query {
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

const PARAMETERS: [&str; 7] = [
    "proxy",
    "fault",
    "operation",
    "duplicates",
    "since",
    "limit",
    "form",
];

fn number(
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

fn wrong(name: &str, remedy: &str) -> Problem {
    let detail = format!("{name}: {remedy}");
    Problem::new(StatusCode::BAD_REQUEST, detail).field(name)
}
