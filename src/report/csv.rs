//! For spreadsheets (RFC 4180): one row an expectation.

use super::figure::plain;
use super::{Form, FormError, Suite};
use crate::verify::verdict::Verdict;

const HEAD: &str =
    "profile,component,phases,target,measured,samples,severity,verdict,why,field,again";

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
        let why = match &row.verdict {
            Verdict::Pass => "",
            Verdict::Fail { why } | Verdict::Error { why } => why,
            Verdict::Inconclusive { reason, .. } => reason,
        };
        let severity = format!("{:?}", row.severity).to_lowercase();
        let cells = [
            run.profile.as_str(),
            &row.component,
            &row.phases.join(" "),
            &row.target,
            &row.measured,
            &row.samples.to_string(),
            &severity,
            row.verdict.word(),
            why,
            &row.field,
            &run.command(),
        ];
        let cells: Vec<String> = cells.into_iter().map(cell).collect();
        text += &cells.join(",");
        text += "\r\n";
    }
    text
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
