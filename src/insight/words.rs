//! Findings in words: one line a finding, and why where there is none.

use super::breaker::{Breaker, Opening};
use super::cleanup::Leftovers;
use super::containment::Containment;
use super::detection::Reaction;
use super::reconnect::Reconnects;
use super::retries::{Backoff, Jitter, Retries};
use super::silence::Cause;
use super::timeout::{Manner, Waiting};
use super::{Dependency, Finding, Interval, SECOND};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write;

/// A finding in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// What it is about, like `retries`.
    pub subject: String,
    /// Whether it belongs to the breaker above it.
    pub nested: bool,
    /// What is known, else why nothing is.
    pub said: String,
    /// What would have to be otherwise for it to be known; none where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Observations that it rests on; none where it counts nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
}

impl Line {
    fn known(subject: &str, said: impl Into<String>, samples: Option<u64>) -> Self {
        Self {
            subject: subject.into(),
            nested: false,
            said: said.into(),
            remedy: None,
            samples,
        }
    }

    fn tells_as(&self, other: &Self) -> bool {
        let Self {
            nested,
            said,
            remedy,
            samples,
            ..
        } = self;
        (nested, said, remedy, samples)
            == (&other.nested, &other.said, &other.remedy, &other.samples)
    }

    fn of<T>(subject: &str, found: &Finding<T>, say: impl FnOnce(&T) -> String) -> Self {
        let samples = Some(found.evidence.samples);
        match &found.answer {
            Ok(value) => Self::known(subject, say(value), samples),
            Err(unknown) => Self {
                remedy: Some(unknown.remedy.clone()),
                ..Self::known(subject, unknown.reason.clone(), samples)
            },
        }
    }
}

fn finding<T>(
    lines: &mut Vec<Line>,
    subject: &str,
    found: &Finding<T>,
    say: impl FnOnce(&T) -> String,
) {
    lines.push(Line::of(subject, found, say));
}

fn nested<T>(
    lines: &mut Vec<Line>,
    subject: &str,
    found: &Finding<T>,
    say: impl FnOnce(&T) -> String,
) {
    lines.push(Line {
        nested: true,
        ..Line::of(subject, found, say)
    });
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND as f64
}

fn counted(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

fn interval<T: PartialEq + std::fmt::Display>(i: &Interval<T>) -> String {
    if i.low == i.high {
        i.low.to_string()
    } else {
        format!("{} to {}", i.low, i.high)
    }
}

/// What is not known for one and the same reason, in one line.
pub fn together(lines: Vec<Line>) -> Vec<Line> {
    let mut joined: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        match joined.last_mut() {
            Some(last) if line.remedy.is_some() && last.tells_as(&line) => {
                last.subject = format!("{}, {}", last.subject, line.subject);
            }
            _ => joined.push(line),
        }
    }
    joined
}

/// What is known of one dependency, each subject a line.
pub fn of(d: &Dependency) -> Vec<Line> {
    let mut lines = Vec::new();
    let Some(affected) = d.affected else {
        return vec![Line::known("faults", "touched nothing here", None)];
    };
    let (from, to) = (seconds(affected.from), seconds(affected.to));
    let felt = format!("felt from {from:.2} s to {to:.2} s");
    lines.push(Line::known("faults", felt, None));
    for breaker in &d.breakers {
        of_breaker(&mut lines, breaker);
    }
    finding(&mut lines, "noticed", &d.detection, |d| {
        let how = match d.reaction {
            Reaction::Told => "it was told",
            Reaction::GaveUp => "it gave up waiting",
            Reaction::Cancelled => "it cancelled the statement",
            Reaction::WentOn => "it went on without waiting",
            Reaction::Answered => "it answered without waiting",
        };
        format!("after {:.3} s: {how}", d.first_seconds)
    });
    finding(&mut lines, "recovered", &d.recovery, |r| {
        format!(
            "after {:.2} s, then stable for {:.1} s",
            r.seconds, r.stable_seconds
        )
    });
    finding(&mut lines, "timeout", &d.timeout, |waiting| match waiting {
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
    finding(&mut lines, "retries", &d.retries, in_words);
    finding(&mut lines, "reconnects", &d.reconnects, coming_back);
    finding(&mut lines, "cleaned up", &d.leftovers, cleaned_up);
    finding(&mut lines, "contained", &d.containment, contained);
    finding(&mut lines, "pool", &d.pool, |p| {
        format!(
            "{:.1} % of {} in use, {} at most",
            p.utilisation * 100.0,
            counted(p.size, "connection"),
            p.most_busy
        )
    });
    if let Ok(doubles) = &d.duplicates.answer {
        let said = format!(
            "{} changes were made untold, {} asked for again, {} done twice",
            doubles.untold, doubles.repeated, doubles.done_twice
        );
        lines.push(Line::known(
            "unknown outcomes",
            said,
            Some(d.duplicates.evidence.samples),
        ));
    }
    lines
}

fn cleaned_up(l: &Leftovers) -> String {
    if l.is_clean() {
        return "yes".into();
    }
    let kept = l.stuck_connections + l.forgotten_transactions;
    if kept == 0 && !l.extra_is_certain {
        return format!(
            "perhaps not: {} more than before, which a pool of unknown size may have grown by",
            counted(l.extra_connections, "connection")
        );
    }
    let perhaps = if l.extra_connections > 0 && !l.extra_is_certain {
        "perhaps "
    } else {
        ""
    };
    format!(
        "no: {perhaps}{} connections too many, {} stuck, {} transactions forgotten",
        l.extra_connections, l.stuck_connections, l.forgotten_transactions
    )
}

fn contained(c: &Containment) -> String {
    let hurt = |otherwise: bool| -> Vec<&str> {
        let routes = c.routes.iter();
        let hurt = routes
            .filter(|r| r.suffered && r.needs_it == Some(false) && r.hit_otherwise == otherwise);
        hurt.map(|r| r.route.as_str()).collect()
    };
    let mut said = String::from(if c.contained { "yes" } else { "no" });
    let routes = hurt(false);
    if !c.contained {
        let gone = format!(
            "the service itself could not be reached {} times",
            c.unreached
        );
        let _ = match (routes.as_slice(), c.unreached) {
            ([], 0) => write!(said, ": other dependencies suffered"),
            ([], _) => write!(said, ": {gone}"),
            (routes, 0) => write!(said, ": {} suffered without need", routes.join(", ")),
            (routes, _) => write!(
                said,
                ": {} suffered without need; {gone}",
                routes.join(", ")
            ),
        };
    }
    let others = hurt(true);
    if !others.is_empty() {
        let _ = write!(
            said,
            "; {} suffered, which another fault may be why of",
            others.join(", ")
        );
    }
    said
}

fn in_words(r: &Retries) -> String {
    let most = &r.most_attempts;
    let attempts = if most.high == 1 {
        "attempt"
    } else {
        "attempts"
    };
    let mut said = format!("{} {attempts} a call at most", interval(most));
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
}

fn coming_back(r: &Reconnects) -> String {
    let how = if r.storm { "all at once" } else { "one by one" };
    let mut said = format!(
        "{how}: {} in the fullest 100 ms ({:.0} %)",
        counted(r.peak, "new connection"),
        r.peak_share * 100.0
    );
    if let Some(rate) = r.rate_over_baseline {
        let _ = write!(said, "; {rate:.1} times the usual rate");
    }
    said
}

fn of_breaker(lines: &mut Vec<Line>, breaker: &Breaker) {
    let name = breaker.process.map_or("breaker".to_owned(), |pid| {
        format!("breaker of process {pid}")
    });
    finding(lines, &name, &breaker.opening, |opening| match opening {
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
    nested(lines, "opens after", &breaker.threshold, |t| {
        let failures = format!("{} failures in a row", interval(t));
        match breaker.breakers {
            Some(_) => failures,
            None => format!(
                "{failures} of all processes together: how many they are is not known, and one alone may take fewer"
            ),
        }
    });
    nested(lines, "stays open", &breaker.open_seconds, |o| {
        format!("{:.2} to {:.2} s", o.low, o.high)
    });
    nested(lines, "then tries", &breaker.probes, |p| match p.at_once {
        1 => "one call".into(),
        n => format!("{n} calls at once"),
    });
    nested(lines, "closes", &breaker.closing, |c| {
        format!("by itself, {:.2} s after the fault", c.after_seconds)
    });
    nested(lines, "fails fast", &breaker.fails_fast, |f| {
        format!(
            "p95 {:.2} ms, {:.2} ms more than an answer without a call",
            f.p95_ms, f.excess_p95_ms
        )
    });
}

#[cfg(test)]
mod tests {
    use super::super::containment::Route;
    use super::*;

    fn open(subject: &str, said: &str) -> Line {
        Line {
            remedy: Some("more load".into()),
            ..Line::known(subject, said, Some(0))
        }
    }

    #[test]
    fn a_pool_that_may_have_grown_is_no_certain_leftover() {
        let mut left = Leftovers {
            extra_connections: 3,
            connections_before: 2,
            connections_after: 7,
            extra_is_certain: false,
            stuck_connections: 0,
            forgotten_transactions: 0,
        };
        assert!(cleaned_up(&left).starts_with("perhaps not: 3 connections"));
        left.extra_is_certain = true;
        assert!(cleaned_up(&left).starts_with("no: 3 connections"));
    }

    #[test]
    fn damage_is_named_for_what_it_was() {
        let route = |hit_otherwise| Route {
            route: "GET /health".into(),
            needs_it: Some(false),
            requests: [100, 100],
            error_rate: [None, None],
            p95_ms: [None, None],
            suffered: true,
            hit_otherwise,
        };
        let mut found = Containment {
            contained: false,
            routes: Vec::new(),
            others: Vec::new(),
            unreached: 7,
        };
        assert!(contained(&found).contains("could not be reached 7 times"));
        found.unreached = 0;
        assert!(contained(&found).contains("other dependencies"));
        found.routes = vec![route(true)];
        let said = contained(&found);
        assert!(!said.contains("without need"), "{said}");
        assert!(said.contains("another fault"), "{said}");
        found.routes = vec![route(false)];
        let said = contained(&found);
        assert_eq!(said, "no: GET /health suffered without need");
    }

    #[test]
    fn one_reason_is_given_once() {
        let known = Line::known("pool", "1 at most", Some(3));
        let lines = vec![
            open("timeout", "too busy"),
            open("retries", "too busy"),
            open("contained", "nobody asked"),
            known.clone(),
            known.clone(),
            open("noticed", "too busy"),
        ];
        let joined = together(lines);
        let subjects: Vec<&str> = joined.iter().map(|l| l.subject.as_str()).collect();
        let wanted = ["timeout, retries", "contained", "pool", "pool", "noticed"];
        assert_eq!(subjects, wanted);
        assert_eq!(joined[0].said, "too busy");
    }
}
