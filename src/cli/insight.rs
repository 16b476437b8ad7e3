//! `brownout insight`: what a recording says of the service that made it.

mod text;

use super::remote::Output;
use super::{CHECK_FAILED, USAGE};
use crate::config::duration;
use crate::insight::{self, Topology};
use crate::measure::trace::jsonl::{self, Reading};
use crate::measure::trace::{ProxyIndex, Trace};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read a service's breaker, timeouts, retries and recovery off a recording.
///
/// The recording is one of `brownout run`, `test` or `exec` with `--record DIR`; of a test it says which phases are warm-up, and
/// what it knew of the service, so that it is read as it was judged. Nothing is asked of the service itself: what is said comes from the
/// order and the times of what passed. The same recording gives the same answer, to the byte.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout run --redis 26379=localhost:6379 --http 28080=localhost:8000 --record recordings
  brownout insight --from recordings/events-1764090000000.jsonl
  brownout test outage.toml --record recordings
  brownout insight --from recordings/outage.jsonl
  brownout insight --from events.jsonl --workers 4 --output json

Exit codes: 0; 1: the recording has lost something, or its end is missing, and that is said;
2: wrong usage, or no recording.")]
pub struct Args {
    /// The recording: a file that `--record DIR` wrote.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// The proxy before the service's own API. [default: what the recording says, else the only HTTP proxy]
    #[arg(long, value_name = "PROXY")]
    pub api: Option<String>,
    /// Processes of the service, each with a breaker of its own. [default: as many as the recording names, else not known]
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// How long the service has to be itself again to have recovered.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration::parse)]
    pub stable: Duration,
    /// How results are written.
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub output: Output,
}

/// Reads the recording and says what it shows. Returns the exit code.
///
/// # Errors
/// What was found could not be written.
pub fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let Reading { trace, damage } = match read(&args.from) {
        Ok(reading) => reading,
        Err(problem) => {
            writeln!(err, "{problem}")?;
            return Ok(USAGE);
        }
    };
    if let Some(api) = &args.api
        && trace.header.proxy(api).is_none()
    {
        let names: Vec<&str> = trace
            .header
            .proxies
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        writeln!(
            err,
            "--api: the recording has no proxy `{api}`; it has {}",
            names.join(", ")
        )?;
        return Ok(USAGE);
    }
    let topology = Topology {
        api: args.api.clone(),
        workers: args.workers,
    };
    let stable = u64::try_from(args.stable.as_nanos()).unwrap_or(u64::MAX);
    let insights = insight::infer(&trace, &topology, stable);
    match args.output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &insights)?;
            writeln!(out)?;
        }
        Output::Text => out.write_all(text::render(&insights).as_bytes())?,
    }
    if let Some(damage) = damage {
        writeln!(err, "{}: {damage}", args.from.display())?;
        return Ok(CHECK_FAILED);
    }
    let lost = lost(&trace);
    if lost == 0 {
        return Ok(0);
    }
    writeln!(
        err,
        "{lost} records are missing: what they would have told is not said"
    )?;
    Ok(CHECK_FAILED)
}

/// Records that did not fit into its bound.
fn lost(trace: &Trace) -> u64 {
    let proxies = (0..trace.header.proxies.len()).filter_map(|at| u16::try_from(at).ok());
    let lost = proxies.map(|at| trace.dropped(ProxyIndex(at)));
    lost.fold(0, u64::saturating_add)
}

fn read(path: &Path) -> Result<Reading, String> {
    let named = |text: &str| format!("{}: {text}", path.display());
    let file = File::open(path).map_err(|e| named(&format!("cannot be read: {e}")))?;
    jsonl::read(BufReader::new(file)).map_err(|e| named(&super::chain(&e)))
}
