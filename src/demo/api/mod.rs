//! The sample service of `brownout demo`: an HTTP API that keeps modules in Postgres and caches them in Redis.
//!
//! It is built the way a service should be, so that the demo shows what that gives: every call has a deadline, Redis sits
//! behind a circuit breaker and is done without when it fails, a failing Postgres makes 503 with `Retry-After` and nothing
//! worse, and no failure of one request reaches another.

pub mod breaker;
pub mod cache;
pub mod database;
mod routes;

#[cfg(test)]
mod tests;

use super::server::Server;
use cache::Cache;
use database::{Database, DatabaseError};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A client has this long to send the header of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How the service is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// As a service should be.
    Well,
    /// Without a circuit breaker: it asks a Redis that fails, again and again.
    WithoutBreaker,
}

/// Where the service finds what it depends on.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Redis.
    pub redis: redis::ConnectionInfo,
    /// Postgres.
    pub postgres: tokio_postgres::Config,
    /// How it deals with them.
    pub built: Built,
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port could be bound.
    #[error("cannot listen")]
    Listen(#[from] io::Error),
    /// The address of Redis is none.
    #[error("cannot use the Redis address")]
    Redis(#[from] redis::RedisError),
    /// The table could not be made.
    #[error("cannot prepare Postgres")]
    Postgres(#[from] DatabaseError),
}

/// What all requests share.
#[derive(Debug)]
struct Service {
    cache: Cache,
    database: Database,
}

/// Starts the service on a free port of the loopback, on the current runtime, and makes its table.
///
/// # Errors
/// When it cannot listen, or Postgres cannot be prepared.
pub async fn start(upstreams: Upstreams) -> Result<Server, StartError> {
    let service = Arc::new(Service {
        cache: Cache::new(upstreams.redis, upstreams.built)?,
        database: Database::new(upstreams.postgres),
    });
    service.database.create_table().await?;
    let server = Server::start(move |socket| {
        let service = Arc::clone(&service);
        async move {
            let answer = service_fn(move |request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
            });
            // hyper's deadlines do nothing without a timer of its own.
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(socket), answer);
            // An error here is a client that went away or does not speak HTTP.
            let _ = connection.await;
        }
    })
    .await?;
    Ok(server)
}
