//! What a recording has seen lately: the newest records, kept at hand for whoever asks while it goes on.

use super::{Header, Name, Names, Outcome, ProxyIndex, Record, Trace};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Records that are kept at hand: about 30 MB.
pub const KEPT: usize = 1 << 18;

/// How far back they reach, in nanoseconds: 10 minutes.
pub const REACH: u64 = 600_000_000_000;

/// Without faults for so long, in nanoseconds, and a disturbance is another one: it is read without those before it.
pub const QUIET: u64 = 30_000_000_000;

/// Sessions of which is kept what became of them before the records that are at hand.
const SESSIONS: usize = 1 << 16;

/// The newest records of a recording.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: VecDeque<Record>,
    before: Before,
    newest: u64,
}

impl Recent {
    pub(super) fn push(&mut self, record: Record) {
        self.newest = self.newest.max(record.at());
        while let Some(oldest) = self.records.front() {
            let old = oldest.at() + REACH < self.newest;
            if !old && self.records.len() < KEPT {
                break;
            }
            self.before.take(oldest);
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// Records of a proxy are missing, up to now.
    pub(super) fn lost(&mut self, proxy: ProxyIndex, count: u64) {
        let at = self.newest;
        self.push(Record::Dropped { at, proxy, count });
    }

    /// With these that are without a reply now.
    pub(super) fn excerpt(&self, header: Header, names: Names, outstanding: &[Record]) -> Excerpt {
        let (older, newer) = self.records.as_slices();
        Excerpt {
            header,
            names,
            before: self.before.clone(),
            records: [older, newer, outstanding].concat(),
        }
    }
}

/// What still holds when the records that told it are gone.
#[derive(Debug, Clone, Default)]
struct Before {
    /// Of sessions that are open, how they came to be.
    sessions: BTreeMap<(ProxyIndex, u64), Vec<Record>>,
    /// Faults that are on.
    faults: BTreeSet<Name>,
    /// The end of the last record that is gone.
    until: Option<u64>,
    /// When the last fault went off, of those that are gone.
    quiet_since: Option<u64>,
}

impl Before {
    fn take(&mut self, record: &Record) {
        self.until = self.until.max(Some(record.at()));
        match *record {
            Record::Opened { proxy, session, .. }
            | Record::Connected { proxy, session, .. }
            | Record::Owner { proxy, session, .. }
            | Record::TapLost { proxy, session, .. } => self.keep(proxy, session, record),
            Record::Transaction { proxy, session, .. } => {
                if let Some(kept) = self.sessions.get_mut(&(proxy, session)) {
                    kept.retain(|r| !matches!(r, Record::Transaction { .. }));
                }
                self.keep(proxy, session, record);
            }
            Record::Closed { proxy, session, .. } => {
                self.sessions.remove(&(proxy, session));
            }
            Record::FaultOn { fault, .. } => {
                self.faults.insert(fault);
            }
            Record::FaultOff { at, fault } => {
                self.faults.remove(&fault);
                if self.faults.is_empty() {
                    self.quiet_since = Some(at);
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, proxy: ProxyIndex, session: u64, record: &Record) {
        if self.sessions.len() < SESSIONS || self.sessions.contains_key(&(proxy, session)) {
            let kept = self.sessions.entry((proxy, session)).or_default();
            kept.push(*record);
        }
    }
}

/// What was at hand at one moment. Taking it is quick; making a recording of it is not, and is nothing for a thread that others
/// wait for.
#[derive(Debug)]
pub struct Excerpt {
    header: Header,
    names: Names,
    before: Before,
    records: Vec<Record>,
}

/// A part of a recording, which can be read like a whole one.
#[derive(Debug)]
pub struct Part {
    /// Its times count from its own begin.
    pub trace: Trace,
    /// Whether the recording began earlier.
    pub cut: bool,
    /// Sessions of the recording that are open at its end.
    pub open: usize,
}

impl Excerpt {
    /// Whether a proxy is recorded: it was there when the recording began.
    pub fn has(&self, proxy: &str) -> bool {
        self.header.proxy(proxy).is_some()
    }

    /// The recording from the last disturbance on, with the quiet before it; or all that is at hand.
    pub fn into_part(self) -> Part {
        let Self {
            mut header,
            names,
            mut before,
            mut records,
        } = self;
        records.sort_by_key(Record::at);
        let at_hand = before.until.map_or(0, |until| until + 1);
        let from = begin(&before, &records).max(at_hand);
        let (earlier, kept) = records.split_at(records.partition_point(|r| r.at() < from));
        for record in earlier {
            before.take(record);
        }
        let faults = before.faults.iter();
        let on = faults.map(|fault| Record::FaultOn {
            at: from,
            fault: *fault,
        });
        let sessions = before.sessions.values().flatten().copied();
        // What began earlier would look shorter than it was; of what is still out, the age is the least that it will be anyhow.
        let whole = |record: &&Record| match record {
            Record::Attempt(attempt) => {
                attempt.begun >= from || attempt.outcome == Outcome::Outstanding
            }
            _ => true,
        };
        let kept_whole = kept.iter().filter(whole).copied();
        let mut part: Vec<Record> = sessions.chain(on).chain(kept_whole).collect();
        for record in &mut part {
            record.shift(from);
        }
        for record in kept {
            before.take(record);
        }
        header.started_us += from / 1_000;
        Part {
            trace: Trace {
                header,
                names,
                records: part,
            },
            cut: from > 0,
            open: before.sessions.len(),
        }
    }
}

/// Where the last disturbance begins to matter: the middle of the quiet before it.
fn begin(before: &Before, records: &[Record]) -> u64 {
    let mut on = before.faults.clone();
    let mut quiet_since = if on.is_empty() {
        before.quiet_since
    } else {
        None
    };
    let mut begin = 0;
    for record in records {
        match *record {
            Record::FaultOn { at, fault } => {
                if let Some(since) = quiet_since.take().filter(|_| on.is_empty())
                    && at.saturating_sub(since) >= QUIET
                {
                    begin = since + (at - since) / 2;
                }
                on.insert(fault);
            }
            Record::FaultOff { at, fault } => {
                on.remove(&fault);
                if on.is_empty() {
                    quiet_since = Some(at);
                }
            }
            _ => {}
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::trace::{Attempt, CloseSide, Proxy, VERSION};
    use crate::protocol::{Class, Protocol};

    const SECOND: u64 = 1_000_000_000;
    const REDIS: ProxyIndex = ProxyIndex(0);

    fn header() -> Header {
        Header {
            version: VERSION,
            service: None,
            started_us: 1_000,
            proxies: vec![Proxy {
                name: "redis".into(),
                protocol: Protocol::Redis,
                pool: None,
            }],
        }
    }

    fn opened(at: u64, session: u64) -> Record {
        Record::Opened {
            at,
            proxy: REDIS,
            session,
            client: Names::OTHER,
            port: 1,
        }
    }

    fn closed(at: u64, session: u64) -> Record {
        Record::Closed {
            at,
            proxy: REDIS,
            session,
            by: CloseSide::Client,
        }
    }

    fn attempt(begun: u64, ended: u64) -> Record {
        Record::Attempt(Attempt {
            proxy: REDIS,
            session: 1,
            exchange: 0,
            operation: Names::OTHER,
            class: Class::Read,
            fingerprint: 0,
            begun,
            asked: begun,
            first_byte: Some(ended),
            ended,
            upstream: None,
            status: Names::OTHER,
            outcome: Outcome::Ok,
            fault: None,
        })
    }

    fn on(at: u64, names: &mut Names, fault: &str) -> Record {
        let fault = names.intern(fault);
        Record::FaultOn { at, fault }
    }

    fn off(at: u64, names: &mut Names, fault: &str) -> Record {
        let fault = names.intern(fault);
        Record::FaultOff { at, fault }
    }

    fn part(records: impl IntoIterator<Item = Record>, names: Names) -> Part {
        let mut recent = Recent::default();
        for record in records {
            recent.push(record);
        }
        recent.excerpt(header(), names, &[]).into_part()
    }

    #[test]
    fn a_short_recording_is_all_of_it() {
        let part = part(
            [opened(5, 1), attempt(10, 30), closed(40, 1)],
            Names::default(),
        );
        assert_eq!(
            part.trace.records,
            [opened(5, 1), attempt(10, 30), closed(40, 1)]
        );
        assert!(!part.cut);
        assert_eq!(part.open, 0);
    }

    #[test]
    fn it_is_bounded_and_open_sessions_outlast_their_records() {
        let first = [opened(0, 1), opened(1, 2), closed(2, 2)];
        let many = (0..KEPT as u64).map(|n| attempt(10 + n, 10 + n));
        let part = part(first.into_iter().chain(many), Names::default());
        assert!(part.cut);
        assert_eq!(part.open, 1);
        // The session of which the client is still known, and the newest.
        assert_eq!(part.trace.records.len(), KEPT + 1);
        assert_eq!(part.trace.records[0], opened(0, 1));
        assert_eq!(part.trace.header.started_us, 1_000);
        let Record::Attempt(last) = part.trace.records[KEPT] else {
            panic!("an exchange");
        };
        assert!(last.ended < 10 + KEPT as u64);
    }

    #[test]
    fn sessions_that_are_known_beyond_it_are_bounded() {
        let many = (0..(KEPT + SESSIONS + 10) as u64).map(|n| opened(n, n));
        let mut recent = Recent::default();
        for record in many {
            recent.push(record);
        }
        assert_eq!(recent.records.len(), KEPT);
        assert_eq!(recent.before.sessions.len(), SESSIONS);
    }

    #[test]
    fn it_reaches_back_so_far_and_no_further() {
        let kept = attempt(REACH, REACH + 1);
        let part = part([attempt(0, 0), kept], Names::default());
        assert_eq!(part.trace.records.len(), 1);
        assert!(part.cut);
    }

    #[test]
    fn a_fault_that_was_on_before_is_on_from_the_first_moment() {
        let mut names = Names::default();
        let on = on(1, &mut names, "slow");
        let part = part([on, attempt(2, 3), attempt(REACH + 5, REACH + 9)], names);
        assert!(matches!(
            part.trace.records[0],
            Record::FaultOn { at: 0, .. }
        ));
        assert_eq!(part.trace.records.len(), 2);
    }

    #[test]
    fn a_disturbance_after_a_quiet_time_is_read_alone() {
        let mut names = Names::default();
        let records = [
            on(SECOND, &mut names, "a"),
            off(2 * SECOND, &mut names, "a"),
            // It began before the middle of the quiet, and would look too short.
            attempt(16 * SECOND, 18 * SECOND),
            attempt(20 * SECOND, 21 * SECOND),
            on(2 * SECOND + QUIET, &mut names, "b"),
        ];
        let part = part(records, names);
        assert!(part.cut);
        let middle = 2 * SECOND + QUIET / 2;
        assert_eq!(part.trace.header.started_us, 1_000 + middle / 1_000);
        assert_eq!(part.trace.records.len(), 2);
        assert_eq!(part.trace.records[0].at(), 21 * SECOND - middle);
    }

    #[test]
    fn without_a_quiet_time_disturbances_are_one() {
        let mut names = Names::default();
        let records = [
            on(SECOND, &mut names, "a"),
            off(2 * SECOND, &mut names, "a"),
            on(QUIET, &mut names, "b"),
        ];
        let part = part(records, names);
        assert!(!part.cut);
        assert_eq!(part.trace.records.len(), 3);
    }

    #[test]
    fn what_is_still_out_is_seen_however_long_ago_it_began() {
        let mut recent = Recent::default();
        recent.push(attempt(0, 0));
        recent.push(attempt(REACH, REACH + 1));
        let Record::Attempt(hanging) = attempt(0, REACH + 2) else {
            panic!("an exchange");
        };
        let hanging = Record::Attempt(Attempt {
            outcome: Outcome::Outstanding,
            ..hanging
        });
        let excerpt = recent.excerpt(header(), Names::default(), &[hanging]);
        let part = excerpt.into_part();
        assert_eq!(part.trace.records.len(), 2);
        let Record::Attempt(seen) = part.trace.records[1] else {
            panic!("an exchange");
        };
        assert_eq!((seen.begun, seen.outcome), (0, Outcome::Outstanding));
        assert_eq!(seen.ended, REACH + 1);
        // It is none of the records: it ends as one.
        assert_eq!(recent.records.len(), 1);
    }

    #[test]
    fn what_is_lost_is_said() {
        let mut recent = Recent::default();
        recent.push(attempt(1, 2));
        recent.lost(REDIS, 7);
        let part = recent.excerpt(header(), Names::default(), &[]).into_part();
        assert_eq!(part.trace.dropped(REDIS), 7);
    }
}
