//! `brownout schema`: the JSON Schema of the files, for editors.

use crate::config::schema;
use std::io::{self, Write};

/// Print the JSON Schema of a kind of file.
///
/// Editors that know JSON Schema then complete and check the file while it is written: save the schema, and name it in the
/// first line of the TOML file as `#:schema ./brownout.schema.json`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Examples:
  brownout schema config > brownout.schema.json
  brownout schema profile > profile.schema.json
  brownout schema openapi > openapi.json
  brownout schema report > report.schema.json")]
pub struct Args {
    /// Which kind of file.
    #[arg(value_enum)]
    pub of: Of,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Of {
    /// brownout.toml: proxies and the admin endpoint.
    Config,
    /// A profile: faults.
    Profile,
    /// The admin endpoint's API, as an OpenAPI document.
    Openapi,
    /// The report.json of `brownout test --report`.
    Report,
}

/// Writes the schema to `out`. The exit code is always 0.
///
/// # Errors
/// That `out` cannot be written to.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<u8> {
    let schema = match args.of {
        Of::Config => schema::config(),
        Of::Profile => schema::profile(),
        Of::Report => schemars::schema_for!(crate::report::Suite),
        Of::Openapi => crate::admin::openapi()
            .try_into()
            .map_err(io::Error::other)?,
    };
    serde_json::to_writer_pretty(&mut *out, &schema)?;
    writeln!(out)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_reports_is_that_of_the_repository() {
        let mut out = Vec::new();
        assert_eq!(run(&Args { of: Of::Report }, &mut out).unwrap(), 0);
        let kept = include_str!("../../report.schema.json");
        let told = "make it anew: brownout schema report > report.schema.json";
        assert_eq!(String::from_utf8(out).unwrap(), kept, "{told}");
    }

    #[test]
    fn prints_json() {
        for (of, title) in [(Of::Config, "brownout.toml"), (Of::Profile, "profile")] {
            let mut out = Vec::new();
            assert_eq!(run(&Args { of }, &mut out).unwrap(), 0);
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(json["title"], title);
            assert_eq!(
                json["$schema"],
                "https://json-schema.org/draft/2020-12/schema"
            );
        }
    }
}
