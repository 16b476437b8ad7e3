//! What stands behind the demo's proxies: embedded servers or real ones, and the sample service.
//!
//! Each embedded server runs on a thread of its own, as it would in a process of its own: what is measured at the proxies
//! must not be the load generator's work on the same thread.

use super::server::Server;
use super::{api, postgres_server, redis_server};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_postgres::config::Host;

/// Why the demo's servers could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A thread or a port could not be had.
    #[error("cannot start an embedded server")]
    Embedded(#[from] io::Error),
    /// `--redis`.
    #[error("`{0}` is not the URL of a Redis; write redis://[USER:PASSWORD@]HOST[:PORT][/DB]")]
    RedisUrl(String),
    /// `--postgres`.
    #[error(
        "`{0}` is not the URL of a Postgres; write postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE"
    )]
    PostgresUrl(String),
    /// Nothing that `--redis` names answers.
    #[error("the Redis at {0} does not answer")]
    NoRedis(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing that `--postgres` names answers.
    #[error("the Postgres at {0} does not answer")]
    NoPostgres(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The sample service.
    #[error("cannot start the sample service")]
    Service(#[from] api::StartError),
}

/// A real server has this long to answer before the demo begins.
const ANSWER: Duration = Duration::from_secs(5);

/// A server on a thread of its own. Dropping it ends both.
#[derive(Debug)]
struct Hosted {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Hosted {
    /// Starts a server on a new thread.
    async fn start<F, E>(
        name: &str,
        start: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Self, BackendError>
    where
        F: Future<Output = Result<Server, E>>,
        E: Send + 'static,
        BackendError: From<E>,
    {
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name(format!("demo-{name}"))
            .spawn(move || {
                runtime.block_on(async {
                    match start().await {
                        Ok(server) => {
                            let _ = started.send(Ok(server.addr()));
                            // Asked to stop, or nobody is left to ask.
                            let _ = stopped.await;
                            server.shutdown().await;
                        }
                        Err(error) => {
                            let _ = started.send(Err(error));
                        }
                    }
                });
            })?;
        let ended = |_| io::Error::other("its thread ended");
        let addr = starting.await.map_err(ended)??;
        Ok(Self {
            addr,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // Inside a runtime, waiting would hold up what the thread may wait for in turn.
        if let Some(thread) = self.thread.take()
            && Handle::try_current().is_err()
        {
            let _ = thread.join();
        }
    }
}

/// Redis and Postgres.
#[derive(Debug)]
pub struct Backends {
    redis: ConnectionInfo,
    postgres: tokio_postgres::Config,
    /// Where the proxies must forward to, `HOST:PORT`.
    redis_upstream: String,
    postgres_upstream: String,
    _hosted: Vec<Hosted>,
}

impl Backends {
    /// Starts what no URL is given for.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn start(redis: Option<&str>, postgres: Option<&str>) -> Result<Self, BackendError> {
        let mut hosted = Vec::new();
        let (redis, redis_upstream) = if let Some(url) = redis {
            let (info, upstream) = redis_url(url)?;
            let asked = tokio::time::timeout(ANSWER, ask_redis(info.clone())).await;
            let no_redis = |error| BackendError::NoRedis(upstream.clone(), error);
            asked
                .map_err(|late| no_redis(late.into()))?
                .map_err(|error| no_redis(error.into()))?;
            (info, upstream)
        } else {
            let server = Hosted::start("redis", redis_server::start).await?;
            let addr = server.addr;
            hosted.push(server);
            let info = tcp(addr).into_connection_info();
            let info = info.map_err(|_| BackendError::RedisUrl(addr.to_string()))?;
            (info, addr.to_string())
        };
        let (postgres, postgres_upstream) = if let Some(url) = postgres {
            let (config, upstream) = postgres_url(url)?;
            let asked = ask_postgres(url);
            let asked = tokio::time::timeout(ANSWER, asked).await;
            let no_postgres = |error| BackendError::NoPostgres(upstream.clone(), error);
            asked
                .map_err(|late| no_postgres(late.into()))?
                .map_err(|error| no_postgres(error.into()))?;
            (config, upstream)
        } else {
            let server = Hosted::start("postgres", postgres_server::start).await?;
            let addr = server.addr;
            hosted.push(server);
            let mut config = tokio_postgres::Config::new();
            config.user("demo").dbname("demo");
            (config, addr.to_string())
        };
        Ok(Self {
            redis,
            postgres,
            redis_upstream,
            postgres_upstream,
            _hosted: hosted,
        })
    }

    /// Where the proxy of Redis must forward to.
    pub fn redis_upstream(&self) -> &str {
        &self.redis_upstream
    }

    /// Where the proxy of Postgres must forward to.
    pub fn postgres_upstream(&self) -> &str {
        &self.postgres_upstream
    }

    /// The same database and user, Redis through a proxy and Postgres without.
    pub(crate) fn redis_at(&self, redis: SocketAddr) -> api::Upstreams {
        let mut postgres = self.postgres.clone();
        if let Some((host, port)) = self.postgres_upstream.rsplit_once(':') {
            postgres.host(host.trim_matches(['[', ']']));
            postgres.port(port.parse().unwrap_or(5432));
        }
        api::Upstreams {
            redis: self.redis.clone().set_addr(tcp(redis)),
            postgres,
            built: api::Built::Well,
        }
    }

    /// The same database and user, through proxies.
    pub fn through(&self, redis: SocketAddr, postgres: SocketAddr) -> api::Upstreams {
        let mut config = self.postgres.clone();
        config.host(postgres.ip().to_string()).port(postgres.port());
        api::Upstreams {
            redis: self.redis.clone().set_addr(tcp(redis)),
            postgres: config,
            built: api::Built::Well,
        }
    }
}

/// The sample service.
#[derive(Debug)]
pub struct Service {
    hosted: Hosted,
}

impl Service {
    /// Starts it on a thread of its own.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn start(upstreams: api::Upstreams) -> Result<Self, BackendError> {
        let hosted = Hosted::start("api", move || api::start(upstreams)).await?;
        Ok(Self { hosted })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.hosted.addr
    }
}

fn tcp(addr: SocketAddr) -> ConnectionAddr {
    ConnectionAddr::Tcp(addr.ip().to_string(), addr.port())
}

/// What to say of a URL: never its password.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://...@{rest}"),
        _ => url.to_owned(),
    }
}

/// Credentials and database of a URL, and where it points.
fn redis_url(url: &str) -> Result<(ConnectionInfo, String), BackendError> {
    let refused = || BackendError::RedisUrl(redacted(url));
    let info = url.into_connection_info().map_err(|_| refused())?;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let upstream = host_and_port(host, *port);
            Ok((info, upstream))
        }
        // TLS ends at the server, where no proxy can see the commands; a socket is no place for one.
        _ => Err(refused()),
    }
}

/// Credentials and database of a URL, without its host, and where it points.
fn postgres_url(url: &str) -> Result<(tokio_postgres::Config, String), BackendError> {
    let refused = || BackendError::PostgresUrl(redacted(url));
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(refused());
    }
    let given = tokio_postgres::Config::from_str(url).map_err(|_| refused())?;
    let [Host::Tcp(host)] = given.get_hosts() else {
        return Err(refused());
    };
    let port = given.get_ports().first().copied().unwrap_or(5432);
    let mut config = tokio_postgres::Config::new();
    config.user(given.get_user().ok_or_else(refused)?);
    if let Some(password) = given.get_password() {
        config.password(password);
    }
    if let Some(database) = given.get_dbname() {
        config.dbname(database);
    }
    Ok((config, host_and_port(host, port)))
}

async fn ask_redis(info: ConnectionInfo) -> Result<(), redis::RedisError> {
    let client = api::cache::client(info)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

async fn ask_postgres(url: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await
}

fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::dead_port;
    use std::time::Instant;

    #[test]
    fn urls_say_where_and_as_whom() {
        let (info, upstream) = redis_url("redis://:secret@cache.example:6380/2").unwrap();
        assert_eq!(upstream, "cache.example:6380");
        assert_eq!(info.redis_settings().db(), 2);
        let (config, upstream) = postgres_url("postgres://me:secret@db.example/shop").unwrap();
        assert_eq!(upstream, "db.example:5432");
        assert_eq!(
            (config.get_user(), config.get_dbname()),
            (Some("me"), Some("shop"))
        );
        assert_eq!(config.get_password(), Some(b"secret".as_slice()));
        assert!(
            config.get_hosts().is_empty(),
            "the host is the proxy's to know"
        );
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for url in [
            "redis+unix:///tmp/x",
            "http://x",
            "redis://:pa@ss:secret@h:x",
            "localhost",
        ] {
            let error = redis_url(url).unwrap_err().to_string();
            assert!(
                !error.contains("secret") && error.contains("redis://"),
                "{error}"
            );
        }
        for url in [
            "http://x",
            "host=db user=me",
            "postgres://me:secret@h:x/y",
            "postgres:///x",
        ] {
            let error = postgres_url(url).unwrap_err().to_string();
            assert!(
                !error.contains("secret") && error.contains("postgres://"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn embedded_servers_serve_from_their_own_threads() {
        let backends = Backends::start(None, None).await.unwrap();
        let redis = backends.redis_upstream().parse().unwrap();
        let postgres = backends.postgres_upstream().parse().unwrap();
        let service = Service::start(backends.through(redis, postgres))
            .await
            .unwrap();
        let addr = service.addr();
        assert!(tokio::net::TcpStream::connect(addr).await.is_ok());
        drop(service);
        let deadline = Instant::now() + Duration::from_secs(5);
        while tokio::net::TcpStream::connect(addr).await.is_ok() {
            assert!(Instant::now() < deadline, "it goes on");
        }
    }

    #[tokio::test]
    async fn servers_that_do_not_answer_are_named() {
        let dead = dead_port();
        let redis = Backends::start(Some(&format!("redis://:secret@{dead}")), None).await;
        assert_eq!(
            redis.unwrap_err().to_string(),
            format!("the Redis at {dead} does not answer")
        );
        let url = format!("postgres://me:secret@{dead}/x");
        let postgres = Backends::start(None, Some(&url)).await;
        assert_eq!(
            postgres.unwrap_err().to_string(),
            format!("the Postgres at {dead} does not answer")
        );
    }

    #[tokio::test]
    async fn a_service_without_its_database_says_so() {
        let dead = dead_port();
        let backends = Backends::start(None, None).await.unwrap();
        let redis = backends.redis_upstream().parse().unwrap();
        let error = Service::start(backends.through(redis, dead))
            .await
            .unwrap_err();
        assert!(
            matches!(error, BackendError::Service(api::StartError::Postgres(_))),
            "{error}"
        );
    }
}
