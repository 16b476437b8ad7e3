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

#[test]
fn dump() {
    for name in NAMES {
        for (i, tape) in load(name).iter().enumerate() {
            println!("== {name} {i}");
            for line in tape.story() {
                println!("{line}");
            }
        }
    }
}
