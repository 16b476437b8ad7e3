//! Commands about the connection, the server, transactions and pub/sub.

// Every row of the table has the same signature, whether its command can fail or not.
#![allow(clippy::unnecessary_wraps)]

use super::codec::Reply;
use super::command::{Command, Context, MANY, Outcome, answer, quoted};
use super::pubsub::Kind;
use super::session::{Session, Transaction};
use super::store::{DATABASES, Refusal, integer};
use super::strings::row;
use bytes::Bytes;
use std::fmt::Write;

/// The version of Redis whose replies and errors this server gives.
const VERSION: &str = "7.0.0";

pub(super) const COMMANDS: &[Command] = &[
    row("PING", (0, 1), ping),
    row("ECHO", (1, 1), |_, a| Ok(Reply::Bulk(a[0].clone()))),
    row("HELLO", (0, MANY), hello),
    row("AUTH", (1, 2), |_, _| Ok(Reply::OK)),
    row("CLIENT", (1, MANY), client),
    row("SELECT", (1, 1), select),
    row("QUIT", (0, MANY), |c, _| {
        c.session.closing = true;
        Ok(Reply::OK)
    }),
    row("RESET", (0, 0), reset),
    row("INFO", (0, MANY), |c, _| Ok(Reply::bulk(info(c)))),
    // Clients ask for these to learn about a server; an empty answer says there is nothing to learn.
    row("COMMAND", (0, MANY), command),
    row("CONFIG", (1, MANY), config),
    row("MULTI", (0, 0), multi),
    row("EXEC", (0, 0), exec),
    row("DISCARD", (0, 0), discard),
    row("PUBLISH", (2, 2), |c, a| {
        Ok(Reply::count(c.state.pubsub.publish(&a[0], &a[1])))
    }),
    row("SUBSCRIBE", (1, MANY), none),
    row("UNSUBSCRIBE", (0, MANY), none),
    row("PSUBSCRIBE", (1, MANY), none),
    row("PUNSUBSCRIBE", (0, MANY), none),
];

/// The row's function of commands that [`subscriptions`] answers, since they have several replies.
fn none(_: &mut Context<'_>, _: &[Bytes]) -> Outcome {
    Err(Refusal::Syntax)
}

fn ping(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let text = a.first().cloned();
    // In RESP2, what a subscriber reads must look like a message.
    if !c.session.resp3 && c.state.pubsub.count(c.session.id) > 0 {
        let text = Reply::Bulk(text.unwrap_or_default());
        return Ok(Reply::Array(vec![Reply::bulk("pong"), text]));
    }
    Ok(text.map_or(Reply::Simple("PONG"), Reply::Bulk))
}

fn hello(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut resp3 = c.session.resp3;
    let mut options = a.iter();
    if let Some(version) = options.next() {
        resp3 = match integer(version) {
            Ok(2) => false,
            Ok(3) => true,
            Ok(_) => {
                let text = "NOPROTO unsupported protocol version";
                return Err(Refusal::Other(text.to_owned()));
            }
            Err(_) => {
                let text = "ERR Protocol version is not an integer or out of range";
                return Err(Refusal::Other(text.to_owned()));
            }
        };
    }
    let mut name = None;
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"AUTH" if options.next().is_some() && options.next().is_some() => {}
            b"SETNAME" => name = Some(options.next().ok_or(Refusal::Syntax)?.to_vec()),
            _ => {
                let text = format!("ERR Syntax error in HELLO option '{}'", quoted(option));
                return Err(Refusal::Other(text));
            }
        }
    }
    c.session.resp3 = resp3;
    if let Some(name) = name {
        c.session.name = name;
    }
    let id = i64::try_from(c.session.id).unwrap_or(i64::MAX);
    let pairs = [
        ("server", Reply::bulk("brownout")),
        ("version", Reply::bulk(VERSION)),
        ("proto", Reply::Integer(if resp3 { 3 } else { 2 })),
        ("id", Reply::Integer(id)),
        ("mode", Reply::bulk("standalone")),
        ("role", Reply::bulk("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    let pairs = pairs.map(|(key, value)| (Reply::bulk(key), value));
    Ok(Reply::Map(pairs.into()))
}

fn client(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    match (a[0].to_ascii_uppercase().as_slice(), &a[1..]) {
        (b"ID", []) => Ok(Reply::Integer(
            i64::try_from(c.session.id).unwrap_or(i64::MAX),
        )),
        (b"SETNAME", [name]) => {
            if name.iter().any(|&b| b <= b' ') {
                let text =
                    "ERR Client names cannot contain spaces, newlines or special characters.";
                return Err(Refusal::Other(text.to_owned()));
            }
            c.session.name = name.to_vec();
            Ok(Reply::OK)
        }
        (b"GETNAME", []) if c.session.name.is_empty() => Ok(Reply::Null),
        (b"GETNAME", []) => Ok(Reply::bulk(&c.session.name)),
        (b"SETINFO", [_, _]) => Ok(Reply::OK),
        _ => Err(subcommand("CLIENT", &a[0])),
    }
}

fn subcommand(command: &str, name: &[u8]) -> Refusal {
    Refusal::Other(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {command} HELP.",
        quoted(name)
    ))
}

fn command(_: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    match a.first().map(|name| name.to_ascii_uppercase()).as_deref() {
        None | Some(b"DOCS" | b"INFO" | b"LIST") => Ok(Reply::Array(Vec::new())),
        Some(b"COUNT") => Ok(Reply::Integer(0)),
        Some(name) => Err(subcommand("COMMAND", name)),
    }
}

fn config(_: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    match (a[0].to_ascii_uppercase().as_slice(), a.len()) {
        (b"GET", 2..) => Ok(Reply::Map(Vec::new())),
        (name, _) => Err(subcommand("CONFIG", name)),
    }
}

fn select(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let index = integer(&a[0])?;
    let index = usize::try_from(index).ok().filter(|&i| i < DATABASES);
    c.session.database = index.ok_or(Refusal::NoSuchDatabase)?;
    Ok(Reply::OK)
}

fn reset(c: &mut Context<'_>, _: &[Bytes]) -> Outcome {
    c.state.pubsub.leave(c.session.id);
    *c.session = Session::new(c.session.id);
    Ok(Reply::Simple("RESET"))
}

fn info(c: &mut Context<'_>) -> String {
    let uptime = c.now.duration_since(c.state.started).as_secs();
    let (sessions, commands) = (c.state.sessions, c.state.commands);
    let mut text = format!(
        "# Server\r\nredis_version:{VERSION}\r\nserver_name:brownout\r\nredis_mode:standalone\r\n\
         process_id:{}\r\nuptime_in_seconds:{uptime}\r\n\r\n\
         # Clients\r\nconnected_clients:{sessions}\r\n\r\n\
         # Stats\r\ntotal_commands_processed:{commands}\r\n\r\n\
         # Replication\r\nrole:master\r\n\r\n# Keyspace\r\n",
        std::process::id()
    );
    for index in 0..DATABASES {
        let keys = c.state.store.database(index, c.now).keys().len();
        if keys > 0 {
            // Writing to a string does not fail.
            let _ = write!(text, "db{index}:keys={keys}\r\n");
        }
    }
    text
}

fn multi(c: &mut Context<'_>, _: &[Bytes]) -> Outcome {
    if c.session.transaction.is_some() {
        let text = "ERR MULTI calls can not be nested";
        return Err(Refusal::Other(text.to_owned()));
    }
    c.session.transaction = Some(Transaction::default());
    Ok(Reply::OK)
}

/// Runs what was queued, with nothing of another session in between: the caller holds the lock over all of it.
fn exec(c: &mut Context<'_>, _: &[Bytes]) -> Outcome {
    let Some(transaction) = c.session.transaction.take() else {
        return Err(Refusal::Other("ERR EXEC without MULTI".to_owned()));
    };
    if transaction.failed {
        let text = "EXECABORT Transaction discarded because of previous errors.";
        return Err(Refusal::Other(text.to_owned()));
    }
    let mut replies = Vec::with_capacity(transaction.queue.len());
    for request in transaction.queue {
        answer(c, request, &mut replies);
    }
    Ok(Reply::Array(replies))
}

fn discard(c: &mut Context<'_>, _: &[Bytes]) -> Outcome {
    match c.session.transaction.take() {
        Some(_) => Ok(Reply::OK),
        None => Err(Refusal::Other("ERR DISCARD without MULTI".to_owned())),
    }
}

/// SUBSCRIBE and its kin: one reply for each name, with the number of subscriptions after it.
pub(super) fn subscriptions(
    c: &mut Context<'_>,
    command: &str,
    names: &[Bytes],
    replies: &mut Vec<Reply>,
) {
    let id = c.session.id;
    let kind = if command.starts_with('P') {
        Kind::Pattern
    } else {
        Kind::Channel
    };
    let ending = command.contains("UNSUB");
    if !ending && c.session.messages.is_none() {
        c.session.messages = Some(c.state.pubsub.join(id));
    }
    let all = c.state.pubsub.subscriptions(id, kind);
    let names = if names.is_empty() { &all } else { names };
    let event = command.to_ascii_lowercase();
    let mut reply = |name: Reply, count: usize| {
        replies.push(Reply::Push(vec![
            Reply::bulk(&event),
            name,
            Reply::count(count),
        ]));
    };
    for name in names {
        if ending {
            c.state.pubsub.unsubscribe(id, kind, name);
        } else {
            c.state.pubsub.subscribe(id, kind, name);
        }
        reply(Reply::Bulk(name.clone()), c.state.pubsub.count(id));
    }
    if names.is_empty() {
        reply(Reply::Null, c.state.pubsub.count(id));
    }
}
