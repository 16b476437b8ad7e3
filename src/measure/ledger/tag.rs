//! What a server says came of a request, in its own words: read off the bytes of its reply, of which nothing else is kept.

use crate::protocol::Protocol;
use std::borrow::Cow;

/// A tag is no longer than this: three words and a row count.
const TAG: usize = 48;

/// Status replies of Redis that are told by name. Others may hold what a script put there.
const STATUSES: &[&str] = &["OK", "QUEUED", "PONG", "RESET", "CONTINUE", "NOKEY"];

/// Type and length of a Postgres message.
const HEADER: usize = 5;

/// Looks for the tag in a reply.
#[derive(Debug)]
pub struct TagReader(Reader);

#[derive(Debug)]
enum Reader {
    Redis {
        line: Vec<u8>,
    },
    Postgres {
        /// Header of the message under way.
        header: Vec<u8>,
        /// Bytes of its body that are still to come.
        left: usize,
        /// The newest tag.
        tag: Vec<u8>,
    },
    /// The status of the reply is the tag.
    Other,
}

impl TagReader {
    /// For a reply of which nothing was read yet.
    pub fn new(protocol: Protocol) -> Self {
        Self(match protocol {
            Protocol::Redis => Reader::Redis { line: Vec::new() },
            Protocol::Postgres => Reader::Postgres {
                header: Vec::new(),
                left: 0,
                tag: Vec::new(),
            },
            Protocol::Http | Protocol::Tcp => Reader::Other,
        })
    }

    /// Takes the next bytes of the reply.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        match &mut self.0 {
            Reader::Other => {}
            Reader::Redis { line } => {
                let room = TAG.saturating_sub(line.len()).min(bytes.len());
                line.extend_from_slice(&bytes[..room]);
            }
            Reader::Postgres { header, left, tag } => {
                while !bytes.is_empty() {
                    let missing = (HEADER - header.len()).min(bytes.len());
                    header.extend_from_slice(&bytes[..missing]);
                    bytes = &bytes[missing..];
                    let [kind, a, b, c, d] = header[..] else {
                        return;
                    };
                    if missing > 0 {
                        // The length counts itself, and not the type.
                        *left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                        if kind == b'C' {
                            tag.clear();
                        }
                    }
                    let (body, rest) = bytes.split_at((*left).min(bytes.len()));
                    if kind == b'C' {
                        let room = TAG.saturating_sub(tag.len()).min(body.len());
                        tag.extend_from_slice(&body[..room]);
                    }
                    *left -= body.len();
                    bytes = rest;
                    if *left > 0 {
                        return;
                    }
                    header.clear();
                }
            }
        }
    }

    /// What was found; `None`: there is none.
    pub fn finish(self) -> Option<Cow<'static, str>> {
        match self.0 {
            Reader::Other => None,
            Reader::Redis { line } => redis(&line).map(Cow::Borrowed),
            Reader::Postgres { tag, .. } => postgres(&tag),
        }
    }
}

/// Manual: "Message Formats", `CommandComplete`: words in capitals, and numbers.
fn postgres(tag: &[u8]) -> Option<Cow<'static, str>> {
    let tag = tag.strip_suffix(&[0]).unwrap_or(tag);
    let plain = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ';
    if tag.is_empty() || !tag.iter().all(plain) {
        return None;
    }
    let text = String::from_utf8_lossy(tag).into_owned();
    Some(Cow::Owned(text))
}

fn redis(line: &[u8]) -> Option<&'static str> {
    let rest = line.get(1..).unwrap_or_default();
    let null = rest.starts_with(b"-1\r\n");
    Some(match line.first()? {
        b'+' => {
            let word = rest.split(|b| *b == b'\r').next().unwrap_or_default();
            let known = STATUSES.iter().find(|known| known.as_bytes() == word);
            known.copied().unwrap_or("status")
        }
        b'$' | b'*' if null => "null",
        b'_' => "null",
        b':' => "integer",
        b'$' | b'=' => "string",
        b'*' => "array",
        b'%' => "map",
        b'~' => "set",
        b',' => "double",
        b'#' => "boolean",
        b'(' => "number",
        // An error: its code is the tag.
        _ => return None,
    })
}
