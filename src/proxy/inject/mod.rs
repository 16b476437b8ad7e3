//! Faults on the exchanges of one session: what stands between the decoder and the sockets while faults are loaded.
//!
//! The plan is asked once for each exchange, when its request is identified. Until then the bytes of that request are kept
//! here; afterwards they lie in a [`Lane`], in order, each with the time at which it may go on. The reply is treated when it
//! comes, at the boundaries that the decoder gives. Where nothing is held and no exchange of a piece is hit, the piece goes
//! from the scratch buffer to the socket as on the fast way.

mod burst;
mod cancel;
mod carry_out;
mod cuts;
mod error;
mod lose;
mod message;
mod push;
mod record;
mod replies;
mod reply;
mod request;
mod short;
mod swap;
mod twice;

use super::clock;
use super::event::Event as Happening;
use super::exchange::Finished;
use super::lane::{Cargo, HELD, Item, Lane, Progress, Stall};
use super::local::Local;
use super::relay::{End, Half, Relay, Source, Way, source_of};
use super::shared::Shared;
use crate::fault::action::CloseHow;
use crate::fault::spec::Side;
use crate::fault::{Decision, Plan, Skip};
use crate::measure::Counter;
use crate::measure::trace::Outcome;
use crate::protocol::{Protocol, postgres};
use cancel::Cancelling;
use cuts::Cuts;
use push::Pushes;
use record::Record;
use replies::Replies;
use request::Requests;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// Faults on the exchanges of one session.
#[derive(Debug)]
pub(crate) struct Injector {
    plan: Arc<Plan>,
    protocol: Protocol,
    up: Lane,
    down: Lane,
    requests: Requests,
    replies: Replies,
    pushes: Pushes,
    record: Record,
    cuts: Cuts,
    /// Complete exchanges whose replies were withheld.
    withheld: Vec<Finished>,
    closing: Option<Closing>,
    cancelling: Option<Cancelling>,
    /// Requests do not move until this fault is over.
    stalled: Option<(Arc<Decision>, Stall)>,
    /// The wake-up already asked for.
    armed: u64,
}

/// How the session is about to close.
#[derive(Debug)]
struct Closing {
    how: CloseHow,
    /// Once all replies before this exchange were sent on.
    before: u64,
    /// What closes it. Once that is over, it waits for no reply: none may ever come.
    cause: Option<Arc<Decision>>,
}

/// What [`Injector::send`] found.
enum Sent {
    /// The socket takes no more, or the session is about to end or to stall.
    Wait,
    /// More may be read.
    Read,
    /// Something changed: look at both directions again.
    Again,
}

impl Injector {
    pub(crate) fn new(
        plan: Arc<Plan>,
        shared: &Shared,
        session: u64,
        client: Option<IpAddr>,
    ) -> Self {
        let mut pushes = Pushes::default();
        pushes.watch(plan.has_push_faults());
        let mut cuts = Cuts::new(session, client);
        cuts.set_plan(&plan, clock::now());
        Self {
            plan,
            protocol: shared.protocol(),
            up: Lane::new(Side::Request, Arc::clone(&shared.process)),
            down: Lane::new(Side::Reply, Arc::clone(&shared.process)),
            requests: Requests::default(),
            replies: Replies::default(),
            pushes,
            record: Record::default(),
            cuts,
            closing: None,
            cancelling: None,
            stalled: None,
            withheld: Vec::new(),
            armed: u64::MAX,
        }
    }

    /// Whether nothing is held and nothing is owed: the session can go the fast way.
    pub(crate) fn is_idle(&self) -> bool {
        self.up.is_empty()
            && self.down.is_empty()
            && self.requests.is_idle()
            && self.replies.is_idle()
            && self.pushes.is_idle()
            && self.record.is_idle()
            && self.cuts.is_idle()
            && self.closing.is_none()
            && self.cancelling.is_none()
            && self.stalled.is_none()
    }

    /// Another plan is in force: what faults that are gone have held goes on, in order, at once.
    pub(crate) fn set_plan(&mut self, plan: Arc<Plan>) {
        let now = clock::now();
        self.cuts.set_plan(&plan, now);
        let now = clock::instant(now);
        let in_force = |d: &Decision| d.faults.iter().all(|f| plan.in_force(f, now));
        self.up.free(in_force);
        self.down.free(in_force);
        self.requests.free(in_force);
        self.replies.free(in_force, &mut self.down);
        if let Some(cancelling) = &mut self.cancelling {
            cancelling.free(in_force);
        }
        if let Some((_, stall)) = self.stalled.take_if(|(d, _)| !in_force(d))
            && stall.lost
        {
            self.closing.get_or_insert(Closing {
                how: stall.how,
                before: 0,
                cause: None,
            });
        }
        if let Some(closing) = &mut self.closing
            && closing.cause.as_deref().is_some_and(|d| !in_force(d))
        {
            closing.before = 0;
        }
        if plan.is_empty() {
            // Nobody will decide about what was kept for a decision.
            let kept = self.requests.take_kept();
            self.up.push_bytes(&kept, 0, None);
        }
        self.armed = u64::MAX;
        let kept = self.pushes.watch(plan.has_push_faults());
        self.down.push_bytes(&kept, 0, None);
        self.plan = plan;
    }

    /// Moves bytes until neither direction can go on.
    pub(crate) fn poll(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
    ) -> Poll<End> {
        let progress = self.poll_both(relay, cx, local);
        self.record
            .sent(self.down.sent, &relay.shared, &mut local.shard);
        let held = !self.down.is_empty();
        relay.meter.settle(held, clock::now(), &relay.shared);
        progress
    }

    fn poll_both(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
    ) -> Poll<End> {
        let mut wake = u64::MAX;
        if let Some(end) = self.poll_cuts(relay, cx, local, &mut wake) {
            return Poll::Ready(end);
        }
        if relay.take_turns()[0] == Way::Down && !self.is_frozen(relay) {
            self.poll_way(Way::Down, relay, cx, local, &mut wake);
        }
        loop {
            let stalled = self.stalled.is_some();
            let mut again = !stalled && self.poll_way(Way::Up, relay, cx, local, &mut wake);
            if let Some(end) = self.poll_cuts(relay, cx, local, &mut wake) {
                return Poll::Ready(end);
            }
            if let Some(end) = self.poll_stalled(relay, cx, local, &mut wake) {
                return Poll::Ready(end);
            }
            if !self.is_frozen(relay) {
                again |= self.poll_way(Way::Down, relay, cx, local, &mut wake);
            }
            again |= self.poll_cancel(relay, cx, local, &mut wake);
            if let Some(Closing { how, before, .. }) = self.closing
                && (relay.down.done || self.is_sent_before(before, relay))
            {
                return Poll::Ready(End::Fault(how));
            }
            if let Some(end) = relay.discard(cx, local).or_else(|| relay.end()) {
                return Poll::Ready(end);
            }
            if !again && self.stalled.is_some() == stalled {
                break;
            }
        }
        self.arm(wake, relay.slot, local);
        Poll::Pending
    }

    /// Whether a stall has come to replies, too: those of the exchanges before it are all sent.
    fn is_frozen(&self, relay: &Relay) -> bool {
        let Some((_, stall)) = &self.stalled else {
            return false;
        };
        stall
            .before
            .is_none_or(|before| self.is_sent_before(before, relay))
    }

    /// Whether the client has the replies of all exchanges before this one.
    fn is_sent_before(&self, exchange: u64, relay: &Relay) -> bool {
        (relay.meter.lost || relay.meter.oldest_unanswered() >= exchange)
            && self.down.is_empty()
            && relay.down.is_flushed()
    }

    fn arm(&mut self, wake: u64, slot: usize, local: &mut Local) {
        if wake == u64::MAX && self.armed == u64::MAX && !local.timers.is_armed() {
            return;
        }
        let now = clock::now();
        if self.armed <= now {
            self.armed = u64::MAX;
        }
        if wake < self.armed {
            self.armed = wake;
            local.timers.schedule(wake, slot, now);
        }
        // The runtime looks at the alarm only now and then while many sessions are ready; each of them looks, too.
        if local.timers.is_due(now) {
            local.wake_due();
        }
    }

    /// No request is forwarded. The client is still read, up to the bound, to see it give up: then the session ends, as a
    /// proxy that kept it would only leak it. A FIN says so where a protocol is spoken, whose clients do not half-close with
    /// a request outstanding; on plain TCP it is part of what is held.
    fn poll_stalled(
        &mut self,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
        wake: &mut u64,
    ) -> Option<End> {
        let (_, Stall { until, how, .. }) = self.stalled.as_ref()?;
        let until = until.unwrap_or(u64::MAX);
        if until <= clock::now() {
            return Some(End::Fault(*how));
        }
        *wake = (*wake).min(until);
        while relay.up.source == Source::Open && !self.up.is_full() {
            let mut buffer = ReadBuf::new(&mut local.scratch);
            match relay.client.poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(e)) => relay.up.source = source_of(&e),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    relay.up.source = relay.source_at_end(Way::Up);
                }
                Poll::Ready(Ok(())) => {
                    let length = buffer.filled().len();
                    self.piece(Way::Up, length, clock::now(), relay, cx, local);
                }
            }
        }
        match relay.up.source {
            Source::Open => None,
            Source::Finished if relay.shared.protocol() == Protocol::Tcp => None,
            Source::Finished => Some(End::Fin),
            Source::Reset => Some(End::ClientReset),
        }
    }

    /// One direction: sends what is due, reads and decides, until it can go no further. Returns whether the other
    /// direction may have got something to do by it.
    fn poll_way(
        &mut self,
        way: Way,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
        wake: &mut u64,
    ) -> bool {
        let mut moved = false;
        // Once the session is to close, only the replies before that still go.
        while !(self.is_closed_to(way) || half(relay, way).done || self.is_cut(way)) {
            match self.send(way, relay, cx, local, wake) {
                Sent::Wait => return moved,
                Sent::Read => {}
                Sent::Again => {
                    moved = true;
                    continue;
                }
            }
            let lane = match way {
                Way::Up => &mut self.up,
                Way::Down => &mut self.down,
            };
            let full = lane.is_full();
            if full && !lane.throttled {
                local.shard.count(relay.shared.id, Counter::HeldLimit, 1);
            }
            lane.throttled = full;
            if full || half(relay, way).source != Source::Open {
                return moved;
            }
            if way == Way::Up && self.cancel_is_over() {
                return moved;
            }
            if !self.read(way, relay, cx, local) {
                return moved;
            }
            moved = true;
            if way == Way::Down && self.cancel_is_due(relay) {
                // Reading on would only bring more of what is to be cancelled.
                break;
            }
        }
        moved
    }

    /// Whether nothing more goes this way because the session is about to close.
    fn is_closed_to(&self, way: Way) -> bool {
        way == Way::Up && self.closing.is_some()
    }

    /// Sends what is due in one direction.
    fn send(
        &mut self,
        way: Way,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
        wake: &mut u64,
    ) -> Sent {
        let Relay {
            up,
            down,
            client,
            upstream,
            meter,
            shared,
            ..
        } = relay;
        if up.source != Source::Open {
            self.record.client_left(self.down.sent);
        }
        let (to, half, lane) = match way {
            Way::Up => (upstream, up, &mut self.up),
            Way::Down => (client, down, &mut self.down),
        };
        // Nothing to send: of most pieces no exchange is hit.
        let open = half.source == Source::Open;
        if open && lane.is_empty() && half.is_flushed() && self.record.is_idle() {
            return Sent::Read;
        }
        match half.poll_flush(cx, to, local) {
            Poll::Pending => return Sent::Wait,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                half.break_off();
                return Sent::Again;
            }
        }
        let now = clock::now();
        let record = &mut self.record;
        let progress = lane.poll_send(cx, to, now, local, shared, |exchange| {
            if let Some(e) = meter.get_mut(exchange) {
                e.forwarded = now;
            }
            record.forwarded(exchange);
        });
        if way == Way::Down {
            // At once: what this client asks after its reply is new.
            record.sent(lane.sent, shared, &mut local.shard);
        }
        match progress {
            Progress::Empty if half.source == Source::Open => Sent::Read,
            Progress::Empty => {
                // What was kept for a decision that never comes goes on before the end of the stream does.
                let rest = match way {
                    Way::Up => self.requests.take_kept(),
                    Way::Down => {
                        let mut rest = self.replies.take_kept();
                        rest.extend(self.pushes.take_kept());
                        rest
                    }
                };
                if rest.is_empty() {
                    if half.source == Source::Finished {
                        to.finish();
                    }
                    half.done = true;
                } else {
                    lane.push_bytes(&rest, 0, None);
                }
                Sent::Again
            }
            // More can be read while the head waits for its time: delays of a pipeline run side by side.
            Progress::Until(due) => {
                if due == HELD
                    && let Some(cancelling) = &mut self.cancelling
                {
                    cancelling.arrives();
                }
                *wake = (*wake).min(due);
                Sent::Read
            }
            Progress::Blocked => Sent::Wait,
            Progress::Failed => {
                half.break_off();
                Sent::Again
            }
            Progress::Close(how, before) => {
                let cause = lane.drop_head();
                self.closing.get_or_insert(Closing { how, before, cause });
                Sent::Wait
            }
            Progress::Stalled(stall) => {
                let cause = lane.drop_head().unwrap_or_default();
                self.stalled = Some((cause, stall));
                Sent::Wait
            }
        }
    }

    /// Reads one piece and decides about it. `false`: nothing there.
    fn read(
        &mut self,
        way: Way,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
    ) -> bool {
        let from = match way {
            Way::Up => &mut relay.client,
            Way::Down => &mut relay.upstream,
        };
        let mut buffer = ReadBuf::new(&mut local.scratch);
        let Poll::Ready(read) = from.poll_read(cx, &mut buffer) else {
            return false;
        };
        let length = buffer.filled().len();
        let now = clock::now();
        match read {
            Err(e) => {
                half(relay, way).source = source_of(&e);
                self.slow_close(way, now, relay, local);
            }
            Ok(()) if length == 0 => {
                let at_end = relay.source_at_end(way);
                half(relay, way).source = at_end;
                if way == Way::Down && at_end == Source::Finished {
                    self.reply_eof(now, relay, local);
                }
                self.slow_close(way, now, relay, local);
            }
            Ok(()) if way == Way::Up && self.declines_encryption(length, relay, local) => {}
            Ok(()) => self.piece(way, length, now, relay, cx, local),
        }
        true
    }

    /// Decides about a piece that was read, in the scratch buffer, and sends on what goes at once.
    fn piece(
        &mut self,
        way: Way,
        length: usize,
        now: u64,
        relay: &mut Relay,
        cx: &mut Context<'_>,
        local: &mut Local,
    ) {
        let (goes, close) = self.admit(way, length, now, relay, local);
        let rest = local.scratch[goes..length].to_vec();
        let whole = match way {
            _ if goes == 0 => false,
            Way::Up => self.request(goes, now, relay, local),
            Way::Down => self.reply(goes, now, relay, local),
        };
        let (to, half) = match way {
            Way::Up => (&mut relay.upstream, &mut relay.up),
            Way::Down => (&mut relay.client, &mut relay.down),
        };
        if whole && half.send_scratch(cx, to, goes, local).is_err() {
            half.break_off();
        }
        self.vanish_rest(way, &rest, relay, local);
        if let Some(close) = close {
            self.close_behind(way, close);
        }
    }
}

impl Injector {
    /// The session ends: what is open in the ledger is closed, and replies that are held never come.
    pub(crate) fn end(&mut self, now: u64, outcome: Outcome, relay: &mut Relay, local: &mut Local) {
        self.forget_twice(Skip::ConnectionEnds, relay, local);
        self.forget_cancel(Skip::ConnectionEnds, relay, local);
        let shared = &relay.shared;
        self.record.end(self.down.sent, shared, &mut local.shard);
        for done in self.withheld.drain(..).chain(self.down.abandon()) {
            done.cut(now, outcome, shared.id, &mut local.shard);
        }
    }

    /// Answers a client that asks for encryption before its upstream is contacted: a fault may answer its start-up, which it could
    /// not read.
    fn declines_encryption(&mut self, length: usize, relay: &Relay, local: &mut Local) -> bool {
        let bytes = &local.scratch[..length];
        let declined = relay.upstream.is_awaited() && postgres::asks_for_encryption(bytes);
        if declined {
            self.down.push_bytes(b"N", 0, None);
        }
        declined
    }

    /// A peer has ended its stream: what passes that on waits behind its bytes, as long as a fault says.
    fn slow_close(&mut self, way: Way, now: u64, relay: &mut Relay, local: &mut Local) {
        let side = match way {
            Way::Up => Side::Request,
            Way::Down => Side::Reply,
        };
        let (client, at) = (relay.peer, clock::instant(now));
        let decision =
            self.plan
                .decide_close(relay.session, side, client, relay.meter.decoder.facts(), at);
        if decision.faults.is_empty() {
            return;
        }
        let delay = match way {
            Way::Up => decision.request_delay,
            Way::Down => decision.reply_delay,
        };
        note_aside("close", &decision, relay, local);
        let due = now.saturating_add(clock::nanos(delay));
        let mark = Cargo::Bytes(Vec::new());
        self.end_lane(way, Item::new(due, mark, Some(&Arc::new(decision))));
    }
}

/// Tells everybody of a fault on something that is no exchange.
fn note_aside(what: &'static str, decision: &Decision, relay: &Relay, local: &mut Local) {
    let (shared, session) = (&relay.shared, relay.session);
    local.shard.count(shared.id, Counter::FaultsInjected, 1);
    shared.emit(|| Happening::InjectedAside {
        proxy: shared.name.clone(),
        session,
        what,
        faults: decision.faults.clone(),
    });
}

fn half(relay: &mut Relay, way: Way) -> &mut Half {
    match way {
        Way::Up => &mut relay.up,
        Way::Down => &mut relay.down,
    }
}
