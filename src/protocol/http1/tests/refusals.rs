//! What the decoder gives up on: malformed streams, lengths that lie, and messages that two readers would cut differently.

use super::Session;
use crate::protocol::http1::scan::HEAD_LIMIT;
use crate::protocol::{Lost, MAX_OUTSTANDING};

/// Why the decoder gave up, whole and byte by byte, which must agree on the place too.
fn lost(client: &[u8], server: &[u8]) -> Option<String> {
    let mut whole = Session::new();
    whole.client(client).server(server);
    let mut bytewise = Session::new();
    for byte in client {
        bytewise.client([*byte]);
    }
    for byte in server {
        bytewise.server([*byte]);
    }
    assert_eq!(whole.told, bytewise.told);
    let told: Vec<_> = whole.told.into_iter().flatten().collect();
    let last = told.last()?.split_once(' ')?.1;
    Lost::ALL
        .iter()
        .find(|lost| lost.to_string() == last)
        .map(|lost| lost.name().to_owned())
}

fn request_lost(client: impl AsRef<[u8]>) -> Option<String> {
    lost(client.as_ref(), b"")
}

fn reply_lost(server: impl AsRef<[u8]>) -> Option<String> {
    lost(b"GET / HTTP/1.1\r\n\r\n", server.as_ref())
}

#[test]
fn requests_of_uncertain_length() {
    for (headers, expected) in [
        // Length and coding, in either order and any spelling.
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "ambiguous",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "ambiguous",
        ),
        ("TRANSFER-ENCODING:chunked\r\ncontent-length:0", "ambiguous"),
        (
            "Content-Length: 5\r\ntransfer-encoding:\tCHUNKED\t",
            "ambiguous",
        ),
        // Codings that some readers take for chunked, and some do not.
        ("Transfer-Encoding: xchunked", "ambiguous"),
        ("Transfer-Encoding: chunked, identity", "ambiguous"),
        ("Transfer-Encoding: identity", "ambiguous"),
        ("Transfer-Encoding: identity, chunked", "ambiguous"),
        ("Transfer-Encoding: chunked, chunked", "ambiguous"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "ambiguous",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
            "ambiguous",
        ),
        ("Transfer-Encoding: gzip", "ambiguous"),
        ("Transfer-Encoding: chunked;q=1", "ambiguous"),
        ("Transfer-Encoding: \"chunked\"", "ambiguous"),
        ("Transfer-Encoding: chunked,", "ambiguous"),
        ("Transfer-Encoding: , chunked", "ambiguous"),
        ("Transfer-Encoding:", "ambiguous"),
        ("Transfer-Encoding: \x0bchunked", "ambiguous"),
        ("Transfer-Encoding: chun ked", "ambiguous"),
        ("Transfer-Encoding: chunked\x7f", "ambiguous"),
        // Names that some readers repair.
        ("Transfer-Encoding : chunked", "malformed"),
        ("Content-Length : 5", "malformed"),
        ("Content-Length\t: 5", "malformed"),
        ("Transfer-Encoding\x0b: chunked", "malformed"),
        ("X: y\r\n: z", "malformed"),
        ("Transfer Encoding: chunked", "malformed"),
        ("\u{e9}: x", "malformed"),
        ("no colon", "malformed"),
        // Folded lines.
        ("X: y\r\n Transfer-Encoding: chunked", "ambiguous"),
        ("Transfer-Encoding:\r\n chunked", "ambiguous"),
        ("X: y\r\n\tz", "ambiguous"),
        (" X: y", "ambiguous"),
        // Line ends that some readers see, and some do not.
        ("X: y\rTransfer-Encoding: chunked", "malformed"),
        ("X: y\r\r\nContent-Length: 5", "malformed"),
        ("X: y\0z", "malformed"),
        // Lengths.
        ("Content-Length: 5\r\nContent-Length: 6", "ambiguous"),
        ("Content-Length: 5, 6", "ambiguous"),
        ("Content-Length: 5,", "malformed"),
        ("Content-Length: ", "malformed"),
        ("Content-Length: +5", "malformed"),
        ("Content-Length: -5", "malformed"),
        ("Content-Length: 5 5", "malformed"),
        ("Content-Length: 0x5", "malformed"),
        ("Content-Length: 5.0", "malformed"),
        ("Content-Length: 5_0", "malformed"),
        ("Content-Length: \u{665}", "malformed"),
        ("Content-Length: 18446744073709551616", "length"),
        ("Content-Length: 99999999999999999999999999", "length"),
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        assert_eq!(
            request_lost(&request).as_deref(),
            Some(expected),
            "{headers:?}"
        );
    }
}

#[test]
fn lengths_that_are_said_twice_alike() {
    for headers in [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: 3\r\ncontent-length: 003",
    ] {
        let head = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n");
        let mut session = Session::new();
        session.client(format!("{head}abcGET"));
        let (head, end) = (head.len(), head.len() + 3);
        assert_eq!(
            session.requests(),
            format!("0 #0 request, {head} #0 POST /, {end} #0 sent, {end} #1 request")
        );
    }
}

#[test]
fn request_lines() {
    for (request, expected) in [
        ("GET /\r\n", "malformed"),
        ("GET  / HTTP/1.1\r\n", "malformed"),
        ("GET / HTTP/1.1 \r\n", "malformed"),
        ("GET /a b HTTP/1.1\r\n", "malformed"),
        ("GET /\tHTTP/1.1\r\n", "malformed"),
        ("GET /\0 HTTP/1.1\r\n", "malformed"),
        ("GET / HTTP/1.1\rX", "malformed"),
        ("GET / http/1.1\r\n", "malformed"),
        ("GET / HTTP/1.10\r\n", "malformed"),
        ("GET / HTTP/0.9\r\n", "malformed"),
        ("GET / HTTP/3.0\r\n", "malformed"),
        ("GET\r\n", "malformed"),
        ("G(T / HTTP/1.1\r\n", "malformed"),
        ("\rGET / HTTP/1.1\r\n", "malformed"),
        ("GET / HTTP/1.1\r\n\r\n\x16\x03\x01", "malformed"),
        ("GET / HTTP/1.1\r\n\r\n GET / HTTP/1.1\r\n\r\n", "malformed"),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ambiguous",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "wrong_protocol"),
        ("\x16\x03\x01\x02\x00", "wrong_protocol"),
        ("*1\r\n$4\r\nPING\r\n", "wrong_protocol"),
        ("\0\0\0\x08\x04\u{d2}\x16/", "wrong_protocol"),
        ("\r\n\r\n\0\r\nQUIT\n", "wrong_protocol"),
    ] {
        assert_eq!(
            request_lost(request).as_deref(),
            Some(expected),
            "{request:?}"
        );
    }
}

#[test]
fn chunks() {
    const HEAD: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, expected) in [
        ("\r\n", "malformed"),
        (" 5\r\n", "malformed"),
        ("+5\r\n", "malformed"),
        ("-5\r\n", "malformed"),
        ("0x5\r\n", "malformed"),
        ("5 5\r\n", "malformed"),
        ("g\r\n", "malformed"),
        (";a\r\n", "malformed"),
        ("5\nhello\r\n", "malformed"),
        ("5\rhello\r\n", "malformed"),
        ("5;a\nhello\r\n", "malformed"),
        ("5;a\0\r\nhello\r\n", "malformed"),
        ("5\r\nhello0\r\n\r\n", "malformed"),
        ("5\r\nhello\n0\r\n\r\n", "malformed"),
        ("5\r\nhello!\r\n", "malformed"),
        ("0\r\nX : y\r\n\r\n", "malformed"),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", "malformed"),
        ("0\r\nX: y\r\n z\r\n\r\n", "ambiguous"),
        ("10000000000000000\r\n", "length"),
        ("fffffffffffffffff\r\n", "length"),
    ] {
        let request = format!("{HEAD}{body}");
        assert_eq!(
            request_lost(&request).as_deref(),
            Some(expected),
            "{body:?}"
        );
    }
    let zeros = format!("{HEAD}{}", "0".repeat(17_000));
    assert_eq!(request_lost(&zeros).as_deref(), Some("length"));
    let extension = format!("{HEAD}1;{}", "x".repeat(17_000));
    assert_eq!(request_lost(&extension).as_deref(), Some("length"));
    let largest = format!("{HEAD}ffffffffffffffff\r\n");
    assert_eq!(request_lost(&largest), None);
}

#[test]
fn many_chunks_are_no_long_line() {
    let mut session = Session::new();
    session.client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..10_000 {
        session.client("1;x=y\r\na\r\n");
    }
    session.client("0\r\n\r\n");
    assert!(
        session.requests().ends_with("100052 #0 sent"),
        "{}",
        session.requests()
    );
}

#[test]
fn replies() {
    for (reply, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ambiguous",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "ambiguous",
        ),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "ambiguous"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            "ambiguous",
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ambiguous",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n", "malformed"),
        ("HTTP/1.1 099 OK\r\n", "malformed"),
        ("HTTP/1.1 20 OK\r\n", "malformed"),
        ("HTTP/1.1 2000 OK\r\n", "malformed"),
        ("HTTP/1.1  200 OK\r\n", "malformed"),
        ("HTTP/1.1 200OK\r\n", "malformed"),
        ("HTTP/2.0 200 OK\r\n", "malformed"),
        ("HTTP/1.1 200 O\rK\r\n", "malformed"),
        ("<html>", "wrong_protocol"),
        ("\x15\x03\x01\x00\x02", "wrong_protocol"),
        ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1", "unpaired"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "unpaired"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na\r\n",
            "unpaired",
        ),
    ] {
        assert_eq!(reply_lost(reply).as_deref(), Some(expected), "{reply:?}");
    }
    let reply = b"HTTP/1.1 408 Request Timeout\r\n\r\n";
    assert_eq!(lost(b"", reply).as_deref(), Some("unpaired"));
    assert_eq!(lost(b"GET / HT", reply).as_deref(), Some("unpaired"));
    let pipelined = b"HEAD / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n";
    let reply = b"HTTP/1.1 200 OK\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(lost(pipelined, reply).as_deref(), Some("malformed"));
}

#[test]
fn a_head_is_bounded() {
    let begin = "GET / HTTP/1.1\r\n";
    let fill = |len: usize| format!("{begin}X: {}", "y".repeat(len - begin.len() - 3));
    assert_eq!(request_lost(fill(HEAD_LIMIT - 4) + "\r\n\r\n"), None);
    for too_long in [
        fill(HEAD_LIMIT - 3) + "\r\n\r\n",
        fill(HEAD_LIMIT - 1) + "\r\n\r\n",
        fill(HEAD_LIMIT + 1),
        begin.to_owned() + &"X: y\r\n".repeat(11_000),
        "G".repeat(HEAD_LIMIT + 1),
        "GET /".to_owned() + &"y".repeat(HEAD_LIMIT),
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_owned()
            + &"X: y\r\n".repeat(11_000),
    ] {
        assert_eq!(request_lost(&too_long).as_deref(), Some("length"));
    }
    assert_eq!(request_lost(fill(HEAD_LIMIT)), None);
    let reply = format!("HTTP/1.1 200 {}", "x".repeat(HEAD_LIMIT));
    assert_eq!(reply_lost(reply).as_deref(), Some("length"));
}

#[test]
fn long_lines_that_do_not_matter_do_not_hurt() {
    let long = "a".repeat(9000);
    let request = format!(
        "GET /{long}?{long} HTTP/1.1\r\nCookie: {long}\r\nContent-Length: 2\r\n\r\nab\
         GET /search?q={long} HTTP/1.1\r\nConnection: close\r\n\r\n"
    );
    let mut whole = Session::new();
    whole.client(&request);
    assert_eq!(
        whole.requests(),
        "0 #0 request, 27048 #0 GET other, 27050 #0 sent, \
         27050 #1 request, 36096 #1 GET /search, 36096 #1 sent"
    );
    let mut cut = Session::new();
    for piece in request.as_bytes().chunks(100) {
        cut.client(piece);
        assert!(cut.decoder.allocated() <= 4096);
    }
    assert_eq!(cut.told, whole.told);

    for header in ["Content-Length", "Transfer-Encoding", &long] {
        let request = format!("GET / HTTP/1.1\r\n{header}: {}5\r\n\r\n", " ".repeat(2000));
        assert_eq!(request_lost(&request).as_deref(), Some("length"));
    }
}

#[test]
fn a_pipeline_is_bounded() {
    let mut session = Session::new();
    let requests = "GET / HTTP/1.1\r\n\r\n".repeat(1024);
    for _ in 0..MAX_OUTSTANDING / 1024 {
        session.client(&requests);
        session.told[0].clear();
    }
    assert!(session.decoder.allocated() <= 2 * MAX_OUTSTANDING);
    session.client("GET / HTTP/1.1\r\n\r\n");
    assert!(
        session.requests().ends_with("pipeline too deep"),
        "{}",
        session.requests()
    );
    assert!(
        session.decoder.allocated() < 64,
        "{}",
        session.decoder.allocated()
    );
}

#[test]
fn lengths_are_never_allocated() {
    let mut session = Session::new();
    session
        .client("GET / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n")
        .client(vec![0; 65536])
        .server(vec![0; 65536]);
    assert!(
        session.decoder.allocated() < 64,
        "{}",
        session.decoder.allocated()
    );
    assert_eq!(session.requests(), "0 #0 request, 56 #0 GET /");
    assert_eq!(session.replies(), "0 #0 reply");
}

#[test]
fn the_decoder_is_small() {
    assert!(
        size_of::<super::Decoder>() <= 312,
        "{}",
        size_of::<super::Decoder>()
    );
}
