//! `truncate`: the reply is cut inside the length it promises, then the session is closed.

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, How};
use crate::protocol::Protocol;

use super::{Acts, CloseHow, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["bytes", "share", "how"];

/// Cuts a reply short. Unlike a disconnect inside the reply it never lets all of it go, and on HTTP it counts in the body, so
/// that the client was promised a length or a chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truncate {
    /// How the session is closed.
    pub how: CloseHow,
    /// Where the cut is.
    pub cut: Cut,
}

/// Where a reply is cut: counted in the body of an HTTP response, else in the whole reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// Behind this many bytes.
    Bytes(u64),
    /// Behind this share, 0 to below 1.
    Share(f64),
}

impl Truncate {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let how = match spec.how {
            None | Some(How::Fin) => Some(CloseHow::Fin),
            Some(How::Rst) => Some(CloseHow::Rst),
            Some(other) => {
                problems.add(
                    "how",
                    format!("`{}` is a way to refuse, not to close", other.name()),
                    "write \"fin\" or \"rst\"",
                );
                None
            }
        };
        let cut = match (spec.bytes, spec.share) {
            (Some(_), Some(_)) => {
                problems.add(
                    "share",
                    "`bytes` and `share` name two places",
                    "leave one of them out",
                );
                None
            }
            (Some(bytes), None) => Some(Cut::Bytes(bytes)),
            (None, None) => Some(Cut::Share(0.5)),
            (None, Some(share)) if (0.0..1.0).contains(&share) => Some(Cut::Share(share)),
            (None, Some(share)) => {
                problems.add(
                    "share",
                    format!("{share} does not cut a reply short"),
                    "write a number from 0 to below 1",
                );
                None
            }
        };
        Some(Self {
            how: how?,
            cut: cut?,
        })
    }

    /// How much of a reply goes, of which `seen` bytes are there and `head` of them are the head of an HTTP response (0
    /// elsewhere). `None`: that cannot be said before more of it is there. `complete`: no more will come.
    pub(crate) fn place(&self, seen: usize, head: usize, complete: bool) -> Option<usize> {
        let body = seen.saturating_sub(head);
        let wanted = match self.cut {
            Cut::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            Cut::Share(_) if !complete => return None,
            Cut::Share(share) => (body as f64 * share) as usize,
        };
        match (body, complete) {
            // At least one byte behind the cut is known to exist.
            (1.., _) if wanted < body => Some(head + wanted),
            (_, false) => None,
            // Shorter than the cut: all but its last byte.
            (1.., true) => Some(head + body - 1),
            // A response without a body promises no more than its head.
            (0, true) => Some(head / 2),
        }
        .map(|at| at.max(usize::from(seen > 1)))
    }
}

impl Acts for Truncate {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::Truncate(*self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truncate(cut: Cut) -> Truncate {
        let how = CloseHow::Fin;
        Truncate { how, cut }
    }

    #[test]
    fn something_is_always_missing_and_something_always_comes() {
        for seen in 2..40 {
            for head in [0, seen / 2, seen] {
                let shares = [0.0, 0.3, 0.5, 0.999].map(Cut::Share);
                let bytes = [0, 1, 7, 100, u64::MAX].map(Cut::Bytes);
                for cut in shares.into_iter().chain(bytes) {
                    let at = truncate(cut).place(seen, head, true).unwrap();
                    assert!((1..seen).contains(&at), "{cut:?} of {seen}, {head}: {at}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_counted_from_the_body_and_need_not_wait_for_the_end() {
        let cut = truncate(Cut::Bytes(5));
        assert_eq!(cut.place(105, 100, false), None, "it may be its last byte");
        assert_eq!(cut.place(106, 100, false), Some(105));
        assert_eq!(cut.place(103, 100, true), Some(102));
        assert_eq!(truncate(Cut::Share(0.5)).place(106, 100, false), None);
    }
}
