//! The `brownout` command.

use brownout::cli::{self, Cli};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(Cli::parse())
}
