//! The endpoint's thread: accepts within a bound, with deadlines on header, body and write.

use super::guard::Guard;
use super::router::Router;
use crate::config::Listen;
use crate::proxy::Server;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// How long a request's header may take.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);

/// How long a client may take nothing of what is sent to it.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The largest header, in bytes.
const HEADER_LIMIT: usize = 16 * 1024;

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
    /// Its thread cannot be made.
    #[error("the thread of the admin endpoint cannot be started")]
    Thread(#[source] io::Error),
}

/// The running endpoint. Ends when dropped.
#[derive(Debug)]
pub struct Admin {
    address: Listen,
    stop: CancellationToken,
}

/// A bound socket of either kind.
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Admin {
    /// Listens, and serves on a thread of its own.
    ///
    /// # Errors
    /// The address or the thread cannot be had.
    pub fn start(server: Server, listen: &Listen) -> Result<Self, AdminError> {
        let fail = |source| AdminError::Listen {
            listen: listen.clone(),
            source,
        };
        let (bound, address, tcp) = bind(listen).map_err(fail)?;
        server.set_admin(Some(address.clone()));
        let router = Arc::new(Router::new(server, Guard::new(tcp)));
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
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        served = serve(bound, router) => {
                            if let Err(error) = served {
                                tracing::error!(%error, "the admin endpoint ended");
                            }
                        }
                    }
                });
            })
            .map_err(AdminError::Thread)?;
        Ok(Self { address, stop })
    }

    /// Where it really listens.
    pub fn address(&self) -> &Listen {
        &self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Listen::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
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
    let listener = match UnixListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(bound: Bound, router: Arc<Router>) -> io::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    match bound {
        Bound::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await.map(|(stream, _)| stream);
                take(accepted, &free, &router).await;
            }
        }
        Bound::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                let accepted = listener.accept().await.map(|(stream, _)| stream);
                take(accepted, &free, &router).await;
            }
        }
    }
}

/// Serves one connection, once there is room.
async fn take<S>(accepted: io::Result<S>, free: &Arc<Semaphore>, router: &Arc<Router>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = match accepted {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "the admin endpoint cannot accept");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return;
        }
    };
    let Ok(place) = Arc::clone(free).acquire_owned().await else {
        return;
    };
    let router = Arc::clone(router);
    tokio::spawn(async move {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_DEADLINE));
        let service = service_fn(move |request| {
            let router = Arc::clone(&router);
            async move { Ok::<_, std::convert::Infallible>(router.answer(request).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(HEADER_LIMIT)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended");
        }
        drop(place);
    });
}
