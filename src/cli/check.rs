//! `brownout check`: whether files are valid, and where not.

use crate::config::{Config, Kind, Problem, Problems, Profile, read, toml_files};
use crate::probe::{self, Health};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The exit code where a file is not valid.
const INVALID: u8 = 2;
/// The exit code where an upstream does not answer.
const UNHEALTHY: u8 = 1;

/// Check configuration files and profiles.
///
/// Names every problem with its file, line and column, the field, what was expected, and the nearest valid name. Where
/// exactly one configuration is among the files, profiles are also checked against its proxies: a fault that has nothing to
/// act on is a problem. Exit code 0: all are valid; 2: one is not; 1: they are, and an upstream does not answer (--probe).
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout check brownout.toml             one file
  brownout check brownout.toml profiles    and every profile, against its proxies
  brownout check --output json profiles
  brownout check --probe brownout.toml     and whether every upstream answers")]
pub struct Args {
    /// Files, or folders with *.toml files in them; configurations and profiles are told apart by their content.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How results are written to stdout.
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
    /// Also ask the upstreams of valid configurations whether they answer in their protocol: PING, SELECT 1, GET.
    #[arg(long)]
    pub probe: bool,
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line for each valid file; problems go to stderr.
    #[default]
    Text,
    /// One JSON document, problems included.
    Json,
}

/// What came of one file.
#[derive(Debug, Serialize)]
struct Verdict {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    ok: bool,
    /// What is in it, or what was left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    summary: String,
    problems: Problems,
}

#[derive(Serialize)]
struct Report<'v> {
    ok: bool,
    files: &'v [Verdict],
    /// What the upstreams said, where they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstreams: Option<&'v [Health]>,
}

/// Checks the files, writes results to `out` and problems to `err`. The exit code is 0, 2 where a file is not valid, or 1 where an
/// upstream does not answer.
///
/// # Errors
/// That `out` or `err` cannot be written to, or that no runtime can be had for the probes.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let (verdicts, configurations) = verdicts(&args.files);
    let ok = verdicts.iter().all(|v| v.ok);
    let upstreams = if args.probe {
        Some(probe(&configurations)?)
    } else {
        None
    };
    if args.output == Output::Json {
        let report = Report {
            ok,
            files: &verdicts,
            upstreams: upstreams.as_deref(),
        };
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        for verdict in &verdicts {
            if verdict.ok {
                writeln!(out, "{}: ok: {}", verdict.path, verdict.summary)?;
            } else {
                writeln!(err, "{}", verdict.problems)?;
            }
        }
        if let Some(upstreams) = &upstreams {
            table(upstreams, out)?;
        }
    }
    let healthy = upstreams.iter().flatten().all(|h| h.healthy);
    Ok(match (ok, healthy) {
        (false, _) => INVALID,
        (true, false) => UNHEALTHY,
        (true, true) => 0,
    })
}

fn probe(configurations: &[Config]) -> io::Result<Vec<Health>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let proxies: Vec<_> = configurations
        .iter()
        .flat_map(|c| c.proxies.clone())
        .collect();
    Ok(runtime.block_on(probe::all(&proxies)))
}

fn table(upstreams: &[Health], out: &mut dyn Write) -> io::Result<()> {
    use super::table::{Align, Screen, render};
    let columns = [
        ("PROXY", Align::Left),
        ("PROTOCOL", Align::Left),
        ("UPSTREAM", Align::Left),
        ("HEALTH", Align::Left),
        ("TOOK", Align::Right),
        ("SAID", Align::Left),
    ];
    let rows = upstreams.iter().map(|h| {
        let took = format!("{:.1} ms", h.took_us as f64 / 1000.0);
        let health = if h.healthy { "ok" } else { "FAIL" };
        vec![
            h.proxy.clone(),
            h.protocol.name().into(),
            h.upstream.clone(),
            health.into(),
            took,
            h.said.clone(),
        ]
    });
    out.write_all(render(Screen::of_stdout(), &columns, 2, rows.collect()).as_bytes())
}

/// A file that was read, and what it holds.
enum Content {
    Configuration(Box<Config>),
    Profile(Box<Profile>),
}

/// What came of the files, and the configurations among them that are valid.
fn verdicts(named: &[PathBuf]) -> (Vec<Verdict>, Vec<Config>) {
    let mut verdicts = Vec::new();
    let mut contents = Vec::new();
    for path in named {
        if !path.is_dir() {
            contents.push((path.clone(), load(path)));
            continue;
        }
        let (mut files, mut problems) = toml_files(path);
        if files.is_empty() && problems.is_empty() {
            problems.push(Problem::of_file(
                &path.display().to_string(),
                "there is no *.toml in it",
                "name a file",
            ));
        }
        verdicts.extend(problems.into_iter().map(|p| Verdict {
            path: p.path.clone(),
            kind: None,
            ok: false,
            summary: String::new(),
            problems: p.into(),
        }));
        files.sort();
        contents.extend(files.into_iter().map(|file| {
            let content = load(&file);
            (file, content)
        }));
    }
    let configurations: Vec<&Config> = contents
        .iter()
        .filter_map(|(_, (_, content))| match content {
            Ok(Content::Configuration(config)) => Some(&**config),
            _ => None,
        })
        .collect();
    let beside = match configurations.as_slice() {
        [only] if !only.proxies.is_empty() => Some(*only),
        _ => None,
    };
    verdicts.extend(
        contents
            .iter()
            .map(|(path, (kind, content))| verdict(path, *kind, content, beside)),
    );
    let configurations = configurations.into_iter().cloned().collect();
    (verdicts, configurations)
}

fn load(path: &Path) -> (Option<Kind>, Result<Content, Problems>) {
    let text = match read::text(path) {
        Ok(text) => text,
        Err(problems) => return (None, Err(problems)),
    };
    let kind = Kind::of(path, &text);
    let content = match kind {
        Kind::Configuration => Config::load(path).map(|c| Content::Configuration(Box::new(c))),
        Kind::Profile => Profile::load(path).map(|p| Content::Profile(Box::new(p))),
    };
    (Some(kind), content)
}

fn verdict(
    path: &Path,
    kind: Option<Kind>,
    content: &Result<Content, Problems>,
    beside: Option<&Config>,
) -> Verdict {
    let path = path.display().to_string();
    let (summary, problems) = match content {
        Err(problems) => (String::new(), Err(problems.clone())),
        Ok(Content::Configuration(config)) => (
            format!(
                "configuration, {}",
                counted(config.proxies.len(), "proxy", "proxies")
            ),
            folder_is_there(config, &path),
        ),
        Ok(Content::Profile(profile)) => (
            summary_of(profile),
            beside.map_or(Ok(()), |config| profile.check_against(&config.proxies)),
        ),
    };
    Verdict {
        path,
        kind,
        ok: problems.is_ok(),
        summary,
        problems: problems.err().unwrap_or_default(),
    }
}

fn folder_is_there(config: &Config, path: &str) -> Result<(), Problems> {
    match &config.profiles {
        Some(folder) if !folder.is_dir() => Err(Problems::of_file(
            path,
            &format!("profiles: there is no folder {}", folder.display()),
            "create it, or leave `profiles` out for the built-in ones",
        )),
        _ => Ok(()),
    }
}

fn summary_of(profile: &Profile) -> String {
    let mut summary = format!(
        "profile, {}",
        counted(profile.faults.len(), "fault", "faults")
    );
    if !profile.ignored.is_empty() {
        summary.push_str("; only `brownout test` uses ");
        summary.push_str(&profile.ignored.join(", "));
    }
    summary
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
