//! Whether an audit log is as it was written.

use super::{NOTHING, hash};
use serde::Deserialize;
use std::io::{self, BufRead, Read as _};

/// The longest line that is read.
const LONGEST: u64 = 1 << 20;

/// A log that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many records it has.
    pub records: u64,
    /// The hash of the last: to be noted where whoever can write the file cannot.
    pub head: String,
    /// Whether a line without an end follows, which a crash leaves.
    pub torn: bool,
}

/// Where a log is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is not as it was.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What of a line the chain needs.
#[derive(Debug, Deserialize)]
struct Fields {
    seq: u64,
    previous: String,
}

/// A line that is whole in itself.
pub(super) struct Read {
    pub(super) seq: u64,
    previous: String,
    pub(super) hash: String,
}

impl Read {
    /// Reads a line, without its line break. `None`: it is no line of such a log, or its hash is not its own.
    pub(super) fn of(line: &str) -> Option<Self> {
        let (text, rest) = line.rsplit_once(",\"hash\":\"")?;
        let given = rest.strip_suffix("\"}")?;
        if hash(text.as_bytes()) != given {
            return None;
        }
        let Fields { seq, previous } = serde_json::from_str(&format!("{text}}}")).ok()?;
        Some(Self {
            seq,
            previous,
            hash: given.to_owned(),
        })
    }
}

/// Follows the chain from the first line to the last.
///
/// # Errors
/// The first line that is not as it was written.
pub fn verify(mut log: impl BufRead) -> Result<Verified, Broken> {
    let (mut records, mut head) = (0, NOTHING.to_owned());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = log.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            let torn = read > 0;
            return Ok(Verified {
                records,
                head,
                torn,
            });
        }
        line.pop();
        let broken = |what| Broken::Line {
            line: records + 1,
            what,
        };
        let text = std::str::from_utf8(&line).map_err(|_| broken("it is no text"))?;
        let this =
            Read::of(text).ok_or_else(|| broken("it was changed, or is none of an audit log"))?;
        if this.previous != head || this.seq != records + 1 {
            return Err(broken("the line before it is not the one that was there"));
        }
        records += 1;
        head = this.hash;
    }
}
