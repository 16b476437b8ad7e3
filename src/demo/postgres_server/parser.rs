//! Tokens to statements. What fits no supported shape is refused as not supported: this parser cannot know whether a real
//! server would take it.

use super::sql::{
    Column, ColumnType, Comparison, Condition, Expr, Output, Select, SqlError, Statement, Value,
};
use super::token::{Token, tokens};

type Parsed<T> = Result<T, SqlError>;

/// The statements of a query string, in order. Empty ones are left out.
///
/// # Errors
/// `feature_not_supported` for everything that is no supported statement.
pub(super) fn parse(sql: &str) -> Parsed<Vec<Statement>> {
    let all = tokens(sql)?;
    let mut parser = Parser { rest: &all };
    let mut statements = Vec::new();
    loop {
        while parser.symbol(";") {}
        if parser.rest.is_empty() {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
        if !parser.rest.is_empty() && !parser.symbol(";") {
            return Err(parser.unexpected());
        }
    }
}

struct Parser<'a> {
    rest: &'a [Token],
}

impl Parser<'_> {
    fn unexpected(&self) -> SqlError {
        SqlError::unsupported(match self.rest.first() {
            None => "this statement ends too early to be supported".to_owned(),
            Some(Token::Word(word)) => format!("\"{word}\" is not supported here"),
            Some(Token::Symbol(symbol)) => format!("\"{symbol}\" is not supported here"),
            // Literals may be secrets: they are not repeated.
            Some(_) => "this value is not supported here".to_owned(),
        })
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.next_if(|token| matches!(token, Token::Symbol(s) if *s == symbol))
    }

    fn word(&mut self, word: &str) -> bool {
        self.next_if(|token| matches!(token, Token::Word(w) if w == word))
    }

    fn next_if(&mut self, wanted: impl Fn(&Token) -> bool) -> bool {
        match self.rest {
            [first, rest @ ..] if wanted(first) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// All of these words, or none.
    fn words(&mut self, words: &[&str]) -> bool {
        let before = self.rest;
        let all = words.iter().all(|word| self.word(word));
        if !all {
            self.rest = before;
        }
        all
    }

    fn expect(&mut self, found: bool) -> Parsed<()> {
        if found {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn name(&mut self) -> Parsed<String> {
        match self.rest {
            [Token::Word(name) | Token::Name(name), rest @ ..] => {
                self.rest = rest;
                Ok(name.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A table's name; the schema may be said, as long as it is the only one there is.
    fn table(&mut self) -> Parsed<String> {
        let name = self.name()?;
        if name == "public" && self.symbol(".") {
            return self.name();
        }
        Ok(name)
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn in_parentheses<T>(&mut self, item: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let open = self.symbol("(");
        self.expect(open)?;
        let items = self.list(item)?;
        let close = self.symbol(")");
        self.expect(close)?;
        Ok(items)
    }

    fn expr(&mut self) -> Parsed<Expr> {
        let negative = self.symbol("-");
        let [first, rest @ ..] = self.rest else {
            return Err(self.unexpected());
        };
        let expr = match first {
            // The tokenizer reads no sign, so the smallest integer cannot be written; nobody here needs it.
            Token::Integer(n) => Expr::Literal(Value::Integer(if negative { -n } else { *n })),
            _ if negative => return Err(self.unexpected()),
            Token::Text(text) => Expr::Literal(Value::Text(text.clone())),
            Token::Parameter(n) => Expr::Parameter(*n),
            Token::Word(word) => match word.as_str() {
                "null" => Expr::Literal(Value::Null),
                "true" => Expr::Literal(Value::Boolean(true)),
                "false" => Expr::Literal(Value::Boolean(false)),
                "default" => Expr::Default,
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.rest = rest;
        Ok(expr)
    }

    fn conditions(&mut self) -> Parsed<Vec<Condition>> {
        let mut conditions = Vec::new();
        if !self.word("where") {
            return Ok(conditions);
        }
        loop {
            let column = self.name()?;
            let comparison = [
                ("=", Comparison::Equal),
                ("<>", Comparison::NotEqual),
                ("!=", Comparison::NotEqual),
                ("<=", Comparison::LessOrEqual),
                ("<", Comparison::Less),
                (">=", Comparison::GreaterOrEqual),
                (">", Comparison::Greater),
            ]
            .into_iter()
            .find(|(symbol, _)| self.symbol(symbol));
            let Some((_, comparison)) = comparison else {
                return Err(self.unexpected());
            };
            conditions.push(Condition {
                column,
                comparison,
                value: self.expr()?,
            });
            if !self.word("and") {
                return Ok(conditions);
            }
        }
    }

    fn columns_out(&mut self) -> Parsed<Output> {
        if self.symbol("*") {
            return Ok(Output::All);
        }
        Ok(Output::Columns(self.list(Self::name)?))
    }

    fn returning(&mut self) -> Parsed<Output> {
        if self.word("returning") {
            return self.columns_out();
        }
        Ok(Output::Nothing)
    }

    fn statement(&mut self) -> Parsed<Statement> {
        if self.word("select") {
            return self.select();
        }
        if self.words(&["insert", "into"]) {
            return self.insert();
        }
        if self.word("update") {
            return self.update();
        }
        if self.words(&["delete", "from"]) {
            return Ok(Statement::Delete {
                table: self.table()?,
                conditions: self.conditions()?,
                returning: self.returning()?,
            });
        }
        if self.words(&["create", "table"]) {
            return self.create();
        }
        if self.words(&["drop", "table"]) {
            let if_present = self.words(&["if", "exists"]);
            let table = self.table()?;
            return Ok(Statement::DropTable { table, if_present });
        }
        if let Some(statement) = self.transaction() {
            return Ok(statement);
        }
        if self.word("set") {
            return self.set();
        }
        if self.word("show") {
            return Ok(Statement::Show(self.setting()?));
        }
        Err(self.unexpected())
    }

    fn transaction(&mut self) -> Option<Statement> {
        let statement = if self.word("begin") || self.words(&["start", "transaction"]) {
            let _ = self.word("work") || self.word("transaction");
            // What this server does anyway may be asked for; the rest may not.
            while self.words(&["isolation", "level", "read", "committed"])
                || self.words(&["read", "write"])
                || self.symbol(",")
            {}
            Statement::Begin
        } else if self.word("commit") || self.word("end") {
            Statement::Commit
        } else if self.word("rollback") || self.word("abort") {
            Statement::Rollback
        } else {
            return None;
        };
        let _ = self.word("work") || self.word("transaction");
        Some(statement)
    }

    fn select(&mut self) -> Parsed<Statement> {
        let count = self.words(&["count"]);
        let output = if count {
            let all = self.symbol("(") && self.symbol("*") && self.symbol(")");
            self.expect(all)?;
            Output::Count
        } else if matches!(self.rest, [Token::Symbol("*") | Token::Name(_), ..])
            || matches!(self.rest, [Token::Word(word), ..] if !matches!(word.as_str(), "null" | "true" | "false"))
        {
            self.columns_out()?
        } else {
            return self.list(Self::literal).map(Statement::Literals);
        };
        let from = self.word("from");
        self.expect(from)?;
        let table = self.table()?;
        let conditions = self.conditions()?;
        let order = if self.words(&["order", "by"]) {
            let column = self.name()?;
            let descending = self.word("desc");
            let _ = !descending && self.word("asc");
            Some((column, descending))
        } else {
            None
        };
        let limit = if self.word("limit") {
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Statement::Select(Select {
            table,
            output,
            conditions,
            order,
            limit,
        }))
    }

    fn literal(&mut self) -> Parsed<(String, Expr)> {
        let value = self.expr()?;
        if matches!(value, Expr::Default) {
            return Err(self.unexpected());
        }
        let name = if self.word("as") {
            self.name()?
        } else {
            "?column?".to_owned()
        };
        Ok((name, value))
    }

    fn insert(&mut self) -> Parsed<Statement> {
        let table = self.table()?;
        let columns = if matches!(self.rest, [Token::Symbol("("), ..]) {
            self.in_parentheses(Self::name)?
        } else {
            Vec::new()
        };
        let values = self.word("values");
        self.expect(values)?;
        Ok(Statement::Insert {
            table,
            columns,
            rows: self.list(|parser| parser.in_parentheses(Self::expr))?,
            returning: self.returning()?,
        })
    }

    fn update(&mut self) -> Parsed<Statement> {
        let table = self.table()?;
        let set = self.word("set");
        self.expect(set)?;
        let assignments = self.list(|parser| {
            let column = parser.name()?;
            let equals = parser.symbol("=");
            parser.expect(equals)?;
            Ok((column, parser.expr()?))
        })?;
        Ok(Statement::Update {
            table,
            assignments,
            conditions: self.conditions()?,
            returning: self.returning()?,
        })
    }

    fn create(&mut self) -> Parsed<Statement> {
        let if_absent = self.words(&["if", "not", "exists"]);
        let table = self.table()?;
        let columns = self.in_parentheses(Self::column)?;
        let keys = columns.iter().filter(|column| column.primary_key);
        if keys.count() > 1 {
            return Err(SqlError::new(
                "42P16",
                format!("multiple primary keys for table \"{table}\" are not allowed"),
            ));
        }
        Ok(Statement::CreateTable {
            table,
            columns,
            if_absent,
        })
    }

    fn column(&mut self) -> Parsed<Column> {
        let name = self.name()?;
        let (kind, mut serial) = self.column_type()?;
        let (mut not_null, mut primary_key) = (serial, false);
        loop {
            if self.words(&["primary", "key"]) {
                if !matches!(kind, ColumnType::Int4 | ColumnType::Int8) {
                    return Err(SqlError::unsupported("only an integer can be PRIMARY KEY"));
                }
                primary_key = true;
                not_null = true;
            } else if self.words(&["not", "null"]) {
                not_null = true;
            } else if self.words(&["generated", "always", "as", "identity"])
                || self.words(&["generated", "by", "default", "as", "identity"])
            {
                serial = true;
                not_null = true;
            } else {
                return Ok(Column {
                    name,
                    kind,
                    serial,
                    not_null,
                    primary_key,
                });
            }
        }
    }

    /// A type, and whether it is filled from a sequence.
    fn column_type(&mut self) -> Parsed<(ColumnType, bool)> {
        let before = self.rest;
        let found = match self.name()?.as_str() {
            "integer" | "int" | "int4" => (ColumnType::Int4, false),
            "bigint" | "int8" => (ColumnType::Int8, false),
            "serial" | "serial4" => (ColumnType::Int4, true),
            "bigserial" | "serial8" => (ColumnType::Int8, true),
            "text" => (ColumnType::Text, false),
            "boolean" | "bool" => (ColumnType::Boolean, false),
            _ => {
                self.rest = before;
                return Err(self.unexpected());
            }
        };
        Ok(found)
    }

    fn setting(&mut self) -> Parsed<String> {
        let mut name = self.name()?;
        while self.symbol(".") {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name)
    }

    fn set(&mut self) -> Parsed<Statement> {
        let _ = self.word("session") || self.word("local");
        let name = self.setting()?;
        let to = self.symbol("=") || self.word("to");
        self.expect(to)?;
        let values = self.list(|parser| match parser.rest {
            [
                Token::Word(text) | Token::Name(text) | Token::Text(text),
                rest @ ..,
            ] => {
                parser.rest = rest;
                Ok(text.clone())
            }
            [Token::Integer(n), rest @ ..] => {
                parser.rest = rest;
                Ok(n.to_string())
            }
            _ => Err(parser.unexpected()),
        })?;
        let value = values.join(", ");
        Ok(Statement::Set { name, value })
    }
}
