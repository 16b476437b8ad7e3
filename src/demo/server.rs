//! A TCP server on a port of the kernel's choice: the accept loop and the shutdown that the embedded servers share.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Pause after an accept that failed: at the descriptor limit, retrying at once would starve the sessions that free some.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A running server. Dropping it ends it; [`Server::shutdown`] also waits for its sessions.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Listens on a free port of the loopback and runs `serve` for each connection, on the current runtime.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start<S, F>(serve: S) -> io::Result<Self>
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self {
            addr: listener.local_addr()?,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (stop, tasks) = (server.stop.clone(), server.tasks.clone());
        server.tasks.spawn(async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                let Ok((socket, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                };
                // A reply of a few bytes must not wait for the peer's delayed acknowledgement.
                if socket.set_nodelay(true).is_err() {
                    continue;
                }
                let session = serve(socket);
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled_owned(session).await });
            }
        });
        Ok(server)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening, cuts the sessions, and returns when all of them are gone.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn shutdown_cuts_sessions_and_frees_the_port() {
        let server = Server::start(|mut socket| async move {
            let mut byte = [0];
            while socket.read_exact(&mut byte).await.is_ok() {
                if socket.write_all(&byte).await.is_err() {
                    return;
                }
            }
        })
        .await
        .unwrap();
        let addr = server.addr();
        assert!(addr.ip().is_loopback());
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');

        server.shutdown().await;
        assert!(client.read_u8().await.is_err(), "the session is cut");
        assert!(
            TcpStream::connect(addr).await.is_err(),
            "nobody listens any more"
        );
    }
}
