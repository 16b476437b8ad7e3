//! Whether the load really passes through the proxies, and is answered: else nothing can be said.

use super::{RunError, Stage};
use crate::measure::stats::Stats;
use crate::proxy::Server;
use crate::verify::document;

/// Requests that all fail before the service counts as unreachable.
const UNREACHABLE: u64 = 5;

impl Stage<'_> {
    /// Whether requests pass every proxy that something is expected of, and our own load is answered at all.
    pub(super) async fn traffic_passes(&self) -> Result<(), RunError> {
        let stats = self.server.stats(None).await;
        let unreached = unreached(self.server, &stats);
        if let Some((failed, lanes)) = self.lanes_that_fail() {
            let why = if unreached.is_empty() {
                "is the service there, and does it work without faults?".to_owned()
            } else {
                format!("no connection could be made to {}", unreached.join(", "))
            };
            return Err(RunError::NoTraffic(format!(
                "all {failed} requests of {lanes} failed: {why}"
            )));
        }
        let seen: Vec<String> = stats
            .proxies
            .iter()
            .map(|p| format!("{} {}", p.name, p.total.count))
            .collect();
        for name in document::proxies_in_question(self.test) {
            if stats.proxy(&name).is_none_or(|p| p.total.count == 0) {
                return Err(RunError::NoTraffic(format!(
                    "no request passed the proxy {name}, so nothing can be said of it; requests seen: {}. {}",
                    seen.join(", "),
                    if unreached.is_empty() {
                        "Does the service connect to the proxy's port, and does the load make it ask?".to_owned()
                    } else {
                        format!("No connection could be made to {}.", unreached.join(", "))
                    }
                )));
            }
        }
        Ok(())
    }

    /// Lanes of which every request failed, in words, and how many requests that were.
    fn lanes_that_fail(&self) -> Option<(u64, String)> {
        let figures = self
            .lanes
            .iter()
            .map(|(lane, tally)| (lane, tally.figures()));
        let failed: Vec<(&str, u64)> = figures
            .filter(|(_, f)| f.ended >= UNREACHABLE && f.failed == f.ended)
            .map(|(lane, f)| (lane.as_str(), f.ended))
            .collect();
        let names: Vec<&str> = failed.iter().map(|(lane, _)| *lane).collect();
        let lanes = match names.as_slice() {
            [] => return None,
            [one] => format!("lane {one}"),
            several => format!("lanes {}", several.join(", ")),
        };
        Some((failed.iter().map(|(_, ended)| ended).sum(), lanes))
    }
}

/// Upstreams to which no connection could be made, and how that failed: "redis at 127.0.0.1:6379 (refused)".
fn unreached(server: &Server, stats: &Stats) -> Vec<String> {
    let proxies = server.proxies().into_iter();
    let unreached = proxies.filter_map(|proxy| {
        let connects = &stats.proxy(&proxy.config.name)?.connects;
        let ways = [
            ("refused", connects.refused),
            ("no answer in time", connects.timeout),
            ("no route", connects.unreachable),
            ("the name does not resolve", connects.resolve),
            ("failed", connects.other),
        ];
        let (how, _) = ways.into_iter().find(|(_, times)| *times > 0)?;
        let (name, upstream) = (&proxy.config.name, &proxy.config.upstream);
        (connects.ok == 0).then(|| format!("{name} at {upstream} ({how})"))
    });
    unreached.collect()
}
