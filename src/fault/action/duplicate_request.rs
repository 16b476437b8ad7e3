//! `duplicate_request`: the server gets a request twice, the client one reply. What a retry on the way does to a server that
//! takes no care of it.

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;
use crate::protocol::{Class, Protocol};

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it: none.
pub(super) const PARAMETERS: &[&str] = &[];

/// Sends a request twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct DuplicateRequest;

impl DuplicateRequest {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Self {
        let alone = |class: &Class| {
            matches!(
                class,
                Class::Read | Class::Write | Class::Admin | Class::Ping
            )
        };
        let classes = &spec.matching.class.0;
        if !(classes.is_empty() || classes.iter().any(alone)) {
            problems.add(
                "match.class",
                format!(
                    "what is `{}` never goes twice: it does not stand alone",
                    classes[0].name()
                ),
                "write `read`, `write`, `admin` or `ping`, or leave it out",
            );
        }
        Self
    }
}

impl Acts for DuplicateRequest {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        match protocol {
            Protocol::Redis | Protocol::Postgres | Protocol::Http => {
                Ok(Effect::End(Ending::Duplicate))
            }
            Protocol::Tcp => Err(NotApplicable {
                field: "action",
                message: "on plain TCP there are no requests that could be sent twice".into(),
                remedy: "give the proxy its protocol, or use another action".into(),
            }),
        }
    }
}
