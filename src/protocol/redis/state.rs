//! What a fault injector must know of a session before it touches an exchange.

use super::command::Kind;
use super::decoder::Decoder;

impl Decoder {
    /// Whether a reply to this request is due, or will be once it is complete.
    pub fn answers(&self, exchange: u64) -> bool {
        self.requests.will_be_answered(exchange)
            || self.outstanding.iter().any(|p| p.exchange == exchange)
    }

    /// Whether this request falls into a MULTI block: the server was in one when it last answered, or will be by what was
    /// asked before this. A MULTI that the server refuses makes that wrong until its refusal is seen.
    pub fn in_multi(&self, exchange: u64) -> bool {
        let before = self
            .outstanding
            .iter()
            .take_while(|p| p.exchange < exchange);
        before.fold(
            self.replies.in_transaction(),
            |inside, pending| match pending.kind {
                Kind::Multi => true,
                Kind::Exec | Kind::Discard | Kind::Reset => false,
                _ => inside,
            },
        )
    }

    /// Whether the session is subscribed to anything, as the server last said.
    pub fn is_subscribed(&self) -> bool {
        self.replies.is_subscribed()
    }

    /// Whether the session speaks RESP3, as the server last said.
    pub fn is_resp3(&self) -> bool {
        self.replies.is_resp3()
    }

    /// Whether no reply or message of the server is under way: its next byte begins one.
    pub fn is_between_replies(&self) -> bool {
        self.replies.is_between()
    }
}
