//! The state machine of a session: pairs its replies with its requests.

use std::collections::VecDeque;
use std::sync::Arc;

use super::body::Body;
use super::method::Method;
use super::reply::{self, Asked, Replies};
use super::request::{self, Requests};
use super::routes::Routes;
use crate::protocol::{Class, Event, Located, Lost, MAX_OUTSTANDING, Operation};

/// Decoder of one session.
///
/// Offsets of events are the same however the stream is cut, with one exception that no tap can avoid, since it has to let
/// bytes pass before it knows what they are. `ReplyBegin` stands at the first byte of the final reply, interim replies
/// (RFC 9110 section 15.2) excluded. Where a piece ends within the twelve bytes up to the status code, the decoder takes
/// them for the final reply; if an interim one follows after all, `ReplyBegin` was early. Only after `Expect: 100-continue`,
/// as long as no interim reply came, it takes them for that, and `ReplyBegin` is up to eleven bytes late if it is wrong.
///
/// A reply that comes before its request's head is complete (408, 414, 431) is `Lost::Unpaired`: what it answers is unknown.
#[derive(Debug)]
pub struct Decoder {
    routes: Arc<Routes>,
    requests: Requests,
    replies: Replies,
    /// Requests without a complete reply whose heads are known, oldest first.
    outstanding: VecDeque<Outstanding>,
    /// The exchange at the front of `outstanding`; the next one to be known if that is empty.
    oldest: u64,
    /// Requests begun.
    begun: u64,
    /// The request whose head is being read is withheld.
    withheld: bool,
    tap: Tap,
    /// What the newest request of which the head is known asked for.
    newest: Option<(Operation, Class)>,
}

/// A session that became another by what a request asked for: its bytes are nobody's requests any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Requests before the tunnel's bytes.
    pub requests: u64,
    /// What the request asked for that made it.
    pub operation: Operation,
    /// Its class.
    pub class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tap {
    Following,
    /// Something that no event could be told for: it is the next one.
    Losing(Lost),
    Lost,
    /// Both sides agreed on it.
    Tunnel,
}

/// What must be remembered of a request until its reply is complete. One byte, since a pipeline may be deep.
#[derive(Clone, Copy, Debug)]
struct Outstanding(u8);

impl Outstanding {
    const HEAD: u8 = 1;
    const CONNECT: u8 = 1 << 1;
    const CLOSES: u8 = 1 << 2;
    const EXPECTS_CONTINUE: u8 = 1 << 3;
    const WITHHELD: u8 = 1 << 4;

    fn new(head: request::Head, withheld: bool) -> Self {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        Self(
            flag(head.method == Method::Head, Self::HEAD)
                | flag(head.method == Method::Connect, Self::CONNECT)
                | flag(head.closes, Self::CLOSES)
                | flag(head.expects_continue, Self::EXPECTS_CONTINUE)
                | flag(withheld, Self::WITHHELD),
        )
    }

    fn is(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn asked(self) -> Asked {
        Asked {
            method: if self.is(Self::HEAD) {
                Method::Head
            } else if self.is(Self::CONNECT) {
                Method::Connect
            } else {
                Method::Other
            },
            expects_continue: self.is(Self::EXPECTS_CONTINUE),
        }
    }
}

/// What is still to come of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLeft {
    /// Nothing: the request is complete, or its head is not.
    None,
    /// This many bytes.
    Known(u64),
    /// The chunked coding, or the rest of it: any number.
    Chunked,
}

impl Decoder {
    /// A decoder at the start of a session.
    pub fn new(routes: Arc<Routes>) -> Self {
        Self {
            routes,
            requests: Requests::new(),
            replies: Replies::new(),
            outstanding: VecDeque::new(),
            oldest: 0,
            begun: 0,
            withheld: false,
            tap: Tap::Following,
            newest: None,
        }
    }

    /// See [`crate::protocol::Decoder::request`].
    pub fn request(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        if !self.follows(out) {
            return;
        }
        let mut at = 0;
        loop {
            match self.requests.next(bytes, &mut at, &self.routes) {
                Ok(None) => return,
                Ok(Some(request::Seen::Begin)) => {
                    self.begun += 1;
                    self.tell_newest(at, Event::RequestBegin, out);
                }
                Ok(Some(request::Seen::Head)) => {
                    let head = self.requests.head();
                    self.newest = Some((head.operation, head.method.class()));
                    if let Err(lost) = self.expect_reply(head) {
                        return self.give_up(at, lost, out);
                    }
                    let event = Event::RequestKnown {
                        operation: head.operation,
                        class: head.method.class(),
                        replies: true,
                    };
                    self.tell_newest(at, event, out);
                }
                Ok(Some(request::Seen::End)) => self.tell_newest(at, Event::RequestEnd, out),
                Err(lost) => return self.give_up(at, lost, out),
            }
        }
    }

    /// See [`crate::protocol::Decoder::reply`].
    pub fn reply(&mut self, bytes: &[u8], out: &mut Vec<Located>) {
        if !self.follows(out) {
            return;
        }
        let mut at = 0;
        loop {
            self.drop_withheld();
            let asked = self.outstanding.front().map(|o| o.asked());
            match self.replies.next(bytes, &mut at, asked) {
                Ok(None) => return,
                Ok(Some(reply::Seen::Begin(at))) => out.push(Located {
                    at,
                    exchange: self.oldest,
                    event: Event::ReplyBegin,
                }),
                Ok(Some(reply::Seen::End(status))) => {
                    out.push(self.pop_oldest(at, Event::ReplyEnd { status }));
                    if asked.is_some_and(|a| a.method == Method::Connect)
                        && let Err(lost) = self.requests.connect_refused()
                    {
                        return self.give_up(at, lost, out);
                    }
                }
                Ok(Some(reply::Seen::Tunnel(status))) => {
                    out.push(self.pop_oldest(at, Event::ReplyEnd { status }));
                    return self.give_up(at, Lost::Tunnel, out);
                }
                Err(lost) => return self.give_up(at, lost, out),
            }
        }
    }

    /// See [`crate::protocol::Decoder::reply_eof`].
    pub fn reply_eof(&mut self, out: &mut Vec<Located>) {
        if !self.follows(out) {
            return;
        }
        if let Some(status) = self.replies.eof() {
            out.push(self.pop_oldest(0, Event::ReplyEnd { status }));
        }
    }

    /// See [`crate::protocol::Decoder::server`].
    pub fn server(&self) -> Option<&[u8]> {
        self.replies.server()
    }

    /// See [`crate::protocol::Decoder::withhold`].
    pub fn withhold(&mut self, exchange: u64) {
        if self.requests.in_head() && exchange + 1 == self.begun {
            self.withheld = true;
            return;
        }
        let Some(index) = self.index(exchange) else {
            return;
        };
        let withheld = &mut self.outstanding[index];
        withheld.0 |= Outstanding::WITHHELD;
        if withheld.is(Outstanding::CONNECT) {
            self.connect_withheld();
        }
    }

    /// Whether the exchange is a HEAD request. This, [`Self::expects_continue`] and [`Self::closes`] know of an exchange from its
    /// `RequestKnown` to its `ReplyEnd`, and of a withheld one no longer than until bytes that follow it are shown, in either
    /// direction: ask before that. `false` at other times.
    pub fn is_head(&self, exchange: u64) -> bool {
        self.has(exchange, Outstanding::HEAD)
    }

    /// Whether the exchange's client waits for 100 (Continue), or a final status, before it sends the body.
    pub fn expects_continue(&self, exchange: u64) -> bool {
        self.has(exchange, Outstanding::EXPECTS_CONTINUE)
    }

    /// Whether the connection ends after the reply, by the request's `Connection: close` or by HTTP/1.0.
    pub fn closes(&self, exchange: u64) -> bool {
        self.has(exchange, Outstanding::CLOSES)
    }

    /// What is still to come of a request's body. Only the newest request can lack any.
    pub fn request_body_left(&self, exchange: u64) -> BodyLeft {
        if exchange + 1 != self.begun {
            return BodyLeft::None;
        }
        match self.requests.body() {
            None | Some(Body::Fixed(0) | Body::ToEnd) => BodyLeft::None,
            Some(Body::Fixed(left)) => BodyLeft::Known(*left),
            Some(Body::Chunked(_)) => BodyLeft::Chunked,
        }
    }

    /// The tunnel that the session has become. A client asks for one only when it waits for nothing else, so it was the newest
    /// request that did.
    pub fn tunnel(&self) -> Option<Tunnel> {
        let (operation, class) = self.newest?;
        (self.tap == Tap::Tunnel).then_some(Tunnel {
            requests: self.begun,
            operation,
            class,
        })
    }

    /// Whether there is anything to decode. Tells a loss that could not be told before.
    fn follows(&mut self, out: &mut Vec<Located>) -> bool {
        if let Tap::Losing(lost) = self.tap {
            self.give_up(0, lost, out);
        }
        self.tap == Tap::Following
    }

    /// A request's head is complete: its reply is due.
    fn expect_reply(&mut self, head: request::Head) -> Result<(), Lost> {
        // Not only replies must do this: a session may have none but withheld requests.
        self.drop_withheld();
        if self.outstanding.len() >= MAX_OUTSTANDING {
            return Err(Lost::TooDeep);
        }
        let withheld = std::mem::take(&mut self.withheld);
        self.outstanding.push_back(Outstanding::new(head, withheld));
        if withheld && head.method == Method::Connect {
            self.connect_withheld();
        }
        Ok(())
    }

    /// Somebody else answers the CONNECT, and it is no tunnel.
    fn connect_withheld(&mut self) {
        if let Err(lost) = self.requests.connect_refused() {
            self.tap = Tap::Losing(lost);
        }
    }

    #[inline]
    fn drop_withheld(&mut self) {
        while self
            .outstanding
            .front()
            .is_some_and(|o| o.is(Outstanding::WITHHELD))
        {
            self.outstanding.pop_front();
            self.oldest += 1;
        }
    }

    /// The event that completes the oldest exchange.
    #[inline]
    fn pop_oldest(&mut self, at: usize, event: Event) -> Located {
        let exchange = self.oldest;
        self.outstanding.pop_front();
        self.oldest += 1;
        // A burst of pipelining is not kept for the life of the session.
        if self.outstanding.is_empty() && self.outstanding.capacity() > 4096 {
            self.outstanding = VecDeque::new();
        }
        Located {
            at,
            exchange,
            event,
        }
    }

    fn index(&self, exchange: u64) -> Option<usize> {
        let index = usize::try_from(exchange.checked_sub(self.oldest)?).ok()?;
        (index < self.outstanding.len()).then_some(index)
    }

    fn has(&self, exchange: u64, flag: u8) -> bool {
        self.index(exchange)
            .is_some_and(|index| self.outstanding[index].is(flag))
    }

    #[inline]
    fn tell_newest(&self, at: usize, event: Event, out: &mut Vec<Located>) {
        out.push(Located {
            at,
            exchange: self.begun.saturating_sub(1),
            event,
        });
    }

    #[cold]
    fn give_up(&mut self, at: usize, lost: Lost, out: &mut Vec<Located>) {
        self.tap = match lost {
            Lost::Tunnel => Tap::Tunnel,
            _ => Tap::Lost,
        };
        self.outstanding = VecDeque::new();
        self.tell_newest(at, Event::Lost(lost), out);
    }

    /// Bytes allocated beside the decoder itself.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.requests.allocated() + self.replies.allocated() + self.outstanding.capacity()
    }
}
