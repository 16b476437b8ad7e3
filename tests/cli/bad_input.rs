//! What cannot be done is refused before anything changes: one table, over files and over the admin endpoint.

use crate::support::{Directory, run_to_end};
use crate::{LIMIT, Running};
use serde_json::Value;

/// A fault for the proxy `redis`; the line and the field at which it is wrong; a word of the message, and of the remedy.
const CASES: &[(&str, usize, &str, &str, &str)] = &[
    (
        "action = 'error'\npreset = 'serialization_failure'",
        4,
        "preset",
        "an error of postgres",
        "`LOADING`",
    ),
    (
        "action = 'error'\npreset = 'LOADNIG'",
        4,
        "preset",
        "LOADNIG",
        "LOADING",
    ),
    (
        "action = 'stall'\nmatch = { sql = 'from orders' }",
        4,
        "match.sql",
        "only Postgres speaks SQL",
        "leave it out",
    ),
    (
        "action = 'stall'\nmatch = { sql = 'from (' }",
        4,
        "match.sql",
        "unclosed group",
        "backslash",
    ),
    (
        "action = 'stall'\nmatch = { table = 'o[' }",
        4,
        "match.table",
        "`[` is not closed",
        "for a bracket that means itself",
    ),
    (
        "action = 'stall'\nmatch = { route = '/x' }",
        4,
        "match.route",
        "only HTTP requests have a route",
        "leave it out",
    ),
    (
        "action = 'stall'\nmatch = { header = { name = 'X-A' } }",
        4,
        "match.header",
        "only HTTP",
        "leave it out",
    ),
    (
        "action = 'stall'\nmatch = { application_name = 'x' }",
        4,
        "match.application_name",
        "only Postgres",
        "leave it out",
    ),
    (
        "action = 'stall'\nmatch = { client = '10.1.2.3/8' }",
        4,
        "match.client",
        "bits are set",
        "10.0.0.0/8",
    ),
    (
        "action = 'stall'\nmatch = { key = 'a', sql = 'b' }",
        4,
        "match.sql",
        "no exchange has both",
        "leave `match.key`",
    ),
    (
        "action = 'stall'\nmatch = { oepration = 'GET' }",
        4,
        "oepration",
        "oepration",
        "operation",
    ),
    (
        "action = 'refuse'\nmatch = { user = 'api' }",
        4,
        "match.user",
        "before they say who they are",
        "match.client",
    ),
    (
        "action = 'refuse'\nhow = 'reset'\nmatch = { table = 'x' }",
        5,
        "match.table",
        "before anything is asked",
        "leave it out",
    ),
    (
        "action = 'stall'\nprobability = 1.5",
        4,
        "probability",
        "not a probability",
        "from 0 to 1",
    ),
    (
        "action = 'stall'\nevery = 0",
        4,
        "every",
        "never hit",
        "from 1 up",
    ),
    ("action = 'stall'\nttl = '13h'", 4, "ttl", "too long", "12h"),
    (
        "action = 'stall'\nttl = '0s'",
        4,
        "ttl",
        "zero",
        "above zero",
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'normal', mean = '5ms', stddev = '-1ms' }",
        4,
        "delay.stddev",
        "-1ms",
        "ms",
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'uniform', min = '5ms', max = '1ms' }",
        4,
        "delay",
        "m",
        "m",
    ),
    (
        "action = 'stall'\nschedule = { repeat = '5s' }",
        4,
        "schedule.repeat",
        "needs `duration`",
        "add duration",
    ),
    (
        "action = 'stall'\nschedule = { duration = '5s', ramp = '6s' }",
        4,
        "schedule.ramp",
        "longer",
        "at most",
    ),
    ("action = 'stal'", 3, "action", "stal", "stall"),
];

#[test]
fn a_file_is_refused_with_line_column_field_and_remedy() {
    let directory = Directory::new("bad-input");
    let config = directory.path().join("brownout.toml");
    let proxy = "[[proxy]]\nname = 'redis'\nprotocol = 'redis'\nlisten = '127.0.0.1:1'\nupstream = '127.0.0.1:2'\n";
    std::fs::write(&config, proxy).expect("write");
    let mut missing: Vec<String> = Vec::new();
    for (fault, line, field, message, remedy) in CASES {
        let profile = directory.path().join("bad.toml");
        std::fs::write(&profile, format!("[[fault]]\nproxy = 'redis'\n{fault}\n")).expect("write");
        let files = [
            config.to_str().expect("utf-8"),
            profile.to_str().expect("utf-8"),
        ];
        let exit = run_to_end(&["check", files[0], files[1]], LIMIT);
        assert_eq!(exit.code, Some(2), "{fault}: {exit:?}");
        let told = &exit.stderr;
        let place = format!("bad.toml:{line}:");
        for word in [&*place, field, message, remedy] {
            if !told.contains(word) {
                missing.push(format!("{word} in {told}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_admin_endpoint_refuses_the_same_and_nothing_changes() {
    let running = Running::start(&[]);
    let mut missing: Vec<String> = Vec::new();
    for (fault, _, field, message, remedy) in CASES {
        let toml: toml::Table = toml::from_str(fault).expect("TOML");
        let mut json = serde_json::to_value(toml).expect("JSON");
        json["proxy"] = Value::from("redis");
        let reply = running.brownout.post("/v1/faults", &json);
        assert!((400..500).contains(&reply.status), "{fault}: {reply:?}");
        let told = reply.json();
        let told = match told["errors"].as_array() {
            Some(all) => {
                let lines: Vec<String> = all
                    .iter()
                    .map(|one| format!("{} {} {}", one["field"], one["detail"], one["remedy"]))
                    .collect();
                lines.join("\n")
            }
            None => told["detail"].to_string(),
        };
        for word in [field, message, remedy] {
            if !told.contains(*word) {
                missing.push(format!("{word} in {told}"));
            }
        }
        let on = running.json(&["fault", "list"]);
        assert_eq!(on["faults"].as_array().map(Vec::len), Some(0), "{fault}");
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
