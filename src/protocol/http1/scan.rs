//! Cuts a head into words and lines, whatever pieces it arrives in.

use crate::protocol::Lost;
use memchr::memchr3;

/// Bytes of one head, or of one trailer section, from its first byte through the empty line. Common servers refuse far less.
pub(super) const HEAD_LIMIT: usize = 64 * 1024;

/// Bytes looked at of one word or line. What lies beyond is only searched for its end.
pub(super) const KEPT: usize = 1024;

/// A word or line without its delimiter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// Its first bytes, at most [`KEPT`].
    pub(super) bytes: &'a [u8],
    /// Whether there were more.
    pub(super) cut: bool,
}

/// Bytes of a token (RFC 9110 section 5.6.2): methods and header names.
pub(super) static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        byte += 1;
    }
    table
};

/// Bytes of a request target: everything but white space and controls. Raw UTF-8 is not allowed there, but it is sent.
pub(super) static TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte > 0x20 && byte != 0x7f;
        byte += 1;
    }
    table
};

/// Where a head is being read. Only a word or line that a piece ends in is copied, its first [`KEPT`] bytes.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    kept: Vec<u8>,
    /// Bytes of this head so far.
    seen: usize,
    cut: bool,
    /// The last byte was a CR: only LF may follow.
    after_cr: bool,
    /// What is kept was handed out.
    spent: bool,
}

impl Scanner {
    /// At the first byte of a head.
    #[inline]
    pub(super) fn start(&mut self) {
        self.seen = 0;
        self.after_cr = false;
        self.forget();
    }

    /// Counts `n` bytes of the head that were read elsewhere.
    #[inline]
    pub(super) fn skip(&mut self, n: usize) {
        self.seen += n;
    }

    /// The bytes up to the first that is not a `member`; that one, the delimiter, is taken too. `None`: `bytes` is used up.
    /// On an error, `pos` is just after the byte that told.
    #[inline]
    pub(super) fn word<'a>(
        &'a mut self,
        bytes: &'a [u8],
        pos: &mut usize,
        member: &[bool; 256],
    ) -> Result<Option<(Text<'a>, u8)>, Lost> {
        if self.spent {
            self.forget();
        }
        let window = self.window(bytes, *pos);
        let Some(end) = window.iter().position(|&b| !member[usize::from(b)]) else {
            self.wait(bytes, pos, window)?;
            return Ok(None);
        };
        *pos += end + 1;
        self.seen += end + 1;
        Ok(Some((self.finish(&window[..end]), window[end])))
    }

    /// The bytes up to CRLF or LF. `None`: `bytes` is used up. A bare CR and NUL are malformed (RFC 9112 section 2.2, RFC 9110
    /// section 5.5). On an error, `pos` is just after the byte that told.
    #[expect(
        clippy::inline_always,
        reason = "once a header line: a tenth of the whole cost"
    )]
    #[inline(always)]
    pub(super) fn line<'a>(
        &'a mut self,
        bytes: &'a [u8],
        pos: &mut usize,
    ) -> Result<Option<Text<'a>>, Lost> {
        if self.spent {
            self.forget();
        }
        let window = self.window(bytes, *pos);
        if self.after_cr {
            return match window.first() {
                None => self.wait(bytes, pos, window).map(|()| None),
                Some(b'\n') => {
                    self.after_cr = false;
                    *pos += 1;
                    self.seen += 1;
                    Ok(Some(self.finish(&[])))
                }
                Some(_) => {
                    *pos += 1;
                    Err(Lost::Malformed)
                }
            };
        }
        let Some(end) = memchr3(b'\n', b'\r', 0, window) else {
            self.wait(bytes, pos, window)?;
            return Ok(None);
        };
        let used = match (window[end], window.get(end + 1)) {
            (b'\n', _) => end + 1,
            (b'\r', Some(b'\n')) => end + 2,
            (b'\r', None) => {
                self.after_cr = true;
                self.keep(&window[..end]);
                *pos += window.len();
                self.seen += window.len();
                return self.wait(bytes, pos, &[]).map(|()| None);
            }
            (b'\r', Some(_)) => {
                *pos += end + 2;
                return Err(Lost::Malformed);
            }
            _ => {
                *pos += end + 1;
                return Err(Lost::Malformed);
            }
        };
        *pos += used;
        self.seen += used;
        Ok(Some(self.finish(&window[..end])))
    }

    /// What of `bytes` may still belong to this head.
    #[inline]
    fn window<'a>(&self, bytes: &'a [u8], pos: usize) -> &'a [u8] {
        let rest = &bytes[pos..];
        &rest[..rest.len().min(HEAD_LIMIT - self.seen)]
    }

    /// The window had no end in it: keep what may matter of it. An error where the head must end, and does not.
    #[cold]
    fn wait(&mut self, bytes: &[u8], pos: &mut usize, window: &[u8]) -> Result<(), Lost> {
        self.keep(window);
        *pos += window.len();
        self.seen += window.len();
        if *pos < bytes.len() {
            return Err(Lost::Length);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let take = bytes.len().min(KEPT - self.kept.len());
        self.kept.extend_from_slice(&bytes[..take]);
        self.cut |= take < bytes.len();
    }

    #[inline]
    fn finish<'a>(&'a mut self, end: &'a [u8]) -> Text<'a> {
        if self.kept.is_empty() && !self.cut {
            let bytes = &end[..end.len().min(KEPT)];
            return Text {
                bytes,
                cut: bytes.len() < end.len(),
            };
        }
        self.keep(end);
        self.spent = true;
        Text {
            bytes: &self.kept,
            cut: self.cut,
        }
    }

    #[inline]
    fn forget(&mut self) {
        self.kept.clear();
        self.cut = false;
        self.spent = false;
    }

    /// Bytes allocated.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.kept.capacity()
    }
}
