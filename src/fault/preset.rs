//! Errors that real servers give, by name, in the words that they use on the wire: clients match on those words.
//!
//! Redis: as Redis 7.0 sends them. Postgres: as PostgreSQL 15 sends them, in English; where the server puts a name of its own
//! into the text, the preset has a plausible one. `message` in the fault replaces the text. HTTP: RFC 9110 and RFC 6585.

use super::action::ErrorReply;
use crate::protocol::Protocol;

/// The reply of a preset, by its name or, on Postgres, by its SQLSTATE; case does not matter.
pub fn find(name: &str) -> Option<(Protocol, ErrorReply)> {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    let redis = || REDIS.iter().find(|preset| is(preset.name));
    let postgres = || {
        POSTGRES
            .iter()
            .find(|preset| is(preset.name) || is(preset.sqlstate))
    };
    let http = || {
        HTTP.iter()
            .find(|preset| is(preset.status_text) || is(preset.name))
    };
    redis()
        .map(|preset| (Protocol::Redis, preset.reply()))
        .or_else(|| postgres().map(|preset| (Protocol::Postgres, preset.reply())))
        .or_else(|| http().map(|preset| (Protocol::Http, preset.reply())))
}

/// Names of the presets of one protocol, in the order of the table.
pub fn names(protocol: Protocol) -> Vec<&'static str> {
    match protocol {
        Protocol::Redis => REDIS.iter().map(|preset| preset.name).collect(),
        Protocol::Postgres => POSTGRES.iter().map(|preset| preset.name).collect(),
        Protocol::Http => HTTP.iter().map(|preset| preset.status_text).collect(),
        Protocol::Tcp => Vec::new(),
    }
}

/// Every name that [`find`] knows, SQLSTATEs and reason phrases included.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    let redis = REDIS.iter().map(|preset| preset.name);
    let postgres = POSTGRES
        .iter()
        .flat_map(|preset| [preset.name, preset.sqlstate]);
    let http = HTTP
        .iter()
        .flat_map(|preset| [preset.status_text, preset.name]);
    redis.chain(postgres).chain(http)
}

struct Redis {
    name: &'static str,
    code: &'static str,
    message: &'static str,
    close: bool,
}

impl Redis {
    const fn new(code: &'static str, message: &'static str) -> Self {
        Self {
            name: code,
            code,
            message,
            close: false,
        }
    }

    fn reply(&self) -> ErrorReply {
        ErrorReply::Redis {
            code: self.code.into(),
            message: self.message.into(),
            close: self.close,
        }
    }
}

const REDIS: [Redis; 14] = [
    Redis::new("LOADING", "Redis is loading the dataset in memory"),
    Redis::new("READONLY", "You can't write against a read only replica."),
    Redis::new("OOM", "command not allowed when used memory > 'maxmemory'."),
    Redis::new(
        "BUSY",
        "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    ),
    Redis::new("NOAUTH", "Authentication required."),
    Redis::new(
        "WRONGPASS",
        "invalid username-password pair or user is disabled.",
    ),
    Redis::new("CLUSTERDOWN", "The cluster is down"),
    Redis::new(
        "MASTERDOWN",
        "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ),
    Redis::new("TRYAGAIN", "Multiple keys request during rehashing of slot"),
    // Slot and address are the user's to give. Nothing answers on port 1: a redirect to a node that has gone.
    Redis::new("MOVED", "0 127.0.0.1:1"),
    Redis::new("ASK", "0 127.0.0.1:1"),
    Redis::new("NOREPLICAS", "Not enough good replicas to write."),
    Redis::new(
        "MISCONF",
        "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify \
         the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting \
         fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
    ),
    Redis {
        name: "MAXCLIENTS",
        code: "ERR",
        message: "max number of clients reached",
        close: true,
    },
];

struct Postgres {
    name: &'static str,
    sqlstate: &'static str,
    message: &'static str,
    fatal: bool,
}

impl Postgres {
    const fn error(name: &'static str, sqlstate: &'static str, message: &'static str) -> Self {
        Self {
            name,
            sqlstate,
            message,
            fatal: false,
        }
    }

    const fn fatal(name: &'static str, sqlstate: &'static str, message: &'static str) -> Self {
        Self {
            name,
            sqlstate,
            message,
            fatal: true,
        }
    }

    fn reply(&self) -> ErrorReply {
        ErrorReply::Postgres {
            sqlstate: self.sqlstate.into(),
            message: self.message.into(),
            fatal: self.fatal,
        }
    }
}

const POSTGRES: [Postgres; 13] = [
    Postgres::error(
        "serialization_failure",
        "40001",
        "could not serialize access due to concurrent update",
    ),
    Postgres::error("deadlock_detected", "40P01", "deadlock detected"),
    Postgres::error(
        "lock_not_available",
        "55P03",
        "canceling statement due to lock timeout",
    ),
    Postgres::error(
        "query_canceled",
        "57014",
        "canceling statement due to statement timeout",
    ),
    Postgres::fatal(
        "admin_shutdown",
        "57P01",
        "terminating connection due to administrator command",
    ),
    Postgres::fatal(
        "cannot_connect_now",
        "57P03",
        "the database system is starting up",
    ),
    Postgres::fatal(
        "too_many_connections",
        "53300",
        "sorry, too many clients already",
    ),
    Postgres::error(
        "read_only_sql_transaction",
        "25006",
        "cannot execute UPDATE in a read-only transaction",
    ),
    Postgres::error(
        "disk_full",
        "53100",
        "could not extend file \"base/16384/16397\": No space left on device",
    ),
    Postgres::error("out_of_memory", "53200", "out of memory"),
    // The server has no text of its own for it: a pooler or a foreign server answers so.
    Postgres::fatal(
        "connection_failure",
        "08006",
        "server closed the connection unexpectedly",
    ),
    Postgres::fatal(
        "invalid_password",
        "28P01",
        "password authentication failed for user \"app\"",
    ),
    Postgres::fatal(
        "invalid_catalog_name",
        "3D000",
        "database \"app\" does not exist",
    ),
];

struct Http {
    name: &'static str,
    status: u16,
    status_text: &'static str,
    header: Option<(&'static str, &'static str)>,
}

impl Http {
    const fn new(status_text: &'static str, status: u16, name: &'static str) -> Self {
        Self {
            name,
            status,
            status_text,
            header: None,
        }
    }

    const fn with(self, name: &'static str, value: &'static str) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    fn reply(&self) -> ErrorReply {
        let content_type = ("Content-Type", "application/json");
        let headers = std::iter::once(content_type).chain(self.header);
        ErrorReply::Http {
            status: self.status,
            headers: headers
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            body: format!("{{\"error\":\"{}\"}}\n", self.name.replace('_', " ")),
        }
    }
}

const HTTP: [Http; 7] = [
    Http::new("429", 429, "too_many_requests").with("Retry-After", "1"),
    Http::new("500", 500, "internal_server_error"),
    Http::new("502", 502, "bad_gateway"),
    Http::new("503", 503, "service_unavailable").with("Retry-After", "1"),
    Http::new("504", 504, "gateway_timeout"),
    Http::new("413", 413, "content_too_large"),
    Http::new("401", 401, "unauthorized").with("WWW-Authenticate", "Bearer"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_once_and_found_in_any_case() {
        let mut names: Vec<_> = all_names().map(str::to_ascii_lowercase).collect();
        for name in &names {
            assert!(find(name).is_some(), "{name}");
            assert!(find(&name.to_ascii_uppercase()).is_some(), "{name}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands for two presets");
        assert!(find("nonsense").is_none());
    }

    #[test]
    fn replies_fit_on_the_wire() {
        for name in all_names() {
            match find(name) {
                Some((Protocol::Redis, ErrorReply::Redis { code, message, .. })) => {
                    assert!(code.bytes().all(|b| b.is_ascii_uppercase()), "{code}");
                    assert!(!message.contains(['\r', '\n']), "{message}");
                    assert!(!message.contains("  "), "{message}");
                }
                Some((
                    Protocol::Postgres,
                    ErrorReply::Postgres {
                        sqlstate, message, ..
                    },
                )) => {
                    assert_eq!(sqlstate.len(), 5);
                    assert!(!message.is_empty() && !message.contains('\0'));
                }
                Some((Protocol::Http, ErrorReply::Http { status, .. })) => {
                    assert!((400..600).contains(&status));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_ends_the_connection_on_the_real_server_ends_it_here() {
        let closes = |name: &str| match find(name).unwrap().1 {
            ErrorReply::Redis { close, .. } => close,
            ErrorReply::Postgres { fatal, .. } => fatal,
            ErrorReply::Http { .. } => false,
        };
        for name in ["MAXCLIENTS", "57P01", "57P03", "53300", "28P01", "3D000"] {
            assert!(closes(name), "{name}");
        }
        for name in [
            "LOADING", "NOAUTH", "40001", "40P01", "57014", "53100", "503",
        ] {
            assert!(!closes(name), "{name}");
        }
    }
}
