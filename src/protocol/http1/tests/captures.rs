//! Sessions of real clients with real servers, recorded by `tests/fixtures/http1/capture.py`.

use super::{Session, Side};

/// One recorded piece. No bytes: the server's FIN.
type Piece = (Side, Option<Vec<u8>>);

fn pieces(recording: &str) -> Vec<Piece> {
    recording
        .lines()
        .map(|line| {
            let piece: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(line).unwrap();
            let (side, bytes) = piece.into_iter().next().unwrap();
            let side = if side == "client" {
                Side::Client
            } else {
                Side::Server
            };
            let bytes = bytes
                .as_str()
                .map(|latin_1| latin_1.chars().map(|c| u8::try_from(c).unwrap()).collect());
            (side, bytes)
        })
        .collect()
}

/// The exchanges of a session: `GET / 200`, without the status if the reply did not end; and why decoding ended, if it did.
fn exchanges(pieces: &[Piece], cut: usize) -> Vec<String> {
    let mut session = Session::new();
    for (side, bytes) in pieces {
        match bytes {
            Some(bytes) => bytes.chunks(cut).for_each(|bytes| {
                session.show(*side, bytes);
            }),
            None => {
                session.eof();
            }
        }
    }
    let mut exchanges: Vec<String> = Vec::new();
    let mut lost = Vec::new();
    for told in session.told.iter().flatten() {
        let (_, what) = told.split_once(' ').unwrap();
        let Some((number, what)) = what.strip_prefix('#').and_then(|w| w.split_once(' ')) else {
            lost.push(what.to_owned());
            continue;
        };
        let number: usize = number.parse().unwrap();
        match what {
            "request" => exchanges.push(String::new()),
            "sent" | "reply" => {}
            _ if exchanges[number].is_empty() => exchanges[number] = what.to_owned(),
            status => exchanges[number] = format!("{} {status}", exchanges[number]),
        }
    }
    exchanges.extend(lost);
    exchanges
}

macro_rules! captures {
    ($($name:ident: $expected:expr,)*) => {$(
        #[test]
        fn $name() {
            let pieces = pieces(include_str!(concat!(
                "../../../../tests/fixtures/http1/", stringify!($name), ".jsonl"
            )));
            assert!(!pieces.is_empty());
            for cut in [usize::MAX, 1, 2, 7, 100] {
                assert_eq!(exchanges(&pieces, cut), $expected, "cut after {cut} bytes");
            }
        }
    )*};
}

captures! {
    absolute_form: ["GET /small 200"],
    chunked_reply: ["GET /items/{id} 200"; 2],
    chunked_request: ["POST /upload 200"],
    connect_refused: ["CONNECT {authority} 400"],
    continue_100: ["POST /upload 200"],
    cut_short: ["GET /cut-short"],
    early_hints: ["GET /hints 200"],
    head: ["HEAD /page.html 200", "HEAD /small 200"],
    http_10: ["GET /small 200"],
    keep_alive: ["GET /small 200", "GET /page.html 200", "GET /missing 404"],
    malformed: ["", "malformed"],
    not_modified: ["GET /page.html 304", "GET /small 200"],
    pipelined: ["GET /small 200", "GET /page.html 200", "GET /small 200"],
    to_the_end: ["GET /to-the-end 200"],
    too_large: ["POST /small 413"],
    too_large_early: ["POST /small 413"],
    websocket: ["GET /ws 101", "tunnel"],
    wrk: ["GET /small 200"; 20],
}
