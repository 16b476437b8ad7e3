//! Connection strings: where they lead, and the same string leading elsewhere, every other byte kept.

use crate::config::Upstream;
use crate::protocol::Protocol;
use std::ops::Range;

/// A connection string that can be led through proxies.
#[derive(Debug)]
pub(super) struct Url<'t> {
    text: &'t str,
    pub(super) protocol: Protocol,
    /// The hosts, and where each stands in the text with its port.
    pub(super) hosts: Vec<(Upstream, Range<usize>)>,
}

/// Why a connection string is not led through a proxy. Never repeats a part that may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it asks for TLS, which brownout cannot look into yet")]
    Tls,
    #[error("it connects through a unix socket; write a host and a port")]
    Unix,
    #[error("it names no host; write one, like localhost")]
    NoHost,
    #[error("it names several hosts, which only Postgres has")]
    ManyHosts,
    #[error("its host or port cannot be read; expected host:port")]
    Malformed,
}

impl Unfit {
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Tls => "connect without TLS where brownout runs",
            _ => "or choose the variables with --env",
        }
    }
}

/// The protocol of a scheme; `Err`: one of ours over TLS. A driver behind a plus does not matter: `postgresql+asyncpg`.
fn protocol_of(scheme: &str) -> Option<Result<(Protocol, u16), Unfit>> {
    let base = scheme.split('+').next().unwrap_or(scheme);
    Some(match base.to_ascii_lowercase().as_str() {
        "redis" => match scheme.split_once('+').map(|(_, driver)| driver) {
            Some("unix" | "socket") => Err(Unfit::Unix),
            _ => Ok((Protocol::Redis, 6379)),
        },
        "rediss" | "https" => Err(Unfit::Tls),
        "postgres" | "postgresql" => Ok((Protocol::Postgres, 5432)),
        "http" => Ok((Protocol::Http, 80)),
        _ => return None,
    })
}

impl<'t> Url<'t> {
    /// Reads a text. `None`: it is no connection string of ours.
    pub(super) fn parse(text: &'t str) -> Option<Result<Self, Unfit>> {
        let (scheme, rest) = text.split_once("://")?;
        let known = protocol_of(scheme)?;
        Some(known.and_then(|(protocol, port)| {
            let start = text.len() - rest.len();
            Self::hosts(text, start, protocol, port)
        }))
    }

    fn hosts(text: &'t str, start: usize, protocol: Protocol, port: u16) -> Result<Self, Unfit> {
        let rest = &text[start..];
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        // A password may hold an at sign that nobody encoded: the last one ends it.
        let first = authority.rfind('@').map_or(0, |at| at + 1);
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        if protocol == Protocol::Postgres {
            check_query(query)?;
        }
        let listed = &authority[first..];
        if listed.is_empty() {
            return Err(Unfit::NoHost);
        }
        let mut hosts = Vec::new();
        let mut at = start + first;
        for host in listed.split(',') {
            hosts.push((upstream(host, port)?, at..at + host.len()));
            at += host.len() + 1;
        }
        if hosts.len() > 1 && protocol != Protocol::Postgres {
            return Err(Unfit::ManyHosts);
        }
        Ok(Self {
            text,
            protocol,
            hosts,
        })
    }

    /// The same with other hosts, in the order of [`Self::hosts`].
    pub(super) fn through(&self, addresses: &[String]) -> String {
        let mut out = String::with_capacity(self.text.len() + 16);
        let mut done = 0;
        for ((_, place), address) in self.hosts.iter().zip(addresses) {
            out.push_str(&self.text[done..place.start]);
            out.push_str(address);
            done = place.end;
        }
        out.push_str(&self.text[done..]);
        out
    }
}

/// Parameters that lead past the host, or into TLS.
fn check_query(query: &str) -> Result<(), Unfit> {
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "sslmode" | "ssl" if demands_tls(value) => return Err(Unfit::Tls),
            // libpq and SQLAlchemy take these before the host of the URL.
            "host" | "hostaddr" | "unix_sock" => return Err(Unfit::Unix),
            "port" => return Err(Unfit::Malformed),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a server without TLS would be refused.
pub(super) fn demands_tls(mode: &str) -> bool {
    let mode = mode.to_ascii_lowercase();
    matches!(
        mode.as_str(),
        "require" | "verify-ca" | "verify-full" | "true" | "1" | "on"
    )
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn upstream(text: &str, default: u16) -> Result<Upstream, Unfit> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("%2f") || text.starts_with(['/', '@']) {
        return Err(Unfit::Unix);
    }
    let bracketed = text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !bracketed => (host, port),
        _ => (text, ""),
    };
    if host.is_empty() {
        return Err(Unfit::NoHost);
    }
    let port = if port.is_empty() {
        default.to_string()
    } else {
        port.to_owned()
    };
    format!("{host}:{port}")
        .parse()
        .map_err(|_| Unfit::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str) -> Result<(String, Vec<String>), Unfit> {
        let url = Url::parse(text).expect(text)?;
        let hosts: Vec<String> = url.hosts.iter().map(|(u, _)| u.to_string()).collect();
        let to: Vec<String> = (0..hosts.len()).map(|n| format!("127.0.0.1:{n}")).collect();
        Ok((url.through(&to), hosts))
    }

    #[test]
    fn every_other_byte_is_kept() {
        for (text, expected, hosts) in [
            (
                "redis://localhost",
                "redis://127.0.0.1:0",
                vec!["localhost:6379"],
            ),
            (
                "redis://:p%40ss@cache:7000/3?timeout=5s#x",
                "redis://:p%40ss@127.0.0.1:0/3?timeout=5s#x",
                vec!["cache:7000"],
            ),
            (
                "postgres://u:p@ss@db/app",
                "postgres://u:p@ss@127.0.0.1:0/app",
                vec!["db:5432"],
            ),
            (
                "postgresql+asyncpg://u:s%2Fecret@[::1]:5433/app?application_name=a%20b&sslmode=prefer",
                "postgresql+asyncpg://u:s%2Fecret@127.0.0.1:0/app?application_name=a%20b&sslmode=prefer",
                vec!["[::1]:5433"],
            ),
            (
                "postgresql+psycopg2://db:/app",
                "postgresql+psycopg2://127.0.0.1:0/app",
                vec!["db:5432"],
            ),
            (
                "postgresql://[::1]/app",
                "postgresql://127.0.0.1:0/app",
                vec!["[::1]:5432"],
            ),
            (
                "postgresql://u@a:1,b,c:3/app?target_session_attrs=any",
                "postgresql://u@127.0.0.1:0,127.0.0.1:1,127.0.0.1:2/app?target_session_attrs=any",
                vec!["a:1", "b:5432", "c:3"],
            ),
            (
                "http://api:8000/v1/?a=b@c",
                "http://127.0.0.1:0/v1/?a=b@c",
                vec!["api:8000"],
            ),
            ("HTTP://api", "HTTP://127.0.0.1:0", vec!["api:80"]),
        ] {
            let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
            assert_eq!(through(text), Ok((expected.to_owned(), hosts)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_led_through_says_why() {
        for (text, why) in [
            ("rediss://h", Unfit::Tls),
            ("https://h/", Unfit::Tls),
            ("postgres://h/d?sslmode=require", Unfit::Tls),
            ("postgres://h/d?a=b&sslmode=verify-full#f", Unfit::Tls),
            ("postgresql+asyncpg://h/d?ssl=require", Unfit::Tls),
            ("postgresql:///d?host=/run/postgresql", Unfit::Unix),
            ("postgresql://%2Frun%2Fpostgresql/d", Unfit::Unix),
            ("redis+unix:///run/redis.sock", Unfit::Unix),
            ("postgresql:///d", Unfit::NoHost),
            ("redis://u:p@", Unfit::NoHost),
            ("redis://:6379", Unfit::NoHost),
            ("redis://a,b", Unfit::ManyHosts),
            ("redis://h:port", Unfit::Malformed),
            ("redis://a b", Unfit::Malformed),
        ] {
            assert_eq!(through(text), Err(why), "{text}");
        }
        for text in [
            "",
            "redis",
            "mysql://h",
            "redis-sentinel://h",
            "/usr/bin:/bin",
            "://",
        ] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
    }
}
