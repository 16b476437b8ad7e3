//! Sessions of real clients with a real server, recorded by `tests/fixtures/redis/capture.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Session, Way, decode, decode_whole, summary};
use crate::protocol::Event;
use crate::protocol::redis::operation_name;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/redis")
}

/// All captures: scenario, name of the session, session.
fn captures() -> Vec<(String, String, Session)> {
    let mut captures = Vec::new();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "capture")
        {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let scenario = name.split('.').next().unwrap().to_owned();
            captures.push((scenario, name, parse(&std::fs::read(&path).unwrap())));
        }
    }
    captures.sort_by(|a, b| a.1.cmp(&b.1));
    assert!(captures.len() >= 20);
    captures
}

fn parse(mut bytes: &[u8]) -> Session {
    let mut session = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<5>() {
        let way = match header[0] {
            b'>' => Way::Request,
            b'<' => Way::Reply,
            other => panic!("direction {other}"),
        };
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
        let (piece, rest) = rest.split_at(length as usize);
        session.push((way, piece.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    session
}

#[test]
fn every_exchange_of_a_capture_is_told() {
    let path = directory().join("exchanges");
    insta::with_settings!({snapshot_path => path, prepend_module_to_snapshot => false}, {
        for (_, name, session) in captures() {
            let lines = summary(&decode_whole(&session));
            insta::assert_snapshot!(name.as_str(), lines.join("\n"));
        }
    });
}

#[test]
fn any_cut_of_a_capture_tells_the_same() {
    for (_, name, session) in captures() {
        let whole = decode_whole(&session);
        for length in 2..40 {
            assert_eq!(
                whole,
                decode(&session, |_| length),
                "{name} in pieces of {length}"
            );
        }
    }
}

#[test]
fn the_server_counted_the_same() {
    let mut seen: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (scenario, _, session) in captures() {
        let counts = seen.entry(scenario).or_default();
        for (_, _, _, event) in decode_whole(&session) {
            if let Event::RequestKnown { operation, .. } = event {
                let name = operation_name(operation).to_lowercase();
                *counts.entry(name).or_default() += 1;
            }
        }
    }
    // What was queued and then dropped, the server never called.
    seen.remove("transaction");
    for (scenario, mut counts) in seen {
        // What this server does not know it does not count: newer subcommands, none at all, nothing at all.
        let unknown = [
            "other",
            "empty",
            "config",
            "client|setinfo",
            "client|maint_notifications",
        ];
        for name in unknown {
            counts.remove(name);
        }
        let stats = std::fs::read_to_string(directory().join(format!("{scenario}.stats"))).unwrap();
        let called: BTreeMap<String, u64> = stats
            .lines()
            .map(|line| {
                let fields: Vec<_> = line.split(' ').collect();
                let number = |at: usize| fields[at].parse::<u64>().unwrap();
                (fields[0].to_owned(), number(1) + number(2))
            })
            .collect();
        assert_eq!(counts, called, "{scenario}");
    }
}

#[test]
fn every_message_was_published() {
    for scenario in ["pubsub-resp2", "pubsub-resp3"] {
        let (mut published, mut delivered) = (Vec::new(), Vec::new());
        for (_, _, session) in captures()
            .into_iter()
            .filter(|capture| capture.0 == scenario)
        {
            for (_, _, _, event) in decode_whole(&session) {
                match event {
                    Event::Published(hash) => published.push(hash),
                    Event::Delivered(hash) => delivered.push(hash),
                    _ => {}
                }
            }
        }
        // The second one matched a channel and a pattern.
        assert_eq!((published.len(), delivered.len()), (4, 5), "{scenario}");
        published.insert(2, published[1]);
        assert_eq!(published, delivered, "{scenario}");
    }
}
