//! Arguments of one command that is held in memory, for faults that match on keys. Nothing here is on the hot path, and no
//! argument leaves the process.

use std::borrow::Cow;

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

use super::operation_name;
use super::{inline, number};
use crate::protocol::Operation;

/// The arguments of the command at the start of `command`, its name first: all of them where the command is complete, else
/// those that are. `None`: not even a name, or not a command.
pub fn arguments(command: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let arguments = if command.first() == Some(&b'*') {
        bulk_strings(command)?
    } else {
        let line = command.split(|byte| *byte == b'\n').next()?;
        let complete = line.len() < command.len();
        let mut words = inline::words(line)?;
        if !complete {
            words.pop();
        }
        words.into_iter().map(Cow::Owned).collect()
    };
    (!arguments.is_empty()).then_some(arguments)
}

/// Decodes element by element: a truncated array still gives its first elements, and a nested one cannot recurse.
fn bulk_strings(command: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let (count, mut at) = number::complete(command, 1)?;
    let mut arguments = Vec::new();
    while (arguments.len() as u64) < count {
        let rest = command.get(at..)?;
        if rest.first() != Some(&b'$') {
            break;
        }
        let Ok(Some((RangeFrame::BulkString((start, end)), length))) = decode_range(rest) else {
            break;
        };
        arguments.push(Cow::Borrowed(rest.get(start..end)?));
        at += length;
    }
    Some(arguments)
}

/// Where a command has its first key, where that is not the first argument.
const POSITIONS: &[(Position, &str)] = &[
    (
        Position::Nowhere,
        "other empty ASKING AUTH BGREWRITEAOF BGSAVE CLUSTER COMMAND CONFIG DBSIZE DISCARD ECHO EXEC FAILOVER FLUSHALL \
         FLUSHDB FUNCTION HELLO INFO KEYS LASTSAVE LATENCY LOLWUT MODULE MONITOR MULTI PFSELFTEST PING PSUBSCRIBE PSYNC \
         PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE REPLCONF REPLICAOF RESET ROLE SAVE SCAN SCRIPT \
         SELECT SENTINEL SHUTDOWN SLAVEOF SLOWLOG SPUBLISH SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SWAPDB SYNC TIME UNSUBSCRIBE UNWATCH WAIT WAITAOF ACL CLIENT \
         DEBUG OBJECT MEMORY XGROUP XINFO",
    ),
    (
        Position::At(2),
        "BITOP PFDEBUG object|encoding object|freq object|idletime object|refcount memory|usage xgroup|create \
         xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid xinfo|consumers xinfo|groups xinfo|stream",
    ),
    (Position::At(3), "MIGRATE"),
    (
        Position::Counted(1),
        "LMPOP ZMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZUNION",
    ),
    (
        Position::Counted(2),
        "EVAL EVAL_RO EVALSHA EVALSHA_RO FCALL FCALL_RO BLMPOP BZMPOP",
    ),
    (Position::Streams, "XREAD XREADGROUP"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Nowhere,
    At(usize),
    /// After the number of keys, which stands here.
    Counted(usize),
    /// After the word STREAMS.
    Streams,
}

impl Position {
    fn of(operation: Operation) -> Self {
        let name = operation_name(operation);
        POSITIONS
            .iter()
            .find(|(_, names)| names.split(' ').any(|listed| listed == name))
            .map_or(
                // Of the containers, only those listed have keys.
                if name.contains('|') {
                    Self::Nowhere
                } else {
                    Self::At(1)
                },
                |row| row.0,
            )
    }
}

/// The first key of a command: what a fault's key pattern is matched against. Channels are no keys. `None`: it has none, or it is
/// not among the arguments that are there.
pub fn key<A: AsRef<[u8]>>(operation: Operation, arguments: &[A]) -> Option<&[u8]> {
    let at = match Position::of(operation) {
        Position::Nowhere => return None,
        Position::At(at) => at,
        Position::Counted(at) => {
            let count = std::str::from_utf8(arguments.get(at)?.as_ref()).ok()?;
            if count.parse::<u32>().ok()? == 0 {
                return None;
            }
            at + 1
        }
        Position::Streams => streams(arguments)? + 1,
    };
    let key = arguments.get(at)?.as_ref();
    // MIGRATE names its keys after KEYS, and leaves this one empty.
    if key.is_empty() && operation_name(operation) == "MIGRATE" {
        let is_keys = |argument: &A| argument.as_ref().eq_ignore_ascii_case(b"keys");
        let keys = arguments.iter().skip(at).position(is_keys)? + at;
        return Some(arguments.get(keys + 1)?.as_ref());
    }
    Some(key)
}

/// Where STREAMS stands: a group or consumer may have the same name.
fn streams<A: AsRef<[u8]>>(arguments: &[A]) -> Option<usize> {
    let mut at = 1;
    loop {
        let option = arguments.get(at)?.as_ref();
        if option.eq_ignore_ascii_case(b"streams") {
            return Some(at);
        }
        at += match option.to_ascii_lowercase().as_slice() {
            b"group" => 3,
            b"count" | b"block" => 2,
            _ => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::redis::command::{self, COMMANDS, OTHER};
    use crate::protocol::redis::word::Packed;

    fn operation(name: &str) -> Operation {
        let (container, subcommand) = name.split_once('|').unwrap_or((name, ""));
        let operation = command::find(Packed::of(container.as_bytes()), OTHER).unwrap();
        if subcommand.is_empty() {
            operation
        } else {
            command::find(Packed::of(subcommand.as_bytes()), operation).unwrap()
        }
    }

    fn encode(words: &[&str]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        bytes
    }

    #[test]
    fn every_truncation_gives_the_leading_arguments() {
        let words = ["SET", "key:1", "", "a\r\nb"];
        let whole = encode(&words);
        for length in 0..=whole.len() {
            let given = arguments(&whole[..length]).unwrap_or_default();
            assert!(
                given
                    .iter()
                    .zip(words)
                    .all(|(a, b)| a.as_ref() == b.as_bytes())
            );
            let complete = (1..=words.len())
                .rev()
                .find(|count| length >= encode(&words[..*count]).len())
                .unwrap_or(0);
            assert_eq!(given.len(), complete, "{length}");
        }
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        assert_eq!(arguments(&two).map(|given| given.len()), Some(4));
    }

    #[test]
    fn what_is_no_command_gives_nothing() {
        for bytes in [
            &b""[..],
            b"*",
            b"*0\r\n",
            b"*-1\r\n",
            b"*x\r\n",
            b"\r\n",
            b"GET",
            b"*1\r\n*1\r\n",
        ] {
            assert_eq!(arguments(bytes), None, "{bytes:?}");
        }
        let lies = b"*2000000000\r\n$3\r\nGET\r\n$9223372036854775807\r\nx";
        assert_eq!(arguments(lies).map(|given| given.len()), Some(1));
        assert_eq!(arguments(&b"*1\r\n".repeat(16_384)), None);
    }

    #[test]
    fn inline_commands_have_arguments_too() {
        let given = arguments(b"set \"a b\" c\r\nget x").unwrap();
        assert_eq!(given, [&b"set"[..], b"a b", b"c"]);
        let given = arguments(b"set key val").unwrap();
        assert_eq!(given, [&b"set"[..], b"key"]);
    }

    #[test]
    fn first_keys() {
        for (name, words, expected) in [
            ("GET", "GET a", Some("a")),
            ("MGET", "MGET a b", Some("a")),
            ("GET", "GET", None),
            ("PING", "PING a", None),
            ("EVAL", "EVAL return 2 a b", Some("a")),
            ("EVAL", "EVAL return 0 a", None),
            ("EVAL", "EVAL return x a", None),
            ("BLMPOP", "BLMPOP 0 2 a b LEFT", Some("a")),
            ("ZUNION", "ZUNION 2 a b", Some("a")),
            ("BITOP", "BITOP AND dest src", Some("dest")),
            ("XREAD", "XREAD COUNT 2 BLOCK 0 STREAMS a b 0 0", Some("a")),
            (
                "XREADGROUP",
                "XREADGROUP GROUP streams block STREAMS a >",
                Some("a"),
            ),
            ("XREAD", "XREAD COUNT 2", None),
            ("object|encoding", "OBJECT ENCODING a", Some("a")),
            ("memory|usage", "MEMORY USAGE a", Some("a")),
            ("memory|stats", "MEMORY STATS x", None),
            ("config|set", "CONFIG SET maxmemory 1", None),
            ("PUBLISH", "PUBLISH channel x", None),
            ("xgroup|create", "XGROUP CREATE a g $", Some("a")),
            ("MIGRATE", "MIGRATE host 6379 a 0 100", Some("a")),
        ] {
            let words: Vec<_> = words.split(' ').collect();
            let found = key(operation(name), &words);
            assert_eq!(found, expected.map(str::as_bytes), "{words:?}");
        }
        let many = [
            "MIGRATE", "host", "6379", "", "0", "100", "AUTH", "x", "KEYS", "a", "b",
        ];
        assert_eq!(key(operation("MIGRATE"), &many), Some(&b"a"[..]));
    }

    #[test]
    fn the_positions_are_those_that_redis_lists() {
        let listed = include_str!("../../../tests/fixtures/redis/first-keys-7.0.txt");
        for line in listed.lines() {
            let (name, first) = line.split_once(' ').unwrap();
            let expected = match first {
                "0" => None,
                first => first.parse().ok().map(Position::At),
            };
            let position = Position::of(operation(name));
            match expected {
                Some(at)
                    if !matches!(name, "publish" | "spublish" | "ssubscribe" | "sunsubscribe") =>
                {
                    assert_eq!(position, at, "{name}");
                }
                _ => assert!(!matches!(position, Position::At(_)), "{name} {position:?}"),
            }
        }
    }

    #[test]
    fn positions_name_existing_commands() {
        for (_, names) in POSITIONS {
            for name in names.split(' ') {
                assert!(
                    COMMANDS.iter().any(|command| command.name == name),
                    "{name}"
                );
            }
        }
    }
}
