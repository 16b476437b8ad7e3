//! Memory, processor time, and the pool.

use super::{Case, Expectation, Phases, Scope, known};
use crate::insight::view::Span;
use crate::insight::{Evidence, growth, pool};
use crate::verify::verdict::Judgement;
use std::time::Duration;

/// The watched process grows no more than this, in bytes.
#[derive(Debug)]
pub(crate) struct MemoryGrowth {
    pub(crate) most: u64,
    /// The least time to judge by, in nanoseconds; 0: that of the inference.
    pub(crate) window: u64,
}

/// Processor time as a share of one core.
#[derive(Debug)]
pub(crate) struct Cpu {
    pub(crate) limit: f64,
    pub(crate) peak: bool,
}

/// The share of the pool in use.
#[derive(Debug)]
pub(crate) struct Pool(pub(crate) f64);

const MB: f64 = 1_000_000.0;

/// From the begin of the first phase that counts to the end of the last.
fn all(case: &Case<'_>, scope: &Scope) -> Span {
    let spans = case.spans(scope);
    Span {
        from: spans.iter().map(|s| s.from).min().unwrap_or(0),
        to: spans.iter().map(|s| s.to).max().unwrap_or(0),
    }
}

impl Expectation for MemoryGrowth {
    fn target(&self) -> String {
        format!("memory growth <= {:.0} MB", self.most as f64 / MB)
    }

    fn time(&self) -> Option<(Phases, Duration)> {
        let window = match self.window {
            0 => growth::SHORTEST,
            window => window,
        };
        Some((Phases::Around, Duration::from_nanos(window)))
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let target = scope.watch.as_deref().unwrap_or_default();
        let span = all(case, scope);
        let found = known(growth::memory(&case.view, target, span, self.window));
        let (growth, mut evidence) = match found {
            Ok(found) => found,
            Err(judgement) => return *judgement,
        };
        evidence.figure("grown_bytes", growth.bytes as f64);
        evidence.figure("peak_bytes", growth.peak_bytes as f64);
        evidence.figure("bytes_per_second", growth.bytes_per_second);
        let measured = format!("{:+.1} MB", growth.bytes as f64 / MB);
        let why = format!(
            "it grew by {:.1} MB in {:.0} s, by {:.0} to {:.0} bytes a second",
            growth.bytes as f64 / MB,
            growth.watched_seconds,
            growth.slope_low,
            growth.slope_high
        );
        let holds = i128::from(growth.bytes) <= i128::from(self.most);
        // Nearly every slope leads upwards: what is below the limit only because nobody watched longer is no pass.
        let as_long_again = growth.bytes as f64 + growth.bytes_per_second * growth.watched_seconds;
        if holds && growth.slope_low > 0.0 && as_long_again > self.most as f64 {
            let mut judgement = Judgement::inconclusive(
                format!("{why}: after as long again it would be above the limit"),
                "a longer phase: a leak goes on, a cache that fills comes to its end",
                evidence,
            );
            judgement.measured = measured;
            return judgement;
        }
        Judgement::of(holds, measured, why, evidence)
    }
}

impl Expectation for Cpu {
    fn target(&self) -> String {
        format!(
            "cpu {} <= {}",
            if self.peak { "peak" } else { "mean" },
            self.limit
        )
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let target = scope.watch.as_deref().unwrap_or_default();
        let found = known(growth::cpu(&case.view, target, all(case, scope)));
        let (used, mut evidence) = match found {
            Ok(found) => found,
            Err(judgement) => return *judgement,
        };
        evidence.figure("mean", used.mean);
        evidence.figure("peak", used.peak);
        let value = if self.peak { used.peak } else { used.mean };
        let why = format!("it used {value:.2} of a core");
        Judgement::of(value <= self.limit, format!("{value:.2}"), why, evidence)
    }
}

impl Expectation for Pool {
    fn target(&self) -> String {
        format!("pool use <= {:.0} %", self.0 * 100.0)
    }

    fn judge(&self, case: &Case<'_>, scope: &Scope) -> Judgement {
        let proxy = match case.proxy(scope) {
            Ok(proxy) => proxy,
            Err(judgement) => return *judgement,
        };
        let mut worst: Option<(pool::PoolUse, Evidence)> = None;
        for span in case.spans(scope) {
            match known(pool::infer(&case.view, proxy, span)) {
                Ok(found)
                    if worst
                        .as_ref()
                        .is_none_or(|(w, _)| found.0.utilisation > w.utilisation) =>
                {
                    worst = Some(found);
                }
                Ok(_) => {}
                Err(judgement) => return *judgement,
            }
        }
        let Some((used, mut evidence)) = worst else {
            return Judgement::inconclusive(
                "no phase counts",
                "name phases that are run",
                Evidence::default(),
            );
        };
        evidence.figure("most_busy", used.most_busy as f64);
        evidence.figure("size", used.size as f64);
        if !used.declared {
            return Judgement::inconclusive(
                "the size of the pool is not known",
                "say it at the proxy: pool = 20",
                evidence,
            );
        }
        let why = format!(
            "{} of {} connections were busy at once",
            used.most_busy, used.size
        );
        let measured = format!("{:.0} %", used.utilisation * 100.0);
        Judgement::of(used.utilisation <= self.0, measured, why, evidence)
    }
}
