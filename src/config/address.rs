//! Addresses: where a proxy listens, and what it connects to.

use crate::protocol::Protocol;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Bytes of a unix socket's path that every supported system takes (macOS: 104 with the final zero).
const MAX_UNIX_PATH: usize = 103;
/// Characters of a host name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// Why a text is not an address, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct AddressError {
    /// What is wrong. Never repeats credentials of a URL.
    pub message: String,
    /// What would be accepted.
    pub remedy: String,
}

impl AddressError {
    fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// Where to listen: `port` (on 127.0.0.1), `addr:port`, `[v6]:port` or `unix:/path`. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both cannot be listened on at once. Wildcards take every address of their family; port 0 is never taken.
    pub fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Tcp(a), Self::Tcp(b)) => {
                let same_family = a.is_ipv4() == b.is_ipv4();
                let same_ip = a.ip() == b.ip();
                let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() == b.port() && a.port() != 0 && (same_ip || (same_family && wildcard))
            }
            _ => false,
        }
    }

    /// Whether connecting to `upstream` certainly ends here. Names other than `localhost` are not resolved.
    pub fn is_reached_by(&self, upstream: &Upstream) -> bool {
        match (self, upstream) {
            (Self::Unix(a), Upstream::Unix(b)) => a == b,
            (Self::Tcp(listen), Upstream::Tcp { host, port }) => {
                let hosts: &[IpAddr] = match host.parse::<IpAddr>() {
                    Ok(ip) => &[ip.to_canonical()],
                    Err(_) if host.eq_ignore_ascii_case("localhost") => &[
                        IpAddr::V4(Ipv4Addr::LOCALHOST),
                        IpAddr::V6(Ipv6Addr::LOCALHOST),
                    ],
                    Err(_) => &[],
                };
                let bound = listen.ip();
                listen.port() == *port
                    && hosts.iter().any(|ip| {
                        *ip == bound
                            || (bound.is_unspecified() && (ip.is_loopback() || ip.is_unspecified()))
                    })
            }
            _ => false,
        }
    }
}

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        const EXPECTED: &str =
            "expected `port`, `addr:port`, `[v6]:port` or `unix:/path`, like \"127.0.0.1:26379\"";
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        refuse_url(text, "127.0.0.1:26379")?;
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port(text)?);
            return Ok(Self::Tcp(addr));
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(addr));
        }
        let (host, port_text) = host_and_port(text, EXPECTED)?;
        let port = port(port_text)?;
        match host {
            "" | "*" => Err(AddressError::new(
                format!("{} does not say which address", quoted(text)),
                format!(
                    "write 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port} for every interface"
                ),
            )),
            "localhost" => Ok(Self::Tcp(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                port,
            ))),
            _ => Err(AddressError::new(
                format!(
                    "{} is a name, and a proxy listens on an address",
                    quoted(host)
                ),
                EXPECTED,
            )),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What to connect to: `host:port`, `[v6]:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// A name or address, and a port.
    Tcp {
        /// A host name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port, never 0.
        port: u16,
    },
    /// A unix socket's path.
    Unix(PathBuf),
}

impl FromStr for Upstream {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        const EXPECTED: &str =
            "expected `host:port`, `[v6]:port` or `unix:/path`, like \"localhost:6379\"";
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        refuse_url(text, "localhost:6379")?;
        if text.starts_with('/') {
            return Err(AddressError::new(
                format!("{} is a path", quoted(text)),
                format!(
                    "for a unix socket write {}",
                    quoted(&format!("unix:{text}"))
                ),
            ));
        }
        let (host, port_text) = host_and_port(text, EXPECTED)?;
        if host.is_empty() {
            return Err(AddressError::new(
                format!("{} has no host", quoted(text)),
                EXPECTED,
            ));
        }
        if !is_host(host) {
            return Err(AddressError::new(
                format!("{} is no host name or address", quoted(host)),
                EXPECTED,
            ));
        }
        match port(port_text)? {
            0 => Err(AddressError::new(
                "port 0 cannot be connected to",
                "expected a port from 1 to 65535",
            )),
            port => Ok(Self::Tcp {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

/// An upstream as people write it: that of HTTP also as the URL of a server's root.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) upstream: Upstream,
    url: Option<String>,
}

impl Written {
    /// What it is for a proxy that speaks this.
    pub(crate) fn of(&self, protocol: Protocol) -> Result<Upstream, AddressError> {
        match &self.url {
            Some(url) if protocol != Protocol::Http => Err(a_url(url, "localhost:6379")),
            _ => Ok(self.upstream.clone()),
        }
    }
}

impl FromStr for Written {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let root = text.strip_prefix("http://");
        let root = root.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let root = root.filter(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '@']));
        let Some(authority) = root else {
            let upstream = text.parse()?;
            return Ok(Self {
                upstream,
                url: None,
            });
        };
        let upstream = if has_port(authority) {
            authority.parse()?
        } else {
            format!("{authority}:80").parse()?
        };
        Ok(Self {
            upstream,
            url: Some(text.to_owned()),
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text in quotes, escaped, and not endless.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    format!("{shown:?}")
}

fn unix_path(path: &str) -> Result<PathBuf, AddressError> {
    const EXPECTED: &str = "expected an absolute path, like \"unix:/run/redis.sock\"";
    if !Path::new(path).is_absolute() {
        return Err(AddressError::new(
            format!("{} is not an absolute path", quoted(path)),
            EXPECTED,
        ));
    }
    if path.len() > MAX_UNIX_PATH || path.contains('\0') {
        return Err(AddressError::new(
            "the path of a unix socket is too long, or holds a zero",
            format!("expected at most {MAX_UNIX_PATH} bytes"),
        ));
    }
    Ok(PathBuf::from(path))
}

/// A pasted connection string is the likeliest mistake: say what to keep of it, and repeat nothing that may be a secret.
fn refuse_url(text: &str, example: &str) -> Result<(), AddressError> {
    if text.contains("://") {
        return Err(a_url(text, example));
    }
    match text.rsplit_once('@') {
        Some((_, host)) => Err(AddressError::new(
            "an address holds no user or password",
            format!("write only host and port: {}", quoted(host)),
        )),
        None => Ok(()),
    }
}

fn a_url(text: &str, example: &str) -> AddressError {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let default_port = match scheme {
        "redis" | "rediss" => Some(6379),
        "postgres" | "postgresql" => Some(5432),
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    let keep = match default_port {
        _ if host.is_empty() => example.to_owned(),
        Some(port) if !has_port(host) => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    AddressError::new(
        "a URL is not an address",
        format!("write only host and port: {}", quoted(&keep)),
    )
}

fn has_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn host_and_port<'t>(text: &'t str, expected: &str) -> Result<(&'t str, &'t str), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, tail)) if is_ipv6(host) && tail.starts_with(':') => Ok((host, &tail[1..])),
            _ => Err(AddressError::new(
                format!("{} is not an IPv6 address with a port", quoted(text)),
                "expected `[v6]:port`, like \"[::1]:6379\"",
            )),
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Err(AddressError::new(
            format!(
                "{} is ambiguous: an IPv6 address stands in brackets",
                quoted(text)
            ),
            "expected `[v6]:port`, like \"[::1]:6379\"",
        )),
        Some((host, port)) => Ok((host, port)),
        None => Err(AddressError::new(
            format!("{} has no port", quoted(text)),
            expected,
        )),
    }
}

fn port(text: &str) -> Result<u16, AddressError> {
    // `parse` alone would take "+80".
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ => Err(AddressError::new(
            format!("{} is not a port", quoted(text)),
            "expected a number from 0 to 65535",
        )),
    }
}

/// An IPv6 address, with a zone where it is link-local (RFC 4007, section 11).
fn is_ipv6(text: &str) -> bool {
    let (addr, zone) = text.split_once('%').unwrap_or((text, "0"));
    let zone_ok = !zone.is_empty()
        && zone
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    zone_ok && addr.parse::<Ipv6Addr>().is_ok()
}

/// A name as resolvers take it: container names may have underscores. Bracketed IPv6 was looked at before.
fn is_host(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    is_ipv6(text) || (text.len() <= MAX_HOST && text.trim_end_matches('.').split('.').all(label))
}

struct AddressVisitor<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = AddressError>> Visitor<'_> for AddressVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "an address to listen on, like \"127.0.0.1:26379\", or a port";
        d.deserialize_any(AddressVisitor(std::marker::PhantomData, EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "the address of a server, like \"localhost:6379\"";
        d.deserialize_any(AddressVisitor(std::marker::PhantomData, EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "the address of a server, like \"localhost:6379\"";
        d.deserialize_any(AddressVisitor(std::marker::PhantomData, EXPECTED))
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Serialize for Upstream {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where to listen: `port` (on 127.0.0.1), `addr:port`, `[v6]:port` or `unix:/path`. Port 0 lets the system choose.",
            "anyOf": [
                { "type": "string", "pattern": "^(unix:/.+|([^/]*:)?[0-9]+)$" },
                { "type": "integer", "minimum": 0, "maximum": 65535 },
            ],
            "examples": ["127.0.0.1:26379", "[::1]:26379", "unix:/run/brownout/redis.sock"],
        })
    }
}

impl JsonSchema for Upstream {
    fn schema_name() -> Cow<'static, str> {
        "Upstream".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What to connect to: `host:port`, `[v6]:port` or `unix:/path`.",
            "type": "string",
            "pattern": "^(unix:/.+|[^/]+:[0-9]+)$",
            "examples": ["localhost:6379", "[::1]:5432", "unix:/run/redis/redis.sock"],
        })
    }
}

impl JsonSchema for Written {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamOrUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What to connect to: `host:port`, `[v6]:port` or `unix:/path`; of `http` also `http://host:port`.",
            "type": "string",
            "pattern": "^(unix:/.+|[^/]+:[0-9]+|http://[^/?#@]+/?)$",
            "examples": ["localhost:6379", "[::1]:5432", "unix:/run/redis/redis.sock", "http://localhost:8000"],
        })
    }
}

#[cfg(test)]
mod tests;
