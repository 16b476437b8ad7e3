//! Looks at processes, once a second, from /proc, and at containers from their cgroups.

use super::cgroup;
use super::output::Outputs;
use super::plan::{Watch, Whom};
use super::progress::Progress;
use super::started::Started;
use crate::proxy::Server;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

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
    /// Where it was started here.
    started: Option<Started>,
}

/// Where to look.
#[derive(Debug)]
enum Place {
    Process(u32),
    Cgroup(PathBuf),
}

impl Watched {
    /// Finds or starts it. `test`: the name of the test, for what it says.
    pub(super) fn find(
        watch: &Watch,
        test: &str,
        addresses: &BTreeMap<String, String>,
        outputs: &mut Outputs,
    ) -> io::Result<Self> {
        let (pid, started) = match &watch.whom {
            Whom::Cgroup(folder) => {
                cgroup::check(folder)?;
                return Ok(Self {
                    name: watch.name.clone(),
                    place: Place::Cgroup(folder.clone()),
                    gone: false,
                    started: None,
                });
            }
            Whom::Pid(pid) => (*pid, None),
            Whom::Named(name) => (oldest(name)?, None),
            Whom::Listening(port) => (listening(*port)?, None),
            Whom::Started { command, env, .. } => {
                let name = format!("{test}-{}", watch.name);
                let started = Started::new(&name, command, env, addresses, outputs)?;
                (started.pid(), Some(started))
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
            started,
        })
    }

    /// What was started here.
    pub(super) const fn started(&mut self) -> Option<&mut Started> {
        self.started.as_mut()
    }

    /// Ends what was started here.
    pub(super) async fn end(self) {
        if let Some(started) = self.started {
            started.end().await;
        }
    }
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

/// Notes a look at each of them, and says which of those that were started here has ended by itself.
pub(super) async fn note(server: &Server, watched: &mut [Watched], progress: &dyn Progress) {
    use crate::measure::trace::Record;
    for process in watched.iter_mut().filter(|w| !w.gone) {
        let ended = process.started.as_mut().and_then(Started::ended);
        let seen = match (ended, &process.place) {
            (Some(how), _) => {
                progress.say(&how);
                Err(io::Error::from(io::ErrorKind::NotFound))
            }
            (None, Place::Process(pid)) => look(*pid).map(|look| (*pid, look)),
            (None, Place::Cgroup(folder)) => cgroup::look(folder),
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
}
