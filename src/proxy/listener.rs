//! Listeners: accept, refuse where a fault says so, and hand each connection to the least loaded worker.
//!
//! All listeners share one thread, apart from workers and the admin endpoint, so that a flood on one of these slows no other.

use super::event::Event;
use super::owners::Newcomer;
use super::session::{Arrival, Place, Welcome};
use super::shared::Shared;
use super::socket::BACKLOG;
use super::upstream::is_exhaustion;
use super::worker::Worker;
use crate::config::Listen;
use crate::fault::action::{Refuse, TurnAway};
use crate::measure::trace::{Label, Record};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Pauses after descriptors ran out: from the first to the longest, doubling.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_millis(200);

/// A connection over loopback that is not made by then will not be: the queue is full.
const FILLED: Duration = Duration::from_millis(20);

/// Connections that may be needed to fill the shortest queue, on any system.
const MAX_FILLERS: usize = 16;

/// Connections accepted in one go before others get their turn.
const BATCH: usize = 64;

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) workers: Vec<Worker>,
    /// The most sessions at once.
    pub(crate) max_sessions: AtomicUsize,
    /// Times that accepting paused because descriptors or memory ran out.
    pub(crate) exhausted: AtomicU64,
    next: AtomicUsize,
}

impl Dispatch {
    pub(crate) fn new(workers: Vec<Worker>, max_sessions: usize) -> Self {
        Self {
            workers,
            max_sessions: AtomicUsize::new(max_sessions),
            exhausted: AtomicU64::new(0),
            next: AtomicUsize::new(0),
        }
    }

    /// The worker with the fewest sessions; among equals they take turns.
    fn least_loaded(&self) -> &Worker {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.workers.len();
        let turn = (0..count).map(|i| &self.workers[(start + i) % count]);
        turn.min_by_key(|w| w.load()).unwrap_or(&self.workers[0])
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: Arc<OwnedFd>,
    /// Where it really listens: port 0 is resolved.
    pub(crate) address: Listen,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Listen::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds and listens.
///
/// # Errors
/// What the system says: the port is taken, the address is not ours, no permission.
pub(crate) fn bind(listen: &Listen) -> io::Result<Bound> {
    let (socket, address) = match listen {
        Listen::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(*address))?;
            let real = socket.local_addr()?.as_socket().unwrap_or(*address);
            (socket, Listen::Tcp(real))
        }
        Listen::Unix(path) => {
            remove_stale(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            (socket, Listen::Unix(path.clone()))
        }
    };
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(Bound {
        socket: Arc::new(socket.into()),
        address,
    })
}

/// Removes a socket file that nobody listens on any more: what a killed process left.
fn remove_stale(path: &PathBuf) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "somebody listens on this socket",
                )),
                Err(_) => std::fs::remove_file(path),
            }
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is there",
        )),
        Err(_) => Ok(()),
    }
}

/// One proxy's listener, running.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: CancellationToken,
    changed: Arc<Notify>,
    done: CancellationToken,
}

impl Listener {
    /// Starts to accept, on the runtime of `acceptor`.
    pub(crate) fn start(
        acceptor: &tokio::runtime::Handle,
        bound: Bound,
        shared: Arc<Shared>,
        dispatch: Arc<Dispatch>,
    ) -> Self {
        let stop = CancellationToken::new();
        let done = CancellationToken::new();
        let changed = Arc::new(Notify::new());
        let task = Accepting {
            address: bound.address.clone(),
            shared,
            dispatch,
            stop: stop.clone(),
            changed: Arc::clone(&changed),
            complaint: None,
            fillers: Vec::new(),
        };
        let finished = done.clone().drop_guard();
        acceptor.spawn(async move {
            task.run(bound).await;
            drop(finished);
        });
        Self {
            stop,
            changed,
            done,
        }
    }

    /// The plan of the proxy changed: it may want the listener closed, or open again.
    pub(crate) fn plan_changed(&self) {
        self.changed.notify_one();
    }

    /// Stops accepting, and returns when the address is free.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.done.cancelled().await;
    }
}

/// The task behind a [`Listener`].
struct Accepting {
    address: Listen,
    shared: Arc<Shared>,
    dispatch: Arc<Dispatch>,
    stop: CancellationToken,
    changed: Arc<Notify>,
    /// When it last complained about exhaustion: once a second is enough.
    complaint: Option<Instant>,
    /// Our own connections that filled the queue last.
    fillers: Vec<SocketAddr>,
}

impl Accepting {
    async fn run(mut self, bound: Bound) {
        let mut bound = Some(bound);
        while !self.stop.is_cancelled() {
            let closed = self.shared.plan().listener_closed(Instant::now());
            match bound.take() {
                Some(open) if !closed && self.shared.plan().listener_full(Instant::now()) => {
                    self.stand_full(&open).await;
                    bound = Some(open);
                }
                Some(open) if !closed => bound = self.accept(open).await,
                Some(open) => {
                    drop(open);
                    let proxy = self.shared.name.clone();
                    self.shared.emit(|| Event::Proxy {
                        proxy,
                        change: "closed",
                    });
                }
                None if closed => self.pause(None).await,
                None => bound = self.reopen().await,
            }
        }
    }

    /// Waits for a change, at most for `limit`.
    async fn pause(&self, limit: Option<Duration>) {
        let change = async {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.changed.notified() => {}
            }
        };
        match limit {
            Some(limit) => {
                let _ = tokio::time::timeout(limit, change).await;
            }
            None => change.await,
        }
    }

    /// Accepts nobody, with a queue as short as can be and full of our own connections, until something changes.
    async fn stand_full(&mut self, bound: &Bound) {
        let socket = SockRef::from(&*bound.socket);
        if let Err(error) = socket.listen(0) {
            self.complain(&error, "cannot shorten the queue of the listener");
        }
        let fillers = fill(&bound.address).await;
        self.fillers = fillers.iter().filter_map(|f| f.local_addr().ok()).collect();
        let proxy = self.shared.name.clone();
        self.shared.emit(|| Event::Proxy {
            proxy,
            change: "full",
        });
        self.pause(None).await;
        drop(fillers);
        if let Err(error) = socket.listen(BACKLOG) {
            self.complain(&error, "cannot lengthen the queue of the listener");
        }
    }

    /// Listens again after a fault had closed the listener. Somebody may have taken the port: then it tries on.
    async fn reopen(&mut self) -> Option<Bound> {
        match bind(&self.address) {
            Ok(bound) => {
                let proxy = self.shared.name.clone();
                self.shared.emit(|| Event::Proxy {
                    proxy,
                    change: "listening",
                });
                Some(bound)
            }
            Err(error) => {
                self.complain(&error, "cannot listen again");
                self.pause(Some(PAUSE_LONGEST)).await;
                None
            }
        }
    }

    /// Accepts until the listener is to stop or to close. Returns it in that case.
    async fn accept(&mut self, bound: Bound) -> Option<Bound> {
        let unix = matches!(bound.address, Listen::Unix(_));
        let listener = match crate::sys::watch(Arc::clone(&bound.socket)) {
            Ok(listener) => listener,
            Err(error) => {
                self.complain(&error, "cannot watch the listener");
                self.pause(Some(PAUSE_LONGEST)).await;
                return Some(bound);
            }
        };
        let mut pause = PAUSE_FIRST;
        loop {
            if self.is_full() {
                let full = io::Error::other("as many sessions are open as fit");
                self.complain(&full, "accepting pauses");
                self.pause(Some(PAUSE_FIRST)).await;
            } else {
                let ready = tokio::select! {
                    () = self.stop.cancelled() => break,
                    () = self.changed.notified() => break,
                    ready = listener.readable() => ready,
                };
                let Ok(mut guard) = ready else { break };
                match guard.try_io(|fd| self.accept_batch(fd.get_ref(), unix)) {
                    Ok(Ok(())) => {
                        pause = PAUSE_FIRST;
                        tokio::task::yield_now().await;
                    }
                    Ok(Err(error)) => {
                        self.dispatch.exhausted.fetch_add(1, Ordering::Relaxed);
                        self.complain(&error, "accepting pauses");
                        self.pause(Some(pause)).await;
                        pause = (pause * 2).min(PAUSE_LONGEST);
                    }
                    Err(_would_block) => {}
                }
            }
            let (plan, now) = (self.shared.plan(), Instant::now());
            if self.stop.is_cancelled() || plan.listener_closed(now) || plan.listener_full(now) {
                break;
            }
        }
        drop(listener);
        Some(bound)
    }

    fn is_full(&self) -> bool {
        let open = self.shared.process.sessions.load(Ordering::Relaxed);
        open >= self.dispatch.max_sessions.load(Ordering::Relaxed)
    }

    /// Accepts some connections. An error is worth a pause; errors that concern one connection only are passed over.
    fn accept_batch(&mut self, socket: &OwnedFd, unix: bool) -> io::Result<()> {
        for _ in 0..BATCH {
            if self.is_full() {
                return Ok(());
            }
            match SockRef::from(socket).accept() {
                Ok((accepted, from)) => self.hand_over(accepted, unix, from.as_socket()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // Of our own, none is in the queue any more; others may get their ports.
                    self.fillers.clear();
                    return Err(e);
                }
                Err(e) if concerns_one(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, socket: Socket, unix: bool, from: Option<SocketAddr>) {
        if let Some(at) = self.fillers.iter().position(|filler| Some(*filler) == from) {
            self.fillers.swap_remove(at);
            return;
        }
        let peer: Option<IpAddr> = from.map(|a| a.ip().to_canonical());
        let session = self.shared.number_session();
        let refused = self.refused(session, peer);
        let how = refused.as_ref().map(|(how, _)| *how);
        if let Some((_, fault)) = refused {
            let (id, name) = (self.shared.id, Arc::clone(&fault));
            self.shared.process.note(|at| Record::TurnedAway {
                at,
                proxy: id,
                session,
                fault: Label::Text(name),
            });
            let proxy = self.shared.name.clone();
            self.shared.emit(|| Event::Refused {
                proxy,
                session,
                fault,
            });
        }
        let welcome = match how {
            None => Welcome::Serve,
            Some(TurnAway::Silent) => Welcome::Ignore,
            Some(TurnAway::Error) => Welcome::TurnAway,
            Some(TurnAway::Reset) => {
                let _ = socket.set_linger(Some(Duration::ZERO));
                return;
            }
        };
        if let Some(client) = from
            && self.shared.process.is_recording()
            && let Ok(here) = socket.local_addr()
            && let Some(here) = here.as_socket()
        {
            let proxy = self.shared.id;
            self.shared.process.newcomers.add(Newcomer {
                proxy,
                session,
                client,
                here,
            });
        }
        let worker = self.dispatch.least_loaded();
        let place = Place::take(worker.load_counter(), Arc::clone(&self.shared), welcome);
        worker.adopt(Arrival {
            socket: OwnedFd::from(socket),
            unix,
            peer,
            port: from.map_or(0, |from| from.port()),
            shared: Arc::clone(&self.shared),
            session,
            welcome,
            place,
        });
    }

    /// Whether a fault turns a newcomer away, how, and which.
    fn refused(&self, session: u64, peer: Option<IpAddr>) -> Option<(TurnAway, Arc<str>)> {
        let (plan, now) = (self.shared.plan(), Instant::now());
        if let Some((how, fault)) = plan.refuse(session, peer, now) {
            let how = match how {
                Refuse::Silent => TurnAway::Silent,
                // Closed, unaccepted: between the moment a listener is to close and the moment it is closed.
                Refuse::Reset | Refuse::Closed | Refuse::Unaccepted => TurnAway::Reset,
            };
            return Some((how, fault));
        }
        // All newcomers come through the one acceptor, so that none slips by while this is looked at.
        let open = self.shared.served.load(Ordering::Relaxed);
        plan.over_limit(session, open, peer, now)
    }

    fn complain(&mut self, error: &io::Error, what: &str) {
        if self
            .complaint
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(1))
        {
            self.complaint = Some(Instant::now());
            let proxy = &self.shared.name;
            let exhausted = is_exhaustion(error);
            tracing::warn!(%proxy, address = %self.address, %error, exhausted, "{what}");
        }
    }
}

/// Connections of our own to a listener that accepts nobody: as many as its queue takes, and one that waits. On a unix socket
/// a short queue is all that can be had.
async fn fill(address: &Listen) -> Vec<tokio::net::TcpStream> {
    let mut fillers = Vec::new();
    let Listen::Tcp(mut address) = *address else {
        return fillers;
    };
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    while fillers.len() < MAX_FILLERS {
        let connecting = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(FILLED, connecting).await {
            Ok(Ok(filler)) => fillers.push(filler),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    fillers
}

/// Whether an accept error concerns the one connection that was to be accepted: accept(2) passes on what happened to it.
fn concerns_one(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::EHOSTUNREACH
        )
    )
}
