use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fault::arguments::Said;
use crate::fault::spec::FaultSpec;
use crate::fault::{Skip, Store};
use crate::protocol::{Protocol, tcp};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A store with these faults (TOML), the moment at which they were switched on, and the plan of proxy `p`.
fn plan(protocol: Protocol, faults: &[&str]) -> (Store, Instant, Arc<Plan>) {
    let now = Instant::now();
    let mut store = Store::new(1);
    for toml in faults {
        let spec: FaultSpec = toml::from_str(toml).unwrap();
        let fault = spec.compile("").unwrap_or_else(|e| panic!("{toml}: {e:?}"));
        store
            .add(fault, None, crate::fault::Source::AdHoc, now)
            .unwrap();
    }
    let plan = store.plan_for("p", &Catalog::new(protocol, &[]), now);
    (store, now, plan)
}

fn subject(session: u64, exchange: u64, now: Instant) -> Subject<'static> {
    Subject {
        session,
        exchange,
        operation: tcp::BURST,
        class: Class::Read,
        client: None,
        said: Said::default(),
        request: b"",
        now,
    }
}

fn names(decision: &Decision) -> Vec<&str> {
    decision.faults.iter().map(|name| &**name).collect()
}

#[test]
fn an_empty_plan_does_nothing() {
    let plan = Plan::default();
    let now = Instant::now();
    assert!(plan.is_empty());
    let decision = plan.decide(&subject(0, 0, now));
    assert!(decision.end.is_none() && decision.faults.is_empty());
    assert!(!plan.needs_arguments(Operation(u16::MAX), Class::Read));
    assert!(plan.refuse(0, None, now).is_none());
    assert!(!plan.listener_closed(now));
    assert!(plan.cuts_existing(now).is_none());
    assert!(plan.next_change(now).is_none());
    plan.skipped("nobody", Skip::NoReply);
    plan.session_ended(0);
}

#[test]
fn what_acts_elsewhere_or_means_nothing_here_is_not_in_the_plan() {
    let (_, _, plan) = plan(
        Protocol::Tcp,
        &[
            "action = 'stall'\nproxy = 'q*'",
            "action = 'error'\npreset = 'LOADING'",
            "action = 'stall'\nmatch = { key = '*' }",
        ],
    );
    assert!(plan.is_empty());
}

#[test]
fn delays_add_floors_do_not_and_the_first_end_wins() {
    let (store, now, plan) = plan(
        Protocol::Redis,
        &[
            "name = 'a'\naction = 'latency'\ndelay = '5ms'",
            "name = 'b'\naction = 'latency'\ndelay = '3ms'\non = 'request'",
            "name = 'c'\naction = 'error'\npreset = 'LOADING'",
            "name = 'd'\naction = 'stall'",
            "name = 'e'\naction = 'latency'\ndelay = '7ms'",
            "name = 'f'\naction = 'latency'\ndelay = '9ms'\nfloor = true",
            "name = 'g'\naction = 'latency'\ndelay = '2ms'\nfloor = true",
        ],
    );
    let decision = plan.decide(&subject(0, 0, now));
    assert_eq!(decision.reply_delay, ms(12));
    assert_eq!(decision.request_delay, ms(3));
    assert_eq!(decision.reply_floor, ms(9));
    assert!(matches!(decision.end, Some(Ending::Error(_))));
    assert_eq!(names(&decision), ["a", "b", "c", "e", "f", "g"]);
    let late = store.get("d", now).unwrap();
    assert_eq!((late.matched, late.injected), (1, 0));
}

/// An exchange that has been ended costs the gates of later faults nothing.
#[test]
fn gates_of_faults_that_come_too_late_do_not_count() {
    let (_, now, plan) = plan(
        Protocol::Tcp,
        &[
            "name = 'a'\naction = 'stall'\nfirst = 2",
            "name = 'b'\naction = 'disconnect'\nfirst = 1",
        ],
    );
    let hit: Vec<String> = (0..4)
        .map(|n| names(&plan.decide(&subject(0, n, now))).concat())
        .collect();
    assert_eq!(hit, ["a", "a", "b", ""]);
}

#[test]
fn every_action_ends_as_it_says() {
    let ending = |toml: &str| {
        let (_, now, plan) = plan(Protocol::Http, &[toml]);
        plan.decide(&subject(0, 0, now)).end.expect(toml)
    };
    assert!(matches!(ending("action = 'stall'"), Ending::Stall));
    assert!(matches!(
        ending("action = 'timeout'\nclose_after = '5s'"),
        Ending::Timeout(after) if after == ms(5000)
    ));
    assert!(matches!(
        ending("action = 'disconnect'"),
        Ending::Disconnect(_)
    ));
    let Ending::Error(reply) = ending("action = 'error'\nstatus = 503") else {
        panic!("no error");
    };
    assert!(matches!(*reply, ErrorReply::Http { status: 503, .. }));
}

#[test]
fn only_exchanges_of_the_operation_and_class_are_hit() {
    let catalog = Catalog::new(Protocol::Redis, &[]);
    let name = catalog.operation_name(Operation(0)).to_ascii_lowercase();
    let (_, now, plan) = plan(
        Protocol::Redis,
        &[
            &format!(
                "name = 'this'\naction = 'latency'\ndelay = '1ms'\nmatch = {{ operation = '{name}' }}"
            ),
            "name = 'none'\naction = 'latency'\ndelay = '1ms'\nmatch = { operation = 'no such command' }",
            "name = 'read'\naction = 'latency'\ndelay = '1ms'\nmatch = { class = ['read', 'ping'] }",
        ],
    );
    let hit = |class| {
        let decision = plan.decide(&Subject {
            operation: Operation(0),
            class,
            ..subject(0, 0, now)
        });
        names(&decision).join(" ")
    };
    assert_eq!(hit(Class::Read), "this read");
    assert_eq!(hit(Class::Ping), "this read");
    assert_eq!(hit(Class::Write), "this");
}

#[test]
fn arguments_are_asked_for_only_where_someone_looks_at_them() {
    let (_, now, plan) = plan(
        Protocol::Redis,
        &[
            "action = 'stall'\nmatch = { class = 'write', key = 'user:*' }",
            "action = 'latency'\ndelay = '1ms'",
        ],
    );
    assert!(plan.needs_arguments(Operation(3), Class::Write));
    assert!(!plan.needs_arguments(Operation(3), Class::Read));
    let ended = |request| {
        let subject = Subject {
            class: Class::Write,
            request,
            ..subject(0, 0, now)
        };
        plan.decide(&subject).end.is_some()
    };
    assert!(ended(b"*3\r\n$3\r\nSET\r\n$6\r\nuser:1\r\n$1\r\nv\r\n"));
    assert!(!ended(
        b"*3\r\n$3\r\nSET\r\n$5\r\nother\r\n$6\r\nuser:1\r\n"
    ));
}

#[test]
fn clients_outside_the_network_are_left_alone() {
    let (_, now, plan) = plan(
        Protocol::Tcp,
        &[
            "name = 'x'\naction = 'stall'\nmatch = { client = '10.0.0.0/8' }",
            "name = 'r'\naction = 'refuse'\nhow = 'reset'\nmatch = { client = '10.0.0.0/8' }",
        ],
    );
    for (client, hit) in [
        ("10.1.1.1", true),
        ("::ffff:10.1.1.1", true),
        ("11.1.1.1", false),
    ] {
        let client = Some(client.parse().unwrap());
        let subject = Subject {
            client,
            ..subject(0, 0, now)
        };
        assert_eq!(plan.decide(&subject).end.is_some(), hit);
        assert_eq!(plan.refuse(0, client, now).is_some(), hit);
    }
    assert!(plan.refuse(0, None, now).is_none());
}

#[test]
fn refusals_act_on_sessions_and_not_on_exchanges() {
    let (_, now, plan) = plan(
        Protocol::Postgres,
        &[
            "name = 'r'\naction = 'refuse'\nhow = 'silent'\nevery = 2",
            "name = 's'\naction = 'refuse'\nhow = 'reset'\nafter = 2",
        ],
    );
    assert!(!plan.is_empty());
    assert!(plan.decide(&subject(0, 0, now)).faults.is_empty());
    let refused: Vec<_> = (0..4)
        .map(|session| {
            plan.refuse(session, None, now)
                .map(|(how, name)| (how, name.to_string()))
        })
        .collect();
    let silent = || Some((Refuse::Silent, "r".to_owned()));
    // What `r` turns away is not offered to `s`: it sees sessions 0 and 2 alone.
    assert_eq!(refused, [None, silent(), None, silent()]);
    assert!(!plan.listener_closed(now));
}

#[test]
fn a_closed_listener_follows_its_schedule() {
    let (_, begin, plan) = plan(
        Protocol::Redis,
        &[
            "name = 'down'\naction = 'refuse'\nexisting = 'cut'\nttl = '1s'\n\
           schedule = { start = '100ms', duration = '50ms', repeat = '400ms' }",
        ],
    );
    let at = |millis| {
        let now = begin + ms(millis);
        let closed = plan.listener_closed(now);
        assert_eq!(plan.cuts_existing(now).is_some(), closed);
        assert_eq!(plan.refuse(0, None, now).is_some(), closed);
        let next = plan.next_change(now);
        (closed, next.map(|at| (at - begin).as_millis()))
    };
    assert_eq!(at(0), (false, Some(100)));
    assert_eq!(at(100), (true, Some(150)));
    assert_eq!(at(150), (false, Some(500)));
    assert_eq!(at(520), (true, Some(550)));
    assert_eq!(at(920), (true, Some(950)));
    assert_eq!(at(960), (false, Some(1000)), "the end of its time to live");
    assert_eq!(at(1000), (false, None));
}

#[test]
fn nothing_acts_beyond_its_time_to_live_even_if_nobody_removes_it() {
    let (_, begin, plan) = plan(Protocol::Tcp, &["action = 'stall'\nttl = '1s'"]);
    assert!(plan.decide(&subject(0, 0, begin + ms(999))).end.is_some());
    assert!(plan.decide(&subject(0, 1, begin + ms(1000))).end.is_none());
}

#[test]
fn a_ramp_scales_delays_and_shares_of_hits() {
    let (store, begin, plan) = plan(
        Protocol::Tcp,
        &[
            "name = 'slow'\naction = 'latency'\ndelay = '100ms'\nschedule = { ramp = '1s' }",
            "name = 'gone'\naction = 'disconnect'\nschedule = { ramp = '1s' }",
        ],
    );
    let share = |millis: u64| {
        let decided = (0..2000).map(|n| plan.decide(&subject(millis, n, begin + ms(millis))));
        let mut ended = 0;
        for decision in decided {
            assert_eq!(decision.reply_delay, ms(millis.min(1000)) / 10);
            ended += u32::from(decision.end.is_some());
        }
        ended
    };
    assert_eq!(share(0), 0);
    assert_eq!(
        store.get("slow", begin).unwrap().injected,
        0,
        "a delay of nothing is no hit"
    );
    assert!((420..580).contains(&share(250)), "a quarter of 2000");
    assert!((1420..1580).contains(&share(750)));
    assert_eq!(share(1000), 2000);
}

#[test]
fn hits_and_skips_are_counted_by_fault() {
    let (store, now, plan) = plan(
        Protocol::Redis,
        &["name = 'e'\naction = 'error'\npreset = 'OOM'\nevery = 2\nmatch = { class = 'write' }"],
    );
    for n in 0..10 {
        for class in [Class::Read, Class::Write] {
            plan.decide(&Subject {
                class,
                ..subject(0, n, now)
            });
        }
    }
    plan.skipped("e", Skip::Subscribed);
    plan.skipped("unknown", Skip::NoReply);
    let listed = store.get("e", now).unwrap();
    assert_eq!(
        (listed.matched, listed.injected, listed.skipped),
        (10, 4, 1)
    );
    assert_eq!(
        listed.skipped_by_reason,
        [("subscribed".into(), 1)].into(),
        "what did not occur is left out"
    );
}

#[test]
fn sessions_share_an_answer_where_told_to() {
    let (_, now, plan) = plan(
        Protocol::Tcp,
        &["action = 'stall'\nscope = 'session'\nfirst = 1"],
    );
    let hit = |session, exchange| plan.decide(&subject(session, exchange, now)).end.is_some();
    assert!(hit(5, 0) && !hit(4, 0) && hit(5, 1) && !hit(4, 1));
    plan.session_ended(5);
    assert!(!hit(5, 2), "forgotten, and the one hit is spent");
}

#[test]
fn two_proxies_do_not_share_draws() {
    let (store, now, one) = plan(Protocol::Tcp, &["action = 'stall'\nprobability = 0.5"]);
    let other = store.plan_for("q", &Catalog::new(Protocol::Tcp, &[]), now);
    let hits = |plan: &Plan| -> Vec<bool> {
        let decided = (0..64).map(|n| plan.decide(&subject(0, n, now)));
        decided.map(|decision| decision.end.is_some()).collect()
    };
    assert_ne!(hits(&one), hits(&other));
}

/// What costs a request nothing is what is not looked at.
#[test]
fn faults_about_other_operations_and_classes_are_not_asked() {
    let other = "action = 'latency'\ndelay = '1s'\nmatch = { operation = 'no such command' }";
    let class = "action = 'latency'\ndelay = '1s'\nmatch = { class = 'write', key = '*' }";
    let faults: Vec<&str> = [other, class].into_iter().cycle().take(50).collect();
    let (store, now, plan) = plan(Protocol::Redis, &faults);
    let candidates = plan.candidates(Operation(0), Class::Read).unwrap();
    assert!(candidates.entries.is_empty());
    assert!(!plan.needs_arguments(Operation(0), Class::Read));
    assert!(plan.decide(&subject(0, 0, now)).faults.is_empty());
    assert!(store.list(now).iter().all(|listed| listed.matched == 0));
    let candidates = plan.candidates(Operation(0), Class::Write).unwrap();
    assert_eq!(candidates.entries.len(), 25);
}

const RANDOM: [&str; 3] = [
    "name = 'slow'\naction = 'latency'\nprobability = 0.3\ndelay = { distribution = 'lognormal', p50 = '5ms', p99 = '40ms' }",
    "name = 'lossy'\naction = 'disconnect'\nprobability = 0.2\nscope = 'session'",
    "name = 'stuck'\naction = 'stall'\nprobability = 0.1",
];

/// A decision in one line.
fn line(decision: &Decision) -> String {
    let end = match decision.end {
        None => "-",
        Some(Ending::Stall) => "stall",
        Some(Ending::Disconnect(_)) => "disconnect",
        Some(_) => "other",
    };
    let delay = decision.reply_delay.as_micros();
    format!("{delay}us {end} {}", names(decision).join("+"))
}

/// What a seed stands for. If this changes, recorded runs can no longer be repeated.
#[test]
fn golden_decisions() {
    let (_, now, plan) = plan(Protocol::Tcp, &RANDOM);
    let lines: Vec<String> = (0..6)
        .flat_map(|session| (0..6).map(move |exchange| (session, exchange)))
        .map(|(session, exchange)| line(&plan.decide(&subject(session, exchange, now))))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

proptest! {
    /// The same seed and requests give the same decisions, in whatever order the sessions are served.
    #[test]
    fn decisions_do_not_depend_on_the_interleaving(order in prop::collection::vec(0..6_u64, 0..120)) {
        let (_, now, interleaved) = plan(Protocol::Tcp, &RANDOM);
        let (_, later, straight) = plan(Protocol::Tcp, &RANDOM);
        let mut next = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for session in order {
            let exchange: &mut u64 = next.entry(session).or_default();
            seen.insert((session, *exchange), line(&interleaved.decide(&subject(session, *exchange, now))));
            *exchange += 1;
        }
        for ((session, exchange), decision) in seen {
            prop_assert_eq!(line(&straight.decide(&subject(session, exchange, later))), decision);
        }
    }
}

/// With threads for workers, each session on any of them.
#[test]
fn decisions_do_not_depend_on_the_number_of_threads() {
    let decide = |threads: u64| {
        let (_, now, plan) = plan(Protocol::Tcp, &RANDOM);
        let mut lines: Vec<String> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|worker| {
                    let plan = &plan;
                    scope.spawn(move || {
                        let sessions = (0..32).filter(|session| session % threads == worker);
                        let asked = sessions.flat_map(|s| (0..32).map(move |e| (s, e)));
                        asked
                            .map(|(s, e)| {
                                format!("{s} {e} {}", line(&plan.decide(&subject(s, e, now))))
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|w| w.join().unwrap())
                .collect()
        });
        lines.sort();
        lines
    };
    assert_eq!(decide(1), decide(4));
}
