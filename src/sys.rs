//! What the kernel offers and no safe crate wraps. The only file that may hold `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes that were written to a TCP socket and not yet acknowledged by its peer (Linux: SIOCOUTQ, tcp(7)).
///
/// # Errors
/// What ioctl(2) returns; never for an open TCP socket.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed for the call, and SIOCOUTQ (the value of TIOCOUTQ) writes one int through the pointer.
    let rc = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if rc == 0 {
        Ok(usize::try_from(bytes).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes that were written to a TCP socket and not yet acknowledged by its peer (macOS: SO_NWRITE).
///
/// # Errors
/// What getsockopt(2) returns; never for an open TCP socket.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    const SO_NWRITE: libc::c_int = 0x1024;
    let mut bytes: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is borrowed for the call; the option writes at most `size` bytes, which is the size of `bytes`.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NWRITE,
            (&raw mut bytes).cast(),
            &raw mut size,
        )
    };
    if rc == 0 {
        Ok(usize::try_from(bytes).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Watches a descriptor for readability, on the runtime of the calling thread.
///
/// # Errors
/// What the registration with the system's poller returns.
pub(crate) fn watch(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: what is behind an `Arc<OwnedFd>` stays the same open descriptor until the last clone is dropped, and the
    // `AsyncFd` holds one.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}

/// Whether this process was started with a signal ignored, as by nohup, and nothing has changed that.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed where no new action is given; the pointer is to room for the one that holds, and all zeroes,
    // which stay where the number is no signal, are a valid one.
    let now = unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr());
        now.assume_init()
    };
    now.sa_sigaction == libc::SIG_IGN
}
