//! Statements against the tables: which parameters a statement takes, which columns it gives, and values made to fit columns.

use super::sql::{Column, ColumnType, Condition, Expr, Output, SqlError, Statement, Value};
use super::store::{Store, Table};

/// A statement that was checked against the tables.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) statement: Statement,
    /// The types of `$1`, `$2`, ...
    pub(super) parameters: Vec<ColumnType>,
    /// The columns of the result; empty when there is none.
    pub(super) columns: Vec<(String, ColumnType)>,
}

/// The parameters a statement may have; the protocol counts them in 16 bits.
const MAX_PARAMETERS: usize = u16::MAX as usize;

/// Checks a statement. Tables and columns are looked up again when it runs: they may be gone by then.
///
/// # Errors
/// Names that are not there, parameters out of range, values that fit no column.
pub(super) fn plan(statement: Statement, store: &Store) -> Result<Plan, SqlError> {
    let mut parameters = Parameters::default();
    let columns = match &statement {
        Statement::Insert {
            table,
            columns,
            rows,
            returning,
        } => {
            let table = store.table(table)?;
            let targets = insert_targets(table, columns)?;
            for row in rows {
                if row.len() > targets.len() {
                    let text = "INSERT has more expressions than target columns";
                    return Err(SqlError::new("42601", text));
                }
                if row.len() < targets.len() && !columns.is_empty() {
                    let text = "INSERT has more target columns than expressions";
                    return Err(SqlError::new("42601", text));
                }
                for (value, &target) in row.iter().zip(&targets) {
                    parameters.see(value, table.columns[target].kind)?;
                }
            }
            outputs(table, returning)?
        }
        Statement::Select(select) => {
            let table = store.table(&select.table)?;
            parameters.see_conditions(table, &select.conditions)?;
            if let Some((column, _)) = &select.order {
                table.column(column)?;
            }
            if let Some(limit) = &select.limit {
                parameters.see(limit, ColumnType::Int8)?;
            }
            outputs(table, &select.output)?
        }
        Statement::Literals(values) => {
            let mut columns = Vec::with_capacity(values.len());
            for (name, value) in values {
                let kind = literal_type(value);
                parameters.see(value, kind)?;
                columns.push((name.clone(), kind));
            }
            columns
        }
        Statement::Update {
            table,
            assignments,
            conditions,
            returning,
        } => {
            let table = store.table(table)?;
            for (column, value) in assignments {
                let column = &table.columns[table.column(column)?];
                if column.primary_key {
                    return Err(SqlError::unsupported("a PRIMARY KEY cannot be updated"));
                }
                parameters.see(value, column.kind)?;
            }
            parameters.see_conditions(table, conditions)?;
            outputs(table, returning)?
        }
        Statement::Delete {
            table,
            conditions,
            returning,
        } => {
            let table = store.table(table)?;
            parameters.see_conditions(table, conditions)?;
            outputs(table, returning)?
        }
        Statement::Show(name) => vec![(name.clone(), ColumnType::Text)],
        _ => Vec::new(),
    };
    Ok(Plan {
        statement,
        parameters: parameters.types(),
        columns,
    })
}

#[derive(Debug, Default)]
struct Parameters {
    types: Vec<Option<ColumnType>>,
}

impl Parameters {
    fn see(&mut self, value: &Expr, kind: ColumnType) -> Result<(), SqlError> {
        let Expr::Parameter(n) = value else {
            return Ok(());
        };
        if *n >= MAX_PARAMETERS {
            let text = format!("there is no parameter ${}", n.saturating_add(1));
            return Err(SqlError::new("42P02", text));
        }
        if self.types.len() <= *n {
            self.types.resize(n + 1, None);
        }
        self.types[*n].get_or_insert(kind);
        Ok(())
    }

    fn see_conditions(&mut self, table: &Table, conditions: &[Condition]) -> Result<(), SqlError> {
        for condition in conditions {
            let column = table.column(&condition.column)?;
            self.see(&condition.value, table.columns[column].kind)?;
        }
        Ok(())
    }

    /// A number that no expression uses is text, which every client can send.
    fn types(self) -> Vec<ColumnType> {
        let types = self.types.into_iter();
        types.map(|t| t.unwrap_or(ColumnType::Text)).collect()
    }
}

/// The indexes of the columns that an INSERT fills.
pub(super) fn insert_targets(table: &Table, columns: &[String]) -> Result<Vec<usize>, SqlError> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    columns.iter().map(|name| table.column(name)).collect()
}

fn outputs(table: &Table, output: &Output) -> Result<Vec<(String, ColumnType)>, SqlError> {
    let named = |column: &Column| (column.name.clone(), column.kind);
    Ok(match output {
        Output::Nothing => Vec::new(),
        Output::Count => vec![("count".to_owned(), ColumnType::Int8)],
        Output::All => table.columns.iter().map(named).collect(),
        Output::Columns(wanted) => wanted
            .iter()
            .map(|name| Ok(named(&table.columns[table.column(name)?])))
            .collect::<Result<_, _>>()?,
    })
}

fn literal_type(value: &Expr) -> ColumnType {
    match value {
        Expr::Literal(Value::Integer(n)) if i32::try_from(*n).is_ok() => ColumnType::Int4,
        Expr::Literal(Value::Integer(_)) => ColumnType::Int8,
        Expr::Literal(Value::Boolean(_)) => ColumnType::Boolean,
        _ => ColumnType::Text,
    }
}

/// The value of an expression, as a column of that type holds it. A quoted literal is read as whatever is wanted, as
/// Postgres does with a literal of unknown type.
///
/// # Errors
/// Values of another type or out of range; parameters that were not given.
pub(super) fn evaluate(
    expr: &Expr,
    parameters: &[Value],
    kind: ColumnType,
) -> Result<Value, SqlError> {
    let value = match expr {
        Expr::Literal(value) => value.clone(),
        Expr::Parameter(n) => parameters.get(*n).cloned().ok_or_else(|| {
            SqlError::new(
                "42P02",
                format!("there is no parameter ${}", n.saturating_add(1)),
            )
        })?,
        Expr::Default => return Err(SqlError::unsupported("DEFAULT is not supported here")),
    };
    fit(value, kind)
}

fn fit(value: Value, kind: ColumnType) -> Result<Value, SqlError> {
    match (value, kind) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Integer(n), ColumnType::Int8) => Ok(Value::Integer(n)),
        (Value::Integer(n), ColumnType::Int4) => match i32::try_from(n) {
            Ok(_) => Ok(Value::Integer(n)),
            Err(_) => Err(SqlError::new("22003", "integer out of range")),
        },
        (Value::Text(text), ColumnType::Text) => Ok(Value::Text(text)),
        (Value::Boolean(b), ColumnType::Boolean) => Ok(Value::Boolean(b)),
        (Value::Text(text), ColumnType::Int4 | ColumnType::Int8) => match text.trim().parse() {
            Ok(n) => fit(Value::Integer(n), kind),
            Err(_) => Err(SqlError::new(
                "22P02",
                "invalid input syntax for type integer",
            )),
        },
        (Value::Text(text), ColumnType::Boolean) => match text.trim() {
            "t" | "true" | "on" | "1" | "yes" => Ok(Value::Boolean(true)),
            "f" | "false" | "off" | "0" | "no" => Ok(Value::Boolean(false)),
            _ => Err(SqlError::new(
                "22P02",
                "invalid input syntax for type boolean",
            )),
        },
        (Value::Integer(_) | Value::Boolean(_), _) => Err(SqlError::new(
            "42804",
            "the value is of another type than the column",
        )),
    }
}
