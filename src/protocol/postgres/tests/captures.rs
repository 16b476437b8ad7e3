//! What PostgreSQL 15 and real clients said to each other, as `capture.py` beside the fixtures recorded it.

use std::path::Path;

use super::{From, Tape};

/// The connections of a capture.
pub(super) fn load(name: &str) -> Vec<Tape> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/postgres")
        .join(name)
        .with_extension("bin");
    let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut connections: Vec<Tape> = Vec::new();
    let mut rest = &file[..];
    while let [mark, a, b, c, d, more @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (bytes, later) = more.split_at(length);
        rest = later;
        let number = usize::from(mark & 0x7f);
        connections.resize(connections.len().max(number + 1), Tape::default());
        let from = if mark & 0x80 == 0 {
            From::Client
        } else {
            From::Server
        };
        connections[number].0.push((from, bytes.to_vec()));
    }
    assert!(rest.is_empty() && !connections.is_empty());
    connections
}

/// All captures.
pub(super) const NAMES: [&str; 13] = [
    "asyncpg",
    "cancel",
    "copy",
    "extended",
    "notify",
    "pgbench_extended",
    "pgbench_prepared",
    "pgbench_simple",
    "pipeline",
    "replication",
    "simple",
    "startup_error",
    "transactions",
];

/// Asserts the story of each connection; `STARTUP` and the backend key of one that came through are left out.
fn assert_told(name: &str, expected: &[&[&str]]) {
    let connections = load(name);
    assert_eq!(connections.len(), expected.len());
    for (connection, expected) in connections.iter().zip(expected) {
        let mut story = connection.story();
        if story.first().is_some_and(|first| first == "backend key") {
            assert_eq!(story.remove(1), "STARTUP handshake ok");
            story.remove(0);
        }
        assert_eq!(story, *expected, "{name}");
    }
}

#[test]
fn asyncpg() {
    assert_told(
        "asyncpg",
        &[&[
            "CREATE admin ok",
            "PREPARE admin ok",
            "INSERT write ok",
            "INSERT write ok",
            "INSERT write ok",
            "INSERT write ok",
            "INSERT write ok",
            "PREPARE admin ok",
            "SELECT read ok",
            "SELECT read ok",
            "SELECT read ok",
            "* Begin",
            "BEGIN transaction ok",
            "PREPARE admin ok",
            "SELECT read ok",
            "SELECT read ok",
            "SELECT read ok",
            "PREPARE admin ok",
            "UPDATE write ok",
            "* Commit",
            "COMMIT transaction ok",
            "PREPARE admin ok",
            "INSERT write 23505",
            "PREPARE admin ok",
            "COPY write ok",
            "SELECT read ok",
        ]],
    );
}

#[test]
fn cancel() {
    assert_told(
        "cancel",
        &[
            &["SELECT read 57014", "PREPARE admin ok", "SELECT read ok"],
            &["cancel", "CANCEL admin"],
        ],
    );
}

#[test]
fn copy() {
    assert_told(
        "copy",
        &[
            &[
                "CREATE admin ok",
                "COPY write ok",
                "COPY write ok",
                "COPY read ok",
                "COPY write 22P02",
                "COPY write 57014",
                "SELECT read ok",
            ],
            &[
                "CREATE admin ok",
                "COPY write ok",
                "COPY write 22P02",
                "DROP admin ok",
            ],
        ],
    );
}

#[test]
fn extended() {
    assert_told(
        "extended",
        &[&[
            "SELECT read ok",
            "PREPARE admin ok",
            "SELECT read ok",
            "SELECT read ok",
            "SELECT read ok",
            "SELECT read 22012",
            "CREATE admin ok",
            "* Begin",
            "BEGIN transaction ok",
            "INSERT write ok",
            "DECLARE read ok",
            "PREPARE admin ok",
            "FETCH read ok",
            "CLOSE admin ok",
            "* Commit",
            "COMMIT transaction ok",
            "DEALLOCATE admin ok",
            "DEALLOCATE admin ok",
        ]],
    );
}

#[test]
fn notify() {
    assert_told(
        "notify",
        &[
            &[
                "LISTEN pubsub ok",
                "push",
                "push",
                "SET admin ok",
                "DO admin ok",
                "UNLISTEN pubsub ok",
            ],
            &["NOTIFY pubsub ok", "SELECT read ok"],
        ],
    );
}

#[test]
fn pgbench_extended() {
    assert_told(
        "pgbench_extended",
        &[
            &[],
            &[
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
            ],
        ],
    );
}

#[test]
fn pgbench_prepared() {
    assert_told(
        "pgbench_prepared",
        &[
            &[],
            &[
                "PREPARE admin ok",
                "* Begin",
                "BEGIN transaction ok",
                "PREPARE admin ok",
                "SELECT read ok",
                "PREPARE admin ok",
                "VALUES read ok",
                "PREPARE admin ok",
                "* Commit",
                "COMMIT transaction ok",
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
            ],
        ],
    );
}

#[test]
fn pgbench_simple() {
    assert_told(
        "pgbench_simple",
        &[
            &[],
            &[
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
                "* Begin",
                "BEGIN transaction ok",
                "SELECT read ok",
                "VALUES read ok",
                "* Commit",
                "COMMIT transaction ok",
            ],
        ],
    );
}

#[test]
fn pipeline() {
    assert_told(
        "pipeline",
        &[&[
            "CREATE admin ok",
            "INSERT write ok",
            "INSERT write ok",
            "INSERT write ok",
            "INSERT write ok",
            "SELECT read ok",
            "INSERT write ok",
            "INSERT write 23505",
            "INSERT write skipped",
            "SELECT read skipped",
            "* Begin",
            "BEGIN transaction ok",
            "INSERT write ok",
            "INSERT write ok",
            "* Commit",
            "COMMIT transaction ok",
        ]],
    );
}

#[test]
fn replication() {
    assert_told("replication", &[&["lost: replication"]]);
}

#[test]
fn simple() {
    assert_told(
        "simple",
        &[&[
            "CREATE admin ok",
            "INSERT write ok",
            "SELECT read ok",
            "SELECT write ok",
            "EXPLAIN write ok",
            "INSERT write 23505",
            "SELECT read ok",
            "other admin 42601",
            "EMPTY ping ok",
            "DO admin ok",
            "DROP admin ok",
        ]],
    );
}

#[test]
fn startup_error() {
    assert_told(
        "startup_error",
        &[&["STARTUP handshake 3D000"], &["STARTUP handshake 28P01"]],
    );
}

#[test]
fn transactions() {
    assert_told(
        "transactions",
        &[&[
            "CREATE admin ok",
            "* Begin",
            "BEGIN transaction ok",
            "INSERT write ok",
            "* Commit",
            "COMMIT transaction ok",
            "* Begin",
            "BEGIN transaction ok",
            "SAVEPOINT transaction ok",
            "* Failed",
            "INSERT write 42P01",
            "SELECT read 25P02",
            "ROLLBACK TO transaction ok",
            "INSERT write ok",
            "RELEASE transaction ok",
            "* Commit",
            "COMMIT transaction ok",
            "* Begin",
            "BEGIN transaction ok",
            "* Failed",
            "SELECT read 22012",
            "* Rollback",
            "COMMIT transaction ok",
            "* Begin",
            "BEGIN transaction ok",
            "SELECT read ok",
            "* Rollback",
            "* Begin",
            "ROLLBACK transaction ok",
            "SELECT read ok",
            "* Commit",
            "* Begin",
            "COMMIT transaction ok",
            "SELECT read ok",
            "* Rollback",
            "ROLLBACK transaction ok",
            "* Begin",
            "* Commit",
            "BEGIN transaction ok",
            "* Begin",
            "BEGIN transaction ok",
            "INSERT write ok",
            "* Rollback",
            "COMMIT transaction 23505",
            "* Begin",
            "BEGIN transaction ok",
            "INSERT write ok",
            "* Commit",
            "PREPARE TRANSACTION transaction ok",
            "COMMIT PREPARED transaction ok",
            "DROP admin ok",
        ]],
    );
}
