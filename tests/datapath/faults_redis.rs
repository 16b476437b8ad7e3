//! Faults on Redis: at the boundaries of requests and replies, in order, and never on the wrong one.

use crate::harness::Proxied;
use crate::peers::{End, LIMIT, expect, expect_silence, read_exactly, read_to_end};
use crate::scripted::{Scripted, bulk, command};
use crate::support::{Redis, eventually};
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn start(pause: Duration) -> (Proxied, Scripted, TcpStream) {
    let upstream = Scripted::redis(pause);
    let proxied = Proxied::to(Protocol::Redis, upstream.address());
    let client = proxied.connect();
    (proxied, upstream, client)
}

fn echoes(numbers: std::ops::Range<usize>) -> String {
    numbers
        .map(|n| command(&["ECHO", &n.to_string()]))
        .collect()
}

fn bulks(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| bulk(&n.to_string())).collect()
}

/// Sends so many pipelined requests, and tells when the first and the last reply were there.
fn pipeline(mut client: &TcpStream, count: usize) -> (Duration, Duration) {
    let started = Instant::now();
    client.write_all(echoes(0..count).as_bytes()).unwrap();
    expect(client, bulks(0..1).as_bytes());
    let first = started.elapsed();
    expect(client, bulks(1..count).as_bytes());
    (first, started.elapsed())
}

#[test]
fn delays_of_a_pipeline_run_side_by_side_and_in_order() {
    for on in ["request", "reply"] {
        let (proxied, _upstream, client) = start(Duration::ZERO);
        proxied.fault(json!({ "action": "latency", "delay": "100ms", "on": on }));
        for _ in 0..3 {
            let (first, last) = pipeline(&client, 5);
            assert!(first >= Duration::from_millis(100), "{first:?} {on}");
            assert!(
                last < Duration::from_millis(350),
                "{last:?} {on}: one after the other"
            );
        }
        let echo = proxied
            .figures()
            .operation("ECHO")
            .unwrap()
            .exchanges
            .clone();
        assert_eq!((echo.count, echo.injected, echo.errors), (15, 15, 0));
        // Injected time is in what the client saw, and not in what the server took.
        assert!(echo.client.unwrap().p50_us >= 100_000);
        assert!(echo.upstream.unwrap().p50_us < 100_000);
    }
}

#[test]
fn a_delay_is_never_too_short() {
    let (proxied, _upstream, client) = start(Duration::ZERO);
    for delay in [1, 5, 20] {
        let name = format!("{delay}ms");
        proxied.fault(json!({ "name": name, "action": "latency", "delay": name }));
        for _ in 0..20 {
            let (first, _) = pipeline(&client, 1);
            assert!(first >= Duration::from_millis(delay), "{first:?} of {name}");
        }
        proxied.server.remove_fault(&name).unwrap();
    }
}

#[test]
fn a_floor_fills_up_and_adds_nothing() {
    let (proxied, _upstream, client) = start(Duration::from_millis(60));
    for (floor, least, most) in [(150, 150, 200), (20, 60, 140)] {
        let text = format!("{floor}ms");
        let spec = json!({ "name": "f", "action": "latency", "delay": text, "floor": true });
        proxied.fault(spec);
        // The best of some: what is above is the machine's.
        let took = (0..4).map(|_| pipeline(&client, 1).1).min().unwrap();
        assert!(
            took >= Duration::from_millis(least),
            "{took:?} with a floor of {text}"
        );
        assert!(
            took < Duration::from_millis(most),
            "{took:?} with a floor of {text}"
        );
        proxied.server.remove_fault("f").unwrap();
    }
}

#[test]
fn a_stall_holds_from_its_exchange_on_and_halting_releases_in_order() {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (proxied, upstream, mut client) = start(Duration::ZERO);
        proxied.fault(json!({ "action": "stall", "match": { "operation": "GET" } }));
        let asked = echoes(0..2) + &command(&["GET", "x"]) + &echoes(2..50);
        client.write_all(asked.as_bytes()).unwrap();
        expect(&client, bulks(0..2).as_bytes());
        expect_silence(&client, Duration::from_millis(50));
        assert_eq!(upstream.seen(), ["ECHO 0", "ECHO 1"]);
        let halted = Instant::now();
        proxied.server.halt();
        let all = bulk("x") + &bulks(2..50);
        expect(&client, all.as_bytes());
        best = best.min(halted.elapsed());
    }
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn a_client_that_gives_up_ends_a_stalled_session() {
    let (proxied, upstream, mut client) = start(Duration::ZERO);
    proxied.fault(json!({ "action": "stall" }));
    client.write_all(echoes(0..1).as_bytes()).unwrap();
    expect_silence(&client, Duration::from_millis(20));
    drop(client);
    proxied.wait_until_idle();
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_timeout_closes_after_its_time_and_what_came_before_arrives() {
    let (proxied, upstream, mut client) = start(Duration::ZERO);
    let spec =
        json!({ "action": "timeout", "close_after": "150ms", "match": { "operation": "GET" } });
    proxied.fault(spec);
    let started = Instant::now();
    let asked = echoes(0..3) + &command(&["GET", "x"]) + &echoes(3..5);
    client.write_all(asked.as_bytes()).unwrap();
    assert_eq!(read_to_end(&client), (bulks(0..3).into_bytes(), End::Fin));
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert_eq!(upstream.seen(), ["ECHO 0", "ECHO 1", "ECHO 2"]);
}

#[test]
fn a_disconnect_cuts_where_it_says_and_keeps_what_came_before() {
    let value = "v".repeat(100);
    let reply = bulk(&value);
    let places = [
        (json!({ "when": "before" }), 0, false),
        (json!({ "when": "after" }), 0, true),
        (json!({ "when": "inside", "bytes": 7 }), 7, true),
        (json!({ "when": "inside", "bytes": 0 }), 0, true),
        (
            json!({ "when": "inside", "bytes": 5000 }),
            reply.len(),
            true,
        ),
        (
            json!({ "when": "inside", "share": 0.5 }),
            reply.len() / 2,
            true,
        ),
        (json!({ "when": "inside", "share": 1.0 }), reply.len(), true),
    ];
    for (how, end) in [("fin", End::Fin), ("rst", End::Rst)] {
        for (place, passed, asked) in &places {
            let (proxied, upstream, mut client) = start(Duration::ZERO);
            let mut spec =
                json!({ "action": "disconnect", "how": how, "match": { "operation": "GET" } });
            let both = spec.as_object_mut().unwrap();
            both.extend(place.as_object().unwrap().clone());
            let fault = proxied.fault(spec);
            let pipelined = echoes(0..3) + &command(&["GET", &value]) + &echoes(3..5);
            client.write_all(pipelined.as_bytes()).unwrap();
            let prefix = bulks(0..3) + &reply[..*passed];
            let (got, ended) = read_to_end(&client);
            let got = String::from_utf8(got).unwrap();
            assert_eq!((got, ended), (prefix, end), "{how} {place}");
            proxied.wait_until_idle();
            let seen = upstream.seen_in_all();
            let get = format!("GET {value}");
            assert_eq!(seen.contains(&get), *asked, "{how} {place}: {seen:?}");
            assert_eq!(proxied.listed(&fault.name).injected, 1);
        }
    }
}

/// Every request carries its number, and every reply must be that of its own request.
#[test]
fn errors_take_their_place_among_the_other_replies() {
    const COUNT: usize = 200;
    let (proxied, upstream, mut client) = start(Duration::ZERO);
    let spec = json!({ "name": "oom", "action": "error", "preset": "OOM", "every": 3 });
    proxied.fault(spec);
    for chunk in [1, 7, 64, 4096] {
        let asked = echoes(0..COUNT);
        for piece in asked.as_bytes().chunks(chunk * 16) {
            client.write_all(piece).unwrap();
        }
        let mut reader = BufReader::new(&client);
        let mut errors = Vec::new();
        for n in 0..COUNT {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.starts_with('-') {
                assert!(line.starts_with("-OOM "), "{line}");
                errors.push(n);
                continue;
            }
            let mut value = String::new();
            reader.read_line(&mut value).unwrap();
            assert_eq!(value.trim_end(), n.to_string());
        }
        let seen = upstream.seen();
        let passed: Vec<_> = (0..COUNT).filter(|n| !errors.contains(n)).collect();
        let passed: Vec<_> = passed.iter().map(|n| format!("ECHO {n}")).collect();
        assert_eq!(seen, passed, "the server saw the others, and only those");
        assert!(errors.windows(2).all(|w| w[1] - w[0] == 3), "{errors:?}");
    }
    let echo = proxied
        .figures()
        .operation("ECHO")
        .unwrap()
        .exchanges
        .clone();
    let hits = proxied.listed("oom").injected;
    assert_eq!(hits, 4 * COUNT as u64 / 3);
    assert_eq!(
        (echo.count, echo.errors, echo.injected),
        (4 * COUNT as u64, hits, hits)
    );
}

/// A fault that comes while a request is half on its way must not leave the server with the half.
#[test]
fn a_request_that_has_begun_to_pass_passes() {
    for spec in [
        json!({ "name": "f", "action": "error", "preset": "OOM" }),
        json!({ "name": "f", "action": "lose_request" }),
        json!({ "name": "f", "action": "disconnect" }),
    ] {
        let (upstream, (first, rest)) = (Scripted::redis(Duration::ZERO), (0..1, 1..2));
        let proxied = Proxied::to(Protocol::Redis, upstream.address());
        let mut client = proxied.connect();
        let asked = echoes(first.clone());
        client.write_all(&asked.as_bytes()[..9]).unwrap();
        eventually("the half to pass", LIMIT, || {
            (proxied.figures().bytes.up == 9).then_some(())
        });
        proxied.fault(spec);
        client.write_all(&asked.as_bytes()[9..]).unwrap();
        expect(&client, bulks(first).as_bytes());
        client.write_all(echoes(rest).as_bytes()).unwrap();
        let mut next = Vec::new();
        let _ = client.take(4).read_to_end(&mut next);
        assert_ne!(next, b"$1\r\n", "the next one is hit");
        assert_eq!(upstream.seen(), ["ECHO 0"]);
    }
}

#[test]
fn a_match_on_keys_hits_these_keys_only() {
    let (proxied, upstream, mut client) = start(Duration::ZERO);
    let matching = json!({ "key": ["cart:*", "stock:?"] });
    proxied.fault(json!({ "action": "error", "code": "ERR", "message": "no", "match": matching }));
    for (key, hit) in [
        ("cart:17", true),
        ("stock:1", true),
        ("stock:12", false),
        ("user", false),
    ] {
        client.write_all(command(&["GET", key]).as_bytes()).unwrap();
        let reply = if hit { "-ERR no\r\n".into() } else { bulk(key) };
        expect(&client, reply.as_bytes());
    }
    assert_eq!(upstream.seen(), ["GET stock:12", "GET user"]);
}

#[test]
fn an_error_that_closes_ends_the_session_after_it() {
    let (proxied, upstream, mut client) = start(Duration::ZERO);
    let spec = json!({ "action": "error", "code": "ERR", "message": "max number of clients reached",
        "close": true, "after": 2 });
    proxied.fault(spec);
    client.write_all(echoes(0..5).as_bytes()).unwrap();
    let (got, end) = read_to_end(&client);
    let wanted = bulks(0..2) + "-ERR max number of clients reached\r\n";
    assert_eq!((String::from_utf8(got).unwrap(), end), (wanted, End::Fin));
    assert_eq!(upstream.seen(), ["ECHO 0", "ECHO 1"]);
}

#[test]
fn an_error_and_a_latency_on_one_exchange_both_happen() {
    let (proxied, _upstream, mut client) = start(Duration::ZERO);
    proxied.fault(json!({ "action": "latency", "delay": "60ms" }));
    proxied.fault(json!({ "action": "error", "preset": "LOADING" }));
    let started = Instant::now();
    client.write_all(echoes(0..1).as_bytes()).unwrap();
    expect(&client, b"-LOADING ");
    assert!(started.elapsed() >= Duration::from_millis(60));
}

/// The server's own state forbids these; they are said, and the exchange goes its way.
#[test]
fn an_error_where_it_cannot_be_is_skipped_and_said() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    let mut events = proxied.events();
    let matching = json!({ "operation": "SET" });
    let spec = json!({ "name": "e", "action": "error", "preset": "OOM", "match": matching });
    proxied.fault(spec);

    let mut client = proxied.connect();
    let silent = [
        command(&["CLIENT", "REPLY", "OFF"]),
        command(&["SET", "a", "2"]),
        command(&["CLIENT", "REPLY", "ON"]),
        command(&["GET", "a"]),
        command(&["SET", "a", "3"]),
    ];
    client.write_all(silent.concat().as_bytes()).unwrap();
    expect(&client, b"+OK\r\n$1\r\n2\r\n-OOM ");
    assert_eq!(skipped(&mut events), "no reply is expected");

    let listed = proxied.listed("e");
    assert_eq!((listed.matched, listed.injected, listed.skipped), (2, 1, 1));
    let faults = proxied.figures().faults;
    assert_eq!((faults.injected, faults.skipped), (1, 1));
    let reasons = [("no reply is expected".to_owned(), 1)].into();
    assert_eq!(listed.skipped_by_reason, reasons, "of the fault");
    assert_eq!(faults.skipped_by_reason, reasons, "of the proxy");
}

fn skipped(events: &mut crate::harness::Events) -> &'static str {
    events.find("the skip in the event stream", |event| match event {
        Event::Skipped { reason, .. } => Some(*reason),
        _ => None,
    })
}

/// Which of so many requests, one after the other, are answered with an error.
fn hits(proxied: &Proxied, count: usize) -> Vec<usize> {
    let mut client = proxied.connect();
    let mut hits = Vec::new();
    for n in 0..count {
        client.write_all(echoes(n..n + 1).as_bytes()).unwrap();
        if read_exactly(&client, 1) == b"-" {
            hits.push(n);
            read_line(&client);
        } else {
            read_line(&client);
            assert_eq!(read_line(&client), n.to_string());
        }
    }
    hits
}

/// Byte by byte, so that nothing of the next reply is taken.
fn read_line(client: &TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(read_exactly(client, 1));
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).unwrap()
}

fn hits_with(gates: &Value) -> Vec<usize> {
    let (proxied, _upstream, _client) = start(Duration::ZERO);
    let mut spec = json!({ "name": "g", "action": "error", "preset": "OOM" });
    let all = spec.as_object_mut().unwrap();
    all.extend(gates.as_object().unwrap().clone());
    proxied.fault(spec);
    let hits = hits(&proxied, 60);
    assert_eq!(proxied.listed("g").injected, hits.len() as u64, "{gates}");
    hits
}

#[test]
fn gates_let_through_what_they_say() {
    assert_eq!(hits_with(&json!({ "first": 2 })), [0, 1]);
    assert_eq!(hits_with(&json!({ "after": 57 })), [57, 58, 59]);
    let every: Vec<_> = (0..60).filter(|n| n % 7 == 6).collect();
    assert_eq!(hits_with(&json!({ "every": 7 })), every);
    let both = hits_with(&json!({ "every": 7, "first": 2, "after": 10 }));
    assert_eq!(both, [16, 23]);
    // The same seed, the same hits; another one, others.
    let drawn = hits_with(&json!({ "probability": 0.5, "seed": 7 }));
    assert!((15..45).contains(&drawn.len()), "{drawn:?}");
    assert_eq!(hits_with(&json!({ "probability": 0.5, "seed": 7 })), drawn);
    assert_ne!(hits_with(&json!({ "probability": 0.5, "seed": 8 })), drawn);
    // A second has as many seconds as the requests took, begun ones counted.
    let started = Instant::now();
    let few = hits_with(&json!({ "per_second": 5 }));
    let seconds = started.elapsed().as_secs() as usize + 1;
    assert!(
        few.starts_with(&[0, 1, 2, 3, 4]) && few.len() <= 5 * seconds,
        "{few:?}"
    );
}

#[test]
fn a_schedule_flaps() {
    let (proxied, _upstream, mut client) = start(Duration::ZERO);
    let schedule = json!({ "duration": "100ms", "repeat": "250ms" });
    let enabled = Instant::now();
    proxied.fault(json!({ "action": "error", "preset": "OOM", "schedule": schedule }));
    let (mut turns, mut last) = (0, None);
    while enabled.elapsed() < Duration::from_millis(1300) {
        let before = enabled.elapsed().as_millis() % 250;
        client.write_all(echoes(0..1).as_bytes()).unwrap();
        let hit = read_line(&client).starts_with('-');
        if !hit {
            read_line(&client);
        }
        let after = enabled.elapsed().as_millis() % 250;
        // Where both looks fall into the same stretch, with a margin at its ends, it is known what it must be.
        if (5..90).contains(&before) && (before..90).contains(&after) {
            assert!(hit, "at {before} ms of the period");
        }
        if (110..240).contains(&before) && (before..240).contains(&after) {
            assert!(!hit, "at {before} ms of the period");
        }
        if last.replace(hit).is_some_and(|last| last != hit) {
            turns += 1;
        }
    }
    assert!(turns >= 6, "{turns} turns in five periods");
}

#[test]
fn a_session_that_cannot_be_decoded_is_cut_where_that_is_asked_for() {
    use crate::harness::{config, proxy};
    use brownout::config::OnDesync;
    let upstream = crate::peers::Serving::echo();
    for on_desync in [OnDesync::Pass, OnDesync::Cut] {
        let mut config = config([proxy("p", Protocol::Redis, upstream.address)]);
        config.on_desync = on_desync;
        let proxied = Proxied::start(config);
        for loaded in [false, true] {
            if loaded {
                proxied.fault(json!({ "action": "stall", "probability": 0.0 }));
            }
            let mut client = proxied.connect();
            client.write_all(b"*1\r\n!no length\r\n").unwrap();
            match on_desync {
                OnDesync::Pass => expect(&client, b"*1\r\n!no length\r\n"),
                OnDesync::Cut => assert_eq!(read_to_end(&client).1, End::Rst),
            }
        }
        let lost = proxied.figures().tap_lost;
        assert_eq!(lost.values().sum::<u64>(), 2, "{lost:?}");
    }
}
