//! `brownout profile explain`: why an exchange is hit, or is not.

use crate::support::{Directory, run_to_end};
use crate::{LIMIT, Running};
use serde_json::{Value, json};

const PROFILE: &str = r#"
[[fault]]
name = "half"
proxy = "pg"
action = "error"
preset = "serialization_failure"
match = { table = "orders", client = "10.0.0.0/8" }
probability = 0.5
schedule = { start = "5s", duration = "10s" }

[[fault]]
name = "late"
proxy = "pg"
action = "latency"
delay = "20ms"
match = { operation = "SELECT" }
"#;

fn explain(name: &str, more: &[&str]) -> crate::Exit {
    let mut all = vec!["profile", "explain", name];
    all.extend(more);
    run_to_end(&all, LIMIT)
}

#[test]
fn a_file_is_explained_without_a_running_brownout() {
    let directory = Directory::new("explain");
    let path = directory.path().join("mine.toml");
    std::fs::write(&path, PROFILE).expect("write");
    let path = path.to_str().expect("utf-8");
    let common = [
        "--proxy",
        "pg",
        "--protocol",
        "postgres",
        "--operation",
        "select",
    ];
    let with = |more: &[&str]| explain(path, &[&common[..], more].concat());

    let exit = with(&["--sql", "select * from users"]);
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let expected = "\
half (error) does not hit
  yes  proxy: `pg` and `pg`
  no   match.client: wants `10.0.0.0/8`, found no address
  no   match.table: wants `orders`, found `users`
late (latency) hits
  yes  proxy: `pg` and `pg`
  yes  match.operation: wants `SELECT`, found `SELECT`
  yes  schedule: always; at 0s its strength is 1.00
  =>   delays by 20ms
hit: the reply is held 20ms
";
    assert_eq!(exit.stdout, expected);

    let orders = [
        "--sql",
        "select 'x' from Orders",
        "--client",
        "10.1.2.3",
        "--at",
        "6s",
    ];
    let exit = with(&orders);
    assert_eq!(exit.code, Some(2), "{exit:?}");
    assert!(
        exit.stderr.contains("`half` hits is a matter of its dice")
            && exit.stderr.contains("--seed N")
    );

    // Somewhere among the first sessions the dice fall either way, and the same seed says the same each time.
    let seeded = |session: &str| {
        let more = [
            &orders[..],
            &["--seed", "7", "--session", session, "--output", "json"],
        ]
        .concat();
        let (exit, again) = (with(&more), with(&more));
        assert_eq!((exit.code, &exit.stdout), (Some(0), &again.stdout));
        let answer: Value = serde_json::from_str(&exit.stdout).expect("JSON");
        let steps = answer["faults"][0]["steps"]
            .as_array()
            .expect("steps")
            .clone();
        let last = steps.last().expect("a step");
        assert_eq!(last["asked"], "probability");
        assert_eq!(last["holds"], answer["faults"][0]["hit"]);
        answer["faults"][0]["hit"].as_bool().expect("a bool")
    };
    let hits: Vec<bool> = (0..8).map(|n| seeded(&n.to_string())).collect();
    assert!(hits.contains(&true) && hits.contains(&false), "{hits:?}");
}

#[test]
fn no_hit_is_exit_code_1_and_wrong_usage_2() {
    let exit = explain(
        "redis-slow",
        &[
            "--proxy",
            "other",
            "--protocol",
            "tcp",
            "--operation",
            "burst",
        ],
    );
    assert_eq!(
        (exit.code, exit.stdout.lines().last()),
        (Some(1), Some("not hit: it passes as it is"))
    );
    for (name, more, word) in [
        (
            "redis-slow",
            &["--proxy", "x", "--operation", "GET"][..],
            "give --protocol",
        ),
        (
            "redis-slo",
            &["--proxy", "redis", "--operation", "GET"],
            "did you mean `redis-slow`?",
        ),
        (
            "redis-slow",
            &["--proxy", "redis", "--operation", "GTE"],
            "did you mean `GET`?",
        ),
        (
            "redis-slow",
            &["--proxy", "redis", "--operation", "GET", "--class", "x"],
            "write one of read, ",
        ),
        (
            "redis-slow",
            &["--proxy", "redis", "--operation", "GET", "--header", "x"],
            "write NAME:VALUE",
        ),
        (
            "redis-slow",
            &["--proxy", "http", "--operation", "GET"],
            "a method and a route",
        ),
    ] {
        let exit = explain(name, more);
        assert_eq!(exit.code, Some(2), "{exit:?}");
        assert!(exit.stderr.contains(word), "{exit:?}");
    }
}

/// What is on in a running brownout is explained with its own seed and counts: as it then happens.
#[test]
fn what_is_on_is_explained_as_it_happens() {
    let running = Running::start(&["--seed", "3"]);
    let fault = json!({
        "name": "few", "proxy": "redis", "action": "error", "preset": "LOADING",
        "probability": 0.5, "first": 2, "after": 1, "match": { "operation": "ECHO" },
    });
    let reply = running.brownout.post("/v1/faults", &fault);
    assert_eq!(reply.status, 201, "{reply:?}");
    let arguments = [
        "profile",
        "explain",
        "few",
        "--live",
        "--proxy",
        "redis",
        "--operation",
        "ECHO",
    ];
    let answer = |session: u64, exchange: u64| {
        let (session, exchange) = (session.to_string(), exchange.to_string());
        let more = [
            "--session",
            &session,
            "--exchange",
            &exchange,
            "--output",
            "json",
        ];
        let exit = running.command(&[&arguments[..], &more].concat());
        serde_json::from_str::<Value>(&exit.stdout).unwrap_or_else(|_| panic!("{exit:?}"))
    };
    let injected = || {
        let faults: Value = running.json(&["fault", "list"]);
        faults["faults"][0]["injected"].as_u64().expect("a count")
    };
    let mut hits = 0;
    for session in 0..12 {
        let expected = answer(session, 0)["hit"].as_bool().expect("a bool");
        running.send("*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n", 1);
        let before = hits;
        hits = injected();
        assert_eq!(hits > before, expected, "session {session}");
    }
    assert_eq!(hits, 2);
    let last = answer(12, 0);
    let steps = last["faults"][0]["steps"].to_string();
    assert!(!last["hit"].as_bool().expect("a bool"), "{steps}");
    assert!(steps.contains("12 came before"), "{steps}");
    let exit = running.command(&[
        "profile",
        "explain",
        "none",
        "--live",
        "--proxy",
        "redis",
        "--operation",
        "GET",
    ]);
    assert_eq!(exit.code, Some(2), "{exit:?}");
}

#[test]
fn what_only_one_direction_or_method_knows_is_asked_as_the_proxy_asks_it() {
    let directory = Directory::new("explain-sides");
    let path = directory.write(
        "mine.toml",
        "[[fault]]\nname = 'short'\naction = 'truncate'\n[[fault]]\nname = 'silent'\naction = 'stall'\n",
    );
    let path = path.to_str().expect("utf-8");
    let tcp = ["--proxy", "t", "--protocol", "tcp", "--operation", "burst"];
    let exit = explain(path, &tcp);
    assert!(
        exit.stdout
            .contains("no   on: it does not act on what the client sends"),
        "{exit:?}"
    );
    assert!(exit.stdout.contains("silent (stall) hits"), "{exit:?}");
    let exit = explain(path, &[&tcp[..], &["--side", "reply"]].concat());
    assert!(exit.stdout.contains("short (truncate) hits"), "{exit:?}");
    assert!(
        exit.stdout.contains("silent (stall) does not hit"),
        "{exit:?}"
    );

    let path = directory.write(
        "writes.toml",
        "[[fault]]\naction = 'stall'\nmatch = { class = 'write' }\n",
    );
    let path = path.to_str().expect("utf-8");
    let http = ["--proxy", "h", "--protocol", "http", "--operation"];
    for (operation, code) in [("POST /a", 0), ("CONNECT /", 1), ("GET /a", 1)] {
        let exit = explain(path, &[&http[..], &[operation]].concat());
        assert_eq!(exit.code, Some(code), "{operation} {exit:?}");
    }
}
