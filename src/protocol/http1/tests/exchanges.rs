//! What is told of well-formed sessions.

use super::Session;
use crate::protocol::http1::BodyLeft;

#[test]
fn a_request_and_its_reply() {
    let mut session = Session::new();
    session
        .client("GET /modules/17?full=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(
        session.requests(),
        "0 #0 request, 44 #0 GET /modules/{id}, 44 #0 sent"
    );
    assert_eq!(session.replies(), "0 #0 reply, 43 #0 200");
}

#[test]
fn bodies_by_length_and_by_chunks() {
    let mut session = Session::new();
    session
        .client("POST /a HTTP/1.1\r\ncontent-LENGTH:\t3 \r\n\r\nabc")
        .client("PUT /b HTTP/1.1\r\ntransfer-encoding: gzip, Chunked\r\n\r\n")
        .client("5;a=\"b;c\"\r\n\r\n\r\n\n\r\n00C \r\n012345678901\r\n0\r\nDigest: x\r\n\r\nGET")
        .server("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        .server("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(
        session.requests(),
        "0 #0 request, 40 #0 POST /a, 43 #0 sent, \
         43 #1 request, 96 #1 PUT /b, 150 #1 sent, 150 #2 request"
    );
    assert_eq!(
        session.replies(),
        "0 #0 reply, 63 #0 201, 63 #1 reply, 109 #1 204"
    );
}

#[test]
fn no_body_where_none_can_be() {
    let mut session = Session::new();
    session
        .client("HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        .server("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n")
        .server("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        session.replies(),
        "0 #0 reply, 41 #0 200, 41 #1 reply, 98 #1 304, 98 #2 reply, 133 #2 200"
    );
}

#[test]
fn a_reply_to_the_end_of_the_connection() {
    let mut session = Session::new();
    session
        .client("GET / HTTP/1.0\r\n\r\n")
        .server("HTTP/1.0 200 OK\r\n\r\nas long as ")
        .server("it takes");
    assert_eq!(session.replies(), "0 #0 reply");
    assert!(session.decoder.closes(0));
    session.eof();
    assert_eq!(session.replies(), "0 #0 reply, 38 #0 200");
}

#[test]
fn a_compressed_reply_without_chunks_runs_to_the_end() {
    let mut session = Session::new();
    session
        .client("GET / HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxxxx")
        .eof();
    assert_eq!(session.replies(), "0 #0 reply, 48 #0 200");
}

#[test]
fn a_reply_cut_short_has_no_end() {
    for reply in [
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut session = Session::new();
        session.client("GET / HTTP/1.1\r\n\r\n").server(reply).eof();
        assert_eq!(session.replies(), "0 #0 reply", "{reply}");
    }
}

#[test]
fn interim_replies_are_not_the_reply() {
    let mut session = Session::new();
    session.client("POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
    assert!(session.decoder.expects_continue(0));
    assert_eq!(session.decoder.request_body_left(0), BodyLeft::Known(2));
    session.server("HTTP/1.1 100 Continue\r\n\r\n").client("ab");
    assert_eq!(session.decoder.request_body_left(0), BodyLeft::None);
    session
        .server("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(session.replies(), "92 #0 reply, 130 #0 200");
}

#[test]
fn a_status_line_cut_before_its_code() {
    let plain = "GET / HTTP/1.1\r\n\r\n";
    let expecting = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let end = "\r\nContent-Length: 0\r\n\r\n";
    for (request, pieces, told) in [
        // The final reply: taken for that, unless 100 is awaited; then it begins where the code is known.
        (plain, ["HTTP/1.1 2", "00"], "0 #0 reply, 35 #0 200"),
        (
            plain,
            ["HTTP/1.1 10", "1"],
            "0 #0 reply, 35 #0 101, 35 tunnel",
        ),
        (expecting, ["HTTP/1.1 4", "13"], "10 #0 reply, 35 #0 413"),
        // An interim one: taken for the final reply, unless 100 is awaited.
        (
            plain,
            ["HTTP/1.1 1", "03\r\n\r\nHTTP/1.1 200"],
            "0 #0 reply, 51 #0 200",
        ),
        (
            expecting,
            ["HTTP/1.1 1", "00\r\n\r\nHTTP/1.1 200"],
            "16 #0 reply, 51 #0 200",
        ),
        // After one interim reply the next is taken for the final one.
        (
            expecting,
            ["HTTP/1.1 100\r\n\r\nHTT", "P/1.1 200"],
            "16 #0 reply, 51 #0 200",
        ),
    ] {
        let mut session = Session::new();
        session.client(request);
        for piece in pieces {
            session.server(piece);
        }
        session.server(end);
        assert_eq!(session.replies(), told, "{pieces:?}");
    }
}

#[test]
fn a_final_status_before_the_body() {
    let mut session = Session::new();
    session
        .client("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .server("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(session.requests(), "0 #0 request, 60 #0 POST /");
    assert_eq!(session.replies(), "0 #0 reply, 53 #0 413");
    session
        .client("abGET / HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        session.requests(),
        "0 #0 request, 60 #0 POST /, 62 #0 sent, 62 #1 request, 80 #1 GET /, 80 #1 sent"
    );
    assert_eq!(
        session.replies(),
        "0 #0 reply, 53 #0 413, 53 #1 reply, 91 #1 200"
    );
}

#[test]
fn a_reply_that_is_complete_before_a_chunked_request() {
    let mut session = Session::new();
    session.client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n012");
    assert_eq!(session.decoder.request_body_left(0), BodyLeft::Chunked);
    // One that came whole before it lacks nothing.
    assert_eq!(session.decoder.request_body_left(1), BodyLeft::None);
    session
        .server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        .client("3456789\r\n0\r\n\r\n");
    assert_eq!(session.requests(), "0 #0 request, 47 #0 POST /, 67 #0 sent");
    assert_eq!(session.replies(), "0 #0 reply, 48 #0 401");
}

#[test]
fn tunnels() {
    for (request, reply, told) in [
        (
            "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 9\r\n\r\n\x01\x02",
            "0 #0 reply, 55 #0 101, 55 tunnel",
        ),
        (
            "CONNECT a:443 HTTP/1.1\r\n\r\n\x16\x03\x01",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x16\x03",
            "0 #0 reply, 47 #0 200, 47 tunnel",
        ),
    ] {
        let mut session = Session::new();
        session.client(request).server(reply);
        let requests = session.requests();
        assert_eq!(session.replies(), told);
        session
            .client("GET / HTTP/1.1\r\n\r\n")
            .server("HTTP/1.1 ")
            .eof();
        assert_eq!(session.replies(), told, "silent after that");
        assert_eq!(session.requests(), requests);
    }
}

#[test]
fn a_refused_connect_is_an_exchange_like_others() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let mut session = Session::new();
    session
        .client("CONNECT a:443 HTTP/1.1\r\n\r\n")
        .server(refusal)
        .client("GET / HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        session.requests(),
        "0 #0 request, 26 #0 CONNECT {authority}, 26 #0 sent, \
         26 #1 request, 44 #1 GET /, 44 #1 sent"
    );
    assert_eq!(
        session.replies(),
        "0 #0 reply, 45 #0 403, 45 #1 reply, 83 #1 200"
    );

    let mut hasty = Session::new();
    hasty
        .client("CONNECT a:443 HTTP/1.1\r\n\r\nGET")
        .server(refusal);
    assert_eq!(
        hasty.replies(),
        "0 #0 reply, 45 #0 403, 45 ambiguous length"
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut session = Session::new();
    session
        .client("\r\n\nGET /a HTTP/1.1\r\n\r\n\r\nHEAD /b HTTP/1.1\nConnection: close , x\n\n")
        .server("HTTP/1.1 200 OK\nContent-Length: 1\n\naHTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(
        session.requests(),
        "3 #0 request, 22 #0 GET /a, 22 #0 sent, 24 #1 request, 64 #1 HEAD /b, 64 #1 sent"
    );
    assert_eq!(
        session.replies(),
        "0 #0 reply, 36 #0 200, 36 #1 reply, 81 #1 404"
    );
}

#[test]
fn what_the_injector_asks() {
    let mut session = Session::new();
    session.client(
        "HEAD / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n\
         GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\nGET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\nGET /",
    );
    let decoder = &session.decoder;
    let ask = |f: fn(&super::Decoder, u64) -> bool| [0, 1, 2, 3, 4, 5].map(|n| f(decoder, n));
    assert_eq!(
        ask(super::Decoder::is_head),
        [true, false, false, false, false, false]
    );
    assert_eq!(
        ask(super::Decoder::closes),
        [true, false, true, false, false, false]
    );
    assert_eq!(
        ask(super::Decoder::expects_continue),
        [false, false, false, true, false, false]
    );
    assert_eq!(decoder.request_body_left(5), BodyLeft::None);
}

#[test]
fn withheld_requests_have_no_reply() {
    let mut session = Session::new();
    session.client("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\nGET /d");
    session.decoder.withhold(1);
    session.decoder.withhold(3);
    session
        .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        .client(" HTTP/1.1\r\n\r\nGET /e HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 204 OK\r\n\r\n");
    assert_eq!(
        session.replies(),
        "0 #0 reply, 38 #0 200, 38 #2 reply, 76 #2 404, 76 #4 reply, 95 #4 204"
    );
}

#[test]
fn a_session_of_withheld_requests_stays_small() {
    let mut session = Session::new();
    for n in 0..10_000 {
        session.client("GET / HTTP/1.1\r\n\r\n");
        assert!(!session.decoder.is_head(n));
        session.decoder.withhold(n);
    }
    assert!(
        session.decoder.allocated() < 64,
        "{}",
        session.decoder.allocated()
    );
    session.server("HTTP");
    assert_eq!(session.replies(), "0 reply without request");
}

#[test]
fn a_withheld_connect_is_no_tunnel() {
    let mut session = Session::new();
    session.client("CONNECT a:1 HTTP/1.1\r\n\r\n");
    session.decoder.withhold(0);
    session.client("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        session.requests(),
        "0 #0 request, 24 #0 CONNECT {authority}, 24 #0 sent, 24 #1 request, 42 #1 GET /, 42 #1 sent"
    );

    let mut early = Session::new();
    early.client("CONNECT a:1 HTTP/1.1\r\n");
    early.decoder.withhold(0);
    early.client("\r\nGET");
    assert_eq!(
        early.requests(),
        "0 #0 request, 24 #0 CONNECT {authority}, 24 #0 sent, 24 #1 request"
    );

    let mut late = Session::new();
    late.client("CONNECT a:1 HTTP/1.1\r\n\r\nGET");
    late.decoder.withhold(0);
    late.client("x");
    assert_eq!(
        late.requests(),
        "0 #0 request, 24 #0 CONNECT {authority}, 24 #0 sent, 27 ambiguous length"
    );
}

#[test]
fn the_server_is_the_one_that_its_first_reply_names() {
    let server = |session: &Session| {
        let said = session.decoder.server()?;
        Some(String::from_utf8(said.to_vec()).unwrap())
    };
    let long = "x".repeat(500);
    for (head, expected) in [
        ("Server: nginx/1.22.1", Some("nginx/1.22.1")),
        ("sErVer:\t uvicorn \t", Some("uvicorn")),
        ("Server:", None),
        ("X-Server: a\r\nServers: b\r\nServe: c", None),
        (&format!("Server: {long}"), Some(&long[..64])),
    ] {
        for size in [1, 5, 1000] {
            let mut session = Session::new();
            session.client("GET / HTTP/1.1\r\nHost: a\r\nServer: client\r\n\r\n");
            let reply = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: 0\r\n\r\n");
            for piece in reply.as_bytes().chunks(size) {
                session.server(piece);
            }
            assert_eq!(server(&session).as_deref(), expected, "{head}");
            session.client("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            session.server("HTTP/1.1 200 OK\r\nServer: second\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(
                server(&session).as_deref(),
                expected,
                "only the first is looked at"
            );
        }
    }
}
