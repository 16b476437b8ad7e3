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

fn render(form: &dyn Form, suite: &Suite) -> String {
    form.render(suite).expect("a report")
}

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
    let page = render(&Html, &suite(HOSTILE));
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
    let xml = render(&Junit, &suite(HOSTILE));
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
fn what_servers_say_of_themselves_is_shown_and_steers_nothing() {
    let mut suite = fixed();
    let of = |suite: &mut Suite, server: &str| {
        let configuration = suite.runs[0].configuration.as_mut().expect("it is there");
        configuration.proxies[0].server = Some(server.into());
    };
    of(&mut suite, "<b>7|\u{1b}[31m");
    assert!(render(&Html, &suite).contains("<td>&lt;b&gt;7|"));
    assert!(render(&Markdown, &suite).contains("\n- redis &lt;b&gt;7\\|"));
    let text = render(&Text, &suite);
    assert!(
        text.contains("\n  servers: redis <b>7|\u{fffd}[31m\n"),
        "{text}"
    );
    suite.runs[0].configuration = None;
    for form in [&Html as &dyn Form, &Markdown, &Text] {
        assert!(!render(form, &suite).contains("&lt;b&gt;7"));
    }
}

#[test]
fn every_form_says_how_to_run_it_again() {
    let mut suite = fixed();
    let command = "brownout test 'a <b>.toml' --seed 7 -- sh -c 'echo ```; *x*'".to_owned();
    (suite.again, suite.runs[0].again) = (Some(command.clone()), Some(command.clone()));
    let escaped = |text: &str| text.replace('<', "&lt;").replace('>', "&gt;");
    for (form, shown) in [
        (&Text as &dyn Form, format!("\n  {command}\n")),
        (&Markdown, format!("\n````sh\n{command}\n````\n")),
        (&Csv, format!(",{command}\r\n")),
        (
            &Github,
            format!("::notice title=How to run it again::{command}\n"),
        ),
        (&Html, escaped(&command)),
        (&Junit, escaped(&command).replace('\'', "&apos;")),
    ] {
        let text = render(form, &suite);
        assert!(text.contains(&shown), "{shown}\n{text}");
    }
    (suite.again, suite.runs[0].again) = (None, None);
    assert_eq!(
        suite.commands(),
        ["brownout test plain --seed 7"],
        "of an older program"
    );
    suite.runs[0].again = Some("x 'p=***'".into());
    assert!(suite.of_commands().contains("a secret was left out"));
}

#[test]
fn markdown_keeps_its_table_whatever_the_names_are() {
    let text = render(&Markdown, &suite(HOSTILE));
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ")).collect();
    assert_eq!(rows.len(), 6, "head, rule and four rows:\n{text}");
    for row in &rows {
        let bars = row.replace("\\|", "").matches('|').count();
        assert_eq!(bars, 8, "{row}");
    }
    let (text, commands) = text
        .split_once("### How to run it again")
        .expect("the last heading");
    assert!(!text.contains("<script"));
    let block: Vec<&str> = commands.lines().skip_while(|l| *l != "```sh").collect();
    assert_eq!(
        block.len(),
        3,
        "what is in a block of code means nothing: {block:?}"
    );
}

#[test]
fn csv_quotes_and_computes_nothing() {
    let text = render(&Csv, &suite("=cmd()"));
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.lines().any(|l| l.starts_with('=')), "{text}");
    let hostile = render(&Csv, &suite(HOSTILE));
    assert!(hostile.contains("\"\""), "quotes are doubled: {hostile}");
}

#[test]
fn annotations_are_one_a_line_at_their_place() {
    let text = render(&Github, &suite(HOSTILE));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
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
        let text = render(&Text, &suite(name));
        for line in text.lines().skip(1) {
            let heading = line.ends_with(')') && !line.starts_with(' ');
            let command = line.starts_with("  brownout test ");
            assert!(heading || command || line.chars().count() <= 80, "{line}");
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

/// With latencies that can be read and a breaker that opened once, on a machine that is always the same.
fn fixed() -> Suite {
    let unknown = || {
        json!({
            "answer": { "Err": { "reason": "too little was seen", "remedy": "a longer phase" } },
            "evidence": { "samples": 0, "figures": {}, "records": [] },
        })
    };
    let mut opened = unknown();
    opened["answer"] = json!({ "Ok": { "state": "opened", "cause": "falls_back" } });
    let mut dependency = json!({
        "proxy": "redis", "protocol": "redis", "affected": { "from": 0, "to": 1_000_000_000 },
        "breakers": [{
            "dependency": "redis", "process": null, "breakers": null, "opening": opened,
            "episodes": [{
                "tripped_from": 400_000_000, "tripped_to": 500_000_000, "probed": 1_000_000_000, "probes": 1, "probe_succeeded": true,
            }],
        }],
    });
    for key in [
        "threshold",
        "open_seconds",
        "probes",
        "closing",
        "fails_fast",
    ] {
        dependency["breakers"][0][key] = unknown();
    }
    for key in [
        "detection",
        "recovery",
        "timeout",
        "retries",
        "reconnects",
        "pool",
        "leftovers",
        "containment",
        "duplicates",
    ] {
        dependency[key] = unknown();
    }
    let mut suite = suite("plain");
    let run = &mut suite.runs[0];
    run.insights.dependencies = vec![serde_json::from_value(dependency).expect("a dependency")];
    run.traffic[0].operations[0].histogram =
        traffic::encoded(&[100_000, 200_000, 1_000_000].into_iter().collect());
    let configuration = json!({
        "workers": 2,
        "proxies": [{
            "name": "redis", "protocol": "redis", "listen": "127.0.0.1:26379", "upstream": "127.0.0.1:6379", "server": "7.0.15",
            "slo": { "p95": "10ms" }, "pool": 10, "connect_timeout_ms": 5_000,
        }],
    });
    run.configuration = Some(serde_json::from_value(configuration).expect("a configuration"));
    run.again = Some("brownout test plain.toml --seed 7".into());
    Suite {
        again: Some("brownout test plain.toml --seed 7 --quick -- uvicorn 'app:app'".into()),
        program: "brownout 0.0.0".into(),
        machine: "a machine, 2 cores".into(),
        ..suite
    }
}

#[test]
fn every_form_of_a_fixed_document_is_as_it_was_looked_at() {
    let suite = fixed();
    assert_eq!(suite.check(), Ok(()));
    let forms: [(&str, &dyn Form); 6] = [
        ("text", &Text),
        ("markdown", &Markdown),
        ("csv", &Csv),
        ("junit", &Junit),
        ("github", &Github),
        ("html", &Html),
    ];
    for (name, form) in forms {
        insta::assert_snapshot!(name, render(form, &suite));
    }
}

#[test]
fn behind_every_picture_is_a_table() {
    let page = render(&Html, &fixed());
    assert_eq!(
        page.matches("<svg").count(),
        5,
        "timeline, spectrum, heat map, breaker, process"
    );
    assert_eq!(page.matches("<details").count(), 5, "one each");
    assert_eq!(
        page.matches("<summary").count(),
        5,
        "which the keyboard opens"
    );
    for figure in ["1.00 ms", "0.40 s to 0.50 s", "from 64 us", "succeeded"] {
        assert!(page.contains(figure), "{figure}");
    }
}

#[test]
fn an_hour_is_a_page_below_a_megabyte_of_tables() {
    let mut suite = fixed();
    let traffic = &mut suite.runs[0].traffic[0];
    let mut second = traffic.seconds[0].clone();
    second.buckets = (3..25).map(|bucket| (bucket, 1_000)).collect();
    traffic.seconds = vec![second; traffic::LONGEST as usize];
    let table = tables::heat(&suite.runs[0].traffic[0]).into_string();
    assert_eq!(
        table.matches("<tr>").count(),
        121,
        "a head, and 30 seconds a row"
    );
    assert!(
        table.contains("3570 to 3599") && table.contains(">30000<"),
        "their sum"
    );
    assert!(table.len() < 200_000, "{}", table.len());
}
