//! The files of measured delays that a profile names.

use crate::config::locate::Document;
use crate::fault::FaultSpec;
use crate::fault::recorded::{MAX_FILE, Recorded};
use crate::fault::spec::{Delay, DelayTable};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Reads what `delay` and `service` of a fault name, below the profile's folder. What cannot be read is reported.
pub(super) fn read_files(
    spec: &mut FaultSpec,
    path: &str,
    folder: Option<&Path>,
    document: &mut Document<'_>,
) {
    let Some(folder) = folder else { return };
    for (field, delay) in [("delay", &mut spec.delay), ("service", &mut spec.service)] {
        if let Some(Delay::Drawn(table)) = delay
            && let Err((message, remedy)) = read(table, folder)
        {
            document.report(&format!("{path}.{field}.file"), &message, remedy);
        }
    }
}

fn read(table: &mut DelayTable, folder: &Path) -> Result<(), (String, &'static str)> {
    let Some(name) = &table.file else {
        return Ok(());
    };
    let path = folder.join(name);
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = content(&path).map_err(|e| {
        let remedy = "name a file of at most 64 MiB, relative to the folder of the profile";
        (named(&e), remedy)
    })?;
    let recorded = Recorded::read(&text, table.tag.as_deref()).map_err(|e| {
        let remedy = "name an HdrHistogram log, as `brownout run --hlog DIR` writes it, and a tag that is in it";
        (named(&e), remedy)
    })?;
    table.recorded = Some(Arc::new(recorded));
    Ok(())
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large"));
    }
    Ok(text)
}
