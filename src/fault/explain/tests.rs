//! That explaining says what deciding does.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fault::arguments::Said;
use crate::fault::spec::FaultSpec;
use crate::fault::{Store, Subject};
use crate::protocol::{Catalog, Operation};

const SEED: u64 = 9;

fn operation(catalog: &Catalog, name: &str) -> Operation {
    let mut all = (0..1000).map(Operation);
    all.find(|o| catalog.operation_name(*o) == name).unwrap()
}

fn compile(toml: &str) -> Fault {
    let spec: FaultSpec = toml::from_str(toml).unwrap_or_else(|e| panic!("{toml}: {e}"));
    spec.compile("").unwrap_or_else(|e| panic!("{toml}: {e:?}"))
}

fn case(name: &'static str, at: (u64, u64), key: &'static [u8]) -> Case<'static> {
    Case {
        proxy: "p",
        protocol: Protocol::Redis,
        operation: name,
        class: Class::Read,
        client: Some(IpAddr::from([10, 0, 0, 1])),
        session: at.0,
        exchange: at.1,
        side: None,
        request: Request::described(Protocol::Redis, vec![key], Vec::new()),
    }
}

fn candidates(faults: &[Fault], age: Duration) -> Vec<Candidate<'_>> {
    let places = (1..).zip(faults);
    places
        .map(|(n, fault)| {
            let name = format!("{}-{n}", fault.spec().action.name());
            Candidate {
                draws_as: name.clone(),
                name,
                fault,
                seed: Some(SEED),
                age,
                ttl: None,
                offered: 0,
                hits: 0,
                answer: None,
            }
        })
        .collect()
}

/// The same faults as TOML, in every combination of what they ask.
fn faults() -> impl Strategy<Value = Vec<String>> {
    let action = proptest::sample::select(vec![
        "action = 'latency'\ndelay = '5ms'",
        "action = 'latency'\ndelay = { distribution = 'uniform', min = '1ms', max = '9ms' }\non = 'request'",
        "action = 'latency'\ndelay = '7ms'\nfloor = true",
        "action = 'stall'",
        "action = 'error'\npreset = 'LOADING'",
        "action = 'error'\npreset = '503'",
        "action = 'disconnect'",
        "action = 'throttle'\nbytes_per_second = 1000",
        "action = 'refuse'\nhow = 'reset'",
    ]);
    let gates = proptest::sample::select(vec![
        "",
        "probability = 0.5",
        "probability = 0.3\nscope = 'session'",
        "every = 2",
        "after = 1",
        "first = 1",
        "per_second = 3",
        "probability = 0.7\nevery = 1\nfirst = 2",
    ]);
    let proxy = proptest::sample::select(vec!["", "proxy = 'p*'", "proxy = 'q'"]);
    let ttl = proptest::sample::select(vec!["", "ttl = '10s'", "ttl = '1h'"]);
    let schedule = proptest::sample::select(vec![
        "",
        "schedule = { duration = '10s' }",
        "schedule = { start = '5s', duration = '4s', repeat = '8s', ramp = '3s' }",
        "schedule = { ramp = '20s' }",
    ]);
    let matching = proptest::sample::select(vec![
        "",
        "match = { operation = 'GET' }",
        "match = { operation = ['S*', 'M*'] }",
        "match = { class = 'read', key = 'user:*' }",
        "match = { client = '10.0.0.0/8' }",
        "match = { client = '11.0.0.0/8' }",
        "match = { database = '0', user = 'default' }",
        "match = { client_name = 'x' }",
    ]);
    let one = (action, gates, proxy, ttl, schedule, matching).prop_filter_map(
        "`refuse` has no operation, and 503 belongs to HTTP",
        |(action, gates, proxy, ttl, schedule, matching)| {
            let refuse = action.contains("refuse");
            let toml = [action, gates, proxy, ttl, schedule, matching].join("\n");
            let start = toml.contains("start = '5s'") && toml.contains("ttl = '1s'");
            let of_others = ["operation", "key", "database"];
            let foreign =
                action.contains("503") && of_others.iter().any(|it| matching.contains(it));
            (!start && !foreign && (!refuse || matching.is_empty() && !gates.contains("exchange")))
                .then_some(toml)
        },
    );
    proptest::collection::vec(one, 1..5)
}

proptest! {
    /// Whatever is on and whatever is asked: both name the same faults, delays and end.
    #[test]
    fn explaining_says_what_deciding_does(
        tomls in faults(),
        at in 0..25_000_u64,
        session in 0..4_u64,
        exchange in 0..4_u64,
        name in proptest::sample::select(vec!["GET", "SET"]),
        key in proptest::sample::select(vec![&b"user:1"[..], b"x"]),
    ) {
        let faults: Vec<Fault> = tomls.iter().map(|toml| compile(toml)).collect();
        let (now, age) = (Instant::now(), Duration::from_millis(at));
        let mut store = Store::new(SEED);
        store.enable_profile("t", faults.clone(), None, None, now).unwrap();
        let catalog = Catalog::new(Protocol::Redis, &[]);
        let plan = store.plan_for("p", &catalog, now);
        let request = format!("*2\r\n$3\r\n{name}\r\n${}\r\n{}\r\n", key.len(), String::from_utf8_lossy(key));
        let decision = plan.decide(&Subject {
            session,
            exchange,
            operation: operation(&catalog, name),
            class: Class::Read,
            client: Some(IpAddr::from([10, 0, 0, 1])),
            said: Said::default(),
            request: request.as_bytes(),
            now: now + age,
        });
        let explained =
            explain(&mut case(name, (session, exchange), key), &candidates(&faults, age)).unwrap();
        let hits: Vec<&str> = explained.faults.iter().filter(|f| f.hit).map(|f| &*f.fault).collect();
        let decided: Vec<&str> = decision.faults.iter().map(|name| &**name).collect();
        prop_assert_eq!(hits, decided, "{:?}", explained);
        prop_assert_eq!(explained.hit, !decision.faults.is_empty());
        prop_assert_eq!(explained.outcome.contains("ends it"), decision.end.is_some());
        for (word, delay) in [
            ("the request is held", decision.request_delay),
            ("the reply is held", decision.reply_delay),
            ("it takes at least", decision.reply_floor),
        ] {
            let said = format!("{word} {}", humantime::format_duration(delay));
            prop_assert_eq!(explained.outcome.contains(word), !delay.is_zero());
            prop_assert!(delay.is_zero() || explained.outcome.contains(&said), "{} {}", explained.outcome, said);
        }
        // What does not hit says why, in its last step or in one of its matches.
        for fault in &explained.faults {
            prop_assert_eq!(fault.hit, fault.steps.iter().all(|step| step.holds), "{:?}", fault);
        }
    }
}

#[test]
fn each_step_says_what_it_compared() {
    let faults = [compile(
        "action = 'error'\npreset = 'LOADING'\nprobability = 0.5\nfirst = 3\nmatch = { operation = 'GET', key = 'user:*' }",
    )];
    let mut candidates = candidates(&faults, Duration::from_secs(5));
    let told = |candidates: &[Candidate<'_>], key| {
        let answer = explain(&mut case("GET", (0, 1), key), candidates).unwrap();
        let steps = answer.faults[0].steps.iter();
        let steps: Vec<String> = steps
            .map(|s| format!("{} {} {}", s.asked, s.holds, s.because))
            .collect();
        (steps.join("\n"), answer.outcome)
    };
    let (steps, outcome) = told(&candidates, b"order:1");
    assert_eq!(
        steps,
        "proxy true `*` and `p`\n\
         match.operation true wants `GET`, found `GET`\n\
         match.key false wants `user:*`, found `order:1`"
    );
    assert_eq!(outcome, "it passes as it is");
    candidates[0].hits = 3;
    candidates[0].seed = Some(2);
    let (steps, _) = told(&candidates, b"user:1");
    assert!(
        steps.contains("schedule true always; at 5s its strength is 1.00"),
        "{steps}"
    );
    assert!(
        steps.contains("probability") && steps.contains("needs less than 0.5"),
        "{steps}"
    );
    let mut held = steps.lines().filter(|line| line.starts_with("first"));
    assert!(
        held.next()
            .is_none_or(|l| l == "first false at most 3 hits; 3 came before")
    );
    candidates[0].seed = None;
    let unknown = explain(&mut case("GET", (0, 1), b"user:1"), &candidates);
    assert_eq!(unknown.unwrap_err(), NoSeed("error-1".into()));
}

/// The composition of several faults on one exchange, each with what becomes of the exchange and who was not asked.
#[test]
fn several_faults_compose_in_the_order_of_switching_on() {
    let (fast, slow) = (
        "action = 'latency'\ndelay = '2ms'",
        "action = 'latency'\ndelay = '40ms'",
    );
    let request = "action = 'latency'\ndelay = '3ms'\non = 'request'";
    let floor = "action = 'latency'\ndelay = '30ms'\nfloor = true";
    let low_floor = "action = 'latency'\ndelay = '1ms'\nfloor = true";
    let (stall, error) = ("action = 'stall'", "action = 'error'\npreset = 'LOADING'");
    let throttle = "action = 'throttle'\nbytes_per_second = 1000";
    for (order, outcome, hits) in [
        (vec![fast, slow], "the reply is held 42ms", vec![true, true]),
        (
            vec![slow, request],
            "the request is held 3ms, the reply is held 40ms",
            vec![true, true],
        ),
        (
            vec![floor, low_floor, fast],
            "the reply is held 2ms, it takes at least 30ms",
            vec![true; 3],
        ),
        (
            vec![error, stall],
            "`error-1` ends it by `error`",
            vec![true, false],
        ),
        (
            vec![stall, error],
            "`stall-1` ends it by `stall`",
            vec![true, false],
        ),
        (
            vec![error, fast, stall, request],
            "the request is held 3ms, `error-1` ends it by `error`, the reply is held 2ms",
            vec![true, true, false, true],
        ),
        (
            vec![throttle, stall, throttle],
            "`stall-2` ends it by `stall`, `throttle-1` acts on it by `throttle`, \
             `throttle-3` acts on it by `throttle`",
            vec![true; 3],
        ),
    ] {
        let faults: Vec<Fault> = order.iter().map(|toml| compile(toml)).collect();
        let all = candidates(&faults, Duration::ZERO);
        let explained = explain(&mut case("GET", (0, 0), b"x"), &all).unwrap();
        assert_eq!(explained.outcome, outcome);
        let hit: Vec<bool> = explained.faults.iter().map(|f| f.hit).collect();
        assert_eq!(hit, hits, "{order:?}");
        // And deciding agrees.
        let mut store = Store::new(SEED);
        let now = Instant::now();
        store
            .enable_profile("t", faults.clone(), None, None, now)
            .unwrap();
        let catalog = Catalog::new(Protocol::Redis, &[]);
        let decision = store.plan_for("p", &catalog, now).decide(&Subject {
            session: 0,
            exchange: 0,
            operation: operation(&catalog, "GET"),
            class: Class::Read,
            client: None,
            said: Said::default(),
            request: b"",
            now,
        });
        let named: Vec<Arc<str>> = all
            .iter()
            .zip(&hits)
            .filter(|(_, hit)| **hit)
            .map(|(candidate, _)| candidate.name.as_str().into())
            .collect();
        assert_eq!(decision.faults, named);
    }
}

#[test]
fn what_was_said_to_a_session_holds_for_all_that_it_asks() {
    let every_second = [compile("action = 'stall'\nevery = 2\nscope = 'session'")];
    let hit = |answer, offered| {
        let mut candidates = candidates(&every_second, Duration::ZERO);
        candidates[0].answer = answer;
        candidates[0].offered = offered;
        let explanation = explain(&mut case("GET", (3, 5), b"k"), &candidates).unwrap();
        let last = explanation.faults[0].steps.last().unwrap().clone();
        (explanation.hit, last.asked)
    };
    // By the counts of other sessions it would be another.
    assert_eq!(hit(Some(true), 4), (true, "scope".into()));
    assert_eq!(hit(Some(false), 5), (false, "scope".into()));
    assert_eq!(hit(None, 5), (true, "every".into()));
    assert_eq!(hit(None, 4), (false, "every".into()));
}
