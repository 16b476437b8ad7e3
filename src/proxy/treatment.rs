//! How an injected error is carried out, so that client and server are left as the real error would leave them.

use crate::fault::Skip;
use crate::fault::action::ErrorReply;
use crate::protocol::http1::BodyLeft;
use crate::protocol::postgres::Shape;
use crate::protocol::{Class, Decoder, Operation, Status, http1, postgres, redis};
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
    /// The server gets this instead, and what it says to that is exchanged.
    Substitute { request: Bytes, swap: Swap },
    /// The request goes on; when the server asks for COPY data, it is told that there will be none.
    FailCopy(Swap),
    /// Not possible in this protocol state.
    Skip(Skip),
}

/// What is exchanged in a reply.
#[derive(Debug)]
pub(crate) struct Swap {
    /// What the client gets.
    pub(crate) reply: Bytes,
    pub(crate) status: Status,
    /// What the server sends, having got something else than the client sent.
    pub(crate) of: Provoked,
}

impl Swap {
    /// Whether the server may have an error of its own that comes first.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.of != Provoked::Reply
    }
}

/// What the server sends to a request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provoked {
    /// One reply, all of which is exchanged.
    Reply,
    /// Postgres: an `ErrorResponse` with this SQLSTATE. Any other is the server's own, and goes on.
    Error(&'static str),
    /// Postgres: the `CommandComplete` of a statement that cannot fail.
    Completion,
    /// Postgres: the replies to `parts` messages of the client, then those to [`postgres::inject::roll_back`].
    Rollback { parts: u32 },
}

impl Provoked {
    /// The SQLSTATE of the error that was provoked.
    pub(crate) fn sqlstate(self) -> Option<&'static str> {
        match self {
            Self::Error(sqlstate) => Some(sqlstate),
            Self::Rollback { .. } => Some(postgres::inject::MISSING_PORTAL_STATE),
            Self::Reply | Self::Completion => None,
        }
    }
}

/// What is to be done with the request `exchange`, of which `request` was seen.
pub(crate) fn of(
    error: &ErrorReply,
    decoder: &mut Decoder,
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
        ) => redis_error(d, (exchange, operation, class), (code, message, *close)),
        (
            ErrorReply::Postgres {
                sqlstate,
                message,
                fatal,
            },
            Decoder::Postgres(d),
        ) => postgres_error(
            d,
            (exchange, operation, class),
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
            let (close, early) = match d.request_body_left(exchange) {
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
        _ => Treatment::Skip(Skip::OtherProtocol),
    }
}

fn redis_error(
    decoder: &redis::Decoder,
    (exchange, operation, class): (u64, Operation, Class),
    (code, message, close): (&str, &str, bool),
) -> Treatment {
    if !decoder.answers(exchange) {
        return Treatment::Skip(Skip::NoReply);
    }
    // In RESP3 messages and replies are told apart, and everything may be asked.
    if decoder.is_subscribed() && !decoder.is_resp3() && class != Class::Pubsub {
        return Treatment::Skip(Skip::Subscribed);
    }
    let reply = redis::inject::error(code, message);
    let status = redis::status_of(code.as_bytes());
    // Where the connection ends, what was queued ends with it.
    if close || !decoder.in_multi(exchange) {
        // Those behind it were read already as if it had been carried out, and would be answered otherwise.
        if !decoder.can_withhold(exchange) {
            return Treatment::Skip(Skip::Pipelined);
        }
        return Treatment::Answer {
            reply,
            status,
            close,
            early: false,
        };
    }
    // What ends the transaction ends it: commands behind it may be on their way already, as outside of one.
    let request = match redis::operation_name(operation) {
        "EXEC" | "DISCARD" => redis::inject::discard(),
        _ => redis::inject::unknown_command(),
    };
    Treatment::Substitute {
        request,
        swap: Swap {
            reply,
            status,
            of: Provoked::Reply,
        },
    }
}

fn postgres_error(
    decoder: &mut postgres::Decoder,
    (exchange, operation, class): (u64, Operation, Class),
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
    // What is in flight may change the status before the server comes to this request.
    let sure = !decoder.owes_before(exchange);
    if sure && decoder.transaction_status() == b'E' {
        return Treatment::Skip(Skip::FailedTransaction);
    }
    let idle = sure && decoder.transaction_status() == b'I';
    let commits = matches!(
        postgres::operation_name(operation),
        "COMMIT" | "PREPARE TRANSACTION"
    );
    let swap = |of| Swap {
        reply: postgres::inject::error_response(sqlstate, message, false),
        status,
        of,
    };
    match decoder.shape(exchange) {
        _ if operation == postgres::operation::COPY
            && class == Class::Write
            && postgres::inject::copies_from_client(request) =>
        {
            Treatment::FailCopy(swap(Provoked::Error(postgres::inject::FAILED_COPY_STATE)))
        }
        Shape::Simple if idle => Treatment::Answer {
            reply: postgres::inject::error_and_ready(sqlstate, message, b'I'),
            status,
            close: false,
            early: false,
        },
        Shape::Simple if commits => Treatment::Substitute {
            request: postgres::inject::query("ROLLBACK"),
            swap: swap(Provoked::Completion),
        },
        Shape::Simple => Treatment::Substitute {
            request: postgres::inject::failing_query(),
            swap: swap(Provoked::Error(postgres::inject::FAILING_QUERY_STATE)),
        },
        Shape::Execute => {
            let Some(execute) = postgres::inject::last_message(request) else {
                return Treatment::Skip(Skip::LongExchange);
            };
            let mut replaced = request[..execute].to_vec();
            let of = if commits && !idle {
                replaced.extend_from_slice(&postgres::inject::roll_back());
                Provoked::Rollback {
                    parts: decoder.expect_rollback(exchange),
                }
            } else {
                Provoked::Error(postgres::inject::MISSING_PORTAL_STATE)
            };
            replaced.extend_from_slice(&postgres::inject::execute_missing_portal());
            Treatment::Substitute {
                request: replaced.into(),
                swap: swap(of),
            }
        }
        Shape::Other => Treatment::Skip(Skip::NotAStatement),
    }
}
