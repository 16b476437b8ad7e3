//! All profiles at hand: those of a folder, or the built-in ones.

use super::problem::{Problem, Problems};
use super::profile::Profile;
use super::suggest::nearest;
use super::{Config, PROFILES_DIR};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most profiles of a library.
const MAX_PROFILES: usize = 1_000;
/// How the name of a file begins that is none: a profile of the program itself.
pub(crate) const BUILT_IN: &str = "built-in ";
/// How many folders deep profiles are looked for.
const MAX_DEPTH: usize = 8;

macro_rules! builtin {
    ($($name:literal),* $(,)?) => {
        /// The profiles that every binary carries: name and text.
        const BUILTIN: &[(&str, &str)] = &[
            $(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/", $name, ".toml")))),*
        ];
    };
}

builtin!(
    "api-errors",
    "api-slow",
    "http/gateway-timeout",
    "http/one-route-down",
    "http/overloaded",
    "http/rate-limited",
    "http/rolling-restart",
    "http/slow-bodies",
    "http/token-expired",
    "http/truncated-bodies",
    "http/unknown-outcome",
    "incidents/brownout",
    "incidents/certificate-rotation",
    "incidents/cold-cache",
    "incidents/connection-storm",
    "incidents/deadlock-wave",
    "incidents/disk-full",
    "incidents/expired-password",
    "incidents/failover",
    "incidents/flapping",
    "incidents/maintenance-window",
    "incidents/noisy-neighbour",
    "incidents/read-only",
    "incidents/replica-lag",
    "incidents/thundering-herd",
    "network-bad",
    "network/far-away",
    "network/firewall",
    "network/fragmented",
    "network/half-open",
    "network/jitter",
    "network/packet-loss",
    "network/resets",
    "network/slow-close",
    "network/slow-link",
    "postgres-down",
    "postgres-errors",
    "postgres-slow",
    "postgres/broken-results",
    "postgres/lock-timeouts",
    "postgres/lost-commit",
    "postgres/lost-commit-ack",
    "postgres/lost-notifications",
    "postgres/slow-commits",
    "postgres/statement-timeouts",
    "postgres/too-many-connections",
    "redis-down",
    "redis-errors",
    "redis-flapping",
    "redis-slow",
    "redis/busy-script",
    "redis/cluster-resharding",
    "redis/connection-limit",
    "redis/credentials-rotated",
    "redis/loading",
    "redis/lossy-pubsub",
    "redis/lost-replies",
    "redis/out-of-memory",
    "redis/persistence-failed",
    "redis/read-only",
    "redis/slow-consumer",
);

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What it would be called.
    pub name: String,
    /// What is wrong with it.
    pub problems: Problems,
}

/// Profiles by name.
#[derive(Debug, Clone, Default)]
pub struct Library {
    profiles: BTreeMap<String, Profile>,
    broken: Vec<Broken>,
    folder: Option<PathBuf>,
}

impl Library {
    /// The built-in profiles.
    pub fn builtin() -> Self {
        let mut library = Self::default();
        for (name, text) in BUILTIN {
            library.add(
                name,
                Profile::parse(name, text, &format!("{BUILT_IN}{name}.toml")),
            );
        }
        library
    }

    /// The names of the built-in profiles, in the order of the alphabet.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// Every `*.toml` below a folder; its name is its path from there without `.toml`: `redis/slow`. What cannot be read
    /// is among [`broken`](Self::broken), the folder itself included.
    pub fn open(folder: &Path) -> Self {
        let mut library = Self {
            folder: Some(folder.to_owned()),
            ..Self::default()
        };
        let (mut files, problems) = toml_files(folder);
        for problem in problems {
            library.broken.push(Broken {
                name: problem.path.clone(),
                problems: problem.into(),
            });
        }
        files.sort();
        for path in files.iter().take(MAX_PROFILES) {
            library.add_file(folder, path);
        }
        if files.len() > MAX_PROFILES {
            library.refuse(
                folder,
                "there are more than 1000 profiles in it",
                "the rest was not read",
            );
        }
        library
    }

    /// The library of a configuration: the folder that it names; else `profiles` beside the file, if there are any in
    /// it; else the built-in ones.
    ///
    /// # Errors
    /// That the named folder is not there.
    pub fn of(config: &Config) -> Result<Self, Problems> {
        if let Some(folder) = &config.profiles {
            if !folder.is_dir() {
                let origin = folder.display().to_string();
                return Err(Problems::of_file(
                    &origin,
                    "there is no such folder of profiles",
                    "create it, or leave `profiles` out of the configuration for the built-in ones",
                ));
            }
            return Ok(Self::open(folder));
        }
        let beside = config.base.join(PROFILES_DIR);
        let found = if beside.is_dir() {
            Self::open(&beside)
        } else {
            Self::default()
        };
        if found.profiles.is_empty() {
            return Ok(Self::builtin());
        }
        Ok(found)
    }

    /// The folder it was read from; `None`: built in.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// All valid profiles, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// What could not be read.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// What is wrong with it, or the nearest name where there is none.
    pub fn get(&self, name: &str) -> Result<&Profile, Problems> {
        if let Some(profile) = self.profiles.get(name) {
            return Ok(profile);
        }
        if let Some(broken) = self.broken.iter().find(|b| b.name == name) {
            return Err(broken.problems.clone());
        }
        let remedy = self.remedy(name);
        Err(Problems::of_file(name, "there is no such profile", &remedy))
    }

    /// What to write instead of a name that is none.
    fn remedy(&self, name: &str) -> String {
        let names = || self.profiles.keys().map(String::as_str);
        let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
        // Whoever leaves the folder out means one of these.
        let in_folders: Vec<String> = names()
            .filter(|path| last(path).is_some_and(|last| last == name))
            .map(|path| format!("`{path}`"))
            .collect();
        if !in_folders.is_empty() {
            return format!("did you mean {}?", in_folders.join(" or "));
        }
        match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.profiles.is_empty() => "there are no profiles".into(),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        }
    }

    fn add_file(&mut self, folder: &Path, path: &Path) {
        let relative = path.strip_prefix(folder).unwrap_or(path).with_extension("");
        let parts: Option<Vec<&str>> = relative
            .components()
            .map(|c| c.as_os_str().to_str())
            .collect();
        let name = parts.unwrap_or_default().join("/");
        let valid = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
        if name.is_empty() || !name.chars().all(valid) {
            return self.refuse(
                path,
                "its name cannot be typed everywhere",
                "name it with a-z, 0-9, `_`, `.` and `-`",
            );
        }
        let loaded = Profile::load(path).map(|profile| Profile {
            name: name.clone(),
            ..profile
        });
        self.add(&name, loaded);
    }

    fn add(&mut self, name: &str, loaded: Result<Profile, Problems>) {
        match loaded {
            Ok(profile) => {
                self.profiles.insert(name.to_owned(), profile);
            }
            Err(problems) => self.broken.push(Broken {
                name: name.to_owned(),
                problems,
            }),
        }
    }

    fn refuse(&mut self, path: &Path, message: &str, remedy: &str) {
        let origin = path.display().to_string();
        self.broken.push(Broken {
            name: origin.clone(),
            problems: Problem::of_file(&origin, message, remedy).into(),
        });
    }
}

/// Every `*.toml` below a folder, hidden ones left out, and what could not be looked at. Bounded in depth and number, so that
/// links in circles end.
pub(crate) fn toml_files(folder: &Path) -> (Vec<PathBuf>, Vec<Problem>) {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let refuse = |message: &str, remedy| {
            Problem::of_file(&folder.display().to_string(), message, remedy)
        };
        if depth > MAX_DEPTH {
            problems.push(refuse(
                "it is more than 8 folders deep",
                "move it up, or break the circle of links",
            ));
            continue;
        }
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) => {
                problems.push(refuse(&format!("it cannot be read: {e}"), ""));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if hidden || files.len() > MAX_PROFILES {
                continue;
            }
            if path.is_dir() {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|e| e == "toml") {
                files.push(path);
            }
        }
    }
    (files, problems)
}

#[cfg(test)]
mod tests;
