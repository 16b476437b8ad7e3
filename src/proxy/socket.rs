//! Sockets: TCP and unix behind one type, with the options that every session needs.

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How long a peer may be silent before the kernel asks whether it is still there, and how often it asks.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// None yet: it is made when there is something to send.
    Awaited(Wanted),
    /// No socket at all.
    #[cfg(any(test, fuzzing))]
    Memory(super::rig::Memory),
}

/// Whether there is something to send.
#[derive(Debug, Default)]
pub(crate) struct Wanted(AtomicBool);

impl Stream {
    /// Whether it is none yet.
    pub(crate) const fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited(_))
    }

    /// Whether it is none yet, and there is something to send.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self, Self::Awaited(wanted) if wanted.0.load(Ordering::Relaxed))
    }

    /// Registers an accepted socket with the runtime of the calling thread.
    pub(crate) fn adopt(fd: OwnedFd, unix: bool) -> io::Result<Self> {
        if unix {
            let stream = std::os::unix::net::UnixStream::from(fd);
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream).map(Self::Unix)
        } else {
            let stream = std::net::TcpStream::from(fd);
            stream.set_nonblocking(true)?;
            let stream = TcpStream::from_std(stream)?;
            configure(&stream);
            Ok(Self::Tcp(stream))
        }
    }

    pub(crate) fn connected(stream: TcpStream) -> Self {
        configure(&stream);
        Self::Tcp(stream)
    }

    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
            // Who makes it looks again.
            Self::Awaited(_) => Poll::Pending,
            #[cfg(any(test, fuzzing))]
            Self::Memory(m) => m.poll_read(buf),
        }
    }

    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Unix(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Awaited(wanted) => {
                wanted.0.store(true, Ordering::Relaxed);
                Poll::Pending
            }
            #[cfg(any(test, fuzzing))]
            Self::Memory(m) => m.poll_write(bytes),
        }
    }

    /// Sends FIN. shutdown(2) does not wait.
    pub(crate) fn finish(&self) {
        // The peer may have gone already: then there is nobody left to tell.
        let _ = match self {
            Self::Tcp(s) => SockRef::from(s).shutdown(std::net::Shutdown::Write),
            Self::Unix(s) => SockRef::from(s).shutdown(std::net::Shutdown::Write),
            Self::Awaited(wanted) => {
                wanted.0.store(true, Ordering::Relaxed);
                Ok(())
            }
            #[cfg(any(test, fuzzing))]
            Self::Memory(m) => m.finish(),
        };
    }

    /// Makes the coming close a reset. A unix socket has no reset: its peer sees the end of the stream.
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(s) = self {
            let _ = SockRef::from(s).set_linger(Some(Duration::ZERO));
        }
    }

    /// Whether the peer has reset the connection. Tells it once: asking takes the error from the socket.
    pub(crate) fn has_failed(&self) -> bool {
        let error = match self {
            Self::Tcp(s) => SockRef::from(s).take_error(),
            Self::Unix(s) => SockRef::from(s).take_error(),
            Self::Awaited(_) => Ok(None),
            #[cfg(any(test, fuzzing))]
            Self::Memory(_) => Ok(None),
        };
        error.map_or(true, |error| error.is_some())
    }

    /// Whether every byte written was acknowledged by the peer's kernel.
    pub(crate) fn is_drained(&self) -> bool {
        match self {
            Self::Tcp(s) => crate::sys::unacknowledged(s).map_or(true, |n| n == 0),
            Self::Unix(_) | Self::Awaited(_) => true,
            #[cfg(any(test, fuzzing))]
            Self::Memory(_) => true,
        }
    }

    /// Bounds the time that written bytes may stay unacknowledged (`TCP_USER_TIMEOUT`); Linux only, elsewhere without effect.
    pub(crate) fn bound_unacknowledged(&self, limit: Duration) {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(s) = self {
            let _ = SockRef::from(s).set_tcp_user_timeout(Some(limit));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = limit;
    }
}

/// No Nagle, and dead peers are noticed. Either may fail on a socket that its peer has already reset; the next read says so.
fn configure(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Whether an accepted or connected socket's pending error is a reset. Consumes the error.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

/// Whether packets to this address stay on this host, found by trying to bind it: no list of interfaces needed.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback()
        || ip.is_unspecified()
        || std::net::UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// The address in its IPv4 form where it is an IPv4 address in IPv6's clothes.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The size of the queue of connections that wait to be accepted; the kernel cuts it to its own limit.
pub(crate) const BACKLOG: i32 = 4096;
