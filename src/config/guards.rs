//! What keeps the admin endpoint and the faults within bounds: who may ask, and what an operator allows at all.

use super::Listen;
use crate::fault::glob::Glob;
use crate::fault::spec::{ActionKind, FaultSpec, FieldError, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Changes in a second where others may reach the endpoint.
pub const CHANGES_REMOTE: u32 = 10;
/// Changes in a second where only this machine can: test suites switch toxics in tight loops.
pub const CHANGES_LOCAL: u32 = 1_000;
/// The most names of the endpoint.
pub(super) const MAX_HOSTS: usize = 64;

/// How the admin endpoint is guarded. Paths are joined with the folder of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// Tokens and their roles; `None`: whoever reaches it may do everything.
    pub token_file: Option<PathBuf>,
    /// Names by which it is reached, beside its own address: `host:port`, or `host` for port 80.
    pub hosts: Vec<String>,
    /// Changes in a second; `None`: [`CHANGES_LOCAL`] or [`CHANGES_REMOTE`].
    pub changes_per_second: Option<u32>,
    /// While this file is there, everything is off.
    pub halt_file: Option<PathBuf>,
    /// Where changes and refusals are recorded.
    pub audit: Option<PathBuf>,
    /// Where figures and readiness alone are served, to whoever reaches it.
    pub metrics: Option<Listen>,
}

/// `[limits]` as it is written: what no profile, fault or toxic may go beyond.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsTable {
    /// At most this share of a proxy's sessions, 0 to 1: faults must then have `scope = "session"`, and their `probability`
    /// may not add up to more on any proxy. Default: 1, no limit.
    #[schemars(range(min = 0, max = 1))]
    pub(crate) max_share: Option<f64>,
    /// Only these proxies, by name or glob. Default: all.
    #[schemars(length(max = 256))]
    pub(crate) proxies: Option<Vec<String>>,
    /// Whether faults may lose, cut or forge anything, rather than only slow it down. Default: true.
    pub(crate) destructive: Option<bool>,
    /// The longest time to live. Default: 12h, which is the most there is.
    #[serde(default, with = "super::duration::option")]
    #[schemars(with = "Option<super::duration::Text>")]
    pub(crate) max_ttl: Option<Duration>,
}

/// What no profile, fault or toxic may go beyond.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// At most this share of a proxy's sessions.
    pub max_share: Option<f64>,
    /// Names or globs of the proxies that may be touched; `None`: all.
    pub proxies: Option<Vec<String>>,
    /// Whether anything may be lost, cut or forged.
    pub destructive: bool,
    /// The longest time to live.
    pub max_ttl: Option<Duration>,
}

// A share is checked to be a number.
impl Eq for Limits {}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_share: None,
            proxies: None,
            destructive: true,
            max_ttl: None,
        }
    }
}

impl From<LimitsTable> for Limits {
    fn from(table: LimitsTable) -> Self {
        Self {
            max_share: table.max_share,
            proxies: table.proxies,
            destructive: table.destructive.unwrap_or(true),
            max_ttl: table.max_ttl,
        }
    }
}

impl Limits {
    /// Whether faults may touch a proxy.
    pub fn allows_proxy(&self, name: &str) -> bool {
        self.proxies.as_ref().is_none_or(|allowed| {
            let mut globs = allowed.iter().filter_map(|a| Glob::new(a).ok());
            globs.any(|glob| glob.matches(name.as_bytes()))
        })
    }

    /// Whether a fault keeps to them. `touched`: the proxies that it acts on, each with the share of its sessions that other
    /// faults have already.
    ///
    /// # Errors
    /// Each limit that it does not keep to, by field.
    pub fn check(
        &self,
        spec: &FaultSpec,
        ttl: Option<Duration>,
        touched: &[(&str, f64)],
    ) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut refuse = |path: &str, message: String, remedy: String| {
            errors.push(FieldError {
                path: path.into(),
                message,
                remedy,
            });
        };
        for (name, _) in touched.iter().filter(|(name, _)| !self.allows_proxy(name)) {
            let allowed = self.proxies.clone().unwrap_or_default().join(", ");
            let message = format!("the operator allows no fault on proxy {name}");
            refuse("proxy", message, format!("[limits] allows {allowed}"));
        }
        if !self.destructive && is_destructive(spec.action) {
            let action = spec.action.name();
            let message =
                format!("the operator allows nothing that loses or forges, as {action} does");
            refuse("action", message, "[limits] has destructive = false".into());
        }
        if let (Some(most), Some(ttl)) = (self.max_ttl, ttl.or(spec.ttl))
            && ttl > most
        {
            let (ttl, most) = (
                humantime::format_duration(ttl),
                humantime::format_duration(most),
            );
            let message = format!("{ttl} is longer than the operator allows");
            refuse("ttl", message, format!("at most {most}"));
        }
        if let Some(most) = self.max_share {
            let share = match spec.scope {
                Some(Scope::Session) => spec.probability.unwrap_or(1.0),
                _ => 1.0,
            };
            let taken = touched.iter().map(|(_, taken)| *taken).fold(0.0, f64::max);
            if share + taken > most + 1e-9 {
                let message = if taken > 0.0 {
                    format!(
                        "with the faults that are on, it would touch more than the share {most} of sessions that the operator allows"
                    )
                } else {
                    format!(
                        "it may touch more than the share {most} of sessions that the operator allows"
                    )
                };
                let remedy = format!(
                    "scope = \"session\" and a probability of at most {:.3}",
                    (most - taken).max(0.0)
                );
                refuse("probability", message, remedy);
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Whether an action may lose, cut or forge anything. What is not known to be harmless is not.
fn is_destructive(action: ActionKind) -> bool {
    use ActionKind::{Latency, PushDelay, Slice, SlowClose, Throttle};
    !matches!(action, Latency | Throttle | Slice | SlowClose | PushDelay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(limits: &Limits, spec: &FaultSpec, touched: &[(&str, f64)]) -> Vec<String> {
        let errors = limits.check(spec, None, touched).err().unwrap_or_default();
        errors.into_iter().map(|e| e.path).collect()
    }

    fn session(action: ActionKind, probability: f64) -> FaultSpec {
        FaultSpec {
            scope: Some(Scope::Session),
            probability: Some(probability),
            ..FaultSpec::new(action)
        }
    }

    #[test]
    fn each_limit_is_kept() {
        let free = Limits::default();
        let stall = FaultSpec::new(ActionKind::Stall);
        assert!(paths(&free, &stall, &[("redis", 0.0)]).is_empty());
        let harmless = Limits {
            destructive: false,
            ..Limits::default()
        };
        assert_eq!(paths(&harmless, &stall, &[]), ["action"]);
        assert!(paths(&harmless, &FaultSpec::new(ActionKind::Latency), &[]).is_empty());
        let only = Limits {
            proxies: Some(vec!["redis*".into()]),
            ..Limits::default()
        };
        assert!(paths(&only, &stall, &[("redis-2", 0.0)]).is_empty());
        assert_eq!(
            paths(&only, &stall, &[("redis", 0.0), ("api", 0.0)]),
            ["proxy"]
        );
        let brief = Limits {
            max_ttl: Some(Duration::from_secs(60)),
            ..Limits::default()
        };
        let long = FaultSpec {
            ttl: Some(Duration::from_secs(61)),
            ..stall.clone()
        };
        assert_eq!(paths(&brief, &long, &[]), ["ttl"]);
        assert!(
            brief
                .check(&long, Some(Duration::from_secs(60)), &[])
                .is_ok()
        );
    }

    #[test]
    fn shares_add_up_on_a_proxy() {
        let half = Limits {
            max_share: Some(0.5),
            ..Limits::default()
        };
        let stall = |p| session(ActionKind::Stall, p);
        assert!(paths(&half, &stall(0.5), &[("a", 0.0)]).is_empty());
        assert_eq!(paths(&half, &stall(0.51), &[("a", 0.0)]), ["probability"]);
        assert_eq!(
            paths(&half, &stall(0.3), &[("a", 0.0), ("b", 0.3)]),
            ["probability"]
        );
        let exchanges = FaultSpec {
            probability: Some(0.01),
            ..FaultSpec::new(ActionKind::Stall)
        };
        assert_eq!(
            paths(&half, &exchanges, &[("a", 0.0)]),
            ["probability"],
            "of each session a few"
        );
    }
}
