//! The way to an upstream: name resolution, attempts in turn, each session with a timeout of its own.

use super::shared::Process;
use super::socket::{Stream, canonical, is_local};
use crate::config::Listen;
use crate::measure::Counter;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

/// A resolved name is used this long without asking again.
const FRESH: Duration = Duration::from_secs(5);

/// When asking fails, the last answer is good for this long.
const STALE: Duration = Duration::from_secs(10 * 60);

/// A resolver gets this long to answer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a unix socket is tried whose listener's queue is full.
const QUEUE_STEP: Duration = Duration::from_millis(5);

/// Why no connection to the upstream was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("`{host}` does not resolve")]
    Resolve { host: String, source: io::Error },
    #[error("{0} is one of our own listeners")]
    Loop(Listen),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("connect failed")]
    Connect(#[source] io::Error),
}

impl ConnectError {
    /// Under which counter, and by which name, it is kept.
    pub(crate) fn reason(&self) -> (Counter, &'static str) {
        match self {
            Self::Resolve { .. } => (Counter::ConnectResolve, "resolve"),
            Self::Loop(_) => (Counter::ConnectLoop, "loop"),
            Self::Timeout(_) => (Counter::ConnectTimeout, "timeout"),
            Self::Connect(e) => match e.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    (Counter::ConnectRefused, "refused")
                }
                io::ErrorKind::TimedOut => (Counter::ConnectTimeout, "timeout"),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    (Counter::ConnectUnreachable, "unreachable")
                }
                io::ErrorKind::AddrNotAvailable => (Counter::ConnectExhausted, "exhausted"),
                _ if is_exhaustion(e) => (Counter::ConnectExhausted, "exhausted"),
                _ => (Counter::ConnectOther, "other"),
            },
        }
    }
}

/// Whether an error says that descriptors or memory ran out, here or in the whole system.
pub(crate) fn is_exhaustion(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Where the traffic of a proxy goes.
#[derive(Debug)]
pub(crate) enum Upstream {
    Unix(PathBuf),
    /// Name or address, and port.
    Host {
        host: String,
        port: u16,
        known: Mutex<Option<Known>>,
    },
}

/// What a name resolved to, and when.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    addresses: Arc<[SocketAddr]>,
    at: Instant,
}

impl Upstream {
    pub(crate) fn host(host: impl Into<String>, port: u16) -> Self {
        Self::Host {
            host: host.into(),
            port,
            known: Mutex::new(None),
        }
    }

    /// A connection, within `limit` for everything.
    pub(crate) async fn connect(
        &self,
        process: &Process,
        limit: Duration,
    ) -> Result<Stream, ConnectError> {
        timeout(limit, self.attempts(process, limit))
            .await
            .unwrap_or(Err(ConnectError::Timeout(limit)))
    }

    async fn attempts(&self, process: &Process, limit: Duration) -> Result<Stream, ConnectError> {
        let addresses = match self {
            Self::Unix(path) if is_own_path(path, &process.own.load()) => {
                return Err(ConnectError::Loop(Listen::Unix(path.clone())));
            }
            Self::Unix(path) => return connect_unix(path).await.map_err(ConnectError::Connect),
            Self::Host { .. } => self.addresses().await?,
        };
        // Each address gets an equal share, so that a silent first one leaves time for the second.
        let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = ConnectError::Timeout(limit);
        for &address in &*addresses {
            if is_own(address, &process.own.load()) {
                last = ConnectError::Loop(Listen::Tcp(address));
                continue;
            }
            match timeout(share, connect_tcp(address)).await {
                Ok(Ok(stream)) => return Ok(Stream::connected(stream)),
                Ok(Err(e)) => last = ConnectError::Connect(e),
                Err(_) => last = ConnectError::Timeout(share),
            }
        }
        Err(last)
    }

    /// The addresses now. The system's resolver runs on a thread of the blocking pool, never on a worker.
    async fn addresses(&self) -> Result<Arc<[SocketAddr]>, ConnectError> {
        let Self::Host { host, port, known } = self else {
            return Ok(Arc::from([]));
        };
        let cached = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(k) = &cached
            && k.at.elapsed() < FRESH
        {
            return Ok(Arc::clone(&k.addresses));
        }
        let answer = match timeout(RESOLVE_TIMEOUT, lookup_host((host.as_str(), *port))).await {
            Ok(Ok(found)) => Ok(found.collect::<Vec<_>>()),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the resolver did not answer in time",
            )),
        };
        let problem = match answer {
            Ok(found) if !found.is_empty() => {
                let addresses: Arc<[SocketAddr]> = found.into();
                let entry = Known {
                    addresses: Arc::clone(&addresses),
                    at: Instant::now(),
                };
                *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
                return Ok(addresses);
            }
            Ok(_) => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
            Err(e) => e,
        };
        match cached {
            Some(k) if k.at.elapsed() < STALE => Ok(k.addresses),
            _ => Err(ConnectError::Resolve {
                host: host.clone(),
                source: problem,
            }),
        }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Host { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

/// Connects over TCP. A peer that has accepted, sent something and reset before we came to look was connected: what it sent and
/// its reset are the session's, as they would be those of a client without a proxy. [`TcpStream::connect`] takes the socket's error
/// and calls it a failure to connect.
async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.connect(&address.into())
        && !is_under_way(&error)
    {
        return Err(error);
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    if stream.peer_addr().is_err() {
        // It is not connected (any more). Reading tells: what arrived, or why it failed.
        let mut byte = [MaybeUninit::uninit()];
        SockRef::from(&stream).peek(&mut byte)?;
    }
    Ok(stream)
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Connects to a unix socket. Where the queue of its listener is full, a socket that does not block is turned away; one that
/// does would wait, and so do we.
async fn connect_unix(path: &Path) -> io::Result<Stream> {
    loop {
        match UnixStream::connect(path).await {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_STEP).await,
            other => return other.map(Stream::Unix),
        }
    }
}

/// Whether `path` is the socket file of one of our own listeners, under whatever name.
fn is_own_path(path: &Path, own: &[Listen]) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let mut listeners = own.iter().filter_map(|listen| match listen {
        Listen::Unix(path) => Some(path),
        Listen::Tcp(_) => None,
    });
    let wanted = identity(path);
    wanted.is_some() && listeners.any(|listener| identity(listener) == wanted)
}

/// Whether a connection to `address` would come back to one of our own listeners.
fn is_own(address: SocketAddr, own: &[Listen]) -> bool {
    let address = canonical(address);
    let listeners = own.iter().filter_map(|listen| match listen {
        Listen::Tcp(listener) => Some(canonical(*listener)),
        Listen::Unix(_) => None,
    });
    let mut same_port = listeners.filter(|l| l.port() == address.port());
    same_port.any(|listener| {
        listener.ip() == address.ip()
            || (address.ip().is_unspecified() && is_local(listener.ip()))
            || (listener.ip().is_unspecified() && is_local(address.ip()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listener: &str, address: &str) -> bool {
        is_own(
            address.parse().expect("address"),
            &[Listen::Tcp(listener.parse().expect("listener"))],
        )
    }

    #[test]
    fn own_listeners_are_known_by_every_name() {
        assert!(own("127.0.0.1:7000", "127.0.0.1:7000"));
        assert!(own("127.0.0.1:7000", "0.0.0.0:7000"));
        assert!(own("127.0.0.1:7000", "[::ffff:127.0.0.1]:7000"));
        assert!(own("0.0.0.0:7000", "127.0.0.2:7000"));
        assert!(own("[::]:7000", "127.0.0.1:7000"));
        assert!(!own("127.0.0.1:7000", "127.0.0.1:7001"));
        assert!(!own("127.0.0.1:7000", "127.0.0.2:7000"));
        assert!(!own("0.0.0.0:7000", "192.0.2.1:7000"));
    }

    #[tokio::test]
    async fn a_dead_first_address_leaves_time_for_the_second() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let live = listener.local_addr().expect("address");
        let upstream = Upstream::Host {
            host: "unused".into(),
            port: live.port(),
            known: Mutex::new(Some(Known {
                addresses: Arc::from([SocketAddr::from(([127, 0, 0, 99], live.port())), live]),
                at: Instant::now(),
            })),
        };
        let stream = upstream
            .connect(&Process::default(), Duration::from_secs(2))
            .await
            .expect("second address");
        drop(stream);
    }

    /// The peer has answered and reset before anybody looked whether the connection was made.
    #[tokio::test]
    async fn a_connection_that_was_reset_at_once_was_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let mut connecting = Box::pin(connect_tcp(address));
        let waker = std::task::Waker::noop();
        let first = connecting
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(first.is_pending() || first.is_ready());
        let (mut peer, _) = listener.accept().expect("a connection");
        io::Write::write_all(&mut peer, b"full").expect("sent");
        SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
        drop(peer);
        let mut stream = match first {
            std::task::Poll::Ready(made) => made.expect("it was connected"),
            std::task::Poll::Pending => connecting.await.expect("it was connected"),
        };
        let mut got = Vec::new();
        let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got).await;
        assert_eq!(got, b"full");
        let kind = end.expect_err("reset").kind();
        assert_eq!(kind, io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_says_so() {
        let upstream = Upstream::host("does-not-exist.invalid", 1);
        let error = upstream
            .connect(&Process::default(), Duration::from_secs(5))
            .await
            .expect_err("no such name");
        assert!(matches!(error.reason().1, "resolve" | "timeout"), "{error}");
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_from_a_silent_one() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("bind")
            .local_addr()
            .expect("address");
        let upstream = Upstream::host("127.0.0.1", closed.port());
        let error = upstream
            .connect(&Process::default(), Duration::from_secs(2))
            .await
            .expect_err("nobody there");
        assert_eq!(error.reason().1, "refused");
    }
}
