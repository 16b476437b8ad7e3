//! The two halves together.

use super::outstanding::Outstanding;
use super::reply::Replies;
use super::request::Requests;
use super::{Stop, emit};
use crate::protocol::{Event, Facts, Located, Lost, Status};

/// Whether the decoder still follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Following,
    /// Something outside the stream made it lose its place: told with the next bytes.
    Doomed(Lost),
    Silent,
}

/// Decoder of one session.
#[derive(Debug)]
pub struct Decoder {
    pub(super) requests: Requests,
    pub(super) replies: Replies,
    pub(super) outstanding: Outstanding,
    life: Life,
}

impl Decoder {
    /// A decoder at the start of a session.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            requests: Requests::new(),
            replies: Replies::new(),
            outstanding: Outstanding::default(),
            life: Life::Following,
        }
    }

    /// See [`crate::protocol::Decoder::request`].
    #[inline]
    pub fn request(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        if self.life != Life::Following {
            return self.end(out);
        }
        if let Err(stop) = self.requests.feed(bytes, &mut self.outstanding, out) {
            self.give_up(stop, out);
        }
    }

    /// See [`crate::protocol::Decoder::reply`].
    #[inline]
    pub fn reply(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        if self.life != Life::Following {
            return self.end(out);
        }
        let seen = out.len();
        let fed = self
            .replies
            .feed(bytes, &self.requests, &mut self.outstanding, out);
        if let Some(facts) = self.requests.waiting_facts() {
            for told in &out[seen..] {
                if let Event::ReplyEnd { status } = told.event {
                    facts.answered(told.exchange, status == Status::OK);
                }
            }
        }
        if let Err(stop) = fed {
            self.give_up(stop, out);
        }
    }

    /// What the session has said of itself.
    pub fn facts(&self) -> Option<&Facts> {
        self.requests.facts()
    }

    /// See [`crate::protocol::Decoder::server`].
    pub fn server(&self) -> Option<&[u8]> {
        self.replies.version()
    }

    /// See [`crate::protocol::Decoder::withhold`]. Of a request that changes whether later ones are answered (CLIENT REPLY), and
    /// after which others were already shown, the pairing cannot be undone: the decoder then gives up with the next bytes.
    pub fn withhold(&mut self, exchange: u64) {
        if let Some(facts) = self.requests.waiting_facts() {
            facts.withhold(exchange);
        }
        if !self.requests.withhold(exchange, &mut self.outstanding) && self.life == Life::Following
        {
            self.life = Life::Doomed(Lost::Unpaired);
        }
    }

    /// Whether [`Self::withhold`] leaves the pairing known.
    pub fn can_withhold(&self, exchange: u64) -> bool {
        self.requests.can_withhold(exchange, &self.outstanding)
    }

    /// Bytes held on the heap: the queue, and what each half makes once.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.outstanding.heap() + Requests::DETAILS + Replies::DETAILS
    }

    #[cold]
    fn give_up(&mut self, stop: Stop, out: &mut Vec<Located>) {
        emit(out, stop.at, self.requests.newest(), Event::Lost(stop.why));
        self.life = Life::Silent;
        self.outstanding.clear();
    }

    #[cold]
    fn end(&mut self, out: &mut Vec<Located>) {
        if let Life::Doomed(why) = self.life {
            self.give_up(Stop { at: 0, why }, out);
        }
    }
}
