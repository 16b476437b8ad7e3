//! The audit log: what was asked of the admin endpoint and of the process, in lines of JSON that are chained by hashes.
//!
//! A line ends in `"hash"`, the SHA-256 of everything before it in the line, which has in `"previous"` the hash of the line
//! before. Whoever changes, removes or inserts a line breaks the chain behind it; [`verify`] finds where. What is cut off at the
//! end is found by comparing the last hash with one that was noted elsewhere.

mod verify;

pub use verify::{Broken, Verified, verify};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The hash before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The longest line that is looked for at the end of a file, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// The longest text of one field.
const LONGEST_TEXT: usize = 400;

/// What is recorded.
#[derive(Debug, Default, Serialize)]
pub struct Entry {
    /// Role and token, or `signal`, `file`, `start`.
    pub who: String,
    /// The peer's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Method and path, or the signal.
    pub what: String,
    /// `asked` (before something is switched on), `done`, `refused`, `failed`.
    pub outcome: &'static str,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What changed, as it was; null where it was not.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub old: Value,
    /// What changed, as it is; null where it is no more.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub new: Value,
    /// The longest time to live of what was switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Records that were left out before this one, since there were too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
}

/// A line without its hash.
#[derive(Serialize)]
struct Line<'e> {
    seq: u64,
    time: String,
    #[serde(flatten)]
    entry: &'e Entry,
    previous: &'e str,
}

/// The file, and where its chain is.
struct Chain {
    file: File,
    path: PathBuf,
    seq: u64,
    hash: String,
    /// Bytes of whole lines, of a regular file: what a torn write left behind them is cut off.
    whole: Option<u64>,
    failing: bool,
}

/// Where records go. Without a file they go nowhere.
#[derive(Default)]
pub struct Audit(Option<Mutex<Chain>>);

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Audit").field(&self.is_on()).finish()
    }
}

impl Audit {
    /// Opens a file to append to, made with mode 0600 if it is not there, and goes on with the chain in it.
    ///
    /// # Errors
    /// It cannot be opened or read, or does not end in a line of such a chain.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() || kind.is_socket() {
            return Err(io::Error::other(
                "it is no file: whoever reads it could stop us",
            ));
        }
        let (mut seq, mut hash, mut whole) = (0, NOTHING.to_owned(), None);
        if kind.is_file() {
            let end = last_line(&mut file)?;
            if let Some((last_seq, last_hash)) = end.last {
                (seq, hash) = (last_seq, last_hash);
            }
            whole = Some(end.whole);
        }
        let chain = Chain {
            file,
            path: path.to_owned(),
            seq,
            hash,
            whole,
            failing: false,
        };
        Ok(Self(Some(Mutex::new(chain))))
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Appends a record.
    ///
    /// # Errors
    /// It cannot be written: the disk is full. What is to be switched on must not be then.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        let Some(chain) = &self.0 else { return Ok(()) };
        let mut chain = lock(chain);
        let written = chain.append(entry);
        match &written {
            Err(error) if !chain.failing => {
                tracing::error!(path = %chain.path.display(), %error, "the audit log cannot be written; nothing is switched on until it can");
            }
            Ok(()) if chain.failing => tracing::info!("the audit log can be written again"),
            _ => {}
        }
        chain.failing = written.is_err();
        written
    }
}

impl Chain {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let now = humantime::format_rfc3339_micros(SystemTime::now());
        let line = Line {
            seq: self.seq + 1,
            time: now.to_string(),
            entry,
            previous: &self.hash,
        };
        let mut text = serde_json::to_string(&line)?;
        // The closing brace is not hashed: it stands behind the hash.
        text.pop();
        let hash = hash(text.as_bytes());
        text.push_str(&format!(",\"hash\":\"{hash}\"}}\n"));
        if let Some(whole) = self.whole {
            // What an earlier write that failed, or a crash, left of a line.
            if self.file.metadata()?.len() > whole {
                self.file.set_len(whole)?;
            }
        }
        self.file.write_all(text.as_bytes())?;
        if let Some(whole) = &mut self.whole {
            *whole += text.len() as u64;
        }
        self.seq += 1;
        self.hash = hash;
        Ok(())
    }
}

/// Cuts a text that somebody else wrote to a length that a line can bear.
pub fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_TEXT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    digits.map(char::from).collect()
}

fn lock(chain: &Mutex<Chain>) -> MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a file.
struct End {
    /// Number and hash of the last whole line.
    last: Option<(u64, String)>,
    /// Bytes up to its end.
    whole: u64,
}

fn last_line(file: &mut File) -> io::Result<End> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(LONGEST_LINE).read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|b| *b == b'\n') else {
        // Nothing, or one torn line.
        return match from {
            0 => Ok(End {
                last: None,
                whole: 0,
            }),
            _ => Err(io::Error::other("it ends in a line that is too long")),
        };
    };
    let begin = tail[..end].iter().rposition(|b| *b == b'\n');
    let line = &tail[begin.map_or(0, |b| b + 1)..end];
    let foreign = || io::Error::other("it ends in a line that is none of an audit log");
    let line = std::str::from_utf8(line).map_err(|_| foreign())?;
    let line = verify::Read::of(line).ok_or_else(foreign)?;
    Ok(End {
        last: Some((line.seq, line.hash)),
        whole: from + end as u64 + 1,
    })
}

#[cfg(test)]
mod tests;
