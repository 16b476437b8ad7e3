//! Whether an upstream answers in its protocol: `PING`, a start-up and `SELECT 1`, `GET`; by clients that everybody uses, past the
//! proxies. What is told is a few words: nothing of what a server says, which may hold anything.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::HOST;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::NoTls;

use crate::config::{ProxyConfig, Upstream};
use crate::protocol::Protocol;

/// The longest that a probe takes, however long connecting may take.
const LONGEST: Duration = Duration::from_secs(5);

/// What came of probing an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Health {
    /// The proxy before it.
    pub proxy: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where it is.
    pub upstream: String,
    /// Whether it answered as it should.
    pub healthy: bool,
    /// How long that took, in microseconds.
    pub took_us: u64,
    /// What it answered, or why it is not healthy.
    pub said: String,
}

/// Probes the upstreams of all these proxies at once. The answers come in their order.
pub async fn all(proxies: &[ProxyConfig]) -> Vec<Health> {
    futures_util::future::join_all(proxies.iter().map(one)).await
}

/// Probes the upstream of a proxy. Takes its `connect_timeout`, and 5 s at most.
pub async fn one(proxy: &ProxyConfig) -> Health {
    let limit = proxy.connect_timeout.min(LONGEST);
    let began = Instant::now();
    let outcome = match tokio::time::timeout(limit, ask(proxy)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!(
            "no answer within {}",
            humantime::format_duration(limit)
        )),
    };
    Health {
        proxy: proxy.name.clone(),
        protocol: proxy.protocol,
        upstream: proxy.upstream.to_string(),
        healthy: outcome.is_ok(),
        took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        said: outcome.unwrap_or_else(|why| why),
    }
}

type Outcome = Result<String, String>;

async fn ask(proxy: &ProxyConfig) -> Outcome {
    let password = password(proxy)?;
    match proxy.protocol {
        Protocol::Redis => redis(proxy, password).await,
        Protocol::Postgres => postgres(proxy, password).await,
        Protocol::Http => match &proxy.upstream {
            Upstream::Tcp { host, port } => {
                http(proxy, TcpStream::connect((host.as_str(), *port))).await
            }
            Upstream::Unix(path) => http(proxy, UnixStream::connect(path)).await,
        },
        Protocol::Tcp => {
            let connected = match &proxy.upstream {
                Upstream::Tcp { host, port } => {
                    TcpStream::connect((host.as_str(), *port)).await.map(drop)
                }
                Upstream::Unix(path) => UnixStream::connect(path).await.map(drop),
            };
            connected
                .map(|()| "accepts connections".into())
                .map_err(|e| of_io(&e))
        }
    }
}

fn password(proxy: &ProxyConfig) -> Result<Option<String>, String> {
    let Some(name) = &proxy.probe.password_env else {
        return Ok(None);
    };
    match std::env::var(name) {
        Ok(password) => Ok(Some(password)),
        Err(_) => Err(format!(
            "the variable {name} of `probe.password_env` is not set"
        )),
    }
}

async fn redis(proxy: &ProxyConfig, password: Option<String>) -> Outcome {
    let trusted = password.is_none();
    let mut login = RedisConnectionInfo::default();
    if let Some(user) = &proxy.probe.user
        && !trusted
    {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    let address = match &proxy.upstream {
        Upstream::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        Upstream::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let ping = async {
        let info = address.into_connection_info()?.set_redis_settings(login);
        // The probe has its own limit.
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = redis::Client::open(info)?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
    };
    match ping.await {
        Ok(pong) if pong == "PONG" => Ok("PONG".into()),
        Ok(_) => Err("it answers PING with something else".into()),
        Err(error) => match error.code() {
            Some("NOAUTH") if trusted => Ok("wants a password".into()),
            Some(code) => Err(format!("it answers {code}")),
            None if error.kind() == redis::ErrorKind::AuthenticationFailed => {
                Err("the password is refused".into())
            }
            None if error.is_connection_refusal() => Err("refused".into()),
            None if error.is_io_error() => Err("the connection fails".into()),
            None => Err("it does not answer as a Redis does".into()),
        },
    }
}

async fn postgres(proxy: &ProxyConfig, password: Option<String>) -> Outcome {
    let trusted = password.is_none();
    let user = proxy.probe.user.as_deref().unwrap_or("postgres");
    let mut config = tokio_postgres::Config::new();
    config
        .user(user)
        .dbname(proxy.probe.database.as_deref().unwrap_or(user))
        .application_name("brownout probe");
    if let Some(password) = password {
        config.password(password);
    }
    let answer = match &proxy.upstream {
        Upstream::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            select_one(&config, stream.map_err(|e| of_io(&e))?).await
        }
        Upstream::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            select_one(&config, stream.map_err(|e| of_io(&e))?).await
        }
    };
    let Err(error) = answer else {
        return Ok("SELECT 1".into());
    };
    match error.code().map(tokio_postgres::error::SqlState::code) {
        // It speaks Postgres, and we have nothing to show it.
        Some(state) if trusted && state.starts_with("28") => Ok("wants credentials".into()),
        Some(state) => Err(format!("it answers {state}")),
        // It asks for a password before it says anything else; of that the client has no kind, only a text.
        None if trusted && crate::cli::chain(&error).contains("password missing") => {
            Ok("wants a password".into())
        }
        None if error.is_closed() => Err("the connection fails".into()),
        None => Err("it does not answer as a Postgres does".into()),
    }
}

async fn select_one<S>(
    config: &tokio_postgres::Config,
    stream: S,
) -> Result<(), tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    let connection = tokio::spawn(connection);
    let answer = client.simple_query("SELECT 1").await;
    connection.abort();
    answer.map(drop)
}

async fn http<S>(proxy: &ProxyConfig, connecting: impl Future<Output = io::Result<S>>) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = connecting.await.map_err(|e| of_io(&e))?;
    let wrong = |_| "it does not answer as an HTTP server does".to_owned();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(wrong)?;
    let connection = tokio::spawn(connection);
    let host = match &proxy.upstream {
        Upstream::Tcp { .. } => proxy.upstream.to_string(),
        Upstream::Unix(_) => "localhost".into(),
    };
    let path = proxy.probe.path.as_deref().unwrap_or("/");
    let request = Request::get(path)
        .header(HOST, host)
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|_| format!("{path:?} is not a path"))?;
    let answer = sender.send_request(request).await;
    connection.abort();
    let status = answer.map_err(wrong)?.status();
    let said = format!("GET {path}: {}", status.as_u16());
    if status.is_server_error() {
        Err(said)
    } else {
        Ok(said)
    }
}

/// Why there is no connection, in a word.
fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".into(),
        io::ErrorKind::NotFound => "there is no such socket".into(),
        io::ErrorKind::PermissionDenied => "not permitted".into(),
        _ if error.raw_os_error().is_none() => "the name does not resolve".into(),
        _ => "no connection".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that answers every start-up with this, and then waits for more.
    async fn probed(answer: &'static [u8]) -> Health {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut startup = [0; 1024];
            let _ = stream.read(&mut startup).await;
            stream.write_all(answer).await.expect("sent");
            let _ = stream.read(&mut startup).await;
        });
        let proxy =
            ProxyConfig::from_shorthand(Protocol::Postgres, &format!("p@0=127.0.0.1:{port}"));
        one(&proxy.expect("a proxy")).await
    }

    #[tokio::test]
    async fn a_postgres_that_asks_for_a_password_is_there() {
        // AuthenticationCleartextPassword, and AuthenticationMD5Password with its salt.
        for asks in [&b"R\0\0\0\x08\0\0\0\x03"[..], b"R\0\0\0\x0c\0\0\0\x05salt"] {
            let health = probed(asks).await;
            assert!(health.healthy, "{health:?}");
            assert_eq!(health.said, "wants a password");
        }
    }

    #[tokio::test]
    async fn what_speaks_no_postgres_is_not() {
        let health = probed(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(!health.healthy, "{health:?}");
    }
}
