//! One page without anything from elsewhere: readable without scripts, in the dark, on paper and aloud.

use super::configuration::Configuration;
use super::figure::{self, plain};
use super::ledger::{Group, Ledger};
use super::steps::{self, Detail, Steps};
use super::traffic::{Process, Traffic};
use super::{Form, FormError, Suite, svg, tables};
use crate::insight::Dependency;
use crate::insight::breaker::Opening;
use crate::insight::view::Span;
use crate::insight::words;
use crate::verify::document::{Document, Row};
use crate::verify::verdict::Verdict;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Bytes that a page may have before it shows less detail.
const MOST: usize = 950_000;

const STYLE: &str = include_str!("page.css");

/// The page.
#[derive(Debug)]
pub(crate) struct Html;

impl Form for Html {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

/// In all detail, or in as much as fits.
fn whole(suite: &Suite) -> String {
    let mut page = String::new();
    for detail in Detail::ALL {
        page = with(suite, detail);
        if page.len() <= MOST {
            break;
        }
    }
    page
}

fn with(suite: &Suite, detail: Detail) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "brownout: " (suite.result) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(suite))
                main {
                    (matrix(suite))
                    (reasons(suite))
                    @for (n, run) in suite.runs.iter().enumerate() { (one(n, run, detail)) }
                    (again(suite))
                }
            }
        }
    };
    // No name steers anything: what is no text is not in the page.
    let page = page.into_string();
    page.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect()
}

fn head(suite: &Suite) -> Markup {
    html! {
        header class=(suite.result) {
            h1 { (suite.sentence()) }
            p { (suite.program) " on " (suite.machine) "." }
        }
    }
}

fn badge(row: &Row) -> Markup {
    let class = match &row.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail { .. } | Verdict::Error { .. } => "fail",
        Verdict::Inconclusive { .. } => "inconclusive",
    };
    html! { span class=(format!("badge {class}")) { (row.word()) } }
}

fn matrix(suite: &Suite) -> Markup {
    html! {
        section #matrix {
            h2 { "What was expected, and what was measured" }
            div.scroll tabindex="0" role="region" aria-label="matrix of expectations" {
                table {
                    thead { tr {
                        @for name in ["Verdict", "Component", "Target", "Measured"] { th scope="col" { (name) } }
                        th.number scope="col" { "Samples" } th scope="col" { "Phase" }
                    } }
                    @for run in &suite.runs {
                        tbody {
                            tr.part { th scope="rowgroup" colspan="6" { (plain(&run.profile)) } }
                            @for row in &run.expectations {
                                tr {
                                    td { (badge(row)) }
                                    th scope="row" { (plain(&row.component)) }
                                    td { (plain(&row.target)) }
                                    td { (plain(&row.measured)) }
                                    td.number { (row.samples) }
                                    td { (if row.phases.is_empty() { "all".to_owned() } else { row.phases.join(", ") }) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn reasons(suite: &Suite) -> Markup {
    let open: Vec<_> = suite
        .rows()
        .filter(|(_, row)| row.verdict != Verdict::Pass)
        .collect();
    html! {
        section #reasons {
            h2 { "What did not pass, and why" }
            @if open.is_empty() && suite.errors.is_empty() { p { "Everything passed." } }
            @for (run, row) in open {
                article {
                    h3 { (badge(row)) " " (plain(&row.component)) ": " (plain(&row.target)) }
                    @match &row.verdict {
                        Verdict::Pass => {}
                        Verdict::Fail { why } | Verdict::Error { why } => { p { (sentence(why)) } }
                        Verdict::Inconclusive { reason, remedy } => {
                            p { (sentence(reason)) }
                            p { strong { "To judge it: " } (plain(remedy)) "." }
                        }
                    }
                    @if let (Verdict::Fail { .. }, Some(advice)) = (&row.verdict, advice(&row.field)) {
                        p { strong { "In the service: " } (advice) }
                    }
                    p.small { (plain(&run.profile)) ", " code { (row.field) } ", n = " (row.samples) @for note in &row.evidence.notes { "; " (plain(note)) } }
                }
            }
            @for broken in &suite.errors {
                article { h3 { span.badge.fail { "error" } " " (plain(&broken.profile)) } p { (plain(&broken.why)) } }
            }
        }
    }
}

/// What usually mends it.
fn advice(field: &str) -> Option<&'static str> {
    let key = field.rsplit('.').next().unwrap_or_default();
    Some(match key {
        "opens_after" | "closes" => {
            "put a circuit breaker around calls to this dependency that opens after so many failures in a row and lets one call through after a while."
        }
        "fails_fast_within" => {
            "while the breaker is open, answer before any connection, pool or lock is asked for."
        }
        "detects_within" | "timeout_within" => {
            "set a limit on connecting and on each reply of this client, well below what a caller waits."
        }
        "recovers_within" | "fully_functional" => {
            "try again by itself: connections that broke have to leave the pool, and whatever gave the dependency up has to look for it again."
        }
        "degrades" => {
            "answer without the dependency, from a fallback or with a clear 503, instead of letting its error through."
        }
        "cleans_up" => {
            "close what timed out and roll back what failed, on every way out (context managers, finally)."
        }
        "contained" => {
            "keep pools, threads and health checks of this dependency apart from the rest."
        }
        "retries_at_most" | "amplification_at_most" => {
            "retry a few times at most, with growing and jittered pauses, on one level only."
        }
        "no_duplicates" | "transactions_intact" => {
            "do not repeat what may have been done: give each change a key of its own that the database keeps unique."
        }
        "memory_growth_at_most" => "look for what each request leaves behind.",
        "pool_utilisation_at_most" => {
            "make the pool larger, or hold connections for a shorter time."
        }
        _ => return None,
    })
}

fn phases(run: &Document) -> Vec<(String, Span)> {
    let spans = run.phases.iter();
    spans
        .map(|p| {
            (
                p.name.clone(),
                Span {
                    from: p.from,
                    to: p.to,
                },
            )
        })
        .collect()
}

fn one(number: usize, run: &Document, detail: Detail) -> Markup {
    html! {
        section.run id=(format!("run{number}")) {
            h2 { (plain(&run.profile)) ": " (run.result) }
            @if !run.description.is_empty() { p { (first_paragraph(&run.description)) } }
            @if let Some(stopped) = &run.stopped { p { strong { "Stopped early: " } (plain(stopped)) } }
            @if detail.runs.has(&run.result) {
                (pictures(run, detail))
            } @else {
                p { "Its pictures and tables would make this page larger than 1 MB; report.json has all of them, and a report of this part alone shows them." }
            }
        }
    }
}

fn pictures(run: &Document, detail: Detail) -> Markup {
    let steps: Vec<(&Traffic, Steps)> = run
        .traffic
        .iter()
        .map(|traffic| (traffic, Steps::of(traffic, detail)))
        .collect();
    let phases = phases(run);
    let felt = |proxy: &str| {
        let found = run.insights.dependencies.iter().find(|d| d.proxy == proxy);
        found.and_then(|d| d.affected)
    };
    let any = run.insights.dependencies.iter().find_map(|d| d.affected);
    html! {
        h3 { "Timeline" }
        @for (traffic, steps) in &steps { (timeline(traffic, steps, &phases, felt(&traffic.proxy).or(any))) }
        (tables::events(&run.events, detail))
        h3 { "Percentiles by phase" }
        @for traffic in &run.traffic { (spectrum(traffic)) }
        h3 { "How latencies were spread" }
        @for (traffic, steps) in &steps {
            @if traffic.seconds.iter().any(|s| !s.buckets.is_empty()) {
                (heat(traffic, steps, felt(&traffic.proxy).or(any)))
            }
        }
        h3 { "What the wire tells of the service" }
        @for dependency in &run.insights.dependencies { (dependency_card(dependency, run.insights.length, detail)) }
        h3 { "Unknown outcomes" }
        (unknown(run))
        (ledger(run.ledger.as_ref(), detail))
        h3 { "Resources" }
        @if run.watched.is_empty() { p { "No process was watched." } }
        @for watched in &run.watched { (process(watched, run.insights.length, detail)) }
        h3 { "By operation" }
        @for traffic in &run.traffic { (operations(traffic, detail)) }
        h3 { "Configuration in force" }
        (configuration(run.configuration.as_ref()))
        h3 { "What is not in these figures" }
        ul { @for line in &run.omitted { li { (plain(line)) } } @if run.omitted.is_empty() { li { "Nothing was left out." } } }
    }
}

fn timeline(
    traffic: &Traffic,
    steps: &Steps,
    phases: &[(String, Span)],
    felt: Option<Span>,
) -> Markup {
    html! {
        figure {
            figcaption { (traffic.proxy) " (" (traffic.protocol) "), n = " (traffic.seconds.iter().map(|s| s.ended).sum::<u64>()) (aside(steps.note())) }
            (svg::timeline(traffic, steps, phases, felt))
            (tables::timeline(steps))
        }
    }
}

fn heat(traffic: &Traffic, steps: &Steps, felt: Option<Span>) -> Markup {
    html! {
        figure {
            figcaption { (traffic.proxy) (aside(steps.note())) }
            (svg::heat(traffic, steps, felt))
            (tables::heat(steps))
        }
    }
}

fn process(process: &Process, length: u64, detail: Detail) -> Markup {
    let (thinned, note) = steps::looks(process, detail);
    html! {
        figure {
            figcaption { (plain(&process.name)) (aside(note)) }
            (svg::process(&thinned, length))
            (tables::process(&thinned))
        }
    }
}

/// Behind the name of a picture.
fn aside(note: Option<String>) -> String {
    note.map_or_else(String::new, |note| format!("; {note}"))
}

fn spectrum(traffic: &Traffic) -> Markup {
    let phases = svg::by_phase(&traffic.operations);
    html! {
        @if !phases.is_empty() {
            figure { figcaption { (traffic.proxy) } (svg::spectrum(&phases)) (tables::spectrum(&phases)) }
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
                    @for name in ["n", "Failed", "Touched", "p50", "p95", "p99", "Max"] { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for o in traffic.operations.iter().take(detail.rows) {
                        tr {
                            th scope="row" { (plain(&o.operation)) }
                            td { (plain(&o.phase)) } td { (o.ended) }
                            td { (o.failed) " (" (figure::percent(o.failed, o.ended)) ")" } td { (o.injected) }
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

fn dependency_card(dependency: &Dependency, length: u64, detail: Detail) -> Markup {
    let opened = |b: &&crate::insight::breaker::Breaker| {
        matches!(b.opening.answer, Ok(Opening::Opened { .. }))
    };
    html! {
        article {
            @for breaker in dependency.breakers.iter().filter(opened) {
                (svg::breaker(breaker, length, dependency.affected))
                (tables::breaker(breaker, detail))
            }
            (said(dependency))
        }
    }
}

/// What is known of a dependency, and what would have to be otherwise where nothing is.
fn said(dependency: &Dependency) -> Markup {
    let (proxy, protocol) = (plain(&dependency.proxy), dependency.protocol.name());
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("what is known of {proxy}")) {
            table.said {
                caption { (proxy) " (" (protocol) ")" }
                thead { tr { th scope="col" { "Subject" } th scope="col" { "What is known" } th.number scope="col" { "n" } } }
                tbody {
                    @for line in words::together(words::of(dependency)) {
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
fn ledger(of: Option<&Ledger>, detail: Detail) -> Markup {
    let Some(of) = of else { return html! {} };
    let (unknown, known): (Vec<&Group>, Vec<&Group>) =
        of.groups.iter().partition(|group| group.is_unknown());
    html! {
        @if unknown.is_empty() {
            p { "Of the exchanges that faults touched, none left its client without knowing what the server had done." }
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
        div.scroll tabindex="0" role="region" aria-label="proxies" {
            table {
                thead { tr {
                    @for name in ["Proxy", "Protocol", "Listened on", "Upstream", "Version, as it said"] { th scope="col" { (name) } }
                    @for name in ["Pool", "Connects within"] { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for proxy in &of.proxies {
                        tr {
                            th scope="row" { (plain(&proxy.name)) }
                            td { (plain(&proxy.protocol)) } td { (plain(&proxy.listen)) } td { (plain(&proxy.upstream)) }
                            td { (proxy.server.as_deref().map_or("-".into(), plain)) }
                            td.number { (proxy.pool.map_or("-".into(), |n| n.to_string())) }
                            td.number { (proxy.connect_timeout_ms) " ms" }
                        }
                    }
                }
            }
        }
    }
}

fn again(suite: &Suite) -> Markup {
    html! {
        section #again {
            h2 { "How to run it again" }
            p { (suite.of_commands()) }
            pre tabindex="0" { @for command in suite.commands() { (plain(&command)) "\n" } }
            @if suite.again.is_some() && suite.runs.len() > 1 && suite.runs.iter().all(|run| run.again.is_some() && run.again != suite.again) {
                p { "One part alone:" }
                pre tabindex="0" { @for run in &suite.runs { (plain(&run.command())) "\n" } }
            }
        }
    }
}

/// Words as a sentence.
fn sentence(words: &str) -> String {
    let words = plain(words);
    let mut rest = words.chars();
    let first = rest.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(rest).collect();
    sentence.push('.');
    sentence
}

/// On one line, as a browser would break it anyway.
fn first_paragraph(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    plain(&first.split_whitespace().collect::<Vec<_>>().join(" "))
}
