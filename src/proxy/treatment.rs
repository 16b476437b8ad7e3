//! How an injected error is carried out, so that client and server are left as the real error would leave them.

use crate::fault::action::ErrorReply;
use crate::protocol::http1::BodyLeft;
use crate::protocol::{Catalog, Class, Decoder, Operation, Status, http1, postgres, redis};
use bytes::Bytes;

/// The largest request body that is read to its end before an injected response; a longer one is answered and cut off.
const DRAINED_BODY: u64 = 64 * 1024;

/// How an injected error is carried out for one exchange.
#[derive(Debug)]
pub(crate) enum Treatment {
    /// The server never sees the request; this is the reply, in its turn.
    Answer {
        reply: Bytes,
        status: Status,
        /// The session ends after it.
        close: bool,
        /// It may go before the request is complete.
        early: bool,
    },
    /// The server gets this instead, refuses it, and its error is exchanged for `error`.
    Substitute { request: Bytes, error: Bytes },
    /// Not possible in this protocol state.
    Skip(&'static str),
}

/// What is to be done with the request `exchange`, of which `request` was seen.
pub(crate) fn of(
    error: &ErrorReply,
    decoder: &Decoder,
    catalog: &Catalog,
    (exchange, operation, class): (u64, Operation, Class),
    request: &[u8],
) -> Treatment {
    match (error, decoder) {
        (ErrorReply::Http { status, headers, body }, Decoder::Http(d)) => {
            let (close, early) = match d.request_body_left() {
                _ if d.closes(exchange) => (true, true),
                _ if d.expects_continue(exchange) => (true, true),
                BodyLeft::None => (false, true),
                BodyLeft::Known(n) if n <= DRAINED_BODY => (false, false),
                BodyLeft::Known(_) | BodyLeft::Chunked => (true, true),
            };
            Treatment::Answer {
                reply: http1::inject::response(*status, headers, body, d.is_head(exchange), close),
                status: Status(*status),
                close,
                early,
            }
        }
        _ => Treatment::Skip("the error belongs to another protocol"),
    }
}

