//! `brownout report`: the report of a test in other forms, and two of them compared.

use super::{CHECK_FAILED, COULD_NOT_RUN, INCONCLUSIVE, USAGE, say, written};
use crate::folder;
use crate::report::csv::Csv;
use crate::report::figure::plain;
use crate::report::github::Github;
use crate::report::html::Html;
use crate::report::junit::Junit;
use crate::report::markdown::Markdown;
use crate::report::text::Text;
use crate::report::{Form, Suite, compare, read};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Show the report of a test in another form, or compare two.
///
/// `brownout test --report DIR` leaves report.json there; every other form is made of it, and nothing is measured again.
#[derive(Debug, Clone, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "\
Examples:
  brownout report reports/report.json
  brownout report reports/report.json --html -o report.html
  brownout report reports/report.json --github
  brownout report compare before/report.json after/report.json --limit 20

Exit codes: 0; 1: compare found something worse; 2: wrong usage, or no report; 3: nothing
is worse for sure, and something may be, or may be the machine's; 4: it cannot be written."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The report.json of a test.
    #[arg(required = true, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    form: Forms,
    /// Where it is written. [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one flag a form, of which one may be given"
)]
struct Forms {
    /// One page for a browser, with pictures, that needs nothing from elsewhere.
    #[arg(long)]
    html: bool,
    /// JUnit XML, for Jenkins and GitLab.
    #[arg(long)]
    junit: bool,
    /// Markdown, for the summary of a step.
    #[arg(long)]
    markdown: bool,
    /// Text at 80 columns. The default.
    #[arg(long)]
    text: bool,
    /// Comma-separated values, a row an expectation.
    #[arg(long)]
    csv: bool,
    /// Annotations for GitHub Actions, at the lines of the profiles.
    #[arg(long)]
    github: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    Compare(Compare),
}

/// Say what became better or worse from one report to the other.
///
/// Parts and expectations that are gone, could not be run or stand worse than before are told whatever the figures say. Medians are
/// compared by the Mann-Whitney U test; p95 and p99 by how many answers lie beyond the percentile of both; failures by the z test of two
/// proportions; all by the spread of seconds, since samples of one second are not independent. Only what is beyond chance (Holm, 1 % for
/// all operations together) and beyond the limit counts. What is slower by no more than the machine was late is not comparable.
#[derive(Debug, Clone, clap::Args)]
struct Compare {
    /// The report before.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The report after.
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// By how many percent a median or a percentile has to differ.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    limit: f64,
}

/// Shows, or compares. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    match (&args.command, &args.file) {
        (Some(Command::Compare(two)), _) => compared(two),
        (None, Some(file)) => shown(args, file),
        (None, None) => USAGE,
    }
}

fn shown(args: &Args, file: &Path) -> u8 {
    let suite = match read(file) {
        Ok(suite) => suite,
        Err(code) => return code,
    };
    let form: &dyn Form = match &args.form {
        Forms { html: true, .. } => &Html,
        Forms { junit: true, .. } => &Junit,
        Forms { markdown: true, .. } => &Markdown,
        Forms { csv: true, .. } => &Csv,
        Forms { github: true, .. } => &Github,
        _ => &Text,
    };
    let text = match form.render(&suite) {
        Ok(text) => text,
        Err(error) => {
            say(&plain(&error.to_string()));
            return COULD_NOT_RUN;
        }
    };
    match &args.out {
        None => written(
            std::io::stdout()
                .lock()
                .write_all(text.as_bytes())
                .map(|()| 0),
        ),
        Some(out) => match folder::write_file(out, text) {
            Ok(()) => 0,
            Err(error) => {
                say(&format!(
                    "{} cannot be written: {error}; change: give --out another name, or leave it out to have it on stdout",
                    out.display()
                ));
                COULD_NOT_RUN
            }
        },
    }
}

fn compared(two: &Compare) -> u8 {
    if !(0.0..=1000.0).contains(&two.limit) {
        say(&format!(
            "--limit {}: expected percent, 0 to 1000",
            two.limit
        ));
        return USAGE;
    }
    let (before, after) = match (read(&two.before), read(&two.after)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let limit = two.limit / 100.0;
    let comparison = compare::compare(&before, &after, limit);
    if comparison.parts == 0 {
        say(
            "the two reports have no part in common; change: compare reports that were made of the same profiles",
        );
        return USAGE;
    }
    let text = comparison.render();
    let code = match (comparison.is_worse(), comparison.is_open()) {
        (true, _) => CHECK_FAILED,
        (false, true) => INCONCLUSIVE,
        (false, false) => 0,
    };
    written(
        std::io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .map(|()| code),
    )
}

/// As much of a file as is looked at, and a byte more where it is longer.
fn beginning(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = read::MOST_BYTES as u64 + 1;
    std::fs::File::open(file)?
        .take(most)
        .read_to_end(&mut text)?;
    Ok(text)
}

fn read(file: &Path) -> Result<Suite, u8> {
    let shown = file.display();
    let text = beginning(file).map_err(|error| {
        say(&format!(
            "{shown} cannot be read: {error}; change: expected the report.json of `brownout test --report DIR`"
        ));
        USAGE
    })?;
    read::read(&text).map_err(|error| {
        say(&plain(&format!("{shown}: {error}")));
        USAGE
    })
}
