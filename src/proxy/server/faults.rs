//! Switching faults and profiles on and off.

use super::{ControlError, Server, State};
use crate::config::{Library, Limits, ProxyConfig};
use crate::fault::action::{DEFAULT_TTL, MAX_TTL};
use crate::fault::glob::Glob;
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

    /// One of them, with what its gates said to this session of a proxy.
    pub fn fault_for(&self, name: &str, session: (&str, u64)) -> Option<Listed> {
        self.state().store.get_for(name, session, Instant::now())
    }

    /// Whether everything is kept off.
    pub fn is_halted(&self) -> bool {
        self.state().store.is_halted()
    }

    /// The longest time to live that is allowed: for those who would rather say none.
    pub fn longest_ttl(&self) -> Duration {
        let most = self.state().config.limits.max_ttl;
        most.map_or(MAX_TTL, |most| most.min(MAX_TTL))
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
        self.switch_on(fault, |state, fault, now| {
            state.check_limits(&[&fault], ttl, |_| true)?;
            Ok(state.store.add(fault, ttl, Source::AdHoc, now)?)
        })
    }

    fn switch_on(
        &self,
        fault: Fault,
        how: impl FnOnce(&mut State, Fault, Instant) -> Result<Arc<str>, ControlError>,
    ) -> Result<Listed, ControlError> {
        let mut state = self.state();
        state.check_fault(&fault)?;
        let now = Instant::now();
        let name = how(&mut state, fault, now)?;
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
        self.switch_on(fault, |state, fault, now| {
            state.check_limits(&[&fault], ttl, |other| other.name != name)?;
            state.store.replace(name, fault, ttl, now)?;
            Ok(name.into())
        })
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
        let all: Vec<&Fault> = faults.iter().collect();
        state.check_limits(&all, ttl, |other| other.profile.as_deref() != Some(name))?;
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
    /// Whether faults keep to what the operator allows, beside those that stay on.
    fn check_limits(
        &self,
        faults: &[&Fault],
        ttl: Option<Duration>,
        stays: impl Fn(&Listed) -> bool,
    ) -> Result<(), ControlError> {
        let limits = &self.config.limits;
        if *limits == Limits::default() {
            return Ok(());
        }
        let others = self.store.list(Instant::now()).into_iter().filter(stays);
        let others: Vec<FaultSpec> = others.map(|f| f.fault).collect();
        let mut shares: Vec<(&str, f64)> = self
            .proxies
            .keys()
            .map(|name| {
                let on = others.iter().filter(|spec| acts_on(spec, name));
                (
                    name.as_str(),
                    on.map(|spec| spec.probability.unwrap_or(1.0)).sum(),
                )
            })
            .collect();
        for fault in faults {
            let touched = shares.iter().filter(|(name, _)| fault.acts_on(name));
            let touched: Vec<(&str, f64)> = touched.copied().collect();
            limits
                .check(fault.spec(), ttl, &touched)
                .map_err(ControlError::Limit)?;
            for (_, share) in shares.iter_mut().filter(|(name, _)| fault.acts_on(name)) {
                *share += fault.spec().probability.unwrap_or(1.0);
            }
        }
        Ok(())
    }

    /// Switches off what is beyond limits that were made narrower.
    pub(super) fn enforce_limits(&mut self) -> Vec<String> {
        let limits = &self.config.limits;
        let most = limits.max_ttl.map(|most| most.min(DEFAULT_TTL));
        self.store.set_default_ttl(most);
        let beyond = |f: &Listed| {
            let touched: Vec<(&str, f64)> = self
                .proxies
                .keys()
                .filter(|name| acts_on(&f.fault, name))
                .map(|name| (name.as_str(), 0.0))
                .collect();
            let left = Duration::from_millis(f.left_ms);
            limits.check(&f.fault, Some(left), &touched).is_err()
        };
        let listed = self.store.list(Instant::now());
        let gone: Vec<String> = listed.into_iter().filter(beyond).map(|f| f.name).collect();
        for name in &gone {
            // It was there a moment ago, under the same lock.
            let _ = self.store.remove(name);
        }
        gone
    }

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

fn acts_on(spec: &FaultSpec, proxy: &str) -> bool {
    Glob::new(&spec.proxy).is_ok_and(|glob| glob.matches(proxy.as_bytes()))
}
