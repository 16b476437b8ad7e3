//! The course of a demo: load all the time; a phase of calm, one with the profile on, one of calm again.
//!
//! The proxies' windows end at their ticks, about one a second. A phase lasts until a tick closes a window that lies wholly
//! within it, as near as switching can be to a tick; its figures are those of that window.

use super::api::{Upstreams, database};
use super::figures::{Figures, proxy};
use super::load::http::{HttpLoad, Mix};
use super::load::postgres::PostgresLoad;
use super::load::pubsub::PubSubLoad;
use super::load::redis::RedisLoad;
use super::load::{Counts, Tally};
use super::table::{DURING, Phase, Report};
use super::targets;
use crate::admin::client::{AdminClient, ClientError};
use crate::measure::stats::Stats;
use crate::verify::progress::{Calls, Now, Progress};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The profile that is switched on.
pub const PROFILE: &str = "redis-slow";
/// Should the demo die, its fault does too.
const TTL: Duration = Duration::from_secs(120);
/// How often the stats are looked at for a tick.
const POLL: Duration = Duration::from_millis(10);
/// A tick that does not come within this will not.
const NO_TICK: Duration = Duration::from_secs(5);

/// Connections of the load straight at Postgres.
pub const POSTGRES_CONNECTIONS: u32 = 2;
/// The most sessions at the proxy of Postgres: what its configuration should declare as the pool's maximum.
pub const POSTGRES_SESSIONS: u32 = database::POOL as u32 + POSTGRES_CONNECTIONS;

/// Why a demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The admin endpoint.
    #[error(transparent)]
    Admin(#[from] ClientError),
    /// A generator's address is none.
    #[error("cannot make load on Redis")]
    Redis(#[from] redis::RedisError),
    /// The stats stand still.
    #[error("the proxies' figures did not change for {NO_TICK:?}; is there no traffic?")]
    NoTick,
}

/// Where everything is: all of it through the proxies.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The admin endpoint.
    pub admin: AdminClient,
    /// Redis and Postgres.
    pub upstreams: Upstreams,
    /// The sample service.
    pub api: SocketAddr,
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The length of a phase's window: 1 s, 10 s or 60 s.
    pub window: Duration,
    /// Time after a switch that belongs to no phase.
    pub settle: Duration,
    /// The least time after that, before a tick may close the phase.
    at_least: Duration,
    /// Whether the profile is switched off this long after it was switched on, a moment before the tick that closes the phase:
    /// what it still holds must not fall into the next. Else it is after that tick, and the next phase has time to settle.
    off_after: Option<Duration>,
}

impl Pace {
    /// About 3 s in all: each phase is the next second.
    pub const QUICK: Self = Self {
        window: Duration::from_secs(1),
        settle: Duration::ZERO,
        at_least: Duration::from_millis(700),
        off_after: Some(Duration::from_millis(850)),
    };
    /// About 40 s in all: 10 s a phase, after 2 s in which breakers open and close.
    pub const FULL: Self = Self {
        window: Duration::from_secs(10),
        settle: Duration::from_secs(2),
        at_least: Duration::from_secs(10),
        off_after: None,
    };
}

/// The generators at work, by their name.
struct Load {
    tallies: BTreeMap<&'static str, Arc<Tally>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Load {
    fn start(stage: &Stage) -> Self {
        let mut load = Self {
            tallies: BTreeMap::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (redis, postgres) = (&stage.upstreams.redis, &stage.upstreams.postgres);
        let http = HttpLoad {
            addr: stage.api,
            workers: 16,
            // Enough of each route in a second for its 95th percentile.
            per_second: 400.0,
            mix: Mix {
                health: 28,
                create: 24,
                list: 24,
                get: 24,
            },
        };
        let (tally, stop) = load.generator("http");
        load.tasks.spawn(http.run(tally, stop));
        let commands = RedisLoad {
            info: redis.clone(),
            connections: 8,
            per_second: 1500.0,
        };
        let (tally, stop) = load.generator("redis");
        load.tasks.spawn(commands.run(tally, stop));
        let messages = PubSubLoad {
            info: redis.clone(),
            per_second: 100.0,
        };
        let (tally, stop) = load.generator("pubsub");
        load.tasks.spawn(messages.run(tally, stop));
        let statements = PostgresLoad {
            config: postgres.clone(),
            connections: POSTGRES_CONNECTIONS,
            per_second: 150.0,
        };
        let (tally, stop) = load.generator("postgres");
        load.tasks.spawn(statements.run(tally, stop));
        load
    }

    fn generator(&mut self, name: &'static str) -> (Arc<Tally>, CancellationToken) {
        let tally = Arc::new(Tally::default());
        self.tallies.insert(name, Arc::clone(&tally));
        (tally, self.stop.clone())
    }

    fn counts(&self) -> BTreeMap<&'static str, Counts> {
        let tallies = self.tallies.iter();
        tallies
            .map(|(name, tally)| (*name, tally.counts()))
            .collect()
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs a demo on a stage that stands.
///
/// The profile is switched off again however it ends, as far as the admin endpoint can be reached; after [`TTL`] it ends by
/// itself.
///
/// # Errors
/// [`DriveError`].
pub(crate) async fn drive(
    stage: &Stage,
    quick: bool,
    progress: &dyn Progress,
) -> Result<Report, DriveError> {
    let pace = if quick { Pace::QUICK } else { Pace::FULL };
    let load = Load::start(stage);
    let watch = Watch {
        stage,
        pace,
        load: &load,
        progress,
    };
    let before = watch.phase("before").await?;
    stage.admin.enable(PROFILE, TTL).await?;
    let during = watch.during().await;
    let disabled = stage.admin.disable(PROFILE).await;
    let during = during?;
    // It is off already where that was the plan.
    if pace.off_after.is_none() {
        disabled?;
    }
    let after = watch.phase("after").await?;
    load.end().await;
    Ok(Report::new(quick, PROFILE, vec![before, during, after]))
}

/// What a phase is watched with.
#[derive(Clone, Copy)]
struct Watch<'a> {
    stage: &'a Stage,
    pace: Pace,
    load: &'a Load,
    progress: &'a dyn Progress,
}

impl Watch<'_> {
    /// Lets time pass, and tells people each second how it is. `until`: when the phase is over, about.
    async fn wait(
        &self,
        time: Duration,
        name: &'static str,
        until: Instant,
    ) -> Result<(), DriveError> {
        const TURN: Duration = Duration::from_secs(1);
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(TURN)).await;
            if left <= TURN {
                return Ok(());
            }
            let stats = self.stage.admin.stats(Some(TURN)).await?;
            let calls = stats.proxy(proxy::API).map(|api| Calls {
                p50: api.total.client.as_ref().map(|l| l.p50_us * 1000),
                p99: api.total.client.as_ref().map(|l| l.p99_us * 1000),
                count: api.total.count,
                failed: api.total.failures,
            });
            self.progress.now(&Now {
                phase: name.to_owned(),
                left: Some(until.saturating_duration_since(Instant::now())),
                calls,
                // The load asks every dependency itself, so that silence of the service is not seen here.
                breakers: Vec::new(),
            });
        }
    }

    async fn during(&self) -> Result<Phase, DriveError> {
        let off = async {
            if let Some(after) = self.pace.off_after {
                tokio::time::sleep(after).await;
                self.stage.admin.disable(PROFILE).await?;
            }
            Ok(())
        };
        let (phase, ()) = tokio::try_join!(self.phase(DURING), off)?;
        Ok(phase)
    }

    async fn phase(&self, name: &'static str) -> Result<Phase, DriveError> {
        self.progress.say(&format!("phase {name}"));
        let until = Instant::now() + self.pace.settle + self.pace.window;
        self.wait(self.pace.settle, name, until).await?;
        let before = self.load.counts();
        self.wait(self.pace.at_least, name, until).await?;
        let stats = closed_window(&self.stage.admin, self.pace.window).await?;
        let now = self.load.counts();
        let none = Counts::default();
        let load = now.into_iter().map(|(name, now)| {
            let before = before.get(name).unwrap_or(&none);
            (name, now.since(before))
        });
        let figures = Figures::new(&stats, u64::from(POSTGRES_SESSIONS));
        Ok(Phase {
            name,
            load: load.collect(),
            rows: targets::rows(&figures),
            figures,
        })
    }
}

/// The figures of the window that the next tick closes.
async fn closed_window(admin: &AdminClient, window: Duration) -> Result<Stats, DriveError> {
    let deadline = Instant::now() + NO_TICK;
    let old = mark(&admin.stats(Some(window)).await?);
    loop {
        tokio::time::sleep(POLL).await;
        let stats = admin.stats(Some(window)).await?;
        if mark(&stats) != old {
            return Ok(stats);
        }
        if Instant::now() > deadline {
            return Err(DriveError::NoTick);
        }
    }
}

/// What changes with every tick while there is traffic, and only then: the time that a window covers, to the nanosecond, and
/// what it counted.
fn mark(stats: &Stats) -> Vec<(u64, u64)> {
    let proxies = stats.proxies.iter();
    proxies
        .map(|proxy| (proxy.covered_seconds.to_bits(), proxy.total.count))
        .collect()
}
