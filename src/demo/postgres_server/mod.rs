//! An in-memory Postgres for `brownout demo`, on `pgwire`.
//!
//! The protocol is whole: simple and extended queries, prepared statements, portals, binary and text formats, transaction
//! states, cancel requests. The SQL is what the sample service needs ([`sql`] lists it) and is what it says: transactions
//! undo what they did, others do not see uncommitted rows, writers of the same row wait for each other, deadlocks are found.
//! Everything else is refused with `feature_not_supported`.

mod execute;
mod handlers;
mod parser;
mod plan;
mod session;
mod sql;
mod store;
mod token;

#[cfg(test)]
mod tests;

use super::server::Server;
use handlers::Handlers;
use std::io;
use std::sync::Arc;

/// Starts an empty one on a free port of the loopback, on the current runtime. Any user and database is let in.
///
/// # Errors
/// When no port can be bound.
pub async fn start() -> io::Result<Server> {
    let handlers = Arc::new(Handlers::default());
    Server::start(move |socket| {
        let handlers = Arc::clone(&handlers);
        async move {
            // An error here is a client that went away or does not speak the protocol.
            let _ = pgwire::tokio::process_socket(socket, None, handlers).await;
        }
    })
    .await
}
