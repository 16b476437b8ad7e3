//! What can be known before the run: whether the phases are long enough for what they are expected to show.

use super::expect::{Expected, Phases};
use super::load::Pace;
use super::plan::{Ends, Test};
use super::written::Kind;
use std::time::Duration;

/// Expectations that can never be met, each with the length or rate that is needed.
pub(crate) fn impossible(test: &Test) -> Vec<String> {
    let mut problems = Vec::new();
    for expected in &test.expects {
        problems.extend(too_few_samples(test, expected));
        problems.extend(too_short(test, expected));
    }
    problems
}

fn too_few_samples(test: &Test, expected: &Expected) -> Option<String> {
    let needed = expected.what.samples();
    let lane = expected.scope.lane.as_ref()?;
    let load = test.loads.iter().find(|l| l.lane == *lane)?;
    let phases = test.phases.iter().filter(|p| {
        let named = &expected.scope.phases;
        if named.is_empty() {
            p.kind != Kind::WarmUp
        } else {
            named.contains(&p.name)
        }
    });
    let mut seconds = 0.0;
    for phase in phases {
        match phase.ends {
            Ends::After(length) => seconds += length.as_secs_f64(),
            // The count is of all lanes; with one it is what is needed.
            Ends::Samples(samples) if test.loads.len() == 1 && samples < needed => {
                return Some(format!(
                    "{}: {} needs {needed} samples; phase {} ends after {samples}: say samples = {needed}",
                    expected.field,
                    expected.what.target(),
                    phase.name
                ));
            }
            Ends::Samples(_) => return None,
        }
    }
    let Pace::Open(rate) = load.pace else {
        return None;
    };
    let expectable = rate * seconds;
    (expectable < needed as f64).then(|| {
        let length = Duration::from_secs((needed as f64 / rate).ceil() as u64);
        format!(
            "{}: {} needs {needed} samples; at {rate}/s there are {expectable:.0} in {seconds:.0} s: \
             {} is needed, or a higher rate",
            expected.field,
            expected.what.target(),
            humantime::format_duration(length),
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
        match phase.ends {
            Ends::After(time) => length += time,
            Ends::Samples(_) => return None,
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
