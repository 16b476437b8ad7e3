//! Postgres statements, straight at the proxy: reads, writes, and transactions of both ends.

use super::{Pacer, Tally};
use crate::demo::api::database::TABLE;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, Error, NoTls, Statement};
use tokio_util::sync::CancellationToken;

/// A statement that takes longer is given up, and its connection with it.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a connection that failed is made again.
const RECONNECT: Duration = Duration::from_millis(50);

/// What to send, over connections of their own: of ten requests six read, two write, one transaction commits and one rolls
/// back. The table is the sample service's, which must have been started.
#[derive(Debug, Clone)]
pub struct PostgresLoad {
    /// The proxy.
    pub config: Config,
    /// Connections, each with one statement at a time.
    pub connections: u32,
    /// Requests a second, all connections together; a transaction is one.
    pub per_second: f64,
}

/// What went wrong, in a word or two.
fn kind(error: &Error) -> String {
    match error.code() {
        Some(state) => state.code().to_owned(),
        None if error.is_closed() => "connection closed".to_owned(),
        None => "no connection".to_owned(),
    }
}

impl PostgresLoad {
    /// Sends statements until `stop`.
    pub async fn run(self, tally: Arc<Tally>, stop: CancellationToken) {
        let connections = self.connections.max(1);
        let per_second = self.per_second / f64::from(connections);
        let workers = (0..connections).map(|_| {
            let (config, tally) = (self.config.clone(), Arc::clone(&tally));
            let stop = stop.clone();
            let worker = async move { worker(&config, per_second, &tally).await };
            tokio::spawn(async move { stop.run_until_cancelled(worker).await })
        });
        futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
    }
}

async fn worker(config: &Config, per_second: f64, tally: &Tally) {
    let mut pacer = Pacer::new(per_second, Instant::now());
    let mut number = 0_u64;
    loop {
        let mut session = match tokio::time::timeout(TIMEOUT, Session::open(config)).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                tally.error(&kind(&error));
                tokio::time::sleep(RECONNECT).await;
                continue;
            }
            Err(_) => {
                tally.error("timeout");
                continue;
            }
        };
        loop {
            pacer.wait().await;
            number = number.wrapping_add(1);
            let began = Instant::now();
            match tokio::time::timeout(TIMEOUT, session.request(number)).await {
                Ok(Ok(())) => tally.ok(began.elapsed()),
                Ok(Err(error)) => {
                    tally.error(&kind(&error));
                    if error.as_db_error().is_none() {
                        break;
                    }
                }
                Err(_) => {
                    tally.error("timeout");
                    break;
                }
            }
        }
    }
}

/// A connection, its statements, and a row of its own: two that changed the same row would wait for each other, which is
/// not what is to be measured.
struct Session {
    client: Client,
    find: Statement,
    list: Statement,
    rename: Statement,
    row: i32,
}

impl Session {
    async fn open(config: &Config) -> Result<Self, Error> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let insert = format!("INSERT INTO {TABLE} (name) VALUES ('load') RETURNING id");
        let row = client.query_one(&insert, &[]).await?.try_get(0)?;
        let find = format!("SELECT name FROM {TABLE} WHERE id = $1");
        let list = format!("SELECT id, name FROM {TABLE} ORDER BY id DESC LIMIT 20");
        let rename = format!("UPDATE {TABLE} SET name = $1 WHERE id = $2");
        Ok(Self {
            find: client.prepare(&find).await?,
            list: client.prepare(&list).await?,
            rename: client.prepare(&rename).await?,
            client,
            row,
        })
    }

    async fn request(&mut self, number: u64) -> Result<(), Error> {
        let name = format!("load {number}");
        match number % 10 {
            0..=4 => {
                self.client.query_one(&self.find, &[&self.row]).await?;
            }
            5 => {
                self.client.query(&self.list, &[]).await?;
            }
            6 | 7 => {
                self.client
                    .execute(&self.rename, &[&name, &self.row])
                    .await?;
            }
            end => {
                let transaction = self.client.transaction().await?;
                transaction.query_one(&self.find, &[&self.row]).await?;
                transaction
                    .execute(&self.rename, &[&name, &self.row])
                    .await?;
                if end == 8 {
                    transaction.commit().await?;
                } else {
                    transaction.rollback().await?;
                }
            }
        }
        Ok(())
    }
}
