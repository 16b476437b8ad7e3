//! Who may ask: a page in somebody's browser must not be able to switch faults on.
//!
//! A browser sends what a page tells it to, with the user's network position. Three headers tell such a request apart: `Host`
//! names what the page believes to talk to (DNS rebinding makes that differ from our address), `Origin` and
//! `Sec-Fetch-Site` name the page. None of them can be set by a script.

use super::problem::Problem;
use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names that this endpoint answers to.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// `host:port`.
    hosts: Vec<String>,
    /// Whether every address is answered to.
    addresses: bool,
    /// A unix socket: no browser can reach it.
    unix: bool,
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
        Self {
            hosts,
            addresses: false,
            unix: address.is_none(),
        }
    }

    /// For figures alone, which a kubelet or a Prometheus asks for by an address that we do not know. A name that was made to point
    /// here (DNS rebinding) is no address.
    pub(super) fn of_figures(address: Option<SocketAddr>, more: &[String]) -> Self {
        Self {
            addresses: true,
            ..Self::new(address, more)
        }
    }

    fn knows(&self, host: &[u8]) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.any(|h| host.eq_ignore_ascii_case(h.as_bytes()))
            || self.addresses && std::str::from_utf8(host).is_ok_and(is_address)
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
        if self.unix {
            return Ok(());
        }
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "exactly one Host header is needed",
            ));
        };
        if !self.knows(host.as_bytes()) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                if self.addresses {
                    "this endpoint answers to addresses, and to the names that [admin] hosts lists"
                        .to_owned()
                } else {
                    format!("this endpoint answers to {} only", self.hosts[0])
                },
            )
            .field("Host"));
        }
        for origin in headers.get_all(ORIGIN) {
            let site = origin.as_bytes().strip_prefix(b"http://");
            // Every page may have an address as its origin.
            let own = |site: &[u8]| {
                let same = site.eq_ignore_ascii_case(host.as_bytes());
                same || !self.addresses && self.knows(site)
            };
            if !site.is_some_and(own) {
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

/// Whether a Host is an address, with a port or without.
fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    host.parse::<SocketAddr>().is_ok()
        || host.parse::<Ipv4Addr>().is_ok()
        || bare.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
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
    fn figures_are_given_to_every_address_and_to_no_page() {
        let given = ["figures.example:9474".to_owned()];
        let guard = Guard::of_figures(Some(SocketAddr::from(([0, 0, 0, 0], 9474))), &given);
        let ask = |host: &str, more: Option<(HeaderName, &str)>| {
            let mut headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            headers.extend(more.map(|(name, value)| (name, value.parse().unwrap())));
            guard.check(&Method::GET, &headers).is_ok()
        };
        for host in [
            "10.1.2.3:9474",
            "10.1.2.3",
            "[::1]:9474",
            "[fd00::1]",
            "localhost:9474",
            "Figures.example:9474",
        ] {
            assert!(ask(host, None), "{host}");
        }
        for host in [
            "evil.example",
            "10.1.2.3.evil.example:9474",
            "10.1.2.3:9474.evil.example",
            "10.1.2:9474",
            "figures.example",
            "localhost",
            "[evil.example]",
            "::1",
            "",
        ] {
            assert!(!ask(host, None), "{host}");
        }
        let own = "10.1.2.3:9474";
        assert!(ask(own, Some((ORIGIN, "http://10.1.2.3:9474"))));
        assert!(!ask(own, Some((ORIGIN, "http://10.1.2.4:9474"))));
        assert!(!ask(own, Some((ORIGIN, "http://localhost:9474"))));
        assert!(!ask(own, Some((FETCH_SITE, "cross-site"))));
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
