//! Names as numbers: a recording of a million exchanges knows a few dozen.

use std::collections::HashMap;
use std::sync::Arc;

/// A name of a [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u32);

impl Name {
    /// Its place among the names of its recording.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The most names that are kept apart; further ones are [`Names::OTHER`].
pub const MAX_NAMES: usize = 65_536;

/// The names of a recording.
#[derive(Clone, Debug)]
pub struct Names {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Name>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self {
            list: Vec::new(),
            numbers: HashMap::new(),
        };
        names.intern("other");
        names
    }
}

impl Names {
    /// What stands for the names beyond [`MAX_NAMES`].
    pub const OTHER: Name = Name(0);

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.list.len()
    }

    /// The number of a name.
    pub fn intern(&mut self, name: &str) -> Name {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        let Ok(number) = u32::try_from(self.list.len()) else {
            return Self::OTHER;
        };
        if self.list.len() >= MAX_NAMES {
            return Self::OTHER;
        }
        let shared: Arc<str> = name.into();
        self.list.push(Arc::clone(&shared));
        self.numbers.insert(shared, Name(number));
        Name(number)
    }

    /// The number of a name that is known.
    pub fn find(&self, name: &str) -> Option<Name> {
        self.numbers.get(name).copied()
    }

    /// The name of a number; one of another recording is `other`.
    pub fn get(&self, name: Name) -> &str {
        let name = self.list.get(name.0 as usize);
        name.map_or("other", |name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number() {
        let mut names = Names::default();
        let get = names.intern("GET");
        assert_eq!(names.intern("GET"), get);
        assert_ne!(names.intern("SET"), get);
        assert_eq!(names.get(get), "GET");
        assert_eq!(names.find("DEL"), None);
    }

    #[test]
    fn names_beyond_the_bound_are_other() {
        let mut names = Names::default();
        for n in 1..MAX_NAMES {
            assert_ne!(names.intern(&n.to_string()), Names::OTHER);
        }
        assert_eq!(names.intern("one more"), Names::OTHER);
        assert_eq!(names.get(names.find("1").expect("kept")), "1");
    }
}
