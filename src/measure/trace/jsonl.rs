//! A recording as a file: JSON lines, the first of them the [`Header`], the last one the number of the records between. Names
//! stand there as text, times as nanoseconds since the recording began. A file that was cut off (a crash, a full disk) can be
//! read up to its last whole line, and it is said that the end is missing.

use super::record::Rename;
use super::{Header, Name, Names, OLDEST, ProxyIndex, Record, Trace, VERSION};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::convert::Infallible;
use std::io::{self, BufRead, Write};

/// The longest line that is read, in bytes.
pub const MAX_LINE: u64 = 64 * 1024;

/// The latest time that makes sense, in nanoseconds: ten years.
const LATEST: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// What to do about a line that no recorder wrote.
const AS_WRITTEN: &str = "take the file as brownout wrote it";

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
enum Last {
    End {
        /// How many records stand before it.
        records: u64,
    },
}

/// A recording that was read.
#[derive(Debug)]
pub struct Reading {
    /// What there is of it.
    pub trace: Trace,
    /// What is not.
    pub damage: Option<Damage>,
}

/// Why a recording is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It has no last line.
    #[error(
        "the end is missing behind line {after}: the recording goes on, was cut off, or is of an older version that wrote no end; \
         what comes behind it is not known"
    )]
    NoEnd {
        /// The last whole line.
        after: usize,
    },
    /// The last line counts others.
    #[error(
        "its last line speaks of {said} records, and {found} are there: lines were lost or added"
    )]
    Count {
        /// In the last line.
        said: u64,
        /// In the file.
        found: u64,
    },
}

/// A record as it stands in a line.
type Line<'a> = Record<Cow<'a, str>, Cow<'a, str>>;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// A line is not one of a recording.
    #[error("line {line}: {message}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong, and what would be accepted.
        message: String,
    },
}

/// Writes the first line.
///
/// # Errors
/// What the system says.
pub fn write_header(to: &mut impl Write, header: &Header) -> io::Result<()> {
    serde_json::to_writer(&mut *to, header)?;
    to.write_all(b"\n")
}

/// Writes one record, whose names are of `names` and whose proxies are of `header`.
///
/// # Errors
/// What the system says.
pub fn write_record(
    to: &mut impl Write,
    header: &Header,
    names: &Names,
    record: &Record,
) -> io::Result<()> {
    let Ok(line) = record.rename(&mut Spelled { header, names });
    serde_json::to_writer(&mut *to, &line)?;
    to.write_all(b"\n")
}

/// Writes the last line, which says that it is whole: so many records stand before it.
///
/// # Errors
/// What the system says.
pub fn write_end(to: &mut impl Write, records: u64) -> io::Result<()> {
    serde_json::to_writer(&mut *to, &Last::End { records })?;
    to.write_all(b"\n")
}

/// Writes a whole recording.
///
/// # Errors
/// What the system says.
pub fn write(to: &mut impl Write, trace: &Trace) -> io::Result<()> {
    write_header(to, &trace.header)?;
    for record in &trace.records {
        write_record(to, &trace.header, &trace.names, record)?;
    }
    write_end(to, trace.records.len() as u64)
}

/// Reads a recording; its records come in the order of time. A last line without its end is left out.
///
/// # Errors
/// A line is not one of a recording, names a proxy that the first one does not, cannot be true, or cannot be read.
pub fn read(from: impl BufRead) -> Result<Reading, ReadError> {
    let mut lines = Lines {
        from,
        buffer: Vec::new(),
        number: 0,
    };
    let Some(first) = lines.next()? else {
        return Err(error(
            1,
            "there is no line; a recording begins with its header",
        ));
    };
    let mut trace = Trace::new(header(first)?);
    let mut said = None;
    let mut number = 1;
    while let Some(text) = lines.next()? {
        number += 1;
        if said.is_some() {
            let message = format!("the line before it is the end of the recording; {AS_WRITTEN}");
            return Err(error(number, &message));
        }
        match record(text, &mut trace) {
            Ok(record) => trace.records.push(record),
            Err(message) => match serde_json::from_slice(text) {
                Ok(Last::End { records }) => said = Some(records),
                Err(_) => return Err(error(number, &message)),
            },
        }
    }
    let damage = damage(said, &mut trace, number);
    trace.sort();
    Ok(Reading { trace, damage })
}

/// Whether it is whole. Where lines are missing, nobody knows of which proxy: each may have lost them.
fn damage(said: Option<u64>, trace: &mut Trace, after: usize) -> Option<Damage> {
    let found = trace.records.len() as u64;
    let Some(said) = said else {
        return Some(Damage::NoEnd { after });
    };
    if said == found {
        return None;
    }
    let at = trace.records.iter().map(Record::at).max().unwrap_or(0);
    let proxies = (0..trace.header.proxies.len()).filter_map(|n| u16::try_from(n).ok());
    let dropped = proxies.map(|proxy| Record::Dropped {
        at,
        proxy: ProxyIndex(proxy),
        count: said.abs_diff(found),
    });
    trace.records.extend(dropped);
    Some(Damage::Count { said, found })
}

fn error(line: usize, message: &str) -> ReadError {
    ReadError::Line {
        line,
        message: message.into(),
    }
}

fn header(text: &[u8]) -> Result<Header, ReadError> {
    let header: Header = serde_json::from_slice(text)
        .map_err(|e| error(1, &format!("not the header of a recording: {e}")))?;
    if !(OLDEST..=VERSION).contains(&header.version) {
        let message = format!(
            "a recording of version {}; this program reads versions {OLDEST} to {VERSION}",
            header.version
        );
        return Err(error(1, &message));
    }
    Ok(header)
}

fn record(text: &[u8], trace: &mut Trace) -> Result<Record, String> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    possible(&line)?;
    line.rename(&mut Numbered {
        header: &trace.header,
        names: &mut trace.names,
    })
}

/// Refuses times that no clock gave: what reckons with them would be wrong, or overflow.
fn possible(line: &Line<'_>) -> Result<(), String> {
    for (field, time) in line.times() {
        if time > LATEST {
            return Err(format!(
                "`{field}` is {time} ns, which is more than ten years; {AS_WRITTEN}"
            ));
        }
    }
    let (begin, from, end, to) = match line {
        Record::Attempt(a) => ("begun", a.begun, "ended", a.ended),
        Record::Call { sent, at, .. } => ("sent", *sent, "at", *at),
        _ => return Ok(()),
    };
    if to < from {
        return Err(format!(
            "`{end}` is {to}, before `{begin}`, which is {from}; {AS_WRITTEN}"
        ));
    }
    Ok(())
}

/// Numbers to text.
struct Spelled<'a> {
    header: &'a Header,
    names: &'a Names,
}

impl<'a> Rename<ProxyIndex, Name, Cow<'a, str>, Cow<'a, str>> for Spelled<'a> {
    type Error = Infallible;

    fn proxy(&mut self, proxy: ProxyIndex) -> Result<Cow<'a, str>, Infallible> {
        Ok(self.header.name(proxy).into())
    }

    fn name(&mut self, name: Name) -> Result<Cow<'a, str>, Infallible> {
        Ok(self.names.get(name).into())
    }
}

/// Text to numbers.
struct Numbered<'a> {
    header: &'a Header,
    names: &'a mut Names,
}

impl Rename<Cow<'_, str>, Cow<'_, str>, ProxyIndex, Name> for Numbered<'_> {
    type Error = String;

    fn proxy(&mut self, proxy: Cow<'_, str>) -> Result<ProxyIndex, String> {
        let known = self.header.proxy(&proxy);
        known.ok_or_else(|| format!("the header names no proxy `{proxy}`"))
    }

    fn name(&mut self, name: Cow<'_, str>) -> Result<Name, String> {
        Ok(self.names.intern(&name))
    }
}

/// Whole lines, none of them longer than [`MAX_LINE`].
struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<&[u8]>, ReadError> {
        self.buffer.clear();
        self.number += 1;
        let mut limited = io::Read::take(&mut self.from, MAX_LINE);
        limited.read_until(b'\n', &mut self.buffer)?;
        match self.buffer.split_last() {
            Some((b'\n', line)) => Ok(Some(line)),
            _ if self.buffer.len() as u64 == MAX_LINE => {
                let message = format!("longer than {MAX_LINE} bytes; no line of a recording is");
                Err(error(self.number, &message))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
