//! A recording as a file: JSON lines, the first of them the [`Header`]. Names stand there as text, times as nanoseconds since
//! the recording began. A file that was cut off (a crash, a full disk) can be read up to its last whole line.

use super::record::Rename;
use super::{Header, Name, Names, ProxyIndex, Record, Trace, VERSION};
use std::borrow::Cow;
use std::convert::Infallible;
use std::io::{self, BufRead, Write};

/// The longest line that is read, in bytes.
pub const MAX_LINE: u64 = 64 * 1024;

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

/// Writes a whole recording.
///
/// # Errors
/// What the system says.
pub fn write(to: &mut impl Write, trace: &Trace) -> io::Result<()> {
    write_header(to, &trace.header)?;
    for record in &trace.records {
        write_record(to, &trace.header, &trace.names, record)?;
    }
    Ok(())
}

/// Reads a recording; its records come in the order of time. A last line without its end is left out.
///
/// # Errors
/// A line is not one of a recording of this version, names a proxy that the first one does not, or cannot be read.
pub fn read(from: impl BufRead) -> Result<Trace, ReadError> {
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
    while let Some(text) = lines.next()? {
        let record = record(text, &mut trace);
        let record = record.map_err(|message| error(lines.number, &message))?;
        trace.records.push(record);
    }
    trace.sort();
    Ok(trace)
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
    if header.version != VERSION {
        let message = format!(
            "a recording of version {}; this program reads version {VERSION}",
            header.version
        );
        return Err(error(1, &message));
    }
    Ok(header)
}

fn record(text: &[u8], trace: &mut Trace) -> Result<Record, String> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    line.rename(&mut Numbered {
        header: &trace.header,
        names: &mut trace.names,
    })
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
