//! One connection of a lane, by protocol.

use super::{Lane, Postgres, Request, Work};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use redis::aio::MultiplexedConnection;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

/// What a caller got.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) ok: bool,
    /// Whether the connection can be used again.
    pub(super) keep: bool,
    /// Whether it failed on this machine, before the service.
    pub(super) own: bool,
}

/// Whether an error is this machine's own: no descriptors, ports or buffers are left. Whatever the service does, it shows nothing.
fn own(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustix::io::Errno;
    const OWN: [Errno; 5] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::ADDRNOTAVAIL,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    let mut next = Some(error);
    while let Some(error) = next {
        // redis-rs shares its causes.
        let shared = error.downcast_ref::<Shared>();
        let io = match shared {
            Some(shared) => shared.downcast_ref::<std::io::Error>(),
            None => error.downcast_ref::<std::io::Error>(),
        };
        if let Some(code) = io.and_then(std::io::Error::raw_os_error) {
            return OWN.iter().any(|own| own.raw_os_error() == code);
        }
        next = error.source();
    }
    false
}

impl Answer {
    pub(super) fn failed(status: impl Into<String>) -> Self {
        Self {
            status: status.into(),
            ok: false,
            keep: false,
            own: false,
        }
    }

    fn own(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        self.own = own(error);
        self
    }

    fn ok(status: impl Into<String>) -> Self {
        Self {
            status: status.into(),
            ok: true,
            keep: true,
            own: false,
        }
    }
}

/// A connection, made when it is first needed.
pub(super) enum Client {
    Http(Option<SendRequest<Full<Bytes>>>),
    Redis(Option<MultiplexedConnection>),
    PubSub(Option<Box<(MultiplexedConnection, redis::aio::PubSubStream)>>),
    Postgres(Option<tokio_postgres::Client>),
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// Which of several requests has this number: each has its share, and they are spread.
fn pick(requests: &[Request], number: u64) -> &Request {
    let all: u64 = requests.iter().map(|r| u64::from(r.weight)).sum();
    // A step without a common factor with the sum spreads the requests instead of sending them in blocks.
    let step = (all / 2 + 1..=all * 2)
        .find(|s| gcd(*s, all) == 1)
        .unwrap_or(1);
    let mut at = number.wrapping_mul(step) % all.max(1);
    for request in requests {
        let weight = u64::from(request.weight);
        if at < weight {
            return request;
        }
        at -= weight;
    }
    &requests[0]
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn turn<T>(all: &[T], number: u64) -> &T {
    &all[(number % all.len() as u64) as usize]
}

/// The name of a request in reports. Values are not in it.
pub(super) fn name(work: &Work, number: u64) -> String {
    match work {
        Work::Http(requests) => {
            let request = pick(requests, number);
            let path = request.path.split('?').next().unwrap_or_default();
            format!("{} {path}", request.method)
        }
        Work::Redis(commands) => turn(commands, number)[0].to_ascii_uppercase(),
        Work::PubSub(_) => "PUBLISH".into(),
        Work::Postgres(p) if p.transaction => "transaction".into(),
        Work::Postgres(p) => {
            let statement = turn(&p.statements, number);
            statement
                .split_whitespace()
                .next()
                .unwrap_or("statement")
                .to_ascii_uppercase()
        }
    }
}

impl Client {
    pub(super) fn new(work: &Work) -> Self {
        match work {
            Work::Http(_) => Self::Http(None),
            Work::Redis(_) => Self::Redis(None),
            Work::PubSub(_) => Self::PubSub(None),
            Work::Postgres(_) => Self::Postgres(None),
        }
    }

    pub(super) async fn call(&mut self, lane: &Lane, number: u64) -> Answer {
        match (self, &lane.load.work) {
            (Self::Http(sender), Work::Http(requests)) => {
                http(sender, lane, pick(requests, number)).await
            }
            (Self::Redis(connection), Work::Redis(commands)) => {
                redis_command(
                    connection,
                    lane,
                    turn(commands.as_slice(), number).as_slice(),
                )
                .await
            }
            (Self::PubSub(pair), Work::PubSub(channel)) => round_trip(pair, lane, channel, number)
                .await
                .unwrap_or_else(|e| refused(&e)),
            (Self::Postgres(client), Work::Postgres(work)) => {
                statement(client, lane, work, number).await
            }
            // A connection of another kind than the work: a bug of ours, and nothing of the service.
            _ => Answer {
                own: true,
                ..Answer::failed("internal")
            },
        }
    }
}

fn io_word(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
        _ => "closed",
    }
}

async fn http(
    sender: &mut Option<SendRequest<Full<Bytes>>>,
    lane: &Lane,
    request: &Request,
) -> Answer {
    if sender.as_ref().is_none_or(SendRequest::is_closed) {
        let socket = match TcpStream::connect(&*lane.address).await {
            Ok(socket) => socket,
            Err(error) => return Answer::failed(io_word(&error)).own(&error),
        };
        // Requests are small: none of them must wait for the acknowledgement of the one before.
        let _ = socket.set_nodelay(true);
        let Ok((made, connection)) = handshake(TokioIo::new(socket)).await else {
            return Answer::failed("closed");
        };
        tokio::spawn(connection);
        *sender = Some(made);
    }
    let (Some(sender), Some(request)) = (sender, request.build(&lane.address)) else {
        return Answer::failed("closed");
    };
    if sender.ready().await.is_err() {
        return Answer::failed("closed");
    }
    let Ok(reply) = sender.send_request(request).await else {
        return Answer::failed("closed");
    };
    let status = reply.status();
    let mut body = reply.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return Answer::failed("closed");
        }
    }
    Answer {
        status: status.as_u16().to_string(),
        ok: !status.is_client_error() && !status.is_server_error(),
        keep: true,
        own: false,
    }
}

fn client(lane: &Lane) -> redis::RedisResult<redis::Client> {
    let (host, port) = lane
        .address
        .rsplit_once(':')
        .unwrap_or((&lane.address, "6379"));
    let mut url = format!("redis://{host}:{port}/");
    if let Some(password) = &lane.password {
        let escaped = password.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        });
        url = format!("redis://:{escaped}@{host}:{port}/");
    }
    redis::Client::open(url)
}

async fn connect(lane: &Lane) -> redis::RedisResult<MultiplexedConnection> {
    // The lane has its own time limit.
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    client(lane)?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

fn refused(error: &redis::RedisError) -> Answer {
    let word = match error.code() {
        Some(code) => code.to_owned(),
        None if error.is_timeout() => "timeout".into(),
        None if error.is_connection_refusal() => "refused".into(),
        None => "closed".into(),
    };
    Answer {
        status: word,
        ok: false,
        keep: error.code().is_some(),
        own: own(error),
    }
}

async fn redis_command(
    connection: &mut Option<MultiplexedConnection>,
    lane: &Lane,
    words: &[String],
) -> Answer {
    if connection.is_none() {
        match connect(lane).await {
            Ok(made) => *connection = Some(made),
            Err(error) => return refused(&error),
        }
    }
    let Some(connection) = connection else {
        return Answer::failed("closed");
    };
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    match command.query_async::<redis::Value>(connection).await {
        Ok(_) => Answer::ok("ok"),
        Err(error) => refused(&error),
    }
}

async fn round_trip(
    pair: &mut Option<Box<(MultiplexedConnection, redis::aio::PubSubStream)>>,
    lane: &Lane,
    channel: &str,
    number: u64,
) -> redis::RedisResult<Answer> {
    if pair.is_none() {
        let publisher = connect(lane).await?;
        let mut subscriber = client(lane)?.get_async_pubsub().await?;
        subscriber.subscribe(channel).await?;
        *pair = Some(Box::new((publisher, subscriber.into_on_message())));
    }
    let Some(pair) = pair else {
        return Ok(Answer::failed("closed"));
    };
    // Other callers of this lane use the channel as well.
    let text = format!("{number}");
    redis::Cmd::publish(channel, &text)
        .query_async::<i64>(&mut pair.0)
        .await?;
    while let Some(message) = pair.1.next().await {
        if message.get_payload_bytes() == text.as_bytes() {
            return Ok(Answer::ok("ok"));
        }
    }
    Ok(Answer::failed("closed"))
}

async fn statement(
    client: &mut Option<tokio_postgres::Client>,
    lane: &Lane,
    work: &Postgres,
    number: u64,
) -> Answer {
    match attempt(client, lane, work, number).await {
        Ok(()) => Answer::ok("ok"),
        Err(error) => Answer {
            status: match error.code() {
                Some(state) => state.code().to_owned(),
                None => "closed".into(),
            },
            ok: false,
            keep: false,
            own: own(&error),
        },
    }
}

async fn attempt(
    client: &mut Option<tokio_postgres::Client>,
    lane: &Lane,
    work: &Postgres,
    number: u64,
) -> Result<(), tokio_postgres::Error> {
    if client.is_none() {
        let (host, port) = lane
            .address
            .rsplit_once(':')
            .unwrap_or((&lane.address, "5432"));
        let mut config = tokio_postgres::Config::new();
        config
            .host(host)
            .port(port.parse().unwrap_or(5432))
            .user(&work.user)
            .dbname(&work.database)
            .application_name("brownout test");
        if let Some(password) = &lane.password {
            config.password(password.as_bytes());
        }
        let (made, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        *client = Some(made);
    }
    let Some(client) = client else { return Ok(()) };
    if !work.transaction {
        client
            .simple_query(turn::<String>(&work.statements, number))
            .await?;
        return Ok(());
    }
    let transaction = client.transaction().await?;
    for statement in &work.statements {
        transaction.simple_query(statement).await?;
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_its_share_and_they_are_spread() {
        let request = |path: &str, weight| Request {
            method: hyper::Method::GET,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            weight,
        };
        let requests = [request("/a", 3), request("/b", 1), request("/c", 6)];
        let count = |path| {
            (0..100)
                .filter(|n| pick(&requests, *n).path == path)
                .count()
        };
        assert_eq!(["/a", "/b", "/c"].map(count), [30, 10, 60]);
    }
}
