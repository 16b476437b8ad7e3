//! What the commands share that speak with a running `brownout`.

use super::{COULD_NOT_RUN, USAGE, say, written};
use crate::admin::client::{AdminClient, ClientError};
use hyper::StatusCode;
use serde::Serialize;
use std::future::Future;
use std::io::{self, Write};
use std::path::PathBuf;
use tokio::runtime::Builder;

/// What to do where the endpoint asks for a token.
const TOKEN: &str = "the admin endpoint asks for a token: name a file with one that it knows, by --token-file FILE or \
                     BROWNOUT_TOKEN_FILE";

/// Where the running `brownout` is.
#[derive(Debug, Clone, clap::Args)]
pub struct Remote {
    /// The admin endpoint of the running brownout: HOST:PORT, `http://HOST:PORT` or `unix:/path`.
    #[arg(
        long,
        value_name = "URL",
        env = "BROWNOUT_ADMIN",
        hide_env_values = true,
        global = true,
        default_value = "127.0.0.1:8474"
    )]
    pub admin: String,
    /// File with the token of that endpoint, where it asks for one: lines ROLE:TOKEN, of which the first is used, or the bare token.
    #[arg(
        long,
        value_name = "FILE",
        env = "BROWNOUT_TOKEN_FILE",
        hide_env_values = true,
        global = true
    )]
    pub token_file: Option<PathBuf>,
    /// How results are written to stdout.
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT", global = true)]
    pub output: Output,
}

impl Remote {
    /// A client of it. Made when it is used, not when flags are read: a variable that is wrong must not matter to those who
    /// give the flag.
    pub(super) fn client(&self) -> Result<AdminClient, RemoteError> {
        let client =
            AdminClient::new(&self.admin).map_err(|error| RemoteError::Usage(error.to_string()))?;
        let Some(path) = &self.token_file else {
            return Ok(client);
        };
        let fail = |what: &str| RemoteError::Usage(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| fail(&e.to_string()))?;
        let token = token(&text).ok_or_else(|| fail("there is no token in it"))?;
        client.with_token(token).map_err(|e| fail(&e.to_string()))
    }
}

/// The first token of a file.
fn token(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|l| !l.is_empty() && !l.starts_with('#'))?;
    let role = |r: &&str| matches!(*r, "read" | "operate" | "admin");
    Some(match line.split_once(':') {
        Some((before, token)) if role(&before) => token.trim(),
        _ => line,
    })
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people: lines and tables.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The admin endpoint gave none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What was asked for is not there, or cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// It cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl From<serde_json::Error> for RemoteError {
    fn from(error: serde_json::Error) -> Self {
        Self::Client(error.into())
    }
}

/// Runs a command to its exit code; what goes wrong is said on stderr.
pub(super) fn block_on(command: impl Future<Output = Result<u8, RemoteError>>) -> u8 {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return COULD_NOT_RUN;
        }
    };
    let (text, code) = match runtime.block_on(command) {
        Ok(code) => return code,
        Err(RemoteError::Write(error)) => return written(Err(error)),
        Err(RemoteError::Client(ClientError::Refused {
            status: StatusCode::UNAUTHORIZED,
            message,
        })) => (format!("{message}; {TOKEN}"), USAGE),
        // What it refused, in its own words: they name the field and what would be accepted.
        Err(RemoteError::Client(ClientError::Refused { status, message })) => {
            (message, code_of(status))
        }
        Err(error @ RemoteError::Usage(_)) => (error.to_string(), USAGE),
        Err(error @ RemoteError::Client(_)) => (error.to_string(), COULD_NOT_RUN),
    };
    say(&text);
    code
}

/// A request that is wrong in itself is wrong usage; one that does not fit what is going on could not be run.
fn code_of(status: StatusCode) -> u8 {
    match status {
        StatusCode::CONFLICT => COULD_NOT_RUN,
        status if status.is_client_error() => USAGE,
        _ => COULD_NOT_RUN,
    }
}

/// Writes one JSON document to stdout.
pub(super) fn write_json(document: &impl Serialize) -> Result<u8, RemoteError> {
    let text = serde_json::to_string_pretty(document)?;
    write_text(&format!("{text}\n"))
}

/// Writes to stdout.
pub(super) fn write_text(text: &str) -> Result<u8, RemoteError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_of_a_file_is_taken() {
        assert_eq!(token("# ours\n\noperate: abc\nadmin:def\n"), Some("abc"));
        assert_eq!(token("a:b:c\n"), Some("a:b:c"));
        assert_eq!(token("#\n"), None);
    }

    #[test]
    fn a_wrong_request_is_usage_and_a_refused_one_could_not_be_run() {
        for (status, code) in [(400, 2), (403, 2), (404, 2), (422, 2), (409, 4), (500, 4)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(code_of(status), code, "{status}");
        }
    }
}
