//! An in-memory Redis for `brownout demo`, on `redis-protocol`'s codecs.
//!
//! It is small, not a sham: strings, hashes, lists, sets, expiry, transactions, pub/sub, 16 databases, RESP2 and RESP3, with
//! Redis' own replies and error texts, so that real clients and `redis-benchmark` work against it. What it does not have, it
//! refuses as Redis refuses an unknown command.

mod codec;
mod collections;
mod command;
mod connection;
mod glob;
mod pubsub;
mod session;
mod store;
mod strings;

#[cfg(test)]
mod tests;

use super::server::Server;
use command::State;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Starts an empty one on a free port of the loopback, on the current runtime.
///
/// # Errors
/// When no port can be bound.
pub async fn start() -> io::Result<Server> {
    let state = Arc::new(Mutex::new(State {
        store: store::Store::new(),
        pubsub: pubsub::PubSub::default(),
        started: Instant::now(),
        sessions: 0,
        commands: 0,
    }));
    let ids = AtomicU64::new(1);
    Server::start(move |socket| {
        session::serve(
            socket,
            Arc::clone(&state),
            ids.fetch_add(1, Ordering::Relaxed),
        )
    })
    .await
}
