//! Every form of a report whose names try to be more than names.

use super::csv::Csv;
use super::github::Github;
use super::html::Html;
use super::junit::Junit;
use super::markdown::Markdown;
use super::text::Text;
use super::*;
use serde_json::{Value, json};

const HOSTILE: &str =
    "<script>alert(1)</script> ]]> & \" ' | `x` ::error::y\r\n\u{1b}[31m =1+1, {{x}}";

fn row(component: &str, verdict: &Value) -> Value {
    let mut row = json!({
        "component": component, "field": "expect[0].p95", "phases": ["fault"], "target": "p95 <= 10ms",
        "place": { "file": "a:b,c.toml", "line": 7, "column": 1 },
        "measured": "12ms", "samples": 100, "on_inconclusive": "warn", "severity": "limit",
        "evidence": { "samples": 100, "figures": {}, "records": [] },
    });
    let fields = verdict.as_object().expect("an object").clone();
    row.as_object_mut().expect("an object").extend(fields);
    row
}

fn suite(name: &str) -> Suite {
    let alert = {
        let mut row = row(name, &json!({ "verdict": "fail", "why": name }));
        row["severity"] = "alert".into();
        row
    };
    let run = json!({
        "version": 1, "profile": name, "description": name, "seed": 7, "started_us": 0, "result": "fail",
        "phases": [{ "name": "fault", "kind": "fault", "from": 0, "to": 2_000_000_000_u64 }],
        "lanes": {},
        "expectations": [
            row(name, &json!({ "verdict": "pass" })),
            row(name, &json!({ "verdict": "fail", "why": name })),
            row(name, &json!({ "verdict": "inconclusive", "reason": name, "remedy": name })),
            alert,
        ],
        "insights": { "api": null, "length": 2_000_000_000_u64, "baseline": { "from": 0, "to": 1 }, "dependencies": [] },
        "traffic": [{
            "proxy": "redis", "protocol": "redis", "outstanding": 1, "lost": 0, "rare": 0,
            "seconds": [
                { "ended": 3, "failed": 1, "injected": 1, "outstanding": 2, "p50_us": 100, "p95_us": 900, "max_us": 1000, "buckets": { "6": 2, "9": 1 } },
                { "ended": 0, "failed": 0, "injected": 0, "outstanding": 2, "p50_us": null, "p95_us": null, "max_us": null, "buckets": {} },
            ],
            "operations": [{
                "phase": name, "operation": name, "ended": 3, "failed": 1, "injected": 1, "answered": 3, "mean_us": 400,
                "p50_us": 100, "p95_us": 900, "p99_us": 900, "max_us": 1000, "histogram": "",
            }],
        }],
        "watched": [{ "name": name, "looks": [{ "at": 1, "memory": 1_000_000, "cpu": null, "descriptors": 3, "threads": 1 }] }],
        "faults": [{ "fault": name, "from": 0, "to": 1 }],
        "omitted": [name],
    });
    let run = serde_json::from_value(run).expect("a document");
    let errors = vec![suite::Broken {
        profile: name.into(),
        why: name.into(),
    }];
    Suite::new(vec![run], errors)
}

#[test]
fn what_is_written_is_read_back() {
    let suite = suite("plain");
    let text = serde_json::to_string(&suite).expect("JSON");
    let again: Suite = serde_json::from_str(&text).expect("the same");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), text);
    assert_eq!(again.result, "error");
    assert_eq!(
        again.sentence(),
        "1 of 3 expectations failed, and 1 could not be judged; 1 alert was raised; 1 part could not be run."
    );
}

#[test]
fn the_page_runs_nothing_and_loads_nothing() {
    let page = Html.render(&suite(HOSTILE));
    assert!(!page.contains("<script"), "names are text");
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("&lt;script&gt;"));
    assert!(page.contains("default-src 'none'"));
    for id in ["matrix", "reasons", "run0", "again"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "no section {id}");
    }
    assert!(!page.contains('\u{1b}'));
}

#[test]
fn junit_is_xml_whatever_the_names_are() {
    let xml = Junit.render(&suite(HOSTILE));
    assert!(!xml.contains("<script"), "{xml}");
    assert!(
        !xml.contains('\u{1b}'),
        "not even escaped: XML 1.0 has no such character"
    );
    assert!(
        xml.contains("failures=\"1\"") && xml.contains("errors=\"1\""),
        "{xml}"
    );
    assert_eq!(xml.matches("<testcase").count(), 5, "{xml}");
    assert_eq!(
        xml.matches("<skipped").count(),
        2,
        "inconclusive, and an alert: {xml}"
    );
}

#[test]
fn markdown_keeps_its_table_whatever_the_names_are() {
    let text = Markdown.render(&suite(HOSTILE));
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ")).collect();
    assert_eq!(rows.len(), 6, "head, rule and four rows:\n{text}");
    for row in &rows {
        let bars = row.replace("\\|", "").matches('|').count();
        assert_eq!(bars, 8, "{row}");
    }
    assert!(!text.contains("<script"));
}

#[test]
fn csv_quotes_and_computes_nothing() {
    let text = Csv.render(&suite("=cmd()"));
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.lines().any(|l| l.starts_with('=')), "{text}");
    let hostile = Csv.render(&suite(HOSTILE));
    assert!(hostile.contains("\"\""), "quotes are doubled: {hostile}");
}

#[test]
fn annotations_are_one_a_line_at_their_place() {
    let text = Github.render(&suite(HOSTILE));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].starts_with("::error file=a%3Ab%2Cc.toml,line=7,col=1,title="),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("::warning ") && lines[2].starts_with("::warning "));
    for line in &lines {
        // A command stands at the begin of a line only.
        assert!(
            line.starts_with("::") && !line.chars().any(char::is_control),
            "{line}"
        );
    }
}

#[test]
fn text_fits_into_eighty_columns() {
    for name in ["plain", HOSTILE, &"long ".repeat(60), &"x".repeat(300)] {
        let text = Text.render(&suite(name));
        for line in text.lines().skip(1) {
            let heading = line.ends_with(')') && !line.starts_with(' ');
            assert!(heading || line.chars().count() <= 80, "{line}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}

#[test]
fn latencies_that_cannot_be_read_are_told() {
    let mut suite = suite("plain");
    let told = suite.check().expect_err("an empty text is no histogram");
    assert!(told.contains("plain, redis, plain"), "{told}");
    suite.runs[0].traffic[0].operations.clear();
    assert_eq!(suite.check(), Ok(()));
}
