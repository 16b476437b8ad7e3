//! The service's Postgres: a pool of connections, each lent to one request at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Config, NoTls, Statement};

/// The most connections.
pub const POOL: usize = 4;

/// The most time a request may take: waiting for a connection, making it, and each statement.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// The table of the sample service. Not called `modules`: a real database may have one.
pub const TABLE: &str = "brownout_demo_modules";

/// A module, as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Module {
    /// Its number.
    pub id: i32,
    /// Its name.
    pub name: String,
}

/// Why a request of the database gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It took too long.
    #[error("no answer from Postgres within {TIMEOUT:?}")]
    Timeout,
    /// It failed, or could not be reached.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
}

/// A connection with its statements prepared.
#[derive(Debug)]
struct Connection {
    client: Client,
    insert: Statement,
    find: Statement,
    list: Statement,
}

/// The pool.
#[derive(Debug)]
pub(super) struct Database {
    config: Config,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Database {
    /// A pool that connects when it is first needed.
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            idle: Mutex::new(Vec::with_capacity(POOL)),
            permits: Semaphore::new(POOL),
        }
    }

    async fn connect(&self) -> Result<Connection, DatabaseError> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // It ends when the client is dropped; its error is the next request's.
        tokio::spawn(connection);
        Ok(Connection {
            insert: client
                .prepare(&format!(
                    "INSERT INTO {TABLE} (name) VALUES ($1) RETURNING id"
                ))
                .await?,
            find: client
                .prepare(&format!("SELECT id, name FROM {TABLE} WHERE id = $1"))
                .await?,
            list: client
                .prepare(&format!(
                    "SELECT id, name FROM {TABLE} ORDER BY id DESC LIMIT 50"
                ))
                .await?,
            client,
        })
    }

    /// Lends a connection to `work`, and takes it back only if nothing went wrong: a request that was given up is still being
    /// worked on by the server, and its connection cannot be used for another.
    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let lent = async {
            // The semaphore is never closed; were it, there would be no limit to wait for.
            let _permit = self.permits.acquire().await.ok();
            let idle = self.idle().pop();
            let connection = match idle {
                Some(connection) if !connection.client.is_closed() => connection,
                _ => self.connect().await?,
            };
            let result = work(&connection).await;
            let answered = result
                .as_ref()
                .err()
                .is_none_or(|e| e.as_db_error().is_some());
            if answered && !connection.client.is_closed() {
                self.idle().push(connection);
            }
            Ok(result?)
        };
        tokio::time::timeout(TIMEOUT, lent)
            .await
            .unwrap_or(Err(DatabaseError::Timeout))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the table, if it is not there.
    pub(super) async fn create_table(&self) -> Result<(), DatabaseError> {
        let columns = "id serial PRIMARY KEY, name text NOT NULL";
        let sql = format!("CREATE TABLE IF NOT EXISTS {TABLE} ({columns})");
        run_once(&self.config, &sql).await
    }

    pub(super) async fn insert(&self, name: &str) -> Result<Module, DatabaseError> {
        self.with(async |c| {
            let row = c.client.query_one(&c.insert, &[&name]).await?;
            Ok(Module {
                id: row.try_get(0)?,
                name: name.to_owned(),
            })
        })
        .await
    }

    pub(super) async fn find(&self, id: i32) -> Result<Option<Module>, DatabaseError> {
        self.with(async |c| {
            let row = c.client.query_opt(&c.find, &[&id]).await?;
            row.map(|row| module(&row)).transpose()
        })
        .await
    }

    /// The newest 50.
    pub(super) async fn list(&self) -> Result<Vec<Module>, DatabaseError> {
        self.with(async |c| {
            let rows = c.client.query(&c.list, &[]).await?;
            rows.iter().map(module).collect()
        })
        .await
    }
}

/// Removes the service's table, if it is there: a real database is left as it was found.
///
/// # Errors
/// [`DatabaseError`].
pub async fn drop_table(config: &Config) -> Result<(), DatabaseError> {
    run_once(config, &format!("DROP TABLE IF EXISTS {TABLE}")).await
}

/// Runs a statement on a connection of its own. Such statements may take longer than those of requests.
async fn run_once(config: &Config, sql: &str) -> Result<(), DatabaseError> {
    let run = async {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client.batch_execute(sql).await?)
    };
    tokio::time::timeout(TIMEOUT * 5, run)
        .await
        .unwrap_or(Err(DatabaseError::Timeout))
}

fn module(row: &tokio_postgres::Row) -> Result<Module, tokio_postgres::Error> {
    Ok(Module {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
    })
}
