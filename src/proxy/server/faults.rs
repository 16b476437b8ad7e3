//! Switching faults and profiles on and off.

use super::{ControlError, Server, State};
use crate::config::{Library, ProxyConfig};
use crate::fault::spec::FieldError;
use crate::fault::store::{Listed, StoreError};
use crate::fault::{Fault, FaultSpec, Source};
use crate::proxy::event::Event;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Server {
    /// The faults that are switched on.
    pub fn faults(&self) -> Vec<Listed> {
        self.state().store.list(Instant::now())
    }

    /// Whether everything is kept off.
    pub fn is_halted(&self) -> bool {
        self.state().store.is_halted()
    }

    /// Switches one fault on.
    ///
    /// # Errors
    /// It is not valid, fits no proxy, or the store refuses.
    pub fn add_fault(
        &self,
        spec: &FaultSpec,
        ttl: Option<Duration>,
    ) -> Result<Listed, ControlError> {
        let fault = spec.compile("").map_err(ControlError::Fault)?;
        let mut state = self.state();
        state.check_fault(&fault)?;
        let now = Instant::now();
        let name = state.store.add(fault, ttl, Source::AdHoc, now)?;
        self.publish(&state);
        let listed = state.store.get(&name, now);
        drop(state);
        self.emit(|| Event::FaultEnabled {
            fault: Arc::clone(&name),
            profile: None,
        });
        listed.ok_or_else(|| StoreError::NotFound(name.to_string()).into())
    }

    /// Puts another fault in the place of one that is on; its time to live begins anew.
    ///
    /// # Errors
    /// There is none of that name; otherwise as [`Server::add_fault`].
    pub fn replace_fault(
        &self,
        name: &str,
        spec: &FaultSpec,
        ttl: Option<Duration>,
    ) -> Result<Listed, ControlError> {
        let fault = spec.compile("").map_err(ControlError::Fault)?;
        let mut state = self.state();
        state.check_fault(&fault)?;
        let now = Instant::now();
        state.store.replace(name, fault, ttl, now)?;
        self.publish(&state);
        let listed = state.store.get(name, now);
        drop(state);
        self.emit(|| Event::FaultEnabled {
            fault: name.into(),
            profile: None,
        });
        listed.ok_or_else(|| StoreError::NotFound(name.into()).into())
    }

    /// Switches one fault off.
    ///
    /// # Errors
    /// None of that name is on.
    pub fn remove_fault(&self, name: &str) -> Result<(), ControlError> {
        let mut state = self.state();
        state.store.remove(name)?;
        self.publish(&state);
        drop(state);
        self.emit(|| Event::FaultDisabled {
            fault: name.into(),
            why: "removed",
        });
        Ok(())
    }

    /// The profiles at hand, read anew: files are edited while we run.
    ///
    /// # Errors
    /// Their folder is gone.
    pub fn library(&self) -> Result<Library, ControlError> {
        let config = self.state().config.clone();
        Library::of(&config).map_err(ControlError::Profile)
    }

    /// The profiles of which something is on.
    pub fn enabled_profiles(&self) -> Vec<Arc<str>> {
        self.state().store.profiles()
    }

    /// Switches a profile on.
    ///
    /// # Errors
    /// It is not there, not valid, fits no proxy, or the store refuses.
    pub fn enable_profile(
        &self,
        name: &str,
        ttl: Option<Duration>,
        seed: Option<u64>,
    ) -> Result<Vec<Arc<str>>, ControlError> {
        let library = self.library()?;
        let profile = library.get(name).map_err(ControlError::Profile)?;
        let mut state = self.state();
        let proxies: Vec<ProxyConfig> = state.proxies.values().map(|p| p.config.clone()).collect();
        profile
            .check_against(&proxies)
            .map_err(ControlError::Profile)?;
        let (faults, seed) = (profile.faults.clone(), seed.or(profile.seed));
        let names = state
            .store
            .enable_profile(name, faults, ttl, seed, Instant::now())?;
        self.publish(&state);
        drop(state);
        for fault in &names {
            let (fault, profile) = (Arc::clone(fault), Some(name.into()));
            self.emit(|| Event::FaultEnabled { fault, profile });
        }
        Ok(names)
    }

    /// Switches a profile off.
    ///
    /// # Errors
    /// Nothing of it is on.
    pub fn disable_profile(&self, name: &str) -> Result<Vec<Arc<str>>, ControlError> {
        let mut state = self.state();
        let names = state.store.disable_profile(name)?;
        self.publish(&state);
        drop(state);
        for fault in &names {
            self.emit(|| Event::FaultDisabled {
                fault: Arc::clone(fault),
                why: "removed",
            });
        }
        Ok(names)
    }

    /// Switches everything off, and keeps it off until resumed. Returns the faults that were on.
    pub fn halt(&self) -> Vec<Arc<str>> {
        let mut state = self.state();
        let names = state.store.halt();
        self.publish(&state);
        drop(state);
        self.emit(|| Event::Halted);
        for fault in &names {
            self.emit(|| Event::FaultDisabled {
                fault: Arc::clone(fault),
                why: "halted",
            });
        }
        names
    }

    /// Allows faults again.
    pub fn resume(&self) {
        self.state().store.resume();
        self.emit(|| Event::Resumed);
    }
}

impl State {
    /// A fault must fit at least one proxy, and every proxy that it names.
    fn check_fault(&self, fault: &Fault) -> Result<(), ControlError> {
        let mut named = self
            .proxies
            .values()
            .filter(|p| fault.acts_on(&p.config.name))
            .peekable();
        if named.peek().is_none() {
            let names: Vec<_> = self.proxies.keys().cloned().collect();
            return Err(ControlError::Fault(vec![FieldError {
                path: "proxy".into(),
                message: format!("no proxy matches `{}`", fault.spec().proxy),
                remedy: format!("proxies here: {}", names.join(", ")),
            }]));
        }
        for proxy in named {
            fault
                .applies_to(proxy.config.protocol)
                .map_err(|e| ControlError::Fault(vec![e]))?;
        }
        Ok(())
    }
}
