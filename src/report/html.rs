//! One page without anything from elsewhere: readable without scripts, in the dark, on paper and aloud.

use super::figure::plain;
use super::steps::Detail;
use super::{Form, FormError, Suite, advice, margin, part};
use crate::verify::document::{Document, Row, Why};
use crate::verify::verdict::{Standing, Verdict};
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
    let class = match row.standing() {
        Standing::Passed | Standing::Quiet => "pass",
        Standing::Failed | Standing::Raised | Standing::Broken => "fail",
        Standing::Open => "inconclusive",
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
    let with_why = |(run, row)| Row::why(row).map(|why| (run, row, why));
    let mut open: Vec<(&Document, &Row, Why)> = suite.rows().filter_map(with_why).collect();
    // What fails is to be changed first; what is only not known, or a warning, can wait.
    open.sort_by_key(|(_, row, _)| std::cmp::Reverse(weight(row)));
    let mut unfinished = suite.unfinished().peekable();
    let all = open.is_empty() && unfinished.peek().is_none();
    html! {
        section #reasons {
            h2 { "What did not pass, and why" }
            @if all { p { (if suite.rows().next().is_some() { "Everything passed." } else { "Nothing was judged." }) } }
            @for (run, row, why) in open {
                article {
                    h3 { (badge(row)) " " (plain(&row.component)) ": " (plain(&row.target)) }
                    p { (sentence(&why.said)) }
                    @if let Some(remedy) = &why.remedy { p { strong { "To judge it: " } (plain(remedy)) "." } }
                    @if let (Verdict::Fail { .. }, Some(advice)) = (&row.verdict, advice::of(run, row)) {
                        p { strong { "In the service: " } (advice) }
                    }
                    p.small { (plain(&run.profile)) ", " code { (row.field) } ", n = " (row.samples) @for note in &row.evidence.notes { "; " (plain(note)) } }
                }
            }
            @for part in unfinished {
                article { h3 { span.badge.fail { (part.standing.word()) } " " (plain(part.profile)) ": " (part.what) } p { (plain(part.why)) } }
            }
        }
    }
}

/// What fails weighs most, then what broke: of that it is not known.
fn weight(row: &Row) -> (bool, Standing) {
    let standing = row.standing();
    (standing == Standing::Failed, standing)
}

fn again(suite: &Suite) -> Markup {
    html! {
        section #again {
            h2 { "How to run it again" }
            p { (suite.of_commands()) }
            pre tabindex="0" { @for command in suite.commands() { (plain(&command)) "\n" } }
            @let parts = suite.commands_of_parts();
            @if !parts.is_empty() {
                p { "One part alone:" }
                pre tabindex="0" { @for command in parts { (plain(&command)) "\n" } }
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
