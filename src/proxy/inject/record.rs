//! Keeps the ledger for one session: what was done to an exchange, what came of it on either side, and whether it is asked again.

use super::super::relay::Relay;
use super::super::retries::{Asked as Request, Asker};
use super::super::shared::Shared;
use super::request::Asked;
use crate::fault::plan::Ending;
use crate::fault::{Decision, Plan, Skip, Undone};
use crate::measure::Shard;
use crate::measure::ledger::{
    Change, Entry, Fingerprint, Outcome, Retry, Saw, TagReader, Told, Touch,
};
use crate::protocol::{Fact, Operation, Protocol, Status, postgres};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime};

/// What is open of one session.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Exchanges that have not ended, in the order in which they began.
    open: VecDeque<Open>,
    /// The request that is being read, where its hash is wanted.
    asking: Option<Asking>,
    /// The reply that is being read, where its tag is wanted.
    answering: Option<Answering>,
    /// The client has closed its side, when so many bytes had gone to it: it hears no more. No client of these protocols closes
    /// one side only while it waits for a reply.
    heard: Option<u64>,
}

/// An exchange that has not ended.
#[derive(Debug)]
struct Open {
    exchange: u64,
    /// Its entry, where a fault touched it.
    entry: Option<u64>,
    /// The entry that it is the retry of.
    retry_of: Option<u64>,
    /// The server gets the request, sooner or later.
    passes: bool,
    /// No reply will come.
    silent: bool,
    saw: Saw,
    tag: Option<Cow<'static, str>>,
    told: Option<Told>,
    status: Status,
    /// Bytes of its reply that went to the client before it was open here.
    heard: u64,
    /// Where its reply begins and ends in what goes to the client.
    begin: Option<u64>,
    end: Option<u64>,
}

#[derive(Debug)]
struct Asking {
    exchange: u64,
    operation: Operation,
    entry: Option<u64>,
    fingerprint: Fingerprint,
    /// Hash of the name that the session gave itself.
    name: u64,
    /// Up to here the piece under way was hashed.
    fed: usize,
}

#[derive(Debug)]
struct Answering {
    exchange: u64,
    reader: TagReader,
    /// Bytes of the reply so far, as the server sent them.
    length: u64,
}

/// What is known of a request whose bytes, or those of its reply, vanish with the bytes of its session.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) by: Touch,
    /// The server has all of it.
    pub(super) reached: bool,
    /// Bytes of its reply that went to the client.
    pub(super) heard: u64,
}

impl Open {
    fn new(exchange: u64) -> Self {
        Self {
            exchange,
            entry: None,
            retry_of: None,
            passes: false,
            silent: false,
            saw: Saw::Nothing,
            tag: None,
            told: None,
            status: Status::CLOSED,
            heard: 0,
            begin: None,
            end: None,
        }
    }

    /// What is known of it, when so many bytes went to the client.
    fn outcome(&self, sent: u64, shared: &Shared) -> Outcome {
        let since = self.begin.map_or(0, |begin| {
            let end = self.end.unwrap_or(u64::MAX);
            sent.min(end).saturating_sub(begin)
        });
        let arrived = self.heard + since;
        let whole = self.end.is_some_and(|end| sent >= end);
        let told = match self.told {
            Some(told @ (Told::Reply | Told::Injected)) if whole => told,
            _ if arrived > 0 => Told::Partial,
            _ => Told::Nothing,
        };
        let status = match told {
            Told::Reply | Told::Injected => self.status,
            _ if self.silent => Status::OK,
            _ => Status::CLOSED,
        };
        Outcome {
            server: self.saw,
            tag: self.tag.clone(),
            told: Some(told),
            told_bytes: arrived,
            status: shared.catalog.status_name(status),
        }
    }
}

impl Record {
    /// Whether every exchange that it knows has ended.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a request is being read whose hash is wanted.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    fn find(&mut self, exchange: u64) -> Option<&mut Open> {
        let at = self.open.binary_search_by_key(&exchange, |o| o.exchange);
        self.open.get_mut(at.ok()?)
    }

    /// Faults act on an exchange.
    pub(super) fn begin(&mut self, exchange: u64, shared: &Shared) {
        let mut open = Open::new(exchange);
        open.entry = Some(shared.process.ledger.take());
        self.open.push_back(open);
    }

    /// The client has closed its side. So many bytes went to it until now.
    pub(super) fn client_left(&mut self, sent: u64) {
        self.heard.get_or_insert(sent);
    }

    /// What the client has heard of so many bytes.
    fn heard_of(&self, sent: u64) -> u64 {
        self.heard.map_or(sent, |heard| heard.min(sent))
    }

    /// The request of the newest exchange goes to the server.
    pub(super) fn passes(&mut self) {
        if let Some(open) = self.open.back_mut() {
            open.passes = true;
        }
    }

    /// What was decided of an exchange was carried out: writes its entry.
    pub(super) fn write(
        &mut self,
        asked: Asked,
        decision: &Decision,
        undone: Undone,
        plan: &Plan,
        relay: &Relay,
        shard: &mut Shard,
    ) {
        let touches = decision.undone(undone).map(|(name, skipped)| Touch {
            name: name.clone(),
            action: plan.action_of(name).unwrap_or_default().into(),
            skipped: skipped.map(|why| why.reason().into()),
        });
        self.enter(asked, decision, touches.collect(), undone, relay, shard);
    }

    /// A request is without a whole reply for good.
    pub(super) fn lost(&mut self, asked: Asked, lost: Lost, relay: &Relay, shard: &mut Shard) {
        if self.find(asked.0).is_none() {
            let at = self.open.partition_point(|o| o.exchange < asked.0);
            self.open.insert(at, Open::new(asked.0));
        }
        if let Some(open) = self.find(asked.0) {
            open.entry = Some(relay.shared.process.ledger.take());
            open.passes = lost.reached;
            if lost.reached {
                open.saw = Saw::Request;
            }
            // Of a retry whose reply has begun it is known where.
            if open.begin.is_none() {
                open.heard = lost.heard;
            }
        }
        let nothing_else = Decision::default();
        let done = Undone::default();
        self.enter(asked, &nothing_else, vec![lost.by], done, relay, shard);
    }

    /// Writes the entry of an exchange.
    fn enter(
        &mut self,
        asked: Asked,
        decision: &Decision,
        faults: Vec<Touch>,
        undone: Undone,
        relay: &Relay,
        shard: &mut Shard,
    ) {
        let shared = &relay.shared;
        let found = self.find(asked.0);
        let id = found.as_ref().and_then(|open| open.entry);
        let ends = decision.end.as_ref().filter(|_| undone.end.is_none());
        let stalls = matches!(ends, Some(Ending::Stall | Ending::Timeout(_)));
        let kept = found.as_ref().is_some_and(|open| !open.passes || stalls);
        // Bytes that arrived together are no exchange of which more would be known.
        let bare = shared.protocol() == Protocol::Tcp || (found.is_none() && relay.meter.lost);
        let numbering = &shared.process.ledger;
        // Where nothing was held, nothing is entered as held.
        let held = |delay, skipped: Option<Skip>| skipped.map_or_else(|| micros(delay), |_| 0);
        let entry = Entry {
            id: id.unwrap_or_else(|| numbering.take()),
            time_us: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, micros),
            proxy: shared.name.clone(),
            session: relay.session,
            exchange: asked.0,
            operation: shared.catalog.operation_name(asked.1),
            class: asked.2,
            skipped: faults.iter().find_map(|touch| touch.skipped.clone()),
            faults,
            request_delay_us: held(decision.request_delay, undone.request),
            reply_delay_us: held(decision.reply_delay, undone.reply),
            reply_floor_us: held(decision.reply_floor, undone.reply),
            server: (kept && !bare).then_some(Saw::Nothing),
            tag: None,
            told: None,
            told_bytes: 0,
            status: None,
            open: !bare,
            retry: None,
            fingerprint: None,
        };
        shard.ledger.write(entry, numbering.gone());
    }

    /// The request was sent to the server whole.
    pub(super) fn forwarded(&mut self, exchange: u64) {
        if let Some(open) = self.find(exchange)
            && open.saw == Saw::Nothing
        {
            open.saw = Saw::Request;
        }
    }

    /// An exchange is identified, and its hash wanted: these are its bytes so far, up to `at` of the piece.
    pub(super) fn ask(
        &mut self,
        (exchange, operation, _): Asked,
        seen: &[u8],
        at: usize,
        relay: &Relay,
    ) {
        let shared = &relay.shared;
        let key = shared.process.ledger.key();
        let facts = relay.meter.decoder.facts();
        let name = facts.map_or(&b""[..], |facts| facts.get(Fact::Name, exchange));
        let mut fingerprint = Fingerprint::new(key, shared.protocol());
        fingerprint.feed(seen);
        self.asking = Some(Asking {
            exchange,
            operation,
            entry: self.find(exchange).and_then(|open| open.entry),
            fingerprint,
            name: key.hash_one(name),
            fed: at,
        });
    }

    /// The piece under way ends: what of it belongs to the request is hashed.
    pub(super) fn end_of_piece(&mut self, piece: &[u8]) {
        if let Some(asking) = &mut self.asking {
            asking
                .fingerprint
                .feed(&piece[asking.fed.min(piece.len())..]);
            asking.fed = 0;
        }
    }

    /// The last byte of a request is before `at` of the piece; `replies`: it will be answered.
    pub(super) fn asked(
        &mut self,
        (exchange, replies): (u64, bool),
        piece: &[u8],
        at: usize,
        now: u64,
        relay: &Relay,
        shard: &mut Shard,
    ) {
        if !replies && let Some(open) = self.find(exchange) {
            open.silent = true;
        }
        let Some(asking) = self.asking.take_if(|a| a.exchange == exchange) else {
            return;
        };
        let mut fingerprint = asking.fingerprint;
        fingerprint.feed(&piece[asking.fed.min(at)..at]);
        let request = Request {
            operation: asking.operation,
            fingerprint: fingerprint.finish(),
        };
        let shared = &relay.shared;
        let numbering = &shared.process.ledger;
        let asker = Asker {
            session: relay.session,
            peer: relay.peer,
            name: asking.name,
        };
        if shared.retries.is_waiting()
            && let Some(first) = shared.retries.take(request, asker, exchange, now)
        {
            let retry = Change::Retried(Retry {
                session: relay.session,
                exchange,
                after_us: now.saturating_sub(first.at) / 1000,
                server: None,
                tag: None,
                status: None,
            });
            shard.ledger.change(first.entry, retry, numbering.gone());
            self.expect_retry(exchange, first.entry);
        }
        if let Some(entry) = asking.entry {
            let hash = Change::Fingerprint(request.fingerprint);
            shard.ledger.change(entry, hash, numbering.gone());
            let later = shared.sessions_so_far();
            let place = (entry, exchange);
            shared
                .retries
                .watch(request, place, asker, later, now, numbering);
        }
    }

    /// This exchange is the retry of an entry.
    fn expect_retry(&mut self, exchange: u64, entry: u64) {
        if let Some(open) = self.find(exchange) {
            open.retry_of = Some(entry);
            return;
        }
        let mut open = Open::new(exchange);
        open.retry_of = Some(entry);
        // No fault touches it: it goes on as it came.
        open.passes = true;
        open.saw = Saw::Request;
        self.open.push_back(open);
    }

    /// The reply of an exchange begins, at this place in what goes to the client.
    pub(super) fn reply_begins(&mut self, exchange: u64, place: u64, protocol: Protocol) {
        self.answering = None;
        if let Some(open) = self.find(exchange) {
            open.begin = Some(place);
            self.answering = Some(Answering {
                exchange,
                reader: TagReader::new(protocol),
                length: 0,
            });
        }
    }

    /// Bytes of the server.
    pub(super) fn reply_bytes(&mut self, bytes: &[u8]) {
        if let Some(answering) = &mut self.answering {
            answering.reader.feed(bytes);
            answering.length += bytes.len() as u64;
        }
    }

    /// The reply of an exchange is complete: the server's `status`, or the one that was put in its place, and up to where it goes in
    /// what goes to the client.
    pub(super) fn reply_ends(
        &mut self,
        exchange: u64,
        status: Status,
        injected: Option<Status>,
        place: u64,
        shared: &Shared,
    ) {
        let answering = self.answering.take_if(|a| a.exchange == exchange);
        let Some(open) = self.find(exchange) else {
            return;
        };
        let length = answering.as_ref().map_or(0, |a| a.length);
        let begin = *open.begin.get_or_insert(place);
        open.end = Some(place);
        open.status = injected.unwrap_or(status);
        open.told = match injected {
            Some(_) => Some(Told::Injected),
            None if place - begin >= length => Some(Told::Reply),
            None => None,
        };
        if !open.passes {
            return;
        }
        if shared.protocol() == Protocol::Postgres && status == postgres::SKIPPED {
            open.saw = Saw::Request;
            return;
        }
        open.saw = Saw::Completed;
        open.tag = if status == Status::OK {
            answering.and_then(|a| a.reader.finish())
        } else {
            Some(shared.catalog.status_name(status))
        };
    }

    /// What was decided of an exchange, and written, turned out not to be possible.
    pub(super) fn skipped(
        &mut self,
        exchange: u64,
        decision: &Decision,
        undone: Undone,
        shared: &Shared,
        shard: &mut Shard,
    ) {
        let Some(entry) = self.find(exchange).and_then(|open| open.entry) else {
            return;
        };
        let gone = shared.process.ledger.gone();
        for (fault, why) in decision.undone(undone) {
            if let Some(why) = why {
                let skipped = Change::Skipped(fault.clone(), why.reason());
                shard.ledger.change(entry, skipped, gone);
            }
        }
    }

    /// What an exchange did was undone: the transaction that it was a part of ends with the session.
    pub(super) fn not_committed(&mut self, exchange: u64) {
        if let Some(open) = self.find(exchange) {
            open.saw = Saw::Request;
            open.tag = None;
        }
    }

    /// An exchange was answered here, at these places in what goes to the client.
    pub(super) fn answered(&mut self, exchange: u64, status: Status, (begin, end): (u64, u64)) {
        if let Some(open) = self.find(exchange) {
            open.begin = Some(begin);
            open.end = Some(end);
            open.told = (end > begin).then_some(Told::Injected);
            open.status = status;
        }
    }

    /// So many bytes went to the client: closes what has ended by that.
    pub(super) fn sent(&mut self, sent: u64, shared: &Shared, shard: &mut Shard) {
        while let Some(open) = self.open.front() {
            let silent = open.silent && open.saw == Saw::Request;
            if !silent && open.end.is_none_or(|end| sent < end) {
                break;
            }
            close(open, self.heard_of(sent), shared, shard);
            self.open.pop_front();
        }
    }

    /// The session ends, when so many bytes went to the client: closes all with what is known.
    pub(super) fn end(&mut self, sent: u64, shared: &Shared, shard: &mut Shard) {
        let heard = self.heard_of(sent);
        for open in self.open.drain(..) {
            close(&open, heard, shared, shard);
        }
    }

    /// The decoder lost its place: what becomes of the exchanges will not be known.
    pub(super) fn give_up(&mut self, sent: u64, shared: &Shared, shard: &mut Shard) {
        self.asking = None;
        self.answering = None;
        for open in self.open.drain(..) {
            let mut outcome = open.outcome(sent, shared);
            outcome.told = None;
            tell(&open, outcome, shared, shard);
        }
    }
}

/// Writes down how an exchange ended.
fn close(open: &Open, sent: u64, shared: &Shared, shard: &mut Shard) {
    let outcome = open.outcome(sent, shared);
    if let Some(entry) = open.entry
        && outcome.told == Some(Told::Reply)
    {
        shared.retries.forget(entry);
    }
    tell(open, outcome, shared, shard);
}

fn tell(open: &Open, outcome: Outcome, shared: &Shared, shard: &mut Shard) {
    let gone = shared.process.ledger.gone();
    if let Some(first) = open.retry_of {
        let change = Change::RetryEnded(outcome.clone());
        shard.ledger.change(first, change, gone);
    }
    if let Some(entry) = open.entry {
        shard.ledger.change(entry, Change::Closed(outcome), gone);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
