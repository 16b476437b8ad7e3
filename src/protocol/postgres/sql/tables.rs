//! The tables that a statement names, by where their names stand.
//!
//! A name is one behind FROM, JOIN, INTO, UPDATE, TABLE, ONLY, or behind a COPY, TRUNCATE, LOCK, VACUUM or ANALYZE that begins the
//! statement, behind USING of a DELETE or MERGE, and behind the commas that go on such a list. No grammar is followed beyond
//! that: the name of a common table expression counts as one, and so does a view.

use super::text::Table;

/// Tables that are kept of one statement.
pub(super) const LIMIT: usize = 32;

/// Bytes of a name that are kept: three identifiers of the server's length, and two dots.
const NAME_LIMIT: usize = 3 * 63 + 2;

/// A word of at most this many bytes may be a keyword.
const KEYWORD: usize = 12;

/// What a statement consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// Not in quotes, in lower case.
    Word(&'a [u8]),
    /// In quotes, without them.
    Quoted(&'a [u8]),
    /// A literal, or a parameter.
    Literal,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    Other,
}

/// What the next token is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Nothing,
    /// A table's name. `call`: with a parenthesis behind it, it is a function. `group`: a parenthesis before it groups tables.
    Table { call: bool, group: bool },
    /// Behind a part of a name: a dot and more of it, or its end.
    Rest { call: bool },
    /// Behind the dot.
    Part { call: bool },
}

/// Finds the tables of one text.
#[derive(Debug, Default)]
pub(super) struct Tables {
    found: Vec<Table>,
    expect: Expect,
    /// The name being read, and where its last part begins.
    name: Vec<u8>,
    bare: usize,
    /// The first word of the statement, and the word before this one.
    first: Keyword,
    last: Keyword,
    depth: u32,
    /// By depth: a comma goes on a list of tables; FROM belongs to the syntax of a function.
    lists: u64,
    functions: u64,
    /// A dot was the last token.
    dotted: bool,
}

/// A word that may be a keyword.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Keyword([u8; KEYWORD]);

impl Keyword {
    fn of(word: &[u8]) -> Self {
        let mut bytes = [0; KEYWORD];
        if let Some(room) = bytes.get_mut(..word.len()) {
            room.copy_from_slice(word);
        } else {
            bytes[0] = b'?';
        }
        Self(bytes)
    }

    fn is(self, words: &[&str]) -> bool {
        words.iter().any(|word| self == Self::of(word.as_bytes()))
    }

    fn is_none(self) -> bool {
        self.0[0] == 0
    }
}

impl Tables {
    pub(super) fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Word(word) => self.word(word),
            Token::Quoted(name) => self.identifier(name),
            Token::Dot => {
                self.expect = match self.expect {
                    Expect::Rest { call } => Expect::Part { call },
                    _ => Expect::Nothing,
                };
            }
            Token::Open => self.open(),
            Token::Close => {
                self.end_name();
                self.set_list(false);
                self.depth = self.depth.saturating_sub(1);
            }
            Token::Comma => {
                self.end_name();
                if self.lists & self.bit() != 0 {
                    self.expect = Expect::Table {
                        call: true,
                        group: true,
                    };
                }
            }
            Token::Semicolon => {
                self.end_name();
                *self = Self {
                    found: std::mem::take(&mut self.found),
                    ..Self::default()
                };
                return;
            }
            Token::Literal | Token::Other => self.end_name(),
        }
        self.dotted = matches!(token, Token::Dot);
        if !matches!(token, Token::Word(_)) {
            self.last = Keyword::default();
        }
    }

    /// All of them, each once.
    pub(super) fn finish(mut self) -> Vec<Table> {
        self.end_name();
        self.found
    }

    fn bit(&self) -> u64 {
        1_u64.checked_shl(self.depth).unwrap_or(0)
    }

    fn set_list(&mut self, on: bool) {
        let bit = self.bit();
        self.lists = if on {
            self.lists | bit
        } else {
            self.lists & !bit
        };
    }

    fn open(&mut self) {
        let inside = match self.expect {
            Expect::Rest { call: true } => {
                // A function that returns rows.
                self.expect = Expect::Nothing;
                self.name.clear();
                Expect::Nothing
            }
            Expect::Table { group: true, call } => Expect::Table { call, group: true },
            _ => {
                self.end_name();
                Expect::Nothing
            }
        };
        let function = self
            .last
            .is(&["extract", "substring", "trim", "overlay", "position"]);
        self.depth = self.depth.saturating_add(1);
        let bit = self.bit();
        self.functions = if function {
            self.functions | bit
        } else {
            self.functions & !bit
        };
        self.set_list(inside != Expect::Nothing);
        self.expect = inside;
    }

    fn word(&mut self, word: &[u8]) {
        let keyword = Keyword::of(word);
        let (is_first, last) = (self.first.is_none(), self.last);
        if is_first {
            self.first = keyword;
        }
        self.last = keyword;
        if self.dotted {
            return self.identifier(word);
        }
        if self.begins_table(keyword, is_first, last) || self.skips(keyword) {
            return;
        }
        if keyword.is(&CLAUSES) {
            self.end_name();
            self.set_list(false);
            return;
        }
        self.identifier(word);
    }

    /// Whether the word says that a table's name follows.
    fn begins_table(&mut self, word: Keyword, is_first: bool, last: Keyword) -> bool {
        let (call, group, list) = if word.is(&["from"]) {
            let other = self.functions & self.bit() != 0
                || last.is(&["distinct"])
                || self.first.is(&["fetch", "move", "revoke"])
                || (self.first.is(&["copy"]) && self.depth == 0);
            if other {
                self.end_name();
                return true;
            }
            (true, true, true)
        } else if word.is(&["join"]) {
            (true, true, true)
        } else if word.is(&["using"]) && self.first.is(&["delete", "merge", "with"]) {
            (true, false, !self.first.is(&["with"]))
        } else if word.is(&["into"]) || (word.is(&["update"]) && !last.is(&NO_UPDATE)) {
            (false, false, false)
        } else if word.is(&["table"]) || (is_first && word.is(&["truncate", "lock", "vacuum"])) {
            (false, false, true)
        } else if is_first && word.is(&["copy", "analyze", "analyse"]) {
            (false, false, word.is(&["analyze", "analyse"]))
        } else {
            return false;
        };
        self.end_name();
        if list {
            self.set_list(true);
        }
        self.expect = Expect::Table { call, group };
        true
    }

    /// Whether the word may stand before the name.
    fn skips(&self, word: Keyword) -> bool {
        matches!(self.expect, Expect::Table { .. }) && word.is(&BEFORE_NAME)
    }

    /// A word or a quoted identifier.
    fn identifier(&mut self, name: &[u8]) {
        match self.expect {
            Expect::Table { call, .. } => {
                self.name.clear();
                self.bare = 0;
                self.name.extend(name.iter().take(NAME_LIMIT));
                self.expect = Expect::Rest { call };
            }
            Expect::Part { call } => {
                self.name.push(b'.');
                self.bare = self.name.len();
                let room = NAME_LIMIT.saturating_sub(self.name.len());
                self.name.extend(name.iter().take(room));
                self.expect = Expect::Rest { call };
            }
            Expect::Rest { .. } => self.end_name(),
            Expect::Nothing => {}
        }
    }

    fn end_name(&mut self) {
        let expected = std::mem::take(&mut self.expect);
        if !matches!(expected, Expect::Rest { .. }) {
            return;
        }
        let name = std::mem::take(&mut self.name);
        let known = self.found.iter().any(|table| table.full() == name);
        if !known && self.found.len() < LIMIT {
            self.found.push(Table::new(name, self.bare));
        }
    }
}

/// What ends a list of tables, or stands where a name could and is none.
const CLAUSES: [&str; 22] = [
    "where",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "window",
    "returning",
    "set",
    "values",
    "select",
    "when",
    "with",
    "restart",
    "cascade",
    "insert",
    "delete",
];

/// What may stand between the keyword and the name.
const BEFORE_NAME: [&str; 13] = [
    "only",
    "if",
    "not",
    "exists",
    "lateral",
    "temp",
    "temporary",
    "unlogged",
    "table",
    "verbose",
    "full",
    "freeze",
    "recursive",
];

/// `update` behind these is no statement: FOR UPDATE, FOR NO KEY UPDATE, DO UPDATE, ON UPDATE, triggers.
const NO_UPDATE: [&str; 8] = ["for", "key", "do", "on", "before", "after", "or", "of"];
