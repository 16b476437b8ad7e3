//! From what was written to a [`Fault`] whose wrong states cannot be expressed; or to everything that is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use super::action::{self, Action, DEFAULT_TTL, Effect, MAX_TTL};
use super::gate::Gates;
use super::glob::Glob;
use super::matcher::{Matcher, glob};
use super::problems::{Problems, join, listed};
use super::schedule::Schedule;
use super::spec::{ActionKind, FaultSpec, FieldError, ScheduleSpec};
use crate::protocol::Protocol;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// A fault that was checked.
#[derive(Debug, Clone)]
pub struct Fault {
    spec: Arc<FaultSpec>,
    path: Arc<str>,
    proxies: Glob,
    action: Action,
    matcher: Matcher,
    gates: Gates,
    schedule: Schedule,
}

impl Fault {
    /// As it was written.
    pub fn spec(&self) -> &Arc<FaultSpec> {
        &self.spec
    }

    /// Its name, where one was given.
    pub fn name(&self) -> Option<&str> {
        self.spec.name.as_deref()
    }

    /// What it does.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Which exchanges it is about.
    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    /// How often it hits.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// When it is in force.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Whether it acts on the proxy of this name.
    pub fn acts_on(&self, proxy: &str) -> bool {
        self.proxies.matches(proxy.as_bytes())
    }

    /// Whether it can mean something on this protocol. A fault whose `proxy` is a glob is left out of the plans of the others.
    ///
    /// # Errors
    /// The field that is at odds with the protocol.
    pub fn applies_to(&self, protocol: Protocol) -> Result<(), FieldError> {
        self.effect(protocol).map(drop)
    }

    /// What it comes to on this protocol.
    pub(super) fn effect(&self, protocol: Protocol) -> Result<Effect, FieldError> {
        if let Some((field, message)) = self.matcher.foreign_to(protocol) {
            return Err(FieldError {
                path: join(&self.path, field),
                message: message.into(),
                remedy: format!("leave it out for a proxy that speaks {}", protocol.name()),
            });
        }
        if let Some(unmet) = self.matcher.unmet_on(protocol) {
            return Err(FieldError {
                path: join(&self.path, unmet.field),
                message: unmet.message,
                remedy: unmet.remedy,
            });
        }
        let effect = self.action.effect(protocol);
        let named = !self.spec.matching.client_name.is_empty();
        if let (Ok(effect), true, Protocol::Http) = (&effect, named, protocol)
            && !effect.is_on_exchanges()
        {
            return Err(FieldError {
                path: join(&self.path, "match.client_name"),
                message: "the `User-Agent` belongs to a request, and this acts on connections"
                    .into(),
                remedy: "leave it out, or write match.client".into(),
            });
        }
        effect.map_err(|wrong| FieldError {
            path: join(&self.path, wrong.field),
            message: wrong.message,
            remedy: wrong.remedy,
        })
    }
}

impl FaultSpec {
    /// Checks it, alone: whether it fits a proxy's protocol is asked of the result ([`Fault::applies_to`]).
    ///
    /// # Errors
    /// Everything that is wrong, each with its path below `path_prefix` (`fault[2]`; may be empty).
    pub fn compile(&self, path_prefix: &str) -> Result<Fault, Vec<FieldError>> {
        let mut problems = Problems::new(path_prefix);
        check_name(self, &mut problems);
        check_parameters(self, &mut problems);
        action::check_channel(self, &mut problems);
        let proxies = glob(&self.proxy, "proxy", Glob::new, &mut problems);
        let action = self.action.compile(self, &mut problems);
        let matcher = Matcher::compile(&self.matching, &mut problems);
        let gates = gates(self, &mut problems);
        let schedule = schedule(self, &mut problems);
        check_lifetime(self, &mut problems);
        problems.finish()?;
        let (Some(proxies), Some(action)) = (proxies, action) else {
            // Each of them adds a problem where it yields nothing, so this is never reached; an empty list would say "fine".
            return Err(vec![FieldError {
                path: path_prefix.into(),
                message: "the fault cannot be used".into(),
                remedy: "report this as a defect".into(),
            }]);
        };
        let fault = Fault {
            spec: Arc::new(self.clone()),
            path: path_prefix.into(),
            proxies,
            action,
            matcher,
            gates,
            schedule,
        };
        fault.means_something().map_err(|error| vec![error])?;
        Ok(fault)
    }
}

impl Fault {
    /// Whether there is a protocol on which it can hit something.
    fn means_something(&self) -> Result<(), FieldError> {
        use Protocol::{Http, Postgres, Redis, Tcp};
        let mut told = None;
        for protocol in [Redis, Postgres, Http, Tcp] {
            let Err(error) = self.effect(protocol) else {
                return Ok(());
            };
            // Told is what is wrong on the first protocol that has the action; rather where it has the operation, or nearly.
            let fits = u8::from(self.action.effect(protocol).is_ok());
            let near = match self.matcher.unmet_on(protocol) {
                _ if self.matcher.foreign_to(protocol).is_some() => 0,
                Some(unmet) if unmet.field == "match.class" => 3,
                Some(unmet) => 1 + u8::from(unmet.is_near),
                None => 0,
            };
            let rank = fits * (1 + near);
            if told.as_ref().is_none_or(|(best, _)| *best < rank) {
                told = Some((rank, error));
            }
        }
        told.map_or(Ok(()), |(_, error)| Err(error))
    }
}

fn check_name(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let Some(name) = &spec.name else { return };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        problems.add(
            "name",
            format!("`{name}` cannot be a name"),
            format!("write 1 to {MAX_NAME} letters, digits, dots, hyphens or underscores"),
        );
    }
}

/// Keys of other actions.
fn check_parameters(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let own = spec.action.parameters();
    for name in action::given(spec).filter(|name| !own.contains(name)) {
        let owners = ActionKind::ALL
            .into_iter()
            .filter(|kind| kind.parameters().contains(&name));
        problems.add(
            name,
            format!("`{name}` does not belong to `{}`", spec.action.name()),
            format!(
                "it belongs to {}; `{}` takes {}",
                listed(owners.map(ActionKind::name)),
                spec.action.name(),
                listed(own.iter().copied())
            ),
        );
    }
}

fn gates(spec: &FaultSpec, problems: &mut Problems<'_>) -> Gates {
    if let Some(probability) = spec.probability
        && !(0.0..=1.0).contains(&probability)
    {
        problems.add(
            "probability",
            format!("{probability} is not a probability"),
            "write a number from 0 to 1, like 0.1",
        );
    }
    let counts = [
        ("every", spec.every),
        ("first", spec.first),
        ("per_second", spec.per_second.map(u64::from)),
    ];
    for (field, _) in counts.into_iter().filter(|(_, count)| *count == Some(0)) {
        problems.add(
            field,
            "zero would never hit anything",
            "write a number from 1 up, or leave it out",
        );
    }
    Gates {
        probability: spec.probability,
        every: spec.every,
        first: spec.first,
        after: spec.after,
        per_second: spec.per_second,
        scope: spec.scope.unwrap_or_default(),
    }
}

fn schedule(spec: &FaultSpec, problems: &mut Problems<'_>) -> Schedule {
    let Some(spec) = spec.schedule else {
        return Schedule::default();
    };
    let ScheduleSpec {
        start,
        duration,
        repeat,
        ramp,
    } = spec;
    if let Some(start) = start {
        problems.check_most("schedule.start", start, MAX_TTL);
    }
    for (field, value) in [
        ("schedule.duration", duration),
        ("schedule.repeat", repeat),
        ("schedule.ramp", ramp),
    ] {
        if let Some(value) = value {
            problems.check_duration(field, value, MAX_TTL);
        }
    }
    match (duration, repeat) {
        (None, Some(_)) => problems.add(
            "schedule.repeat",
            "`repeat` needs `duration`: what never ends cannot begin again",
            "add duration = \"5s\", less than `repeat`",
        ),
        (Some(duration), Some(repeat)) if repeat <= duration => problems.add(
            "schedule.repeat",
            "it would begin again before it has ended",
            "write a `repeat` above `duration`, or leave it out",
        ),
        _ => {}
    }
    if let (Some(ramp), Some(duration)) = (ramp, duration)
        && ramp > duration
    {
        problems.add(
            "schedule.ramp",
            "the ramp is longer than `duration`: full strength is never reached",
            "write a `ramp` of at most `duration`",
        );
    }
    Schedule {
        start: start.unwrap_or_default(),
        duration,
        repeat,
        ramp: ramp.unwrap_or_default(),
    }
}

fn check_lifetime(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let start = spec.schedule.and_then(|schedule| schedule.start);
    if let Some(ttl) = spec.ttl {
        problems.check_duration("ttl", ttl, MAX_TTL);
        if start.is_some_and(|start: Duration| start >= ttl) {
            problems.add(
                "schedule.start",
                "it would come into force when its time to live is over",
                "write a `start` below `ttl`",
            );
        }
    } else if start.is_some_and(|start| (DEFAULT_TTL..=MAX_TTL).contains(&start)) {
        let usual = humantime::format_duration(DEFAULT_TTL);
        problems.add(
            "schedule.start",
            format!("without a `ttl` its time to live is {usual}, and it would come into force when that is over"),
            "add a `ttl` above it",
        );
    }
    if spec.seed.is_some_and(|seed| i64::try_from(seed).is_err()) {
        // TOML has no larger integers: such a fault could not be written down again.
        problems.add(
            "seed",
            "the seed is too large",
            "write a number from 0 to 9223372036854775807",
        );
    }
}

#[cfg(test)]
mod tests;
