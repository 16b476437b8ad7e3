//! What a reload changes: sessions of proxies that stay as they are live on.

use super::{Config, ProxyConfig};

/// What happened to a proxy that stands in both configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Listen address or protocol: it is a new proxy under the old name.
    Replaced,
    /// Upstream or connect timeout: for sessions accepted from now on.
    Rerouted,
    /// Only what is measured (slo, pool, routes): sessions do not notice.
    Measured,
}

/// Proxies by what a reload does to them, by name, in the order of the file that has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Only in the new configuration.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<(String, Change)>,
    /// In both, and the same.
    pub unchanged: Vec<String>,
    /// Keys of the top that differ and take effect only with a restart.
    pub restart: Vec<&'static str>,
}

impl Changes {
    /// Whether the two configurations are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.restart.is_empty()
    }
}

impl Config {
    /// What taking `new` in place of this configuration changes.
    pub fn diff(&self, new: &Self) -> Changes {
        let mut changes = Changes {
            restart: self.restart_keys(new),
            ..Changes::default()
        };
        for proxy in &new.proxies {
            let name = proxy.name.clone();
            match self.proxy(&name) {
                None => changes.added.push(name),
                Some(old) => match old.change(proxy) {
                    Some(change) => changes.changed.push((name, change)),
                    None => changes.unchanged.push(name),
                },
            }
        }
        let gone = self.proxies.iter().filter(|p| new.proxy(&p.name).is_none());
        changes.removed.extend(gone.map(|p| p.name.clone()));
        changes
    }

    fn restart_keys(&self, new: &Self) -> Vec<&'static str> {
        [
            ("admin.listen", self.admin != new.admin),
            ("admin", self.guards != new.guards),
            ("workers", self.workers != new.workers),
            ("seed", self.seed != new.seed),
            ("profiles", self.profiles != new.profiles),
            ("hlog", self.hlog != new.hlog),
            ("drain_deadline", self.drain_deadline != new.drain_deadline),
            ("max_sessions", self.max_sessions != new.max_sessions),
            ("ledger", self.ledger != new.ledger),
            ("on_desync", self.on_desync != new.on_desync),
            (
                "tcp_user_timeout",
                self.tcp_user_timeout != new.tcp_user_timeout,
            ),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

impl ProxyConfig {
    /// What taking `new` in its place means; `None`: they are the same.
    pub fn change(&self, new: &Self) -> Option<Change> {
        if self.listen != new.listen || self.protocol != new.protocol {
            Some(Change::Replaced)
        } else if self.upstream != new.upstream || self.connect_timeout != new.connect_timeout {
            Some(Change::Rerouted)
        } else if self != new {
            Some(Change::Measured)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(proxies: &[(&str, &str, &str, &str)]) -> Config {
        let text = proxies
            .iter()
            .map(|(name, listen, upstream, more)| {
                format!("[[proxy]]\nname = '{name}'\nprotocol = 'http'\nlisten = '{listen}'\nupstream = '{upstream}'\n{more}\n")
            })
            .collect::<Vec<String>>()
            .concat();
        Config::parse(&text, "t").unwrap()
    }

    #[test]
    fn tells_kinds_apart() {
        let old = config(&[
            ("same", "1001", "h:1", ""),
            ("gone", "1002", "h:1", ""),
            ("moved", "1003", "h:1", ""),
            ("rerouted", "1004", "h:1", ""),
            ("slower", "1005", "h:1", ""),
            ("patient", "1006", "h:1", ""),
        ]);
        let new = config(&[
            ("new", "1002", "h:1", ""),
            ("patient", "1006", "h:1", "connect_timeout = '1s'"),
            ("slower", "1005", "h:1", "slo = { p95 = '1ms' }"),
            ("rerouted", "1004", "h:2", "pool = 3"),
            ("moved", "2003", "h:1", ""),
            ("same", "1001", "h:1", ""),
        ]);
        let changes = old.diff(&new);
        assert_eq!(changes.added, ["new"]);
        assert_eq!(changes.removed, ["gone"]);
        assert_eq!(changes.unchanged, ["same"]);
        assert_eq!(
            changes.changed,
            [
                ("patient".to_owned(), Change::Rerouted),
                ("slower".to_owned(), Change::Measured),
                ("rerouted".to_owned(), Change::Rerouted),
                ("moved".to_owned(), Change::Replaced),
            ]
        );
        assert!(!changes.is_empty());
        assert!(old.diff(&old).is_empty());
    }

    #[test]
    fn says_what_needs_a_restart() {
        let old = Config::default();
        let new = Config {
            workers: std::num::NonZeroU32::new(3),
            ..old.clone()
        };
        assert_eq!(old.diff(&new).restart, ["workers"]);
    }
}
