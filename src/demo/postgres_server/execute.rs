//! Runs one planned statement inside a transaction. Checks everything first, then changes: a statement that must wait or
//! fails has changed nothing.

use super::plan::{Plan, evaluate, insert_targets};
use super::sql::{
    ColumnType, Comparison, Condition, Expr, Output, Select, SqlError, Statement, Value,
};
use super::store::{Halt, Store, Table, TransactionId, Values};

/// What a statement gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// `SELECT`, `INSERT 0`, ...: the words before the number of rows.
    pub(super) tag: &'static str,
    /// Rows returned or changed; `None` for statements that count none.
    pub(super) count: Option<usize>,
    pub(super) rows: Vec<Values>,
}

impl Answer {
    fn done(tag: &'static str) -> Self {
        Self {
            tag,
            count: None,
            rows: Vec::new(),
        }
    }
}

struct Run<'a> {
    store: &'a mut Store,
    id: TransactionId,
    parameters: &'a [Value],
}

/// Runs a statement that is neither about transactions nor about settings.
///
/// # Errors
/// What is wrong with it, or whom to wait for before trying again.
pub(super) fn execute(
    store: &mut Store,
    id: TransactionId,
    plan: &Plan,
    parameters: &[Value],
) -> Result<Answer, Halt> {
    let mut run = Run {
        store,
        id,
        parameters,
    };
    match &plan.statement {
        Statement::Select(select) => run.select(select),
        Statement::Literals(values) => run.literals(plan, values),
        Statement::Insert {
            table,
            columns,
            rows,
            returning,
        } => run.insert(table, columns, rows, returning),
        Statement::Update {
            table,
            assignments,
            conditions,
            returning,
        } => run.update(table, assignments, conditions, returning),
        Statement::Delete {
            table,
            conditions,
            returning,
        } => run.delete(table, conditions, returning),
        Statement::CreateTable {
            table,
            columns,
            if_absent,
        } => match run.store.table(table) {
            Ok(_) if *if_absent => Ok(Answer::done("CREATE TABLE")),
            Ok(_) => {
                let text = format!("relation \"{table}\" already exists");
                Err(SqlError::new("42P07", text).into())
            }
            Err(_) => {
                run.store.create(table, columns)?;
                Ok(Answer::done("CREATE TABLE"))
            }
        },
        Statement::DropTable { table, if_present } => {
            if let Some(other) = run.store.changed_by_other(table, id) {
                return Err(Halt::Wait(other));
            }
            if !run.store.drop_table(table) && !if_present {
                let text = format!("table \"{table}\" does not exist");
                return Err(SqlError::new("42P01", text).into());
            }
            Ok(Answer::done("DROP TABLE"))
        }
        Statement::Begin
        | Statement::Commit
        | Statement::Rollback
        | Statement::Set { .. }
        | Statement::Show(_) => Err(SqlError::unsupported("not a statement on data").into()),
    }
}

impl Run<'_> {
    /// The keys of the rows that meet all conditions. A condition on the primary key finds its row without a scan.
    fn matching(&self, table: &Table, conditions: &[Condition]) -> Result<Vec<i64>, SqlError> {
        let mut wanted = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let column = table.column(&condition.column)?;
            let value = evaluate(
                &condition.value,
                self.parameters,
                table.columns[column].kind,
            )?;
            wanted.push((column, condition.comparison, value));
        }
        let meets = |values: &Values| {
            wanted
                .iter()
                .all(|(column, comparison, value)| compare(&values[*column], *comparison, value))
        };
        let by_key = wanted.iter().find_map(|wanted| match wanted {
            (column, Comparison::Equal, Value::Integer(key)) if table.key() == Some(*column) => {
                Some(*key)
            }
            _ => None,
        });
        let found = |(key, values): (i64, &Values)| meets(values).then_some(key);
        Ok(match by_key {
            Some(key) => table
                .visible_row(key, self.id)
                .and_then(found)
                .into_iter()
                .collect(),
            None => table.visible(self.id).filter_map(found).collect(),
        })
    }

    fn limit(&self, limit: Option<&Expr>) -> Result<usize, SqlError> {
        let Some(limit) = limit else {
            return Ok(usize::MAX);
        };
        match evaluate(limit, self.parameters, ColumnType::Int8)? {
            Value::Integer(n) => {
                usize::try_from(n).map_err(|_| SqlError::new("2201W", "LIMIT must not be negative"))
            }
            _ => Ok(usize::MAX),
        }
    }

    fn select(&self, select: &Select) -> Result<Answer, Halt> {
        let table = self.store.table(&select.table)?;
        let limit = self.limit(select.limit.as_ref())?;
        let mut keys = self.matching(table, &select.conditions)?;
        let rows = if select.output == Output::Count {
            let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            vec![vec![Value::Integer(count)]]
                .into_iter()
                .take(limit)
                .collect()
        } else {
            if let Some((column, descending)) = &select.order {
                let column = table.column(column)?;
                // Keys are in the order of the primary key already.
                if table.key() != Some(column) {
                    let value = |key: &i64| Some(&table.visible_row(*key, self.id)?.1[column]);
                    keys.sort_by(|a, b| nulls_last(value(a), value(b)));
                }
                if *descending {
                    keys.reverse();
                }
            }
            keys.truncate(limit);
            self.output(table, &keys, &select.output)?
        };
        Ok(Answer {
            tag: "SELECT",
            count: Some(rows.len()),
            rows,
        })
    }

    fn output(
        &self,
        table: &Table,
        keys: &[i64],
        output: &Output,
    ) -> Result<Vec<Values>, SqlError> {
        let columns: Vec<usize> = match output {
            Output::Nothing | Output::Count => return Ok(Vec::new()),
            Output::All => (0..table.columns.len()).collect(),
            Output::Columns(names) => names
                .iter()
                .map(|name| table.column(name))
                .collect::<Result<_, _>>()?,
        };
        let rows = keys
            .iter()
            .filter_map(|key| table.visible_row(*key, self.id));
        Ok(rows
            .map(|(_, values)| columns.iter().map(|&c| values[c].clone()).collect())
            .collect())
    }

    fn literals(&self, plan: &Plan, values: &[(String, Expr)]) -> Result<Answer, Halt> {
        let columns = values.iter().zip(&plan.columns);
        let row = columns
            .map(|((_, value), (_, kind))| evaluate(value, self.parameters, *kind))
            .collect::<Result<_, _>>()?;
        Ok(Answer {
            tag: "SELECT",
            count: Some(1),
            rows: vec![row],
        })
    }

    fn insert(
        &mut self,
        name: &str,
        columns: &[String],
        rows: &[Vec<Expr>],
        returning: &Output,
    ) -> Result<Answer, Halt> {
        let mut new: Vec<(i64, Values)> = Vec::with_capacity(rows.len());
        for row in rows {
            let values = self.new_row(name, columns, row)?;
            let table = self.store.table_mut(name)?;
            let key = match table.key().map(|key| &values[key]) {
                Some(Value::Integer(key)) => *key,
                _ => table.next_number()?,
            };
            table.check_free(key, self.id)?;
            if new.iter().any(|(other, _)| *other == key) {
                let text =
                    format!("duplicate key value violates unique constraint \"{name}_pkey\"");
                return Err(SqlError::new("23505", text).into());
            }
            new.push((key, values));
        }
        let keys: Vec<i64> = new.iter().map(|(key, _)| *key).collect();
        for (key, values) in new {
            self.store.write(name, key, Some(values), self.id)?;
        }
        self.changed("INSERT 0", name, &keys, returning)
    }

    /// The values of a row to insert: those given, the next number of a sequence, or null.
    fn new_row(
        &mut self,
        name: &str,
        columns: &[String],
        row: &[Expr],
    ) -> Result<Values, SqlError> {
        let table = self.store.table_mut(name)?;
        let targets = insert_targets(table, columns)?;
        let mut values: Vec<Option<Value>> = vec![None; table.columns.len()];
        for (expr, target) in row.iter().zip(targets) {
            if *expr != Expr::Default {
                let kind = table.columns[target].kind;
                values[target] = Some(evaluate(expr, self.parameters, kind)?);
            }
        }
        let mut complete = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let value = match value {
                Some(value) => value,
                None if table.columns[index].serial => Value::Integer(table.next_number()?),
                None => Value::Null,
            };
            check_null(table, index, &value)?;
            complete.push(value);
        }
        Ok(complete)
    }

    fn update(
        &mut self,
        name: &str,
        assignments: &[(String, Expr)],
        conditions: &[Condition],
        returning: &Output,
    ) -> Result<Answer, Halt> {
        let table = self.store.table(name)?;
        let keys = self.matching(table, conditions)?;
        let mut new = Vec::with_capacity(keys.len());
        for key in &keys {
            table.check_writable(*key, self.id)?;
            let Some((_, values)) = table.visible_row(*key, self.id) else {
                continue;
            };
            let mut values = values.clone();
            for (column, expr) in assignments {
                let column = table.column(column)?;
                values[column] = evaluate(expr, self.parameters, table.columns[column].kind)?;
                check_null(table, column, &values[column])?;
            }
            new.push((*key, values));
        }
        for (key, values) in new {
            self.store.write(name, key, Some(values), self.id)?;
        }
        self.changed("UPDATE", name, &keys, returning)
    }

    fn delete(
        &mut self,
        name: &str,
        conditions: &[Condition],
        returning: &Output,
    ) -> Result<Answer, Halt> {
        let table = self.store.table(name)?;
        let keys = self.matching(table, conditions)?;
        for key in &keys {
            table.check_writable(*key, self.id)?;
        }
        let answer = self.changed("DELETE", name, &keys, returning)?;
        for key in keys {
            self.store.write(name, key, None, self.id)?;
        }
        Ok(answer)
    }

    fn changed(
        &self,
        tag: &'static str,
        table: &str,
        keys: &[i64],
        returning: &Output,
    ) -> Result<Answer, Halt> {
        Ok(Answer {
            tag,
            count: Some(keys.len()),
            rows: self.output(self.store.table(table)?, keys, returning)?,
        })
    }
}

fn check_null(table: &Table, column: usize, value: &Value) -> Result<(), SqlError> {
    let column = &table.columns[column];
    if column.not_null && *value == Value::Null {
        let text = format!(
            "null value in column \"{}\" violates not-null constraint",
            column.name
        );
        return Err(SqlError::new("23502", text));
    }
    Ok(())
}

/// A comparison with null is neither true nor false, so its row does not match.
fn compare(left: &Value, comparison: Comparison, right: &Value) -> bool {
    if *left == Value::Null || *right == Value::Null {
        return false;
    }
    match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

fn nulls_last(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    let null = |value: Option<&Value>| value.is_none_or(|value| *value == Value::Null);
    null(a).cmp(&null(b)).then_with(|| a.cmp(&b))
}
