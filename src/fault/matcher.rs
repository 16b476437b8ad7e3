//! Which exchanges a fault is about.
//!
//! What depends on the operation alone is answered once for each operation and kept by the plan. What depends on the session
//! (its client, what it said of itself) or on the request's bytes (key, header, SQL) is asked for each exchange that passed the
//! first.

use std::net::IpAddr;

use regex::bytes::Regex;

use super::arguments::Request;
use super::glob::Glob;
use super::network::{Network, NetworkError};
use super::problems::Problems;
use super::spec::{HeaderMatch, Many, MatchSpec};
use crate::protocol::postgres::Table;
use crate::protocol::{Class, Protocol, tcp};

mod conditions;
mod names;
mod sql;

/// The compiled `match` of a fault. An empty list matches everything; of a list one has to match.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    operations: Vec<Glob>,
    routes: Vec<Glob>,
    methods: Vec<String>,
    classes: Vec<Class>,
    clients: Vec<Network>,
    keys: Vec<Glob>,
    headers: Vec<Header>,
    sql: Vec<Regex>,
    tables: Vec<Glob>,
    databases: Vec<Glob>,
    users: Vec<Glob>,
    applications: Vec<Glob>,
    names: Vec<Glob>,
}

#[derive(Debug, Clone)]
struct Header {
    name: String,
    value: Glob,
}

/// Whether one of the globs matches, or there is none.
fn any(globs: &[Glob], text: &[u8]) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.matches(text))
}

impl Matcher {
    /// Whether exchanges with this operation and class can match.
    pub fn covers(&self, operation: &str, class: Class) -> bool {
        // An HTTP operation is its method and its route.
        let (method, route) = operation.split_once(' ').unwrap_or((operation, ""));
        (self.classes.is_empty() || self.classes.contains(&class))
            && any(&self.operations, operation.as_bytes())
            && any(&self.routes, route.as_bytes())
            && (self.methods.is_empty()
                || self.methods.iter().any(|m| m.eq_ignore_ascii_case(method)))
    }

    /// Whether sessions of this client can match. A client on a unix socket has no address, so no network has it.
    pub fn takes_client(&self, client: Option<IpAddr>) -> bool {
        self.clients.is_empty()
            || client.is_some_and(|address| self.clients.iter().any(|net| net.contains(address)))
    }

    /// Whether every request of a client matches, whatever it is and whatever its session has said of itself.
    pub(super) fn takes_all(&self) -> bool {
        let globs = [&self.operations, &self.routes, &self.keys];
        globs.iter().all(|globs| globs.is_empty())
            && self.methods.is_empty()
            && self.classes.is_empty()
            && self.headers.is_empty()
            && !self.needs_statement()
            && !self.needs_facts()
    }

    /// Whether [`Matcher::takes_request`] looks at the request: the data path then holds it until it is complete.
    pub fn needs_request(&self, protocol: Protocol) -> bool {
        !self.keys.is_empty()
            || !self.headers.is_empty()
            || self.needs_statement()
            || (!self.names.is_empty() && protocol == Protocol::Http)
    }

    /// The globs of which one has to match a key. Empty: it asks for none.
    pub(super) fn keys(&self) -> &[Glob] {
        &self.keys
    }

    /// Whether it looks at SQL.
    pub fn needs_statement(&self) -> bool {
        !self.sql.is_empty() || !self.tables.is_empty()
    }

    /// Whether it looks at what the session has said of itself.
    pub fn needs_facts(&self) -> bool {
        let all = [
            &self.databases,
            &self.users,
            &self.applications,
            &self.names,
        ];
        all.iter().any(|globs| !globs.is_empty())
    }

    /// Whether the request and its session match.
    pub fn takes_request(&self, request: &mut Request<'_>) -> bool {
        (!self.needs_facts() || self.takes_session(request))
            && self.takes_key(request)
            && self.takes_header(request)
            && (!self.needs_statement() || self.takes_statement(request))
    }

    /// Whether what the session has said of itself matches.
    pub fn takes_session(&self, request: &mut Request<'_>) -> bool {
        any(&self.databases, request.database())
            && any(&self.users, request.user())
            && any(&self.applications, request.application_name())
            && (self.names.is_empty() || any(&self.names, request.client_name()))
    }

    fn takes_key(&self, request: &mut Request<'_>) -> bool {
        self.keys.is_empty() || request.keys().iter().any(|key| any(&self.keys, key))
    }

    fn takes_header(&self, request: &mut Request<'_>) -> bool {
        self.headers.is_empty()
            || request.headers().iter().any(|line| {
                self.headers.iter().any(|wanted| {
                    line.name.eq_ignore_ascii_case(&wanted.name) && wanted.value.matches(line.value)
                })
            })
    }

    fn takes_statement(&self, request: &Request<'_>) -> bool {
        let Some(statement) = request.statement() else {
            return false;
        };
        let sql = self.sql.is_empty() || self.sql.iter().any(|re| re.is_match(statement.text()));
        sql && (self.tables.is_empty() || statement.tables().iter().any(|t| self.takes_table(t)))
    }

    fn takes_table(&self, table: &Table) -> bool {
        any(&self.tables, table.full()) || any(&self.tables, table.bare())
    }

    /// The key of a condition that nothing on this protocol can meet, and why.
    pub fn foreign_to(&self, protocol: Protocol) -> Option<(&'static str, &'static str)> {
        let given = [
            ("match.key", !self.keys.is_empty()),
            ("match.route", !self.routes.is_empty()),
            ("match.method", !self.methods.is_empty()),
            ("match.header", !self.headers.is_empty()),
            ("match.sql", !self.sql.is_empty()),
            ("match.table", !self.tables.is_empty()),
            ("match.database", !self.databases.is_empty()),
            ("match.user", !self.users.is_empty()),
            ("match.application_name", !self.applications.is_empty()),
            ("match.client_name", !self.names.is_empty()),
            ("match.class", !self.classes.is_empty()),
        ];
        let foreign = given.into_iter().filter(|(_, given)| *given);
        let foreign = foreign
            .filter_map(|(field, _)| home(field))
            .find(|home| !home.protocols.contains(&protocol));
        if let Some(home) = foreign {
            return Some((home.field, home.why));
        }
        let burst = any(&self.operations, tcp::BURST_NAME.as_bytes());
        (protocol == Protocol::Tcp && !burst).then_some((
            "match.operation",
            "the only operation of plain TCP is `burst`",
        ))
    }

    pub(super) fn compile(spec: &MatchSpec, problems: &mut Problems<'_>) -> Self {
        check_homes(spec, problems);
        let mut globs =
            |patterns: &Many<String>, field, compile| globs(patterns, field, compile, problems);
        let (exact, folded) = (Glob::new, Glob::ignoring_case);
        Self {
            operations: globs(&spec.operation, "match.operation", folded),
            routes: globs(&spec.route, "match.route", exact),
            keys: globs(&spec.key, "match.key", exact),
            tables: globs(&spec.table, "match.table", folded),
            databases: globs(&spec.database, "match.database", exact),
            users: globs(&spec.user, "match.user", exact),
            applications: globs(&spec.application_name, "match.application_name", exact),
            names: globs(&spec.client_name, "match.client_name", exact),
            methods: methods(&spec.method, problems),
            classes: spec.class.0.clone(),
            clients: networks(&spec.client, problems),
            headers: headers(&spec.header, problems),
            sql: statements(&spec.sql, problems),
        }
    }
}

/// Where a condition can be met.
struct Home {
    field: &'static str,
    protocols: &'static [Protocol],
    why: &'static str,
}

const fn at_home(field: &'static str, protocols: &'static [Protocol], why: &'static str) -> Home {
    Home {
        field,
        protocols,
        why,
    }
}

/// Conditions that not every protocol can meet.
const HOMES: [Home; 11] = {
    use Protocol::{Http, Postgres, Redis};
    [
        at_home("match.key", &[Redis], "only Redis commands have keys"),
        at_home("match.route", &[Http], "only HTTP requests have a route"),
        at_home("match.method", &[Http], "only HTTP requests have a method"),
        at_home("match.header", &[Http], "only HTTP requests have headers"),
        at_home("match.sql", &[Postgres], "only Postgres speaks SQL"),
        at_home(
            "match.table",
            &[Postgres],
            "only Postgres statements name tables",
        ),
        at_home(
            "match.database",
            &[Postgres, Redis],
            "only sessions of Postgres and Redis are in a database",
        ),
        at_home(
            "match.user",
            &[Postgres, Redis],
            "only sessions of Postgres and Redis have a user",
        ),
        at_home(
            "match.application_name",
            &[Postgres],
            "only Postgres sessions have an `application_name`",
        ),
        at_home(
            "match.client_name",
            &[Postgres, Redis, Http],
            "plain TCP is not decoded, so nobody says a name",
        ),
        at_home(
            "match.class",
            &[Postgres, Redis, Http],
            "plain TCP is not decoded, so nothing has a class",
        ),
    ]
};

fn home(field: &str) -> Option<&'static Home> {
    HOMES.iter().find(|home| home.field == field)
}

/// Two conditions of which no protocol can meet both.
fn check_homes(spec: &MatchSpec, problems: &mut Problems<'_>) {
    let given = [
        ("match.key", !spec.key.is_empty()),
        ("match.route", !spec.route.is_empty()),
        ("match.method", !spec.method.is_empty()),
        ("match.header", !spec.header.is_empty()),
        ("match.sql", !spec.sql.is_empty()),
        ("match.table", !spec.table.is_empty()),
        ("match.database", !spec.database.is_empty()),
        ("match.user", !spec.user.is_empty()),
        ("match.application_name", !spec.application_name.is_empty()),
        ("match.client_name", !spec.client_name.is_empty()),
    ];
    let given: Vec<&Home> = given
        .into_iter()
        .filter_map(|(field, given)| home(field).filter(|_| given))
        .collect();
    for (at, one) in given.iter().enumerate() {
        let other = given[at + 1..].iter().find(|other| {
            let mut both = one.protocols.iter();
            both.all(|protocol| !other.protocols.contains(protocol))
        });
        if let Some(other) = other {
            problems.add(
                other.field,
                format!("no exchange has both: {}, {}", one.why, other.why),
                format!("leave `{}` or `{}` out", one.field, other.field),
            );
            return;
        }
    }
}

fn headers(specs: &Many<HeaderMatch>, problems: &mut Problems<'_>) -> Vec<Header> {
    let several = specs.0.len() > 1;
    let specs = specs.0.iter().enumerate();
    specs
        .filter_map(|(at, spec)| {
            let field = if several {
                format!("match.header[{at}]")
            } else {
                "match.header".into()
            };
            Header::compile(spec, &field, problems)
        })
        .collect()
}

fn statements(patterns: &Many<String>, problems: &mut Problems<'_>) -> Vec<Regex> {
    let patterns = patterns.0.iter();
    patterns
        .filter_map(|pattern| {
            sql::compile(pattern)
                .map_err(|(message, remedy)| problems.add("match.sql", message, remedy))
                .ok()
        })
        .collect()
}

impl Header {
    fn compile(spec: &HeaderMatch, field: &str, problems: &mut Problems<'_>) -> Option<Self> {
        let name = spec.name.trim();
        if name.is_empty() || name.contains([':', ' ', '\r', '\n']) {
            problems.add(
                &format!("{field}.name"),
                format!("`{}` is not a header name", spec.name),
                "write the name alone, like \"X-Tenant\"",
            );
        }
        let value = glob(&spec.value, &format!("{field}.value"), Glob::new, problems)?;
        Some(Self {
            name: name.into(),
            value,
        })
    }
}

/// A pattern, or a problem and nothing.
pub(super) fn glob(
    pattern: &str,
    field: &str,
    compile: fn(&str) -> Result<Glob, super::glob::GlobError>,
    problems: &mut Problems<'_>,
) -> Option<Glob> {
    compile(pattern)
        .map_err(|error| problems.add(field, format!("`{pattern}`: {error}"), error.remedy()))
        .ok()
}

fn globs(
    patterns: &Many<String>,
    field: &str,
    compile: fn(&str) -> Result<Glob, super::glob::GlobError>,
    problems: &mut Problems<'_>,
) -> Vec<Glob> {
    let patterns = patterns.0.iter();
    patterns
        .filter_map(|pattern| glob(pattern, field, compile, problems))
        .collect()
}

fn methods(methods: &Many<String>, problems: &mut Problems<'_>) -> Vec<String> {
    for method in &methods.0 {
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
            problems.add(
                "match.method",
                format!("`{method}` is not a method"),
                "write a method, like \"POST\"; several as a list",
            );
        }
    }
    methods.0.clone()
}

fn networks(clients: &Many<String>, problems: &mut Problems<'_>) -> Vec<Network> {
    let mut networks = Vec::with_capacity(clients.0.len());
    for text in &clients.0 {
        match Network::parse(text) {
            Ok(network) => networks.push(network),
            Err(error) => {
                let remedy = match &error {
                    NetworkError::HostBits(network) => {
                        let address = text.split('/').next().unwrap_or_default();
                        format!("write \"{network}\", or \"{address}\" for that client alone")
                    }
                    _ => {
                        "write an address or a network, like \"10.1.2.3\" or \"10.0.0.0/8\"".into()
                    }
                };
                problems.add("match.client", format!("`{text}`: {error}"), remedy);
            }
        }
    }
    networks
}

#[cfg(test)]
mod tests;
