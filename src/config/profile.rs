//! A profile: a named file of faults.

use super::ProxyConfig;
use super::locate::{Document, Step};
use super::problem::Problems;
use super::read;
use crate::fault::{Fault, FaultSpec};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

mod against;
mod recorded;

/// The most faults of one profile.
const MAX_FAULTS: usize = 256;

/// A valid profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name: the file's, without `.toml`; in a [`Library`](super::Library) with the folders above it (`redis/slow`).
    pub name: String,
    /// What it is for: its `description`, or the comment at its top. May be empty.
    pub description: String,
    /// Seed of its faults that have none of their own.
    pub seed: Option<u64>,
    /// The faults, in the order of the file.
    pub faults: Vec<Fault>,
    /// Sections that are there for `brownout test` only.
    pub ignored: Vec<&'static str>,
    /// The file, as problems name it.
    pub origin: String,
    /// The file's text.
    pub source: Arc<str>,
}

/// Sections that belong to `brownout test`; nothing else reads them.
const TEST_SECTIONS: [&str; 7] = [
    "service", "proxy", "load", "phase", "expect", "guard", "watch",
];

/// What may stand at the top of a profile. Faults are read one by one, so that a broken one hides no other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Head {
    description: Option<String>,
    seed: Option<u64>,
    #[serde(rename = "fault")]
    _fault: Option<IgnoredAny>,
    #[serde(rename = "service")]
    _service: Option<IgnoredAny>,
    #[serde(rename = "proxy")]
    _proxy: Option<IgnoredAny>,
    #[serde(rename = "load")]
    _load: Option<IgnoredAny>,
    #[serde(rename = "phase")]
    _phase: Option<IgnoredAny>,
    #[serde(rename = "expect")]
    _expect: Option<IgnoredAny>,
    #[serde(rename = "guard")]
    _guard: Option<IgnoredAny>,
    #[serde(rename = "watch")]
    _watch: Option<IgnoredAny>,
}

impl Profile {
    /// Reads and checks a file; its name is the file's without `.toml`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = read::text(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse_in(&stem, &text, &path.display().to_string(), Some(folder))
    }

    /// Checks a text. `origin` is how problems name it.
    ///
    /// # Errors
    /// Everything that is wrong with it; that it names files is, too.
    pub fn parse(name: &str, text: &str, origin: &str) -> Result<Self, Problems> {
        Self::parse_in(name, text, origin, None)
    }

    fn parse_in(
        name: &str,
        text: &str,
        origin: &str,
        folder: Option<&Path>,
    ) -> Result<Self, Problems> {
        let mut document = Document::parse(text, origin)?;
        if document.keys().is_empty() {
            return Err(Problems::of_file(
                origin,
                "it says nothing",
                "begin with a [[fault]]",
            ));
        }
        let head: Head = document.read(&[]).unwrap_or_default();
        let keys = document.keys();
        let ignored: Vec<_> = TEST_SECTIONS
            .into_iter()
            .filter(|section| keys.iter().any(|k| k == section))
            .collect();
        // Proxies and a service alone are nothing to do.
        let idle = ignored.iter().all(|s| matches!(*s, "proxy" | "service"));
        let faults = faults(&mut document, idle, folder);
        if !document.is_clean() {
            return Err(document.into_problems());
        }
        Ok(Self {
            name: name.to_owned(),
            description: head.description.unwrap_or_else(|| leading_comment(text)),
            seed: head.seed,
            faults,
            ignored,
            origin: origin.to_owned(),
            source: text.into(),
        })
    }

    /// The first sentence of the description.
    pub fn summary(&self) -> &str {
        let paragraph = self.description.split("\n\n").next().unwrap_or_default();
        let end = paragraph.find(". ").or_else(|| paragraph.find(".\n"));
        paragraph[..end.map_or(paragraph.len(), |i| i + 1)].trim()
    }

    /// Whether every fault has something to act on among these proxies.
    ///
    /// # Errors
    /// Faults whose `proxy` names none of them, or only such as the fault cannot apply to. A glob that also covers proxies of
    /// other protocols is accepted: on those the fault does nothing.
    pub fn check_against(&self, proxies: &[ProxyConfig]) -> Result<(), Problems> {
        let mut document = Document::parse(&self.source, &self.origin)?;
        for (index, fault) in self.faults.iter().enumerate() {
            if let Err(error) = against::check(fault, &format!("fault[{index}]"), proxies) {
                document.report(&error.path, &error.message, &error.remedy);
            }
        }
        if document.is_clean() {
            Ok(())
        } else {
            Err(document.into_problems())
        }
    }
}

/// The faults as far as they are valid; everything else is reported.
fn faults(document: &mut Document<'_>, required: bool, folder: Option<&Path>) -> Vec<Fault> {
    let has_key = document.keys().iter().any(|k| k == "fault");
    let Some(count) = document.len_of("fault") else {
        if has_key {
            document.report(
                "fault",
                "found something else than a list of faults",
                "begin each with [[fault]]",
            );
        } else if required {
            document.report("", "there is no fault in it", "add a [[fault]]");
        }
        return Vec::new();
    };
    if count > MAX_FAULTS {
        let message = format!("there are {count} faults");
        document.report(
            &format!("fault[{MAX_FAULTS}]"),
            &message,
            "expected at most 256 in one profile",
        );
    }
    let mut names = HashSet::new();
    let mut faults = Vec::new();
    for index in 0..count.min(MAX_FAULTS) {
        let path = format!("fault[{index}]");
        let at = [Step::Key("fault".into()), Step::Index(index)];
        let Some(mut spec) = document.read::<FaultSpec>(&at) else {
            continue;
        };
        recorded::read_files(&mut spec, &path, folder, document);
        match spec.compile(&path) {
            Ok(fault) => faults.push(fault),
            Err(errors) => {
                // What serde refused and took out is not missing.
                let (_, new): (Vec<_>, Vec<_>) = errors
                    .into_iter()
                    .partition(|e| document.is_reported(&e.path));
                for error in new {
                    document.report(&error.path, &error.message, &error.remedy);
                }
            }
        }
        if let Some(name) = spec.name
            && !names.insert(name.clone())
        {
            let message = format!("{name:?} is the name of an earlier fault");
            document.report(
                &format!("{path}.name"),
                &message,
                "expected a name of its own",
            );
        }
    }
    faults
}

/// The comment before the first line that is none, without its marks.
fn leading_comment(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests;
