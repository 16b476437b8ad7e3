//! The replies of a session.

use super::body::Body;
use super::fields::Fields;
use super::method::Method;
use super::scan::Scanner;
use crate::protocol::facts::VALUE_LIMIT;
use crate::protocol::{Lost, Status};

/// What a status line begins with: version, space and status code, where `d` is any digit and `s` one from 1 to 9.
const STATUS_LINE: [u8; 12] = *b"HTTP/1.d sdd";

/// The reply direction of a session.
#[derive(Debug)]
pub(super) struct Replies {
    at: At,
    scanner: Scanner,
    fields: Fields,
    /// The status code, as far as it was read.
    code: u16,
    http_10: bool,
    /// No reply has begun yet.
    fresh: bool,
    /// `Begin` was told for this exchange.
    begun: bool,
    /// An interim reply was seen for this exchange.
    interim: bool,
    /// What the first reply says of the server, and whether its head was read.
    server: Option<Box<[u8]>>,
    introduced: bool,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Between replies.
    Idle,
    /// This far into [`STATUS_LINE`].
    Status(usize),
    Reason,
    Fields,
    Body(Body),
}

/// What the oldest request without a reply is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// It said `Expect: 100-continue`.
    pub(super) expects_continue: bool,
}

/// What was seen; but for `Begin` the position tells where.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// The reply begins at this offset.
    Begin(usize),
    End(Status),
    /// The reply is complete, and turned the session into a tunnel.
    Tunnel(Status),
}

impl Replies {
    pub(super) fn new() -> Self {
        Self {
            at: At::Idle,
            scanner: Scanner::default(),
            fields: Fields::default(),
            code: 0,
            http_10: false,
            fresh: true,
            begun: false,
            interim: false,
            server: None,
            introduced: false,
        }
    }

    /// `Server` of the first reply (RFC 9110 section 10.2.4), at most [`VALUE_LIMIT`] bytes.
    pub(super) fn server(&self) -> Option<&[u8]> {
        self.server.as_deref()
    }

    /// Reads on to the next thing to tell about the reply to `asked`. `None`: `bytes` is used up.
    #[inline]
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        pos: &mut usize,
        asked: Option<Asked>,
    ) -> Result<Option<Seen>, Lost> {
        let Some(asked) = asked else {
            return if *pos == bytes.len() {
                Ok(None)
            } else {
                Err(Lost::Unpaired)
            };
        };
        loop {
            match &mut self.at {
                At::Idle => {
                    if *pos == bytes.len() {
                        return Ok(None);
                    }
                    if bytes[*pos] != STATUS_LINE[0] {
                        return Err(if self.fresh {
                            Lost::WrongProtocol
                        } else {
                            Lost::Malformed
                        });
                    }
                    self.fresh = false;
                    self.fields = Fields::default();
                    self.scanner.start();
                    self.code = 0;
                    self.at = At::Status(0);
                }
                At::Status(taken) => {
                    let (taken, from, code) = (*taken, *pos, self.code);
                    let read = self.status(taken, bytes, pos);
                    if let Some(at) = self.begin(from, read == Ok(true), asked) {
                        if read.is_err() {
                            // Cut before the bad byte, the reply would have begun: told now, the error when read again.
                            (self.code, *pos) = (code, from);
                        }
                        return Ok(Some(Seen::Begin(at)));
                    }
                    if !read? {
                        return Ok(None);
                    }
                }
                At::Reason => match self.scanner.line(bytes, pos)? {
                    None => return Ok(None),
                    // A missing reason often takes the space before it along.
                    Some(line) if line.bytes.first().is_none_or(|&b| b == b' ') => {
                        self.at = At::Fields;
                    }
                    Some(_) => return Err(Lost::Malformed),
                },
                At::Fields => match self.scanner.line(bytes, pos)? {
                    None => return Ok(None),
                    Some(line) if line.bytes.is_empty() => {
                        if let Some(seen) = self.head(asked)? {
                            return Ok(Some(seen));
                        }
                    }
                    Some(line) => {
                        self.fields.read(line)?;
                        if !self.introduced {
                            self.server = introduction(line.bytes).or(self.server.take());
                        }
                    }
                },
                At::Body(body) => {
                    if !body.read(bytes, pos, &mut self.scanner)? {
                        return Ok(None);
                    }
                    return Ok(Some(Seen::End(self.end())));
                }
            }
        }
    }

    /// Reads the version and the status code. `true`: they are complete.
    #[inline]
    fn status(&mut self, taken: usize, bytes: &[u8], pos: &mut usize) -> Result<bool, Lost> {
        let rest = &bytes[*pos..];
        // Nearly always it is there in one piece, and right.
        if let [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'1',
            b' ',
            code @ ..,
        ] = rest
            && let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = code
            && taken == 0
        {
            let digit = |byte: &u8| u16::from(byte - b'0');
            self.code = digit(a) * 100 + digit(b) * 10 + digit(c);
            self.http_10 = false;
            self.scanner.skip(STATUS_LINE.len());
            *pos += STATUS_LINE.len();
            self.at = At::Reason;
            return Ok(true);
        }
        let window = &rest[..rest.len().min(STATUS_LINE.len() - taken)];
        for (&byte, &expected) in window.iter().zip(&STATUS_LINE[taken..]) {
            *pos += 1;
            match (expected, byte) {
                (b'd', b'0'..=b'9') | (b's', b'1'..=b'9') => {
                    // The version's digit is shifted out by the three of the code.
                    self.code = self.code % 100 * 10 + u16::from(byte - b'0');
                }
                _ if expected == byte => {
                    if byte == b' ' {
                        self.http_10 = self.code == 0;
                        self.code = 0;
                    }
                }
                _ => return Err(Lost::Malformed),
            }
        }
        self.scanner.skip(window.len());
        let taken = taken + window.len();
        let known = taken == STATUS_LINE.len();
        self.at = if known { At::Reason } else { At::Status(taken) };
        Ok(known)
    }

    /// Whether, after the status line was read from `from` on, the reply begins there.
    ///
    /// An interim reply is not the beginning, but only the status code tells which it is. Where a piece ends before the code,
    /// one of two must be taken for granted: an interim reply if the request asked for one, else the final one.
    #[inline]
    fn begin(&mut self, from: usize, known: bool, asked: Asked) -> Option<usize> {
        let begins = if known {
            !self.is_interim()
        } else {
            self.interim || !asked.expects_continue
        };
        if self.begun || !begins {
            return None;
        }
        self.begun = true;
        Some(from)
    }

    /// The head is complete. `None`: it was an interim reply. The order is that of RFC 9112 section 6.3.
    #[inline]
    fn head(&mut self, asked: Asked) -> Result<Option<Seen>, Lost> {
        if self.is_interim() {
            self.interim = true;
            self.at = At::Idle;
            return Ok(None);
        }
        self.introduced = true;
        let success = matches!(self.code, 200..=299);
        if self.code == 101 || asked.method == Method::Connect && success {
            return Ok(Some(Seen::Tunnel(self.end())));
        }
        if asked.method == Method::Head || matches!(self.code, 204 | 304) {
            return Ok(Some(Seen::End(self.end())));
        }
        self.at = At::Body(Body::of_reply(&self.fields, self.http_10)?);
        Ok(None)
    }

    /// The server sent its FIN: ends a reply that runs to the end of the connection.
    pub(super) fn eof(&mut self) -> Option<Status> {
        matches!(self.at, At::Body(Body::ToEnd)).then(|| self.end())
    }

    fn is_interim(&self) -> bool {
        matches!(self.code, 100..=199) && self.code != 101
    }

    fn end(&mut self) -> Status {
        self.at = At::Idle;
        self.begun = false;
        self.interim = false;
        Status(self.code)
    }

    /// Bytes allocated.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.scanner.allocated()
    }
}

/// What a header line says of the server.
#[cold]
fn introduction(line: &[u8]) -> Option<Box<[u8]>> {
    const NAME: &[u8] = b"server:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    let value = value.trim_ascii();
    let kept = &value[..value.len().min(VALUE_LIMIT)];
    (name.eq_ignore_ascii_case(NAME) && !kept.is_empty()).then(|| kept.into())
}
