//! What a fault does: one file an action, and the table that joins them.
//!
//! An action's file has its parameters (the keys of [`FaultSpec`] that belong to it), the check that makes it of a spec, and
//! its [`Effect`] on a session of a protocol ([`Acts`]). The table has a row for each; all else is made of it.

use super::plan::Ending;
use super::problems::Problems;
use super::spec::{FaultSpec, Side};
use crate::protocol::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod blackhole;
mod cancel;
mod capacity;
mod corrupt;
mod disconnect;
mod duplicate_request;
mod error;
mod latency;
mod limit_connections;
mod limit_data;
mod lose;
mod push;
mod refuse;
mod reset_peer;
mod slice;
mod slow_close;
mod stall;
mod stream_cut;
mod throttle;
mod timeout;
mod truncate;

pub use capacity::Capacity;
pub(in crate::fault) use capacity::{Queue, Turn};
pub use corrupt::{Corrupt, Which};
pub use disconnect::{CloseHow, Disconnect, When};
pub use error::{ErrorAction, ErrorReply};
pub use latency::{Distribution, Latency};
pub use limit_connections::{Limit, TurnAway};
pub use lose::Loss;
pub use push::Push;
pub(in crate::fault) use push::channel;
pub use refuse::{Refusal, Refuse};
pub use slice::Slice;
pub use slow_close::SlowClose;
pub use stream_cut::{CutFrom, StreamCut};
pub use throttle::Throttle;
pub use timeout::Timeout;
pub use truncate::{Cut, Truncate};

/// How long a fault stays switched on if nobody says otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);

/// The longest time that a fault may stay switched on.
pub const MAX_TTL: Duration = Duration::from_secs(12 * 60 * 60);

/// The longest delay of one exchange; longer draws are cut to it.
pub const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

/// Makes of the table of actions what depends on it.
macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal: $parameters:path, $compile:path;)+) => {
        /// What a fault does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ActionKind {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $kind,)+
        }

        impl ActionKind {
            /// All actions.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$kind),+];

            /// The name used in configuration, metrics and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// The keys that belong to it.
            pub(super) const fn parameters(self) -> &'static [&'static str] {
                match self {
                    $(Self::$kind => $parameters,)+
                }
            }

            /// The action of a spec; `None` after at least one problem was added.
            pub(super) fn compile(self, spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Action> {
                match self {
                    $(Self::$kind => $compile(spec, problems).action(),)+
                }
            }
        }
    };
}

// A row each: what it is for readers, its name, its keys, and the check that makes it of a spec.
actions! {
    /// Holds the request or the reply.
    Latency = "latency": latency::PARAMETERS, Latency::compile;
    /// Forwards nothing more on the session and keeps its connections.
    Stall = "stall": stall::PARAMETERS, stall::Stall::compile;
    /// As `stall`, then closes.
    Timeout = "timeout": timeout::PARAMETERS, Timeout::compile;
    /// Closes the session before, after or inside an exchange.
    Disconnect = "disconnect": disconnect::PARAMETERS, Disconnect::compile;
    /// Turns new connections away.
    Refuse = "refuse": refuse::PARAMETERS, Refusal::compile;
    /// Answers with the protocol's own error.
    Error = "error": error::PARAMETERS, ErrorAction::compile;
    /// The request never reaches the server, and the session ends.
    LoseRequest = "lose_request": lose::PARAMETERS, lose::LoseRequest::compile;
    /// The server does what was asked, its complete reply never reaches the client, and the session ends.
    LoseReply = "lose_reply": lose::PARAMETERS, lose::LoseReply::compile;
    /// Lets the bytes of one direction go no faster than so many a second.
    Throttle = "throttle": throttle::PARAMETERS, Throttle::compile;
    /// Sends messages in small pieces with gaps between them.
    Slice = "slice": slice::PARAMETERS, Slice::compile;
    /// Cuts a reply inside the length it promises, then closes.
    Truncate = "truncate": truncate::PARAMETERS, Truncate::compile;
    /// Drops published messages on their way to a subscriber.
    PushLoss = "push_loss": push::LOSS, Push::loss;
    /// Holds published messages on their way to a subscriber.
    PushDelay = "push_delay": push::DELAY, Push::delay;
    /// Passes the end of a connection on late.
    SlowClose = "slow_close": slow_close::PARAMETERS, SlowClose::compile;
    /// Serves so many exchanges at once, lets so many wait, and turns the rest away.
    Capacity = "capacity": capacity::PARAMETERS, Capacity::compile;
    /// Turns newcomers away while so many sessions are open.
    LimitConnections = "limit_connections": limit_connections::PARAMETERS, Limit::compile;
    /// The bytes of one direction vanish, and after a while the session is closed.
    Blackhole = "blackhole": blackhole::PARAMETERS, blackhole::compile;
    /// The first bytes of one direction vanish, and the session is reset.
    ResetPeer = "reset_peer": reset_peer::PARAMETERS, reset_peer::compile;
    /// So many bytes of one direction go, then the session is closed.
    LimitData = "limit_data": limit_data::PARAMETERS, limit_data::compile;
    /// Sends a request twice; the client gets one reply.
    DuplicateRequest = "duplicate_request": duplicate_request::PARAMETERS, duplicate_request::DuplicateRequest::compile;
    /// Changes bytes of a message.
    Corrupt = "corrupt": corrupt::PARAMETERS, Corrupt::compile;
    /// Has the server cancel a statement, also in the middle of its rows.
    Cancel = "cancel": cancel::PARAMETERS, cancel::Cancel::compile;
}

/// An action that was checked: what it comes to is asked of it once for each proxy.
pub type Action = Arc<dyn Acts>;

/// What an action of a certain kind does.
pub trait Acts: fmt::Debug + Send + Sync {
    /// What it comes to on this protocol.
    ///
    /// # Errors
    /// The action means nothing there.
    fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable>;
}

/// What a check may return: an action, or one unless a problem was added.
trait Checked {
    fn action(self) -> Option<Action>;
}

impl<A: Acts + 'static> Checked for A {
    fn action(self) -> Option<Action> {
        Some(Arc::new(self))
    }
}

impl<A: Acts + 'static> Checked for Option<A> {
    fn action(self) -> Option<Action> {
        self.map(|action| Arc::new(action) as Action)
    }
}

/// What an action comes to on a session of one protocol.
#[derive(Debug, Clone)]
pub enum Effect {
    /// An exchange takes longer; other faults may act on it too.
    Delay(Latency),
    /// An exchange ends otherwise than it would have.
    End(Ending),
    /// Bytes go slower; other faults may act on the exchange too.
    Throttle(Throttle),
    /// Bytes go in pieces; other faults may act on the exchange too.
    Slice(Slice),
    /// Bytes are changed; other faults may act on the exchange too.
    Corrupt(Corrupt),
    /// An exchange waits its turn and is served, or ends so.
    Capacity(Capacity, Ending),
    /// A published message is dropped or held.
    Push(Push),
    /// The end of a connection is passed on late.
    SlowClose(SlowClose),
    /// The bytes of one direction of a session stop going on.
    StreamCut(StreamCut),
    /// A connection is turned away while so many are open.
    Limit(u32, TurnAway),
    /// A connection is turned away.
    Refuse(Refusal),
}

impl Effect {
    /// Whether it acts on bytes, whatever they mean.
    pub(super) const fn is_on_streams(&self) -> bool {
        matches!(
            self,
            Self::Delay(_)
                | Self::Throttle(_)
                | Self::Slice(_)
                | Self::Corrupt(_)
                | Self::End(Ending::Stall | Ending::Timeout(_) | Ending::Disconnect(_))
        )
    }

    /// Whether it may answer with an error.
    pub(super) const fn answers(&self) -> bool {
        matches!(
            self,
            Self::End(Ending::Error(_)) | Self::Capacity(_, Ending::Error(_))
        )
    }

    /// Whether it acts on bytes that go this way.
    pub(super) fn is_on_side(&self, side: Side) -> bool {
        match self {
            Self::Delay(latency) => latency.on == side,
            Self::Throttle(throttle) => throttle.on == side,
            Self::Slice(slice) => slice.on == side,
            Self::Corrupt(corrupt) => corrupt.on == side,
            // A burst of TCP is served on its way to the upstream.
            Self::Capacity(..) => side == Side::Request,
            Self::End(Ending::Truncate(_)) => side == Side::Reply,
            _ => true,
        }
    }

    /// Whether it acts on exchanges, and not on sessions or messages that nothing asked for.
    pub(super) const fn is_on_exchanges(&self) -> bool {
        !matches!(
            self,
            Self::Refuse(_)
                | Self::Limit(..)
                | Self::Push(_)
                | Self::SlowClose(_)
                | Self::StreamCut(_)
        )
    }
}

/// Why an action means nothing on a protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {remedy}")]
pub struct NotApplicable {
    /// The key that is at odds with the protocol.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would be accepted.
    pub remedy: String,
}

/// `match.channel` names messages, which only the faults on pushes are about.
pub(super) fn check_channel(spec: &FaultSpec, problems: &mut Problems<'_>) {
    let pushes = matches!(spec.action, ActionKind::PushLoss | ActionKind::PushDelay);
    if !(pushes || spec.matching.channel.is_empty()) {
        problems.add(
            "match.channel",
            format!("`{}` is not about published messages", spec.action.name()),
            "leave it out, or use `push_loss` or `push_delay`",
        );
    }
}

/// Which keys of a spec that belong to one action or another are given.
pub(super) fn given(spec: &FaultSpec) -> impl Iterator<Item = &'static str> {
    [
        ("delay", spec.delay.is_some()),
        ("on", spec.on.is_some()),
        ("floor", spec.floor.is_some()),
        ("close_after", spec.close_after.is_some()),
        ("then", spec.then.is_some()),
        ("how", spec.how.is_some()),
        ("when", spec.when.is_some()),
        ("bytes", spec.bytes.is_some()),
        ("share", spec.share.is_some()),
        ("existing", spec.existing.is_some()),
        ("preset", spec.preset.is_some()),
        ("code", spec.code.is_some()),
        ("message", spec.message.is_some()),
        ("close", spec.close.is_some()),
        ("status", spec.status.is_some()),
        ("headers", spec.headers.is_some()),
        ("body", spec.body.is_some()),
        ("retry_after", spec.retry_after.is_some()),
        ("connections", spec.connections.is_some()),
        ("service", spec.service.is_some()),
        ("queue", spec.queue.is_some()),
        ("in_service", spec.in_service.is_some()),
        ("rate", spec.rate.is_some()),
        ("count", spec.count.is_some()),
        ("from", spec.from.is_some()),
        ("to", spec.to.is_some()),
        ("gap", spec.gap.is_some()),
        ("variation", spec.variation.is_some()),
        ("size", spec.size.is_some()),
        ("burst", spec.burst.is_some()),
        ("bytes_per_second", spec.bytes_per_second.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
}
