//! The service's Redis: a small pool of multiplexed connections behind a circuit breaker.
//!
//! The cache is a convenience: each call gives up after [`TIMEOUT`], and a failure is for the caller to do without.

use super::Built;
use super::breaker::{Breaker, Position, Refused, Settings};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, RedisError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections; each carries any number of requests at a time.
pub const POOL: usize = 4;

/// The most time a call may take, connecting included.
pub const TIMEOUT: Duration = Duration::from_millis(250);

const BREAKER: Settings = Settings {
    failures: 5,
    open_for: Duration::from_secs(1),
};

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("no reply from Redis within {TIMEOUT:?}")]
    Timeout,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// A client whose requests do not wait for the acknowledgement of the one before: several share a connection.
///
/// # Errors
/// When the address is none.
pub fn client(info: ConnectionInfo) -> Result<Client, RedisError> {
    Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// A connection, once made, and a number that tells it from its successors.
type Slot = Option<(u64, MultiplexedConnection)>;

/// The pool.
#[derive(Debug)]
pub(super) struct Cache {
    client: Client,
    slots: [tokio::sync::Mutex<Slot>; POOL],
    next: AtomicUsize,
    breaker: Mutex<Breaker>,
}

impl Cache {
    /// A pool that connects when it is first needed.
    pub(super) fn new(info: ConnectionInfo, built: Built) -> Result<Self, RedisError> {
        let settings = match built {
            Built::Well => BREAKER,
            // One that never opens.
            Built::WithoutBreaker => Settings {
                failures: u32::MAX,
                ..BREAKER
            },
        };
        Ok(Self {
            client: client(info)?,
            slots: std::array::from_fn(|_| tokio::sync::Mutex::new(None)),
            next: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::new(settings)),
        })
    }

    /// The breaker changes a few plain fields at a time, so a panic elsewhere leaves it as it was.
    fn breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the breaker is doing.
    pub(super) fn position(&self) -> Position {
        self.breaker(|breaker| breaker.position())
    }

    /// Sends one command. An error that Redis answers with is an answer to the breaker too: the connection works. Only an
    /// error that would hit any command (loading, out of memory, a server that is failing over) counts against it.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        let permit = self.breaker(|breaker| breaker.acquire(Instant::now()))?;
        let result = match tokio::time::timeout(TIMEOUT, self.send(command)).await {
            Ok(result) => result.map_err(CacheError::from),
            Err(_) => Err(CacheError::Timeout),
        };
        let alive = match &result {
            Ok(_) => true,
            Err(CacheError::Redis(error)) => error.code() == Some("WRONGTYPE"),
            Err(_) => false,
        };
        self.breaker(|breaker| breaker.settle(permit, alive, Instant::now()));
        result
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = &self.slots[at % POOL];
        let (number, mut connection) = self.connection(slot).await?;
        let mut broken = Broken {
            slot,
            number,
            armed: true,
        };
        let result = command.query_async(&mut connection).await;
        broken.armed = matches!(&result, Err(error) if error.is_unrecoverable_error());
        result
    }

    async fn connection(
        &self,
        slot: &tokio::sync::Mutex<Slot>,
    ) -> Result<(u64, MultiplexedConnection), RedisError> {
        let mut slot = slot.lock().await;
        if let Some((number, connection)) = &*slot {
            return Ok((*number, connection.clone()));
        }
        // The caller's deadline covers both; the library's own must not be shorter.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let number = u64::try_from(self.next.load(Ordering::Relaxed)).unwrap_or(0);
        *slot = Some((number, connection.clone()));
        Ok((number, connection))
    }
}

/// Forgets a connection that a call failed on, or that a call was given up on: what is still to come on it belongs to a
/// request nobody waits for, and may be stuck behind one that never gets a reply.
struct Broken<'a> {
    slot: &'a tokio::sync::Mutex<Slot>,
    number: u64,
    armed: bool,
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        // Held only by someone who is connecting, which means it was forgotten already.
        if self.armed
            && let Ok(mut slot) = self.slot.try_lock()
            && slot
                .as_ref()
                .is_some_and(|(number, _)| *number == self.number)
        {
            *slot = None;
        }
    }
}
