//! What pictures must not hide.

use super::super::scene::Scene;
use super::super::steps::{Detail, Steps};
use super::super::tests::fixed;
use super::*;
use crate::report::traffic::{self, Traffic};
use crate::report::{configuration, tables};
use crate::verify::document::Document;

const DETAIL: Detail = Detail::ALL[0];

/// A run of two seconds with a fault in the second, in which what is given passed.
fn run(seconds: Vec<traffic::Second>) -> Document {
    let mut suite = fixed();
    let mut run = suite.runs.remove(0);
    let phase = |name: &str, kind: &str, from: u64| {
        let (from, to) = (from * SECOND, (from + 1) * SECOND);
        let phase = serde_json::json!({ "name": name, "kind": kind, "from": from, "to": to });
        serde_json::from_value(phase).expect("a phase")
    };
    run.phases = vec![phase("before", "baseline", 0), phase("dark", "fault", 1)];
    run.traffic[0].seconds = seconds;
    run.traffic[0].operations[0].phase = "before".into();
    run
}

fn drawn(run: &Document) -> (String, String) {
    let scene = Scene::of(run);
    let steps = Steps::of(&run.traffic[0], DETAIL, &scene);
    let picture = timeline(&run.traffic[0], &steps, &scene).into_string();
    (picture, tables::timeline(&steps).into_string())
}

/// What a path of this class draws; nothing where there is none.
fn of_class<'p>(picture: &'p str, class: &str) -> &'p str {
    let start = format!("<path class=\"{class}\" d=\"");
    let found = picture.split(&start).nth(1);
    found.and_then(|p| p.split('"').next()).unwrap_or("")
}

/// Whether it says of this phase how many were answered, and how many not.
fn legend_of(traffic: &Traffic, scene: &Scene) -> String {
    spectrum(traffic, &by_phase(traffic, scene), scene).into_string()
}

#[test]
fn what_hangs_is_drawn_as_waiting_and_for_how_long() {
    let hanging = traffic::Second {
        outstanding: 3,
        waited_us: Some(1_000_000),
        ..traffic::tests::second(&[])
    };
    let (picture, table) = drawn(&run(vec![traffic::tests::second(&[100; 9]), hanging]));
    assert_eq!(
        of_class(&picture, "out").matches('z').count(),
        1,
        "{picture}"
    );
    assert!(picture.contains("3 wait"));
    // At the end of the second, and as high as the slowest of all: it is the slowest.
    let plane = |seconds| Plane {
        seconds,
        top: 0.0,
        height: 1.0,
    };
    let at = format!("M{:.1} ", plane(2.0).x(2.0));
    assert!(of_class(&picture, "arrows").starts_with(&at), "{picture}");
    assert!(picture.contains("1.00 s"), "the scale reaches it");
    assert!(table.contains("<td>3</td><td>1.00 s</td>"), "{table}");
}

#[test]
fn a_phase_whose_requests_hung_says_so_and_is_listed() {
    let mut run = run(vec![traffic::tests::second(&[100; 9]); 2]);
    run.traffic[0].phases = vec![traffic::InPhase {
        phase: "dark".into(),
        outstanding: 3,
    }];
    let told = legend_of(&run.traffic[0], &Scene::of(&run));
    assert!(told.contains("before (n 3)"), "{told}");
    assert!(
        told.contains("dark (n 0, 3 still out at its end)"),
        "{told}"
    );
    // Of an older document as the last whole second of the phase says.
    run.traffic[0].phases.clear();
    run.traffic[0].seconds[1].outstanding = 2;
    let told = legend_of(&run.traffic[0], &Scene::of(&run));
    assert!(
        told.contains("dark (n 0, 2 still out at its end)"),
        "{told}"
    );
}

#[test]
fn a_phase_has_its_colour_in_every_picture_also_where_others_are_missing() {
    let mut run = run(vec![traffic::tests::second(&[100; 9]); 2]);
    let first = legend_of(&run.traffic[0], &Scene::of(&run));
    run.traffic[0].operations[0].phase = "dark".into();
    let other = legend_of(&run.traffic[0], &Scene::of(&run));
    for picture in [&first, &other] {
        assert!(picture.contains("<span class=\"kind-baseline\""));
        assert!(picture.contains("<span class=\"kind-fault\""));
    }
    assert!(
        first.contains("<circle class=\"dot kind-baseline\""),
        "{first}"
    );
    assert!(
        other.contains("<circle class=\"dot kind-fault\""),
        "{other}"
    );
    assert!(drawn(&run).0.contains("class=\"label kind-fault\""));
}

#[test]
fn a_percentile_of_too_few_is_not_drawn_and_a_second_between_gaps_is_a_dot() {
    let second = traffic::tests::second;
    let (picture, table) = drawn(&run(vec![second(&[]), second(&[100; 58]), second(&[])]));
    assert_eq!(of_class(&picture, "p95"), "");
    assert!(
        table.contains("<td>58</td>") && !table.contains("(0 to"),
        "{table}"
    );
    let dot = of_class(&picture, "p50 single");
    assert_eq!(dot.matches("h0").count(), 1, "{picture}");
    let (picture, _) = drawn(&run(vec![second(&[]), second(&[100; 59]), second(&[])]));
    assert_eq!(of_class(&picture, "p95 single").matches("h0").count(), 1);
}

#[test]
fn a_limit_of_a_proxy_is_a_line_where_it_holds() {
    let mut run = run(vec![traffic::tests::second(&[100; 9]); 2]);
    let (picture, _) = drawn(&run);
    let plane = Plane {
        seconds: 2.0,
        top: 0.0,
        height: 1.0,
    };
    assert!(
        of_class(&picture, "limit").contains(&format!("M{LEFT:.1} ")),
        "{picture}"
    );
    let proxies = &mut run.configuration.as_mut().expect("it is there").proxies;
    proxies[0].slo = crate::measure::Slo::default();
    assert!(!drawn(&run).0.contains("class=\"limit\""));
    let limit = serde_json::json!({ "figure": "p95", "at_most_us": 5_000, "phases": ["dark"] });
    let limit: configuration::Limit = serde_json::from_value(limit).expect("a limit");
    run.configuration.as_mut().expect("it is there").proxies[0].expected = vec![limit];
    let (picture, _) = drawn(&run);
    let at = format!("M{:.1} ", plane.x(1.0));
    assert!(of_class(&picture, "limit").starts_with(&at), "{picture}");
    assert!(legend_of(&run.traffic[0], &Scene::of(&run)).contains("class=\"goal\""));
}

#[test]
fn all_pictures_of_a_run_have_one_axis_and_show_when_a_fault_was_felt() {
    let run = run(vec![traffic::tests::second(&[100; 9]); 2]);
    let scene = Scene::of(&run);
    let found = &run.insights.dependencies[0].breakers[0];
    let pictures = [
        drawn(&run).0,
        heat(
            &run.traffic[0],
            &Steps::of(&run.traffic[0], DETAIL, &scene),
            &scene,
        )
        .into_string(),
        breaker(found, &scene).into_string(),
        process(&run.watched[0], &scene).into_string(),
    ];
    let plane = Plane {
        seconds: 2.0,
        top: 0.0,
        height: 1.0,
    };
    let width = format!("width=\"{:.1}\"", plane.x(1.0) - plane.x(0.0));
    for picture in pictures {
        assert!(picture.contains(">2.0 s</text>"), "{picture}");
        let felt = picture
            .split("<rect")
            .skip(1)
            .filter(|r| r.contains("fault") || r.contains("strip"));
        let felt: Vec<&str> = felt.collect();
        assert!(
            !felt.is_empty() && felt.iter().all(|r| r.contains(&width)),
            "{picture}"
        );
    }
}

#[test]
fn a_breaker_is_open_then_half_open_with_each_call_that_was_tried() {
    let run = run(vec![traffic::tests::second(&[100; 9]); 2]);
    let mut found = run.insights.dependencies[0].breakers[0].clone();
    let again = found.episodes[0];
    found.episodes[0].probe_succeeded = false;
    found.episodes.push(again);
    (found.episodes[1].tripped_to, found.episodes[1].probed) = (1_100_000_000, Some(1_600_000_000));
    let picture = breaker(&found, &Scene::of(&run)).into_string();
    assert_eq!(
        of_class(&picture, "open").matches('z').count(),
        2,
        "{picture}"
    );
    assert_eq!(
        of_class(&picture, "half").matches('z').count(),
        2,
        "{picture}"
    );
    assert_eq!(
        of_class(&picture, "probe failed").matches("l6 6").count(),
        1
    );
    assert_eq!(of_class(&picture, "probe worked").matches("v-8").count(), 1);
}

#[test]
fn what_happened_is_marked_in_the_timeline() {
    let run = run(vec![traffic::tests::second(&[100; 9]); 2]);
    let (picture, _) = drawn(&run);
    for class in ["mark on", "mark off", "mark opened"] {
        assert!(!of_class(&picture, class).is_empty(), "{class}: {picture}");
    }
}
