//! The corpora of the fuzz targets, run again.

use std::path::Path;

/// Runs a target on everything in its corpus.
fn replay(name: &str, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{name}: only {}", inputs.len());
    for path in inputs {
        let input = std::fs::read(&path).unwrap();
        // Printed by the test runner where the target panics.
        println!("{}", path.display());
        target(&input);
    }
}

#[test]
fn redis() {
    replay("redis", super::redis);
}

#[test]
fn postgres() {
    replay("postgres", super::postgres);
}

#[test]
fn http1() {
    replay("http1", super::http1);
}

#[test]
fn config() {
    replay("config", super::config::config);
}

#[test]
fn admin() {
    replay("admin", super::admin::admin);
}

#[test]
fn sql() {
    replay("sql", super::sql::sql);
}

#[test]
fn injector() {
    replay("injector", super::injector::injector);
}

/// A small share of what the fuzzer does, with nothing to guide it but the corpora.
mod mutations {
    use super::super::{decoder, injector};
    use proptest::prelude::*;
    use std::path::Path;

    /// An input of the corpus, a few bytes of it changed, and cut short.
    fn changed(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let inputs: Vec<Vec<u8>> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .filter(|input| !input.is_empty())
            .collect();
        let change = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
        let changes = prop::collection::vec(change, 0..6);
        (
            prop::sample::select(inputs),
            changes,
            any::<prop::sample::Index>(),
        )
            .prop_map(|(mut input, changes, end)| {
                for (place, byte, how) in changes {
                    let at = place.index(input.len());
                    match how {
                        0 => input[at] = byte,
                        1 => input.insert(at, byte),
                        _ => input[at] ^= 1 << (byte % 8),
                    }
                }
                input.truncate((end.index(input.len()) + 1).max(input.len() / 2));
                input
            })
    }

    proptest! {
        #[test]
        fn decoders_keep_their_word(redis in changed("redis"), postgres in changed("postgres"), http1 in changed("http1")) {
            decoder::redis(&redis);
            decoder::postgres(&postgres);
            decoder::http1(&http1);
        }

        #[test]
        fn injectors_keep_their_word(input in changed("injector")) {
            injector::injector(&input);
        }
    }
}
