//! Errors that a Redis server would send, made by brownout.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;

/// An error reply, the same in RESP2 and RESP3. Line breaks, which would end the reply early, become spaces, as in Redis.
pub fn error(code: &str, message: &str) -> Bytes {
    let mut line = if message.is_empty() {
        code.to_owned()
    } else {
        format!("{code} {message}")
    };
    line = line.replace(['\r', '\n'], " ");
    let mut buffer = BytesMut::new();
    let frame = BytesFrame::Error(line.into());
    match extend_encode(&mut buffer, &frame, false) {
        Ok(_) => buffer.freeze(),
        // The encoder fails on no error frame; a client would still be owed a reply.
        Err(_) => Bytes::from_static(b"-ERR\r\n"),
    }
}

/// A command that no server has, to be sent in place of a client's inside MULTI: the server refuses it, and EXEC aborts.
pub fn unknown_command() -> Bytes {
    Bytes::from_static(b"*1\r\n$23\r\nbrownout.injected-error\r\n")
}

/// DISCARD, to be sent in place of an EXEC that fails.
pub fn discard() -> Bytes {
    Bytes::from_static(b"*1\r\n$7\r\nDISCARD\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::status;
    use redis_protocol::resp2::decode::decode;

    #[test]
    fn encodes_one_line() {
        assert_eq!(&error("OOM", "no room")[..], b"-OOM no room\r\n");
        assert_eq!(&error("X", "")[..], b"-X\r\n");
        assert_eq!(&error("ERR", "a\r\n+OK\r\n")[..], b"-ERR a  +OK  \r\n");
    }

    #[test]
    fn an_error_is_one_that_the_reference_and_the_decoder_know() {
        for code in ["LOADING", "READONLY", "OOM", "MOVED", "ERR"] {
            let bytes = error(code, "some text");
            let (frame, length) = decode(&bytes).unwrap().unwrap();
            assert_eq!(length, bytes.len());
            assert!(
                matches!(&frame, redis_protocol::resp2::types::OwnedFrame::Error(text)
                    if *text == format!("{code} some text"))
            );
            assert_eq!(status::name(status::find(code.as_bytes())), code);
        }
    }
}
