//! Everything that runs: proxies, workers, faults, measurements, behind one handle.

mod exposition;
mod faults;
mod lifecycle;
mod proxies;
mod recording;

use super::event::{Event, EventBus};
use super::limits::Limits;
use super::listener::{Bound, Dispatch, Listener, bind};
use super::measuring::Measuring;
use super::shared::{Process, Shared};
use super::upstream::Upstream;
use super::worker::Worker;
use crate::config::{self, Config, Library, Listen, MAX_PROXIES, Problems, ProxyConfig};
use crate::fault::spec::FieldError;
use crate::fault::store::{Store, StoreError};
use crate::measure::Meta;
use crate::measure::hlog::{HlogError, HlogWriter};
use crate::measure::ledger::{Canonical, Listing, Numbering, Query};
use crate::measure::stats::Stats;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// How often the figures are collected.
const TICK: Duration = Duration::from_secs(1);

/// How often a drain looks whether the last session has ended.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread or its runtime could not be made.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("proxy `{proxy}` cannot listen on {listen}")]
    Listen {
        /// The proxy.
        proxy: String,
        /// The address.
        listen: Listen,
        /// What the system says.
        source: io::Error,
    },
    /// The folder for `.hlog` files cannot be used.
    #[error("histogram logs cannot be written")]
    Hlog(#[from] HlogError),
    /// The profiles cannot be read.
    #[error("the profiles cannot be read: {0}")]
    Profiles(Problems),
}

/// Why a command was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no proxy of that name.
    #[error("no proxy named `{0}`")]
    NoProxy(String),
    /// There is one already.
    #[error("a proxy named `{0}` exists already")]
    ProxyExists(String),
    /// A proxy cannot be as it is wanted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Proxy(Vec<FieldError>),
    /// It goes beyond what the operator allows.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Limit(Vec<FieldError>),
    /// More than [`MAX_PROXIES`].
    #[error("at most {MAX_PROXIES} proxies can run in one process")]
    TooManyProxies,
    /// The profile is not there or not valid.
    #[error("{0}")]
    Profile(Problems),
    /// A fault is not valid.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fault(Vec<FieldError>),
    /// The fault store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A proxy as it is now.
#[derive(Debug, Clone)]
pub struct ProxyInfo {
    /// Its configuration; `listen` is where it really listens.
    pub config: ProxyConfig,
    /// Whether it accepts connections; not while it is switched off, or drains.
    pub enabled: bool,
    /// Whether it was switched off on purpose.
    pub disabled: bool,
    /// Sessions open now.
    pub sessions: u32,
    /// What the server behind it said of its version, in some session: at most 64 bytes. `None`: it has not, since this proxy
    /// was made as it is.
    pub server: Option<String>,
}

/// One proxy and what belongs to it.
#[derive(Debug)]
struct Entry {
    config: ProxyConfig,
    shared: Arc<Shared>,
    listener: Option<Arc<Listener>>,
    /// Switched off on purpose.
    disabled: bool,
}

/// What changes at run time.
#[derive(Debug)]
struct State {
    proxies: BTreeMap<String, Entry>,
    store: Store,
    config: Config,
    /// Names of proxies that the configuration has: only these go when a new one has them no more.
    configured: BTreeSet<String>,
    next_id: u16,
    admin: Option<Listen>,
}

#[derive(Debug)]
struct Inner {
    process: Arc<Process>,
    dispatch: Arc<Dispatch>,
    acceptor: tokio::runtime::Handle,
    state: Mutex<State>,
    measuring: tokio::sync::Mutex<Measuring>,
    /// Held while proxies come, change or go: one after the other.
    changing: tokio::sync::Mutex<()>,
    /// The plans changed: the keeper of time looks again when it is next needed.
    plans_changed: Notify,
    limits: Limits,
    seed: u64,
}

fn names(config: &Config) -> BTreeSet<String> {
    config.proxies.iter().map(|p| p.name.clone()).collect()
}

/// Everything that runs. Cheap to clone: a handle.
#[derive(Debug, Clone)]
pub struct Server(Arc<Inner>);

impl Server {
    /// Starts workers and listeners.
    ///
    /// # Errors
    /// A thread, an address, the log folder or the profiles folder cannot be had.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Library::of(&config).map_err(StartError::Profiles)?;
        let hlog = match &config.hlog {
            Some(dir) => Some(HlogWriter::create(dir, SystemTime::now())?),
            None => None,
        };
        let wanted = config.max_sessions.map(std::num::NonZero::get);
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = config.workers.map_or_else(cores, |n| n.get() as usize);
        let workers: io::Result<Vec<Worker>> = (0..count).map(Worker::start).collect();
        let workers = workers.map_err(StartError::Thread)?;
        let acceptor = start_acceptor().map_err(StartError::Thread)?;
        // After the threads: what they hold is no session's.
        let limits = Limits::raise(config.proxies.len(), wanted);
        let seed = config.seed.unwrap_or_else(seed_of_time);
        let process = Arc::new(Process::new(Numbering::new(config.ledger)));
        let measuring = Measuring::new(workers.len(), hlog, Arc::clone(&process));
        let inner = Inner {
            process,
            measuring: tokio::sync::Mutex::new(measuring),
            changing: tokio::sync::Mutex::new(()),
            dispatch: Arc::new(Dispatch::new(workers, limits.sessions)),
            acceptor,
            state: Mutex::new(State {
                proxies: BTreeMap::new(),
                store: Store::new(seed),
                config: Config {
                    proxies: Vec::new(),
                    ..config.clone()
                },
                configured: names(&config),
                next_id: 0,
                admin: None,
            }),
            plans_changed: Notify::new(),
            limits,
            seed,
        };
        let server = Self(Arc::new(inner));
        server.state().enforce_limits();
        // All addresses first: a port that is taken leaves nothing half started.
        let mut bound = Vec::with_capacity(config.proxies.len());
        for proxy in &config.proxies {
            bound.push(open(proxy)?);
        }
        for (proxy, bound) in config.proxies.iter().zip(bound) {
            server.launch(proxy.clone(), Some(bound), None).await;
        }
        Ok(server)
    }

    /// Keeps time: seconds of the windows, ends of faults, turns of schedules. Runs until dropped.
    pub async fn keep_time(&self) {
        let ticks = async {
            let mut interval = tokio::time::interval(TICK);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            interval.tick().await;
            loop {
                interval.tick().await;
                self.0.measuring.lock().await.tick(&self.0.dispatch).await;
                self.0.process.events.tick();
            }
        };
        tokio::join!(ticks, self.keep_schedules());
    }

    async fn keep_schedules(&self) {
        // Looked for from when it was last looked: what came due meanwhile is due at once.
        let mut since = Instant::now();
        loop {
            let next = self.next_change(since);
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    since = Instant::now();
                    self.turn();
                }
                () = self.0.plans_changed.notified() => {}
            }
        }
    }

    fn next_change(&self, since: Instant) -> Option<Instant> {
        let state = self.state();
        let plans = state
            .proxies
            .values()
            .filter_map(|p| p.shared.plan().next_change(since));
        plans.chain(state.store.next_expiry()).min()
    }

    /// A schedule turned, or a fault reached its end.
    fn turn(&self) {
        let mut state = self.state();
        for fault in state.store.expire(Instant::now()) {
            self.emit(|| Event::FaultDisabled {
                fault,
                why: "expired",
            });
        }
        self.publish(&state);
    }

    /// Puts the plans of all proxies in force, and has every session look.
    fn publish(&self, state: &State) {
        for (name, entry) in &state.proxies {
            let plan = state.plan_for(name, &entry.shared);
            if plan.is_empty() && entry.shared.generation() == 0 {
                continue;
            }
            entry.shared.set_plan(plan);
            if let Some(listener) = &entry.listener {
                listener.plan_changed();
            }
        }
        self.wake();
        self.0.plans_changed.notify_one();
    }

    fn wake(&self) {
        self.0.dispatch.workers.iter().for_each(Worker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that change it, so a panic elsewhere spoils nothing.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, event: impl FnOnce() -> Event) {
        let process = &self.0.process;
        if process.is_recording() {
            let event = event();
            recording::note(process, &event);
            process.events.emit(|| event);
        } else {
            process.events.emit(event);
        }
    }

    /// The stream of events.
    pub fn events(&self) -> &EventBus {
        &self.0.process.events
    }

    /// The limits that were computed at start.
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.0.dispatch.workers.len()
    }

    /// The seed of faults that bring none of their own.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The configuration in force, without the proxies.
    pub fn config(&self) -> Config {
        self.state().config.clone()
    }

    /// What can be changed at run time, as it is: each proxy and fault by its name, and whether everything is off.
    pub fn picture(&self) -> BTreeMap<String, serde_json::Value> {
        let state = self.state();
        let mut picture = BTreeMap::from([("halted".to_owned(), state.store.is_halted().into())]);
        for (name, entry) in &state.proxies {
            let config = &entry.config;
            let shown = serde_json::json!({
                "protocol": config.protocol,
                "listen": config.listen.to_string(),
                "upstream": config.upstream.to_string(),
                "enabled": !entry.disabled,
                "slo": config.slo,
                "routes": config.routes,
                "pool": config.pool,
                "connect_timeout_ms": config.connect_timeout.as_millis() as u64,
            });
            picture.insert(format!("proxy/{name}"), shown);
        }
        for fault in state.store.list(Instant::now()) {
            let shown = serde_json::json!({
                "fault": fault.fault,
                "profile": fault.profile,
                "ttl_ms": fault.ttl_ms,
            });
            picture.insert(format!("fault/{}", fault.name), shown);
        }
        picture
    }

    /// Tells where the admin endpoint listens: never an upstream.
    pub fn set_admin(&self, address: Option<Listen>) {
        let mut state = self.state();
        state.admin = address;
        self.note_own(&state);
    }

    fn note_own(&self, state: &State) {
        let listening = state.proxies.values().filter(|p| !p.disabled);
        let listeners = listening.map(|p| p.config.listen.clone());
        let own = listeners.chain(state.admin.clone()).collect();
        self.0.process.own.store(Arc::new(own));
    }

    /// The proxies, by name.
    pub fn proxies(&self) -> Vec<ProxyInfo> {
        self.state().proxies.values().map(Entry::info).collect()
    }

    /// One proxy.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn proxy(&self, name: &str) -> Result<ProxyInfo, ControlError> {
        let state = self.state();
        let entry = state
            .proxies
            .get(name)
            .ok_or_else(|| ControlError::NoProxy(name.into()))?;
        Ok(entry.info())
    }

    /// Figures up to now, over the last `window`, or since start.
    pub async fn stats(&self, window: Option<Duration>) -> Stats {
        self.0
            .measuring
            .lock()
            .await
            .stats(&self.0.dispatch, window)
            .await
    }

    /// As [`stats`](Self::stats), with the histograms of every operation.
    pub async fn stats_with_histograms(&self, window: Option<Duration>) -> Stats {
        let mut measuring = self.0.measuring.lock().await;
        measuring.collect(&self.0.dispatch).await;
        measuring.detailed(window)
    }

    /// The figures of each worker.
    pub async fn stats_by_worker(&self, window: Option<Duration>, histograms: bool) -> Vec<Stats> {
        let mut measuring = self.0.measuring.lock().await;
        measuring.collect(&self.0.dispatch).await;
        measuring.by_worker(window, histograms)
    }

    /// The entries of the ledger that are wanted, up to now.
    pub async fn ledger(&self, query: &Query) -> Listing {
        let mut measuring = self.0.measuring.lock().await;
        measuring.ledger(&self.0.dispatch, query).await
    }

    /// What seed, profile and order of requests determine of them.
    pub async fn canonical_ledger(&self, query: &Query) -> Canonical {
        let mut measuring = self.0.measuring.lock().await;
        measuring.canonical(&self.0.dispatch, query).await
    }

    /// The text of `/metrics`.
    pub async fn exposition(&self) -> String {
        let mut text = self
            .0
            .measuring
            .lock()
            .await
            .exposition(&self.0.dispatch)
            .await;
        let entries = self.0.measuring.lock().await.ledger_entries();
        let own = exposition::Own {
            accept_exhausted: self.0.dispatch.exhausted.load(Ordering::Relaxed),
            held_bytes: self.0.process.held.load(Ordering::Relaxed),
            ledger_entries: entries,
            ledger_dropped: self.0.process.ledger.gone(),
            faults: &self.faults(),
        };
        text.push_str(&own.to_string());
        text
    }
}

impl Entry {
    fn info(&self) -> ProxyInfo {
        ProxyInfo {
            config: self.config.clone(),
            enabled: self.listener.is_some(),
            disabled: self.disabled,
            sessions: self.shared.levels.open(),
            server: self.shared.server.get().map(ToString::to_string),
        }
    }
}

fn open(proxy: &ProxyConfig) -> Result<Bound, StartError> {
    bind(&proxy.listen).map_err(|source| StartError::Listen {
        proxy: proxy.name.clone(),
        listen: proxy.listen.clone(),
        source,
    })
}

fn meta(config: &ProxyConfig, shared: &Shared) -> Arc<Meta> {
    Arc::new(Meta {
        name: Arc::clone(&shared.name),
        catalog: shared.catalog.clone(),
        slo: config.slo,
        pool: config.pool.map(std::num::NonZero::get),
    })
}

fn upstream(configured: &config::Upstream) -> Upstream {
    match configured {
        config::Upstream::Tcp { host, port } => Upstream::host(host.clone(), *port),
        config::Upstream::Unix(path) => Upstream::Unix(path.clone()),
    }
}

/// The thread of all listeners. It ends with the process.
fn start_acceptor() -> io::Result<tokio::runtime::Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("acceptor".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// A seed that differs from run to run; it is printed, so that a run can be repeated.
pub(crate) fn seed_of_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |d| d.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32)
}
