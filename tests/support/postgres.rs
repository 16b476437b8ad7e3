//! A private PostgreSQL server.

use super::{Directory, Process, free_port};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const REMEDY: &str = "install PostgreSQL (Debian: apt-get install postgresql; macOS: brew install postgresql), \
    or run tests/run, which does";
const START_LIMIT: Duration = Duration::from_secs(30);

/// A PostgreSQL server on a free port of 127.0.0.1: superuser `postgres`, trust authentication, no fsync.
pub(crate) struct Postgres {
    process: Process,
    port: u16,
    directory: Directory,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let programs = programs();
        let directory = Directory::new("pg");
        let data = directory.path().join("data");
        let owner = unprivileged(directory.path());
        let mut initdb = owner.command(&programs.join("initdb"));
        initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(&data);
        let done = initdb
            .output()
            .unwrap_or_else(|e| panic!("cannot start initdb: {e}; {REMEDY}"));
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "initdb failed: {complaint}");

        let port = free_port();
        let mut command = owner.command(&programs.join("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .arg("-k")
            .arg(directory.path())
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "fsync=off", "-c", "max_connections=200"]);
        let process = Process::start(&mut command, REMEDY);
        let mut postgres = Self {
            process,
            port,
            directory,
        };
        postgres.wait_until_ready(&programs);
        postgres
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Directory that holds its unix socket, `.s.PGSQL.PORT`.
    pub(crate) fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs SQL with psql, straight to the server; gives the unaligned rows.
    pub(crate) fn query(&self, sql: &str) -> String {
        psql(&programs(), self.port, sql).unwrap_or_else(|e| panic!("psql: {e}"))
    }

    /// Ready means: the server that answers on the port serves the directory we made.
    fn wait_until_ready(&mut self, programs: &Path) {
        let (port, data) = (self.port, self.directory.path().join("data"));
        self.process.until(START_LIMIT, |_| {
            let served = psql(programs, port, "show data_directory").ok()?;
            assert!(
                fs::canonicalize(served.trim()).ok() == fs::canonicalize(&data).ok(),
                "port {port} was taken by another PostgreSQL between choosing and using it; run the test again"
            );
            Some(())
        });
    }
}

fn psql(programs: &Path, port: u16, sql: &str) -> Result<String, String> {
    let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres?connect_timeout=5");
    // Debian keeps psql on the PATH and the server off it; elsewhere they lie side by side.
    let beside = programs.join("psql");
    let program = if beside.is_file() {
        beside
    } else {
        "psql".into()
    };
    let output = Command::new(program)
        .args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "-c",
            sql,
            &url,
        ])
        .output()
        .map_err(|e| format!("{e}; {REMEDY}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Where `initdb` and `postgres` are: Debian and Homebrew keep them off the PATH, in a directory a major version.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let versioned = [
        "/usr/lib/postgresql",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/usr/pgsql",
    ]
    .iter()
    .filter_map(|parent| fs::read_dir(parent).ok())
    .flatten()
    .filter_map(Result::ok)
    .map(|entry| entry.path().join("bin"));
    on_path
        .into_iter()
        .chain(versioned)
        .find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .unwrap_or_else(|| panic!("initdb was not found; {REMEDY}"))
}

/// Who runs the server: ourselves, unless we are root, as whom PostgreSQL refuses to run.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Wherever we were started, that directory may be closed to the other user.
        command.current_dir("/");
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Gives `directory` to the user who will run the server.
fn unprivileged(directory: &Path) -> Owner {
    let made_by = fs::metadata(directory).map_or(0, |m| m.uid());
    if made_by != 0 {
        return Owner(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (uid, gid) = ["postgres", "nobody"]
        .iter()
        .find_map(|name| user(&passwd, name))
        .unwrap_or_else(|| {
            panic!("run as root, and there is neither a user postgres nor nobody to run it as")
        });
    chown(directory, Some(uid), Some(gid))
        .unwrap_or_else(|e| panic!("cannot give {} away: {e}", directory.display()));
    Owner(Some((uid, gid)))
}

fn user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
