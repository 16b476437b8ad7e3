//! The reader's side of a recording: collects what the workers wrote, gives it its names, and keeps it or writes it to a file.

use super::recent::{Excerpt, Recent};
use super::record::Rename;
use super::roll::{Label, Raw, Roll};
use super::{Header, Name, Names, Outcome, Proxy, ProxyIndex, Record, Trace, VERSION, jsonl};
use crate::folder::Folder;
use crate::measure::ProxyId;
use crate::protocol::{Catalog, Status};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Records that are kept at most, where nothing else is said: about 400 MB of memory, 1 GB of file.
pub const DEFAULT_LIMIT: u64 = 4_000_000;

/// Why a recording cannot be begun.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A proxy that is recorded.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its number in this process.
    pub id: ProxyId,
    /// Names of its operations and statuses.
    pub catalog: Catalog,
    /// Its name.
    pub name: Arc<str>,
    /// The size of the service's pool, where declared.
    pub pool: Option<u32>,
}

/// Where records go.
#[derive(Debug)]
enum Sink {
    Memory(Vec<Record>),
    File(BufWriter<File>),
    /// Nowhere: only the newest are at hand.
    Nowhere,
}

/// What is kept of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// All of it, in memory.
    Memory,
    /// All of it, in a file.
    File,
    /// What was recorded lately.
    Recent,
}

/// A recording under way. Not for the data path: it may block on a disk.
#[derive(Debug)]
pub struct Recorder {
    header: Header,
    names: Names,
    proxies: HashMap<ProxyId, (ProxyIndex, Catalog)>,
    /// The moment that is 0 in the recording, on the clock of the process.
    began: u64,
    sink: Sink,
    limit: u64,
    written: u64,
    /// Lines in the file, between its first and its last.
    lines: u64,
    /// Records beside what passed, which have a bound of their own: the same, and what is beyond it is not missed.
    hints: u64,
    /// Records that did not fit, by proxy, and not said yet.
    lost: BTreeMap<ProxyIndex, u64>,
    failed: Option<io::Error>,
    /// The newest records, for those who ask meanwhile; nobody does where all of it is in memory.
    recent: Option<Recent>,
}

impl Recorder {
    /// Begins a recording in memory of these proxies at `began`, on the clock of the process.
    pub fn in_memory(proxies: &[Recorded], began: u64, limit: u64) -> Self {
        Self::new(proxies, began, limit, Sink::Memory(Vec::new()))
    }

    /// Begins a recording of which only what is recent is kept, for those who ask meanwhile.
    pub fn of_recent(proxies: &[Recorded], began: u64) -> Self {
        Self {
            recent: Some(Recent::default()),
            ..Self::new(proxies, began, u64::MAX, Sink::Nowhere)
        }
    }

    /// Begins a recording in a new file `name.jsonl` of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The file exists, or the system refuses.
    pub fn in_file(
        dir: &Path,
        name: &str,
        proxies: &[Recorded],
        began: u64,
        limit: u64,
    ) -> Result<(Self, PathBuf), RecordError> {
        let name = format!("{name}.jsonl");
        let path = dir.join(&name);
        let made = Folder::open(dir).and_then(|folder| folder.create(&name));
        let begun = made.and_then(|file| {
            let mut file = BufWriter::new(file);
            let recorder = Self::new(proxies, began, limit, Sink::Memory(Vec::new()));
            jsonl::write_header(&mut file, &recorder.header)?;
            Ok(Self {
                sink: Sink::File(file),
                recent: Some(Recent::default()),
                ..recorder
            })
        });
        match begun {
            Ok(recorder) => Ok((recorder, path)),
            Err(source) => Err(RecordError { path, source }),
        }
    }

    fn new(proxies: &[Recorded], began: u64, limit: u64, sink: Sink) -> Self {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let header = Header {
            version: VERSION,
            service: None,
            started_us: started.map_or(0, |d| d.as_micros() as u64),
            proxies: proxies
                .iter()
                .map(|p| Proxy {
                    name: p.name.to_string(),
                    protocol: p.catalog.protocol(),
                    pool: p.pool,
                })
                .collect(),
        };
        let indices = (0..).map(ProxyIndex);
        let known = proxies
            .iter()
            .zip(indices)
            .map(|(p, index)| (p.id, (index, p.catalog.clone())));
        Self {
            header,
            names: Names::default(),
            proxies: known.collect(),
            began,
            sink,
            limit,
            written: 0,
            lines: 0,
            hints: 0,
            lost: BTreeMap::new(),
            failed: None,
            recent: None,
        }
    }

    /// What is kept of it.
    pub const fn keeping(&self) -> Keeping {
        match self.sink {
            Sink::Memory(_) => Keeping::Memory,
            Sink::File(_) => Keeping::File,
            Sink::Nowhere => Keeping::Recent,
        }
    }

    /// What was recorded lately, and these that are without a reply now; `None`: it is not kept at hand.
    pub fn recent(&mut self, outstanding: Vec<Raw>) -> Option<Excerpt> {
        self.recent.as_ref()?;
        let mut seen = Vec::with_capacity(outstanding.len());
        for raw in outstanding {
            if let Some(mut record) = self.named(raw) {
                record.shift(self.began);
                seen.push(record);
            }
        }
        let recent = self.recent.as_ref()?;
        Some(recent.excerpt(self.header.clone(), self.names.clone(), &seen))
    }

    /// Takes records that no worker holds any more.
    pub fn take_all(&mut self, records: Vec<Raw>) {
        for raw in records {
            self.take(raw);
        }
    }

    /// Takes what a worker wrote. Records of proxies that came after the recording began are left out.
    pub fn absorb(&mut self, roll: &mut Roll) {
        let (records, lost) = roll.drain();
        let lost: Vec<(ProxyId, u64)> = lost.collect();
        for raw in records {
            self.take(raw);
        }
        for (proxy, n) in lost {
            if let Some((index, _)) = self.proxies.get(&proxy) {
                *self.lost.entry(*index).or_default() += n;
                if let Some(recent) = &mut self.recent {
                    recent.lost(*index, n);
                }
            }
        }
    }

    fn take(&mut self, raw: Raw) {
        let Some(mut record) = self.named(raw) else {
            return;
        };
        record.shift(self.began);
        self.write(record);
    }

    /// Writes something that no worker knows of: a phase, a fault, a look at a process. Its names are of [`Recorder::name`], its
    /// times on the clock of the process.
    pub fn note(&mut self, mut record: Record) {
        record.shift(self.began);
        self.write(record);
    }

    /// The number of a name.
    pub fn name(&mut self, name: &str) -> Name {
        self.names.intern(name)
    }

    /// The place of a proxy.
    pub fn proxy(&self, name: &str) -> Option<ProxyIndex> {
        self.header.proxy(name)
    }

    fn write(&mut self, record: Record) {
        if let Some(recent) = &mut self.recent {
            recent.push(record);
        }
        let hint = matches!(record, Record::Owner { .. } | Record::Lag { .. });
        if hint && self.hints >= self.limit {
            return;
        }
        if !hint && self.written >= self.limit {
            let proxy = proxy_of(&record);
            *self.lost.entry(proxy).or_default() += 1;
            return;
        }
        let count = if hint {
            &mut self.hints
        } else {
            &mut self.written
        };
        *count += 1;
        self.put(record);
    }

    /// Into the file or the memory, whatever the limit is.
    fn put(&mut self, record: Record) {
        match &mut self.sink {
            Sink::Memory(records) => records.push(record),
            Sink::File(file) => {
                self.lines += 1;
                let written = jsonl::write_record(file, &self.header, &self.names, &record);
                self.failed = self.failed.take().or(written.err());
            }
            Sink::Nowhere => {}
        }
    }

    /// Says what was lost, and brings the file up to date. To be called about once a second.
    ///
    /// # Errors
    /// What was written since the last time did not reach the disk. The recording goes on.
    pub fn settle(&mut self, now: u64) -> io::Result<()> {
        let at = now.saturating_sub(self.began);
        for (proxy, count) in std::mem::take(&mut self.lost) {
            // Beyond the limit: few, and the reason for it.
            self.put(Record::Dropped { at, proxy, count });
        }
        if let Sink::File(file) = &mut self.sink {
            let flushed = file.flush();
            self.failed = self.failed.take().or(flushed.err());
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Ends it. The recording, where it was kept in memory.
    pub fn finish(mut self, now: u64) -> Option<Trace> {
        if let Err(error) = self.settle(now).and_then(|()| self.write_end()) {
            tracing::error!(%error, "the end of the recording could not be written");
        }
        match self.sink {
            Sink::Memory(records) => {
                let mut trace = Trace {
                    header: self.header,
                    names: self.names,
                    records,
                };
                trace.sort();
                Some(trace)
            }
            Sink::File(_) | Sink::Nowhere => None,
        }
    }

    /// Says that nothing comes any more, and that all is there. Not said where something could not be written.
    fn write_end(&mut self) -> io::Result<()> {
        if let Sink::File(file) = &mut self.sink {
            jsonl::write_end(file, self.lines)?;
            file.flush()?;
        }
        Ok(())
    }

    fn named(&mut self, raw: Raw) -> Option<Record> {
        let (index, catalog) = match raw.proxy_id() {
            Some(id) => self.proxies.get(id)?,
            // Of such, all names are text.
            None => self.proxies.values().next()?,
        };
        let status = match &raw {
            Record::Attempt(a) => match a.status {
                Label::Status(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        let Ok(mut record) = raw.rename(&mut Naming {
            index: *index,
            catalog,
            names: &mut self.names,
        });
        if let (Record::Attempt(attempt), Some(status)) = (&mut record, status)
            && attempt.outcome == Outcome::Ok
        {
            attempt.outcome = outcome(catalog, status);
        }
        Some(record)
    }
}

/// How an exchange ended that was answered with this status.
fn outcome(catalog: &Catalog, status: Status) -> Outcome {
    if catalog.is_failure(status) {
        Outcome::Failed
    } else if catalog.is_error(status) {
        Outcome::Refused
    } else {
        Outcome::Ok
    }
}

/// The proxy whose account a record is lost on; for what belongs to none the first.
fn proxy_of(record: &Record) -> ProxyIndex {
    record.proxy_id().copied().unwrap_or(ProxyIndex(0))
}

/// Numbers of this process to numbers of the recording.
struct Naming<'a> {
    index: ProxyIndex,
    catalog: &'a Catalog,
    names: &'a mut Names,
}

impl Rename<ProxyId, Label, ProxyIndex, Name> for Naming<'_> {
    type Error = Infallible;

    fn proxy(&mut self, _: ProxyId) -> Result<ProxyIndex, Infallible> {
        Ok(self.index)
    }

    fn name(&mut self, name: Label) -> Result<Name, Infallible> {
        Ok(match name {
            Label::Operation(operation) => {
                let name = self.catalog.operation_name(operation);
                self.names.intern(&name)
            }
            Label::Status(status) => {
                let name = self.catalog.status_name(status);
                self.names.intern(&name)
            }
            Label::Address(Some(address)) => self.names.intern(&address.to_string()),
            Label::Address(None) => self.names.intern("unix"),
            Label::Text(text) => self.names.intern(&text),
            Label::Word(word) => self.names.intern(word),
        })
    }
}
