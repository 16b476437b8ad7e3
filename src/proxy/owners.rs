//! Which process has the client's end of a connection, for recordings: a service with several processes has as many breakers.
//!
//! Linux tells it to whoever may see that process: /proc/net/tcp (proc(5)) gives the socket of an address pair, and the
//! descriptors of the processes say who holds it. That takes milliseconds, so a thread of its own does it, only while somebody
//! records. A client in another network namespace, one of another user, and a socket that several processes hold have no owner
//! that is known; elsewhere than on Linux no connection has.

use crate::measure::ProxyId;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Connections that wait to be looked up; of further ones the owner stays unknown.
const MAX_WAITING: usize = 4_096;

/// A connection whose owner is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub(crate) proxy: ProxyId,
    /// Its ordinal on the proxy.
    pub(crate) session: u64,
    /// The client's end.
    pub(crate) client: SocketAddr,
    /// Our end.
    pub(crate) here: SocketAddr,
}

/// Those that wait to be looked up.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Vec<Newcomer>>);

impl Waiting {
    /// One more.
    pub(crate) fn add(&self, newcomer: Newcomer) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING {
            waiting.push(newcomer);
        }
    }

    fn take(&self) -> Vec<Newcomer> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::watch;

/// Nobody can be asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn watch(process: &std::sync::Arc<super::shared::Process>) {
    drop(process.newcomers.take());
}

#[cfg(target_os = "linux")]
mod linux {
    use super::super::clock;
    use super::super::shared::Process;
    use super::{MAX_WAITING, Newcomer};
    use crate::measure::trace::Record;
    use std::collections::{HashMap, HashSet};
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// How often it looks whether somebody came.
    const EVERY: Duration = Duration::from_millis(50);

    /// How often it looks through all processes at most; those that had a connection before are asked first.
    const ALL_EVERY: Duration = Duration::from_millis(500);

    /// Times that a connection is looked for.
    const TRIES: u32 = 15;

    /// Rows, processes, and descriptors of one process that are read at most.
    const MAX_ROWS: usize = 1 << 17;
    const MAX_PROCESSES: usize = 1 << 14;
    const MAX_DESCRIPTORS: usize = 1 << 16;

    /// Processes that are asked first, at most.
    const MAX_KNOWN: usize = 64;

    type Ends = (SocketAddr, SocketAddr);

    /// Starts the thread that looks owners up, which ends with the recording or the process that is recorded.
    pub(crate) fn watch(process: &Arc<Process>) {
        drop(process.newcomers.take());
        let process = Arc::downgrade(process);
        let started = std::thread::Builder::new()
            .name("owners".into())
            .spawn(move || {
                let mut seeker = Seeker::default();
                loop {
                    std::thread::sleep(EVERY);
                    let Some(process) = process.upgrade() else {
                        return;
                    };
                    if !process.is_recording() {
                        return;
                    }
                    seeker.look(process.newcomers.take(), |newcomer, pid| {
                        let record = Record::Owner {
                            at: clock::now(),
                            proxy: newcomer.proxy,
                            session: newcomer.session,
                            pid,
                        };
                        process.aside().write(newcomer.proxy, || record);
                    });
                }
            });
        if let Err(error) = started {
            tracing::warn!(%error, "the owners of connections are not looked up");
        }
    }

    #[derive(Debug, Default)]
    struct Seeker {
        /// Not found yet, and how often that was tried.
        wanted: Vec<(Newcomer, u32)>,
        known: Vec<u32>,
        looked_at_all: Option<Instant>,
    }

    impl Seeker {
        fn look(&mut self, newcomers: Vec<Newcomer>, mut found: impl FnMut(&Newcomer, u32)) {
            let room = MAX_WAITING.saturating_sub(self.wanted.len());
            let more = newcomers.into_iter().take(room).map(|n| (n, 0));
            self.wanted.extend(more);
            if self.wanted.is_empty() {
                return;
            }
            let pairs: HashSet<Ends> = self.wanted.iter().map(|(n, _)| ends(n)).collect();
            let sockets = sockets(&pairs);
            let wanted: HashSet<u64> = sockets.values().copied().collect();
            let mut owners = owners(self.known.iter().copied(), &wanted);
            let due = self
                .looked_at_all
                .is_none_or(|at| at.elapsed() >= ALL_EVERY);
            if owners.len() < wanted.len() && due {
                self.looked_at_all = Some(Instant::now());
                owners = self::owners(processes(), &wanted);
            }
            self.wanted.retain_mut(|(newcomer, tries)| {
                *tries += 1;
                // Without a row it is closed, or of another network namespace.
                let owner = sockets.get(&ends(newcomer)).map(|s| owners.get(s));
                match owner {
                    Some(Some(Owner::One(pid))) => {
                        if !self.known.contains(pid) && self.known.len() < MAX_KNOWN {
                            self.known.push(*pid);
                        }
                        found(newcomer, *pid);
                        false
                    }
                    Some(Some(Owner::Several)) | None => false,
                    Some(None) => *tries < TRIES,
                }
            });
        }
    }

    fn ends(newcomer: &Newcomer) -> Ends {
        (plain(newcomer.client), plain(newcomer.here))
    }

    /// IPv4 as IPv4, however the socket has it.
    fn plain(address: SocketAddr) -> SocketAddr {
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// The inodes of the sockets with these local and remote ends.
    fn sockets(ends: &HashSet<Ends>) -> HashMap<Ends, u64> {
        let mut found = HashMap::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let Ok(file) = File::open(table) else {
                continue;
            };
            let rows = BufReader::new(file).lines().map_while(Result::ok);
            for line in rows.take(MAX_ROWS) {
                if let Some((pair, inode)) = row(&line)
                    && ends.contains(&pair)
                {
                    found.insert(pair, inode);
                }
            }
        }
        found
    }

    /// A row's local end, remote end and inode; `None`: the heading, or a socket that no process holds any more.
    fn row(line: &str) -> Option<(Ends, u64)> {
        let mut fields = line.split_ascii_whitespace();
        let local = end(fields.nth(1)?)?;
        let remote = end(fields.next()?)?;
        let inode: u64 = fields.nth(6)?.parse().ok()?;
        (inode != 0).then_some(((local, remote), inode))
    }

    /// `0100007F:1F90`: words of the address as this machine has them in memory, and the port.
    fn end(text: &str) -> Option<SocketAddr> {
        let (address, port) = text.split_once(':')?;
        let mut bytes = Vec::with_capacity(16);
        for at in (0..address.len()).step_by(8) {
            let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
            bytes.extend(word.to_ne_bytes());
        }
        let ip = match bytes.len() {
            4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            _ => return None,
        };
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(plain(SocketAddr::new(ip, port)))
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Owner {
        One(u32),
        Several,
    }

    /// Which of these processes hold which of these sockets.
    fn owners(of: impl Iterator<Item = u32>, sockets: &HashSet<u64>) -> HashMap<u64, Owner> {
        let mut found = HashMap::new();
        for pid in of {
            let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
                continue;
            };
            for descriptor in descriptors.flatten().take(MAX_DESCRIPTORS) {
                let Ok(target) = std::fs::read_link(descriptor.path()) else {
                    continue;
                };
                let Some(inode) = target.to_str().and_then(socket) else {
                    continue;
                };
                if sockets.contains(&inode) {
                    let owner = found.entry(inode).or_insert(Owner::One(pid));
                    if *owner != Owner::One(pid) {
                        *owner = Owner::Several;
                    }
                }
            }
        }
        found
    }

    fn socket(target: &str) -> Option<u64> {
        let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    }

    fn processes() -> impl Iterator<Item = u32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.take(MAX_PROCESSES)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::measure::ProxyId;
        use std::net::{TcpListener, TcpStream};

        fn newcomer(session: u64, accepted: &TcpStream) -> Newcomer {
            Newcomer {
                proxy: ProxyId(0),
                session,
                client: accepted.peer_addr().expect("connected"),
                here: accepted.local_addr().expect("connected"),
            }
        }

        #[test]
        fn rows_are_read_as_the_kernel_writes_them() {
            let row4 = row(&format!(
                "   0: {:08X}:1F90 {:08X}:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0",
                u32::from_ne_bytes([127, 0, 0, 1]),
                u32::from_ne_bytes([10, 0, 0, 2]),
            ));
            let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
            assert_eq!(
                row4,
                Some(((at("127.0.0.1:8080"), at("10.0.0.2:50000")), 4711))
            );
            let words =
                [[0; 4], [0; 4], [0, 0, 0xff, 0xff], [127, 0, 0, 1]].map(u32::from_ne_bytes);
            let [a, b, c, d] = words;
            assert_eq!(
                end(&format!("{a:08X}{b:08X}{c:08X}{d:08X}:0050")),
                Some(at("127.0.0.1:80"))
            );
            assert_eq!(row("  sl  local_address rem_address   st tx_queue"), None);
            assert_eq!(end("0100007:0050"), None);
            assert_eq!(end("0100007F:XY"), None);
        }

        #[test]
        fn a_connection_belongs_to_the_process_that_made_it() {
            for host in ["127.0.0.1", "::1"] {
                // A machine may be without IPv6.
                let Ok(listener) = TcpListener::bind((host, 0)) else {
                    assert_eq!(host, "::1");
                    continue;
                };
                let _client =
                    TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
                let (accepted, _) = listener.accept().expect("it came");
                let mut seeker = Seeker::default();
                let mut found = Vec::new();
                seeker.look(vec![newcomer(7, &accepted)], |n, pid| {
                    found.push((n.session, pid));
                });
                assert_eq!(found, [(7, std::process::id())]);
                assert!(seeker.wanted.is_empty());
                assert_eq!(seeker.known, [std::process::id()]);
            }
        }

        #[test]
        fn who_is_gone_has_no_owner_and_is_not_looked_for_again() {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let client =
                TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
            let (accepted, _) = listener.accept().expect("it came");
            let gone = newcomer(1, &accepted);
            drop(client);
            let mut seeker = Seeker::default();
            seeker.look(vec![gone], |_, pid| panic!("{pid} has closed it"));
            assert!(seeker.wanted.is_empty());
        }

        #[test]
        fn what_two_processes_hold_belongs_to_neither() {
            let inodes = HashSet::from([1]);
            assert!(owners(std::iter::empty(), &inodes).is_empty());
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let client =
                TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
            let (accepted, _) = listener.accept().expect("it came");
            // As its standard input the child holds the same socket.
            let mut child = std::process::Command::new("sleep")
                .arg("30")
                .stdin(std::os::fd::OwnedFd::from(
                    client.try_clone().expect("a descriptor"),
                ))
                .spawn()
                .expect("sleep");
            let mut seeker = Seeker::default();
            let mut found = Vec::new();
            seeker.look(vec![newcomer(1, &accepted)], |_, pid| found.push(pid));
            let _ = child.kill();
            let _ = child.wait();
            assert!(found.is_empty(), "{found:?}");
        }

        #[test]
        fn what_waits_is_bounded() {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let _client =
                TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
            let (accepted, _) = listener.accept().expect("it came");
            let waiting = super::super::Waiting::default();
            for session in 0..2 * MAX_WAITING as u64 {
                waiting.add(newcomer(session, &accepted));
            }
            assert_eq!(waiting.take().len(), MAX_WAITING);
            assert!(waiting.take().is_empty());
        }
    }
}
