//! One session from accept to close.

use super::clock;
use super::event::Event;
use super::local::Local;
use super::relay::{End, Relay};
use super::shared::Shared;
use super::socket::{Stream, Wanted};
use super::upstream::ConnectError;
use crate::fault::action::CloseHow;
use crate::measure::trace::{CloseSide, Label, Record};
use crate::measure::{Counter, Timing};
use std::future::poll_fn;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::ReadBuf;

/// How long a reset waits for the bytes before it to be acknowledged, and an orderly close for the peer's own.
const LINGER: Duration = Duration::from_secs(2);

/// How often it looks.
const LINGER_STEP: Duration = Duration::from_millis(1);

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: OwnedFd,
    pub(crate) unix: bool,
    pub(crate) peer: Option<IpAddr>,
    /// The client's port; 0 on a unix socket.
    pub(crate) port: u16,
    pub(crate) shared: Arc<Shared>,
    /// Its ordinal on the proxy.
    pub(crate) session: u64,
    pub(crate) welcome: Welcome,
    /// Its place among the sessions that are open.
    pub(crate) place: Place,
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Welcome {
    Serve,
    /// A fault says: never answer.
    Ignore,
    /// A fault says: answer that there is no room.
    TurnAway,
}

/// How long a newcomer that is turned away may take to say what it wants.
const TURN_AWAY: Duration = Duration::from_secs(10);

/// A session's place in the counts of its worker, its proxy and the process; given back when dropped, also by a panic.
#[derive(Debug)]
pub(crate) struct Place {
    load: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    served: bool,
}

impl Place {
    pub(crate) fn take(load: Arc<AtomicUsize>, shared: Arc<Shared>, welcome: Welcome) -> Self {
        let served = welcome == Welcome::Serve;
        shared
            .served
            .fetch_add(u32::from(served), Ordering::Relaxed);
        load.fetch_add(1, Ordering::Relaxed);
        shared.process.sessions.fetch_add(1, Ordering::Relaxed);
        shared.levels.opened();
        Self {
            load,
            shared,
            served,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.shared
            .served
            .fetch_sub(u32::from(self.served), Ordering::Relaxed);
        self.shared.process.sessions.fetch_sub(1, Ordering::Relaxed);
        self.shared.levels.closed();
    }
}

/// A session's slot among those that its worker can wake.
#[derive(Debug)]
struct Slot(usize);

impl Drop for Slot {
    fn drop(&mut self) {
        Local::with(|local| local.leave(self.0));
    }
}

/// Runs a session to its end.
pub(crate) async fn run(arrival: Arrival) {
    let Arrival {
        socket,
        unix,
        peer,
        port,
        shared,
        session,
        welcome,
        place,
    } = arrival;
    let opened = clock::now();
    let slot = Local::with(|local| {
        local.shard.count(shared.id, Counter::SessionsOpened, 1);
        local.shard.roll.write(shared.id, || Record::Opened {
            at: opened,
            proxy: shared.id,
            session,
            client: Label::Address(peer),
            port,
        });
        Slot(local.enter())
    });
    shared.emit(|| Event::SessionOpened {
        proxy: shared.name.clone(),
        session,
    });
    let (how, by) = match Stream::adopt(socket, unix) {
        Ok(client) => match welcome {
            Welcome::Serve => carry(client, peer, &shared, session, slot.0).await,
            Welcome::Ignore => (ignore(client, &shared, slot.0).await, CloseSide::Fault),
            Welcome::TurnAway => (turn_away(client, &shared).await, CloseSide::Fault),
        },
        Err(error) => {
            tracing::debug!(proxy = %shared.name, %error, "an accepted connection could not be used");
            ("closed", CloseSide::Client)
        }
    };
    Local::with(|local| {
        let at = clock::now();
        local.shard.roll.write(shared.id, || Record::Closed {
            at,
            proxy: shared.id,
            session,
            by,
        });
        local.shard.count(shared.id, Counter::SessionsClosed, 1);
        local
            .shard
            .observe(shared.id, Timing::Session, clock::now() - opened);
    });
    shared.plan().session_ended(session);
    shared.emit(|| Event::SessionClosed {
        proxy: shared.name.clone(),
        session,
        how,
    });
    drop((slot, place));
}

/// Relays between the client and its upstream. Returns how it ended.
async fn carry(
    client: Stream,
    peer: Option<IpAddr>,
    shared: &Arc<Shared>,
    session: u64,
    slot: usize,
) -> (&'static str, CloseSide) {
    if let Some(limit) = shared.user_timeout {
        client.bound_unacknowledged(limit);
    }
    let plan = shared.plan();
    let upstream = if plan.may_answer_startup(peer, clock::instant(clock::now())) {
        Stream::Awaited(Wanted::default())
    } else {
        match reach(&client, shared, session, slot).await {
            Ok(upstream) => upstream,
            Err(how) => return how,
        }
    };
    drop(plan);
    let mut relay = Relay::new(Arc::clone(shared), session, peer, client, upstream, slot);
    let end = loop {
        if let Some(end) = poll_fn(|cx| relay.poll_wanting(cx)).await {
            break end;
        }
        match reach(&relay.client, shared, session, slot).await {
            Ok(upstream) => relay.connected(upstream),
            Err(how) => {
                relay.account(End::Closed);
                return how;
            }
        }
    };
    relay.account(end);
    let by = relay.ended_by(end);
    if shared.process.is_recording() {
        shared.backends.forget(session);
    }
    (close(&mut relay, end).await, by)
}

/// The upstream of a session; or how the session ends that has none.
async fn reach(
    client: &Stream,
    shared: &Shared,
    session: u64,
    slot: usize,
) -> Result<Stream, (&'static str, CloseSide)> {
    let started = clock::now();
    let upstream = match connect(shared, slot).await {
        Some(Ok(upstream)) => upstream,
        Some(Err(error)) => {
            tell_unreached(shared, session, &error);
            // The nearest that an accepted connection can come to a refused one.
            client.reset_on_close();
            return Err(("connect_failed", CloseSide::ConnectFailed));
        }
        None => return Err(("closed", CloseSide::Proxy)),
    };
    Local::with(|local| {
        local
            .shard
            .observe(shared.id, Timing::Connect, clock::now() - started);
        local.shard.roll.write(shared.id, || Record::Connected {
            at: clock::now(),
            proxy: shared.id,
            session,
        });
    });
    if let Some(limit) = shared.user_timeout {
        upstream.bound_unacknowledged(limit);
    }
    Ok(upstream)
}

/// Tells everybody that there is no upstream.
fn tell_unreached(shared: &Shared, session: u64, error: &ConnectError) {
    let (counter, reason) = error.reason();
    Local::with(|local| local.shard.count(shared.id, counter, 1));
    if shared.says_unreached(clock::now()) {
        say_unreached(shared, error);
    }
    tracing::debug!(proxy = %shared.name, session, error = error as &dyn std::error::Error, "no upstream");
    shared.emit(|| Event::ConnectFailed {
        proxy: shared.name.clone(),
        session,
        reason,
    });
}

/// For people, who else would only see their connections reset.
fn say_unreached(shared: &Shared, error: &ConnectError) {
    let (proxy, upstream) = (&shared.name, &shared.upstream);
    let why = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    tracing::warn!(
        "proxy {proxy}: its upstream {upstream} is not reached: {why}; is it running, and is this its address? (said once a minute)"
    );
}

/// A connection to the upstream; `None`: the proxy closed meanwhile.
async fn connect(shared: &Shared, slot: usize) -> Option<Result<Stream, ConnectError>> {
    let mut attempt = pin!(
        shared
            .upstream
            .connect(&shared.process, shared.connect_timeout)
    );
    poll_fn(|cx| {
        Local::with(|local| local.set_waker(slot, cx.waker()));
        if shared.is_closing() {
            return Poll::Ready(None);
        }
        attempt.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Answers that there is no room, and closes.
async fn turn_away(mut client: Stream, shared: &Shared) -> &'static str {
    let told = super::turn_away::tell(&mut client, shared.protocol());
    match tokio::time::timeout(TURN_AWAY, told).await {
        Ok(Ok(())) => {
            client.finish();
            drain(&mut client).await;
        }
        Ok(Err(_)) | Err(_) => client.reset_on_close(),
    }
    "fault"
}

/// Never answers: reads and forgets until the client gives up or the fault is over.
async fn ignore(mut client: Stream, shared: &Shared, slot: usize) -> &'static str {
    poll_fn(|cx| {
        Local::with(|local| {
            local.set_waker(slot, cx.waker());
            let still =
                !shared.is_closing() && shared.plan().refuses_silently(std::time::Instant::now());
            if !still {
                client.reset_on_close();
                return Poll::Ready(());
            }
            loop {
                let mut buffer = ReadBuf::new(&mut local.scratch);
                match client.poll_read(cx, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
    })
    .await;
    "fault"
}

/// Closes both sockets as `end` says. Returns its name.
async fn close(relay: &mut Relay, end: End) -> &'static str {
    let Relay {
        client, upstream, ..
    } = relay;
    match end {
        End::Fin => "fin",
        End::ClientReset => {
            reset(upstream).await;
            "client_reset"
        }
        End::UpstreamReset => {
            reset(client).await;
            "upstream_reset"
        }
        End::Fault(CloseHow::Rst) => {
            tokio::join!(reset(client), reset(upstream));
            "fault"
        }
        End::Fault(CloseHow::Fin) => {
            upstream.finish();
            client.finish();
            drain(client).await;
            "fault"
        }
        End::Closed => {
            client.finish();
            upstream.finish();
            "closed"
        }
    }
}

/// Makes the coming close a reset, once the peer has what was sent before.
async fn reset(stream: &Stream) {
    let steps = LINGER.as_millis() / LINGER_STEP.as_millis();
    for _ in 0..steps {
        if stream.is_drained() {
            break;
        }
        tokio::time::sleep(LINGER_STEP).await;
    }
    stream.reset_on_close();
}

/// Reads and forgets until the peer closes too: a socket closed with unread bytes would reset, and the peer could lose
/// the bytes that were sent to it last.
async fn drain(stream: &mut Stream) {
    let until_end = poll_fn(|cx| {
        Local::with(|local| {
            loop {
                let mut buffer = ReadBuf::new(&mut local.scratch);
                match stream.poll_read(cx, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
    });
    // A peer that never closes loses the connection all the same.
    let _ = tokio::time::timeout(LINGER, until_end).await;
}
