//! What can be known before the run: whether the phases are long enough for what they are expected to show.

use super::expect::{Expected, Phases};
use super::load::{Load, Pace, Target};
use super::plan::{Ends, Phase, Test};
use super::written::Kind;
use crate::config::Problems;
use crate::config::locate::Document;
use std::time::Duration;

/// What can never be met, and why.
#[derive(Debug)]
pub(crate) struct Impossible {
    /// Where it stands, like `expect[2].p95`.
    pub(crate) field: String,
    /// With the length or rate that is needed.
    pub(crate) message: String,
}

/// Expectations that can never be met.
pub(crate) fn impossible(test: &Test) -> Vec<Impossible> {
    let mut problems = Vec::new();
    for expected in &test.expects {
        let messages = too_few_samples(test, expected)
            .into_iter()
            .chain(too_few_requests(test, expected))
            .chain(too_short(test, expected))
            .chain(too_few_steps(test, expected));
        problems.extend(messages.map(|message| Impossible {
            field: expected.field.clone(),
            message,
        }));
    }
    problems
}

/// The same, each with its place in the text from which the test was read.
pub(crate) fn refuse(test: &Test, text: &str, origin: &str) -> Result<(), Problems> {
    let mut document = Document::parse(text, origin)?;
    for Impossible { field, message } in impossible(test) {
        let remedy = "lengthen the phases, or leave the expectation out";
        document.report(&field, &message, remedy);
    }
    if document.is_clean() {
        Ok(())
    } else {
        Err(document.into_problems())
    }
}

/// Whether a phase is in the times that are meant, by its place.
fn is_meant(test: &Test, expected: &Expected, which: Phases, at: usize) -> bool {
    let phase = &test.phases[at];
    let is_fault = |p: &Phase| p.kind == Kind::Fault;
    let first = test.phases.iter().position(is_fault);
    let last = test.phases.iter().rposition(is_fault);
    match which {
        Phases::Before => phase.kind != Kind::WarmUp && first.is_none_or(|first| at < first),
        Phases::Fault => is_fault(phase),
        Phases::Disturbed => {
            first.is_some_and(|first| first <= at) && last.is_some_and(|last| at <= last)
        }
        Phases::Since => first.is_some_and(|first| first <= at),
        Phases::After => first.is_some_and(|first| first < at) && !is_fault(phase),
        Phases::Counted => counts(expected, phase),
        Phases::Around => {
            let counted = |p: &Phase| counts(expected, p);
            let from = test.phases.iter().position(counted);
            let to = test.phases.iter().rposition(counted);
            from.is_some_and(|from| from <= at) && to.is_some_and(|to| at <= to)
        }
    }
}

fn counts(expected: &Expected, phase: &Phase) -> bool {
    let named = &expected.scope.phases;
    if named.is_empty() {
        !matches!(phase.kind, Kind::WarmUp | Kind::Capacity)
    } else {
        named.contains(&phase.name)
    }
}

/// Requests that come in these phases at most, and their length in seconds; `None`: that cannot be known.
fn expectable(
    test: &Test,
    loads: &[&Load],
    is_meant: impl Fn(usize) -> bool,
) -> Option<(f64, f64)> {
    let (mut at, mut requests, mut seconds) = (0.0, 0.0, 0.0);
    for (place, phase) in test.phases.iter().enumerate() {
        match &phase.ends {
            Ends::After(length) => {
                let length = length.as_secs_f64();
                if is_meant(place) {
                    for load in loads {
                        requests += load.pace.between(at, at + length)?;
                    }
                    seconds += length;
                }
                at += length;
            }
            Ends::Samples(_) | Ends::Search(_) if is_meant(place) => return None,
            // When the phases behind it begin is not known: that matters where the rate changes.
            Ends::Samples(_) if !loads.iter().all(|load| is_steady(&load.pace)) => return None,
            Ends::Samples(_) | Ends::Search(_) => {}
        }
    }
    Some((requests, seconds))
}

fn too_few_samples(test: &Test, expected: &Expected) -> Option<String> {
    let needed = expected.what.samples();
    let loads: Vec<&Load> = match &expected.scope.lane {
        Some(lane) => test.loads.iter().filter(|l| l.lane == *lane).collect(),
        None if expected.scope.proxy.as_deref() == test.api() => to_api(test),
        None => return None,
    };
    if loads.is_empty() {
        return None;
    }
    // The count is of all lanes; with one it is what is needed.
    let counted = test.phases.iter().filter(|p| counts(expected, p));
    let too_low = counted.clone().find_map(|phase| match &phase.ends {
        Ends::Samples(samples) if *samples < needed => Some((phase, samples)),
        _ => None,
    });
    if let Some((phase, samples)) = too_low
        && test.loads.len() == 1
    {
        return Some(format!(
            "{} needs {needed} samples; phase {} ends after {samples}: say samples = {needed}",
            expected.what.target(),
            phase.name
        ));
    }
    let is_meant = |at: usize| is_meant(test, expected, Phases::Counted, at);
    let (requests, seconds) = expectable(test, &loads, is_meant)?;
    (requests < needed as f64).then(|| {
        format!(
            "{} needs {needed} samples; {}",
            expected.what.target(),
            more(needed, requests, seconds)
        )
    })
}

/// The load on the service's own API, of which all requests there come; a dependency is asked by others.
fn to_api(test: &Test) -> Vec<&Load> {
    let api = test.api();
    let to_api =
        |load: &&Load| matches!(&load.target, Target::Proxy(name) if Some(name.as_str()) == api);
    test.loads.iter().filter(to_api).collect()
}

/// What a verdict on the service needs of requests to its API, where all of them are ours and have a rate.
fn too_few_requests(test: &Test, expected: &Expected) -> Option<String> {
    let api = test.api()?;
    let loads = to_api(test);
    if loads.is_empty() {
        return None;
    }
    let mut needs = expected.what.requests().into_iter();
    needs.find_map(|(which, needed)| {
        let is_meant = |at: usize| is_meant(test, expected, which, at);
        let (requests, seconds) = expectable(test, &loads, is_meant)?;
        (requests < needed as f64).then(|| {
            format!(
                "{} needs {needed} requests to {api} in {}; {}",
                expected.what.target(),
                which.words(),
                more(needed, requests, seconds)
            )
        })
    })
}

/// "at 5/s there are 10 in 2 s: 6s is needed, or a higher rate".
fn more(needed: u64, requests: f64, seconds: f64) -> String {
    let rate = if seconds > 0.0 {
        requests / seconds
    } else {
        0.0
    };
    let remedy = if rate > 0.0 {
        let length = Duration::from_secs((needed as f64 / rate).ceil() as u64);
        format!(
            "{} is needed, or a higher rate",
            humantime::format_duration(length)
        )
    } else {
        "a phase that counts is needed".to_owned()
    };
    format!(
        "at {}/s there are {requests:.0} in {seconds:.0} s: {remedy}",
        (rate * 1000.0).round() / 1000.0,
    )
}

fn is_steady(pace: &Pace) -> bool {
    !matches!(pace, Pace::Open(schedule) if schedule.rate().is_none())
}

/// The declared rate and the wanted one have to fit into the time for the search.
fn too_few_steps(test: &Test, expected: &Expected) -> Option<String> {
    let wanted = expected.what.headroom()?;
    let steps = test.phases.iter().find_map(|phase| match &phase.ends {
        Ends::Search(steps) => Some(steps),
        _ => None,
    })?;
    let hold = |factor: f64| {
        steps.holds(test.loads.iter().filter_map(|load| match &load.pace {
            Pace::Open(schedule) => Some((schedule.rate()? * factor, load.search?.samples())),
            _ => None,
        }))
    };
    // A rate that is not kept is tried twice.
    let needed = hold(1.0) + 2 * hold(wanted);
    (needed > steps.within).then(|| {
        let seconds = Duration::from_secs(needed.as_secs_f64().ceil() as u64);
        format!(
            "{} needs {} of a phase of kind capacity, which is how long its rates have to be held for their \
             samples; there are {}",
            expected.what.target(),
            humantime::format_duration(seconds),
            humantime::format_duration(steps.within),
        )
    })
}

fn too_short(test: &Test, expected: &Expected) -> Option<String> {
    let (which, needed) = expected.what.time()?;
    let mut length = Duration::ZERO;
    for (at, phase) in test.phases.iter().enumerate() {
        if !is_meant(test, expected, which, at) {
            continue;
        }
        match &phase.ends {
            Ends::After(time) => length += *time,
            Ends::Samples(_) => return None,
            // It ends when it likes.
            Ends::Search(steps) if which == Phases::Around => length += steps.within,
            Ends::Search(_) => {}
        }
    }
    (length < needed).then(|| {
        format!(
            "{} needs {} of {}; there are {}",
            expected.what.target(),
            humantime::format_duration(needed),
            which.words(),
            humantime::format_duration(length),
        )
    })
}
