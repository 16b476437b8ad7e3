//! What a picture shows, as a table behind it: for those who hear the page, and for those who want the figures.

use super::events::Event;
use super::figure;
use super::ledger::Group;
use super::steps::{Detail, Steps};
use super::svg::InPhase;
use super::traffic::Process;
use crate::insight::SECOND;
use crate::insight::breaker::Breaker;
use maud::{Markup, html};

/// Percentiles of a spectrum's table, as shares.
const PERCENTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// A table that opens on demand, by mouse and by keyboard.
pub(super) fn details<S: AsRef<str>>(name: &str, head: &[S], rows: Vec<Vec<String>>) -> Markup {
    html! {
        details {
            summary { "The same as a table (" (name) ")" }
            div.scroll tabindex="0" role="region" aria-label=(name) {
                table {
                    thead { tr { @for cell in head { th.number scope="col" { (cell.as_ref()) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }
}

/// Latency by percentile, a row a phase.
pub(super) fn spectrum(phases: &[InPhase]) -> Markup {
    let rows = phases.iter().map(|phase| {
        let latencies = &phase.latencies;
        let at = PERCENTILES.map(|q| {
            let bounded = figure::bounded(q, latencies.len());
            figure::some(bounded.then(|| latencies.value_at_quantile(q)))
        });
        let most = (!latencies.is_empty()).then(|| latencies.max());
        let mut row = vec![figure::plain(&phase.name)];
        row.extend(at);
        row.extend([
            figure::some(most),
            latencies.len().to_string(),
            phase.outstanding.to_string(),
        ]);
        row
    });
    let head = [
        "phase",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "max",
        "n answered",
        "still out at its end",
    ];
    details("percentiles by phase", &head, rows.collect())
}

/// What became of exchanges, those together that went alike.
pub(super) fn ledger(name: &str, groups: &[&Group], detail: Detail) -> Markup {
    let further: u64 = groups.iter().skip(detail.rows).map(|g| g.count).sum();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(name) {
            table {
                @if further > 0 { caption { (further) " further exchanges stand in report.json alone" } }
                thead { tr {
                    @for name in ["Proxy", "Operation", "Fault", "Server saw", "Client was told"] { th scope="col" { (name) } }
                    th.number scope="col" { "n" }
                } }
                tbody {
                    @for group in groups.iter().take(detail.rows) {
                        tr {
                            th scope="row" { (figure::plain(&group.proxy)) }
                            td.text { (figure::plain(&group.operation)) } td.text { (figure::plain(&group.what())) }
                            td.text { (figure::plain(&group.saw())) } td.text { (figure::plain(&group.heard())) }
                            td.number { (group.count) }
                        }
                    }
                }
            }
        }
    }
}

/// What happened beside exchanges.
pub(super) fn events(events: &[Event], detail: Detail) -> Markup {
    let second = |ns: u64| format!("{:.2}", ns as f64 / SECOND as f64);
    let further = events.len().saturating_sub(detail.rows);
    html! {
        @if !events.is_empty() {
            details {
                summary { "All events (" (events.len()) ")" }
                div.scroll tabindex="0" role="region" aria-label="what happened" {
                    table {
                        @if further > 0 { caption { (further) " further events stand in report.json alone" } }
                        thead { tr {
                            @for name in ["From s", "To s"] { th.number scope="col" { (name) } }
                            @for name in ["What", "Of", "By, or why"] { th scope="col" { (name) } }
                            th.number scope="col" { "n" }
                        } }
                        tbody {
                            @for event in events.iter().take(detail.rows) {
                                tr {
                                    td.number { (second(event.at)) } td.number { (second(event.until)) }
                                    td.text { (event.what.words()) } td.text { (figure::plain(&event.subject)) }
                                    td.text { (event.note.as_deref().map_or("-".into(), figure::plain)) }
                                    td.number { (event.count) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Figures by time.
pub(super) fn timeline(steps: &Steps) -> Markup {
    let rows = steps.all.iter().enumerate().map(|(n, s)| {
        vec![
            steps.name(n),
            s.ended.to_string(),
            steps
                .rate(n, s.ended)
                .map_or("-".into(), |rate| format!("{rate:.1}")),
            s.failed.to_string(),
            s.injected.to_string(),
            s.outstanding.to_string(),
            figure::some(s.waited_us),
            figure::some(s.p50_us),
            p95(steps, n),
            figure::some(s.max_us),
        ]
    });
    let head = [
        "second",
        "requests",
        "a second",
        "failed",
        "touched by a fault",
        "still waiting at its end",
        "the oldest for",
        "p50",
        "p95",
        "max",
    ];
    details("by time", &head, rows.collect())
}

/// With the seconds that it is of, where they are several.
fn p95(steps: &Steps, step: usize) -> String {
    match steps.p95_of(step) {
        None => "-".into(),
        Some(wide) if wide.first == wide.last => figure::duration(wide.p95_us),
        Some(wide) => format!(
            "{} ({})",
            figure::duration(wide.p95_us),
            steps.name_of(wide)
        ),
    }
}

/// Answers by time and latency.
pub(super) fn heat(steps: &Steps) -> Markup {
    let buckets = || steps.all.iter().flat_map(|s| s.buckets.keys().copied());
    let (Some(low), Some(high)) = (buckets().min(), buckets().max()) else {
        return html! {};
    };
    let rows = steps.all.iter().enumerate().map(|(n, step)| {
        let count = |b| step.buckets.get(&b).map_or("-".into(), u64::to_string);
        std::iter::once(steps.name(n))
            .chain((low..=high).map(count))
            .collect()
    });
    let from = (low..=high).map(|b| format!("from {}", figure::duration(1 << b.min(63))));
    let head: Vec<String> = std::iter::once("second".into()).chain(from).collect();
    details("answers by time and latency", &head, rows.collect())
}

/// Looks at a process.
pub(super) fn process(process: &Process) -> Markup {
    let rows = process.looks.iter().map(|l| {
        vec![
            format!("{:.1}", l.at as f64 / SECOND as f64),
            figure::megabytes(l.memory),
            l.cpu.map_or("-".into(), |c| format!("{:.0} %", c * 100.0)),
            l.descriptors.to_string(),
            l.threads.to_string(),
        ]
    });
    let head = ["second", "memory", "CPU", "descriptors", "threads"];
    details("looks", &head, rows.collect())
}

/// When a breaker was open.
pub(super) fn breaker(breaker: &Breaker, detail: Detail) -> Markup {
    let at = |ns: u64| format!("{:.2} s", ns as f64 / SECOND as f64);
    let rows = breaker.episodes.iter().take(detail.steps).map(|e| {
        let answer = match (e.probed, e.probe_succeeded) {
            (None, _) => "-",
            (Some(_), true) => "succeeded",
            (Some(_), false) => "failed",
        };
        vec![
            format!("{} to {}", at(e.tripped_from), at(e.tripped_to)),
            e.probed.map_or("-".into(), at),
            e.probes.to_string(),
            answer.into(),
        ]
    });
    let head = ["opened at", "first call after it", "calls then", "which"];
    let name = match breaker.episodes.len() {
        all if all > detail.steps => {
            let shown = detail.steps;
            format!("when the breaker was open, the first {shown} of {all} times")
        }
        _ => "when the breaker was open".to_owned(),
    };
    details(&name, &head, rows.collect())
}
