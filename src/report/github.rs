//! Annotations of GitHub Actions (workflow commands): each failure at its line of the profile.

use super::{Form, FormError, Suite};
use crate::verify::expect::Place;
use crate::verify::suite::is_built_in;
use crate::verify::verdict::Standing;
use std::fmt::Write;

/// `::error file=...,line=...::...`, one a line for what did not pass, and a notice with the result.
#[derive(Debug)]
pub(crate) struct Github;

impl Form for Github {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

fn whole(suite: &Suite) -> String {
    let mut text = String::new();
    for (run, row) in suite.rows() {
        let Some(why) = row.why() else { continue };
        let level = level(row.standing());
        let title = format!("{}: {} ({})", row.component, row.target, row.measured);
        let (place, of) = row.place.as_ref().map_or_else(Default::default, at);
        let why = match row.standing() {
            Standing::Open => format!("inconclusive: {}", why.whole()),
            _ => why.whole(),
        };
        let _ = writeln!(
            text,
            "::{level} {place}title={}::{}: {}",
            property(&title),
            data(&format!("{}{of}", run.profile)),
            data(&why)
        );
    }
    for part in suite.unfinished() {
        let _ = writeln!(
            text,
            "::{} title={}::{}",
            level(part.standing),
            property(part.profile),
            data(&format!("{}: {}", part.what, part.why))
        );
    }
    // A step that shows nothing looks like one that did nothing.
    let notices = std::iter::once((suite.result.word(), suite.sentence()));
    let commands = suite.commands().into_iter();
    for (title, said) in notices.chain(commands.map(|c| ("How to run it again", c))) {
        let _ = writeln!(text, "::notice title={}::{}", property(title), data(&said));
    }
    text
}

const fn level(standing: Standing) -> &'static str {
    match standing {
        Standing::Failed | Standing::Broken => "error",
        _ => "warning",
    }
}

/// The properties for a place, and the words for one that is no file of the repository.
fn at(place: &Place) -> (String, String) {
    let Place { file, line, column } = place;
    if is_built_in(file) {
        return (String::new(), format!(" ({file}, line {line})"));
    }
    let file = property(file);
    (
        format!("file={file},line={line},col={column},"),
        String::new(),
    )
}

fn data(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
