//! The recordings of a suite, each in a file of its own, so that a doubtful verdict can be read again.

use super::progress::Progress;
use crate::folder::{FileNames, Folder};
use crate::measure::trace::{Trace, jsonl};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Where they go.
#[derive(Debug, Default)]
pub(crate) struct Recordings {
    folder: Option<Arc<Folder>>,
    names: FileNames,
    failed: bool,
}

impl Recordings {
    /// Into files of this folder; `None`: nowhere.
    pub(crate) fn into(folder: Option<Arc<Folder>>) -> Self {
        Self {
            folder,
            ..Self::default()
        }
    }

    /// Whether one could not be written.
    pub(crate) const fn failed(&self) -> bool {
        self.failed
    }

    /// Writes that of a test, in place of an earlier one, and tells people where it is.
    pub(super) fn keep(&mut self, test: &str, trace: &Trace, progress: &dyn Progress) {
        let Some(folder) = self.folder.clone() else {
            return;
        };
        let name = self.names.give(test, "recording", "jsonl");
        match write(&folder, &name, trace) {
            Ok(path) => progress.say(&format!("recording written to {}", path.display())),
            Err(error) => {
                self.failed = true;
                let path = folder.at(&name);
                progress.say(&format!(
                    "the recording cannot be written to {}: {error}; change: make room in that folder and the right to write into it, \
                     or give another one with --record",
                    path.display()
                ));
            }
        }
    }
}

/// What is cut off by a full disk has no last line, and so is not taken for whole.
fn write(folder: &Folder, name: &str, trace: &Trace) -> io::Result<PathBuf> {
    let mut file = BufWriter::new(folder.anew(name)?);
    jsonl::write(&mut file, trace)?;
    file.flush()?;
    Ok(folder.at(name))
}
