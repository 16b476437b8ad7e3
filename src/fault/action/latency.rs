//! `latency`: the request or the reply is held for a while.

use std::sync::Arc;
use std::time::Duration;

use rand_distr::{Distribution as _, LogNormal, Normal, Pareto};

use crate::fault::dice::Draw;
use crate::fault::plan::Decision;
use crate::fault::problems::{Problems, listed};
use crate::fault::recorded::Recorded;
use crate::fault::spec::{Delay, DelayTable, DistributionKind, FaultSpec, Side};
use crate::protocol::Protocol;

use super::{Acts, Effect, MAX_DELAY, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["delay", "on", "floor"];

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

/// Holds one side of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    /// How long.
    pub delay: Distribution,
    /// Which side.
    pub on: Side,
    /// On the reply: the least time the exchange takes, instead of an addition to it.
    pub floor: bool,
}

/// How long something is held. The parameters of the drawn ones are nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(Duration),
    /// Anything from the first to the second, all alike.
    Uniform(Duration, Duration),
    /// Gaussian; draws below zero are zero.
    Normal(Normal<f64>),
    /// Gaussian in the logarithm.
    Lognormal(LogNormal<f64>),
    /// Never below its scale, with a power law's tail.
    Pareto(Pareto<f64>),
    /// As it was measured.
    Recorded(Arc<Recorded>),
}

impl Distribution {
    /// The delay that a draw stands for, between 0 and [`MAX_DELAY`].
    pub fn sample(&self, draw: Draw) -> Duration {
        match self {
            Self::Fixed(delay) => (*delay).min(MAX_DELAY),
            Self::Uniform(min, max) => {
                let spread = max.saturating_sub(*min);
                clamped(nanos(*min) + draw.uniform() * nanos(spread))
            }
            Self::Normal(normal) => clamped(normal.sample(&mut draw.generator())),
            Self::Lognormal(lognormal) => clamped(lognormal.sample(&mut draw.generator())),
            Self::Pareto(pareto) => clamped(pareto.sample(&mut draw.generator())),
            Self::Recorded(recorded) => recorded.sample(draw).min(MAX_DELAY),
        }
    }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

/// From nanoseconds, whatever a distribution yields: a tail may well reach infinity.
fn clamped(nanos: f64) -> Duration {
    const MAX: f64 = MAX_DELAY.as_nanos() as f64;
    // Not a number becomes 0 in the cast.
    Duration::from_nanos(nanos.clamp(0.0, MAX) as u64)
}

impl Latency {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let on = spec.on.unwrap_or_default();
        let floor = spec.floor.unwrap_or(false);
        if floor && on == Side::Request {
            problems.add(
                "floor",
                "a floor is the least time until the reply",
                "leave `floor` out, or write on = \"reply\"",
            );
        }
        let delay = Distribution::of(spec.delay.as_ref(), ("delay", "`latency`"), problems);
        Some(Self {
            delay: delay?,
            on,
            floor,
        })
    }

    /// Adds a drawn delay, at this strength of a ramp, to what has been decided so far.
    pub(in crate::fault) fn apply(&self, draw: Draw, strength: f64, decision: &mut Decision) {
        let full = self.delay.sample(draw);
        let delay = if strength < 1.0 {
            clamped(nanos(full) * strength)
        } else {
            full
        };
        match self.on {
            Side::Request => decision.request_delay = decision.request_delay.saturating_add(delay),
            Side::Reply if self.floor => decision.reply_floor = decision.reply_floor.max(delay),
            Side::Reply => decision.reply_delay = decision.reply_delay.saturating_add(delay),
        }
    }
}

impl Distribution {
    /// What is written under the key `field`, which `by` needs.
    pub(super) fn of(
        written: Option<&Delay>,
        (field, by): (&str, &str),
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        match written {
            Some(Delay::Fixed(delay)) => {
                problems.check_duration(field, *delay, MAX_DELAY);
                Some(Self::Fixed(*delay))
            }
            Some(Delay::Drawn(table)) => Self::compile(table, field, problems),
            None => {
                problems.missing(field, by, &format!("{field} = \"5ms\""));
                None
            }
        }
    }

    fn compile(table: &DelayTable, field: &str, problems: &mut Problems<'_>) -> Option<Self> {
        let kind = table.distribution;
        reject_foreign(table, field, problems);
        for (name, value) in durations(table) {
            if let Some(value) = value {
                problems.check_most(&format!("{field}.{name}"), value, MAX_DELAY);
            }
        }
        let mut needed = |name: &str, value: Option<Duration>| {
            if value.is_none() {
                problems.add(
                    &format!("{field}.{name}"),
                    format!(
                        "`{}` needs {}",
                        kind.name(),
                        listed(kind.parameters().iter().copied())
                    ),
                    format!("add {name} = \"5ms\""),
                );
            }
            value
        };
        match kind {
            DistributionKind::Fixed => {
                let value = needed("value", table.value)?;
                problems.check_duration(&format!("{field}.value"), value, MAX_DELAY);
                Some(Self::Fixed(value))
            }
            DistributionKind::Uniform => {
                let (min, max) = (needed("min", table.min), needed("max", table.max));
                uniform(min?, max?, field, problems)
            }
            DistributionKind::Normal => {
                let (mean, stddev) = (needed("mean", table.mean), needed("stddev", table.stddev));
                normal(mean?, stddev?, field, problems)
            }
            DistributionKind::Lognormal => {
                let (p50, p99) = (needed("p50", table.p50), needed("p99", table.p99));
                lognormal(p50?, p99?, field, problems)
            }
            DistributionKind::Pareto => {
                let scale = needed("scale", table.scale);
                if table.shape.is_none() {
                    problems.add(
                        &format!("{field}.shape"),
                        "`pareto` needs `scale` and `shape`",
                        "add shape = 2.5",
                    );
                }
                pareto(scale?, table.shape?, field, problems)
            }
            DistributionKind::Recorded => recorded(table, field, problems),
        }
    }
}

fn uniform(
    min: Duration,
    max: Duration,
    field: &str,
    problems: &mut Problems<'_>,
) -> Option<Distribution> {
    if min < max {
        return Some(Distribution::Uniform(min, max));
    }
    problems.add(
        &format!("{field}.max"),
        "`max` is not above `min`, so there is nothing to draw from",
        "write a `max` above `min`, or one duration, like delay = \"5ms\"",
    );
    None
}

fn normal(
    mean: Duration,
    stddev: Duration,
    field: &str,
    problems: &mut Problems<'_>,
) -> Option<Distribution> {
    if stddev.is_zero() {
        problems.add(
            &format!("{field}.stddev"),
            "a spread of zero leaves nothing to draw",
            "write a `stddev` above zero, or one duration, like delay = \"5ms\"",
        );
        return None;
    }
    Normal::new(nanos(mean), nanos(stddev))
        .ok()
        .map(Distribution::Normal)
}

fn lognormal(
    p50: Duration,
    p99: Duration,
    field: &str,
    problems: &mut Problems<'_>,
) -> Option<Distribution> {
    if p50.is_zero() {
        problems.add(
            &format!("{field}.p50"),
            "a lognormal delay is never zero",
            "write a `p50` above zero",
        );
        return None;
    }
    if p99 <= p50 {
        problems.add(
            &format!("{field}.p99"),
            "`p99` is not above `p50`",
            "write a `p99` above `p50`, or one duration, like delay = \"5ms\"",
        );
        return None;
    }
    let (mu, ln99) = (nanos(p50).ln(), nanos(p99).ln());
    LogNormal::new(mu, (ln99 - mu) / Z99)
        .ok()
        .map(Distribution::Lognormal)
}

fn pareto(
    scale: Duration,
    shape: f64,
    field: &str,
    problems: &mut Problems<'_>,
) -> Option<Distribution> {
    if scale.is_zero() {
        problems.add(
            &format!("{field}.scale"),
            "the least delay is zero",
            "write a `scale` above zero",
        );
    }
    if !(shape.is_finite() && shape > 0.0) {
        problems.add(
            &format!("{field}.shape"),
            format!("{shape} is no shape of a Pareto distribution"),
            "write a number above zero, like 2.5",
        );
    }
    Pareto::new(nanos(scale), shape)
        .ok()
        .map(Distribution::Pareto)
}

fn recorded(table: &DelayTable, field: &str, problems: &mut Problems<'_>) -> Option<Distribution> {
    if let Some(recorded) = &table.recorded {
        return Some(Distribution::Recorded(Arc::clone(recorded)));
    }
    let field = format!("{field}.file");
    if table.file.is_some() {
        problems.add(
            &field,
            "a file can be named in a profile only",
            "put the fault into a file in the folder of profiles, and enable that",
        );
    } else {
        problems.add(
            &field,
            "`recorded` needs `file`",
            "add file = \"measured.hlog\"",
        );
    }
    None
}

fn durations(table: &DelayTable) -> [(&'static str, Option<Duration>); 8] {
    [
        ("value", table.value),
        ("min", table.min),
        ("max", table.max),
        ("mean", table.mean),
        ("stddev", table.stddev),
        ("p50", table.p50),
        ("p99", table.p99),
        ("scale", table.scale),
    ]
}

/// Parameters of another family.
fn reject_foreign(table: &DelayTable, field: &str, problems: &mut Problems<'_>) {
    let kind = table.distribution;
    let given = durations(table).map(|(name, value)| (name, value.is_some()));
    let given = given.into_iter().chain([
        ("shape", table.shape.is_some()),
        ("file", table.file.is_some()),
        ("tag", table.tag.is_some()),
    ]);
    for (name, _) in given.filter(|(_, given)| *given) {
        if !kind.parameters().contains(&name) {
            problems.add(
                &format!("{field}.{name}"),
                format!("`{name}` does not belong to `{}`", kind.name()),
                format!(
                    "`{}` takes {}",
                    kind.name(),
                    listed(kind.parameters().iter().copied())
                ),
            );
        }
    }
}

impl Acts for Latency {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Delay(self.clone()))
    }
}

#[cfg(test)]
mod tests;
