//! The command line: one file a subcommand.
//!
//! Results go to stdout, everything for people to stderr. Exit codes: 0 pass, 1 a check failed, 2 usage or configuration,
//! 3 only inconclusive, 4 could not run, 130 interrupted.

// Doc comments of options are help texts: shown as they are, not as Markdown.
#![allow(clippy::doc_markdown, rustdoc::bare_urls)]

pub mod audit;
pub mod check;
pub mod demo;
pub mod exec;
pub mod fault;
pub mod halt;
pub mod insight;
pub mod ledger;
pub mod panics;
pub mod profile;
pub(crate) mod progress;
pub mod remote;
pub mod report;
pub mod run;
pub mod schema;
pub mod stats;
mod table;
pub mod test;
pub mod top;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Wrong usage, or a file that is not valid.
pub const USAGE: u8 = 2;

/// A check failed.
pub const CHECK_FAILED: u8 = 1;

/// Nothing failed, but not everything could be judged.
pub const INCONCLUSIVE: u8 = 3;

/// What was asked for could not be run.
pub const COULD_NOT_RUN: u8 = 4;

/// Ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Ended by a signal, as a shell tells it: 130 for Ctrl-C.
pub(crate) fn signalled(signal: rustix::process::Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

/// A transparent TCP proxy that speaks Redis, Postgres and HTTP.
///
/// It stands between services and what they depend on, measures every request inline, injects faults from profiles, and
/// tells whether the services survive them. Begin with `brownout demo`.
#[derive(Debug, Parser)]
#[command(
    name = "brownout",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_long_help = "\
Begin with:
  brownout run --redis 26379=localhost:6379    and let the service connect to port 26379
  brownout stats --watch                       what passes
  brownout profile enable redis-slow           disturb it
  brownout halt                                and stop that at once

Results are written to stdout, everything else to stderr. Exit codes: 0: pass;
1: a check failed; 2: wrong usage or configuration; 3: only inconclusive;
4: could not run; 130: interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Test(test::Args),
    Exec(exec::Args),
    Demo(crate::demo::Options),
    Stats(stats::Args),
    Top(top::Args),
    Profile(profile::Args),
    Fault(fault::Args),
    Halt(halt::Args),
    Insight(insight::Args),
    Report(report::Args),
    Ledger(ledger::Args),
    Check(check::Args),
    Audit(audit::Args),
    Schema(schema::Args),
    Completions(Completions),
}

/// Write shell completions to stdout.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout completions bash > ~/.local/share/bash-completion/completions/brownout
  brownout completions zsh  > ~/.zfunc/_brownout         (~/.zfunc stands in fpath, before compinit)
  brownout completions fish > ~/.config/fish/completions/brownout.fish")]
struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Runs the command line.
pub fn main(cli: Cli) -> ExitCode {
    panics::install();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let code = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Demo(options) => demo::run(&options),
        Command::Check(args) => written(check::run(&args, &mut out, &mut err)),
        Command::Audit(args) => written(audit::run(&args, &mut out, &mut err)),
        Command::Schema(args) => written(schema::run(&args, &mut out)),
        Command::Stats(args) => stats::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Fault(args) => fault::run(&args),
        Command::Halt(args) => halt::run(&args),
        Command::Insight(args) => written(insight::run(&args, &mut out, &mut err)),
        Command::Report(args) => report::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Completions(Completions { shell }) => {
            let mut text = Vec::new();
            let mut command = with_profiles(<Cli as clap::CommandFactory>::command());
            clap_complete::generate(shell, &mut command, "brownout", &mut text);
            written(out.write_all(&text).map(|()| 0))
        }
    };
    ExitCode::from(code)
}

/// The command line as completions offer it: with the names of the built-in profiles where a profile is named. Others may be
/// typed, so that the parser itself does not know them.
fn with_profiles(command: clap::Command) -> clap::Command {
    let named = |arg: clap::Arg| {
        arg.value_parser(clap::builder::PossibleValuesParser::new(
            crate::config::Library::builtin_names(),
        ))
    };
    let command = command.mut_subcommand("profile", |profile| {
        let verbs: Vec<String> = profile
            .get_subcommands()
            .filter(|verb| verb.get_arguments().any(|arg| arg.get_id() == "name"))
            .map(|verb| verb.get_name().to_owned())
            .collect();
        verbs.into_iter().fold(profile, |profile, verb| {
            profile.mut_subcommand(verb, |verb| verb.mut_arg("name", named))
        })
    });
    command.mut_subcommand("run", |run| run.mut_arg("profile", named))
}

/// What is still buffered is written here, where a failure is noticed. A reader that goes away (`| head -1`) ends the command quietly; it has what it wanted.
fn written(result: io::Result<u8>) -> u8 {
    match result.and_then(|code| io::stdout().flush().map(|()| code)) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            say(&format!("cannot write: {error}"));
            COULD_NOT_RUN
        }
    }
}

/// A line for people, on stderr. A closed stderr is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error with what caused it, for people.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
