//! What a statement does, from its first words: a scanner that reads SQL once, in pieces of any size, and keeps a few bytes.
//!
//! [`Scanner`] is the lexer of the manual's chapter "Lexical Structure", reduced to what tells words, parentheses, commas and
//! ends of statements from comments, literals and quoted identifiers; [`Grammar`] decides over its tokens. It stops at the first
//! token that settles the matter, and at [`LIMIT`] or [`DEEP_LIMIT`] bytes at the latest.

mod grammar;
mod tables;
#[cfg(test)]
mod tests;
pub(super) mod text;

use grammar::{Grammar, Token};

use super::hash;
use super::operation::Known;

/// Bytes that may stand before the leading keyword is complete (comments, mostly).
const LIMIT: u32 = 4 * 1024;

/// Bytes after which a statement is given up on whose first word does not say what it does: WITH, EXPLAIN, COPY.
const DEEP_LIMIT: u32 = 64 * 1024;

/// What was found out about a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) known: Known,
    pub(super) forget: Forget,
}

/// Prepared statements that a statement drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forget {
    Nothing,
    /// The one whose name has this hash: DEALLOCATE.
    One(u64),
    /// DEALLOCATE ALL, DISCARD ALL.
    All,
}

/// The scanner of one statement.
#[derive(Debug)]
pub(super) struct Scanner {
    /// The last 16 bytes of the word being read, in upper case.
    word: u128,
    /// Hash of the name being read, where the grammar wants one.
    name: u64,
    grammar: Grammar,
    seen: u32,
    /// Hash of the tag that ends the dollar-quoted string, and of the candidate being read.
    tag: u32,
    candidate: u32,
    /// How deep in nested block comments.
    comments: u16,
    word_length: u8,
    lexeme: Lexeme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lexeme {
    Blank,
    Word,
    /// After `-`.
    Dash,
    LineComment,
    /// After `/`.
    Slash,
    BlockComment,
    /// In a block comment, after `/`.
    BlockSlash,
    /// In a block comment, after `*`.
    BlockStar,
    /// In `'...'`; a doubled quote ends one and begins the next, which is the same.
    Literal,
    /// In `E'...'`.
    Escaped,
    /// In `E'...'`, after a backslash.
    Backslash,
    /// In `E'...'`, after a quote: the end, unless it is doubled.
    EscapedQuote,
    /// In `"..."`.
    Quoted,
    /// After the quote that ends it, unless it is doubled.
    QuotedQuote,
    /// After `$`, in what may be the tag of a dollar quote.
    Tag,
    Dollar,
    /// In a dollar-quoted string, after a `$`, in what may be its end.
    DollarEnd,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            word: 0,
            name: hash::EMPTY,
            grammar: Grammar::new(),
            seen: 0,
            tag: 0,
            candidate: 0,
            comments: 0,
            word_length: 0,
            lexeme: Lexeme::Blank,
        }
    }

    /// Reads on. The verdict, and how many bytes of `sql` it took; a NUL always brings it.
    #[inline]
    pub(super) fn feed(&mut self, sql: &[u8]) -> Option<(usize, Verdict)> {
        for (i, &byte) in sql.iter().enumerate() {
            self.seen += 1;
            if let Some(verdict) = self.step(byte) {
                return Some((i + 1, verdict));
            }
            let limit = if self.grammar.is_deep() {
                DEEP_LIMIT
            } else {
                LIMIT
            };
            if self.seen >= limit {
                return Some((i + 1, self.grammar.give_up()));
            }
        }
        None
    }

    /// The text ended without a NUL.
    pub(super) fn finish(&mut self) -> Verdict {
        self.step(0).unwrap_or_else(|| self.grammar.give_up())
    }

    #[inline]
    fn step(&mut self, byte: u8) -> Option<Verdict> {
        if self.lexeme == Lexeme::Word {
            if is_word(byte) {
                self.extend_word(byte);
                return None;
            }
            let word = if self.word_length > 16 { 0 } else { self.word };
            self.lexeme = Lexeme::Blank;
            let verdict = self.grammar.token(Token::Word {
                word,
                name: self.name,
            });
            if verdict.is_some() {
                return verdict;
            }
            if byte == b'\'' && word == u128::from(b'E') {
                self.lexeme = Lexeme::Escaped;
                return None;
            }
        }
        match self.lexeme {
            Lexeme::Blank | Lexeme::Word => self.blank(byte),
            _ => self.inside(byte),
        }
    }

    /// Between tokens.
    #[inline]
    fn blank(&mut self, byte: u8) -> Option<Verdict> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => None,
            b'-' => self.enter(Lexeme::Dash),
            b'/' => self.enter(Lexeme::Slash),
            b'\'' => {
                self.lexeme = Lexeme::Literal;
                self.grammar.token(Token::Other)
            }
            b'"' => {
                self.name = hash::EMPTY;
                self.enter(Lexeme::Quoted)
            }
            b'$' => {
                self.candidate = TAG_EMPTY;
                self.enter(Lexeme::Tag)
            }
            b'(' => self.grammar.token(Token::Open),
            b')' => self.grammar.token(Token::Close),
            b',' => self.grammar.token(Token::Comma),
            b';' => self.grammar.token(Token::Semicolon),
            0 => self.grammar.token(Token::End),
            _ if is_word(byte) => {
                self.word = 0;
                self.word_length = 0;
                self.name = hash::EMPTY;
                self.extend_word(byte);
                self.enter(Lexeme::Word)
            }
            _ => self.grammar.token(Token::Other),
        }
    }

    /// Within a comment, a literal, or what may become one. A NUL ends the text wherever it stands.
    fn inside(&mut self, byte: u8) -> Option<Verdict> {
        if byte == 0 {
            if self.lexeme == Lexeme::QuotedQuote {
                let name = self.name;
                let verdict = self.grammar.token(Token::Quoted { name });
                if verdict.is_some() {
                    return verdict;
                }
            }
            self.lexeme = Lexeme::Blank;
            return self.grammar.token(Token::End);
        }
        match (self.lexeme, byte) {
            (Lexeme::Dash, b'-') => self.enter(Lexeme::LineComment),
            (Lexeme::Slash, b'*') => {
                self.comments = 1;
                self.enter(Lexeme::BlockComment)
            }
            (Lexeme::Dash | Lexeme::Slash, _) => {
                self.lexeme = Lexeme::Blank;
                let verdict = self.grammar.token(Token::Other);
                verdict.or_else(|| self.blank(byte))
            }
            (Lexeme::LineComment, b'\n' | b'\r') | (Lexeme::Literal, b'\'') => {
                self.enter(Lexeme::Blank)
            }
            (Lexeme::BlockComment | Lexeme::BlockSlash | Lexeme::BlockStar, _) => {
                self.block_comment(byte);
                None
            }
            (Lexeme::Escaped, b'\\') => self.enter(Lexeme::Backslash),
            (Lexeme::Escaped, b'\'') => self.enter(Lexeme::EscapedQuote),
            (Lexeme::Backslash, _) | (Lexeme::EscapedQuote, b'\'') => self.enter(Lexeme::Escaped),
            (Lexeme::EscapedQuote, _) => {
                self.lexeme = Lexeme::Blank;
                self.blank(byte)
            }
            (Lexeme::Quoted, b'"') => self.enter(Lexeme::QuotedQuote),
            (Lexeme::Quoted, _) | (Lexeme::QuotedQuote, b'"') => {
                self.name = hash::byte(self.name, byte);
                self.enter(Lexeme::Quoted)
            }
            (Lexeme::QuotedQuote, _) => {
                self.lexeme = Lexeme::Blank;
                let name = self.name;
                let verdict = self.grammar.token(Token::Quoted { name });
                verdict.or_else(|| self.blank(byte))
            }
            (Lexeme::Tag | Lexeme::Dollar | Lexeme::DollarEnd, _) => self.dollar(byte),
            _ => None,
        }
    }

    /// Block comments nest.
    fn block_comment(&mut self, byte: u8) {
        self.lexeme = match (self.lexeme, byte) {
            (Lexeme::BlockSlash, b'*') => {
                self.comments = self.comments.saturating_add(1);
                Lexeme::BlockComment
            }
            (Lexeme::BlockStar, b'/') => {
                self.comments = self.comments.saturating_sub(1);
                if self.comments == 0 {
                    Lexeme::Blank
                } else {
                    Lexeme::BlockComment
                }
            }
            (_, b'/') => Lexeme::BlockSlash,
            (_, b'*') => Lexeme::BlockStar,
            _ => Lexeme::BlockComment,
        };
    }

    /// `$tag$ ... $tag$`: the tags are compared by hash.
    fn dollar(&mut self, byte: u8) -> Option<Verdict> {
        match (self.lexeme, byte) {
            (Lexeme::Tag, b'$') => {
                self.tag = self.candidate;
                self.lexeme = Lexeme::Dollar;
                self.grammar.token(Token::Other)
            }
            // A parameter: `$1`.
            (Lexeme::Tag, b'0'..=b'9') if self.candidate == TAG_EMPTY => {
                self.lexeme = Lexeme::Blank;
                self.grammar.token(Token::Other)
            }
            (Lexeme::DollarEnd, b'$') if self.candidate == self.tag => self.enter(Lexeme::Blank),
            (Lexeme::Dollar | Lexeme::DollarEnd, b'$') => {
                self.candidate = TAG_EMPTY;
                self.enter(Lexeme::DollarEnd)
            }
            (Lexeme::Tag | Lexeme::DollarEnd, _) if is_word(byte) => {
                self.candidate = (self.candidate ^ u32::from(byte)).wrapping_mul(0x0100_0193);
                None
            }
            (Lexeme::DollarEnd, _) => self.enter(Lexeme::Dollar),
            (Lexeme::Tag, _) => {
                self.lexeme = Lexeme::Blank;
                let verdict = self.grammar.token(Token::Other);
                verdict.or_else(|| self.blank(byte))
            }
            _ => None,
        }
    }

    #[inline]
    fn extend_word(&mut self, byte: u8) {
        self.word = self.word << 8 | u128::from(byte.to_ascii_uppercase());
        self.word_length = self.word_length.saturating_add(1);
        if self.grammar.wants_name() {
            self.name = hash::byte(self.name, byte.to_ascii_lowercase());
        }
    }

    #[inline]
    fn enter(&mut self, lexeme: Lexeme) -> Option<Verdict> {
        self.lexeme = lexeme;
        None
    }
}

/// FNV-1a's start, 32 bits.
const TAG_EMPTY: u32 = 0x811c_9dc5;

#[inline]
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}
