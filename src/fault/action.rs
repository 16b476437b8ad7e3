//! What a fault does: one file an action, and the table that joins them.
//!
//! An action's file has its parameters (the keys of [`FaultSpec`] that belong to it), the check that makes it of a spec, and
//! its [`Effect`] on a session of a protocol.

use super::plan::Ending;
use super::problems::Problems;
use super::spec::{ActionKind, FaultSpec, Side};
use crate::protocol::Protocol;
use std::time::Duration;

mod blackhole;
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

/// What a fault does, checked.
#[derive(Debug, Clone)]
pub enum Action {
    /// Holds the request or the reply.
    Latency(Latency),
    /// Forwards nothing more on the session and keeps its connections.
    Stall,
    /// As `Stall`, then closes.
    Timeout(Timeout),
    /// Closes the session before, after or inside an exchange.
    Disconnect(Disconnect),
    /// Turns new connections away.
    Refuse(Refusal),
    /// Answers with the protocol's own error.
    Error(ErrorAction),
    /// The server never sees the request.
    LoseRequest(Loss),
    /// The client never sees the reply.
    LoseReply(Loss),
    /// Bounds the rate of one direction.
    Throttle(Throttle),
    /// Cuts one direction into pieces.
    Slice(Slice),
    /// Cuts a reply short.
    Truncate(Truncate),
    /// Drops or holds published messages.
    Push(Push),
    /// Passes the end of a connection on late.
    SlowClose(SlowClose),
    /// Bounds what is served at once.
    Capacity(Capacity),
    /// Bounds the sessions that are open at once.
    LimitConnections(Limit),
    /// Stops the bytes of one direction, and closes.
    StreamCut(StreamCut),
    /// Sends a request twice.
    DuplicateRequest,
    /// Changes bytes.
    Corrupt(Corrupt),
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

impl Action {
    /// The keys that belong to an action.
    pub(super) const fn parameters(kind: ActionKind) -> &'static [&'static str] {
        match kind {
            ActionKind::Latency => latency::PARAMETERS,
            ActionKind::Stall => stall::PARAMETERS,
            ActionKind::Timeout => timeout::PARAMETERS,
            ActionKind::Disconnect => disconnect::PARAMETERS,
            ActionKind::Refuse => refuse::PARAMETERS,
            ActionKind::Error => error::PARAMETERS,
            ActionKind::LoseRequest | ActionKind::LoseReply => lose::PARAMETERS,
            ActionKind::Throttle => throttle::PARAMETERS,
            ActionKind::Slice => slice::PARAMETERS,
            ActionKind::Truncate => truncate::PARAMETERS,
            ActionKind::PushLoss => push::LOSS,
            ActionKind::PushDelay => push::DELAY,
            ActionKind::SlowClose => slow_close::PARAMETERS,
            ActionKind::Capacity => capacity::PARAMETERS,
            ActionKind::LimitConnections => limit_connections::PARAMETERS,
            ActionKind::Blackhole => blackhole::PARAMETERS,
            ActionKind::ResetPeer => reset_peer::PARAMETERS,
            ActionKind::LimitData => limit_data::PARAMETERS,
            ActionKind::DuplicateRequest => duplicate_request::PARAMETERS,
            ActionKind::Corrupt => corrupt::PARAMETERS,
        }
    }

    /// The action of a spec; `None` after at least one problem was added.
    pub(super) fn compile(spec: &FaultSpec, problems: &mut Problems<'_>) -> Option<Self> {
        match spec.action {
            ActionKind::Latency => Latency::compile(spec, problems).map(Self::Latency),
            ActionKind::Stall => Some(Self::Stall),
            ActionKind::Timeout => Timeout::compile(spec, problems).map(Self::Timeout),
            ActionKind::Disconnect => Disconnect::compile(spec, problems).map(Self::Disconnect),
            ActionKind::Refuse => Refusal::compile(spec, problems).map(Self::Refuse),
            ActionKind::Error => ErrorAction::compile(spec, problems).map(Self::Error),
            ActionKind::LoseRequest => Loss::compile(spec, problems).map(Self::LoseRequest),
            ActionKind::LoseReply => Loss::compile(spec, problems).map(Self::LoseReply),
            ActionKind::Throttle => Throttle::compile(spec, problems).map(Self::Throttle),
            ActionKind::Slice => Slice::compile(spec, problems).map(Self::Slice),
            ActionKind::Truncate => Truncate::compile(spec, problems).map(Self::Truncate),
            ActionKind::PushLoss => Push::compile(spec, false, problems).map(Self::Push),
            ActionKind::PushDelay => Push::compile(spec, true, problems).map(Self::Push),
            ActionKind::SlowClose => SlowClose::compile(spec, problems).map(Self::SlowClose),
            ActionKind::Capacity => Capacity::compile(spec, problems).map(Self::Capacity),
            ActionKind::LimitConnections => {
                Limit::compile(spec, problems).map(Self::LimitConnections)
            }
            ActionKind::Blackhole => Some(Self::StreamCut(blackhole::compile(spec, problems))),
            ActionKind::ResetPeer => Some(Self::StreamCut(reset_peer::compile(spec, problems))),
            ActionKind::LimitData => limit_data::compile(spec, problems).map(Self::StreamCut),
            ActionKind::DuplicateRequest => Some(Self::DuplicateRequest),
            ActionKind::Corrupt => Corrupt::compile(spec, problems).map(Self::Corrupt),
        }
    }

    /// What it comes to on this protocol.
    ///
    /// # Errors
    /// The action means nothing there.
    pub fn effect(&self, protocol: Protocol) -> Result<Effect, NotApplicable> {
        Ok(match self {
            Self::Latency(latency) => Effect::Delay(latency.clone()),
            Self::Stall => Effect::End(Ending::Stall),
            Self::Timeout(timeout) => Effect::End(timeout.ending()),
            Self::Disconnect(disconnect) => Effect::End(Ending::Disconnect(*disconnect)),
            Self::Refuse(refusal) => Effect::Refuse(*refusal),
            Self::Error(error) => Effect::End(Ending::Error(error.reply(protocol)?)),
            Self::LoseRequest(loss) => Effect::End(Ending::LoseRequest(loss.on(protocol)?)),
            Self::LoseReply(loss) => Effect::End(Ending::LoseReply(loss.on(protocol)?)),
            Self::Throttle(throttle) => Effect::Throttle(*throttle),
            Self::Slice(slice) => Effect::Slice(*slice),
            Self::LimitConnections(limit) => {
                let (connections, how) = limit.on(protocol)?;
                Effect::Limit(connections, how)
            }
            Self::Push(push) => Effect::Push(push.on(protocol)?),
            Self::SlowClose(close) => Effect::SlowClose(close.clone()),
            Self::Capacity(capacity) => {
                Effect::Capacity(capacity.clone(), capacity.overflow(protocol)?)
            }
            Self::Truncate(truncate) => Effect::End(Ending::Truncate(*truncate)),
            Self::StreamCut(cut) => Effect::StreamCut(*cut),
            Self::DuplicateRequest => Effect::End(duplicate_request::on(protocol)?),
            Self::Corrupt(corrupt) => Effect::Corrupt(*corrupt),
        })
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
