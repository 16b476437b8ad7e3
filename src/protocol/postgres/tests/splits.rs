//! The same stream cut anywhere gives the same events at the same offsets.

use proptest::collection::vec;
use proptest::prelude::*;

use super::captures::{NAMES, load};
use super::*;

/// One thing that a client does, and what becomes of it.
#[derive(Debug, Clone)]
enum Act {
    /// A simple Query, which may fail.
    Query {
        sql: usize,
        fails: bool,
    },
    /// Statements of one batch, each named or not, and the one that fails.
    Batch {
        statements: Vec<(usize, bool, u16)>,
        fails: Option<usize>,
    },
    /// Parse and Describe, then Sync.
    Prepare,
    /// Something of the server's own accord.
    Notice,
    Notification(String),
}

/// Statements, with the operation and class that they are to be given.
const STATEMENTS: [(&str, &str); 6] = [
    ("SELECT 'it''s' /* ; */", "SELECT read"),
    (
        " /* a /* b */ c */ insert into t values (1)",
        "INSERT write",
    ),
    ("-- c\nUpdate t set a = 1", "UPDATE write"),
    (
        "with x as (delete from t returning $q$)$q$) select 1",
        "SELECT write",
    ),
    ("explain (analyze false, verbose) select 1", "EXPLAIN read"),
    ("listen news", "LISTEN pubsub"),
];

fn act() -> impl Strategy<Value = Act> {
    let statement = (0..STATEMENTS.len(), any::<bool>(), 0..5_u16);
    prop_oneof![
        (0..STATEMENTS.len(), any::<bool>()).prop_map(|(sql, fails)| Act::Query { sql, fails }),
        (vec(statement, 1..4), proptest::option::of(0..4_usize))
            .prop_map(|(statements, fails)| Act::Batch { statements, fails }),
        Just(Act::Prepare),
        Just(Act::Notice),
        "[a-z]{0,20}".prop_map(Act::Notification),
    ]
}

/// What the client says, what the server answers, and the story that this makes.
fn play(act: &Act) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let (mut asks, mut answers, mut story) = (Vec::new(), Vec::new(), Vec::new());
    let row = b(b'D', [0, 1, 0, 0, 0, 1, b'x']);
    match act {
        Act::Query { sql, fails } => {
            let (sql, told) = STATEMENTS[*sql];
            asks.extend(query(sql));
            if *fails {
                answers.extend(error("42P01"));
                story.push(format!("{told} 42P01"));
            } else {
                answers.extend([&b(b'T', [0, 0])[..], &row, &row, &complete("SELECT 2")].concat());
                story.push(format!("{told} ok"));
            }
            answers.extend(ready("I"));
        }
        Act::Batch { statements, fails } => {
            for (i, &(sql, named, rows)) in statements.iter().enumerate() {
                let (sql, told) = STATEMENTS[sql];
                let name = if named { "statement" } else { "" };
                let group = [
                    parse(name, sql),
                    bind("p", name),
                    describe("p"),
                    execute("p"),
                ];
                asks.extend(group.concat());
                let status = match fails {
                    Some(at) if *at < i => "skipped",
                    Some(at) if *at == i => "23505",
                    _ => "ok",
                };
                story.push(format!("{told} {status}"));
                match status {
                    "ok" => {
                        answers.extend([b(b'1', ""), b(b'2', ""), b(b'T', [0, 0])].concat());
                        answers.extend(row.repeat(usize::from(rows)));
                        answers.extend(complete("SELECT"));
                    }
                    "skipped" => {}
                    _ => answers.extend([b(b'1', ""), error(status)].concat()),
                }
            }
            asks.extend(sync());
            answers.extend(ready("I"));
        }
        Act::Prepare => {
            asks.extend([parse("s", "select $1"), f(b'D', "Ss\0"), sync()].concat());
            answers.extend([b(b'1', ""), b(b't', [0, 0]), b(b'n', ""), ready("I")].concat());
            story.push("PREPARE admin ok".to_owned());
        }
        Act::Notice => answers.extend(b(b'N', "SNOTICE\0\0")),
        Act::Notification(payload) => {
            answers.extend(b(b'A', format!("\0\0\0\x01news\0{payload}\0")));
            story.push("push".to_owned());
        }
    }
    (asks, answers, story)
}

proptest! {
    #[test]
    fn any_session_is_told_right_however_it_is_cut(
        acts in vec(act(), 1..12),
        pipelined in any::<bool>(),
        cuts in vec(1..40_usize, 1..50),
    ) {
        let mut tape = session();
        let (mut asked, mut answered, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for act in &acts {
            let (asks, answers, story) = play(act);
            expected.extend(story);
            if pipelined {
                asked.extend(asks);
                answered.extend(answers);
            } else {
                tape = tape.client(asks).server(answers);
            }
        }
        let tape = tape.client(asked).server(answered);
        let whole = tape.events();
        let mut told = story(&whole);
        prop_assert_eq!(told.remove(0), "STARTUP handshake ok");
        prop_assert_eq!(told, expected);
        prop_assert_eq!(&tape.play(|| 1), &whole);
        let mut cuts = cuts.into_iter().cycle();
        prop_assert_eq!(&tape.play(|| cuts.next().unwrap()), &whole);
    }

    #[test]
    fn captures_are_told_the_same_however_they_are_cut(
        name in proptest::sample::select(&NAMES[..]),
        cuts in vec(1..200_usize, 1..50),
    ) {
        for tape in load(name) {
            let mut cuts = cuts.iter().copied().cycle();
            prop_assert_eq!(tape.play(|| cuts.next().unwrap()), tape.events());
        }
    }
}

#[test]
fn captures_are_told_the_same_in_pieces_of_every_size() {
    for name in NAMES {
        for tape in load(name) {
            let whole = tape.events();
            for size in 1..=64 {
                assert_eq!(tape.play(|| size), whole, "{name} in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_deep_pipeline_is_told_the_same_cut_at_every_offset() {
    let tape = session()
        .client(
            [
                parse("a", "begin"),
                bind("", "a"),
                execute(""),
                parse("", "copy t from stdin"),
            ]
            .concat(),
        )
        .client(
            [
                bind("x", ""),
                execute("x"),
                sync(),
                f(b'd', "1\n"),
                f(b'c', ""),
                sync(),
                query("commit"),
            ]
            .concat(),
        )
        .server(
            [
                b(b'1', ""),
                b(b'2', ""),
                complete("BEGIN"),
                b(b'1', ""),
                b(b'2', ""),
            ]
            .concat(),
        )
        .server(
            [
                b(b'G', [0; 3]),
                complete("COPY 1"),
                ready("T"),
                complete("COMMIT"),
                ready("I"),
            ]
            .concat(),
        );
    let whole = tape.events();
    let expected = [
        "* Begin",
        "BEGIN transaction ok",
        "COPY write ok",
        "* Commit",
        "COMMIT transaction ok",
    ];
    assert_eq!(after_handshake(&tape), expected);
    for at in 1..tape.0.iter().map(|(_, bytes)| bytes.len()).max().unwrap() {
        assert_eq!(tape.play(|| at), whole, "cut every {at} bytes");
    }
}
