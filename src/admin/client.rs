//! The admin endpoint's client: what `stats`, `profile`, `fault`, `halt` and `demo` speak with a running `brownout`.

use crate::measure::ledger;
use crate::measure::stats::Stats;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A request that takes longer than this is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a reply.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// Why the admin endpoint gave no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("`{0}` is not an admin address; write HOST:PORT, http://HOST:PORT or unix:/path")]
    Address(String),
    /// The token is none.
    #[error("the token has characters that no token has")]
    Token,
    /// Nobody listens there.
    #[error("cannot reach the admin endpoint at {address}: {error}; is `brownout run` running?")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It took too long.
    #[error("the admin endpoint at {0} did not answer within {TIMEOUT:?}")]
    Timeout(String),
    /// What came is no HTTP, or came only in part.
    #[error("the admin endpoint did not answer in HTTP: {0}")]
    Http(Box<dyn std::error::Error + Send + Sync>),
    /// It refused.
    #[error("the admin endpoint refused: {message} ({status})")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// What came is not the JSON that this version expects.
    #[error("the admin endpoint's answer is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// Where an admin endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// `host:port`.
    Tcp(String),
    /// A unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A client of one admin endpoint. Each request is a connection of its own.
#[derive(Debug, Clone)]
pub struct AdminClient {
    address: Address,
    /// What is sent as `Authorization`; never shown.
    token: Option<HeaderValue>,
}

impl AdminClient {
    /// For `HOST:PORT`, `http://HOST:PORT` or `unix:/path`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn new(address: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(address.to_owned());
        if let Some(path) = address.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self {
                    address: Address::Unix(path),
                    token: None,
                })
            } else {
                Err(wrong())
            };
        }
        let bare = address.strip_prefix("http://").unwrap_or(address);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        // It is written into a header as it is.
        let plain = bare.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        match bare.rsplit_once(':') {
            Some((host, port)) if plain && !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self {
                    address: Address::Tcp(bare.to_owned()),
                    token: None,
                })
            }
            _ => Err(wrong()),
        }
    }

    /// The same, with a token.
    ///
    /// # Errors
    /// The token cannot stand in a header.
    pub fn with_token(mut self, token: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| ClientError::Token)?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// `GET /v1/stats`: figures over the last `window` (1 s to 60 s), or since start.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats(&self, window: Option<Duration>) -> Result<Stats, ClientError> {
        let path = match window {
            Some(window) => format!("/v1/stats?window={}ms", window.as_millis()),
            None => "/v1/stats".to_owned(),
        };
        Ok(serde_json::from_value(self.get(&path).await?)?)
    }

    /// `GET /v1/ledger`, one page of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ledger(&self, query: &ledger::Query) -> Result<ledger::Listing, ClientError> {
        let path = ledger_path(query);
        Ok(serde_json::from_value(self.get(&path).await?)?)
    }

    /// `GET /v1/ledger?form=canonical`: what seed, profile and order of requests determine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn canonical_ledger(&self, query: &ledger::Query) -> Result<Value, ClientError> {
        let path = format!("{}&form=canonical", ledger_path(query));
        self.get(&path).await
    }

    /// `POST /v1/profiles/NAME/enable`, for at most `ttl`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn enable(&self, profile: &str, ttl: Duration) -> Result<Value, ClientError> {
        let path = format!("/v1/profiles/{}/enable", escaped(profile));
        let ttl = humantime::format_duration(ttl).to_string();
        let body = serde_json::json!({ "ttl": ttl });
        self.request(Method::POST, &path, Some(&body)).await
    }

    /// `POST /v1/profiles/NAME/disable`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disable(&self, profile: &str) -> Result<Value, ClientError> {
        let path = format!("/v1/profiles/{}/disable", escaped(profile));
        self.request(Method::POST, &path, None).await
    }

    /// `DELETE /v1/faults/NAME`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_fault(&self, fault: &str) -> Result<Value, ClientError> {
        let path = format!("/v1/faults/{}", escaped(fault));
        self.request(Method::DELETE, &path, None).await
    }

    /// `GET` of any path.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.request(Method::GET, path, None).await
    }

    /// Any request; the answer's JSON, or null where there is none.
    ///
    /// # Errors
    /// [`ClientError`]; any status but 2xx is [`ClientError::Refused`].
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, path, body))
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout(self.address.to_string())))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let unreachable = |error| ClientError::Unreachable {
            address: self.address.to_string(),
            error,
        };
        match &self.address {
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address).await.map_err(unreachable)?;
                over(socket, address, self.token.as_ref(), method, path, body).await
            }
            Address::Unix(file) => {
                let socket = UnixStream::connect(file).await.map_err(unreachable)?;
                // HTTP/1.1 wants a name (RFC 9112, section 3.2); a path is none.
                over(socket, "localhost", self.token.as_ref(), method, path, body).await
            }
        }
    }
}

/// One request and its answer over a connection of its own.
async fn over<S>(
    socket: S,
    host: &str,
    token: Option<&HeaderValue>,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error: hyper::Error| ClientError::Http(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(http)?;
    // It ends with the sender; what goes wrong on it is what the request returns.
    let connection = tokio::spawn(connection);
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body));
    let mut request = request.map_err(|error| ClientError::Http(error.into()))?;
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
    let reply = sender.send_request(request).await.map_err(http)?;
    let status = reply.status();
    let text = Limited::new(reply.into_body(), MAX_REPLY).collect().await;
    connection.abort();
    let text = text.map_err(ClientError::Http)?.to_bytes();
    if !status.is_success() {
        return Err(ClientError::Refused {
            status,
            message: message(&text),
        });
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_slice(&text)?)
}

/// A refusal: a problem document (RFC 9457) of ours, or `error` as Toxiproxy's API has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    detail: String,
    error: String,
    errors: Vec<FieldProblem>,
}

/// One field at fault.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldProblem {
    field: String,
    detail: String,
    remedy: String,
}

/// What a refusal says, the fields at fault included; all of it, where it is no document that we know.
fn message(text: &[u8]) -> String {
    let problem: Problem = serde_json::from_slice(text).unwrap_or_default();
    let mut message = match (problem.detail, problem.error) {
        (detail, _) if !detail.is_empty() => detail,
        (_, error) if !error.is_empty() => error,
        _ => return String::from_utf8_lossy(text).trim().to_owned(),
    };
    // Most details tell of their fields themselves.
    let untold = |e: &FieldProblem| !message.contains(&e.detail);
    let errors: Vec<FieldProblem> = problem.errors.into_iter().filter(untold).collect();
    for FieldProblem {
        field,
        detail,
        remedy,
    } in errors
    {
        // Writing to a string does not fail.
        let _ = write!(message, "\n{field}: {detail}");
        if !remedy.is_empty() {
            let _ = write!(message, "; {remedy}");
        }
    }
    message
}

fn ledger_path(query: &ledger::Query) -> String {
    let mut path = format!("/v1/ledger?duplicates={}", query.duplicates);
    let texts = [
        ("proxy", &query.proxy),
        ("fault", &query.fault),
        ("operation", &query.operation),
    ];
    // Writing to a string does not fail.
    for (name, value) in texts {
        if let Some(value) = value {
            let _ = write!(path, "&{name}={}", escaped(value));
        }
    }
    if query.since > 0 {
        let _ = write!(path, "&since={}", query.since);
    }
    if let Some(limit) = query.limit {
        let _ = write!(path, "&limit={limit}");
    }
    path
}

/// A name as a part of a path. A profile's name may have folders in it.
pub(crate) fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A listener that answers each request with `reply` and keeps what it was sent.
    async fn endpoint(reply: &'static str) -> (AdminClient, Arc<Mutex<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AdminClient::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut buffer = vec![0; 4096];
                let n = socket.read(&mut buffer).await.unwrap();
                *log.lock().unwrap() = String::from_utf8_lossy(&buffer[..n]).into_owned();
                socket.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        (client, seen)
    }

    #[tokio::test]
    async fn requests_are_what_the_endpoint_documents() {
        let (client, seen) =
            endpoint("HTTP/1.1 200 OK\r\ncontent-length: 37\r\n\r\n{\"window_seconds\":10.0,\"proxies\":[]}  ").await;
        let stats = client.stats(Some(Duration::from_secs(10))).await.unwrap();
        assert_eq!(stats.window_seconds, Some(10.0));
        assert!(
            seen.lock()
                .unwrap()
                .starts_with("GET /v1/stats?window=10000ms HTTP/1.1\r\n")
        );
        client
            .enable("a b", Duration::from_secs(300))
            .await
            .unwrap();
        let request = seen.lock().unwrap().clone();
        assert!(
            request.starts_with("POST /v1/profiles/a%20b/enable HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.ends_with("{\"ttl\":\"5m\"}"), "{request}");
        assert!(request.contains("host: 127.0.0.1:"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_says_what_the_endpoint_said() {
        let (client, _) = endpoint(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 23\r\n\r\n{\"error\":\"no such one\"}",
        )
        .await;
        let error = client.disable("x").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the admin endpoint refused: no such one (404 Not Found)"
        );
    }

    #[test]
    fn problem_documents_are_told_with_their_fields() {
        let told = |json: Value| message(json.to_string().as_bytes());
        let field =
            serde_json::json!({ "field": "delay", "detail": "too long", "remedy": "at most 1h" });
        let untold = serde_json::json!({ "detail": "not valid", "errors": [field] });
        assert_eq!(told(untold), "not valid\ndelay: too long; at most 1h");
        let told_already =
            serde_json::json!({ "detail": "delay: too long; at most 1h", "errors": [field] });
        assert_eq!(told(told_already), "delay: too long; at most 1h");
        assert_eq!(message(b" gone fishing\n"), "gone fishing");
        assert_eq!(message(b"{}"), "{}");
    }

    #[tokio::test]
    async fn unix_sockets_are_spoken_to() {
        let path = std::env::temp_dir().join(format!("brownout-client-{}", std::process::id()));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let client = AdminClient::new(&format!("unix:{}", path.display())).unwrap();
        let serve = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let n = socket.read(&mut buffer).await.unwrap();
            let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            socket.write_all(reply).await.unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        };
        let (answer, request) = tokio::join!(client.get("/v1/faults"), serve);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(answer.unwrap(), serde_json::json!({}));
        assert!(request.contains("host: localhost\r\n"), "{request}");
        let error = client.get("/").await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_http_or_nobody_there_is_said() {
        let (client, _) = endpoint("-ERR unknown command\r\n").await;
        let error = client.get("/v1/stats").await.unwrap_err();
        assert!(matches!(error, ClientError::Http(_)), "{error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let client = AdminClient::new(&format!("http://{address}/")).unwrap();
        let error = client.get("/").await.unwrap_err().to_string();
        assert!(
            error.contains(&address) && error.contains("brownout run"),
            "{error}"
        );
    }

    #[test]
    fn addresses() {
        for good in [
            "localhost:8474",
            "http://127.0.0.1:1/",
            "[::1]:8474",
            "unix:/run/brownout.sock",
        ] {
            assert!(AdminClient::new(good).is_ok(), "{good}");
        }
        for bad in [
            "localhost",
            "https://x:1",
            "http://x:1/y",
            "x:99999",
            "x y:1",
            "",
            "a\r\nb:1",
            ":8474",
            "unix:brownout.sock",
        ] {
            assert!(AdminClient::new(bad).is_err(), "{bad}");
        }
    }
}
