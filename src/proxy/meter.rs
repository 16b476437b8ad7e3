//! One session's bookkeeping: what the decoder says becomes samples.
//!
//! The meter holds the exchanges that are not complete, in the order in which they began. It knows nothing of sockets and
//! faults; time comes in with every call.

use super::event::Event as Happening;
use super::exchange::{Exchange, Finished};
use super::introduction::Introduction;
use super::local::Local;
use super::row::{Begun, Ended};
use super::shared::Shared;
use crate::measure::trace::{Label, Outcome, Record, Tape};
use crate::measure::{Counter, Sample, Shard, Timing};
use crate::protocol::{
    Class, Decoder, Event, Located, Lost, Operation, Protocol, Status, Transaction,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// One session's bookkeeping.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) decoder: Decoder,
    exchanges: VecDeque<Exchange>,
    /// The ordinal of the first exchange in `exchanges`.
    base: u64,
    /// Complete ones that only keep their places behind older ones.
    spent: usize,
    up_offset: u64,
    down_offset: u64,
    /// Since when requests are outstanding; 0: none are.
    busy_since: u64,
    transaction_since: u64,
    idle_in_transaction_since: u64,
    /// Where the session is being recorded.
    tape: Option<Box<Tape>>,
    /// The decoder gave up, or never was: plain TCP.
    pub(crate) lost: bool,
    /// It gave up on bytes that it should have followed.
    pub(crate) desynced: bool,
    introduction: Introduction,
}

/// Capacity that an idle session keeps for its next pipeline.
const KEPT: usize = 32;

impl Meter {
    pub(crate) fn new(shared: &Shared, session: u64) -> Self {
        let recorded = shared.process.is_recording();
        Self {
            decoder: Decoder::new(&shared.catalog),
            exchanges: VecDeque::new(),
            base: 0,
            spent: 0,
            up_offset: 0,
            down_offset: 0,
            busy_since: 0,
            transaction_since: 0,
            idle_in_transaction_since: 0,
            tape: recorded.then(|| Box::new(Tape::new(shared.id, shared.protocol(), session))),
            lost: shared.protocol() == Protocol::Tcp,
            desynced: false,
            introduction: Introduction::new(shared),
        }
    }

    /// Bytes from the client, nothing held: the fast way.
    #[inline]
    pub(crate) fn request(
        &mut self,
        length: usize,
        now: u64,
        local: &mut Local,
        shared: &Shared,
        session: u64,
    ) {
        local
            .shard
            .count(shared.id, Counter::BytesUp, length as u64);
        if self.lost {
            return;
        }
        local.events.clear();
        self.decoder
            .request(&local.scratch[..length], &mut local.events);
        self.record(&local.scratch[..length], &local.events, now, shared);
        let mut begun = Begun::new(shared.id);
        for event in &local.events {
            if let Event::Request {
                begin,
                operation,
                class,
                ..
            } = event.event
            {
                self.ask(event.exchange, operation, class, event.at - begin, now);
                begun.add(operation, class, &mut local.shard);
            } else if let Some(done) =
                self.on_request(event, now, &mut local.shard, shared, session)
            {
                done.sent(now, now, shared.id, &mut local.shard);
            }
        }
        begun.tell(&mut local.shard);
        self.end_of_piece(length, 0, now, &mut local.shard, shared);
    }

    /// Bytes from the server, nothing held: the fast way.
    #[inline]
    pub(crate) fn reply(
        &mut self,
        length: usize,
        now: u64,
        local: &mut Local,
        shared: &Shared,
        session: u64,
    ) {
        local
            .shard
            .count(shared.id, Counter::BytesDown, length as u64);
        if self.lost {
            return;
        }
        local.events.clear();
        self.decoder
            .reply(&local.scratch[..length], &mut local.events);
        let mut ended = Ended::new(shared.id);
        for event in &local.events {
            if let Event::Reply { begin, status } = event.event
                && let Some(sample) = self.answer(event.exchange, status, event.at - begin, now)
            {
                ended.add(sample, &mut local.shard);
            } else if let Some(done) = self.on_reply(event, now, &mut local.shard, shared, session)
            {
                done.passed(now, shared.id, &mut local.shard);
            }
        }
        ended.tell(&mut local.shard);
        self.end_of_piece(0, length, now, &mut local.shard, shared);
    }

    /// The server's FIN. Ends an HTTP reply that runs to the end of the connection.
    pub(crate) fn reply_eof(&mut self, now: u64, local: &mut Local, shared: &Shared, session: u64) {
        self.reply_eof_events(local);
        for event in &local.events {
            if let Some(done) = self.on_reply(event, now, &mut local.shard, shared, session) {
                done.passed(now, shared.id, &mut local.shard);
            }
        }
        self.end_of_piece(0, 0, now, &mut local.shard, shared);
    }

    /// What that ends, into the events.
    pub(crate) fn reply_eof_events(&mut self, local: &mut Local) {
        local.events.clear();
        if !self.lost {
            self.decoder.reply_eof(&mut local.events);
        }
    }

    /// Shows a piece from the client to the recording, before what the decoder says of it is acted on.
    #[inline]
    pub(crate) fn record(&mut self, piece: &[u8], events: &[Located], now: u64, shared: &Shared) {
        if let Some(tape) = &mut self.tape {
            tape.request(piece, events, now, shared.process.ledger.key());
        }
    }

    /// A fault touches an exchange.
    pub(crate) fn touched(&mut self, exchange: u64, fault: &Arc<str>) {
        if let Some(e) = self.get_mut(exchange) {
            e.injected = true;
        }
        if let Some(tape) = &mut self.tape {
            tape.touched(exchange, fault);
        }
    }

    /// A request that is whole in the piece, of so many bytes.
    #[inline]
    pub(crate) fn ask(
        &mut self,
        exchange: u64,
        operation: Operation,
        class: Class,
        length: usize,
        now: u64,
    ) {
        debug_assert_eq!(
            exchange,
            self.base + self.exchanges.len() as u64,
            "exchanges begin in order"
        );
        self.exchanges.push_back(Exchange {
            operation,
            class,
            known: true,
            asked: now,
            ..Exchange::new(length as u64)
        });
    }

    /// A reply that is whole in the piece, of so many bytes. `None` changes nothing: its exchange is not simply the oldest, asked
    /// as a whole and touched by nothing.
    #[inline]
    fn answer(&mut self, exchange: u64, status: Status, length: usize, now: u64) -> Option<Sample> {
        let oldest = self.exchanges.front()?;
        if exchange != self.base || !oldest.is_plain() || self.tape.is_some() {
            return None;
        }
        let client = now.saturating_sub(oldest.asked);
        let sample = Sample {
            operation: oldest.operation,
            class: oldest.class,
            status,
            client,
            upstream: Some(client),
            first_byte: client,
            request_bytes: oldest.request_bytes,
            reply_bytes: length as u64,
            injected: false,
        };
        self.pop();
        Some(sample)
    }

    /// Forgets the oldest exchange, and those behind it that only kept their places.
    #[inline]
    fn pop(&mut self) {
        self.exchanges.pop_front();
        self.base += 1;
        while self.spent > 0 && self.exchanges.front().is_some_and(Exchange::is_spent) {
            self.exchanges.pop_front();
            self.base += 1;
            self.spent -= 1;
        }
    }

    /// One event of the client's bytes. Returns the exchange that it completes.
    #[inline]
    pub(crate) fn on_request(
        &mut self,
        located: &Located,
        now: u64,
        shard: &mut Shard,
        shared: &Shared,
        session: u64,
    ) -> Option<Finished> {
        let offset = self.up_offset + located.at as u64;
        match located.event {
            Event::RequestBegin => {
                debug_assert_eq!(
                    located.exchange,
                    self.base + self.exchanges.len() as u64,
                    "exchanges begin in order"
                );
                self.exchanges.push_back(Exchange::new(offset));
                None
            }
            Event::RequestKnown {
                operation,
                class,
                replies,
            } => {
                let exchange = self.get_mut(located.exchange)?;
                exchange.operation = operation;
                exchange.class = class;
                exchange.replies = replies;
                exchange.known = true;
                shard.started(shared.id, operation, class);
                None
            }
            Event::Request {
                begin,
                operation,
                class,
                ..
            } => {
                let length = located.at - begin;
                self.ask(located.exchange, operation, class, length, now);
                shard.started(shared.id, operation, class);
                None
            }
            Event::RequestEnd => {
                let exchange = self.get_mut(located.exchange)?;
                exchange.asked = now;
                exchange.request_bytes = offset - exchange.request_bytes;
                if !exchange.replies {
                    exchange.replied = true;
                    exchange.first_byte = now;
                    exchange.answered = now;
                }
                exchange
                    .replied
                    .then(|| self.finish(located.exchange))
                    .flatten()
            }
            ref other => {
                self.aside(other, now, shard, shared, session);
                None
            }
        }
    }

    /// One event of the server's bytes. Returns the exchange that it completes.
    #[inline]
    pub(crate) fn on_reply(
        &mut self,
        located: &Located,
        now: u64,
        shard: &mut Shard,
        shared: &Shared,
        session: u64,
    ) -> Option<Finished> {
        let offset = self.down_offset + located.at as u64;
        match located.event {
            Event::ReplyBegin => {
                self.get_mut(located.exchange)?.reply_begins(offset, now);
                None
            }
            Event::ReplyEnd { status } => {
                let exchange = self.get_mut(located.exchange)?;
                exchange.reply_ends(offset, status, now);
                (exchange.asked != 0)
                    .then(|| self.finish(located.exchange))
                    .flatten()
            }
            Event::Reply { begin, status } => {
                let exchange = self.get_mut(located.exchange)?;
                exchange.reply_begins(offset - (located.at - begin) as u64, now);
                exchange.reply_ends(offset, status, now);
                (exchange.asked != 0)
                    .then(|| self.finish(located.exchange))
                    .flatten()
            }
            ref other => {
                self.aside(other, now, shard, shared, session);
                None
            }
        }
    }

    /// What belongs to the session rather than to one exchange.
    #[cold]
    fn aside(&mut self, event: &Event, now: u64, shard: &mut Shard, shared: &Shared, session: u64) {
        match *event {
            Event::PushBegin => shard.count(shared.id, Counter::Pushes, 1),
            Event::PartErrors(n) => shard.count(shared.id, Counter::PartErrors, u64::from(n)),
            Event::Published(hash) => {
                shard.count(shared.id, Counter::Published, 1);
                shared.deliveries.insert(hash, now);
            }
            Event::Delivered(hash) => {
                if let Some(published) = shared.deliveries.lookup(hash) {
                    shard.observe(shared.id, Timing::Delivery, now.saturating_sub(published));
                }
            }
            Event::Transaction(state) => {
                self.transaction(state, now, shard, shared);
                shard.roll.write(shared.id, || Record::Transaction {
                    at: now,
                    proxy: shared.id,
                    session,
                    state,
                });
            }
            Event::BackendKey { pid, key } if self.tape.is_some() => {
                shared.backends.insert((pid, key), session);
            }
            Event::Cancel { pid, key } => {
                shard.count(shared.id, Counter::Cancels, 1);
                shard.roll.write(shared.id, || Record::Cancel {
                    at: now,
                    proxy: shared.id,
                    target: shared.backends.get((pid, key)),
                });
            }
            Event::Lost(reason) => {
                self.lost = true;
                // A tunnel is what both sides agreed on.
                self.desynced = reason != Lost::Tunnel;
                if let Some(tape) = &mut self.tape {
                    tape.lose();
                }
                shard.count(shared.id, Counter::TapLost(reason), 1);
                shared.emit(|| Happening::TapLost {
                    proxy: shared.name.clone(),
                    session,
                    reason: reason.name(),
                });
                shard.roll.write(shared.id, || Record::TapLost {
                    at: now,
                    proxy: shared.id,
                    session,
                    reason: Label::Word(reason.name()),
                });
            }
            _ => {}
        }
    }

    fn transaction(&mut self, t: Transaction, now: u64, shard: &mut Shard, shared: &Shared) {
        let counter = match t {
            Transaction::Begin => Counter::TransactionsBegun,
            Transaction::Commit => Counter::TransactionsCommitted,
            Transaction::Rollback => Counter::TransactionsRolledBack,
            Transaction::Failed => Counter::TransactionsFailed,
        };
        shard.count(shared.id, counter, 1);
        match t {
            Transaction::Begin => self.transaction_since = now,
            Transaction::Failed => {}
            Transaction::Commit | Transaction::Rollback => {
                if self.transaction_since != 0 {
                    shard.observe(shared.id, Timing::Transaction, now - self.transaction_since);
                }
                self.transaction_since = 0;
                self.idle_in_transaction_since = 0;
            }
        }
    }

    /// Moves the offsets on, and notes whether the session became busy or idle.
    #[inline]
    pub(crate) fn end_of_piece(
        &mut self,
        up: usize,
        down: usize,
        now: u64,
        shard: &mut Shard,
        shared: &Shared,
    ) {
        self.pass_over(up, down, now, shard, shared);
        self.settle(false, now, shared);
    }

    /// Moves the offsets on.
    #[inline]
    pub(crate) fn pass_over(
        &mut self,
        up: usize,
        down: usize,
        now: u64,
        shard: &mut Shard,
        shared: &Shared,
    ) {
        self.up_offset += up as u64;
        self.down_offset += down as u64;
        if self.transaction_since != 0 {
            self.note_idle(now, shard, shared);
        }
        if self.introduction.is_awaited() {
            self.introduction.look(&self.decoder, shared);
        }
    }

    /// Notes whether the session became busy or idle. To its client it is busy as long as a reply is `held`.
    #[inline]
    pub(crate) fn settle(&mut self, held: bool, now: u64, shared: &Shared) {
        match (self.busy_since, self.exchanges.is_empty() || self.lost) {
            (0, false) => {
                self.busy_since = now;
                shared.levels.busy(now);
            }
            (since, true) if since != 0 && !held => {
                shared.levels.idle(since, now);
                self.busy_since = 0;
                if self.exchanges.capacity() > KEPT {
                    self.exchanges.shrink_to(KEPT);
                }
            }
            _ => {}
        }
    }

    /// Idle in transaction begins when the last reply is done inside a transaction, and ends with the next request.
    fn note_idle(&mut self, now: u64, shard: &mut Shard, shared: &Shared) {
        match (self.exchanges.is_empty(), self.idle_in_transaction_since) {
            (true, 0) => self.idle_in_transaction_since = now,
            (false, since) if since != 0 => {
                shard.observe(shared.id, Timing::IdleInTransaction, now - since);
                self.idle_in_transaction_since = 0;
            }
            _ => {}
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, exchange: u64) -> Option<&mut Exchange> {
        let index = usize::try_from(exchange.checked_sub(self.base)?).ok()?;
        self.exchanges.get_mut(index)
    }

    pub(crate) fn get(&self, exchange: u64) -> Option<&Exchange> {
        let index = usize::try_from(exchange.checked_sub(self.base)?).ok()?;
        self.exchanges.get(index)
    }

    /// The exchange that began last, while it is not complete.
    pub(crate) fn newest(&self) -> Option<u64> {
        (!self.exchanges.is_empty()).then(|| self.unanswered().end - 1)
    }

    /// The oldest exchange whose reply is not complete; the next one to come where all are.
    pub(crate) fn oldest_unanswered(&self) -> u64 {
        let done = self.exchanges.iter().take_while(|e| e.replied).count();
        self.base + done as u64
    }

    /// Those of which some have no complete reply; the end is the next one to come.
    pub(crate) fn unanswered(&self) -> Range<u64> {
        self.oldest_unanswered()..self.base + self.exchanges.len() as u64
    }

    /// Bytes that came of a reply, if it has begun and is not complete.
    pub(crate) fn reply_so_far(&self, exchange: &Exchange) -> Option<u64> {
        let begun = exchange.reply_begun()?;
        Some(self.down_offset.saturating_sub(begun))
    }

    /// The exchange that the next byte of the client belongs to.
    pub(crate) fn first_unfinished(&self) -> u64 {
        self.unanswered().end - u64::from(self.exchanges.back().is_some_and(|e| e.asked == 0))
    }

    /// Takes a complete exchange out. One in the middle stays as a place until those before it are complete.
    #[inline]
    fn finish(&mut self, exchange: u64) -> Option<Finished> {
        let mut finished = self.get(exchange)?.finished();
        let upstream = finished.sample.upstream;
        let tape = self.tape.as_mut();
        finished.taped = tape.and_then(|tape| tape.take(exchange, upstream));
        if exchange == self.base {
            self.pop();
        } else {
            self.get_mut(exchange)?.known = false;
            self.spent += 1;
        }
        Some(finished)
    }

    /// The request was answered here, and never reached the server.
    pub(crate) fn answered_here(
        &mut self,
        exchange: u64,
        status: Status,
        length: usize,
        now: u64,
    ) -> Option<Finished> {
        let up_offset = self.up_offset;
        let e = self.get_mut(exchange)?;
        e.injected = true;
        e.status = status;
        e.replied = true;
        e.first_byte = now;
        e.answered = now;
        e.reply_bytes = length as u64;
        if e.asked == 0 {
            e.asked = now;
            // All of it that came is before this piece.
            e.request_bytes = up_offset.saturating_sub(e.request_bytes);
        }
        let mut finished = self.finish(exchange)?;
        finished.sample.upstream = None;
        if let Some(taped) = &finished.taped {
            taped.answered_here();
        }
        Some(finished)
    }

    /// The session ended: what is outstanding ended with it, in this way.
    pub(crate) fn end(&mut self, now: u64, outcome: Outcome, shard: &mut Shard, shared: &Shared) {
        let all = std::mem::take(&mut self.exchanges);
        for (number, exchange) in (self.base..).zip(all).filter(|(_, e)| e.known) {
            let mut finished = exchange.finished();
            if finished.asked == 0 {
                finished.asked = now;
                let begin = finished.sample.request_bytes;
                finished.sample.request_bytes = self.up_offset.saturating_sub(begin);
            }
            let age = now.saturating_sub(finished.asked);
            finished.first_byte = now;
            finished.sample.upstream = Some(age);
            finished.sample.reply_bytes = 0;
            let tape = self.tape.as_mut();
            let taped = tape.and_then(|tape| tape.take(number, None));
            let (operation, class) = (finished.sample.operation, finished.sample.class);
            let asked = finished.asked;
            finished.cut(now, outcome, shared.id, shard);
            if let Some(record) = taped
                .and_then(|taped| taped.unanswered(operation, class, asked, now, None, outcome))
            {
                shard.roll.write(shared.id, || record);
            }
        }
        if self.busy_since != 0 {
            shared.levels.idle(self.busy_since, now);
            self.busy_since = 0;
        }
        if self.transaction_since != 0 {
            self.transaction(Transaction::Rollback, now, shard, shared);
        }
    }
}
