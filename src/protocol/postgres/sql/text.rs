//! The literal-free form of a statement: what faults match SQL by.
//!
//! The lexer follows the manual's chapter "Lexical Structure". What stands between words keeps its place, so that a statement
//! is recognised by the eye; what may hold data goes:
//!
//! - Every literal is `?`: strings of each kind (`'...'`, `E'...'`, `B'...'`, `X'...'`, `N'...'`, `U&'...'`, `$tag$...$tag$`) and
//!   numbers. Strings that only white space parts are one. A parameter stays: `$1`.
//! - White space and comments, however many, are one blank; none at either end.
//! - What is not in double quotes is in lower case, as far as it is ASCII; quoted identifiers stay as they are, quotes included.
//! - A literal or comment that is not closed reaches to the end.

use super::super::hash;
use super::is_word;
use super::tables::{Tables, Token};

/// Bytes of a statement that are looked at: what a request is held for.
pub(crate) const RAW_LIMIT: usize = 64 * 1024;

/// Bytes of the literal-free form that are kept.
pub const TEXT_LIMIT: usize = 4 * 1024;

/// A statement without what may be data in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    text: Box<[u8]>,
    tables: Box<[Table]>,
}

/// The name of a table as the server understands it: without quotes, folded where it had none.
#[derive(Clone, PartialEq, Eq)]
pub struct Table {
    /// With its schema, where that is written: `shop.orders`.
    full: Box<[u8]>,
    /// Where the name itself begins in it.
    bare: usize,
}

impl Table {
    pub(super) fn new(full: Vec<u8>, bare: usize) -> Self {
        Self {
            full: full.into(),
            bare,
        }
    }

    /// With its schema, where that is written.
    pub fn full(&self) -> &[u8] {
        &self.full
    }

    /// Without it.
    pub fn bare(&self) -> &[u8] {
        self.full.get(self.bare..).unwrap_or_default()
    }
}

impl Statement {
    /// Of the text of a query, up to a NUL or its end; at most 64 KiB of it are looked at. `escapes`: a backslash in an ordinary
    /// string escapes what follows (`standard_conforming_strings = off`).
    pub fn of(sql: &[u8], escapes: bool) -> Self {
        let sql = &sql[..sql.len().min(RAW_LIMIT)];
        let end = sql.iter().position(|byte| *byte == 0);
        let mut reader = Reader {
            sql: &sql[..end.unwrap_or(sql.len())],
            at: 0,
            escapes,
            out: Vec::with_capacity(sql.len().min(TEXT_LIMIT)),
            blank: false,
            after_string: false,
            tables: Tables::default(),
        };
        while reader.step() {}
        Self {
            text: reader.out.into(),
            tables: reader.tables.finish().into(),
        }
    }

    /// The literal-free form, cut at [`TEXT_LIMIT`].
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The tables that it names, each once, in their order.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        let tables: usize = self.tables.iter().map(|t| t.full.len() + 32).sum();
        self.text.len() + tables + 64
    }

    pub(crate) fn hash(&self) -> u64 {
        hash::bytes(hash::EMPTY, &self.text)
    }
}

/// Never what it holds: column names are not for logs.
impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statement({} bytes)", self.text.len())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} bytes)", self.full.len())
    }
}

struct Reader<'a> {
    sql: &'a [u8],
    at: usize,
    escapes: bool,
    out: Vec<u8>,
    /// A blank is due before what comes next.
    blank: bool,
    /// The last thing was a string, which another one right behind it continues.
    after_string: bool,
    tables: Tables,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Reads one thing. `false`: nothing is left.
    fn step(&mut self) -> bool {
        if self.at >= self.sql.len() {
            return false;
        }
        match (self.peek(0), self.peek(1)) {
            (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => {
                self.at += 1;
                self.blank = true;
            }
            (b'-', b'-') => {
                let end = self.find(|byte| matches!(byte, b'\n' | b'\r'));
                self.at = end;
                self.blank = true;
            }
            (b'/', b'*') => self.comment(),
            (b'\'', _) => self.string(1, self.escapes),
            (b'"', _) => self.quoted(false),
            (b'$', _) => self.dollar(),
            (b'0'..=b'9', _) => self.number(),
            (b'.', b'0'..=b'9') if !self.is_behind_name() => self.number(),
            (byte, _) if is_word(byte) => self.word(),
            (byte, _) => {
                self.at += 1;
                self.put(&[byte]);
                self.tables.token(match byte {
                    b'(' => Token::Open,
                    b')' => Token::Close,
                    b',' => Token::Comma,
                    b'.' => Token::Dot,
                    b';' => Token::Semicolon,
                    _ => Token::Other,
                });
            }
        }
        true
    }

    /// The next place, from here on, whose byte is such a one; else the end.
    fn find(&self, such: impl Fn(u8) -> bool) -> usize {
        // An escape may be the last byte there is, and what it escapes lie behind the end.
        let rest = self.sql.get(self.at..).unwrap_or_default();
        let rest = rest.iter().position(|byte| such(*byte));
        rest.map_or(self.sql.len(), |n| self.at + n)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.after_string = false;
        let blank = std::mem::take(&mut self.blank) && !self.out.is_empty();
        let room = TEXT_LIMIT.saturating_sub(self.out.len());
        let text = blank.then_some(b' ').into_iter();
        self.out
            .extend(text.chain(bytes.iter().copied()).take(room));
    }

    /// Whether what was read last can have a field: `a.1` is no number, `(.5` is one.
    fn is_behind_name(&self) -> bool {
        let last = self.out.last().copied().unwrap_or(b' ');
        !self.blank && (is_word(last) || matches!(last, b'"' | b')' | b']'))
    }

    /// Block comments nest.
    fn comment(&mut self) {
        let mut depth = 0_usize;
        self.blank = true;
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A string whose opening quote is the last of the next `opening` bytes.
    fn string(&mut self, opening: usize, escapes: bool) {
        self.at += opening;
        loop {
            self.at = self.find(|byte| byte == b'\'' || (escapes && byte == b'\\'));
            match (self.peek(0), self.peek(1)) {
                _ if self.at >= self.sql.len() => break,
                (b'\\', _) | (_, b'\'') => self.at += 2,
                _ => {
                    self.at += 1;
                    break;
                }
            }
        }
        self.at = self.at.min(self.sql.len());
        self.literal(true);
    }

    fn literal(&mut self, is_string: bool) {
        if is_string && self.after_string {
            // It goes on the string before it.
            self.blank = false;
            return;
        }
        self.put(b"?");
        self.after_string = is_string;
        self.tables.token(Token::Literal);
    }

    /// `$tag$...$tag$`, `$1`, or a dollar that means nothing.
    fn dollar(&mut self) {
        let tag = self.sql[self.at + 1..]
            .iter()
            .take_while(|byte| is_word(**byte) && **byte != b'$')
            .count();
        let end = self.at + 1 + tag;
        let first = self.peek(1);
        if first.is_ascii_digit() {
            let digits = self.sql[self.at + 1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let parameter = &self.sql[self.at..=self.at + digits];
            self.at += 1 + digits;
            self.put(parameter);
            self.tables.token(Token::Literal);
        } else if self.sql.get(end) == Some(&b'$') {
            let delimiter = &self.sql[self.at..=end];
            let body = &self.sql[end + 1..];
            let close = memchr::memmem::find(body, delimiter);
            self.at = close.map_or(self.sql.len(), |n| end + 1 + n + delimiter.len());
            self.literal(true);
        } else {
            self.at += 1;
            self.put(b"$");
            self.tables.token(Token::Other);
        }
    }

    /// As the server reads numbers, and what trails them: `1.5e-3`, `0x1F`, `1_000`.
    fn number(&mut self) {
        loop {
            match (self.peek(0), self.peek(1), self.peek(2)) {
                (b'e' | b'E', b'+' | b'-', b'0'..=b'9') => self.at += 2,
                // `1..10` is a range, in a loop of PL/pgSQL.
                (b'.', b'.', _) => break,
                (b'.', ..) => self.at += 1,
                (byte, ..) if is_word(byte) && byte != b'$' => self.at += 1,
                _ => break,
            }
        }
        self.literal(false);
    }

    /// A word, or the letter before a string of another kind.
    fn word(&mut self) {
        match (
            self.peek(0).to_ascii_lowercase(),
            self.peek(1),
            self.peek(2),
        ) {
            (b'e', b'\'', _) => return self.string(2, true),
            (b'b' | b'x' | b'n', b'\'', _) => return self.string(2, false),
            (b'u', b'&', b'\'') => return self.string(3, false),
            (b'u', b'&', b'"') => {
                self.put(b"u&");
                self.at += 2;
                return self.quoted(true);
            }
            _ => {}
        }
        let end = self.find(|byte| !is_word(byte));
        let word = self.sql[self.at..end].to_ascii_lowercase();
        self.at = end;
        self.put(&word);
        self.tables.token(Token::Word(&word));
    }

    /// `"..."`, kept as it is written. `unicode`: `\0061` and `\+000061` in it are characters.
    fn quoted(&mut self, unicode: bool) {
        let start = self.at;
        self.at += 1;
        let mut name = Vec::new();
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b'"', b'"') => {
                    name.push(b'"');
                    self.at += 2;
                }
                (b'"', _) => {
                    self.at += 1;
                    break;
                }
                (byte, _) => {
                    name.push(byte);
                    self.at += 1;
                }
            }
        }
        let text = &self.sql[start..self.at];
        self.put(text);
        let name = if unicode { decoded(&name) } else { name };
        self.tables.token(Token::Quoted(&name));
    }
}

/// The characters of a Unicode identifier, its escape the backslash. What is no escape stays.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (skip, digits) = match after.first() {
            Some(b'\\') => {
                out.push(b'\\');
                rest = &after[1..];
                continue;
            }
            Some(b'+') => (1, 6),
            _ => (0, 4),
        };
        let code = after
            .get(skip..skip + digits)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        match code {
            Some(character) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &after[skip + digits..];
            }
            None => out.push(b'\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests;
