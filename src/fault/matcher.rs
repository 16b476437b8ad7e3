//! Which exchanges a fault is about.
//!
//! What depends on the operation alone is answered once for each operation and kept by the plan. What depends on the session
//! (client) or on the request's bytes (key, header) is asked for each exchange that passed the first.

use std::net::IpAddr;

use super::arguments::Request;
use super::glob::Glob;
use super::network::{Network, NetworkError};
use super::problems::Problems;
use super::spec::{HeaderMatch, Many, MatchSpec};
use crate::protocol::{Class, Protocol, tcp};

/// The compiled `match` of a fault. An empty list matches everything; of a list one has to match.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    operations: Vec<Glob>,
    routes: Vec<Glob>,
    methods: Vec<String>,
    classes: Vec<Class>,
    clients: Vec<Network>,
    keys: Vec<Glob>,
    header: Option<Header>,
}

#[derive(Debug, Clone)]
struct Header {
    name: String,
    value: Glob,
}

impl Matcher {
    /// Whether exchanges with this operation and class can match.
    pub fn covers(&self, operation: &str, class: Class) -> bool {
        let any = |globs: &[Glob], text: &str| {
            globs.is_empty() || globs.iter().any(|glob| glob.matches(text.as_bytes()))
        };
        // An HTTP operation is its method and its route.
        let (method, route) = operation.split_once(' ').unwrap_or((operation, ""));
        (self.classes.is_empty() || self.classes.contains(&class))
            && any(&self.operations, operation)
            && any(&self.routes, route)
            && (self.methods.is_empty()
                || self.methods.iter().any(|m| m.eq_ignore_ascii_case(method)))
    }

    /// Whether sessions of this client can match. A client on a unix socket has no address, so no network has it.
    pub fn takes_client(&self, client: Option<IpAddr>) -> bool {
        self.clients.is_empty()
            || client.is_some_and(|address| self.clients.iter().any(|net| net.contains(address)))
    }

    /// Whether [`Matcher::takes_request`] looks at the request.
    pub fn needs_arguments(&self) -> bool {
        !self.keys.is_empty() || self.header.is_some()
    }

    /// Whether the bytes of the request match.
    pub fn takes_request(&self, request: &mut Request<'_>) -> bool {
        let key = self.keys.is_empty()
            || request
                .keys()
                .iter()
                .any(|key| self.keys.iter().any(|glob| glob.matches(key)));
        key && self.header.as_ref().is_none_or(|wanted| {
            request.headers().iter().any(|line| {
                line.name.eq_ignore_ascii_case(&wanted.name) && wanted.value.matches(line.value)
            })
        })
    }

    /// The key of a condition that nothing on this protocol can meet, and why.
    pub fn foreign_to(&self, protocol: Protocol) -> Option<(&'static str, &'static str)> {
        let http = protocol == Protocol::Http;
        let tcp = protocol == Protocol::Tcp;
        let burst = || {
            self.operations.is_empty()
                || self
                    .operations
                    .iter()
                    .any(|glob| glob.matches(tcp::BURST_NAME.as_bytes()))
        };
        if !self.keys.is_empty() && protocol != Protocol::Redis {
            Some(("match.key", "only Redis commands have keys"))
        } else if !self.routes.is_empty() && !http {
            Some(("match.route", "only HTTP requests have a route"))
        } else if !self.methods.is_empty() && !http {
            Some(("match.method", "only HTTP requests have a method"))
        } else if self.header.is_some() && !http {
            Some(("match.header", "only HTTP requests have headers"))
        } else if !self.classes.is_empty() && tcp {
            Some((
                "match.class",
                "plain TCP is not decoded, so nothing has a class",
            ))
        } else if tcp && !burst() {
            Some((
                "match.operation",
                "the only operation of plain TCP is `burst`",
            ))
        } else {
            None
        }
    }

    pub(super) fn compile(spec: &MatchSpec, problems: &mut Problems<'_>) -> Self {
        let http = [
            ("match.route", !spec.route.is_empty()),
            ("match.method", !spec.method.is_empty()),
            ("match.header", spec.header.is_some()),
        ];
        let http = http.into_iter().find(|(_, given)| *given);
        if let (false, Some((field, _))) = (spec.key.is_empty(), http) {
            problems.add(
                field,
                "no exchange has both a Redis key and an HTTP request",
                format!("leave `match.key` or `{field}` out"),
            );
        }
        Self {
            operations: globs(
                &spec.operation,
                "match.operation",
                Glob::ignoring_case,
                problems,
            ),
            routes: globs(&spec.route, "match.route", Glob::new, problems),
            methods: methods(&spec.method, problems),
            classes: spec.class.0.clone(),
            clients: networks(&spec.client, problems),
            keys: globs(&spec.key, "match.key", Glob::new, problems),
            header: spec
                .header
                .as_ref()
                .and_then(|header| Header::compile(header, problems)),
        }
    }
}

impl Header {
    fn compile(spec: &HeaderMatch, problems: &mut Problems<'_>) -> Option<Self> {
        let name = spec.name.trim();
        if name.is_empty() || name.contains([':', ' ', '\r', '\n']) {
            problems.add(
                "match.header.name",
                format!("`{}` is not a header name", spec.name),
                "write the name alone, like \"X-Tenant\"",
            );
        }
        let value = glob(&spec.value, "match.header.value", Glob::new, problems)?;
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
