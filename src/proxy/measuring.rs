//! The reader's side of measurement: takes the workers' shards, about once a second and whenever somebody looks.

use super::clock;
use super::listener::Dispatch;
use super::shared::{Process, Shared};
use super::worker::Look;
use crate::measure::hlog::HlogWriter;
use crate::measure::ledger::{Canonical, Ledger, Listing, Query};
use crate::measure::prometheus::Exporter;
use crate::measure::stats::{Latency, Stats};
use crate::measure::trace::{Excerpt, Keeping, Raw, Record, Recorder, Trace};
use crate::measure::{Collector, Meta, ProxyId, Shard};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Totals, windows and what is made of them.
#[derive(Debug)]
pub struct Measuring {
    collector: Collector,
    /// The same by worker.
    workers: Vec<Collector>,
    ledger: Ledger,
    process: Arc<Process>,
    /// The empty shard that each worker gets next; `None` while its worker has it.
    spares: Vec<Option<Shard>>,
    proxies: Vec<Arc<Shared>>,
    exporter: Exporter,
    hlog: Option<HlogWriter>,
    ticked: Instant,
    recorder: Option<Recorder>,
    /// When somebody last asked for what was recorded lately.
    asked: Instant,
    /// A recording of what is recent ends when nobody has asked for it for so long: what was switched on is not forgotten.
    unasked: Duration,
    /// Until when the lag of the workers has been recorded.
    lag_told: u64,
}

impl Measuring {
    pub(crate) fn new(workers: usize, hlog: Option<HlogWriter>, process: Arc<Process>) -> Self {
        Self {
            collector: Collector::new(),
            workers: (0..workers).map(|_| Collector::new()).collect(),
            ledger: Ledger::default(),
            process,
            spares: (0..workers).map(|_| Some(Shard::new())).collect(),
            proxies: Vec::new(),
            exporter: Exporter::new([]),
            hlog,
            ticked: Instant::now(),
            recorder: None,
            asked: Instant::now(),
            unasked: Duration::MAX,
            lag_told: 0,
        }
    }

    /// Everything that is measured from now on is recorded, too.
    pub(crate) async fn begin_recording(&mut self, recorder: Recorder, dispatch: &Dispatch) {
        self.collect(dispatch).await;
        self.recorder = Some(recorder);
        self.asked = Instant::now();
        self.lag_told = clock::now();
        self.switch_rolls(true, dispatch);
    }

    /// Ends the recording, with all that was written until now.
    pub(crate) async fn stop_recording(&mut self, dispatch: &Dispatch) -> Option<Trace> {
        let outstanding = self.gather(dispatch, Look::Outstanding).await;
        self.record_lag(dispatch);
        self.switch_rolls(false, dispatch);
        let mut recorder = self.recorder.take()?;
        recorder.take_all(outstanding);
        recorder.finish(clock::now())
    }

    /// What is being recorded.
    pub(crate) fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// What is kept of the recording under way.
    pub(crate) fn keeping(&self) -> Option<Keeping> {
        self.recorder.as_ref().map(Recorder::keeping)
    }

    /// What was recorded lately, up to now, with what is without a reply at this moment.
    pub(crate) async fn recent(&mut self, dispatch: &Dispatch) -> Option<Excerpt> {
        self.recorder.as_ref()?;
        self.asked = Instant::now();
        let outstanding = self.gather(dispatch, Look::Outstanding).await;
        self.recorder.as_mut()?.recent(outstanding)
    }

    /// A recording of what is recent ends when nobody has asked for it for so long.
    pub(crate) const fn end_unasked(&mut self, after: Duration) {
        self.unasked = after;
    }

    /// Ends a recording that nobody asks for.
    fn forget(&mut self, dispatch: &Dispatch) {
        if self.keeping() == Some(Keeping::Recent) && self.asked.elapsed() >= self.unasked {
            tracing::info!("the recording in memory ends: nobody has asked for it");
            self.process.record(false);
            self.switch_rolls(false, dispatch);
            self.recorder = None;
        }
    }

    fn switch_rolls(&mut self, on: bool, dispatch: &Dispatch) {
        for shard in self.spares.iter_mut().flatten() {
            shard.roll.switch(on);
        }
        for worker in &dispatch.workers {
            worker.record(on);
        }
    }

    /// Records how late the workers were since the last time.
    fn record_lag(&mut self, dispatch: &Dispatch) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let since = std::mem::replace(&mut self.lag_told, clock::now());
        let workers = dispatch.workers.iter();
        let lags = workers.filter_map(|worker| worker.lag().longest_since(since));
        if let Some(longest) = lags.max() {
            let at = self.lag_told;
            recorder.note(Record::Lag { at, longest });
        }
    }

    /// Brings the recording up to date.
    fn settle(&mut self) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        if let Err(error) = recorder.settle(clock::now()) {
            tracing::error!(%error, "a part of the recording could not be written");
        }
    }

    /// Makes a proxy known everywhere, before its first session; or changes what is measured of it.
    pub(crate) fn register(&mut self, shared: &Arc<Shared>, meta: &Arc<Meta>, dispatch: &Dispatch) {
        for collector in self.collectors() {
            collector.register(shared.id, Arc::clone(meta));
        }
        for shard in self.spares.iter_mut().flatten() {
            shard.register(shared.id, Arc::clone(meta));
        }
        for worker in &dispatch.workers {
            worker.register(shared.id, Arc::clone(meta));
        }
        match self.proxies.iter_mut().find(|p| p.id == shared.id) {
            Some(known) => *known = Arc::clone(shared),
            None => self.proxies.push(Arc::clone(shared)),
        }
    }

    /// Makes the number of a proxy that went free for another.
    pub(crate) fn free(&mut self, proxy: ProxyId) {
        self.collectors().for_each(|c| c.free(proxy));
    }

    /// Forgets a proxy.
    pub(crate) fn remove(&mut self, proxy: ProxyId) {
        self.collectors().for_each(|c| c.remove(proxy));
        self.proxies.retain(|p| p.id != proxy);
    }

    /// Takes what the workers measured since the last time.
    pub(crate) async fn collect(&mut self, dispatch: &Dispatch) {
        self.gather(dispatch, Look::Ended).await;
    }

    /// As [`Self::collect`]; answers what was looked for beside what ended.
    async fn gather(&mut self, dispatch: &Dispatch, look: Look) -> Vec<Raw> {
        let mut outstanding = Vec::new();
        let each = dispatch.workers.iter().zip(&mut self.spares);
        for ((worker, spare), own) in each.zip(&mut self.workers) {
            let Some(empty) = spare.take() else { continue };
            if let Some(mut full) = worker.collect(empty, look).await {
                self.collector.absorb_with(&mut full, own);
                self.ledger.absorb(&mut full.ledger);
                if let Some(recorder) = &mut self.recorder {
                    recorder.absorb(&mut full.roll);
                }
                outstanding.append(&mut full.roll.seen());
                *spare = Some(full);
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.absorb(&mut self.process.aside());
        }
        self.ledger.settle(&self.process.ledger);
        for proxy in &self.proxies {
            self.collector.gauges(proxy.id, proxy.levels.take());
        }
        outstanding
    }

    /// Closes the second.
    pub(crate) async fn tick(&mut self, dispatch: &Dispatch) {
        self.collect(dispatch).await;
        let now = Instant::now();
        let elapsed = now - self.ticked;
        self.collectors().for_each(|c| c.tick(elapsed));
        self.ticked = now;
        if let Some(hlog) = &mut self.hlog {
            hlog.write(&self.collector);
        }
        self.record_lag(dispatch);
        self.settle();
        self.forget(dispatch);
    }

    /// Figures up to now, over a window that ends at the last full second, or since start.
    pub(crate) async fn stats(&mut self, dispatch: &Dispatch, window: Option<Duration>) -> Stats {
        self.collect(dispatch).await;
        Stats {
            worker_lag: worker_lag(dispatch),
            ..self.collector.stats(window)
        }
    }

    /// As collected last, with the histograms of every operation.
    pub(crate) fn detailed(&self, window: Option<Duration>) -> Stats {
        self.collector.detailed(window)
    }

    /// As collected last, by worker.
    pub(crate) fn by_worker(&self, window: Option<Duration>, histograms: bool) -> Vec<Stats> {
        let of = |c: &Collector| {
            if histograms {
                c.detailed(window)
            } else {
                c.stats(window)
            }
        };
        self.workers.iter().map(of).collect()
    }

    fn collectors(&mut self) -> impl Iterator<Item = &mut Collector> {
        std::iter::once(&mut self.collector).chain(&mut self.workers)
    }

    /// The entries of the ledger that are wanted, up to now.
    pub(crate) async fn ledger(&mut self, dispatch: &Dispatch, query: &Query) -> Listing {
        self.collect(dispatch).await;
        self.ledger.list(query, &self.process.ledger)
    }

    /// What seed, profile and order of requests determine of them.
    pub(crate) async fn canonical(&mut self, dispatch: &Dispatch, query: &Query) -> Canonical {
        self.collect(dispatch).await;
        self.ledger.canonical(query, &self.process.ledger)
    }

    /// Entries in the ledger now.
    pub(crate) fn ledger_entries(&self) -> usize {
        self.ledger.len()
    }

    /// The text of `/metrics`, up to now.
    pub(crate) async fn exposition(&mut self, dispatch: &Dispatch) -> String {
        self.collect(dispatch).await;
        self.exporter.update(&self.collector);
        let mut text = self.exporter.render();
        if let Some(lag) = worker_lag(dispatch) {
            let p99 = lag.p99_us as f64 / 1e6;
            text.push_str("# TYPE brownout_worker_lag_seconds gauge\n");
            text.push_str(&format!("brownout_worker_lag_seconds {p99}\n"));
        }
        text
    }
}

/// How long sockets that could be read waited in the last ten seconds, on the worker where that was longest.
fn worker_lag(dispatch: &Dispatch) -> Option<Latency> {
    let now = clock::now();
    let workers = dispatch.workers.iter();
    let lags = workers.filter_map(|worker| Latency::of(worker.lag().recent(now)));
    lags.max_by_key(|lag| lag.p99_us)
}
