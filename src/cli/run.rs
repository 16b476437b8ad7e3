//! `brownout run`: the proxies, until a signal ends them.

use super::{COULD_NOT_RUN, USAGE, chain, say};
use crate::admin::{Admin, AdminError, populate_file};
use crate::config::{Config, Listen, Problems, ProxyConfig};
use crate::measure::trace::DEFAULT_LIMIT;
use crate::protocol::Protocol;
use crate::proxy::{Server, StartError, limits};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How often the configuration file is looked at for a change.
const WATCH: Duration = Duration::from_millis(500);

/// How often the HALT file is looked for: what it stops is over well within 100 ms.
const HALT_WATCH: Duration = Duration::from_millis(25);

/// Run proxies in front of real servers.
///
/// Give proxies on the command line or in a file; both may be used together. Each connection to LISTEN is carried to UPSTREAM
/// unchanged, decoded and measured. LISTEN is a port (on 127.0.0.1), addr:port, or `unix:/path`; port 0 picks a free one and
/// prints it. UPSTREAM is host:port or `unix:/path`.
///
/// SIGTERM and Ctrl-C stop accepting, let sessions end, and end them at the drain deadline; a second signal ends at once.
/// SIGHUP, or a change of the file, reloads it: sessions of unchanged proxies live on, and a broken file changes nothing.
/// SIGUSR1 switches all faults off, and keeps them off until `brownout halt --resume`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout run --redis 26379=localhost:6379
  brownout run --redis cache@26379=localhost:6379 --http 28080=localhost:8000
  brownout run --postgres 0=unix:/run/postgresql/.s.PGSQL.5432
  brownout run --config brownout.toml --profile redis-slow
  brownout run --toxiproxy-config toxiproxy.json

Then, beside it: brownout stats, brownout profile list, brownout halt;
Prometheus reads http://127.0.0.1:8474/metrics.

Exit codes: 0: ended by a signal; 2: wrong usage or configuration;
4: could not run, such as for an address that is taken.")]
pub struct Args {
    /// Configuration file; see brownout.example.toml and `brownout schema config`.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A proxy that speaks Redis, like 26379=localhost:6379.
    #[arg(long, value_name = "[NAME@]LISTEN=UPSTREAM")]
    pub redis: Vec<String>,
    /// A proxy that speaks Postgres, like 25432=localhost:5432.
    #[arg(long, value_name = "[NAME@]LISTEN=UPSTREAM")]
    pub postgres: Vec<String>,
    /// A proxy that speaks HTTP/1, like 28080=localhost:8000.
    #[arg(long, value_name = "[NAME@]LISTEN=UPSTREAM")]
    pub http: Vec<String>,
    /// A proxy that passes bytes without looking into them.
    #[arg(long, value_name = "[NAME@]LISTEN=UPSTREAM")]
    pub tcp: Vec<String>,
    /// Proxies from a file that Toxiproxy takes as its configuration.
    #[arg(long, value_name = "FILE")]
    pub toxiproxy_config: Option<PathBuf>,
    /// A profile to switch on at start; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Where the admin endpoint listens: a loopback address, `unix:/path`, or with a token file any address. [default: 127.0.0.1:8474]
    #[arg(long, value_name = "LISTEN")]
    pub admin: Option<String>,
    /// Accept that the admin endpoint is reached from other machines without TLS: whoever is on the way can read tokens. Needs
    /// `token_file` in the configuration.
    #[arg(long)]
    pub admin_insecure_plaintext: bool,
    /// Threads that carry sessions. [default: one for each core]
    #[arg(long, value_name = "N")]
    pub workers: Option<std::num::NonZeroU32>,
    /// Folder for HdrHistogram logs: a new file with the latencies of each second, in microseconds, by proxy and operation.
    #[arg(long, value_name = "DIR")]
    pub hlog: Option<PathBuf>,
    /// Folder for a recording of everything that passes, for `brownout insight`: names, sizes and times, never a payload.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// Seed of the faults' dice; the same seed gives the same faults. [default: of the clock, and printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What is logged to stderr: error, warn, info, debug, trace, or a filter like brownout=debug.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "BROWNOUT_LOG",
        hide_env_values = true, value_parser = filter)]
    pub log: String,
}

/// A filter that can be used, as it was written.
fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; write a level like debug, or brownout=debug"
        )),
    }
}

/// Runs until a signal ends it. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    let config = match configuration(args) {
        Ok(config) => config,
        Err(problems) => {
            say(&problems.to_string());
            return USAGE;
        }
    };
    log_to_stderr(&args.log);
    limits::no_core_dump();
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
    runtime.block_on(serve(args, config))
}

/// The file, with what the flags add to it.
fn configuration(args: &Args) -> Result<Config, Problems> {
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let flags = [
        (Protocol::Redis, &args.redis),
        (Protocol::Postgres, &args.postgres),
        (Protocol::Http, &args.http),
        (Protocol::Tcp, &args.tcp),
    ];
    let words = flags
        .into_iter()
        .flat_map(|(p, texts)| texts.iter().map(move |t| (p, t.as_str())));
    let added = ProxyConfig::from_shorthands(&config.proxies, words)
        .map_err(|e| Problems::of_file("command line", &e.message, &e.remedy))?;
    config.proxies.extend(added);
    if let Some(admin) = &args.admin {
        config.admin = admin
            .parse::<Listen>()
            .map_err(|e| Problems::of_file("--admin", &e.message, &e.remedy))?;
    }
    config.workers = args.workers.or(config.workers);
    config.seed = args.seed.or(config.seed);
    config.hlog = args.hlog.clone().or(config.hlog);
    let origin = args
        .config
        .as_ref()
        .map_or("command line".into(), |p| p.display().to_string());
    config.check(&origin)?;
    check_exposure(args, &config)?;
    // Those of Toxiproxy's file come later, and over the admin endpoint more of them.
    if config.proxies.is_empty() && args.toxiproxy_config.is_none() {
        return Err(Problems::of_file(
            &origin,
            "there is no proxy to run",
            "give one, like --redis 26379=localhost:6379, or a [[proxy]] table in a file with --config",
        ));
    }
    Ok(config)
}

/// Beyond this machine there must be tokens, and somebody must have said that they go in the clear.
fn check_exposure(args: &Args, config: &Config) -> Result<(), Problems> {
    let admin = &config.admin;
    let refuse = |message: &str, remedy: &str| {
        let message = format!("{admin} can be reached from other machines, and {message}");
        Err(Problems::of_file("--admin", &message, remedy))
    };
    if admin.is_local() {
        return Ok(());
    }
    if config.guards.token_file.is_none() {
        return refuse(
            "the endpoint asks for no token",
            "listen on a loopback address or a unix socket, or name a token_file below [admin]",
        );
    }
    if !args.admin_insecure_plaintext {
        return refuse(
            "there is no TLS: whoever is on the way can read the tokens",
            "listen on a loopback address or a unix socket, or accept it with --admin-insecure-plaintext",
        );
    }
    Ok(())
}

fn log_to_stderr(filter: &str) {
    // It was tried when it was read.
    let filter = EnvFilter::new(filter);
    // A second subscriber in one process (tests) is not an error worth more than this.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}

async fn serve(args: &Args, config: Config) -> u8 {
    let drain = config.drain_deadline;
    let admin_listen = config.admin.clone();
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => {
            say(&format!("{}{}", chain(&error), other_port(&error)));
            return COULD_NOT_RUN;
        }
    };
    if let Some(dir) = &args.record {
        match server.record_to(dir, DEFAULT_LIMIT).await {
            Ok(path) => say(&format!("recording to {}", path.display())),
            Err(error) => {
                say(&chain(&error));
                return COULD_NOT_RUN;
            }
        }
    }
    let admin = match Admin::start(server.clone(), &admin_listen) {
        Ok(admin) => admin,
        Err(error) => {
            say(&format!("{}{}", chain(&error), hint(&error)));
            return COULD_NOT_RUN;
        }
    };
    if let Some(path) = halt_file_that_is_there(&server) {
        halted_by_file(&server, &admin, &path);
    }
    if let Some(path) = &args.toxiproxy_config
        && let Err(error) = populate_file(&server, path).await
    {
        say(&chain(&error));
        return USAGE;
    }
    for name in &args.profile {
        if let Err(error) = server.enable_profile(name, None, None) {
            say(&chain(&error));
            return USAGE;
        }
    }
    // Before anyone is told that we run: whoever reads it may send one at once.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("cannot wait for signals: {error}"));
            return COULD_NOT_RUN;
        }
    };
    announce(&server, &admin);
    tokio::select! {
        () = server.keep_time() => {}
        () = watch_file(args, &server) => {}
        () = signals.obey(args, &server, &admin) => {}
        () = watch_halt_file(&server, &admin) => {}
    }
    let code = stop(&server, drain, &mut signals).await;
    server.stop_recording().await;
    code
}

/// What to do about an address that cannot be had.
fn other_port(error: &StartError) -> &'static str {
    match error {
        StartError::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse => {
            "; another program listens there: end it, or let the proxy listen on another port (0 picks a free one)"
        }
        StartError::Listen { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            "; ports below 1024 take rights of their own: choose one above"
        }
        _ => "",
    }
}

/// What to do about it, where the likeliest reason is another brownout.
fn hint(error: &AdminError) -> &'static str {
    match error {
        AdminError::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse => {
            "; if another brownout runs there, give this one --admin with a port of its own"
        }
        _ => "",
    }
}

/// Says what runs, on stderr: one line for each listener, for people and for scripts.
fn announce(server: &Server, admin: &Admin) {
    for proxy in server.proxies() {
        let config = proxy.config;
        let (name, protocol) = (&config.name, config.protocol.name());
        say(&format!(
            "proxy {name} {protocol} listening on {} -> {}",
            config.listen, config.upstream
        ));
    }
    let limits = server.limits();
    say(&format!(
        "{} workers, at most {} sessions ({} descriptors), seed {}",
        server.workers(),
        limits.sessions,
        limits.descriptors,
        server.seed(),
    ));
    say(&format!("admin listening on {}", admin.address()));
    if let Some(metrics) = admin.metrics() {
        say(&format!("metrics listening on {metrics}"));
    }
    if !admin.address().is_local() {
        tracing::warn!(
            "the admin endpoint can be reached from other machines without TLS (--admin-insecure-plaintext)"
        );
    }
}

/// The signals that are caught.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    halt: Signal,
    /// A file that reached the limit on its size: caught, so that writing fails instead of ending us.
    _full: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            halt: signal(SignalKind::user_defined1())?,
            _full: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// Acts on signals until one ends us.
    async fn obey(&mut self, args: &Args, server: &Server, admin: &Admin) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    reload(args, server).await;
                    admin.note("signal", "SIGHUP");
                }
                _ = self.halt.recv() => {
                    let ended = server.halt();
                    admin.note("signal", "SIGUSR1: halt");
                    say(&format!("halted: {} faults switched off", ended.len()));
                }
            }
        }
    }

    /// The next signal to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reloads when the file changes. A file that is being written is looked at again when it has settled.
async fn watch_file(args: &Args, server: &Server) {
    let Some(path) = &args.config else {
        return std::future::pending().await;
    };
    let mut seen = stamp(path);
    let mut interval = tokio::time::interval(WATCH);
    loop {
        interval.tick().await;
        let now = stamp(path);
        if now.is_some() && now != seen {
            tokio::time::sleep(WATCH / 5).await;
            if stamp(path) == now {
                seen = now;
                reload(args, server).await;
            }
        }
    }
}

/// Halts while the HALT file is there, if one is configured: whoever can write a file can stop everything, with no network.
async fn watch_halt_file(server: &Server, admin: &Admin) {
    if server.config().guards.halt_file.is_none() {
        return std::future::pending().await;
    }
    let mut interval = tokio::time::interval(HALT_WATCH);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if !server.is_halted()
            && let Some(path) = halt_file_that_is_there(server)
        {
            halted_by_file(server, admin, &path);
        }
    }
}

fn halt_file_that_is_there(server: &Server) -> Option<PathBuf> {
    let path = server.config().guards.halt_file;
    path.filter(|path| path.symlink_metadata().is_ok())
}

fn halted_by_file(server: &Server, admin: &Admin, path: &Path) {
    let ended = server.halt();
    let (ended, name) = (ended.len(), path.display());
    say(&format!("halted by {name}: {ended} faults switched off"));
    admin.note("file", "halt");
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

async fn reload(args: &Args, server: &Server) {
    if args.config.is_none() {
        say("nothing to reload: there is no configuration file");
        return;
    }
    let problem = match configuration(args) {
        Ok(config) => match server.reload(config).await {
            Ok(restart) if restart.is_empty() => return say("reloaded"),
            Ok(restart) => {
                return say(&format!(
                    "reloaded; these take effect with a restart: {}",
                    restart.join(", ")
                ));
            }
            Err(error) => chain(&error),
        },
        Err(problems) => problems.to_string(),
    };
    server.reload_failed(&problem);
    say(&format!(
        "not reloaded, the configuration in force stays:\n{problem}"
    ));
}

/// Drains, and ends at once at a second signal. Meanwhile figures are taken and faults end as ever.
async fn stop(server: &Server, deadline: Duration, signals: &mut Signals) -> u8 {
    let shown = humantime::format_duration(deadline);
    say(&format!("stopping: sessions have {shown} to end"));
    tokio::select! {
        cut = server.drain(deadline) => {
            if cut > 0 {
                say(&format!("{cut} sessions were cut at the deadline"));
            }
        }
        () = server.keep_time() => {}
        () = signals.end() => say("stopped at once"),
    }
    0
}
