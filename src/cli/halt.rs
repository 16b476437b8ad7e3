//! `brownout halt`: everything off, at once.

use super::remote::{Output, Remote, block_on, write_json, write_text};
use hyper::Method;
use serde::Deserialize;

/// Switch all faults off at once, and keep them off.
///
/// What faults hold flows on within a tenth of a second, and nothing can be switched on again until `brownout halt --resume`.
/// That brings nothing back: what was switched off stays off. The signal SIGUSR1 does the same where the admin endpoint
/// cannot be reached.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout halt            stop everything now
  brownout halt --resume   allow faults again

Exit codes: 0; 2: wrong usage; 4: no brownout could be reached.")]
pub struct Args {
    /// Allow faults to be switched on again.
    #[arg(long)]
    pub resume: bool,
    /// The running brownout, and how results are written.
    #[command(flatten)]
    pub remote: Remote,
}

/// What the endpoint answers.
#[derive(Debug, Deserialize)]
struct Halted {
    #[serde(default)]
    ended: Vec<String>,
}

/// Halts, or resumes. Returns the exit code.
pub fn run(args: &Args) -> u8 {
    let path = if args.resume {
        "/v1/resume"
    } else {
        "/v1/halt"
    };
    block_on(async {
        let answer = args
            .remote
            .client()?
            .request(Method::POST, path, None)
            .await?;
        if args.remote.output == Output::Json {
            return write_json(&answer);
        }
        if args.resume {
            return write_text("resumed: faults can be switched on again\n");
        }
        let Halted { ended } = serde_json::from_value(answer)?;
        let ended = match ended.as_slice() {
            [] => "no fault was on".to_owned(),
            names => format!("switched off {}", names.join(", ")),
        };
        write_text(&format!(
            "halted: {ended}; nothing can be switched on until `brownout halt --resume`\n"
        ))
    })
}
