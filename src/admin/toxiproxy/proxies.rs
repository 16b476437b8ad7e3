//! Proxies, in Toxiproxy's words.

use super::super::body::Answer;
use super::input::{self, Fields};
use super::refusal::Refusal;
use super::shown;
use super::toxic::Toxic;
use super::toxics::Toxics;
use crate::config::{CONNECT_TIMEOUT, Listen, ProxyConfig, Upstream};
use crate::measure::Slo;
use crate::protocol::Protocol;
use crate::proxy::{ProxyInfo, Server};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// The largest file that `--toxiproxy-config` may name, bytes.
const MAX_FILE: u64 = 1 << 20;

/// How long the name of an address to listen on may take to resolve.
const RESOLVE: Duration = Duration::from_secs(5);

/// A proxy as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Proxy {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    /// What Toxiproxy does not know, where it differs from what Toxiproxy does.
    #[serde(skip_serializing_if = "is_tcp")]
    protocol: Protocol,
    toxics: Vec<Toxic>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde wants
fn is_tcp(protocol: &Protocol) -> bool {
    *protocol == Protocol::Tcp
}

fn proxy(server: &Server, toxics: &Toxics, info: ProxyInfo) -> Proxy {
    let config = info.config;
    Proxy {
        toxics: toxics.of(server, &config.name).unwrap_or_default(),
        listen: config.listen.to_string(),
        upstream: config.upstream.to_string(),
        enabled: info.enabled,
        protocol: config.protocol,
        name: config.name,
    }
}

/// All of them, by name.
pub(super) fn all(server: &Server, toxics: &Toxics) -> BTreeMap<String, Proxy> {
    let all = server.proxies().into_iter();
    all.map(|info| (info.config.name.clone(), proxy(server, toxics, info)))
        .collect()
}

pub(super) fn one(server: &Server, toxics: &Toxics, name: &str) -> Result<Proxy, Refusal> {
    Ok(proxy(server, toxics, server.proxy(name)?))
}

pub(super) async fn create(
    server: &Server,
    toxics: &Toxics,
    body: &[u8],
) -> Result<Proxy, Refusal> {
    let wanted = Wanted::read(&Fields::parse(body)?)?;
    wanted.check("")?;
    if server.proxy(&wanted.name).is_ok() {
        return Err(Refusal::proxy_exists());
    }
    let config = wanted.config().await?;
    let info = server.add_proxy(config, wanted.enabled).await?;
    Ok(proxy(server, toxics, info))
}

/// What a change leaves out stays.
pub(super) async fn change(
    server: &Server,
    toxics: &Toxics,
    name: &str,
    body: &[u8],
) -> Result<Proxy, Refusal> {
    let now = server.proxy(name)?;
    let fields = Fields::parse(body)?;
    let mut config = now.config.clone();
    if let Some(listen) = fields.text("listen")?
        && listen != config.listen.to_string()
    {
        config.listen = listen_of(&listen).await?;
    }
    if let Some(upstream) = fields.text("upstream")? {
        config.upstream = upstream_of(&upstream)?;
    }
    if let Some(protocol) = fields.text("protocol")? {
        config.protocol = protocol_of(&protocol)?;
        if config.protocol != Protocol::Http {
            config.routes.clear();
        }
    }
    let enabled = fields.flag("enabled")?.unwrap_or(now.enabled);
    // Never listening at an address that nobody asked for: off before the change, on after it.
    if !enabled {
        server.enable_proxy(name, false).await?;
    }
    server.change_proxy(name, config).await?;
    let info = server.enable_proxy(name, enabled).await?;
    Ok(proxy(server, toxics, info))
}

pub(super) async fn remove(server: &Server, toxics: &Toxics, name: &str) -> Result<(), Refusal> {
    server.proxy(name)?;
    toxics.clear(server, name)?;
    Ok(server.remove_proxy(name).await?)
}

/// Creates many at once; those that are there already, and the same, are left alone.
pub(super) async fn populate(server: &Server, toxics: &Toxics, body: &[u8]) -> Answer {
    let mut made = Vec::new();
    let failed = populate_all(server, toxics, body, &mut made).await.err();
    let status = failed.as_ref().map_or(StatusCode::CREATED, |f| f.status);
    let proxies: Vec<Proxy> = made
        .into_iter()
        .filter_map(|name| one(server, toxics, &name).ok())
        .collect();
    shown(status, &Populated { failed, proxies })
}

#[derive(Debug, Serialize)]
struct Populated {
    #[serde(flatten)]
    failed: Option<Refusal>,
    proxies: Vec<Proxy>,
}

async fn populate_all(
    server: &Server,
    toxics: &Toxics,
    body: &[u8],
    made: &mut Vec<String>,
) -> Result<(), Refusal> {
    let list = match input::value(body)? {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        _ => return Err(Refusal::bad_body("it must be an array of proxies")),
    };
    let mut wanted = Vec::with_capacity(list.len());
    for one in list {
        wanted.push(Wanted::read(&Fields::of(one)?)?);
    }
    let mut names = BTreeSet::new();
    for (place, one) in wanted.iter().enumerate() {
        one.check(&format!(" at proxy {}", place + 1))?;
        if !names.insert(&one.name) {
            return Err(Refusal::other(format!(
                "duplicate proxy name {:?}",
                one.name
            )));
        }
    }
    let mut all = Vec::with_capacity(wanted.len());
    for one in &wanted {
        all.push((one.config().await?, one.enabled));
    }
    for (config, enabled) in all {
        let name = config.name.clone();
        if let Ok(there) = server.proxy(&name) {
            let there = there.config;
            let same = there.listen == config.listen
                && there.upstream == config.upstream
                && there.protocol == config.protocol;
            if same {
                made.push(name);
                continue;
            }
            remove(server, toxics, &name).await?;
        }
        server.add_proxy(config, enabled).await?;
        made.push(name);
    }
    Ok(())
}

/// Why the proxies of a file are not there.
#[derive(Debug, thiserror::Error)]
pub enum PopulateError {
    /// The file cannot be read.
    #[error("{}: it cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is larger than 1 MiB.
    #[error("{}: it is larger than 1 MiB; is it the right file?", .0.display())]
    TooLarge(PathBuf),
    /// What it says cannot be done.
    #[error(
        "{}: {message}; expected an array of proxies, like [{{\"name\": \"redis\", \"listen\": \"127.0.0.1:26379\", \"upstream\": \"localhost:6379\"}}]", .path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Creates the proxies of a file that Toxiproxy takes as its configuration. An empty file has none. Returns their names.
///
/// # Errors
/// The file cannot be read, is no list of proxies, or one of them cannot be had.
pub async fn populate_file(server: &Server, path: &Path) -> Result<Vec<String>, PopulateError> {
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text))
        .map_err(|e| PopulateError::Read(path.into(), e))?;
    if text.len() as u64 > MAX_FILE {
        return Err(PopulateError::TooLarge(path.into()));
    }
    let mut made = Vec::new();
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(made);
    }
    match populate_all(server, &Toxics::default(), &text, &mut made).await {
        Ok(()) => Ok(made),
        Err(refusal) => Err(PopulateError::Content {
            path: path.into(),
            message: refusal.message,
        }),
    }
}

/// A proxy as clients send it.
#[derive(Debug)]
struct Wanted {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    protocol: Option<Protocol>,
}

impl Wanted {
    fn read(fields: &Fields) -> Result<Self, Refusal> {
        let protocol = fields.text("protocol")?;
        Ok(Self {
            name: fields.text("name")?.unwrap_or_default(),
            listen: fields.text("listen")?.unwrap_or_default(),
            upstream: fields.text("upstream")?.unwrap_or_default(),
            enabled: fields.flag("enabled")?.unwrap_or(true),
            protocol: protocol.as_deref().map(protocol_of).transpose()?,
        })
    }

    /// `place`: where in a list it stands.
    fn check(&self, place: &str) -> Result<(), Refusal> {
        if self.name.is_empty() {
            return Err(Refusal::missing(&format!("name{place}")));
        }
        if self.upstream.is_empty() {
            return Err(Refusal::missing(&format!("upstream{place}")));
        }
        if self.name.len() > MAX_NAME || self.name.chars().any(char::is_control) {
            return Err(Refusal::bad_body(format!(
                "a name may have {MAX_NAME} bytes, and no control characters"
            )));
        }
        Ok(())
    }

    async fn config(&self) -> Result<ProxyConfig, Refusal> {
        Ok(ProxyConfig {
            name: self.name.clone(),
            protocol: self.protocol.unwrap_or_else(|| named(&self.name)),
            listen: listen_of(&self.listen).await?,
            upstream: upstream_of(&self.upstream)?,
            slo: Slo::default(),
            routes: Vec::new(),
            pool: None,
            connect_timeout: CONNECT_TIMEOUT,
            probe: crate::config::Probe::default(),
        })
    }
}

/// The protocol that the name of a proxy says: `redis`, `postgres-main`, `http_api`.
fn named(name: &str) -> Protocol {
    let first = name.split(['-', '_', '.', ' ', ':']).next();
    let first = first.unwrap_or_default().to_ascii_lowercase();
    protocol_of(&first).unwrap_or(Protocol::Tcp)
}

fn protocol_of(name: &str) -> Result<Protocol, Refusal> {
    match name {
        "redis" => Ok(Protocol::Redis),
        "postgres" | "postgresql" => Ok(Protocol::Postgres),
        "http" => Ok(Protocol::Http),
        "tcp" => Ok(Protocol::Tcp),
        _ => Err(Refusal::bad_body(
            "protocol must be redis, postgres, http or tcp",
        )),
    }
}

/// Where to listen: nothing is a free port of this machine, no host is every interface, a name is resolved.
async fn listen_of(text: &str) -> Result<Listen, Refusal> {
    if text.is_empty() {
        return Ok(Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    }
    let listen = text.parse::<Listen>();
    let Err(wrong) = listen else {
        return listen.map_err(|e| Refusal::other(e.to_string()));
    };
    let wrong = || Refusal::other(format!("listen {text:?}: {wrong}"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse::<u16>().map_err(|_| wrong())?;
    if host.is_empty() {
        return Ok(Listen::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
    }
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, port))).await;
    let Ok(Ok(found)) = found else {
        return Err(Refusal::other(format!("listen {text:?}: no such host")));
    };
    let found: Vec<SocketAddr> = found.collect();
    let address = found.iter().find(|a| a.is_ipv4()).or(found.first());
    address.copied().map(Listen::Tcp).ok_or_else(wrong)
}

/// What to connect to; no host is this machine.
fn upstream_of(text: &str) -> Result<Upstream, Refusal> {
    let text = match text.strip_prefix(':') {
        Some(port) => format!("localhost:{port}"),
        None => text.to_owned(),
    };
    text.parse()
        .map_err(|e| Refusal::other(format!("upstream {text:?}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_protocols_only_at_their_beginning() {
        for (name, protocol) in [
            ("redis", Protocol::Redis),
            ("Redis_master", Protocol::Redis),
            ("postgres-1", Protocol::Postgres),
            ("postgresql", Protocol::Postgres),
            ("http.api", Protocol::Http),
            ("shopify_test_redis_master", Protocol::Tcp),
            ("redistribution", Protocol::Tcp),
            ("tcp", Protocol::Tcp),
            ("mysql", Protocol::Tcp),
        ] {
            assert_eq!(named(name), protocol, "{name}");
        }
    }
}
