//! The run: proxies, load, phases, faults; whatever happens, the faults are off before anything else is done.

mod traffic;

use super::acted::Acted;
use super::expect::Case;
use super::guard;
use super::load::{LaneFigures, Lapses, Tally, Target, drive};
use super::plan::{Ends, LONGEST_COUNT, Phase, Test, Whom};
use super::progress::{self, Now, Passed, Passing, Progress};
use super::recordings::Recordings;
use super::search::Capacity;
use super::search::calls::Calls;
use super::search::step::Due;
use super::started::{self, Companion};
use super::watch::{self, Watched};
use super::written::Kind;
use crate::config::{Config, Listen};
use crate::insight::view::NO_PHASE;
use crate::insight::{Topology, View};
use crate::measure::ledger::Query;
use crate::measure::trace::{self, DEFAULT_LIMIT, Record, Trace};
use crate::proxy::{ControlError, Server, StartError};
use crate::report::configuration::Configuration;
use crate::report::ledger::Ledger;
use crate::signals::Signals;
use rustix::process::Signal;
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
    Interrupted(Signal),
}

/// A run that came to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) trace: Trace,
    pub(crate) lanes: BTreeMap<String, LaneFigures>,
    /// When its generators did not do what they should have, by lane.
    pub(crate) lapses: BTreeMap<String, Lapses>,
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
    /// What its faults did, in the order of the test; empty if a guard ended it before all was done.
    pub(crate) acted: Vec<Acted>,
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
        Case {
            // What is known of the service stands in the recording, so that whoever reads it later reads the same.
            view: View::new(&self.trace, &Topology::default()),
            topology: Topology::default(),
            fault_phases: apart(&[Kind::Fault]),
            apart: apart(&[Kind::WarmUp, Kind::Capacity]),
            lanes: self.lanes.clone(),
            lapses: self.lapses.clone(),
            stopped: self.stopped.clone(),
            capacity: self.capacity.clone(),
            broken: self.broken.clone(),
            closed: test
                .loads
                .iter()
                .filter(|load| load.pace.waits())
                .map(|load| load.lane.clone())
                .collect(),
        }
    }
}

/// What a run has to do with beside its test.
pub(crate) struct Around<'a> {
    /// Started if it does not run yet.
    pub(crate) companion: &'a mut Companion,
    /// Tells people how far it is.
    pub(crate) progress: &'a dyn Progress,
    /// What ends it early; `None`: whoever runs it sees to that.
    pub(crate) signals: Option<&'a mut Signals>,
    /// Where its recording is kept, whatever came of it.
    pub(crate) recordings: &'a mut Recordings,
}

/// Runs a test.
pub(crate) async fn run(
    test: &Test,
    config: Config,
    around: &mut Around<'_>,
) -> Result<Ran, RunError> {
    let config = Config {
        proxies: test.proxies.clone(),
        ..config
    };
    let server = Server::start(config).await?;
    let ran = tokio::select! {
        ran = conduct(test, &server, around) => ran,
        () = server.keep_time() => Err(RunError::NoRecording),
    };
    // Faults first: also after an error.
    server.halt();
    let progress = around.progress;
    if let Ok(ran) = &ran {
        around.recordings.keep(&test.name, &ran.trace, progress);
    } else if let Some(trace) = recorded(test, &server).await {
        around.recordings.keep(&test.name, &trace, progress);
    }
    server.drain(Duration::from_secs(1)).await;
    ran
}

async fn next_of(signals: &mut Option<&mut Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// The recording up to now, with what is known of the service.
async fn recorded(test: &Test, server: &Server) -> Option<Trace> {
    let mut trace = server.stop_recording().await?;
    trace.header.service = Some(trace::Service {
        api: test.api().map(str::to_owned),
        workers: test.service.workers,
    });
    Some(trace)
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
    /// When the first baseline began.
    baseline: Option<u64>,
    passing: Passing,
    /// The multiple of its declared rate that open load has; 0: it pauses.
    pub(super) dial: Sender<f64>,
    pub(super) calls: Calls,
    /// When the recording began, on the process's clock.
    pub(super) began: u64,
    capacity: Option<Capacity>,
    broken: BTreeMap<String, String>,
    acted: Vec<Acted>,
}

async fn conduct(test: &Test, server: &Server, around: &mut Around<'_>) -> Result<Ran, RunError> {
    let progress = around.progress;
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
        companion: around.companion,
        watched: Vec::new(),
        looked: None,
        stopped: None,
        progress,
        phase: ("", None),
        baseline: None,
        passing: Passing::default(),
        dial: Sender::new(1.0),
        calls: Calls::default(),
        began: Server::clock(),
        capacity: None,
        broken: BTreeMap::new(),
        acted: Vec::new(),
    };
    // Sessions that are open already are not recorded, so recording comes first.
    server.record_in_memory(DEFAULT_LIMIT).await;
    let mut outcome = tokio::select! {
        outcome = stage.under_way(&addresses) => outcome,
        signal = next_of(&mut around.signals) => Err(RunError::Interrupted(signal)),
    };
    // Before anybody waits for a process to end.
    server.halt();
    let mut last_words: Vec<String> = stage.companion.last_words().into_iter().collect();
    let mut watched = std::mem::take(&mut stage.watched);
    let started = watched.iter_mut().filter_map(Watched::started);
    last_words.extend(started.filter_map(|started| started.last_words()));
    let ended = async {
        for watched in watched {
            watched.end().await;
        }
    };
    // Who cannot wait is not kept: what is not waited for is killed.
    tokio::select! {
        () = ended => {}
        signal = next_of(&mut around.signals) => outcome = Err(RunError::Interrupted(signal)),
    }
    if let Err(error) = outcome {
        if !matches!(error, RunError::Interrupted(_)) {
            for words in &last_words {
                progress.say(words);
            }
        }
        return Err(error);
    }
    let lanes = stage.lanes.iter().map(|(n, t)| (n.clone(), t.figures()));
    let lapses = stage.lanes.iter();
    let lapses = lapses.map(|(n, t)| (n.clone(), t.lapses(stage.began)));
    Ok(Ran {
        lanes: lanes.collect(),
        lapses: lapses.collect(),
        seed: server.seed(),
        configuration: Configuration::of(server, &test.expects),
        ledger: Ledger::of(server.ledger(&Query::default()).await),
        last_words,
        acted: match &stage.stopped {
            Some(_) => Vec::new(),
            None => std::mem::take(&mut stage.acted),
        },
        stopped: stage.stopped.take(),
        capacity: stage.capacity.take(),
        broken: std::mem::take(&mut stage.broken),
        trace: recorded(test, server).await.ok_or(RunError::NoRecording)?,
    })
}

impl<'s> Stage<'s> {
    async fn under_way(&mut self, addresses: &BTreeMap<String, String>) -> Result<(), RunError> {
        self.watch(addresses).await?;
        self.under_load(addresses).await
    }

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
        // Also where nobody waits for the end of the phases.
        let _stopped = stop.clone().drop_guard();
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
        // What comes from now on are late replies.
        self.note_phase(NO_PHASE, None).await;
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
            if phase.kind == Kind::Fault && !looked && number > 0 {
                self.traffic_passes().await?;
                looked = true;
                let (from, now) = (self.baseline, Server::clock());
                self.stop_if(guard::lost(&self.test.guards, &self.lanes, from, now));
                if self.stopped.is_some() {
                    return Ok(());
                }
            }
            if number > 0 {
                self.begin(phase).await;
            }
            if phase.kind == Kind::Fault {
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
        if phase.kind == Kind::Baseline {
            self.baseline.get_or_insert_with(Server::clock);
        }
        self.note_phase(&phase.name, Some(phase.kind)).await;
    }

    async fn note_phase(&self, name: &str, kind: Option<Kind>) {
        self.server
            .note(|names, at| Record::Phase {
                at,
                phase: names.name(name),
                kind,
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

    fn faults_on(&mut self, phase: &Phase) -> Result<(), RunError> {
        let length = match &phase.ends {
            Ends::After(length) => *length,
            Ends::Samples(_) => LONGEST_COUNT,
            Ends::Search(steps) => steps.within,
        };
        for (at, fault) in self.test.faults.iter().enumerate() {
            let listed = self.server.add_fault(fault.spec(), Some(length + MARGIN))?;
            if self.acted.len() <= at {
                self.acted.push(Acted::of(&listed.name));
            }
        }
        Ok(())
    }

    fn faults_off(&mut self) {
        for fault in self.server.faults() {
            if let Some(acted) = self.acted.iter_mut().find(|a| a.name() == fault.name) {
                acted.add(&fault);
            }
            // One that ended by its own schedule is off already.
            let _ = self.server.remove_fault(&fault.name);
        }
    }

    /// Until so many requests that were due since have ended, or a guard has seen enough.
    async fn count(&mut self, samples: u64) {
        let began = Instant::now();
        // What is still out from before counts in the phase before.
        let from = Server::clock();
        self.lanes.values().for_each(|tally| tally.count(from));
        let ended = |lanes: &BTreeMap<String, Arc<Tally>>| -> u64 {
            lanes.values().map(|tally| tally.counted()).sum()
        };
        while self.stopped.is_none()
            && ended(&self.lanes) < samples
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
            self.stop_if(guard::tripped(
                &self.test.guards,
                &self.lanes,
                Server::clock(),
            ));
            if self.stopped.is_some() {
                return;
            }
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(TURN)).await;
        }
    }

    fn stop_if(&mut self, why: Option<String>) {
        if let Some(why) = &why {
            self.server.halt();
            self.progress
                .say(&format!("stopped by a guard, faults are off: {why}"));
        }
        self.stopped = why;
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
}
