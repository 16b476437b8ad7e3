//! The commands: their table, what each needs, and the way from a request to its replies.

use super::codec::{Reply, Request};
use super::pubsub::PubSub;
use super::session::Session;
use super::store::{Database, Refusal, Store};
use super::{collections, connection, strings};
use bytes::Bytes;
use std::time::Instant;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) pubsub: PubSub,
    pub(super) started: Instant,
    pub(super) sessions: u64,
    pub(super) commands: u64,
}

/// What a command works with.
pub(super) struct Context<'a> {
    pub(super) state: &'a mut State,
    pub(super) session: &'a mut Session,
    pub(super) now: Instant,
}

impl Context<'_> {
    /// The session's database.
    pub(super) fn db(&mut self) -> Database<'_> {
        self.state.store.database(self.session.database, self.now)
    }
}

/// A command's result. Its arguments come without its name.
pub(super) type Outcome = Result<Reply, Refusal>;

/// A row of the table.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// The fewest and the most arguments.
    pub(super) arguments: (usize, usize),
    pub(super) run: fn(&mut Context<'_>, &[Bytes]) -> Outcome,
}

/// No upper limit on the number of arguments.
pub(super) const MANY: usize = usize::MAX;

/// Commands that RESP2 clients may send while subscribed: everything else they read must be a message.
const WHILE_SUBSCRIBED: [&str; 6] = [
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "PSUBSCRIBE",
    "PUNSUBSCRIBE",
    "PING",
    "QUIT",
];

/// Bytes of a request that an error message repeats; Redis' own limit.
const QUOTED: usize = 128;

fn find(name: &[u8]) -> Option<&'static Command> {
    [
        strings::COMMANDS,
        collections::COMMANDS,
        connection::COMMANDS,
    ]
    .into_iter()
    .flatten()
    .find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

/// What an error message may repeat of a request: one line of printable text, cut short.
pub(super) fn quoted(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data.get(..QUOTED).unwrap_or(data));
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn unknown(name: &[u8], arguments: &[Bytes]) -> String {
    let mut text = format!(
        "ERR unknown command '{}', with args beginning with: ",
        quoted(name)
    );
    for argument in arguments {
        if text.len() >= 2 * QUOTED {
            break;
        }
        text.push('\'');
        text.push_str(&quoted(argument));
        text.push_str("' ");
    }
    text
}

/// Answers one request. Most have one reply; SUBSCRIBE and its kin have one for each name.
pub(super) fn answer(context: &mut Context<'_>, request: Request, replies: &mut Vec<Reply>) {
    let Some((name, arguments)) = request.split_first() else {
        return;
    };
    context.state.commands += 1;
    let refuse = |context: &mut Context<'_>, text: String, replies: &mut Vec<Reply>| {
        if let Some(transaction) = &mut context.session.transaction {
            transaction.failed = true;
        }
        replies.push(Reply::Error(text));
    };
    let Some(command) = find(name) else {
        return refuse(context, unknown(name, arguments), replies);
    };
    let (fewest, most) = command.arguments;
    if !(fewest..=most).contains(&arguments.len()) {
        let name = command.name.to_ascii_lowercase();
        let text = format!("ERR wrong number of arguments for '{name}' command");
        return refuse(context, text, replies);
    }
    let session = &context.session;
    if !session.resp3
        && context.state.pubsub.count(session.id) > 0
        && !WHILE_SUBSCRIBED.contains(&command.name)
        && command.name != "RESET"
    {
        let name = command.name.to_ascii_lowercase();
        let text = format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        );
        return refuse(context, text, replies);
    }
    if let Some(transaction) = &mut context.session.transaction
        && !matches!(
            command.name,
            "MULTI" | "EXEC" | "DISCARD" | "QUIT" | "RESET"
        )
    {
        transaction.queue.push(request);
        replies.push(Reply::Simple("QUEUED"));
        return;
    }
    if command.name.ends_with("SUBSCRIBE") {
        connection::subscriptions(context, command.name, arguments, replies);
        return;
    }
    let outcome = (command.run)(context, arguments);
    replies.push(outcome.unwrap_or_else(|refusal| Reply::Error(refusal.to_string())));
}
