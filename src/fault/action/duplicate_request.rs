//! `duplicate_request`: the server gets a request twice, the client one reply. What a retry on the way does to a server that
//! takes no care of it.

use crate::fault::plan::Ending;
use crate::protocol::Protocol;

use super::NotApplicable;

/// The keys that belong to it: none.
pub(super) const PARAMETERS: &[&str] = &[];

/// What it comes to, where there are requests.
pub(super) fn on(protocol: Protocol) -> Result<Ending, NotApplicable> {
    match protocol {
        Protocol::Redis | Protocol::Postgres | Protocol::Http => Ok(Ending::Duplicate),
        Protocol::Tcp => Err(NotApplicable {
            field: "action",
            message: "on plain TCP there are no requests that could be sent twice".into(),
            remedy: "give the proxy its protocol, or use another action".into(),
        }),
    }
}
