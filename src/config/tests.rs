//! Every bad file with the exact words it gets.

use super::*;
use proptest::prelude::*;

/// A proxy that nothing is wrong with, on lines 1 to 5.
const GOOD: &str = "[[proxy]]\nname = \"redis\"\nprotocol = \"redis\"\nlisten = 26379\nupstream = \"localhost:6379\"\n";

/// The first line of each problem, without the excerpt.
fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, "b.toml") {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn after_good(line: &str) -> String {
    format!("{GOOD}{line}\n")
}

#[test]
fn the_example_is_valid_and_its_defaults_are_true() {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/brownout.example.toml"
    ));
    let config = Config::parse(text, "brownout.example.toml").unwrap();
    let names: Vec<_> = config
        .proxies
        .iter()
        .map(|p| (p.name.as_str(), p.protocol))
        .collect();
    assert_eq!(
        names,
        [
            ("redis", Protocol::Redis),
            ("postgres", Protocol::Postgres),
            ("http", Protocol::Http),
            ("search", Protocol::Tcp)
        ]
    );
    let default = Config::default();
    assert_eq!(config.admin, default.admin);
    assert_eq!(config.drain_deadline, default.drain_deadline);
    assert_eq!(config.on_desync, default.on_desync);
    assert_eq!(config.proxies[1].connect_timeout, CONNECT_TIMEOUT);
    assert_eq!(config.proxies[0].connect_timeout, Duration::from_secs(2));
    assert_eq!(config.proxies[0].slo.p95, Some(Duration::from_millis(10)));
    assert_eq!(config.proxies[2].routes.len(), 3);
}

#[test]
fn renders_like_a_compiler() {
    let text = GOOD.replace("\"redis\"\nlisten", "\"reddis\"\nlisten");
    assert_eq!(
        Config::parse(&text, "brownout.toml")
            .unwrap_err()
            .to_string(),
        "brownout.toml:3:12: proxy[0].protocol: unknown protocol \"reddis\"; \
         expected redis, postgres, http or tcp (did you mean \"redis\"?)\n \
         3 | protocol = \"reddis\"\n   |            ^^^^^^^^"
    );
}

#[test]
fn one_wrong_thing_each() {
    let cases = [
        (
            "workers = ",
            "1:11: TOML: string values must be quoted; expected literal string",
        ),
        (
            "workers = 2\nworkers = 3",
            "2:1: this key stands here for the second time; keep one of them",
        ),
        (
            "",
            " it says nothing; begin with a [[proxy]]; brownout.example.toml shows every key",
        ),
        (
            "# nothing\n\n",
            " it says nothing; begin with a [[proxy]]; brownout.example.toml shows every key",
        ),
        (
            "wrokers = 2",
            "1:1: wrokers: unknown field `wrokers`; did you mean `workers`?",
        ),
        (
            "[admin]\nport = 1",
            "2:1: admin.port: unknown field `port`; expected listen, token_file, hosts, changes_per_second, halt_file, audit or metrics",
        ),
        (
            "workers = 0",
            "1:11: workers: it is zero; expected at least 1, or leave it out",
        ),
        (
            "workers = 257",
            "1:11: workers: 257 is too many threads; expected 1 to 256; one for each core is best",
        ),
        (
            "workers = -1",
            "1:11: workers: found integer -1; expected a whole number from 0 to 4294967295",
        ),
        (
            "workers = \"two\"",
            "1:11: workers: found string \"two\"; expected a whole number from 0 to 4294967295",
        ),
        (
            "seed = 1.5",
            "1:8: seed: found floating point 1.5; expected a whole number, not negative",
        ),
        (
            "profiles = \"\"",
            "1:12: profiles: the path is empty; expected a folder, or leave it out",
        ),
        (
            "max_sessions = 0",
            "1:16: max_sessions: it is zero; expected at least 1, or leave it out",
        ),
        (
            "ledger = 0",
            "1:10: ledger: the ledger cannot keep 0 exchanges; expected 1 to 1048576",
        ),
        (
            "ledger = 1048577",
            "1:10: ledger: the ledger cannot keep 1048577 exchanges; expected 1 to 1048576",
        ),
        (
            "on_desync = \"drop\"",
            "1:13: on_desync: unknown on_desync \"drop\"; expected pass or cut",
        ),
        (
            "on_desync = 1",
            "1:13: on_desync: found integer; expected a string",
        ),
        (
            "drain_deadline = 30",
            "1:18: drain_deadline: found integer 30; expected a duration: a string with a unit, like \"5ms\" or \"1m 30s\"",
        ),
        (
            "drain_deadline = \"30\"",
            "1:18: drain_deadline: \"30\" is not a duration; write a number with a unit, like \"5ms\" or \"1m 30s\"",
        ),
        (
            "tcp_user_timeout = \"0s\"",
            "1:20: tcp_user_timeout: it is zero; expected more than zero, or leave it out",
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:8474\"",
            "2:10: admin.listen: 0.0.0.0:8474 can be reached from other machines, and the endpoint asks for no password; \
             listen on 127.0.0.1:8474, [::1]:8474 or a unix socket, or name a token_file",
        ),
        (
            "[proxy]\nname = \"a\"",
            "1:1: proxy: found a table; expected double brackets, which begin one of several: [[proxy]]",
        ),
        (
            "proxy = 1",
            "1:9: proxy: found integer 1; expected an array",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), [format!("b.toml:{expected}")], "{text}");
    }
}

#[test]
fn one_wrong_thing_of_a_proxy_each() {
    let cases = [
        (
            "upsteam = 1",
            "6:1: proxy[0].upsteam: unknown field `upsteam`; did you mean `upstream`?",
        ),
        (
            "idle = '1s'",
            "6:1: proxy[0].idle: unknown field `idle`; expected name, protocol, listen, upstream, slo, routes, pool, connect_timeout or probe",
        ),
        (
            "slo = { p96 = '1ms' }",
            "6:9: proxy[0].slo.p96: unknown field `p96`; did you mean `p95`?",
        ),
        (
            "slo.p95 = 5",
            "6:11: proxy[0].slo.p95: found integer 5; expected a duration: a string with a unit, like \"5ms\" or \"1m 30s\"",
        ),
        (
            "slo = { p95 = '5ms', p99 = '1ms' }",
            "6:15: proxy[0].slo.p95: a p95 of 5ms is above the p99 of 1ms; expected p95 <= p99",
        ),
        (
            "slo.mean = '0ms'",
            "6:12: proxy[0].slo.mean: it is zero; expected more than zero, or leave it out",
        ),
        (
            "pool = 0",
            "6:8: proxy[0].pool: it is zero; expected at least 1, or leave it out",
        ),
        (
            "connect_timeout = '0s'",
            "6:19: proxy[0].connect_timeout: it is zero; expected more than zero, or leave it out",
        ),
        (
            "routes = ['/a']",
            "6:10: proxy[0].routes: a proxy that speaks redis has no routes; remove them, or write protocol = \"http\"",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(
            problems(&after_good(line)),
            [format!("b.toml:{expected}")],
            "{line}"
        );
    }
}

#[test]
fn names_and_addresses_of_a_proxy() {
    let cases = [
        (
            "\"redis\"\nprotocol",
            "\"Redis 1\"\nprotocol",
            "2:8: proxy[0].name: \"Redis 1\" cannot be a name; expected 1 to 64 of a-z, 0-9, `_`, `.` and `-`",
        ),
        (
            "26379",
            "\"example.org:80\"",
            "4:10: proxy[0].listen: \"example.org\" is a name, and a proxy listens on an address; expected `port`, `addr:port`, `[v6]:port` or `unix:/path`, like \"127.0.0.1:26379\"",
        ),
        (
            "26379",
            "70000",
            "4:10: proxy[0].listen: \"70000\" is not a port; expected a number from 0 to 65535",
        ),
        (
            "26379",
            "-1",
            "4:10: proxy[0].listen: \"-1\" has no port; expected `port`, `addr:port`, `[v6]:port` or `unix:/path`, like \"127.0.0.1:26379\"",
        ),
        (
            "26379",
            "true",
            "4:10: proxy[0].listen: found boolean true; expected an address to listen on, like \"127.0.0.1:26379\", or a port",
        ),
        (
            "localhost:6379",
            "redis://:pw@localhost:6379/0",
            "5:12: proxy[0].upstream: a URL is not an address; write only host and port: \"localhost:6379\"",
        ),
        (
            "localhost:6379",
            "localhost:26379",
            "5:12: proxy[0].upstream: localhost:26379 is where this proxy itself listens: connections would go round in circles; expected the address of the real server",
        ),
        (
            "localhost:6379",
            "127.0.0.1:8474",
            "5:12: proxy[0].upstream: 127.0.0.1:8474 is where the admin endpoint listens: connections would go round in circles; expected the address of the real server",
        ),
        (
            "26379",
            "8474",
            "4:10: proxy[0].listen: 127.0.0.1:8474 is taken: the admin endpoint listens there; expected an address of its own",
        ),
    ];
    for (old, new, expected) in cases {
        assert!(GOOD.contains(old));
        assert_eq!(
            problems(&GOOD.replacen(old, new, 1)),
            [format!("b.toml:{expected}")],
            "{new}"
        );
    }
}

#[test]
fn what_two_proxies_cannot_share() {
    let second = GOOD
        .replace("localhost:6379", "127.0.0.1:26379")
        .replace("26379\nup", "'0.0.0.0:26379'\nup");
    assert_eq!(
        problems(&format!("{GOOD}{second}")),
        [
            "b.toml:7:8: proxy[1].name: \"redis\" is the name of an earlier proxy; expected a name of its own",
            "b.toml:9:10: proxy[1].listen: 0.0.0.0:26379 is taken: proxy \"redis\" listens there; expected an address of its own",
            "b.toml:10:12: proxy[1].upstream: 127.0.0.1:26379 is where proxy \"redis\" listens: \
             connections would go round in circles; expected the address of the real server",
        ]
    );
}

#[test]
fn a_broken_proxy_hides_no_clash() {
    let broken = GOOD.replace("protocol = \"redis\"", "protocol = \"reddis\"");
    let nameless = "[[proxy]]\nprotocol = 'tcp'\nlisten = 4\nupstream = 'h:1'\n";
    let circle = "[[proxy]]\nname = 'c'\nprotocol = 'tcp'\nlisten = 5\nupstream = '127.0.0.1:4'\n";
    let fields: Vec<String> = problems(&format!("{broken}{GOOD}{nameless}{circle}"))
        .iter()
        .map(|p| p.split("; ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        fields,
        [
            "b.toml:3:12: proxy[0].protocol: unknown protocol \"reddis\"",
            "b.toml:7:8: proxy[1].name: \"redis\" is the name of an earlier proxy",
            "b.toml:9:10: proxy[1].listen: 127.0.0.1:26379 is taken: proxy \"redis\" listens there",
            "b.toml:11:1: proxy[2].name: `name` is missing",
            "b.toml:19:12: proxy[3].upstream: 127.0.0.1:4 is where proxy[2] listens: connections would go round in circles",
        ]
    );
}

#[test]
fn routes_of_an_http_proxy() {
    let text = "[[proxy]]\nname = 'a'\nprotocol = 'http'\nlisten = 1\nupstream = 'h:1'\nroutes = [\n\
                '/ok/{id}',\n'GET /x',\n'/a b',\n'/a?b',\n'/x{id}',\n'/{}',\n'/ok/{other}/',\n'/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a',\n]";
    let whole = "a variable part is a whole segment; \
                 expected braces around a whole segment with a name in them, like \"/modules/{id}\"";
    let plain = "a route has no query, fragment, space or letter beyond ASCII; \
                 expected a path as it is sent, like \"/modules/{id}\"";
    assert_eq!(
        problems(text),
        [
            "b.toml:8:1: proxy[0].routes[1]: a route is a path; expected a path that begins with a slash, \
             like \"/modules/{id}\"; methods are counted by themselves"
                .to_owned(),
            format!("b.toml:9:1: proxy[0].routes[2]: {plain}"),
            format!("b.toml:10:1: proxy[0].routes[3]: {plain}"),
            format!("b.toml:11:1: proxy[0].routes[4]: {whole}"),
            format!("b.toml:12:1: proxy[0].routes[5]: {whole}"),
            "b.toml:13:1: proxy[0].routes[6]: it stands for the same paths as routes[0]; keep one of them".to_owned(),
            "b.toml:14:1: proxy[0].routes[7]: the route has too many segments; expected at most 31".to_owned(),
        ]
    );
}

#[test]
fn all_problems_at_once_in_the_order_of_the_lines() {
    let text = "workers = 'many'\nseeed = 1\n[[proxy]]\nprotocol = 'reddis'\nlisten = 1\nslo = { p95 = 3 }\n\
                [[proxy]]\nname = 'b'\nprotocol = 'http'\nlisten = 1\nupstream = 'h'\nroutes = [1]\n";
    let fields: Vec<String> = Config::parse(text, "b.toml")
        .unwrap_err()
        .iter()
        .map(|p| format!("{}:{} {}", p.line, p.column, p.field))
        .collect();
    assert_eq!(
        fields,
        [
            "1:11 workers",
            "2:1 seeed",
            "3:1 proxy[0].name",
            "3:1 proxy[0].upstream",
            "4:12 proxy[0].protocol",
            "6:15 proxy[0].slo.p95",
            "10:10 proxy[1].listen",
            "11:12 proxy[1].upstream",
            "12:11 proxy[1].routes[0]",
        ]
    );
}

#[test]
fn bounds() {
    let many = |n: usize| -> String {
        (0..n)
            .map(|i| {
                format!(
                    "[[proxy]]\nname = 'p{i}'\nprotocol = 'tcp'\nlisten = 0\nupstream = 'h:1'\n"
                )
            })
            .collect::<Vec<String>>()
            .concat()
    };
    assert_eq!(
        Config::parse(&many(MAX_PROXIES), "b")
            .unwrap()
            .proxies
            .len(),
        MAX_PROXIES
    );
    assert_eq!(
        problems(&many(MAX_PROXIES + 1)),
        ["b.toml:1281:1: proxy[256]: there are 257 proxies; expected at most 256 in one process"]
    );
    let routes = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("'/{i}'")).collect();
        let text = GOOD.replace("protocol = \"redis\"", "protocol = \"http\"");
        format!("{text}routes = [{}]", list.join(","))
    };
    assert!(Config::parse(&routes(MAX_ROUTES), "b").is_ok());
    assert_eq!(problems(&routes(MAX_ROUTES + 1)).len(), 1);
    let deep = format!("workers = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(
        problems(&deep)[0].contains("TOML"),
        "{:?}",
        problems(&deep)[0]
    );
    let wrong = (0..500)
        .map(|i| format!("k{i} = 1\n"))
        .collect::<Vec<String>>()
        .concat();
    let reported = problems(&wrong);
    assert_eq!(reported.len(), problem::MAX_PROBLEMS + 1);
    assert_eq!(
        reported[problem::MAX_PROBLEMS],
        "b.toml: there are more problems; mend these first"
    );
}

#[test]
fn no_file_is_too_much() {
    let million = 1 << 20;
    for (what, text) in [
        ("brackets", "[".repeat(million)),
        (
            "an array of arrays",
            format!("a = {}", "[".repeat(million - 4)),
        ),
        ("inline tables", "a={".repeat(million / 3)),
        (
            "a dotted key",
            format!("{}a = 1", "a.".repeat(million / 2 - 3)),
        ),
        (
            "a dotted header",
            format!("[{}a]", "a.".repeat(million / 2 - 2)),
        ),
        ("dotted keys", "a.a.a.a.a.a.a.b = 1\n".repeat(million / 20)),
        (
            "unknown keys",
            (0..million / 16)
                .map(|i| format!("k{i} = 1\n"))
                .collect::<Vec<_>>()
                .concat(),
        ),
        (
            "proxies",
            "[[proxy]]\nname = 'a'\nprotocol = 'tcp'\nlisten = 1\nupstream = 'h:1'\n"
                .repeat(million / 70),
        ),
        ("broken proxies", "[[proxy]]\nx = 1\n".repeat(million / 16)),
        (
            "routes",
            format!("{GOOD}routes = [{}]", "'/a',".repeat(million / 6)),
        ),
        (
            "a name",
            format!("[[proxy]]\nname = '{}'\n", "n".repeat(million - 30)),
        ),
        (
            "a line",
            format!("{GOOD}x = '{}'\n", "n".repeat(million - 200)),
        ),
    ] {
        let problems = Config::parse(&text, "b.toml").unwrap_err();
        assert!(problems.0.len() <= problem::MAX_PROBLEMS + 1, "{what}");
        assert!(problems.to_string().len() < 200_000, "{what}");
        let _ = Profile::parse("p", &text, "p.toml").unwrap_err();
    }
}

#[test]
fn paths_are_taken_from_the_folder_of_the_file() {
    let dir = std::env::temp_dir().join(format!("brownout-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("brownout.toml");
    std::fs::write(&path, "profiles = 'p'\nhlog = '/var/h'\n").unwrap();
    let config = Config::load(&path).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(config.profiles, Some(dir.join("p")));
    assert_eq!(config.hlog, Some(PathBuf::from("/var/h")));
}

#[test]
fn proxies_of_the_command_line_are_checked_with_those_of_the_file() {
    let mut config = Config::parse(GOOD, "b.toml").unwrap();
    assert!(config.check("command line").is_ok());
    let more =
        ProxyConfig::from_shorthands(&config.proxies, [(Protocol::Redis, "26379=h:1")]).unwrap();
    config.proxies.extend(more);
    assert_eq!(
        config.check("command line").unwrap_err().to_string(),
        "command line: redis-2.listen: 127.0.0.1:26379 is taken: proxy \"redis\" listens there; expected an address of its own"
    );
}

/// Pieces that configurations are made of, in any order.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[[proxy]]\n".to_owned()),
        Just("[admin]\n".to_owned()),
        Just("[[fault]]\n".to_owned()),
        (
            prop::sample::select(vec![
                "name",
                "protocol",
                "listen",
                "upstream",
                "slo",
                "routes",
                "pool",
                "workers",
                "seed",
                "slo.p95",
                "action",
                "delay",
                "match",
                "nmae",
                "\"\\u001b\""
            ]),
            prop_oneof![
                Just("'redis'".to_owned()),
                Just("{ p95 = '1ms', p99 = 3 }".to_owned()),
                Just("['/a', 1, {}]".to_owned()),
                Just("2020-01-01".to_owned()),
                any::<i64>().prop_map(|i| i.to_string()),
                any::<f64>().prop_map(|f| f.to_string()),
                any::<String>().prop_map(|s| format!("{s:?}")),
            ]
        )
            .prop_map(|(key, value)| format!("{key} = {value}\n")),
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_it_panic(pieces in prop::collection::vec(fragment(), 0..12)) {
        let text = pieces.concat();
        for result in [
            Config::parse(&text, "b.toml").map(|_| ()),
            Profile::parse("p", &text, "p.toml").map(|_| ()),
        ] {
            if let Err(problems) = result {
                prop_assert!(!problems.0.is_empty());
                let shown = problems.to_string();
                prop_assert!(!shown.contains('\u{1b}'), "{shown:?}");
                let lines = text.split('\n').count();
                prop_assert!(problems.iter().all(|p| p.line <= lines && !p.message.is_empty()));
            }
        }
    }

    #[test]
    fn no_word_makes_the_shorthand_panic(text in "\\PC*") {
        let _ = ProxyConfig::from_shorthand(Protocol::Redis, &text);
        let _ = text.parse::<Listen>();
        let _ = text.parse::<Upstream>();
    }

    #[test]
    fn addresses_are_written_as_they_are_read(text in "(([a-z0-9.:*-]{0,12}|\\[[0-9a-f:]{0,8}\\])(:[0-9]{0,6})?|unix:/?[a-z/]{0,9})") {
        if let Ok(listen) = text.parse::<Listen>() {
            prop_assert_eq!(listen.to_string().parse::<Listen>(), Ok(listen));
        }
        if let Ok(upstream) = text.parse::<Upstream>() {
            prop_assert_eq!(upstream.to_string().parse::<Upstream>(), Ok(upstream));
        }
    }
}
