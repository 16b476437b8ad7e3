use super::*;
use crate::fault::action::{CloseHow, Disconnect, ErrorReply, Refuse, When};
use crate::fault::plan::Ending;
use crate::protocol::Protocol::{Http, Postgres, Redis, Tcp};

fn parse(toml: &str) -> FaultSpec {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}\n{error}"))
}

fn compile(toml: &str) -> Fault {
    parse(toml)
        .compile("")
        .unwrap_or_else(|errors| panic!("{toml}\n{errors:?}"))
}

fn ending(toml: &str, protocol: Protocol) -> Ending {
    match compile(toml).effect(protocol) {
        Ok(Effect::End(ending)) => ending,
        other => panic!("{toml}\n{other:?}"),
    }
}

fn reply(toml: &str, protocol: Protocol) -> ErrorReply {
    match ending(toml, protocol) {
        Ending::Error(reply) => (*reply).clone(),
        other => panic!("{toml}\n{other:?}"),
    }
}

/// Paths and remedies of all that is wrong.
fn wrong(toml: &str) -> Vec<(String, String)> {
    let errors = parse(toml).compile("fault[2]").expect_err(toml);
    assert!(errors.iter().all(|e| !e.message.is_empty()));
    errors.into_iter().map(|e| (e.path, e.remedy)).collect()
}

fn wrong_paths(toml: &str) -> Vec<String> {
    let strip = |path: String| path.trim_start_matches("fault[2].").to_owned();
    wrong(toml)
        .into_iter()
        .map(|(path, _)| strip(path))
        .collect()
}

#[test]
fn every_action_compiles_in_its_shortest_form() {
    for toml in [
        "action = 'latency'\ndelay = '5ms'",
        "action = 'stall'",
        "action = 'timeout'\nclose_after = '5s'",
        "action = 'disconnect'",
        "action = 'refuse'",
        "action = 'error'\npreset = 'LOADING'",
        "action = 'lose_request'",
        "action = 'lose_reply'",
        "action = 'throttle'\nbytes_per_second = 1000",
        "action = 'slice'\nsize = 10",
        "action = 'truncate'",
        "action = 'push_loss'",
        "action = 'push_delay'\ndelay = '5ms'",
        "action = 'slow_close'\ndelay = '5ms'",
        "action = 'capacity'\nin_service = 1\nservice = '5ms'",
        "action = 'limit_connections'\nconnections = 1",
        "action = 'blackhole'",
        "action = 'reset_peer'",
        "action = 'limit_data'\nbytes = 10",
        "action = 'duplicate_request'",
        "action = 'corrupt'\nto = 64",
    ] {
        let fault = compile(toml);
        assert!(fault.acts_on("anything"));
        assert_eq!(fault.name(), None);
        assert_eq!(fault.gates(), &Gates::default());
        assert_eq!(fault.schedule(), &Schedule::default());
    }
    assert_eq!(ActionKind::ALL.len(), 21, "an action without a short form");
}

#[test]
fn what_corrupt_is_to_change_must_be_sayable() {
    for (toml, path) in [
        ("action = 'corrupt'", "to"),
        ("action = 'corrupt'\nrate = 1.5", "rate"),
        ("action = 'corrupt'\nrate = 0.0", "rate"),
        ("action = 'corrupt'\nrate = 0.1\ncount = 1", "count"),
        ("action = 'corrupt'\ncount = 0\nto = 9", "count"),
        ("action = 'corrupt'\nfrom = 9\nto = 9", "to"),
        ("action = 'corrupt'\nto = 64\nsize = 3", "size"),
    ] {
        assert_eq!(wrong_paths(toml), [path], "{toml}");
    }
}

#[test]
fn disconnects_have_defaults() {
    let disconnect = |toml: &str| match ending(toml, Redis) {
        Ending::Disconnect(Disconnect { how, when }) => (how, when),
        other => panic!("{other:?}"),
    };
    let base = "action = 'disconnect'\n";
    assert_eq!(disconnect(base), (CloseHow::Rst, When::Before));
    assert_eq!(
        disconnect(&format!("{base}how = 'fin'\nwhen = 'after'")),
        (CloseHow::Fin, When::After)
    );
    assert_eq!(
        disconnect(&format!("{base}bytes = 10")),
        (CloseHow::Rst, When::InsideBytes(10))
    );
    assert_eq!(
        disconnect(&format!("{base}when = 'inside'\nshare = 1")),
        (CloseHow::Rst, When::InsideShare(1.0))
    );
}

#[test]
fn losses_have_defaults_and_say_what_they_lack() {
    let loss = |toml: &str| match ending(toml, Postgres) {
        Ending::LoseRequest(loss) | Ending::LoseReply(loss) => (loss.silence, loss.how),
        other => panic!("{other:?}"),
    };
    for action in ["lose_request", "lose_reply"] {
        let base = format!("action = '{action}'\n");
        let at_once = Some(Duration::ZERO);
        assert_eq!(loss(&base), (at_once, CloseHow::Rst));
        let fin = format!("{base}how = 'fin'\nthen = 'disconnect'");
        assert_eq!(loss(&fin), (at_once, CloseHow::Fin));
        assert_eq!(
            loss(&format!("{base}then = 'stall'")),
            (None, CloseHow::Rst)
        );
        let timeout = format!("{base}then = 'timeout'\nclose_after = '5s'");
        assert_eq!(
            loss(&timeout),
            (Some(Duration::from_secs(5)), CloseHow::Rst)
        );
        for (rest, path) in [
            ("then = 'timeout'", "close_after"),
            ("close_after = '5s'", "close_after"),
            ("then = 'timeout'\nclose_after = '0s'", "close_after"),
            ("then = 'timeout'\nclose_after = '13h'", "close_after"),
            ("how = 'silent'", "how"),
            ("when = 'before'", "when"),
        ] {
            assert_eq!(wrong_paths(&format!("{base}{rest}")), [path], "{rest}");
        }
        let refused = compile(&base).applies_to(Tcp).unwrap_err();
        assert!(refused.path.ends_with("action"), "{}", refused.path);
    }
}

#[test]
fn refusals_have_defaults() {
    let refusal = |toml: &str| match compile(toml).effect(Tcp) {
        Ok(Effect::Refuse(refusal)) => refusal.how,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal("action = 'refuse'"), Refuse::Closed);
    assert_eq!(
        refusal(
            "action = 'refuse'\nhow = 'silent'\nmatch = { client = '10.0.0.0/8' }\nprobability = 0.5"
        ),
        Refuse::Silent
    );
}

#[test]
fn errors_take_the_form_of_the_protocol() {
    assert_eq!(
        reply("action = 'error'\npreset = 'loading'", Redis),
        ErrorReply::Redis {
            code: "LOADING".into(),
            message: "Redis is loading the dataset in memory".into(),
            close: false,
        }
    );
    assert_eq!(
        reply(
            "action = 'error'\npreset = 'MOVED'\nmessage = '3999 127.0.0.1:6381'",
            Redis
        ),
        ErrorReply::Redis {
            code: "MOVED".into(),
            message: "3999 127.0.0.1:6381".into(),
            close: false,
        }
    );
    assert_eq!(
        reply(
            "action = 'error'\npreset = '57P01'\nclose = false",
            Postgres
        ),
        ErrorReply::Postgres {
            sqlstate: "57P01".into(),
            message: "terminating connection due to administrator command".into(),
            fatal: false,
        }
    );
    let coded = "action = 'error'\ncode = '40001'\nmessage = 'try again'\nclose = true";
    assert_eq!(
        reply(coded, Postgres),
        ErrorReply::Postgres {
            sqlstate: "40001".into(),
            message: "try again".into(),
            fatal: true,
        }
    );
    assert_eq!(
        reply(coded, Redis),
        ErrorReply::Redis {
            code: "40001".into(),
            message: "try again".into(),
            close: true,
        }
    );
    assert_eq!(
        reply(
            "action = 'error'\nstatus = 418\nbody = 'short and stout'\nheaders = { X-Pot = 'tea' }",
            Http
        ),
        ErrorReply::Http {
            status: 418,
            headers: vec![
                ("X-Pot".into(), "tea".into()),
                ("Content-Type".into(), "text/plain; charset=utf-8".into()),
            ],
            body: "short and stout".into(),
        }
    );
    let ErrorReply::Http { headers, .. } = reply(
        "action = 'error'\npreset = '503'\nheaders = { retry-after = '30' }",
        Http,
    ) else {
        panic!("not HTTP");
    };
    assert_eq!(headers[1], ("retry-after".into(), "30".into()));
    assert_eq!(headers.len(), 2, "replaced, not doubled");
    for (way, others) in [("preset = '503'", 1), ("status = 503", 0)] {
        let toml = format!("action = 'error'\n{way}\nretry_after = '2m'");
        let ErrorReply::Http { headers, .. } = reply(&toml, Http) else {
            panic!("not HTTP");
        };
        let wanted = ("Retry-After".to_owned(), "120".to_owned());
        assert_eq!(headers.last(), Some(&wanted), "{way}");
        assert_eq!(headers.len(), others + 1, "{way}: replaced, not doubled");
    }
}

#[test]
fn what_fits_no_protocol_of_the_proxy_is_said_with_its_field() {
    let against = |toml: &str, protocol| {
        let fault = parse(toml).compile("fault[2]").unwrap();
        fault.applies_to(protocol).map_err(|error| error.path)
    };
    let field = |name: &str| Err(format!("fault[2].{name}"));
    let redis = "action = 'error'\npreset = 'LOADING'";
    assert_eq!(against(redis, Redis), Ok(()));
    assert_eq!(against(redis, Postgres), field("preset"));
    assert_eq!(against(redis, Http), field("preset"));
    assert_eq!(against(redis, Tcp), field("action"));
    let coded = "action = 'error'\ncode = 'LOADING'\nmessage = 'x'";
    assert_eq!(against(coded, Redis), Ok(()));
    assert_eq!(against(coded, Postgres), field("code"));
    assert_eq!(against(coded, Http), field("code"));
    let status = "action = 'error'\nstatus = 503";
    assert_eq!(against(status, Http), Ok(()));
    assert_eq!(against(status, Redis), field("status"));
    let key = "action = 'stall'\nmatch = { key = 'a*' }";
    assert_eq!(against(key, Redis), Ok(()));
    assert_eq!(against(key, Http), field("match.key"));
    for protocol in [Redis, Postgres, Http, Tcp] {
        assert_eq!(against("action = 'stall'", protocol), Ok(()));
    }
}

#[test]
fn parameters_of_another_action_are_told_whose_they_are() {
    let found = wrong("action = 'stall'\nfloor = true\nhow = 'rst'\nstatus = 503");
    assert_eq!(
        found,
        [
            (
                "fault[2].floor".into(),
                "it belongs to `latency`; `stall` takes nothing".into()
            ),
            (
                "fault[2].how".into(),
                "it belongs to `disconnect`, `refuse`, `lose_request`, `lose_reply`, `truncate` and `limit_connections`; `stall` takes nothing".into()
            ),
            (
                "fault[2].status".into(),
                "it belongs to `error` and `capacity`; `stall` takes nothing".into()
            ),
        ]
    );
    let found = wrong("action = 'latency'\ndelay = '5ms'\nclose_after = '5s'");
    assert_eq!(
        found[0].1,
        "it belongs to `timeout`, `lose_request`, `lose_reply`, `blackhole` and `reset_peer`; `latency` takes `delay`, `on` and `floor`"
    );
}

/// One row a mistake: what is written, and every field that is complained about.
const MISTAKES: &[(&str, &[&str])] = &[
    ("action = 'latency'", &["delay"]),
    ("action = 'throttle'", &["bytes_per_second"]),
    (
        "action = 'throttle'\nbytes_per_second = 0\nburst = 0",
        &["bytes_per_second", "burst"],
    ),
    (
        "action = 'throttle'\nbytes_per_second = 1000000001",
        &["bytes_per_second"],
    ),
    ("action = 'truncate'\nshare = 1.0", &["share"]),
    ("action = 'truncate'\nshare = 0.5\nbytes = 2", &["share"]),
    ("action = 'truncate'\nhow = 'silent'", &["how"]),
    ("action = 'push_delay'", &["delay"]),
    ("action = 'push_loss'\ndelay = '1s'", &["delay"]),
    (
        "action = 'push_loss'\nmatch = { operation = 'GET' }",
        &["match.operation"],
    ),
    (
        "action = 'stall'\nmatch = { channel = 'news' }",
        &["match.channel"],
    ),
    ("action = 'slow_close'", &["delay"]),
    ("action = 'limit_data'", &["bytes"]),
    ("action = 'blackhole'\nclose_after = '0s'", &["close_after"]),
    (
        "action = 'blackhole'\nmatch = { operation = 'GET' }",
        &["match.operation"],
    ),
    ("action = 'reset_peer'\nscope = 'exchange'", &["scope"]),
    (
        "action = 'reset_peer'\nclose_after = '13h'",
        &["close_after"],
    ),
    ("action = 'limit_data'\nbytes = 1\ndelay = '1s'", &["delay"]),
    (
        "action = 'slow_close'\ndelay = { distribution = 'uniform', min = '2s', max = '1s' }",
        &["delay.max"],
    ),
    ("action = 'capacity'\nin_service = 1", &["service"]),
    ("action = 'capacity'\nservice = '5ms'", &["in_service"]),
    (
        "action = 'capacity'\nservice = '5ms'\nin_service = 0\nqueue = 100001",
        &["in_service", "queue"],
    ),
    (
        "action = 'capacity'\nservice = '5ms'\nin_service = 1\npreset = 'LODING'",
        &["preset"],
    ),
    ("action = 'limit_connections'", &["connections"]),
    (
        "action = 'limit_connections'\nconnections = 1\nhow = 'closed'",
        &["how"],
    ),
    (
        "action = 'refuse'\nhow = 'unaccepted'\nprobability = 0.5",
        &["probability"],
    ),
    ("action = 'slice'", &["size"]),
    ("action = 'slice'\nsize = 0", &["size"]),
    ("action = 'slice'\nsize = 5\nvariation = 5", &["variation"]),
    ("action = 'slice'\nsize = 5\ngap = '61m'", &["gap"]),
    ("action = 'latency'\ndelay = '0s'", &["delay"]),
    ("action = 'latency'\ndelay = '61m'", &["delay"]),
    (
        "action = 'latency'\ndelay = '5ms'\non = 'request'\nfloor = true",
        &["floor"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'fixed' }",
        &["delay.value"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'uniform', min = '5ms' }",
        &["delay.max"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'uniform', min = '5ms', max = '4ms' }",
        &["delay.max"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'uniform', min = '5ms', max = '5ms' }",
        &["delay.max"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'normal', mean = '5ms', stddev = '0s' }",
        &["delay.stddev"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'normal' }",
        &["delay.mean", "delay.stddev"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'lognormal', p50 = '5ms', p99 = '5ms' }",
        &["delay.p99"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'lognormal', p50 = '0s', p99 = '5ms' }",
        &["delay.p50"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'lognormal', p50 = '5ms', p99 = '2h' }",
        &["delay.p99"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'pareto', scale = '5ms', shape = 0 }",
        &["delay.shape"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'pareto', scale = '5ms', shape = -1.5 }",
        &["delay.shape"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'pareto', scale = '0s', shape = nan }",
        &["delay.scale", "delay.shape"],
    ),
    (
        "action = 'latency'\ndelay = { distribution = 'pareto', scale = '5ms', shape = inf, p50 = '1ms' }",
        &["delay.p50", "delay.shape"],
    ),
    ("action = 'timeout'", &["close_after"]),
    ("action = 'timeout'\nclose_after = '0s'", &["close_after"]),
    ("action = 'timeout'\nclose_after = '13h'", &["close_after"]),
    ("action = 'disconnect'\nhow = 'closed'", &["how"]),
    ("action = 'disconnect'\nwhen = 'inside'", &["when"]),
    (
        "action = 'disconnect'\nwhen = 'before'\nbytes = 3",
        &["bytes"],
    ),
    (
        "action = 'disconnect'\nwhen = 'after'\nshare = 0.5",
        &["share"],
    ),
    ("action = 'disconnect'\nbytes = 3\nshare = 0.5", &["share"]),
    (
        "action = 'disconnect'\nshare = 1.5\nhow = 'silent'",
        &["how", "share"],
    ),
    ("action = 'refuse'\nhow = 'rst'", &["how"]),
    (
        "action = 'refuse'\nprobability = 0.5\nevery = 2",
        &["probability", "every"],
    ),
    (
        "action = 'refuse'\nmatch = { client = '::1' }\nschedule = { ramp = '1s' }",
        &["match.client", "schedule.ramp"],
    ),
    (
        "action = 'refuse'\nhow = 'reset'\nexisting = 'cut'\nfirst = 1",
        &["first"],
    ),
    (
        "action = 'refuse'\nhow = 'reset'\nmatch = { operation = 'GET', class = 'read' }",
        &["match.operation", "match.class"],
    ),
    (
        "action = 'refuse'\nhow = 'reset'\nscope = 'exchange'",
        &["scope"],
    ),
    ("action = 'error'", &["preset"]),
    ("action = 'error'\npreset = 'LODING'", &["preset"]),
    (
        "action = 'error'\npreset = 'LOADING'\ncode = 'X'\nmessage = 'y'",
        &["code"],
    ),
    (
        "action = 'error'\ncode = 'X'\nmessage = 'y'\nstatus = 500",
        &["status"],
    ),
    ("action = 'error'\ncode = 'X'", &["message"]),
    ("action = 'error'\nmessage = 'X'", &["preset"]),
    (
        "action = 'error'\ncode = 'TWO WORDS'\nmessage = 'y'",
        &["code"],
    ),
    (
        "action = 'error'\ncode = ''\nmessage = ''",
        &["message", "code"],
    ),
    (
        "action = 'error'\ncode = 'X'\nmessage = \"a\\r\\n+OK\"",
        &["message"],
    ),
    (
        "action = 'error'\npreset = 'LOADING'\nbody = 'x'",
        &["body"],
    ),
    (
        "action = 'error'\npreset = '503'\nmessage = 'x'\nclose = true",
        &["message", "close"],
    ),
    (
        "action = 'error'\npreset = 'LOADING'\nretry_after = '1s'",
        &["retry_after"],
    ),
    (
        "action = 'error'\ncode = 'X'\nmessage = 'x'\nretry_after = '1s'",
        &["retry_after"],
    ),
    (
        "action = 'error'\nstatus = 503\nretry_after = '1500ms'",
        &["retry_after"],
    ),
    (
        "action = 'error'\nstatus = 503\nretry_after = '1s'\nheaders = { retry-after = '2' }",
        &["retry_after"],
    ),
    (
        "action = 'latency'\ndelay = '1s'\nretry_after = '1s'",
        &["retry_after"],
    ),
    ("action = 'error'\nstatus = 200", &["status"]),
    ("action = 'error'\nstatus = 600", &["status"]),
    (
        "action = 'error'\nstatus = 503\nheaders = { Content-Length = '3', 'a b' = 'x', c = \"d\\r\\ne\" }",
        &["headers.Content-Length", "headers.a b", "headers.c"],
    ),
    ("action = 'stall'\nname = ''", &["name"]),
    ("action = 'stall'\nname = 'a/b'", &["name"]),
    ("action = 'stall'\nproxy = ''", &["proxy"]),
    ("action = 'stall'\nproxy = 'a['", &["proxy"]),
    ("action = 'stall'\nprobability = 1.5", &["probability"]),
    ("action = 'stall'\nprobability = -0.1", &["probability"]),
    ("action = 'stall'\nprobability = nan", &["probability"]),
    (
        "action = 'stall'\nevery = 0\nfirst = 0\nper_second = 0",
        &["every", "first", "per_second"],
    ),
    ("action = 'stall'\nttl = '0s'", &["ttl"]),
    ("action = 'stall'\nttl = '13h'", &["ttl"]),
    (
        "action = 'stall'\nttl = '1m'\nschedule = { start = '1m' }",
        &["schedule.start"],
    ),
    (
        "action = 'stall'\nschedule = { start = '13h' }",
        &["schedule.start"],
    ),
    (
        "action = 'stall'\nschedule = { repeat = '1s' }",
        &["schedule.repeat"],
    ),
    (
        "action = 'stall'\nschedule = { duration = '1s', repeat = '1s' }",
        &["schedule.repeat"],
    ),
    (
        "action = 'stall'\nschedule = { duration = '1s', ramp = '2s' }",
        &["schedule.ramp"],
    ),
    (
        "action = 'stall'\nschedule = { duration = '0s', ramp = '0s' }",
        &["schedule.duration", "schedule.ramp"],
    ),
    (
        "action = 'stall'\nmatch = { key = 'a', route = '/b' }",
        &["match.route"],
    ),
];

#[test]
fn mistakes_are_refused_with_their_fields() {
    for (toml, fields) in MISTAKES {
        assert_eq!(&wrong_paths(toml), fields, "{toml}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let paths = wrong_paths(
        "name = '!'\nproxy = '['\naction = 'latency'\nfloor = true\nbody = 'x'\nprobability = 2\nttl = '99h'\n\
         schedule = { repeat = '1s' }\nmatch = { client = 'x' }",
    );
    assert_eq!(
        paths,
        [
            "name",
            "body",
            "proxy",
            "delay",
            "match.client",
            "probability",
            "schedule.repeat",
            "ttl"
        ]
    );
}

#[test]
fn unknown_presets_name_the_nearest_or_all() {
    let remedy = |preset: &str| {
        wrong(&format!("action = 'error'\npreset = '{preset}'"))[0]
            .1
            .clone()
    };
    assert_eq!(remedy("LODING"), "did you mean `LOADING`?");
    assert_eq!(
        remedy("serialisation_failure"),
        "did you mean `serialization_failure`?"
    );
    let all = remedy("nonsense");
    assert!(all.contains("`READONLY`") && all.contains("`disk_full`") && all.contains("`503`"));
}

#[test]
fn seeds_that_cannot_be_written_down_are_refused() {
    let mut spec = FaultSpec::new(ActionKind::Stall);
    spec.seed = Some(1 << 63);
    assert_eq!(spec.compile("").unwrap_err()[0].path, "seed");
    spec.seed = Some((1 << 63) - 1);
    assert!(spec.compile("").is_ok());
}
