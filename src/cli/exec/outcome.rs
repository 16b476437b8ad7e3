//! What a command did to the servers behind the proxies: for people, and as JSON.

use super::super::stats::figure::{count, micros};
use super::super::table::{Align, Screen, render};
use crate::measure::stats::{Latency, ProxyStats, Stats};
use serde::Serialize;
use std::fmt::Write;

/// All that is known when a command has ended.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) command: Vec<String>,
    /// That of this program: 128 and the signal's number where one ended the command.
    pub(super) exit_code: u8,
    pub(super) seconds: f64,
    pub(super) seed: u64,
    pub(super) profiles: Vec<String>,
    pub(super) proxies: Vec<Through>,
    pub(super) stats: Stats,
}

/// A proxy, and the variables that led to it.
#[derive(Debug, Serialize)]
pub(super) struct Through {
    pub(super) name: String,
    pub(super) upstream: String,
    pub(super) variables: Vec<String>,
}

const COLUMNS: [(&str, Align); 7] = [
    ("operation", Align::Left),
    ("count", Align::Right),
    ("p50", Align::Right),
    ("p95", Align::Right),
    ("p99", Align::Right),
    ("slowest", Align::Right),
    ("errors", Align::Right),
];

impl Outcome {
    /// A table for each proxy.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for through in &self.proxies {
            let Some(figures) = self.stats.proxy(&through.name) else {
                continue;
            };
            let _ = writeln!(
                text,
                "\n{} ({} -> {}): {}",
                through.name,
                through.variables.join(", "),
                through.upstream,
                connections(figures)
            );
            if figures.operations.is_empty() {
                text.push_str("  nothing was asked\n");
                continue;
            }
            let screen = Screen {
                columns: None,
                lines: None,
            };
            text += &render(screen, &COLUMNS, 0, rows(figures));
        }
        text
    }
}

fn connections(figures: &ProxyStats) -> String {
    let opened = figures.sessions.opened;
    let mut text = format!("{opened} connection{}", if opened == 1 { "" } else { "s" });
    let made = figures.connects.ok;
    if made < opened {
        let _ = write!(text, ", {} of them without a server", opened - made);
    }
    if figures.faults.injected > 0 {
        let _ = write!(text, ", faults on {} exchanges", figures.faults.injected);
    }
    let lost: u64 = figures.tap_lost.values().sum();
    if lost > 0 {
        let _ = write!(text, ", {lost} not understood to their end");
    }
    text
}

fn rows(figures: &ProxyStats) -> Vec<Vec<String>> {
    let mut operations: Vec<_> = figures.operations.iter().collect();
    operations.sort_by_key(|o| std::cmp::Reverse(o.exchanges.count));
    operations
        .into_iter()
        .map(|one| {
            let figures = &one.exchanges;
            let time = |pick: fn(&Latency) -> u64| {
                let latency = figures.client.as_ref();
                latency.map_or_else(|| "-".to_owned(), |l| micros(pick(l)))
            };
            vec![
                one.operation.clone(),
                count(figures.count),
                time(|l| l.p50_us),
                time(|l| l.p95_us),
                time(|l| l.p99_us),
                time(|l| l.max_us),
                count(figures.errors),
            ]
        })
        .collect()
}
