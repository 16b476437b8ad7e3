//! `brownout test` as people run it, against a real Redis and a real Postgres: one run for each exit code.

mod support;

use serde_json::Value;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use support::{Directory, Exit, Postgres, Redis, free_port, run_to_end};

const LIMIT: Duration = Duration::from_secs(60);

/// What is timed closely is not run beside what takes all of the machine.
static MACHINE: RwLock<()> = RwLock::new(());

/// A profile in a file, run with these arguments, beside others.
fn test(text: &str, more: &[&str]) -> Exit {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    run(text, more)
}

/// The same with nothing beside it.
fn alone(text: &str, more: &[&str]) -> Exit {
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    run(text, more)
}

fn run(text: &str, more: &[&str]) -> Exit {
    let directory = Directory::new("verify");
    let path = directory.path().join("profile.toml");
    std::fs::write(&path, text).expect("written");
    let path = path.to_string_lossy().into_owned();
    let arguments: Vec<&str> = ["test", &path].iter().chain(more).copied().collect();
    run_to_end(&arguments, LIMIT)
}

/// The document, and the verdict of the expectation at this place.
fn document(exit: &Exit) -> Value {
    serde_json::from_str(&exit.stdout)
        .unwrap_or_else(|e| panic!("{e}\n{}\n{}", exit.stdout, exit.stderr))
}

fn verdict<'d>(document: &'d Value, field: &str) -> &'d Value {
    let rows = document["expectations"].as_array().expect("a list");
    rows.iter()
        .find(|row| row["field"] == field)
        .unwrap_or_else(|| panic!("no {field} in {rows:?}"))
}

fn proxy(redis: &Redis) -> String {
    format!(
        "[[proxy]]\nname = 'redis'\nprotocol = 'redis'\nlisten = 0\nupstream = '127.0.0.1:{}'\n",
        redis.address().port()
    )
}

#[test]
fn a_service_that_keeps_its_limits_passes() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[load]]\nproxy = 'redis'\nrate = '100/s'\ncommands = ['SET {{key}} 1', 'GET {{key}}']\n\
           [[phase]]\nkind = 'warm-up'\nfor = '300ms'\n\
           [[phase]]\nkind = 'baseline'\nfor = '2s'\n\
           [[watch]]\nname = 'other'\ncommand = ['sleep', '60']\n\
           [[expect]]\nlane = 'redis'\np95 = '2s'\nerror_rate = 0.0\n\
           [[expect]]\nproxy = 'redis'\noperation = 'GET'\np50 = '1s'\n";
    let exit = test(&text, &["--output", "json", "--var", "key=verify"]);
    let document = document(&exit);
    assert_eq!(exit.code, Some(0), "{}\n{document:#}", exit.stderr);
    assert_eq!(document["result"], "pass");
    let p95 = verdict(&document, "expect[0].p95");
    // The warm-up is not in it.
    let samples = p95["samples"].as_u64().expect("a number");
    assert!((59..=210).contains(&samples), "{p95:#}");
    assert_eq!(verdict(&document, "expect[1].p50")["verdict"], "pass");
    assert_eq!(document["lanes"]["redis"]["failed"], 0);
    let proxy = &document["configuration"]["proxies"][0];
    assert_eq!(proxy["upstream"], redis.address().to_string());
    assert_ne!(proxy["listen"], "127.0.0.1:0", "where it really listened");
}

#[test]
fn faults_are_on_in_their_phase_and_a_broken_limit_fails() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[fault]]\nproxy = 'redis'\naction = 'error'\npreset = 'LOADING'\n\
           [[load]]\nproxy = 'redis'\ncallers = 2\nthink = '5ms'\ncommands = ['GET verify']\n\
           [[phase]]\nkind = 'baseline'\nfor = '1s'\n\
           [[phase]]\nkind = 'fault'\nfor = '1s'\n\
           [[phase]]\nkind = 'recovery'\nfor = '1500ms'\n\
           [[expect]]\nlane = 'redis'\nphase = ['baseline', 'fault', 'recovery']\nerror_rate = 0.05\n\
           [[expect]]\nproxy = 'redis'\ndetects_within = '900ms'\nfully_functional = true\n";
    let exit = test(&text, &["--output", "json"]);
    let document = document(&exit);
    assert_eq!(exit.code, Some(1), "{}\n{document:#}", exit.stderr);
    let by_phase: Vec<(&str, &str)> = document["expectations"].as_array().expect("a list")[..3]
        .iter()
        .map(|row| {
            (
                row["phases"][0].as_str().unwrap(),
                row["verdict"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        by_phase,
        [
            ("baseline", "pass"),
            ("fault", "fail"),
            ("recovery", "pass")
        ]
    );
    assert_eq!(
        verdict(&document, "expect[1].detects_within")["verdict"],
        "pass"
    );
    assert_eq!(
        verdict(&document, "expect[1].fully_functional")["verdict"],
        "pass"
    );
}

#[test]
fn too_few_samples_are_inconclusive_and_say_what_to_change() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[load]]\nproxy = 'redis'\ncallers = 1\nthink = '50ms'\ncommands = ['PING', 'GET a']\n\
           [[phase]]\nkind = 'baseline'\nfor = '1s'\n\
           [[expect]]\nproxy = 'redis'\np99 = '5s'\n";
    let exit = test(&text, &[]);
    assert_eq!(exit.code, Some(3), "{}{}", exit.stdout, exit.stderr);
    assert!(exit.stdout.contains("p99 needs 299"), "{}", exit.stdout);
    assert!(exit.stdout.contains("a longer phase"), "{}", exit.stdout);
    let strict = text + "on_inconclusive = 'fail'\n";
    assert_eq!(test(&strict, &[]).code, Some(1));
}

#[test]
fn traffic_that_passes_by_is_no_result() {
    let redis = Redis::start();
    let other = proxy(&redis).replace("name = 'redis'", "name = 'unused'");
    let text = proxy(&redis)
        + &other
        + "[[load]]\nproxy = 'redis'\nrate = '50/s'\ncommands = ['GET a']\n\
           [[phase]]\nkind = 'baseline'\nfor = '1s'\n\
           [[expect]]\nproxy = 'unused'\nerror_rate = 0.0\n";
    let exit = test(&text, &[]);
    assert_eq!(exit.code, Some(4), "{}{}", exit.stdout, exit.stderr);
    assert!(
        exit.stderr.contains("no request passed the proxy unused"),
        "{}",
        exit.stderr
    );
    assert!(
        exit.stderr.contains("redis 5") || exit.stderr.contains("redis 4"),
        "{}",
        exit.stderr
    );

    let nobody = format!("'127.0.0.1:{}'", free_port());
    let upstream = format!("'127.0.0.1:{}'", redis.address().port());
    let exit = test(&text.replace(&upstream, &nobody), &[]);
    assert_eq!(exit.code, Some(4));
    assert!(
        exit.stderr.contains("of lane redis failed"),
        "{}",
        exit.stderr
    );
}

#[test]
fn a_guard_stops_the_test() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[fault]]\nproxy = 'redis'\naction = 'error'\npreset = 'LOADING'\n\
           [[load]]\nproxy = 'redis'\nrate = '100/s'\ncommands = ['GET a']\n\
           [[phase]]\nkind = 'baseline'\nfor = '1s'\n\
           [[phase]]\nkind = 'fault'\nfor = '10m'\n\
           [[guard]]\nerror_rate = 0.5\nwindow = '1s'\n\
           [[expect]]\nlane = 'redis'\nphase = 'baseline'\nerror_rate = 0.0\n";
    let exit = test(&text, &[]);
    assert_eq!(exit.code, Some(1), "{}{}", exit.stdout, exit.stderr);
    assert!(exit.stdout.contains("stopped early"), "{}", exit.stdout);
}

#[test]
fn a_guard_sees_requests_that_hang() {
    let redis = Redis::start();
    // None of them ends while the guard looks.
    let text = proxy(&redis)
        + "[[fault]]\nproxy = 'redis'\naction = 'stall'\n\
           [[load]]\nproxy = 'redis'\nrate = '40/s'\ntimeout = '10m'\ncommands = ['GET a']\n\
           [[phase]]\nkind = 'baseline'\nfor = '1s'\n\
           [[phase]]\nkind = 'fault'\nfor = '10m'\n\
           [[guard]]\np95 = '600ms'\nwindow = '1s'\n\
           [[expect]]\nlane = 'redis'\nphase = 'baseline'\nerror_rate = 0.0\n";
    let exit = test(&text, &["--output", "json"]);
    assert_eq!(exit.code, Some(1), "{}{}", exit.stdout, exit.stderr);
    let document = document(&exit);
    let stopped = document["stopped"].as_str().expect("why");
    assert!(
        stopped.contains("still unanswered after more than 600ms"),
        "{stopped}"
    );
}

#[test]
fn a_lost_baseline_keeps_the_faults_off() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[fault]]\nproxy = 'redis'\naction = 'stall'\n\
           [[load]]\nproxy = 'redis'\nrate = '50/s'\ncommands = ['SET text 1', 'LPUSH text 1']\n\
           [[phase]]\nkind = 'warm-up'\nfor = '500ms'\n\
           [[phase]]\nkind = 'baseline'\nfor = '2s'\n\
           [[phase]]\nkind = 'fault'\nfor = '10m'\n\
           [[guard]]\nbaseline = true\n\
           [[expect]]\nproxy = 'redis'\nphase = 'baseline'\np50 = '1s'\n";
    let exit = test(&text, &["--output", "json"]);
    let document = document(&exit);
    assert_eq!(exit.code, Some(1), "{}\n{document:#}", exit.stderr);
    let stopped = document["stopped"].as_str().expect("why");
    assert!(
        stopped.starts_with("the baseline is lost, no fault was switched on: of "),
        "{stopped}"
    );
    assert!(
        stopped.contains("failed and 0 were unanswered"),
        "{stopped}"
    );
    assert!(stopped.ends_with("the guard allows 1.0 %"), "{stopped}");
    assert_eq!(document["faults"].as_array().map(Vec::len), Some(0));
    assert_eq!(document["phases"].as_array().map(Vec::len), Some(2));
    // As much as half fails where that is what is normal.
    let tolerant = text
        .replace("baseline = true", "baseline = true\nerror_rate = 0.6")
        .replace("for = '10m'", "for = '500ms'");
    let exit = test(&tolerant, &["--output", "json"]);
    assert_eq!(
        self::document(&exit)["stopped"],
        Value::Null,
        "{}",
        exit.stderr
    );
}

#[test]
fn transactions_on_postgres() {
    let postgres = Postgres::start();
    let text = format!(
        "[[proxy]]\nname = 'db'\nprotocol = 'postgres'\nlisten = 0\nupstream = '127.0.0.1:{}'\n\
         [[load]]\nproxy = 'db'\nrate = '50/s'\ntransaction = true\n\
         statements = ['SELECT 1', 'CREATE TEMP TABLE t (a int) ON COMMIT DROP']\n\
         [[phase]]\nkind = 'baseline'\nfor = '2s'\n\
         [[expect]]\nproxy = 'db'\ntransactions_intact = true\n\
         [[expect]]\nlane = 'db'\nerror_rate = 0.0\n",
        postgres.address().port()
    );
    let exit = test(&text, &["--output", "json"]);
    let document = document(&exit);
    assert_eq!(exit.code, Some(0), "{}\n{document:#}", exit.stderr);
    let intact = verdict(&document, "expect[0].transactions_intact");
    assert!(
        intact["evidence"]["figures"]["committed"].as_f64() > Some(20.0),
        "{intact:#}"
    );
}

/// A Postgres that does one thing after the other, each for five milliseconds: it bears 200 a second, and never more.
fn one_at_a_time(postgres: &Postgres, load: &str, expected: &str) -> String {
    format!(
        "[[proxy]]\nname = 'db'\nprotocol = 'postgres'\nlisten = 0\nupstream = '127.0.0.1:{}'\n\
         [[load]]\nproxy = 'db'\ntimeout = '2s'\nstatements = ['SELECT pg_advisory_xact_lock(1), pg_sleep(0.005)']\n{load}\
         [[phase]]\nkind = 'warm-up'\nfor = '300ms'\n{expected}",
        postgres.address().port()
    )
}

#[test]
fn the_capacity_of_a_service_is_found_between_what_it_bears_and_what_it_does_not() {
    let postgres = Postgres::start();
    let text = one_at_a_time(
        &postgres,
        "rate = '40/s'\nsearch = { metric = 'p95', limit = '200ms' }\n",
        "[[phase]]\nkind = 'capacity'\nfor = '24s'\nstep = '1s'\n\
         [[expect]]\nheadroom_at_least = 2.0\n\
         [[expect]]\nheadroom_at_least = 8.0\n",
    );
    // A machine that is busy with other things makes it inconclusive, never wrong; three times in a row is no chance.
    let (document, twice) = (0..3)
        .find_map(|_| {
            let exit = alone(&text, &["--output", "json"]);
            let document = document(&exit);
            let of = |place: &str| verdict(&document, place).clone();
            let (twice, eight) = (
                of("expect[0].headroom_at_least"),
                of("expect[1].headroom_at_least"),
            );
            let steps = exit.stderr;
            assert_ne!(twice["verdict"], "fail", "{twice:#}\n{steps}");
            assert_ne!(eight["verdict"], "pass", "{eight:#}\n{steps}");
            let known = twice["verdict"] == "pass" && eight["verdict"] == "fail";
            assert!(!known || exit.code == Some(1), "{:?}", exit.code);
            known.then_some((document, twice))
        })
        .expect("both of them conclusive in one of three runs");
    let capacity = &document["capacity"];
    let (kept, broken) = (capacity["kept"].as_f64(), capacity["broken"].as_f64());
    // What sleeps cannot be faster; a backlog of 200 ms takes a while to grow.
    assert!(kept >= Some(2.0) && kept < Some(6.5), "{capacity:#}");
    assert!(broken > kept && broken <= Some(8.0), "{capacity:#}");
    let steps = capacity["steps"].as_array().expect("a list");
    let notes = twice["evidence"]["notes"].as_array().expect("a list");
    assert!(
        steps.len() >= 5 && notes.len() == steps.len(),
        "{document:#}"
    );
    for step in steps {
        let (rate, achieved) = (step["rate"].as_f64(), step["achieved"].as_f64());
        assert!(achieved < Some(250.0) && rate >= Some(40.0), "{step:#}");
    }
}

#[test]
fn a_load_generator_at_its_end_is_no_slow_service() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[load]]\nproxy = 'redis'\ntimeout = '1s'\nrate = '95000/s'\ncommands = ['GET a']\n\
           search = { metric = 'p95', limit = '10ms' }\n\
           [[phase]]\nkind = 'capacity'\nfor = '8s'\nstep = '500ms'\n\
           [[expect]]\nheadroom_at_least = 1.0\n";
    let exit = alone(&text, &["--output", "json"]);
    let document = document(&exit);
    assert_eq!(exit.code, Some(3), "{}\n{document:#}", exit.stderr);
    let row = verdict(&document, "expect[0].headroom_at_least");
    let reason = row["reason"].as_str().expect("a reason");
    assert!(
        ["load generator", "not sent", "on this machine"]
            .iter()
            .any(|word| reason.contains(word)),
        "{row:#}"
    );
    assert_eq!(document["capacity"]["broken"], Value::Null);
}

#[test]
fn a_rate_changes_by_stages_and_a_canary_asks_one_at_a_time() {
    let postgres = Postgres::start();
    let text = one_at_a_time(
        &postgres,
        "stages = [{ rate = '40/s', for = '1300ms' }, { rate = '200/s', for = '1s', ramp = '200ms' }]\n\
         [[load]]\nlane = 'canary'\nproxy = 'db'\ncanary = true\nrate = '100/s'\nstatements = ['SELECT pg_sleep(0.05)']\n",
        "[[phase]]\nkind = 'baseline'\nfor = '1s'\n[[phase]]\nkind = 'steady'\nfor = '1s'\n\
         [[expect]]\nlane = 'db'\nphase = ['baseline', 'steady']\nerror_rate = 1.0\nmean = '1m'\n\
         [[expect]]\nlane = 'canary'\np50 = '1m'\n",
    );
    let exit = test(
        &text.replace("5)']\nstages", "2)']\nstages"),
        &["--output", "json"],
    );
    let document = document(&exit);
    let rows = document["expectations"].as_array().expect("a list");
    let samples = |place: usize| rows[place]["samples"].as_u64().expect("a number");
    // Limits of one table come in the order of their kind: mean, then the share of failures, each in both phases.
    let (before, after) = (samples(0), samples(1));
    assert!((30..=90).contains(&before), "{before}");
    assert!(after > 100 && after <= 260, "{after}");
    let canary = &document["lanes"]["canary"];
    let (asked, passed) = (canary["ended"].as_u64(), canary["passed_over"].as_u64());
    // Each takes 50 ms at least: the other four ticks of a hundred a second are passed over.
    assert!(asked >= Some(5) && asked <= Some(48), "{canary:#}");
    assert!(passed >= asked.map(|asked| 3 * asked), "{canary:#}");
    assert!(canary["p50_ms"].as_f64() >= Some(50.0), "{canary:#}");
    let exit = test(&text, &[]);
    assert!(exit.stdout.contains("passed over"), "{}", exit.stdout);
}

#[test]
#[cfg(target_os = "linux")]
fn a_container_is_watched_by_its_cgroup() {
    let (redis, folder) = (Redis::start(), Directory::new("cgroup"));
    let put = |file: &str, text: &str| {
        std::fs::write(folder.path().join(file), text).expect("written");
    };
    put("memory.current", "30000000\n");
    put("memory.stat", "anon 1\ninactive_file 10000000\n");
    put("cpu.stat", "usage_usec 1000\n");
    put("pids.current", "4\n");
    let text = proxy(&redis)
        + &format!(
            "[[load]]\nproxy = 'redis'\nrate = '20/s'\ncommands = ['GET a']\n\
             [[phase]]\nkind = 'steady'\nfor = '6s'\n\
             [[watch]]\nname = 'box'\ncgroup = '{}'\n\
             [[expect]]\nwatch = 'box'\nmemory_growth_at_most = '1MB'\nmemory_window = '5s'\ncpu_mean_at_most = 0.5\n",
            folder.path().display()
        );
    let exit = test(&text, &["--output", "json"]);
    let document = document(&exit);
    assert_eq!(exit.code, Some(0), "{}\n{document:#}", exit.stderr);
    // No terminal: a line every five seconds.
    assert!(exit.stderr.contains("left | p50"), "{}", exit.stderr);
    assert!(!exit.stderr.contains('\u{1b}'), "{}", exit.stderr);
    let growth = verdict(&document, "expect[0].memory_growth_at_most");
    assert_eq!(
        growth["evidence"]["figures"]["peak_bytes"], 20_000_000.0,
        "{growth:#}"
    );
    std::fs::remove_file(folder.path().join("pids.current")).expect("removed");
    let exit = test(&text, &[]);
    assert_eq!(exit.code, Some(4), "{}", exit.stdout);
    assert!(exit.stderr.contains("is no cgroup v2"), "{}", exit.stderr);
}

/// Five requests a second to an API, before a dependency that fails.
const API_IS_ASKED_SELDOM: &str = "[[proxy]]\nname = 'api'\nprotocol = 'http'\nlisten = 0\nupstream = 'http://127.0.0.1:1/'\n\
     [[load]]\nproxy = 'api'\nlane = 'api'\nrate = '5/s'\npath = '/'\n\
     [[fault]]\nproxy = 'redis'\naction = 'error'\ncode = 'ERR'\nmessage = 'x'\n\
     [[phase]]\nkind = 'fault'\nfor = '2s'\n[[phase]]\nkind = 'recovery'\nfor = '5s'\n\
     [[expect]]\nproxy = 'redis'\ndegrades = true\ncontained = true\nrecovers_within = '1s'\n\
     breaker = { fails_fast_within = '10ms' }\n";

/// What is added to a profile that is right; the exit code is 2; a place and a word of what is said.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "[[expect]]\nlane = 'redis'\np95 = '10'\n",
        ":18:7: expect[1].p95",
        "not a duration",
    ),
    (
        "[[expect]]\nlane = 'nobody'\np95 = '10ms'\n",
        "expect[1].lane",
        "lanes here: redis",
    ),
    (
        "[[expect]]\nproxy = 'nobody'\np95 = '10ms'\n",
        "expect[1].proxy",
        "proxies here: redis",
    ),
    (
        "[[expect]]\nlane = 'redis'\nphase = 'x'\np95 = '10ms'\n",
        "expect[1].phase",
        "phases here: baseline",
    ),
    ("[[expect]]\nlane = 'redis'\n", "expect[1]", "no limit"),
    (
        "[[expect]]\nlane = 'redis'\nerror_rate = 2.0\n",
        "expect[1].error_rate",
        "0 to 1",
    ),
    (
        "[[expect]]\nproxy = 'redis'\ncleans_up = true\n",
        "expect[1].cleans_up",
        "kind = \"fault\"",
    ),
    (
        "[[expect]]\nlane = 'redis'\np99 = '10ms'\n",
        ":18:7: expect[1].p99",
        "needs 299 samples",
    ),
    (
        "[[fault]]\nproxy = 'redis'\naction = 'error'\ncode = 'ERR'\nmessage = 'x'\n\
         [[phase]]\nkind = 'fault'\nfor = '2s'\n[[phase]]\nkind = 'recovery'\nfor = '3s'\n\
         [[expect]]\nproxy = 'redis'\ncleans_up = true\n",
        ":29:13: expect[1].cleans_up",
        "cleans up needs 5s of phases after the fault; there are 3s; lengthen the phases",
    ),
    (
        "[[fault]]\nproxy = 'redis'\naction = 'error'\ncode = 'ERR'\nmessage = 'x'\n\
         [[phase]]\nkind = 'fault'\nfor = '2s'\n[[expect]]\nproxy = 'redis'\nbreaker = { closes = true }\n",
        "expect[1].breaker.closes",
        "needs 100ms of phases after the fault; there are 0s",
    ),
    (
        "[[watch]]\nname = 'x'\npid = 1\n[[expect]]\nmemory_growth_at_most = '50MB'\n",
        "expect[1].memory_growth_at_most",
        "needs 2m of the phases that count; there are 1s",
    ),
    (
        "[[watch]]\nname = 'x'\npid = 1\n[[expect]]\nmemory_growth_at_most = '50MB'\nmemory_window = '5s'\n",
        "expect[1].memory_growth_at_most",
        "needs 5s of the phases that count; there are 1s",
    ),
    (
        API_IS_ASKED_SELDOM,
        "expect[1].degrades",
        "needs 30 requests to api in fault phases; at 5/s there are 10 in 2 s: 6s is needed, or a higher rate",
    ),
    (
        API_IS_ASKED_SELDOM,
        "expect[1].contained",
        "needs 59 requests to api in phases before the fault; at 5/s there are 5 in 1 s: 12s is needed",
    ),
    (
        API_IS_ASKED_SELDOM,
        "expect[1].recovers_within",
        "needs 30 requests to api in phases before the fault",
    ),
    (
        API_IS_ASKED_SELDOM,
        "expect[1].breaker.fails_fast_within",
        "needs 59 requests to api in the fault phases and those after them; at 5/s there are 35 in 7 s",
    ),
    (
        "[[proxy]]\nname = 'api'\nprotocol = 'http'\nlisten = 0\nupstream = '127.0.0.1:1'\n\
         [[load]]\nproxy = 'api'\nlane = 'api'\nrate = '5/s'\npath = '/'\n[[expect]]\nproxy = 'api'\np95 = '1s'\n",
        ":28:7: expect[1].p95",
        "needs 59 samples; at 5/s there are 5 in 1 s: 12s is needed",
    ),
    (
        "[[proxy]]\nname = 'b'\nprotocol = 'redis'\nlisten = 0\nupstream = 'http://h:1'\n",
        ":20:12: proxy[1].upstream",
        "a URL is not an address; write only host and port: \"h:1\"",
    ),
    (
        "[[expect]]\nlane = 'redis'\np59 = '10ms'\n",
        "expect[1].p59",
        "did you mean `p50`",
    ),
    ("[[phase]]\nkind = 'steady'\n", "phase[1]", "for = \"10s\""),
    (
        "[[phase]]\nkind = 'capacity'\nfor = '60s'\n",
        "phase[1]",
        "no load says what it has to keep to",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\nrate = '5/s'\ncommands = ['PING']\nsearch = { metric = 'p95', limit = '1s' }\n",
        "load[1].search",
        "kind = \"capacity\"",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\nrate = '5/s'\ncommands = ['PING']\nsearch = { metric = 'p95', limit = '1s' }\n\
         [[phase]]\nkind = 'capacity'\nfor = '9s'\n[[expect]]\nheadroom_at_least = 2.0\n",
        "expect[1].headroom_at_least",
        "needs 31s of a phase of kind capacity",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\ncallers = 1\ncommands = ['PING']\nsearch = { metric = 'p95', limit = '1s' }\n",
        "load[1].search",
        "only the rate of the open model",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\nrate = '5/s'\ncommands = ['PING']\nsearch = { metric = 'p95', limit = 1.0 }\n",
        "load[1].search.limit",
        "like limit = \"100ms\"",
    ),
    (
        "[[expect]]\nheadroom_at_least = 2.0\n",
        "expect[1].headroom_at_least",
        "no phase in which the rate is stepped",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\nstages = [{ rate = '5/s' }]\ncommands = ['PING']\n",
        "load[1].stages[0]",
        "how long it is",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\ncanary = true\ncallers = 1\ncommands = ['PING']\n",
        "load[1].canary",
        "a canary has a rate",
    ),
    (
        "[[phase]]\nkind = 'fault'\nfor = '1s'\n",
        "phase[1].kind",
        "no fault",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\nrate = '5'\ncommands = ['PING']\n",
        "load[1].rate",
        "like \"50/s\"",
    ),
    (
        "[[load]]\nproxy = 'redis'\nlane = 'b'\nrate = '5/s'\n",
        "load[1]",
        "commands",
    ),
    ("[[guard]]\nlane = 'redis'\n", "guard[0]", "no limit"),
    (
        "[[guard]]\nbaseline = true\n",
        "guard[0].baseline",
        "before the one of kind = \"fault\"",
    ),
    (
        "[[guard]]\nbaseline = true\nwindow = '1s'\n",
        "guard[0].window",
        "leave it out",
    ),
    (
        "[[watch]]\nname = 'x'\n",
        "watch[0]",
        "pid, process, listens, cgroup or command",
    ),
    (
        "[[watch]]\nname = 'x'\ncgroup = 'docker'\n",
        "watch[0].cgroup",
        "no folder of a cgroup",
    ),
    ("[service]\napi = 'nobody'\n", "service.api", "proxies here"),
    ("# {{nobody}}\n", "line 16", "--var nobody="),
];

#[test]
fn bad_profiles_are_refused_with_their_place() {
    let right = "[[proxy]]\nname = 'redis'\nprotocol = 'redis'\nlisten = 0\nupstream = '127.0.0.1:1'\n\
                 [[load]]\nproxy = 'redis'\nrate = '100/s'\ncommands = ['PING']\n\
                 [[phase]]\nkind = 'baseline'\nfor = '1s'\n[[expect]]\nproxy = 'redis'\np50 = '1s'\n";
    for (added, place, word) in WRONG {
        let exit = test(&format!("{right}{added}"), &[]);
        assert_eq!(exit.code, Some(2), "{added}: {}", exit.stderr);
        assert!(
            exit.stderr.contains(place),
            "{added}: {place} is not in {}",
            exit.stderr
        );
        assert!(
            exit.stderr.contains(word),
            "{added}: {word} is not in {}",
            exit.stderr
        );
    }
}

const ELSEWHERE: &str = "[[proxy]]\nname = 'api'\nprotocol = 'http'\nlisten = 0\nupstream = '{{api|127.0.0.1:1}}'\n\
     [[load]]\nproxy = 'api'\nrate = '50/s'\npath = '/'\n\
     [[phase]]\nkind = 'steady'\nfor = '1s'\n[[expect]]\nproxy = 'api'\np50 = '1s'\n";

#[test]
fn a_value_that_is_wrong_is_told_with_its_variable_and_nothing_that_follows_from_it() {
    for url in [
        "https://127.0.0.1:1",
        "http://127.0.0.1:1/path",
        "ftp://h:1",
    ] {
        let exit = test(ELSEWHERE, &["--var", &format!("api={url}")]);
        assert_eq!(exit.code, Some(2), "{}", exit.stderr);
        let first = exit.stderr.lines().next().unwrap_or_default();
        for part in [
            "profile.toml:5:12: proxy[0].upstream",
            "(given with --var api)",
            "write only host and port",
        ] {
            assert!(first.contains(part), "{part} is not in {first}");
        }
        assert!(!exit.stderr.contains("no proxy"), "{}", exit.stderr);
    }
}

#[test]
fn what_cannot_be_reached_is_named_where_all_requests_fail() {
    let port = free_port();
    let exit = test(
        ELSEWHERE,
        &["--var", &format!("api=http://127.0.0.1:{port}/")],
    );
    assert_eq!(exit.code, Some(4), "{}", exit.stderr);
    let told = format!("no connection could be made to api at 127.0.0.1:{port} (refused)");
    assert!(exit.stderr.contains(&told), "{}", exit.stderr);
}

#[test]
fn what_is_too_short_with_quick_is_inconclusive_and_not_refused() {
    let redis = Redis::start();
    let text = proxy(&redis)
        + "[[load]]\nproxy = 'redis'\nrate = '100/s'\ncommands = ['GET a']\n\
           [[fault]]\nproxy = 'redis'\naction = 'error'\ncode = 'ERR'\nmessage = 'x'\n\
           [[phase]]\nkind = 'baseline'\nfor = '1s'\n[[phase]]\nkind = 'fault'\nfor = '1s'\n\
           [[phase]]\nkind = 'recovery'\nfor = '1s'\n[[expect]]\nproxy = 'redis'\ncleans_up = true\n";
    assert_eq!(test(&text, &[]).code, Some(2));
    let exit = test(&text, &["--quick"]);
    assert_eq!(exit.code, Some(3), "{}\n{}", exit.stdout, exit.stderr);
    let widest = exit.stdout.lines().take_while(|line| !line.is_empty());
    assert!(
        widest.clone().count() > 1 && widest.clone().all(|line| line.chars().count() <= 80),
        "{}",
        exit.stdout
    );
}
