//! The requests of a session.

use super::body::Body;
use super::fields::Fields;
use super::method::Method;
use super::routes::{RouteCache, Routes};
use super::scan::{Scanner, TARGET, TOKEN, Text};
use crate::protocol::{Lost, Operation};

/// The request direction of a session.
#[derive(Debug)]
pub(super) struct Requests {
    at: At,
    scanner: Scanner,
    fields: Fields,
    method: Method,
    operation: Operation,
    http_10: bool,
    /// No request has begun yet.
    fresh: bool,
    /// A CONNECT is not answered yet: whether what follows it is HTTP depends on the answer.
    connecting: bool,
    cache: RouteCache,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Between requests.
    Idle,
    /// After the CR of an empty line between requests.
    IdleLf,
    Method,
    Target,
    Version,
    Fields,
    Body(Body),
    /// After a CONNECT that is not answered yet. `true`: bytes came, and were not looked at.
    Connect(bool),
}

/// What was seen; the position tells where.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    Begin,
    Head(Head),
    End,
}

/// A request by its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) operation: Operation,
    pub(super) method: Method,
    /// The connection ends after the reply.
    pub(super) closes: bool,
    pub(super) expects_continue: bool,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            at: At::Idle,
            scanner: Scanner::default(),
            fields: Fields::default(),
            method: Method::Other,
            operation: Operation(0),
            http_10: false,
            fresh: true,
            connecting: false,
            cache: RouteCache::default(),
        }
    }

    /// Reads on to the next thing to tell. `None`: `bytes` is used up.
    #[inline]
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        pos: &mut usize,
        routes: &Routes,
    ) -> Result<Option<Seen>, Lost> {
        loop {
            match &mut self.at {
                At::Idle | At::IdleLf => return self.idle(bytes, pos),
                At::Method => match self.scanner.word(bytes, pos, &TOKEN)? {
                    None => return Ok(None),
                    Some((method, b' ')) => {
                        self.method = Method::of(method.bytes);
                        self.at = At::Target;
                    }
                    Some(_) => return Err(Lost::Malformed),
                },
                At::Target => match self.scanner.word(bytes, pos, &TARGET)? {
                    None => return Ok(None),
                    Some((target, b' ')) if !target.bytes.is_empty() => {
                        self.operation = routes.operation(
                            self.method,
                            target.bytes,
                            !target.cut,
                            &mut self.cache,
                        );
                        self.at = At::Version;
                    }
                    Some(_) => return Err(Lost::Malformed),
                },
                At::Version => match self.scanner.line(bytes, pos)? {
                    None => return Ok(None),
                    Some(line) => {
                        self.http_10 = is_http_10(line)?;
                        self.at = At::Fields;
                    }
                },
                At::Fields => match self.scanner.line(bytes, pos)? {
                    None => return Ok(None),
                    Some(line) if line.bytes.is_empty() => return self.head().map(Some),
                    Some(line) => self.fields.read(line)?,
                },
                At::Body(body) => {
                    if !body.read(bytes, pos, &mut self.scanner)? {
                        return Ok(None);
                    }
                    self.at = if self.connecting {
                        At::Connect(false)
                    } else {
                        At::Idle
                    };
                    return Ok(Some(Seen::End));
                }
                At::Connect(followed) => {
                    *followed |= *pos < bytes.len();
                    *pos = bytes.len();
                    return Ok(None);
                }
            }
        }
    }

    /// Between requests: past empty lines to the first byte of the next.
    #[inline]
    fn idle(&mut self, bytes: &[u8], pos: &mut usize) -> Result<Option<Seen>, Lost> {
        while let Some(&byte) = bytes.get(*pos) {
            match (self.at, byte) {
                (At::IdleLf, b'\n') => self.at = At::Idle,
                (At::IdleLf, _) => return Err(Lost::Malformed),
                (_, b'\r') => self.at = At::IdleLf,
                (_, b'\n') => {}
                (_, b'A'..=b'Z' | b'a'..=b'z') => {
                    self.fresh = false;
                    self.fields = Fields::default();
                    self.scanner.start();
                    self.at = At::Method;
                    return Ok(Some(Seen::Begin));
                }
                // No method in use begins like this; a TLS hello, a Postgres start-up and a Redis command do.
                _ if self.fresh => return Err(Lost::WrongProtocol),
                _ => return Err(Lost::Malformed),
            }
            *pos += 1;
        }
        Ok(None)
    }

    /// The head is complete.
    #[inline]
    fn head(&mut self) -> Result<Seen, Lost> {
        self.at = At::Body(Body::of_request(&self.fields, self.http_10)?);
        self.connecting = self.method == Method::Connect;
        Ok(Seen::Head(Head {
            operation: self.operation,
            method: self.method,
            closes: self.fields.close || self.http_10 && !self.fields.keep_alive,
            // RFC 9110 section 10.1.1: ignored in HTTP/1.0.
            expects_continue: self.fields.expects_continue && !self.http_10,
        }))
    }

    /// The CONNECT was answered, and not by a tunnel: what follows is HTTP. An error if some of it went by unread.
    pub(super) fn connect_refused(&mut self) -> Result<(), Lost> {
        self.connecting = false;
        match self.at {
            At::Connect(true) => Err(Lost::Ambiguous),
            At::Connect(false) => {
                self.at = At::Idle;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a request has begun whose head is not complete.
    pub(super) fn in_head(&self) -> bool {
        matches!(self.at, At::Method | At::Target | At::Version | At::Fields)
    }

    /// The body that is still to come.
    pub(super) fn body(&self) -> Option<&Body> {
        match &self.at {
            At::Body(body) => Some(body),
            _ => None,
        }
    }

    /// Bytes allocated.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.scanner.allocated()
    }
}

/// Whether the version, the last word of a request line, is HTTP/1.0. A later minor version is read as 1.1 (RFC 9110
/// section 2.5).
#[inline]
fn is_http_10(version: Text<'_>) -> Result<bool, Lost> {
    match version.bytes {
        b"HTTP/1.1" => Ok(false),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor @ b'0'..=b'9',
        ] => Ok(*minor == b'0'),
        // The preface of HTTP/2 (RFC 9113 section 3.4) reads like a request of that version.
        b"HTTP/2.0" => Err(Lost::WrongProtocol),
        _ => Err(Lost::Malformed),
    }
}
