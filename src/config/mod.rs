//! brownout.toml and profiles: model, validation with file, line and column, JSON Schema.
//!
//! The way of a file: [`read`] takes its text, bounded; `locate` parses it into a document that knows the place of every
//! value; `file` is what may stand in it; `check` makes a [`Config`] of it, or [`Problems`]: all of them, each with its
//! place, what is wrong, and what would be accepted. A [`Config`] that exists is valid.

pub mod address;
mod changes;
mod check;
mod clash;
pub mod duration;
mod file;
mod guards;
pub mod kind;
mod library;
pub(crate) mod locate;
mod probe;
pub mod problem;
mod profile;
pub mod read;
pub mod schema;
mod shorthand;
pub mod suggest;
mod written;

pub use address::{AddressError, Listen, Upstream};
pub use changes::{Change, Changes};
pub(crate) use check::profile_proxies;
pub use file::OnDesync;
pub use guards::{CHANGES_LOCAL, CHANGES_REMOTE, Guards, Limits};
pub use kind::Kind;
pub(crate) use library::{BUILT_IN, toml_files};
pub use library::{Broken, Library};
pub use probe::Probe;
pub use problem::{Problem, Problems};
pub use profile::Profile;
pub use shorthand::ShorthandError;

use crate::measure::Slo;
use crate::protocol::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port of the admin endpoint, which is Toxiproxy's: its clients find us.
pub const ADMIN_PORT: u16 = 8474;
/// How long connecting to an upstream may take where nothing is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sessions may go on after SIGTERM where nothing is said.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// The most worker threads.
pub const MAX_WORKERS: u32 = 256;
/// The most proxies.
pub const MAX_PROXIES: usize = 256;
/// The most routes of one proxy, and the most characters of one.
pub const MAX_ROUTES: usize = 256;
/// The folder of profiles beside the configuration, where nothing else is said.
pub const PROFILES_DIR: &str = "profiles";

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the admin endpoint listens. Beyond this machine only where `guards` has a file of tokens.
    pub admin: Listen,
    /// How the admin endpoint is guarded.
    pub guards: Guards,
    /// What no fault may go beyond.
    pub limits: Limits,
    /// The proxies, in the order of the file, with unique names.
    pub proxies: Vec<ProxyConfig>,
    /// Worker threads; `None`: one for each core.
    pub workers: Option<NonZeroU32>,
    /// Seed of the faults' dice; `None`: chosen at start.
    pub seed: Option<u64>,
    /// Folder of profiles where one was named; joined with `base`.
    pub profiles: Option<PathBuf>,
    /// Folder for `.hlog` files where they are wanted; joined with `base`.
    pub hlog: Option<PathBuf>,
    /// How long sessions may go on after SIGTERM; zero cuts them at once.
    pub drain_deadline: Duration,
    /// Sessions held at once over all proxies; `None`: what the descriptors allow.
    pub max_sessions: Option<NonZeroU32>,
    /// What happens to a session that cannot be decoded.
    pub on_desync: OnDesync,
    /// The folder of the file it was read from; empty: the working directory. The default folder of profiles is looked for in it.
    pub base: PathBuf,
    /// `TCP_USER_TIMEOUT` of both sides; `None`: the system's.
    pub tcp_user_timeout: Option<Duration>,
    /// Exchanges that the ledger keeps; 1 to [`MAX_CAPACITY`](crate::measure::ledger::MAX_CAPACITY).
    pub ledger: u32,
}

/// A valid proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Unique: 1 to 64 of `a-z0-9_.-`.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where clients connect.
    pub listen: Listen,
    /// The real server.
    pub upstream: Upstream,
    /// Limits on latency.
    pub slo: Slo,
    /// Known routes; empty where the protocol is not HTTP.
    pub routes: Vec<String>,
    /// The most connections of the service's pool, where declared.
    pub pool: Option<NonZeroU32>,
    /// How long connecting may take; never zero.
    pub connect_timeout: Duration,
    /// How the upstream is asked whether it works.
    pub probe: Probe,
}

impl Default for Config {
    /// No proxies, and the defaults that the example file tells.
    fn default() -> Self {
        Self {
            admin: Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT)),
            guards: Guards::default(),
            limits: Limits::default(),
            proxies: Vec::new(),
            workers: None,
            seed: None,
            profiles: None,
            hlog: None,
            drain_deadline: DRAIN_DEADLINE,
            max_sessions: None,
            on_desync: OnDesync::Pass,
            base: PathBuf::new(),
            tcp_user_timeout: None,
            ledger: crate::measure::ledger::CAPACITY,
        }
    }
}

impl Config {
    /// Reads and checks a file. Its relative paths are taken from its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = read::text(path)?;
        let mut config = Self::parse(&text, &path.display().to_string())?;
        config.base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let guards = &mut config.guards;
        for path in [
            &mut config.profiles,
            &mut config.hlog,
            &mut guards.token_file,
            &mut guards.halt_file,
            &mut guards.audit,
        ] {
            *path = path.take().map(|p| config.base.join(p));
        }
        Ok(config)
    }

    /// Checks a text. `origin` is how problems name it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Problems> {
        check::config(text, origin)
    }

    /// Checks the proxies against each other and the admin endpoint: after flags of the command line were added.
    ///
    /// # Errors
    /// Names that stand twice, addresses that collide, upstreams that are our own listeners. `origin` is how they are named.
    pub fn check(&self, origin: &str) -> Result<(), Problems> {
        check::together(self, origin)
    }

    /// The proxy of this name.
    pub fn proxy(&self, name: &str) -> Option<&ProxyConfig> {
        self.proxies.iter().find(|p| p.name == name)
    }
}

#[cfg(test)]
mod tests;
