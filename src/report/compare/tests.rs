use super::statistics::*;
use super::*;
use crate::insight::SECOND;
use crate::report::suite::Broken;
use crate::report::tests::fixed;
use crate::report::traffic::tests::{operation, second};
use crate::verify::document::{Lateness, Row};
use crate::verify::verdict::{Counts, Verdict};
use crate::verify::written::{Kind as PhaseKind, OnInconclusive, Severity};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds");
    for value in values {
        histogram.record(value).expect("within bounds");
    }
    histogram
}

#[test]
fn ranks_tell_a_shift_from_noise() {
    let base = || (0..400_u64).map(|n| 100 + n * 7919 % 97);
    assert!(rank_z(&histogram(base()), &histogram(base())).abs() < 0.01);
    let shifted = base().map(|v| v + 20);
    assert!(rank_z(&histogram(base()), &histogram(shifted.clone())) > 5.0);
    assert!(rank_z(&histogram(shifted), &histogram(base())) < -5.0);
    // All equal: nothing to tell apart.
    assert!(rank_z(&histogram([5; 50]), &histogram([5; 50])).abs() < f64::EPSILON);
}

#[test]
fn u_is_that_of_the_textbook() {
    // Ranks 1, 2, 4 against 3, 5, 6: U = 14 - 6 = 8 of 9; mean 4.5, variance 3 * 3 * 7 / 12.
    let z = rank_z(&histogram([1, 2, 4]), &histogram([3, 5, 6]));
    assert!((z - 3.5 / (63.0_f64 / 12.0).sqrt()).abs() < 1e-9, "{z}");
}

#[test]
fn a_tail_that_grew_is_told_where_the_median_did_not() {
    let with_tail = |slow: u64| {
        histogram((0..4_000_u64).map(move |n| if n % 50 == 0 { slow } else { 100 + n % 40 }))
    };
    let (before, after) = (with_tail(1_000), with_tail(9_000));
    assert!(rank_z(&before, &after).abs() < 2.0, "medians say nothing");
    assert!(tail_z(&before, &after, 0.99).expect("a tail") > 6.0);
    assert!(tail_z(&after, &before, 0.99).expect("a tail") < -6.0);
    let z = tail_z(&before, &after, 0.95).expect("a tail");
    assert!(z.abs() < 1.0, "p95 is before the tail: {z}");
}

#[test]
fn chances_are_those_of_the_tables() {
    for (z, two_sided) in [
        (0.0, 1.0),
        (1.96, 0.049_996),
        (-3.29, 0.001_002),
        (5.0, 5.733e-7),
    ] {
        let chance = chance(z);
        assert!((chance / two_sided - 1.0).abs() < 1e-3, "{z}: {chance}");
    }
}

#[test]
fn holm_is_that_of_the_textbook() {
    // Against 0.05: 0.01 against 0.0125, 0.0125 against 0.0167, then 0.03 against 0.025: it and what is rarer stay.
    let found = holm(&[0.03, 0.01, 0.04, 0.0125], 0.05);
    assert_eq!(found, [false, true, false, true]);
    assert_eq!(holm(&[], 0.05), [false; 0]);
}

#[test]
fn seconds_that_differ_make_less_of_samples() {
    let samples = |n: f64, seconds: &[f64]| {
        let mut spread = Spread::default();
        let seconds: Vec<(f64, f64)> = seconds.iter().map(|mean| (n, *mean)).collect();
        spread.add(&seconds, 0.25);
        Side {
            samples: n * seconds.len() as f64,
            spread,
            share: 1.0,
        }
    };
    // Shares of 100 with a deviation of a twentieth are those of independent samples; with four times that they are not.
    let alike = samples(100.0, &[0.45, 0.55, 0.5, 0.45, 0.55, 0.5, 0.45, 0.55]);
    let apart = samples(100.0, &[0.3, 0.7, 0.5, 0.3, 0.7, 0.5, 0.3, 0.7]);
    let (even, uneven) = (by_second(5.0, [alike; 2]), by_second(5.0, [apart; 2]));
    assert!((3.5..5.0).contains(&even), "{even}");
    assert!((0.5..1.6).contains(&uneven), "{uneven}");
    let few = Side {
        share: 0.05,
        ..apart
    };
    let z = by_second(5.0, [few; 2]);
    assert!((2.0..even).contains(&z), "{z}");
    let unknown = Side {
        spread: Spread::default(),
        ..apart
    };
    assert!(
        (by_second(5.0, [unknown; 2]) - 5.0).abs() < 1e-9,
        "of older documents"
    );
}

/// A service whose seconds have a pace of their own, and the answers of each second besides.
fn service(seed: u64, seconds: u64, rate: u64, factor: f64, unevenness: f64) -> Suite {
    let mut dice = Xoshiro256PlusPlus::seed_from_u64(seed);
    // From -1 to 1.
    let mut even = || (dice.next_u64() >> 11) as f64 / 2_f64.powi(52) - 1.0;
    let latencies: Vec<Vec<u64>> = (0..seconds)
        .map(|_| {
            let pace = factor * (unevenness * even()).exp();
            let latencies = (0..rate).map(|_| (1_000.0 * pace * (0.5 * even()).exp()) as u64);
            latencies.collect()
        })
        .collect();
    let mut suite = fixed();
    suite.errors.clear();
    let run = &mut suite.runs[0];
    (run.result, run.lateness) = (Counts::Passed, None);
    run.expectations.truncate(1);
    let phase = &mut run.phases[0];
    (phase.name, phase.kind) = ("steady".into(), PhaseKind::Baseline);
    phase.to = seconds * SECOND;
    let traffic = &mut run.traffic[0];
    traffic.seconds = latencies.iter().map(|of| second(of)).collect();
    traffic.operations = vec![operation("steady", "GET", &latencies.concat())];
    suite
}

fn kinds(comparison: &Comparison) -> Vec<Kind> {
    comparison.changes.iter().map(|c| c.kind).collect()
}

#[test]
fn an_unchanged_service_whose_seconds_differ_is_not_worse() {
    let found = (0..100).filter(|seed| {
        let [then, now] = [2 * seed, 2 * seed + 1].map(|seed| service(seed, 12, 100, 1.0, 0.3));
        !compare(&then, &now, 0.02).changes.is_empty()
    });
    let found = found.count();
    assert!(found <= 3, "1 % of 100 is expected, {found} are found");
}

#[test]
fn a_service_that_became_slower_is_worse() {
    for seed in 0..20 {
        let then = service(2 * seed, 12, 100, 1.0, 0.1);
        let now = service(2 * seed + 1, 12, 100, 1.3, 0.1);
        let comparison = compare(&then, &now, 0.1);
        assert!(comparison.is_worse(), "{}", comparison.render());
        let comparison = compare(&now, &then, 0.1);
        assert!(!comparison.is_worse() && !comparison.changes.is_empty());
        assert!(
            compare(&then, &now, 0.5).changes.is_empty(),
            "below the limit"
        );
    }
}

#[test]
fn what_the_machine_may_have_added_is_not_the_services() {
    let (then, slower) = (service(1, 12, 100, 1.0, 0.1), service(2, 12, 100, 2.0, 0.1));
    assert!(compare(&then, &slower, 0.1).is_worse());
    let mut busy = slower.clone();
    let late = Lateness {
        usual_us: 3_000,
        most_us: 90_000,
    };
    busy.runs[0].lateness = Some(late);
    let comparison = compare(&then, &busy, 0.1);
    assert!(!comparison.is_worse() && comparison.is_open());
    let text = comparison.render();
    assert!(
        text.contains("not comparable: machine: plain, redis, GET in steady: median 1.0"),
        "{text}"
    );
    assert!(
        text.contains("our own part was late by 3.00 ms there"),
        "{text}"
    );
    // A machine that was busy before makes nothing slower afterwards.
    let mut before = then.clone();
    before.runs[0].lateness = Some(late);
    assert!(compare(&before, &slower, 0.1).is_worse());
    // What is slower by more than that is the service.
    let far = service(3, 12, 100, 20.0, 0.1);
    let mut far = far;
    far.runs[0].lateness = Some(late);
    assert!(compare(&then, &far, 0.1).is_worse());
    let mut elsewhere = slower;
    elsewhere.machine = "another, 64 cores".into();
    let comparison = compare(&then, &elsewhere, 0.1);
    assert!(!comparison.is_worse() && comparison.is_open());
}

/// A report of one part in which all is well, twice.
fn same() -> [Suite; 2] {
    [1, 1].map(|seed| service(seed, 12, 100, 1.0, 0.1))
}

fn changed(of: impl FnOnce(&mut Suite)) -> Comparison {
    let [then, mut now] = same();
    of(&mut now);
    compare(&then, &now, 0.1)
}

fn row(suite: &mut Suite) -> &mut Row {
    &mut suite.runs[0].expectations[0]
}

fn undecided() -> Verdict {
    Verdict::Inconclusive {
        reason: "too few".into(),
        remedy: "more".into(),
    }
}

fn failed() -> Verdict {
    Verdict::Fail { why: "slow".into() }
}

#[test]
fn what_is_the_same_is_told_to_be() {
    let comparison = changed(|_| {});
    assert_eq!(kinds(&comparison), []);
    assert_eq!((comparison.parts, comparison.operations), (1, 1));
}

#[test]
fn a_part_that_is_gone_or_could_not_be_run_is_worse() {
    let broken = || Broken {
        profile: "plain".into(),
        why: "the service died".into(),
    };
    for (what, comparison) in [
        ("pass -> not there", changed(|now| now.runs.clear())),
        (
            "pass -> could not be run: the service died",
            changed(|now| {
                now.runs.clear();
                now.errors.push(broken());
            }),
        ),
        (
            "not there -> could not be run",
            changed(|now| {
                now.errors.push(Broken {
                    profile: "new".into(),
                    ..broken()
                });
            }),
        ),
        (
            "came to its end -> stopped early: 40 % failed",
            changed(|now| now.runs[0].stopped = Some("40 % failed".into())),
        ),
    ] {
        assert!(comparison.is_worse(), "{what}");
        assert!(
            comparison.render().contains(what),
            "{what}: {}",
            comparison.render()
        );
    }
    let [then, mut now] = same();
    now.runs.clear();
    now.errors.push(broken());
    assert_eq!(kinds(&compare(&now, &then, 0.1)), [Kind::Better]);
    now.errors[0].profile = "other".into();
    assert_eq!(compare(&then, &now, 0.1).parts, 0, "nothing in common");
}

#[test]
fn a_verdict_that_became_graver_is_worse() {
    let verdicts = [
        Verdict::Pass,
        undecided(),
        failed(),
        Verdict::Error {
            why: "broke".into(),
        },
    ];
    for (n, then) in verdicts.iter().enumerate() {
        for (m, now) in verdicts.iter().enumerate() {
            let [mut before, mut after] = same();
            row(&mut before).verdict = then.clone();
            row(&mut after).verdict = now.clone();
            let kinds = kinds(&compare(&before, &after, 0.1));
            let expected: &[Kind] = match m.cmp(&n) {
                std::cmp::Ordering::Equal => &[],
                std::cmp::Ordering::Greater => &[Kind::Worse],
                std::cmp::Ordering::Less => &[Kind::Better],
            };
            assert_eq!(kinds, expected, "{then:?} -> {now:?}");
        }
    }
    assert!(
        changed(|now| now.runs[0].expectations.clear()).is_worse(),
        "gone"
    );
}

#[test]
fn what_fails_nothing_is_told_and_is_not_worse() {
    let [mut then, mut now] = same();
    for suite in [&mut then, &mut now] {
        row(suite).severity = Severity::Alert;
    }
    row(&mut now).verdict = failed();
    let comparison = compare(&then, &now, 0.1);
    assert_eq!(kinds(&comparison), [Kind::Note]);
    assert!(
        comparison
            .render()
            .contains("quiet (12ms) -> RAISED (12ms): slow")
    );
    let lets_pass = changed(|now| {
        row(now).on_inconclusive = OnInconclusive::Pass;
        row(now).verdict = undecided();
    });
    assert_eq!(kinds(&lets_pass), [Kind::Note]);
}

#[test]
fn an_expectation_is_the_same_though_another_stands_before_it() {
    let comparison = changed(|now| {
        let first = Row {
            component: "new".into(),
            ..row(now).clone()
        };
        row(now).field = "expect[1].p95".into();
        now.runs[0].expectations.insert(0, first);
    });
    assert_eq!(
        kinds(&comparison),
        [Kind::Note],
        "one that is new, and passes"
    );
}

#[test]
fn what_cannot_be_judged_any_more_on_a_busier_machine_is_the_machines() {
    let comparison = changed(|now| {
        row(now).verdict = undecided();
        now.runs[0].lateness = Some(Lateness {
            usual_us: 3_000,
            most_us: 90_000,
        });
    });
    assert_eq!(kinds(&comparison), [Kind::Machine { worse: true }]);
}

#[test]
fn an_operation_that_is_gone_is_worse_unless_it_is_only_rare() {
    let other = |rare: u64| {
        changed(move |now| {
            let traffic = &mut now.runs[0].traffic[0];
            traffic.operations[0].operation = "SET".into();
            traffic.rare = rare;
        })
    };
    assert_eq!(
        kinds(&other(0)),
        [Kind::Worse, Kind::Note],
        "GET is gone, SET is new"
    );
    let rare = other(40);
    assert_eq!(kinds(&rare), [Kind::Note, Kind::Note]);
    assert!(
        rare.render()
            .contains("n 1200 -> not among the most frequent")
    );
}

#[test]
fn a_new_operation_that_always_fails_is_worse() {
    let new = |failed: u64, injected: u64| {
        changed(move |now| {
            let operations = &mut now.runs[0].traffic[0].operations;
            let first = operations[0].clone();
            operations.push(Operation {
                operation: "NEW".into(),
                failed,
                injected,
                ..first
            });
        })
    };
    assert_eq!(kinds(&new(1_200, 0)), [Kind::Worse]);
    assert_eq!(kinds(&new(0, 0)), [Kind::Note]);
    assert_eq!(kinds(&new(1_200, 1_200)), [Kind::Note], "a fault did it");
}

#[test]
fn failures_are_compared_and_phases_that_nobody_judges_are_not() {
    let [then, mut now] = same();
    now.runs[0].traffic[0].operations[0].failed = 240;
    assert!(compare(&then, &now, 0.1).is_worse());
    for kind in [PhaseKind::WarmUp, PhaseKind::Capacity] {
        let [mut then, mut now] = [then.clone(), now.clone()];
        for suite in [&mut then, &mut now] {
            suite.runs[0].phases[0].kind = kind;
        }
        let comparison = compare(&then, &now, 0.1);
        assert_eq!(
            (kinds(&comparison), comparison.operations),
            (vec![], 0),
            "{kind:?}"
        );
    }
}
