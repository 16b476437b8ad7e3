//! The options of `brownout demo`.

use super::table::Report;
use crate::folder::Folder;
use std::io;
use std::path::{Path, PathBuf};

/// Show what brownout does, on traffic of its own.
///
/// Starts a Redis, a Postgres and an HTTP service that uses both, each behind a proxy; drives load through them; switches the
/// profile `redis-slow` on and off over the admin endpoint; and prints how the targets were kept before, during and after.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Take about 3 seconds instead of 40
    #[arg(long)]
    pub quick: bool,
    /// Use this Redis instead of the embedded one; keys beginning with `brownout:demo:` are written, and expire
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Use this Postgres instead of the embedded one; the table `brownout_demo_modules` is made there
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Folder for the result: demo.json, and without --quick the page report.html
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// The name of the file in the directory of `--report`.
const FILE: &str = "demo.json";

impl Options {
    /// Writes the report, if it was asked for; where it is then. The directory is made if it is not there.
    ///
    /// # Errors
    /// When the directory or the file cannot be written.
    pub fn write(&self, report: &Report) -> io::Result<Option<PathBuf>> {
        let Some(directory) = &self.report else {
            return Ok(None);
        };
        write_to(directory, report).map(Some)
    }
}

fn write_to(directory: &Path, report: &Report) -> io::Result<PathBuf> {
    let folder = Folder::open(directory)?;
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    folder.write(FILE, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_report_is_written_where_it_was_asked_for() {
        let directory =
            std::env::temp_dir().join(format!("brownout-demo-report-{}", std::process::id()));
        let nested = directory.join("new");
        let arguments = ["demo", "--quick", "--report", nested.to_str().unwrap()];
        let options = Command::parse_from(arguments).options;
        assert!(options.quick && options.redis.is_none());
        let report = Report::new(true, "redis-slow", Vec::new());
        let path = options.write(&report).unwrap().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["profile"], "redis-slow");
        std::fs::remove_dir_all(directory).unwrap();
        assert_eq!(Options::default().write(&report).unwrap(), None);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let options = Options {
            report: Some("/dev/null/x".into()),
            ..Options::default()
        };
        assert!(options.write(&Report::new(true, "x", Vec::new())).is_err());
    }
}
