//! Globs over bytes, as Redis has them (KEYS, PSUBSCRIBE): `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, `\` before a character that is
//! to be taken as it is. Braces mean themselves, since routes are written with them.
//!
//! Matching takes at most (length of the text) x (length of the pattern) steps: only the last `*` is ever gone back to, since a
//! longer run for an earlier one cannot match what a longer run for the last one does not. The pattern is at most
//! [`MAX_PATTERN`] bytes, so time is linear in the text.

use std::fmt;

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 512;

/// A compiled pattern.
#[derive(Clone)]
pub struct Glob {
    source: Box<str>,
    tokens: Box<[Token]>,
    ignore_case: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// Any one byte.
    One,
    /// Any number of bytes.
    Run,
    /// One byte of this set.
    Set(Box<Set>),
}

/// A set of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Set([u64; 4]);

/// Why a pattern cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing but nothing would match it.
    #[error("the pattern is empty")]
    Empty,
    /// Over [`MAX_PATTERN`].
    #[error("the pattern is longer than {MAX_PATTERN} bytes")]
    TooLong,
    /// `[abc`.
    #[error("`[` is not closed")]
    OpenSet,
    /// `abc\`.
    #[error("`\\` at the end escapes nothing")]
    OpenEscape,
    /// `[]` or `[z-a]`.
    #[error("a set in brackets is empty or its range runs backwards")]
    EmptySet,
}

impl GlobError {
    /// What to write instead.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Empty => "write `*` to match everything, or leave the field out",
            Self::TooLong => "shorten it with `*`",
            Self::OpenSet => "write `\\[` for a bracket that means itself",
            Self::OpenEscape => "write `\\\\` for a backslash that means itself",
            Self::EmptySet => "write the range upwards, `[a-z]`, or escape the bracket, `\\[`",
        }
    }
}

impl Glob {
    /// Compiles a pattern that distinguishes case.
    ///
    /// # Errors
    /// A pattern that is empty, too long, or ends inside a set or an escape.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, false)
    }

    /// Compiles a pattern that does not distinguish the case of ASCII letters.
    ///
    /// # Errors
    /// As [`Glob::new`].
    pub fn ignoring_case(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, true)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The same as a regex over bytes, without its ends; `.` is to match every byte. For patterns that distinguish case.
    pub(super) fn to_regex(&self) -> String {
        let mut regex = String::with_capacity(self.source.len());
        for token in &self.tokens {
            match token {
                Token::Byte(byte) => regex.push_str(&format!(r"\x{byte:02x}")),
                Token::One => regex.push('.'),
                Token::Run => regex.push_str(".*"),
                Token::Set(set) => regex.push_str(&set.to_regex()),
            }
        }
        regex
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut at, mut token) = (0, 0);
        let mut last_run: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.tokens.get(token) {
                Some(Token::Run) => {
                    token += 1;
                    last_run = Some((at, token));
                }
                Some(one) if self.takes(one, text[at]) => {
                    at += 1;
                    token += 1;
                }
                _ => {
                    let Some((start, after)) = last_run else {
                        return false;
                    };
                    at = start + 1;
                    token = after;
                    last_run = Some((at, after));
                }
            }
        }
        self.tokens[token..].iter().all(|rest| *rest == Token::Run)
    }

    /// Whether this one token, which is not a run, takes this byte.
    fn takes(&self, token: &Token, byte: u8) -> bool {
        let byte = self.fold(byte);
        match token {
            Token::Byte(expected) => *expected == byte,
            Token::One => true,
            Token::Set(set) => set.contains(byte),
            Token::Run => false,
        }
    }

    const fn fold(&self, byte: u8) -> u8 {
        if self.ignore_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    }

    fn compile(pattern: &str, ignore_case: bool) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        if pattern.len() > MAX_PATTERN {
            return Err(GlobError::TooLong);
        }
        let fold = |byte: u8| {
            if ignore_case {
                byte.to_ascii_lowercase()
            } else {
                byte
            }
        };
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut bytes = pattern.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' if tokens.last() == Some(&Token::Run) => {}
                b'*' => tokens.push(Token::Run),
                b'?' => tokens.push(Token::One),
                b'[' => tokens.push(Token::Set(Box::new(Set::parse(&mut bytes, fold)?))),
                b'\\' => {
                    let escaped = bytes.next().ok_or(GlobError::OpenEscape)?;
                    tokens.push(Token::Byte(fold(escaped)));
                }
                byte => tokens.push(Token::Byte(fold(byte))),
            }
        }
        Ok(Self {
            source: pattern.into(),
            tokens: tokens.into(),
            ignore_case,
        })
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.source)
    }
}

impl Set {
    /// Reads the inside of brackets, up to and with the closing one.
    fn parse(bytes: &mut std::str::Bytes<'_>, fold: impl Fn(u8) -> u8) -> Result<Self, GlobError> {
        let mut set = Self::default();
        let mut negated = false;
        let mut first = true;
        loop {
            let from = match bytes.next().ok_or(GlobError::OpenSet)? {
                b']' => break,
                b'^' if first => {
                    negated = true;
                    first = false;
                    continue;
                }
                b'\\' => bytes.next().ok_or(GlobError::OpenSet)?,
                byte => byte,
            };
            first = false;
            let to = Self::range_end(bytes)?.unwrap_or(from);
            if to < from {
                return Err(GlobError::EmptySet);
            }
            (from..=to).for_each(|byte| set.insert(fold(byte)));
        }
        if set == Self::default() {
            return Err(GlobError::EmptySet);
        }
        Ok(if negated {
            Self(set.0.map(|word| !word))
        } else {
            set
        })
    }

    /// The `z` of `-z`, where the next bytes are that; `-` before the closing bracket means itself.
    fn range_end(bytes: &mut std::str::Bytes<'_>) -> Result<Option<u8>, GlobError> {
        let mut ahead = bytes.clone();
        if ahead.next() != Some(b'-') {
            return Ok(None);
        }
        let end = match ahead.next().ok_or(GlobError::OpenSet)? {
            b']' => return Ok(None),
            b'\\' => ahead.next().ok_or(GlobError::OpenSet)?,
            byte => byte,
        };
        *bytes = ahead;
        Ok(Some(end))
    }

    fn to_regex(self) -> String {
        let bytes = (0..=u8::MAX).filter(|byte| self.contains(*byte));
        let bytes = bytes.fold(String::new(), |text, byte| text + &format!(r"\x{byte:02x}"));
        // A set that takes no byte, such as one that excludes all.
        if bytes.is_empty() {
            return r"[^\x00-\xff]".into();
        }
        format!("[{bytes}]")
    }

    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] & (1 << (byte & 63)) != 0
    }
}

#[cfg(test)]
mod tests;
