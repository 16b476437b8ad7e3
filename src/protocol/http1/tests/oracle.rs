//! A second reading of the same bytes: heads by `httparse`, bodies cut from the whole buffer in the plainest way.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::model::{Script, exchanges};
use super::{Session, Side};

/// A message of the reference: where it begins, where its head and its body end, and its method or status.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    begin: usize,
    head: usize,
    /// `None`: it is not complete.
    end: Option<usize>,
    what: String,
}

enum Framing {
    Fixed(u64),
    Chunked,
    ToEnd,
}

/// What the headers say, if they leave no doubt.
fn framing(headers: &[httparse::Header<'_>], absent: Framing) -> Option<Framing> {
    let all = |name: &str| {
        let lines = headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
        let values = lines.map(|h| String::from_utf8_lossy(h.value).to_ascii_lowercase());
        values.collect::<Vec<_>>().join(",")
    };
    let (coding, length) = (all("transfer-encoding"), all("content-length"));
    match (coding.trim(), length.trim()) {
        ("", "") => Some(absent),
        ("chunked", "") => Some(Framing::Chunked),
        ("", length) => length.parse().ok().map(Framing::Fixed),
        _ => None,
    }
}

/// The end of a body that begins at `begin`. An error: it is not valid. `Ok(None)`: it is not complete.
fn body_end(bytes: &[u8], begin: usize, framing: &Framing) -> Result<Option<usize>, ()> {
    let rest = &bytes[begin..];
    match framing {
        Framing::ToEnd => Ok(Some(bytes.len())),
        Framing::Fixed(length) if *length > rest.len() as u64 => Ok(None),
        Framing::Fixed(length) => Ok(Some(begin + *length as usize)),
        Framing::Chunked => {
            let mut at = begin;
            loop {
                let parsed = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| ())?;
                let httparse::Status::Complete((line, size)) = parsed else {
                    return Ok(None);
                };
                at += line;
                if size == 0 {
                    let mut trailers = [httparse::EMPTY_HEADER; 16];
                    let parsed = httparse::parse_headers(&bytes[at..], &mut trailers);
                    return match parsed.map_err(|_| ())? {
                        httparse::Status::Complete((length, _)) => Ok(Some(at + length)),
                        httparse::Status::Partial => Ok(None),
                    };
                }
                let Some(after) = (bytes.len() - at).checked_sub(2) else {
                    return Ok(None);
                };
                if size > after as u64 {
                    return Ok(None);
                }
                at += size as usize;
                if bytes[at..at + 2] != *b"\r\n" {
                    return Err(());
                }
                at += 2;
            }
        }
    }
}

/// The requests up to the first that is not valid or not complete.
fn requests(bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut at = 0;
    loop {
        while let Some(b'\r' | b'\n') = bytes.get(at) {
            at += 1;
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = request.parse(&bytes[at..]) else {
            return messages;
        };
        let Some(framing) = framing(request.headers, Framing::Fixed(0)) else {
            return messages;
        };
        let Ok(end) = body_end(bytes, at + length, &framing) else {
            return messages;
        };
        messages.push(Message {
            begin: at,
            head: at + length,
            end,
            what: request.method.unwrap().to_owned(),
        });
        let Some(end) = end else {
            return messages;
        };
        at = end;
    }
}

/// The final replies to requests with these methods, up to the first that is not valid or not complete.
fn replies(bytes: &[u8], methods: &[String]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut at = 0;
    let mut methods = methods.iter().peekable();
    while let Some(method) = methods.peek() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut reply = httparse::Response::new(&mut headers);
        // httparse skips empty lines, which no reply begins with.
        let Some(b'H') = bytes.get(at) else {
            return messages;
        };
        let Ok(httparse::Status::Complete(length)) = reply.parse(&bytes[at..]) else {
            return messages;
        };
        let (begin, head) = (at, at + length);
        let code = reply.code.unwrap();
        if (100..200).contains(&code) {
            at = head;
            continue;
        }
        let bodiless = *method == "HEAD" || code == 204 || code == 304;
        let end = if bodiless {
            Ok(Some(head))
        } else {
            let Some(framing) = framing(reply.headers, Framing::ToEnd) else {
                return messages;
            };
            body_end(bytes, head, &framing)
        };
        let Ok(end) = end else {
            return messages;
        };
        methods.next();
        messages.push(Message {
            begin,
            head,
            end,
            what: code.to_string(),
        });
        let Some(end) = end else {
            return messages;
        };
        at = end;
    }
    messages
}

/// What the reference makes of both streams, in the words of [`Session`] but with methods in place of operations.
fn reference(client: &[u8], server: &[u8]) -> [String; 2] {
    let requests = requests(client);
    let mut told = [String::new(), String::new()];
    for (
        number,
        Message {
            begin,
            head,
            end,
            what,
        },
    ) in requests.iter().enumerate()
    {
        _ = write!(
            told[0],
            "{begin} #{number} request, {head} #{number} {what}, "
        );
        if let Some(end) = end {
            _ = write!(told[0], "{end} #{number} sent, ");
        }
    }
    let methods: Vec<_> = requests.into_iter().map(|request| request.what).collect();
    for (
        number,
        Message {
            begin, end, what, ..
        },
    ) in replies(server, &methods).iter().enumerate()
    {
        _ = write!(told[1], "{begin} #{number} reply, ");
        if let Some(end) = end {
            _ = write!(told[1], "{end} #{number} {what}, ");
        }
    }
    told
}

/// What the decoder makes of them, likewise.
fn decoder(client: &[u8], server: &[u8]) -> [String; 2] {
    let mut session = Session::new();
    session.client(client).server(server).eof();
    session.told.map(|lines| {
        lines.iter().fold(String::new(), |told, line| {
            let words: Vec<_> = line.split(' ').take(3).collect();
            told + &words.join(" ") + ", "
        })
    })
}

/// Without what stands after the last complete exchange, a begun one or the reason for giving up.
fn settled<'a>(told: &'a str, last: &str) -> &'a str {
    told.rfind(last).map_or("", |at| &told[..at + last.len()])
}

proptest! {
    #[test]
    fn sound_sessions_are_read_alike(exchanges in exchanges(true)) {
        let script = Script::new(&exchanges, true);
        let (client, server) = (script.bytes(Side::Client), script.bytes(Side::Server));
        // Extension methods have a name here; httparse refuses a control character in a value.
        let plain = |bytes: &[u8]| {
            let text: String = bytes.iter().map(|&b| char::from(b)).collect();
            let text = text.replace('\u{1}', "x").replace("PROPFIND", "PATCH");
            text.chars().map(|c| c as u8).collect::<Vec<_>>()
        };
        let (client, server) = (plain(&client), plain(&server));
        prop_assert_eq!(reference(&client, &server), decoder(&client, &server));
    }

    #[test]
    fn garbled_requests_are_never_cut_differently(
        exchanges in exchanges(true),
        garble in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let script = Script::new(&exchanges, true);
        let mut client = script.bytes(Side::Client);
        for (place, byte, how) in garble {
            let at = place.index(client.len());
            match how {
                0 => client[at] = byte,
                1 => client.insert(at, byte),
                _ => _ = client.remove(at),
            }
        }
        let (ours, theirs) = (decoder(&client, b""), reference(&client, b""));
        let (ours, theirs) = (&ours[0], &theirs[0]);
        // The methods differ for extensions, so positions are compared: those of complete requests.
        let places = |told: &str| -> Vec<String> {
            let told = settled(told, " sent, ");
            told.split(", ").filter(|line| line.ends_with("request") || line.ends_with("sent"))
                .map(str::to_owned).collect()
        };
        let (ours, theirs) = (places(ours), places(theirs));
        let both = ours.len().min(theirs.len());
        prop_assert_eq!(&ours[..both], &theirs[..both]);
    }

    #[test]
    fn garbled_replies_are_never_cut_differently(
        exchanges in exchanges(true),
        garble in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let script = Script::new(&exchanges, true);
        let client: Vec<_> = script.bytes(Side::Client).iter().map(|b| if *b == 1 { b'x' } else { *b }).collect();
        let mut server = script.bytes(Side::Server);
        for (place, byte, how) in garble {
            let at = place.index(server.len());
            match how {
                0 => server[at] = byte,
                1 => server.insert(at, byte),
                _ => _ = server.remove(at),
            }
        }
        let (ours, theirs) = (decoder(&client, &server), reference(&client, &server));
        let lines = |told: &str| told.split(", ").filter(|line| line.contains('#')).map(str::to_owned).collect::<Vec<_>>();
        let (ours, theirs) = (lines(&ours[1]), lines(&theirs[1]));
        let both = ours.len().min(theirs.len());
        prop_assert_eq!(&ours[..both], &theirs[..both]);
    }
}
