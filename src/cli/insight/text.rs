//! Insights for people: one line a finding, and why where there is none.

use crate::insight::breaker::{Breaker, Opening};
use crate::insight::detection::Reaction;
use crate::insight::retries::{Backoff, Jitter};
use crate::insight::silence::Cause;
use crate::insight::timeout::{Manner, Waiting};
use crate::insight::{Dependency, Finding, Insights, Interval};
use std::fmt::Write;

/// Where the second column begins.
const COLUMN: usize = 18;

/// What is known of one dependency.
pub(crate) fn of_dependency(dependency: &Dependency) -> String {
    let mut text = String::new();
    one(&mut text, dependency);
    text.trim_start().to_owned()
}

/// All of it.
pub(super) fn render(insights: &Insights) -> String {
    let mut text = String::new();
    let api = insights.api.as_deref().unwrap_or("not seen");
    let _ = writeln!(
        text,
        "{:.1} s recorded, undisturbed for {:.1} s; API of the service: {api}",
        seconds(insights.length),
        seconds(insights.baseline.length().min(insights.length)),
    );
    for dependency in &insights.dependencies {
        one(&mut text, dependency);
    }
    text
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:COLUMN$}{value}");
}

/// What is known in its own words, else why it is not.
fn finding<T>(text: &mut String, name: &str, found: &Finding<T>, say: impl Fn(&T) -> String) {
    match &found.answer {
        Ok(value) => line(text, name, &say(value)),
        Err(unknown) => {
            line(text, name, &format!("not known: {}", unknown.reason));
            line(text, "", &format!("needed: {}", unknown.remedy));
        }
    }
}

fn interval<T: PartialEq + std::fmt::Display>(i: &Interval<T>) -> String {
    if i.low == i.high {
        i.low.to_string()
    } else {
        format!("{} to {}", i.low, i.high)
    }
}

fn one(text: &mut String, d: &Dependency) {
    let _ = writeln!(text, "\n{} ({})", d.proxy, d.protocol.name());
    let Some(affected) = d.affected else {
        line(text, "faults", "touched nothing here");
        return;
    };
    let (from, to) = (seconds(affected.from), seconds(affected.to));
    line(
        text,
        "faults",
        &format!("felt from {from:.2} s to {to:.2} s"),
    );
    for breaker in &d.breakers {
        breaker_lines(text, breaker);
    }
    finding(text, "noticed", &d.detection, |d| {
        let how = match d.reaction {
            Reaction::Told => "it was told",
            Reaction::GaveUp => "it gave up waiting",
            Reaction::Cancelled => "it cancelled the statement",
            Reaction::Answered => "it answered without waiting",
        };
        format!("after {:.3} s: {how}", d.first_seconds)
    });
    finding(text, "recovered", &d.recovery, |r| {
        format!(
            "after {:.2} s, then stable for {:.1} s",
            r.seconds, r.stable_seconds
        )
    });
    finding(text, "timeout", &d.timeout, |waiting| match waiting {
        Waiting::GivesUp(t) => {
            let how = match t.manner {
                Manner::Closes => "closes the connection",
                Manner::Cancels => "cancels the statement",
            };
            format!("{:.0} ms, then it {how}", t.ms)
        }
        Waiting::Without { longest_ms } => {
            format!("none that was reached: requests hung for {longest_ms:.0} ms")
        }
    });
    finding(text, "retries", &d.retries, |r| {
        let mut said = format!("{} attempts a call at most", interval(&r.most_attempts));
        if let Some(amplification) = r.amplification {
            let _ = write!(said, "; {amplification:.1} times the usual attempts");
        }
        match r.backoff {
            Some(Backoff::None) => said.push_str("; without a pause"),
            Some(Backoff::Fixed) => said.push_str("; after equal pauses"),
            Some(Backoff::Growing) => said.push_str("; after growing pauses"),
            None => {}
        }
        match r.jitter {
            Some(Jitter::None) => said.push_str(", all in step"),
            Some(Jitter::Weak) => said.push_str(", hardly spread"),
            Some(Jitter::Spread) => said.push_str(", well spread"),
            None => {}
        }
        said
    });
    finding(text, "cleaned up", &d.leftovers, |l| {
        if l.is_clean() {
            return "yes".into();
        }
        format!(
            "no: {} connections too many, {} stuck, {} transactions forgotten",
            l.extra_connections, l.stuck_connections, l.forgotten_transactions
        )
    });
    finding(text, "contained", &d.containment, |c| {
        let hurt = c
            .routes
            .iter()
            .filter(|r| r.suffered && r.needs_it == Some(false));
        let hurt: Vec<&str> = hurt.map(|r| r.route.as_str()).collect();
        match (c.contained, hurt.as_slice()) {
            (true, _) => "yes".into(),
            (false, []) => "no: other dependencies suffered".into(),
            (false, routes) => format!("no: {} suffered without need", routes.join(", ")),
        }
    });
    finding(text, "pool", &d.pool, |p| {
        format!(
            "{:.1} % of {} connections in use, {} at most",
            p.utilisation * 100.0,
            p.size,
            p.most_busy
        )
    });
    if let Ok(doubles) = &d.duplicates.answer {
        let said = format!(
            "{} changes were made untold, {} asked for again, {} done twice",
            doubles.untold, doubles.repeated, doubles.done_twice
        );
        line(text, "unknown outcomes", &said);
    }
}

fn breaker_lines(text: &mut String, breaker: &Breaker) {
    let name = breaker
        .process
        .map_or("breaker".to_owned(), |pid| format!("breaker of {pid}"));
    finding(text, &name, &breaker.opening, |opening| match opening {
        Opening::Opened { cause } => match cause {
            Cause::FallsBack => "opened; the service answered from elsewhere".into(),
            _ => "opened; the service said no at once".to_owned(),
        },
        Opening::StayedClosed { failures, .. } => {
            format!("none was seen, after {failures} failures in a row")
        }
    });
    if !matches!(breaker.opening.answer, Ok(Opening::Opened { .. })) {
        return;
    }
    finding(text, "  opens after", &breaker.threshold, |t| {
        format!("{} failures in a row", interval(t))
    });
    finding(text, "  stays open", &breaker.open_seconds, |o| {
        format!("{:.2} to {:.2} s", o.low, o.high)
    });
    finding(text, "  then tries", &breaker.probes, |p| match p.at_once {
        1 => "one call".into(),
        n => format!("{n} calls at once"),
    });
    finding(text, "  closes", &breaker.closing, |c| {
        format!("by itself, {:.2} s after the fault", c.after_seconds)
    });
    finding(text, "  fails fast", &breaker.fails_fast, |f| {
        format!(
            "p95 {:.2} ms, {:.2} ms more than an answer without a call",
            f.p95_ms, f.excess_p95_ms
        )
    });
}
