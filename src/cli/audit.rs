//! `brownout audit`: whether an audit log is as it was written.

use super::remote::Output;
use super::{CHECK_FAILED, USAGE};
use crate::audit::{Broken, verify};
use clap::Subcommand;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

/// Look after audit logs.
///
/// `[admin] audit` in brownout.toml names a file to which every change and refusal is appended. Its lines are chained: each
/// carries the hash of the one before.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout audit verify audit.jsonl
  brownout audit verify --output json audit.jsonl

A log that was cut off at its end is whole as far as it goes: compare the number of
records and the last hash with what was noted before.

Exit codes: 0: whole; 1: something was changed; 2: the file cannot be read.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    Verify(Verify),
}

/// Say whether a log is as it was written, and where it is not.
#[derive(Debug, Clone, clap::Args)]
struct Verify {
    /// The log.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the result is written to stdout.
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    output: Output,
}

/// Does what is asked. Returns the exit code.
///
/// # Errors
/// That `out` or `err` cannot be written to.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let Command::Verify(Verify { file, output }) = &args.command;
    let name = file.display();
    let found = File::open(file)
        .map_err(Broken::from)
        .and_then(|file| verify(BufReader::new(file)));
    let verified = match found {
        Ok(verified) => verified,
        Err(Broken::Io(error)) => {
            writeln!(err, "{name}: {error}")?;
            return Ok(USAGE);
        }
        Err(broken) => {
            if *output == Output::Json {
                writeln!(
                    out,
                    "{}",
                    serde_json::json!({ "whole": false, "problem": broken.to_string() })
                )?;
            }
            writeln!(err, "{name}: {broken}")?;
            return Ok(CHECK_FAILED);
        }
    };
    if *output == Output::Json {
        let shown = serde_json::json!({
            "whole": true, "records": verified.records, "last_hash": verified.head, "torn": verified.torn,
        });
        writeln!(out, "{shown}")?;
        return Ok(0);
    }
    writeln!(
        out,
        "whole: {} records, last hash {}",
        verified.records, verified.head
    )?;
    if verified.torn {
        writeln!(
            err,
            "{name}: a line without an end follows, as a crash leaves it"
        )?;
    }
    Ok(0)
}
