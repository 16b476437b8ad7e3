//! Why an exchange is hit, or is not: the questions that a plan asks, in its order, each with its answer.
//!
//! The tests hold it to [`Plan::decide`](super::Plan::decide): for any faults and any exchange both say the same.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::action::{DEFAULT_TTL, Effect};
use super::arguments::Request;
use super::compile::Fault;
use super::dice::{Dice, Draw, Purpose};
use super::gate::Gates;
use super::plan::Decision;
use super::schedule::State;
use super::spec::{Scope, Side};
use crate::protocol::{Class, Protocol};

/// The exchange that is asked about.
#[derive(Debug)]
pub struct Case<'a> {
    /// The proxy's name, and what is spoken there.
    pub proxy: &'a str,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The operation, as it is shown: `GET`, `COMMIT`, `GET /modules/{id}`.
    pub operation: &'a str,
    /// Its class.
    pub class: Class,
    /// Where the client is.
    pub client: Option<IpAddr>,
    /// Ordinal of the session on its proxy, from 0.
    pub session: u64,
    /// Ordinal of the exchange in its session, from 0.
    pub exchange: u64,
    /// Of bytes on plain TCP: which way they go. `None`: either way.
    pub side: Option<Side>,
    /// What is in the request, and what its session has said.
    pub request: Request<'a>,
}

/// A fault that is on, or would be.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: String,
    /// What it is.
    pub fault: &'a Fault,
    /// The seed of its draws; `None`: not known.
    pub seed: Option<u64>,
    /// The name under which it draws.
    pub draws_as: String,
    /// Time since it was switched on.
    pub age: Duration,
    /// How long it stays on.
    pub ttl: Option<Duration>,
    /// Exchanges that its gates `after` and `every` have counted before this one.
    pub offered: u64,
    /// Hits that its gate `first` has counted before this one.
    pub hits: u64,
    /// What its gates said to the session before, where that holds for all that it asks.
    pub answer: Option<bool>,
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is asked: `match.key`, `schedule`, `probability`.
    pub asked: String,
    /// Whether it lets the exchange through.
    pub holds: bool,
    /// What was compared with what.
    pub because: String,
}

/// What one fault says.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Its name.
    pub fault: String,
    /// Its action.
    pub action: &'static str,
    /// Whether it hits.
    pub hit: bool,
    /// The questions up to the first that it does not pass.
    pub steps: Vec<Step>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// What all of them say together.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Whether the exchange is hit.
    pub hit: bool,
    /// The faults, in the order in which they are asked.
    pub faults: Vec<Answer>,
    /// What becomes of the exchange.
    pub outcome: String,
}

/// A draw was needed, and the seed is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("whether `{0}` hits is a matter of its dice: give the seed")]
pub struct NoSeed(pub String);

/// Asks all of them, in this order.
///
/// # Errors
/// [`NoSeed`], where the answer depends on it.
pub fn explain(case: &mut Case<'_>, faults: &[Candidate<'_>]) -> Result<Explanation, NoSeed> {
    let mut whole = Whole::default();
    let mut answers = Vec::with_capacity(faults.len());
    for candidate in faults {
        let mut steps = Vec::new();
        let effect = ask(candidate, case, &mut whole, &mut steps)?;
        answers.push(Answer {
            fault: candidate.name.clone(),
            action: candidate.fault.spec().action.name(),
            hit: effect.is_some(),
            steps,
            effect,
        });
    }
    Ok(Explanation {
        hit: answers.iter().any(|answer| answer.hit),
        faults: answers,
        outcome: whole.outcome(),
    })
}

/// What the faults so far come to.
#[derive(Default)]
struct Whole {
    delays: Decision,
    /// The fault that ends the exchange, and its action.
    ended: Option<(String, &'static str)>,
    shaped: Vec<String>,
}

impl Whole {
    fn outcome(&self) -> String {
        let show = humantime::format_duration;
        let mut parts = Vec::new();
        let Decision {
            request_delay,
            reply_delay,
            reply_floor,
            ..
        } = &self.delays;
        if !request_delay.is_zero() {
            parts.push(format!("the request is held {}", show(*request_delay)));
        }
        if let Some((name, action)) = &self.ended {
            parts.push(format!("`{name}` ends it by `{action}`"));
        }
        if !reply_delay.is_zero() {
            parts.push(format!("the reply is held {}", show(*reply_delay)));
        }
        if !reply_floor.is_zero() {
            parts.push(format!("it takes at least {}", show(*reply_floor)));
        }
        parts.extend(self.shaped.iter().cloned());
        if parts.is_empty() {
            "it passes as it is".into()
        } else {
            parts.join(", ")
        }
    }
}

/// Adds a step; whether to go on.
fn step(steps: &mut Vec<Step>, asked: &str, holds: bool, because: impl Into<String>) -> bool {
    steps.push(Step {
        asked: asked.into(),
        holds,
        because: because.into(),
    });
    holds
}

/// Asks one fault. What it does, where it hits.
fn ask(
    candidate: &Candidate<'_>,
    case: &mut Case<'_>,
    whole: &mut Whole,
    steps: &mut Vec<Step>,
) -> Result<Option<String>, NoSeed> {
    let fault = candidate.fault;
    let pattern = &fault.spec().proxy;
    let acts = fault.acts_on(case.proxy);
    if !step(
        steps,
        "proxy",
        acts,
        format!("`{pattern}` and `{}`", case.proxy),
    ) {
        return Ok(None);
    }
    let effect = match fault.effect(case.protocol) {
        Ok(effect) => effect,
        Err(error) => {
            step(steps, "protocol", false, error.message);
            return Ok(None);
        }
    };
    if !effect.is_on_exchanges() {
        let because = "it acts on connections or messages, not on exchanges";
        step(steps, "exchange", false, because);
        return Ok(None);
    }
    if let Some(side) = case.side.filter(|side| !effect.is_on_side(*side)) {
        let because = format!("it does not act on what the {} sends", side.sender());
        step(steps, "on", false, because);
        return Ok(None);
    }
    let mut matches = true;
    for condition in fault.matcher().conditions(case) {
        matches &= condition.holds;
        steps.push(condition);
    }
    if !matches {
        return Ok(None);
    }
    let Some(strength) = in_force(candidate, steps) else {
        return Ok(None);
    };
    let ends = matches!(effect, Effect::End(_) | Effect::Capacity(..));
    if ends && let Some((name, action)) = &whole.ended {
        let because =
            format!("`{name}` has ended it by `{action}`; nothing that follows is counted");
        step(steps, "composition", false, because);
        return Ok(None);
    }
    let drawn = Drawn { candidate, case };
    if !drawn.in_ramp(matches!(effect, Effect::Delay(_)), strength, steps)?
        || !drawn.passes(fault.gates(), steps)?
    {
        return Ok(None);
    }
    drawn.act(&effect, strength, whole).map(Some)
}

/// How strongly it is in force; `None`: it is not.
fn in_force(candidate: &Candidate<'_>, steps: &mut Vec<Step>) -> Option<f64> {
    let show = |time: Duration| humantime::format_duration(time).to_string();
    let spec = candidate.fault.spec();
    let age = candidate.age;
    let ttl = candidate.ttl.or(spec.ttl).unwrap_or(DEFAULT_TTL);
    if age >= ttl {
        let because = format!("its time to live of {} is over at {}", show(ttl), show(age));
        step(steps, "ttl", false, because);
        return None;
    }
    let enabled = Instant::now();
    let state = candidate.fault.schedule().state(enabled, enabled + age);
    let on = state != State::Off;
    let schedule = spec.schedule.unwrap_or_default();
    let times = [
        ("start", schedule.start),
        ("duration", schedule.duration),
        ("repeat", schedule.repeat),
        ("ramp", schedule.ramp),
    ];
    let times: Vec<String> = times
        .into_iter()
        .filter_map(|(name, time)| Some(format!("{name} {}", show(time?))))
        .collect();
    let rule = if times.is_empty() {
        "always".to_owned()
    } else {
        times.join(", ")
    };
    let strength = match state {
        State::Off => 0.0,
        State::On(strength) => strength,
    };
    let because = format!("{rule}; at {} its strength is {strength:.2}", show(age));
    step(steps, "schedule", on, because).then_some(strength)
}

/// What is drawn for one fault and one exchange.
struct Drawn<'a> {
    candidate: &'a Candidate<'a>,
    case: &'a Case<'a>,
}

impl Drawn<'_> {
    fn dice(&self) -> Result<Dice, NoSeed> {
        let Candidate {
            seed,
            name,
            draws_as,
            ..
        } = self.candidate;
        let seed = seed.ok_or_else(|| NoSeed(name.clone()))?;
        Ok(Dice::new(seed, draws_as).on_proxy(self.case.proxy))
    }

    /// By the scope of the gates.
    fn draw(&self, purpose: Purpose) -> Result<Draw, NoSeed> {
        let dice = self.dice()?;
        Ok(match self.candidate.fault.gates().scope {
            Scope::Exchange => dice.exchange(self.case.session, self.case.exchange, purpose),
            Scope::Session => dice.session(self.case.session, purpose),
        })
    }

    fn in_ramp(&self, delays: bool, strength: f64, steps: &mut Vec<Step>) -> Result<bool, NoSeed> {
        if strength >= 1.0 {
            return Ok(true);
        }
        if delays {
            let because = format!("the delay is scaled to {strength:.2} of itself");
            return Ok(step(steps, "ramp", strength > 0.0, because));
        }
        let draw = self.draw(Purpose::Ramp)?;
        let because = format!("drew {:.4}, needs less than {strength:.4}", draw.uniform());
        Ok(step(steps, "ramp", draw.hits(strength), because))
    }

    fn passes(&self, gates: &Gates, steps: &mut Vec<Step>) -> Result<bool, NoSeed> {
        if let Some(answer) = self.candidate.answer.filter(|_| gates.remembers()) {
            let said = if answer {
                "it is hit"
            } else {
                "it is left alone"
            };
            let because = format!("session {} was asked before: {said}", self.case.session);
            return Ok(step(steps, "scope", answer, because));
        }
        let (offered, hits) = (self.candidate.offered, self.candidate.hits);
        let after = gates.after.unwrap_or(0);
        if let Some(after) = gates.after {
            let because = format!("the first {after} are left alone; {offered} came before");
            if !step(steps, "after", offered >= after, because) {
                return Ok(false);
            }
        }
        if let Some(every) = gates.every {
            let nth = offered.saturating_sub(after) + 1;
            let because = format!("every {every}th; this is number {nth}");
            if !step(steps, "every", nth.is_multiple_of(every), because) {
                return Ok(false);
            }
        }
        if let Some(probability) = gates.probability {
            let draw = self.draw(Purpose::Probability)?;
            let because = format!("drew {:.4}, needs less than {probability}", draw.uniform());
            if !step(steps, "probability", draw.hits(probability), because) {
                return Ok(false);
            }
        }
        if let Some(first) = gates.first {
            let because = format!("at most {first} hits; {hits} came before");
            if !step(steps, "first", hits < first, because) {
                return Ok(false);
            }
        }
        if let Some(limit) = gates.per_second {
            let because = format!("at most {limit} a second; taken as the first of its second");
            return Ok(step(steps, "per_second", limit > 0, because));
        }
        Ok(true)
    }

    /// What it does.
    fn act(&self, effect: &Effect, strength: f64, whole: &mut Whole) -> Result<String, NoSeed> {
        let spec = self.candidate.fault.spec();
        let name = &self.candidate.name;
        let action = spec.action.name();
        Ok(match effect {
            Effect::Delay(latency) => {
                let (session, exchange) = (self.case.session, self.case.exchange);
                let draw = match spec.delay {
                    // Nothing is drawn.
                    Some(super::spec::Delay::Fixed(_)) => Dice::new(0, ""),
                    _ => self.dice()?,
                };
                let draw = draw.exchange(session, exchange, Purpose::Delay);
                let mut own = Decision::default();
                latency.apply(draw, strength, &mut own);
                latency.apply(draw, strength, &mut whole.delays);
                let time = own.request_delay + own.reply_delay + own.reply_floor;
                format!("delays by {}", humantime::format_duration(time))
            }
            Effect::End(_) => {
                whole.ended = Some((name.clone(), action));
                format!("ends the exchange by `{action}`")
            }
            Effect::Capacity(..) => {
                let text =
                    format!("`{name}` lets it wait its turn, and ends it where the queue is full");
                whole.shaped.push(text.clone());
                text
            }
            _ => {
                whole
                    .shaped
                    .push(format!("`{name}` acts on it by `{action}`"));
                format!("acts by `{action}`")
            }
        })
    }
}

#[cfg(test)]
mod tests;
