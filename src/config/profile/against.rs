//! Whether a fault has something to act on.

use super::super::ProxyConfig;
use super::super::suggest::{nearest, one_of};
use crate::fault::FaultSpec;
use crate::fault::glob::Glob;
use crate::fault::spec::ActionKind;
use crate::protocol::Protocol;

/// Why a fault would do nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Path inside the fault.
    pub(super) field: &'static str,
    pub(super) message: String,
    pub(super) remedy: String,
}

/// A fault has to reach at least one proxy on which it can act.
pub(super) fn check(fault: &FaultSpec, proxies: &[ProxyConfig]) -> Result<(), Mismatch> {
    // A pattern that is none was refused when the profile was read.
    let Ok(glob) = Glob::new(&fault.proxy) else {
        return Ok(());
    };
    let mut first = None;
    for proxy in proxies.iter().filter(|p| glob.matches(p.name.as_bytes())) {
        match applies(fault, proxy) {
            Ok(()) => return Ok(()),
            Err(mismatch) => first = first.or(Some(mismatch)),
        }
    }
    Err(first.unwrap_or_else(|| reaches_none(&fault.proxy, proxies)))
}

fn reaches_none(pattern: &str, proxies: &[ProxyConfig]) -> Mismatch {
    let names: Vec<&str> = proxies.iter().map(|p| p.name.as_str()).collect();
    let remedy = match nearest(pattern, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if names.is_empty() => "there are no proxies".into(),
        None => format!("expected {}, or a glob over them", one_of(&names)),
    };
    Mismatch {
        field: "proxy",
        message: format!("no proxy is called {pattern:?}"),
        remedy,
    }
}

/// Whether the fault can act on what this proxy speaks.
fn applies(fault: &FaultSpec, proxy: &ProxyConfig) -> Result<(), Mismatch> {
    let matching = &fault.matching;
    let needs = [
        ("match.key", !matching.key.is_empty(), Protocol::Redis),
        ("match.route", !matching.route.is_empty(), Protocol::Http),
        ("match.method", !matching.method.is_empty(), Protocol::Http),
        ("match.header", matching.header.is_some(), Protocol::Http),
        ("status", fault.status.is_some(), Protocol::Http),
        ("headers", fault.headers.is_some(), Protocol::Http),
        ("body", fault.body.is_some(), Protocol::Http),
    ];
    for (field, given, protocol) in needs {
        if given && proxy.protocol != protocol {
            return Err(speaks_otherwise(field, proxy, protocol.name()));
        }
    }
    if fault.action != ActionKind::Error {
        return Ok(());
    }
    match proxy.protocol {
        Protocol::Tcp => Err(Mismatch {
            field: "action",
            message: format!("{:?} speaks plain tcp, which has no error replies", proxy.name),
            remedy: "expected latency, stall, timeout, disconnect or refuse".into(),
        }),
        Protocol::Http if fault.code.is_some() => Err(speaks_otherwise("code", proxy, "redis or postgres")),
        Protocol::Http if fault.message.is_some() => Err(speaks_otherwise("message", proxy, "redis or postgres")),
        _ => Ok(()),
    }
}

fn speaks_otherwise(field: &'static str, proxy: &ProxyConfig, needed: &str) -> Mismatch {
    let key = field.rsplit('.').next().unwrap_or(field);
    Mismatch {
        field,
        message: format!("`{key}` is for proxies that speak {needed}, and {:?} speaks {}", proxy.name, proxy.protocol.name()),
        remedy: format!("remove it, or set `proxy` to one that speaks {needed}"),
    }
}
