//! The options of `brownout demo`.

use crate::folder::Folder;
use crate::report::again;
use std::io;
use std::path::PathBuf;

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
    /// Folder for the result: the table as demo.json; without --quick also the two services as report.json and report.html
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

impl Options {
    /// The folder of `--report`, if it was asked for. It is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or nothing can be written into it.
    pub(crate) fn folder(&self) -> io::Result<Option<Folder>> {
        let Some(path) = &self.report else {
            return Ok(None);
        };
        let folder = Folder::open(path)?;
        folder.check()?;
        Ok(Some(folder))
    }

    /// Where what it shows is written.
    pub(crate) fn place(&self) -> PathBuf {
        self.report.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The command that runs it again.
    pub(crate) fn again(&self) -> String {
        let mut words = vec!["brownout".to_owned(), "demo".to_owned()];
        let report = self.report.as_ref().map(|path| path.display().to_string());
        let options = [
            ("--redis", self.redis.clone()),
            ("--postgres", self.postgres.clone()),
            ("--report", report),
        ];
        for (name, value) in options {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        }
        if self.quick {
            words.push("--quick".to_owned());
        }
        again::command(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::table::Report;
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
        let folder = options.folder().unwrap().expect("it was asked for");
        let report = Report::new(true, "redis-slow", Vec::new());
        let path = report.write(&folder).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["profile"], "redis-slow");
        std::fs::remove_dir_all(directory).unwrap();
        assert!(Options::default().folder().unwrap().is_none());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let options = Options {
            report: Some("/dev/null/x".into()),
            ..Options::default()
        };
        assert!(options.folder().is_err());
    }

    #[test]
    fn it_is_run_again_as_it_was_run_without_what_is_secret() {
        assert_eq!(Options::default().again(), "brownout demo");
        let options = Options {
            redis: Some("redis://:secret@h:1".into()),
            postgres: Some("postgres://me@h/d".into()),
            report: Some("my reports".into()),
            ..Options::default()
        };
        assert_eq!(
            options.again(),
            "brownout demo --redis 'redis://:***@h:1' --postgres postgres://me@h/d --report 'my reports'"
        );
    }
}
