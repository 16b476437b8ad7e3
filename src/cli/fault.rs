//! `brownout fault`: single faults, switched on and off by hand.

mod pairs;

use super::remote::{Output, Remote, RemoteError, block_on, write_json, write_text};
use super::say;
use super::table::{Align, Screen, render};
use crate::admin::client::escaped;
use crate::fault::FaultSpec;
use crate::fault::store::Listed;
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a fault that is read: as much as the endpoint takes.
const LIMIT: u64 = 64 * 1024;

/// List single faults, switch one on, switch one off.
///
/// A fault says what to do (action), to which exchanges (proxy, match), when (schedule), and how often (probability, every,
/// first, after, `per_second`). Faults that belong together are better kept in a profile: see `brownout profile`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout fault list
  brownout fault add action=latency proxy=redis delay=20ms match.operation=GET ttl=1m
  brownout fault add name=no-writes action=error preset=OOM match.class=write
  brownout fault remove no-writes

Exit codes: 0; 2: wrong usage, no such fault; 4: no brownout could be reached,
or faults are halted.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The running brownout, and how results are written.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// List the faults that are on: how long they stay, and what they did.
    List,
    Add(Add),
    Remove(Remove),
}

/// Switch a fault on.
///
/// KEY=VALUE are the keys of a [[fault]] in a profile (`brownout schema profile` describes them all). Those of a table are
/// written with a dot, and lists as in JSON. Without `ttl`, it ends after 15 minutes.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout fault add action=latency proxy=redis delay=20ms
  brownout fault add action=latency on=request \\
      delay.distribution=lognormal delay.p50=5ms delay.p99=40ms
  brownout fault add action=disconnect how=rst when=inside share=0.5 every=10
  brownout fault add action=error status=503 'match.method=[\"POST\",\"PUT\"]'
  jq '.faults[0]' saved.json | brownout fault add --json -")]
struct Add {
    /// What it is made of, like action=latency delay=20ms.
    #[arg(value_name = "KEY=VALUE", required_unless_present = "json")]
    pairs: Vec<String>,
    /// Read it from a file in JSON instead; -: from stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "pairs")]
    json: Option<PathBuf>,
}

/// Switch a fault off.
#[derive(Debug, Clone, clap::Args)]
struct Remove {
    /// As `brownout fault list` has it.
    name: String,
}

/// `GET /v1/faults`.
#[derive(Debug, Deserialize)]
pub(super) struct Faults {
    halted: bool,
    pub(super) faults: Vec<Listed>,
}

/// Does what is asked of faults. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    let remote = &args.remote;
    block_on(async {
        match &args.command {
            Command::List => list(remote).await,
            Command::Add(of) => add(of, remote).await,
            Command::Remove(of) => remove(of, remote).await,
        }
    })
}

async fn list(remote: &Remote) -> Result<u8, RemoteError> {
    let answer = remote.client()?.get("/v1/faults").await?;
    if remote.output == Output::Json {
        return write_json(&answer);
    }
    let Faults { halted, faults } = serde_json::from_value(answer)?;
    if halted {
        say("halted: nothing can be switched on until `brownout halt --resume`");
    }
    let columns = [
        ("fault", Align::Left),
        ("profile", Align::Left),
        ("action", Align::Left),
        ("proxy", Align::Left),
        ("now", Align::Left),
        ("left", Align::Right),
        ("matched", Align::Right),
        ("injected", Align::Right),
        ("skipped", Align::Right),
    ];
    let rows = faults.into_iter().map(row).collect();
    write_text(&render(Screen::of_stdout(), &columns, 0, rows))
}

/// Time until a fault ends, in seconds begun.
pub(super) fn left(fault: &Listed) -> Duration {
    Duration::from_secs(fault.left_ms.div_ceil(1000))
}

fn row(fault: Listed) -> Vec<String> {
    let left = left(&fault);
    vec![
        fault.name,
        fault.profile.unwrap_or_else(|| "-".to_owned()),
        fault.fault.action.name().to_owned(),
        fault.fault.proxy,
        if fault.in_force { "on" } else { "off" }.to_owned(),
        humantime::format_duration(left).to_string(),
        fault.matched.to_string(),
        fault.injected.to_string(),
        fault.skipped.to_string(),
    ]
}

async fn add(of: &Add, remote: &Remote) -> Result<u8, RemoteError> {
    let fault = match &of.json {
        Some(path) => read(path)?,
        None => pairs::object(&of.pairs).map_err(RemoteError::Usage)?,
    };
    // Looked at here too: this message can name the nearest key.
    if let Err(error) = serde_path_to_error::deserialize::<_, FaultSpec>(&fault) {
        return Err(RemoteError::Usage(pairs::explain(&fault, &error)));
    }
    let client = remote.client()?;
    let answer = client
        .request(Method::POST, "/v1/faults", Some(&fault))
        .await?;
    if remote.output == Output::Json {
        return write_json(&answer);
    }
    let added: Listed = serde_json::from_value(answer)?;
    let left = humantime::format_duration(left(&added));
    write_text(&format!("{} is on for {left}\n", added.name))
}

/// A fault in JSON, of a file or of stdin.
fn read(path: &PathBuf) -> Result<Value, RemoteError> {
    let name = path.display();
    let mut text = String::new();
    let done = if path.as_os_str() == "-" {
        std::io::stdin().take(LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text))
    };
    done.map_err(|error| RemoteError::Usage(format!("{name}: cannot be read: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| RemoteError::Usage(format!("{name}: not JSON: {error}")))
}

async fn remove(of: &Remove, remote: &Remote) -> Result<u8, RemoteError> {
    let path = format!("/v1/faults/{}", escaped(&of.name));
    remote
        .client()?
        .request(Method::DELETE, &path, None)
        .await?;
    if remote.output == Output::Json {
        return write_json(&serde_json::json!({ "fault": of.name, "enabled": false }));
    }
    write_text(&format!("{} is off\n", of.name))
}
