//! Recordings: what passes, from the moment they begin, for whoever reads breakers and timeouts off it.

use super::super::clock;
use super::super::event::Event;
use super::super::measuring::Measuring;
use super::super::owners;
use super::super::shared::Process;
use super::Server;
use crate::measure::trace::{
    Excerpt, Keeping, Label, Name, ProxyIndex, Record, RecordError, Recorded, Recorder, Trace,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Notes a fault that comes or goes.
pub(super) fn note(process: &Process, event: &Event) {
    match event {
        Event::FaultEnabled { fault, .. } => process.note(|at| Record::FaultOn {
            at,
            fault: Label::Text(fault.clone()),
        }),
        Event::FaultDisabled { fault, .. } => process.note(|at| Record::FaultOff {
            at,
            fault: Label::Text(fault.clone()),
        }),
        _ => {}
    }
}

/// Numbers the names and proxies of a record that is about to be written.
#[derive(Debug)]
pub struct Noting<'r>(&'r mut Recorder);

impl Noting<'_> {
    /// The number of a name.
    pub fn name(&mut self, name: &str) -> Name {
        self.0.name(name)
    }

    /// The place of a proxy; `None`: it is not recorded.
    pub fn proxy(&self, name: &str) -> Option<ProxyIndex> {
        self.0.proxy(name)
    }
}

impl Server {
    /// Begins to record in memory, at most so many records. Sessions that are open already are not recorded; a recording under
    /// way ends.
    pub async fn record_in_memory(&self, limit: u64) {
        let recorder = Recorder::in_memory(&self.recorded(), clock::now(), limit);
        self.begin_recording(recorder).await;
    }

    /// Begins to record into a new file of this folder, and answers its path. As [`Server::record_in_memory`].
    ///
    /// # Errors
    /// The file cannot be made.
    pub async fn record_to(&self, dir: &Path, limit: u64) -> Result<PathBuf, RecordError> {
        let started = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_millis());
        let name = format!("events-{started}");
        let (recorder, path) =
            Recorder::in_file(dir, &name, &self.recorded(), clock::now(), limit)?;
        self.begin_recording(recorder).await;
        Ok(path)
    }

    /// Begins to record what [`Server::recent`] tells of, and keeps nothing else; ends by itself when nobody has asked for it
    /// for so long: what was switched on is not forgotten. Where a recording is under way nothing changes: `false`.
    pub async fn record_recent(&self, unasked: Duration) -> bool {
        let mut measuring = self.0.measuring.lock().await;
        if measuring.recorder().is_some() {
            return false;
        }
        let recorder = Recorder::of_recent(&self.recorded(), clock::now());
        self.begin_with(&mut measuring, recorder).await;
        measuring.end_unasked(unasked);
        true
    }

    /// Ends a recording of [`Server::record_recent`]. Another one goes on: what it keeps.
    ///
    /// # Errors
    /// What the recording under way keeps, which is not ended.
    pub async fn forget_recent(&self) -> Result<(), Keeping> {
        let mut measuring = self.0.measuring.lock().await;
        match measuring.keeping() {
            None => Ok(()),
            Some(Keeping::Recent) => {
                self.0.process.record(false);
                measuring.stop_recording(&self.0.dispatch).await;
                Ok(())
            }
            Some(kept) => Err(kept),
        }
    }

    /// What is kept of the recording under way.
    pub async fn keeping(&self) -> Option<Keeping> {
        self.0.measuring.lock().await.keeping()
    }

    /// What was recorded lately, up to now; `None`: nothing is recorded, or all of it is for its end.
    pub async fn recent(&self) -> Option<Excerpt> {
        let mut measuring = self.0.measuring.lock().await;
        measuring.recent(&self.0.dispatch).await
    }

    /// Ends the recording; answers it, where it was kept in memory.
    pub async fn stop_recording(&self) -> Option<Trace> {
        let mut measuring = self.0.measuring.lock().await;
        self.0.process.record(false);
        measuring.stop_recording(&self.0.dispatch).await
    }

    /// Adds a record that no session makes: a phase, a call, a look at a process. `record` gets the time, in nanoseconds of the
    /// process's clock, which the recording counts from its own begin. Without a recording nothing happens.
    pub async fn note(&self, record: impl FnOnce(&mut Noting<'_>, u64) -> Record) {
        let mut measuring = self.0.measuring.lock().await;
        if let Some(recorder) = measuring.recorder() {
            let record = record(&mut Noting(recorder), clock::now());
            recorder.note(record);
        }
    }

    /// Now, on the clock that recordings use, in nanoseconds.
    pub fn clock() -> u64 {
        clock::now()
    }

    fn recorded(&self) -> Vec<Recorded> {
        let state = self.state();
        let all = state.proxies.values().map(|entry| Recorded {
            id: entry.shared.id,
            catalog: entry.shared.catalog.clone(),
            name: entry.shared.name.clone(),
            pool: entry.config.pool.map(std::num::NonZero::get),
        });
        all.collect()
    }

    async fn begin_recording(&self, recorder: Recorder) {
        let mut measuring = self.0.measuring.lock().await;
        self.begin_with(&mut measuring, recorder).await;
    }

    async fn begin_with(&self, measuring: &mut Measuring, recorder: Recorder) {
        measuring.begin_recording(recorder, &self.0.dispatch).await;
        self.0.process.record(true);
        let on = self.state().store.list(Instant::now());
        for fault in on {
            self.0.process.note(|at| Record::FaultOn {
                at,
                fault: Label::Text(fault.name.into()),
            });
        }
        owners::watch(&self.0.process);
    }
}
