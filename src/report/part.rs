//! A run on the page: its pictures, each with its table, and what the recording says of the service.

use super::configuration::Configuration;
use super::figure::{self, plain};
use super::ledger::Group;
use super::scene::Scene;
use super::steps::{self, Detail, Steps};
use super::traffic::{Process, Traffic};
use super::{story, svg, tables};
use crate::insight::breaker::{Breaker, Opening};
use crate::insight::words::{self, Line};
use crate::insight::{Dependency, SECOND};
use crate::verify::document::Document;
use crate::verify::search::Capacity;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Subjects that have a section of their own.
const COMING_BACK: [&str; 2] = ["retries", "reconnects"];

/// All of it, or its verdict alone where the page would be too large.
pub(super) fn one(number: usize, run: &Document, detail: Detail) -> Markup {
    html! {
        section.run id=(format!("run{number}")) {
            h2 { (plain(&run.profile)) ": " (run.result) }
            @if !run.description.is_empty() { p { (first_paragraph(&run.description)) } }
            @if let Some(stopped) = &run.stopped { p { strong { "Stopped early: " } (plain(stopped)) } }
            @if detail.runs.has(run.result) {
                (pictures(number, run, detail))
            } @else {
                p { "Its pictures and tables would make this page larger than 1 MB; report.json has all of them, and a report of this part alone shows them." }
            }
        }
    }
}

/// A section of a run, with an id to link to.
fn section(number: usize, id: &str, name: &str, content: &Markup) -> Markup {
    html! { section id=(format!("run{number}-{id}")) { h3 { (name) } (content) } }
}

fn pictures(number: usize, run: &Document, detail: Detail) -> Markup {
    let scene = Scene::of(run);
    let of = |id, name, content: Markup| section(number, id, name, &content);
    let steps: Vec<(&Traffic, Steps)> = run
        .traffic
        .iter()
        .map(|traffic| (traffic, Steps::of(traffic, detail, &scene)))
        .collect();
    let spread = |t: &Traffic| t.seconds.iter().any(|s| !s.buckets.is_empty());
    html! {
        (of("events", "What happened", html! { (story::told(&scene)) (tables::events(&run.events, detail)) }))
        (of("timeline", "Timeline", html! {
            @let caveats: BTreeSet<String> = steps.iter().flat_map(|(_, s)| s.caveats()).collect();
            p.small { @for told in caveats { (told) " " } }
            @for (traffic, steps) in &steps { (timeline(traffic, steps, &scene)) }
        }))
        (of("percentiles", "Percentiles by phase", html! { @for traffic in &run.traffic { (spectrum(traffic, &scene)) } }))
        (of("latencies", "How latencies were spread", html! {
            @if !steps.iter().any(|(t, _)| spread(t)) { p { "Nothing was answered." } }
            @for (traffic, steps) in steps.iter().filter(|(t, _)| spread(t)) { (heat(traffic, steps, &scene)) }
        }))
        (of("wire", "What the wire tells of the service", wire(run, &scene, detail)))
        (of("retries", "Retries and reconnects", coming_back(run)))
        (of("unknown", "Unknown outcomes", html! { (unknown(run)) (ledger(run, detail)) }))
        @if let Some(found) = &run.capacity { (of("capacity", "Capacity", capacity(found))) }
        (of("resources", "Resources", html! {
            @if run.watched.is_empty() { p { "No process was watched." } }
            @for watched in &run.watched { (process(watched, &scene, detail)) }
        }))
        (of("operations", "By operation", html! { @for traffic in &run.traffic { (operations(traffic, detail)) } }))
        (of("configuration", "Configuration in force", configuration(run.configuration.as_ref())))
        (of("omitted", "What is not in these figures", html! {
            ul { @for line in &run.omitted { li { (plain(line)) } } @if run.omitted.is_empty() { li { "Nothing was left out." } } }
        }))
    }
}

fn timeline(traffic: &Traffic, steps: &Steps, scene: &Scene) -> Markup {
    let ended = traffic.seconds.iter().map(|s| s.ended);
    let ended = ended.fold(0, u64::saturating_add);
    let notes = steps.note().into_iter().chain(steps.too_short());
    html! {
        figure {
            figcaption { (traffic.proxy) " (" (traffic.protocol) "), n = " (ended) @for note in notes { "; " (note) } }
            (svg::timeline(traffic, steps, scene))
            (tables::timeline(steps))
        }
    }
}

fn heat(traffic: &Traffic, steps: &Steps, scene: &Scene) -> Markup {
    html! {
        figure {
            figcaption { (traffic.proxy) (aside(steps.note())) }
            (svg::heat(traffic, steps, scene))
            (tables::heat(steps))
        }
    }
}

fn process(process: &Process, scene: &Scene, detail: Detail) -> Markup {
    let (thinned, note) = steps::looks(process, detail);
    html! {
        figure {
            figcaption { (plain(&process.name)) (aside(note)) }
            (svg::process(&thinned, scene))
            (tables::process(&thinned))
        }
    }
}

/// Behind the name of a picture.
fn aside(note: Option<String>) -> String {
    note.map_or_else(String::new, |note| format!("; {note}"))
}

fn spectrum(traffic: &Traffic, scene: &Scene) -> Markup {
    let phases = svg::by_phase(traffic, scene);
    let some = |p: &svg::InPhase| !p.latencies.is_empty() || p.outstanding > 0;
    html! {
        @if phases.iter().any(some) {
            figure {
                figcaption { (traffic.proxy) }
                (svg::spectrum(traffic, &phases, scene))
                (tables::spectrum(&phases))
            }
        }
    }
}

fn operations(traffic: &Traffic, detail: Detail) -> Markup {
    let further = traffic.operations.len().saturating_sub(detail.rows);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("operations of {}", traffic.proxy)) {
            table.figures {
                caption { (traffic.proxy) @if further > 0 { "; " (further) " further rows, of what is less frequent, stand in report.json alone" } }
                thead { tr {
                    @for name in ["Operation", "Phase"] { th scope="col" { (name) } }
                    @for name in ["n", "Failed", "Touched", "Answered", "p50", "p95", "p99", "Max"] { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for o in traffic.operations.iter().take(detail.rows) {
                        tr {
                            th scope="row" { (plain(&o.operation)) }
                            td { (plain(&o.phase)) } td { (o.ended) }
                            td { (o.failed) " (" (figure::percent(o.failed, o.ended)) ")" } td { (o.injected) } td { (o.answered) }
                            td { (figure::some(o.p50_us)) }
                            td { (figure::some(o.p95_us.filter(|_| figure::bounded(0.95, o.answered)))) }
                            td { (figure::some(o.p99_us.filter(|_| figure::bounded(0.99, o.answered)))) }
                            td { (figure::some(o.max_us)) }
                        }
                    }
                }
            }
        }
    }
}

fn wire(run: &Document, scene: &Scene, detail: Detail) -> Markup {
    let elsewhere = |line: &Line| COMING_BACK.contains(&line.subject.as_str());
    html! {
        @if run.insights.dependencies.is_empty() { p { (NO_DEPENDENCY) } }
        @for dependency in &run.insights.dependencies {
            article {
                @for breaker in dependency.breakers.iter().filter(|b| opened(b)) {
                    figure {
                        figcaption { (of_whom(breaker)) }
                        (svg::breaker(breaker, scene))
                        (tables::breaker(breaker, detail))
                    }
                }
                (said(dependency, |line| !elsewhere(line)))
            }
        }
    }
}

const NO_DEPENDENCY: &str =
    "No proxy is before a dependency of the service, so nothing can be told of one.";

const fn opened(breaker: &Breaker) -> bool {
    matches!(breaker.opening.answer, Ok(Opening::Opened { .. }))
}

fn of_whom(breaker: &Breaker) -> String {
    let process = breaker.process;
    let process = process.map_or(String::new(), |pid| format!(", in process {pid}"));
    let dependency = plain(&breaker.dependency);
    format!("The breaker before {dependency}{process}: when it was open, half open and closed")
}

/// How the service asked again and came back, as far as a fault made it.
fn coming_back(run: &Document) -> Markup {
    let touched = run.insights.dependencies.iter();
    let touched: Vec<_> = touched.filter(|d| d.affected.is_some()).collect();
    html! {
        @if run.insights.dependencies.is_empty() {
            p { (NO_DEPENDENCY) }
        } @else if touched.is_empty() {
            p { "No fault touched a dependency, so nothing had to be asked for again." }
        }
        @for dependency in touched {
            article { (said(dependency, |line| COMING_BACK.contains(&line.subject.as_str()))) }
        }
    }
}

/// What is known of a dependency, and what would have to be otherwise where nothing is.
fn said(dependency: &Dependency, which: impl Fn(&Line) -> bool) -> Markup {
    let (proxy, protocol) = (plain(&dependency.proxy), dependency.protocol.name());
    let lines = words::of(dependency).into_iter().filter(which).collect();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("what is known of {proxy}")) {
            table.said {
                caption { (proxy) " (" (protocol) ")" }
                thead { tr { th scope="col" { "Subject" } th scope="col" { "What is known" } th.number scope="col" { "n" } } }
                tbody {
                    @for line in words::together(lines) {
                        tr.nested[line.nested].open[line.remedy.is_some()] {
                            th scope="row" { (plain(&line.subject)) }
                            td {
                                @if line.remedy.is_some() { "not known: " }
                                (plain(&line.said))
                                @if let Some(remedy) = &line.remedy { "; needed: " (plain(remedy)) }
                            }
                            td.number { (line.samples.map_or("-".into(), |n| n.to_string())) }
                        }
                    }
                }
            }
        }
    }
}

/// The steps of a search, with what ended it.
fn capacity(found: &Capacity) -> Markup {
    let second = |ns: u64| format!("{:.1}", ns as f64 / SECOND as f64);
    let rate = |factor: f64| {
        format!(
            "{factor:.2} times the declared load ({:.1}/s)",
            factor * found.declared
        )
    };
    html! {
        p {
            @match found.kept {
                Some(kept) => { "Every limit was kept at " (rate(kept)) "; " }
                None => { "No rate that was tried kept every limit; " }
            }
            @match found.broken {
                Some(broken) => { "at " (rate(broken)) " one was not; " }
                None => { "none was found at which one was not; " }
            }
            (found.ended.words()) "."
        }
        table.cards {
            thead { tr {
                th scope="col" { "Rate" }
                @for name in ["From s", "To s", "Answered", "p95", "Errors"] { th.number scope="col" { (name) } }
                @for name in ["Limits", "Why"] { th scope="col" { (name) } }
            } }
            tbody {
                @for step in &found.steps {
                    tr {
                        th scope="row" { (step.named()) }
                        td.number data-is="From s" { (second(step.from)) }
                        td.number data-is="To s" { (second(step.to)) }
                        td.number data-is="Answered" { (format!("{:.1}/s", step.achieved)) }
                        td.number data-is="p95" { (format!("{:.1} ms", step.p95_ms)) }
                        td.number data-is="Errors" { (format!("{:.1} %", step.error_rate * 100.0)) }
                        td data-is="Limits" { (step.held.words()) }
                        td data-is="Why" { @let why = step.why(); (if why.is_empty() { "-".into() } else { plain(&why) }) }
                    }
                }
            }
        }
    }
}

fn unknown(run: &Document) -> Markup {
    let known: Vec<_> = run
        .insights
        .dependencies
        .iter()
        .filter_map(|d| d.duplicates.value().map(|found| (d, found)))
        .collect();
    html! {
        @if known.is_empty() && run.ledger.is_none() { p { "No reply to a change was lost." } }
        @for (dependency, found) in known {
            p {
                (dependency.proxy) ": of " (found.untold) " changes that the server made and the client was not told of, "
                (found.repeated) " were asked for again, and " (found.done_twice) " were done twice."
            }
        }
    }
}

/// What faults did to exchanges, first where the client does not know what the server did.
fn ledger(run: &Document, detail: Detail) -> Markup {
    let Some(of) = &run.ledger else {
        return html! {};
    };
    if of.recorded == 0 && of.groups.is_empty() {
        return html! { p { "No fault touched an exchange." } };
    }
    let (unknown, known): (Vec<&Group>, Vec<&Group>) =
        of.groups.iter().partition(|group| group.is_unknown());
    let open = of.groups.iter().filter(|group| !group.is_settled());
    let open = open.map(|group| group.count).sum::<u64>() + of.dropped + of.rare;
    html! {
        @if unknown.is_empty() && open == 0 {
            p { "Of the exchanges that faults touched, none left its client without knowing what the server had done." }
        } @else if unknown.is_empty() {
            p { "Of " (open) " exchanges that faults touched it is not known what the server had, or what its client was told; none of the others left its client without knowing." }
        } @else {
            p { "The server has these requests, and its client was not told what came of them." }
            (tables::ledger("unknown outcomes", &unknown, detail))
        }
        @if !known.is_empty() {
            details {
                summary { "What else faults touched (" (known.iter().map(|g| g.count).sum::<u64>()) ")" }
                (tables::ledger("what else faults touched", &known, detail))
            }
        }
    }
}

fn configuration(of: Option<&Configuration>) -> Markup {
    let Some(of) = of else {
        return html! { p { "The document does not say." } };
    };
    html! {
        p { (of.workers) " workers." }
        table.cards {
            thead { tr {
                @for name in ["Proxy", "Protocol", "Listened on", "Upstream", "Version, as it said", "Limits on latency"] { th scope="col" { (name) } }
                @for name in ["Pool", "Connects within"] { th.number scope="col" { (name) } }
            } }
            tbody {
                @for proxy in &of.proxies {
                    @let limits: Vec<String> = proxy.limits().iter().map(|l| plain(&l.words())).collect();
                    tr {
                        th scope="row" { (plain(&proxy.name)) }
                        td data-is="Protocol" { (plain(&proxy.protocol)) }
                        td data-is="Listened on" { (plain(&proxy.listen)) }
                        td data-is="Upstream" { (plain(&proxy.upstream)) }
                        td data-is="Version" { (proxy.server.as_deref().map_or("-".into(), plain)) }
                        td data-is="Limits" { (if limits.is_empty() { "none".to_owned() } else { limits.join("; ") }) }
                        td.number data-is="Pool" { (proxy.pool.map_or("-".into(), |n| n.to_string())) }
                        td.number data-is="Connects within" { (proxy.connect_timeout_ms) " ms" }
                    }
                }
            }
        }
    }
}

/// On one line, as a browser would break it anyway.
fn first_paragraph(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    plain(&first.split_whitespace().collect::<Vec<_>>().join(" "))
}
