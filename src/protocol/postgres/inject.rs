//! Messages of our own making: the errors that faults answer with, and what the server gets in place of a request.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::copy::CopyFail;
use pgwire::messages::extendedquery::{Bind, Close, Execute, Parse, TARGET_TYPE_BYTE_STATEMENT};
use pgwire::messages::response::{ErrorResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::terminate::Terminate;

/// The longest message that is sent, in bytes; a longer one is cut.
const MESSAGE_LIMIT: usize = 8 * 1024;

const DETAIL: &str = "Injected by brownout.";

/// A portal that no client has: see [`execute_missing_portal`].
const MISSING_PORTAL: &str = "brownout_none";

/// An `ErrorResponse` with severity ERROR, or FATAL. `sqlstate` is five characters; `message` is cut at its first NUL and at
/// 8 KiB, so the frame is always whole.
pub fn error_response(sqlstate: &str, message: &str, fatal: bool) -> Bytes {
    let mut frame = BytesMut::new();
    put_error(&mut frame, sqlstate, message, fatal);
    frame.freeze()
}

/// An `ErrorResponse` of severity ERROR and the `ReadyForQuery` behind it, with the transaction status `status` (`b'I'`,
/// `b'T'` or `b'E'`; anything else is taken for `b'I'`).
pub fn error_and_ready(sqlstate: &str, message: &str, status: u8) -> Bytes {
    let mut frame = BytesMut::new();
    put_error(&mut frame, sqlstate, message, false);
    let status = match status {
        b'T' => TransactionStatus::Transaction,
        b'E' => TransactionStatus::Error,
        _ => TransactionStatus::Idle,
    };
    put(&mut frame, &ReadyForQuery::new(status));
    frame.freeze()
}

/// An `Execute` of a portal that does not exist, to be sent in place of a client's: the server answers 34000, skips to the next
/// Sync and aborts the transaction, as it would after a real error, and keeps its prepared statements.
pub fn execute_missing_portal() -> Bytes {
    let mut frame = BytesMut::new();
    put(
        &mut frame,
        &Execute::new(Some(MISSING_PORTAL.to_owned()), 0),
    );
    frame.freeze()
}

/// The SQLSTATE with which the server answers [`execute_missing_portal`].
pub const MISSING_PORTAL_STATE: &str = "34000";

/// A `CancelRequest` for the session with this `BackendKeyData`: process id and secret key, which protocol 3.2 makes up to 256 bytes long.
/// It is sent on a connection of its own and never answered.
pub fn cancel_request(key: &[u8]) -> Bytes {
    const CODE: u32 = 80_877_102;
    const LENGTH: usize = 8;
    let mut packet = BytesMut::new();
    packet.put_u32((LENGTH + key.len()) as u32);
    packet.put_u32(CODE);
    packet.put_slice(key);
    packet.freeze()
}

/// A simple Query with this text, which has no NUL.
pub fn query(text: &str) -> Bytes {
    let mut frame = BytesMut::new();
    put(&mut frame, &Query::new(text.to_owned()));
    frame.freeze()
}

/// A simple Query that fails wherever it is asked, to be sent in place of a client's: outside a transaction it changes nothing,
/// inside it aborts the transaction. Its syntax is right, so that a transaction that has failed already says so (25P02).
pub fn failing_query() -> Bytes {
    query("SELECT brownout_injected_error")
}

/// The SQLSTATE with which the server answers [`failing_query`]: undefined column.
pub const FAILING_QUERY_STATE: &str = "42703";

/// A ROLLBACK in the extended protocol that leaves neither statement nor portal. With [`execute_missing_portal`] behind it, it
/// stands in place of the Execute of a COMMIT: the server undoes the transaction, errors, and skips to the next Sync, whose
/// `ReadyForQuery` then says idle, as after a commit that failed.
pub fn roll_back() -> Bytes {
    let name = || Some(MISSING_PORTAL.to_owned());
    let mut frame = BytesMut::new();
    put(
        &mut frame,
        &Parse::new(name(), "ROLLBACK".to_owned(), Vec::new()),
    );
    let (none, results) = (Vec::new(), Vec::new());
    put(
        &mut frame,
        &Bind::new(name(), name(), none, Vec::new(), results),
    );
    put(&mut frame, &Execute::new(name(), 0));
    put(&mut frame, &Close::new(TARGET_TYPE_BYTE_STATEMENT, name()));
    frame.freeze()
}

/// `CopyFail`: the COPY that is under way fails.
pub fn copy_fail() -> Bytes {
    let mut frame = BytesMut::new();
    put(&mut frame, &CopyFail::new(DETAIL.to_owned()));
    frame.freeze()
}

/// The SQLSTATE with which the server answers [`copy_fail`].
pub const FAILED_COPY_STATE: &str = "57014";

/// `Flush`: the server sends what it holds back for the Sync of a batch.
pub const FLUSH: &[u8] = b"H\0\0\0\x04";

/// Whether the last of these messages of the server is a `ReadyForQuery`. No `CommandComplete` or `ErrorResponse` ends like it: they
/// end with a NUL.
pub fn ends_with_ready(messages: &[u8]) -> bool {
    matches!(messages, [.., b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E'])
}

/// `Terminate`.
pub fn terminate() -> Bytes {
    let mut frame = BytesMut::new();
    put(&mut frame, &Terminate::new());
    frame.freeze()
}

/// Whether messages of a batch prepare a statement under a name, which could be done once only.
pub fn names_a_statement(mut messages: &[u8]) -> bool {
    while let [kind, a, b, c, d, body @ ..] = messages {
        if *kind == b'P' && body.first().is_some_and(|first| *first != 0) {
            return true;
        }
        let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(4);
        messages = body.get(length..).unwrap_or_default();
    }
    false
}

/// Whether a COPY ... FROM takes its data from the client. Where a file is called so too, the server never asks for data, and
/// nothing comes of it.
pub fn copies_from_client(request: &[u8]) -> bool {
    request
        .windows(5)
        .any(|word| word.eq_ignore_ascii_case(b"stdin"))
}

/// Where the last message of a request begins, given the request from its `RequestBegin` to its `RequestEnd`: in the extended
/// protocol that is the Execute. `None` where `request` is not a whole number of messages.
pub fn last_message(request: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < request.len() {
        let length = request.get(at + 1..at + 5)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let next = at.checked_add(1)?.checked_add(length)?;
        if length < 4 || next > request.len() {
            return None;
        }
        if next == request.len() {
            return Some(at);
        }
        at = next;
    }
    None
}

fn put_error(frame: &mut BytesMut, sqlstate: &str, message: &str, fatal: bool) {
    let severity = if fatal { "FATAL" } else { "ERROR" };
    let fields = [
        (b'S', severity),
        (b'V', severity),
        (b'C', text(sqlstate)),
        (b'M', text(message)),
        (b'D', DETAIL),
    ];
    let fields = fields.map(|(kind, value)| (kind, value.to_owned()));
    put(frame, &ErrorResponse::new(fields.to_vec()));
}

/// What of `value` can stand in a NUL-terminated field.
fn text(value: &str) -> &str {
    let value = value.split('\0').next().unwrap_or_default();
    let mut end = value.len().min(MESSAGE_LIMIT);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

fn put(frame: &mut BytesMut, message: &impl Message) {
    message
        .encode(frame)
        .expect("encoding fails only above pgwire's length limits, and every field here is bounded far below them");
}
