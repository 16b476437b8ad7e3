//! `brownout profile`: sets of faults, switched on and off by name.

mod explain;

use super::fault::{Faults, left};
use super::remote::{Output, Remote, RemoteError, block_on, write_json, write_text};
use super::say;
use super::table::{Align, Screen, render};
use crate::admin::client::escaped;
use crate::config::duration;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// List profiles, read them, switch them on and off, and explain what they hit.
///
/// A profile is a file with faults in it that belong together: Redis is slow, the API fails in part. Profiles come from the
/// folder `profiles` beside the configuration file, or are built in.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout profile list                              what there is, and what is on
  brownout profile show redis-slow                   what it does, and what to look for
  brownout profile enable redis-slow --ttl 5m        on, for five minutes at most
  brownout profile disable redis-slow                off
  brownout profile explain redis-slow --proxy redis --operation GET
                                                     why a GET is hit, or is not

Exit codes: 0; 2: wrong usage, no such profile; 4: no brownout could be reached,
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
    /// List all profiles: what they do, and whether they are on.
    List,
    Show(Show),
    Enable(Enable),
    Disable(Disable),
    Explain(Box<explain::Explain>),
}

/// Print a profile as it is written.
#[derive(Debug, Clone, clap::Args)]
struct Show {
    /// As `brownout profile list` has it.
    name: String,
}

/// Switch a profile on.
///
/// Each of its faults ends by itself when its time to live is over: what was switched on is never forgotten. One that is on
/// already begins anew.
#[derive(Debug, Clone, clap::Args)]
struct Enable {
    /// As `brownout profile list` has it.
    name: String,
    /// How long its faults stay on, at most 12h. [default: as the profile says, else 15m]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    ttl: Option<Duration>,
    /// Seed of its dice: the same seed and the same order of requests give the same faults. [default: the profile's, else that
    /// of `brownout run`]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Switch a profile off.
#[derive(Debug, Clone, clap::Args)]
struct Disable {
    /// As `brownout profile list` has it.
    name: String,
}

/// `GET /v1/profiles`.
#[derive(Debug, Deserialize)]
struct Listed {
    profiles: Vec<Profile>,
    broken: Vec<Broken>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    name: String,
    description: String,
    faults: usize,
    enabled: bool,
}

/// One that cannot be used.
#[derive(Debug, Deserialize)]
struct Broken {
    name: String,
    problems: Vec<Problem>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    path: String,
    line: usize,
    column: usize,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}:{}: {}", self.path, self.column, self.message),
        }
    }
}

/// `POST /v1/profiles/NAME/enable` and `/disable`.
#[derive(Debug, Deserialize)]
struct Switched {
    faults: Vec<String>,
}

/// Does what is asked of profiles. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    let remote = &args.remote;
    block_on(async {
        match &args.command {
            Command::List => list(remote).await,
            Command::Show(of) => show(of, remote).await,
            Command::Enable(of) => enable(of, remote).await,
            Command::Disable(of) => disable(of, remote).await,
            Command::Explain(of) => explain::run(of, remote).await,
        }
    })
}

async fn list(remote: &Remote) -> Result<u8, RemoteError> {
    let answer = remote.client()?.get("/v1/profiles").await?;
    if remote.output == Output::Json {
        return write_json(&answer);
    }
    let Listed { profiles, broken } = serde_json::from_value(answer)?;
    let columns = [
        ("profile", Align::Left),
        ("is", Align::Left),
        ("faults", Align::Right),
        ("what it does", Align::Left),
    ];
    let rows = profiles.into_iter().map(|p| {
        let is = if p.enabled { "on" } else { "off" };
        let description = p
            .description
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        vec![p.name, is.to_owned(), p.faults.to_string(), description]
    });
    for Broken { name, problems } in broken {
        for problem in problems {
            say(&format!("{name} cannot be used: {problem}"));
        }
    }
    write_text(&render(Screen::of_stdout(), &columns, 3, rows.collect()))
}

async fn show(of: &Show, remote: &Remote) -> Result<u8, RemoteError> {
    let path = format!("/v1/profiles/{}", escaped(&of.name));
    let answer = remote.client()?.get(&path).await?;
    if remote.output == Output::Json {
        return write_json(&answer);
    }
    let source = answer
        .get("source")
        .and_then(Value::as_str)
        .unwrap_or_default();
    write_text(&format!("{}\n", source.trim_end()))
}

async fn enable(of: &Enable, remote: &Remote) -> Result<u8, RemoteError> {
    let mut body = Map::new();
    if let Some(ttl) = of.ttl {
        body.insert(
            "ttl".into(),
            humantime::format_duration(ttl).to_string().into(),
        );
    }
    if let Some(seed) = of.seed {
        body.insert("seed".into(), seed.into());
    }
    let answer = switch(remote, &of.name, "enable", &Value::Object(body)).await?;
    if remote.output == Output::Json {
        return write_json(&answer);
    }
    let Switched { faults } = serde_json::from_value(answer)?;
    let ttl = match of.ttl {
        Some(ttl) => Some(ttl),
        None => longest(&of.name, remote).await?,
    };
    let ends = ttl.map(|ttl| format!(" for {}", humantime::format_duration(ttl)));
    let (name, ends) = (&of.name, ends.unwrap_or_default());
    write_text(&format!("{name} is on{ends}: {}\n", faults.join(", ")))
}

/// How long the last fault of a profile has left. `None`: it was switched off meanwhile.
async fn longest(name: &str, remote: &Remote) -> Result<Option<Duration>, RemoteError> {
    let Faults { faults, .. } = serde_json::from_value(remote.client()?.get("/v1/faults").await?)?;
    let of_it = faults.iter().filter(|f| f.profile.as_deref() == Some(name));
    Ok(of_it.map(left).max())
}

async fn disable(of: &Disable, remote: &Remote) -> Result<u8, RemoteError> {
    let answer = switch(remote, &of.name, "disable", &Value::Object(Map::new())).await?;
    if remote.output == Output::Json {
        return write_json(&answer);
    }
    let Switched { faults } = serde_json::from_value(answer)?;
    write_text(&format!("{} is off: {}\n", of.name, faults.join(", ")))
}

async fn switch(
    remote: &Remote,
    name: &str,
    how: &str,
    body: &Value,
) -> Result<Value, RemoteError> {
    let path = format!("/v1/profiles/{}/{how}", escaped(name));
    Ok(remote
        .client()?
        .request(Method::POST, &path, Some(body))
        .await?)
}
