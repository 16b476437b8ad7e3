//! What is refused: each mistake with its field and what to write instead.

use super::{parse, wrong, wrong_paths};
use crate::fault::spec::{ActionKind, FaultSpec};
use crate::protocol::Protocol::{Http, Postgres, Redis, Tcp};

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
