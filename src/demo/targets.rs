//! The mission's targets and alerts, held against what was measured in one phase.
//!
//! A verdict is only given on enough samples: as many as bound a percentile from above with 95 % confidence, whatever the
//! distribution ([`needed`]); a share of errors under q needs as many as its (1-q)-quantile would. Fewer are inconclusive,
//! never a pass.

use super::figures::{self, Figures, Latency, Traffic};
use crate::measure::stats::needed;
use serde::Serialize;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// The sample service.
    Api,
    /// Redis.
    Redis,
    /// Postgres.
    Postgres,
}

impl Component {
    /// As shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "API",
            Self::Redis => "Redis",
            Self::Postgres => "Postgres",
        }
    }
}

/// A target is what the service promises; an alert is where someone should look before a promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A promise.
    Target,
    /// A warning; a `fail` is an alert that would have been raised.
    Alert,
}

/// How a measured value stands to its limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Kept, on enough samples.
    Pass,
    /// Not kept, on enough samples.
    Fail,
    /// Nothing can be said.
    Inconclusive {
        /// Why, and what would make it conclusive.
        reason: String,
    },
}

/// The unit of a measured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// A number a second.
    PerSecond,
    /// 0 to 1.
    Share,
    /// A number.
    Count,
}

/// One line of the table, for one phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it is about.
    pub component: Component,
    /// Target or alert.
    pub kind: Kind,
    /// The target, in words.
    pub target: &'static str,
    /// The limit, in `unit`.
    pub limit: f64,
    /// What was measured, in `unit`.
    pub measured: Option<f64>,
    /// Of what the two are.
    pub unit: Unit,
    /// Samples that the measured value rests on.
    pub samples: u64,
    /// The samples that a verdict needs.
    pub needed: u64,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// On which side of the limit the value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// Samples for a mean: as many as for the median.
const FOR_MEAN: u64 = needed::P50;
/// Samples that show a share of errors under 5 %, if there is none among them: those of the 95th percentile.
const FOR_5_PERCENT: u64 = needed::P95;
/// Samples that show a share of errors under 3 %: ln 0.05 / ln 0.97.
const FOR_3_PERCENT: u64 = 99;

struct Table<'a> {
    component: Component,
    kind: Kind,
    rows: &'a mut Vec<Row>,
}

impl Table<'_> {
    fn begin(&mut self, component: Component) {
        self.component = component;
        self.kind = Kind::Target;
    }

    /// What follows are alerts: on latency and errors. The limit itself raises none.
    fn alerts(&mut self, measured: &figures::Component, (p95, limit_ms): (&'static str, f64)) {
        self.kind = Kind::Alert;
        let latency = measured.latency.as_ref();
        let samples = latency.map_or(0, |latency| latency.samples);
        let value = latency.map(|latency| latency.p95_us / 1000.0);
        let limit = (Side::AtMost, limit_ms, Unit::Milliseconds);
        self.row(p95, limit, value, (samples, needed::P95));
        let limit = (Side::AtMost, 0.03);
        self.errors("errors > 3 %", limit, &measured.traffic, FOR_3_PERCENT);
    }

    fn pool(&mut self, measured: &figures::Component) {
        let limit = (Side::AtMost, 0.8, Unit::Share);
        let samples = (measured.traffic.count, 1);
        self.row("pool use > 80 %", limit, measured.pool_use, samples);
    }

    fn row(
        &mut self,
        target: &'static str,
        (side, limit, unit): (Side, f64, Unit),
        measured: Option<f64>,
        (samples, needed): (u64, u64),
    ) {
        let verdict = match measured {
            _ if samples < needed => Verdict::Inconclusive {
                reason: format!("{samples} of {needed} samples"),
            },
            None => Verdict::Inconclusive {
                reason: "not measured".to_owned(),
            },
            Some(value) => {
                let kept = match side {
                    Side::Below => value < limit,
                    Side::AtMost => value <= limit,
                    Side::Above => value > limit,
                    Side::AtLeast => value >= limit,
                };
                if kept { Verdict::Pass } else { Verdict::Fail }
            }
        };
        self.rows.push(Row {
            component: self.component,
            kind: self.kind,
            target,
            limit,
            measured,
            unit,
            samples,
            needed,
            verdict,
        });
    }

    fn latency(
        &mut self,
        target: &'static str,
        limit_ms: f64,
        latency: Option<&Latency>,
        (needed, value): (u64, fn(&Latency) -> f64),
    ) {
        let samples = latency.map_or(0, |latency| latency.samples);
        let measured = latency.map(|latency| value(latency) / 1000.0);
        let limit = (Side::Below, limit_ms, Unit::Milliseconds);
        self.row(target, limit, measured, (samples, needed));
    }

    fn errors(
        &mut self,
        target: &'static str,
        (side, limit): (Side, f64),
        traffic: &Traffic,
        needed: u64,
    ) {
        let share = (traffic.count > 0).then(|| traffic.failures as f64 / traffic.count as f64);
        let limit = (side, limit, Unit::Share);
        self.row(target, limit, share, (traffic.count, needed));
    }

    fn rate(&mut self, target: &'static str, side: Side, limit: f64, traffic: &Traffic) {
        let rate = Some(traffic.per_second);
        let limit = (side, limit, Unit::PerSecond);
        self.row(target, limit, rate, (traffic.count, 1));
    }
}

const MEAN: (u64, fn(&Latency) -> f64) = (FOR_MEAN, |latency| latency.mean_us);
const P95: (u64, fn(&Latency) -> f64) = (needed::P95, |latency| latency.p95_us);
const P99: (u64, fn(&Latency) -> f64) = (needed::P99, |latency| latency.p99_us);

/// The targets and alerts of each component, held against the figures of one phase. The same rows in the same order for any
/// figures.
pub fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut table = Table {
        component: Component::Api,
        kind: Kind::Target,
        rows: &mut rows,
    };
    api(&mut table, figures);
    table.alerts(&figures.api, ("p95 > 400 ms", 400.0));
    table.begin(Component::Redis);
    redis(&mut table, figures);
    table.alerts(&figures.redis, ("p95 > 8 ms", 8.0));
    table.pool(&figures.redis);
    table.begin(Component::Postgres);
    postgres(&mut table, figures);
    table.alerts(&figures.postgres, ("p95 > 80 ms", 80.0));
    table.pool(&figures.postgres);
    rows
}

fn api(table: &mut Table<'_>, figures: &Figures) {
    table.latency("health p95 < 100 ms", 100.0, figures.health.as_ref(), P95);
    table.latency("create p95 < 500 ms", 500.0, figures.create.as_ref(), P95);
    table.latency("list p95 < 200 ms", 200.0, figures.list.as_ref(), P95);
    table.rate("> 50 requests/s", Side::Above, 50.0, &figures.api.traffic);
    table.errors(
        "errors < 5 %",
        (Side::Below, 0.05),
        &figures.api.traffic,
        FOR_5_PERCENT,
    );
}

fn redis(table: &mut Table<'_>, figures: &Figures) {
    let latency = figures.redis.latency.as_ref();
    table.latency("mean < 5 ms", 5.0, latency, MEAN);
    table.latency("p95 < 10 ms", 10.0, latency, P95);
    table.latency("p99 < 20 ms", 20.0, latency, P99);
    let traffic = &figures.redis.traffic;
    table.rate(">= 1000 commands/s", Side::AtLeast, 1000.0, traffic);
    table.latency("pub/sub p95 < 10 ms", 10.0, figures.delivery.as_ref(), P95);
}

fn postgres(table: &mut Table<'_>, figures: &Figures) {
    table.latency("reads mean < 50 ms", 50.0, figures.reads.as_ref(), MEAN);
    table.latency("writes mean < 100 ms", 100.0, figures.writes.as_ref(), MEAN);
    let transactions = &figures.transactions;
    let none = (Side::AtMost, 0.0, Unit::Count);
    let begun = (transactions.begun, 1);
    table.row(
        "no deadlocks",
        none,
        Some(transactions.deadlocks as f64),
        begun,
    );
    table.row(
        "transactions intact",
        none,
        Some(transactions.astray() as f64),
        begun,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::figures::{Component as Measured, Transactions};

    fn latency(samples: u64, ms: f64) -> Latency {
        Latency {
            samples,
            mean_us: ms * 1000.0,
            p95_us: ms * 1000.0,
            p99_us: ms * 1000.0,
            max_us: ms * 1000.0,
        }
    }

    fn healthy() -> Figures {
        let measured = |ms, per_second| Measured {
            latency: Some(latency(1000, ms)),
            traffic: Traffic {
                count: 1000,
                failures: 0,
                per_second,
            },
            injected: 0,
            pool_use: Some(0.2),
        };
        Figures {
            seconds: 1.0,
            api: measured(3.0, 100.0),
            redis: measured(0.5, 1500.0),
            postgres: measured(2.0, 200.0),
            health: Some(latency(100, 1.0)),
            create: Some(latency(100, 5.0)),
            list: Some(latency(100, 2.0)),
            delivery: Some(latency(100, 1.0)),
            reads: Some(latency(100, 1.0)),
            writes: Some(latency(100, 1.0)),
            transactions: Transactions {
                begun: 50,
                ended: 49,
                failed: 0,
                deadlocks: 0,
                open_at_most: 2,
            },
        }
    }

    fn verdict(figures: &Figures, component: Component, target: &str) -> Verdict {
        let rows = rows(figures);
        let mut found = rows
            .iter()
            .filter(|row| row.component == component && row.target == target);
        let row = found.next().unwrap_or_else(|| panic!("{target}"));
        assert!(found.next().is_none(), "{target} is there twice");
        row.verdict.clone()
    }

    #[test]
    fn a_healthy_phase_passes_everything() {
        for row in rows(&healthy()) {
            assert_eq!(row.verdict, Verdict::Pass, "{row:?}");
        }
    }

    #[test]
    fn nothing_measured_is_inconclusive_everywhere() {
        for row in rows(&Figures::default()) {
            assert!(
                matches!(row.verdict, Verdict::Inconclusive { .. }),
                "{row:?}"
            );
        }
    }

    #[test]
    fn percentiles_need_their_samples_at_the_bound() {
        for (samples, p95, p99) in [
            (58, false, false),
            (59, true, false),
            (298, true, false),
            (299, true, true),
        ] {
            let mut figures = healthy();
            figures.redis.latency = Some(latency(samples, 1.0));
            let conclusive = |target| verdict(&figures, Component::Redis, target) == Verdict::Pass;
            assert_eq!(conclusive("p95 < 10 ms"), p95, "{samples}");
            assert_eq!(conclusive("p99 < 20 ms"), p99, "{samples}");
            assert!(conclusive("mean < 5 ms"), "{samples}");
        }
        let mut figures = healthy();
        figures.redis.latency = Some(latency(12, 100.0));
        let few = verdict(&figures, Component::Redis, "p95 < 10 ms");
        let reason = "12 of 59 samples".to_owned();
        assert_eq!(few, Verdict::Inconclusive { reason }, "not a fail either");
    }

    #[test]
    fn each_limit_fails_on_its_own_side() {
        type Change = fn(&mut Figures);
        let cases: [(Component, &str, Change); 17] = [
            (Component::Api, "health p95 < 100 ms", |f| {
                f.health = Some(latency(99, 100.0));
            }),
            (Component::Api, "create p95 < 500 ms", |f| {
                f.create = Some(latency(99, 500.0));
            }),
            (Component::Api, "list p95 < 200 ms", |f| {
                f.list = Some(latency(99, 200.0));
            }),
            (Component::Api, "> 50 requests/s", |f| {
                f.api.traffic.per_second = 50.0;
            }),
            (Component::Api, "errors < 5 %", |f| {
                f.api.traffic.failures = 50;
            }),
            (Component::Redis, "mean < 5 ms", |f| {
                f.redis.latency = Some(latency(999, 5.0));
            }),
            (Component::Redis, "p95 < 10 ms", |f| {
                f.redis.latency = Some(latency(999, 10.0));
            }),
            (Component::Redis, "p99 < 20 ms", |f| {
                f.redis.latency = Some(latency(999, 20.0));
            }),
            (Component::Redis, ">= 1000 commands/s", |f| {
                f.redis.traffic.per_second = 999.9;
            }),
            (Component::Redis, "pub/sub p95 < 10 ms", |f| {
                f.delivery = Some(latency(99, 10.0));
            }),
            (Component::Redis, "p95 > 8 ms", |f| {
                f.redis.latency = Some(latency(999, 8.1));
            }),
            (Component::Postgres, "reads mean < 50 ms", |f| {
                f.reads = Some(latency(9, 50.0));
            }),
            (Component::Postgres, "writes mean < 100 ms", |f| {
                f.writes = Some(latency(9, 100.0));
            }),
            (Component::Postgres, "no deadlocks", |f| {
                f.transactions.deadlocks = 1;
            }),
            (Component::Postgres, "transactions intact", |f| {
                f.transactions.failed = 1;
            }),
            (Component::Postgres, "errors > 3 %", |f| {
                f.postgres.traffic.failures = 31;
            }),
            (Component::Postgres, "pool use > 80 %", |f| {
                f.postgres.pool_use = Some(0.81);
            }),
        ];
        for (component, target, change) in cases {
            let mut figures = healthy();
            change(&mut figures);
            assert_eq!(
                verdict(&figures, component, target),
                Verdict::Fail,
                "{target}"
            );
        }
    }

    #[test]
    fn transactions_may_be_open_at_the_edges_of_a_phase_but_not_go_astray() {
        let mut figures = healthy();
        figures.transactions.ended = 47;
        let intact =
            |figures: &Figures| verdict(figures, Component::Postgres, "transactions intact");
        assert_eq!(intact(&figures), Verdict::Fail);
        figures.transactions.ended = 52;
        assert_eq!(intact(&figures), Verdict::Pass);
    }
}
