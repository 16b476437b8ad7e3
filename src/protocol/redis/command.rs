//! The closed table of commands: every command and subcommand of Redis 7.4 and Sentinel, and what newer clients send by
//! themselves, with its class.
//!
//! An [`Operation`] is an index into it. Names are written as clients see them: plain commands in upper case, subcommands
//! as `INFO commandstats` shows them (`config|get`). A name that is not here is [`OTHER`].

use super::word::Packed;
use crate::protocol::{Class, Operation};

/// A command that is not in the table.
pub(super) const OTHER: Operation = Operation(0);
/// A request without a command, which Redis reads and does not answer: an empty line, `*0`.
pub(super) const EMPTY: Operation = Operation(1);

/// What a command means to the decoder, beyond its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// One request, one reply.
    Plain,
    /// Answers an array while subscribed in RESP2.
    Ping,
    /// The next argument is a subcommand.
    Container,
    /// PUBLISH, SPUBLISH.
    Publish,
    /// CLIENT REPLY.
    ClientReply,
    /// XREAD, XREADGROUP: blocking only with BLOCK.
    Streams,
    /// One reply for each channel.
    Subscribe,
    /// One reply for each pattern.
    Psubscribe,
    /// One reply for each shard channel.
    Ssubscribe,
    /// One reply for each channel; without arguments, for each that is subscribed.
    Unsubscribe,
    /// As `Unsubscribe`, of patterns.
    Punsubscribe,
    /// As `Unsubscribe`, of shard channels.
    Sunsubscribe,
    /// Opens a transaction.
    Multi,
    /// Answers with the results of everything queued.
    Exec,
    /// Drops the transaction.
    Discard,
    /// Refused inside a transaction without harm to it.
    Watch,
    /// Its reply's type tells the protocol version.
    Hello,
    /// AUTH.
    Auth,
    /// CLIENT SETNAME.
    SetName,
    /// SELECT.
    Select,
    /// Back to the state of a new connection.
    Reset,
    /// Its reply never ends.
    Monitor,
    /// SYNC, PSYNC: what follows the reply is no RESP.
    Replication,
    /// A replica's talk to its master; partly without replies.
    Replconf,
}

impl Kind {
    /// Whether it is of the SUBSCRIBE family: answered channel by channel.
    #[inline]
    pub(super) const fn is_subscription(self) -> bool {
        matches!(
            self,
            Self::Subscribe
                | Self::Psubscribe
                | Self::Ssubscribe
                | Self::Unsubscribe
                | Self::Punsubscribe
                | Self::Sunsubscribe
        )
    }

    /// Whether request and reply are one each, and change nothing for others.
    #[inline]
    pub(super) const fn is_plain(self) -> bool {
        matches!(self, Self::Plain | Self::Ping | Self::Watch)
    }

    /// Whether it unsubscribes.
    pub(super) const fn is_unsubscription(self) -> bool {
        matches!(
            self,
            Self::Unsubscribe | Self::Punsubscribe | Self::Sunsubscribe
        )
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    /// As shown.
    pub(super) name: &'static str,
    /// The class it usually has.
    pub(super) class: Class,
    /// What it means to the decoder.
    pub(super) kind: Kind,
}

/// The commands that are not [`Kind::Plain`].
const KINDS: &[(Kind, &str)] = &[
    (Kind::Ping, "PING"),
    (
        Kind::Container,
        "ACL CLIENT CLUSTER COMMAND CONFIG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT SENTINEL SLOWLOG \
         XGROUP XINFO",
    ),
    (Kind::Publish, "PUBLISH SPUBLISH"),
    (Kind::ClientReply, "client|reply"),
    (Kind::Streams, "XREAD XREADGROUP"),
    (Kind::Subscribe, "SUBSCRIBE"),
    (Kind::Psubscribe, "PSUBSCRIBE"),
    (Kind::Ssubscribe, "SSUBSCRIBE"),
    (Kind::Unsubscribe, "UNSUBSCRIBE"),
    (Kind::Punsubscribe, "PUNSUBSCRIBE"),
    (Kind::Sunsubscribe, "SUNSUBSCRIBE"),
    (Kind::Multi, "MULTI"),
    (Kind::Exec, "EXEC"),
    (Kind::Discard, "DISCARD"),
    (Kind::Watch, "WATCH"),
    (Kind::Hello, "HELLO"),
    (Kind::Auth, "AUTH"),
    (Kind::SetName, "client|setname"),
    (Kind::Select, "SELECT"),
    (Kind::Reset, "RESET"),
    (Kind::Monitor, "MONITOR"),
    (Kind::Replication, "PSYNC SYNC"),
    (Kind::Replconf, "REPLCONF"),
];

/// All names by class. Reads and writes follow the flags of `COMMAND INFO`; scripts may do anything, so they are
/// administration, unless they promise to read only.
const NAMES: &[(Class, &str)] = &[
    (Class::Admin, "other"),
    (Class::Ping, "empty"),
    (
        Class::Read,
        "BITCOUNT BITFIELD_RO BITPOS DBSIZE DIGEST DUMP EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST \
         GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET \
         HGETALL HKEYS HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS KEYS LCS LINDEX LLEN LPOS \
         LRANGE MGET PEXPIRETIME PFCOUNT PTTL RANDOMKEY SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER SMEMBERS \
         SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TOUCH TTL TYPE XLEN XPENDING XRANGE XREAD \
         XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX \
         ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION",
    ),
    (
        Class::Read,
        "memory|usage object|encoding object|freq object|idletime object|refcount xinfo|consumers xinfo|groups \
         xinfo|stream",
    ),
    (
        Class::Write,
        "APPEND BITFIELD BITOP COPY DECR DECRBY DEL DELEX EXPIRE EXPIREAT FLUSHALL FLUSHDB GEOADD GEORADIUS \
         GEORADIUSBYMEMBER GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HGETEX HINCRBY \
         HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT LINSERT LMOVE \
         LMPOP LPOP LPUSH LPUSHX LREM LSET LTRIM MIGRATE MOVE MSET MSETEX MSETNX PERSIST PEXPIRE PEXPIREAT PFADD \
         PFMERGE PSETEX RENAME RENAMENX RESTORE RESTORE-ASKING RPOP RPOPLPUSH RPUSH RPUSHX SADD SDIFFSTORE SET \
         SETBIT SETEX SETNX SETRANGE SINTERSTORE SMOVE SORT SPOP SREM SUNIONSTORE SWAPDB UNLINK XACK XACKDEL XADD \
         XAUTOCLAIM XCLAIM XDEL XDELEX XREADGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZMPOP ZPOPMAX \
         ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE",
    ),
    (
        Class::Write,
        "xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid",
    ),
    (Class::Transaction, "DISCARD EXEC MULTI UNWATCH WATCH"),
    (
        Class::Pubsub,
        "PSUBSCRIBE PUBLISH PUNSUBSCRIBE SPUBLISH SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE",
    ),
    (
        Class::Admin,
        "ACL ASKING BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DEBUG EVAL EVALSHA FAILOVER FCALL FUNCTION \
         INFO LASTSAVE LATENCY LOLWUT MEMORY MODULE MONITOR OBJECT PFDEBUG PFSELFTEST PSYNC PUBSUB REPLCONF \
         REPLICAOF ROLE SAVE SCRIPT SENTINEL SHUTDOWN SLAVEOF SLOWLOG SYNC TIME XGROUP XINFO",
    ),
    (
        Class::Admin,
        "acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load acl|log acl|save \
         acl|setuser acl|users acl|whoami client|caching client|getname client|getredir client|help client|id \
         client|info client|kill client|list client|no-evict client|no-touch client|pause client|reply \
         client|tracking client|trackinginfo client|unblock client|unpause cluster|addslots cluster|addslotsrange \
         cluster|bumpepoch cluster|count-failure-reports cluster|countkeysinslot cluster|delslots \
         cluster|delslotsrange cluster|failover cluster|flushslots cluster|forget cluster|getkeysinslot \
         cluster|help cluster|info cluster|keyslot cluster|links cluster|meet cluster|myid cluster|myshardid \
         cluster|nodes cluster|replicas cluster|replicate cluster|reset cluster|saveconfig \
         cluster|set-config-epoch cluster|setslot cluster|shards cluster|slaves cluster|slots command|count \
         command|docs command|getkeys command|getkeysandflags command|help command|info command|list config|get \
         config|help config|resetstat config|rewrite config|set function|delete function|dump function|flush \
         function|help function|kill function|list function|load function|restore function|stats latency|doctor \
         latency|graph latency|help latency|histogram latency|history latency|latest latency|reset memory|doctor \
         memory|help memory|malloc-stats memory|purge memory|stats module|help module|list module|load \
         module|loadex module|unload object|help pubsub|channels pubsub|help pubsub|numpat pubsub|numsub \
         pubsub|shardchannels pubsub|shardnumsub script|debug script|exists script|flush script|help script|kill \
         script|load sentinel|ckquorum sentinel|config sentinel|debug sentinel|failover sentinel|flushconfig \
         sentinel|get-master-addr-by-name sentinel|help sentinel|info-cache sentinel|is-master-down-by-addr \
         sentinel|master sentinel|masters sentinel|monitor sentinel|myid sentinel|pending-scripts sentinel|remove \
         sentinel|replicas sentinel|reset sentinel|sentinels sentinel|set sentinel|simulate-failure \
         sentinel|slaves slowlog|get slowlog|help slowlog|len slowlog|reset xgroup|help xinfo|help",
    ),
    (
        Class::Handshake,
        "AUTH HELLO QUIT READONLY READWRITE RESET SELECT",
    ),
    (
        Class::Handshake,
        "client|maint_notifications client|setinfo client|setname",
    ),
    (Class::Ping, "ECHO PING"),
    (
        Class::Blocking,
        "BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN WAIT WAITAOF",
    ),
];

/// Rows in [`NAMES`].
const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < NAMES.len() {
        let mut rest = NAMES[group].1;
        while !rest.is_empty() {
            rest = first_word(rest).1;
            count += 1;
        }
        group += 1;
    }
    count
};

/// The table.
pub(super) static COMMANDS: [Command; COUNT] = {
    let mut table = [Command {
        name: "",
        class: Class::Admin,
        kind: Kind::Plain,
    }; COUNT];
    let mut row = 0;
    let mut group = 0;
    while group < NAMES.len() {
        let (class, mut rest) = NAMES[group];
        while !rest.is_empty() {
            let (name, after) = first_word(rest);
            table[row] = Command {
                name,
                class,
                kind: kind_of(name),
            };
            rest = after;
            row += 1;
        }
        group += 1;
    }
    table
};

/// Splits at the first space.
const fn first_word(text: &str) -> (&str, &str) {
    let mut end = 0;
    while end < text.len() && text.as_bytes()[end] != b' ' {
        end += 1;
    }
    let (word, rest) = text.split_at(end);
    let rest = if rest.is_empty() {
        rest
    } else {
        rest.split_at(1).1
    };
    (word, rest)
}

const fn kind_of(name: &str) -> Kind {
    let mut row = 0;
    while row < KINDS.len() {
        let (kind, mut rest) = KINDS[row];
        while !rest.is_empty() {
            let (word, after) = first_word(rest);
            if same(word.as_bytes(), name.as_bytes()) {
                return kind;
            }
            rest = after;
        }
        row += 1;
    }
    Kind::Plain
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// What a name is looked up by: its letters without case, and the container it stands in ([`OTHER`]: none).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    name: Packed,
    container: u16,
}

impl Key {
    #[inline]
    const fn slot(self) -> usize {
        let [a, b, c] = self.name.words;
        let mixed = a
            ^ b.rotate_left(23)
            ^ c.rotate_left(41)
            ^ ((self.container as u64) << 48 | (self.name.len as u64) << 40);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOT_BITS)) as usize
    }
}

const SLOT_BITS: u32 = 11;
const FREE: u16 = u16::MAX;

static KEYS: [Key; COUNT] = {
    let mut keys = [Key {
        name: Packed::EMPTY,
        container: FREE,
    }; COUNT];
    let mut row = 2;
    while row < COUNT {
        let name = COMMANDS[row].name;
        let mut bar = 0;
        while bar < name.len() && name.as_bytes()[bar] != b'|' {
            bar += 1;
        }
        keys[row] = if bar == name.len() {
            Key {
                name: Packed::of(name.as_bytes()),
                container: OTHER.0,
            }
        } else {
            let (container, subcommand) = name.as_bytes().split_at(bar);
            Key {
                name: Packed::of(subcommand.split_at(1).1),
                container: container_row(Packed::of(container)),
            }
        };
        row += 1;
    }
    keys
};

const fn container_row(name: Packed) -> u16 {
    let mut row = 0;
    while row < COUNT {
        if matches!(COMMANDS[row].kind, Kind::Container)
            && Packed::of(COMMANDS[row].name.as_bytes()).is(name)
        {
            return row as u16;
        }
        row += 1;
    }
    panic!("a subcommand without its container");
}

/// Open addressing, filled at compile time; most names sit in their own slot.
static SLOTS: [u16; 1 << SLOT_BITS] = {
    let mut slots = [FREE; 1 << SLOT_BITS];
    let mut row = 2;
    while row < COUNT {
        let mut slot = KEYS[row].slot();
        while slots[slot] != FREE {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = row as u16;
        row += 1;
    }
    slots
};

/// The operation of a command, or of a subcommand of `container` where that is not [`OTHER`].
#[inline]
pub(super) fn find(name: Packed, container: Operation) -> Option<Operation> {
    let key = Key {
        name,
        container: container.0,
    };
    let mut slot = key.slot();
    loop {
        let row = *SLOTS.get(slot)?;
        if KEYS.get(usize::from(row))? == &key {
            return Some(Operation(row));
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// The row of an operation; of [`OTHER`] where the number is none of ours.
#[inline]
pub(super) fn command(operation: Operation) -> &'static Command {
    COMMANDS
        .get(usize::from(operation.0))
        .unwrap_or(&COMMANDS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Operation {
        match name.split_once('|') {
            None => find(Packed::of(name.as_bytes()), OTHER).unwrap_or(OTHER),
            Some((container, subcommand)) => {
                let container = find(Packed::of(container.as_bytes()), OTHER).unwrap();
                find(Packed::of(subcommand.as_bytes()), container).unwrap_or(container)
            }
        }
    }

    #[test]
    fn every_name_finds_its_own_row_in_any_case() {
        for (row, command) in COMMANDS.iter().enumerate().skip(2) {
            assert_eq!(usize::from(parse(command.name).0), row, "{}", command.name);
            let flipped: String = command
                .name
                .chars()
                .map(|c| {
                    if c.is_ascii_lowercase() {
                        c.to_ascii_uppercase()
                    } else {
                        c.to_ascii_lowercase()
                    }
                })
                .collect();
            assert_eq!(usize::from(parse(&flipped).0), row, "{flipped}");
        }
    }

    #[test]
    fn what_redis_lists_is_known() {
        let listed = include_str!("../../../tests/fixtures/redis/commands-7.0.txt");
        let unknown: Vec<_> = listed
            .lines()
            .filter(|name| {
                parse(name) == OTHER || !command(parse(name)).name.eq_ignore_ascii_case(name)
            })
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(listed.lines().count() > 360);
    }

    #[test]
    fn near_misses_are_other() {
        for name in ["GE", "GETT", "other", "empty", "", "GET\0", "\u{27}ET"] {
            assert_eq!(parse(name), OTHER, "{name:?}");
        }
        assert_eq!(find(Packed::of(b"reply"), OTHER), None);
        assert_eq!(parse("config|nosuch"), parse("CONFIG"));
    }

    #[test]
    fn lookups_are_short() {
        let longest = KEYS
            .iter()
            .enumerate()
            .skip(2)
            .map(|(row, key)| {
                let mut slot = key.slot();
                let mut probes = 1;
                while usize::from(SLOTS[slot]) != row {
                    slot = (slot + 1) % SLOTS.len();
                    probes += 1;
                }
                probes
            })
            .max();
        assert!(longest <= Some(5), "{longest:?}");
    }

    #[test]
    fn kinds_name_existing_commands() {
        for (kind, names) in KINDS {
            for name in names.split(' ') {
                assert_eq!(command(parse(name)).kind, *kind, "{name}");
            }
        }
    }
}
