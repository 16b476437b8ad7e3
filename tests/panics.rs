//! The text of a panic tells where it was, and nothing of the data that it was about.

// It ends a process by a panic, on purpose.
#![allow(clippy::panic)]

use std::process::Command;

const SECRET: &str = "canary-panic-Mb4wRt7x";
const PANICS: &str = "BROWNOUT_TEST_PANICS";

/// This test again in a process of its own, where it panics in that way.
fn stderr_of(how: &str) -> String {
    let this = std::env::current_exe().expect("this test");
    let output = Command::new(this)
        .args(["--exact", "panics_are_told_without_data", "--nocapture"])
        .env(PANICS, how)
        .env("RUST_BACKTRACE", "1")
        .output()
        .expect("it runs");
    assert!(!output.status.success(), "{how}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn panic(how: &str) {
    let secret = format!("é{SECRET}");
    match how {
        "formatted" => panic!("cannot read {secret}"),
        "slice" => assert!(secret[1..].is_empty()),
        "result" => drop(secret.parse::<u8>().map_err(|_| secret).expect("a number")),
        "string" => std::panic::panic_any(secret),
        _ => panic!("nothing secret in here"),
    }
}

#[test]
fn panics_are_told_without_data() {
    if let Ok(how) = std::env::var(PANICS) {
        brownout::cli::panics::install();
        return panic(&how);
    }
    for how in ["formatted", "slice", "result", "string"] {
        let text = stderr_of(how);
        assert!(!text.contains(SECRET), "{how}: {text}");
        assert!(text.contains("tests/panics.rs:"), "{how}: {text}");
        assert!(text.contains("is not shown"), "{how}: {text}");
        assert!(
            text.contains("stack backtrace") || text.contains("panics::panic"),
            "{text}"
        );
    }
    assert!(stderr_of("fixed").contains("nothing secret in here"));
}
