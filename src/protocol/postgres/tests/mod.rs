//! Tests of the decoder: what is shared by them.

mod captures;
mod malformed;
mod marks;
mod messages;
mod opening;
mod oracle;
mod remembered;
mod sessions;
mod splits;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Decoder, operation_name, status_name};
use crate::protocol::{Class, Event, Located, Operation, Status};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Client,
    Server,
}

/// Bytes of a session in the order in which they passed.
#[derive(Clone, Debug, Default)]
struct Tape(Vec<(From, Vec<u8>)>);

/// An event, who caused it, and its offset in that direction's stream.
type Absolute = (From, u64, u64, Event);

impl Tape {
    fn client(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push((From::Client, bytes.as_ref().to_vec()));
        self
    }

    fn server(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push((From::Server, bytes.as_ref().to_vec()));
        self
    }

    /// Everything that one side said.
    fn stream(&self, from: From) -> Vec<u8> {
        let said = self.0.iter().filter(|(who, _)| *who == from);
        said.flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Plays the tape in pieces that `cut` measures out: it is asked for the length of the next one.
    fn play(&self, mut cut: impl FnMut() -> usize) -> Vec<Absolute> {
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        let mut offsets = [0_u64; 2];
        let mut out = Vec::new();
        for (from, bytes) in &self.0 {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(cut().clamp(1, rest.len()));
                rest = later;
                out.clear();
                match from {
                    From::Client => decoder.request(piece, &mut out),
                    From::Server => decoder.reply(piece, &mut out),
                }
                let offset = &mut offsets[*from as usize];
                assert!(out.is_sorted_by_key(|e| e.at), "offsets go back: {out:?}");
                assert!(out.iter().all(|e| e.at <= piece.len()));
                seen.extend(out.iter().map(
                    |&Located {
                         at,
                         exchange,
                         event,
                     }| { (*from, *offset + at as u64, exchange, event) },
                ));
                *offset += piece.len() as u64;
            }
        }
        seen
    }

    /// Plays it in the pieces in which it was recorded.
    fn events(&self) -> Vec<Absolute> {
        self.play(|| usize::MAX)
    }

    /// The story of the session, a line a thing: see [`story`].
    fn story(&self) -> Vec<String> {
        story(&self.events())
    }
}

/// What is known of an exchange.
#[derive(Default)]
struct Exchange {
    request: (Option<u64>, Option<u64>),
    reply: (Option<u64>, Option<u64>),
    known: Option<(Operation, Class, bool)>,
    status: Option<Status>,
    error_begin: Option<u64>,
}

/// Puts events together, one line an exchange where its reply ends, and lines of their own for what belongs to none.
/// Checks on the way that the events of each exchange come once and in order.
fn story(events: &[Absolute]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut exchanges: BTreeMap<u64, Exchange> = BTreeMap::new();
    let mut lost = false;
    for &(_, at, number, event) in events {
        assert!(!lost, "an event after Lost: {event:?}");
        let exchange = exchanges.entry(number).or_default();
        match event {
            Event::RequestBegin => assert_eq!(exchange.request.0.replace(at), None),
            Event::RequestKnown {
                operation,
                class,
                replies,
            } => {
                assert!(exchange.request.0.is_some_and(|begin| begin <= at));
                assert!(exchange.request.1.is_none());
                let known = exchange.known.replace((operation, class, replies));
                assert_eq!(known, None);
            }
            Event::RequestEnd => {
                assert!(exchange.known.is_some());
                assert_eq!(exchange.request.1.replace(at), None);
                if exchange.known.is_some_and(|known| !known.2) {
                    lines.push(line(exchange));
                }
            }
            Event::ReplyBegin => assert_eq!(exchange.reply.0.replace(at), None),
            Event::ErrorBegin => assert_eq!(exchange.error_begin.replace(at), None),
            Event::ReplyEnd { status } => {
                assert!(exchange.reply.0.is_some_and(|begin| begin <= at));
                assert_eq!(exchange.reply.1.replace(at), None);
                exchange.status = Some(status);
                lines.push(line(exchange));
            }
            Event::Transaction(change) => lines.push(format!("* {change:?}")),
            Event::PushBegin => lines.push("push".to_owned()),
            Event::PushEnd | Event::Delivered(_) => {}
            Event::BackendKey { .. } => lines.push("backend key".to_owned()),
            Event::Cancel { .. } => lines.push("cancel".to_owned()),
            Event::Lost(why) => {
                lines.push(format!("lost: {why}"));
                lost = true;
            }
            other => panic!("not an event of this protocol: {other:?}"),
        }
    }
    for exchange in exchanges.values() {
        let waits = exchange.known.is_none_or(|known| known.2) && exchange.status.is_none();
        if exchange.request.0.is_some() && waits {
            lines.push(line(exchange));
        }
    }
    lines
}

fn line(exchange: &Exchange) -> String {
    let mut line = String::new();
    match exchange.known {
        Some((operation, class, _)) => {
            let _ = write!(line, "{} {}", operation_name(operation), class.name());
        }
        None => line.push('?'),
    }
    match (exchange.status, exchange.known) {
        (Some(status), _) => {
            let _ = write!(line, " {}", status_name(status));
            let failed = status != Status::OK && status != super::SKIPPED;
            assert_eq!(failed, exchange.error_begin.is_some(), "{line}");
        }
        (None, Some((_, _, false))) => {}
        (None, _) => line.push_str(" outstanding"),
    }
    line
}

/// A client's message.
fn f(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// A server's message: the same form.
use f as b;

fn startup(parameters: &str) -> Vec<u8> {
    let body = [&196_608_u32.to_be_bytes(), parameters.as_bytes(), &[0]].concat();
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    f(b'Q', format!("{sql}\0"))
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    f(b'P', format!("{name}\0{sql}\0\0\0"))
}

fn bind(portal: &str, statement: &str) -> Vec<u8> {
    f(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0"))
}

fn describe(portal: &str) -> Vec<u8> {
    f(b'D', format!("P{portal}\0"))
}

fn execute(portal: &str) -> Vec<u8> {
    f(b'E', format!("{portal}\0\0\0\0\0"))
}

fn sync() -> Vec<u8> {
    f(b'S', "")
}

fn ready(status: &str) -> Vec<u8> {
    b(b'Z', status)
}

fn complete(tag: &str) -> Vec<u8> {
    b(b'C', format!("{tag}\0"))
}

fn error(code: &str) -> Vec<u8> {
    b(b'E', format!("SERROR\0VERROR\0C{code}\0Mtext\0\0"))
}

fn fatal(code: &str) -> Vec<u8> {
    b(b'E', format!("SFATAL\0VFATAL\0C{code}\0Mtext\0\0"))
}

/// A session past its handshake.
fn session() -> Tape {
    Tape::default()
        .client(startup("user\0app\0"))
        .server([b(b'R', [0; 4]), ready("I")].concat())
}

/// The story of a session behind its handshake.
fn after_handshake(tape: &Tape) -> Vec<String> {
    let mut story = tape.story();
    assert_eq!(story.remove(0), "STARTUP handshake ok");
    story
}
