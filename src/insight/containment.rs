//! Whether the damage stays where it belongs: routes that need a dependency may suffer, the others must not.

use super::demand::Demand;
use super::finding::{Evidence, Finding};
use super::millis;
use super::sample::{Sample, needed};
use super::view::{Seen, Span, View};
use super::window::Window;
use crate::measure::trace::{Attempt, Name, ProxyIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Errors of a route that needs nothing of the dependency may be more than before by this share.
const MORE_ERRORS: f64 = 0.001;

/// Its 95th percentile may be more than before by this factor,
const SLOWER: f64 = 1.2;

/// or by as much as this, where it is small.
const SMALL: u64 = 5 * super::MILLISECOND;

/// Parts of the fault that are looked at one by one: what a fault does it does all the while, and a machine that stands still for a
/// moment makes many requests late at once.
const PARTS: u64 = 5;

/// Parts in which a route has to be slower.
const MOST_PARTS: usize = 3;

/// A request passes the proxy twice.
const PASSES: u64 = 2;

/// Whether a route is slower than before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slower {
    No,
    /// In a time of too few requests to say so.
    Briefly,
    /// The machine may be the reason.
    Doubtful,
    Yes,
}

/// One route, before and during the fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Its operation.
    pub route: String,
    /// Whether its requests call the dependency; `None`: not known.
    pub needs_it: Option<bool>,
    /// Requests before and during.
    pub requests: [u64; 2],
    /// Share of failures before and during; `None`: no requests.
    pub error_rate: [Option<f64>; 2],
    /// 95th percentiles in milliseconds, before and during.
    pub p95_ms: [Option<f64>; 2],
    /// Whether it suffered.
    pub suffered: bool,
    /// Whether another fault of the same time may be why: on a dependency that it needs, too, or may need.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hit_otherwise: bool,
}

impl Route {
    /// Whether it has to stay as it was.
    const fn is_judged(&self) -> bool {
        matches!(self.needs_it, Some(false)) && !self.hit_otherwise
    }
}

/// A dependency other than the one that the fault is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spill {
    /// Its proxy.
    pub proxy: String,
    /// Share of failures before and during, of what no fault touched.
    pub error_rate: [Option<f64>; 2],
    /// Whether a fault was about it, too: then it is not judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub faulted: bool,
    /// Its calls for each request of the service, during over before; `None`: not known. Well above 1: what a cache held is
    /// asked of it.
    pub rate: Option<f64>,
}

/// Where the damage went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Containment {
    /// Whether every route that does without the dependency, and every other dependency, stayed as before.
    pub contained: bool,
    /// By route.
    pub routes: Vec<Route>,
    /// Other dependencies.
    pub others: Vec<Spill>,
    /// Connections to the service's own API that never reached it, during.
    #[serde(default)]
    pub unreached: u64,
}

/// Where the damage of a fault on this dependency went.
pub fn infer(view: &View<'_>, proxy: ProxyIndex) -> Finding<Containment> {
    let mut evidence = Evidence::default();
    let Some(affected) = view.affected(proxy) else {
        return Finding::unknown(
            "no fault touched a request to this dependency",
            "let the fault match what the service asks, and the phase last long enough for it",
            evidence,
        );
    };
    if let Err(missing) = view.complete(proxy) {
        return Finding {
            answer: Err(missing),
            evidence,
        };
    }
    let Some(api) = view.api else {
        return Finding::unknown(
            "no proxy carries the requests of the service's own API",
            "put an HTTP proxy before the service, or name it by `api`",
            evidence,
        );
    };
    let (compared, during) = compare(view, proxy, api, affected);
    let few = too_few(&compared);
    let doubtful = compared
        .iter()
        .find(|(route, slower)| route.is_judged() && *slower == Slower::Doubtful)
        .map(|(route, _)| route.route.clone());
    let routes: Vec<Route> = compared.into_iter().map(|(route, _)| route).collect();
    let without: Vec<&Route> = routes.iter().filter(|r| r.is_judged()).collect();
    evidence.samples = without.iter().map(|r| r.requests[1]).sum();
    evidence.first = Some(during.from);
    evidence.last = Some(during.to);
    // A service that the fault has brought down touches nothing any more.
    let fault = view.disturbed(proxy).unwrap_or(during);
    let unreached = view.passed(api).unreached_in(fault) as u64;
    let asked: u64 = routes.iter().map(|r| r.requests[1]).sum();
    let gone = unreached as f64 > MORE_ERRORS * (asked + unreached) as f64;
    evidence.figure("unreached", unreached as f64);
    if few && !gone {
        return without_requests(&routes, evidence);
    }
    let others = spills(view, proxy, api, during);
    let spilled = others.iter().any(|other| match other.error_rate {
        [before, Some(during)] => !other.faulted && during > before.unwrap_or(0.0) + MORE_ERRORS,
        _ => false,
    });
    let contained = !spilled && !gone && without.iter().all(|r| !r.suffered);
    if contained && let Some(route) = doubtful {
        return Finding::unknown(
            format!(
                "`{route}` was slower for a part of the fault, or by no more than the proxy itself was late: the machine may be the reason"
            ),
            "less at once on this machine, or a longer fault phase",
            evidence,
        );
    }
    Finding::known(
        Containment {
            contained,
            routes,
            others,
            unreached,
        },
        evidence,
    )
}

/// Every route before and during, by name, and which time that is.
fn compare(
    view: &View<'_>,
    proxy: ProxyIndex,
    api: ProxyIndex,
    affected: Span,
) -> (Vec<(Route, Slower)>, Span) {
    let unknown = Demand::default();
    let demand = view.demand(proxy).unwrap_or(&unknown);
    let names: BTreeSet<Name> = view
        .api_requests()
        .iter()
        .map(|r| r.attempt.operation)
        .collect();
    let otherwise = |route: Name, during: Span| {
        let mut others = faulted(view, proxy, during).filter(|other| *other != api);
        others.any(|other| !view.demand(other).is_ok_and(|d| d.does_without(route)))
    };
    let compare = |during| -> Vec<(Route, Slower)> {
        let spans = [view.baseline, during];
        let one = |route: &Name| {
            let (mut found, slower) = route_of(view, demand, api, *route, spans);
            found.hit_otherwise = otherwise(*route, during);
            (found, slower)
        };
        names.iter().map(one).collect()
    };
    let (mut compared, mut during) = (compare(affected), affected);
    // A service that gives the dependency up is touched for a moment, and goes without it for the rest of the fault. What was slow
    // in that moment must not be thinned out by the rest.
    if too_few(&compared) && compared.iter().all(|(_, s)| *s != Slower::Briefly) {
        during = view.disturbed(proxy).unwrap_or(affected);
        compared = compare(during);
    }
    compared.sort_by(|(a, _), (b, _)| a.route.cmp(&b.route));
    (compared, during)
}

/// There was too little of what has to stay as it was.
fn without_requests(routes: &[Route], mut evidence: Evidence) -> Finding<Containment> {
    let least = needed(0.95);
    for route in routes {
        let [before, meanwhile] = route.requests;
        let needs = match route.needs_it {
            Some(true) => "calls the dependency",
            Some(false) if route.hit_otherwise => "may call another one with a fault",
            Some(false) => "does without it",
            None => "may call the dependency: too seldom was it alone in flight",
        };
        evidence.note(format!(
            "`{}`: {before} requests before, {meanwhile} during; it {needs}",
            route.route
        ));
    }
    Finding::unknown(
        format!(
            "no route that does without this dependency has {least} requests before and {least} during the fault"
        ),
        "load on such a route (a health check will do) beside the others, one request at a time in the baseline phase",
        evidence,
    )
}

/// Whether no route that does without the dependency has the requests that a percentile needs, before and during.
fn too_few(compared: &[(Route, Slower)]) -> bool {
    let routes = compared.iter().map(|(route, _)| route);
    let mut without = routes.filter(|r| r.is_judged()).peekable();
    without.peek().is_none() || without.any(|r| r.requests.iter().any(|n| *n < needed(0.95)))
}

/// `spans`: before and during the fault.
fn route_of(
    view: &View<'_>,
    demand: &Demand,
    api: ProxyIndex,
    route: Name,
    spans: [Span; 2],
) -> (Route, Slower) {
    let [before, during] = spans.map(|span| of_route(view, api, route, span));
    let p95 = |w: &Window| {
        let enough = w.latency.len() as u64 >= needed(0.95);
        w.latency.quantile(0.95).filter(|_| enough)
    };
    let (calm, hit) = (p95(&before), p95(&during));
    // What the proxy itself is late by is no damage.
    let late = PASSES * view.late(spans[1]);
    let limit = |calm: u64| ((calm as f64 * SLOWER) as u64).max(calm + SMALL);
    let slower = match (calm, hit) {
        (Some(calm), None) => {
            let few = under_way(view, api, route, spans[1]).quantile(0.95);
            match few {
                Some(few) if few > limit(calm) => Slower::Briefly,
                _ => Slower::No,
            }
        }
        (Some(calm), Some(hit)) => {
            let limit = limit(calm);
            let parts = || slow_parts(view, api, route, spans[1], limit + late);
            if hit <= limit {
                Slower::No
            } else if hit <= limit + late || parts() < MOST_PARTS {
                Slower::Doubtful
            } else {
                Slower::Yes
            }
        }
        (None, _) => Slower::No,
    };
    let errors = [before.error_rate(), during.error_rate()];
    let failing = errors[1].is_some_and(|during| during > errors[0].unwrap_or(0.0) + MORE_ERRORS);
    let needs_it = if demand.needs(route) {
        Some(true)
    } else {
        demand.does_without(route).then_some(false)
    };
    let found = Route {
        route: view.trace.names.get(route).to_owned(),
        needs_it,
        requests: [before.ended as u64, during.ended as u64],
        error_rate: errors,
        p95_ms: [calm.map(millis), hit.map(millis)],
        suffered: slower == Slower::Yes || failing,
        hit_otherwise: false,
    };
    (found, slower)
}

/// The requests of a route in a time, but for those that a fault on the API itself touched.
fn of_route(view: &View<'_>, api: ProxyIndex, route: Name, span: Span) -> Window {
    Window::answers(view.passed(api), span, |seen| {
        seen.attempt.operation == route && seen.attempt.fault.is_none()
    })
}

/// The other proxies that faults touched in a time.
fn faulted(view: &View<'_>, proxy: ProxyIndex, during: Span) -> impl Iterator<Item = ProxyIndex> {
    let proxies = (0..).map(ProxyIndex).take(view.trace.header.proxies.len());
    let others = proxies.filter(move |other| *other != proxy);
    others.filter(move |other| {
        let disturbed = view.disturbed(*other);
        disturbed.is_some_and(|d| d.from < during.to && during.from < d.to)
    })
}

/// Latencies of the requests of a route that were under way in a time.
fn under_way(view: &View<'_>, api: ProxyIndex, route: Name, span: Span) -> Sample {
    let work = view.passed(api).work.iter().map(|s| s.attempt);
    let work = work.filter(|a| a.operation == route && a.fault.is_none());
    let work = work.filter(|a| a.begun < span.to && a.ended >= span.from);
    work.map(Attempt::latency).collect()
}

/// Parts of a time in which more than one in twenty requests of a route took longer than this.
fn slow_parts(view: &View<'_>, api: ProxyIndex, route: Name, span: Span, limit: u64) -> usize {
    let length = span.length().div_ceil(PARTS).max(1);
    let parts = (span.from..span.to).step_by(length as usize);
    let slow = parts.filter(|from| {
        let part = Span {
            from: *from,
            to: from.saturating_add(length).min(span.to),
        };
        let window = of_route(view, api, route, part);
        window.latency.quantile(0.95).is_some_and(|p95| p95 > limit)
    });
    slow.count()
}

fn spills(view: &View<'_>, proxy: ProxyIndex, api: ProxyIndex, affected: Span) -> Vec<Spill> {
    let requests = view.passed(api);
    let requests = [view.baseline, affected].map(|span| Window::of(requests, span, None).begun);
    let all = (0..).map(ProxyIndex).zip(&view.trace.header.proxies);
    all.filter(|(other, _)| *other != proxy && *other != api)
        .map(|(other, meta)| {
            let passed = view.passed(other);
            let untouched = |seen: &Seen<'_>| seen.attempt.fault.is_none();
            let [before, during] =
                [view.baseline, affected].map(|s| Window::count(passed, s, untouched));
            let per = |window: &Window, requests: usize| {
                (requests > 0).then(|| window.begun as f64 / requests as f64)
            };
            let rate = match (per(&before, requests[0]), per(&during, requests[1])) {
                (Some(calm), Some(hit)) if calm > 0.0 => Some(hit / calm),
                _ => None,
            };
            Spill {
                proxy: meta.name.clone(),
                error_rate: [before.error_rate(), during.error_rate()],
                faulted: faulted(view, proxy, affected).any(|f| f == other),
                rate,
            }
        })
        .collect()
}
