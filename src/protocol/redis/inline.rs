//! Inline commands: a line of words, as people type them into a raw connection and health checks send them.

use crate::protocol::Lost;

/// Longest line that Redis reads.
const MAX_LINE: u32 = 64 * 1024;

/// Where in a word the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    Bare,
    Double,
    DoubleEscape,
    /// After `\x` in double quotes.
    Hex,
    /// After `\x` and one digit.
    HexDigit(u8),
    Single,
    SingleEscape,
    /// After a closing quote: only a space may follow.
    Closed,
}

/// What a byte of the line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to the words.
    Space,
    /// A word begins.
    Begin,
    /// A word continues.
    Inside,
    /// A word is complete.
    End,
    /// The line is complete; `word` tells whether a word ended with it.
    Line {
        /// Whether a word was under way.
        word: bool,
    },
}

/// Splits one line into words by the rules of Redis: double quotes with escapes, single quotes, no nesting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inline {
    place: Place,
    length: u32,
    /// The last eight bytes before the line's end.
    tail: u64,
}

impl Inline {
    /// A line of which nothing was read yet.
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Between,
            length: 0,
            tail: 0,
        }
    }

    /// Whether the line is an HTTP request line: `GET / HTTP/1.1`.
    pub(super) fn is_http(&self) -> bool {
        let [name @ .., major, dot, minor] = self.tail.to_be_bytes();
        &name == b"HTTP/" && major.is_ascii_digit() && dot == b'.' && minor.is_ascii_digit()
    }

    /// Takes the next byte; what it adds to the word goes to `sink`.
    pub(super) fn push(&mut self, byte: u8, sink: &mut impl FnMut(u8)) -> Result<Step, Lost> {
        match byte {
            b'\n' => return self.line_end(),
            // Redis takes the line for a C string.
            0 => return Err(Lost::Malformed),
            b'\r' => {}
            _ => self.tail = self.tail << 8 | u64::from(byte),
        }
        self.length += 1;
        if self.length > MAX_LINE {
            return Err(Lost::Length);
        }
        let (place, step) = match self.place {
            Place::Between if is_space(byte) => (Place::Between, Step::Space),
            Place::Between => (bare(byte, sink), Step::Begin),
            Place::Bare if matches!(byte, b' ' | b'\t' | b'\r') => (Place::Between, Step::End),
            Place::Bare => (bare(byte, sink), Step::Inside),
            Place::Closed if is_space(byte) => (Place::Between, Step::End),
            Place::Closed => return Err(Lost::Malformed),
            Place::Single => (single(byte, sink), Step::Inside),
            Place::SingleEscape => {
                if byte == b'\'' {
                    sink(b'\'');
                    (Place::Single, Step::Inside)
                } else {
                    sink(b'\\');
                    (single(byte, sink), Step::Inside)
                }
            }
            Place::Double => (double(byte, sink), Step::Inside),
            Place::DoubleEscape if byte == b'x' => (Place::Hex, Step::Inside),
            Place::DoubleEscape => {
                sink(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                (Place::Double, Step::Inside)
            }
            Place::Hex if byte.is_ascii_hexdigit() => (Place::HexDigit(byte), Step::Inside),
            Place::Hex => {
                sink(b'x');
                (double(byte, sink), Step::Inside)
            }
            Place::HexDigit(high) => {
                if byte.is_ascii_hexdigit() {
                    sink(hex(high) << 4 | hex(byte));
                    (Place::Double, Step::Inside)
                } else {
                    sink(b'x');
                    sink(high);
                    (double(byte, sink), Step::Inside)
                }
            }
        };
        self.place = place;
        Ok(step)
    }

    fn line_end(self) -> Result<Step, Lost> {
        match self.place {
            Place::Between => Ok(Step::Line { word: false }),
            Place::Bare | Place::Closed => Ok(Step::Line { word: true }),
            // Unbalanced quotes: Redis answers a protocol error and closes.
            _ => Err(Lost::Malformed),
        }
    }
}

/// What C calls a space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn bare(byte: u8, sink: &mut impl FnMut(u8)) -> Place {
    match byte {
        b'"' => Place::Double,
        b'\'' => Place::Single,
        _ => {
            sink(byte);
            Place::Bare
        }
    }
}

fn single(byte: u8, sink: &mut impl FnMut(u8)) -> Place {
    match byte {
        b'\'' => Place::Closed,
        b'\\' => Place::SingleEscape,
        _ => {
            sink(byte);
            Place::Single
        }
    }
}

fn double(byte: u8, sink: &mut impl FnMut(u8)) -> Place {
    match byte {
        b'"' => Place::Closed,
        b'\\' => Place::DoubleEscape,
        _ => {
            sink(byte);
            Place::Double
        }
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit)
        .to_digit(16)
        .map_or(0, |value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of one complete line, without its line end; `None` where quotes are unbalanced.
    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut inline = Inline::new();
        let mut words: Vec<Vec<u8>> = Vec::new();
        for byte in line.iter().chain(b"\n") {
            let mut added = ([0; 3], 0);
            let step = inline
                .push(*byte, &mut |byte| {
                    added.0[added.1] = byte;
                    added.1 += 1;
                })
                .ok()?;
            if step == Step::Begin {
                words.push(Vec::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend_from_slice(&added.0[..added.1]);
            }
        }
        Some(words)
    }

    #[test]
    fn splits_as_redis_does() {
        type Case<'a> = (&'a [u8], Option<&'a [&'a [u8]]>);
        let cases: &[Case] = &[
            (b"GET a", Some(&[b"GET", b"a"])),
            (b"  GET \t a\r", Some(&[b"GET", b"a"])),
            (b"", Some(&[])),
            (b" \r", Some(&[])),
            (b"\"PI\\x4eG\" 'a b'", Some(&[b"PING", b"a b"])),
            (b"ab\"c d\"", Some(&[b"abc d"])),
            (b"\"\\xZZ\\x4\\n\\\"\"", Some(&[b"xZZx4\n\""])),
            (b"'it\\'s' '\\n'", Some(&[b"it's", b"\\n"])),
            (b"'\\''", Some(&[b"'"])),
            (b"\"\" ''", Some(&[b"", b""])),
            (b"\"\\x4", None),
            (b"\"PING\"x", None),
            (b"'a", None),
            (b"a\0b", None),
        ];
        for (line, expected) in cases {
            let expected =
                expected.map(|words| words.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_line_is_bounded() {
        assert!(words(&vec![b'a'; MAX_LINE as usize]).is_some());
        assert!(words(&vec![b'a'; MAX_LINE as usize + 1]).is_none());
    }

    #[test]
    fn tells_http() {
        let http = |line: &[u8]| {
            let mut inline = Inline::new();
            for byte in line {
                inline.push(*byte, &mut |_| {}).unwrap();
            }
            inline.is_http()
        };
        assert!(http(b"GET / HTTP/1.1\r"));
        assert!(http(b"PRI * HTTP/2.0"));
        assert!(!http(b"GET HTTP/1.x"));
        assert!(!http(b"GET key"));
    }
}
