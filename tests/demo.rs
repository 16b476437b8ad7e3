//! `brownout demo --quick` as a newcomer runs it, on embedded servers: the profile is seen in the middle phase, and only there.

mod support;

use serde_json::Value;
use std::time::Duration;
use support::{Directory, run_to_end};

#[test]
fn a_quick_demo_shows_the_profile_and_the_recovery() {
    let directory = Directory::new("demo");
    let report = directory.path().join("report");
    let exit = run_to_end(
        &[
            "demo",
            "--quick",
            "--report",
            report.to_str().expect("a path"),
        ],
        Duration::from_secs(60),
    );
    // On a busy machine a target may be missed; that is a verdict, too.
    assert!(matches!(exit.code, Some(0 | 1 | 3)), "{exit:?}");
    for part in ["before", "during", "after", "redis-slow was on and touched"] {
        assert!(
            exit.stdout.contains(part),
            "the table lacks {part}:\n{}",
            exit.stdout
        );
    }
    let text = std::fs::read_to_string(report.join("demo.json")).expect("the report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let phases = report["phases"].as_array().expect("phases");
    let names: Vec<_> = phases
        .iter()
        .filter_map(|phase| phase["name"].as_str())
        .collect();
    assert_eq!(names, ["before", "during", "after"]);
    let redis = |phase: usize| &phases[phase]["figures"]["redis"];
    let injected = |phase| redis(phase)["injected"].as_u64().expect("a count");
    assert!(injected(1) > 50, "{text}");
    assert_eq!(injected(0), 0);
    let p95 = redis(1)["latency"]["p95_us"].as_f64().expect("a latency");
    assert!(p95 > 8_000.0, "the profile raises the alert: {p95}");
    for phase in phases {
        for (generator, load) in phase["load"].as_object().expect("generators") {
            assert!(load["ok"].as_u64() > Some(10), "{generator} in {phase}");
        }
    }
    let outcome = report["outcome"].as_str().expect("an outcome");
    let expected = match exit.code {
        Some(0) => "pass",
        Some(1) => "fail",
        _ => "inconclusive",
    };
    assert_eq!(outcome, expected);
}

#[test]
fn a_folder_that_cannot_be_written_into_is_told_before_anything_starts() {
    let exit = run_to_end(
        &["demo", "--report", "/dev/null/reports"],
        Duration::from_secs(20),
    );
    assert_eq!(exit.code, Some(4), "{exit:?}");
    assert!(exit.stderr.contains("/dev/null/reports"), "{exit:?}");
    assert!(!exit.stderr.contains("listening"), "{exit:?}");
}
