//! What a session says of itself, for faults to match on.

use super::*;
use crate::protocol::Fact;

const ALL: [Fact; 3] = [Fact::User, Fact::Database, Fact::Name];

/// What holds behind everything.
fn said(session: &[(Way, Vec<u8>)], size: usize) -> [String; 3] {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    for (way, bytes) in session {
        for piece in bytes.chunks(size) {
            match way {
                Way::Request => decoder.request(piece, &mut out),
                Way::Reply => decoder.reply(piece, &mut out),
            }
        }
    }
    assert!(!out.iter().any(|e| matches!(e.event, Event::Lost(_))));
    of(&decoder, u64::MAX)
}

fn of(decoder: &Decoder, exchange: u64) -> [String; 3] {
    ALL.map(|fact| {
        let value = decoder.facts().map_or(&b""[..], |f| f.get(fact, exchange));
        String::from_utf8(value.to_vec()).unwrap()
    })
}

#[test]
fn a_session_is_who_and_where_it_says() {
    for (asked, expected) in [
        ("AUTH secret", ["", "", ""]),
        ("AUTH api secret", ["api", "", ""]),
        ("auth api secret", ["api", "", ""]),
        ("SELECT 3", ["", "3", ""]),
        ("CLIENT SETNAME worker-7", ["", "", "worker-7"]),
        ("CLIENT SETINFO LIB-NAME redis-py", ["", "", ""]),
        ("CLIENT GETNAME", ["", "", ""]),
        ("HELLO 3", ["", "", ""]),
        ("HELLO 3 AUTH api secret", ["api", "", ""]),
        ("HELLO 3 AUTH api secret SETNAME w", ["api", "", "w"]),
        (
            "HELLO 3 SETNAME auth AUTH setname x",
            ["setname", "", "auth"],
        ),
        ("SET SELECT 3", ["", "", ""]),
    ] {
        for size in [1, 2, 5, 1000] {
            let hello = asked.starts_with("HELLO");
            let reply: &[u8] = if hello { b"*0\r\n" } else { b"+OK\r\n" };
            let ok = (Way::Reply, reply.to_vec());
            let array = [(Way::Request, words(asked)), ok.clone()];
            let inline = [(Way::Request, format!("{asked}\r\n").into_bytes()), ok];
            assert_eq!(said(&array, size), expected, "{asked}");
            assert_eq!(said(&inline, size), expected, "{asked}");
        }
    }
}

#[test]
fn what_the_server_refuses_is_taken_back() {
    let session = [
        (Way::Request, words("AUTH a x")),
        (Way::Reply, b"+OK\r\n".to_vec()),
        (
            Way::Request,
            [words("AUTH b x"), words("SELECT 99"), words("SELECT 2")].concat(),
        ),
        (
            Way::Reply,
            b"-WRONGPASS no\r\n-ERR range\r\n+OK\r\n".to_vec(),
        ),
    ];
    assert_eq!(said(&session, 1000), ["a", "2", ""]);
    assert_eq!(said(&session, 1), ["a", "2", ""]);
    let reset = [&session[..], &[(Way::Request, words("RESET"))]].concat();
    assert_eq!(said(&reset, 1000), ["", "", ""]);
}

/// Of a pipeline each exchange is judged by what was asked before it.
#[test]
fn a_change_counts_for_what_comes_behind_it() {
    let mut decoder = Decoder::new();
    let pipeline = ["GET a", "SELECT 3", "GET a", "SELECT 4", "GET a"]
        .map(words)
        .concat();
    decoder.request(&pipeline, &mut Vec::new());
    let databases: Vec<String> = (0..5).map(|n| of(&decoder, n)[1].clone()).collect();
    assert_eq!(databases, ["", "", "3", "3", "4"]);
    // A fault answered the last one: the server never saw it.
    decoder.withhold(3);
    assert_eq!(of(&decoder, 4)[1], "3");
}

#[test]
fn values_are_cut() {
    let long = "x".repeat(100_000);
    let session = [(Way::Request, words(&format!("CLIENT SETNAME {long}")))];
    assert_eq!(said(&session, 1000)[2].len(), 64);
}

/// What the reply to HELLO tells of the server, as it is told when the reply is cut into pieces of this size.
fn version(session: &[(Way, &str)], size: usize) -> Option<String> {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    for (way, text) in session {
        for piece in text.as_bytes().chunks(size) {
            match way {
                Way::Request => decoder.request(piece, &mut out),
                Way::Reply => decoder.reply(piece, &mut out),
            }
        }
    }
    assert!(!out.iter().any(|e| matches!(e.event, Event::Lost(_))));
    let ends = |e: &&Located| matches!(e.event, Event::ReplyEnd { .. } | Event::Reply { .. });
    assert_eq!(out.iter().filter(ends).count(), session.len() / 2);
    decoder
        .server()
        .map(|said| String::from_utf8(said.to_vec()).unwrap())
}

#[test]
fn the_version_is_the_one_in_the_reply_to_hello() {
    let map =
        "%3\r\n$6\r\nserver\r\n$7\r\nversion\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$7\r\nmodules\r\n";
    let nested = "*1\r\n%2\r\n$4\r\nname\r\n$1\r\nx\r\n$7\r\nversion\r\n$1\r\n9\r\n";
    let told = format!("{map}{nested}");
    let array = told.replacen("%3", "*6", 1);
    for size in [1, 2, 7, 1000] {
        for reply in [&told, &array] {
            let session = [(Way::Request, "HELLO 3\r\n"), (Way::Reply, reply)];
            assert_eq!(
                version(&session, size).as_deref(),
                Some("7.0.15"),
                "{reply}"
            );
        }
        for reply in [
            "%1\r\n$7\r\nversion\r\n:7\r\n",
            "%1\r\n$7\r\nversion\r\n$-1\r\n",
            "%1\r\n$7\r\nversion\r\n$0\r\n\r\n",
            "%1\r\n$7\r\nversion\r\n$25\r\n1234567890123456789012345\r\n",
            "%1\r\n:1\r\n$7\r\nversion\r\n",
            "%0\r\n",
            "-NOPROTO x\r\n",
        ] {
            let session = [(Way::Request, "HELLO 3\r\n"), (Way::Reply, reply)];
            assert_eq!(version(&session, size), None, "{reply}");
        }
        // What a client stores is no server's word.
        let session = [
            (Way::Request, "LRANGE a 0 1\r\n"),
            (Way::Reply, "*2\r\n$7\r\nversion\r\n$1\r\n1\r\n"),
        ];
        assert_eq!(version(&session, size), None);
    }
}
