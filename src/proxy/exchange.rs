//! One exchange of a session, from its first byte to its completion, and what becomes of it then.

use crate::measure::trace::{Outcome, Taped};
use crate::measure::{ProxyId, Sample, Shard};
use crate::protocol::{Class, Operation, Status};

/// An exchange between its first byte and its completion. Times are nanoseconds of [`super::clock`], 0 for not yet.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) operation: Operation,
    pub(crate) class: Class,
    pub(super) status: Status,
    pub(super) known: bool,
    /// A reply will come.
    pub(crate) replies: bool,
    pub(super) replied: bool,
    /// A fault touches it.
    pub(crate) injected: bool,
    /// Last byte of the request seen.
    pub(crate) asked: u64,
    /// Last byte of the request sent on, where a fault held it.
    pub(crate) forwarded: u64,
    pub(super) first_byte: u64,
    /// Last byte of the reply seen.
    pub(super) answered: u64,
    /// Stream offset of the request's first byte, then its size.
    pub(super) request_bytes: u64,
    /// Stream offset of the reply's first byte, then its size.
    pub(super) reply_bytes: u64,
}

/// A complete exchange.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(super) sample: Sample,
    /// When its request was complete: what the client's latency counts from.
    pub(crate) asked: u64,
    /// When its first reply byte was seen.
    pub(crate) first_byte: u64,
    /// What a recording knows of it.
    pub(super) taped: Option<Taped>,
}

impl Finished {
    /// Its reply was sent on, the first byte at `first`, the last at `sent`.
    #[inline]
    pub(crate) fn sent(mut self, first: u64, sent: u64, proxy: ProxyId, shard: &mut Shard) {
        self.sample.client = sent.saturating_sub(self.asked);
        self.sample.first_byte = first.saturating_sub(self.asked);
        shard.completed(proxy, &self.sample);
        let asked = self.asked;
        let taped = self.taped.take();
        if let Some(record) = taped.and_then(|t| t.answered(&self.sample, asked, first, sent)) {
            shard.roll.write(proxy, || record);
        }
    }

    /// Its reply goes on at `now`, as it comes.
    #[inline]
    pub(crate) fn passed(self, now: u64, proxy: ProxyId, shard: &mut Shard) {
        let first = self.first_byte;
        self.sent(first, now, proxy, shard);
    }

    /// Another status than the server's goes on.
    pub(crate) fn becomes(&mut self, status: Status) {
        self.sample.status = status;
    }

    /// Its reply never went on, or not whole; the session ended at `now`.
    pub(crate) fn cut(mut self, now: u64, outcome: Outcome, proxy: ProxyId, shard: &mut Shard) {
        let upstream = self.sample.upstream;
        self.sample.client = now.saturating_sub(self.asked);
        self.sample.first_byte = self.first_byte.saturating_sub(self.asked);
        self.sample.status = Status::CLOSED;
        shard.completed(proxy, &self.sample);
        if let Some(record) = self.taped.take().and_then(|taped| {
            let Sample {
                operation, class, ..
            } = self.sample;
            taped.unanswered(operation, class, self.asked, now, upstream, outcome)
        }) {
            shard.roll.write(proxy, || record);
        }
    }
}

impl Exchange {
    #[inline]
    pub(super) fn new(offset: u64) -> Self {
        Self {
            operation: Operation(0),
            class: Class::Admin,
            status: Status::OK,
            known: false,
            replies: true,
            replied: false,
            injected: false,
            asked: 0,
            forwarded: 0,
            first_byte: 0,
            answered: 0,
            request_bytes: offset,
            reply_bytes: 0,
        }
    }

    /// Whether it was asked as a whole, and nothing else has happened to it.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        let touched = self.injected || self.replied || self.first_byte != 0 || self.forwarded != 0;
        self.known && self.asked != 0 && !touched
    }

    /// Whether it is without a whole reply, and no fault has touched it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.known && !self.replied && !self.injected
    }

    /// Where its reply begins in what the server sent, if it has begun and is not complete.
    pub(super) fn reply_begun(&self) -> Option<u64> {
        (self.first_byte != 0 && !self.replied).then_some(self.reply_bytes)
    }

    #[inline]
    pub(super) fn reply_begins(&mut self, offset: u64, now: u64) {
        self.first_byte = now;
        self.reply_bytes = offset;
    }

    #[inline]
    pub(super) fn reply_ends(&mut self, offset: u64, status: Status, now: u64) {
        self.status = status;
        self.replied = true;
        self.answered = now;
        if self.first_byte == 0 {
            self.reply_begins(offset, now);
        }
        self.reply_bytes = offset - self.reply_bytes;
    }

    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.replied && self.asked != 0 && !self.known
    }

    #[inline]
    pub(super) fn finished(&self) -> Finished {
        let forwarded = if self.forwarded == 0 {
            self.asked
        } else {
            self.forwarded
        };
        let sample = Sample {
            operation: self.operation,
            class: self.class,
            status: self.status,
            client: self.answered.saturating_sub(self.asked),
            upstream: Some(self.answered.saturating_sub(forwarded)),
            first_byte: self.first_byte.saturating_sub(self.asked),
            request_bytes: self.request_bytes,
            reply_bytes: self.reply_bytes,
            injected: self.injected,
        };
        Finished {
            sample,
            asked: self.asked,
            first_byte: self.first_byte,
            taped: None,
        }
    }
}
