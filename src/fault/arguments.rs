//! What a fault may match of a request: the keys of a Redis command, the headers of an HTTP request, the statement of a Postgres
//! one; and what its session has said of itself.
//!
//! The request has passed the decoder, so it is well formed; still nothing here trusts it. Redis arguments are walked in place:
//! a request is a flat array of bulk strings, and a general decoder would recurse as deep as the sender likes and would not
//! answer for a command of which only the beginning is held. The crate `redis-protocol` is the oracle in the tests.

use crate::protocol::postgres::Statement;
use crate::protocol::{Fact, Facts, Protocol};

/// The bytes of a request, looked into once and only if somebody asks.
#[derive(Debug)]
pub struct Request<'a> {
    protocol: Protocol,
    bytes: &'a [u8],
    said: Said<'a>,
    exchange: u64,
    keys: Option<Vec<&'a [u8]>>,
    headers: Option<Vec<httparse::Header<'a>>>,
}

/// What the decoder knows beyond the bytes of the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// What the session has said of itself.
    pub facts: Option<&'a Facts>,
    /// What the statement says, where some fault looks at SQL.
    pub statement: Option<&'a Statement>,
}

impl<'a> Request<'a> {
    /// A request, as far as it is held.
    pub const fn new(protocol: Protocol, bytes: &'a [u8]) -> Self {
        Self {
            protocol,
            bytes,
            said: Said {
                facts: None,
                statement: None,
            },
            exchange: u64::MAX,
            keys: None,
            headers: None,
        }
    }

    /// A request that is told of, and not there.
    pub fn described(
        protocol: Protocol,
        keys: Vec<&'a [u8]>,
        headers: Vec<httparse::Header<'a>>,
    ) -> Self {
        Self {
            keys: Some(keys),
            headers: Some(headers),
            ..Self::new(protocol, b"")
        }
    }

    /// The same, and what the decoder knows of it: of its session as it is for the exchange of this number.
    #[must_use]
    pub const fn knowing(mut self, said: Said<'a>, exchange: u64) -> Self {
        self.said = said;
        self.exchange = exchange;
        self
    }

    fn fact(&self, fact: Fact) -> &'a [u8] {
        let facts = self.said.facts;
        facts.map_or(b"", |facts| facts.get(fact, self.exchange))
    }

    /// The session's database. Redis: its number.
    pub fn database(&self) -> &'a [u8] {
        match (self.fact(Fact::Database), self.protocol) {
            (b"", Protocol::Redis) => b"0",
            (database, _) => database,
        }
    }

    /// The session's user.
    pub fn user(&self) -> &'a [u8] {
        match (self.fact(Fact::User), self.protocol) {
            (b"", Protocol::Redis) => b"default",
            (user, _) => user,
        }
    }

    /// The `application_name` of a Postgres session.
    pub fn application_name(&self) -> &'a [u8] {
        match self.protocol {
            Protocol::Postgres => self.fact(Fact::Name),
            _ => b"",
        }
    }

    /// What the client calls itself. Empty: nothing.
    pub fn client_name(&mut self) -> &'a [u8] {
        if self.protocol != Protocol::Http {
            return self.fact(Fact::Name);
        }
        let mut lines = self.headers().iter();
        lines
            .find(|line| line.name.eq_ignore_ascii_case("User-Agent"))
            .map_or(b"", |line| line.value)
    }

    /// What the statement says.
    pub fn statement(&self) -> Option<&'a Statement> {
        self.said.statement
    }

    /// The keys of a Redis command; of one that is not held whole, those that are. Nothing on other protocols.
    pub fn keys(&mut self) -> &[&'a [u8]] {
        self.keys.get_or_insert_with(|| match self.protocol {
            Protocol::Redis => redis_keys(self.bytes).collect(),
            _ => Vec::new(),
        })
    }

    /// Whether this is so of one of the keys. Nothing is kept of a look at them.
    pub fn any_key(&self, so: impl FnMut(&'a [u8]) -> bool) -> bool {
        match (&self.keys, self.protocol) {
            (Some(keys), _) => keys.iter().copied().any(so),
            (None, Protocol::Redis) => redis_keys(self.bytes).any(so),
            (None, _) => false,
        }
    }

    /// The header lines of an HTTP request. None on other protocols, while the head is not held whole, or if it has more than 100.
    pub fn headers(&mut self) -> &[httparse::Header<'a>] {
        self.headers.get_or_insert_with(|| match self.protocol {
            Protocol::Http => http_headers(self.bytes),
            _ => Vec::new(),
        })
    }
}

fn redis_keys(request: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut arguments = Arguments::of(request);
    let total = arguments.as_ref().map_or(0, Arguments::total);
    let name = arguments.as_mut().and_then(Iterator::next);
    let mut keys = Keys::of(name.unwrap_or_default(), total);
    arguments
        .into_iter()
        .flatten()
        .zip(1..)
        .filter(move |(argument, at)| keys.is_key(*at, argument))
        .map(|(argument, _)| argument)
}

fn http_headers(request: &[u8]) -> Vec<httparse::Header<'_>> {
    let mut lines = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => parsed.headers.to_vec(),
        _ => Vec::new(),
    }
}

/// The arguments of a command, the name first, as far as they are held.
enum Arguments<'a> {
    /// `*N`, and N times `$length`, bytes.
    Array { rest: &'a [u8], left: u64 },
    /// Words on a line, as typed by hand.
    Inline(Words<'a>),
}

type Words<'a> = std::slice::Split<'a, u8, fn(&u8) -> bool>;

impl<'a> Arguments<'a> {
    fn of(request: &'a [u8]) -> Option<Self> {
        if request.first() == Some(&b'*') {
            let (left, rest) = length(request.get(1..)?)?;
            return Some(Self::Array { rest, left });
        }
        let end = request.iter().position(|byte| *byte == b'\n')?;
        Some(Self::Inline(
            request[..end].split(u8::is_ascii_whitespace as fn(&u8) -> bool),
        ))
    }

    /// How many there are, held or not.
    fn total(&self) -> u64 {
        match self {
            Self::Array { left, .. } => *left,
            Self::Inline(words) => words.clone().filter(|word| !word.is_empty()).count() as u64,
        }
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Array { rest, left } => {
                *left = left.checked_sub(1)?;
                let (size, after) = length(rest.strip_prefix(b"$")?)?;
                let size = usize::try_from(size).ok()?;
                let argument = after.get(..size)?;
                *rest = after[size..].strip_prefix(b"\r\n").unwrap_or_default();
                Some(argument)
            }
            Self::Inline(words) => words.find(|word| !word.is_empty()),
        }
    }
}

/// A number and the CRLF after it.
fn length(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(digits) {
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        digits += 1;
    }
    let rest = bytes[digits..].strip_prefix(b"\r\n")?;
    (digits > 0).then_some((value, rest))
}

/// Which arguments of a command are keys, decided argument by argument.
enum Keys {
    /// From `first` to `last`, every `step`th.
    Span { first: u64, last: u64, step: u64 },
    /// Argument `count` says how many follow it; `also` is one more.
    Counted { also: u64, count: u64, keys: u64 },
    /// After STREAMS, the first half.
    Streams { total: u64, last: Option<u64> },
    /// None.
    None,
}

impl Keys {
    /// By the command's name; what is not listed has its one key in first place, as most commands do.
    fn of(name: &[u8], total: u64) -> Self {
        let mut upper = [0; 24];
        let Some(upper) = upper.get_mut(..name.len()) else {
            return Self::None;
        };
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        let last = total.saturating_sub(1);
        let span = |first, last, step| Self::Span { first, last, step };
        let counted = |also, count| Self::Counted {
            also,
            count,
            keys: 0,
        };
        match &*upper {
            b"ACL" | b"ASKING" | b"AUTH" | b"BGREWRITEAOF" | b"BGSAVE" | b"CLIENT" | b"CLUSTER"
            | b"COMMAND" | b"CONFIG" | b"DBSIZE" | b"DEBUG" | b"DISCARD" | b"ECHO" | b"EXEC"
            | b"FAILOVER" | b"FLUSHALL" | b"FLUSHDB" | b"FUNCTION" | b"HELLO" | b"INFO"
            | b"KEYS" | b"LASTSAVE" | b"LATENCY" | b"LOLWUT" | b"MODULE" | b"MONITOR"
            | b"MULTI" | b"PING" | b"PSUBSCRIBE" | b"PSYNC" | b"PUBLISH" | b"PUBSUB"
            | b"PUNSUBSCRIBE" | b"QUIT" | b"RANDOMKEY" | b"READONLY" | b"READWRITE"
            | b"REPLCONF" | b"REPLICAOF" | b"RESET" | b"ROLE" | b"SAVE" | b"SCAN" | b"SCRIPT"
            | b"SELECT" | b"SHUTDOWN" | b"SLAVEOF" | b"SLOWLOG" | b"SPUBLISH" | b"SSUBSCRIBE"
            | b"SUBSCRIBE" | b"SUNSUBSCRIBE" | b"SWAPDB" | b"SYNC" | b"TIME" | b"UNSUBSCRIBE"
            | b"UNWATCH" | b"WAIT" | b"WAITAOF" => Self::None,
            b"DEL" | b"EXISTS" | b"MGET" | b"PFCOUNT" | b"PFMERGE" | b"SDIFF" | b"SDIFFSTORE"
            | b"SINTER" | b"SINTERSTORE" | b"SUNION" | b"SUNIONSTORE" | b"TOUCH" | b"UNLINK"
            | b"WATCH" => span(1, last, 1),
            b"MSET" | b"MSETNX" => span(1, last, 2),
            b"BLPOP" | b"BRPOP" | b"BZPOPMAX" | b"BZPOPMIN" => span(1, last.saturating_sub(1), 1),
            b"BLMOVE" | b"BRPOPLPUSH" | b"COPY" | b"GEOSEARCHSTORE" | b"LCS" | b"LMOVE"
            | b"RENAME" | b"RENAMENX" | b"RPOPLPUSH" | b"SMOVE" | b"ZRANGESTORE" => span(1, 2, 1),
            b"MEMORY" | b"OBJECT" | b"XGROUP" | b"XINFO" => span(2, 2, 1),
            b"MIGRATE" => span(3, 3, 1),
            b"BITOP" => span(2, last, 1),
            b"LMPOP" | b"SINTERCARD" | b"ZDIFF" | b"ZINTER" | b"ZINTERCARD" | b"ZMPOP"
            | b"ZUNION" => counted(0, 1),
            b"BLMPOP" | b"BZMPOP" | b"EVAL" | b"EVALSHA" | b"EVALSHA_RO" | b"EVAL_RO"
            | b"FCALL" | b"FCALL_RO" => counted(0, 2),
            b"ZDIFFSTORE" | b"ZINTERSTORE" | b"ZUNIONSTORE" => counted(1, 2),
            b"XREAD" | b"XREADGROUP" => Self::Streams { total, last: None },
            _ => span(1, 1, 1),
        }
    }

    /// Whether argument number `at` (the name is 0) is a key. To be asked in order.
    fn is_key(&mut self, at: u64, argument: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Span { first, last, step } => {
                (*first..=*last).contains(&at) && (at - *first).is_multiple_of(*step)
            }
            Self::Counted { also, count, keys } => {
                if at == *count {
                    *keys = std::str::from_utf8(argument)
                        .ok()
                        .and_then(|digits| digits.parse().ok())
                        .unwrap_or(0);
                }
                (at == *also && *also != 0) || (at > *count && at - *count <= *keys)
            }
            Self::Streams { total, last } => {
                if let Some(last) = last {
                    return at <= *last;
                }
                if argument.eq_ignore_ascii_case(b"STREAMS") {
                    *last = Some(at + total.saturating_sub(at + 1) / 2);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
