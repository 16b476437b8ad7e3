//! `.hlog` files: one compressed HdrHistogram per proxy, operation and second, as the tools of HdrHistogram read them.
//!
//! The format is version 1.3 of Java's `HistogramLogWriter`. Values are microseconds as the client saw them; the tag is
//! `proxy:operation`, and `proxy:operation:class` where an operation shows another class than its usual one.

use super::collector::Proxy;
use super::operations::Key;
use super::window::Slice;
use super::{Collector, Meta};
use crate::folder::Folder;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const VERSION: &str = "[Histogram log format version 1.3]";
const LEGEND: &str =
    "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

/// Runs of the same second that find a name of their own.
const MAX_SAME_SECOND: u32 = 100;

/// Why an `.hlog` file cannot be begun.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct HlogError {
    /// The file, or the directory if no name in it was free.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Where lines go: a file, whose torn end can be cut off.
trait Sink: Write + Send {
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Writes what a [`Collector`] measured, slice by slice, to one file per run. Not for the data path: it blocks on the disk.
pub struct HlogWriter {
    path: PathBuf,
    sink: Box<dyn Sink>,
    serializer: V2DeflateSerializer,
    /// Bytes written in whole slices.
    len: u64,
    /// Whether the file ends in a slice that was not written to its end.
    torn: bool,
    /// The first slice that is not written.
    next: u64,
    lost: u64,
}

impl std::fmt::Debug for HlogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HlogWriter")
            .field("path", &self.path)
            .field("len", &self.len)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl HlogWriter {
    /// Begins `brownout-<UTC time>.hlog` in a directory, which is made if it is not there. `started` is the wall-clock time at
    /// which the collector was made: its ticks count from there.
    ///
    /// # Errors
    /// When the directory or the file cannot be made or the header not be written.
    pub fn create(dir: &Path, started: SystemTime) -> Result<Self, HlogError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| HlogError { path, source }
        };
        let folder = Folder::open(dir).map_err(at(dir))?;
        let stamp = humantime::format_rfc3339_seconds(started).to_string();
        let stamp = stamp.replace(['-', ':'], "");
        for run in 1..=MAX_SAME_SECOND {
            let suffix = if run == 1 {
                String::new()
            } else {
                format!("-{run}")
            };
            let name = format!("brownout-{stamp}{suffix}.hlog");
            let path = folder.at(&name);
            match folder.create(&name) {
                Ok(file) => {
                    return Self::begin(Box::new(file), path.clone(), started).map_err(at(&path));
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(at(&path)(e)),
            }
        }
        Err(at(dir)(io::ErrorKind::AlreadyExists.into()))
    }

    fn begin(mut sink: Box<dyn Sink>, path: PathBuf, started: SystemTime) -> io::Result<Self> {
        let mut serializer = V2DeflateSerializer::new();
        let mut header = Vec::new();
        IntervalLogWriterBuilder::new()
            .add_comment(VERSION)
            .add_comment(concat!(
                "[Logged by brownout ",
                env!("CARGO_PKG_VERSION"),
                ", values in microseconds]"
            ))
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(&mut header, &mut serializer)?;
        header.extend_from_slice(LEGEND.as_bytes());
        sink.write_all(&header)?;
        Ok(Self {
            path,
            sink,
            serializer,
            len: header.len() as u64,
            torn: false,
            next: 0,
            lost: 0,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Slices that could not be written, or were older than ten seconds at the call that should have.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes the slices that were closed since the last call. A slice that cannot be written (disk full) is lost and counted;
    /// the first one is said in the log. The file always ends in a whole line once writing works again.
    pub fn write(&mut self, collector: &Collector) {
        for slice in collector.slices().fine() {
            if slice.sequence < self.next {
                continue;
            }
            let skipped = slice.sequence - self.next;
            self.next = slice.sequence + 1;
            self.lost += skipped;
            if let Err(error) = self.slice(collector, slice) {
                if self.lost == skipped {
                    tracing::warn!(path = %self.path.display(), %error, "cannot write latencies; what does not fit is lost");
                }
                self.lost += 1;
            }
        }
    }

    fn slice(&mut self, collector: &Collector, slice: &Slice) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut log =
            IntervalLogWriterBuilder::new().begin_log_with(&mut lines, &mut self.serializer)?;
        let mut failed = None;
        for (id, Proxy { meta, .. }) in collector.known() {
            slice.clients(id, |key, buckets| {
                if buckets.is_empty() || failed.is_some() {
                    return;
                }
                let histogram = buckets.to_hdr();
                let tag = tag(meta, key);
                let written =
                    log.write_histogram(&histogram, slice.start, slice.elapsed, Tag::new(&tag));
                failed = written.err();
            });
        }
        if let Some(error) = failed {
            return Err(io::Error::other(error.to_string()));
        }
        self.append(&lines)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.sink.cut(self.len)?;
            self.torn = false;
        }
        let written = self.sink.write_all(lines);
        match written {
            Ok(()) => self.len += lines.len() as u64,
            Err(_) => self.torn = self.sink.cut(self.len).is_err(),
        }
        written
    }
}

/// The tag of an operation; what the format does not allow in a tag becomes `_`.
fn tag(meta: &Meta, key: Key) -> String {
    let name = meta.catalog.operation_name(key.operation);
    let mut tag = format!("{}:{name}", meta.name);
    if key.class != meta.catalog.operation_class(key.operation) {
        tag.push(':');
        tag.push_str(key.class.name());
    }
    tag.replace(
        |c: char| c == ',' || c.is_whitespace() || c.is_control(),
        "_",
    )
}

#[cfg(test)]
mod tests;
