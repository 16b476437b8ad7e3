//! Why a fault that hit was not carried out: the state of the session did not allow it.

/// The closed set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Skip {
    /// The client has asked for no reply, or the request is of a kind that gets none.
    NoReply,
    /// A Redis client of RESP2 that is subscribed expects messages only.
    Subscribed,
    /// The Postgres transaction can only be rolled back.
    FailedTransaction,
    /// The message is no statement.
    NotAStatement,
    /// The error is one of another protocol.
    OtherProtocol,
    /// The request is longer than what is kept to exchange it.
    LongExchange,
    /// The request is longer than what is kept to send it twice.
    LongDuplicate,
    /// The request is longer than what is kept to identify it.
    Unidentified,
    /// The published message is longer than what is kept of one.
    LongMessage,
    /// The command depends on the state of its connection, or changes it.
    CommandNotAlone,
    /// The statement depends on the state of its session, or changes it.
    StatementNotAlone,
    /// A second time, the server would refuse its name.
    Prepares,
    /// The connection ends, or becomes another, with this exchange.
    ConnectionEnds,
    /// Bytes without requests.
    NotARequest,
    /// The client did not wait for the reply.
    Pipelined,
    /// The server has an error of its own, which comes first.
    ServersError,
    /// Another fault ends the exchange, and leaves no reply.
    Ended,
    /// The server gave the session no key to cancel by.
    NoCancelKey,
    /// It ended before it could be cancelled, or the fault did.
    NotCancelled,
}

impl Skip {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::NoReply,
        Self::Subscribed,
        Self::FailedTransaction,
        Self::NotAStatement,
        Self::OtherProtocol,
        Self::LongExchange,
        Self::LongDuplicate,
        Self::Unidentified,
        Self::LongMessage,
        Self::CommandNotAlone,
        Self::StatementNotAlone,
        Self::Prepares,
        Self::ConnectionEnds,
        Self::NotARequest,
        Self::Pipelined,
        Self::ServersError,
        Self::Ended,
        Self::NoCancelKey,
        Self::NotCancelled,
    ];

    /// As it is told: in events, the ledger, figures and metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoReply => "no reply is expected",
            Self::Subscribed => "subscribed",
            Self::FailedTransaction => "the transaction has failed already",
            Self::NotAStatement => "not a statement",
            Self::OtherProtocol => "the error belongs to another protocol",
            Self::LongExchange => "too long to be exchanged",
            Self::LongDuplicate => "too long to be sent twice",
            Self::Unidentified => "too long to be identified",
            Self::LongMessage => "the message is too long to be kept",
            Self::CommandNotAlone => "not a command that stands alone",
            Self::StatementNotAlone => "not a statement that stands alone",
            Self::Prepares => "it prepares a named statement",
            Self::ConnectionEnds => "the connection does not go on as it is",
            Self::NotARequest => "not a request",
            Self::Pipelined => "other requests are right behind it",
            Self::ServersError => "the server has an error of its own",
            Self::Ended => "another fault leaves no reply",
            Self::NoCancelKey => "the server gave no key to cancel by",
            Self::NotCancelled => "it ended before it was cancelled",
        }
    }
}

/// What a fault has a hand in, of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// How the request goes.
    Request,
    /// How the reply goes: without one it does nothing.
    Reply,
    /// How the exchange ends.
    End,
}

/// What of a decision was not carried out, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// What it does to the request.
    pub request: Option<Skip>,
    /// What it does to the reply.
    pub reply: Option<Skip>,
    /// How it ends the exchange.
    pub end: Option<Skip>,
}

impl Undone {
    /// Nothing was carried out.
    pub const fn all(why: Skip) -> Self {
        Self {
            request: Some(why),
            reply: Some(why),
            end: Some(why),
        }
    }

    /// The exchange did not end so; all else was carried out.
    pub const fn end(why: Option<Skip>) -> Self {
        Self {
            request: None,
            reply: None,
            end: why,
        }
    }

    /// Why this part was not carried out, where it was not.
    pub const fn of(self, part: Part) -> Option<Skip> {
        match part {
            Part::Request => self.request,
            Part::Reply => self.reply,
            Part::End => self.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn reasons_are_numbered_in_order_and_told_apart() {
        for (number, skip) in (0..).zip(Skip::ALL) {
            assert_eq!(skip as usize, number, "{skip:?}");
        }
        let told: HashSet<_> = Skip::ALL.map(Skip::reason).into();
        assert_eq!(told.len(), Skip::ALL.len());
    }
}
