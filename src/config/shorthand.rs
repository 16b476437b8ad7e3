//! A proxy in one word of the command line: `--redis [NAME@]LISTEN=UPSTREAM`.

use super::address::{AddressError, Written};
use super::check::is_name;
use super::{CONNECT_TIMEOUT, ProxyConfig};
use crate::measure::Slo;
use crate::protocol::Protocol;

/// Why a word is not a proxy, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct ShorthandError {
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub remedy: String,
}

impl From<AddressError> for ShorthandError {
    fn from(e: AddressError) -> Self {
        Self {
            message: e.message,
            remedy: e.remedy,
        }
    }
}

impl ProxyConfig {
    /// Reads `[NAME@]LISTEN=UPSTREAM`. Without a name it is called as its protocol;
    /// [`from_shorthands`](Self::from_shorthands) makes such names unique.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub fn from_shorthand(protocol: Protocol, text: &str) -> Result<Self, ShorthandError> {
        let Some((before, upstream)) = text.split_once('=') else {
            return Err(ShorthandError {
                message: format!("{} has no `=`", shown(text)),
                remedy: format!(
                    "expected [NAME@]LISTEN=UPSTREAM, like {}",
                    example(protocol)
                ),
            });
        };
        let (name, listen) = before.split_once('@').unwrap_or((protocol.name(), before));
        if !is_name(name) {
            return Err(ShorthandError {
                message: format!("{} cannot be a name", shown(name)),
                remedy: "expected 1 to 64 of a-z, 0-9, `_`, `.` and `-` before the `@`".into(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            protocol,
            listen: listen.parse()?,
            upstream: upstream.parse::<Written>()?.of(protocol)?,
            slo: Slo::default(),
            routes: Vec::new(),
            pool: None,
            connect_timeout: CONNECT_TIMEOUT,
            probe: super::Probe::default(),
        })
    }

    /// Reads several, after the proxies that exist: those without a name are called `redis`, `redis-2`, `redis-3` and so on.
    ///
    /// # Errors
    /// As [`from_shorthand`](Self::from_shorthand), of the first that is wrong.
    pub fn from_shorthands<'t>(
        existing: &[Self],
        words: impl IntoIterator<Item = (Protocol, &'t str)>,
    ) -> Result<Vec<Self>, ShorthandError> {
        let mut added: Vec<Self> = Vec::new();
        for (protocol, text) in words {
            let mut proxy = Self::from_shorthand(protocol, text)?;
            let is_named = text
                .split_once('=')
                .is_some_and(|(before, _)| before.contains('@'));
            if !is_named {
                let taken = |name: &str| existing.iter().chain(&added).any(|p| p.name == name);
                let mut number = 2_usize;
                while taken(&proxy.name) {
                    proxy.name = format!("{}-{number}", protocol.name());
                    number += 1;
                }
            }
            added.push(proxy);
        }
        Ok(added)
    }
}

/// The text in quotes, but nothing before an `@`, which may be a password.
fn shown(text: &str) -> String {
    let text = text.rsplit_once('@').map_or(text, |(_, after)| after);
    let text: String = text.chars().take(80).collect();
    format!("{text:?}")
}

fn example(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Redis => "26379=localhost:6379",
        Protocol::Postgres => "25432=localhost:5432",
        Protocol::Http => "28080=localhost:8000",
        Protocol::Tcp => "29200=localhost:9200",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_name() {
        let plain = ProxyConfig::from_shorthand(Protocol::Redis, "26379=localhost:6379").unwrap();
        assert_eq!(plain.name, "redis");
        assert_eq!(plain.listen.to_string(), "127.0.0.1:26379");
        assert_eq!(plain.upstream.to_string(), "localhost:6379");
        let named =
            ProxyConfig::from_shorthand(Protocol::Http, "api@[::1]:0=unix:/run/a=b.sock").unwrap();
        assert_eq!(named.name, "api");
        assert_eq!(named.listen.to_string(), "[::1]:0");
        assert_eq!(named.upstream.to_string(), "unix:/run/a=b.sock");
    }

    #[test]
    fn unnamed_ones_are_numbered() {
        let existing = ProxyConfig::from_shorthands(&[], [(Protocol::Redis, "1=h:1")]).unwrap();
        let words = [
            (Protocol::Redis, "2=h:1"),
            (Protocol::Redis, "redis-4@3=h:1"),
            (Protocol::Redis, "4=h:1"),
            (Protocol::Redis, "5=h:1"),
            (Protocol::Tcp, "6=h:1"),
        ];
        let added = ProxyConfig::from_shorthands(&existing, words).unwrap();
        let names: Vec<&str> = added.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["redis-2", "redis-4", "redis-3", "redis-5", "tcp"]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, message) in [
            (
                "26379",
                "\"26379\" has no `=`; expected [NAME@]LISTEN=UPSTREAM, like 26379=localhost:6379",
            ),
            (
                "a b@1=h:1",
                "\"a b\" cannot be a name; expected 1 to 64 of a-z, 0-9, `_`, `.` and `-` before the `@`",
            ),
            (
                "@1=h:1",
                "\"\" cannot be a name; expected 1 to 64 of a-z, 0-9, `_`, `.` and `-` before the `@`",
            ),
            (
                "99999=h:1",
                "\"99999\" is not a port; expected a number from 0 to 65535",
            ),
            (
                "1=redis://:pw@h/0",
                "a URL is not an address; write only host and port: \"h:6379\"",
            ),
        ] {
            let error = ProxyConfig::from_shorthand(Protocol::Redis, text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
    }
}
