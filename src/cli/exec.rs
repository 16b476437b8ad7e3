//! `brownout exec`: a command, with a proxy before each server that its environment names.

mod environment;
mod outcome;
mod url;

use super::{COULD_NOT_RUN, USAGE, chain, say};
use crate::admin::Admin;
use crate::config::{CONNECT_TIMEOUT, Config, Listen, Problems, ProxyConfig};
use crate::folder::Folder;
use crate::measure::Slo;
use crate::measure::trace::DEFAULT_LIMIT;
use crate::proxy::Server;
use crate::signals::Signals;
use environment::Found;
use outcome::{Outcome, Through};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The file in the folder of a report.
const REPORT: &str = "exec.json";

/// Run a command with its servers behind proxies.
///
/// Looks through the environment for connection strings (redis://, postgres://, postgresql:// with or without a driver,
/// http://) and for PGHOST, PGHOSTADDR and PGPORT, starts a proxy before each server, changes host and port of the variables and
/// nothing else of them, runs the command, and tells on stderr what it asked: by operation.
///
/// The proxies are named redis, postgres and http (redis-2 and so on, where there are more), which is what profiles call them.
/// The command finds the admin endpoint in BROWNOUT_ADMIN, so that `brownout profile enable` works inside it. Signals are
/// passed on. TLS cannot be looked into: such a variable is refused.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout exec -- pytest
  brownout exec --profile redis-slow -- uvicorn app:api
  brownout exec --env DATABASE_URL --report target/exec -- psql
  brownout exec --profile redis-slow --record recordings -- pytest

Exit codes: that of the command, or 128 and the number of the signal that ended it;
2: wrong usage, or a variable that cannot be led through a proxy; 4: could not run.")]
pub struct Args {
    /// A profile to switch on before the command starts; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Look at this variable only; may be given several times.
    #[arg(long, value_name = "VAR")]
    pub env: Vec<String>,
    /// Folder to write exec.json to.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Folder for a recording of everything that passes, for `brownout insight`: names, sizes and times, never a payload.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Seed of the faults' dice; the same seed gives the same faults. [default: of the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How what was asked is told: text on stderr, or one JSON document on stdout behind what the command wrote.
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub output: Output,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How an outcome is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables on stderr.
    Text,
    /// A document on stdout.
    Json,
}

/// Why the command was not run, or its outcome not told.
#[derive(Debug)]
struct Failure(u8, String);

impl Failure {
    fn usage(error: &dyn std::error::Error) -> Self {
        Self(USAGE, chain(error))
    }

    fn could_not(what: &str, error: &dyn std::error::Error) -> Self {
        Self(COULD_NOT_RUN, format!("{what}: {}", chain(error)))
    }
}

/// Runs a command to its end. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(execute(args)),
        Err(error) => Err(Failure::could_not("cannot start", &error)),
    };
    match done {
        Ok(code) => code,
        Err(Failure(code, text)) => {
            say(&text);
            code
        }
    }
}

async fn execute(args: &Args) -> Result<u8, Failure> {
    // A variable that is no text holds no connection string.
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let found = environment::look(&environment, &args.env).map_err(|e| Failure::usage(&e))?;
    if found.servers.is_empty() {
        let looked = if args.env.is_empty() {
            "the environment names no server: no redis://, postgres://, postgresql:// or http:// URL, and no PGHOST"
        } else {
            "the variables of --env name no server"
        };
        return Err(Failure(USAGE, looked.to_owned()));
    }
    let config = configuration(&found, args.seed);
    config
        .check("environment")
        .map_err(|e: Problems| Failure(USAGE, e.to_string()))?;
    let listen = config.admin.clone();
    let server = Server::start(config)
        .await
        .map_err(|e| Failure::could_not("cannot start the proxies", &e))?;
    let admin = Admin::start(server.clone(), &listen)
        .map_err(|e| Failure::could_not("cannot start", &e))?;
    for name in &args.profile {
        server
            .enable_profile(name, None, None)
            .map_err(|e| Failure::usage(&e))?;
    }
    let through = announce(&server, &found);
    let mut signals =
        Signals::catch().map_err(|e| Failure::could_not("cannot wait for signals", &e))?;
    record(args, &server).await?;
    let began = Instant::now();
    let admin = admin.address().to_string();
    let child = match start(args, &found.through(&addresses(&server, &through)), &admin) {
        Ok(child) => child,
        Err(error) => {
            server.stop_recording().await;
            let what = format!("cannot run {:?}", args.command[0]);
            return Err(Failure::could_not(&what, &error));
        }
    };
    let status = tokio::select! {
        status = ended(child, &mut signals) => status,
        () = server.keep_time() => None,
    };
    let outcome = Outcome {
        command: args.command.clone(),
        exit_code: status.map_or(COULD_NOT_RUN, code),
        seconds: began.elapsed().as_secs_f64(),
        seed: server.seed(),
        profiles: args.profile.clone(),
        proxies: through,
        stats: settled(&server).await,
    };
    server.drain(Duration::ZERO).await;
    server.stop_recording().await;
    tell(args, &outcome)?;
    Ok(outcome.exit_code)
}

/// Begins to record, if that is wanted.
async fn record(args: &Args, server: &Server) -> Result<(), Failure> {
    let Some(folder) = &args.record else {
        return Ok(());
    };
    let path = server.record_to(folder, DEFAULT_LIMIT).await;
    let path = path.map_err(|e| Failure::could_not("cannot record", &e))?;
    say(&format!("recording to {}", path.display()));
    Ok(())
}

/// Starts the command, with its variables led through the proxies.
fn start(args: &Args, through: &[(String, String)], admin: &str) -> io::Result<Child> {
    let variables = through.iter().map(|(name, value)| (name, value));
    Command::new(&args.command[0])
        .args(&args.command[1..])
        .envs(variables)
        .env("BROWNOUT_ADMIN", admin)
        .spawn()
}

/// A proxy before each server, on ports that the system chooses.
fn configuration(found: &Found, seed: Option<u64>) -> Config {
    let local = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let proxies = found.servers.iter().map(|server| {
        let kind = server.protocol.name();
        let number = counts.entry(kind).or_default();
        *number += 1;
        let name = match number {
            1 => kind.to_owned(),
            number => format!("{kind}-{number}"),
        };
        ProxyConfig {
            name,
            protocol: server.protocol,
            listen: local.clone(),
            upstream: server.upstream.clone(),
            slo: Slo::default(),
            routes: Vec::new(),
            pool: None,
            connect_timeout: CONNECT_TIMEOUT,
            probe: crate::config::Probe::default(),
        }
    });
    Config {
        proxies: proxies.collect(),
        admin: local.clone(),
        seed,
        ..Config::default()
    }
}

/// Says what leads where. The proxies stand in the order of the servers.
fn announce(server: &Server, found: &Found) -> Vec<Through> {
    for (variable, why) in &found.left {
        say(&format!("{variable} is left as it is: {why}"));
    }
    let config = configuration(found, None);
    let names = config.proxies.into_iter().map(|p| p.name);
    let through: Vec<Through> = names
        .zip(&found.servers)
        .map(|(name, server)| Through {
            name,
            upstream: server.upstream.to_string(),
            variables: server.variables.clone(),
        })
        .collect();
    for one in &through {
        if let Ok(info) = server.proxy(&one.name) {
            let (variables, listen) = (one.variables.join(", "), info.config.listen);
            let (name, upstream) = (&one.name, &one.upstream);
            say(&format!(
                "{variables}: proxy {name} on {listen} -> {upstream}"
            ));
        }
    }
    through
}

/// Host and port of each proxy.
fn addresses(server: &Server, through: &[Through]) -> Vec<(String, u16)> {
    let listen = |one: &Through| server.proxy(&one.name).map(|info| info.config.listen);
    through
        .iter()
        .map(|one| match listen(one) {
            Ok(Listen::Tcp(address)) => (address.ip().to_string(), address.port()),
            // They were made to listen on TCP.
            _ => (Ipv4Addr::LOCALHOST.to_string(), 0),
        })
        .collect()
}

/// The figures, once the sessions of the command have ended: its last bytes may still be on their way.
async fn settled(server: &Server) -> crate::measure::stats::Stats {
    let until = Instant::now() + Duration::from_millis(500);
    while server.proxies().iter().any(|p| p.sessions > 0) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stats(None).await
}

/// Waits for the end of the command, and passes signals on to it.
async fn ended(mut child: Child, signals: &mut Signals) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (tell, mut told) = oneshot::channel();
    // A thread that waits costs nothing, and knows at once.
    std::thread::spawn(move || tell.send(child.wait().ok()));
    loop {
        tokio::select! {
            status = &mut told => return status.ok().flatten(),
            signal = passed_on(signals) => {
                if let Some(pid) = pid {
                    // It may have ended a moment ago.
                    let _ = rustix::process::kill_process(pid, signal);
                }
            }
        }
    }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> u8 {
    let signalled = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signalled).unwrap_or_default();
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The next signal that the command does not get anyway. Ctrl-C a terminal sends to the command, too: twice would be once too
/// often for one that takes the second for impatience. Who sends SIGHUP is not known, and twice does no harm.
async fn passed_on(signals: &mut Signals) -> Signal {
    loop {
        match signals.next().await {
            Signal::INT if of_terminal() => {}
            signal => return signal,
        }
    }
}

/// Whether we are in the foreground of a terminal.
fn of_terminal() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn tell(args: &Args, outcome: &Outcome) -> Result<(), Failure> {
    let unwritten = |path: &Path, e: &io::Error| {
        Failure::could_not(&format!("cannot write {}", path.display()), e)
    };
    // Figures and texts: serialization has nothing to fail on.
    let mut document = serde_json::to_string_pretty(outcome).unwrap_or_default();
    document.push('\n');
    if let Some(folder) = &args.report {
        let path = folder.join(REPORT);
        Folder::open(folder)
            .and_then(|folder| folder.write(REPORT, &document))
            .map_err(|e| unwritten(&path, &e))?;
    }
    match args.output {
        Output::Text => say(outcome.text().trim_end()),
        Output::Json => io::stdout()
            .write_all(document.as_bytes())
            .map_err(|e| unwritten(Path::new("stdout"), &e))?,
    }
    Ok(())
}
