//! Properties of every stream: cut anywhere, garbled anyhow.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Script, exchanges};
use super::{Session, Side};

/// Pieces of heads, right and wrong. No interim status: for those, see `interim_replies_may_move_only_reply_begin`.
const FRAGMENTS: [&[u8]; 48] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"CONNECT ",
    b"PRI ",
    b"/",
    b"/a/1",
    b"*",
    b"a:1",
    b" ",
    b"\t",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b" HTTP/2.0",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b"Content-Length: ",
    b"Content-Length",
    b"5",
    b"0",
    b", 5",
    b"hello",
    b"18446744073709551615",
    b"0\r\n\r\n",
    b"Transfer-Encoding: ",
    b"chunked",
    b"gzip, ",
    b"5\r\nhello\r\n",
    b"3;x\r\nabc\r\n",
    b"fffffffff",
    b"Connection: close",
    b"X: ",
    b"\xff",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 101 X\r\n",
    b"HTTP/1.1 304\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    vec(select(&FRAGMENTS[..]), 0..24).prop_map(|fragments| fragments.concat())
}

/// All of the client's bytes, then all of the server's, in pieces of these sizes.
fn told(client: &[u8], server: &[u8], sizes: &[usize]) -> [Vec<String>; 2] {
    let mut session = Session::new();
    for (side, mut rest) in [(Side::Client, client), (Side::Server, server)] {
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            session.show(side, piece);
            rest = after;
        }
    }
    assert!(session.decoder.allocated() < 8192);
    session.eof();
    session.told
}

const WHOLE: [usize; 1] = [usize::MAX];

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), vec(1..40_usize, 1..20)]
}

proptest! {
    #[test]
    fn a_session_is_told_as_it_was_made(
        exchanges in exchanges(false),
        pipelined: bool,
        sizes in sizes(),
    ) {
        let script = Script::new(&exchanges, pipelined);
        prop_assert_eq!(&script.play(&WHOLE).told, &script.told);
        prop_assert_eq!(&script.play(&sizes).told, &script.told);
    }

    #[test]
    fn a_session_is_told_alike_at_every_single_cut(exchanges in exchanges(false)) {
        let script = Script::new(&exchanges, true);
        let (client, server) = (script.bytes(Side::Client), script.bytes(Side::Server));
        let whole = told(&client, &server, &WHOLE);
        prop_assert_eq!(&whole, &script.told);
        for cut in 1..client.len().max(server.len()) {
            prop_assert_eq!(&told(&client, &server, &[cut, usize::MAX]), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn interim_replies_may_move_only_reply_begin(
        exchanges in exchanges(true),
        pipelined: bool,
        sizes in sizes(),
    ) {
        let script = Script::new(&exchanges, pipelined);
        prop_assert_eq!(&script.play(&WHOLE).told, &script.told);
        let cut = script.play(&sizes).told;
        prop_assert_eq!(&cut[0], &script.told[0]);
        prop_assert_eq!(cut[1].len(), script.told[1].len());
        for (told, expected) in cut[1].iter().zip(&script.told[1]) {
            let Some(what) = told.strip_suffix(" reply") else {
                prop_assert_eq!(told, expected);
                continue;
            };
            let (at, number) = what.split_once(" #").unwrap();
            let (at, number): (usize, usize) = (at.parse().unwrap(), number.parse().unwrap());
            let (first, last) = script.status_lines[number];
            prop_assert!((first..last + 12).contains(&at), "{} not in {}..{}", at, first, last + 12);
            let ending = format!(" #{number} reply");
            prop_assert!(expected.ends_with(&ending));
        }
    }

    #[test]
    fn soup_is_told_alike_however_cut(client in soup(), server in soup(), sizes in sizes()) {
        prop_assert_eq!(told(&client, &server, &sizes), told(&client, &server, &WHOLE));
    }

    #[test]
    fn replies_to_sound_requests_are_told_alike_however_cut(server in soup(), sizes in sizes()) {
        let client = b"GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        prop_assert_eq!(told(client, &server, &sizes), told(client, &server, &WHOLE));
    }

    #[test]
    fn any_bytes_are_told_alike_however_cut(
        client in vec(any::<u8>(), 0..200),
        server in vec(any::<u8>(), 0..200),
        sizes in sizes(),
    ) {
        prop_assert_eq!(told(&client, &server, &sizes), told(&client, &server, &WHOLE));
        let mut answered = b"HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec();
        answered.extend(client);
        let server = [b"HTTP/1.1 200 OK\r\n\r\n", server.as_slice()].concat();
        prop_assert_eq!(told(&answered, &server, &sizes), told(&answered, &server, &WHOLE));
    }
}
