//! Rules of the protocol, each as a short session.

use super::super::hash;
use super::*;
use crate::protocol::Lost;
use crate::protocol::postgres::Shape;

fn told(tape: &Tape, expected: &[&str]) {
    assert_eq!(after_handshake(tape), expected);
    assert_eq!(tape.play(|| 1), tape.events());
}

#[test]
fn a_query_of_several_statements_is_one_exchange() {
    let tape = session()
        .client(query("insert into t values (1); select 1; selec"))
        .server(
            [
                complete("INSERT 0 1"),
                b(b'T', [0, 0]),
                b(b'D', [0, 0]),
                complete("SELECT 1"),
            ]
            .concat(),
        )
        .server([error("42601"), ready("I")].concat());
    told(&tape, &["INSERT write 42601"]);
}

#[test]
fn groups_without_an_execute_are_prepare() {
    let tape = session()
        .client(
            [
                parse("a", "select 1"),
                parse("b", "begin"),
                describe(""),
                f(b'H', ""),
            ]
            .concat(),
        )
        .client(
            [
                bind("", "b"),
                execute(""),
                bind("", "a"),
                describe(""),
                execute(""),
                execute(""),
                sync(),
            ]
            .concat(),
        )
        .server(
            [
                b(b'1', ""),
                b(b'1', ""),
                b(b'n', ""),
                b(b'2', ""),
                complete("BEGIN"),
                b(b'2', ""),
            ]
            .concat(),
        )
        .server(
            [
                b(b'T', [0, 0]),
                b(b's', ""),
                complete("SELECT 1"),
                ready("T"),
            ]
            .concat(),
        );
    told(
        &tape,
        &[
            "PREPARE admin ok",
            "PREPARE admin ok",
            "* Begin",
            "BEGIN transaction ok",
            "SELECT read ok",
            "SELECT read ok",
        ],
    );
}

#[test]
fn a_reply_that_is_complete_before_its_group_ends_with_the_next_message() {
    let tape = session()
        .client(parse("a", "select 1"))
        .server(b(b'1', ""))
        .client(sync())
        .server(ready("I"));
    told(&tape, &["PREPARE admin ok"]);
}

#[test]
fn an_error_before_the_group_is_whole_ends_where_ready_begins() {
    let tape = session()
        .client(parse("", "selec"))
        .server(error("42601"))
        .client([bind("", ""), execute(""), bind("", ""), execute(""), sync()].concat())
        .server(ready("I"));
    told(&tape, &["other admin 42601", "other admin skipped"]);
}

#[test]
fn what_is_skipped_after_an_error_ends_at_ready_and_the_next_batch_is_its_own() {
    let tape = session()
        .client(
            [
                parse("", "insert into t"),
                bind("", ""),
                execute(""),
                f(b'C', "Sx\0"),
                query("select 1"),
            ]
            .concat(),
        )
        .client([f(b'c', ""), sync(), query("begin"), execute("gone"), sync()].concat())
        .server(
            [
                b(b'1', ""),
                error("23505"),
                b(b'N', "\0"),
                ready("I"),
                complete("BEGIN"),
                ready("T"),
            ]
            .concat(),
        )
        .server([error("34000"), ready("E")].concat());
    told(
        &tape,
        &[
            "INSERT write 23505",
            "SELECT read skipped",
            "* Begin",
            "BEGIN transaction ok",
            "other admin 34000",
            "* Failed",
        ],
    );
}

#[test]
fn an_error_at_sync_belongs_to_no_exchange() {
    let tape = session()
        .client(
            [
                parse("", "insert into t"),
                bind("", ""),
                execute(""),
                sync(),
                query("select 1"),
            ]
            .concat(),
        )
        .server(
            [
                b(b'1', ""),
                b(b'2', ""),
                complete("INSERT 0 1"),
                error("23503"),
                ready("I"),
            ]
            .concat(),
        )
        .server([complete("SELECT 1"), ready("I")].concat());
    told(&tape, &["INSERT write ok", "SELECT read ok"]);
}

#[test]
fn a_close_is_answered_and_is_no_exchange() {
    let tape = session()
        .client(
            [
                parse("a", "select 1"),
                f(b'C', "Sa\0"),
                bind("", "a"),
                execute(""),
                f(b'C', "P\0"),
                sync(),
            ]
            .concat(),
        )
        .server(
            [
                b(b'1', ""),
                b(b'3', ""),
                b(b'2', ""),
                complete("X"),
                b(b'3', ""),
                ready("I"),
            ]
            .concat(),
        );
    told(&tape, &["PREPARE admin ok", "other admin ok"]);
}

#[test]
fn statements_are_forgotten_when_they_are_dropped() {
    let run = |sql: &str, named: &str| {
        let tape = session()
            .client(
                [
                    parse("s", "insert into t"),
                    query(sql),
                    bind("", "s"),
                    execute(""),
                    sync(),
                ]
                .concat(),
            )
            .server(
                [
                    b(b'1', ""),
                    complete("X"),
                    ready("I"),
                    b(b'2', ""),
                    complete("INSERT 0 1"),
                    ready("I"),
                ]
                .concat(),
            );
        assert_eq!(after_handshake(&tape).pop().unwrap(), named, "{sql}");
    };
    run("select 1", "INSERT write ok");
    run("deallocate t", "INSERT write ok");
    run("discard plans", "INSERT write ok");
    run("deallocate s", "other admin ok");
    run("deallocate prepare \"s\"", "other admin ok");
    run("deallocate all", "other admin ok");
    run("discard all", "other admin ok");
}

#[test]
fn statements_beyond_the_bound_push_out_the_oldest() {
    let many: Vec<u8> = (0..=super::super::decoder::STATEMENTS)
        .flat_map(|i| parse(&i.to_string(), "insert into t"))
        .collect();
    let tape = session().client(many).client(
        [
            bind("", "0"),
            execute(""),
            bind("", "1"),
            execute(""),
            sync(),
        ]
        .concat(),
    );
    let story = after_handshake(&tape);
    assert_eq!(
        story[story.len() - 2..],
        ["other admin outstanding", "INSERT write outstanding"]
    );
}

#[test]
fn portals_carry_their_statement() {
    let tape = session()
        .client(
            [
                parse("", "update t"),
                bind("p", ""),
                parse("", "select 1"),
                bind("", ""),
            ]
            .concat(),
        )
        .client(
            [
                execute("p"),
                execute(""),
                f(b'C', "Pp\0"),
                execute("p"),
                sync(),
            ]
            .concat(),
        );
    told(
        &tape,
        &[
            "PREPARE admin outstanding",
            "UPDATE write outstanding",
            "SELECT read outstanding",
            "other admin outstanding",
        ],
    );
}

#[test]
fn copies_are_counted_past() {
    let rows = [b(b'H', [0; 3]), b(b'd', "1\n"), b(b'd', "2\n"), b(b'c', "")].concat();
    let tape = session()
        .client(query("copy t to stdout"))
        .server([rows, complete("COPY 2"), ready("I")].concat())
        .client(query("copy t from stdin"))
        .server(b(b'G', [0; 3]))
        .client([f(b'd', "1\n"), f(b'd', "x\n")].concat())
        .server([error("22P02"), ready("I")].concat())
        .client([f(b'd', "2\n"), f(b'c', ""), query("select 1")].concat())
        .server([complete("SELECT 1"), ready("I")].concat());
    told(
        &tape,
        &["COPY read ok", "COPY write 22P02", "SELECT read ok"],
    );
}

#[test]
fn syncs_that_a_copy_swallowed_are_not_waited_for() {
    let copy = [
        parse("", "copy t from stdin"),
        bind("", ""),
        execute(""),
        sync(),
    ]
    .concat();
    let asked = [b(b'1', ""), b(b'2', ""), b(b'G', [0; 3])].concat();
    for (end, told_copy) in [
        (complete("COPY 1"), "COPY write ok"),
        (error("22P02"), "COPY write 22P02"),
    ] {
        let tape = session()
            .client(&copy)
            .server(&asked)
            .client([f(b'd', "1\n"), f(b'c', ""), sync(), query("select 1")].concat())
            .server([end, ready("I"), complete("SELECT 1"), ready("I")].concat());
        told(&tape, &[told_copy, "SELECT read ok"]);
    }
}

#[test]
fn function_calls_are_exchanges() {
    let tape = session()
        .client([f(b'F', [0; 10]), f(b'F', [0; 10])].concat())
        .server([b(b'V', [0; 4]), ready("I"), error("42883"), ready("I")].concat());
    told(&tape, &["FUNCTION admin ok", "FUNCTION admin 42883"]);
}

#[test]
fn what_comes_at_any_time_begins_no_reply() {
    let notice = [
        b(b'N', "SNOTICE\0\0"),
        b(b'S', "a\0b\0"),
        b(b'A', "\0\0\0\x01c\0p\0"),
    ]
    .concat();
    let answer = [complete("SET"), b(b'S', "a\0c\0"), ready("I")].concat();
    let tape = session()
        .client(query("set a = c"))
        .server([&notice[..], &answer].concat());
    told(&tape, &["push", "SET admin ok"]);
    let begin = tape
        .events()
        .into_iter()
        .rfind(|e| e.3 == Event::ReplyBegin)
        .unwrap();
    let hello = session().stream(From::Server).len();
    assert_eq!(begin.1, (hello + notice.len()) as u64);
    let delivered = Event::Delivered(hash::bytes(hash::EMPTY, b"c\0p\0"));
    assert!(tape.events().iter().any(|e| e.3 == delivered));
}

#[test]
fn an_error_is_marked_within_its_reply() {
    let before = [b(b'T', [0, 0]), b(b'D', "x")].concat();
    let tape = session()
        .client(query("select 1/x from t"))
        .server([&before[..], &error("22012"), &ready("I")].concat());
    let hello = session().stream(From::Server).len();
    let at = |event: Event| tape.events().into_iter().rfind(|e| e.3 == event).unwrap().1;
    assert_eq!(at(Event::ReplyBegin), hello as u64);
    assert_eq!(at(Event::ErrorBegin), (hello + before.len()) as u64);
}

#[test]
fn a_fatal_error_ends_the_reply_and_needs_no_request() {
    let tape = session().client(query("select 1")).server(fatal("57P01"));
    told(&tape, &["SELECT read 57P01"]);
    told(&session().server(fatal("57P01")), &[]);
    let localized = b(b'E', "SFEHLER\0VERROR\0C42601\0\0");
    let tape = session()
        .client(query("x"))
        .server([localized, ready("I")].concat());
    told(&tape, &["other admin 42601"]);
}

#[test]
fn terminate_ends_without_a_reply() {
    told(&session().client(f(b'X', "")), &[]);
    let tape = session().client([parse("", "x"), f(b'X', "")].concat());
    told(&tape, &["PREPARE admin outstanding"]);
}

/// Queries with the tag and the status that answer them, and the changes that they make.
type Block<'a> = (&'a [(&'a str, &'a str, &'a str)], &'a [&'a str]);

#[test]
fn transactions_follow_tags_and_status() {
    let cases: [Block; 9] = [
        (
            &[("begin", "BEGIN", "T"), ("commit", "COMMIT", "I")],
            &["Begin", "Commit"],
        ),
        (
            &[("begin", "BEGIN", "T"), ("abort", "ROLLBACK", "I")],
            &["Begin", "Rollback"],
        ),
        (
            &[("commit", "COMMIT", "I"), ("rollback", "ROLLBACK", "I")],
            &[],
        ),
        (
            &[("begin", "BEGIN", "T"), ("begin", "BEGIN", "T")],
            &["Begin"],
        ),
        (
            &[
                ("begin", "BEGIN", "T"),
                ("rollback to s", "ROLLBACK", "T"),
                ("end", "COMMIT", "I"),
            ],
            &["Begin", "Commit"],
        ),
        (
            &[
                ("begin", "BEGIN", "T"),
                ("savepoint s; rollback to s", "ROLLBACK", "T"),
                ("end", "COMMIT", "I"),
            ],
            &["Begin", "Commit"],
        ),
        (
            &[
                ("begin", "BEGIN", "T"),
                ("rollback and chain", "ROLLBACK", "T"),
                ("commit and chain", "COMMIT", "T"),
            ],
            &["Begin", "Rollback", "Begin", "Commit", "Begin"],
        ),
        (
            &[
                ("begin", "BEGIN", "T"),
                ("x", "X", "E"),
                ("x", "X", "E"),
                ("rollback to s", "ROLLBACK", "T"),
                ("x", "X", "E"),
            ],
            &["Begin", "Failed", "Failed"],
        ),
        (
            &[
                ("begin", "BEGIN", "T"),
                ("x", "X", "E"),
                ("commit", "ROLLBACK", "I"),
                ("x", "X", "I"),
            ],
            &["Begin", "Failed", "Rollback"],
        ),
    ];
    for (statements, expected) in cases {
        let mut tape = session();
        for (sql, tag, status) in statements {
            tape = tape
                .client(query(sql))
                .server([complete(tag), ready(status)].concat());
        }
        let story = after_handshake(&tape);
        let changes: Vec<_> = story
            .iter()
            .filter_map(|line| line.strip_prefix("* "))
            .collect();
        assert_eq!(changes, expected, "{statements:?}");
    }
}

#[test]
fn a_withheld_query_is_not_waited_for() {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    decoder.request(&session().stream(From::Client), &mut out);
    decoder.reply(&session().stream(From::Server), &mut out);
    assert_eq!(
        (decoder.transaction_status(), decoder.in_flight()),
        (b'I', 0)
    );
    let batch = [
        query("select 1"),
        query("insert into t"),
        parse("", "x"),
        bind("", ""),
        execute(""),
        sync(),
    ];
    decoder.request(&batch.concat(), &mut out);
    assert_eq!(decoder.in_flight(), 3);
    assert!(
        decoder.shape(1) == Shape::Simple
            && decoder.shape(2) == Shape::Simple
            && decoder.shape(3) != Shape::Simple
            && decoder.shape(9) != Shape::Simple
    );
    decoder.withhold(2);
    assert_eq!(decoder.in_flight(), 2);
    out.clear();
    decoder.reply(&[complete("SELECT 1"), ready("T")].concat(), &mut out);
    decoder.reply(
        &[b(b'1', ""), b(b'2', ""), complete("X"), ready("E")].concat(),
        &mut out,
    );
    let ended: Vec<u64> = out
        .iter()
        .filter(|e| matches!(e.event, Event::ReplyEnd { .. }))
        .map(|e| e.exchange)
        .collect();
    assert_eq!(ended, [1, 3]);
    assert!(!out.iter().any(|e| matches!(e.event, Event::Lost(_))));
    assert_eq!(
        (decoder.transaction_status(), decoder.in_flight()),
        (b'E', 0)
    );
    assert!(decoder.shape(1) != Shape::Simple);
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 400, "{}", size_of::<Decoder>());
}

#[test]
fn lost_is_said_once() {
    let tape = session()
        .client([f(b'!', ""), query("select 1")].concat())
        .server(ready("I"));
    let lost = tape
        .events()
        .iter()
        .filter(|e| matches!(e.3, Event::Lost(Lost::Malformed)))
        .count();
    assert_eq!(lost, 1);
}

/// The server gets a rollback and an Execute that fails in place of the Execute; the exchange ends with the error.
#[test]
fn a_commit_that_was_replaced_ends_with_its_error() {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    decoder.request(&session().stream(From::Client), &mut out);
    decoder.reply(&session().stream(From::Server), &mut out);
    let batch = [parse("", "commit"), bind("", ""), execute(""), sync()];
    decoder.request(&batch.concat(), &mut out);
    decoder.request(&query("select 1"), &mut out);
    assert_eq!(decoder.expect_rollback(9), 0, "there is no such exchange");
    assert_eq!(decoder.expect_rollback(1), 2, "ParseComplete, BindComplete");
    out.clear();
    let own = [b(b'1', ""), b(b'2', "")].concat();
    let ours = [own.clone(), complete("ROLLBACK"), b(b'3', "")].concat();
    decoder.reply(&[own, ours, error("34000"), ready("I")].concat(), &mut out);
    decoder.reply(&[complete("SELECT 1"), ready("I")].concat(), &mut out);
    let ended = out.iter().filter_map(|e| match e.event {
        Event::ReplyEnd { status } => Some((e.exchange, status == Status::OK)),
        _ => None,
    });
    assert_eq!(ended.collect::<Vec<_>>(), [(1, false), (2, true)]);
    assert!(!out.iter().any(|e| matches!(e.event, Event::Lost(_))));
}
