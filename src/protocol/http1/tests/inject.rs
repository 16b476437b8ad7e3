//! Injected replies and the look at headers.

use super::Session;
use crate::protocol::http1::inject::{headers, response};

fn list(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_reply_is_exactly_this() {
    let reply = response(503, &list(&[("Retry-After", "2")]), "no", false, false);
    assert_eq!(
        reply,
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 2\r\nConnection: keep-alive\r\n\r\nno"
    );
    let json = list(&[("content-type", "application/json")]);
    assert_eq!(
        response(500, &json, "{}", true, true),
        "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\
         Connection: close\r\n\r\n"
    );
    assert_eq!(
        response(599, &[], "", false, true),
        "HTTP/1.1 599 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        response(304, &[], "no", false, false),
        "HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn headers_cannot_change_the_framing() {
    let hostile = list(&[
        ("X", "a\r\nContent-Length: 1"),
        ("Y\r\nZ", "b"),
        ("transfer-encoding", "chunked"),
        ("CONTENT-LENGTH", "7"),
        ("Connection", "upgrade"),
        ("Ok", "caf\u{e9}"),
    ]);
    let reply = response(429, &hostile, "", false, false);
    assert_eq!(
        reply,
        "HTTP/1.1 429 Too Many Requests\r\nOk: caf\u{e9}\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn our_own_decoder_and_httparse_read_every_status() {
    for status in [401, 413, 429, 500, 502, 503, 504] {
        for head_only in [false, true] {
            let reply = response(
                status,
                &list(&[("Retry-After", "1")]),
                "no\n",
                head_only,
                false,
            );
            let mut session = Session::new();
            session
                .client(if head_only {
                    "HEAD / HTTP/1.1\r\n\r\n"
                } else {
                    "GET / HTTP/1.1\r\n\r\n"
                })
                .server(&reply);
            assert_eq!(
                session.replies(),
                format!("0 #0 reply, {} #0 {}", reply.len(), status)
            );
            let mut parsed = [httparse::EMPTY_HEADER; 8];
            let mut parsed = httparse::Response::new(&mut parsed);
            let head = parsed.parse(&reply).unwrap().unwrap();
            assert_eq!(parsed.code, Some(status));
            assert_eq!(
                &reply[head..],
                if head_only { b"" } else { "no\n".as_bytes() }
            );
            let length = parsed
                .headers
                .iter()
                .find(|h| h.name == "Content-Length")
                .unwrap();
            assert_eq!(length.value, "no\n".len().to_string().as_bytes());
        }
    }
}

#[test]
fn headers_of_one_head() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-User:  7 \r\n\r\nbody";
    let seen: Vec<_> = headers(head).unwrap().collect();
    assert_eq!(seen, [("Host", b"a".as_slice()), ("X-User", b"7")]);
    assert!(headers(&head[..30]).is_none());
    assert!(headers(b"\x16\x03\x01").is_none());
    let lines = |n: usize| "GET / HTTP/1.1\r\n".to_owned() + &"A: b\r\n".repeat(n) + "\r\n";
    assert_eq!(headers(lines(100).as_bytes()).unwrap().count(), 100);
    assert!(headers(lines(101).as_bytes()).is_none());
}
