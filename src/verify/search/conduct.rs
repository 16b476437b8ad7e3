//! Turns the dial of the load, waits, and has each step judged.

use super::ladder::{Ended, Ladder};
use super::step::{Due, LaneStep, Window, judge};
use super::{Capacity, SETTLES, Step, Steps};
use crate::proxy::Server;
use crate::verify::load::{Load, Pace};
use crate::verify::run::Stage;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How much longer than the time limit of its requests a lane may take to come to rest.
const REST: Duration = Duration::from_secs(2);

impl Stage<'_> {
    /// Steps the rate of all open lanes until it is known what the service bears. The phase has begun.
    pub(crate) async fn search(&mut self, steps: &Steps) -> Capacity {
        let until = Instant::now() + steps.within;
        let mut ladder = Ladder::new(steps.wanted.clone());
        let mut done: Vec<Step> = Vec::new();
        self.calls.begin();
        while let Some(factor) = ladder.next() {
            let hold = steps.holds(self.needs(factor));
            // One that cannot end in time is not begun.
            if Instant::now() + hold > until {
                ladder.end(Ended::OutOfTime);
                break;
            }
            let step = self.step(factor, hold).await;
            if self.stopped.is_some() {
                ladder.end(Ended::Stopped);
                break;
            }
            self.progress.say(&format!("rate {}", step.line()));
            ladder.take(step.held);
            done.push(step);
        }
        self.calls.end();
        self.dial.send_replace(1.0);
        Capacity {
            declared: self.open().map(|(_, rate)| rate).sum(),
            kept: ladder.kept(),
            broken: ladder.broken(),
            ended: ladder.ended().unwrap_or(Ended::OutOfTime),
            steps: done,
        }
    }

    /// Lanes whose rate is stepped, and what it is as declared.
    fn open(&self) -> impl Iterator<Item = (&Load, f64)> {
        self.test.loads.iter().filter_map(|load| match &load.pace {
            Pace::Open(schedule) => Some((load, schedule.rate()?)),
            Pace::Canary(_) | Pace::Closed { .. } => None,
        })
    }

    /// Rates at this factor, and the samples that each lane's limit needs.
    fn needs(&self, factor: f64) -> impl Iterator<Item = (f64, u64)> {
        self.open()
            .filter_map(move |(load, rate)| Some((rate * factor, load.search?.samples())))
    }

    async fn step(&mut self, factor: f64, hold: Duration) -> Step {
        let skipped = self.skipped();
        self.calls.clear();
        self.dial.send_replace(factor);
        let begun = Server::clock();
        self.pass(hold).await;
        let to = Server::clock();
        self.dial.send_replace(0.0);
        self.rest().await;
        let from = begun + ((to - begun) as f64 * SETTLES) as u64;
        let lag = self.server.stats(None).await.worker_lag;
        let lag = lag.map_or(0, |lag| lag.p99_us.saturating_mul(1000));
        let calls = self.calls.take();
        let more = self.skipped();
        let lanes: BTreeMap<String, LaneStep> = self
            .open()
            .map(|(load, rate)| {
                let name = &load.lane;
                let before = skipped.get(name).copied().unwrap_or(0);
                let window = Window {
                    from,
                    to,
                    rate: rate * factor,
                    skipped: more.get(name).map_or(0, |all| all - before),
                    lag,
                };
                let none: &[Due] = &[];
                let calls = calls.get(name).map_or(none, Vec::as_slice);
                (name.clone(), judge(load.search.as_ref(), calls, &window))
            })
            .collect();
        Step::of(factor, (from - self.began, to - self.began), lanes)
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let lanes = self.lanes.iter();
        lanes
            .map(|(n, tally)| (n.clone(), tally.skipped()))
            .collect()
    }

    /// Until everything that the open lanes have sent is answered or given up.
    async fn rest(&mut self) {
        let longest = self.open().map(|(load, _)| load.timeout).max();
        let until = Instant::now() + longest.unwrap_or_default() + REST;
        let open: Vec<String> = self.open().map(|(load, _)| load.lane.clone()).collect();
        while self.stopped.is_none()
            && Instant::now() < until
            && open
                .iter()
                .any(|lane| self.lanes.get(lane).is_some_and(|t| t.outstanding() > 0))
        {
            self.pass(Duration::from_millis(50)).await;
        }
        self.write_calls().await;
    }
}
