//! What happened in a run beside its exchanges, in order: phases, faults, connections that came to grief.

use crate::insight::SECOND;
use crate::insight::view::NO_PHASE;
use crate::measure::trace::{CloseSide, ProxyIndex, Record, Trace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Events that a document has at most, the first.
const MOST: usize = 1_000;

/// Something that happened, once or several times in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Event {
    /// Nanoseconds since the recording began.
    pub(crate) at: u64,
    /// When it happened for the last time.
    pub(crate) until: u64,
    pub(crate) what: What,
    /// The phase, the fault, or the proxy.
    pub(crate) subject: String,
    /// Why, or by which fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// How often, no second apart.
    pub(crate) count: u64,
}

/// What kind of event.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A phase began.
    Phase,
    /// The last phase ended, and with it the load.
    PhasesEnd,
    /// A fault was switched on.
    FaultOn,
    /// A fault went off, and what it held was released.
    FaultOff,
    /// A fault turned a connection away.
    TurnedAway,
    /// A fault ended a connection.
    Cut,
    /// The upstream was not reached.
    NotReached,
    /// The upstream reset a connection.
    UpstreamReset,
    /// The client reset a connection.
    ClientReset,
    /// A statement was to be cancelled.
    Cancel,
    /// The decoder gave up on a session.
    LostTrack,
    /// The recording lost records.
    RecordsMissing,
}

impl What {
    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Phase => "phase begins",
            Self::PhasesEnd => "last phase ends",
            Self::FaultOn => "fault on",
            Self::FaultOff => "fault off",
            Self::TurnedAway => "connections turned away by a fault",
            Self::Cut => "connections ended by a fault",
            Self::NotReached => "upstream not reached",
            Self::UpstreamReset => "connections reset by the upstream",
            Self::ClientReset => "connections reset by the client",
            Self::Cancel => "statements cancelled",
            Self::LostTrack => "sessions that could not be decoded further",
            Self::RecordsMissing => "records missing",
        }
    }
}

/// The events of a recording, and how many came after those that a document has.
pub(crate) fn of(trace: &Trace) -> (Vec<Event>, u64) {
    let mut events: Vec<Event> = Vec::new();
    let mut latest: HashMap<(What, &str, Option<&str>), usize> = HashMap::new();
    let mut further = 0;
    for record in &trace.records {
        let Some((at, what, subject, note, count)) = event(trace, record) else {
            continue;
        };
        let last = latest.get(&(what, subject, note)).copied();
        let last = last.and_then(|at| events.get_mut(at));
        if let Some(same) = last.filter(|same| at - same.until <= SECOND) {
            same.until = at;
            same.count += count;
        } else if events.len() < MOST {
            latest.insert((what, subject, note), events.len());
            events.push(Event {
                at,
                until: at,
                what,
                subject: subject.to_owned(),
                note: note.map(str::to_owned),
                count,
            });
        } else {
            further += count;
        }
    }
    (events, further)
}

/// When, what, of which subject, why, how often.
type Told<'t> = (u64, What, &'t str, Option<&'t str>, u64);

fn event<'t>(trace: &'t Trace, record: &Record) -> Option<Told<'t>> {
    let named = |name| trace.names.get(name);
    let proxy = |of: ProxyIndex| trace.header.get(of).map_or("", |p| p.name.as_str());
    Some(match *record {
        Record::Phase { at, phase, .. } => match named(phase) {
            NO_PHASE => (at, What::PhasesEnd, "", None, 1),
            name => (at, What::Phase, name, None, 1),
        },
        Record::FaultOn { at, fault } => (at, What::FaultOn, named(fault), None, 1),
        Record::FaultOff { at, fault } => (at, What::FaultOff, named(fault), None, 1),
        Record::TurnedAway {
            at,
            proxy: of,
            fault,
            ..
        } => (at, What::TurnedAway, proxy(of), Some(named(fault)), 1),
        Record::Cancel { at, proxy: of, .. } => (at, What::Cancel, proxy(of), None, 1),
        Record::TapLost {
            at,
            proxy: of,
            reason,
            ..
        } => (at, What::LostTrack, proxy(of), Some(named(reason)), 1),
        Record::Dropped {
            at,
            proxy: of,
            count,
        } => (at, What::RecordsMissing, proxy(of), None, count),
        Record::Closed {
            at, proxy: of, by, ..
        } => (at, ended(by)?, proxy(of), None, 1),
        _ => return None,
    })
}

/// An end that is worth telling.
const fn ended(by: CloseSide) -> Option<What> {
    match by {
        CloseSide::Fault => Some(What::Cut),
        CloseSide::ConnectFailed => Some(What::NotReached),
        CloseSide::UpstreamReset => Some(What::UpstreamReset),
        CloseSide::ClientReset => Some(What::ClientReset),
        CloseSide::Client | CloseSide::Upstream | CloseSide::Proxy => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::trace::{Header, Proxy};
    use crate::protocol::Protocol;

    fn trace() -> Trace {
        Trace::new(Header {
            version: 1,
            service: None,
            started_us: 0,
            proxies: vec![Proxy {
                name: "redis".into(),
                protocol: Protocol::Redis,
                pool: None,
            }],
        })
    }

    fn reset(at: u64) -> Record {
        Record::Closed {
            at,
            proxy: ProxyIndex(0),
            session: at,
            by: CloseSide::UpstreamReset,
        }
    }

    #[test]
    fn what_happens_again_within_a_second_is_one_event() {
        let mut trace = trace();
        let fault = trace.names.intern("f");
        trace.records = vec![
            Record::FaultOn { at: 1, fault },
            reset(2),
            reset(2 + SECOND),
            reset(3 + 3 * SECOND),
            Record::FaultOff {
                at: 4 * SECOND,
                fault,
            },
        ];
        let (events, further) = of(&trace);
        let told: Vec<_> = events
            .iter()
            .map(|e| (e.what, &*e.subject, e.count))
            .collect();
        let expected = [
            (What::FaultOn, "f", 1),
            (What::UpstreamReset, "redis", 2),
            (What::UpstreamReset, "redis", 1),
            (What::FaultOff, "f", 1),
        ];
        assert_eq!((told.as_slice(), further), (&expected[..], 0));
        assert_eq!((events[1].at, events[1].until), (2, 2 + SECOND));
    }

    #[test]
    fn the_first_are_kept_and_the_others_counted() {
        let mut trace = trace();
        trace.records = (0..1_200).map(|n| reset(2 * n * SECOND)).collect();
        let (events, further) = of(&trace);
        assert_eq!((events.len(), further), (MOST, 200));
    }
}
