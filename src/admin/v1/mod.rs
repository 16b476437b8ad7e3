//! Our own API: one resource a file, and one table of routes that dispatch and the OpenAPI document are made of.

mod control;
mod etag;
mod events;
mod faults;
mod insights;
mod ledger;
pub(crate) mod openapi;
mod page;
mod profiles;
mod proxies;
mod route;
mod stats;

pub(super) use insights::Live;
pub(super) use route::{Found, Route};

use super::body::Answer;
use super::problem::Problem;
use super::router::{Call, Context};
use route::Handler;

/// Every route below `/v1`.
pub(super) fn routes() -> impl Iterator<Item = &'static Route> {
    [
        control::ROUTES,
        proxies::ROUTES,
        faults::ROUTES,
        profiles::ROUTES,
        stats::ROUTES,
        events::ROUTES,
        ledger::ROUTES,
        insights::ROUTES,
        openapi::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The route of a method and a path, and what its braces stand for.
///
/// # Errors
/// 404, or 405 with the methods that there are.
pub(super) fn find(method: &str, path: &[String]) -> Result<Found, Problem> {
    let matching: Vec<Found> = routes().filter_map(|route| route.at(path)).collect();
    // The literal one before that with braces: `openapi.json` is no name.
    let most = matching.iter().map(|f| f.route.literals()).max();
    let mut best = matching
        .into_iter()
        .filter(|f| Some(f.route.literals()) == most)
        .peekable();
    if best.peek().is_none() {
        return Err(Problem::not_found());
    }
    let (mut found, mut allowed) = (None, Vec::new());
    for candidate in best {
        allowed.push(candidate.route.method);
        if candidate.route.method == method {
            found = Some(candidate);
        }
    }
    found.ok_or_else(|| Problem::not_allowed(&allowed))
}

/// The answer of a route.
pub(super) async fn answer(cx: &Context, call: &Call, found: &Found) -> Result<Answer, Problem> {
    let route = found.route;
    for (name, _) in &call.query {
        if !route.query.iter().any(|q| q.name == name) {
            let known: Vec<&str> = route.query.iter().map(|q| q.name).collect();
            let known = match known.as_slice() {
                [] => "it takes none".to_owned(),
                known => format!("it takes {}", known.join(", ")),
            };
            return Err(
                Problem::bad(format!("there is no parameter `{name}`; {known}")).field(name),
            );
        }
    }
    match route.handler {
        Handler::Now(handle) => handle(cx, call, &found.name),
        Handler::Later(handle) => handle(cx, call, &found.name).await,
    }
}
