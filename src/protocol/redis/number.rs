//! The decimal numbers of RESP headers: `*3`, `$-1`.

use crate::protocol::Lost;

/// A number that arrives digit by digit, up to and with its CRLF. Accepts what Redis' own parser does: an optional minus,
/// no plus, no leading zeros; at most 18 digits, which no real length needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Number {
    value: u64,
    digits: u8,
    negative: bool,
    carriage_return: bool,
}

impl Number {
    /// Takes the next byte; the value once the line is complete.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<i64>, Lost> {
        if self.carriage_return {
            return if byte == b'\n' {
                Ok(Some(self.signed()))
            } else {
                Err(Lost::Malformed)
            };
        }
        match byte {
            b'0'..=b'9' => {
                if self.digits > 0 && self.value == 0 {
                    return Err(Lost::Malformed);
                }
                if self.digits == 18 {
                    return Err(Lost::Length);
                }
                self.digits += 1;
                self.value = self.value * 10 + u64::from(byte - b'0');
            }
            b'-' if self.digits == 0 && !self.negative => self.negative = true,
            b'\r' if self.digits > 0 && !(self.negative && self.value == 0) => {
                self.carriage_return = true;
            }
            _ => return Err(Lost::Malformed),
        }
        Ok(None)
    }

    /// Eighteen digits fit without loss.
    fn signed(self) -> i64 {
        let value = self.value.cast_signed();
        if self.negative { -value } else { value }
    }
}

/// The number of a header that is complete at the start of `bytes`, and what follows its CRLF. `None` leaves the judgement to
/// [`Number`]: incomplete, unusual or wrong.
#[inline]
pub(super) fn complete(bytes: &[u8]) -> Option<(u64, &[u8])> {
    // Nearly every number has one or two digits.
    if let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let [first, second, third, _] = head.map(|byte| byte.wrapping_sub(b'0'));
        let line = u32::from_le_bytes(*head);
        if line >> 16 == END && first.wrapping_sub(1) < 9 && second <= 9 {
            return Some((u64::from(first * 10 + second), rest));
        }
        if line >> 8 & 0xFFFF == END && first <= 9 {
            return Some((u64::from(first), &bytes[3..]));
        }
        if third > 9 {
            return None;
        }
    }
    long(bytes)
}

/// CRLF, little-endian.
const END: u32 = 0x0A0D;

fn long(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = bytes.split_at(digits);
    if digits == 0 || digits > 18 || (digits > 1 && number[0] == b'0') {
        return None;
    }
    let rest = rest.strip_prefix(b"\r\n")?;
    let value = number
        .iter()
        .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(text: &[u8]) -> Result<Option<i64>, Lost> {
        let mut number = Number::default();
        for byte in text {
            if let Some(value) = number.push(*byte)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    #[test]
    fn accepts_what_redis_accepts() {
        assert_eq!(slow(b"0\r\n"), Ok(Some(0)));
        assert_eq!(slow(b"-1\r\n"), Ok(Some(-1)));
        assert_eq!(slow(b"2147483648\r\n"), Ok(Some(1 << 31)));
        assert_eq!(
            slow(b"999999999999999999\r\n"),
            Ok(Some(999_999_999_999_999_999))
        );
        assert_eq!(slow(b"12"), Ok(None));
        for bad in [
            &b"\r\n"[..],
            b"+1\r\n",
            b"01\r\n",
            b"-0\r\n",
            b"--1\r\n",
            b"1-\r\n",
            b" 1\r\n",
            b"1\n",
            b"1\rx",
            b"?\r\n",
        ] {
            assert_eq!(slow(bad), Err(Lost::Malformed), "{bad:?}");
        }
        assert_eq!(slow(b"9223372036854775807\r\n"), Err(Lost::Length));
    }

    #[test]
    fn the_fast_way_says_the_same() {
        for text in [
            &b"0\r\n"[..],
            b"7\r\n",
            b"7\r\nrest",
            b"10\r\n",
            b"01\r\n",
            b"123\r\n",
            b"012\r\n",
            b"000\r\n",
            b"1x\r\n",
            b"x1\r\n",
            b"42\r\nrest",
            b"100000\r\n",
            b"999999999999999999\r\n",
            b"9999999999999999999\r\n",
            b"00\r\n",
            b"-1\r\n",
            b"1\r",
            b"1\rx",
            b"",
        ] {
            if let Some((value, rest)) = complete(text) {
                let line = &text[..text.len() - rest.len()];
                assert_eq!(slow(line), Ok(Some(value.cast_signed())));
            } else {
                assert!(!matches!(slow(text), Ok(Some(0..))), "{text:?}");
            }
        }
    }
}
