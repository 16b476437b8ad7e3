//! From the command line to the tests that are run, and back: the command that runs them again.

use super::super::remote::Output;
use super::super::say;
use super::Args;
use crate::config::{Config, Problems};
use crate::proxy::seed_of_time;
use crate::report::again;
use crate::verify::plan::{Ends, Test};
use crate::verify::search::Steps;
use crate::verify::suite::{self, Source};
use crate::verify::{preflight, variables};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The least that is left of a phase with --quick.
const SHORTEST: Duration = Duration::from_secs(2);

/// A profile that is to be run.
pub(super) struct Part {
    pub(super) test: Test,
    /// With the seed that it has.
    pub(super) config: Config,
    /// The command that runs it alone.
    pub(super) again: String,
}

/// The command that runs all of it again, if one does: what has different seeds takes them from where they are.
pub(super) fn again(args: &Args, parts: &[Part]) -> Option<String> {
    let seeds: BTreeSet<Option<u64>> = parts.iter().map(|part| part.config.seed).collect();
    let seed = match (seeds.len(), seeds.first()) {
        (1, Some(seed)) => *seed,
        _ if parts.iter().all(|part| part.test.seed.is_some()) => None,
        _ => return None,
    };
    Some(command(args, &args.profiles, seed, |_| true))
}

/// The command line with these profiles and this seed, and all else as it was given.
fn command(
    args: &Args,
    profiles: &[String],
    seed: Option<u64>,
    takes: impl Fn(&str) -> bool,
) -> String {
    let mut words: Vec<String> = vec!["brownout".into(), "test".into()];
    words.extend_from_slice(profiles);
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(file) = &args.config {
        option("--config", file.display().to_string());
    }
    if let Some(seed) = seed {
        option("--seed", seed.to_string());
    }
    for (name, value) in args.var.iter().filter(|(name, _)| takes(name)) {
        option("--var", format!("{name}={value}"));
    }
    if let Some(folder) = &args.report {
        option("--report", folder.display().to_string());
    }
    if let Some(folder) = &args.record {
        option("--record", folder.display().to_string());
    }
    if matches!(args.output, Output::Json) {
        option("--output", "json".into());
    }
    if args.quick {
        words.push("--quick".into());
    }
    if !args.command.is_empty() {
        words.push("--".into());
        words.extend_from_slice(&args.command);
    }
    again::command(&words)
}

/// The profiles that are named on the command line, checked.
pub(super) fn read_all(args: &Args) -> Result<Vec<Part>, Problems> {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let values: BTreeMap<String, String> = args.var.iter().cloned().collect();
    let mut known = BTreeSet::new();
    let mut sources = Vec::new();
    for name in &args.profiles {
        sources.extend(suite::sources(name, &config)?);
    }
    let mut tests = Vec::new();
    // Parts that bring no seed have one in common, so that one command runs all of them again.
    let seed = args.seed.or(config.seed).unwrap_or_else(seed_of_time);
    for Source {
        name: stem,
        text,
        origin,
        given,
    } in sources
    {
        let mut own = BTreeSet::new();
        let filled = variables::fill(&text, &values, &origin, &mut own)?;
        let mut test = Test::parse(&stem, &filled.text, &origin, &config.proxies)
            .map_err(|problems| filled.blame(problems))?;
        if args.quick {
            shorten(&mut test);
        } else {
            preflight::refuse(&test, &filled.text, &origin)
                .map_err(|problems| filled.blame(problems))?;
        }
        say(&format!(
            "{}: {} phases, {}",
            test.name,
            test.phases.len(),
            humantime::format_duration(test.length())
        ));
        let config = Config {
            seed: args.seed.or(test.seed).or(Some(seed)),
            ..config.clone()
        };
        let again = command(args, &[given], config.seed, |name| own.contains(name));
        known.append(&mut own);
        tests.push(Part {
            test,
            config,
            again,
        });
    }
    if let Some(name) = values.keys().find(|name| !known.contains(*name)) {
        let message = format!("no profile has a variable {name:?}");
        let names = known.into_iter().collect::<Vec<_>>().join(", ");
        let remedy = format!(
            "there are: {}",
            if names.is_empty() { "none" } else { &names }
        );
        return Err(Problems::of_file(
            &format!("--var {name}"),
            &message,
            &remedy,
        ));
    }
    Ok(tests)
}

fn shorten(test: &mut Test) {
    let shorter = |length: Duration| (length / 5).max(SHORTEST.min(length));
    for phase in &mut test.phases {
        phase.ends = match &phase.ends {
            Ends::After(length) => Ends::After(shorter(*length)),
            Ends::Samples(samples) => Ends::Samples((samples / 5).max(1)),
            Ends::Search(steps) => Ends::Search(Steps {
                within: shorter(steps.within),
                ..steps.clone()
            }),
        };
    }
}
