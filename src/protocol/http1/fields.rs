//! Header fields: what they say about a message's length and the connection.

use super::scan::{TOKEN, Text};
use crate::protocol::Lost;

/// What Transfer-Encoding says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// No such field.
    #[default]
    None,
    /// The last coding is `chunked`.
    Chunked,
    /// The last coding is a compression, which has no end of its own.
    Compressed,
}

/// What the fields of one head say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    /// Content-Length.
    pub(super) length: Option<u64>,
    /// Transfer-Encoding.
    pub(super) coding: Coding,
    /// `Connection: close`.
    pub(super) close: bool,
    /// `Connection: keep-alive`.
    pub(super) keep_alive: bool,
    /// `Expect: 100-continue`.
    pub(super) expects_continue: bool,
}

impl Fields {
    /// Reads one header line.
    #[expect(
        clippy::inline_always,
        reason = "once a header line: a tenth of the whole cost"
    )]
    #[inline(always)]
    pub(super) fn read(&mut self, line: Text<'_>) -> Result<(), Lost> {
        let colon = name_length(line)?;
        let (name, value) = (&line.bytes[..colon], &line.bytes[colon + 1..]);
        // Length and first letter tell nearly every other field apart.
        match (colon, name[0] | 0x20) {
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                self.content_length(value, line.cut)
            }
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(value, line.cut)
            }
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => {
                self.connection(value);
                Ok(())
            }
            (6, b'e') if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue |= trim(value).eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 9110 section 8.6: one decimal number, or the same one several times.
    fn content_length(&mut self, value: &[u8], cut: bool) -> Result<(), Lost> {
        if cut {
            return Err(Lost::Length);
        }
        for part in value.split(|&b| b == b',') {
            let length = decimal(trim(part))?;
            if self.length.is_some_and(|known| known != length) {
                return Err(Lost::Ambiguous);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    /// RFC 9112 section 6.1. Anything but known compressions followed by one `chunked` is read differently by different
    /// peers.
    fn transfer_encoding(&mut self, value: &[u8], cut: bool) -> Result<(), Lost> {
        const COMPRESSIONS: [&[u8]; 5] =
            [b"gzip", b"deflate", b"compress", b"x-gzip", b"x-compress"];
        if cut {
            return Err(Lost::Length);
        }
        for coding in value.split(|&b| b == b',').map(trim) {
            self.coding = if self.coding == Coding::Chunked {
                return Err(Lost::Ambiguous);
            } else if coding.eq_ignore_ascii_case(b"chunked") {
                Coding::Chunked
            } else if COMPRESSIONS.iter().any(|c| coding.eq_ignore_ascii_case(c)) {
                Coding::Compressed
            } else {
                return Err(Lost::Ambiguous);
            };
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&b| b == b',').map(trim) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// The length of a header line's name, which must be a token with the colon right behind it.
#[inline]
pub(super) fn name_length(line: Text<'_>) -> Result<usize, Lost> {
    let Some(end) = line.bytes.iter().position(|&b| !TOKEN[usize::from(b)]) else {
        return Err(if line.cut {
            Lost::Length
        } else {
            Lost::Malformed
        });
    };
    match (end, line.bytes[end]) {
        // A folded line (obs-fold): one message to some peers, two fields to others.
        (0, b' ' | b'\t') => Err(Lost::Ambiguous),
        (1.., b':') => Ok(end),
        _ => Err(Lost::Malformed),
    }
}

fn decimal(digits: &[u8]) -> Result<u64, Lost> {
    if digits.is_empty() {
        return Err(Lost::Malformed);
    }
    digits.iter().try_fold(0_u64, |number, &b| {
        if !b.is_ascii_digit() {
            return Err(Lost::Malformed);
        }
        number
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(b - b'0')))
            .ok_or(Lost::Length)
    })
}

/// Without optional white space (space and tab, nothing else) at both ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
