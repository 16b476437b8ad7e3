//! A connection's transactions and settings.

use super::execute::{Answer, execute};
use super::plan::Plan;
use super::sql::{SqlError, Statement, Value};
use super::store::{Halt, Store, TransactionId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Settings a connection may make.
const MAX_SETTINGS: usize = 64;

/// Settings that SHOW knows before anything was SET.
const SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("server_version", "16.6"),
    ("standard_conforming_strings", "on"),
    ("search_path", "public"),
    ("timezone", "Etc/UTC"),
    ("transaction_isolation", "read committed"),
];

/// The tables, and the bell that rings when a transaction ends.
#[derive(Debug, Default)]
pub(super) struct Shared {
    store: Mutex<Store>,
    ended: Notify,
}

impl Shared {
    /// A statement changes nothing before all its checks, so a panic leaves nothing half done behind.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a statement changed the transaction block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answer(Answer),
    Begun,
    /// The block ended; the tag says how.
    Ended(&'static str),
}

/// One connection. Dropping it undoes what it had not committed.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    transaction: Option<TransactionId>,
    /// Between BEGIN and COMMIT or ROLLBACK.
    in_block: bool,
    /// Something failed in the block: what it did is undone, and nothing more runs in it.
    failed: bool,
    settings: BTreeMap<String, String>,
}

/// Forgets a wait however it ends: woken, cancelled, or the connection gone.
struct Wait<'a> {
    shared: &'a Shared,
    waiter: TransactionId,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.shared.store().waits_no_more(self.waiter);
    }
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            transaction: None,
            in_block: false,
            failed: false,
            settings: BTreeMap::new(),
        }
    }

    fn end(&mut self, commit: bool) {
        if let Some(id) = self.transaction.take() {
            self.shared.store().end(id, commit);
            self.shared.ended.notify_waiters();
        }
    }

    /// Something failed: undoes the transaction, so that nobody waits for it. Outside a block that is all: what the client
    /// sent in the same group is discarded by the protocol.
    pub(super) fn fail(&mut self) {
        self.failed = self.in_block;
        self.end(false);
    }

    /// The client's group of statements (a simple query, or everything up to a Sync) is over: outside a block it was a
    /// transaction of its own.
    pub(super) fn end_of_group(&mut self) {
        if !self.in_block {
            self.end(true);
        }
    }

    /// Whether a statement may run now.
    pub(super) fn check(&self, statement: &Statement) -> Result<(), SqlError> {
        if self.failed && !statement.ends_transaction() {
            let text =
                "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new("25P02", text));
        }
        let ddl = matches!(
            statement,
            Statement::CreateTable { .. } | Statement::DropTable { .. }
        );
        if ddl && self.in_block {
            let text = "CREATE TABLE and DROP TABLE are not supported in a transaction block";
            return Err(SqlError::unsupported(text));
        }
        Ok(())
    }

    /// Runs a statement; waits while another transaction holds a row it wants to change.
    pub(super) async fn run(
        &mut self,
        plan: &Plan,
        parameters: &[Value],
    ) -> Result<Outcome, SqlError> {
        let result = self.try_run(plan, parameters).await;
        if result.is_err() {
            self.fail();
        }
        result
    }

    async fn try_run(&mut self, plan: &Plan, parameters: &[Value]) -> Result<Outcome, SqlError> {
        self.check(&plan.statement)?;
        match &plan.statement {
            Statement::Begin => {
                self.in_block = true;
                Ok(Outcome::Begun)
            }
            statement @ (Statement::Commit | Statement::Rollback) => {
                let commit = *statement == Statement::Commit && !self.failed;
                self.end(commit);
                self.in_block = false;
                self.failed = false;
                Ok(Outcome::Ended(if commit { "COMMIT" } else { "ROLLBACK" }))
            }
            Statement::Set { name, value } => {
                if self.settings.len() >= MAX_SETTINGS && !self.settings.contains_key(name) {
                    return Err(SqlError::new("53400", "too many settings"));
                }
                self.settings.insert(name.clone(), value.clone());
                Ok(Outcome::Answer(Answer {
                    tag: "SET",
                    count: None,
                    rows: Vec::new(),
                }))
            }
            Statement::Show(name) => self.show(name).map(Outcome::Answer),
            _ => self.on_data(plan, parameters).await.map(Outcome::Answer),
        }
    }

    fn show(&self, name: &str) -> Result<Answer, SqlError> {
        let preset = SETTINGS.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let Some(value) = self.settings.get(name).map(String::as_str).or(preset) else {
            let text = format!("unrecognized configuration parameter \"{name}\"");
            return Err(SqlError::new("42704", text));
        };
        Ok(Answer {
            tag: "SHOW",
            count: None,
            rows: vec![vec![Value::Text(value.to_owned())]],
        })
    }

    async fn on_data(&mut self, plan: &Plan, parameters: &[Value]) -> Result<Answer, SqlError> {
        let shared = Arc::clone(&self.shared);
        let id = *self
            .transaction
            .get_or_insert_with(|| shared.store().begin());
        loop {
            // Listening starts before the look, so that an end between the look and the wait is heard.
            let ended = shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let wait = {
                let mut store = shared.store();
                match execute(&mut store, id, plan, parameters) {
                    Ok(answer) => return Ok(answer),
                    Err(Halt::Error(error)) => return Err(error),
                    Err(Halt::Wait(owner)) => store.wait(id, owner),
                }
            };
            wait?;
            let _forget = Wait {
                shared: &shared,
                waiter: id,
            };
            ended.await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(false);
    }
}
