//! The endpoint's thread: accepts within a bound, with deadlines on header, body and write.

use super::auth::Tokens;
use super::guard::Guard;
use super::places::Places;
use super::router::{Context, Router};
use crate::audit::{Audit, Entry};
use crate::config::{CHANGES_LOCAL, CHANGES_REMOTE, Listen};
use crate::proxy::Server;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Connections at once; where one more comes, the oldest goes that asks nothing.
const CONNECTIONS: usize = 32;

/// How long a request's header may take.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what is sent to it.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The largest header, in bytes.
const HEADER_LIMIT: usize = 8 * 1024;

/// A pause after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error("the admin endpoint cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: Listen,
        /// What the system says.
        source: io::Error,
    },
    /// The address for figures alone cannot be listened on.
    #[error("the metrics endpoint cannot listen on {listen}")]
    Metrics {
        /// The address.
        listen: Listen,
        /// What the system says.
        source: io::Error,
    },
    /// Other machines could reach it, and it asks for no token.
    #[error(
        "the admin endpoint on {0} could be reached from other machines and asks for no token; name a token_file"
    )]
    Open(Listen),
    /// The tokens cannot be used.
    #[error("the tokens of the admin endpoint cannot be used: {0}")]
    Tokens(String),
    /// The audit log cannot be used.
    #[error("the audit log {} cannot be used", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its thread cannot be made.
    #[error("the thread of the admin endpoint cannot be started")]
    Thread(#[source] io::Error),
}

/// The running endpoint. Ends when dropped.
#[derive(Debug)]
pub struct Admin {
    address: Listen,
    metrics: Option<Listen>,
    audit: Arc<Audit>,
    stop: CancellationToken,
}

/// A bound socket of either kind.
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Admin {
    /// Listens, and serves on a thread of its own, guarded as the server's configuration says.
    ///
    /// # Errors
    /// The address, the tokens, the audit log or the thread cannot be had, or strangers could do what they like.
    pub fn start(server: Server, listen: &Listen) -> Result<Self, AdminError> {
        let fail = |source| AdminError::Listen {
            listen: listen.clone(),
            source,
        };
        let guards = server.config().guards;
        let tokens = guards.token_file.as_deref().map(Tokens::load);
        let tokens = tokens.transpose().map_err(AdminError::Tokens)?;
        if !listen.is_local() && tokens.is_none() {
            return Err(AdminError::Open(listen.clone()));
        }
        let audit = Arc::new(open_audit(guards.audit.as_deref())?);
        let (bound, address, tcp) = bind(listen).map_err(fail)?;
        let figures = guards.metrics.as_ref().map(|listen| {
            bind(listen).map_err(|source| AdminError::Metrics {
                listen: listen.clone(),
                source,
            })
        });
        let figures = figures.transpose()?;
        let metrics = figures.as_ref().map(|(_, address, _)| address.clone());
        let figures = figures.map(|(bound, _, tcp)| {
            let guard = Guard::of_figures(tcp, &guards.hosts);
            (bound, Router::of_figures(server.clone(), guard))
        });
        server.set_admin(Some(address.clone()));
        let rate = if listen.is_local() {
            CHANGES_LOCAL
        } else {
            CHANGES_REMOTE
        };
        let cx = Context {
            server,
            tokens,
            audit: Arc::clone(&audit),
            insecure_plaintext: !listen.is_local(),
            listeners: Arc::default(),
            live: super::v1::Live::default(),
        };
        let guard = Guard::new(tcp, &guards.hosts);
        let rate = guards.changes_per_second.unwrap_or(rate);
        let router = Arc::new(Router::new(cx, guard, rate));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AdminError::Thread)?;
        std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                runtime.block_on(async move {
                    let figures = async {
                        match figures {
                            Some((bound, router)) => serve(bound, Arc::new(router)).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        served = serve(bound, router) => ended("admin", &served),
                        served = figures => ended("metrics", &served),
                    }
                });
            })
            .map_err(AdminError::Thread)?;
        Ok(Self {
            address,
            metrics,
            audit,
            stop,
        })
    }

    /// Records what came another way than over the endpoint: a signal, a file.
    pub fn note(&self, who: &str, what: &str) {
        // It has happened: that it cannot be recorded is in the log.
        let _ = self.audit.record(&Entry {
            who: who.into(),
            what: what.into(),
            outcome: "done",
            ..Entry::default()
        });
    }

    /// Where it really listens.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Where it serves figures alone, if it does.
    pub fn metrics(&self) -> Option<&Listen> {
        self.metrics.as_ref()
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        for listen in [Some(&self.address), self.metrics.as_ref()] {
            if let Some(Listen::Unix(path)) = listen {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn ended(endpoint: &str, served: &io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "the {endpoint} endpoint ended");
    }
}

/// The audit log, begun with a record of this start: what is not written later cannot be written now.
fn open_audit(path: Option<&Path>) -> Result<Audit, AdminError> {
    let Some(path) = path else {
        return Ok(Audit::default());
    };
    let open = || {
        let audit = Audit::open(path)?;
        audit.record(&Entry {
            who: "start".into(),
            what: concat!("brownout ", env!("CARGO_PKG_VERSION")).into(),
            outcome: "done",
            ..Entry::default()
        })?;
        Ok(audit)
    };
    open().map_err(|source| AdminError::Audit {
        path: path.to_owned(),
        source,
    })
}

fn bind(listen: &Listen) -> io::Result<(Bound, Listen, Option<SocketAddr>)> {
    match listen {
        Listen::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let real = listener.local_addr()?;
            Ok((Bound::Tcp(listener), Listen::Tcp(real), Some(real)))
        }
        Listen::Unix(path) => {
            let listener = bind_unix(path)?;
            listener.set_nonblocking(true)?;
            Ok((Bound::Unix(listener), listen.clone(), None))
        }
    }
}

/// A socket file that only its owner can use. What a killed process left is removed.
fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let is_socket = || {
        let meta = std::fs::symlink_metadata(path);
        meta.is_ok_and(|m| std::os::unix::fs::FileTypeExt::is_socket(&m.file_type()))
    };
    let dead = |e: &io::Error| {
        e.kind() == io::ErrorKind::AddrInUse && is_socket() && UnixStream::connect(path).is_err()
    };
    let listener = match UnixListener::bind(path) {
        Err(e) if dead(&e) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(bound: Bound, router: Arc<Router>) -> io::Result<()> {
    let places = Places::new(CONNECTIONS);
    match bound {
        Bound::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await;
                let accepted = accepted.map(|(stream, peer)| (stream, peer.to_string()));
                take(accepted, &places, &router).await;
            }
        }
        Bound::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await.map(|(stream, _)| {
                    let peer = stream.peer_cred().map_or_else(
                        |_| "unix".to_owned(),
                        |peer| format!("unix uid={}", peer.uid()),
                    );
                    (stream, peer)
                });
                take(accepted, &places, &router).await;
            }
        }
    }
}

/// Serves one connection, once there is room.
async fn take<S>(accepted: io::Result<(S, String)>, places: &Arc<Places>, router: &Arc<Router>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "the admin endpoint cannot accept");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return;
        }
    };
    let place = places.take().await;
    let router = Arc::clone(router);
    tokio::spawn(async move {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_DEADLINE));
        let (gone, flag, peer) = (place.gone(), place.flag(), Arc::<str>::from(peer));
        let service = service_fn(move |request| {
            let (router, flag, peer) = (Arc::clone(&router), Arc::clone(&flag), Arc::clone(&peer));
            async move { Ok::<_, std::convert::Infallible>(router.answer(request, &peer, &flag).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(HEADER_LIMIT)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        tokio::select! {
            served = served => {
                if let Err(error) = served {
                    tracing::debug!(%error, "an admin connection ended");
                }
            }
            () = gone.cancelled() => {}
        }
        drop(place);
    });
}
