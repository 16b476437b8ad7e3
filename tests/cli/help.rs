//! What commands say of themselves.

use crate::LIMIT;
use crate::support::run_to_end;
use std::process::Command;

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let exit = run_to_end(&["completions", shell], LIMIT);
        assert_eq!(exit.code, Some(0));
        for command in [
            "run",
            "test",
            "exec",
            "demo",
            "stats",
            "top",
            "profile",
            "fault",
            "halt",
            "ledger",
            "insight",
            "report",
            "check",
            "schema",
            "redis-slow",
            "incidents/failover",
        ] {
            assert!(exit.stdout.contains(command), "{shell}: {command}");
        }
    }
}

/// Every command's help, as it is read.
#[test]
fn help() {
    let commands: &[&[&str]] = &[
        &[],
        &["run"],
        &["test"],
        &["exec"],
        &["demo"],
        &["stats"],
        &["top"],
        &["profile"],
        &["profile", "list"],
        &["profile", "show"],
        &["profile", "enable"],
        &["profile", "disable"],
        &["profile", "explain"],
        &["fault"],
        &["fault", "list"],
        &["fault", "add"],
        &["fault", "remove"],
        &["halt"],
        &["ledger"],
        &["check"],
        &["insight"],
        &["report"],
        &["report", "compare"],
        &["schema"],
        &["completions"],
    ];
    for command in commands {
        let mut process = Command::new(env!("CARGO_BIN_EXE_brownout"));
        // As on a terminal of 100 columns, whatever this one has.
        process.args(*command).arg("--help").env("COLUMNS", "100");
        process
            .env_remove("BROWNOUT_ADMIN")
            .env_remove("BROWNOUT_LOG");
        let output = process.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let name = format!("help-{}", command.join("-"));
        insta::assert_snapshot!(name.trim_end_matches('-'), text);
    }
}
