//! Whole sessions: both directions, in the order in which the bytes were seen.

mod captures;
mod endings;
mod hostile;
mod model;
mod oracle;
mod said;
mod sessions;
mod withhold;

use super::Decoder;
use crate::protocol::{Event, Located, Status};

/// Which stream a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

/// A session: pieces in the order in which they were seen.
type Session = Vec<(Way, Vec<u8>)>;

/// An event at its absolute offset in its stream.
type Seen = (Way, usize, u64, Event);

/// Decodes a session, each piece cut again by `cut`, which says how long the next part of so many bytes is.
fn decode(session: &Session, mut cut: impl FnMut(usize) -> usize) -> Vec<Seen> {
    let mut decoder = Decoder::new();
    let mut offsets = [0, 0];
    let mut seen = Vec::new();
    let mut out: Vec<Located> = Vec::new();
    for (way, piece) in session {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
            let offset = match way {
                Way::Request => {
                    decoder.request(part, &mut out);
                    &mut offsets[0]
                }
                Way::Reply => {
                    decoder.reply(part, &mut out);
                    &mut offsets[1]
                }
            };
            assert!(out.is_sorted_by_key(|located| located.at));
            assert!(out.iter().all(|located| located.at <= part.len()));
            seen.extend(
                out.drain(..)
                    .flat_map(Located::parts)
                    .map(|located| (*way, *offset + located.at, located.exchange, located.event)),
            );
            *offset += part.len();
            rest = after;
        }
    }
    seen
}

/// Decodes a session in whole pieces; also that its bytes one by one say the same.
fn decode_whole(session: &Session) -> Vec<Seen> {
    let whole = decode(session, |length| length);
    assert_eq!(whole, decode(session, |_| 1), "byte by byte");
    whole
}

/// A command as clients send it.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A command of words without spaces.
fn words(line: &str) -> Vec<u8> {
    command(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

/// A session from text: `> GET a` is a command, `< +OK|` a piece of the reply stream where `|` stands for CRLF; `>> text` is a
/// piece of the request stream as is.
fn session(script: &str) -> Session {
    script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (way, text) = line.split_once(' ').unwrap_or((line, ""));
            let raw = || text.replace('|', "\r\n").into_bytes();
            match way {
                ">" => (Way::Request, words(text)),
                ">>" => (Way::Request, raw()),
                "<" => (Way::Reply, raw()),
                _ => panic!("{line}"),
            }
        })
        .collect()
}

/// What a reader of the events knows at the end, one line each: exchanges in order of their beginning, and what belongs to none
/// where it came.
fn summary(seen: &[Seen]) -> Vec<String> {
    struct Exchange {
        line: usize,
        request: (usize, usize),
        reply: usize,
    }
    let mut lines: Vec<String> = Vec::new();
    let mut exchanges: std::collections::HashMap<u64, Exchange> = std::collections::HashMap::new();
    let mut push = 0;
    for (_, at, number, event) in seen {
        match event {
            Event::RequestBegin => {
                let fresh = Exchange {
                    line: lines.len(),
                    request: (*at, 0),
                    reply: 0,
                };
                assert!(exchanges.insert(*number, fresh).is_none());
                lines.push("?".to_owned());
            }
            Event::RequestKnown {
                operation,
                class,
                replies,
            } => {
                let line = &mut lines[exchanges[number].line];
                assert_eq!(line, "?", "known once");
                let silent = if *replies { "" } else { " silent" };
                let name = super::operation_name(*operation);
                *line = format!("{number} {name} {}{silent}", class.name());
            }
            Event::RequestEnd => {
                let exchange = exchanges.get_mut(number).unwrap();
                exchange.request.1 = at - exchange.request.0;
            }
            Event::ReplyBegin => exchanges.get_mut(number).unwrap().reply = *at,
            Event::PartErrors(errors) => {
                let line = &mut lines[exchanges[number].line];
                *line += " errors=";
                *line += &errors.to_string();
            }
            Event::ReplyEnd { status } => {
                let exchange = &exchanges[number];
                let sizes = (exchange.request.1, at - exchange.reply);
                let name = match *status {
                    Status::OK => "ok",
                    status => super::status_name(status),
                };
                let line = &mut lines[exchange.line];
                *line = format!("{line} {name} {}/{}", sizes.0, sizes.1);
            }
            Event::PushBegin => push = *at,
            Event::PushEnd => lines.push(format!("push {}", at - push)),
            Event::Published(hash) => lines.push(format!("published {:04x}", hash >> 48)),
            Event::Delivered(hash) => lines.push(format!("delivered {:04x}", hash >> 48)),
            Event::Transaction(change) => lines.push(format!("{change:?}").to_lowercase()),
            Event::Lost(why) => lines.push(format!("lost {}", why.name())),
            Event::ErrorBegin
            | Event::BackendKey { .. }
            | Event::Cancel { .. }
            | Event::BatchEnd
            | Event::CopyData
            | Event::Request { .. }
            | Event::Reply { .. } => {
                panic!("not of Redis: {event:?}")
            }
        }
    }
    lines
}

/// Decodes a script and compares what became of it, line by line.
#[track_caller]
fn check(script: &str, expected: &[&str]) {
    let lines = summary(&decode_whole(&session(script)));
    assert_eq!(lines, expected, "{script}");
}
