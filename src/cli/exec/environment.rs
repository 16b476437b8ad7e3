//! The environment of the command: which variables lead to servers, and what they become.

use super::url::{Unfit, Url, demands_tls, upstream};
use crate::config::Upstream;
use crate::protocol::Protocol;
use std::collections::BTreeMap;

/// Variables that name a proxy for HTTP, which is no server of the command.
const FORWARD_PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "ftp_proxy"];

/// The variables of libpq, which stand for one connection together.
const LIBPQ: [&str; 3] = ["PGHOST", "PGHOSTADDR", "PGPORT"];

/// A server that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) protocol: Protocol,
    pub(super) upstream: Upstream,
    /// The variables that lead there.
    pub(super) variables: Vec<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) servers: Vec<Server>,
    /// Each variable, and its servers by place.
    uses: Vec<Use>,
    /// What was left alone, and why.
    pub(super) left: Vec<(String, Unfit)>,
}

#[derive(Debug)]
enum Use {
    Url {
        variable: String,
        value: String,
        servers: Vec<usize>,
    },
    Libpq {
        servers: Vec<usize>,
        addressed: bool,
    },
}

/// A variable that cannot be led through a proxy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {why}; {}", .why.remedy())]
pub(super) struct Refused {
    pub(super) variable: String,
    pub(super) why: Unfit,
}

/// Looks through an environment. Where `wanted` names variables, these and no others.
///
/// What was named must be fit; what was only found must be where it is a database, since a fault that never comes looks like a
/// service that stands it.
pub(super) fn look(
    environment: &BTreeMap<String, String>,
    wanted: &[String],
) -> Result<Found, Refused> {
    let mut found = Found::default();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    for (variable, value) in environment.iter().filter(|(name, _)| is_wanted(name)) {
        let forward = FORWARD_PROXIES.contains(&variable.to_ascii_lowercase().as_str());
        if wanted.is_empty() && forward {
            continue;
        }
        match Url::parse(value) {
            None => {}
            Some(Ok(url)) => {
                let servers = url
                    .hosts
                    .iter()
                    .map(|(upstream, _)| found.server(url.protocol, upstream, variable))
                    .collect();
                found.uses.push(Use::Url {
                    variable: variable.clone(),
                    value: value.clone(),
                    servers,
                });
            }
            Some(Err(why)) => {
                let web = value
                    .get(..4)
                    .is_some_and(|s| s.eq_ignore_ascii_case("http"));
                if !(web && wanted.is_empty()) {
                    let variable = variable.clone();
                    return Err(Refused { variable, why });
                }
                found.left.push((variable.clone(), why));
            }
        }
    }
    if LIBPQ.iter().any(|name| is_wanted(name)) {
        found.libpq(environment)?;
    }
    Ok(found)
}

impl Found {
    /// The place of a server; the same one twice is one.
    fn server(&mut self, protocol: Protocol, upstream: &Upstream, variable: &str) -> usize {
        let same = |s: &Server| s.protocol == protocol && s.upstream == *upstream;
        let at = self.servers.iter().position(same).unwrap_or_else(|| {
            self.servers.push(Server {
                protocol,
                upstream: upstream.clone(),
                variables: Vec::new(),
            });
            self.servers.len() - 1
        });
        let variables = &mut self.servers[at].variables;
        if !variables.iter().any(|v| v == variable) {
            variables.push(variable.to_owned());
        }
        at
    }

    /// PGHOST or PGHOSTADDR, with PGPORT: lists of the same length, or one port for all.
    fn libpq(&mut self, environment: &BTreeMap<String, String>) -> Result<(), Refused> {
        let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let address = get("PGHOSTADDR");
        let (variable, hosts) = match (address, get("PGHOST")) {
            (Some(hosts), _) => ("PGHOSTADDR", hosts),
            (None, Some(hosts)) => ("PGHOST", hosts),
            (None, None) => return Ok(()),
        };
        let refused = |variable: &str, why| Refused {
            variable: variable.to_owned(),
            why,
        };
        if get("PGSSLMODE").is_some_and(|mode| demands_tls(mode)) {
            return Err(refused("PGSSLMODE", Unfit::Tls));
        }
        let hosts: Vec<&str> = hosts.split(',').collect();
        let ports: Vec<&str> = get("PGPORT").map_or(vec![""], |ports| ports.split(',').collect());
        if ports.len() != 1 && ports.len() != hosts.len() {
            return Err(refused("PGPORT", Unfit::Malformed));
        }
        let mut servers = Vec::new();
        for (place, host) in hosts.iter().enumerate() {
            // An IPv6 address stands there without brackets.
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                (*host).to_owned()
            };
            let port = ports.get(place).unwrap_or(&ports[0]);
            let to = upstream(&format!("{host}:{port}"), 5432);
            let to = to.map_err(|why| refused(variable, why))?;
            servers.push(self.server(Protocol::Postgres, &to, variable));
        }
        self.uses.push(Use::Libpq {
            servers,
            addressed: address.is_some(),
        });
        Ok(())
    }

    /// The variables to set, where `addresses` has host and port of the proxy before each server.
    pub(super) fn through(&self, addresses: &[(String, u16)]) -> Vec<(String, String)> {
        let mut set = Vec::new();
        let joined = |places: &[usize], part: &dyn Fn(&(String, u16)) -> String| {
            let parts: Vec<String> = places.iter().map(|at| part(&addresses[*at])).collect();
            parts.join(",")
        };
        for one in &self.uses {
            match one {
                Use::Url {
                    variable,
                    value,
                    servers,
                } => {
                    let to: Vec<String> = servers
                        .iter()
                        .map(|at| format!("{}:{}", addresses[*at].0, addresses[*at].1))
                        .collect();
                    if let Some(Ok(url)) = Url::parse(value) {
                        set.push((variable.clone(), url.through(&to)));
                    }
                }
                Use::Libpq { servers, addressed } => {
                    let hosts = joined(servers, &|(host, _)| host.clone());
                    if *addressed {
                        set.push(("PGHOSTADDR".to_owned(), hosts.clone()));
                    }
                    set.push(("PGHOST".to_owned(), hosts));
                    set.push((
                        "PGPORT".to_owned(),
                        joined(servers, &|(_, port)| port.to_string()),
                    ));
                }
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn names(found: &Found) -> Vec<String> {
        let servers = found.servers.iter();
        servers
            .map(|s| {
                format!(
                    "{} {} {}",
                    s.protocol.name(),
                    s.upstream,
                    s.variables.join("+")
                )
            })
            .collect()
    }

    #[test]
    fn servers_are_found_once_each() {
        let found = look(
            &environment(&[
                ("CELERY_BROKER", "redis://cache/1"),
                ("DATABASE_URL", "postgresql+asyncpg://u:p@db/app"),
                ("HOME", "/root"),
                ("HTTP_PROXY", "http://squid:3128"),
                ("PGHOST", "db"),
                ("PGPORT", "5432"),
                ("REDIS_URL", "redis://cache:6379/0"),
                ("REPOSITORY", "https://example.org/r"),
            ]),
            &[],
        )
        .unwrap();
        assert_eq!(
            names(&found),
            [
                "redis cache:6379 CELERY_BROKER+REDIS_URL",
                "postgres db:5432 DATABASE_URL+PGHOST"
            ]
        );
        assert_eq!(found.left, [("REPOSITORY".to_owned(), Unfit::Tls)]);
        let addresses = [("127.0.0.1".to_owned(), 1), ("127.0.0.1".to_owned(), 2)];
        assert_eq!(
            found.through(&addresses),
            [
                (
                    "CELERY_BROKER".to_owned(),
                    "redis://127.0.0.1:1/1".to_owned()
                ),
                (
                    "DATABASE_URL".to_owned(),
                    "postgresql+asyncpg://u:p@127.0.0.1:2/app".to_owned()
                ),
                ("REDIS_URL".to_owned(), "redis://127.0.0.1:1/0".to_owned()),
                ("PGHOST".to_owned(), "127.0.0.1".to_owned()),
                ("PGPORT".to_owned(), "2".to_owned()),
            ]
        );
    }

    #[test]
    fn libpq_has_lists_and_addresses() {
        let found = look(
            &environment(&[
                ("PGHOST", "a,b"),
                ("PGHOSTADDR", "10.0.0.1,::1"),
                ("PGPORT", "1,2"),
            ]),
            &[],
        )
        .unwrap();
        assert_eq!(
            names(&found),
            [
                "postgres 10.0.0.1:1 PGHOSTADDR",
                "postgres [::1]:2 PGHOSTADDR"
            ]
        );
        let addresses = [("127.0.0.1".to_owned(), 8), ("127.0.0.1".to_owned(), 9)];
        assert_eq!(
            found.through(&addresses),
            [
                ("PGHOSTADDR".to_owned(), "127.0.0.1,127.0.0.1".to_owned()),
                ("PGHOST".to_owned(), "127.0.0.1,127.0.0.1".to_owned()),
                ("PGPORT".to_owned(), "8,9".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_not_fit_is_refused_by_name() {
        for (pairs, wanted, variable, why) in [
            (
                vec![("REDIS_URL", "rediss://h")],
                vec![],
                "REDIS_URL",
                Unfit::Tls,
            ),
            (
                vec![("PGHOST", "/run/postgresql")],
                vec![],
                "PGHOST",
                Unfit::Unix,
            ),
            (
                vec![("PGHOST", "h"), ("PGSSLMODE", "require")],
                vec![],
                "PGSSLMODE",
                Unfit::Tls,
            ),
            (
                vec![("PGHOST", "a,b,c"), ("PGPORT", "1,2")],
                vec![],
                "PGPORT",
                Unfit::Malformed,
            ),
            (vec![("API", "https://h")], vec!["API"], "API", Unfit::Tls),
        ] {
            let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
            let refused = look(&environment(&pairs), &wanted).unwrap_err();
            assert_eq!((&*refused.variable, refused.why), (variable, why));
        }
        let wanted = ["REDIS_URL".to_owned()];
        let both = environment(&[("REDIS_URL", "redis://h"), ("OTHER", "rediss://h")]);
        assert_eq!(
            names(&look(&both, &wanted).unwrap()),
            ["redis h:6379 REDIS_URL"]
        );
    }
}
