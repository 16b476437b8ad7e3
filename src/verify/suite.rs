//! From what is named on the command line to the texts of test profiles: files, folders, and what every binary carries.

use crate::config::{BUILT_IN, Config, Library, Problem, Problems, read};
use std::path::Path;

macro_rules! builtin {
    ($($name:literal),* $(,)?) => {
        /// The suite of the COS platform, in the order in which it runs.
        const COS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/cos/", $name, ".toml")))),*
        ];
    };
}

builtin!(
    "services-health",
    "api-benchmarks",
    "redis-benchmarks",
    "postgres-benchmarks",
    "resources",
    "redis-interruption",
    "circuit-breaker",
    "network-timeout",
    "high-error-rate",
    "unknown-outcome",
    "capacity",
);

/// Whether what names a profile is no file, but one of the program itself.
pub(crate) fn is_built_in(origin: &str) -> bool {
    origin.starts_with(BUILT_IN)
}

/// The text of a test profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its name in reports.
    pub(crate) name: String,
    pub(crate) text: String,
    /// How problems name it.
    pub(crate) origin: String,
    /// What names it alone on the command line.
    pub(crate) given: String,
}

/// The profiles that a name stands for: a file, a folder, the built-in suite `cos` or a part of it, or a profile of the library.
pub(crate) fn sources(name: &str, config: &Config) -> Result<Vec<Source>, Problems> {
    let path = Path::new(name);
    if path.is_dir() {
        return folder(path);
    }
    if path.exists() || path.extension().is_some_and(|e| e == "toml") {
        return Ok(vec![file(path)?]);
    }
    let asked = name.trim_end_matches('/');
    let asked = asked.strip_prefix("profiles/").unwrap_or(asked);
    if asked == "cos" {
        return Ok(COS.iter().map(built_in).collect());
    }
    if let Some(part) = asked.strip_prefix("cos/")
        && let Some(found) = COS.iter().find(|(name, _)| *name == part)
    {
        return Ok(vec![built_in(found)]);
    }
    let library = Library::of(config)?;
    let profile = library.get(name)?;
    Ok(vec![Source {
        name: name.to_owned(),
        text: profile.source.to_string(),
        origin: profile.origin.clone(),
        given: name.to_owned(),
    }])
}

fn built_in((name, text): &(&str, &str)) -> Source {
    Source {
        name: format!("cos/{name}"),
        text: (*text).to_owned(),
        origin: format!("{BUILT_IN}cos/{name}.toml"),
        given: format!("cos/{name}"),
    }
}

fn file(path: &Path) -> Result<Source, Problems> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Source {
        name: stem.into_owned(),
        text: read::text(path)?,
        origin: path.display().to_string(),
        given: path.display().to_string(),
    })
}

/// Every `*.toml` of a folder: those of the suite in its order, the others behind them by name.
fn folder(folder: &Path) -> Result<Vec<Source>, Problems> {
    let shown = folder.display().to_string();
    let unreadable = |e: std::io::Error| {
        let message = format!("it cannot be read: {e}");
        Problems::of_file(&shown, &message, "name a folder that can be")
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let problem = Problem::of_file(&shown, "there is no *.toml in it", "name another folder");
        return Err(problem.into());
    }
    let mut sources = paths
        .iter()
        .map(|path| file(path))
        .collect::<Result<Vec<_>, _>>()?;
    let place = |name: &str| COS.iter().position(|(n, _)| *n == name);
    sources.sort_by(|a, b| {
        let key = |s: &Source| (place(&s.name).unwrap_or(usize::MAX), s.name.clone());
        key(a).cmp(&key(b))
    });
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::plan::Test;
    use crate::verify::{preflight, variables};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_part_of_the_suite_is_valid_with_its_defaults_and_long_enough() {
        let parts = sources("cos", &Config::default()).expect("built in");
        assert_eq!(parts.len(), COS.len());
        for part in parts {
            let text = variables::fill(
                &part.text,
                &BTreeMap::new(),
                &part.origin,
                &mut BTreeSet::new(),
            );
            let text = text.unwrap_or_else(|e| panic!("{e}")).text;
            let test =
                Test::parse(&part.name, &text, &part.origin, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert!(!test.description.is_empty(), "{}", part.name);
            let problems = preflight::impossible(&test);
            assert!(problems.is_empty(), "{}: {problems:?}", part.name);
        }
    }

    #[test]
    fn the_suite_is_what_lies_in_its_folder_and_in_the_same_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/cos");
        let names = |sources: Vec<Source>| -> Vec<String> {
            let names = sources.into_iter();
            names
                .map(|s| s.name.rsplit('/').next().unwrap_or_default().to_owned())
                .collect()
        };
        let built = sources("profiles/cos", &Config::default()).expect("built in or a folder");
        let read = sources(&folder.to_string_lossy(), &Config::default()).expect("a folder");
        assert_eq!(names(read.clone()), names(built));
        let expected: Vec<&str> = COS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(read), expected);
    }

    #[test]
    fn parts_are_found_by_name_and_what_is_none_is_refused() {
        let part = sources("cos/capacity", &Config::default()).expect("a part");
        assert_eq!(part[0].name, "cos/capacity");
        assert!(sources("cos/capacty", &Config::default()).is_err());
        assert!(sources("/nowhere.toml", &Config::default()).is_err());
    }
}
