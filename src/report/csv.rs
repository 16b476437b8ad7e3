//! For spreadsheets (RFC 4180): one row an expectation, and one a part that did not come to its end.

use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::document::Document;
use crate::verify::verdict::{Counts, Standing};

const HEAD: &str = "profile,component,phases,target,measured,samples,severity,verdict,counts,why,remedy,field,again";
const COLUMNS: usize = 13;

/// Comma-separated, lines end with CR LF.
#[derive(Debug)]
pub(crate) struct Csv;

impl Form for Csv {
    fn render(&self, suite: &Suite) -> Result<String, FormError> {
        Ok(whole(suite))
    }
}

fn whole(suite: &Suite) -> String {
    let mut text = format!("{HEAD}\r\n");
    for (run, row) in suite.rows() {
        let severity = format!("{:?}", row.severity).to_lowercase();
        let (why, remedy) = match row.why() {
            Some(why) => (why.said, why.remedy.unwrap_or_default()),
            None => Default::default(),
        };
        text += &line(&[
            run.profile.as_str(),
            &row.component,
            &row.phases.join(" "),
            &row.target,
            &row.measured,
            &row.samples.to_string(),
            &severity,
            row.verdict.word(),
            row.counts().word(),
            &why,
            &remedy,
            &row.field,
            &run.command(),
        ]);
    }
    for part in suite.unfinished() {
        let counts = match part.standing {
            Standing::Broken => Counts::Broken,
            _ => Counts::Failed,
        };
        let why = format!("{}: {}", part.what, part.why);
        let run = suite.runs.iter().find(|run| run.profile == part.profile);
        let again = run.map(Document::command).unwrap_or_default();
        text += &line(&[
            part.profile,
            "the run",
            "",
            "",
            "",
            "",
            "limit",
            counts.word(),
            counts.word(),
            &why,
            "",
            "",
            &again,
        ]);
    }
    text
}

fn line(cells: &[&str; COLUMNS]) -> String {
    let cells: Vec<String> = cells.iter().copied().map(cell).collect();
    cells.join(",") + "\r\n"
}

/// Quoted where it has to be; what a spreadsheet would compute is text.
fn cell(text: &str) -> String {
    let text = plain(text);
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text != "-";
    let text = if formula { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
