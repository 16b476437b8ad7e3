//! `brownout test`: load, faults in phases, and verdicts.

mod parts;
mod report;

use super::progress::{Row, Screen};
use super::remote::Output;
use super::{CHECK_FAILED, COULD_NOT_RUN, INCONCLUSIVE, USAGE, chain, say, signalled};
use crate::folder::Folder;
use crate::report::Suite;
use crate::report::suite::Broken;
use crate::signals::Signals;
use crate::verify::document::Document;
use crate::verify::output::Outputs;
use crate::verify::progress::Progress;
use crate::verify::recordings::Recordings;
use crate::verify::run::{self, Around, RunError};
use crate::verify::started::Companion;
use crate::verify::table;
use crate::verify::verdict::Counts;
use parts::Part;
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Run a test profile: load, phases with faults, and a verdict for everything that is expected.
///
/// The proxies of the profile and of --config are started, the load goes through them, the faults are on in the phases of kind
/// `fault`. Every verdict comes with the number of samples it rests on: what nothing was seen of is inconclusive, never passed.
/// Ctrl-C, SIGTERM and SIGHUP switch the faults off before anything else, and end what was started; a second one ends at once.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout test outage.toml
  brownout test outage.toml --config brownout.toml --report reports
  brownout test outage.toml --var port=6380 --output json
  brownout test cos --var redis=127.0.0.1:6379 --report reports
  brownout test cos/circuit-breaker --quick
  brownout test outage.toml --record recordings
  REDIS_URL=redis://127.0.0.1:26379 brownout test cos -- uvicorn app:app --port 8000

Exit codes: 0: pass; 1: something failed; 2: wrong usage or profile; 3: nothing failed,
but not everything could be judged; 4: could not run, such as for a service that does
not use the proxy, or the load or a judge broke; 130: interrupted (128 and the number of the signal).")]
pub struct Args {
    /// Files or folders of profiles, or names of built-in ones (`cos` is the suite of the COS platform); run one after the other.
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Configuration file with proxies. [default: none, only those that the profiles name]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed of the faults' dice; the same seed gives the same faults. [default: the profile's, else of the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Folder for the report: report.json, report.html, junit.xml, report.md and report.csv.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Folder for the recordings, one for each part, NAME.jsonl, for `brownout insight`: names, sizes and times, never a payload.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
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
    let parts = match parts::read_all(args) {
        Ok(parts) => parts,
        Err(problems) => {
            say(&problems.to_string());
            return USAGE;
        }
    };
    // A folder that cannot be had is better known before the run than after it.
    let (folder, mut recordings) = match folders(args) {
        Ok(folders) => folders,
        Err(why) => {
            say(&why);
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
    let done = runtime.block_on(to_the_end(&parts, &mut companion, &mut recordings, &row));
    drop(row);
    let Done { ended, mut codes } = match done {
        Ok(done) => done,
        Err(code) => return code,
    };
    if recordings.failed() {
        codes.push(COULD_NOT_RUN);
    }
    let shown = show(args, &ended);
    if let Some(folder) = &folder {
        let (documents, errors) = apart(ended);
        let suite = Suite {
            again: parts::again(args, &parts),
            ..Suite::new(documents, errors)
        };
        if let Err(error) = report::write(folder, &suite) {
            say(&report::none(args, &error));
            codes.push(COULD_NOT_RUN);
        }
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

/// Where reports and recordings go.
///
/// # Errors
/// Nothing can be written there: what to say.
fn folders(args: &Args) -> Result<(Option<Arc<Folder>>, Recordings), String> {
    let folder = report::folder(args.report.as_deref()).map_err(|e| report::none(args, &e))?;
    let recordings = report::folder(args.record.as_deref());
    let recordings = recordings.map_err(|e| report::no_recordings(args, &e))?;
    Ok((folder, Recordings::into(recordings)))
}

/// Runs the parts, and ends the service.
///
/// # Errors
/// Interrupted: the exit code.
async fn to_the_end(
    parts: &[Part],
    companion: &mut Companion,
    recordings: &mut Recordings,
    row: &Row,
) -> Result<Done, u8> {
    let mut signals = Signals::catch().map_err(|error| {
        say(&format!("cannot wait for signals: {error}"));
        COULD_NOT_RUN
    })?;
    let mut around = Around {
        companion: &mut *companion,
        progress: row,
        signals: Some(&mut signals),
        recordings,
    };
    let done = run_all(parts, &mut around, row).await;
    // Who cannot wait is not kept: what is not waited for is killed.
    tokio::select! {
        () = companion.end() => done,
        _ = signals.next() => done,
    }
}

/// What came of the parts.
#[derive(Default)]
struct Done {
    ended: Vec<Ended>,
    codes: Vec<u8>,
}

/// What is left of a part.
#[derive(Serialize)]
#[serde(untagged)]
enum Ended {
    Ran(Box<Document>),
    CouldNot {
        /// As in a document.
        result: Counts,
        #[serde(flatten)]
        broken: Broken,
    },
}

impl Ended {
    fn document(&self) -> Option<&Document> {
        match self {
            Self::Ran(document) => Some(document),
            Self::CouldNot { .. } => None,
        }
    }

    fn broken(&self) -> Option<&Broken> {
        match self {
            Self::Ran(_) => None,
            Self::CouldNot { broken, .. } => Some(broken),
        }
    }
}

fn apart(ended: Vec<Ended>) -> (Vec<Document>, Vec<Broken>) {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for part in ended {
        match part {
            Ended::Ran(document) => documents.push(*document),
            Ended::CouldNot { broken, .. } => errors.push(broken),
        }
    }
    (documents, errors)
}

/// Runs one after the other.
///
/// # Errors
/// Interrupted: the exit code.
async fn run_all(parts: &[Part], around: &mut Around<'_>, row: &Row) -> Result<Done, u8> {
    let mut done = Done::default();
    for (number, part) in (1..).zip(parts) {
        let Part { test, config, .. } = part;
        if parts.len() > 1 {
            row.rename("");
            let of = parts.len();
            let length = humantime::format_duration(test.length());
            row.say(&format!("part {number} of {of}: {}, {length}", test.name));
            row.rename(&format!("{number}/{of}"));
        }
        match run::run(test, config.clone(), around).await {
            Ok(ran) => {
                let mut document = Document::of(test, &ran);
                document.again = Some(part.again.clone());
                if document.result == Counts::Broken {
                    ran.last_words.iter().for_each(|words| row.say(words));
                }
                done.codes.push(match document.result {
                    Counts::Passed => 0,
                    Counts::Open => INCONCLUSIVE,
                    Counts::Failed => CHECK_FAILED,
                    Counts::Broken => COULD_NOT_RUN,
                });
                done.ended.push(Ended::Ran(Box::new(document)));
            }
            Err(error) => {
                let why = chain(&error);
                row.say(&format!("{}: {why}", test.name));
                if let RunError::Interrupted(signal) = error {
                    return Err(signalled(signal));
                }
                let profile = test.name.clone();
                done.ended.push(Ended::CouldNot {
                    result: Counts::Broken,
                    broken: Broken { profile, why },
                });
                done.codes.push(COULD_NOT_RUN);
            }
        }
    }
    Ok(done)
}

/// Text is a table of what ran; JSON an object for one part, else an array with one for each, so that no part is missing from it.
fn show(args: &Args, ended: &[Ended]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match args.output {
        Output::Text => {
            let screen = super::table::width_of_stdout().into();
            if let [Ended::Ran(only)] = ended {
                out.write_all(table::render(only, screen).as_bytes())?;
                return Ok(());
            }
            let ran: Vec<&Document> = ended.iter().filter_map(Ended::document).collect();
            if !ran.is_empty() {
                out.write_all(table::matrix(&ran, screen).as_bytes())?;
            }
            // Of the only part standard error has just said it.
            let broken = ended.iter().filter_map(Ended::broken);
            for Broken { profile, why } in broken.filter(|_| ended.len() > 1) {
                writeln!(out, "{profile}: error, could not run: {why}")?;
            }
        }
        Output::Json => {
            match ended {
                [only] => serde_json::to_writer_pretty(&mut out, only)?,
                all => serde_json::to_writer_pretty(&mut out, all)?,
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
