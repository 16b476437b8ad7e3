//! What happened, in a few lines: what one has to know before the pictures.

use super::scene::{Mark, Marked, Scene};
use crate::insight::SECOND;
use maud::{Markup, html};

/// Lines at most.
const MOST: usize = 12;

/// The most important, in the order of time; the others are counted.
pub(super) fn told(scene: &Scene) -> Markup {
    let mut marks = together(&scene.marks);
    marks.sort_by_key(|mark| (weight(mark.what), mark.at));
    let further = marks.len().saturating_sub(MOST);
    marks.truncate(MOST);
    marks.sort_by_key(|mark| mark.at);
    html! {
        @if marks.is_empty() { p { "No fault was on, and no connection came to grief." } }
        ol.story {
            @for mark in &marks {
                @let (class, sign, _) = mark.what.key();
                li {
                    span.when { (format!("{:.2} s", mark.at as f64 / SECOND as f64)) } " "
                    span class=(format!("is-{class}")) aria-hidden="true" { (sign) } " "
                    (mark.what.words()) ": " (mark.subject) @if mark.count > 1 { " (" (mark.count) " times)" }
                }
            }
        }
        @if further > 0 { p.small { (further) " further events stand in the table." } }
    }
}

/// Events of one kind and subject at their first time, with how often: a connection that is reset each second is one line.
fn together(marks: &[Mark]) -> Vec<Mark> {
    let mut all: Vec<Mark> = Vec::new();
    for mark in marks {
        let same = |m: &&mut Mark| m.what == mark.what && m.subject == mark.subject;
        match all.iter_mut().find(same) {
            Some(first) if matches!(mark.what, Marked::Other(_)) => first.count += mark.count,
            _ => all.push(mark.clone()),
        }
    }
    all
}

/// The heaviest first: what stopped the run, the faults, breakers, then the rest.
const fn weight(what: Marked) -> u8 {
    match what {
        Marked::Stopped => 0,
        Marked::FaultOn | Marked::FaultOff => 1,
        Marked::Opened | Marked::Closed => 2,
        Marked::Other(_) => 3,
    }
}
