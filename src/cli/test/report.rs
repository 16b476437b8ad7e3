//! The report of `brownout test`: where it goes, and all of its forms.

use super::super::say;
use super::Args;
use crate::folder::Folder;
use crate::report::csv::Csv;
use crate::report::html::Html;
use crate::report::junit::Junit;
use crate::report::markdown::Markdown;
use crate::report::{Form, Suite};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where it goes, or recordings do, if that is wanted: a folder that can be written into.
pub(super) fn folder(path: Option<&Path>) -> io::Result<Option<Arc<Folder>>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let folder = Folder::open(path)?;
    folder.check()?;
    Ok(Some(Arc::new(folder)))
}

/// The document of the suite and its forms, into one folder. What cannot be written keeps nothing else from it.
pub(super) fn write(folder: &Folder, suite: &Suite) -> io::Result<()> {
    let forms: [(&str, &dyn Form); 4] = [
        ("report.html", &Html),
        ("junit.xml", &Junit),
        ("report.md", &Markdown),
        ("report.csv", &Csv),
    ];
    let rendered = forms.into_iter().map(|(name, form)| {
        let text = form.render(suite).map_err(io::Error::other);
        (name, text.map(String::into_bytes))
    });
    let document = serde_json::to_vec_pretty(suite).map_err(io::Error::from);
    let all = std::iter::once(("report.json", document)).chain(rendered);
    let failed = all.filter_map(|(name, content)| {
        let written = content.and_then(|content| folder.write(name, content));
        written.err().map(|error| format!("{name}: {error}"))
    });
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        return Err(io::Error::other(failed.join("; ")));
    }
    let page = folder.at("report.html");
    say(&format!("report written to {}", page.display()));
    Ok(())
}

/// Why there is no report, or only a part of one.
pub(super) fn none(args: &Args, error: &io::Error) -> String {
    let folder = args.report.clone().unwrap_or_default();
    format!(
        "the report cannot be written into {}: {error}; change: make room in that folder and the right to write into it, or give \
         another one with --report",
        folder.display()
    )
}

/// Why there can be no recordings.
pub(super) fn no_recordings(args: &Args, error: &io::Error) -> String {
    let folder = args.record.clone().unwrap_or_default();
    format!(
        "recordings cannot be written into {}: {error}; change: make room in that folder and the right to write into it, or give \
         another one with --record",
        folder.display()
    )
}
