//! Messages from a publisher through Redis to a subscriber, and back in time: each carries its number, so that what is lost
//! is counted and what arrives is timed.

use super::redis::{PREFIX, RECONNECT, TIMEOUT, connect, kind};
use super::{Pacer, Tally};
use crate::demo::api::cache;
use futures_util::StreamExt;
use redis::{Client, Cmd, ConnectionInfo, RedisError};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// One publisher and one subscriber, with one message at a time between them.
#[derive(Debug, Clone)]
pub struct PubSubLoad {
    /// The proxy.
    pub info: ConnectionInfo,
    /// Messages a second.
    pub per_second: f64,
}

impl PubSubLoad {
    /// Publishes until `stop`. A message that does not arrive within a second is an error.
    ///
    /// # Errors
    /// When the address is none.
    pub async fn run(self, tally: Arc<Tally>, stop: CancellationToken) -> Result<(), RedisError> {
        let client = cache::client(self.info)?;
        let forever = async {
            let mut pacer = Pacer::new(self.per_second, Instant::now());
            loop {
                if let Err(error) = round_trips(&client, &mut pacer, &tally).await {
                    tally.error(&kind(&error));
                }
                tokio::time::sleep(RECONNECT).await;
            }
        };
        stop.run_until_cancelled(forever).await;
        Ok(())
    }
}

/// Until something fails.
async fn round_trips(client: &Client, pacer: &mut Pacer, tally: &Tally) -> Result<(), RedisError> {
    let channel = format!("{PREFIX}channel");
    let timed_out = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    let subscribe = async {
        let mut subscriber = client.get_async_pubsub().await?;
        subscriber.subscribe(&channel).await?;
        Ok::<_, RedisError>(subscriber.into_on_message())
    };
    let mut messages = tokio::time::timeout(TIMEOUT, subscribe)
        .await
        .map_err(timed_out)??;
    let mut publisher = connect(client).await?;
    for number in 0_u64.. {
        pacer.wait().await;
        let began = Instant::now();
        let publish = Cmd::publish(&channel, number);
        let publish = publish.query_async::<i64>(&mut publisher);
        let arrived = async {
            while let Some(message) = messages.next().await {
                if message.get_payload::<u64>().ok() == Some(number) {
                    return true;
                }
            }
            false
        };
        let arrived = tokio::time::timeout(TIMEOUT, arrived);
        let (receivers, arrived) = tokio::join!(publish, arrived);
        receivers?;
        match arrived {
            Ok(true) => tally.ok(began.elapsed()),
            Ok(false) => return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
            Err(_) => tally.error("message lost"),
        }
    }
    Ok(())
}
