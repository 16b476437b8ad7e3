//! `refuse`: new connections are turned away. It acts on connections, so of a match only `client` means something to it.

use crate::fault::problems::Problems;
use crate::fault::spec::{Existing, FaultSpec, How, MatchSpec, Scope};
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["how", "existing"];

/// How a new connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuse {
    /// No listener: the client's connect fails with ECONNREFUSED.
    Closed,
    /// Accepted, then reset.
    Reset,
    /// Accepted, never answered; ends when the fault does, or when the client gives up.
    Silent,
    /// Not accepted: the queue of the listener fills, and the client's connect times out.
    Unaccepted,
}

/// Turns new connections away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// How.
    pub how: Refuse,
    /// What becomes of the sessions that are open when it comes into force.
    pub existing: Existing,
}

impl Refusal {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let how = match spec.how {
            None | Some(How::Closed) => Some(Refuse::Closed),
            Some(How::Reset) => Some(Refuse::Reset),
            Some(How::Silent) => Some(Refuse::Silent),
            Some(How::Unaccepted) => Some(Refuse::Unaccepted),
            Some(other) => {
                problems.add(
                    "how",
                    format!("`{}` is no way to refuse", other.name()),
                    "write \"closed\", \"reset\", \"silent\" or \"unaccepted\"",
                );
                None
            }
        };
        let existing = spec.existing.unwrap_or_default();
        reject_exchange_matches(
            &spec.matching,
            "`refuse` acts on connections, before anything is asked on them",
            "leave it out, or use `disconnect`",
            problems,
        );
        reject_session_matches(&spec.matching, "refuse", problems);
        if spec.scope == Some(Scope::Exchange) {
            problems.add(
                "scope",
                "`refuse` acts on connections, not on exchanges",
                "leave `scope` out",
            );
        }
        // A listener is closed, and sessions are cut, for all or for none.
        if matches!(how, Some(Refuse::Closed | Refuse::Unaccepted)) {
            reject_selection(
                spec,
                problems,
                "a listener is closed for every client or for none",
                "leave it out, or write how = \"reset\"",
            );
        } else if existing == Existing::Cut {
            reject_selection(
                spec,
                problems,
                "`existing = \"cut\"` closes every open session",
                "leave it out, or write existing = \"keep\"",
            );
        }
        Some(Self {
            how: how?,
            existing,
        })
    }
}

/// What is no exchange has no operation.
pub(super) fn reject_exchange_matches(
    matching: &MatchSpec,
    why: &str,
    remedy: &str,
    problems: &mut Problems<'_>,
) {
    let given = [
        ("match.operation", !matching.operation.is_empty()),
        ("match.class", !matching.class.is_empty()),
        ("match.key", !matching.key.is_empty()),
        ("match.route", !matching.route.is_empty()),
        ("match.method", !matching.method.is_empty()),
        ("match.header", !matching.header.is_empty()),
        ("match.sql", !matching.sql.is_empty()),
        ("match.table", !matching.table.is_empty()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(field, why, remedy);
    }
}

/// A session that has not begun has said nothing of itself.
pub(super) fn reject_session_matches(
    matching: &MatchSpec,
    action: &str,
    problems: &mut Problems<'_>,
) {
    let given = [
        ("match.database", !matching.database.is_empty()),
        ("match.user", !matching.user.is_empty()),
        (
            "match.application_name",
            !matching.application_name.is_empty(),
        ),
        ("match.client_name", !matching.client_name.is_empty()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(
            field,
            format!("`{action}` acts on connections, and is asked before they say who they are"),
            "leave it out, or write match.client",
        );
    }
}

/// What selects some connections and spares others.
fn reject_selection(spec: &FaultSpec, problems: &mut Problems<'_>, why: &str, remedy: &str) {
    let ramp = spec.schedule.and_then(|schedule| schedule.ramp);
    let given = [
        ("match.client", !spec.matching.client.is_empty()),
        ("probability", spec.probability.is_some()),
        ("every", spec.every.is_some()),
        ("first", spec.first.is_some()),
        ("after", spec.after.is_some()),
        ("per_second", spec.per_second.is_some()),
        ("schedule.ramp", ramp.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(field, why, remedy);
    }
}

impl Acts for Refusal {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::Refuse(*self))
    }
}
