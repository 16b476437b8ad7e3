//! Statements that the server is asked to cancel, by a `CancelRequest` of our own on a connection of its own.
//!
//! Whom such a request hits, the server decides: whatever it does for that session when the request arrives. So nothing behind the
//! statement reaches the server before the statement has ended and the server has closed the connection of the request, or had a second to
//! do so. A request that arrives before the server has begun is forgotten by it: another one follows.

use super::super::clock;
use super::super::local::Local;
use super::super::relay::{Relay, Source};
use super::super::shared::Shared;
use super::super::turn_away::write_all;
use super::Injector;
use super::request::Asked;
use crate::fault::{Decision, Skip, Undone};
use crate::protocol::postgres::{self, Shape};
use crate::protocol::{Class, Decoder, Status};
use bytes::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::io::ReadBuf;

/// How long a request that is on its way keeps what is behind the statement once the fault is over.
const GRACE: Duration = Duration::from_millis(90);

/// The time between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// What a statement ends with that was cancelled.
const QUERY_CANCELED: [u8; 5] = *b"57014";

/// The request gets this long, the connection included.
const WITHIN: Duration = Duration::from_secs(1);

/// A statement that the server is to cancel.
#[derive(Debug)]
pub(super) struct Cancelling {
    asked: Asked,
    decision: Arc<Decision>,
    /// What asks for it.
    request: Bytes,
    /// It is carried out with its batch, whose Sync is still to come.
    batch: bool,
    /// What is behind it is held back.
    holds: bool,
    /// The server has it, and nothing behind it.
    there: bool,
    /// Bytes of its reply that are to come first.
    left: u64,
    /// Its reply is coming in.
    replying: bool,
    /// Its reply has ended.
    ended: bool,
    /// What came of it was told.
    told: bool,
    /// Since when its fault is not in force any more, or its reply not heard.
    lapsed: Option<u64>,
    asking: Asking,
}

/// How far the request is.
enum Asking {
    NotYet,
    UnderWay(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// It was made; another one follows at this time.
    Again(u64),
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotYet => "NotYet",
            Self::UnderWay(_) => "UnderWay",
            Self::Again(_) => "Again",
        })
    }
}

impl Cancelling {
    /// The reply of this exchange begins.
    pub(super) fn reply_begins(&mut self, exchange: u64) {
        self.replying = exchange == self.asked.0;
    }

    /// The server got all that goes before what is held.
    pub(super) fn arrives(&mut self) {
        self.there = self.holds;
    }

    /// No further request is made, if its fault is over.
    pub(super) fn free(&mut self, in_force: impl Fn(&Decision) -> bool) {
        if !in_force(&self.decision) {
            self.lapse();
        }
    }

    fn lapse(&mut self) {
        self.lapsed.get_or_insert_with(clock::now);
    }

    /// Whether the server is to be asked now.
    fn is_due(&self, relay: &Relay) -> bool {
        let next = relay.meter.oldest_unanswered() == self.asked.0
            && matches!(&relay.meter.decoder, Decoder::Postgres(d) if !d.owes_ready_before(self.asked.0));
        let waits = match self.asking {
            Asking::NotYet => self.there && self.left == 0 && next,
            Asking::UnderWay(_) => false,
            Asking::Again(at) => at <= clock::now(),
        };
        waits && !self.ended && self.lapsed.is_none()
    }
}

impl Injector {
    /// Lets the statement go, and remembers to cancel it. Returns why not, where it cannot be.
    pub(super) fn cancel(
        &mut self,
        asked: Asked,
        bytes: u64,
        seen: &[u8],
        now: u64,
        decision: &Arc<Decision>,
        relay: &Relay,
    ) -> Option<Skip> {
        self.pass(seen, clock::nanos(decision.request_delay), now, decision);
        let Decoder::Postgres(decoder) = &relay.meter.decoder else {
            return Some(Skip::NotAStatement);
        };
        // While the server reads COPY data it takes no notice, and the client's are held.
        if asked.1 == postgres::operation::COPY && asked.2 == Class::Write {
            return Some(Skip::NotAStatement);
        }
        let batch = match decoder.shape(asked.0) {
            Shape::Simple => false,
            Shape::Execute => true,
            Shape::Other => return Some(Skip::NotAStatement),
        };
        let Some(request) = decoder.cancel_request() else {
            return Some(Skip::NoCancelKey);
        };
        if self.cancelling.is_some() {
            return Some(Skip::Pipelined);
        }
        self.cancelling = Some(Cancelling {
            asked,
            decision: Arc::clone(decision),
            request,
            batch,
            holds: false,
            there: false,
            left: bytes,
            replying: false,
            ended: false,
            told: false,
            lapsed: None,
            asking: Asking::NotYet,
        });
        None
    }

    /// Whether it is told later what was done to this exchange.
    pub(super) fn is_cancelling(&self, exchange: u64) -> bool {
        self.cancelling
            .as_ref()
            .is_some_and(|c| c.asked.0 == exchange)
    }

    /// Everything up to here was put into the lane: the request of this exchange, or its batch where there is none. What comes now waits,
    /// if a statement is to be cancelled.
    pub(super) fn hold_behind(
        &mut self,
        exchange: Option<u64>,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        let Some(cancelling) = &mut self.cancelling else {
            return;
        };
        let reached = match exchange {
            Some(exchange) => !cancelling.batch && exchange == cancelling.asked.0,
            None => cancelling.batch && !cancelling.holds,
        };
        if !reached {
            return;
        }
        if relay.meter.newest() == Some(cancelling.asked.0) {
            cancelling.holds = true;
            self.up.hold();
        } else {
            // Another statement of the batch could be the one that is hit.
            self.forget_cancel(Skip::Pipelined, relay, local);
        }
    }

    /// Bytes of the server, up to the next boundary.
    pub(super) fn cancel_reply_bytes(&mut self, bytes: &[u8]) {
        if let Some(cancelling) = self.cancelling.as_mut().filter(|c| c.replying) {
            cancelling.left = cancelling.left.saturating_sub(bytes.len() as u64);
        }
    }

    /// Whether the statement has ended, and what asks for that is still on its way: what comes next is decided when it is done.
    pub(super) fn cancel_is_over(&self) -> bool {
        self.cancelling.as_ref().is_some_and(|c| c.ended)
    }

    /// Whether reading on would only bring more of what is to be cancelled.
    pub(super) fn cancel_is_due(&self, relay: &Relay) -> bool {
        self.cancelling.as_ref().is_some_and(|c| c.is_due(relay))
    }

    /// Asks the server once it is time, and lets go what waits once it is over. `true`: it does.
    pub(super) fn poll_cancel(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
        wake: &mut u64,
    ) -> bool {
        let Some(cancelling) = &mut self.cancelling else {
            return false;
        };
        // Where a side has gone, the end of the reply is not heard any more.
        let (up, down) = (&relay.up, &relay.down);
        if down.done || down.source != Source::Open || up.source == Source::Reset {
            cancelling.lapse();
        }
        if cancelling.is_due(relay) {
            let asking = ask(&relay.shared, cancelling.request.clone());
            cancelling.asking = Asking::UnderWay(asking);
        }
        if let Asking::UnderWay(asking) = &mut cancelling.asking
            && asking.as_mut().poll(cx).is_ready()
        {
            let pause = clock::nanos(PAUSE);
            cancelling.asking = Asking::Again(clock::now().saturating_add(pause));
        }
        if let Asking::Again(at) = cancelling.asking {
            *wake = (*wake).min(at);
        }
        let on_its_way = matches!(cancelling.asking, Asking::UnderWay(_));
        let until = cancelling.lapsed.map(|since| since + clock::nanos(GRACE));
        if on_its_way && until.is_none_or(|until| clock::now() < until) {
            *wake = (*wake).min(until.unwrap_or(u64::MAX));
            return false;
        }
        if !cancelling.ended && until.is_none() {
            return false;
        }
        self.forget_cancel(Skip::NotCancelled, relay, local);
        true
    }

    /// The reply of this exchange ends so: tells whether it was cancelled.
    pub(super) fn cancel_ends(
        &mut self,
        exchange: u64,
        status: Status,
        relay: &mut Relay,
        local: &mut Local,
    ) {
        if let Some(cancelling) = self.cancelling.as_mut().filter(|c| c.asked.0 == exchange) {
            (cancelling.replying, cancelling.ended) = (false, true);
            let asked = !matches!(cancelling.asking, Asking::NotYet);
            let cancelled = asked && status == postgres::of_sqlstate(QUERY_CANCELED);
            let why = (!cancelled).then_some(Skip::NotCancelled);
            self.tell_of_cancel(why, relay, local);
        }
    }

    /// Nothing is to be cancelled any more: what is held behind it goes on. Where nothing was told yet, it is told.
    pub(super) fn forget_cancel(&mut self, why: Skip, relay: &mut Relay, local: &mut Local) {
        let Some(cancelling) = &self.cancelling else {
            return;
        };
        // Once it is on its way, it may hit.
        let why = matches!(cancelling.asking, Asking::NotYet).then_some(why);
        self.tell_of_cancel(why, relay, local);
        self.cancelling = None;
        self.up.let_go();
    }

    fn tell_of_cancel(&mut self, why: Option<Skip>, relay: &mut Relay, local: &mut Local) {
        let Some(cancelling) = self.cancelling.as_mut().filter(|c| !c.told) else {
            return;
        };
        cancelling.told = true;
        let (asked, decision) = (cancelling.asked, Arc::clone(&cancelling.decision));
        let undone = Undone::end(why);
        let (shared, shard) = (&relay.shared, &mut local.shard);
        self.record
            .skipped(asked.0, &decision, undone, shared, shard);
        self.tell(asked, &decision, undone, relay, local);
    }
}

/// Sends a request on a connection of its own, and waits until the server closes that: then it has done what it will.
fn ask(shared: &Arc<Shared>, request: Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    #[cfg(any(test, fuzzing))]
    if clock::stands_still() {
        return Box::pin(std::future::ready(()));
    }
    let shared = Arc::clone(shared);
    Box::pin(async move {
        let asked = async {
            let (process, upstream) = (&shared.process, &shared.upstream);
            let mut stream = upstream.connect(process, WITHIN).await.ok()?;
            write_all(&mut stream, &request).await.ok()?;
            // Nothing comes but the end.
            let mut space = [0; 16];
            let mut buffer = ReadBuf::new(&mut space);
            poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await.ok()
        };
        // Whether it was cancelled, its reply says.
        let _ = tokio::time::timeout(WITHIN, asked).await;
    })
}
