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
    Substitute {
        request: Bytes,
        error: Bytes,
        status: Status,
    },
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
        (
            ErrorReply::Redis {
                code,
                message,
                close,
            },
            Decoder::Redis(d),
        ) => {
            if !d.answers(exchange) {
                return Treatment::Skip("no reply is expected");
            }
            if d.in_multi(exchange) {
                return Treatment::Skip("inside MULTI");
            }
            if class == Class::Pubsub && d.is_subscribed() {
                return Treatment::Skip("subscribed");
            }
            Treatment::Answer {
                reply: redis::inject::error(code, message),
                status: redis::status_of(code.as_bytes()),
                close: *close,
                early: false,
            }
        }
        (
            ErrorReply::Postgres {
                sqlstate,
                message,
                fatal,
            },
            Decoder::Postgres(d),
        ) => postgres_error(
            d,
            catalog,
            exchange,
            (operation, class),
            request,
            (sqlstate, message, *fatal),
        ),
        (
            ErrorReply::Http {
                status,
                headers,
                body,
            },
            Decoder::Http(d),
        ) => {
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

fn postgres_error(
    decoder: &postgres::Decoder,
    catalog: &Catalog,
    exchange: u64,
    (operation, class): (Operation, Class),
    request: &[u8],
    (sqlstate, message, fatal): (&str, &str, bool),
) -> Treatment {
    let status =
        <[u8; 5]>::try_from(sqlstate.as_bytes()).map_or(Status::CLOSED, postgres::of_sqlstate);
    if fatal || class == Class::Handshake {
        let reply = postgres::inject::error_response(sqlstate, message, true);
        return Treatment::Answer {
            reply,
            status,
            close: true,
            early: true,
        };
    }
    match decoder.transaction_status() {
        b'E' => return Treatment::Skip("the transaction has failed already"),
        b'T' => return Treatment::Skip("inside a transaction"),
        _ if decoder.owes_before(exchange) => {
            return Treatment::Skip("other statements are in flight");
        }
        _ => {}
    }
    if decoder.is_simple(exchange) {
        let reply = postgres::inject::error_and_ready(sqlstate, message, b'I');
        return Treatment::Answer {
            reply,
            status,
            close: false,
            early: false,
        };
    }
    match postgres::inject::last_message(request) {
        Some(execute) if catalog.operation_name(operation) != "PREPARE" => {
            let mut replaced = Vec::with_capacity(request.len() + 64);
            replaced.extend_from_slice(&request[..execute]);
            replaced.extend_from_slice(&postgres::inject::execute_missing_portal());
            let error = postgres::inject::error_response(sqlstate, message, false);
            Treatment::Substitute {
                request: replaced.into(),
                error,
                status,
            }
        }
        _ => Treatment::Skip("not a statement"),
    }
}
