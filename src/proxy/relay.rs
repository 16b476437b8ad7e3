//! Both directions of one session, driven by one task.
//!
//! With no fault loaded for the proxy, a read is written on from the worker's scratch buffer and then shown to the decoder; what the
//! socket does not take is kept, and reading stops until it is gone. With faults loaded, [`Injector`] stands in between.
//! FIN and RST pass through as what they are, after every byte that was due.

use super::clock;
use super::inject::Injector;
use super::local::Local;
use super::meter::Meter;
use super::shared::{CLOSING, Shared};
use super::socket::{Stream, is_reset};
use crate::fault::action::CloseHow;
use crate::measure::Counter;
use crate::measure::trace::{CloseSide, Outcome};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// A way through a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Client to upstream.
    Up,
    /// Upstream to client.
    Down,
}

/// How a session ended, and so how its sockets are to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides finished in order.
    Fin,
    /// The client reset: the upstream gets a reset.
    ClientReset,
    /// The upstream reset: the client gets a reset.
    UpstreamReset,
    /// A fault closes both.
    Fault(CloseHow),
    /// The proxy was removed or disabled, or the process ends: a FIN for both.
    Closed,
}

/// Where the reading side of a direction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Open,
    /// FIN was read; it is passed on after the bytes before it.
    Finished,
    /// A reset was read; it is passed on after the bytes before it.
    Reset,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Half {
    /// Read, not yet taken by the other socket.
    pending: Vec<u8>,
    sent: usize,
    pub(crate) source: Source,
    /// FIN was passed on, or nobody takes bytes any more.
    pub(crate) done: bool,
    /// The destination does not take bytes any more: it was reset.
    pub(crate) broken: bool,
}

/// A reset behind a FIN wakes nobody, since that socket is not read any more: it is looked for this often (nanoseconds).
const LOOK: u64 = 1_000_000_000;

/// As much is read of an upstream that it may take what a client sent before it reset.
const DISCARDED: usize = 1 << 20;

/// A day passes in a moment where time stands still.
fn look_every() -> u64 {
    #[cfg(any(test, fuzzing))]
    if clock::stands_still() {
        return 3600 * LOOK;
    }
    LOOK
}

impl Half {
    fn new() -> Self {
        Self {
            pending: Vec::new(),
            sent: 0,
            source: Source::Open,
            done: false,
            broken: false,
        }
    }

    /// The destination failed. What was for it is lost, as it would be on a direct connection.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
        self.done = true;
    }

    /// Whether everything that was read was also sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sends what is pending. `Ready`: nothing is.
    #[inline]
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
        local: &mut Local,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.pending.len() {
            match to.poll_write(cx, &self.pending[self.sent..]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) => self.sent += n,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            }
        }
        self.sent = 0;
        local.recycle(std::mem::take(&mut self.pending));
        Poll::Ready(Ok(()))
    }

    /// Sends the first `length` bytes of the scratch buffer, and keeps what the socket does not take.
    #[inline]
    pub(crate) fn send_scratch(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
        length: usize,
        local: &mut Local,
    ) -> io::Result<()> {
        let taken = match to.poll_write(cx, &local.scratch[..length]) {
            Poll::Ready(Ok(n)) if n == length => return Ok(()),
            Poll::Ready(Ok(n)) => n,
            Poll::Pending => 0,
            Poll::Ready(Err(e)) => return Err(e),
        };
        let mut rest = local.buffer();
        rest.extend_from_slice(&local.scratch[taken..length]);
        self.pending = rest;
        Ok(())
    }
}

/// Both directions of one session.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: u64,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) client: Stream,
    pub(crate) upstream: Stream,
    pub(crate) up: Half,
    pub(crate) down: Half,
    pub(crate) meter: Meter,
    /// The generation of the plan that was last looked at.
    seen: u64,
    injector: Option<Box<Injector>>,
    pub(crate) slot: usize,
    /// The side whose end came first.
    left_first: Option<Way>,
    /// When a half-closed session is looked at next.
    look: u64,
    /// Bytes of the upstream that were read for nobody.
    discarded: usize,
    down_first: bool,
}

impl Relay {
    pub(crate) fn new(
        shared: Arc<Shared>,
        session: u64,
        peer: Option<IpAddr>,
        client: Stream,
        upstream: Stream,
        slot: usize,
    ) -> Self {
        let meter = Meter::new(&shared, session);
        Self {
            shared,
            session,
            peer,
            client,
            upstream,
            up: Half::new(),
            down: Half::new(),
            meter,
            seen: 0,
            injector: None,
            slot,
            left_first: None,
            look: 0,
            discarded: 0,
            down_first: true,
        }
    }

    /// Moves bytes until neither direction can go on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        Local::with(|local| {
            local.set_waker(self.slot, cx.waker());
            let progress = self.advance(cx, local);
            self.note_end();
            if progress.is_pending() && self.up.source != self.down.source {
                self.look_for_reset(cx, local);
            }
            progress
        })
    }

    /// As [`Self::poll`]; `None`: there is something to send, and no upstream yet.
    pub(crate) fn poll_wanting(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        match self.poll(cx) {
            Poll::Pending if self.upstream.is_wanted() => Poll::Ready(None),
            progress => progress.map(Some),
        }
    }

    /// Here is the upstream that was awaited.
    pub(crate) fn connected(&mut self, upstream: Stream) {
        if self.up.done {
            upstream.finish();
        }
        self.upstream = upstream;
    }

    fn advance(&mut self, cx: &mut Context<'_>, local: &mut Local) -> Poll<End> {
        let generation = self.shared.generation();
        if generation != self.seen {
            if generation == CLOSING {
                return Poll::Ready(End::Closed);
            }
            self.seen = generation;
            if let Some(end) = self.plan_changed() {
                return Poll::Ready(end);
            }
        }
        if let Some(mut injector) = self.injector.take() {
            let progress = injector.poll(self, cx, local);
            if self.seen != 0 || !injector.is_idle() {
                self.injector = Some(injector);
                return progress;
            }
            if progress.is_ready() {
                return progress;
            }
            // The last fault is gone and nothing is held: the fast way goes on, and registers with the sockets anew.
        }
        for way in self.take_turns() {
            self.pump(way, cx, local);
        }
        let end = self.discard(cx, local).or_else(|| self.end());
        end.map_or(Poll::Pending, Poll::Ready)
    }

    /// The directions, each first every other time: a flood takes all that the runtime grants a task at a time, and whoever
    /// always came second would starve.
    pub(crate) fn take_turns(&mut self) -> [Way; 2] {
        self.down_first = !self.down_first;
        if self.down_first {
            [Way::Down, Way::Up]
        } else {
            [Way::Up, Way::Down]
        }
    }

    /// Whether the side that finished was reset since; asks to be woken to look again.
    #[cold]
    fn look_for_reset(&mut self, cx: &Context<'_>, local: &mut Local) {
        let (socket, half) = match (self.up.source, self.down.source) {
            (Source::Finished, Source::Open) => (&self.client, &mut self.up),
            (Source::Open, Source::Finished) => (&self.upstream, &mut self.down),
            _ => return,
        };
        let now = clock::now();
        if now < self.look {
            return;
        }
        if socket.has_failed() {
            half.source = Source::Reset;
            cx.waker().wake_by_ref();
            return;
        }
        self.look = now + look_every();
        local.timers.schedule(self.look, self.slot, now);
    }

    /// What the end of the stream of `way` stands for: behind a write that failed on the same socket it is what the reset left.
    pub(crate) fn source_at_end(&self, way: Way) -> Source {
        let written = match way {
            Way::Up => &self.down,
            Way::Down => &self.up,
        };
        if written.broken {
            Source::Reset
        } else {
            Source::Finished
        }
    }

    /// Another plan is in force.
    fn plan_changed(&mut self) -> Option<End> {
        let plan = self.shared.plan();
        if plan.cuts_existing(clock::instant(clock::now())).is_some() {
            return Some(End::Fault(CloseHow::Rst));
        }
        self.meter.decoder.watch_statements(plan.needs_statements());
        self.meter.decoder.mark_batches(plan.needs_batches());
        match &mut self.injector {
            Some(injector) => injector.set_plan(plan),
            None if plan.is_empty() => {}
            None => {
                self.injector = Some(Box::new(Injector::new(
                    plan,
                    &self.shared,
                    self.session,
                    self.peer,
                )));
            }
        }
        None
    }

    /// Whether the session is over, and how.
    pub(crate) fn end(&self) -> Option<End> {
        if self.meter.desynced && self.shared.cut_on_desync {
            return Some(End::Fault(CloseHow::Rst));
        }
        match (self.up.source, self.down.source) {
            (Source::Reset, _) if self.up.done => return Some(End::ClientReset),
            (_, Source::Reset) if self.down.done => return Some(End::UpstreamReset),
            _ => {}
        }
        if !(self.up.done && self.down.done) {
            return None;
        }
        // A destination that failed had been reset; its reset belongs to the other side, once it has all the bytes.
        Some(match (self.up.broken, self.down.broken) {
            (true, _) => End::UpstreamReset,
            (_, true) => End::ClientReset,
            _ => End::Fin,
        })
    }

    /// One direction with nothing held.
    #[inline]
    fn pump(&mut self, way: Way, cx: &mut Context<'_>, local: &mut Local) {
        let at_end = self.source_at_end(way);
        let (from, to, half) = match way {
            Way::Up => (&mut self.client, &mut self.upstream, &mut self.up),
            Way::Down => (&mut self.upstream, &mut self.client, &mut self.down),
        };
        while !half.done {
            match half.poll_flush(cx, to, local) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return half.break_off(),
            }
            match half.source {
                Source::Open => {}
                Source::Finished => {
                    to.finish();
                    half.done = true;
                    return;
                }
                Source::Reset => {
                    half.done = true;
                    return;
                }
            }
            let mut buffer = ReadBuf::new(&mut local.scratch);
            let read = match from.poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(read) => read,
            };
            let length = buffer.filled().len();
            match read {
                Err(e) => half.source = source_of(&e),
                Ok(()) if length == 0 => {
                    half.source = at_end;
                    if way == Way::Down && at_end == Source::Finished {
                        let now = clock::now();
                        self.meter.reply_eof(now, local, &self.shared, self.session);
                    }
                }
                Ok(()) => {
                    // A request counts from when it was here, a reply to when it was sent on; nobody waits for the decoder.
                    let seen = (way == Way::Up).then(clock::now);
                    let sent = half.send_scratch(cx, to, length, local);
                    let (meter, shared) = (&mut self.meter, &self.shared);
                    match seen {
                        Some(seen) => meter.request(length, seen, local, shared, self.session),
                        None => meter.reply(length, clock::now(), local, shared, self.session),
                    }
                    if sent.is_err() {
                        return half.break_off();
                    }
                }
            }
        }
    }

    /// The client has reset, which is seen once its last bytes are gone; an upstream that waits for its own to be read would never
    /// take them. So these are read and forgotten, up to a bound.
    pub(crate) fn discard(&mut self, cx: &mut Context<'_>, local: &mut Local) -> Option<End> {
        while self.down.broken && self.down.source == Source::Open && !self.up.done {
            let mut buffer = ReadBuf::new(&mut local.scratch);
            match self.upstream.poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(e)) => self.down.source = source_of(&e),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.down.source = Source::Finished;
                }
                Poll::Ready(Ok(())) => self.discarded += buffer.filled().len(),
            }
            if self.discarded > DISCARDED {
                return Some(End::ClientReset);
            }
        }
        None
    }

    /// Remembers whose end came first.
    #[inline]
    fn note_end(&mut self) {
        if self.left_first.is_none() {
            self.left_first = match (self.up.source, self.down.source) {
                (Source::Open, Source::Open) => None,
                (Source::Open, _) => Some(Way::Down),
                _ => Some(Way::Up),
            };
        }
    }

    /// Who ended the session, where it ended so.
    pub(crate) fn ended_by(&self, end: End) -> CloseSide {
        match (end, self.left_first) {
            (End::ClientReset, _) => CloseSide::ClientReset,
            (End::UpstreamReset, _) => CloseSide::UpstreamReset,
            (End::Closed, _) => CloseSide::Proxy,
            (_, Some(Way::Up)) => CloseSide::Client,
            (End::Fault(_), _) => CloseSide::Fault,
            (End::Fin, _) => CloseSide::Upstream,
        }
    }

    /// Counts how it ended, and what was outstanding then.
    pub(crate) fn account(&mut self, end: End) {
        let now = clock::now();
        let outcome = outcome(self.ended_by(end));
        Local::with(|local| {
            let mut injector = self.injector.take();
            if let Some(injector) = &mut injector {
                injector.touch_at_end(outcome, self, local);
            }
            self.meter.end(now, outcome, &mut local.shard, &self.shared);
            if let Some(injector) = &mut injector {
                injector.end(now, outcome, self, local);
            }
            let counter = match end {
                End::ClientReset => Counter::ClientResets,
                End::UpstreamReset => Counter::UpstreamResets,
                End::Fin | End::Fault(_) | End::Closed => return,
            };
            local.shard.count(self.shared.id, counter, 1);
        });
    }
}

impl Drop for Relay {
    /// Where a panic ended the session, what was outstanding ended with it.
    fn drop(&mut self) {
        let now = clock::now();
        Local::with(|local| {
            self.meter
                .end(now, Outcome::Cut, &mut local.shard, &self.shared);
        });
    }
}

/// What that is to an exchange without a reply.
const fn outcome(by: CloseSide) -> Outcome {
    match by {
        CloseSide::Client | CloseSide::ClientReset => Outcome::ClientGone,
        CloseSide::Upstream | CloseSide::UpstreamReset | CloseSide::ConnectFailed => {
            Outcome::UpstreamGone
        }
        CloseSide::Fault => Outcome::Cut,
        CloseSide::Proxy => Outcome::Outstanding,
    }
}

/// Every read error ends the stream without a FIN; all but a reset are as good as one (a keepalive that found nobody).
pub(crate) fn source_of(error: &io::Error) -> Source {
    if !is_reset(error) {
        tracing::debug!(%error, "read failed");
    }
    Source::Reset
}
