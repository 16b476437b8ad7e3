//! The keyspace: 16 databases of strings, hashes, lists and sets, with expiry. Time comes in as an argument.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Databases that SELECT may name; Redis' default.
pub(super) const DATABASES: usize = 16;

/// A value of one of the types that this server has. Ordered maps, so that a reply is the same each time.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    List(VecDeque<Bytes>),
    Set(BTreeSet<Bytes>),
}

impl Value {
    /// What TYPE answers.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Hash(_) => "hash",
            Self::List(_) => "list",
            Self::Set(_) => "set",
        }
    }

    /// Redis removes a collection together with its last element.
    fn is_gone(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Hash(fields) => fields.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Set(members) => members.is_empty(),
        }
    }
}

/// An error a command answers with, in Redis' words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(String),
    #[error("ERR DB index is out of range")]
    NoSuchDatabase,
    #[error("{0}")]
    Other(String),
}

#[derive(Debug, Clone)]
struct Entry {
    value: Value,
    expires: Option<Instant>,
}

/// How long a key stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    NoKey,
    Forever,
    Left(Duration),
}

/// One database at one moment: what is past its expiry is not there.
#[derive(Debug)]
pub(super) struct Database<'a> {
    entries: &'a mut HashMap<Bytes, Entry>,
    now: Instant,
}

/// All databases.
#[derive(Debug)]
pub(super) struct Store {
    databases: [HashMap<Bytes, Entry>; DATABASES],
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            databases: std::array::from_fn(|_| HashMap::new()),
        }
    }

    /// The database with that index, as it is at `now`. Indexes come from SELECT, which checks them.
    pub(super) fn database(&mut self, index: usize, now: Instant) -> Database<'_> {
        let entries = &mut self.databases[index % DATABASES];
        Database { entries, now }
    }

    pub(super) fn clear(&mut self) {
        for database in &mut self.databases {
            database.clear();
        }
    }
}

/// A copy: a slice of a request would keep the whole buffer it was read into alive.
pub(super) fn own(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(data)
}

/// Reads an integer the way Redis does: decimal digits, no sign but a leading minus, no blanks.
pub(super) fn integer(text: &[u8]) -> Result<i64, Refusal> {
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    match parsed {
        Some(n) if !text.starts_with(b"+") => Ok(n),
        _ => Err(Refusal::NotAnInteger),
    }
}

macro_rules! typed {
    ($get:ident, $edit:ident, $variant:ident, $type:ty) => {
        /// The value of that type, if the key is there.
        pub(super) fn $get(&mut self, key: &[u8]) -> Result<Option<&$type>, Refusal> {
            match self.get(key) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(Refusal::WrongType),
            }
        }

        /// Changes the value of that type, made if it is not there, and removes it when nothing is left in it.
        pub(super) fn $edit<T>(
            &mut self,
            key: &Bytes,
            edit: impl FnOnce(&mut $type) -> T,
        ) -> Result<T, Refusal> {
            self.expire_now(key);
            let entry = self.entries.entry(own(key)).or_insert_with(|| Entry {
                value: Value::$variant(<$type>::default()),
                expires: None,
            });
            let Value::$variant(value) = &mut entry.value else {
                return Err(Refusal::WrongType);
            };
            let result = edit(value);
            if entry.value.is_gone() {
                self.entries.remove(key);
            }
            Ok(result)
        }
    };
}

impl Database<'_> {
    typed!(hash, edit_hash, Hash, BTreeMap<Bytes, Bytes>);
    typed!(list, edit_list, List, VecDeque<Bytes>);
    typed!(set, edit_set, Set, BTreeSet<Bytes>);

    fn expire_now(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.get(key)
            && entry.expires.is_some_and(|at| at <= self.now)
        {
            self.entries.remove(key);
        }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Option<&Value> {
        self.expire_now(key);
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(super) fn text(&mut self, key: &[u8]) -> Result<Option<Bytes>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(data)) => Ok(Some(data.clone())),
            Some(_) => Err(Refusal::WrongType),
        }
    }

    /// Puts a string, whatever was there before.
    pub(super) fn put(&mut self, key: &[u8], data: &[u8], ttl: Option<Duration>) {
        let entry = Entry {
            value: Value::Text(own(data)),
            expires: ttl.and_then(|ttl| self.now.checked_add(ttl)),
        };
        self.entries.insert(own(key), entry);
    }

    /// Adds to the integer at `key`, which keeps its expiry.
    pub(super) fn add(&mut self, key: &Bytes, by: i64) -> Result<i64, Refusal> {
        let before = self.text(key)?.map_or(Ok(0), |text| integer(&text))?;
        let after = before.checked_add(by).ok_or(Refusal::Overflow)?;
        let data = Value::Text(Bytes::from(after.to_string()));
        match self.entries.get_mut(key) {
            Some(entry) => entry.value = data,
            None => self.put(key, after.to_string().as_bytes(), None),
        }
        Ok(after)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        self.expire_now(key);
        self.entries.remove(key).is_some()
    }

    /// Sets or, with `None`, ends the expiry. Whether the key is there.
    pub(super) fn expire(&mut self, key: &[u8], ttl: Option<Duration>) -> bool {
        self.expire_now(key);
        let now = self.now;
        self.entries.get_mut(key).is_some_and(|entry| {
            entry.expires = ttl.and_then(|ttl| now.checked_add(ttl));
            true
        })
    }

    /// How long a key stays.
    pub(super) fn ttl(&mut self, key: &[u8]) -> Ttl {
        self.expire_now(key);
        match self.entries.get(key) {
            None => Ttl::NoKey,
            Some(Entry { expires: None, .. }) => Ttl::Forever,
            Some(Entry {
                expires: Some(at), ..
            }) => Ttl::Left(at.duration_since(self.now)),
        }
    }

    /// The keys that are there, in order.
    pub(super) fn keys(&mut self) -> Vec<Bytes> {
        let now = self.now;
        self.entries
            .retain(|_, entry| entry.expires.is_none_or(|at| at > now));
        let mut keys: Vec<_> = self.entries.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
