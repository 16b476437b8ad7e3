//! The toxics of the proxies: faults, with what was written where a fault says it otherwise.

use super::fault;
use super::refusal::Refusal;
use super::toxic::{Toxic, Wanted};
use crate::fault::FaultSpec;
use crate::fault::glob::Glob;
use crate::fault::store::Listed;
use crate::proxy::Server;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What was written: a name that no fault may have, an attribute beyond what a fault takes.
///
/// It is only remembered. Whether a toxic is there is asked of the faults each time, so that the two cannot differ.
#[derive(Debug, Default)]
pub(in crate::admin) struct Toxics(Mutex<BTreeMap<String, Written>>);

/// A toxic as it was written, and the fault that was made of it.
#[derive(Debug)]
struct Written {
    proxy: String,
    toxic: Toxic,
    spec: FaultSpec,
}

/// A toxic and the fault that it is.
#[derive(Debug)]
struct Found {
    toxic: Toxic,
    fault: Listed,
    written: bool,
}

impl Toxics {
    /// Toxics of a proxy: upstream first, then downstream, each in the order of creation.
    pub(super) fn of(&self, server: &Server, proxy: &str) -> Result<Vec<Toxic>, Refusal> {
        server.proxy(proxy)?;
        let found = self.list(server, proxy);
        Ok(found.into_iter().map(|f| f.toxic).collect())
    }

    pub(super) fn one(&self, server: &Server, proxy: &str, name: &str) -> Result<Toxic, Refusal> {
        self.find(server, proxy, name).map(|found| found.toxic)
    }

    pub(super) fn create(
        &self,
        server: &Server,
        proxy: &str,
        body: &[u8],
    ) -> Result<Toxic, Refusal> {
        server.proxy(proxy)?;
        let wanted = Wanted::parse(body)?;
        let known = self.list(server, proxy);
        if known.iter().any(|f| f.toxic.name == wanted.toxic.name) {
            return Err(Refusal::toxic_exists());
        }
        let toxic = wanted.complete()?;
        let base = fault::base(proxy, &toxic, &server.faults());
        // Toxics have no time to live of their own; nothing may be forgotten all the same.
        let listed = server.add_fault(&fault::spec(&toxic, base), Some(server.longest_ttl()))?;
        self.remember(proxy, &toxic, listed);
        Ok(toxic)
    }

    pub(super) fn change(
        &self,
        server: &Server,
        proxy: &str,
        name: &str,
        body: &[u8],
    ) -> Result<Toxic, Refusal> {
        let found = self.find(server, proxy, name)?;
        let toxic = found.toxic.changed(body)?;
        let spec = fault::spec(&toxic, found.fault.fault);
        let ttl = if found.written {
            server.longest_ttl()
        } else {
            // It is somebody else's, who said how long.
            Duration::from_millis(found.fault.left_ms.max(1))
        };
        let listed = server.replace_fault(&found.fault.name, &spec, Some(ttl))?;
        if found.written {
            self.remember(proxy, &toxic, listed);
        }
        Ok(toxic)
    }

    pub(super) fn remove(&self, server: &Server, proxy: &str, name: &str) -> Result<(), Refusal> {
        let found = self.find(server, proxy, name)?;
        Ok(server.remove_fault(&found.fault.name)?)
    }

    /// Ends the toxics that are this proxy's alone.
    pub(super) fn clear(&self, server: &Server, proxy: &str) -> Result<(), Refusal> {
        let only = fault::only(proxy);
        for found in self.list(server, proxy) {
            if found.fault.fault.proxy == only {
                server.remove_fault(&found.fault.name)?;
            }
        }
        Ok(())
    }

    /// Every proxy on, every toxic off.
    pub(super) async fn reset(&self, server: &Server) -> Result<(), Refusal> {
        for info in server.proxies() {
            let name = &info.config.name;
            server.enable_proxy(name, true).await?;
            // One that acts on several proxies is gone with the first.
            for found in self.list(server, name) {
                server.remove_fault(&found.fault.name)?;
            }
        }
        Ok(())
    }

    fn find(&self, server: &Server, proxy: &str, name: &str) -> Result<Found, Refusal> {
        server.proxy(proxy)?;
        let mut all = self.list(server, proxy).into_iter();
        all.find(|f| f.toxic.name == name)
            .ok_or_else(Refusal::no_toxic)
    }

    fn list(&self, server: &Server, proxy: &str) -> Vec<Found> {
        let faults = server.faults();
        let mut written = self.written();
        written.retain(|name, w| faults.iter().any(|f| f.name == *name && f.fault == w.spec));
        let acts = |fault: &Listed| {
            Glob::new(&fault.fault.proxy).is_ok_and(|glob| glob.matches(proxy.as_bytes()))
        };
        let mut found: Vec<Found> = faults
            .into_iter()
            .filter(acts)
            .filter_map(|fault| {
                let written = written.get(&fault.name).filter(|w| w.proxy == proxy);
                let toxic = match written {
                    Some(written) => written.toxic.clone(),
                    None => fault::toxic(proxy, &fault)?,
                };
                Some(Found {
                    toxic,
                    written: written.is_some(),
                    fault,
                })
            })
            .collect();
        found.sort_by_key(|f| fault::order(f.toxic.stream));
        found
    }

    fn remember(&self, proxy: &str, toxic: &Toxic, listed: Listed) {
        let written = Written {
            proxy: proxy.into(),
            toxic: toxic.clone(),
            spec: listed.fault,
        };
        self.written().insert(listed.name, written);
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, Written>> {
        // A map of plain values is whole after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
