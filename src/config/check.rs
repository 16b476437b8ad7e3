//! From what is written to what is valid: what one value may be, and what values mean for each other.

use super::clash;
use super::file::{AdminTable, File, ProxyTable};
use super::guards::{LimitsTable, MAX_HOSTS};
use super::locate::{Document, Step};
use super::probe::Probe;
use super::problem::Problems;
use super::{
    ADMIN_PORT, CONNECT_TIMEOUT, Config, DRAIN_DEADLINE, Guards, Limits, MAX_PROXIES, MAX_ROUTES,
    MAX_WORKERS, ProxyConfig,
};
use crate::fault::glob::Glob;
use crate::measure::Slo;
use crate::measure::ledger::MAX_CAPACITY;
use crate::protocol::Protocol;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// Characters of one route.
const MAX_ROUTE: usize = 256;
/// Segments of one route, the empty one before the first slash included: more than that is not taken apart in a request.
const MAX_SEGMENTS: usize = 32;

/// Reads, checks and completes a configuration.
pub(super) fn config(text: &str, origin: &str) -> Result<Config, Problems> {
    let mut document = Document::parse(text, origin)?;
    if document.keys().is_empty() {
        return Err(Problems::of_file(
            origin,
            "it says nothing",
            "begin with a [[proxy]]; brownout.example.toml shows every key",
        ));
    }
    let file: File = document.read(&[]).unwrap_or_default();
    let checked = complete(&mut document, file);
    if document.is_clean() {
        Ok(checked)
    } else {
        Err(document.into_problems())
    }
}

/// The configuration as far as it is valid; everything else is reported.
fn complete(document: &mut Document<'_>, file: File) -> Config {
    let default = Config::default();
    let workers = at_least_one(document, "workers", file.workers);
    if workers.is_some_and(|n| n.get() > MAX_WORKERS) {
        let message = format!("{} is too many threads", file.workers.unwrap_or_default());
        document.report(
            "workers",
            &message,
            "expected 1 to 256; one for each core is best",
        );
    }
    nonzero(document, "tcp_user_timeout", file.tcp_user_timeout);
    let profiles = folder(document, "profiles", file.profiles);
    let hlog = folder(document, "hlog", file.hlog);
    let ledger = file.ledger.unwrap_or(default.ledger);
    if !(1..=MAX_CAPACITY).contains(&ledger) {
        let message = format!("the ledger cannot keep {ledger} exchanges");
        let remedy = format!("expected 1 to {MAX_CAPACITY}");
        document.report("ledger", &message, &remedy);
    }
    let max_sessions = at_least_one(document, "max_sessions", file.max_sessions);
    let table = file.admin.unwrap_or_default();
    let admin = table.listen.clone().unwrap_or(default.admin);
    let guards = guards(document, table);
    let limits = limits(document, file.limits.unwrap_or_default());
    if !admin.is_local() && guards.token_file.is_none() {
        let message = format!(
            "{admin} can be reached from other machines, and the endpoint asks for no password"
        );
        let remedy = format!(
            "listen on 127.0.0.1:{ADMIN_PORT}, [::1]:{ADMIN_PORT} or a unix socket, or name a token_file"
        );
        document.report("admin.listen", &message, &remedy);
    }
    let tables = file.proxy.unwrap_or_default();
    if tables.len() > MAX_PROXIES {
        let message = format!("there are {} proxies", tables.len());
        document.report(
            &format!("proxy[{MAX_PROXIES}]"),
            &message,
            "expected at most 256 in one process",
        );
    }
    let tables = &tables[..tables.len().min(MAX_PROXIES)];
    let outlines: Vec<clash::Outline<'_>> = tables.iter().map(Into::into).collect();
    for clash in clash::among(&outlines, &admin) {
        let field = format!("proxy[{}].{}", clash.proxy, clash.key);
        document.report(&field, &clash.message, clash.remedy);
    }
    let checked = tables.iter().enumerate();
    let proxies = checked
        .filter_map(|(index, table)| proxy(document, index, table))
        .collect();
    Config {
        admin,
        guards,
        limits,
        proxies,
        workers,
        seed: file.seed,
        profiles,
        hlog,
        drain_deadline: file.drain_deadline.unwrap_or(DRAIN_DEADLINE),
        max_sessions,
        on_desync: file.on_desync.unwrap_or_default(),
        base: PathBuf::new(),
        tcp_user_timeout: file.tcp_user_timeout,
        ledger,
    }
}

/// The `[[proxy]]` tables of a profile, as far as they are valid; what is wrong with them is reported.
pub(crate) fn profile_proxies(document: &mut Document<'_>) -> Vec<ProxyConfig> {
    let tables: Vec<ProxyTable> = document
        .read(&[Step::Key("proxy".into())])
        .unwrap_or_default();
    if tables.len() > MAX_PROXIES {
        document.report(
            "proxy",
            &format!("there are {} proxies", tables.len()),
            "expected at most 256",
        );
    }
    let checked = tables.iter().enumerate().take(MAX_PROXIES);
    checked
        .filter_map(|(index, table)| proxy(document, index, table))
        .collect()
}

/// How the admin endpoint is guarded.
fn guards(document: &mut Document<'_>, table: AdminTable) -> Guards {
    let path = |document: &mut Document<'_>, key: &str, path| {
        folder(document, &format!("admin.{key}"), path)
    };
    let token_file = path(document, "token_file", table.token_file);
    let halt_file = path(document, "halt_file", table.halt_file);
    let audit = path(document, "audit", table.audit);
    let changes = at_least_one(
        document,
        "admin.changes_per_second",
        table.changes_per_second,
    );
    let hosts = table.hosts.unwrap_or_default();
    if hosts.len() > MAX_HOSTS {
        let message = format!("there are {} names", hosts.len());
        document.report("admin.hosts", &message, "expected at most 64");
    }
    for (index, host) in hosts.iter().enumerate().take(MAX_HOSTS) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if host.is_empty() || host.len() > 260 || !host.bytes().all(plain) {
            document.report(
                &format!("admin.hosts[{index}]"),
                "it is no name as a Host header has it",
                "expected host:port, like \"brownout.staging:8474\"",
            );
        }
    }
    Guards {
        token_file,
        hosts,
        changes_per_second: changes.map(NonZeroU32::get),
        halt_file,
        audit,
        metrics: table.metrics,
    }
}

/// What no fault may go beyond.
fn limits(document: &mut Document<'_>, table: LimitsTable) -> Limits {
    if table
        .max_share
        .is_some_and(|share| !(0.0..=1.0).contains(&share))
    {
        document.report("limits.max_share", "it is no share", "expected 0 to 1");
    }
    nonzero(document, "limits.max_ttl", table.max_ttl);
    for (index, name) in table.proxies.iter().flatten().enumerate() {
        if let Err(error) = Glob::new(name) {
            let field = format!("limits.proxies[{index}]");
            document.report(
                &field,
                &error.to_string(),
                "expected a name or a glob, like \"redis*\"",
            );
        }
    }
    table.into()
}

/// Checks the proxies of a finished configuration against each other.
pub(super) fn together(config: &Config, origin: &str) -> Result<(), Problems> {
    let problems: Vec<_> = clash::of(config)
        .into_iter()
        .map(|clash| {
            let field = format!("{}.{}", config.proxies[clash.proxy].name, clash.key);
            super::Problem::of_file(origin, &clash.message, clash.remedy).field(&field)
        })
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Problems(problems))
    }
}

fn proxy(document: &mut Document<'_>, index: usize, table: &ProxyTable) -> Option<ProxyConfig> {
    let at = |key: &str| format!("proxy[{index}].{key}");
    if let Some(name) = &table.name
        && !is_name(name)
    {
        let shown: String = name.chars().take(80).collect();
        let message = format!("{shown:?} cannot be a name");
        document.report(
            &at("name"),
            &message,
            "expected 1 to 64 of a-z, 0-9, `_`, `.` and `-`",
        );
    }
    for (key, missing, example) in [
        ("name", table.name.is_none(), "name = \"redis\""),
        ("protocol", table.protocol.is_none(), "protocol = \"redis\""),
        (
            "listen",
            table.listen.is_none(),
            "listen = \"127.0.0.1:26379\"",
        ),
        (
            "upstream",
            table.upstream.is_none(),
            "upstream = \"localhost:6379\"",
        ),
    ] {
        if missing && !document.is_reported(&at(key)) {
            document.report(
                &at(key),
                &format!("`{key}` is missing"),
                &format!("add {example}"),
            );
        }
    }
    let slo = table.slo.unwrap_or_default();
    check_slo(document, &at("slo"), slo);
    let routes = table.routes.clone().unwrap_or_default();
    check_routes(document, &at("routes"), &routes, table.protocol);
    let pool = at_least_one(document, &at("pool"), table.pool);
    nonzero(document, &at("connect_timeout"), table.connect_timeout);
    let probe = table.probe.clone().unwrap_or_default();
    if let Some(protocol) = table.protocol {
        check_probe(document, &at("probe"), &probe, protocol);
    }
    let upstream = table.protocol.zip(table.upstream.as_ref());
    let upstream = upstream.map(|(protocol, written)| written.of(protocol));
    if let Some(Err(error)) = &upstream {
        document.report(&at("upstream"), &error.message, &error.remedy);
    }
    Some(ProxyConfig {
        name: table.name.clone()?,
        protocol: table.protocol?,
        listen: table.listen.clone()?,
        upstream: upstream?.ok()?,
        slo,
        routes,
        pool,
        connect_timeout: table.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        probe,
    })
}

fn check_probe(document: &mut Document<'_>, at: &str, probe: &Probe, protocol: Protocol) {
    use Protocol::{Http, Postgres, Redis};
    let both: &[Protocol] = &[Redis, Postgres];
    for (key, given, homes) in [
        ("user", probe.user.is_some(), both),
        ("database", probe.database.is_some(), &[Postgres]),
        ("password_env", probe.password_env.is_some(), both),
        ("path", probe.path.is_some(), &[Http]),
    ] {
        if given && !homes.contains(&protocol) {
            let message = format!("a probe of {} has no `{key}`", protocol.name());
            document.report(&format!("{at}.{key}"), &message, "remove it");
        }
    }
    if let Some(path) = &probe.path
        && (!path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()))
    {
        let message = format!("{path:?} is not a path");
        let expected = "expected one that begins with `/` and has no blanks, like \"/health\"";
        document.report(&format!("{at}.path"), &message, expected);
    }
}

/// Whether a proxy may have this name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
}

fn check_slo(document: &mut Document<'_>, at: &str, slo: Slo) {
    for (key, limit) in [("mean", slo.mean), ("p95", slo.p95), ("p99", slo.p99)] {
        nonzero(document, &format!("{at}.{key}"), limit);
    }
    if let (Some(p95), Some(p99)) = (slo.p95, slo.p99)
        && p95 > p99
    {
        let message = format!("a p95 of {p95:?} is above the p99 of {p99:?}");
        document.report(&format!("{at}.p95"), &message, "expected p95 <= p99");
    }
}

fn check_routes(
    document: &mut Document<'_>,
    at: &str,
    routes: &[String],
    protocol: Option<Protocol>,
) {
    if let Some(protocol) = protocol
        && protocol != Protocol::Http
        && !routes.is_empty()
    {
        let message = format!("a proxy that speaks {} has no routes", protocol.name());
        document.report(at, &message, "remove them, or write protocol = \"http\"");
        return;
    }
    if routes.len() > MAX_ROUTES {
        let message = format!("there are {} routes", routes.len());
        document.report(
            at,
            &message,
            "expected at most 256; put variable parts in braces, like /modules/{id}",
        );
    }
    let mut shapes: Vec<Vec<&str>> = Vec::new();
    for (index, route) in routes.iter().enumerate().take(MAX_ROUTES) {
        let field = format!("{at}[{index}]");
        let shape = shape(route);
        if let Err((message, remedy)) = route_is_valid(route) {
            document.report(&field, message, remedy);
        } else if let Some(first) = shapes.iter().position(|s| *s == shape) {
            let message = format!("it stands for the same paths as routes[{first}]");
            document.report(&field, &message, "keep one of them");
        }
        shapes.push(shape);
    }
}

/// What a route matches: its segments, whatever its variable parts are called.
fn shape(route: &str) -> Vec<&str> {
    let segments = route.split('/').filter(|s| !s.is_empty());
    segments
        .map(|s| if s.starts_with('{') { "{}" } else { s })
        .collect()
}

/// A route is a path of segments; a segment is literal text or `{name}`.
fn route_is_valid(route: &str) -> Result<(), (&'static str, &'static str)> {
    if route.len() > MAX_ROUTE {
        return Err(("the route is too long", "expected at most 256 bytes"));
    }
    if !route.starts_with('/') {
        let remedy = "expected a path that begins with a slash, like \"/modules/{id}\"; methods are counted by themselves";
        return Err(("a route is a path", remedy));
    }
    if route.contains(['?', '#']) || !route.bytes().all(|b| b.is_ascii_graphic()) {
        return Err((
            "a route has no query, fragment, space or letter beyond ASCII",
            "expected a path as it is sent, like \"/modules/{id}\"",
        ));
    }
    if route.split('/').count() > MAX_SEGMENTS {
        return Err(("the route has too many segments", "expected at most 31"));
    }
    let whole = |s: &str| {
        let name = s.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
        name.map_or(!s.contains(['{', '}']), |n| {
            !n.is_empty() && !n.contains(['{', '}'])
        })
    };
    if !route.split('/').all(whole) {
        let remedy =
            "expected braces around a whole segment with a name in them, like \"/modules/{id}\"";
        return Err(("a variable part is a whole segment", remedy));
    }
    Ok(())
}

fn nonzero(document: &mut Document<'_>, field: &str, value: Option<Duration>) {
    if value == Some(Duration::ZERO) {
        document.report(
            field,
            "it is zero",
            "expected more than zero, or leave it out",
        );
    }
}

fn at_least_one(
    document: &mut Document<'_>,
    field: &str,
    value: Option<u32>,
) -> Option<NonZeroU32> {
    let value = value?;
    let nonzero = NonZeroU32::new(value);
    if nonzero.is_none() {
        document.report(field, "it is zero", "expected at least 1, or leave it out");
    }
    nonzero
}

fn folder(document: &mut Document<'_>, field: &str, value: Option<PathBuf>) -> Option<PathBuf> {
    if value.as_ref().is_some_and(|p| p.as_os_str().is_empty()) {
        document.report(
            field,
            "the path is empty",
            "expected a folder, or leave it out",
        );
    }
    value
}
