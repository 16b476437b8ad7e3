//! A recording of what passed: every exchange, every end of a connection, every fault that came and went, one record each.
//!
//! Histograms say how long things took; a [`Trace`] says in which order they happened, which is what a client's breaker,
//! timeouts and retries are read from. It is written only while somebody records, holds names, sizes and times and never a
//! payload, and is complete up to its bound: past that it says what it lost ([`Record::Dropped`]), so that whoever reads it can
//! say "inconclusive" instead of guessing.
//!
//! All times are nanoseconds since the recording began, on one monotonic clock. [`jsonl`] is its form in a file.

mod attempt;
pub mod jsonl;
mod names;
mod out;
mod recent;
mod record;
mod recorder;
mod roll;

pub use attempt::{Attempt, Outcome};
pub use names::{MAX_NAMES, Name, Names};
pub use out::MAX_OUT;
pub use recent::{Excerpt, KEPT, Part, QUIET, REACH};
pub use record::{CloseSide, Record};
pub use recorder::{DEFAULT_LIMIT, Keeping, RecordError, Recorded, Recorder};
pub use roll::{Label, MAX_RECORDS, Raw, Roll, Tape, Taped};

use crate::protocol::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the format, in a file's first line. Those before 2 had no last line and no kinds of phases.
pub const VERSION: u32 = 2;

/// The oldest version that is read.
pub const OLDEST: u32 = 1;

/// A proxy of a recording, by its place in [`Header::proxies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyIndex(pub u16);

/// What a recording says of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The most sessions the service's pool may hold, where declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u32>,
}

/// What a test knew of the service, so that its recording is read as it was judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The proxy before its own API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
}

/// What a phase is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Left out of every comparison.
    WarmUp,
    /// What is normal.
    Baseline,
    /// The profile's faults are on.
    Fault,
    /// They are off again.
    Recovery,
    /// Load without faults.
    Steady,
    /// The rate of the load is stepped, to find what the service bears.
    Capacity,
}

impl Kind {
    /// The name used in profiles and recordings; a phase that has none of its own is called so.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm-up",
            Self::Baseline => "baseline",
            Self::Fault => "fault",
            Self::Recovery => "recovery",
            Self::Steady => "steady",
            Self::Capacity => "capacity",
        }
    }
}

/// What a recording says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`VERSION`], or one since [`OLDEST`].
    pub version: u32,
    /// What is known of the service, where a test recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Microseconds since the Unix epoch at which the recording began: for people only.
    pub started_us: u64,
    /// The proxies, in the order in which records number them.
    pub proxies: Vec<Proxy>,
}

impl Header {
    /// The place of a proxy.
    pub fn proxy(&self, name: &str) -> Option<ProxyIndex> {
        let at = self.proxies.iter().position(|p| p.name == name)?;
        u16::try_from(at).ok().map(ProxyIndex)
    }

    /// What is said of a proxy.
    pub fn get(&self, proxy: ProxyIndex) -> Option<&Proxy> {
        self.proxies.get(usize::from(proxy.0))
    }

    /// The name of a proxy; `?` where it is of another recording.
    pub fn name(&self, proxy: ProxyIndex) -> &str {
        self.get(proxy).map_or("?", |p| p.name.as_str())
    }
}

/// A recording in memory.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What it says of itself.
    pub header: Header,
    /// The names that records refer to.
    pub names: Names,
    /// What happened, by [`Record::at`]. Records of one moment are in the order in which they were written.
    pub records: Vec<Record>,
}

impl Trace {
    /// An empty recording.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            names: Names::default(),
            records: Vec::new(),
        }
    }

    /// Puts the records in the order of time. Workers record side by side, so what they wrote comes interleaved.
    pub fn sort(&mut self) {
        self.records.sort_by_key(Record::at);
    }

    /// Records that are missing of a proxy.
    pub fn dropped(&self, of: ProxyIndex) -> u64 {
        let dropped = self.records.iter().map(|record| match record {
            Record::Dropped { proxy, count, .. } if *proxy == of => *count,
            _ => 0,
        });
        dropped.fold(0, u64::saturating_add)
    }
}
