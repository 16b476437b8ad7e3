//! Replies of our own, and a look at the headers of one request.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::StatusCode;

/// Header lines that are looked at in one head; one with more has none for [`headers`].
const HEADERS_LIMIT: usize = 100;

/// The length of the head of a reply that begins with `bytes`, interim replies (1xx) before it included; `None`: it does not
/// end in them.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let mut from = 0;
    loop {
        let head = &bytes[from..];
        let end = from + memchr::memmem::find(head, END)? + END.len();
        let interim = head.get(8..10) == Some(b" 1") && head.get(8..12) != Some(b" 101");
        if !interim {
            return Some(end);
        }
        from = end;
    }
}

/// A whole reply (RFC 9112). `head_only`: the request was HEAD, so the body is announced but not sent. `close`: the connection
/// ends after it; otherwise it says `keep-alive`, which a client that speaks HTTP/1.0 wants to hear.
///
/// Content-Length and Connection are set here, Content-Type too where `headers` has none and there is a body; Date is left
/// out. Of `headers`, what would change the framing (those, and Transfer-Encoding) or is not a valid header is left out. A
/// status that has no body (1xx, 204, 304) gets none.
pub fn response(
    status: u16,
    headers: &[(String, String)],
    body: &str,
    head_only: bool,
    close: bool,
) -> Bytes {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or_default();
    let mut reply = format!("HTTP/1.1 {status:03} {reason}\r\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        _ = write!(reply, "{name}: {value}\r\n");
    };
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    let mut typed = bodiless || body.is_empty();
    for (name, value) in headers {
        let (Ok(valid), Ok(_)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) else {
            continue;
        };
        if valid == CONTENT_LENGTH || valid == TRANSFER_ENCODING || valid == CONNECTION {
            continue;
        }
        typed |= valid == CONTENT_TYPE;
        line(name, value);
    }
    if !typed {
        line("Content-Type", "text/plain; charset=utf-8");
    }
    if !bodiless {
        line("Content-Length", &body.len().to_string());
    }
    line("Connection", if close { "close" } else { "keep-alive" });
    reply.push_str("\r\n");
    if !bodiless && !head_only {
        reply.push_str(body);
    }
    reply.into()
}

/// The header lines of a request, given its head from the first byte through the empty line; bytes behind it do not matter.
/// `None`: it is not complete, not valid, or has more than 100 lines.
pub fn headers(head: &[u8]) -> Option<impl Iterator<Item = (&str, &[u8])>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
    let mut request = httparse::Request::new(&mut headers);
    let complete = request.parse(head).ok()?.is_complete();
    let count = request.headers.len();
    complete.then(|| {
        headers
            .into_iter()
            .take(count)
            .map(|header| (header.name, header.value))
    })
}
