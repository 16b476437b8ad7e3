//! Who may ask: a page in somebody's browser must not be able to switch faults on.
//!
//! A browser sends what a page tells it to, with the user's network position. Three headers tell such a request apart: `Host`
//! names what the page believes to talk to (DNS rebinding makes that differ from our address), `Origin` and
//! `Sec-Fetch-Site` name the page. None of them can be set by a script.

use super::problem::Problem;
use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode};
use std::net::SocketAddr;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names that this endpoint answers to.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// `host:port`, lower case; empty on a unix socket, which no browser can reach.
    hosts: Vec<String>,
}

impl Guard {
    /// For an endpoint on this address, which is known by these names too; `None`: a unix socket.
    pub(super) fn new(address: Option<SocketAddr>, more: &[String]) -> Self {
        let hosts = address.map_or_else(Vec::new, |address| {
            let port = address.port();
            let mut hosts = vec![
                address.to_string(),
                format!("127.0.0.1:{port}"),
                format!("localhost:{port}"),
                format!("[::1]:{port}"),
            ];
            if port == 80 {
                let bare: Vec<_> = hosts
                    .iter()
                    .filter_map(|h| h.strip_suffix(":80").map(String::from))
                    .collect();
                hosts.extend(bare);
            }
            hosts.extend_from_slice(more);
            hosts
        });
        Self { hosts }
    }

    /// Whether a request may be looked at.
    ///
    /// # Errors
    /// 403 or 400, with the reason.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        if method == Method::OPTIONS {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "no page of another origin may use this endpoint",
            ));
        }
        if self.hosts.is_empty() {
            return Ok(());
        }
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "exactly one Host header is needed",
            ));
        };
        let known = |value: &[u8]| {
            self.hosts
                .iter()
                .any(|h| value.eq_ignore_ascii_case(h.as_bytes()))
        };
        if !known(host.as_bytes()) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!("this endpoint answers to {} only", self.hosts[0]),
            )
            .field("Host"));
        }
        for origin in headers.get_all(ORIGIN) {
            let site = origin.as_bytes().strip_prefix(b"http://");
            if !site.is_some_and(known) {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "no page of another origin may use this endpoint",
                )
                .field("Origin"));
            }
        }
        for site in headers.get_all(FETCH_SITE) {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "no page of another site may use this endpoint",
                )
                .field("Sec-Fetch-Site"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)]) -> Result<(), u16> {
        let guard = Guard::new(Some(SocketAddr::from(([127, 0, 0, 1], 8474))), &[]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                value.parse().expect("header value"),
            );
        }
        guard
            .check(&Method::POST, &map)
            .map_err(|p| p.status().as_u16())
    }

    #[test]
    fn only_our_own_names_are_answered() {
        assert_eq!(check(&[("host", "127.0.0.1:8474")]), Ok(()));
        assert_eq!(check(&[("host", "localhost:8474")]), Ok(()));
        assert_eq!(check(&[("host", "LOCALHOST:8474")]), Ok(()));
        assert_eq!(check(&[("host", "[::1]:8474")]), Ok(()));
        assert_eq!(check(&[]), Err(400));
        assert_eq!(
            check(&[("host", "localhost:8474"), ("host", "localhost:8474")]),
            Err(400)
        );
        for other in [
            "evil.example",
            "localhost",
            "localhost:80",
            "localhost:8474.evil.example",
            "localhost.evil.example:8474",
            "127.0.0.1:8475",
            "127.0.0.1.nip.io:8474",
            "",
        ] {
            assert_eq!(check(&[("host", other)]), Err(403), "{other}");
        }
    }

    #[test]
    fn names_that_were_given_are_answered_too_and_exactly() {
        let given = [
            "brownout.staging:8474".to_owned(),
            "faults.example".to_owned(),
        ];
        let guard = Guard::new(Some(SocketAddr::from(([0, 0, 0, 0], 8474))), &given);
        let ask = |host: &str| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            guard.check(&Method::GET, &headers).is_ok()
        };
        assert!(ask("Brownout.Staging:8474") && ask("faults.example") && ask("127.0.0.1:8474"));
        assert!(!ask("brownout.staging") && !ask("faults.example:8474") && !ask("10.0.0.1:8474"));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = ("host", "127.0.0.1:8474");
        assert_eq!(check(&[host, ("origin", "http://127.0.0.1:8474")]), Ok(()));
        for origin in [
            "null",
            "http://evil.example",
            "https://127.0.0.1:8474",
            "http://127.0.0.1:3000",
            "",
        ] {
            assert_eq!(check(&[host, ("origin", origin)]), Err(403), "{origin}");
        }
        assert_eq!(check(&[host, ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(check(&[host, ("sec-fetch-site", "none")]), Ok(()));
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(check(&[host, ("sec-fetch-site", site)]), Err(403), "{site}");
        }
    }

    #[test]
    fn preflights_are_refused() {
        let guard = Guard::new(Some(SocketAddr::from(([127, 0, 0, 1], 8474))), &[]);
        assert!(guard.check(&Method::OPTIONS, &HeaderMap::new()).is_err());
    }
}
