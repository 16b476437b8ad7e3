//! Generators of load: an open schedule, in which latency counts from the time at which a request was due, callers that
//! wait for their answers, or a canary, which asks one at a time beside the others. What they saw is kept call by call.

mod clients;
mod lapses;
pub(crate) mod schedule;
mod tally;

pub(crate) use lapses::Lapses;
pub(crate) use tally::{Called, LaneFigures, Tally};

use super::search::Slo;
use crate::proxy::Server;
use bytes::Bytes;
use clients::Client;
use http_body_util::Full;
use hyper::{Method, header::HOST};
use schedule::Schedule;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch::Receiver};
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
    /// What a stepped rate has to keep to.
    pub(crate) search: Option<Slo>,
}

#[derive(Debug, Clone)]
pub(crate) enum Target {
    Proxy(String),
    /// host:port.
    Address(String),
}

/// How often.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pace {
    /// Whether or not they are answered.
    Open(Schedule),
    /// At this rate, but one at a time: what is due while one is unanswered is passed over.
    Canary(f64),
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

impl Pace {
    /// Requests between these seconds, at most; `None`: that depends on the answers.
    pub(crate) fn between(&self, from: f64, to: f64) -> Option<f64> {
        match self {
            Self::Open(schedule) => Some(schedule.between(from, to)),
            Self::Canary(rate) => Some(rate * (to - from)),
            Self::Closed { .. } => None,
        }
    }

    /// Whether it asks less while replies are slow.
    pub(crate) const fn waits(&self) -> bool {
        match self {
            Self::Open(_) => false,
            Self::Canary(_) | Self::Closed { .. } => true,
        }
    }
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
            own: result.own,
        });
        // After a failure the reply may still come, and would be taken for the next request's.
        if result.keep {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(client);
        }
    }

    /// `dial`: the multiple of the schedule's rate; with every turn of it the schedule begins anew.
    async fn open(self, schedule: &Schedule, mut dial: Receiver<f64>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let mut number = 0;
        'turned: loop {
            let factor = *dial.borrow_and_update();
            let (began, clock) = (Instant::now(), Server::clock());
            for place in 0_u64.. {
                let offset = (factor > 0.0).then(|| schedule.due(place).div_f64(factor));
                let due = async {
                    match offset {
                        Some(offset) => tokio::time::sleep_until((began + offset).into()).await,
                        None => std::future::pending().await,
                    }
                };
                let behind = || {
                    let due = schedule.between(0.0, began.elapsed().as_secs_f64() * factor);
                    self.tally
                        .fall_behind((due as u64).saturating_sub(place + 1));
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {
                        behind();
                        break 'turned;
                    }
                    Ok(()) = dial.changed() => {
                        behind();
                        continue 'turned;
                    }
                    () = due => {}
                }
                let offset = offset.unwrap_or_default().as_nanos();
                let intended = clock + u64::try_from(offset).unwrap_or(u64::MAX);
                self.launch(number, intended, &room, &tasks);
                number += 1;
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Sends a request beside those that are under way, if there is room.
    fn launch(&self, number: u64, intended: u64, room: &Arc<Semaphore>, tasks: &TaskTracker) {
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
            self.tally.skip(intended);
            return;
        };
        self.tally.late(Server::clock().saturating_sub(intended));
        self.tally.begin(intended);
        // What is under way at the end has its own time limit: a hang must not vanish from the figures.
        let lane = self.clone();
        tasks.spawn(async move {
            lane.send(number, intended).await;
            drop(permit);
        });
    }

    async fn canary(self, rate: f64, stop: CancellationToken) {
        let (began, clock) = (Instant::now(), Server::clock());
        let due = |number: u64| Duration::from_secs_f64(number as f64 / rate);
        let mut number = 0_u64;
        loop {
            let wait = tokio::time::sleep_until((began + due(number)).into());
            if stop.run_until_cancelled(wait).await.is_none() {
                break;
            }
            let now = Server::clock();
            self.tally.begin(now);
            self.send(number, now).await;
            let next = (began.elapsed().as_secs_f64() * rate).ceil() as u64;
            for missed in number + 1..next {
                let after = u64::try_from(due(missed).as_nanos()).unwrap_or(u64::MAX);
                self.tally.pass_over(clock.saturating_add(after));
            }
            number = next.max(number + 1);
        }
    }

    async fn closed(self, callers: u32, think: Duration, stop: CancellationToken) {
        let callers = (0..u64::from(callers)).map(|caller| {
            let (lane, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                for number in (caller..).step_by(callers as usize) {
                    let before = lane.tally.failures();
                    let now = Server::clock();
                    lane.tally.begin(now);
                    lane.send(number, now).await;
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
pub(crate) async fn drive(
    load: Load,
    address: String,
    tally: Arc<Tally>,
    dial: Receiver<f64>,
    stop: CancellationToken,
) {
    let password = load
        .password_env
        .as_deref()
        .and_then(|name| std::env::var(name).ok());
    let pace = load.pace.clone();
    let lane = Lane {
        load: Arc::new(load),
        address: address.into(),
        password: password.map(Into::into),
        tally,
        idle: Arc::default(),
    };
    match pace {
        Pace::Open(schedule) => lane.open(&schedule, dial, stop).await,
        Pace::Canary(rate) => lane.canary(rate, stop).await,
        Pace::Closed { callers, think } => lane.closed(callers, think, stop).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_and_a_canary_wait_and_a_rate_does_not() {
        let (callers, think) = (2, Duration::ZERO);
        assert!(Pace::Closed { callers, think }.waits());
        assert!(Pace::Canary(10.0).waits());
        assert!(!Pace::Open(Schedule::steady(10.0)).waits());
    }
}
