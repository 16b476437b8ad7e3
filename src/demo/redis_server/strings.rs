//! Commands on strings and on keys of any type.

// Every row of the table has the same signature, whether its command can fail or not.
#![allow(clippy::unnecessary_wraps)]

use super::codec::Reply;
use super::command::{Command, Context, MANY, Outcome};
use super::glob;
use super::store::{Refusal, Ttl, integer};
use bytes::Bytes;
use std::time::Duration;

pub(super) const COMMANDS: &[Command] = &[
    row("GET", (1, 1), get),
    row("SET", (2, MANY), set),
    row("SETEX", (3, 3), |c, a| set_expiring(c, a, "setex", 1000)),
    row("PSETEX", (3, 3), |c, a| set_expiring(c, a, "psetex", 1)),
    row("SETNX", (2, 2), set_if_absent),
    row("MGET", (1, MANY), get_many),
    row("MSET", (2, MANY), set_many),
    row("STRLEN", (1, 1), length),
    row("INCR", (1, 1), |c, a| add(c, a, 1)),
    row("DECR", (1, 1), |c, a| add(c, a, -1)),
    row("INCRBY", (2, 2), |c, a| {
        let by = integer(&a[1])?;
        add(c, a, by)
    }),
    row("DECRBY", (2, 2), |c, a| {
        let by = integer(&a[1])?.checked_neg();
        let overflow = || Refusal::Other("ERR decrement would overflow".to_owned());
        add(c, a, by.ok_or_else(overflow)?)
    }),
    row("DEL", (1, MANY), delete),
    row("UNLINK", (1, MANY), delete),
    row("EXISTS", (1, MANY), exists),
    row("TYPE", (1, 1), type_of),
    row("EXPIRE", (2, 2), |c, a| expire(c, a, "expire", 1000)),
    row("PEXPIRE", (2, 2), |c, a| expire(c, a, "pexpire", 1)),
    row("PERSIST", (1, 1), persist),
    row("TTL", (1, 1), |c, a| Ok(ttl(c, a, 1000))),
    row("PTTL", (1, 1), |c, a| Ok(ttl(c, a, 1))),
    row("KEYS", (1, 1), keys),
    row("DBSIZE", (0, 0), |c, _| {
        Ok(Reply::count(c.db().keys().len()))
    }),
    row("FLUSHDB", (0, 1), |c, _| {
        c.db().clear();
        Ok(Reply::OK)
    }),
    row("FLUSHALL", (0, 1), |c, _| {
        c.state.store.clear();
        Ok(Reply::OK)
    }),
];

pub(super) const fn row(
    name: &'static str,
    arguments: (usize, usize),
    run: fn(&mut Context<'_>, &[Bytes]) -> Outcome,
) -> Command {
    Command {
        name,
        arguments,
        run,
    }
}

fn text(value: Option<Bytes>) -> Reply {
    value.map_or(Reply::Null, Reply::Bulk)
}

fn get(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    Ok(text(c.db().text(&a[0])?))
}

/// A time to live from now: positive, and small enough to be a moment at all.
fn lifetime(value: &[u8], unit_ms: u64, command: &str) -> Result<Duration, Refusal> {
    let n = u64::try_from(integer(value)?).ok().filter(|&n| n > 0);
    n.and_then(|n| n.checked_mul(unit_ms))
        .filter(|&ms| i64::try_from(ms).is_ok())
        .map(Duration::from_millis)
        .ok_or_else(|| Refusal::InvalidExpire(command.to_owned()))
}

fn set(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let (mut ttl, mut if_present, mut old) = (None, None, false);
    let mut options = a[2..].iter();
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" if if_present.is_none() => if_present = Some(false),
            b"XX" if if_present.is_none() => if_present = Some(true),
            b"GET" => old = true,
            unit @ (b"EX" | b"PX") if ttl.is_none() => {
                let value = options.next().ok_or(Refusal::Syntax)?;
                ttl = Some(lifetime(
                    value,
                    if unit == b"EX" { 1000 } else { 1 },
                    "set",
                )?);
            }
            _ => return Err(Refusal::Syntax),
        }
    }
    let mut db = c.db();
    let before = if old { db.text(&a[0])? } else { None };
    let present = db.get(&a[0]).is_some();
    let done = if_present.is_none_or(|wanted| wanted == present);
    if done {
        db.put(&a[0], &a[1], ttl);
    }
    Ok(match (old, done) {
        (true, _) => text(before),
        (false, true) => Reply::OK,
        (false, false) => Reply::Null,
    })
}

fn set_expiring(c: &mut Context<'_>, a: &[Bytes], name: &str, unit_ms: u64) -> Outcome {
    let ttl = lifetime(&a[1], unit_ms, name)?;
    c.db().put(&a[0], &a[2], Some(ttl));
    Ok(Reply::OK)
}

fn set_if_absent(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let absent = db.get(&a[0]).is_none();
    if absent {
        db.put(&a[0], &a[1], None);
    }
    Ok(Reply::Integer(i64::from(absent)))
}

fn get_many(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    // A key of another type is no string: null, not an error.
    let values = a.iter().map(|key| text(db.text(key).unwrap_or(None)));
    Ok(Reply::Array(values.collect()))
}

fn set_many(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    if !a.len().is_multiple_of(2) {
        let text = "ERR wrong number of arguments for 'mset' command";
        return Err(Refusal::Other(text.to_owned()));
    }
    let mut db = c.db();
    for pair in a.chunks_exact(2) {
        db.put(&pair[0], &pair[1], None);
    }
    Ok(Reply::OK)
}

fn length(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let value = c.db().text(&a[0])?;
    Ok(Reply::count(value.map_or(0, |value| value.len())))
}

fn add(c: &mut Context<'_>, a: &[Bytes], by: i64) -> Outcome {
    c.db().add(&a[0], by).map(Reply::Integer)
}

fn delete(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    Ok(Reply::count(a.iter().filter(|key| db.remove(key)).count()))
}

fn exists(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let present = a.iter().filter(|key| db.get(key).is_some()).count();
    Ok(Reply::count(present))
}

fn type_of(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let value = db.get(&a[0]);
    Ok(Reply::Simple(
        value.map_or("none", super::store::Value::type_name),
    ))
}

fn expire(c: &mut Context<'_>, a: &[Bytes], name: &str, unit_ms: u64) -> Outcome {
    let n = integer(&a[1])?;
    let mut db = c.db();
    let done = if n <= 0 {
        // A moment that has passed: the key goes at once.
        db.remove(&a[0])
    } else {
        let ttl = lifetime(&a[1], unit_ms, name)?;
        db.expire(&a[0], Some(ttl))
    };
    Ok(Reply::Integer(i64::from(done)))
}

fn persist(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let done = matches!(db.ttl(&a[0]), Ttl::Left(_)) && db.expire(&a[0], None);
    Ok(Reply::Integer(i64::from(done)))
}

/// Redis rounds to the nearest unit; -1 is a key that stays, -2 one that is not there.
fn ttl(c: &mut Context<'_>, a: &[Bytes], unit_ms: u128) -> Reply {
    Reply::Integer(match c.db().ttl(&a[0]) {
        Ttl::NoKey => -2,
        Ttl::Forever => -1,
        Ttl::Left(left) => {
            i64::try_from((left.as_millis() + unit_ms / 2) / unit_ms).unwrap_or(i64::MAX)
        }
    })
}

fn keys(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut keys = c.db().keys();
    keys.retain(|key| glob::matches(&a[0], key));
    Ok(Reply::Array(keys.into_iter().map(Reply::Bulk).collect()))
}
