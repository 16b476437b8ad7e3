//! Reload and drain: what a running server lives through.

use super::{ControlError, DRAIN_STEP, Server, meta, names, open};
use crate::config::{Change, Config, Listen, ProxyConfig};
use crate::proxy::event::Event;
use crate::proxy::worker::Worker;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Server {
    /// Takes another configuration in place of the one in force. Sessions of unchanged proxies live on. Returns the keys
    /// that take effect only with a restart.
    ///
    /// # Errors
    /// A new address cannot be listened on: then nothing has changed. Or one that a proxy held which this reload replaced was
    /// taken by another process in between: then only that proxy is missing.
    pub async fn reload(&self, new: Config) -> Result<Vec<&'static str>, ControlError> {
        let _alone = self.0.changing.lock().await;
        let old = self.current_config();
        let changes = old.diff(&new);
        let replaced = |change: &Change| *change != Change::Measured;
        let changed = changes.changed.iter();
        let (again, kept): (Vec<_>, Vec<_>) = changed.partition(|(_, change)| replaced(change));
        // What was made at run time stays: no file has named it.
        let configured = self.state().configured.clone();
        let removed = changes.removed.iter();
        let leaving: Vec<&String> = removed
            .filter(|name| configured.contains(*name))
            .chain(again.iter().map(|(name, _)| name))
            .collect();
        let arriving: Vec<&ProxyConfig> = new
            .proxies
            .iter()
            .filter(|p| changes.added.contains(&p.name) || leaving.contains(&&p.name))
            .collect();
        // New addresses first: what cannot be bound must not cost what runs. Those that a leaving proxy holds come after it.
        let freed = |listen: &Listen| {
            let mut held = leaving.iter().filter_map(|name| old.proxy(name));
            held.any(|proxy| proxy.listen.collides_with(listen))
        };
        let mut bound = BTreeMap::new();
        for proxy in arriving.iter().filter(|p| !freed(&p.listen)) {
            bound.insert(&proxy.name, open(proxy)?);
        }
        for name in &leaving {
            self.withdraw(name).await?;
        }
        let mut lost = Ok(());
        for proxy in arriving {
            match bound.remove(&proxy.name).map_or_else(|| open(proxy), Ok) {
                Ok(bound) => self.launch(proxy.clone(), Some(bound), None).await,
                // Somebody else was quicker. The others are still to come.
                Err(error) => lost = Err(error),
            }
        }
        for (name, _) in kept {
            if let Some(proxy) = new.proxy(name) {
                self.measure_anew(proxy).await;
            }
        }
        let gone = {
            let mut state = self.state();
            state.configured = names(&new);
            state.config = Config {
                proxies: Vec::new(),
                ..new
            };
            let gone = state.enforce_limits();
            self.publish(&state);
            gone
        };
        for fault in gone {
            self.emit(|| Event::FaultDisabled {
                fault: fault.into(),
                why: "limits",
            });
        }
        lost?;
        self.emit(|| Event::Reloaded);
        Ok(changes.restart)
    }

    /// Tells that a reload was refused.
    pub fn reload_failed(&self, problem: &str) {
        self.emit(|| Event::ReloadFailed {
            problem: problem.lines().next().unwrap_or_default().into(),
        });
    }

    /// The configuration in force, with the proxies as they run.
    fn current_config(&self) -> Config {
        let state = self.state();
        let proxies = state.proxies.values().map(|p| p.config.clone()).collect();
        Config {
            proxies,
            ..state.config.clone()
        }
    }

    /// Only what is measured of a proxy changed.
    pub(super) async fn measure_anew(&self, config: &ProxyConfig) {
        let mut measuring = self.0.measuring.lock().await;
        let mut state = self.state();
        if let Some(entry) = state.proxies.get_mut(&config.name) {
            let listen = entry.config.listen.clone();
            entry.config = ProxyConfig {
                listen,
                ..config.clone()
            };
            measuring.register(
                &entry.shared,
                &meta(config, &entry.shared),
                &self.0.dispatch,
            );
        }
    }

    /// Stops accepting, lets sessions end until the deadline, and then ends them. Returns how many had to be.
    pub async fn drain(&self, deadline: Duration) -> usize {
        let listeners: Vec<_> = self
            .state()
            .proxies
            .values_mut()
            .filter_map(|p| p.listener.take())
            .collect();
        for listener in listeners {
            listener.stop().await;
        }
        let until = Instant::now() + deadline;
        let open = || self.0.process.sessions.load(Ordering::Relaxed);
        while open() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        let cut = open();
        self.state().proxies.values().for_each(|p| p.shared.close());
        self.wake();
        let hard = Instant::now() + Duration::from_secs(3);
        while open() > 0 && Instant::now() < hard {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        // A worker that has stopped gives nothing away any more: what it counted last is fetched before.
        self.0.measuring.lock().await.tick(&self.0.dispatch).await;
        self.0.dispatch.workers.iter().for_each(Worker::stop);
        while !self.0.dispatch.workers.iter().all(Worker::is_finished) && Instant::now() < hard {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        cut
    }
}
