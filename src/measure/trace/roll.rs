//! The worker's side of a recording: records as sessions write them, without names.

use super::out::{self, Place, Request};
use super::{Attempt, Outcome, Record};
use crate::measure::ledger::Fingerprint;
use crate::measure::{ProxyId, Sample};
use crate::protocol::{Class, Event, Located, Operation, Protocol, Status};
use std::collections::VecDeque;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

/// Records of one worker between two collections; further ones are counted as lost.
pub const MAX_RECORDS: usize = 1 << 18;

/// A name that is looked up when the record is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// Of an operation of the record's proxy.
    Operation(Operation),
    /// Of a status of the record's proxy.
    Status(Status),
    /// An address; `None`: a unix socket.
    Address(Option<IpAddr>),
    /// As it stands.
    Text(Arc<str>),
    /// One of ours.
    Word(&'static str),
}

/// A record as a session writes it. Times are those of the process.
pub type Raw = Record<ProxyId, Label>;

/// What one worker recorded since it was last collected.
#[derive(Debug, Default)]
pub struct Roll {
    /// Whether anyone records.
    on: bool,
    records: Vec<Raw>,
    /// Proxies of records beyond [`MAX_RECORDS`], and how many.
    lost: Vec<(ProxyId, u64)>,
    /// What was without a reply when somebody asked.
    out: Vec<Raw>,
}

impl Roll {
    /// Begins, or stops, to keep what is written. What nobody took of a recording before is none of the new one.
    pub fn switch(&mut self, on: bool) {
        if on {
            self.records.clear();
            self.lost.clear();
            self.out.clear();
        }
        self.on = on;
    }

    /// Whether anyone records.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Writes a record of a proxy. Made only while somebody records.
    #[inline]
    pub fn write(&mut self, proxy: ProxyId, record: impl FnOnce() -> Raw) {
        if !self.on {
            return;
        }
        if self.records.len() < MAX_RECORDS {
            self.records.push(record());
        } else if let Some(lost) = self.lost.iter_mut().find(|lost| lost.0 == proxy) {
            lost.1 += 1;
        } else {
            self.lost.push((proxy, 1));
        }
    }

    /// Adds what is without a reply on this thread at `now`, for the one who asks: it is a record of its own when it ends.
    pub fn look(&mut self, now: u64) {
        if self.on {
            self.out = out::all(now);
        }
    }

    /// What was without a reply at [`Roll::look`].
    pub fn seen(&mut self) -> Vec<Raw> {
        std::mem::take(&mut self.out)
    }

    /// What was written, and what was lost; it is empty afterwards.
    pub(super) fn drain(
        &mut self,
    ) -> (
        impl Iterator<Item = Raw> + '_,
        impl Iterator<Item = (ProxyId, u64)> + '_,
    ) {
        (self.records.drain(..), self.lost.drain(..))
    }
}

/// The exchanges of one session that are being recorded.
#[derive(Debug)]
pub struct Tape {
    proxy: ProxyId,
    protocol: Protocol,
    session: u64,
    open: VecDeque<Open>,
    /// The hash of the request that is being read, where one is.
    reading: Option<Fingerprint>,
}

#[derive(Debug)]
struct Open {
    exchange: u64,
    place: Place,
}

/// What a tape knows of an exchange whose reply is there. To the client it is out until this is used up.
#[derive(Debug)]
pub struct Taped(Place);

impl Tape {
    /// Of a session that begins.
    pub const fn new(proxy: ProxyId, protocol: Protocol, session: u64) -> Self {
        Self {
            proxy,
            protocol,
            session,
            open: VecDeque::new(),
            reading: None,
        }
    }

    /// A piece from the client, with what the decoder says of it.
    pub fn request(&mut self, bytes: &[u8], events: &[Located], now: u64, key: &RandomState) {
        let mut fed = 0;
        for located in events {
            match located.event {
                Event::RequestBegin => {
                    self.begin(located.exchange, now, key);
                    fed = located.at;
                }
                Event::RequestKnown {
                    operation, class, ..
                } => self.note(located.exchange, |r| r.operation = Some((operation, class))),
                Event::RequestEnd => {
                    self.feed(bytes, fed, located.at);
                    fed = located.at;
                    self.end(located.exchange, now);
                }
                Event::Request {
                    begin,
                    operation,
                    class,
                    ..
                } => {
                    self.begin(located.exchange, now, key);
                    self.note(located.exchange, |r| r.operation = Some((operation, class)));
                    self.feed(bytes, begin, located.at);
                    fed = located.at;
                    self.end(located.exchange, now);
                }
                _ => {}
            }
        }
        self.feed(bytes, fed, bytes.len());
    }

    fn begin(&mut self, exchange: u64, now: u64, key: &RandomState) {
        self.reading = Some(Fingerprint::new(key, self.protocol));
        self.open.push_back(Open {
            exchange,
            place: Place::of(Request {
                proxy: self.proxy,
                session: self.session,
                exchange,
                begun: now,
                asked: 0,
                operation: None,
                fingerprint: 0,
                fault: None,
                upstream: None,
            }),
        });
    }

    fn feed(&mut self, bytes: &[u8], from: usize, to: usize) {
        if let (Some(reading), Some(bytes)) = (&mut self.reading, bytes.get(from..to)) {
            reading.feed(bytes);
        }
    }

    fn end(&mut self, exchange: u64, now: u64) {
        let fingerprint = self.reading.take().map_or(0, Fingerprint::finish);
        self.note(exchange, |request| {
            request.asked = now;
            request.fingerprint = fingerprint;
        });
    }

    fn note(&self, exchange: u64, with: impl FnOnce(&mut Request)) {
        let at = self.open.binary_search_by_key(&exchange, |o| o.exchange);
        if let Some(open) = at.ok().and_then(|at| self.open.get(at)) {
            open.place.note(with);
        }
    }

    /// A fault touches an exchange. The first one stays.
    pub fn touched(&mut self, exchange: u64, fault: &Arc<str>) {
        self.note(exchange, |request| {
            request.fault.get_or_insert_with(|| Arc::clone(fault));
        });
    }

    /// The reply of an exchange is there, after the server took so long: what is known of it.
    pub fn take(&mut self, exchange: u64, upstream: Option<u64>) -> Option<Taped> {
        let at = self.open.binary_search_by_key(&exchange, |o| o.exchange);
        let open = self.open.remove(at.ok()?)?;
        open.place.note(|request| request.upstream = upstream);
        Some(Taped(open.place))
    }

    /// What becomes of the requests is not known any more.
    pub fn lose(&mut self) {
        self.open.clear();
        self.reading = None;
    }
}

impl Taped {
    /// The server never saw the request.
    pub fn answered_here(&self) {
        self.0.note(|request| request.upstream = None);
    }

    /// The record of an exchange that is complete. `first` and `sent`: when the first and the last byte of its reply went on.
    /// `None`: this thread never recorded it.
    pub fn answered(self, sample: &Sample, asked: u64, first: u64, sent: u64) -> Option<Raw> {
        let request = self.0.get()?;
        Some(Raw::Attempt(Attempt {
            proxy: request.proxy,
            session: request.session,
            exchange: request.exchange,
            operation: Label::Operation(sample.operation),
            class: sample.class,
            fingerprint: request.fingerprint,
            begun: request.begun,
            asked,
            first_byte: Some(first),
            ended: sent,
            upstream: sample.upstream,
            status: Label::Status(sample.status),
            // The status decides, when it is collected.
            outcome: Outcome::Ok,
            fault: request.fault.map(Label::Text),
        }))
    }

    /// The record of an exchange whose reply the client did not get whole. `upstream`: what the server took, if it completed it.
    pub fn unanswered(
        self,
        operation: Operation,
        class: Class,
        asked: u64,
        ended: u64,
        upstream: Option<u64>,
        outcome: Outcome,
    ) -> Option<Raw> {
        let request = self.0.get()?;
        Some(Raw::Attempt(Attempt {
            proxy: request.proxy,
            session: request.session,
            exchange: request.exchange,
            operation: Label::Operation(operation),
            class,
            fingerprint: request.fingerprint,
            begun: request.begun,
            asked,
            first_byte: None,
            ended,
            upstream,
            status: Label::Status(Status::CLOSED),
            outcome,
            fault: request.fault.map(Label::Text),
        }))
    }
}
