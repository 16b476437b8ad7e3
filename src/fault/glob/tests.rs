use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, text: &str) -> bool {
    Glob::new(pattern).unwrap().matches(text.as_bytes())
}

#[test]
fn without_wildcards_it_is_equality() {
    assert!(matches("GET", "GET"));
    assert!(!matches("GET", "get"));
    assert!(!matches("GET", "GETX"));
    assert!(!matches("GET", "GE"));
    assert!(!matches("GET", ""));
}

#[test]
fn stars_take_anything_and_nothing() {
    assert!(matches("*", ""));
    assert!(matches("*", "a/b:c\n\0"));
    assert!(matches("user:*", "user:"));
    assert!(matches("user:*:name", "user:1:2:name"));
    assert!(!matches("user:*:name", "user:1:names"));
    assert!(matches("**a**", "bab"));
    assert!(matches("*ab*ab*", "abab"));
    assert!(!matches("*ab*ab*", "abb"));
}

#[test]
fn question_marks_take_one_byte() {
    assert!(matches("h?llo", "hallo"));
    assert!(!matches("h?llo", "hllo"));
    assert!(matches("??", "\u{e9}"), "bytes, not characters");
}

#[test]
fn sets_and_ranges_are_those_of_redis() {
    assert!(matches("h[ae]llo", "hallo"));
    assert!(!matches("h[ae]llo", "hillo"));
    assert!(matches("h[^e]llo", "hallo"));
    assert!(!matches("h[^e]llo", "hello"));
    assert!(matches("h[a-b]llo", "hbllo"));
    assert!(!matches("h[a-b]llo", "hcllo"));
    assert!(matches("[a-]", "-"));
    assert!(matches("[\\]]", "]"));
    assert!(matches("[a\\-z]", "-"));
    assert!(!matches("[a\\-z]", "b"));
    assert!(matches("[*]", "*"));
    assert!(!matches("[*]", "a"));
    assert!(matches("[!a]", "!"), "`!` does not negate in Redis");
}

#[test]
fn a_backslash_takes_the_meaning_away() {
    assert!(matches("a\\*", "a*"));
    assert!(!matches("a\\*", "ab"));
    assert!(matches("\\\\", "\\"));
    assert!(matches("\\[a", "[a"));
}

#[test]
fn braces_mean_themselves() {
    assert!(matches("/modules/{id}", "/modules/{id}"));
    assert!(!matches("/modules/{a,b}", "/modules/a"));
}

#[test]
fn case_is_ignored_where_asked() {
    let glob = |pattern| Glob::ignoring_case(pattern).unwrap();
    assert!(glob("get /Modules/*").matches(b"GET /modules/{id}"));
    assert!(glob("[G]ET").matches(b"get"));
    assert!(glob("[a-c]*").matches(b"CONFIG|GET"));
    assert!(!glob("[^G]ET").matches(b"get"));
    assert!(glob("\\GET").matches(b"get"));
}

#[test]
fn bytes_that_are_no_text_match() {
    let glob = Glob::new("k?*\\*").unwrap();
    assert!(glob.matches(&[b'k', 0xff, 0x00, 0x80, b'*']));
    assert!(!glob.matches(b"k*"));
}

#[test]
fn broken_patterns_are_refused_with_a_remedy() {
    let long = "a".repeat(MAX_PATTERN + 1);
    for (pattern, error) in [
        ("", GlobError::Empty),
        (long.as_str(), GlobError::TooLong),
        ("a[bc", GlobError::OpenSet),
        ("a[b-", GlobError::OpenSet),
        ("a[\\", GlobError::OpenSet),
        ("[a-\\", GlobError::OpenSet),
        ("a\\", GlobError::OpenEscape),
        ("[]", GlobError::EmptySet),
        ("[^]", GlobError::EmptySet),
        ("[z-a]", GlobError::EmptySet),
    ] {
        assert_eq!(Glob::new(pattern).unwrap_err(), error, "{pattern}");
        assert!(!error.remedy().is_empty());
    }
    assert!(Glob::new(&long[1..]).is_ok(), "the bound itself is allowed");
}

/// With backtracking over all stars this would take longer than the universe has.
#[test]
fn many_stars_cost_no_more_than_pattern_times_text() {
    let pattern = format!("{}b", "a*".repeat(200));
    let glob = Glob::new(&pattern).unwrap();
    let text = vec![b'a'; 64 << 10];
    let begin = Instant::now();
    assert!(!glob.matches(&text));
    let worst = Glob::new(&format!("*{}b", "a".repeat(500))).unwrap();
    assert!(!worst.matches(&text));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// The definition of matching, written down without regard to time.
fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            by_definition(rest, text) || (!text.is_empty() && by_definition(pattern, &text[1..]))
        }
        (Some((b'?', rest)), Some((_, text))) => by_definition(rest, text),
        (Some((a, rest)), Some((b, text))) => a == b && by_definition(rest, text),
        _ => false,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_definition(pattern in "[ab?*]{1,10}", text in "[ab]{0,12}") {
        prop_assert_eq!(
            matches(&pattern, &text),
            by_definition(pattern.as_bytes(), text.as_bytes())
        );
    }

    #[test]
    fn no_input_breaks_it(pattern in ".{0,40}", text: Vec<u8>) {
        if let Ok(glob) = Glob::new(&pattern) {
            glob.matches(&text);
            prop_assert_eq!(glob.as_str(), pattern);
        }
    }

    #[test]
    fn an_escaped_text_matches_itself_alone(text in ".{1,40}", other in ".{1,40}") {
        let escaped: String = text.chars().flat_map(|c| match c {
            '*' | '?' | '[' | '\\' => vec!['\\', c],
            c => vec![c],
        }).collect();
        prop_assert!(matches(&escaped, &text));
        prop_assert_eq!(matches(&escaped, &other), text == other);
    }
}
