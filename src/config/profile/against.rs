//! Whether a fault has something to act on.

use super::super::ProxyConfig;
use super::super::suggest::{nearest, one_of};
use crate::fault::{Fault, FieldError};

/// A fault has to reach at least one proxy on which it can act. `path` is where it stands in its profile.
pub(super) fn check(fault: &Fault, path: &str, proxies: &[ProxyConfig]) -> Result<(), FieldError> {
    let mut first = None;
    for proxy in proxies.iter().filter(|p| fault.acts_on(&p.name)) {
        match fault.applies_to(proxy.protocol) {
            Ok(()) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| reaches_none(fault, path, proxies)))
}

fn reaches_none(fault: &Fault, path: &str, proxies: &[ProxyConfig]) -> FieldError {
    let pattern = &fault.spec().proxy;
    let names: Vec<&str> = proxies.iter().map(|p| p.name.as_str()).collect();
    let remedy = match nearest(pattern, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if names.is_empty() => "there are no proxies".into(),
        None => format!("expected {}, or a glob over them", one_of(&names)),
    };
    FieldError {
        path: format!("{path}.proxy"),
        message: format!("no proxy is called {pattern:?}"),
        remedy,
    }
}
