//! How many calls to a dependency a request of the service's own API causes, by route.
//!
//! Learned while nothing is disturbed. It answers the question behind every silence: were calls due?

use super::calls::{Calls, InFlight};
use super::finding::Unknown;
use super::view::{Seen, Span, View};
use crate::measure::trace::Name;

/// Requests of a route that its share is learned from, at least.
pub const MIN_REQUESTS: u64 = 30;

/// A route with fewer calls than this a request does without the dependency.
pub const NEEDS: f64 = 0.5;

/// Calls that may fail before any fault, and what else is normal is still learned: so many, or such a share of them.
const DISTURBED: usize = 3;
const DISTURBED_SHARE: f64 = 0.05;

/// The learned demand.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// By the place of the route's name in the recording.
    routes: Vec<Route>,
}

/// One route of the service's own API.
#[derive(Clone, Copy, Debug, Default)]
struct Route {
    requests: u64,
    calls: f64,
    /// Requests that were alone in flight from begin to end, and their calls: those are certain.
    alone: u64,
    alone_calls: u64,
}

impl Route {
    fn per_request(&self) -> Option<f64> {
        if self.alone >= MIN_REQUESTS {
            Some(self.alone_calls as f64 / self.alone as f64)
        } else if self.requests >= MIN_REQUESTS {
            Some(self.calls / self.requests as f64)
        } else {
            None
        }
    }
}

impl Demand {
    /// Learns from the baseline of a recording.
    ///
    /// # Errors
    /// There are no requests of the service's own, or too few; or calls failed before any fault.
    pub fn learn(view: &View<'_>, calls: &Calls) -> Result<Self, Unknown> {
        if view.api.is_none() {
            return Err(Unknown::new(
                "no proxy carries the requests of the service's own API, so nothing tells whether calls were due",
                "put an HTTP proxy before the service, or name it by `api`",
            ));
        }
        undisturbed(view, calls)?;
        let mut demand = Self {
            routes: vec![Route::default(); view.trace.names.count()],
        };
        let alone = alone(view.api_requests());
        demand.count_requests(view, &alone);
        demand.count_calls(view, calls, &alone);
        if demand.routes.iter().any(|r| r.per_request().is_some()) {
            return Ok(demand);
        }
        let most = demand.routes.iter().map(|r| r.requests).max();
        Err(Unknown::new(
            format!(
                "{} undisturbed requests of one route; {MIN_REQUESTS} are needed to know how many calls they cause",
                most.unwrap_or(0)
            ),
            "make the baseline phase longer, or its rate higher",
        ))
    }

    /// Calls that a request of this route causes; `None`: too few were seen.
    pub fn per_request(&self, route: Name) -> Option<f64> {
        self.routes.get(route.index())?.per_request()
    }

    /// Whether requests of this route make calls.
    pub fn needs(&self, route: Name) -> bool {
        self.per_request(route).is_some_and(|calls| calls >= NEEDS)
    }

    /// Whether requests of this route make none: seen often enough, and never a call.
    pub fn does_without(&self, route: Name) -> bool {
        let route = self.routes.get(route.index());
        route.is_some_and(|r| r.alone >= MIN_REQUESTS && r.alone_calls == 0)
    }

    /// Calls that were due in a time: one share for each request that began in it.
    pub fn expected(&self, view: &View<'_>, span: Span) -> f64 {
        let requests = view.api_requests();
        let first = requests.partition_point(|r| r.attempt.begun < span.from);
        let last = requests.partition_point(|r| r.attempt.begun < span.to);
        let shares = requests[first..last.max(first)]
            .iter()
            .map(|r| self.per_request(r.attempt.operation).unwrap_or(0.0));
        shares.sum()
    }

    fn count_requests(&mut self, view: &View<'_>, alone: &[bool]) {
        for (request, alone) in view.api_requests().iter().zip(alone) {
            let attempt = request.attempt;
            if view.baseline.contains(attempt.begun) && attempt.outcome.is_answered() {
                let route = &mut self.routes[attempt.operation.index()];
                route.requests += 1;
                route.alone += u64::from(*alone);
            }
        }
    }

    fn count_calls(&mut self, view: &View<'_>, calls: &Calls, alone: &[bool]) {
        let requests = view.api_requests();
        each_in_baseline(view, calls, |active| {
            if let [only] = *active
                && alone[only]
                && requests[only].attempt.outcome.is_answered()
            {
                self.routes[requests[only].attempt.operation.index()].alone_calls += 1;
            }
        });
        // Who makes none is known only now.
        each_in_baseline(view, calls, |active| {
            let routes = active.iter().map(|r| requests[*r].attempt.operation);
            self.share_out(routes);
        });
    }

    /// A call with several requests in flight belongs to one of those routes that are known to make calls.
    fn share_out(&mut self, routes: impl Iterator<Item = Name> + Clone) {
        let able = |route: &Name| !self.does_without(*route);
        let all = routes.clone().count();
        let count = routes.clone().filter(able).count();
        let share = 1.0 / if count == 0 { all } else { count } as f64;
        for route in routes {
            if count == 0 || !self.does_without(route) {
                let route = &mut self.routes[route.index()];
                if route.requests > 0 {
                    route.calls += share;
                }
            }
        }
    }
}

/// A service whose calls fail makes fewer or more of them: a breaker opens, a library retries.
fn undisturbed(view: &View<'_>, calls: &Calls) -> Result<(), Unknown> {
    let before = calls.calls.iter();
    let before = before.filter(|c| view.baseline.contains(c.start));
    let (all, failed) = before.fold((0, 0), |(all, failed), call| {
        (all + 1, failed + usize::from(call.failed))
    });
    if failed < DISTURBED || failed as f64 <= DISTURBED_SHARE * f64::from(all) {
        return Ok(());
    }
    Err(Unknown::new(
        format!(
            "{failed} of {all} calls failed before any fault: how many are normal cannot be learned from them"
        ),
        "a baseline phase in which nothing fails; less at once on this machine, where its being busy is why",
    ))
}

/// For each call that only undisturbed requests can have made: these.
fn each_in_baseline(view: &View<'_>, calls: &Calls, mut visit: impl FnMut(&[usize])) {
    let requests = view.api_requests();
    let mut in_flight = InFlight::new(requests);
    for call in &calls.calls {
        in_flight.advance(call.start);
        let active = in_flight.active();
        let in_baseline = |r: &usize| view.baseline.contains(requests[*r].attempt.begun);
        if !active.is_empty() && active.iter().all(in_baseline) {
            visit(active);
        }
    }
}

/// Which requests were alone in flight from begin to end. They come by their begin.
fn alone(requests: &[Seen<'_>]) -> Vec<bool> {
    let mut busy_until = 0;
    let mut alone = Vec::with_capacity(requests.len());
    for (at, request) in requests.iter().enumerate() {
        let attempt = request.attempt;
        let next = requests.get(at + 1).map_or(u64::MAX, |r| r.attempt.begun);
        alone.push(busy_until <= attempt.begun && attempt.ended <= next);
        busy_until = busy_until.max(attempt.ended);
    }
    alone
}
