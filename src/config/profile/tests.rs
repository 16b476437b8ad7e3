use super::*;
use crate::config::Config;
use std::time::Duration;

fn problems(text: &str) -> Vec<String> {
    match Profile::parse("p", text, "p.toml") {
        Ok(profile) => panic!("accepted: {profile:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn proxies() -> Vec<ProxyConfig> {
    let text = [
        ("redis", "redis"),
        ("db", "postgres"),
        ("web", "http"),
        ("search", "tcp"),
    ]
    .iter()
    .enumerate()
    .map(|(i, (name, protocol))| {
        format!(
            "[[proxy]]\nname = '{name}'\nprotocol = '{protocol}'\nlisten = {}\nupstream = 'h:1'\n",
            i + 1
        )
    })
    .collect::<Vec<String>>()
    .concat();
    Config::parse(&text, "b.toml").unwrap().proxies
}

fn against(fault: &str) -> Result<(), String> {
    let profile = Profile::parse("p", &format!("[[fault]]\n{fault}\n"), "p.toml").unwrap();
    profile
        .check_against(&proxies())
        .map_err(|problems| problems.0[0].to_string())
}

#[test]
fn what_it_is_for_comes_from_the_key_or_the_comment() {
    let fault = "[[fault]]\naction = 'stall'\n";
    let of = |text: &str| Profile::parse("p", text, "p").unwrap();
    let commented = of(&format!(
        "# Redis is gone. Nothing listens.\n#\n# More.\n\n# Not this.\n{fault}"
    ));
    assert_eq!(
        commented.description,
        "Redis is gone. Nothing listens.\n\nMore."
    );
    assert_eq!(commented.summary(), "Redis is gone.");
    let keyed = of(&format!(
        "# A comment.\ndescription = 'No end'\nseed = 7\n{fault}"
    ));
    assert_eq!(
        (keyed.description.as_str(), keyed.summary(), keyed.seed),
        ("No end", "No end", Some(7))
    );
    assert_eq!(of(fault).summary(), "");
}

#[test]
fn sections_of_a_test_are_accepted_and_named() {
    let text = "[[fault]]\naction = 'stall'\n[load]\nx = 1\n[[phase]]\ny = 2\n";
    assert_eq!(
        Profile::parse("p", text, "p").unwrap().ignored,
        ["load", "phase"]
    );
    assert!(Profile::parse("p", "[load]\nx = 1\n", "p").is_ok());
    assert_eq!(
        problems("[laod]\nx = 1\n[[fault]]\naction = 'stall'"),
        ["p.toml:1:2: laod: unknown field `laod`; did you mean `load`?"]
    );
}

#[test]
fn one_wrong_thing_each() {
    for (text, expected) in [
        ("", " it says nothing; begin with a [[fault]]"),
        (
            "description = 'x'",
            "1:1: there is no fault in it; add a [[fault]]",
        ),
        (
            "[fault]\naction = 'stall'",
            "1:1: fault: found something else than a list of faults; begin each with [[fault]]",
        ),
        (
            "fault = [1]",
            "1:10: fault[0]: found integer 1; expected a table",
        ),
        (
            "[[fault]]\nproxy = 'x'",
            "1:1: fault[0]: `action` is missing; add `action = ...`",
        ),
        (
            "[[fault]]\naction = 'stal'",
            "2:10: fault[0].action: unknown action \"stal\"; expected latency, stall, timeout, disconnect, refuse, error, lose_request, lose_reply, throttle, slice, truncate, push_loss, push_delay, slow_close, capacity, limit_connections, blackhole, reset_peer, limit_data, duplicate_request, corrupt or cancel (did you mean \"stall\"?)",
        ),
        (
            "[[fault]]\naction = 'stall'\nprobabilty = 1",
            "3:1: fault[0].probabilty: unknown field `probabilty`; did you mean `probability`?",
        ),
        (
            "[[fault]]\naction = 'stall'\nttl = 'long'",
            "3:7: fault[0].ttl: \"long\" is not a duration; write a number with a unit, like \"5ms\" or \"1m 30s\"",
        ),
        (
            "[[fault]]\naction = 'latency'\ndelay = { distribution = 'gauss', mean = '1ms' }",
            "3:26: fault[0].delay.distribution: unknown distribution \"gauss\"; expected fixed, uniform, normal, lognormal, pareto or recorded",
        ),
        (
            "[[fault]]\naction = 'latency'\ndelay = { distribution = 'uniform', mim = '1ms', max = '2ms' }",
            "3:37: fault[0].delay.mim: unknown field `mim`; did you mean `min`?",
        ),
        (
            "[[fault]]\naction = 'stall'\nmatch = { class = ['read', 'wirte'] }",
            "3:28: fault[0].match.class[1]: unknown class \"wirte\"; expected read, write, transaction, pubsub, admin, handshake, ping or blocking (did you mean \"write\"?)",
        ),
        (
            "[[fault]]\nname = 'a'\naction = 'stall'\n[[fault]]\nname = 'a'\naction = 'stall'",
            "5:8: fault[1].name: \"a\" is the name of an earlier fault; expected a name of its own",
        ),
    ] {
        assert_eq!(problems(text), [format!("p.toml:{expected}")], "{text}");
    }
}

#[test]
fn a_broken_fault_hides_no_other() {
    let text = "sede = 1\n[[fault]]\nproxy = 1\n[[fault]]\naction = 'stall'\n[[fault]]\naction = 'stall'\nttl = 1\nevry = 2\n";
    let places: Vec<String> = Profile::parse("p", text, "p.toml")
        .unwrap_err()
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.field))
        .collect();
    assert_eq!(
        places,
        [
            "1:1 sede",
            "2:1 fault[0]",
            "3:9 fault[0].proxy",
            "8:7 fault[2].ttl",
            "9:1 fault[2].evry"
        ]
    );
}

#[test]
fn the_number_of_faults_is_bounded() {
    let many = |n: usize| "[[fault]]\naction = 'stall'\n".repeat(n);
    assert_eq!(
        Profile::parse("p", &many(MAX_FAULTS), "p")
            .unwrap()
            .faults
            .len(),
        MAX_FAULTS
    );
    assert_eq!(
        problems(&many(MAX_FAULTS + 1)),
        ["p.toml:513:1: fault[256]: there are 257 faults; expected at most 256 in one profile"]
    );
}

#[test]
fn faults_that_can_act_are_accepted() {
    for fault in [
        "action = 'stall'",
        "proxy = 're*'\naction = 'latency'\ndelay = '1ms'\nmatch = { key = 'user:*' }",
        "action = 'error'\npreset = '503'\nmatch = { route = '*' }",
        "proxy = 'search'\naction = 'disconnect'",
        "proxy = 'db'\naction = 'error'\ncode = '40001'\nmessage = 'x'",
    ] {
        assert_eq!(against(fault), Ok(()), "{fault}");
    }
}

#[test]
fn faults_that_cannot_act_are_refused() {
    for (fault, expected) in [
        (
            "proxy = 'redsi'\naction = 'stall'",
            "2:9: fault[0].proxy: no proxy is called \"redsi\"; did you mean \"redis\"?",
        ),
        (
            "proxy = 'cache-*'\naction = 'stall'",
            "2:9: fault[0].proxy: no proxy is called \"cache-*\"; expected redis, db, web or search, or a glob over them",
        ),
        (
            "proxy = 'web'\naction = 'stall'\nmatch = { key = 'a' }",
            "4:17: fault[0].match.key: only Redis commands have keys; leave it out for a proxy that speaks http",
        ),
        (
            "proxy = 'redis'\naction = 'stall'\nmatch = { method = 'GET' }",
            "4:20: fault[0].match.method: only HTTP requests have a method; leave it out for a proxy that speaks redis",
        ),
        (
            "proxy = 'search'\naction = 'error'\ncode = 'ERR'\nmessage = 'x'",
            "3:10: fault[0].action: plain TCP has no errors of its own; use `disconnect`, `stall` or `timeout`",
        ),
    ] {
        assert_eq!(against(fault), Err(format!("p.toml:{expected}")), "{fault}");
    }
}

#[test]
fn an_error_of_another_protocol_is_refused() {
    let error = against("proxy = 'db'\naction = 'error'\npreset = 'LOADING'").unwrap_err();
    assert!(
        error.starts_with("p.toml:4:10: fault[0].preset: "),
        "{error}"
    );
}

#[test]
fn what_a_fault_means_is_checked_with_its_place() {
    let text = "[[fault]]\naction = 'latency'\n[[fault]]\naction = 'stall'\nprobability = 2.0\nhow = 'fin'\nclose_afer = '1s'\n\
                [[fault]]\naction = 'timeout'\nclose_afer = '1s'";
    let places: Vec<String> = Profile::parse("p", text, "p.toml")
        .unwrap_err()
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.field))
        .collect();
    assert_eq!(
        places,
        [
            "1:1 fault[0].delay",
            "5:15 fault[1].probability",
            "6:7 fault[1].how",
            "7:1 fault[1].close_afer",
            "10:1 fault[2].close_afer",
        ]
    );
}

#[test]
fn without_proxies_nothing_can_act() {
    let profile = Profile::parse("p", "[[fault]]\naction = 'stall'\n", "p.toml").unwrap();
    assert_eq!(
        profile.check_against(&[]).unwrap_err().0[0].to_string(),
        "p.toml:1:1: fault[0].proxy: no proxy is called \"*\"; there are no proxies"
    );
}

/// A folder with a profile that names a file of measured delays.
fn recorded(file: &str, log: Option<&[u8]>) -> Result<Profile, String> {
    let dir = std::env::temp_dir().join(format!(
        "brownout-recorded-{}-{}",
        std::process::id(),
        file.len()
    ));
    std::fs::create_dir_all(&dir).unwrap();
    if let Some(log) = log {
        std::fs::write(dir.join("measured.hlog"), log).unwrap();
    }
    let text = format!(
        "[[fault]]\naction = \"latency\"\n\ndelay = {{ distribution = \"recorded\", file = \"{file}\" }}\n"
    );
    let path = dir.join("p.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = Profile::load(&path);
    std::fs::remove_dir_all(&dir).unwrap();
    loaded.map_err(|problems| problems.to_string())
}

#[test]
fn measured_delays_are_read_from_the_profiles_folder() {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::V2Serializer;
    use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
    let mut log = Vec::new();
    let mut serializer = V2Serializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .begin_log_with(&mut log, &mut serializer)
        .unwrap();
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    histogram.record_n(3_000, 10).unwrap();
    let second = Duration::from_secs(1);
    writer
        .write_histogram(&histogram, second, second, None)
        .unwrap();
    let profile = recorded("measured.hlog", Some(&log)).expect("a log");
    assert_eq!(profile.faults.len(), 1);
    let missing = recorded("absent.hlog", None).expect_err("no such file");
    for part in [
        "p.toml:4:",
        "fault[0].delay.file",
        "absent.hlog",
        "relative to the folder",
    ] {
        assert!(missing.contains(part), "{part} in {missing}");
    }
    let nonsense = recorded("measured.hlog", Some(b"#\nnonsense\n")).expect_err("no log");
    assert!(
        nonsense.contains("line 2 is not one of an HdrHistogram log"),
        "{nonsense}"
    );
}

#[test]
fn a_text_without_a_folder_names_no_files() {
    let text = "[[fault]]\naction = \"latency\"\ndelay = { distribution = \"recorded\", file = \"/etc/passwd\" }\n";
    let problems = Profile::parse("p", text, "p.toml").expect_err("no folder");
    assert!(
        problems
            .to_string()
            .contains("a file can be named in a profile only"),
        "{problems}"
    );
}
