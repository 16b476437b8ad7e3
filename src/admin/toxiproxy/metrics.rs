//! The metrics that Toxiproxy has, under its names.

use super::toxic::direction;
use crate::fault::spec::Side;
use crate::measure::stats::Stats;
use crate::proxy::ProxyInfo;
use std::fmt::Write;

/// Bytes by proxy and direction. What a fault let vanish was received and not sent; what it holds counts as sent.
pub(in crate::admin) fn exposition(proxies: &[ProxyInfo], stats: &Stats) -> String {
    let mut text = String::new();
    for done in ["received", "sent"] {
        let name = format!("toxiproxy_proxy_{done}_bytes_total");
        let _ = writeln!(text, "# HELP {name} Bytes {done}, by proxy and direction.");
        let _ = writeln!(text, "# TYPE {name} counter");
        for info in proxies {
            let config = &info.config;
            let Some(figures) = stats.proxy(&config.name) else {
                continue;
            };
            let bytes = &figures.bytes;
            let sent = done == "sent";
            for (side, received, vanished) in [
                (Side::Reply, bytes.down, bytes.vanished_down),
                (Side::Request, bytes.up, bytes.vanished_up),
            ] {
                let count = received.saturating_sub(if sent { vanished } else { 0 });
                let _ = writeln!(
                    text,
                    "{name}{{direction=\"{}\",listener=\"{}\",proxy=\"{}\",upstream=\"{}\"}} {count}",
                    direction(side),
                    escaped(&config.listen.to_string()),
                    escaped(&config.name),
                    escaped(&config.upstream.to_string()),
                );
            }
        }
    }
    text
}

/// A label's value, as the text format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
