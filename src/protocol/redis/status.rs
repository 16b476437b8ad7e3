//! The closed table of error codes: the first word of an error reply.

use crate::protocol::Status;

/// The error codes of Redis 7.4, its modules' common ones, Sentinel and Cluster, and whether one means that the server
/// failed (cannot serve now), as opposed to a request that it rightly refused. The status is the position, from 1.
const CODES: &[(&str, bool)] = &[
    ("other", false),
    ("ERR", false),
    ("WRONGTYPE", false),
    ("NOSCRIPT", false),
    ("NOAUTH", false),
    ("WRONGPASS", false),
    ("NOPERM", false),
    ("NOPROTO", false),
    ("EXECABORT", false),
    ("BUSYKEY", false),
    ("BUSYGROUP", false),
    ("NOGROUP", false),
    ("UNKILLABLE", false),
    ("NOTBUSY", false),
    ("UNBLOCKED", false),
    ("MOVED", false),
    ("ASK", false),
    ("CROSSSLOT", false),
    ("NOGOODSLAVE", true),
    ("INPROG", false),
    ("NOQUORUM", true),
    ("INVALIDOBJ", false),
    ("NOMASTERLINK", true),
    ("INCONSISTENT", false),
    ("DENIED", true),
    ("LOADING", true),
    ("BUSY", true),
    ("OOM", true),
    ("MISCONF", true),
    ("READONLY", true),
    ("NOREPLICAS", true),
    ("MASTERDOWN", true),
    ("CLUSTERDOWN", true),
    ("TRYAGAIN", true),
    ("IOERR", true),
];

const OTHER: Status = Status(1);
/// A transaction that was dropped because a command in it was refused.
pub(super) const EXECABORT: Status = Status(9);

/// The status of an error by its first word, as sent.
pub(super) fn find(code: &[u8]) -> Status {
    CODES
        .iter()
        .skip(1)
        .position(|(name, _)| name.as_bytes() == code)
        .map_or(OTHER, |at| Status(at as u16 + 2))
}

fn row(status: Status) -> Option<&'static (&'static str, bool)> {
    CODES.get(usize::from(status.0).checked_sub(1)?)
}

/// The name of a status.
pub(super) fn name(status: Status) -> &'static str {
    match status {
        Status::OK => "ok",
        Status::CLOSED => "closed",
        _ => row(status).map_or("other", |row| row.0),
    }
}

/// Whether the server failed.
pub(super) fn is_failure(status: Status) -> bool {
    match status {
        Status::OK => false,
        Status::CLOSED => true,
        _ => row(status).is_some_and(|row| row.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (code, failure) in CODES.iter().skip(1) {
            let status = find(code.as_bytes());
            assert_eq!(name(status), *code);
            assert_eq!(is_failure(status), *failure);
        }
        assert_eq!(find(b"EXECABORT"), EXECABORT);
        assert_eq!(name(find(b"NOVEL")), "other");
        assert_eq!(name(find(b"")), "other");
        assert_eq!(find(b"other"), OTHER);
        assert_eq!(name(Status(999)), "other");
        assert_eq!(name(Status::OK), "ok");
    }
}
