//! Errors that a Redis server would send, made by brownout.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;

/// An error reply with a name, in the wording of a real server, since clients match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What profiles call it.
    pub name: &'static str,
    /// The first word of the reply.
    pub code: &'static str,
    /// The rest of the line.
    pub message: &'static str,
    /// Whether the server closes the connection after it.
    pub close: bool,
}

const fn keep(name: &'static str, code: &'static str, message: &'static str) -> Preset {
    Preset {
        name,
        code,
        message,
        close: false,
    }
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    keep(
        "LOADING",
        "LOADING",
        "Redis is loading the dataset in memory",
    ),
    keep(
        "READONLY",
        "READONLY",
        "You can't write against a read only replica.",
    ),
    keep(
        "OOM",
        "OOM",
        "command not allowed when used memory > 'maxmemory'.",
    ),
    keep(
        "BUSY",
        "BUSY",
        "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    ),
    keep("NOAUTH", "NOAUTH", "Authentication required."),
    keep(
        "WRONGPASS",
        "WRONGPASS",
        "invalid username-password pair or user is disabled.",
    ),
    keep("CLUSTERDOWN", "CLUSTERDOWN", "The cluster is down"),
    keep(
        "MASTERDOWN",
        "MASTERDOWN",
        "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ),
    keep(
        "TRYAGAIN",
        "TRYAGAIN",
        "Multiple keys request during rehashing of slot",
    ),
    // The address is TEST-NET-1: a client that follows the redirection reaches nobody.
    keep("MOVED", "MOVED", "0 192.0.2.1:6379"),
    keep("ASK", "ASK", "0 192.0.2.1:6379"),
    keep(
        "NOREPLICAS",
        "NOREPLICAS",
        "Not enough good replicas to write.",
    ),
    keep(
        "MISCONF",
        "MISCONF",
        "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
         modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
         snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
         error.",
    ),
    Preset {
        name: "MAXCLIENTS",
        code: "ERR",
        message: "max number of clients reached",
        close: true,
    },
];

/// A preset by its name, in any case.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS
        .iter()
        .find(|preset| preset.name.eq_ignore_ascii_case(name))
}

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
    fn every_preset_is_one_error_that_the_decoder_knows() {
        for preset in PRESETS {
            let bytes = error(preset.code, preset.message);
            let (frame, length) = decode(&bytes).unwrap().unwrap();
            assert_eq!(length, bytes.len());
            assert!(
                matches!(&frame, redis_protocol::resp2::types::OwnedFrame::Error(text)
                    if *text == format!("{} {}", preset.code, preset.message))
            );
            let known = status::name(status::find(preset.code.as_bytes()));
            assert_eq!(known, preset.code);
        }
    }

    #[test]
    fn presets_are_found_in_any_case() {
        assert_eq!(preset("oom").map(|preset| preset.code), Some("OOM"));
        let last = preset("maxclients").unwrap();
        assert_eq!((last.code, last.close), ("ERR", true));
        assert_eq!(preset("nothing"), None);
    }
}
