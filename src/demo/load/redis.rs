//! Redis commands, straight at the proxy.

use super::{Pacer, Tally};
use crate::demo::api::cache;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, RedisError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A command that takes longer is given up.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a connection that failed is made again.
pub(super) const RECONNECT: Duration = Duration::from_millis(50);
/// Keys of each connection, and the prefix of all: a real Redis may be shared.
const KEYS: u64 = 100;
pub(super) const PREFIX: &str = "brownout:demo:load:";

/// What to send: three GETs to one SET, over connections of their own.
#[derive(Debug, Clone)]
pub struct RedisLoad {
    /// The proxy.
    pub info: ConnectionInfo,
    /// Connections, each with one command at a time.
    pub connections: u32,
    /// Commands a second, all connections together.
    pub per_second: f64,
}

/// What went wrong, in a word or two.
pub(super) fn kind(error: &RedisError) -> String {
    if error.is_timeout() {
        "timeout".to_owned()
    } else if let Some(code) = error.code() {
        code.to_owned()
    } else if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else {
        "connection closed".to_owned()
    }
}

pub(super) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

impl RedisLoad {
    /// Sends commands until `stop`.
    ///
    /// # Errors
    /// When the address is none.
    pub async fn run(self, tally: Arc<Tally>, stop: CancellationToken) -> Result<(), RedisError> {
        let client = cache::client(self.info)?;
        let connections = self.connections.max(1);
        let per_second = self.per_second / f64::from(connections);
        let workers = (0..connections).map(|index| {
            let (client, tally) = (client.clone(), Arc::clone(&tally));
            let stop = stop.clone();
            let worker = async move { worker(&client, u64::from(index), per_second, &tally).await };
            tokio::spawn(async move { stop.run_until_cancelled(worker).await })
        });
        futures_util::future::join_all(workers.collect::<Vec<_>>()).await;
        Ok(())
    }
}

async fn worker(client: &Client, index: u64, per_second: f64, tally: &Tally) {
    let mut pacer = Pacer::new(per_second, Instant::now());
    let mut number = 0_u64;
    loop {
        let mut connection = match connect(client).await {
            Ok(connection) => connection,
            Err(error) => {
                tally.error(&kind(&error));
                tokio::time::sleep(RECONNECT).await;
                continue;
            }
        };
        loop {
            pacer.wait().await;
            number = number.wrapping_add(1);
            let key = format!("{PREFIX}{index}:{}", number % KEYS);
            let command = if number.is_multiple_of(4) {
                // It expires, so that nothing is left behind in a real Redis.
                Cmd::set_ex(key, number, 60)
            } else {
                Cmd::get(key)
            };
            let began = Instant::now();
            match command.query_async::<redis::Value>(&mut connection).await {
                Ok(_) => tally.ok(began.elapsed()),
                Err(error) => {
                    tally.error(&kind(&error));
                    // After a timeout the reply may still come, and the commands behind it wait for it.
                    if error.is_unrecoverable_error() || error.is_timeout() {
                        break;
                    }
                }
            }
        }
    }
}
