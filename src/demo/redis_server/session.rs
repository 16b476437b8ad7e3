//! One connection: its state, and the loop that reads requests and writes replies and messages.

use super::codec::{Codec, CodecError, Reply, Request};
use super::command::{Context, State, answer};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

/// A transaction being queued.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) queue: Vec<Request>,
    /// Something could not be queued: EXEC will refuse.
    pub(super) failed: bool,
}

/// What a connection remembers.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) database: usize,
    pub(super) name: Vec<u8>,
    pub(super) resp3: bool,
    pub(super) transaction: Option<Transaction>,
    /// Messages for this session, once it has subscribed to something.
    pub(super) messages: Option<mpsc::Receiver<Reply>>,
    /// The client said QUIT.
    pub(super) closing: bool,
}

impl Session {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            database: 0,
            name: Vec::new(),
            resp3: false,
            transaction: None,
            messages: None,
            closing: false,
        }
    }
}

/// Ends a session's subscriptions however its task ends.
struct Guard {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.pubsub.leave(self.id);
        state.sessions -= 1;
    }
}

/// A command that panicked has left no data half changed that the next could trip over: values are replaced whole.
pub(super) fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next message, or never for a session that did not subscribe. `None`: the session was cut off.
async fn next_message(messages: &mut Option<mpsc::Receiver<Reply>>) -> Option<Reply> {
    match messages {
        Some(messages) => messages.recv().await,
        None => std::future::pending().await,
    }
}

/// Writes the messages that are waiting.
async fn feed_messages(
    wire: &mut Framed<TcpStream, Codec>,
    session: &mut Session,
) -> Result<(), CodecError> {
    while let Some(Ok(message)) = session.messages.as_mut().map(mpsc::Receiver::try_recv) {
        wire.feed(message).await?;
    }
    Ok(())
}

/// Serves a connection to its end.
pub(super) async fn serve(socket: TcpStream, state: Arc<Mutex<State>>, id: u64) {
    lock(&state).sessions += 1;
    let guard = Guard { state, id };
    // An error here is a client that went away, or one that was just told what was wrong with its request.
    let _ = run(socket, &guard).await;
}

async fn run(socket: TcpStream, guard: &Guard) -> Result<(), CodecError> {
    let mut wire = Framed::new(socket, Codec::default());
    let mut session = Session::new(guard.id);
    let mut replies = Vec::new();
    while !session.closing {
        tokio::select! {
            request = wire.next() => {
                let mut request = request;
                // A pipeline is answered in one write: everything that is already here, then one flush.
                loop {
                    match request {
                        None => return Ok(()),
                        Some(Ok(request)) => {
                            let mut state = lock(&guard.state);
                            let now = Instant::now();
                            let mut context = Context { state: &mut state, session: &mut session, now };
                            answer(&mut context, request, &mut replies);
                        }
                        Some(Err(error)) => {
                            if let CodecError::Protocol(_) = error {
                                wire.send(Reply::Error(format!("ERR {error}"))).await?;
                            }
                            return Err(error);
                        }
                    }
                    wire.codec_mut().resp3 = session.resp3;
                    for reply in replies.drain(..) {
                        wire.feed(reply).await?;
                    }
                    // What a session published to itself comes right after PUBLISH's own reply.
                    feed_messages(&mut wire, &mut session).await?;
                    match wire.next().now_or_never() {
                        Some(next) if !session.closing => request = next,
                        _ => break,
                    }
                }
            }
            message = next_message(&mut session.messages) => {
                let Some(message) = message else { return Ok(()) };
                wire.feed(message).await?;
                feed_messages(&mut wire, &mut session).await?;
            }
        }
        wire.flush().await?;
    }
    wire.close().await
}
