//! Every form of a report whose names try to be more than names.

mod long;

use super::csv::Csv;
use super::github::Github;
use super::html::Html;
use super::junit::Junit;
use super::markdown::Markdown;
use super::text::Text;
use super::*;
use crate::verify::document::Document;
use crate::verify::verdict::Counts;
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
        "events": [{ "at": 0, "until": 1, "what": "turned_away", "subject": name, "note": name, "count": 2 }],
        "ledger": {
            "recorded": 3, "dropped": 0, "unwatched": 0, "rare": 0, "entries": [], "left_out": 0,
            "groups": [
                {
                    "proxy": "redis", "operation": name, "faults": [{ "name": name, "action": "lose_reply" }],
                    "server": "completed", "tag": name, "told": "nothing", "status": "closed",
                    "count": 2,
                },
                {
                    "proxy": "redis", "operation": "GET", "faults": [{ "name": "latency", "action": "latency" }], "skipped": name,
                    "server": "completed", "tag": null, "told": "reply", "status": "ok", "count": 1,
                },
            ],
        },
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
    assert_eq!(again.result, Counts::Broken);
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
    let parts = [
        "events",
        "timeline",
        "percentiles",
        "latencies",
        "wire",
        "retries",
        "unknown",
        "resources",
        "operations",
        "configuration",
        "omitted",
    ];
    let parts: Vec<String> = parts.iter().map(|part| format!("run0-{part}")).collect();
    let all = ["matrix", "reasons", "run0", "again"];
    for id in all.into_iter().chain(parts.iter().map(String::as_str)) {
        assert!(page.contains(&format!("id=\"{id}\"")), "no section {id}");
    }
    assert!(!page.contains('\u{1b}'));
}

#[test]
fn the_page_has_the_ledger_with_unknown_outcomes_first() {
    let page = render(&Html, &suite("plain"));
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("completed: plain") < at("What else faults touched (1)"));
    assert!(at("What else faults touched (1)") < at("latency; skipped: plain"));
    assert!(at("connections turned away by a fault: plain (2 times)") < at("Timeline"));
    let mut older = suite("plain");
    older.runs[0].ledger = None;
    assert!(!render(&Html, &older).contains("faults touched"));
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
    assert!(render(&Html, &suite).contains(">&lt;b&gt;7|"));
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
    let other = suite.runs[0].clone();
    suite.runs.push(Document {
        again: Some("brownout test other.toml --seed 7".into()),
        ..other
    });
    for form in [&Text as &dyn Form, &Markdown, &Csv, &Junit, &Html] {
        let text = render(form, &suite);
        assert!(
            text.contains("brownout test other.toml --seed 7"),
            "of each part: {text}"
        );
    }
    suite.runs.pop();
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
    assert_eq!(
        text.lines().count(),
        6,
        "a head, four rows, and a part that could not be run: {text}"
    );
    assert!(!text.lines().any(|l| l.starts_with('=')), "{text}");
    let hostile = render(&Csv, &suite(HOSTILE));
    assert!(hostile.contains("\"\""), "quotes are doubled: {hostile}");
}

#[test]
fn annotations_are_one_a_line_at_their_place() {
    let text = render(&Github, &suite(HOSTILE));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
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
        for line in text.lines() {
            let command = line.starts_with("  brownout test ");
            assert!(command || line.chars().count() <= 80, "{line}");
        }
        assert!(!text.contains('\u{2026}'), "nothing is cut off: {text}");
        assert!(!text.contains('\u{1b}'));
    }
}

const FORMS: [(&str, &dyn Form); 6] = [
    ("text", &Text),
    ("markdown", &Markdown),
    ("csv", &Csv),
    ("junit", &Junit),
    ("github", &Github),
    ("html", &Html),
];

/// A suite of one part with these expectations, which came to its end.
fn judged(rows: &[Value], result: Counts) -> Suite {
    let Suite { mut runs, .. } = suite("plain");
    let rows = rows.iter().cloned().map(serde_json::from_value);
    runs[0].expectations = rows.collect::<Result<_, _>>().expect("rows");
    runs[0].result = result;
    Suite::new(runs, Vec::new())
}

#[test]
fn a_judge_that_broke_is_no_pass_in_any_form() {
    let error = row("a", &json!({ "verdict": "error", "why": "the load broke" }));
    let passed = row("b", &json!({ "verdict": "pass" }));
    let suite = judged(&[error, passed], Counts::Broken);
    assert_eq!(suite.result, Counts::Broken);
    let sentence =
        "The one expectation was met; of 1 nothing is known, since the test itself broke.";
    assert_eq!(suite.sentence(), sentence);
    for (name, form) in FORMS {
        let text = render(form, &suite);
        assert!(
            text.contains("nothing is known: the load broke") || name == "html",
            "{text}"
        );
        let shown = match name {
            "text" => "\n error        a ",
            "markdown" => "| **error** |",
            "csv" => ",error,error,nothing is known: the load broke,,",
            "junit" => "errors=\"1\"",
            "github" => "::error file=",
            _ => "<header class=\"error\">",
        };
        assert!(text.contains(shown), "{name}: {text}");
    }
    let json = serde_json::to_value(&suite).expect("JSON");
    assert_eq!(json["result"], "error");
}

#[test]
fn the_gravest_of_all_runs_is_the_result() {
    let of = |results: &[Counts]| {
        let run = suite("plain").runs.remove(0);
        let run = |result| Document {
            result,
            ..run.clone()
        };
        Suite::new(results.iter().copied().map(run).collect(), Vec::new()).result
    };
    let ordered = [Counts::Passed, Counts::Open, Counts::Failed, Counts::Broken];
    for (n, gravest) in ordered.into_iter().enumerate() {
        for other in &ordered[..=n] {
            assert_eq!(of(&[gravest, *other]), gravest);
            assert_eq!(of(&[*other, gravest]), gravest);
        }
    }
}

/// An expectation that could not be judged, and what the profile makes of it.
fn undecided(on: &str) -> Value {
    let verdict = json!({ "verdict": "inconclusive", "reason": "too few", "remedy": "more" });
    let mut row = row("a", &verdict);
    row["on_inconclusive"] = on.into();
    row
}

#[test]
fn what_is_inconclusive_fails_in_every_form_where_the_profile_says_so() {
    let suite = judged(&[undecided("fail")], Counts::Failed);
    let sentence = suite.sentence();
    assert_eq!(
        sentence,
        "1 of 1 expectation failed, since what cannot be judged fails there (on_inconclusive = \"fail\")."
    );
    for (name, form) in FORMS {
        let text = render(form, &suite);
        let shown = match name {
            "text" => "\n FAIL         a ",
            "markdown" => "| **FAIL** |",
            "csv" => ",inconclusive,fail,",
            "junit" => "failures=\"1\"",
            "github" => "::error file=",
            _ => "<span class=\"badge fail\">FAIL</span>",
        };
        assert!(text.contains(shown), "{name}: {text}");
        let words = text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase();
        assert!(
            words.contains("inconclusive, which fails here"),
            "{name}: {text}"
        );
    }
    let both = [
        undecided("fail"),
        row("b", &json!({ "verdict": "fail", "why": "slow" })),
    ];
    let sentence = judged(&both, Counts::Failed).sentence();
    assert!(
        sentence.starts_with("2 of 2 expectations failed, 1 of them since"),
        "{sentence}"
    );
}

#[test]
fn what_is_inconclusive_and_passes_is_said_to() {
    let suite = judged(&[undecided("pass")], Counts::Passed);
    assert_eq!(
        suite.sentence(),
        "None of 1 expectation failed, and 1 could not be judged."
    );
    assert!(render(&Csv, &suite).contains(",inconclusive,pass,"));
    let text = render(&Text, &suite);
    assert!(text.contains("inconclusive, which passes here"), "{text}");
}

#[test]
fn where_nothing_was_judged_nothing_is_said_to_be_met() {
    let errors = vec![suite::Broken {
        profile: "p".into(),
        why: "the service died".into(),
    }];
    let suite = Suite::new(Vec::new(), errors);
    assert_eq!(
        suite.sentence(),
        "Nothing was judged; 1 part could not be run."
    );
    let csv = render(&Csv, &suite);
    assert!(
        csv.contains("\r\np,the run,,,,,limit,error,error,could not be run: the service died,"),
        "{csv}"
    );
}

#[test]
fn a_part_that_a_guard_stopped_fails_in_every_form() {
    let mut suite = judged(&[row("a", &json!({ "verdict": "pass" }))], Counts::Failed);
    suite.runs[0].stopped = Some("40 % failed".into());
    assert_eq!(
        suite.sentence(),
        "The one expectation was met; 1 part was stopped early."
    );
    for (name, form) in FORMS {
        let text = render(form, &suite);
        assert!(
            text.contains("stopped early")
                && text.contains(
                    "40 % failed"
                        .replace('%', if name == "github" { "%25" } else { "%" })
                        .as_str()
                ),
            "{name}: {text}"
        );
    }
    assert!(render(&Junit, &suite).contains("failures=\"1\""));
}

#[test]
fn annotations_say_that_all_passed_and_name_no_file_that_is_none() {
    let passed = judged(&[row("a", &json!({ "verdict": "pass" }))], Counts::Passed);
    let text = render(&Github, &passed);
    assert!(
        text.starts_with("::notice title=pass::The one expectation was met.\n"),
        "{text}"
    );
    let mut failed = row("a", &json!({ "verdict": "fail", "why": "slow" }));
    failed["place"]["file"] = "built-in cos/capacity.toml".into();
    let text = render(&Github, &judged(&[failed], Counts::Failed));
    let first = text.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("::error title=")
            && first.contains("::plain (built-in cos/capacity.toml, line 7): slow"),
        "{first}"
    );
}

#[test]
fn text_has_every_figure_of_every_row() {
    let mut long = row("plain", &json!({ "verdict": "pass" }));
    long["target"] = "degrades: every request answered, none with 500".into();
    long["measured"] = "106 answered".into();
    long["samples"] = 123_456_789.into();
    let text = render(&Text, &judged(&[long], Counts::Passed));
    for words in [
        "degrades: every",
        "request answered",
        "none with 500",
        " fault ",
        " 106 ",
        "123456",
        " 789",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// With latencies that can be read and a breaker that opened once, on a machine that is always the same.
pub(super) fn fixed() -> Suite {
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
    run.traffic[0].operations[0].histogram = traffic::encoded(
        &[100_000, 200_000, 1_000_000].into_iter().collect(),
        traffic::Digits::Three,
    );
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
    for (name, form) in FORMS {
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
    let tables = page.matches("<summary>The same as a table").count();
    assert_eq!(tables, 5, "one each, which the keyboard opens");
    for figure in ["1.00 ms", "0.40 s to 0.50 s", "from 64 us", "succeeded"] {
        assert!(page.contains(figure), "{figure}");
    }
}

#[test]
fn only_of_what_has_a_seed_it_is_told_what_a_seed_does() {
    let told = |command: &str| {
        let suite = Suite {
            again: Some(command.into()),
            ..Suite::new(Vec::new(), Vec::new())
        };
        suite.of_commands()
    };
    assert!(told("brownout test x.toml").contains("The same seed"));
    let demo = told("brownout demo --redis redis://h:1");
    assert!(
        !demo.contains("seed") && demo.contains("variables of the environment"),
        "{demo}"
    );
}
