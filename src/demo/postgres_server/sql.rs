//! The dialect: the statements that the embedded Postgres understands, as data, and the error for all others.

/// What the server answers to anything it does not understand, beside the error itself.
pub(super) const SUPPORTED: &str = "The embedded Postgres of `brownout demo` understands: CREATE TABLE, DROP TABLE, \
    INSERT ... VALUES [RETURNING], SELECT [count(*)] ... FROM one table [WHERE col = value AND ...] [ORDER BY col] [LIMIT n], \
    SELECT of literals, UPDATE, DELETE, BEGIN, COMMIT, ROLLBACK, SET, SHOW. Use --postgres URL for a real server.";

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct SqlError {
    /// SQLSTATE.
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl SqlError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// `feature_not_supported`.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::new("0A000", what)
    }
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnType {
    Int4,
    Int8,
    Text,
    Boolean,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Boolean(bool),
}

/// A column as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    /// Filled from a sequence when an INSERT leaves it out.
    pub(super) serial: bool,
    pub(super) not_null: bool,
    pub(super) primary_key: bool,
}

/// A value in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    Literal(Value),
    /// `$1` is 0.
    Parameter(usize),
    /// `DEFAULT`, in VALUES.
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One condition of a WHERE; all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) column: String,
    pub(super) comparison: Comparison,
    pub(super) value: Expr,
}

/// What a SELECT or RETURNING gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    Nothing,
    All,
    Count,
    Columns(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Select {
    pub(super) table: String,
    pub(super) output: Output,
    pub(super) conditions: Vec<Condition>,
    /// Column, and whether the order descends.
    pub(super) order: Option<(String, bool)>,
    pub(super) limit: Option<Expr>,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    CreateTable {
        table: String,
        columns: Vec<Column>,
        if_absent: bool,
    },
    DropTable {
        table: String,
        if_present: bool,
    },
    Insert {
        table: String,
        /// Empty: all, in their order.
        columns: Vec<String>,
        rows: Vec<Vec<Expr>>,
        returning: Output,
    },
    Select(Select),
    /// `SELECT 1 AS one`: names and values.
    Literals(Vec<(String, Expr)>),
    Update {
        table: String,
        assignments: Vec<(String, Expr)>,
        conditions: Vec<Condition>,
        returning: Output,
    },
    Delete {
        table: String,
        conditions: Vec<Condition>,
        returning: Output,
    },
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: String,
    },
    Show(String),
}

impl Statement {
    /// Whether a failed transaction lets it through: only what ends the transaction.
    pub(super) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback)
    }
}
