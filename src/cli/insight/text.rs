//! Insights for people: one line a finding, and why where there is none.

use crate::insight::words::{self, Line};
use crate::insight::{Dependency, Insights};
use std::fmt::Write;

/// Where the second column begins.
const COLUMN: usize = 18;

/// All of it.
pub(super) fn render(insights: &Insights) -> String {
    let mut text = String::new();
    let api = insights.api.as_deref().unwrap_or("not seen");
    let _ = writeln!(
        text,
        "{:.1} s recorded, undisturbed for {:.1} s; API of the service: {api}",
        seconds(insights.length),
        seconds(insights.baseline.length().min(insights.length)),
    );
    for dependency in &insights.dependencies {
        one(&mut text, dependency);
    }
    text
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn one(text: &mut String, d: &Dependency) {
    let _ = writeln!(text, "\n{} ({})", d.proxy, d.protocol.name());
    for line in words::of(d) {
        let Line {
            subject,
            nested,
            said,
            remedy,
            ..
        } = line;
        let subject = if nested {
            format!("  {subject}")
        } else {
            subject
        };
        let unknown = if remedy.is_some() { "not known: " } else { "" };
        let _ = writeln!(text, "  {subject:COLUMN$}{unknown}{said}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "  {:COLUMN$}needed: {remedy}", "");
        }
    }
}
