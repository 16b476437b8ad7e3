//! Looks at processes, once a second, from /proc, and at containers from their cgroups; and the process that a test starts and ends
//! itself.

use super::cgroup;
use super::plan::{Test, Watch, Whom};
use crate::proxy::Server;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// What a look saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) memory: u64,
    pub(super) cpu: u64,
    pub(super) descriptors: u32,
    pub(super) threads: u32,
}

/// A process or a container that is looked at.
#[derive(Debug)]
pub(super) struct Watched {
    name: String,
    place: Place,
    gone: bool,
    child: Option<Child>,
}

/// Where to look.
#[derive(Debug)]
enum Place {
    Process(u32),
    Cgroup(PathBuf),
}

impl Watched {
    /// Finds or starts it.
    pub(super) fn find(watch: &Watch, addresses: &BTreeMap<String, String>) -> io::Result<Self> {
        let (pid, child) = match &watch.whom {
            Whom::Cgroup(folder) => {
                cgroup::check(folder)?;
                return Ok(Self {
                    name: watch.name.clone(),
                    place: Place::Cgroup(folder.clone()),
                    gone: false,
                    child: None,
                });
            }
            Whom::Pid(pid) => (*pid, None),
            Whom::Named(name) => (oldest(name)?, None),
            Whom::Listening(port) => (listening(*port)?, None),
            Whom::Started { command, env, .. } => {
                let child = start(command, env, addresses)?;
                (child.id().unwrap_or(0), Some(child))
            }
        };
        if !fs::exists(format!("/proc/{pid}"))? {
            let message = format!("there is no process {pid}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self {
            name: watch.name.clone(),
            place: Place::Process(pid),
            gone: false,
            child,
        })
    }

    /// Ends what was started here: SIGTERM, and after five seconds SIGKILL.
    pub(super) async fn end(mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = child.id().and_then(|p| i32::try_from(p).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(Duration::from_secs(5), child.wait())
            .await
            .is_err()
        {
            let _ = child.kill().await;
        }
    }

    /// Whether what was started here has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

/// The service under test, where it is started here: once the proxies of the first part listen, and ended after the last.
#[derive(Debug, Default)]
pub(crate) struct Companion {
    command: Vec<String>,
    started: Option<Watched>,
}

impl Companion {
    /// Nothing to start where the command is empty.
    pub(crate) fn new(command: Vec<String>) -> Self {
        Self {
            command,
            started: None,
        }
    }

    /// Starts it, the first time, and waits until every upstream accepts connections.
    pub(super) async fn begin(
        &mut self,
        test: &Test,
        addresses: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        if self.command.is_empty() {
            return Ok(());
        }
        if self.started.is_none() {
            let watch = Watch {
                name: "service".into(),
                whom: Whom::Started {
                    command: self.command.clone(),
                    env: BTreeMap::new(),
                    ready_within: READY,
                },
            };
            self.started = Some(Watched::find(&watch, addresses)?);
        }
        upstreams_ready(test, READY).await
    }

    /// Ends it, if it was started.
    pub(crate) async fn end(&mut self) {
        if let Some(started) = self.started.take() {
            started.end().await;
        }
    }
}

/// How long the service may take until everything accepts connections.
const READY: Duration = Duration::from_secs(30);

/// Waits until the upstreams of all proxies accept connections.
pub(super) async fn upstreams_ready(test: &Test, within: Duration) -> io::Result<()> {
    for proxy in &test.proxies {
        let upstream = proxy.upstream.to_string();
        if !upstream.starts_with("unix:") && !ready(&upstream, within).await {
            let within = humantime::format_duration(within);
            let message = format!("{upstream} accepted no connection within {within}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    Ok(())
}

/// Puts addresses of proxies into a value: `{proxy:NAME}`.
pub(super) fn placed(value: &str, addresses: &BTreeMap<String, String>) -> String {
    addresses
        .iter()
        .fold(value.to_owned(), |value, (name, address)| {
            value.replace(&format!("{{proxy:{name}}}"), address)
        })
}

fn start(
    command: &[String],
    env: &BTreeMap<String, String>,
    addresses: &BTreeMap<String, String>,
) -> io::Result<Child> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    Command::new(program)
        .args(arguments.iter().map(|a| placed(a, addresses)))
        .envs(
            env.iter()
                .map(|(name, value)| (name, placed(value, addresses))),
        )
        .stdin(Stdio::null())
        // Standard output is for results.
        .stdout(Stdio::from(io::stderr()))
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("{program} cannot be started: {e}")))
}

fn oldest(name: &str) -> io::Result<u32> {
    let own = std::process::id();
    let mut found: Vec<u32> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim_end() == name)
        })
        .collect();
    found.sort_unstable();
    found.first().copied().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no process is named {name:?}"),
        )
    })
}

/// The oldest process that listens on a TCP port (proc(5): `net/tcp` has the inode, `PID/fd` who holds it).
fn listening(port: u16) -> io::Result<u32> {
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    let mut sockets = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = fields[..]
                && local.ends_with(&wanted)
            {
                sockets.push(format!("socket:[{inode}]"));
            }
        }
    }
    let holds = |pid: &u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        open.flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|target| {
                sockets
                    .iter()
                    .any(|socket| target.as_os_str() == socket.as_str())
            })
    };
    let all = fs::read_dir("/proc")?;
    let mut pids: Vec<u32> = all
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().find(holds).ok_or_else(|| {
        let message = format!("no process of ours listens on port {port}");
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// A look at a process. The proportional set size where the kernel tells it.
pub(super) fn look(pid: u32) -> io::Result<Look> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let kilobytes = |text: &str, key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").trim().parse().ok()
    };
    let status = read("status")?;
    let memory = read("smaps_rollup")
        .ok()
        .and_then(|text| kilobytes(&text, "Pss:"))
        .or_else(|| kilobytes(&status, "VmRSS:"))
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let threads = kilobytes(&status, "Threads:").unwrap_or(0);
    // proc_pid_stat(5): the name may hold anything, so fields are counted from its end; utime is the 14th, stime the 15th.
    let stat = read("stat")?;
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Ok(Look {
        memory: memory * 1024,
        cpu: (ticks(11) + ticks(12)) * tick,
        descriptors: u32::try_from(descriptors).unwrap_or(u32::MAX),
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
    })
}

/// Waits until a server accepts connections there.
pub(super) async fn ready(address: &str, within: Duration) -> bool {
    let until = Instant::now() + within;
    while Instant::now() < until {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Notes a look at each of them.
pub(super) async fn note(server: &Server, watched: &mut [Watched]) {
    use crate::measure::trace::Record;
    for process in watched.iter_mut().filter(|w| !w.gone) {
        let seen = if process.has_ended() {
            Err(io::Error::from(io::ErrorKind::NotFound))
        } else {
            match &process.place {
                Place::Process(pid) => look(*pid).map(|look| (*pid, look)),
                Place::Cgroup(folder) => cgroup::look(folder),
            }
        };
        let name = process.name.clone();
        if let Ok((pid, look)) = seen {
            server
                .note(|names, at| Record::Watched {
                    at,
                    target: names.name(&name),
                    pid,
                    memory: look.memory,
                    cpu: look.cpu,
                    descriptors: look.descriptors,
                    threads: look.threads,
                })
                .await;
        } else {
            process.gone = true;
            server
                .note(|names, at| Record::Gone {
                    at,
                    target: names.name(&name),
                })
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_a_process() {
        let look = look(std::process::id()).expect("this one");
        assert!(
            look.memory > 100_000 && look.threads >= 1 && look.descriptors >= 3,
            "{look:?}"
        );
    }

    #[test]
    fn finds_who_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        assert_eq!(listening(port).expect("this one"), std::process::id());
        drop(listener);
        assert!(listening(port).is_err());
    }

    #[test]
    fn puts_addresses_into_values() {
        let addresses = BTreeMap::from([("redis".to_owned(), "127.0.0.1:7".to_owned())]);
        assert_eq!(
            placed("redis://{proxy:redis}/0", &addresses),
            "redis://127.0.0.1:7/0"
        );
    }
}
