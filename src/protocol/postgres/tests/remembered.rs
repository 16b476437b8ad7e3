//! What is remembered of a session for faults to match on: its statements, and what it says of itself.

use std::sync::Arc;

use super::*;
use crate::protocol::postgres::Statements;
use crate::protocol::{Fact, Facts};

/// Shows pieces of `size` bytes to a decoder, which is asked about each exchange when its request has ended.
fn said(
    decoder: &mut Decoder,
    tape: &[(From, Vec<u8>)],
    size: usize,
    mut ask: impl FnMut(&Decoder, u64),
) {
    let mut out = Vec::new();
    for (from, bytes) in tape {
        for piece in bytes.chunks(size) {
            out.clear();
            match from {
                From::Client => decoder.request(piece, &mut out),
                From::Server => decoder.reply(piece, &mut out),
            }
            for located in &out {
                assert!(!matches!(located.event, Event::Lost(_)), "{located:?}");
                if located.event == Event::RequestEnd {
                    ask(decoder, located.exchange);
                }
            }
        }
    }
}

/// What each exchange behind the handshake executes, as far as it is remembered.
fn executed(decoder: &mut Decoder, client: &[u8], size: usize) -> Vec<Option<String>> {
    let mut statements = Vec::new();
    let mut tape = session().0;
    tape.push((From::Client, client.to_vec()));
    said(decoder, &tape, size, |decoder, exchange| {
        let statement = decoder.statement_of(exchange, b"");
        let text = statement.map(|s| String::from_utf8(s.text().to_vec()).unwrap());
        statements.push(text);
    });
    statements.remove(0);
    statements
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn an_execute_is_known_by_the_statement_that_was_prepared() {
    let client = [
        parse("a", "select * from t where x = 'secret'"),
        sync(),
        parse("b", "delete from u"),
        bind("", "a"),
        execute(""),
        bind("portal", "b"),
        execute("portal"),
        bind("", "never"),
        execute(""),
        parse("a", "select 2"),
        bind("", "a"),
        execute(""),
        sync(),
    ]
    .concat();
    for size in [1, 2, 3, 7, 1000] {
        let mut decoder = Decoder::remembering(Arc::default());
        let known = executed(&mut decoder, &client, size);
        let expected = [
            None,
            some("select * from t where x = ?"),
            some("delete from u"),
            None,
            some("select ?"),
        ];
        assert_eq!(known, expected, "in pieces of {size}");
    }
}

/// Of unnamed statements the text is wanted only while a fault looks at SQL: many clients prepare each time.
#[test]
fn unnamed_statements_are_remembered_while_somebody_watches() {
    let client = [parse("", "select a"), bind("", ""), execute(""), sync()].concat();
    let mut decoder = Decoder::remembering(Arc::default());
    assert_eq!(executed(&mut decoder, &client, 100), [None]);
    let mut decoder = Decoder::remembering(Arc::default());
    decoder.watch_statements(true);
    assert_eq!(executed(&mut decoder, &client, 5), [some("select a")]);
    // Prepared before, executed in a batch of its own.
    let mut decoder = Decoder::remembering(Arc::default());
    decoder.watch_statements(true);
    let client = [
        parse("", "select a"),
        sync(),
        bind("", ""),
        execute(""),
        sync(),
    ]
    .concat();
    assert_eq!(executed(&mut decoder, &client, 9), [None, some("select a")]);
}

#[test]
fn what_is_deallocated_closed_or_forgotten_is_not_known() {
    let gone = |gone: Vec<u8>| {
        let client = [
            parse("a", "select a"),
            gone,
            bind("", "a"),
            execute(""),
            sync(),
        ]
        .concat();
        let mut decoder = Decoder::remembering(Arc::default());
        executed(&mut decoder, &client, 1000).pop().unwrap()
    };
    assert_eq!(gone(Vec::new()), some("select a"));
    assert_eq!(gone(f(b'C', "Sa\0")), None);
    assert_eq!(gone(query("deallocate a")), None);
    assert_eq!(gone(query("discard all")), None);
    let many: Vec<u8> = (0..super::super::decoder::STATEMENTS)
        .flat_map(|n| parse(&format!("s{n}"), "select b"))
        .collect();
    assert_eq!(gone(many), None);
}

#[test]
fn sessions_share_what_they_prepare() {
    let texts: Arc<Statements> = Arc::default();
    let client = [parse("a", "select a"), bind("", "a"), execute(""), sync()].concat();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut decoder = Decoder::remembering(Arc::clone(&texts));
        let mut tape = session().0;
        tape.push((From::Client, client.clone()));
        said(&mut decoder, &tape, 1000, |decoder, exchange| {
            seen.extend(decoder.statement_of(exchange, b""));
        });
    }
    assert!(Arc::ptr_eq(&seen[0], &seen[1]));
}

#[test]
fn a_text_without_an_end_is_kept_no_further_than_its_limit() {
    let mut long = b"a\0select 'x".to_vec();
    long.extend_from_slice(&b"y".repeat(1 << 20));
    let client = [f(b'P', &long), bind("", "a"), execute(""), sync()].concat();
    let mut decoder = Decoder::remembering(Arc::default());
    assert_eq!(executed(&mut decoder, &client, 4096), [some("select ?")]);
}

fn facts_of(tape: &[(From, Vec<u8>)], size: usize) -> [String; 3] {
    let mut decoder = Decoder::new();
    said(&mut decoder, tape, size, |_, _| {});
    let facts = decoder.facts().unwrap();
    [Fact::User, Fact::Database, Fact::Name].map(|fact| text(facts, fact))
}

fn text(facts: &Facts, fact: Fact) -> String {
    String::from_utf8(facts.get(fact, u64::MAX).to_vec()).unwrap()
}

fn startup(parameters: &[&str]) -> Vec<u8> {
    let body: String = parameters.iter().flat_map(|p| [p, "\0"]).collect();
    let mut bytes = (body.len() as u32 + 9).to_be_bytes().to_vec();
    bytes.extend_from_slice(&0x0003_0000_u32.to_be_bytes());
    bytes.extend_from_slice(body.as_bytes());
    bytes.push(0);
    bytes
}

#[test]
fn a_session_is_who_its_start_up_says() {
    let long = "n".repeat(500);
    for size in [1, 3, 1000] {
        let all = startup(&[
            "user",
            "api",
            "application_name",
            "worker",
            "database",
            "shop",
        ]);
        let of = |bytes: Vec<u8>| facts_of(&[(From::Client, bytes)], size);
        assert_eq!(of(all), ["api", "shop", "worker"]);
        assert_eq!(of(startup(&["user", "api"])), ["api", "api", ""]);
        // A value that looks like a name is none.
        assert_eq!(
            of(startup(&["user", "database", "x", "user"])),
            ["database", "database", ""]
        );
        assert_eq!(of(startup(&["user", &long]))[0].len(), 64);
    }
}

/// `SET`, `set_config`, `RESET`, the end of a transaction: the server tells of all of them.
#[test]
fn the_application_name_is_the_one_that_the_server_reports() {
    let mut tape = session().0;
    for size in [1, 4, 1000] {
        tape.push((From::Server, b(b'S', "application_name\0batch\0")));
        assert_eq!(facts_of(&tape, size)[2], "batch");
        tape.push((From::Server, b(b'S', "application_nam\0other\0")));
        tape.push((From::Server, b(b'S', "TimeZone\0application_name\0")));
        assert_eq!(facts_of(&tape, size)[2], "batch");
        tape.push((From::Server, b(b'S', "application_name\0\0")));
        assert_eq!(facts_of(&tape, size)[2], "");
    }
}

#[test]
fn strings_are_read_as_the_server_reads_them() {
    let client = [
        parse("a", r"select 'x\' , 'secret'"),
        bind("", "a"),
        execute(""),
        sync(),
    ]
    .concat();
    let mut tape = session().0;
    tape.push((From::Server, b(b'S', "standard_conforming_strings\0off\0")));
    tape.push((From::Client, client));
    let mut decoder = Decoder::remembering(Arc::default());
    let mut last = None;
    said(&mut decoder, &tape, 1000, |decoder, exchange| {
        last = decoder.statement_of(exchange, b"");
    });
    assert_eq!(last.unwrap().text(), b"select ?secret?");
}

#[test]
fn the_version_is_the_one_that_the_server_reports() {
    let version = |tape: &[(From, Vec<u8>)], size| {
        let mut decoder = Decoder::remembering(Arc::default());
        said(&mut decoder, tape, size, |_, _| {});
        let version = decoder.server()?;
        Some(String::from_utf8(version.to_vec()).unwrap())
    };
    let long = format!("server_version\0{}\0", "9".repeat(500));
    for size in [1, 4, 1000] {
        let mut tape = session().0;
        tape.push((From::Server, b(b'S', "server_versio\x0017\0")));
        tape.push((From::Server, b(b'S', "server_version_num\x00170000\0")));
        tape.push((From::Server, b(b'S', "TimeZone\0server_version\0")));
        assert_eq!(version(&tape, size), None);
        tape.push((From::Server, b(b'S', "server_version\x0015.14 (Debian)\0")));
        assert_eq!(version(&tape, size).as_deref(), Some("15.14 (Debian)"));
        tape.push((From::Server, b(b'S', &long)));
        assert_eq!(version(&tape, size).map(|v| v.len()), Some(64));
    }
}
