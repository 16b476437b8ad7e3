//! Proxies that come, change, pause and go while others run.

use super::{ControlError, Entry, Server, State, meta, open, upstream};
use crate::config::{Change, Config, Listen, MAX_PROXIES, OnDesync, ProxyConfig};
use crate::fault::spec::FieldError;
use crate::measure::ProxyId;
use crate::protocol::Catalog;
use crate::proxy::event::Event;
use crate::proxy::listener::{Bound, Listener};
use crate::proxy::server::ProxyInfo;
use crate::proxy::shared::Shared;
use std::sync::Arc;
use std::time::Instant;

impl Server {
    /// Adds a proxy, and starts to accept unless it is to be off.
    ///
    /// # Errors
    /// The name or the address is taken, its upstream is one of our own listeners, or there are too many.
    pub async fn add_proxy(
        &self,
        config: ProxyConfig,
        enabled: bool,
    ) -> Result<ProxyInfo, ControlError> {
        let _alone = self.0.changing.lock().await;
        let name = config.name.clone();
        {
            let state = self.state();
            if state.proxies.contains_key(&name) {
                return Err(ControlError::ProxyExists(name));
            }
            if state.proxies.len() >= MAX_PROXIES {
                return Err(ControlError::TooManyProxies);
            }
            state.check_proxy(&config)?;
        }
        let bound = enabled.then(|| open(&config)).transpose()?;
        self.launch(config, bound, None).await;
        self.tell(&name, "added");
        self.proxy(&name)
    }

    /// Puts another configuration in place of that of a proxy. What only measures (slo, pool) changes under open sessions;
    /// anything else ends them. Port 0 stands for the port that it has.
    ///
    /// # Errors
    /// There is none of that name, or the new configuration cannot be: then nothing has changed. Where the old address was
    /// taken by another process in between, the proxy is changed and left switched off.
    pub async fn change_proxy(
        &self,
        name: &str,
        mut config: ProxyConfig,
    ) -> Result<ProxyInfo, ControlError> {
        let _alone = self.0.changing.lock().await;
        let (old, disabled) = {
            let state = self.state();
            let entry = state.entry(name)?;
            keep_port(&mut config.listen, &entry.config.listen);
            state.check_proxy(&config)?;
            (entry.config.clone(), entry.disabled)
        };
        if config.name != name {
            return Err(ControlError::Proxy(vec![FieldError {
                path: "name".into(),
                message: "a proxy keeps its name".into(),
                remedy: "create another one".into(),
            }]));
        }
        match old.change(&config) {
            None => return self.proxy(name),
            Some(Change::Measured) => self.measure_anew(&config).await,
            Some(Change::Replaced | Change::Rerouted) => {
                let moved = !config.listen.collides_with(&old.listen);
                // A new address first: if it cannot be had, the proxy stays as it is.
                let early = (!disabled && moved).then(|| open(&config)).transpose()?;
                let before = self.pause(name).await?;
                let same = old.protocol == config.protocol && old.routes == config.routes;
                if !same {
                    self.0.measuring.lock().await.remove(before.id);
                }
                let (bound, failed) = match early {
                    None if !disabled => match open(&config) {
                        Ok(bound) => (Some(bound), None),
                        Err(error) => (None, Some(error)),
                    },
                    early => (early, None),
                };
                let before = same.then_some(&before);
                self.launch(config, bound, before).await;
                if let Some(error) = failed {
                    return Err(error.into());
                }
            }
        }
        self.tell(name, "changed");
        self.proxy(name)
    }

    /// Switches a proxy off, which ends its sessions, or on again. What was measured of it stays.
    ///
    /// # Errors
    /// There is none of that name, or its address was taken meanwhile.
    pub async fn enable_proxy(&self, name: &str, on: bool) -> Result<ProxyInfo, ControlError> {
        let _alone = self.0.changing.lock().await;
        let (config, disabled) = {
            let state = self.state();
            let entry = state.entry(name)?;
            (entry.config.clone(), entry.disabled)
        };
        match (on, disabled) {
            (true, true) => {
                let bound = open(&config)?;
                let before = self.pause(name).await?;
                self.launch(config, Some(bound), Some(&before)).await;
                self.tell(name, "enabled");
            }
            (false, false) => {
                self.pause(name).await?;
                if let Some(entry) = self.state().proxies.get_mut(name) {
                    entry.disabled = true;
                }
                self.note_own(&self.state());
                self.tell(name, "disabled");
            }
            _ => {}
        }
        self.proxy(name)
    }

    /// Removes a proxy: stops accepting, and ends its sessions.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn remove_proxy(&self, name: &str) -> Result<(), ControlError> {
        let _alone = self.0.changing.lock().await;
        self.withdraw(name).await
    }

    /// As [`remove_proxy`](Self::remove_proxy), while proxies are changed anyway.
    pub(super) async fn withdraw(&self, name: &str) -> Result<(), ControlError> {
        let shared = self.pause(name).await?;
        self.0.measuring.lock().await.remove(shared.id);
        let mut state = self.state();
        state.proxies.remove(name);
        self.note_own(&state);
        drop(state);
        self.tell(name, "removed");
        Ok(())
    }

    /// Stops accepting and ends the sessions of a proxy, which is left without a listener.
    async fn pause(&self, name: &str) -> Result<Arc<Shared>, ControlError> {
        let (shared, listener) = {
            let mut state = self.state();
            let entry = state.proxies.get_mut(name);
            let entry = entry.ok_or_else(|| ControlError::NoProxy(name.into()))?;
            (Arc::clone(&entry.shared), entry.listener.take())
        };
        shared.close();
        self.wake();
        if let Some(listener) = listener {
            listener.stop().await;
        }
        self.0
            .measuring
            .lock()
            .await
            .collect(&self.0.dispatch)
            .await;
        Ok(shared)
    }

    /// Starts a proxy whose address is bound; without one it is switched off. `before`: what it was until now, and counts on
    /// from.
    pub(super) async fn launch(
        &self,
        mut config: ProxyConfig,
        bound: Option<Bound>,
        before: Option<&Arc<Shared>>,
    ) {
        if let Some(bound) = &bound {
            config.listen = bound.address.clone();
        }
        let mut measuring = self.0.measuring.lock().await;
        let mut state = self.state();
        let id = before.map_or_else(|| state.free_id(), |b| b.id);
        let catalog = Catalog::new(config.protocol, &config.routes);
        let mut shared = Shared::new(
            id,
            &config,
            catalog,
            upstream(&config.upstream),
            state.config.tcp_user_timeout,
            state.config.on_desync == OnDesync::Cut,
            Arc::clone(&self.0.process),
        );
        if let Some(before) = before {
            shared.go_on_from(before);
        } else {
            measuring.free(id);
        }
        let shared = Arc::new(shared);
        measuring.register(&shared, &meta(&config, &shared), &self.0.dispatch);
        shared.set_plan(state.plan_for(&config.name, &shared));
        let listener = bound.map(|bound| {
            let (shared, dispatch) = (Arc::clone(&shared), Arc::clone(&self.0.dispatch));
            Arc::new(Listener::start(&self.0.acceptor, bound, shared, dispatch))
        });
        let entry = Entry {
            config: config.clone(),
            shared,
            disabled: listener.is_none(),
            listener,
        };
        state.proxies.insert(config.name, entry);
        self.note_own(&state);
    }

    fn tell(&self, proxy: &str, change: &'static str) {
        let proxy = proxy.into();
        self.emit(|| Event::Proxy { proxy, change });
    }
}

impl State {
    fn entry(&self, name: &str) -> Result<&Entry, ControlError> {
        let entry = self.proxies.get(name);
        entry.ok_or_else(|| ControlError::NoProxy(name.into()))
    }

    /// The plan of a proxy, as it is to be in force.
    pub(super) fn plan_for(&self, name: &str, shared: &Shared) -> Arc<crate::fault::Plan> {
        if !self.config.limits.allows_proxy(name) {
            // A fault on `*` reaches no proxy that came after it and must not be touched.
            return Arc::default();
        }
        self.store.plan_for(name, &shared.catalog, Instant::now())
    }

    /// A number that no proxy has. The numbers of those that went are used again as late as possible.
    fn free_id(&mut self) -> ProxyId {
        loop {
            let id = ProxyId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if self.proxies.values().all(|p| p.shared.id != id) {
                return id;
            }
        }
    }

    /// Whether a proxy can stand beside the others and the admin endpoint.
    fn check_proxy(&self, config: &ProxyConfig) -> Result<(), ControlError> {
        let others = self.proxies.values().map(|p| &p.config);
        let others = others.filter(|other| other.name != config.name).cloned();
        let together = Config {
            admin: self.admin.clone().unwrap_or(self.config.admin.clone()),
            proxies: others.chain([config.clone()]).collect(),
            ..Config::default()
        };
        let Err(problems) = together.check("proxies") else {
            return Ok(());
        };
        let errors = problems.iter().map(|p| FieldError {
            path: p.field.rsplit('.').next().unwrap_or_default().into(),
            message: p.message.clone(),
            remedy: p.remedy.clone(),
        });
        Err(ControlError::Proxy(errors.collect()))
    }
}

/// Port 0 is the port that it has, where the address is the same: so that asking twice for the same changes nothing.
fn keep_port(wanted: &mut Listen, now: &Listen) {
    if let (Listen::Tcp(wanted), Listen::Tcp(now)) = (wanted, now)
        && wanted.port() == 0
        && wanted.ip() == now.ip()
    {
        wanted.set_port(now.port());
    }
}
