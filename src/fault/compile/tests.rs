//! What is accepted, and what it becomes.

mod mistakes;

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
        "action = 'cancel'",
    ] {
        let fault = compile(toml);
        assert!(fault.acts_on("anything"));
        assert_eq!(fault.name(), None);
        assert_eq!(fault.gates(), &Gates::default());
        assert_eq!(fault.schedule(), &Schedule::default());
    }
    assert_eq!(ActionKind::ALL.len(), 22, "an action without a short form");
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
