//! `disconnect`: the session is closed before the request is forwarded, after it, or inside the reply.

use crate::fault::plan::Ending;
use crate::fault::problems::Problems;
use crate::fault::spec::{FaultSpec, How, Moment};
use crate::protocol::Protocol;

use super::{Acts, Effect, NotApplicable};

/// The keys that belong to it.
pub(super) const PARAMETERS: &[&str] = &["how", "when", "bytes", "share"];

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseHow {
    /// An orderly end: FIN after every byte that was due.
    Fin,
    /// A reset, after every byte that was due was delivered.
    Rst,
}

/// Where in the exchange a disconnect happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// Before the request is forwarded: the server sees nothing of it.
    Before,
    /// After the request was forwarded, before any byte of the reply: the server saw it.
    After,
    /// After this many bytes of the reply; all of it if it is shorter, then close.
    InsideBytes(u64),
    /// After this share (0 to 1) of the reply, where its length is known from what is held (at most 1 MiB); else of its first MiB.
    InsideShare(f64),
}

/// Closes the session around an exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disconnect {
    /// FIN or RST; to client and upstream alike.
    pub how: CloseHow,
    /// Where in the exchange.
    pub when: When,
}

impl Disconnect {
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        let how = match spec.how {
            None | Some(How::Rst) => Some(CloseHow::Rst),
            Some(How::Fin) => Some(CloseHow::Fin),
            Some(other) => {
                problems.add(
                    "how",
                    format!("`{}` is a way to refuse, not to disconnect", other.name()),
                    "write \"fin\" or \"rst\"",
                );
                None
            }
        };
        let when = moment(spec, problems);
        Some(Self {
            how: how?,
            when: when?,
        })
    }
}

fn moment(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<When> {
    let inside = spec.bytes.is_some() || spec.share.is_some();
    let default = if inside {
        Moment::Inside
    } else {
        Moment::Before
    };
    match spec.when.unwrap_or(default) {
        Moment::Inside => place(spec, problems),
        _ if inside => {
            let field = if spec.bytes.is_some() {
                "bytes"
            } else {
                "share"
            };
            problems.add(
                field,
                format!("`{field}` says where inside the reply, but `when` is not \"inside\""),
                format!("write when = \"inside\", or leave `{field}` out"),
            );
            None
        }
        Moment::Before => Some(When::Before),
        Moment::After => Some(When::After),
    }
}

fn place(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<When> {
    match (spec.bytes, spec.share) {
        (Some(bytes), None) => Some(When::InsideBytes(bytes)),
        (None, Some(share)) if (0.0..=1.0).contains(&share) => Some(When::InsideShare(share)),
        (None, Some(share)) => {
            problems.add(
                "share",
                format!("{share} is not a share"),
                "write a number between 0 and 1",
            );
            None
        }
        (Some(_), Some(_)) => {
            problems.add(
                "share",
                "`bytes` and `share` name two places",
                "leave one of them out",
            );
            None
        }
        (None, None) => {
            problems.add(
                "when",
                "a disconnect inside the reply needs `bytes` or `share`",
                "add bytes = 10, or share = 0.5",
            );
            None
        }
    }
}

impl Acts for Disconnect {
    fn effect(&self, _: Protocol) -> Result<Effect, NotApplicable> {
        Ok(Effect::End(Ending::Disconnect(*self)))
    }
}
