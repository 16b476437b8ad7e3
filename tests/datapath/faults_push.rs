//! Faults on messages that the server sends unasked: whole messages, in order, and nothing else.

use crate::harness::Proxied;
use crate::peers::{expect, expect_silence, read_exactly};
use crate::scripted::{bulk, command};
use crate::support::{Postgres, Redis, eventually};
use brownout::protocol::Protocol;
use brownout::proxy::Event;
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A message as a subscriber of RESP2 (`*`) or RESP3 (`>`) gets it.
fn message(mark: char, channel: &str, payload: &str) -> String {
    let parts = ["message", channel, payload].map(bulk).concat();
    format!("{mark}3\r\n{parts}")
}

/// A client of a real server that is subscribed to `news` and `other`, and what its messages begin with.
fn subscriber(proxied: &Proxied, resp3: bool) -> (TcpStream, char) {
    let mut client = proxied.connect();
    let mark = if resp3 { '>' } else { '*' };
    if resp3 {
        client
            .write_all(command(&["HELLO", "3"]).as_bytes())
            .unwrap();
        // The map is read up to its last entry, which is an empty list.
        let mut hello = Vec::new();
        while !hello.ends_with(b"modules\r\n*0\r\n") {
            hello.extend(read_exactly(&client, 1));
        }
    }
    let subscribe = command(&["SUBSCRIBE", "news", "other"]);
    client.write_all(subscribe.as_bytes()).unwrap();
    for (number, channel) in [(1, "news"), (2, "other")] {
        let parts = ["subscribe", channel].map(bulk).concat();
        expect(
            &client,
            format!("{mark}3\r\n{parts}:{number}\r\n").as_bytes(),
        );
    }
    (client, mark)
}

#[test]
fn the_third_message_of_one_channel_is_lost_and_no_other() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    for resp3 in [false, true] {
        let (client, mark) = subscriber(&proxied, resp3);
        let mut events = proxied.events();
        proxied.fault(json!({
            "name": "third", "action": "push_loss", "after": 2, "first": 1,
            "match": { "channel": "new*" }
        }));
        for payload in ["1", "2", "3", "4"] {
            redis.command(&["PUBLISH", "other", payload]);
            redis.command(&["PUBLISH", "news", payload]);
        }
        for payload in ["1", "2", "3", "4"] {
            expect(&client, message(mark, "other", payload).as_bytes());
            if payload != "3" {
                expect(&client, message(mark, "news", payload).as_bytes());
            }
        }
        let by = events.find("the loss", |event| match event {
            Event::InjectedAside {
                what: "push",
                faults,
                ..
            } => Some(faults.len()),
            _ => None,
        });
        assert_eq!(by, 1);
        let listed = proxied.listed("third");
        assert_eq!((listed.matched, listed.injected), (4, 1), "RESP3: {resp3}");
        // The connection goes on: a reply is no message.
        let mut client = client;
        client.write_all(command(&["PING"]).as_bytes()).unwrap();
        if resp3 {
            expect(&client, b"+PONG\r\n");
        } else {
            expect(
                &client,
                format!("*2\r\n{}{}", bulk("pong"), bulk("")).as_bytes(),
            );
        }
        proxied.server.remove_fault("third").unwrap();
    }
}

#[test]
fn messages_are_held_in_order_and_released_by_halting() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    for resp3 in [false, true] {
        let (client, mark) = subscriber(&proxied, resp3);
        proxied.fault(json!({ "name": "late", "action": "push_delay", "delay": "150ms" }));
        let started = Instant::now();
        for payload in ["1", "2", "3"] {
            redis.command(&["PUBLISH", "news", payload]);
        }
        for payload in ["1", "2", "3"] {
            expect(&client, message(mark, "news", payload).as_bytes());
        }
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(150), "{took:?}");
        assert!(
            took < Duration::from_millis(450),
            "{took:?}: one after the other"
        );
        proxied.server.remove_fault("late").unwrap();

        proxied.fault(json!({ "action": "push_delay", "delay": "60s" }));
        for payload in ["4", "5"] {
            redis.command(&["PUBLISH", "news", payload]);
        }
        expect_silence(&client, Duration::from_millis(50));
        proxied.server.halt();
        for payload in ["4", "5"] {
            expect(&client, message(mark, "news", payload).as_bytes());
        }
        proxied.server.resume();
    }
}

/// Whatever the pieces in which the server's bytes come, and whenever the fault comes into force.
#[test]
fn messages_are_lost_whole_however_they_are_split() {
    for enabled_at in [0, 1, 20, 34] {
        let (proxied, upstream) = Proxied::before(Protocol::Redis);
        let (mut client, mut server) = proxied.session(&upstream);
        let asked = command(&["SUBSCRIBE", "a"]);
        client.write_all(asked.as_bytes()).unwrap();
        expect(&server, asked.as_bytes());
        let confirmed = format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("a"));
        server.write_all(confirmed.as_bytes()).unwrap();
        expect(&client, confirmed.as_bytes());
        let first = message('*', "a", "first");
        let (before, after) = first.split_at(enabled_at);
        server.write_all(before.as_bytes()).unwrap();
        expect(&client, before.as_bytes());
        proxied.fault(json!({ "name": "all", "action": "push_loss" }));
        let lost = ["x", "y", &"z".repeat(100)].map(|p| message('*', "a", p));
        for byte in (after.to_owned() + &lost.concat()).bytes() {
            server.write_all(&[byte]).unwrap();
            std::thread::sleep(Duration::from_micros(200));
        }
        // The one that was under way is not torn.
        let expected = if enabled_at == 0 { "" } else { after };
        expect(&client, expected.as_bytes());
        expect_silence(&client, Duration::from_millis(50));
        let hits = if enabled_at == 0 { 4 } else { 3 };
        assert_eq!(proxied.listed("all").injected, hits);
        proxied.server.remove_fault("all").unwrap();
        let next = message('*', "a", "next");
        server.write_all(next.as_bytes()).unwrap();
        expect(&client, next.as_bytes());
    }
}

#[test]
fn a_message_that_never_ends_goes_with_its_connection() {
    let (proxied, upstream) = Proxied::before(Protocol::Redis);
    proxied.fault(json!({ "action": "push_loss" }));
    let (mut client, mut server) = proxied.session(&upstream);
    let asked = command(&["SUBSCRIBE", "a"]);
    client.write_all(asked.as_bytes()).unwrap();
    expect(&server, asked.as_bytes());
    let confirmed = format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("a"));
    let torn = confirmed + "*3\r\n$7\r\nmess";
    server.write_all(torn.as_bytes()).unwrap();
    drop(server);
    assert_eq!(
        crate::peers::read_to_end(&client).0,
        torn.as_bytes(),
        "an exact prefix"
    );
}

#[test]
fn a_notification_is_lost_and_the_next_one_comes() {
    let postgres = Postgres::start();
    let proxied = Proxied::to(Protocol::Postgres, postgres.address());
    let mut client = crate::faults_postgres::Client::connect(&proxied);
    client.query("LISTEN news");
    client.query("LISTEN other");
    proxied.fault(json!({
        "name": "lost", "action": "push_loss", "first": 1, "match": { "channel": "news" }
    }));
    let mut got = Vec::new();
    for (channel, payload) in [("other", "0"), ("news", "1"), ("news", "2")] {
        postgres.query(&format!("NOTIFY {channel}, '{payload}'"));
    }
    eventually("two notifications", Duration::from_secs(10), || {
        let all = client.query("SELECT 1");
        assert_eq!(all.last().unwrap(), "Z I");
        got.extend(all.into_iter().filter(|m| m == "A"));
        (got.len() >= 2).then_some(())
    });
    eventually("the loss", Duration::from_secs(10), || {
        (proxied.listed("lost").injected == 1).then_some(())
    });
    client.query("SELECT 2");
    assert_eq!(got.len(), 2);
}

#[test]
fn a_message_that_is_too_long_to_be_kept_is_skipped_by_name() {
    let redis = Redis::start();
    let proxied = Proxied::to(Protocol::Redis, redis.address());
    proxied.fault(json!({
        "name": "deaf", "action": "push_loss", "match": { "channel": "news" }
    }));
    let mut events = proxied.events();
    let mut client = proxied.connect();
    client
        .write_all(command(&["SUBSCRIBE", "news", "other"]).as_bytes())
        .unwrap();
    expect(&client, b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    expect(&client, b"*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:2\r\n");
    let long = "m".repeat(2 << 20);
    redis.command(&["PUBLISH", "other", &long]);
    redis.command(&["PUBLISH", "news", &long]);
    redis.command(&["PUBLISH", "news", "short"]);
    redis.command(&["PUBLISH", "other", "end"]);
    for channel in ["$5\r\nother", "$4\r\nnews"] {
        let message = format!(
            "*3\r\n$7\r\nmessage\r\n{channel}\r\n${}\r\n{long}\r\n",
            long.len()
        );
        let got = read_exactly(&client, message.len());
        assert!(got == message.as_bytes(), "{channel}");
    }
    expect(
        &client,
        b"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$3\r\nend\r\n",
    );
    let said = events.find("the skip in the event stream", |event| match event {
        Event::SkippedAside { reason, faults, .. } => Some((*reason, faults[0].to_string())),
        _ => None,
    });
    assert_eq!(said, ("the message is too long to be kept", "deaf".into()));
    let listed = proxied.listed("deaf");
    assert_eq!((listed.matched, listed.injected, listed.skipped), (2, 1, 1));
}
