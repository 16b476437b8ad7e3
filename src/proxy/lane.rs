//! Bytes on their way in one direction while faults are loaded: in order, each with the time at which it may go on.

use super::clock;
use super::exchange::Finished;
use super::local::Local;
use super::pace::{Pace, Pass};
use super::shared::{HELD_TOTAL, Process, Shared};
use super::socket::Stream;
use crate::fault::Decision;
use crate::fault::action::CloseHow;
use crate::fault::spec::Side;
use crate::measure::Timing;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// Bytes that faults may hold in one direction of one session; then the reading side stops.
pub(crate) const HELD_DIRECTION: usize = 1 << 20;

/// The time of what waits until it is let go.
pub(crate) const HELD: u64 = u64::MAX;

/// What lies in a lane.
#[derive(Debug)]
pub(crate) enum Cargo {
    /// Bytes to send.
    Bytes(Vec<u8>),
    /// Nothing behind this is sent until the fault is over.
    Stall(Stall),
    /// The session closes once the replies of all exchanges before this one were sent on.
    Close(CloseHow, u64),
}

/// How a session stalls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    /// After this time it closes.
    pub(crate) until: Option<u64>,
    /// How it closes.
    pub(crate) how: CloseHow,
    /// Something is lost: it closes also when the fault is over.
    pub(crate) lost: bool,
    /// The replies of the exchanges before this one still go; none: neither direction moves.
    pub(crate) before: Option<u64>,
}

/// Something in a lane, and when it may go.
#[derive(Debug)]
pub(crate) struct Item {
    /// Not before this time.
    pub(crate) due: u64,
    pub(crate) cargo: Cargo,
    /// The decision that holds it; none where it only waits behind others.
    pub(crate) cause: Option<Arc<Decision>>,
    /// Exchanges that are complete when this was sent.
    pub(crate) completes: Vec<Finished>,
    /// The exchange whose request is complete when this was sent.
    pub(crate) forwards: Option<u64>,
    sent: usize,
    /// When its first byte went.
    started: u64,
}

impl Item {
    pub(crate) fn new(due: u64, cargo: Cargo, cause: Option<&Arc<Decision>>) -> Self {
        Self {
            due,
            cargo,
            cause: cause.cloned(),
            completes: Vec::new(),
            forwards: None,
            sent: 0,
            started: 0,
        }
    }
}

/// How far a lane got.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Everything was sent.
    Empty,
    /// The head waits for its time.
    Until(u64),
    /// The socket takes no more now.
    Blocked,
    /// The head is a stall: see [`Cargo::Stall`].
    Stalled(Stall),
    /// The head is a close: see [`Cargo::Close`].
    Close(CloseHow, u64),
    /// The socket failed.
    Failed,
}

/// Bytes on their way in one direction.
#[derive(Debug)]
pub(crate) struct Lane {
    items: VecDeque<Item>,
    side: Side,
    pace: Pace,
    held: usize,
    /// Bytes that were put in since it was made, and that went.
    pub(crate) pushed: u64,
    pub(crate) sent: u64,
    process: Arc<Process>,
    /// Reading stopped at the bound, and that was counted.
    pub(crate) throttled: bool,
    /// The message whose bytes are being changed, and how many of them came.
    corrupting: Option<(Arc<Decision>, u64)>,
    /// A close was put in: what comes behind it never goes, since the receiver would get it with a hole before it.
    ended: bool,
}

impl Lane {
    pub(crate) fn new(side: Side, process: Arc<Process>) -> Self {
        Self {
            items: VecDeque::new(),
            side,
            pace: Pace::default(),
            held: 0,
            pushed: 0,
            sent: 0,
            process,
            throttled: false,
            corrupting: None,
            ended: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes in it.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// Whether no more may be held.
    pub(crate) fn is_full(&self) -> bool {
        self.held >= HELD_DIRECTION
            || (self.held > 0 && self.process.held.load(Ordering::Relaxed) >= HELD_TOTAL)
    }

    /// Appends bytes. They join the last item where nothing tells them apart.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], due: u64, cause: Option<&Arc<Decision>>) {
        if bytes.is_empty() || self.ended {
            return;
        }
        self.add(bytes.len());
        let changed;
        let bytes = match cause {
            Some(decision) if !decision.flow(self.side).corruptions.is_empty() => {
                changed = self.corrupted(bytes, decision);
                &changed
            }
            _ => bytes,
        };
        if let Some(Item {
            due: d,
            cargo: Cargo::Bytes(buffer),
            cause: c,
            completes,
            forwards: None,
            sent: 0,
            ..
        }) = self.items.back_mut()
            && *d == due
            && completes.is_empty()
            && c.as_ref().map(Arc::as_ptr) == cause.map(Arc::as_ptr)
        {
            buffer.extend_from_slice(bytes);
            return;
        }
        self.items
            .push_back(Item::new(due, Cargo::Bytes(bytes.to_vec()), cause));
    }

    /// The next bytes of the message that this decision is about, as they go on.
    fn corrupted(&mut self, bytes: &[u8], decision: &Arc<Decision>) -> Vec<u8> {
        let offset = match &self.corrupting {
            Some((of, offset)) if Arc::ptr_eq(of, decision) => *offset,
            _ => 0,
        };
        let mut bytes = bytes.to_vec();
        for (corrupt, draw) in &decision.flow(self.side).corruptions {
            corrupt.apply(*draw, offset, &mut bytes);
        }
        self.corrupting = Some((Arc::clone(decision), offset + bytes.len() as u64));
        bytes
    }

    pub(crate) fn push(&mut self, item: Item) {
        if self.ended {
            return;
        }
        self.ended = matches!(item.cargo, Cargo::Close(..));
        if let Cargo::Bytes(b) = &item.cargo {
            self.add(b.len());
        }
        self.items.push_back(item);
    }

    /// The newest item, where it is bytes.
    pub(crate) fn back_bytes(&mut self) -> Option<&mut Item> {
        self.items
            .back_mut()
            .filter(|item| matches!(item.cargo, Cargo::Bytes(_)))
    }

    /// With the newest bytes the request of this exchange is complete.
    pub(crate) fn mark_forwarded(&mut self, exchange: u64) {
        if let Some(item) = self.back_bytes() {
            item.forwards = Some(exchange);
        }
    }

    /// What is put in from now on waits, until it is let go.
    pub(crate) fn hold(&mut self) {
        self.push(Item::new(HELD, Cargo::Bytes(Vec::new()), None));
    }

    /// Lets go what waits.
    pub(crate) fn let_go(&mut self) {
        let waits = |item: &&mut Item| item.due == HELD && item.cause.is_none();
        for item in self.items.iter_mut().filter(waits) {
            item.due = 0;
        }
    }

    /// Takes a stall or close out that was reached. Returns its cause.
    pub(crate) fn drop_head(&mut self) -> Option<Arc<Decision>> {
        self.items.pop_front().and_then(|item| item.cause)
    }

    fn add(&mut self, bytes: usize) {
        self.held += bytes;
        self.pushed += bytes as u64;
        self.process.held.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&mut self, bytes: usize) {
        self.held -= bytes;
        self.process.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lets everything go whose fault is not `in_force` any more.
    pub(crate) fn free(&mut self, in_force: impl Fn(&Decision) -> bool) {
        for item in &mut self.items {
            if item.cause.as_deref().is_some_and(|d| !in_force(d)) {
                item.due = 0;
                item.cause = None;
                // What is closed now waits for no reply: none may ever come.
                match &item.cargo {
                    Cargo::Stall(stall) if stall.lost => item.cargo = Cargo::Close(stall.how, 0),
                    Cargo::Stall(_) => item.cargo = Cargo::Bytes(Vec::new()),
                    Cargo::Close(how, _) => item.cargo = Cargo::Close(*how, 0),
                    Cargo::Bytes(_) => {}
                }
            }
        }
    }

    /// Sends what is due.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
        now: u64,
        local: &mut Local,
        shared: &Shared,
        mut forwarded: impl FnMut(u64),
    ) -> Progress {
        loop {
            let Some(item) = self.items.front_mut() else {
                return Progress::Empty;
            };
            if item.due > now {
                return Progress::Until(item.due);
            }
            let bytes = match &item.cargo {
                Cargo::Stall(stall) => return Progress::Stalled(*stall),
                Cargo::Close(how, exchange) => return Progress::Close(*how, *exchange),
                Cargo::Bytes(bytes) => bytes,
            };
            if item.started == 0 {
                item.started = now;
                if item.due != 0 && item.cause.is_some() {
                    local.shard.observe(shared.id, Timing::Late, now - item.due);
                }
            }
            while item.sent < bytes.len() {
                let mut piece = &bytes[item.sent..];
                let cause = item.cause.as_ref();
                let paced = cause.filter(|d| !d.flow(self.side).is_unpaced());
                if let Some(decision) = paced {
                    match self.pace.ask(decision, self.side, piece.len(), now) {
                        Pass::Now(n) => piece = &piece[..n],
                        Pass::At(due) => return Progress::Until(due),
                    }
                }
                match to.poll_write(cx, piece) {
                    Poll::Pending => return Progress::Blocked,
                    Poll::Ready(Ok(n)) => {
                        item.sent += n;
                        self.sent += n as u64;
                        if let Some(decision) = paced {
                            self.pace.went(decision, self.side, n, now);
                        }
                    }
                    Poll::Ready(Err(_)) => return Progress::Failed,
                }
            }
            let length = bytes.len();
            if !item.completes.is_empty() {
                let sent = clock::now();
                for finished in item.completes.drain(..) {
                    let first = item.started.max(finished.first_byte);
                    let sent = sent.max(finished.asked);
                    finished.sent(first, sent, shared.id, &mut local.shard);
                }
            }
            if let Some(exchange) = item.forwards {
                forwarded(exchange);
            }
            self.release(length);
            self.items.pop_front();
        }
    }
}

impl Lane {
    /// The session ended: exchanges that are complete but did not go on are complete no more.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Finished> + '_ {
        self.items
            .iter_mut()
            .flat_map(|item| item.completes.drain(..))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.process.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}
