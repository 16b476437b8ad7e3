//! The compiled faults of one proxy, and the one question that the data path asks of them.

use super::action::{Disconnect, ErrorReply, Refuse};
use crate::protocol::{Class, Operation};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is known of an exchange when it is identified.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Ordinal of the session on its proxy, from 0, in the order of accepting.
    pub session: u64,
    /// Ordinal of the exchange in its session, from 0.
    pub exchange: u64,
    /// What is asked.
    pub operation: Operation,
    /// What kind of work.
    pub class: Class,
    /// Where the client is; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// The request's bytes as far as they are held: all of it where [`Plan::needs_arguments`] said so and it is small.
    pub request: &'a [u8],
    /// Now.
    pub now: Instant,
}

/// What is to be done with one exchange. Empty: nothing.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Hold the request this long before it goes to the upstream.
    pub request_delay: Duration,
    /// Hold the reply this long before it goes to the client.
    pub reply_delay: Duration,
    /// The reply takes at least this long from the end of the request (`floor = true`); shorter ones are held.
    pub reply_floor: Duration,
    /// What ends the ordinary course of the exchange, after the request's delay. The first one in the plan's order wins.
    pub end: Option<Ending>,
    /// Names of the faults behind this decision, in the plan's order.
    pub faults: Vec<Arc<str>>,
}

/// What ends the ordinary course of an exchange.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Forward nothing more on this session in either direction, keep both connections.
    Stall,
    /// As `Stall`, then close after this long.
    Timeout(Duration),
    /// Close the session.
    Disconnect(Disconnect),
    /// Answer with the protocol's own error.
    Error(Arc<ErrorReply>),
}

/// The compiled faults of one proxy. Immutable but for the counters of gates, which are atomics.
#[derive(Debug, Default)]
pub struct Plan {}

impl Plan {
    /// Whether nothing is in it: the data path takes its fast way.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether some fault in it looks at arguments of this operation (key, header): the data path then holds the request until it
    /// is complete, or until 64 KiB of it are there, before it asks.
    pub fn needs_arguments(&self, _operation: Operation, _class: Class) -> bool {
        false
    }

    /// What to do with this exchange. To be asked exactly once for each: gates count.
    pub fn decide(&self, _subject: &Subject<'_>) -> Decision {
        Decision::default()
    }

    /// What to do with a new session, asked at accept, before the upstream is contacted: the first `refuse` fault that hits.
    pub fn refuse(
        &self,
        _session: u64,
        _client: Option<IpAddr>,
        _now: Instant,
    ) -> Option<(Refuse, Arc<str>)> {
        None
    }

    /// Whether a `refuse` with `how = "closed"` is in force now: the listener is to be closed.
    pub fn listener_closed(&self, _now: Instant) -> bool {
        false
    }

    /// Whether a `refuse` that cuts existing sessions is in force now.
    pub fn cuts_existing(&self, _now: Instant) -> Option<Arc<str>> {
        None
    }

    /// The next moment after `now` at which a schedule switches something on or off, where there is one.
    pub fn next_change(&self, _now: Instant) -> Option<Instant> {
        None
    }
}
