//! One session without sockets and without a clock of its own, for tests and fuzzing: every byte, every wake-up and the time
//! are given by the test, so that a run can be repeated.

use super::clock;
use super::local::Local;
use super::relay::{End, Relay};
use super::shared::{Process, Shared};
use super::socket::Stream;
use super::upstream::Upstream;
use crate::config::{self, Listen, ProxyConfig};
use crate::fault::store::Store;
use crate::fault::{Fault, Source};
use crate::measure::ledger::Sheet;
use crate::measure::{Meta, ProxyId, Shard, Slo};
use crate::protocol::{Catalog, Protocol};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::runtime::Runtime;

/// A peer's end of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    /// On its way from the peer.
    coming: VecDeque<u8>,
    /// Nothing follows: the peer sent FIN, or reset.
    ended: bool,
    reset: bool,
    /// The largest read.
    most: usize,
    /// What the peer got.
    got: Vec<u8>,
    got_fin: bool,
    /// How much more the peer takes.
    room: usize,
}

impl Memory {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll_read(&self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        if wire.coming.is_empty() {
            return match (wire.ended, wire.reset) {
                (false, _) => Poll::Pending,
                (true, false) => Poll::Ready(Ok(())),
                (true, true) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let most = wire.most.min(buffer.remaining()).min(wire.coming.len());
        for byte in wire.coming.drain(..most) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_write(&self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        assert!(!wire.got_fin, "bytes behind a FIN");
        if wire.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if wire.room == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        let taken = bytes.len().min(wire.room);
        wire.room -= taken;
        wire.got.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    pub(crate) fn finish(&self) -> io::Result<()> {
        self.wire().got_fin = true;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static RUNTIME: Runtime = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let guard = runtime.enter();
        let mut shard = Shard::new();
        for protocol in PROTOCOLS {
            shard.register(ProxyId(protocol as u16), Arc::new(Meta {
                name: protocol.name().into(),
                catalog: Catalog::new(protocol, &[]),
                slo: Slo::default(),
                pool: None,
            }));
        }
        Local::install(shard).expect("a timer");
        drop(guard);
        runtime
    };
}

/// All protocols, each a proxy of its own.
pub(crate) const PROTOCOLS: [Protocol; 4] = [
    Protocol::Redis,
    Protocol::Postgres,
    Protocol::Http,
    Protocol::Tcp,
];

/// A side of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Client,
    Server,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Rig {
    relay: Relay,
    client: Memory,
    server: Memory,
    shared: Arc<Shared>,
    store: Store,
    woken: Arc<Flag>,
    now: u64,
    slot: usize,
    /// How it ended.
    pub(crate) end: Option<End>,
}

/// More than any session lasts.
const FOREVER: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

impl Rig {
    pub(crate) fn new(protocol: Protocol, seed: u64) -> Self {
        RUNTIME.with(|_| ());
        let now = 1_000_000_000;
        clock::stop(Some(now));
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let config = ProxyConfig {
            name: "p".into(),
            protocol,
            listen: Listen::Tcp(address),
            upstream: config::Upstream::Tcp {
                host: "127.0.0.1".into(),
                port: 9,
            },
            slo: Slo::default(),
            routes: Vec::new(),
            pool: None,
            connect_timeout: Duration::from_secs(1),
            probe: config::Probe::default(),
        };
        let shared = Arc::new(Shared::new(
            ProxyId(protocol as u16),
            &config,
            Catalog::new(protocol, &[]),
            Upstream::host("127.0.0.1", 9),
            None,
            false,
            Arc::new(Process::default()),
        ));
        let (client, server) = (Memory::default(), Memory::default());
        for end in [&client, &server] {
            end.wire().room = usize::MAX;
            end.wire().most = usize::MAX;
        }
        let slot = Local::with(|local| {
            while local.timers.pop_due(u64::MAX).is_some() {}
            // Nobody collects it here, and each rig numbers its entries anew.
            local.shard.ledger = Sheet::default();
            local.enter()
        });
        let relay = Relay::new(
            Arc::clone(&shared),
            0,
            None,
            Stream::Memory(client.clone()),
            Stream::Memory(server.clone()),
            slot,
        );
        let mut rig = Self {
            relay,
            client,
            server,
            shared,
            store: Store::new(seed),
            woken: Arc::default(),
            now,
            slot,
            end: None,
        };
        rig.poll();
        rig
    }

    fn end_of(&self, peer: Peer) -> &Memory {
        match peer {
            Peer::Client => &self.client,
            Peer::Server => &self.server,
        }
    }

    /// Runs the session until it waits for something.
    fn poll(&mut self) {
        for _ in 0..100_000 {
            if self.end.is_some() {
                return;
            }
            self.woken.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&self.woken));
            if let Poll::Ready(end) = self.relay.poll(&mut Context::from_waker(&waker)) {
                self.relay.account(end);
                self.end = Some(end);
            }
            if !self.woken.0.load(Ordering::Relaxed) {
                return;
            }
        }
        panic!("it wakes itself without end");
    }

    /// A peer sends.
    pub(crate) fn send(&mut self, from: Peer, bytes: &[u8]) {
        let end = self.end_of(from);
        if !end.wire().ended {
            end.wire().coming.extend(bytes);
            self.poll();
        }
    }

    /// A peer ends its stream, with a FIN or a reset.
    pub(crate) fn close(&mut self, by: Peer, reset: bool) {
        {
            let mut wire = self.end_of(by).wire();
            wire.ended = true;
            wire.reset |= reset;
        }
        self.poll();
    }

    /// The largest piece that is read from a peer at once.
    pub(crate) fn read_at_most(&mut self, from: Peer, bytes: usize) {
        self.end_of(from).wire().most = bytes.max(1);
    }

    /// How much more a peer takes.
    pub(crate) fn make_room(&mut self, at: Peer, bytes: usize) {
        self.end_of(at).wire().room = bytes;
        self.poll();
    }

    /// What a peer got so far.
    pub(crate) fn got(&self, at: Peer) -> Vec<u8> {
        self.end_of(at).wire().got.clone()
    }

    /// Whether a peer was told that nothing follows.
    pub(crate) fn got_fin(&self, at: Peer) -> bool {
        self.end_of(at).wire().got_fin
    }

    /// Bytes that faults hold.
    pub(crate) fn held(&self) -> usize {
        self.shared.process.held.load(Ordering::Relaxed)
    }

    /// Lets time pass: the session runs when it has asked to be woken, and not before.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.saturating_add(clock::nanos(time)).min(FOREVER);
        for _ in 0..100_000 {
            let next = Local::with(|local| local.timers.next()).filter(|at| *at <= until);
            self.now = next.unwrap_or(until).max(self.now);
            clock::stop(Some(self.now));
            if next.is_none() || self.end.is_some() {
                return;
            }
            Local::with(Local::wake_due);
            if self.woken.0.load(Ordering::Relaxed) {
                self.poll();
            }
        }
        panic!("it is woken without end");
    }

    /// Switches a fault on. `false`: it does not apply to the protocol, or is on already.
    pub(crate) fn enable(&mut self, fault: &Fault) -> bool {
        let at = clock::instant(self.now);
        let on = fault.applies_to(self.shared.protocol()).is_ok()
            && self
                .store
                .add(fault.clone(), None, Source::AdHoc, at)
                .is_ok();
        if on {
            self.publish();
        }
        on
    }

    /// Switches a fault off.
    pub(crate) fn disable(&mut self, name: &str) {
        if self.store.remove(name).is_ok() {
            self.publish();
        }
    }

    /// Switches everything off.
    pub(crate) fn halt(&mut self) {
        self.store.halt();
        self.publish();
        self.store.resume();
    }

    fn publish(&mut self) {
        let at = clock::instant(self.now);
        let plan = self.store.plan_for("p", &self.shared.catalog, at);
        if !(plan.is_empty() && self.shared.generation() == 0) {
            self.shared.set_plan(plan);
            self.poll();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        Local::with(|local| local.leave(self.slot));
    }
}
