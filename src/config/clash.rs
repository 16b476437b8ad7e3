//! What two proxies cannot both have: a name, an address; and proxies whose upstream is one of our own listeners.

use super::address::{Listen, Upstream};
use super::file::ProxyTable;
use super::{Config, ProxyConfig};

/// As much of a proxy as is known: a broken one hides no clash of the others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outline<'p> {
    name: Option<&'p str>,
    listen: Option<&'p Listen>,
    upstream: Option<&'p Upstream>,
}

impl<'p> From<&'p ProxyConfig> for Outline<'p> {
    fn from(proxy: &'p ProxyConfig) -> Self {
        Self {
            name: Some(&proxy.name),
            listen: Some(&proxy.listen),
            upstream: Some(&proxy.upstream),
        }
    }
}

impl<'p> From<&'p ProxyTable> for Outline<'p> {
    fn from(table: &'p ProxyTable) -> Self {
        Self {
            name: table.name.as_deref(),
            listen: table.listen.as_ref(),
            upstream: table.upstream.as_ref().map(|u| &u.upstream),
        }
    }
}

/// Something that a proxy cannot have since something else has it.
#[derive(Debug)]
pub(super) struct Clash {
    /// Index of the proxy.
    pub(super) proxy: usize,
    pub(super) key: &'static str,
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// All clashes of a finished configuration.
pub(super) fn of(config: &Config) -> Vec<Clash> {
    let outlines: Vec<Outline<'_>> = config.proxies.iter().map(Outline::from).collect();
    among(&outlines, &config.admin)
}

/// All clashes among these and with the admin endpoint, each at the later of two proxies.
pub(super) fn among(proxies: &[Outline<'_>], admin: &Listen) -> Vec<Clash> {
    (0..proxies.len())
        .flat_map(|i| {
            let found = [
                name(proxies, i).map(|m| ("name", m, "expected a name of its own")),
                listen(proxies, i, admin).map(|m| ("listen", m, "expected an address of its own")),
                upstream(proxies, i, admin)
                    .map(|m| ("upstream", m, "expected the address of the real server")),
            ];
            found
                .into_iter()
                .flatten()
                .map(move |(key, message, remedy)| Clash {
                    proxy: i,
                    key,
                    message,
                    remedy,
                })
        })
        .collect()
}

fn name(proxies: &[Outline<'_>], i: usize) -> Option<String> {
    let name = proxies[i].name?;
    let is_taken = proxies[..i].iter().any(|p| p.name == Some(name));
    is_taken.then(|| format!("{name:?} is the name of an earlier proxy"))
}

fn listen(proxies: &[Outline<'_>], i: usize, admin: &Listen) -> Option<String> {
    let listen = proxies[i].listen?;
    let taken = |p: &Outline<'_>| p.listen.is_some_and(|l| l.collides_with(listen));
    let by = match proxies[..i].iter().position(taken) {
        Some(other) => called(proxies, other),
        None if admin.collides_with(listen) => "the admin endpoint".into(),
        None => return None,
    };
    Some(format!("{listen} is taken: {by} listens there"))
}

fn upstream(proxies: &[Outline<'_>], i: usize, admin: &Listen) -> Option<String> {
    let upstream = proxies[i].upstream?;
    let reached = |p: &Outline<'_>| p.listen.is_some_and(|l| l.is_reached_by(upstream));
    let who = match proxies.iter().position(reached) {
        Some(own) if own == i => "this proxy itself".into(),
        Some(other) => called(proxies, other),
        None if admin.is_reached_by(upstream) => "the admin endpoint".into(),
        None => return None,
    };
    Some(format!(
        "{upstream} is where {who} listens: connections would go round in circles"
    ))
}

fn called(proxies: &[Outline<'_>], i: usize) -> String {
    match proxies[i].name {
        Some(name) => format!("proxy {name:?}"),
        None => format!("proxy[{i}]"),
    }
}
