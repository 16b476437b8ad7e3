//! `brownout test`: load, faults in phases, and verdicts.

use super::progress::Screen;
use super::remote::Output;
use super::{CHECK_FAILED, COULD_NOT_RUN, INCONCLUSIVE, INTERRUPTED, USAGE, chain, say};
use crate::config::{Config, Problems};
use crate::folder::Folder;
use crate::proxy::seed_of_time;
use crate::report::again;
use crate::report::csv::Csv;
use crate::report::html::Html;
use crate::report::junit::Junit;
use crate::report::markdown::Markdown;
use crate::report::suite::Broken;
use crate::report::{Form, Suite};
use crate::verify::document::Document;
use crate::verify::output::Outputs;
use crate::verify::plan::{Ends, Test};
use crate::verify::progress::Progress;
use crate::verify::run::{self, RunError};
use crate::verify::search::Steps;
use crate::verify::started::Companion;
use crate::verify::suite::{self, Source};
use crate::verify::verdict::Counts;
use crate::verify::{preflight, table, variables};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The least that is left of a phase with --quick.
const SHORTEST: Duration = Duration::from_secs(2);

/// Run a test profile: load, phases with faults, and a verdict for everything that is expected.
///
/// The proxies of the profile and of --config are started, the load goes through them, the faults are on in the phases of kind
/// `fault`. Every verdict comes with the number of samples it rests on: what nothing was seen of is inconclusive, never passed.
/// Ctrl-C switches the faults off before anything else.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout test outage.toml
  brownout test outage.toml --config brownout.toml --report reports
  brownout test outage.toml --var port=6380 --output json
  brownout test cos --var redis=127.0.0.1:6379 --report reports
  brownout test cos/circuit-breaker --quick
  REDIS_URL=redis://127.0.0.1:26379 brownout test cos -- uvicorn app:app --port 8000

Exit codes: 0: pass; 1: something failed; 2: wrong usage or profile; 3: nothing failed,
but not everything could be judged; 4: could not run, such as for a service that does
not use the proxy, or the load or a judge broke; 130: interrupted.")]
pub struct Args {
    /// Files or folders of profiles, or names of built-in ones (`cos` is the suite of the COS platform); run one after the other.
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Configuration file with proxies.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed of the faults' dice; the same seed gives the same faults. [default: the profile's, else of the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Folder for the report: report.json, report.html, junit.xml, report.md and report.csv.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Phases of a fifth of their length, two seconds at least: what needs more is inconclusive.
    #[arg(long)]
    pub quick: bool,
    /// How results are written.
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub output: Output,
    /// A value for {{name}} or {{name|default}} in the profiles; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub var: Vec<(String, String)>,
    /// The service, started once the proxies listen and ended after the last part; `{proxy:NAME}` is where that proxy listens.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// Runs the profiles. Returns the exit code: the gravest of all.
pub fn run(args: &Args) -> u8 {
    let tests = match read_all(args) {
        Ok(tests) => tests,
        Err(problems) => {
            say(&problems.to_string());
            return USAGE;
        }
    };
    // A folder that cannot be had is better known before the run than after it.
    let folder = args.report.as_deref().map(|path| {
        let folder = Folder::open(path)?;
        folder.check().map(|()| Arc::new(folder))
    });
    let folder = match folder.transpose() {
        Ok(folder) => folder,
        Err(error) => {
            say(&no_report(args, &error));
            return COULD_NOT_RUN;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return COULD_NOT_RUN;
        }
    };
    let mut companion = Companion::new(args.command.clone(), Outputs::into(folder.clone()));
    // Programs that take the results read what is for people as lines, if at all.
    let row = Screen::new(matches!(args.output, Output::Json)).row("");
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    let mut codes = Vec::new();
    for (
        number,
        Part {
            test,
            config,
            again,
        },
    ) in tests.iter().enumerate()
    {
        if tests.len() > 1 {
            row.rename("");
            let (number, of) = (number + 1, tests.len());
            let length = humantime::format_duration(test.length());
            row.say(&format!("part {number} of {of}: {}, {length}", test.name));
            row.rename(&format!("{number}/{of}"));
        }
        let ran = run::run(test, config.clone(), &mut companion, &row);
        let code = match runtime.block_on(ran) {
            Ok(ran) => {
                let mut document = Document::of(test, &ran);
                document.again = Some(again.clone());
                if matches!(document.counts, Some(Counts::Broken)) {
                    ran.last_words.iter().for_each(|words| row.say(words));
                }
                let code = match document.counts {
                    Some(Counts::Passed) => 0,
                    Some(Counts::Open) => INCONCLUSIVE,
                    Some(Counts::Failed) | None => CHECK_FAILED,
                    Some(Counts::Broken) => COULD_NOT_RUN,
                };
                documents.push(document);
                code
            }
            Err(error) => {
                let why = chain(&error);
                row.say(&format!("{}: {why}", test.name));
                errors.push(Broken {
                    profile: test.name.clone(),
                    why,
                });
                match error {
                    RunError::Interrupted => {
                        drop(row);
                        runtime.block_on(companion.end());
                        return INTERRUPTED;
                    }
                    _ => COULD_NOT_RUN,
                }
            }
        };
        codes.push(code);
    }
    runtime.block_on(companion.end());
    drop(row);
    let shown = show(args, &documents);
    if let Some(folder) = &folder
        && let Err(error) = write_report(
            folder,
            &Suite {
                again: again(args, &tests),
                ..Suite::new(documents, errors)
            },
        )
    {
        say(&no_report(args, &error));
        codes.push(COULD_NOT_RUN);
    }
    let gravest = |code: &u8| match *code {
        COULD_NOT_RUN => 3,
        CHECK_FAILED => 2,
        INCONCLUSIVE => 1,
        _ => 0,
    };
    let code = codes.iter().copied().max_by_key(gravest).unwrap_or(0);
    super::written(shown.map(|()| code))
}

fn show(args: &Args, documents: &[Document]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match args.output {
        Output::Text => match documents {
            [only] => out.write_all(table::render(only).as_bytes())?,
            all => out.write_all(table::matrix(all).as_bytes())?,
        },
        Output::Json => {
            match documents {
                [only] => serde_json::to_writer_pretty(&mut out, only)?,
                all => serde_json::to_writer_pretty(&mut out, all)?,
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The document of the suite and its forms, into one folder. What cannot be written keeps nothing else from it.
fn write_report(folder: &Folder, suite: &Suite) -> io::Result<()> {
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
fn no_report(args: &Args, error: &io::Error) -> String {
    let folder = args.report.clone().unwrap_or_default();
    format!(
        "the report cannot be written into {}: {error}; change: make room in that folder and the right to write into it, or give \
         another one with --report",
        folder.display()
    )
}

/// A profile that is to be run.
struct Part {
    test: Test,
    /// With the seed that it has.
    config: Config,
    /// The command that runs it alone.
    again: String,
}

/// The command that runs all of it again, if one does: what has different seeds takes them from where they are.
fn again(args: &Args, parts: &[Part]) -> Option<String> {
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

fn read_all(args: &Args) -> Result<Vec<Part>, Problems> {
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
        let text = variables::fill(&text, &values, &origin, &mut own)?;
        let mut test = Test::parse(&stem, &text, &origin, &config.proxies)?;
        if args.quick {
            shorten(&mut test);
        } else {
            let problems = preflight::impossible(&test);
            if !problems.is_empty() {
                let remedy = "lengthen the phases, or leave the expectation out";
                let of = |p: &String| Problems::of_file(&origin, p, remedy).0;
                return Err(Problems(problems.iter().flat_map(of).collect()));
            }
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
