//! One look at the keys of a request for all faults that ask for some: where none of them can match, none of them is asked.
//!
//! Fifty faults on other keys of a command would otherwise be fifty globs a request.

use regex::bytes::{Regex, RegexBuilder};

use super::arguments::Request;
use super::glob::Glob;

/// More than this many faults with keys are worth the automaton; fewer are asked one by one.
const WORTH: usize = 2;
/// What the compiled automaton may take, in bytes. Patterns beyond it are asked one by one.
const LIMIT: usize = 1 << 20;

/// The candidates of an operation, parted by whether they ask for a key.
#[derive(Debug)]
pub(super) struct Keyed {
    /// The keys of all that ask for one.
    any: Regex,
    /// Positions in the plan of those that do not, ascending.
    pub(super) others: Vec<u16>,
}

impl Keyed {
    /// `candidates`: position in the plan and the globs that it asks of keys; an empty list asks nothing. `None`: not worth it.
    pub(super) fn of<'g>(candidates: impl Iterator<Item = (u16, &'g [Glob])>) -> Option<Self> {
        let (asking, others): (Vec<_>, Vec<_>) = candidates.partition(|(_, keys)| !keys.is_empty());
        if asking.len() <= WORTH {
            return None;
        }
        let globs = asking.iter().flat_map(|(_, keys)| keys.iter());
        let patterns: Vec<String> = globs.map(Glob::to_regex).collect();
        let any = RegexBuilder::new(&format!(r"\A(?:{})\z", patterns.join("|")))
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(LIMIT)
            .dfa_size_limit(LIMIT)
            .build()
            .ok()?;
        Some(Self {
            any,
            others: others.into_iter().map(|(at, _)| at).collect(),
        })
    }

    /// Whether one of the keys is asked for by somebody.
    pub(super) fn takes(&self, request: &Request<'_>) -> bool {
        request.any_key(|key| self.any.is_match(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keyed(patterns: &[&str]) -> Keyed {
        let globs: Vec<Vec<Glob>> = patterns
            .iter()
            .map(|p| vec![Glob::new(p).expect("a glob")])
            .collect();
        let candidates = (0_u16..).zip(globs.iter().map(Vec::as_slice));
        Keyed::of(candidates).expect("worth it")
    }

    #[test]
    fn few_are_asked_one_by_one() {
        let glob = [Glob::new("a*").expect("a glob")];
        let none: &[Glob] = &[];
        assert!(Keyed::of([(0, none), (1, &glob), (2, &glob)].into_iter()).is_none());
        let keyed = Keyed::of([(0, none), (1, &glob), (2, &glob), (7, &glob)].into_iter());
        assert_eq!(keyed.expect("worth it").others, [0]);
    }

    #[test]
    fn what_is_too_large_is_asked_one_by_one() {
        let long = "?*".repeat(250);
        let globs: Vec<[Glob; 1]> = (0..200)
            .map(|n| [Glob::new(&format!("{n}{long}")).expect("a glob")])
            .collect();
        let candidates = (0_u16..).zip(globs.iter().map(<[Glob; 1]>::as_slice));
        assert!(Keyed::of(candidates).is_none());
    }

    #[test]
    fn bytes_that_mean_something_to_a_regex_mean_themselves() {
        let keyed = keyed(&["a.b", "x|y", "(k){1}", "line\nend"]);
        for key in ["a.b", "x|y", "(k){1}", "line\nend"] {
            let request = resp(key.as_bytes());
            let request = Request::new(crate::protocol::Protocol::Redis, &request);
            assert!(keyed.takes(&request), "{key}");
        }
        for key in ["aXb", "x", "y", "k", "a.b2", "1a.b"] {
            let request = resp(key.as_bytes());
            let request = Request::new(crate::protocol::Protocol::Redis, &request);
            assert!(!keyed.takes(&request), "{key}");
        }
    }

    fn resp(key: &[u8]) -> Vec<u8> {
        let head = format!("*2\r\n$3\r\nGET\r\n${}\r\n", key.len());
        [head.as_bytes(), key, b"\r\n"].concat()
    }

    proptest! {
        /// The automaton says what the globs say, for any bytes.
        #[test]
        fn says_what_the_globs_say(
            patterns in proptest::collection::vec(r"([ab*?.]|\[[a-c]\]|\[\^b\]|\\\*|é){1,6}", 3..6),
            key in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'*'), Just(b'\n'), any::<u8>()], 0..8),
        ) {
            let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let keyed = keyed(&texts);
            let expected = texts.iter().any(|p| Glob::new(p).expect("a glob").matches(&key));
            let request = resp(&key);
            let request = Request::new(crate::protocol::Protocol::Redis, &request);
            prop_assert_eq!(keyed.takes(&request), expected);
        }
    }
}
