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
fn injector() {
    replay("injector", super::injector::injector);
}
