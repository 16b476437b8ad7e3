//! `[[load]]`: which requests, how often.

use super::{known_proxy, tables};
use crate::config::ProxyConfig;
use crate::config::duration;
use crate::config::locate::Document;
use crate::protocol::Protocol;
use crate::verify::expect::latency::Figure;
use crate::verify::load::schedule::{Schedule, Stage};
use crate::verify::load::{Load, Pace, Postgres, Request, Target, Work};
use crate::verify::search::Slo;
use crate::verify::written::{LimitText, LoadTable, Metric, RequestTable, SearchTable, StageTable};
use hyper::Method;
use std::time::Duration;

/// When a caller gives up where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Failures that a search allows where nothing is said.
const ERRORS: f64 = 0.01;

pub(super) fn read(document: &mut Document<'_>, proxies: &[ProxyConfig]) -> Vec<Load> {
    if document.len_of("load").is_none() && document.keys().iter().any(|k| k == "load") {
        let word: Option<String> = document.read(&[super::key("load")]);
        if word.is_some_and(|w| w != "external") {
            document.report(
                "load",
                "it is no kind of load",
                "write load = \"external\", or [[load]]",
            );
        }
        return Vec::new();
    }
    let tables = tables::<LoadTable>(document, "load");
    if tables.is_empty() && document.is_clean() {
        let remedy = "add a [[load]], or load = \"external\" where others make it";
        document.report("", "there is no load in it", remedy);
    }
    let mut loads: Vec<Load> = Vec::new();
    for (at, table) in tables {
        let Some(load) = one(document, &at, table, proxies) else {
            continue;
        };
        if loads.iter().any(|l| l.lane == load.lane) {
            let message = format!("{:?} is an earlier lane", load.lane);
            document.report(
                &format!("{at}.lane"),
                &message,
                "expected a lane of its own",
            );
        }
        loads.push(load);
    }
    loads
}

fn one(
    document: &mut Document<'_>,
    at: &str,
    table: LoadTable,
    proxies: &[ProxyConfig],
) -> Option<Load> {
    let field = |name: &str| format!("{at}.{name}");
    let (target, protocol) = match (&table.proxy, &table.url) {
        (Some(name), None) => {
            known_proxy(document, &field("proxy"), name, proxies);
            let proxy = proxies.iter().find(|p| p.name == *name)?;
            (Target::Proxy(name.clone()), proxy.protocol)
        }
        (None, Some(url)) => {
            let Some(address) = url.strip_prefix("http://").map(|a| a.trim_end_matches('/')) else {
                document.report(
                    &field("url"),
                    "it is no http:// address",
                    "expected http://HOST:PORT",
                );
                return None;
            };
            let address = if address.contains(':') {
                address.to_owned()
            } else {
                format!("{address}:80")
            };
            (Target::Address(address), Protocol::Http)
        }
        _ => {
            document.report(
                at,
                "it is not said where the load goes",
                "give `proxy` or `url`",
            );
            return None;
        }
    };
    let pace = pace(document, at, &table);
    let search = search(document, at, &table, pace.as_ref());
    let work = match protocol {
        Protocol::Http => http(document, at, &table),
        Protocol::Redis => redis(document, at, &table),
        Protocol::Postgres => postgres(document, at, &table),
        Protocol::Tcp => {
            document.report(
                &field("proxy"),
                "there is no load for plain TCP",
                "use load = \"external\"",
            );
            None
        }
    };
    let lane = table.lane.or(table.proxy).unwrap_or_else(|| "url".into());
    Some(Load {
        lane,
        target,
        pace: pace?,
        timeout: table.timeout.unwrap_or(TIMEOUT),
        work: work?,
        password_env: table.password_env,
        search,
    })
}

/// "50/s", "600/min".
pub(super) fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let per = match unit.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let rate = number.trim().parse::<f64>().ok()? / per;
    (rate.is_finite() && rate > 0.0 && rate <= 1e5).then_some(rate)
}

fn pace(document: &mut Document<'_>, at: &str, table: &LoadTable) -> Option<Pace> {
    let canary = table.canary.unwrap_or(false);
    if canary && table.rate.is_none() {
        let remedy = "add rate = \"5/s\", or leave `canary` out";
        document.report(&format!("{at}.canary"), "a canary has a rate", remedy);
        return None;
    }
    match (&table.rate, &table.stages, table.callers) {
        (Some(text), None, None) => {
            let rate = said_rate(document, &format!("{at}.rate"), text)?;
            Some(if canary {
                Pace::Canary(rate)
            } else {
                Pace::Open(Schedule::steady(rate))
            })
        }
        (None, Some(stages), None) if (1..=64).contains(&stages.len()) => {
            staged(document, &format!("{at}.stages"), stages).map(Pace::Open)
        }
        (None, Some(_), None) => {
            let remedy = "expected 1 to 64 stages";
            document.report(&format!("{at}.stages"), "it is no list of stages", remedy);
            None
        }
        (None, None, Some(callers)) if (1..=1000).contains(&callers) => Some(Pace::Closed {
            callers,
            think: table.think.unwrap_or_default(),
        }),
        (None, None, Some(_)) => {
            document.report(
                &format!("{at}.callers"),
                "it is no number of callers",
                "expected 1 to 1000",
            );
            None
        }
        _ => {
            document.report(
                at,
                "it is not said how often",
                "give one of `rate = \"50/s\"`, `stages` and `callers = 1`",
            );
            None
        }
    }
}

fn said_rate(document: &mut Document<'_>, field: &str, text: &str) -> Option<f64> {
    let rate = rate(text);
    if rate.is_none() {
        document.report(
            field,
            &format!("{text:?} is no rate"),
            "expected like \"50/s\", at most \"100000/s\"",
        );
    }
    rate
}

fn staged(document: &mut Document<'_>, field: &str, tables: &[StageTable]) -> Option<Schedule> {
    let mut stages = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let at = format!("{field}[{index}]");
        let Some(text) = &table.rate else {
            document.report(
                &format!("{at}.rate"),
                "`rate` is missing",
                "add rate = \"50/s\"",
            );
            continue;
        };
        let Some(rate) = said_rate(document, &format!("{at}.rate"), text) else {
            continue;
        };
        let ramp = table.ramp.unwrap_or_default();
        let Some(length) = table.length.filter(|l| *l > Duration::ZERO && *l >= ramp) else {
            let remedy = "give `for`, more than 0 and no less than `ramp`";
            document.report(&at, "it is not said how long it is", remedy);
            continue;
        };
        stages.push(Stage { rate, length, ramp });
    }
    (stages.len() == tables.len())
        .then(|| Schedule::staged(&stages))
        .flatten()
}

fn search(
    document: &mut Document<'_>,
    at: &str,
    table: &LoadTable,
    pace: Option<&Pace>,
) -> Option<Slo> {
    let search = table.search.as_ref()?;
    let at = format!("{at}.search");
    if pace.is_some_and(|pace| !matches!(pace, Pace::Open(_))) {
        let message = "only the rate of the open model can be stepped";
        document.report(
            &at,
            message,
            "give a `rate`, and neither `callers` nor `canary`",
        );
    }
    let slo = slo(search);
    match slo {
        Ok(slo) => Some(slo),
        Err((key, message, remedy)) => {
            let field = if key.is_empty() {
                at
            } else {
                format!("{at}.{key}")
            };
            document.report(&field, &message, remedy);
            None
        }
    }
}

/// Or the key, what is wrong with it, and what to write instead.
fn slo(table: &SearchTable) -> Result<Slo, (&'static str, String, &'static str)> {
    let errors = table.error_rate.unwrap_or(ERRORS);
    if !(0.0..=1.0).contains(&errors) {
        let message = format!("{errors} is no share");
        return Err(("error_rate", message, "expected 0 to 1, like 0.01 for 1 %"));
    }
    let figure = match table.metric {
        Some(Metric::Mean) => Figure::Mean,
        Some(Metric::P50) => Figure::Quantile(0.5),
        Some(Metric::P95) => Figure::Quantile(0.95),
        Some(Metric::P99) => Figure::Quantile(0.99),
        Some(Metric::Max) => Figure::Max,
        Some(Metric::ErrorRate) => {
            return match &table.limit {
                Some(LimitText::Share(share)) if (0.0..=1.0).contains(share) => Ok(Slo {
                    latency: None,
                    errors: *share,
                }),
                _ => Err((
                    "limit",
                    "it is no share".into(),
                    "expected 0 to 1, like 0.01 for 1 %",
                )),
            };
        }
        None => {
            let remedy = "write search = { metric = \"p95\", limit = \"100ms\" }";
            return Err(("", "it is not said which figure is limited".into(), remedy));
        }
    };
    match &table.limit {
        Some(LimitText::Latency(text)) => match duration::parse(text) {
            Ok(limit) if limit > Duration::ZERO => Ok(Slo {
                latency: Some((figure, limit)),
                errors,
            }),
            _ => Err((
                "limit",
                format!("{text:?} is no latency"),
                "expected like \"100ms\"",
            )),
        },
        _ => Err((
            "limit",
            "a latency has no limit here".into(),
            "expected like limit = \"100ms\"",
        )),
    }
}

fn http(document: &mut Document<'_>, at: &str, table: &LoadTable) -> Option<Work> {
    let written = match (&table.requests, &table.path) {
        (Some(requests), None) if !requests.is_empty() => requests.clone(),
        (None, Some(path)) => vec![RequestTable {
            method: table.method.clone(),
            path: Some(path.clone()),
            headers: table.headers.clone(),
            body: table.body.clone(),
            weight: None,
        }],
        _ => {
            document.report(
                at,
                "it is not said what is requested",
                "give either `path` or `requests`",
            );
            return None;
        }
    };
    let mut requests = Vec::new();
    for (index, written) in written.into_iter().enumerate().take(64) {
        let place = if table.requests.is_some() {
            format!("{at}.requests[{index}]")
        } else {
            at.to_owned()
        };
        let method = written.method.unwrap_or_else(|| "GET".into());
        let path = written.path.unwrap_or_default();
        let request = Request {
            method: Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?,
            path,
            headers: written.headers.unwrap_or_default().into_iter().collect(),
            body: written.body.unwrap_or_default().into(),
            weight: written.weight.unwrap_or(1).clamp(1, 1000),
        };
        if !request.path.starts_with('/') || request.build("host").is_none() {
            let remedy = "expected a path like \"/health\", and valid headers";
            document.report(&format!("{place}.path"), "it is no request", remedy);
        }
        requests.push(request);
    }
    Some(Work::Http(requests))
}

fn redis(document: &mut Document<'_>, at: &str, table: &LoadTable) -> Option<Work> {
    match (&table.commands, &table.publish) {
        (Some(commands), None) if commands.iter().any(|c| !c.trim().is_empty()) => {
            let words = commands
                .iter()
                .map(|c| c.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            Some(Work::Redis(words.filter(|w| !w.is_empty()).collect()))
        }
        (None, Some(channel)) => Some(Work::PubSub(channel.clone())),
        _ => {
            document.report(
                at,
                "it is not said what is sent",
                "give either `commands = [\"GET key\"]` or `publish = \"channel\"`",
            );
            None
        }
    }
}

fn postgres(document: &mut Document<'_>, at: &str, table: &LoadTable) -> Option<Work> {
    let Some(statements) = table.statements.clone().filter(|s| !s.is_empty()) else {
        document.report(
            at,
            "it is not said what is sent",
            "give `statements = [\"SELECT 1\"]`",
        );
        return None;
    };
    let user = table.user.clone().unwrap_or_else(|| "postgres".into());
    Some(Work::Postgres(Postgres {
        statements,
        transaction: table.transaction.unwrap_or(false),
        database: table.database.clone().unwrap_or_else(|| user.clone()),
        user,
    }))
}
