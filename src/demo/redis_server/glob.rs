//! Redis' glob patterns (KEYS, PSUBSCRIBE): `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character taken literally.

/// Whether `text` matches the whole of `pattern`. Backtracks only to the last `*`: quadratic at worst, without recursion.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', rest)) = p.split_first() {
            retry = Some((rest, t));
            p = rest;
            continue;
        }
        let step = match (t.split_first(), p.is_empty()) {
            (None, done) => return done,
            (Some(_), true) => None,
            (Some((&byte, rest)), false) => one(p, byte).map(|next| (next, rest)),
        };
        if let Some((next, rest)) = step {
            (p, t) = (next, rest);
        } else {
            let Some((after_star, from)) = retry else {
                return false;
            };
            let from = from.get(1..).unwrap_or_default();
            retry = Some((after_star, from));
            (p, t) = (after_star, from);
        }
    }
}

/// The pattern after its first element, if that element takes `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// The pattern after the class whose inside starts `pattern`, if the class takes `byte`. An open class ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        (found, rest) = match rest {
            [] => return (found != negated).then_some(rest),
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [b'\\', literal, rest @ ..] => (found || *literal == byte, rest),
            [a, b'-', b, rest @ ..] if *b != b']' => {
                (found || (*a.min(b)..=*a.max(b)).contains(&byte), rest)
            }
            [literal, rest @ ..] => (found || *literal == byte, rest),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "a", false),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h*l*x", "hello", false),
            ("*.b.*", "a.b.b.c", true),
            ("h[ae]llo", "hello", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[a", "a", true),
            ("[", "a", false),
            ("a*", "ba", false),
            ("*a", "aab", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} on {text}"
            );
        }
    }
}
