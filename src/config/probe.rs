//! How an upstream is asked whether it works.

use schemars::JsonSchema;
use serde::Deserialize;

/// What a probe of an upstream says: `PING` to Redis, a start-up and `SELECT 1` to Postgres, `GET` to HTTP; of plain TCP only
/// whether it accepts a connection. Only a file may say it: who could by the admin endpoint would have variables of our
/// environment sent wherever he likes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Redis and Postgres: the user. Default: none; of Postgres `postgres`.
    pub user: Option<String>,
    /// Postgres: the database. Default: the user's name.
    pub database: Option<String>,
    /// Redis and Postgres: the variable of the environment that holds the password. Default: no password is sent, and a server
    /// that wants one counts as well.
    pub password_env: Option<String>,
    /// HTTP: the path, which has to be answered with less than 500. Default: `/`.
    pub path: Option<String>,
}
