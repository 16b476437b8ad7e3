//! HTTP requests to the sample service, over connections that are kept.

use super::{Pacer, Tally};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// A user of the service waits no longer than this.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often each request is sent, as parts of the whole.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// `GET /health`.
    pub health: u32,
    /// `POST /modules`.
    pub create: u32,
    /// `GET /modules`.
    pub list: u32,
    /// `GET /modules/{id}`, of a module made before.
    pub get: u32,
}

impl Mix {
    /// The request with this number. Every run sends the same ones in the same order; within `health + create + list + get`
    /// requests each has its share.
    fn pick(&self, number: u64) -> Kind {
        let all = u64::from(self.health) + u64::from(self.create) + u64::from(self.list);
        let all = all + u64::from(self.get);
        // A step without a common factor with the usual sums spreads the kinds instead of sending them in blocks.
        let at = number.wrapping_mul(37) % all.max(1);
        let mut edge = u64::from(self.health);
        if at < edge {
            return Kind::Health;
        }
        edge += u64::from(self.create);
        if at < edge {
            return Kind::Create;
        }
        edge += u64::from(self.list);
        if at < edge {
            return Kind::List;
        }
        Kind::Get
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Health,
    Create,
    List,
    Get,
}

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct HttpLoad {
    /// The service.
    pub addr: SocketAddr,
    /// Connections.
    pub workers: u32,
    /// Requests a second, all workers together.
    pub per_second: f64,
    /// Which ones.
    pub mix: Mix,
}

impl HttpLoad {
    /// Sends requests until `stop`.
    pub async fn run(self, tally: Arc<Tally>, stop: CancellationToken) {
        let newest = Arc::new(AtomicI32::new(0));
        let workers = (0..self.workers.max(1)).map(|index| {
            let mut worker = Worker {
                load: self,
                index: u64::from(index),
                connection: None,
                newest: Arc::clone(&newest),
                tally: Arc::clone(&tally),
            };
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(worker.run()).await })
        });
        futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
    }
}

struct Worker {
    load: HttpLoad,
    index: u64,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// The number of the last module made, by any worker.
    newest: Arc<AtomicI32>,
    tally: Arc<Tally>,
}

impl Worker {
    async fn run(&mut self) {
        let workers = self.load.workers.max(1);
        let mut pacer = Pacer::new(self.load.per_second / f64::from(workers), Instant::now());
        let mut number = self.index;
        loop {
            pacer.wait().await;
            let kind = self.load.mix.pick(number);
            number = number.wrapping_add(u64::from(workers));
            let began = Instant::now();
            match tokio::time::timeout(TIMEOUT, self.send(kind)).await {
                Ok(Ok(())) => self.tally.ok(began.elapsed()),
                Ok(Err(kind)) => self.tally.error(&kind),
                Err(_) => {
                    // A reply that still comes would be taken for the next request's.
                    self.connection = None;
                    self.tally.error("timeout");
                }
            }
        }
    }

    fn request(&self, kind: Kind) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let (method, path, body) = match (kind, self.newest.load(Ordering::Relaxed)) {
            (Kind::Health, _) => (Method::GET, "/health".to_owned(), Bytes::new()),
            (Kind::List, _) => (Method::GET, "/modules".to_owned(), Bytes::new()),
            (Kind::Get, newest @ 1..) => (Method::GET, format!("/modules/{newest}"), Bytes::new()),
            // Nothing to get yet: the first request makes something.
            (Kind::Create | Kind::Get, _) => {
                let body = Bytes::from_static(br#"{"name":"demo module"}"#);
                (Method::POST, "/modules".to_owned(), body)
            }
        };
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.load.addr.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
    }

    async fn send(&mut self, kind: Kind) -> Result<(), String> {
        let request = self
            .request(kind)
            .map_err(|_| "invalid request".to_owned())?;
        let mut sender = match self.connection.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(self.load.addr).await?,
        };
        let closed = |_| "connection closed".to_owned();
        sender.ready().await.map_err(closed)?;
        let reply = sender.send_request(request).await.map_err(closed)?;
        let status = reply.status();
        let body = reply.into_body().collect().await.map_err(closed)?;
        self.connection = Some(sender);
        if !status.is_success() {
            return Err(status.as_u16().to_string());
        }
        if status == StatusCode::CREATED {
            #[derive(serde::Deserialize)]
            struct Created {
                id: i32,
            }
            let created: Created = serde_json::from_slice(&body.to_bytes())
                .map_err(|_| "unexpected body".to_owned())?;
            self.newest.fetch_max(created.id, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn connect(addr: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let socket = TcpStream::connect(addr).await;
    let socket = socket.map_err(|error| format!("connect: {}", error.kind()))?;
    // Requests are small: none of them must wait for the acknowledgement of the one before.
    socket.set_nodelay(true).map_err(|e| e.kind().to_string())?;
    let (sender, connection) = handshake(TokioIo::new(socket))
        .await
        .map_err(|_| "connection closed".to_owned())?;
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_share() {
        let mix = Mix {
            health: 30,
            create: 20,
            list: 20,
            get: 30,
        };
        for start in [0, 7, u64::MAX / 2] {
            let count = |kind| {
                let numbers = start..start + 100;
                numbers.filter(|&n| mix.pick(n) == kind).count()
            };
            let shares = [Kind::Health, Kind::Create, Kind::List, Kind::Get].map(count);
            assert_eq!(shares, [30, 20, 20, 30], "{start}");
        }
        let nothing = Mix {
            health: 0,
            create: 0,
            list: 0,
            get: 0,
        };
        assert_eq!(nothing.pick(3), Kind::Get);
    }
}
