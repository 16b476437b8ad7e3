//! Generators of load: an open schedule, in which latency counts from the time at which a request was due, or callers that
//! wait for their answers. What they saw is kept call by call.

mod clients;
mod tally;

pub(crate) use tally::{Called, LaneFigures, Tally};

use crate::proxy::Server;
use bytes::Bytes;
use clients::Client;
use http_body_util::Full;
use hyper::{Method, header::HOST};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests of one lane that may be unanswered at once; what would be beyond is not sent, and is counted.
pub(crate) const MAX_IN_FLIGHT: usize = 2_000;

/// One lane of load.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) lane: String,
    pub(crate) target: Target,
    pub(crate) pace: Pace,
    pub(crate) timeout: Duration,
    pub(crate) work: Work,
    pub(crate) password_env: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Target {
    Proxy(String),
    /// host:port.
    Address(String),
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Requests a second, whether or not they are answered.
    Open(f64),
    Closed {
        callers: u32,
        think: Duration,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Http(Vec<Request>),
    Redis(Vec<Vec<String>>),
    PubSub(String),
    Postgres(Postgres),
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) weight: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pub(crate) statements: Vec<String>,
    pub(crate) transaction: bool,
    pub(crate) user: String,
    pub(crate) database: String,
}

impl Request {
    /// As it is sent; `None` where that cannot be.
    pub(crate) fn build(&self, host: &str) -> Option<hyper::Request<Full<Bytes>>> {
        let mut request = hyper::Request::builder()
            .method(self.method.clone())
            .uri(&self.path);
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request = request.header(HOST, host);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone())).ok()
    }
}

/// What a lane needs to run.
#[derive(Debug, Clone)]
struct Lane {
    load: Arc<Load>,
    /// host:port of the proxy, or of the service.
    address: Arc<str>,
    password: Option<Arc<str>>,
    tally: Arc<Tally>,
    /// Connections that wait for work.
    idle: Arc<Mutex<Vec<Client>>>,
}

impl Lane {
    /// One request, from taking a connection to putting it back.
    async fn send(&self, number: u64, intended: u64) {
        let taken = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut client = taken.unwrap_or_else(|| Client::new(&self.load.work));
        let sent = Server::clock();
        let asked = client.call(self, number);
        let result = match tokio::time::timeout(self.load.timeout, asked).await {
            Ok(result) => result,
            Err(_) => clients::Answer::failed("timeout"),
        };
        self.tally.add(Called {
            at: Server::clock(),
            intended,
            sent,
            request: clients::name(&self.load.work, number),
            status: result.status,
            ok: result.ok,
        });
        // After a failure the reply may still come, and would be taken for the next request's.
        if result.keep {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(client);
        }
    }

    async fn open(self, rate: f64, stop: CancellationToken) {
        let period = Duration::from_secs_f64(1.0 / rate);
        let (began, clock) = (Instant::now(), Server::clock());
        let tasks = TaskTracker::new();
        let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        for number in 0_u64.. {
            let offset = period.mul_f64(number as f64);
            let due = tokio::time::sleep_until((began + offset).into());
            if stop.run_until_cancelled(due).await.is_none() {
                break;
            }
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                self.tally.skip();
                continue;
            };
            let intended = clock + u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX);
            self.tally.late(Server::clock().saturating_sub(intended));
            // What is under way at the end has its own time limit: a hang must not vanish from the figures.
            let lane = self.clone();
            tasks.spawn(async move {
                lane.send(number, intended).await;
                drop(permit);
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn closed(self, callers: u32, think: Duration, stop: CancellationToken) {
        let callers = (0..u64::from(callers)).map(|caller| {
            let (lane, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                for number in (caller..).step_by(callers as usize) {
                    let before = lane.tally.failures();
                    lane.send(number, Server::clock()).await;
                    // A server that is not there answers at once: that must not become a busy loop.
                    let failed = lane.tally.failures() > before;
                    let pause = if failed {
                        think.max(Duration::from_millis(1))
                    } else {
                        think
                    };
                    if pause.is_zero() {
                        tokio::task::yield_now().await;
                    } else {
                        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                    }
                    if stop.is_cancelled() {
                        break;
                    }
                }
            })
        });
        futures_util::future::join_all(callers.collect::<Vec<_>>()).await;
    }
}

/// Sends load until `stop`.
pub(crate) async fn drive(load: Load, address: String, tally: Arc<Tally>, stop: CancellationToken) {
    let password = load
        .password_env
        .as_deref()
        .and_then(|name| std::env::var(name).ok());
    let pace = load.pace;
    let lane = Lane {
        load: Arc::new(load),
        address: address.into(),
        password: password.map(Into::into),
        tally,
        idle: Arc::default(),
    };
    match pace {
        Pace::Open(rate) => lane.open(rate, stop).await,
        Pace::Closed { callers, think } => lane.closed(callers, think, stop).await,
    }
}
