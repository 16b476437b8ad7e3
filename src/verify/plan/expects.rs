//! `[[expect]]`: each limit of a table becomes an expectation.

use super::{Phase, Watch, known_lane, known_proxy, tables};
use crate::config::ProxyConfig;
use crate::config::locate::Document;
use crate::verify::expect::latency::{Figure, Latency};
use crate::verify::expect::{
    Expectation, Expected, Place, Scope, breaker, capacity, cleanup, rate, resources, timing,
    transactions,
};
use crate::verify::search::ladder;
use crate::verify::written::{ExpectTable, Kind, Names};
use std::time::Duration;

/// How long a service has to be itself where nothing is said.
const STABLE: Duration = Duration::from_secs(3);

/// What has to hold each time that faults come.
const EACH_TIME: [&str; 4] = ["detects_within", "recovers_within", "degrades", "contained"];

/// What expectations can refer to.
pub(super) struct Around<'a> {
    pub(super) proxies: &'a [ProxyConfig],
    pub(super) lanes: &'a [&'a str],
    pub(super) phases: &'a [Phase],
    pub(super) watches: &'a [Watch],
    pub(super) api: Option<&'a str>,
}

/// What an expectation must be about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// A proxy or a lane.
    Traffic,
    /// A proxy.
    Proxy,
    /// A proxy that faults act on: a phase chooses the fault that it is about, its own or the last before it.
    Fault,
    /// A watched process.
    Process,
    /// All of the load.
    Load,
}

pub(super) fn read(document: &mut Document<'_>, around: &Around<'_>) -> Vec<Expected> {
    let tables = tables::<ExpectTable>(document, "expect");
    let mut expects = Vec::new();
    if tables.is_empty() && document.is_clean() {
        let remedy = "add an [[expect]] with a limit, like p95 = \"100ms\"";
        document.report("", "nothing is expected", remedy);
    }
    for (at, table) in tables {
        let scope = scope(document, &at, &table, around);
        let on_inconclusive = table.on_inconclusive.unwrap_or_default();
        let severity = table.severity.unwrap_or_default();
        let name = table.name.clone();
        let limits = limits(document, &at, table);
        if limits.is_empty() && document.is_clean() {
            document.report(
                &at,
                "it has no limit",
                "add one, like p95 = \"100ms\" or error_rate = 0.01",
            );
        }
        for (key, about, one) in limits {
            let field = format!("{at}.{key}");
            let (line, column) = document.place(&field);
            let place = Place {
                file: document.origin().to_owned(),
                line,
                column,
            };
            let scope = complete(document, &field, about, scope.clone(), around);
            for scope in one_by_one(key, about, scope, around) {
                expects.push(Expected {
                    name: name.clone(),
                    scope,
                    on_inconclusive,
                    severity,
                    field: field.clone(),
                    place: place.clone(),
                    what: one(),
                });
            }
        }
    }
    expects
}

/// What is judged phase by phase: a bad one must not hide behind a good one.
fn one_by_one(key: &str, about: About, scope: Scope, around: &Around<'_>) -> Vec<Scope> {
    let faults = around.phases.iter().filter(|p| p.kind == Kind::Fault);
    let faults: Vec<&String> = faults.map(|p| &p.name).collect();
    let phases: Vec<&String> = match about {
        About::Traffic | About::Fault if scope.phases.len() > 1 => scope.phases.iter().collect(),
        About::Fault if scope.phases.is_empty() && faults.len() > 1 && EACH_TIME.contains(&key) => {
            faults
        }
        _ => return vec![scope],
    };
    let only = |phase: &String| Scope {
        phases: vec![phase.clone()],
        ..scope.clone()
    };
    phases.into_iter().map(only).collect()
}

fn scope(document: &mut Document<'_>, at: &str, table: &ExpectTable, around: &Around<'_>) -> Scope {
    if let Some(proxy) = &table.proxy {
        known_proxy(document, &format!("{at}.proxy"), proxy, around.proxies);
    }
    if let Some(lane) = &table.lane {
        known_lane(document, &format!("{at}.lane"), lane, around.lanes);
    }
    if table.proxy.is_some() && table.lane.is_some() {
        document.report(at, "it is about a proxy and about a lane", "make two of it");
    }
    let phases = match &table.phase {
        None => Vec::new(),
        Some(Names::One(name)) => vec![name.clone()],
        Some(Names::Many(names)) => names.clone(),
    };
    for phase in &phases {
        if document.is_sound(&["phase"]) && !around.phases.iter().any(|p| p.name == *phase) {
            let names: Vec<&str> = around.phases.iter().map(|p| p.name.as_str()).collect();
            let message = format!("there is no phase {phase:?}");
            document.report(
                &format!("{at}.phase"),
                &message,
                &format!("phases here: {}", names.join(", ")),
            );
        }
    }
    if let Some(watch) = &table.watch
        && !around.watches.iter().any(|w| w.name == *watch)
        && document.is_sound(&["watch"])
    {
        document.report(
            &format!("{at}.watch"),
            &format!("nothing named {watch:?} is watched"),
            "add a [[watch]] of that name",
        );
    }
    Scope {
        proxy: table.proxy.clone(),
        operation: table.operation.clone(),
        lane: table.lane.clone(),
        watch: table.watch.clone(),
        phases,
    }
}

/// Fills in what is left out where only one thing can be meant.
fn complete(
    document: &mut Document<'_>,
    field: &str,
    about: About,
    mut scope: Scope,
    around: &Around<'_>,
) -> Scope {
    match about {
        About::Process => {
            if scope.watch.is_none() {
                match around.watches {
                    [only] => scope.watch = Some(only.name.clone()),
                    _ if !document.is_sound(&["watch"]) => {}
                    _ => document.report(
                        field,
                        "it is not said which process it is about",
                        "add `watch`, and a [[watch]] of that name",
                    ),
                }
            }
        }
        About::Load => {
            let stepped = around.phases.iter().find(|p| p.kind == Kind::Capacity);
            match stepped {
                None if !document.is_sound(&["phase"]) => {}
                None => document.report(
                    field,
                    "there is no phase in which the rate is stepped",
                    "add a [[phase]] with kind = \"capacity\" and for = \"60s\"",
                ),
                Some(_) if scope.lane.is_some() || scope.proxy.is_some() => document.report(
                    field,
                    "it is about all of the load",
                    "leave `lane` and `proxy` out",
                ),
                Some(phase) => scope.phases = vec![phase.name.clone()],
            }
        }
        About::Traffic if scope.lane.is_some() => {}
        About::Traffic | About::Proxy | About::Fault => {
            let dependencies: Vec<&ProxyConfig> = around
                .proxies
                .iter()
                .filter(|p| {
                    about != About::Fault
                        || Some(p.name.as_str()) != around.api
                        || around.proxies.len() == 1
                })
                .collect();
            if scope.lane.is_some() {
                document.report(
                    field,
                    "it is about a proxy, not about a lane",
                    "name the `proxy` instead",
                );
            } else if scope.proxy.is_none() {
                match dependencies.as_slice() {
                    [only] => scope.proxy = Some(only.name.clone()),
                    _ if !document.is_sound(&["proxy"]) => {}
                    _ => document.report(
                        field,
                        "it names no proxy",
                        "add `proxy`, the one that it is about",
                    ),
                }
            }
            let first = around.phases.iter().position(|p| p.kind == Kind::Fault);
            let before = &around.phases[..first.unwrap_or(0)];
            let named = before
                .iter()
                .find(|p| about == About::Fault && scope.phases.contains(&p.name));
            if let Some(phase) = named {
                document.report(
                    field,
                    &format!("no fault comes before the end of phase {:?}", phase.name),
                    "name a phase of kind \"fault\", or one after it: what is said is of that fault",
                );
            }
            if about == About::Fault
                && document.is_sound(&["phase"])
                && !around.phases.iter().any(|p| p.kind == Kind::Fault)
            {
                document.report(
                    field,
                    "there is no phase in which faults are on",
                    "add a [[phase]] with kind = \"fault\"",
                );
            }
        }
    }
    scope
}

/// A key that is `true`, and what it stands for.
type Flag = (
    &'static str,
    Option<bool>,
    About,
    fn() -> Box<dyn Expectation>,
);

type Limit = (&'static str, About, Box<dyn Fn() -> Box<dyn Expectation>>);

/// "50MB", "20MiB".
fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit) as u64)
}

#[expect(clippy::too_many_lines, reason = "a table: one entry for each key")]
fn limits(document: &mut Document<'_>, at: &str, table: ExpectTable) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    let figures = [
        ("mean", Figure::Mean, table.mean),
        ("p50", Figure::Quantile(0.5), table.p50),
        ("p95", Figure::Quantile(0.95), table.p95),
        ("p99", Figure::Quantile(0.99), table.p99),
        ("max", Figure::Max, table.max),
    ];
    for (key, figure, limit) in figures {
        if let Some(limit) = limit {
            limits.push((
                key,
                About::Traffic,
                Box::new(move || Box::new(Latency { figure, limit })),
            ));
        }
    }
    if let Some(text) = &table.throughput {
        match super::loads::rate(text) {
            Some(rate) => limits.push((
                "throughput",
                About::Traffic,
                Box::new(move || Box::new(rate::Throughput(rate))),
            )),
            None => document.report(
                &format!("{at}.throughput"),
                "it is no rate",
                "expected like \"100/s\"",
            ),
        }
    }
    if let Some(rate) = share(document, at, "error_rate", table.error_rate) {
        limits.push((
            "error_rate",
            About::Traffic,
            Box::new(move || Box::new(rate::ErrorRate(rate))),
        ));
    }
    if let Some(within) = table.detects_within {
        limits.push((
            "detects_within",
            About::Fault,
            Box::new(move || Box::new(timing::Detects(within))),
        ));
    }
    if let Some(within) = table.recovers_within {
        let stable = table.stable_for.unwrap_or(STABLE);
        limits.push((
            "recovers_within",
            About::Fault,
            Box::new(move || Box::new(timing::Recovers { within, stable })),
        ));
    } else if table.stable_for.is_some() {
        document.report(
            &format!("{at}.stable_for"),
            "it belongs to recovers_within",
            "add recovers_within, or leave it out",
        );
    }
    if let Some(within) = table.timeout_within {
        limits.push((
            "timeout_within",
            About::Fault,
            Box::new(move || Box::new(timing::TimesOut(within))),
        ));
    }
    if let Some(breaker) = table.breaker {
        if let Some(n) = breaker.opens_after {
            limits.push((
                "breaker.opens_after",
                About::Fault,
                Box::new(move || Box::new(breaker::OpensAfter(n.max(1)))),
            ));
        }
        if let Some(within) = breaker.fails_fast_within {
            limits.push((
                "breaker.fails_fast_within",
                About::Fault,
                Box::new(move || Box::new(breaker::FailsFast(within))),
            ));
        }
        if let Some(closes) = breaker.closes {
            limits.push((
                "breaker.closes",
                About::Fault,
                Box::new(move || Box::new(breaker::Closes(closes))),
            ));
        }
    }
    if let Some(n) = table.retries_at_most {
        limits.push((
            "retries_at_most",
            About::Fault,
            Box::new(move || Box::new(cleanup::Retries(n))),
        ));
    }
    if let Some(most) = table.amplification_at_most {
        limits.push((
            "amplification_at_most",
            About::Fault,
            Box::new(move || Box::new(cleanup::Amplification(most))),
        ));
    }
    if let Some(most) = share(
        document,
        at,
        "pool_utilisation_at_most",
        table.pool_utilisation_at_most,
    ) {
        limits.push((
            "pool_utilisation_at_most",
            About::Proxy,
            Box::new(move || Box::new(resources::Pool(most))),
        ));
    }
    if let Some(text) = &table.memory_growth_at_most {
        let window = table.memory_window.map_or(0, |w| w.as_nanos() as u64);
        match bytes(text) {
            Some(most) => limits.push((
                "memory_growth_at_most",
                About::Process,
                Box::new(move || Box::new(resources::MemoryGrowth { most, window })),
            )),
            None => document.report(
                &format!("{at}.memory_growth_at_most"),
                "it is no size",
                "expected like \"50MB\"",
            ),
        }
    }
    for (key, limit, peak) in [
        ("cpu_mean_at_most", table.cpu_mean_at_most, false),
        ("cpu_peak_at_most", table.cpu_peak_at_most, true),
    ] {
        if let Some(limit) = limit {
            limits.push((
                key,
                About::Process,
                Box::new(move || Box::new(resources::Cpu { limit, peak })),
            ));
        }
    }
    if let Some(least) = table.headroom_at_least {
        if (ladder::LEAST..=ladder::MOST).contains(&least) {
            limits.push((
                "headroom_at_least",
                About::Load,
                Box::new(move || Box::new(capacity::Headroom(least))),
            ));
        } else {
            document.report(
                &format!("{at}.headroom_at_least"),
                &format!("{least} is beyond what is tried"),
                "expected 0.0625 to 64, like 2.0 for twice the declared load",
            );
        }
    }
    let flags: [Flag; 7] = [
        ("degrades", table.degrades, About::Fault, || {
            Box::new(timing::Degrades)
        }),
        ("cleans_up", table.cleans_up, About::Fault, || {
            Box::new(cleanup::CleansUp)
        }),
        ("contained", table.contained, About::Fault, || {
            Box::new(cleanup::Contained)
        }),
        ("no_duplicates", table.no_duplicates, About::Fault, || {
            Box::new(transactions::NoDuplicates)
        }),
        ("no_deadlocks", table.no_deadlocks, About::Proxy, || {
            Box::new(transactions::NoDeadlocks)
        }),
        (
            "transactions_intact",
            table.transactions_intact,
            About::Proxy,
            || Box::new(transactions::Intact),
        ),
        (
            "fully_functional",
            table.fully_functional,
            About::Proxy,
            || Box::new(rate::FullyFunctional),
        ),
    ];
    for (key, flag, about, one) in flags {
        match flag {
            Some(true) => limits.push((key, about, Box::new(one))),
            Some(false) => document.report(
                &format!("{at}.{key}"),
                "nothing can be expected by `false`",
                "write true, or leave it out",
            ),
            None => {}
        }
    }
    limits
}

fn share(document: &mut Document<'_>, at: &str, key: &str, value: Option<f64>) -> Option<f64> {
    let value = value?;
    if (0.0..=1.0).contains(&value) {
        return Some(value);
    }
    document.report(
        &format!("{at}.{key}"),
        &format!("{value} is no share"),
        "expected 0 to 1, like 0.01 for 1 %",
    );
    None
}
