//! One page without anything from elsewhere: readable without scripts, in the dark, on paper and aloud.

use super::figure::plain;
use super::steps::Detail;
use super::{Form, FormError, Suite, advice, margin, part};
use crate::verify::document::Row;
use crate::verify::verdict::Verdict;
use crate::verify::written::Severity;
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
                    @for (n, run) in suite.runs.iter().enumerate() { (part::one(n, run, detail)) }
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
            table.cards {
                thead { tr {
                    @for name in ["Verdict", "Component", "Target", "Measured", "Margin"] { th scope="col" { (name) } }
                    th.number scope="col" { "Samples" } th scope="col" { "Phase" }
                } }
                @for run in &suite.runs {
                    tbody {
                        tr.part { th scope="rowgroup" colspan="7" { (plain(&run.profile)) } }
                        @for row in &run.expectations { (of_matrix(row)) }
                    }
                }
            }
        }
    }
}

/// On a small screen a row is a card, so that nothing of it lies outside: each cell says what it is.
fn of_matrix(row: &Row) -> Markup {
    let phases = match row.phases.as_slice() {
        [] => "all".to_owned(),
        some => plain(&some.join(", ")),
    };
    html! {
        tr {
            td { (badge(row)) }
            th scope="row" { (plain(&row.component)) }
            td data-is="Target" { (plain(&row.target)) }
            td data-is="Measured" { (plain(&row.measured)) }
            td data-is="Margin" { (margin::of(row).as_deref().unwrap_or("-")) }
            td.number data-is="Samples" { (row.samples) }
            td data-is="Phase" { (phases) }
        }
    }
}

fn reasons(suite: &Suite) -> Markup {
    let mut open: Vec<_> = suite
        .rows()
        .filter(|(_, row)| row.verdict != Verdict::Pass)
        .collect();
    // What fails is to be changed first; what is only not known, or a warning, can wait.
    open.sort_by_key(|(_, row)| weight(row));
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
                    @if let (Verdict::Fail { .. }, Some(advice)) = (&row.verdict, advice::of(run, row)) {
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

/// The heaviest first.
const fn weight(row: &Row) -> u8 {
    match (&row.verdict, row.severity) {
        (Verdict::Fail { .. }, Severity::Limit) => 0,
        (Verdict::Error { .. }, _) => 1,
        (Verdict::Fail { .. }, Severity::Alert) => 2,
        (Verdict::Inconclusive { .. }, _) => 3,
        (Verdict::Pass, _) => 4,
    }
}

fn again(suite: &Suite) -> Markup {
    html! {
        section #again {
            h2 { "How to run it again" }
            p { (suite.of_commands()) }
            pre tabindex="0" { @for command in suite.commands() { (plain(&command)) "\n" } }
            @if suite.again.is_some() && suite.runs.len() > 1 && suite.runs.iter().all(|run| run.again.is_some()) {
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
