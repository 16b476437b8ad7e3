//! A recording sorted for questions: by proxy, by session, by phase.

use super::finding::Unknown;
use super::memo::Memo;
use super::owners;
use super::sample::Sample;
use crate::measure::trace::{Attempt, CloseSide, Kind, Name, Outcome, ProxyIndex, Record, Trace};
use crate::protocol::{Class, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The phase that is none: it ends the last one.
pub const NO_PHASE: &str = "";

/// A proxy that is later than this measures itself.
const BUSY: u64 = 100 * super::MILLISECOND;

/// One second in so many may be as late: any machine hiccups.
const BUSY_SHARE: usize = 10;

/// Nothing hangs that is still out after less than this (nanoseconds).
const HANGS: u64 = super::SECOND;

/// What is known of the service beside the recording; it goes before what the recording says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The proxy before the service's own API; its requests cause the calls to the others. Default: the only HTTP proxy.
    pub api: Option<String>,
    /// Processes of the service, each with a breaker and pool of its own. Default: as many as the recording names owners of
    /// connections to its dependencies, else unknown.
    pub workers: Option<u32>,
}

/// One client connection.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Its ordinal on the proxy.
    pub session: u64,
    /// When it was accepted; 0 where that was before the recording.
    pub opened: u64,
    /// When its upstream connection stood.
    pub connected: Option<u64>,
    /// When and by whom it was ended; `None`: open at the end of the recording.
    pub closed: Option<(u64, CloseSide)>,
    /// The fault that turned it away.
    pub turned_away: Option<Name>,
    /// The client's address.
    pub client: Option<Name>,
    /// The client's process, where somebody looked.
    pub pid: Option<u32>,
    /// When the decoder gave it up.
    pub lost: Option<u64>,
}

/// An exchange and its place in the recording.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'t> {
    /// Place in [`Trace::records`].
    pub record: usize,
    /// The exchange.
    pub attempt: &'t Attempt,
}

/// What passed one proxy.
#[derive(Clone, Debug, Default)]
pub struct Passed<'t> {
    /// Exchanges that are work, by the first byte of the request.
    pub work: Vec<Seen<'t>>,
    /// Handshakes, pings and commands that wait by design, likewise.
    pub other: Vec<Seen<'t>>,
    /// Connections, by ordinal.
    pub sessions: BTreeMap<u64, Session>,
    /// Records of this proxy that are missing.
    pub dropped: u64,
    /// When connections came whose upstream was never reached, by no fault's doing.
    pub unreached: Vec<u64>,
    /// By operation, the longest that an answer took that no fault touched.
    slowest: HashMap<Name, u64>,
    /// Operations that are refused, and how, also where no fault touches them.
    refusals: HashSet<(Name, Name)>,
    /// For each of `work`, the last end of all up to it.
    ended_by: Vec<u64>,
}

impl<'t> Passed<'t> {
    /// The place in `work` before which everything ended before a moment.
    pub fn first_ended_since(&self, moment: u64) -> usize {
        self.ended_by.partition_point(|ended| *ended < moment)
    }

    /// Connections in a time whose upstream was never reached.
    pub fn unreached_in(&self, span: Span) -> usize {
        let before = |moment| self.unreached.partition_point(|at| *at < moment);
        before(span.to).saturating_sub(before(span.from))
    }

    /// Whether an exchange failed: also one that was still out at the end, for longer than any such answer ever took.
    pub fn fails(&self, seen: &Seen<'_>) -> bool {
        let attempt = seen.attempt;
        let usual = self.slowest.get(&attempt.operation).copied().unwrap_or(0);
        let hangs = attempt.outcome == Outcome::Outstanding && attempt.latency() > usual.max(HANGS);
        hangs || super::calls::fails(self, seen)
    }

    /// Whether the server refuses such a request like that without any fault.
    pub(super) fn refuses_anyway(&self, attempt: &Attempt) -> bool {
        self.refusals.contains(&(attempt.operation, attempt.status))
    }

    /// From the first request that a fault touched to the last reply that one touched.
    pub(super) fn affected(&self) -> Option<Span> {
        let touched = self.work.iter().chain(&self.other);
        let touched = touched.filter(|seen| seen.attempt.fault.is_some());
        let exchanges = touched.map(|seen| (seen.attempt.begun, seen.attempt.ended));
        let away = self.sessions.values();
        let away = away.filter(|s| s.turned_away.is_some());
        let away = away.map(|s| (s.opened, s.closed.map_or(s.opened, |(at, _)| at)));
        // Connections that a fault cut, idle or not.
        let cut = self.sessions.values().filter_map(|s| match s.closed {
            Some((at, CloseSide::Fault)) => Some((at, at)),
            _ => None,
        });
        let all = exchanges.chain(away).chain(cut);
        all.fold(None, |span: Option<Span>, (from, to)| {
            let to = to.saturating_add(1);
            Some(span.map_or(Span { from, to }, |s| Span {
                from: s.from.min(from),
                to: s.to.max(to),
            }))
        })
    }

    fn sort(&mut self) {
        self.work.sort_by_key(|seen| seen.attempt.begun);
        self.other.sort_by_key(|seen| seen.attempt.begun);
        let last = |last: &mut u64, seen: &Seen<'t>| {
            *last = seen.attempt.ended.max(*last);
            Some(*last)
        };
        self.ended_by = self.work.iter().scan(0, last).collect();
        for attempt in self.work.iter().map(|seen| seen.attempt) {
            if attempt.outcome.is_answered() && attempt.fault.is_none() {
                let slowest = self.slowest.entry(attempt.operation).or_default();
                *slowest = (*slowest).max(attempt.latency());
            }
        }
        let all = self.work.iter().chain(&self.other).map(|seen| seen.attempt);
        let refused = all.filter(|a| a.outcome == Outcome::Refused && a.fault.is_none());
        self.refusals = refused.map(|a| (a.operation, a.status)).collect();
        let sessions = self.sessions.values();
        let unreached = sessions.filter(|s| {
            s.turned_away.is_none() && matches!(s.closed, Some((_, CloseSide::ConnectFailed)))
        });
        self.unreached = unreached.map(|s| s.opened).collect();
        self.unreached.sort_unstable();
    }
}

/// A time, its end excluded. Nanoseconds since the recording began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Its first moment.
    pub from: u64,
    /// The first moment after it.
    pub to: u64,
}

impl Span {
    /// Whether a moment is in it.
    pub const fn contains(&self, at: u64) -> bool {
        self.from <= at && at < self.to
    }

    /// How long, in nanoseconds.
    pub const fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// A recording sorted for questions.
#[derive(Clone, Debug)]
pub struct View<'t> {
    /// The recording.
    pub trace: &'t Trace,
    /// What passed each proxy, in the order of the header.
    passed: Vec<Passed<'t>>,
    /// The proxy before the service.
    pub api: Option<ProxyIndex>,
    /// Processes of the service, where that is known.
    pub workers: Option<u32>,
    /// Phases, in their order.
    pub phases: Vec<(Name, Span)>,
    /// All of it.
    pub span: Span,
    /// The end of the last phase: what comes later are replies to what was asked before.
    pub asked_to: u64,
    /// What nothing disturbed before the first fault, without warm-up.
    pub baseline: Span,
    /// How late the proxy itself was at most, each second, by the second's end: nanoseconds.
    late: Vec<(u64, u64)>,
    /// By proxy, in the order of the header.
    memos: Vec<Memo>,
    kept: Kept,
}

/// The times of a recording that are looked at; none: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kept(Vec<Span>);

impl Kept {
    fn contains(&self, at: u64) -> bool {
        self.0.is_empty() || self.0.iter().any(|span| span.contains(at))
    }

    /// A record of a connection as it is seen where only these times are; of a connection that was there before, and of one that is closed later, it
    /// is known that it is open.
    fn seen(&self, record: &Record) -> Option<Record> {
        let end = self.0.last().map_or(u64::MAX, |last| last.to);
        match *record {
            Record::Opened { at, .. }
            | Record::Connected { at, .. }
            | Record::Closed { at, .. }
                if at >= end =>
            {
                None
            }
            Record::TurnedAway { at, .. } if !self.contains(at) => None,
            Record::Closed {
                at,
                proxy,
                session,
                by: CloseSide::Fault,
            } if !self.contains(at) => Some(Record::Closed {
                at,
                proxy,
                session,
                by: CloseSide::Proxy,
            }),
            other => Some(other),
        }
    }
}

impl<'t> View<'t> {
    /// Sorts a recording.
    pub fn new(trace: &'t Trace, topology: &Topology) -> Self {
        Self::within(trace, topology, Vec::new())
    }

    /// The same as if nothing had been but these times, in order and apart: one fault of several with what was before all of them. An
    /// exchange is of the time in which it began. None: all of it.
    pub fn within(trace: &'t Trace, topology: &Topology, times: Vec<Span>) -> Self {
        let kept = Kept(times);
        let mut passed: Vec<Passed<'t>> = Vec::new();
        passed.resize_with(trace.header.proxies.len(), Passed::default);
        let (mut phases, mut kinds): (Vec<(Name, Span)>, Vec<_>) = (Vec::new(), Vec::new());
        let end = trace.records.iter().map(Record::at).max().unwrap_or(0);
        let end = kept.0.last().map_or(end, |last| last.to.min(end));
        let mut asked_to = end;
        for (place, record) in trace.records.iter().enumerate() {
            if let Record::Phase { at, phase, kind } = *record {
                if let Some((_, last)) = phases.last_mut() {
                    last.to = at;
                }
                if trace.names.get(phase) == NO_PHASE {
                    asked_to = asked_to.min(at);
                } else {
                    phases.push((phase, Span { from: at, to: end }));
                    kinds.push(kind);
                }
            } else if let Record::Attempt(attempt) = record {
                if kept.contains(attempt.begun) {
                    sort_in(&mut passed, place, attempt);
                }
            } else if let Some(record) = kept.seen(record) {
                note(&mut passed, record);
            }
        }
        for proxy in &mut passed {
            proxy.sort();
            proxy.unreached.retain(|at| kept.contains(*at));
        }
        let warm_up = phases.iter().zip(kinds);
        let warm_up = warm_up.filter(|(_, kind)| *kind == Some(Kind::WarmUp));
        let warm_until = warm_up.map(|((_, span), _)| span.to).max();
        let span = Span { from: 0, to: end };
        let api = api(trace, topology);
        let told = trace.header.service.as_ref();
        let workers = topology.workers.or_else(|| told?.workers);
        let workers = owners::settle(&mut passed, api, workers);
        Self {
            api,
            workers,
            late: late(trace),
            baseline: baseline(trace, warm_until, span),
            memos: vec![Memo::default(); passed.len()],
            trace,
            passed,
            phases,
            span,
            asked_to,
            kept,
        }
    }

    /// Whether a moment is looked at.
    pub(super) fn keeps(&self, at: u64) -> bool {
        self.kept.contains(at)
    }

    /// What passed a proxy.
    pub fn passed(&self, proxy: ProxyIndex) -> &Passed<'t> {
        &self.passed[usize::from(proxy.0)]
    }

    pub(super) fn memo(&self, proxy: ProxyIndex) -> &Memo {
        &self.memos[usize::from(proxy.0)]
    }

    /// Requests of the service's own API, by their first byte.
    pub fn api_requests(&self) -> &[Seen<'t>] {
        self.api.map_or(&[], |api| &self.passed(api).work)
    }

    /// From the first request that a fault touched on this proxy to the end of all that: the last reply that one touched, or the
    /// switching off of the last fault that touched any. A service that has given the dependency up meanwhile is disturbed
    /// all the same.
    pub fn disturbed(&self, proxy: ProxyIndex) -> Option<Span> {
        let affected = self.affected(proxy)?;
        let passed = self.passed(proxy);
        let work = passed.work.iter().chain(&passed.other);
        let away = passed.sessions.values().filter_map(|s| s.turned_away);
        let touched: BTreeSet<Name> = work.filter_map(|s| s.attempt.fault).chain(away).collect();
        let (mut on, mut to) = (BTreeSet::new(), affected.to);
        for record in &self.trace.records {
            match record {
                Record::FaultOn { at, fault } if self.keeps(*at) && touched.contains(fault) => {
                    on.insert(*fault);
                }
                Record::FaultOff { at, fault } if self.keeps(*at) && touched.contains(fault) => {
                    on.remove(fault);
                    to = to.max(*at);
                }
                _ => {}
            }
        }
        if !on.is_empty() {
            to = to.max(self.span.to);
        }
        Some(Span {
            from: affected.from,
            to,
        })
    }

    /// When faults came while none was on.
    pub(super) fn outbreaks(&self) -> Vec<u64> {
        let mut on = BTreeSet::new();
        let mut begins = Vec::new();
        for record in &self.trace.records {
            match record {
                Record::FaultOn { at, fault } if self.keeps(*at) => {
                    if on.is_empty() {
                        begins.push(*at);
                    }
                    on.insert(*fault);
                }
                Record::FaultOff { fault, .. } => {
                    on.remove(fault);
                }
                _ => {}
            }
        }
        begins
    }

    /// Whether requests of this route are known to call no dependency at all.
    pub(super) fn calls_nothing(&self, route: Name) -> bool {
        let others = (0..).map(ProxyIndex).take(self.passed.len());
        let mut others = others.filter(|proxy| Some(*proxy) != self.api);
        others.all(|proxy| self.demand(proxy).is_ok_and(|d| d.does_without(route)))
    }

    /// How late the proxy itself was at most about a time, in nanoseconds: so much later, or earlier, may things have been than
    /// is recorded.
    pub fn late(&self, about: Span) -> u64 {
        // A record is of the second that ends with it.
        let from = self.late.partition_point(|(at, _)| *at < about.from);
        let of = &self.late[from..];
        let to = (of.partition_point(|(at, _)| *at < about.to) + 1).min(of.len());
        of[..to].iter().map(|(_, late)| *late).max().unwrap_or(0)
    }

    /// How late the proxy itself usually was at most in a second, in nanoseconds.
    pub fn usually_late(&self) -> u64 {
        let late: Sample = self.late.iter().map(|(_, late)| *late).collect();
        late.median().unwrap_or(0)
    }

    /// Whether the recording is worth reading: it lost nothing of this proxy or of the service's own, and the machine was not so
    /// busy that times and order mean little.
    ///
    /// # Errors
    /// It is not.
    pub fn complete(&self, proxy: ProxyIndex) -> Result<(), Unknown> {
        self.prompt()?;
        self.whole(proxy)
    }

    /// Whether the recording lost nothing of this proxy or of the service's own.
    ///
    /// # Errors
    /// It did.
    pub fn whole(&self, proxy: ProxyIndex) -> Result<(), Unknown> {
        let of_api = self.api.map_or(0, |api| self.passed(api).dropped);
        let lost = self.passed(proxy).dropped.saturating_add(of_api);
        if lost == 0 {
            return Ok(());
        }
        Err(Unknown::new(
            "the recording has lost records",
            "fewer requests or a shorter time where it reached its bound; else the file as it was written",
        ))
    }
}

impl View<'_> {
    fn prompt(&self) -> Result<(), Unknown> {
        let late: Vec<u64> = self
            .late
            .iter()
            .map(|(_, late)| *late)
            .filter(|late| *late >= BUSY)
            .collect();
        if late.len() < 2 || late.len() * BUSY_SHARE <= self.late.len() {
            return Ok(());
        }
        let most = late.iter().max().copied().unwrap_or(0);
        Err(Unknown::new(
            format!(
                "the proxy itself was late by up to {:.0} ms, in {} of {} looks: the machine is too busy",
                super::millis(most),
                late.len(),
                self.late.len()
            ),
            "less at once on this machine, or more cores",
        ))
    }
}

/// How late the proxy was, as recorded each second.
fn late(trace: &Trace) -> Vec<(u64, u64)> {
    let late = trace.records.iter().filter_map(|record| match *record {
        Record::Lag { at, longest } => Some((at, longest)),
        _ => None,
    });
    late.collect()
}

fn session<'p>(
    passed: &'p mut [Passed<'_>],
    proxy: ProxyIndex,
    session: u64,
) -> Option<&'p mut Session> {
    let passed = passed.get_mut(usize::from(proxy.0))?;
    Some(passed.sessions.entry(session).or_insert(Session {
        session,
        opened: 0,
        connected: None,
        closed: None,
        turned_away: None,
        client: None,
        pid: None,
        lost: None,
    }))
}

fn sort_in<'t>(passed: &mut [Passed<'t>], record: usize, attempt: &'t Attempt) {
    session(passed, attempt.proxy, attempt.session);
    if let Some(passed) = passed.get_mut(usize::from(attempt.proxy.0)) {
        let seen = Seen { record, attempt };
        if is_work(attempt.class) {
            passed.work.push(seen);
        } else {
            passed.other.push(seen);
        }
    }
}

/// What is known of connections.
fn note(passed: &mut [Passed<'_>], record: Record) {
    match record {
        Record::Opened {
            at,
            proxy,
            session: s,
            client,
            ..
        } => {
            if let Some(session) = session(passed, proxy, s) {
                session.opened = at;
                session.client = Some(client);
            }
        }
        Record::Connected {
            at,
            proxy,
            session: s,
        } => {
            if let Some(session) = session(passed, proxy, s) {
                session.connected = Some(at);
            }
        }
        Record::Closed {
            at,
            proxy,
            session: s,
            by,
        } => {
            if let Some(session) = session(passed, proxy, s) {
                session.closed = Some((at, by));
            }
        }
        Record::TurnedAway {
            at,
            proxy,
            session: s,
            fault,
        } => {
            if let Some(session) = session(passed, proxy, s) {
                session.turned_away = Some(fault);
                if session.opened == 0 {
                    session.opened = at;
                }
            }
        }
        Record::Owner {
            proxy,
            session: s,
            pid,
            ..
        } => {
            if let Some(session) = session(passed, proxy, s) {
                session.pid = Some(pid);
            }
        }
        Record::TapLost {
            at,
            proxy,
            session: s,
            ..
        } => {
            if let Some(session) = session(passed, proxy, s) {
                session.lost = Some(at);
            }
        }
        Record::Dropped { proxy, count, .. } => {
            if let Some(passed) = passed.get_mut(usize::from(proxy.0)) {
                passed.dropped = passed.dropped.saturating_add(count);
            }
        }
        _ => {}
    }
}

/// What a breaker could be about: handshakes, pings and waiting are not.
const fn is_work(class: Class) -> bool {
    class.is_work()
}

fn api(trace: &Trace, topology: &Topology) -> Option<ProxyIndex> {
    let told = trace.header.service.as_ref();
    if let Some(name) = topology.api.as_ref().or_else(|| told?.api.as_ref()) {
        return trace.header.proxy(name);
    }
    let mut http = (0..)
        .map(ProxyIndex)
        .zip(&trace.header.proxies)
        .filter(|(_, p)| p.protocol == Protocol::Http);
    match (http.next(), http.next()) {
        (Some((only, _)), None) => Some(only),
        _ => None,
    }
}

/// Up to the first fault, without warm-up.
fn baseline(trace: &Trace, warm_until: Option<u64>, span: Span) -> Span {
    let first_fault = trace.records.iter().find_map(|record| match record {
        Record::FaultOn { at, .. } | Record::TurnedAway { at, .. } => Some(*at),
        Record::Attempt(a) if a.fault.is_some() => Some(a.begun),
        _ => None,
    });
    let from = warm_until.unwrap_or(span.from);
    let to = first_fault.unwrap_or(span.to.saturating_add(1)).max(from);
    Span { from, to }
}
