//! `cancel`: the server itself is asked to cancel a statement, as `pg_cancel_backend` or a client's `CancelRequest` asks it. The error
//! is a real one (57014), also in the middle of rows, where none can be injected.

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::FaultSpec;
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["bytes"];

/// Has the server cancel a statement once so many bytes of its reply have come; 0: once it has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cancel(u64);

impl Cancel {
    pub(super) fn compile(spec: &FaultSpec, _: &mut Problems<'_>) -> Self {
        Self(spec.bytes.unwrap_or(0))
    }
}

impl Acts for Cancel {
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        match protocol {
            Protocol::Postgres => Ok(Effect::End(Ending::Cancel(self.0))),
            other => Err(NotApplicable {
                field: "action",
                message: format!("{} knows no request to cancel another", other.name()),
                remedy: "use it on a proxy with protocol = \"postgres\"".into(),
            }),
        }
    }
}
