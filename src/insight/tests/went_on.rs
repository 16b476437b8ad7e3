//! When a service went on without a reply, of recordings that are written by hand: an API, a cache and a table.

use super::{MS, view};
use crate::insight::detection::{self, Detection, Reaction};
use crate::insight::*;
use crate::measure::trace::{Attempt, Header, Outcome, Proxy, ProxyIndex, Record, Trace, VERSION};
use crate::protocol::{Class, Protocol};

const API: ProxyIndex = ProxyIndex(0);
const CACHE: ProxyIndex = ProxyIndex(1);
const TABLE: ProxyIndex = ProxyIndex(2);

/// When the fault begins.
const FAULT: u64 = 10 * SECOND;

struct Recording(Trace);

impl Recording {
    /// Forty requests before the fault: the table is asked so long after the cache, which answers in a millisecond.
    fn new(table_after: u64) -> Self {
        let proxy = |name: &str, protocol| Proxy {
            name: name.into(),
            protocol,
            pool: None,
        };
        let mut recording = Self(Trace::new(Header {
            version: VERSION,
            service: None,
            started_us: 0,
            proxies: vec![
                proxy("api", Protocol::Http),
                proxy("cache", Protocol::Redis),
                proxy("table", Protocol::Postgres),
            ],
        }));
        for n in 1..=40 {
            let at = n * 100 * MS;
            recording.exchange(API, at, at + 10 * MS, false);
            recording.exchange(CACHE, at + MS, at + 2 * MS, false);
            let asked = at + MS + table_after;
            recording.exchange(TABLE, asked, asked + MS, false);
        }
        recording
    }

    fn exchange(&mut self, proxy: ProxyIndex, begun: u64, ended: u64, touched: bool) {
        let operation = self
            .0
            .names
            .intern(["GET /modules", "GET", "SELECT"][usize::from(proxy.0)]);
        let status = self.0.names.intern("ok");
        let fault = touched.then(|| self.0.names.intern("silence"));
        self.0.records.push(Record::Attempt(Attempt {
            proxy,
            session: u64::from(proxy.0),
            exchange: begun,
            operation,
            class: Class::Read,
            fingerprint: 42,
            begun,
            asked: begun,
            first_byte: Some(ended),
            ended,
            upstream: Some(ended - begun),
            status,
            outcome: Outcome::Ok,
            fault,
        }));
    }

    /// A request whose call to the cache hangs; the table is asked so long after that, and then the caller is answered.
    fn hang(&mut self, table_after: u64) {
        self.exchange(API, FAULT, FAULT + table_after + 200 * MS, false);
        self.exchange(CACHE, FAULT, FAULT + 5 * SECOND, true);
        let asked = FAULT + table_after;
        self.exchange(TABLE, asked, asked + MS, false);
    }

    fn noticed(mut self) -> Detection {
        self.0.sort();
        let found = detection::infer(&view(&self.0), CACHE);
        *found.value().unwrap_or_else(|| panic!("{found:?}"))
    }
}

#[test]
fn the_next_call_of_a_request_tells_before_its_answer_does() {
    let mut recording = Recording::new(2 * MS);
    recording.hang(300 * MS);
    let noticed = recording.noticed();
    assert_eq!(
        (noticed.reaction, noticed.first_seconds),
        (Reaction::WentOn, 0.3)
    );
}

#[test]
fn where_calls_overlap_anyway_the_next_one_tells_nothing() {
    let mut recording = Recording::new(MS / 2);
    recording.hang(300 * MS);
    assert_eq!(recording.noticed().reaction, Reaction::Answered);
}

#[test]
fn who_goes_on_at_once_never_waited() {
    let mut recording = Recording::new(2 * MS);
    recording.hang(2 * MS);
    assert_eq!(recording.noticed().reaction, Reaction::Answered);
}

#[test]
fn a_call_that_another_request_can_have_made_tells_nothing() {
    let mut recording = Recording::new(2 * MS);
    recording.hang(300 * MS);
    let second = FAULT + 299 * MS;
    recording.exchange(API, second, second + 10 * MS, false);
    assert_eq!(recording.noticed().reaction, Reaction::Answered);
}
