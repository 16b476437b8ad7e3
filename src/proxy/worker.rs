//! Workers: one thread and one current-thread runtime each. A session lives and dies on one worker.

use super::clock;
use super::lag::{self, Lag};
use super::local::Local;
use super::session::{self, Arrival};
use super::timer::Alarm;
use crate::measure::{Meta, ProxyId, Shard};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// What a worker can be told.
enum Command {
    /// A session to run.
    Session(Box<Arrival>),
    /// A proxy to measure.
    Register(ProxyId, Arc<Meta>),
    /// Give the measurements, and go on with this empty shard.
    Collect(Shard, Look, oneshot::Sender<Shard>),
    /// Wake all sessions: something that they look at changed.
    Wake,
    /// Begin, or end, to record.
    Record(bool),
    /// End when the last session has.
    Stop,
}

/// What is wanted of a recording when measurements are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// What ended.
    Ended,
    /// And what is without a reply at that moment.
    Outstanding,
}

/// A worker, from outside.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    /// Sessions on it.
    load: Arc<AtomicUsize>,
    lag: Arc<Lag>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Worker {
    /// Starts a worker thread.
    pub(crate) fn start(number: usize) -> io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let (started, ready) = std::sync::mpsc::channel();
        let load = Arc::new(AtomicUsize::new(0));
        let lag = Arc::new(Lag::default());
        let watched = (Arc::clone(&lag), Arc::clone(&load));
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || run(received, watched, &started))?;
        ready
            .recv()
            .map_err(|_| io::Error::other("the worker thread ended at once"))??;
        Ok(Self {
            commands,
            load,
            lag,
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }

    /// Sessions on it now.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// How long sockets that could be read waited for it.
    pub(crate) fn lag(&self) -> &Lag {
        &self.lag
    }

    pub(crate) fn load_counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.load)
    }

    /// Hands a session over.
    pub(crate) fn adopt(&self, arrival: Arrival) {
        self.send(Command::Session(Box::new(arrival)));
    }

    pub(crate) fn register(&self, proxy: ProxyId, meta: Arc<Meta>) {
        self.send(Command::Register(proxy, meta));
    }

    /// What the worker measured since the last time; it goes on with `empty`. `None`: the worker has ended.
    pub(crate) async fn collect(&self, empty: Shard, look: Look) -> Option<Shard> {
        let (give, take) = oneshot::channel();
        self.send(Command::Collect(empty, look, give));
        take.await.ok()
    }

    /// Begins, or ends, to record.
    pub(crate) fn record(&self, on: bool) {
        self.send(Command::Record(on));
    }

    pub(crate) fn wake(&self) {
        self.send(Command::Wake);
    }

    /// Lets it end with its last session.
    pub(crate) fn stop(&self) {
        self.send(Command::Stop);
    }

    /// Whether its thread has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .as_ref()
            .is_none_or(JoinHandle::is_finished)
    }

    fn send(&self, command: Command) {
        // Fails only after the worker was stopped; then nobody is left to care.
        let _ = self.commands.send(command);
    }
}

/// The worker's thread.
fn run(
    commands: mpsc::UnboundedReceiver<Command>,
    (lag, load): (Arc<Lag>, Arc<AtomicUsize>),
    started: &std::sync::mpsc::Sender<io::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let installed = Local::install(Shard::new()).and_then(|()| Alarm::new());
        match installed {
            Ok(alarm) => {
                let watch = tokio::spawn(lag::watch(alarm, lag, load));
                let _ = started.send(Ok(()));
                serve(commands).await;
                watch.abort();
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    });
}

async fn serve(mut commands: mpsc::UnboundedReceiver<Command>) {
    let alarm = Local::with(|local| local.timers.alarm());
    let clock = tokio::spawn(async move {
        while alarm.rings().await.is_ok() {
            Local::with(Local::wake_due);
        }
    });
    let sessions = TaskTracker::new();
    loop {
        let command = tokio::select! {
            biased;
            command = commands.recv() => command,
            // Completes only once the tracker is closed, by `Stop`.
            () = sessions.wait() => None,
        };
        match command {
            None => break,
            Some(Command::Session(arrival)) => {
                sessions.spawn(session::run(*arrival));
            }
            Some(Command::Register(proxy, meta)) => {
                Local::with(|local| local.shard.register(proxy, meta));
            }
            Some(Command::Collect(empty, look, reply)) => {
                let mut full = Local::with(|local| std::mem::replace(&mut local.shard, empty));
                if look == Look::Outstanding {
                    full.roll.look(clock::now());
                }
                // Readers wait for their answer for as long as the worker lives.
                let _ = reply.send(full);
            }
            Some(Command::Record(on)) => Local::with(|local| local.shard.roll.switch(on)),
            Some(Command::Wake) => Local::with(Local::wake_all),
            Some(Command::Stop) => {
                sessions.close();
            }
        }
    }
    clock.abort();
}
