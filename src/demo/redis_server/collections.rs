//! Commands on hashes, lists and sets.

use super::codec::Reply;
use super::command::{Command, Context, MANY, Outcome};
use super::store::{Refusal, integer, own};
use super::strings::row;
use bytes::Bytes;
use std::collections::VecDeque;

pub(super) const COMMANDS: &[Command] = &[
    row("HSET", (3, MANY), hset),
    row("HGET", (2, 2), hget),
    row("HGETALL", (1, 1), hgetall),
    row("HDEL", (2, MANY), hdel),
    row("HLEN", (1, 1), hlen),
    row("HEXISTS", (2, 2), hexists),
    row("LPUSH", (2, MANY), |c, a| push(c, a, VecDeque::push_front)),
    row("RPUSH", (2, MANY), |c, a| push(c, a, VecDeque::push_back)),
    row("LPOP", (1, 2), |c, a| pop(c, a, VecDeque::pop_front)),
    row("RPOP", (1, 2), |c, a| pop(c, a, VecDeque::pop_back)),
    row("LRANGE", (3, 3), lrange),
    row("LLEN", (1, 1), llen),
    row("SADD", (2, MANY), sadd),
    row("SREM", (2, MANY), srem),
    row("SMEMBERS", (1, 1), smembers),
    row("SISMEMBER", (2, 2), sismember),
    row("SCARD", (1, 1), scard),
];

fn hset(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let (key, fields) = (&a[0], &a[1..]);
    if !fields.len().is_multiple_of(2) {
        let text = "ERR wrong number of arguments for 'hset' command";
        return Err(Refusal::Other(text.to_owned()));
    }
    let added = c.db().edit_hash(key, |hash| {
        fields
            .chunks_exact(2)
            .filter(|pair| hash.insert(own(&pair[0]), own(&pair[1])).is_none())
            .count()
    })?;
    Ok(Reply::count(added))
}

fn hget(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let value = db.hash(&a[0])?.and_then(|hash| hash.get(&a[1]));
    Ok(value.cloned().map_or(Reply::Null, Reply::Bulk))
}

fn hgetall(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let pairs = db.hash(&a[0])?.into_iter().flatten();
    Ok(Reply::Map(
        pairs
            .map(|(field, value)| (Reply::Bulk(field.clone()), Reply::Bulk(value.clone())))
            .collect(),
    ))
}

fn hdel(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let removed = c.db().edit_hash(&a[0], |hash| {
        a[1..]
            .iter()
            .filter(|field| hash.remove(*field).is_some())
            .count()
    })?;
    Ok(Reply::count(removed))
}

fn hlen(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    Ok(Reply::count(
        c.db()
            .hash(&a[0])?
            .map_or(0, std::collections::BTreeMap::len),
    ))
}

fn hexists(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let found = db.hash(&a[0])?.is_some_and(|hash| hash.contains_key(&a[1]));
    Ok(Reply::Integer(i64::from(found)))
}

fn push(c: &mut Context<'_>, a: &[Bytes], at_end: fn(&mut VecDeque<Bytes>, Bytes)) -> Outcome {
    let length = c.db().edit_list(&a[0], |list| {
        for item in &a[1..] {
            at_end(list, own(item));
        }
        list.len()
    })?;
    Ok(Reply::count(length))
}

fn pop(
    c: &mut Context<'_>,
    a: &[Bytes],
    from_end: fn(&mut VecDeque<Bytes>) -> Option<Bytes>,
) -> Outcome {
    let count = match a.get(1) {
        None => None,
        Some(count) => {
            let text = "ERR value is out of range, must be positive";
            let count = integer(count)
                .and_then(|n| usize::try_from(n).map_err(|_| Refusal::Other(text.to_owned())))?;
            Some(count)
        }
    };
    let mut db = c.db();
    if db.list(&a[0])?.is_none() {
        return Ok(count.map_or(Reply::Null, |_| Reply::NullArray));
    }
    db.edit_list(&a[0], |list| match count {
        None => from_end(list).map_or(Reply::Null, Reply::Bulk),
        Some(count) => Reply::Array(
            (0..count.min(list.len()))
                .filter_map(|_| from_end(list))
                .map(Reply::Bulk)
                .collect(),
        ),
    })
}

/// The part of a list from one index to another, both included; negative ones count from the end.
fn lrange(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let (from, to) = (integer(&a[1])?, integer(&a[2])?);
    let mut db = c.db();
    let Some(items) = db.list(&a[0])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let index = |n: i64| if n < 0 { n.saturating_add(length) } else { n };
    let skipped = usize::try_from(index(from).max(0)).unwrap_or(usize::MAX);
    let after = usize::try_from(index(to).saturating_add(1).max(0)).unwrap_or(0);
    let items = items.iter().take(after).skip(skipped);
    Ok(Reply::Array(items.cloned().map(Reply::Bulk).collect()))
}

fn llen(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    Ok(Reply::count(c.db().list(&a[0])?.map_or(0, VecDeque::len)))
}

fn sadd(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let added = c.db().edit_set(&a[0], |set| {
        a[1..]
            .iter()
            .filter(|member| set.insert(own(member)))
            .count()
    })?;
    Ok(Reply::count(added))
}

fn srem(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let removed = c.db().edit_set(&a[0], |set| {
        a[1..].iter().filter(|member| set.remove(*member)).count()
    })?;
    Ok(Reply::count(removed))
}

fn smembers(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let members = db.set(&a[0])?.into_iter().flatten();
    Ok(Reply::Set(members.cloned().map(Reply::Bulk).collect()))
}

fn sismember(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    let mut db = c.db();
    let found = db.set(&a[0])?.is_some_and(|set| set.contains(&a[1]));
    Ok(Reply::Integer(i64::from(found)))
}

fn scard(c: &mut Context<'_>, a: &[Bytes]) -> Outcome {
    Ok(Reply::count(
        c.db()
            .set(&a[0])?
            .map_or(0, std::collections::BTreeSet::len),
    ))
}
