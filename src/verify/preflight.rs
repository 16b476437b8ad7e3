//! What can be known before the run: whether the phases are long enough for what they are expected to show.

use super::expect::{Expected, Phases};
use super::load::Pace;
use super::plan::{Ends, Phase, Test};
use super::written::Kind;
use std::time::Duration;

/// Expectations that can never be met, each with the length or rate that is needed.
pub(crate) fn impossible(test: &Test) -> Vec<String> {
    let mut problems = Vec::new();
    for expected in &test.expects {
        problems.extend(too_few_samples(test, expected));
        problems.extend(too_short(test, expected));
        problems.extend(too_few_steps(test, expected));
    }
    problems
}

fn too_few_samples(test: &Test, expected: &Expected) -> Option<String> {
    let needed = expected.what.samples();
    let lane = expected.scope.lane.as_ref()?;
    let load = test.loads.iter().find(|l| l.lane == *lane)?;
    let counts = |phase: &Phase| {
        let named = &expected.scope.phases;
        if named.is_empty() {
            !matches!(phase.kind, Kind::WarmUp | Kind::Capacity)
        } else {
            named.contains(&phase.name)
        }
    };
    let (mut at, mut expectable, mut seconds) = (0.0, 0.0, 0.0);
    for phase in &test.phases {
        match &phase.ends {
            Ends::After(length) => {
                let length = length.as_secs_f64();
                if counts(phase) {
                    expectable += load.pace.between(at, at + length)?;
                    seconds += length;
                }
                at += length;
            }
            // The count is of all lanes; with one it is what is needed.
            Ends::Samples(samples)
                if counts(phase) && test.loads.len() == 1 && *samples < needed =>
            {
                return Some(format!(
                    "{}: {} needs {needed} samples; phase {} ends after {samples}: say samples = {needed}",
                    expected.field,
                    expected.what.target(),
                    phase.name
                ));
            }
            Ends::Samples(_) | Ends::Search(_) if counts(phase) => return None,
            // When the phases behind it begin is not known: that matters where the rate changes.
            Ends::Samples(_) if !is_steady(&load.pace) => return None,
            Ends::Samples(_) | Ends::Search(_) => {}
        }
    }
    (expectable < needed as f64).then(|| {
        let rate = expectable / seconds;
        let remedy = if rate > 0.0 {
            let length = Duration::from_secs((needed as f64 / rate).ceil() as u64);
            format!("{} is needed, or a higher rate", humantime::format_duration(length))
        } else {
            "a phase that counts is needed".to_owned()
        };
        format!(
            "{}: {} needs {needed} samples; at {}/s there are {expectable:.0} in {seconds:.0} s: {remedy}",
            expected.field,
            expected.what.target(),
            (rate * 1000.0).round() / 1000.0,
        )
    })
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
            "{}: {} needs {} of a phase of kind capacity, which is how long its rates have to be held for their \
             samples; there are {}",
            expected.field,
            expected.what.target(),
            humantime::format_duration(seconds),
            humantime::format_duration(steps.within),
        )
    })
}

fn too_short(test: &Test, expected: &Expected) -> Option<String> {
    let (which, needed) = expected.what.time()?;
    let fault = test.phases.iter().position(|p| p.kind == Kind::Fault);
    let chosen = test
        .phases
        .iter()
        .enumerate()
        .filter(|(at, phase)| match which {
            Phases::Fault => phase.kind == Kind::Fault,
            Phases::After => fault.is_some_and(|f| *at > f) && phase.kind != Kind::Fault,
        });
    let mut length = Duration::ZERO;
    for (_, phase) in chosen {
        match &phase.ends {
            Ends::After(time) => length += *time,
            Ends::Samples(_) => return None,
            Ends::Search(_) => {}
        }
    }
    (length < needed).then(|| {
        format!(
            "{}: {} needs {} of {}; there are {}",
            expected.field,
            expected.what.target(),
            humantime::format_duration(needed),
            match which {
                Phases::Fault => "fault phases",
                Phases::After => "phases after the fault",
            },
            humantime::format_duration(length),
        )
    })
}
