//! Requests that carry their session and number, and replies that echo both with everything else that was sent.

use brownout::protocol::Protocol;
use brownout::protocol::postgres::inject;

/// How a protocol says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speech(pub(super) Protocol);

/// What a stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not enough to tell.
    More,
    /// A numbered request of this length: session, number.
    Numbered(u32, u32, usize),
    /// A message of this length that carries no number.
    Plain(usize),
}

/// The payload of an exchange: letters that tell their place, of a length that its number draws.
fn payload(session: u32, number: u32) -> Vec<u8> {
    let mut draw = u64::from(session) << 32 | u64::from(number) | 1 << 63;
    draw = draw.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    draw ^= draw >> 29;
    let length = match draw % 16 {
        0 => 0,
        15 => 20_000 + (draw >> 8) % 20_000,
        _ => (draw >> 8) % 3_000,
    };
    (0..length)
        .map(|i| {
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(i | 1);
            b'a' + ((draw >> 33) % 26) as u8
        })
        .collect()
}

fn text(session: u32, number: u32) -> Vec<u8> {
    let mut text = format!("{session}.{number}.").into_bytes();
    text.extend(payload(session, number));
    text
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// The two numbers at the beginning of a text.
fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let mut parts = text.splitn(3, |b| *b == b'.');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    Some((number()?, number()?))
}

impl Speech {
    pub(super) fn request(self, session: u32, number: u32) -> Vec<u8> {
        let text = text(session, number);
        match self.0 {
            Protocol::Redis => {
                let head = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", text.len());
                [head.as_bytes(), &text, b"\r\n"].concat()
            }
            Protocol::Postgres => message(b'Q', &[b"SELECT '", &text[..], b"'\0"].concat()),
            Protocol::Http if number.is_multiple_of(3) => {
                let head = format!(
                    "POST /e HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
                    text.len()
                );
                [head.as_bytes(), &text, b"\r\n0\r\n\r\n"].concat()
            }
            _ => {
                let head = format!(
                    "POST /e HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
                    text.len()
                );
                [head.as_bytes(), &text].concat()
            }
        }
    }

    /// What the server answers; PostgreSQL byte for byte.
    pub(super) fn reply(self, session: u32, number: u32) -> Vec<u8> {
        let text = text(session, number);
        match self.0 {
            Protocol::Redis => {
                let head = format!("${}\r\n", text.len());
                [head.as_bytes(), &text, b"\r\n"].concat()
            }
            Protocol::Postgres => {
                let field = b"\0\x01?column?\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
                let length = (text.len() as u32).to_be_bytes();
                let row = [b"\0\x01", &length[..], &text].concat();
                [
                    message(b'T', field),
                    message(b'D', &row),
                    message(b'C', b"SELECT 1\0"),
                    message(b'Z', b"I"),
                ]
                .concat()
            }
            _ if number.is_multiple_of(2) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
                    text.len()
                );
                [head.as_bytes(), &text, b"\r\n0\r\n\r\n"].concat()
            }
            _ => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                [head.as_bytes(), &text].concat()
            }
        }
    }

    /// What the client says first, and how what it is told ends.
    pub(super) fn opening(self) -> Option<(Vec<u8>, &'static [u8])> {
        (self.0 == Protocol::Postgres).then(|| {
            let body = b"\0\x03\0\0user\0postgres\0\0";
            let length = (body.len() as u32 + 4).to_be_bytes();
            ([&length[..], body].concat(), &b"Z\0\0\0\x05I"[..])
        })
    }

    /// What the server says to that.
    pub(super) fn welcome() -> Vec<u8> {
        [message(b'R', &[0; 4]), message(b'Z', b"I")].concat()
    }

    /// What the server says to a message without a number: one of ours, which is to fail.
    pub(super) fn refusal(self) -> Vec<u8> {
        assert_eq!(
            self.0,
            Protocol::Postgres,
            "nothing comes but what was sent"
        );
        let state = inject::FAILING_QUERY_STATE;
        let fields = format!("SERROR\0VERROR\0C{state}\0Mno\0\0");
        [message(b'E', fields.as_bytes()), message(b'Z', b"I")].concat()
    }

    /// The request at the beginning of a stream, as the server finds it.
    pub(super) fn find_request(self, bytes: &[u8]) -> Found {
        let found = match self.0 {
            Protocol::Redis => {
                let head = b"*2\r\n$4\r\nECHO\r\n$";
                bytes.get(head.len()..).and_then(|rest| {
                    assert!(bytes.starts_with(head), "not a request");
                    let line = find(rest, b"\r\n")?;
                    let length: usize =
                        std::str::from_utf8(&rest[..line]).unwrap().parse().unwrap();
                    let at = head.len() + line + 2;
                    Some((at, at + length, at + length + 2))
                })
            }
            Protocol::Postgres => bytes.first_chunk::<5>().and_then(|head| {
                assert_eq!(head[0], b'Q', "not a request");
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                let whole = bytes.get(..=length)?;
                if !whole[5..].starts_with(b"SELECT '") {
                    return Some((0, 0, length + 1));
                }
                Some((13, length - 1, length + 1))
            }),
            _ => find(bytes, b"\r\n\r\n").and_then(|at| {
                let head = std::str::from_utf8(&bytes[..at]).unwrap();
                assert!(head.starts_with("POST /e HTTP/1.1\r\n"), "not a request");
                let at = at + 4;
                if let Some((_, length)) = head.split_once("content-length: ") {
                    let end = at + length.parse::<usize>().unwrap();
                    Some((at, end, end))
                } else {
                    let line = find(&bytes[at..], b"\r\n")?;
                    let length = std::str::from_utf8(&bytes[at..at + line]).unwrap();
                    let begin = at + line + 2;
                    let end = begin + usize::from_str_radix(length, 16).unwrap();
                    Some((begin, end, end + 7))
                }
            }),
        };
        match found {
            Some((_, _, whole)) if whole > bytes.len() => Found::More,
            None => Found::More,
            Some((begin, end, whole)) if begin < end => {
                let (session, number) = numbers(&bytes[begin..end]).expect("a numbered request");
                Found::Numbered(session, number, whole)
            }
            Some((_, _, whole)) => Found::Plain(whole),
        }
    }

    /// The length of an injected error at the beginning of a stream; 0 where more is needed to tell, `None` where it is none.
    pub(super) fn find_error(self, bytes: &[u8]) -> Option<usize> {
        let begins = |with: &[u8]| {
            let n = with.len().min(bytes.len());
            bytes[..n] == with[..n]
        };
        match self.0 {
            Protocol::Redis => {
                begins(b"-OOM ").then(|| find(bytes, b"\r\n").map_or(0, |end| end + 2))
            }
            Protocol::Postgres => begins(b"E").then(|| {
                bytes.first_chunk::<5>().map_or(0, |head| {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                    // ReadyForQuery belongs to it.
                    let whole = length + 1 + 6;
                    if bytes.len() < whole {
                        return 0;
                    }
                    assert!(
                        find(&bytes[..whole], b"C53100\0").is_some(),
                        "an error that nobody injected: {}",
                        String::from_utf8_lossy(&bytes[..whole])
                    );
                    whole
                })
            }),
            _ => begins(b"HTTP/1.1 503 ").then(|| {
                find(bytes, b"\r\n\r\n").map_or(0, |at| {
                    let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
                    let length = head
                        .lines()
                        .find_map(|l| l.strip_prefix("content-length: "))
                        .map_or(0, |n| n.parse().unwrap());
                    let whole = at + 4 + length;
                    if bytes.len() < whole { 0 } else { whole }
                })
            }),
        }
    }

    /// The fault that answers some exchanges with an error.
    pub(super) fn error_fault(self) -> serde_json::Value {
        match self.0 {
            Protocol::Redis => serde_json::json!({ "preset": "OOM" }),
            Protocol::Postgres => serde_json::json!({ "preset": "disk_full" }),
            // The connection stays only where the end of the body is in sight.
            _ => serde_json::json!({ "preset": "503",
                "match": { "header": { "name": "content-length" } } }),
        }
    }
}
