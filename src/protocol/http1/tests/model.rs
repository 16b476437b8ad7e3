//! Sessions made up at random, together with what must be told of them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Session, Side};

/// A body and how it is announced.
#[derive(Clone, Debug)]
enum Body {
    None,
    Fixed(Vec<u8>),
    Chunked(Vec<Vec<u8>>, bool),
    ToEnd(Vec<u8>),
}

/// One exchange.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    empty_line: bool,
    method: &'static str,
    /// A target and the route it belongs to.
    target: (&'static str, &'static str),
    http_10: bool,
    headers: Vec<&'static str>,
    line_end: &'static str,
    body: Body,
    /// The reply comes before the request's body.
    early: bool,
    interim: Vec<&'static str>,
    status: u16,
    reply: Body,
}

const TARGETS: [(&str, &str); 6] = [
    ("/", "/"),
    ("/modules/17?full=1", "/modules/{id}"),
    ("/v1/items", "/v1/items"),
    ("*", "*"),
    ("http://a.test/x/00000001", "/x/{id}"),
    ("/caf\u{e9}", "other"),
];
const METHODS: [&str; 9] = [
    "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND",
];
const HEADERS: [&str; 9] = [
    "Host: a",
    "connection: keep-alive, x",
    "X-Empty:",
    "Content-Type: application/json",
    "Cookie: a=\"\x01\u{e9}\"; b=c",
    "Content-Lengths: 7",
    "transfer-encodin: chunked",
    "Expectation: 100-continue",
    "Expect: 100-continue",
];
const INTERIM: [&str; 3] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
];

fn body() -> impl Strategy<Value = Body> {
    let bytes = || vec(any::<u8>(), 1..40);
    prop_oneof![
        2 => Just(Body::None),
        2 => vec(any::<u8>(), 0..40).prop_map(Body::Fixed),
        2 => (vec(bytes(), 0..4), any::<bool>()).prop_map(|(c, more)| Body::Chunked(c, more)),
    ]
}

fn exchange(interim: bool) -> impl Strategy<Value = Exchange> {
    let headers = if interim { &HEADERS[..] } else { &HEADERS[..8] };
    let request = (
        any::<bool>(),
        select(&METHODS[..]),
        select(&TARGETS[..]),
        prop::bool::weighted(0.2),
        vec(select(headers), 0..5),
        select(&["\r\n", "\r\n", "\n"][..]),
        body(),
        any::<bool>(),
    );
    let reply = (
        vec(select(&INTERIM[..]), 0..if interim { 3 } else { 1 }),
        select(&[200, 200, 201, 204, 304, 404, 413, 503][..]),
        body(),
    );
    (request, reply).prop_map(|(r, (interim, status, reply))| Exchange {
        empty_line: r.0,
        method: r.1,
        target: r.2,
        http_10: r.3 && !matches!(r.6, Body::Chunked(..)),
        headers: r.4,
        line_end: r.5,
        body: r.6,
        early: r.7,
        interim,
        status,
        reply,
    })
}

/// Exchanges of one session; with interim replies and those that ask for them, or without. The last reply may run to the end
/// of the connection.
pub(super) fn exchanges(interim: bool) -> impl Strategy<Value = Vec<Exchange>> {
    let last = proptest::option::of(vec(any::<u8>(), 0..40));
    (vec(exchange(interim), 1..6), last).prop_map(|(mut exchanges, last)| {
        for exchange in &mut exchanges {
            if matches!(exchange.reply, Body::None) {
                exchange.reply = Body::Fixed(Vec::new());
            }
        }
        if let (Some(bytes), Some(exchange)) = (last, exchanges.last_mut()) {
            exchange.reply = Body::ToEnd(bytes);
        }
        exchanges
    })
}

/// The bytes of a session and what must be told.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Pieces in an order in which they can come.
    pub(super) pieces: Vec<(Side, Vec<u8>)>,
    pub(super) told: [Vec<String>; 2],
    /// Where the first and the last status line of each reply begins.
    pub(super) status_lines: Vec<(usize, usize)>,
    shown: [usize; 2],
}

impl Script {
    /// `pipelined`: all requests come before all replies.
    pub(super) fn new(exchanges: &[Exchange], pipelined: bool) -> Self {
        let mut script = Self::default();
        for (number, exchange) in exchanges.iter().enumerate() {
            let body = script.request_head(number, exchange);
            if exchange.early && !pipelined {
                script.reply(number, exchange);
                script.add(Side::Client, &body);
                script.tell(Side::Client, number, "sent");
            } else {
                script.add(Side::Client, &body);
                script.tell(Side::Client, number, "sent");
                if !pipelined {
                    script.reply(number, exchange);
                }
            }
        }
        if pipelined {
            for (number, exchange) in exchanges.iter().enumerate() {
                script.reply(number, exchange);
            }
        }
        script
    }

    /// All bytes of one side.
    pub(super) fn bytes(&self, side: Side) -> Vec<u8> {
        let pieces = self.pieces.iter().filter(|(s, _)| *s == side);
        pieces.flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Shows the session in pieces of these sizes, taken in turn, and its end.
    pub(super) fn play(&self, sizes: &[usize]) -> Session {
        let mut session = Session::new();
        let mut sizes = sizes.iter().cycle();
        for (side, bytes) in &self.pieces {
            let mut rest = bytes.as_slice();
            while let Some(&size) = sizes.next()
                && !rest.is_empty()
            {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                session.show(*side, piece);
                rest = after;
            }
        }
        session.eof();
        session
    }

    fn add(&mut self, side: Side, bytes: &[u8]) {
        self.shown[side as usize] += bytes.len();
        self.pieces.push((side, bytes.to_vec()));
    }

    fn tell(&mut self, side: Side, number: usize, what: &str) {
        let at = self.shown[side as usize];
        self.told[side as usize].push(format!("{at} #{number} {what}"));
    }

    /// Adds the head; what is left is the body.
    fn request_head(&mut self, number: usize, exchange: &Exchange) -> Vec<u8> {
        let Exchange {
            method,
            target: (target, route),
            line_end: end,
            ..
        } = exchange;
        if exchange.empty_line {
            self.add(Side::Client, b"\r\n");
        }
        self.tell(Side::Client, number, "request");
        let version = if exchange.http_10 { "1.0" } else { "1.1" };
        let mut head = format!("{method} {target} HTTP/{version}{end}");
        for header in &exchange.headers {
            head = head + header + end;
        }
        let (header, body) = encode(&exchange.body);
        self.add(Side::Client, format!("{head}{header}{end}").as_bytes());
        let method = if *method == "PROPFIND" {
            "other"
        } else {
            method
        };
        self.tell(Side::Client, number, &format!("{method} {route}"));
        body
    }

    fn reply(&mut self, number: usize, exchange: &Exchange) {
        let first = self.shown[Side::Server as usize];
        for interim in &exchange.interim {
            self.add(Side::Server, interim.as_bytes());
        }
        let last = self.shown[Side::Server as usize];
        self.status_lines.push((first, last));
        self.tell(Side::Server, number, "reply");
        let (header, body) = encode(&exchange.reply);
        let head = format!("HTTP/1.1 {} X\r\n{header}\r\n", exchange.status);
        self.add(Side::Server, head.as_bytes());
        if exchange.method != "HEAD" && !matches!(exchange.status, 204 | 304) {
            self.add(Side::Server, &body);
        }
        self.tell(Side::Server, number, &exchange.status.to_string());
    }
}

/// The header line that announces a body, and the body.
fn encode(body: &Body) -> (String, Vec<u8>) {
    match body {
        Body::None => (String::new(), Vec::new()),
        Body::ToEnd(bytes) => (String::new(), bytes.clone()),
        Body::Fixed(bytes) => (
            format!("content-length: {}\r\n", bytes.len()),
            bytes.clone(),
        ),
        Body::Chunked(chunks, more) => {
            let mut coded = Vec::new();
            for chunk in chunks {
                let extension = if *more { "; a=\"b\"" } else { "" };
                coded.extend(format!("{:03X}{extension}\r\n", chunk.len()).bytes());
                coded.extend(chunk);
                coded.extend(b"\r\n");
            }
            let trailer = if *more {
                "X-Sum: 1\r\nContent-Length: 9\r\n"
            } else {
                ""
            };
            coded.extend(format!("0\r\n{trailer}\r\n").bytes());
            ("Transfer-Encoding: Chunked\r\n".into(), coded)
        }
    }
}
