//! The command that gave a report, to run it again: every argument, without what is secret.

use std::fmt::Write as _;

/// What stands for a secret.
pub(crate) const MASK: &str = "***";
/// Parts of a name that say that its value is secret.
const SECRET: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "requirepass",
    "pwd",
    "secret",
    "token",
    "apikey",
];

/// A command as bash and zsh read it, in one line. Passwords in URLs, and values of what is named like a secret, are [`MASK`].
pub(crate) fn command<S: AsRef<str>>(words: &[S]) -> String {
    let mut line: Vec<String> = Vec::with_capacity(words.len());
    let mut hidden = false;
    for word in words {
        let word = word.as_ref();
        line.push(quoted(&if hidden {
            MASK.to_owned()
        } else {
            masked(word)
        }));
        // `--password WORD`, `--user-token WORD`.
        hidden = !hidden && word.starts_with('-') && !word.contains('=') && is_secret(word);
    }
    line.join(" ")
}

/// Whether something in it stands for a secret.
pub(crate) fn is_masked(command: &str) -> bool {
    command.contains(MASK)
}

/// Whether it draws as it did: a demo has no seed, a test always one, which may stand in its profile.
pub(crate) fn has_seed(command: &str) -> bool {
    !command.starts_with("brownout demo")
}

/// One word of it, as the shell reads it.
fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    if !word.chars().any(char::is_control) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut out = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            '\n' => out += r"\n",
            '\t' => out += r"\t",
            c if c.is_control() => {
                let _ = write!(out, r"\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "'"
}

fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRET.iter().any(|part| name.contains(part))
}

/// A word without passwords.
fn masked(word: &str) -> String {
    headers(&values(&addresses(word)))
}

/// `Authorization: Bearer ...`, as often as such a header stands there: to the quote that began it, else to the end of its line.
fn headers(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(": ") {
        let (before, after) = rest.split_at(at + 2);
        out += before;
        let part = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let begin = before[..at].trim_end_matches(part);
        let name = &before[begin.len()..at];
        if name.to_ascii_lowercase().ends_with("authorization") || is_secret(name) {
            let quote = begin.chars().next_back().filter(|c| "\"'".contains(*c));
            let end = after.find(|c: char| c == '\n' || Some(c) == quote);
            out += MASK;
            rest = &after[end.unwrap_or(after.len())..];
        } else {
            rest = after;
        }
    }
    out + rest
}

/// `scheme://user:PASSWORD@host`, as often as it stands there.
fn addresses(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out += before;
        let scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let quote = before[..at].trim_end_matches(scheme).chars().next_back();
        // A quote ends it where one began it; else it is a character like others.
        let quote = quote.filter(|c| "\"'".contains(*c));
        let end = after.find(|c: char| " \n\t".contains(c) || Some(c) == quote);
        let (address, behind) = after.split_at(end.unwrap_or(after.len()));
        match password(address) {
            Some((from, to)) => {
                out += &address[..from];
                out += MASK;
                out += &address[to..];
            }
            None => out += address,
        }
        rest = behind;
    }
    out + rest
}

/// Where the password of an address stands: behind the first colon, up to the last at sign that can end it.
fn password(address: &str) -> Option<(usize, usize)> {
    let colon = address.find(':')?;
    let authority = address.find(['/', '?', '#']).unwrap_or(address.len());
    let at = match address[..authority].rfind('@') {
        Some(at) => at,
        // A slash in a password ends nothing, though it should have been encoded. A port is no password.
        None if address.starts_with('[') => return None,
        None => {
            let port = address.get(colon + 1..authority)?;
            if colon > 0 && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            address.rfind('@')?
        }
    };
    (colon < at).then_some((colon + 1, at))
}

/// `name=VALUE` where the name tells; also among others, as in a query or in what libpq takes.
fn values(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for part in word.split_inclusive(['?', '&', ';', ' ', '\n', '\t']) {
        let value = part.trim_end_matches(['?', '&', ';', ' ', '\n', '\t']);
        match value.split_once('=') {
            Some((name, secret)) if is_secret(name) && !secret.is_empty() => {
                let _ = write!(out, "{name}={MASK}{}", &part[value.len()..]);
            }
            _ => out += part,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_that_a_shell_reads() {
        let words = [
            "brownout",
            "test",
            "a b.toml",
            "--var",
            "x=it's",
            "--",
            "sh",
            "-c",
            "a\nb \\ 'c'\u{1b}",
            "",
            "$HOME",
            "*",
        ];
        assert_eq!(
            command(&words),
            r"brownout test 'a b.toml' --var 'x=it'\''s' -- sh -c $'a\nb \\ \'c\'\u001b' '' '$HOME' '*'"
        );
    }

    #[test]
    fn the_shell_reads_the_same_words() {
        let words = [
            "a b",
            "it's",
            "a\nb\t\\ 'c'\u{1b}\u{85}",
            "",
            "$HOME `x` \"y\"",
            "***",
            "Ä!",
        ];
        let script = format!("printf '%s\\0' {}", command(&words));
        let shell = std::process::Command::new("bash")
            .args(["-c", &script])
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("bash runs");
        let read = String::from_utf8(shell.stdout).expect("text");
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), words);
    }

    #[test]
    fn no_password_is_in_it() {
        for (word, shown) in [
            ("redis://:secret@h:1/0", "'redis://:***@h:1/0'"),
            ("u=postgres://me:se@c'ret@h/d", "'u=postgres://me:***@h/d'"),
            ("U=\"a://u:x@h\" b", "'U=\"a://u:***@h\" b'"),
            ("redis://:12/secret@h", "'redis://:***@h'"),
            ("a://u:x@h b://v:y@i", "'a://u:***@h b://v:***@i'"),
            (
                "http://u:p@h/?a=1&password=x;b=2",
                "'http://u:***@h/?a=1&password=***;b=2'",
            ),
            ("host=h password=x user=u", "'host=h password=*** user=u'"),
            ("API_KEY=x", "'API_KEY=***'"),
            ("--auth-token=x", "'--auth-token=***'"),
            ("Authorization: Bearer x", "'Authorization: ***'"),
            (
                "curl -H \"Accept: */*\" -H \"Authorization: Bearer x y\" u",
                "'curl -H \"Accept: */*\" -H \"Authorization: ***\" u'",
            ),
            ("h=X-Api-Key: abc", "'h=X-Api-Key: ***'"),
        ] {
            assert_eq!(command(&[word]), shown);
            assert!(is_masked(shown));
        }
        let words = ["x", "--requirepass", "secret", "--port", "1"];
        assert_eq!(command(&words), "x --requirepass '***' --port 1");
    }

    #[test]
    fn what_is_none_stays() {
        for word in [
            "postgres://me@h:5432/d",
            "http://h:80/x@y",
            "http://[::1]:8000/@x",
            "redis=127.0.0.1:6379",
            "a@b.c",
            "host:80",
            "password=",
        ] {
            assert!(!is_masked(&command(&[word])), "{word}");
        }
    }
}
