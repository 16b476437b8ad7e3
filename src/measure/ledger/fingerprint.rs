//! A keyed hash of a request, by which the same request is known again without anything of it being kept.

use crate::protocol::Protocol;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

/// So much of a request is hashed; of what is behind it only the length counts.
const HASHED: u64 = 64 * 1024;

/// Where the request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Everything counts, to the end.
    Body,
    /// HTTP: in the request line.
    Line,
    /// HTTP: in the header, which does not count: clients put what differs from try to try there, such as trace ids. Whether
    /// the line under way is empty so far.
    Header(bool),
}

/// The hash of a request that is being read.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    hasher: DefaultHasher,
    part: Part,
    length: u64,
}

impl Fingerprint {
    /// Of a request of which nothing was read yet.
    pub fn new(key: &RandomState, protocol: Protocol) -> Self {
        let part = match protocol {
            Protocol::Http => Part::Line,
            Protocol::Redis | Protocol::Postgres | Protocol::Tcp => Part::Body,
        };
        Self {
            hasher: key.build_hasher(),
            part,
            length: 0,
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while self.part != Part::Body && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
            bytes = rest;
            self.part = match self.part {
                Part::Header(empty) => {
                    let empty = empty && line.iter().all(|b| matches!(b, b'\r' | b'\n'));
                    match (end, empty) {
                        (Some(_), true) => Part::Body,
                        (Some(_), false) => Part::Header(true),
                        (None, empty) => Part::Header(empty),
                    }
                }
                part => {
                    self.hash(line);
                    if end.is_some() {
                        Part::Header(true)
                    } else {
                        part
                    }
                }
            };
        }
        self.hash(bytes);
    }

    fn hash(&mut self, bytes: &[u8]) {
        let room = HASHED.saturating_sub(self.length);
        let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        self.hasher.write(&bytes[..taken]);
        self.length += bytes.len() as u64;
    }

    /// The hash of what was read.
    pub fn finish(mut self) -> u64 {
        self.hasher.write_u64(self.length);
        self.hasher.finish()
    }
}
