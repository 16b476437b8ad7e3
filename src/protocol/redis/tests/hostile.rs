//! Bytes that no peer should send: no panic, no memory by declared length, the same verdict however they are cut.

use proptest::prelude::*;

use super::{Seen, Session, Way, command, decode, words};
use crate::protocol::redis::Decoder;
use crate::protocol::{Event, Located, Lost, MAX_OUTSTANDING};

/// What a hostile or broken peer may make the decoder hold.
const BUDGET: usize = 64 * 1024;

fn verdict(seen: &[Seen]) -> Option<Lost> {
    seen.iter().find_map(|seen| match seen.3 {
        Event::Lost(why) => Some(why),
        _ => None,
    })
}

/// What becomes of a piece of the request stream, and of the reply stream after a few requests.
fn check(way: Way, bytes: &[u8], expected: Option<Lost>) {
    let mut session: Session = Vec::new();
    if way == Way::Reply {
        session.push((Way::Request, words("GET a").repeat(3)));
    }
    session.push((way, bytes.to_vec()));
    let whole = decode(&session, |length| length);
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    assert_eq!(verdict(&whole), expected, "{shown:?}");
    assert_eq!(whole, decode(&session, |_| 1), "{shown:?}");
    let mut decoder = Decoder::new();
    let mut out: Vec<Located> = Vec::new();
    for (way, piece) in &session {
        for part in piece.chunks(4096) {
            match way {
                Way::Request => decoder.request(part, &mut out),
                Way::Reply => decoder.reply(part, &mut out),
            }
            assert!(decoder.heap() <= BUDGET, "{shown:?}");
        }
    }
}

#[test]
fn lengths_that_lie_in_requests() {
    for (bytes, expected) in [
        (&b"*2000000000\r\n"[..], None),
        (b"*2000000000\r\n$3\r\nGET\r\n$1\r\nx\r\n", None),
        (b"*2147483647\r\n", None),
        (b"*2147483648\r\n", Some(Lost::Length)),
        (b"*9223372036854775807\r\n", Some(Lost::Length)),
        (b"*99999999999999999999999999\r\n", Some(Lost::Length)),
        (b"*1\r\n$9223372036854775807\r\n", Some(Lost::Length)),
        (b"*1\r\n$1099511627776\r\nx", None),
        (b"*1\r\n$1099511627777\r\nx", Some(Lost::Length)),
        (b"*1\r\n$-1\r\n", Some(Lost::Malformed)),
        (b"*1\r\n$03\r\n", Some(Lost::Malformed)),
        (b"*+1\r\n", Some(Lost::Malformed)),
        (b"*1\n", Some(Lost::Malformed)),
        (b"*1\r\r\n", Some(Lost::Malformed)),
        (b"*\r\n", Some(Lost::Malformed)),
        (b"*1\r\n:1\r\n", Some(Lost::Malformed)),
        (b"*1\r\n*1\r\n", Some(Lost::Malformed)),
        (b"*1\r\n$4\r\nPINGxx", Some(Lost::Malformed)),
        (b"*1\r\n$4\r\nPING\rx", Some(Lost::Malformed)),
        (b"*2\r\n$3\r\nGET\r\n$1\r\nxy\r\n", Some(Lost::Malformed)),
        (b"PING \0\r\n", Some(Lost::Malformed)),
    ] {
        check(Way::Request, bytes, expected);
    }
    check(Way::Request, &b"a".repeat(65_536), None);
    check(Way::Request, &b"a".repeat(65_537), Some(Lost::Length));
    check(
        Way::Request,
        &b"*1\r\n".repeat(100_000),
        Some(Lost::Malformed),
    );
    check(Way::Request, &b"$".repeat(100), None);
}

#[test]
fn lengths_that_lie_in_replies() {
    for (bytes, expected) in [
        (&b"*2000000000\r\n"[..], None),
        (b"*2147483648\r\n", None),
        (b"*2147483649\r\n", Some(Lost::Length)),
        (b"%2147483648\r\n", None),
        (b"$1099511627776\r\n", None),
        (b"$1099511627777\r\n", Some(Lost::Length)),
        (b"$9223372036854775807\r\n", Some(Lost::Length)),
        (b"$-2\r\n", Some(Lost::Malformed)),
        (b"%-1\r\n", Some(Lost::Malformed)),
        (b"~-1\r\n", Some(Lost::Malformed)),
        (b"|-1\r\n", Some(Lost::Malformed)),
        (b">-1\r\n", Some(Lost::Malformed)),
        (b"$1\r\nxyz", Some(Lost::Malformed)),
        (b"$?\r\n;4\r\n", Some(Lost::Malformed)),
        (b"*?\r\n", Some(Lost::Malformed)),
        (b".\r\n", Some(Lost::WrongProtocol)),
        (b"+OK\r\n.\r\n", Some(Lost::Malformed)),
        (b">0\r\n>1\r\n*0\r\n", None),
        (b"|1\r\n+a\r\n+b\r\n>1\r\n+x\r\n", None),
        (b"HTTP/1.1 200 OK\r\n", Some(Lost::WrongProtocol)),
    ] {
        check(Way::Reply, bytes, expected);
    }
}

#[test]
fn depth_costs_nothing() {
    let depth = 1_000_000;
    for mark in [
        "*1\r\n",
        "%1\r\n:1\r\n",
        "~1\r\n",
        "|1\r\n:1\r\n:1\r\n",
        "|1\r\n",
    ] {
        let mut decoder = Decoder::new();
        let mut out: Vec<Located> = Vec::new();
        decoder.request(&words("GET a"), &mut out);
        for _ in 0..depth / 1000 {
            decoder.reply(&mark.as_bytes().repeat(1000), &mut out);
        }
        assert!(
            !out.iter()
                .any(|located| matches!(located.event, Event::Lost(_))),
            "{mark:?}"
        );
        assert!(out.len() <= 4 && decoder.heap() <= BUDGET, "{mark:?}");
    }
}

#[test]
fn counters_cannot_overflow() {
    // Each header opens two to the 32nd more elements: 2^64 of them are out of reach, and would be refused.
    let mut decoder = Decoder::new();
    let mut out: Vec<Located> = Vec::new();
    decoder.request(&words("GET a"), &mut out);
    for _ in 0..1000 {
        decoder.reply(&b"%2147483648\r\n".repeat(1000), &mut out);
        decoder.reply(&b"|2147483648\r\n".repeat(1000), &mut out);
    }
    assert_eq!(out.into_iter().flat_map(Located::parts).count(), 4);
}

#[test]
fn a_huge_value_is_counted_past() {
    let mut decoder = Decoder::new();
    let mut out: Vec<Located> = Vec::new();
    let piece = vec![b'x'; 1 << 20];
    decoder.request(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n", &mut out);
    for _ in 0..512 {
        decoder.request(&piece, &mut out);
    }
    decoder.request(b"\r\n", &mut out);
    assert_eq!(
        out.last().map(|located| located.event),
        Some(Event::RequestEnd)
    );
    assert!(decoder.heap() <= BUDGET);
}

#[test]
fn pipelines_are_bounded() {
    let mut decoder = Decoder::new();
    let mut out: Vec<Located> = Vec::new();
    let piece = words("PING").repeat(1 << 10);
    for _ in 0..MAX_OUTSTANDING >> 10 {
        decoder.request(&piece, &mut out);
        out.clear();
    }
    decoder.request(b"", &mut out);
    assert!(out.is_empty());
    decoder.request(&words("PING"), &mut out);
    let last = out.last().map(|located| located.event);
    assert_eq!(last, Some(Event::Lost(Lost::TooDeep)));
    assert!(decoder.heap() <= BUDGET);
    out.clear();
    decoder.reply(b"+PONG\r\n", &mut out);
    assert!(out.is_empty());
}

#[test]
fn names_of_any_length_are_counted_past() {
    for length in [24, 25, 200, 100_000] {
        let name = vec![b'a'; length];
        let session = vec![(Way::Request, command(&[b"CLIENT", &name, &name]))];
        let whole = decode(&session, |length| length);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole, decode(&session, |_| 7));
    }
}

/// Pieces of RESP, so that chance builds something near to it.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"*",
        b"$",
        b"+",
        b"-",
        b":",
        b"%",
        b"~",
        b">",
        b"|",
        b"_",
        b"!",
        b"=",
        b"(",
        b"#",
        b",",
        b"\r",
        b"\n",
        b"\r\n",
        b"0",
        b"1",
        b"2",
        b"3",
        b"9",
        b"-1",
        b"?",
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b">3\r\n",
        b"$-1\r\n",
        b"$7\r\nmessage\r\n",
        b"$9\r\nsubscribe\r\n",
        b"$4\r\nEXEC\r\n",
        b"$5\r\nMULTI\r\n",
        b"$3\r\nGET\r\n",
        b"$1\r\na\r\n",
        b"$6\r\nCLIENT\r\n",
        b"$5\r\nREPLY\r\n",
        b"$3\r\nOFF\r\n",
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":1\r\n",
        b"subscribe a\r\n",
        b"ping\r\n",
        b"\"",
        b"'",
        b"\\",
        b"\0",
        b"x",
    ];
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nonsense_gets_the_same_verdict_however_it_is_cut(
        pieces in prop::collection::vec((any::<bool>(), fragments()), 0..12),
        cuts in prop::collection::vec(1..30_usize, 1..20),
        withheld in prop::collection::vec(0..8_u64, 0..3),
    ) {
        let session: Session = pieces
            .iter()
            .map(|(request, bytes)| (if *request { Way::Request } else { Way::Reply }, bytes.clone()))
            .collect();
        let whole = decode(&session, |length| length);
        prop_assert_eq!(&whole, &decode(&session, |_| 1));
        let mut cuts = cuts.iter().cycle();
        prop_assert_eq!(&whole, &decode(&session, |_| *cuts.next().unwrap_or(&1)));

        let lost = whole.iter().position(|seen| matches!(seen.3, Event::Lost(_)));
        prop_assert!(lost.is_none_or(|at| at + 1 == whole.len()), "silent after it gave up");

        // Withholding anything at any time is safe.
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        for (way, bytes) in &session {
            match way {
                Way::Request => decoder.request(bytes, &mut out),
                Way::Reply => decoder.reply(bytes, &mut out),
            }
            for exchange in &withheld {
                decoder.withhold(*exchange);
            }
        }
        prop_assert!(decoder.heap() <= BUDGET);
    }
}
