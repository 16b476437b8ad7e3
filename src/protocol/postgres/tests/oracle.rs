//! pgwire, which decodes every message whole, must find the same messages where the decoder found exchanges.

use bytes::BytesMut;
use pgwire::messages::startup::Startup;
use pgwire::messages::{DecodeContext, Message, PgWireBackendMessage, PgWireFrontendMessage};

use super::captures::{NAMES, load};
use super::*;

/// A request as pgwire's messages show it: offsets, and the first word of its SQL where it is in there.
#[derive(Debug, PartialEq)]
struct Request {
    begin: u64,
    end: u64,
    word: Option<String>,
}

fn first_word(sql: &str) -> Option<String> {
    let plain = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '(')
        .next()
        .filter(plain)
        .map(str::to_ascii_uppercase)
}

/// The requests of a client's stream behind its start-up message.
fn requests(stream: &[u8]) -> Vec<Request> {
    let mut buffer = BytesMut::from(stream);
    let mut context = DecodeContext::default();
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    while buffer.starts_with(&8_u32.to_be_bytes()) {
        let _ = buffer.split_to(8);
    }
    Startup::decode(&mut buffer, &context).unwrap().unwrap();
    let mut found = Vec::new();
    let mut group: Option<Request> = None;
    loop {
        let begin = (stream.len() - buffer.len()) as u64;
        let Some(message) = PgWireFrontendMessage::decode(&mut buffer, &context).unwrap() else {
            break;
        };
        let end = (stream.len() - buffer.len()) as u64;
        let opens = |word| Request { begin, end, word };
        let ends_group = !matches!(
            message,
            PgWireFrontendMessage::Bind(_)
                | PgWireFrontendMessage::Describe(_)
                | PgWireFrontendMessage::Execute(_)
        );
        if ends_group && let Some(mut prepare) = group.take() {
            prepare.end = begin;
            prepare.word = Some("PREPARE".to_owned());
            found.push(prepare);
        }
        match message {
            PgWireFrontendMessage::Query(query) => found.push(opens(first_word(&query.query))),
            PgWireFrontendMessage::Parse(parse) => group = Some(opens(first_word(&parse.query))),
            PgWireFrontendMessage::Bind(_) | PgWireFrontendMessage::Describe(_) => {
                group.get_or_insert_with(|| opens(None));
            }
            PgWireFrontendMessage::Execute(_) => {
                let mut group = group.take().unwrap_or_else(|| opens(None));
                group.end = end;
                found.push(group);
            }
            _ => {}
        }
    }
    assert!(buffer.is_empty(), "pgwire left {} bytes", buffer.len());
    found
}

#[test]
fn requests_are_where_pgwire_finds_them() {
    let mut compared = 0;
    for name in NAMES {
        if name == "replication" {
            continue;
        }
        for tape in load(name) {
            let stream = tape.stream(From::Client);
            if stream[4..8] == 80_877_102_u32.to_be_bytes() {
                continue;
            }
            let mut seen: BTreeMap<u64, Request> = BTreeMap::new();
            for (_, at, exchange, event) in tape.events() {
                let entry = seen.entry(exchange);
                match event {
                    Event::RequestBegin => {
                        let (begin, end, word) = (at, 0, None);
                        entry.or_insert(Request { begin, end, word });
                    }
                    Event::RequestKnown { operation, .. } => {
                        let word = Some(operation_name(operation).to_owned());
                        entry.and_modify(|request| request.word = word);
                    }
                    Event::RequestEnd => drop(entry.and_modify(|request| request.end = at)),
                    _ => {}
                }
            }
            seen.remove(&0);
            let expected = requests(&stream);
            assert_eq!(seen.len(), expected.len(), "{name}");
            for (found, expected) in seen.values().zip(&expected) {
                assert_eq!(
                    (found.begin, found.end),
                    (expected.begin, expected.end),
                    "{name}"
                );
                let told = found.word.as_deref().unwrap();
                match expected.word.as_deref() {
                    Some("START") => assert_eq!(told, "BEGIN"),
                    Some("END") => assert_eq!(told, "COMMIT"),
                    Some("ABORT") => assert_eq!(told, "ROLLBACK"),
                    Some("SELEC") => assert_eq!(told, "other"),
                    Some("WITH") => assert_eq!(told, "SELECT"),
                    Some(word) => assert!(told.starts_with(word), "{told} for {word}"),
                    None => {}
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn errors_are_those_that_pgwire_finds() {
    let mut errors = 0;
    for name in NAMES {
        if name == "replication" {
            continue;
        }
        for tape in load(name) {
            let stream = tape.stream(From::Server);
            // The one byte that refuses encryption.
            let stream = stream.strip_prefix(b"N").unwrap_or(&stream);
            let mut buffer = BytesMut::from(stream);
            let mut context = DecodeContext::default();
            context.awaiting_frontend_ssl = false;
            let mut codes = Vec::new();
            while let Some(message) = PgWireBackendMessage::decode(&mut buffer, &context).unwrap() {
                if let PgWireBackendMessage::ErrorResponse(response) = message {
                    let code = response.fields.into_iter().find(|field| field.0 == b'C');
                    codes.push(code.unwrap().1);
                }
            }
            let events = tape.events();
            let statuses = events.iter().filter_map(|event| match event.3 {
                Event::ReplyEnd { status } => Some(status),
                _ => None,
            });
            let failed =
                |status: &Status| *status != Status::OK && *status != super::super::SKIPPED;
            let told: Vec<_> = statuses.filter(failed).map(status_name).collect();
            assert_eq!(told, codes, "{name}");
            errors += codes.len();
        }
    }
    assert!(errors > 10, "{errors}");
}
