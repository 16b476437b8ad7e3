//! From tokens to what the statement does.

use super::super::operation::{self, Known, of_keyword, pack};
use super::{Forget, Verdict};
use crate::protocol::{Class, Operation};

/// A piece of SQL as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    /// A keyword, an unquoted name or a number; `word` is its upper case, [`pack`]ed, 0 when it is longer than 16 bytes.
    Word {
        word: u128,
        name: u64,
    },
    /// A quoted identifier.
    Quoted {
        name: u64,
    },
    Open,
    Close,
    Comma,
    Semicolon,
    /// The end of the text.
    End,
    /// A literal or an operator.
    Other,
}

/// What the next tokens decide. From `Copy` on, much may stand before they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Goal {
    /// The leading keyword.
    Verb,
    /// After START: only TRANSACTION makes it a BEGIN.
    Start,
    /// After COMMIT or END: PREPARED or not.
    Commit,
    /// After ROLLBACK: TO, PREPARED or neither.
    Rollback,
    /// After PREPARE: TRANSACTION, or a name.
    Prepare,
    /// After DEALLOCATE: ALL, or a name.
    Deallocate,
    /// After DISCARD: ALL or a part.
    Discard,
    /// Directly after COPY: a table or a query in parentheses.
    Copy,
    /// The first word of that query.
    CopyQuery,
    /// Its direction.
    CopyDirection,
    /// After EXPLAIN and its old-style options.
    Explain,
    /// In the parentheses behind EXPLAIN: options, or the statement itself.
    ExplainOptions,
    /// The name of a common table expression.
    With,
    /// Its column list and AS.
    WithHead,
    /// After AS.
    WithAs,
    /// The first word of its body.
    WithBody,
    /// The rest of its body.
    WithRest,
    /// After its body: a comma and one more, SEARCH, CYCLE, or the statement that all this belongs to.
    WithEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Explain {
    No,
    Plain,
    Analyze,
}

/// The decision so far.
#[derive(Debug)]
pub(super) struct Grammar {
    goal: Goal,
    explain: Explain,
    /// Whether a common table expression changes data.
    writes: bool,
    /// Whether the last option of EXPLAIN was ANALYZE, so that `false` takes it back.
    option: bool,
    /// Parentheses open now, and at the WITH.
    depth: u16,
    base: u16,
}

/// Defines [`pack`]ed keywords as constants, to match on.
macro_rules! words {
    ($($word:ident)*) => { $(const $word: u128 = pack(stringify!($word));)* };
}

words! {
    ABORT ALL ANALYSE ANALYZE AS COMMIT COPY DEALLOCATE DELETE DISCARD END EXPLAIN FALSE FROM INSERT MATERIALIZED MERGE
    NOT OFF PREPARE PREPARED RECURSIVE ROLLBACK SELECT START TABLE TO TRANSACTION UPDATE VALUES VERBOSE WITH WORK
}
const ZERO: u128 = pack("0");

impl Grammar {
    pub(super) fn new() -> Self {
        Self {
            goal: Goal::Verb,
            explain: Explain::No,
            writes: false,
            option: false,
            depth: 0,
            base: 0,
        }
    }

    /// Whether the statement may be long before it says what it does.
    #[inline]
    pub(super) fn is_deep(&self) -> bool {
        self.explain != Explain::No || self.goal >= Goal::Copy
    }

    /// Whether a name is expected whose hash matters.
    #[inline]
    pub(super) fn wants_name(&self) -> bool {
        self.goal == Goal::Deallocate
    }

    /// The verdict on a statement that did not say in time what it does.
    pub(super) fn give_up(&self) -> Verdict {
        let operation = match self.goal {
            _ if self.explain != Explain::No => operation::EXPLAIN,
            Goal::Copy | Goal::CopyQuery | Goal::CopyDirection => operation::COPY,
            Goal::Commit => operation::COMMIT,
            Goal::Rollback => operation::ROLLBACK,
            Goal::Prepare => operation::PREPARE,
            Goal::Deallocate => operation::DEALLOCATE,
            Goal::Discard => operation::DISCARD,
            _ => operation::OTHER,
        };
        self.verdict(operation)
    }

    /// Takes the next token; the verdict, once it is certain. [`Token::End`] always brings one.
    #[inline]
    pub(super) fn token(&mut self, token: Token) -> Option<Verdict> {
        match token {
            Token::Open => self.depth = self.depth.saturating_add(1),
            Token::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        match self.goal {
            Goal::Verb => self.verb(token),
            Goal::Start
            | Goal::Commit
            | Goal::Rollback
            | Goal::Prepare
            | Goal::Deallocate
            | Goal::Discard => self.second_word(token),
            Goal::Copy | Goal::CopyQuery | Goal::CopyDirection => self.copy(token),
            Goal::Explain | Goal::ExplainOptions => self.explain(token),
            _ => self.with(token),
        }
    }

    fn verb(&mut self, token: Token) -> Option<Verdict> {
        let word = match token {
            Token::Word { word, .. } => word,
            // `;;SELECT 1`: an empty statement does nothing, and the next one is the first.
            Token::Open | Token::Close | Token::Semicolon => return None,
            Token::End if self.explain == Explain::No => {
                return Some(self.verdict(operation::EMPTY));
            }
            _ => return Some(self.verdict(operation::OTHER)),
        };
        self.goal = match word {
            WITH => {
                self.base = self.depth;
                Goal::With
            }
            COPY => Goal::Copy,
            START => Goal::Start,
            COMMIT | END => Goal::Commit,
            ROLLBACK => Goal::Rollback,
            PREPARE => Goal::Prepare,
            DEALLOCATE => Goal::Deallocate,
            DISCARD => Goal::Discard,
            EXPLAIN if self.explain == Explain::No => {
                self.explain = Explain::Plain;
                Goal::Explain
            }
            ABORT => return Some(self.verdict(operation::ROLLBACK)),
            ANALYSE => return Some(self.verdict(operation::ANALYZE)),
            _ => {
                let operation = of_keyword(word).filter(|&found| is_statement(found));
                return Some(self.verdict(operation.unwrap_or(operation::OTHER)));
            }
        };
        None
    }

    /// Statements whose second word (third, with a filler) tells them apart.
    fn second_word(&mut self, token: Token) -> Option<Verdict> {
        let (word, name) = match token {
            Token::Word { word, name } => (word, Some(name)),
            Token::Quoted { name } => (0, Some(name)),
            _ => (0, None),
        };
        let operation = match (self.goal, word) {
            (Goal::Commit | Goal::Rollback, WORK | TRANSACTION) | (Goal::Deallocate, PREPARE) => {
                return None;
            }
            (Goal::Start, TRANSACTION) => operation::BEGIN,
            (Goal::Commit, PREPARED) => operation::COMMIT_PREPARED,
            (Goal::Commit, _) => operation::COMMIT,
            (Goal::Rollback, TO) => operation::ROLLBACK_TO,
            (Goal::Rollback, PREPARED) => operation::ROLLBACK_PREPARED,
            (Goal::Rollback, _) => operation::ROLLBACK,
            (Goal::Prepare, TRANSACTION) => operation::PREPARE_TRANSACTION,
            (Goal::Prepare, _) => operation::PREPARE,
            (Goal::Deallocate, _) => operation::DEALLOCATE,
            (Goal::Discard, _) => operation::DISCARD,
            _ => operation::OTHER,
        };
        let forget = match (self.goal, word, name) {
            (Goal::Deallocate | Goal::Discard, ALL, _) => Forget::All,
            (Goal::Deallocate, _, Some(name)) => Forget::One(name),
            _ => Forget::Nothing,
        };
        Some(Verdict {
            forget,
            ..self.verdict(operation)
        })
    }

    /// `COPY table [(columns)] FROM | TO`, `COPY (query) TO`.
    fn copy(&mut self, token: Token) -> Option<Verdict> {
        let writes = match (self.goal, token) {
            (_, Token::Semicolon | Token::End) => false,
            (Goal::Copy, Token::Open) => {
                self.goal = Goal::CopyQuery;
                return None;
            }
            (Goal::CopyQuery, Token::Word { word, .. }) if changes_data(word) => true,
            (_, Token::Word { word: FROM, .. }) if self.depth == 0 => true,
            (_, Token::Word { word: TO, .. }) if self.depth == 0 => false,
            _ => {
                self.goal = Goal::CopyDirection;
                return None;
            }
        };
        self.writes |= writes;
        Some(self.verdict(operation::COPY))
    }

    /// `EXPLAIN [ANALYZE] [VERBOSE] statement`, `EXPLAIN (option [value], ...) statement`.
    fn explain(&mut self, token: Token) -> Option<Verdict> {
        match (self.goal, token) {
            (_, Token::Semicolon | Token::End) => {
                return Some(self.verdict(operation::EXPLAIN));
            }
            (Goal::Explain, Token::Open) => self.goal = Goal::ExplainOptions,
            (Goal::ExplainOptions, Token::Close) => self.goal = Goal::Verb,
            (Goal::ExplainOptions, Token::Comma) => self.option = false,
            (
                _,
                Token::Word {
                    word: ANALYZE | ANALYSE,
                    ..
                },
            ) => {
                self.explain = Explain::Analyze;
                self.option = true;
            }
            (Goal::Explain, Token::Word { word: VERBOSE, .. }) => {}
            (
                Goal::ExplainOptions,
                Token::Word {
                    word: FALSE | OFF | ZERO,
                    ..
                },
            ) if self.option => self.explain = Explain::Plain,
            (
                Goal::ExplainOptions,
                Token::Word {
                    word: SELECT | WITH | VALUES | TABLE,
                    ..
                },
            )
            | (Goal::Explain, _) => {
                self.goal = Goal::Verb;
                return self.verb(token);
            }
            _ => {}
        }
        None
    }

    /// `WITH [RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (body) [SEARCH ...] [CYCLE ...] [, ...] statement`.
    fn with(&mut self, token: Token) -> Option<Verdict> {
        if matches!(token, Token::End)
            || matches!(token, Token::Semicolon) && self.depth <= self.base
        {
            return Some(self.give_up());
        }
        let outside = self.depth == self.base;
        match (self.goal, token) {
            (
                Goal::With,
                Token::Word {
                    word: RECURSIVE, ..
                },
            )
            | (
                Goal::WithAs,
                Token::Word {
                    word: NOT | MATERIALIZED,
                    ..
                },
            ) => {}
            (Goal::With, Token::Word { .. } | Token::Quoted { .. }) => self.goal = Goal::WithHead,
            (Goal::WithHead, Token::Word { word: AS, .. }) if outside => self.goal = Goal::WithAs,
            // The comma was one of SEARCH ... BY a, b: not a name, but the rest of the clause.
            (Goal::WithHead, Token::Word { .. }) if outside => {
                self.goal = Goal::WithEnd;
                return self.with(token);
            }
            (Goal::WithHead, Token::Comma) if outside => self.goal = Goal::With,
            (Goal::WithAs, Token::Open) => self.goal = Goal::WithBody,
            (Goal::WithAs, _) => self.goal = Goal::WithEnd,
            (Goal::WithBody, Token::Word { word, .. }) => {
                self.writes |= changes_data(word);
                self.goal = Goal::WithRest;
            }
            (Goal::WithBody | Goal::WithRest, Token::Close) if outside => {
                self.goal = Goal::WithEnd;
            }
            (Goal::WithEnd, Token::Comma) => self.goal = Goal::With,
            // The statement itself in parentheses.
            (Goal::WithEnd, Token::Open) => self.base = self.depth,
            (
                Goal::WithEnd,
                Token::Word {
                    word: word @ (SELECT | INSERT | UPDATE | DELETE | MERGE | VALUES | TABLE),
                    ..
                },
            ) => {
                let operation = of_keyword(word).unwrap_or(operation::OTHER);
                return Some(self.verdict(operation));
            }
            _ => {}
        }
        None
    }

    fn verdict(&self, operation: Operation) -> Verdict {
        let mut known = Known::of(operation);
        if self.writes {
            known.class = Class::Write;
        }
        if self.explain != Explain::No {
            let writes = known.class == Class::Write
                || matches!(operation, operation::CREATE | operation::REFRESH);
            known = Known::of(operation::EXPLAIN);
            if writes && self.explain == Explain::Analyze {
                known.class = Class::Write;
            }
        }
        Verdict {
            known,
            forget: Forget::Nothing,
        }
    }
}

fn changes_data(word: u128) -> bool {
    matches!(word, INSERT | UPDATE | DELETE | MERGE)
}

/// Names of the table that no SQL text may claim.
fn is_statement(operation: Operation) -> bool {
    !matches!(
        operation,
        operation::OTHER
            | operation::STARTUP
            | operation::CANCEL
            | operation::EMPTY
            | operation::FUNCTION
    )
}
