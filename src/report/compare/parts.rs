//! What is there in one report and not in the other, and verdicts that changed: no limit makes that small.

use super::machine;
use super::{Change, Kind, LEAST};
use crate::report::Suite;
use crate::report::suite::Broken;
use crate::report::traffic::{Operation, Traffic};
use crate::verify::document::{Document, Row};
use crate::verify::verdict::{Counts, Standing};
use std::collections::BTreeMap;

/// A part of one report.
#[derive(Debug, Clone, Copy)]
enum Part<'s> {
    Ran(&'s Document),
    CouldNot(&'s Broken),
}

/// Parts by name; those that have one in common by their order.
fn parts(suite: &Suite) -> BTreeMap<(&str, usize), Part<'_>> {
    let ran = suite
        .runs
        .iter()
        .map(|run| (run.profile.as_str(), Part::Ran(run)));
    let not = suite
        .errors
        .iter()
        .map(|broken| (broken.profile.as_str(), Part::CouldNot(broken)));
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (name, part) in ran.chain(not) {
        let time = times.entry(name).or_default();
        found.insert((name, *time), part);
        *time += 1;
    }
    found
}

/// Parts that ran in both, and what is to be said of the others; how many parts both have, run or not.
pub(super) fn pairs<'s>(
    before: &'s Suite,
    after: &'s Suite,
) -> (Vec<(&'s Document, &'s Document)>, Vec<Change>, usize) {
    let (then, now) = (parts(before), parts(after));
    let (mut both, mut changes, mut common) = (Vec::new(), Vec::new(), 0);
    for (key, old) in &then {
        let new = now.get(key);
        common += usize::from(new.is_some());
        let (told, worse) = match (old, new) {
            (Part::Ran(old), Some(Part::Ran(new))) => {
                both.push((*old, *new));
                continue;
            }
            (Part::CouldNot(_), Some(Part::CouldNot(_)) | None) => continue,
            (Part::Ran(old), Some(Part::CouldNot(new))) => (
                format!("{} -> could not be run: {}", old.result, new.why),
                true,
            ),
            (Part::Ran(old), None) => (format!("{} -> not there", old.result), true),
            (Part::CouldNot(_), Some(Part::Ran(new))) => {
                (format!("could not be run -> {}", new.result), false)
            }
        };
        changes.push(Change::sure(key.0, told, worse));
    }
    for (key, new) in now.iter().filter(|(key, _)| !then.contains_key(key)) {
        changes.push(match new {
            Part::CouldNot(new) => Change::sure(
                key.0,
                format!("not there -> could not be run: {}", new.why),
                true,
            ),
            Part::Ran(new) => {
                let worse = new.result >= Counts::Failed;
                let told = format!("not there -> {}", new.result);
                if worse {
                    Change::sure(key.0, told, true)
                } else {
                    Change::note(key.0, told)
                }
            }
        });
    }
    (both, changes, common)
}

/// What a guard stopped, or stops no more.
pub(super) fn stopped(old: &Document, new: &Document) -> Option<Change> {
    let (told, worse) = match (&old.stopped, &new.stopped) {
        (None, Some(why)) => (format!("came to its end -> stopped early: {why}"), true),
        (Some(_), None) => ("stopped early -> came to its end".to_owned(), false),
        _ => return None,
    };
    Some(Change::sure(&new.profile, told, worse))
}

/// The field of what says that a fault did nothing; its number moves when one is added.
const IDLE: &str = "fault[";

/// What an expectation is known by: its place among others moves when one is added.
type Key<'r> = (&'r str, &'r str, &'r [String], usize);

fn rows(run: &Document) -> BTreeMap<Key<'_>, &Row> {
    let mut found = BTreeMap::new();
    for row in &run.expectations {
        let key = match row.field.rsplit('.').next().unwrap_or_default() {
            fault if fault.starts_with(IDLE) => IDLE,
            key => key,
        };
        let mut of = (row.component.as_str(), key, row.phases.as_slice(), 0);
        while found.contains_key(&of) {
            of.3 += 1;
        }
        found.insert(of, row);
    }
    found
}

/// Expectations that stand otherwise than before, or are gone.
pub(super) fn verdicts(old: &Document, new: &Document) -> Vec<Change> {
    let (then, now) = (rows(old), rows(new));
    let mut changes = Vec::new();
    for (key, was) in &then {
        if let Some(is) = now.get(key) {
            changes.extend(verdict((old, was), (new, is)));
        } else {
            changes.push(if key.1 == IDLE {
                let told = format!("{} -> it does something", stands(was));
                Change::note(&name(new, was), told)
            } else {
                let told = format!("{} -> not expected any more", stands(was));
                Change::sure(&name(new, was), told, true)
            });
        }
    }
    for (_, is) in now.iter().filter(|(key, _)| !then.contains_key(*key)) {
        let told = format!("not expected -> {}", stands(is));
        changes.push(match is.counts() {
            Counts::Failed | Counts::Broken => Change::sure(&name(new, is), told, true),
            Counts::Passed | Counts::Open => Change::note(&name(new, is), told),
        });
    }
    changes
}

fn name(run: &Document, row: &Row) -> String {
    format!("{}, {}: {}", run.profile, row.component, row.target)
}

fn stands(row: &Row) -> String {
    format!("{} ({})", row.word(), row.measured)
}

fn verdict(then: (&Document, &Row), now: (&Document, &Row)) -> Option<Change> {
    let (was, is) = (then.1, now.1);
    if was.standing() == is.standing() {
        return None;
    }
    let mut told = format!("{} -> {}", stands(was), stands(is));
    if let Some(why) = is.why() {
        told += &format!(": {}", why.said);
    }
    let what = name(now.0, is);
    // An alert fails nothing, and what the profile lets pass neither: it is said.
    if was.counts() == is.counts() {
        return Some(Change::note(&what, told));
    }
    let worse = is.counts() > was.counts();
    let open = matches!(is.standing(), Standing::Open);
    if worse && open && machine::was_busier(then.0, now.0) {
        told += &format!("; {}", machine::told(now.0, machine::Figure::P99));
        let kind = Kind::Machine { worse };
        return Some(Change { what, told, kind });
    }
    Some(Change::sure(&what, told, worse))
}

/// Operations that are there in one of the reports only, or nearly: a service that is silent is not a service as before, and one that
/// asks for what always fails neither.
pub(super) fn operations(old: &Document, new: &Document) -> Vec<Change> {
    let mut changes = Vec::new();
    for Alone {
        of: was,
        proxy,
        other,
    } in alone(old, new)
    {
        let what = operation(new, proxy, was);
        let rare = of_proxy(new, proxy).map_or(0, |traffic| traffic.rare);
        changes.push(match other {
            Some(left) => {
                let told = format!("n {} -> {}", was.ended, counted(left));
                if fails(left) {
                    Change::sure(&what, told, true)
                } else {
                    Change::note(&what, told)
                }
            }
            None if rare == 0 => Change::sure(&what, format!("n {} -> 0", was.ended), true),
            None => Change::note(&what, format!("n {} -> {RARE}", was.ended)),
        });
    }
    for Alone {
        of: is,
        proxy,
        other,
    } in alone(new, old)
    {
        let rare = of_proxy(old, proxy).map_or(0, |traffic| traffic.rare);
        let from = match other {
            Some(few) => few.ended.to_string(),
            None if rare == 0 => "0".to_owned(),
            None => RARE.to_owned(),
        };
        let told = format!("n {from} -> {}", counted(is));
        let what = operation(new, proxy, is);
        changes.push(if fails(is) && rare == 0 {
            Change::sure(&what, told, true)
        } else {
            Change::note(&what, told)
        });
    }
    changes
}

/// Whether half of it failed, without what faults may have done to it.
fn fails(of: &Operation) -> bool {
    of.failed.saturating_sub(of.injected) * 2 >= of.ended
}

fn counted(of: &Operation) -> String {
    let mut told = format!("{}, of which {} failed", of.ended, of.failed);
    if of.injected > 0 {
        told += &format!(" and {} were touched by faults", of.injected);
    }
    told
}

const RARE: &str = "not among the most frequent (report.json counts it with others)";

pub(super) fn operation(run: &Document, proxy: &str, of: &Operation) -> String {
    format!("{}, {proxy}, {} in {}", run.profile, of.operation, of.phase)
}

fn of_proxy<'r>(run: &'r Document, proxy: &str) -> Option<&'r Traffic> {
    run.traffic.iter().find(|traffic| traffic.proxy == proxy)
}

/// An operation that only one of two runs has, or nearly so.
struct Alone<'r> {
    of: &'r Operation,
    proxy: &'r str,
    /// What the other run has of it: too little to compare, and a tenth at most.
    other: Option<&'r Operation>,
}

/// Operations of phases that both runs have, often enough to matter, which only this run has, or nearly so.
fn alone<'r>(this: &'r Document, other: &'r Document) -> Vec<Alone<'r>> {
    let phase = |name: &str| super::compares(this, name) && super::compares(other, name);
    let mut found = Vec::new();
    for traffic in &this.traffic {
        let proxy = traffic.proxy.as_str();
        let theirs = of_proxy(other, proxy).map_or(&[][..], |traffic| &traffic.operations);
        let mine = traffic.operations.iter();
        for of in mine.filter(|of| of.ended >= LEAST && phase(&of.phase)) {
            let same = |o: &&Operation| o.phase == of.phase && o.operation == of.operation;
            let other = theirs.iter().find(same).filter(|o| o.ended > 0);
            if other.is_none_or(|o| o.ended < LEAST && o.ended * 10 <= of.ended) {
                found.push(Alone { of, proxy, other });
            }
        }
    }
    found
}
