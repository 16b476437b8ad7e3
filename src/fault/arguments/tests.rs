use proptest::prelude::*;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::*;

fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn keys_of(request: &[u8]) -> Vec<String> {
    let text = |key: &&[u8]| String::from_utf8_lossy(key).into_owned();
    let mut request = Request::new(Protocol::Redis, request);
    request.keys().iter().map(text).collect()
}

fn keys(words: &str) -> String {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    keys_of(&command(&words)).join(" ")
}

/// As `COMMAND GETKEYS` of Redis 7 answers.
#[test]
fn keys_are_where_the_command_has_them() {
    for (words, expected) in [
        ("GET k", "k"),
        ("get k", "k"),
        ("SET k v EX 5", "k"),
        ("HSET h f v", "h"),
        ("DEL a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("MSETNX a 1 b 2", "a b"),
        ("BLPOP a b 0", "a b"),
        ("RENAME a b", "a b"),
        ("LMOVE a b LEFT RIGHT", "a b"),
        ("OBJECT ENCODING k", "k"),
        ("XGROUP CREATE s g $", "s"),
        ("BITOP AND d a b", "d a b"),
        ("MIGRATE host 6379 k 0 5000", "k"),
        ("EVAL script 2 a b x", "a b"),
        ("EVALSHA sha 0 x", ""),
        ("FCALL f 1 a x", "a"),
        ("LMPOP 2 a b LEFT", "a b"),
        ("BLMPOP 0 2 a b LEFT", "a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("ZDIFF 2 a b WITHSCORES", "a b"),
        ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
        ("XREADGROUP GROUP g c streams s >", "s"),
        ("PING", ""),
        ("AUTH secret", ""),
        ("HELLO 3 AUTH user secret", ""),
        ("PUBLISH channel message", ""),
        ("CONFIG SET a b", ""),
        ("EVAL script nonsense a", ""),
        ("EVAL script 18446744073709551615 a b", "a b"),
    ] {
        assert_eq!(keys(words), expected, "{words}");
    }
}

#[test]
fn inline_commands_have_keys_too() {
    assert_eq!(keys_of(b"GET k\r\n"), ["k"]);
    assert_eq!(keys_of(b"  mget  a\tb \r\n"), ["a", "b"]);
    assert_eq!(keys_of(b"\r\n"), [""; 0]);
    assert_eq!(keys_of(b"GET k"), [""; 0], "the line has not ended");
}

#[test]
fn what_is_held_of_a_long_command_is_asked() {
    let whole = command(&[b"MSET", b"a", b"1", b"b", &[b'x'; 1000]]);
    assert_eq!(keys_of(&whole[..200]), ["a", "b"]);
    let inside_b = whole.windows(4).position(|w| w == b"$1\r\n").unwrap();
    assert_eq!(keys_of(&whole[..inside_b]), [""; 0]);
    // Of XREAD's keys the number is known from the length of the array.
    let streams = command(&[b"XREAD", b"STREAMS", b"a", b"b", b"0", b"0"]);
    assert_eq!(keys_of(&streams[..streams.len() - 14]), ["a", "b"]);
}

#[test]
fn a_protocol_has_only_what_it_has() {
    let get = command(&[b"GET", b"k"]);
    for protocol in [Protocol::Postgres, Protocol::Http, Protocol::Tcp] {
        assert!(Request::new(protocol, &get).keys().is_empty());
    }
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for protocol in [Protocol::Redis, Protocol::Postgres, Protocol::Tcp] {
        assert!(Request::new(protocol, head).headers().is_empty());
    }
}

#[test]
fn malformed_requests_have_no_keys() {
    for request in [
        &b""[..],
        b"*",
        b"*x\r\n",
        b"*-1\r\n",
        b"*2\r\n",
        b"*2\r\n$3\r\nGET\r\n$-1\r\n",
        b"*2\r\n$3\r\nGET\r\n:1\r\n",
        b"*2\r\n$99999999999999999999\r\nGET\r\n",
        b"*2\r\n$18446744073709551615\r\nGET\r\n$1\r\nk\r\n",
        b"*2\r\n*1\r\n*1\r\n",
        b"*2\n$3\nGET\n$1\nk\n",
    ] {
        assert_eq!(keys_of(request), [""; 0], "{request:?}");
    }
    let deep = b"*1\r\n".repeat(16_000);
    assert_eq!(keys_of(&deep), [""; 0]);
}

#[test]
fn headers_are_those_of_a_whole_head() {
    let whole = b"POST / HTTP/1.1\r\nHost: a\r\nX-Tenant: \xff1\r\nx-tenant: 2\r\n\r\nbody";
    let lines = |bytes| {
        let mut request = Request::new(Protocol::Http, bytes);
        let lines = request.headers().iter();
        lines
            .map(|line| (line.name, line.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&whole[..]),
        [
            ("Host", &b"a"[..]),
            ("X-Tenant", b"\xff1"),
            ("x-tenant", b"2")
        ]
    );
    assert!(lines(&whole[..whole.len() - 5]).is_empty());
    assert!(lines(b"nonsense\r\n\r\n").is_empty());
    let many = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(http_headers(many(100).as_bytes()).len(), 100);
    assert_eq!(http_headers(many(101).as_bytes()).len(), 0);
}

proptest! {
    /// On anything that the reference decoder takes for a command, the same arguments.
    #[test]
    fn agrees_with_redis_protocol(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..8)) {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let request = command(&arguments);
        let Ok(Some((OwnedFrame::Array(frames), used))) = decode(&request) else {
            panic!("the oracle refuses {request:?}");
        };
        prop_assert_eq!(used, request.len());
        let oracle: Vec<&[u8]> = frames.iter().filter_map(|frame| match frame {
            OwnedFrame::BulkString(bytes) => Some(bytes.as_slice()),
            _ => None,
        }).collect();
        let ours: Vec<&[u8]> = Arguments::of(&request).unwrap().collect();
        prop_assert_eq!(ours, oracle);
    }

    /// Every prefix of a command yields a prefix of its arguments.
    #[test]
    fn a_prefix_yields_a_prefix(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..8), cut: prop::sample::Index) {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let request = command(&arguments);
        let held = &request[..cut.index(request.len())];
        let ours: Vec<&[u8]> = Arguments::of(held).into_iter().flatten().collect();
        prop_assert!(arguments.starts_with(&ours));
    }

    #[test]
    fn no_input_breaks_it(request: Vec<u8>, tail in "[*$0-9\r\nA-Z]{0,60}") {
        keys_of(&request);
        keys_of(tail.as_bytes());
        keys_of(format!("*{tail}").as_bytes());
        http_headers(&request);
    }
}
