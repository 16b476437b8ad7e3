//! The run: proxies, load, phases, faults; whatever happens, the faults are off before anything else is done.

use super::expect::Case;
use super::load::{LaneFigures, Tally, Target, drive};
use super::plan::{Ends, LONGEST_COUNT, Phase, Test, Whom};
use super::progress::{self, Now, Passed, Passing, Progress};
use super::search::Capacity;
use super::search::step::Due;
use super::started::{self, Companion};
use super::watch::{self, Watched};
use super::written::Kind;
use super::{document, guard};
use crate::config::{Config, Listen};
use crate::insight::{Topology, View};
use crate::measure::ledger::Query;
use crate::measure::trace::{DEFAULT_LIMIT, Record, Trace};
use crate::proxy::{ControlError, Server, StartError};
use crate::report::configuration::Configuration;
use crate::report::ledger::Ledger;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

/// How often guards look and calls are written into the recording.
const TURN: Duration = Duration::from_millis(100);
/// How long faults live beyond their phase, should nobody switch them off.
const MARGIN: Duration = Duration::from_secs(30);
/// What people are shown is of so many nanoseconds.
const SHOWN: u64 = 2_000_000_000;
/// Requests that all fail before the service counts as unreachable.
const UNREACHABLE: u64 = 5;
/// Calls of one step of a search that are kept.
const MAX_CALLS: usize = 1_000_000;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the watched process {name:?}")]
    Watch { name: String, source: io::Error },
    #[error("{0}")]
    NoTraffic(String),
    #[error("nothing was recorded")]
    NoRecording,
    #[error("interrupted; the faults are off")]
    Interrupted,
}

/// A run that came to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) trace: Trace,
    pub(crate) lanes: BTreeMap<String, LaneFigures>,
    pub(crate) seed: u64,
    /// Why a guard ended it early.
    pub(crate) stopped: Option<String>,
    /// What the search for capacity found, where there was one.
    pub(crate) capacity: Option<Capacity>,
    /// Lanes whose generator did not come to its end, and why.
    pub(crate) broken: BTreeMap<String, String>,
    /// What was in force.
    pub(crate) configuration: Configuration,
    /// What became of the exchanges that faults touched.
    pub(crate) ledger: Ledger,
    /// The last words of the processes that were started for it, should anybody have to know.
    pub(crate) last_words: Vec<String>,
}

impl Ran {
    /// The recording, ready for questions.
    pub(crate) fn case(&self, test: &Test) -> Case<'_> {
        let apart = |kinds: &[Kind]| -> Vec<String> {
            let phases = test.phases.iter().filter(|p| kinds.contains(&p.kind));
            phases.map(|p| p.name.clone()).collect()
        };
        let topology = Topology {
            api: test.api().map(str::to_owned),
            workers: test.service.workers,
            warm_up: apart(&[Kind::WarmUp]),
        };
        Case {
            view: View::new(&self.trace, &topology),
            apart: apart(&[Kind::WarmUp, Kind::Capacity]),
            lanes: self.lanes.clone(),
            stopped: self.stopped.clone(),
            capacity: self.capacity.clone(),
            broken: self.broken.clone(),
        }
    }
}

/// Runs a test. `companion` is started if it does not run yet. `progress` tells people how far it is.
pub(crate) async fn run(
    test: &Test,
    config: Config,
    companion: &mut Companion,
    progress: &dyn Progress,
) -> Result<Ran, RunError> {
    let config = Config {
        proxies: test.proxies.clone(),
        ..config
    };
    let server = Server::start(config).await?;
    let ran = tokio::select! {
        ran = conduct(test, &server, companion, progress) => ran,
        () = server.keep_time() => Err(RunError::NoRecording),
        _ = tokio::signal::ctrl_c() => {
            server.halt();
            Err(RunError::Interrupted)
        }
    };
    // Faults first: also after an error.
    server.halt();
    server.drain(Duration::from_secs(1)).await;
    ran
}

/// A run that is under way.
pub(super) struct Stage<'s> {
    pub(super) test: &'s Test,
    pub(super) server: &'s Server,
    pub(super) lanes: BTreeMap<String, Arc<Tally>>,
    companion: &'s mut Companion,
    watched: Vec<Watched>,
    /// When somebody last looked at them.
    looked: Option<Instant>,
    pub(super) stopped: Option<String>,
    pub(super) progress: &'s dyn Progress,
    /// The phase that is under way, and when it ends at the latest.
    phase: (&'s str, Option<Instant>),
    passing: Passing,
    /// The multiple of its declared rate that open load has; 0: it pauses.
    pub(super) dial: Sender<f64>,
    pub(super) calls: Calls,
    /// When the recording began, on the process's clock.
    pub(super) began: u64,
    capacity: Option<Capacity>,
    broken: BTreeMap<String, String>,
}

/// Calls that are kept for a search, by lane.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_lane: BTreeMap<String, Vec<Due>>,
    kept: usize,
    wanted: bool,
}

impl Calls {
    /// From now on they are kept.
    pub(super) fn begin(&mut self) {
        self.wanted = true;
    }

    /// No longer.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Forgets those that there are.
    pub(super) fn clear(&mut self) {
        self.take();
    }

    /// Those since the last `clear`.
    pub(super) fn take(&mut self) -> BTreeMap<String, Vec<Due>> {
        self.kept = 0;
        std::mem::take(&mut self.by_lane)
    }

    fn add(&mut self, lane: &str, due: Due) {
        if self.wanted && self.kept < MAX_CALLS {
            self.kept += 1;
            self.by_lane.entry(lane.to_owned()).or_default().push(due);
        }
    }
}

async fn conduct(
    test: &Test,
    server: &Server,
    companion: &mut Companion,
    progress: &dyn Progress,
) -> Result<Ran, RunError> {
    let mut addresses = BTreeMap::new();
    for proxy in server.proxies() {
        let config = proxy.config;
        progress.say(&format!(
            "proxy {} {} listening on {} -> {}",
            config.name,
            config.protocol.name(),
            config.listen,
            config.upstream
        ));
        if let Listen::Tcp(address) = config.listen {
            addresses.insert(config.name, address.to_string());
        }
    }
    let mut stage = Stage {
        test,
        server,
        lanes: BTreeMap::new(),
        companion,
        watched: Vec::new(),
        looked: None,
        stopped: None,
        progress,
        phase: ("", None),
        passing: Passing::default(),
        dial: Sender::new(1.0),
        calls: Calls::default(),
        began: Server::clock(),
        capacity: None,
        broken: BTreeMap::new(),
    };
    // Sessions that are open already are not recorded, so recording comes first.
    server.record_in_memory(DEFAULT_LIMIT).await;
    let outcome = match stage.watch(&addresses).await {
        Ok(()) => stage.under_load(&addresses).await,
        Err(error) => Err(error),
    };
    let mut last_words: Vec<String> = stage.companion.last_words().into_iter().collect();
    for mut watched in std::mem::take(&mut stage.watched) {
        last_words.extend(watched.started().and_then(|started| started.last_words()));
        watched.end().await;
    }
    if let Err(error) = outcome {
        for words in &last_words {
            progress.say(words);
        }
        return Err(error);
    }
    let lanes = stage.lanes.iter().map(|(n, t)| (n.clone(), t.figures()));
    Ok(Ran {
        lanes: lanes.collect(),
        seed: server.seed(),
        configuration: Configuration::of(server, &test.expects),
        ledger: Ledger::of(server.ledger(&Query::default()).await),
        last_words,
        stopped: stage.stopped.take(),
        capacity: stage.capacity.take(),
        broken: std::mem::take(&mut stage.broken),
        trace: server.stop_recording().await.ok_or(RunError::NoRecording)?,
    })
}

impl<'s> Stage<'s> {
    async fn watch(&mut self, addresses: &BTreeMap<String, String>) -> Result<(), RunError> {
        let begun = self.companion.begin(self.test, addresses).await;
        begun.map_err(|source| RunError::Watch {
            name: "service".into(),
            source,
        })?;
        for watch in &self.test.watches {
            let failed = |source| RunError::Watch {
                name: watch.name.clone(),
                source,
            };
            let outputs = self.companion.outputs();
            let found = Watched::find(watch, &self.test.name, addresses, outputs);
            self.watched.push(found.map_err(failed)?);
            let started = self.watched.last_mut().and_then(Watched::started);
            if let (Some(started), Whom::Started { ready_within, .. }) = (started, &watch.whom) {
                let ready = started::upstreams_ready(started, self.test, *ready_within);
                ready.await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn under_load(&mut self, addresses: &BTreeMap<String, String>) -> Result<(), RunError> {
        let (stop, mut generators) = (CancellationToken::new(), Vec::new());
        if let Some(first) = self.test.phases.first() {
            self.begin(first).await;
        }
        for load in &self.test.loads {
            let address = match &load.target {
                Target::Proxy(name) => addresses.get(name).cloned().unwrap_or_default(),
                Target::Address(address) => address.clone(),
            };
            let tally = Arc::new(Tally::default());
            self.lanes.insert(load.lane.clone(), Arc::clone(&tally));
            let dial = self.dial.subscribe();
            let generator = drive(load.clone(), address, tally, dial, stop.clone());
            generators.push((load.lane.clone(), tokio::spawn(generator)));
        }
        let outcome = self.phases().await;
        self.server.halt();
        stop.cancel();
        for (lane, generator) in generators {
            let ended = generator.await;
            let lost = self.lanes.get(&lane).map_or(0, |t| t.outstanding());
            let why = match ended {
                Err(error) => format!("brownout has a bug: {error}"),
                Ok(()) if lost > 0 => format!("brownout has a bug: {lost} requests never ended"),
                Ok(()) => continue,
            };
            self.broken.insert(lane, why);
        }
        self.write_calls().await;
        outcome
    }

    async fn phases(&mut self) -> Result<(), RunError> {
        let mut looked = false;
        for (number, phase) in self.test.phases.iter().enumerate() {
            if number > 0 {
                self.begin(phase).await;
            }
            if phase.kind == Kind::Fault {
                if !looked && number > 0 {
                    self.traffic_passes().await?;
                    looked = true;
                }
                self.faults_on(phase)?;
            }
            match &phase.ends {
                Ends::After(length) => self.pass(*length).await,
                Ends::Samples(samples) => self.count(*samples).await,
                Ends::Search(steps) => self.capacity = Some(self.search(steps).await),
            }
            if phase.kind == Kind::Fault {
                self.faults_off();
            }
            if self.stopped.is_some() {
                return Ok(());
            }
        }
        self.traffic_passes().await
    }

    async fn begin(&mut self, phase: &'s Phase) {
        self.progress.say(&format!("phase {}", phase.name));
        let length = match &phase.ends {
            Ends::After(length) => Some(*length),
            Ends::Samples(_) => None,
            Ends::Search(steps) => Some(steps.within),
        };
        self.phase = (&phase.name, length.map(|length| Instant::now() + length));
        self.server
            .note(|names, at| Record::Phase {
                at,
                phase: names.name(&phase.name),
            })
            .await;
    }

    /// Tells people how it is now.
    async fn tell(&mut self) {
        let stats = self.server.stats(None).await;
        let totals = stats.proxies.iter().map(|p| {
            let (ended, outstanding) = (p.total.count, p.total.outstanding);
            (p.name.clone(), Passed { ended, outstanding })
        });
        let asked = self
            .test
            .loads
            .iter()
            .filter_map(|load| match &load.target {
                Target::Proxy(name) => Some(name.as_str()),
                Target::Address(_) => None,
            });
        let normal = self.server.faults().is_empty();
        let (totals, ours) = (totals.collect(), asked.collect());
        let breakers = self.passing.take(totals, self.test.api(), &ours, normal);
        let from = Server::clock().saturating_sub(SHOWN);
        let calls = self.lanes.values().flat_map(|tally| tally.since(from));
        let calls: Vec<_> = calls.collect();
        let (name, until) = self.phase;
        self.progress.now(&Now {
            phase: name.to_owned(),
            left: until.map(|until| until.saturating_duration_since(Instant::now())),
            calls: (!self.lanes.is_empty()).then(|| progress::Calls::of(&calls)),
            breakers,
        });
    }

    fn faults_on(&self, phase: &Phase) -> Result<(), RunError> {
        let length = match &phase.ends {
            Ends::After(length) => *length,
            Ends::Samples(_) => LONGEST_COUNT,
            Ends::Search(steps) => steps.within,
        };
        for fault in &self.test.faults {
            self.server.add_fault(fault.spec(), Some(length + MARGIN))?;
        }
        Ok(())
    }

    fn faults_off(&self) {
        for fault in self.server.faults() {
            // One that ended by its own schedule is off already.
            let _ = self.server.remove_fault(&fault.name);
        }
    }

    /// Until so many requests have ended, or a guard has seen enough.
    async fn count(&mut self, samples: u64) {
        let began = Instant::now();
        let ended = |lanes: &BTreeMap<String, Arc<Tally>>| -> u64 {
            lanes.values().map(|t| t.ended()).sum()
        };
        let until = ended(&self.lanes) + samples;
        while self.stopped.is_none()
            && ended(&self.lanes) < until
            && began.elapsed() < LONGEST_COUNT
        {
            self.pass(TURN).await;
        }
    }

    /// Lets time pass, or until a guard has seen enough.
    pub(super) async fn pass(&mut self, time: Duration) {
        let began = Instant::now();
        loop {
            if self
                .looked
                .is_none_or(|at| at.elapsed() >= Duration::from_secs(1))
            {
                self.looked = Some(Instant::now());
                watch::note(self.server, &mut self.watched, self.progress).await;
                if let Some(how) = self.companion.ended() {
                    self.progress.say(&how);
                }
                self.tell().await;
            }
            self.write_calls().await;
            self.stopped = guard::tripped(&self.test.guards, &self.lanes, Server::clock());
            if let Some(why) = &self.stopped {
                self.server.halt();
                self.progress
                    .say(&format!("stopped by a guard, faults are off: {why}"));
                return;
            }
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(TURN)).await;
        }
    }

    pub(super) async fn write_calls(&mut self) {
        for (lane, tally) in &self.lanes {
            for call in tally.take() {
                self.calls.add(
                    lane,
                    Due {
                        intended: call.intended,
                        sent: call.sent,
                        at: call.at,
                        ok: call.ok,
                        own: call.own,
                    },
                );
                self.server
                    .note(|names, _| Record::Call {
                        at: call.at,
                        lane: names.name(lane),
                        request: names.name(&call.request),
                        intended: call.intended,
                        sent: call.sent,
                        ok: call.ok,
                        status: names.name(&call.status),
                    })
                    .await;
            }
        }
    }

    /// Whether requests pass every proxy that something is expected of, and our own load is answered at all.
    async fn traffic_passes(&self) -> Result<(), RunError> {
        let stats = self.server.stats(None).await;
        for (lane, tally) in &self.lanes {
            let figures = tally.figures();
            if figures.ended >= UNREACHABLE && figures.failed == figures.ended {
                return Err(RunError::NoTraffic(format!(
                    "all {} requests of lane {lane} failed: is the service there, and does it work without faults?",
                    figures.ended
                )));
            }
        }
        let seen: Vec<String> = stats
            .proxies
            .iter()
            .map(|p| format!("{} {}", p.name, p.total.count))
            .collect();
        for name in document::proxies_in_question(self.test) {
            if stats.proxy(&name).is_none_or(|p| p.total.count == 0) {
                return Err(RunError::NoTraffic(format!(
                    "no request passed the proxy {name}, so nothing can be said of it; requests seen: {}. Does the service \
                     connect to the proxy's port, and does the load make it ask?",
                    seen.join(", ")
                )));
            }
        }
        Ok(())
    }
}
