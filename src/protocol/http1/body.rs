//! Message bodies: how long they are (RFC 9112 section 6.3), counted down, never kept.

use super::fields::{Coding, Fields, name_length};
use super::scan::Scanner;
use crate::protocol::Lost;

/// Bytes of one chunk's size line with its extensions; peers that send extensions at all send a few dozen.
const CHUNK_LINE_LIMIT: u16 = 16 * 1024;

/// What is left of a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// This many bytes.
    Fixed(u64),
    /// The chunked coding.
    Chunked(Chunked),
    /// Everything up to the end of the connection.
    ToEnd,
}

impl Body {
    /// The body of a request.
    pub(super) fn of_request(fields: &Fields, http_10: bool) -> Result<Self, Lost> {
        match Self::declared(fields, http_10)? {
            // A request cannot end with the connection: its sender waits for the reply.
            Some(Self::ToEnd) => Err(Lost::Ambiguous),
            Some(body) => Ok(body),
            None => Ok(Self::Fixed(0)),
        }
    }

    /// The body of a final reply, where the method and the status allow one.
    pub(super) fn of_reply(fields: &Fields, http_10: bool) -> Result<Self, Lost> {
        Ok(Self::declared(fields, http_10)?.unwrap_or(Self::ToEnd))
    }

    fn declared(fields: &Fields, http_10: bool) -> Result<Option<Self>, Lost> {
        match (fields.coding, fields.length) {
            (Coding::None, length) => Ok(length.map(Self::Fixed)),
            (_, Some(_)) => Err(Lost::Ambiguous),
            // HTTP/1.0 has no transfer codings; an intermediary of that version passes the field on without knowing it.
            _ if http_10 => Err(Lost::Ambiguous),
            (Coding::Chunked, None) => Ok(Some(Self::Chunked(Chunked::default()))),
            (Coding::Compressed, None) => Ok(Some(Self::ToEnd)),
        }
    }

    /// Counts past what `bytes` holds of the body. `true`: it is complete just before `pos`.
    #[inline]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        pos: &mut usize,
        scanner: &mut Scanner,
    ) -> Result<bool, Lost> {
        match self {
            Self::Fixed(left) => {
                count(left, bytes, pos);
                Ok(*left == 0)
            }
            Self::Chunked(chunked) => chunked.read(bytes, pos, scanner),
            Self::ToEnd => {
                *pos = bytes.len();
                Ok(false)
            }
        }
    }
}

/// Moves over what `bytes` holds of the `left` bytes.
#[inline]
fn count(left: &mut u64, bytes: &[u8], pos: &mut usize) {
    let rest = bytes.len() - *pos;
    let take = usize::try_from(*left).map_or(rest, |left| left.min(rest));
    *left -= take as u64;
    *pos += take;
}

/// Inside the chunked coding (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunked {
    at: At,
    /// Bytes left of this chunk's data; the size while its line is read.
    left: u64,
    /// Bytes of the size line so far.
    line: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the first digit of a size.
    #[default]
    Size,
    /// After it.
    Digits,
    /// White space after the size, which some servers pad it with.
    Padding,
    /// After a semicolon.
    Extension,
    /// After the CR of the size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
}

impl Chunked {
    fn read(&mut self, bytes: &[u8], pos: &mut usize, scanner: &mut Scanner) -> Result<bool, Lost> {
        while *pos < bytes.len() {
            match self.at {
                At::Data => {
                    count(&mut self.left, bytes, pos);
                    if self.left == 0 {
                        self.at = At::DataCr;
                    }
                }
                At::Trailers => match scanner.line(bytes, pos)? {
                    None => return Ok(false),
                    Some(line) if line.bytes.is_empty() => return Ok(true),
                    Some(line) => _ = name_length(line)?,
                },
                _ => {
                    let byte = bytes[*pos];
                    *pos += 1;
                    self.step(byte, scanner)?;
                }
            }
        }
        Ok(false)
    }

    /// One byte of a size line, or of the CRLF after a chunk's data.
    fn step(&mut self, byte: u8, scanner: &mut Scanner) -> Result<(), Lost> {
        self.line += 1;
        if self.line > CHUNK_LINE_LIMIT {
            return Err(Lost::Length);
        }
        self.at = match (self.at, byte) {
            (At::Size | At::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                self.left = self
                    .left
                    .checked_mul(16)
                    .map(|size| size + digit)
                    .ok_or(Lost::Length)?;
                At::Digits
            }
            (At::Digits | At::Padding, b' ' | b'\t') => At::Padding,
            (At::Digits | At::Padding, b';') => At::Extension,
            (At::Digits | At::Padding | At::Extension, b'\r') => At::SizeLf,
            (At::Extension, 1..) if byte != b'\n' => At::Extension,
            (At::SizeLf, b'\n') if self.left == 0 => {
                scanner.start();
                At::Trailers
            }
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.line = 0;
                At::Size
            }
            _ => return Err(Lost::Malformed),
        };
        Ok(())
    }
}
