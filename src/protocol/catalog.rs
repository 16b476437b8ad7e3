//! The closed set of operations and statuses of one proxy: names for the numbers that decoders use.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Class, Operation, Protocol, Status, http1, postgres, redis, tcp};

/// Names of the operations and statuses of one proxy, shared by its sessions and its readers.
#[derive(Debug, Clone)]
pub struct Catalog {
    protocol: Protocol,
    routes: Arc<http1::Routes>,
    statements: Arc<postgres::Statements>,
}

impl Catalog {
    /// The catalog of a proxy. `routes` are the configured routes of an HTTP proxy (`/modules/{id}`), empty for others.
    pub fn new(protocol: Protocol, routes: &[String]) -> Self {
        Self {
            protocol,
            routes: Arc::new(http1::Routes::new(routes)),
            statements: Arc::default(),
        }
    }

    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The routes of an HTTP proxy, known and learned.
    pub fn routes(&self) -> Arc<http1::Routes> {
        Arc::clone(&self.routes)
    }

    /// The statements that were prepared on a Postgres proxy.
    pub fn statements(&self) -> Arc<postgres::Statements> {
        Arc::clone(&self.statements)
    }

    /// The name of an operation: `GET`, `config|get`, `SELECT`, `GET /modules/{id}`. Unknown numbers are `other`.
    pub fn operation_name(&self, operation: Operation) -> Cow<'static, str> {
        match self.protocol {
            Protocol::Redis => redis::operation_name(operation).into(),
            Protocol::Postgres => postgres::operation_name(operation).into(),
            Protocol::Http => self.routes.operation_name(operation).into(),
            Protocol::Tcp => tcp::BURST_NAME.into(),
        }
    }

    /// All operations whose names are known ahead, with the class that each usually has. Of HTTP: none.
    pub fn operations(&self) -> Vec<(&'static str, Class)> {
        known_operations(self.protocol)
    }

    /// The class an operation usually has (a decoder may say otherwise for one exchange: XREAD with BLOCK).
    pub fn operation_class(&self, operation: Operation) -> Class {
        match self.protocol {
            Protocol::Redis => redis::operation_class(operation),
            Protocol::Postgres => postgres::operation_class(operation),
            Protocol::Http => self.routes.operation_class(operation),
            Protocol::Tcp => tcp::BURST_CLASS,
        }
    }

    /// The name of a status: `ok`, `closed`, `WRONGTYPE`, `40001`, `503`.
    pub fn status_name(&self, status: Status) -> Cow<'static, str> {
        match (status, self.protocol) {
            (Status::CLOSED, _) => "closed".into(),
            (Status::OK, _) | (_, Protocol::Tcp) => "ok".into(),
            (_, Protocol::Redis) => redis::status_name(status).into(),
            (_, Protocol::Postgres) => postgres::status_name(status).into(),
            (_, Protocol::Http) => status.0.to_string().into(),
        }
    }

    /// Whether a status is an error for the error rate of a report: for HTTP 5xx, 429 and nothing else; for the others
    /// every error that is not the application's own doing (a WRONGTYPE or a unique violation is an answer, not a failure).
    pub fn is_failure(&self, status: Status) -> bool {
        match (status, self.protocol) {
            (Status::CLOSED, _) => true,
            (Status::OK, _) | (_, Protocol::Tcp) => false,
            (_, Protocol::Redis) => redis::is_failure(status),
            (_, Protocol::Postgres) => postgres::is_failure(status),
            (_, Protocol::Http) => status.0 >= 500 || status.0 == 429,
        }
    }

    /// Whether a status is an error of any kind: failures, and refusals that are the application's own doing.
    pub fn is_error(&self, status: Status) -> bool {
        match (status, self.protocol) {
            (Status::OK, _) | (_, Protocol::Tcp) => status == Status::CLOSED,
            (_, Protocol::Http) => status.0 >= 400,
            _ => true,
        }
    }
}

/// See [`Catalog::operations`]: they are the same for all proxies of a protocol.
pub fn known_operations(protocol: Protocol) -> Vec<(&'static str, Class)> {
    let of = |operation: Operation| match protocol {
        Protocol::Redis => Some((
            redis::operation_name(operation),
            redis::operation_class(operation),
        )),
        Protocol::Postgres => Some((
            postgres::operation_name(operation),
            postgres::operation_class(operation),
        )),
        Protocol::Http => None,
        Protocol::Tcp => Some((tcp::BURST_NAME, tcp::BURST_CLASS)),
    };
    // The first number beyond a table is called what its first row is.
    let first = of(Operation(0));
    let rest = (1..=u16::MAX).map_while(|n| of(Operation(n)).filter(|row| Some(*row) != first));
    first.into_iter().chain(rest).collect()
}
